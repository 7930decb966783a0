//! Floor 4: where results live. One trait, three homes: SQLite (embedded), Postgres, memory (tests).
//!
//! The only module that holds SQL. What a call has acknowledged is durable; a [`Commit`] is one transaction.

mod address;
mod batch;
pub mod claims;
pub mod contexts;
mod cursor;
mod delivery;
mod document;
mod fingerprint;
pub mod flow_revisions;
mod holding;
mod memory;
mod notification;
mod postgres;
mod query;
pub mod queue;
mod retention;
mod schema;
mod session;
mod sqlite;
mod stored;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use address::{change_password, open, open_memory};
pub use claims::{Claim, Claimed, Claims, Due, Holder, How, Tick};
pub use contexts::{ContextScope, Contexts};
pub use delivery::{Delivery, Settled};
pub use document::{DocumentKind, GoodDocument, PutDocument, StoredDocument};
pub use flow_revisions::{FlowHead, FlowRevision, FlowRevisionAbout, FlowRevisions, NewFlowRevision};
pub use holding::{Held, Holding};
pub use notification::{Notification, Notifications, Rule as NotificationRule, Told, Transition, VerdictChange};
pub use query::{Page, PageRequest, RunQuery, RunText, StateQuery, TRIGGER_KINDS, trigger_kind};
pub use retention::{Expired, Retention};
pub use schema::SchemaDistance;
pub use session::Session;

use address::without_password;
use query::{first_run_at, like};

use crate::model::RunId;
use crate::model::budget::Outcome;
use crate::model::run::RunRecord;
use crate::model::state::{Correction, Scope, State, StateKind, StoredState};
use crate::model::waiver::Waiver;

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
    /// SQLite could not write its file: no space, a quota, a broken disk. Nothing of the call was stored.
    #[error(
        "{what}: {source}; nothing of it was stored. Free space on the disk with the data folder, or lift the quota or \
         file size limit; from then on results are stored again without a restart"
    )]
    Disk {
        what: &'static str,
        #[source]
        source: sqlx::Error,
    },
    #[error("cannot use the database at {url}: {problem}; {hint}")]
    Unusable { url: String, problem: String, hint: String },
    #[error("stored {what} cannot be read back: {problem}")]
    Corrupt { what: &'static str, problem: String },
    /// Somebody else has the work, or has done it; nothing of the call was stored.
    #[error("the lease of {schedule} at {due_at} was lost to another process; nothing of it was stored here")]
    Late { schedule: String, due_at: Timestamp },
    /// The caller's fault: [`PageRequest::after`] did not come from the list it is given to.
    #[error("{cursor:?} is no cursor of this list; give `next` of an earlier answer, or none to start anew")]
    Cursor { cursor: String },
}

impl StoreError {
    fn late(claim: &Claim) -> StoreError {
        StoreError::Late { schedule: claim.key.schedule.clone(), due_at: claim.key.due_at }
    }

    /// Whether a lease was lost: the work is another's now.
    pub fn is_late(&self) -> bool {
        matches!(self, StoreError::Late { .. })
    }

    /// True when the database could not be asked, rather than refused: it may answer again in a moment.
    pub fn is_unreachable(&self) -> bool {
        let StoreError::Database { source, .. } = self else { return false };
        match source {
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => true,
            // Postgres: connection exceptions, out of resources, shutting down or starting.
            sqlx::Error::Database(error) => {
                let code = error.code().unwrap_or_default();
                ["08", "53", "57P"].iter().any(|class| code.starts_with(class))
                    && error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some()
            }
            _ => false,
        }
    }
}

/// How to use the database. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreOptions {
    /// Connections to Postgres, or readers of SQLite (which has one writer besides). At least 1. Postgres: durable runs
    /// have up to 4 of their own besides, and 2 for messages between processes.
    pub connections_max: u32,
    /// How long opening a connection, or waiting for a free one, may take.
    pub connect_timeout_ms: u64,
    /// SQLite: how long to wait for another process that writes.
    pub busy_timeout_ms: u64,
    /// Postgres: how long one call may take in all before it fails; a server that went silent must not hang us.
    pub call_timeout_ms: u64,
    /// Postgres: how often a commit is tried in all when another one gets in its way.
    pub commit_attempts_max: u32,
    /// Agreements whose final verdicts are kept for delivery with the commit that makes them: none, or those with these
    /// ids, or all when the list is empty.
    pub deliver: Option<Vec<String>>,
    /// Which changes of verdicts are kept to be told, with the commit that makes them.
    pub notify: Vec<NotificationRule>,
    /// Postgres: the password, if it does not stand in the address.
    pub password: String,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions {
            connections_max: 8,
            connect_timeout_ms: 5_000,
            busy_timeout_ms: 30_000,
            call_timeout_ms: 60_000,
            commit_attempts_max: 5,
            deliver: None,
            notify: Vec::new(),
            password: String::new(),
        }
    }
}

/// States kept aside of one agreement.
const ASIDE_MAX: i64 = 2_000;

