//! Documents that users put by the API, as all stores keep them.

use jiff::Timestamp;

/// What a stored document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DocumentKind {
    Agreement,
    Template,
    /// A task of the Director's API.
    Task,
}

impl DocumentKind {
    /// As stored, and as said to people.
    pub fn word(self) -> &'static str {
        match self {
            DocumentKind::Agreement => "agreement",
            DocumentKind::Template => "template",
            DocumentKind::Task => "task",
        }
    }
}

/// A document, verbatim, and who put it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredDocument {
    /// Unique among those of its kind.
    pub id: String,
    pub document: serde_json::Value,
    pub put_at: Timestamp,
    pub put_by: String,
}

/// What became of a document that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutDocument {
    Added,
    Replaced,
    /// Only a new one was wanted, and there is one of this id: nothing was stored.
    Exists,
}

/// A document of a source elsewhere as it was when it was last good.
#[derive(Clone, Debug, PartialEq)]
pub struct GoodDocument {
    /// What it is known by in its source.
    pub key: String,
    pub document: serde_json::Value,
    pub seen_at: Timestamp,
}
