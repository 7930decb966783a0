//! Documents put, replaced and removed by the API: checked, stored with their audit row, and in force before the call
//! returns.

use serde_json::{Value, json};

use super::live::Agreements;
use super::source::Source;
use super::stored::{StoredSource, source_name};
use crate::agreement;
use crate::model::diagnostic::{Diagnostic, Severity};
use crate::store::{AuditEntry, DocumentKind, PutDocument, StoreError, StoredDocument};

/// What a change did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    Added,
    Replaced,
}

/// Why a document was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// Everything that is wrong with it.
    #[error("the document cannot be used: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Broken(Vec<Diagnostic>),
    #[error("there is \"{0}\" already")]
    Exists(String),
    #[error("there is no \"{0}\"")]
    Unknown(String),
    /// It comes from a source that Probity only reads.
    #[error("\"{id}\" comes from {source_name}, which is changed there and not here")]
    NotOurs { id: String, source_name: String },
    #[error("this process keeps no documents")]
    NoStore,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Agreements {
    /// Stores an agreement or template whose id nobody has.
    ///
    /// # Errors
    /// [`PutError::Broken`] with every problem; [`PutError::Exists`].
    pub async fn add(&self, kind: DocumentKind, document: Value, by: &str) -> Result<(), PutError> {
        let id = self.checked(kind, &document)?;
        let _turn = self.putting.lock().await;
        if self.source_of(kind, &id).is_some() {
            return Err(PutError::Exists(id));
        }
        self.write(kind, &id, document, by, true).await.map(drop)
    }

    /// Stores an agreement or template in place of the one of its id, or as a new one.
    ///
    /// # Errors
    /// [`PutError::Broken`] with every problem; [`PutError::NotOurs`] when another source has that id.
    pub async fn put(&self, kind: DocumentKind, document: Value, by: &str) -> Result<PutOutcome, PutError> {
        let id = self.checked(kind, &document)?;
        let _turn = self.putting.lock().await;
        self.only_ours(kind, &id)?;
        self.write(kind, &id, document, by, false).await
    }

    /// Removes a stored agreement or template.
    ///
    /// # Errors
    /// [`PutError::Unknown`]; [`PutError::NotOurs`] when another source has that id.
    pub async fn remove(&self, kind: DocumentKind, id: &str, by: &str) -> Result<(), PutError> {
        let store = self.store.clone().ok_or(PutError::NoStore)?;
        let _turn = self.putting.lock().await;
        self.only_ours(kind, id)?;
        let audit = self.audit("remove", kind, id, by, json!({}));
        if !store.remove_document(kind, id, &audit).await? {
            return Err(PutError::Unknown(id.into()));
        }
        self.read_stored().await
    }

    /// Whether this document is one that [`Agreements::put`] may replace and [`Agreements::remove`] remove.
    pub fn is_stored(&self, kind: DocumentKind, id: &str) -> bool {
        self.source_of(kind, id).is_some_and(|source| source == source_name(kind, id))
    }

    fn source_of(&self, kind: DocumentKind, id: &str) -> Option<String> {
        let snapshot = self.snapshot();
        match kind {
            DocumentKind::Template => snapshot.templates.get(id).map(|t| t.source.clone()),
            _ => snapshot.get(id).map(|a| a.source.clone()),
        }
    }

    fn only_ours(&self, kind: DocumentKind, id: &str) -> Result<(), PutError> {
        match self.source_of(kind, id) {
            Some(source) if source != source_name(kind, id) => {
                Err(PutError::NotOurs { id: id.into(), source_name: source })
            }
            _ => Ok(()),
        }
    }

    /// The id of a document without errors.
    ///
    /// # Errors
    /// [`PutError::Broken`] with every problem.
    pub fn checked(&self, kind: DocumentKind, document: &Value) -> Result<String, PutError> {
        if kind == DocumentKind::Agreement {
            return match agreement::load_value(document.clone(), "") {
                (Some(agreement), _) => Ok(agreement.id),
                (None, problems) => {
                    Err(PutError::Broken(problems.into_iter().filter(|p| p.severity == Severity::Error).collect()))
                }
            };
        }
        match document.get("id").and_then(Value::as_str).filter(|id| !id.is_empty()) {
            Some(id) => Ok(id.to_owned()),
            None => {
                let problem = Diagnostic::error("missing-field", "$.id", "id is missing").expected("a text");
                Err(PutError::Broken(vec![problem]))
            }
        }
    }

    async fn write(
        &self,
        kind: DocumentKind,
        id: &str,
        document: Value,
        by: &str,
        only_new: bool,
    ) -> Result<PutOutcome, PutError> {
        let store = self.store.clone().ok_or(PutError::NoStore)?;
        let audit = self.audit("put", kind, id, by, json!({"version": document.get("version")}));
        let stored = StoredDocument { id: id.into(), document, put_at: self.clock.now(), put_by: by.into() };
        let outcome = match store.put_document(kind, &stored, only_new, &audit).await? {
            PutDocument::Added => PutOutcome::Added,
            PutDocument::Replaced => PutOutcome::Replaced,
            PutDocument::Exists => return Err(PutError::Exists(id.into())),
        };
        self.read_stored().await?;
        Ok(outcome)
    }

    fn audit(&self, action: &str, kind: DocumentKind, id: &str, by: &str, detail: Value) -> AuditEntry {
        AuditEntry {
            at: self.clock.now(),
            actor: by.into(),
            action: format!("{action}-{}", kind.word()),
            subject: id.into(),
            detail,
        }
    }

    /// Brings what was stored into force before the caller is answered.
    async fn read_stored(&self) -> Result<(), PutError> {
        let store = self.store.clone().ok_or(PutError::NoStore)?;
        let stored = self.snapshot().sources.iter().position(|s| s.kind == super::stored::STORED);
        if let Some(index) = stored {
            match StoredSource::once(store).read().await {
                Ok(found) => self.found(index, found.unwrap_or_default()),
                // It is stored; the source's own loop brings it in when the store answers again.
                Err(problem) => self.away(index, problem.0),
            }
        }
        self.stored_changed.notify_one();
        Ok(())
    }
}
