//! Floor 4: where results live. One trait, three homes: SQLite (embedded), Postgres, memory (tests).
//!
//! The only module that holds SQL. What a call has acknowledged is durable; a [`Commit`] is one transaction.

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::run::{RunRecord, RunState};
use crate::model::state::{Scope, State, StateKind, StoredState, Verdict};
use crate::model::{RunId, run};

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused or broke; `what` names the operation.
    #[error("{what}: {source}")]
    Database {
        what: &'static str,
        #[source]
        source: sqlx::Error,
    },
    #[error("cannot use the database at {url}: {problem}; {hint}")]
    Unusable { url: String, problem: String, hint: String },
    #[error("stored {what} cannot be read back: {problem}")]
    Corrupt { what: &'static str, problem: String },
}

/// One evaluation's results and everything that belongs to them. Stored whole or not at all.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The ended evaluation.
    pub run: RunRecord,
    pub states: Vec<State>,
    pub audit: AuditEntry,
    /// The schedule claim this evaluation completes.
    pub claim: Option<ClaimKey>,
    pub recorded_at: Timestamp,
}

/// What a commit changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// States seen for the first time.
    pub inserted: u64,
    /// States whose content changed: a new revision.
    pub revised: u64,
    /// States equal to what was stored: nothing written.
    pub unchanged: u64,
}

/// Who did what to what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    pub at: Timestamp,
    /// User name, `schedule`, `cli`, `startup`.
    pub actor: String,
    /// `evaluate`, `deploy`, …
    pub action: String,
    pub subject: String,
    pub detail: serde_json::Value,
}

/// A firing of a schedule. Unique: exactly one claimer proceeds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClaimKey {
    pub schedule: String,
    pub due_at: Timestamp,
}

/// Which states to list. Everything given must hold.
#[derive(Clone, Debug, Default)]
pub struct StateQuery {
    pub agreement: Option<String>,
    pub kind: Option<StateKind>,
    pub of: Option<String>,
    pub scope: Option<Scope>,
    pub verdict: Option<Verdict>,
    /// Windows that end after this.
    pub from: Option<Timestamp>,
    /// Windows that start before this.
    pub to: Option<Timestamp>,
    pub provisional: Option<bool>,
}

#[derive(Clone, Debug, Default)]
pub struct RunQuery {
    pub subject: Option<String>,
    pub state: Option<RunState>,
    /// `http`, `cron`, … as in [`run::Trigger`]'s tag.
    pub trigger: Option<String>,
}

/// A slice of a list. `next` is an opaque cursor for the following slice.
#[derive(Clone, Debug, Serialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<String>,
}

/// How much of a list, and from where.
#[derive(Clone, Debug)]
pub struct PageRequest {
    /// 1 to 1000.
    pub limit: u32,
    pub after: Option<String>,
}

impl Default for PageRequest {
    fn default() -> Self {
        PageRequest { limit: 100, after: None }
    }
}

#[async_trait]
pub trait Store: Send + Sync {
    /// What it is, for `/health/ready` and logs, without secrets: `sqlite data/probity.db`.
    fn describe(&self) -> String;

    /// Brings the schema up to date, under a lock; safe to call from several processes at once.
    async fn migrate(&self) -> Result<(), StoreError>;

    /// Answers when the database does.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Stores an evaluation: states (upserted by identity, old revisions kept), run, audit row and the
    /// completion of its claim in one transaction. Idempotent for equal states.
    async fn commit(&self, commit: &Commit) -> Result<Committed, StoreError>;

    /// Adds ended flow runs to the history, in one transaction. A run already there is replaced.
    async fn record_runs(&self, runs: &[RunRecord]) -> Result<(), StoreError>;

    async fn run(&self, id: RunId) -> Result<Option<RunRecord>, StoreError>;

    /// Newest first; traces left empty.
    async fn runs(&self, query: &RunQuery, page: &PageRequest) -> Result<Page<RunRecord>, StoreError>;

    /// Latest revisions, newest window first.
    async fn states(&self, query: &StateQuery, page: &PageRequest) -> Result<Page<StoredState>, StoreError>;

    /// All revisions of one state, oldest first.
    async fn revisions(
        &self,
        agreement: &str,
        kind: StateKind,
        of: &str,
        scope: &Scope,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<StoredState>, StoreError>;

    /// True for the one caller that gets this firing; false when it was claimed before.
    async fn claim(&self, claim: &ClaimKey, at: Timestamp) -> Result<bool, StoreError>;

    /// Marks a claim complete that has no evaluation to commit (a flow's schedule).
    async fn complete_claim(&self, claim: &ClaimKey, run: RunId) -> Result<(), StoreError>;

    /// Claims without a committed evaluation, oldest first.
    async fn open_claims(&self) -> Result<Vec<ClaimKey>, StoreError>;

    /// The newest firing ever claimed of this schedule.
    async fn last_claim(&self, schedule: &str) -> Result<Option<Timestamp>, StoreError>;

    async fn audit(&self, entry: &AuditEntry) -> Result<(), StoreError>;

    /// Newest first.
    async fn audit_entries(&self, page: &PageRequest) -> Result<Page<AuditEntry>, StoreError>;
}

/// The tag of a trigger, as stored and filtered by.
pub fn trigger_kind(trigger: &run::Trigger) -> &'static str {
    match trigger {
        run::Trigger::Http { .. } => "http",
        run::Trigger::Cron { .. } => "cron",
        run::Trigger::Inject { .. } => "inject",
        run::Trigger::Event { .. } => "event",
        run::Trigger::Manual { .. } => "manual",
        run::Trigger::Metric { .. } => "metric",
        run::Trigger::Linked { .. } => "linked",
    }
}