/// Names the operation that a database error broke.
fn during<E: Into<sqlx::Error>>(what: &'static str) -> impl FnOnce(E) -> StoreError {
    move |source| {
        let source = source.into();
        if is_disk_failure(&source) { StoreError::Disk { what, source } } else { StoreError::Database { what, source } }
    }
}

/// SQLite's `SQLITE_FULL` and the `SQLITE_IOERR` family.
fn is_disk_failure(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else { return false };
    if error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_none() {
        return false;
    }
    let code = error.code().and_then(|code| code.parse::<u32>().ok());
    // The low byte of an extended code is the primary one.
    code.is_some_and(|code| matches!(code & 0xff, 10 | 13))
}

/// One evaluation's results and everything that belongs to them. Stored whole or not at all.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The ended evaluation.
    pub run: RunRecord,
    pub states: Vec<State>,
    pub audit: AuditEntry,
    /// The schedule claim this evaluation completes. When its lease was lost, nothing of the commit is stored:
    /// [`StoreError::Late`].
    pub claim: Option<Claim>,
    pub recorded_at: Timestamp,
}

/// What a commit changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// States seen for the first time.
    pub inserted: u64,
    /// States whose content changed: a new revision.
    pub revised: u64,
    /// Nothing written: states equal to what was stored, and provisional ones of windows that are judged for good.
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

/// A firing of a schedule. Unique: one row, whoever makes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClaimKey {
    pub schedule: String,
    pub due_at: Timestamp,
}

#[async_trait]
pub trait Store: queue::Queue + Claims + FlowRevisions + Notifications + Contexts {
    /// What it is, for `/health/ready` and logs, without secrets: `sqlite data/probity.db`.
    fn describe(&self) -> String;

    /// Brings the schema up to date, under a lock; safe to call from several processes at once.
    async fn migrate(&self) -> Result<(), StoreError>;

    /// How far the schema is from ours; changes nothing.
    async fn schema_distance(&self) -> Result<SchemaDistance, StoreError>;

    /// Goes on at another address, or with another password, once that is seen to work: open calls and connections are not
    /// disturbed. Stores in files have neither.
    async fn renew(&self, _url: &str, _password: &str) -> Result<(), StoreError> {
        Ok(())
    }

    /// Answers when the database does.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Stores an evaluation: states (upserted by identity, old revisions kept), run, audit row and the
    /// completion of its claim in one transaction. Idempotent for equal states: the run and the instants at which
    /// evidence was collected and the state recorded do not count. A provisional state never replaces a final one:
    /// it was said before, and is only stored late. After an error it may still have been stored (the
    /// answer was lost); committing again is harmless.
    async fn commit(&self, commit: &Commit) -> Result<Committed, StoreError>;

    /// A number of an agreement that is greater after every commit for it, and every change of its waivers, than before.
    async fn turn(&self, agreement: &str) -> Result<i64, StoreError>;

    /// As [`Store::commit`], if the turn of the run's agreement is still this one. `None`, and nothing is stored, when
    /// another process was first: what the states were judged from may be another now.
    async fn commit_at(&self, commit: &Commit, turn: i64) -> Result<Option<Committed>, StoreError>;

    /// Keeps states of ranges that are no windows of their agreement, apart from all others: of each the last answer, of
    /// an agreement the newest [`ASIDE_MAX`].
    async fn put_aside(&self, agreement: &str, states: &[State], at: Timestamp) -> Result<(), StoreError>;

    /// What [`Store::put_aside`] keeps of an agreement, latest window first; `revision` says how often it was answered.
    async fn aside(&self, agreement: &str) -> Result<Vec<StoredState>, StoreError>;

    /// Keeps the last good versions of documents of a source elsewhere, by the names they have there, in place of what was
    /// kept of it.
    async fn keep_good(&self, source: &str, documents: &[GoodDocument]) -> Result<(), StoreError>;

    /// What [`Store::keep_good`] keeps of a source, by key.
    async fn good(&self, source: &str) -> Result<Vec<GoodDocument>, StoreError>;

    /// Removes what retention lets go: states whose window ended before the first day that is kept, with all their
    /// revisions; runs opened before it; completed firings due before it, but for the newest of each schedule. Nothing
    /// that is to be kept is removed; what has no more right to be there may stay for a while: Postgres drops whole
    /// partitions, of a day or, when a hundred days and more are kept, of a month. Each removal has an audit entry
    /// (`expire`). Postgres also makes the partitions of the next days. Several processes may call it at once.
    async fn upkeep(&self, now: Timestamp, keep: &Retention) -> Result<Expired, StoreError>;

    /// The oldest states kept for delivery ([`StoreOptions::deliver`]), for the caller alone until `until`; `None` when
    /// nothing waits, or somebody else has them.
    async fn next_delivery(&self, now: Timestamp, until: Timestamp) -> Result<Option<Delivery>, StoreError>;

    /// Says what became of a delivery. What is done is forgotten when all of its group is.
    async fn settle_delivery(&self, delivery: &Delivery, settled: &Settled) -> Result<(), StoreError>;

