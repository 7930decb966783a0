//! The flows as they were deployed, one revision after another: the promises, whatever the database.

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;

use super::{Page, PageRequest, StoreError};

/// What a revision is known by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FlowHead {
    /// 1 for the first; each is one more than the one before.
    pub number: i64,
    /// SHA-256 of the flows as `JSON.stringify` writes them, hex: what Node-RED calls `rev`.
    pub hash: String,
}

/// About a revision, without its flows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FlowRevisionAbout {
    #[serde(flatten)]
    pub head: FlowHead,
    /// Who made it; `file`: it was found in the flow file.
    pub author: String,
    /// `deploy`, `file`, `rollback to 3`, …
    pub action: String,
    pub at: Timestamp,
    /// Length of the flows' text.
    pub bytes: i64,
}

/// A revision that is to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFlowRevision {
    pub hash: String,
    pub author: String,
    pub action: String,
    pub at: Timestamp,
    /// A JSON array of the entries, without credentials.
    pub flows: String,
    /// The file of credentials, encrypted; `None`: they are not kept here.
    pub credentials: Option<String>,
}

/// A stored revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowRevision {
    pub number: i64,
    pub revision: NewFlowRevision,
}

#[async_trait]
pub trait FlowRevisions: Send + Sync {
    /// The newest revision; `None` before the first.
    async fn flow_head(&self) -> Result<Option<FlowHead>, StoreError>;

    /// Stores the successor of revision `after` (0: the first one) and gives its number. `None`, and nothing is stored,
    /// when `after` is not the newest one any more. Of the older ones the newest `keep` stay, if that is not 0.
    async fn put_flow_revision(
        &self,
        after: i64,
        revision: &NewFlowRevision,
        keep: u32,
    ) -> Result<Option<i64>, StoreError>;

    async fn flow_revision(&self, number: i64) -> Result<Option<FlowRevision>, StoreError>;

    /// The newest revision with these flows.
    async fn flow_revision_of(&self, hash: &str) -> Result<Option<i64>, StoreError>;

    /// Newest first.
    async fn flow_revisions(&self, page: &PageRequest) -> Result<Page<FlowRevisionAbout>, StoreError>;
}
