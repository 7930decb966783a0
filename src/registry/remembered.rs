//! Last good versions that outlive the process: what a Registry or MongoDB held when it was last understood is kept in our
//! store, so that a start while a document is broken there, or while all of it is away, goes on with that.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::document::{Content, Document, Found};
use super::live::Agreements;
use super::source::Source;
use crate::store::{GoodDocument, Store};

/// What is kept of one source.
pub(super) struct Remembered {
    store: Arc<dyn Store>,
    source: String,
    /// Hashes by key, as they are kept.
    kept: BTreeMap<String, String>,
}

impl Remembered {
    /// None for what is at hand: files, our own store, one-shot commands.
    pub(super) fn of(agreements: &Agreements, source: &dyn Source) -> Option<Remembered> {
        let store = agreements.store.clone().filter(|_| matches!(source.kind(), "registry" | "mongodb"))?;
        Some(Remembered { store, source: source.name(), kept: BTreeMap::new() })
    }

    /// Puts what was kept into force until the source answers.
    pub(super) async fn recall(&mut self, agreements: &Agreements, index: usize) {
        let kept = match self.store.good(&self.source).await {
            Ok(kept) => kept,
            Err(error) => {
                tracing::warn!(source = self.source, %error, "its last good versions cannot be read");
                return;
            }
        };
        let seen_at = kept.iter().map(|good| good.seen_at).max();
        let documents: Vec<Document> = kept
            .into_iter()
            .map(|good| {
                let name = format!("{} (as it was at {})", self.source, good.seen_at);
                Document::of_value(&good.key, &name, good.document)
            })
            // A later version of ours may understand less; then it is not the last good one any more.
            .filter(|document| matches!(document.content, Content::Agreement(_)))
            .collect();
        for document in &documents {
            if let Content::Agreement(agreement) = &document.content {
                self.kept.insert(document.key.clone(), agreement.hash.clone());
            }
        }
        if let Some(seen_at) = seen_at.filter(|_| !documents.is_empty()) {
            agreements.recall(index, Found { documents, ..Found::default() }, seen_at);
        }
    }

    /// Keeps what is good now, when that has changed.
    pub(super) async fn keep(&mut self, agreements: &Agreements, index: usize) {
        let good = agreements.good(index);
        let hashes: BTreeMap<String, String> = good.iter().map(|(key, a)| (key.clone(), a.hash.clone())).collect();
        if hashes == self.kept {
            return;
        }
        let seen_at = agreements.clock.now();
        let documents: Vec<GoodDocument> = good
            .into_iter()
            .map(|(key, agreement)| GoodDocument { key, document: agreement.document.clone(), seen_at })
            .collect();
        match self.store.keep_good(&self.source, &documents).await {
            Ok(()) => self.kept = hashes,
            Err(error) => tracing::warn!(source = self.source, %error, "its last good versions cannot be kept"),
        }
    }
}