    /// States that wait to be delivered.
    async fn deliveries_waiting(&self) -> Result<u64, StoreError>;

    /// Adds ended flow runs to the history, in one transaction. A run already there is replaced.
    async fn record_runs(&self, runs: &[RunRecord]) -> Result<(), StoreError>;

    async fn run(&self, id: RunId) -> Result<Option<RunRecord>, StoreError>;

    /// Newest first; traces left empty.
    async fn runs(&self, query: &RunQuery, page: &PageRequest) -> Result<Page<RunRecord>, StoreError>;

    /// Latest revisions, or those known at [`StateQuery::as_of`]; newest window first.
    async fn states(&self, query: &StateQuery, page: &PageRequest) -> Result<Page<StoredState>, StoreError>;

    /// As [`Store::states`], all pages: what they hold lies in memory at once.
    async fn all_states(&self, query: &StateQuery) -> Result<Vec<StoredState>, StoreError> {
        let mut page = PageRequest { limit: 1000, after: None };
        let mut found = Vec::new();
        loop {
            let stored = self.states(query, &page).await?;
            found.extend(stored.items);
            match stored.next {
                Some(next) => page.after = Some(next),
                None => return Ok(found),
            }
        }
    }

    /// What was said for good of a guarantee's windows that end after `after` and not after `until`: the latest
    /// revisions, in any order.
    async fn outcomes(
        &self,
        agreement: &str,
        guarantee: &str,
        after: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Outcome>, StoreError> {
        let query = StateQuery {
            agreement: Some(agreement.to_owned()),
            kind: Some(StateKind::Guarantee),
            of: Some(guarantee.to_owned()),
            from: Some(after),
            to: Some(until),
            provisional: Some(false),
            ..StateQuery::default()
        };
        let mut page = PageRequest { limit: 1000, after: None };
        let mut found = Vec::new();
        loop {
            let stored = self.states(&query, &page).await?;
            found.extend(
                stored.items.iter().filter(|s| s.state.window.to <= until).filter_map(|s| Outcome::of(&s.state)),
            );
            match stored.next {
                Some(next) => page.after = Some(next),
                None => return Ok(found),
            }
        }
    }

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

    /// Revisions that changed what had been said of a closed window, latest first. The query's verdict and provisional
    /// are those after the correction; with `as_of`, only those known by then.
    async fn corrections(&self, query: &StateQuery, page: &PageRequest) -> Result<Page<Correction>, StoreError>;

    /// Adds a waiver and its audit entry in one transaction. False, and nothing is stored, when the agreement has one
    /// with this id.
    async fn add_waiver(&self, waiver: &Waiver, audit: &AuditEntry) -> Result<bool, StoreError>;

    /// Ends a waiver, with its audit entry in one transaction. False, and nothing is stored, when there is none with
    /// this id, or it has ended or expired by then.
    async fn end_waiver(
        &self,
        agreement: &str,
        id: &str,
        at: Timestamp,
        audit: &AuditEntry,
    ) -> Result<bool, StoreError>;

    /// Stored waivers, ended and expired ones too, of one agreement or of all; by agreement and id.
    async fn waivers(&self, agreement: Option<&str>) -> Result<Vec<Waiver>, StoreError>;

    /// The documents of a kind that were put by the API, by id.
    async fn documents(&self, kind: DocumentKind) -> Result<Vec<StoredDocument>, StoreError>;

    /// A number that is greater after every change of any document than before it; 0 before the first.
    async fn documents_revision(&self) -> Result<i64, StoreError>;

    /// Stores a document in place of the one of its kind and id, or with `only_new` none if there is one, and the audit
    /// row of a change, in one transaction.
    async fn put_document(
        &self,
        kind: DocumentKind,
        document: &StoredDocument,
        only_new: bool,
        audit: &AuditEntry,
    ) -> Result<PutDocument, StoreError>;

    /// Removes a document, and stores the audit row of that; false, and no row, when there is none.
    async fn remove_document(&self, kind: DocumentKind, id: &str, audit: &AuditEntry) -> Result<bool, StoreError>;

    /// Stores a login, and forgets those that are over by `now`.
    async fn add_session(&self, session: &Session, now: Timestamp) -> Result<(), StoreError>;

    /// The login with a token of this SHA-256 (hex), over or not.
    async fn session(&self, token_hash: &str) -> Result<Option<Session>, StoreError>;

    /// Ends a login; false when there is none.
    async fn end_session(&self, token_hash: &str) -> Result<bool, StoreError>;

    /// What the editor keeps for a user; `None` when nothing was stored.
    async fn user_settings(&self, user: &str) -> Result<Option<serde_json::Value>, StoreError>;

    /// Stores what the editor keeps for a user, in place of what there was.
    async fn put_user_settings(&self, user: &str, settings: &serde_json::Value) -> Result<(), StoreError>;

    async fn audit(&self, entry: &AuditEntry) -> Result<(), StoreError>;

    /// Newest first.
    async fn audit_entries(&self, page: &PageRequest) -> Result<Page<AuditEntry>, StoreError>;
}
