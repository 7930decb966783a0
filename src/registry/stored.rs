//! The source of documents that were put by the API: our own store, shared by every process that uses it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;

use super::document::{Document, Found, Known};
use super::live::Agreements;
use super::source::{Source, SourceError};
use crate::clock::Clock;
use crate::store::{DocumentKind, Store};

/// Its name.
pub const STORED: &str = "stored";

/// Agreements and templates of the store.
pub struct StoredSource {
    store: Arc<dyn Store>,
    agreements: Weak<Agreements>,
    watch: Duration,
    seen: Option<i64>,
    known: Known,
}

impl StoredSource {
    /// Looks for changes by other processes this often; those by this one are seen at once.
    pub fn new(agreements: &Arc<Agreements>, store: Arc<dyn Store>, watch: Duration) -> StoredSource {
        StoredSource { store, agreements: Arc::downgrade(agreements), watch, seen: None, known: Known::default() }
    }

    /// For one reading, without a set that changes it.
    pub fn once(store: Arc<dyn Store>) -> StoredSource {
        let (agreements, watch) = (Weak::new(), Duration::MAX);
        StoredSource { store, agreements, watch, seen: None, known: Known::default() }
    }
}

/// How a stored document is named.
pub(super) fn source_name(kind: DocumentKind, id: &str) -> String {
    format!("{STORED} {} {id}", kind.word())
}

#[async_trait]
impl Source for StoredSource {
    fn name(&self) -> String {
        STORED.into()
    }

    fn kind(&self) -> &'static str {
        STORED
    }

    async fn read(&mut self) -> Result<Option<Found>, SourceError> {
        let failed = |error: crate::store::StoreError| SourceError(error.to_string());
        let revision = self.store.documents_revision().await.map_err(failed)?;
        if self.seen == Some(revision) {
            return Ok(None);
        }
        let mut documents = Vec::new();
        for kind in [DocumentKind::Agreement, DocumentKind::Template] {
            for stored in self.store.documents(kind).await.map_err(failed)? {
                let source = source_name(kind, &stored.id);
                let content = stored.document.to_string();
                let document = self.known.get(&source, content.as_bytes(), || match kind {
                    DocumentKind::Template => Document::template(&source, &source, stored.document),
                    _ => Document::of_value(&source, &source, stored.document),
                });
                documents.push(document);
            }
        }
        self.known.retain(&documents);
        self.seen = Some(revision);
        Ok(Some(Found { documents, diagnostics: Vec::new(), revision }))
    }

    async fn changed(&mut self, clock: &Clock) {
        let Some(agreements) = self.agreements.upgrade() else { return std::future::pending().await };
        tokio::select! {
            () = agreements.stored_changed.notified() => {}
            () = clock.sleep(self.watch) => {}
        }
    }
}
