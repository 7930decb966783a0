//! Durable runs: a row first, then leased, run and settled. The types, the state machine and what every store promises.
//!
//! ```text
//!  accept ──► queued ──lease──► leased ──settle──► ended (the row is gone; `run` in the history, same transaction)
//!               ▲ ▲               │ │ │
//!               │ └── retry, ─────┘ │ └─ dead ──► dead ──replay──► queued
//!               │     release       └─ doubt ──► in doubt ──decide──► queued or ended
//!               └── a lease that ran out is leased again (epoch + 1, attempt + 1) by the same conditional update
//! ```
//!
//! - **What is accepted is there**: after [`Queue::accept_runs`] a run stays until it is settled as ended, cancelled or
//!   decided to fail. Nothing else removes it.
//! - **An end is for good**: ending deletes the row and writes the history in one transaction; no call brings it back,
//!   not even accepting the same id again.
//! - **Fencing**: each lease raises `epoch`. A call of who leased names the epoch it got; with another one it changes
//!   nothing and is told so. A lease that ran out but was not taken by anybody is still good.
//! - **Time is the database's**: callers give durations, never instants, so replicas' clocks do not matter. A lease of
//!   0 ms has run out at once.
//! - **One call, one transaction**: a batch is stored whole or not at all. After an error it may have been stored (the
//!   answer was lost): accepting the same ids again is harmless, settling again is answered "not yours any more".
//!
//! `docs/durability.md` tells operators the same.

mod named;

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub(super) use named::{CapsLeft, READY_LOOKED_AT};
pub use named::{LeasedByName, Ready, ReadyWanted};

use super::{AuditEntry, ClaimKey, Commit, Committed, Page, PageRequest, StoreError};
use crate::model::RunId;
use crate::model::run::{RunError, RunRecord, RunState, Trigger};

/// The epoch of a run that was leased while it was accepted.
pub const FIRST_EPOCH: i64 = 1;

/// Where a durable run stands that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueueState {
    /// Waits to be leased, from `ready_at` on.
    Queued,
    /// Somebody runs it, until `ready_at`; then anybody may take it up.
    Leased,
    /// An effect outside was begun and nobody knows whether it happened, and it must not happen twice: a person decides.
    InDoubt,
    /// Its attempts are used up; it can be looked at and replayed.
    Dead,
}

impl QueueState {
    pub const ALL: [QueueState; 4] = [QueueState::Queued, QueueState::Leased, QueueState::InDoubt, QueueState::Dead];

    pub fn as_str(self) -> &'static str {
        match self {
            QueueState::Queued => "queued",
            QueueState::Leased => "leased",
            QueueState::InDoubt => "in-doubt",
            QueueState::Dead => "dead",
        }
    }

    pub fn parse(word: &str) -> Option<QueueState> {
        QueueState::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// Who goes first. Strict: as long as something of a higher priority is ready, nothing of a lower one is leased.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Much at once that nobody waits for: recomputations, imports.
    Bulk,
    #[default]
    Normal,
    /// Somebody waits for it.
    Interactive,
}

impl Priority {
    pub const ALL: [Priority; 3] = [Priority::Bulk, Priority::Normal, Priority::Interactive];

    /// As stored: 0 to 2, the higher the sooner.
    pub(super) fn number(self) -> i16 {
        self as i16
    }

    pub(super) fn of(number: i16) -> Option<Priority> {
        Priority::ALL.into_iter().find(|priority| priority.number() == number)
    }
}

/// A request that is the same when it is made again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DedupKey {
    /// Unique in the store: begin it with what it belongs to (flow, endpoint). Of any length; its hash is stored.
    pub key: String,
    /// SHA-256 of what was asked: the same key with another one is refused.
    pub request: [u8; 32],
    /// How long the key is remembered after its run has ended, milliseconds.
    pub keep_ms: u64,
}

/// A run to be accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRun {
    /// Fresh: a UUID of version 7.
    pub id: RunId,
    /// Id of the tab, or of what else runs. What is paused, capped and counted by.
    pub flow: String,
    /// The node that the message enters at; empty when there is none.
    pub node: String,
    /// The version of the flows that this run begins and ends on.
    pub flow_version: String,
    pub trigger: Trigger,
    /// JSON; the store does not look into it.
    pub msg: String,
    /// A caller waits for the flow's own answer, at the process that accepts. A recovered run has no caller any more.
    pub reply: bool,
    pub priority: Priority,
    /// Whose run it is; empty when there are no tenants.
    pub tenant: String,
    /// Not to be leased before this has passed, milliseconds.
    pub delay_ms: u64,
    pub dedup: Option<DedupKey>,
    /// Leased by who accepts it, at once and for so long (milliseconds), with epoch [`FIRST_EPOCH`]: for runs with a
    /// caller, and for a worker that is idle. Then `delay_ms` does not count. A paused flow's run is queued all the same.
    pub lease_ms: Option<u64>,
}

impl NewRun {
    /// A run of a flow with this message, under a fresh id: of no node, version or tenant, of normal priority, ready at once,
    /// and without a caller.
    pub fn new(flow: &str, trigger: Trigger, msg: impl Into<String>) -> NewRun {
        NewRun {
            id: RunId::fresh(),
            flow: flow.to_owned(),
            node: String::new(),
            flow_version: String::new(),
            trigger,
            msg: msg.into(),
            reply: false,
            priority: Priority::Normal,
            tenant: String::new(),
            delay_ms: 0,
            dedup: None,
            lease_ms: None,
        }
    }
}

/// What became of a [`NewRun`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It waits.
    Queued,
    /// It is leased by who accepted it, with epoch [`FIRST_EPOCH`].
    Leased,
    /// The same was accepted before, as this run; nothing was stored. That run may have ended.
    Known(RunId),
    /// Its key stands for another request, accepted as this run; nothing was stored.
    Conflict(RunId),
}

/// A lease: which run, and the fencing token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Held {
    pub id: RunId,
    pub epoch: i64,
}

/// What a worker wants to lease.
#[derive(Clone, Debug, Default)]
pub struct LeaseWanted {
    /// At most this many runs. Fewer are no sign that there are no more: caps may have held some back.
    pub max: u32,
    /// How long the lease lasts, milliseconds.
    pub lease_ms: u64,
    /// Only runs of these versions of the flows; of any when absent.
    pub versions: Option<Vec<String>>,
    /// At most this many of a flow; 0: none. A flow that is not named has no cap.
    pub flow_caps: BTreeMap<String, u32>,
    /// At most this many of a tenant; 0: none.
    pub tenant_caps: BTreeMap<String, u32>,
}

/// A durable run that has not ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QueuedRun {
    pub id: RunId,
    pub flow: String,
    pub node: String,
    pub flow_version: String,
    pub trigger: Trigger,
    /// JSON. Empty in lists.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub msg: String,
    pub reply: bool,
    pub priority: Priority,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tenant: String,
    pub state: QueueState,
    /// How often it was leased since it was accepted or replayed; 0 before the first time. A crash counts, a release
    /// does not.
    pub attempt: u32,
    /// Grows with every lease and never shrinks, nor with a replay.
    pub epoch: i64,
    /// Who leased it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Queued: from when on it may be leased. Leased: until when it is. In doubt, dead: since when.
    pub ready_at: Timestamp,
    pub accepted_at: Timestamp,
    /// The latest durable point, JSON; none: begins with `msg`. Empty in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub point: Option<String>,
    /// Marks of effects, JSON: what was begun and what is done. Empty in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effects: Option<String>,
    /// What a person decided about the effect in doubt; counts until the next point is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    pub cancel_wanted: bool,
    /// Why it failed last, died, or what is in doubt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<RunError>,
}

impl QueuedRun {
    pub fn held(&self) -> Held {
        Held { id: self.id, epoch: self.epoch }
    }

    /// The history of a run that ends without having run to its end.
    pub(super) fn ended(&self, state: RunState, message: String, at: Timestamp) -> RunRecord {
        let (node, node_type) = match &self.error {
            Some(error) => (error.node.clone(), error.node_type.clone()),
            None => (self.node.clone(), String::new()),
        };
        RunRecord {
            id: self.id,
            subject: self.flow.clone(),
            trigger: self.trigger.clone(),
            state,
            started_at: self.accepted_at,
            ended_at: Some(at),
            version: self.flow_version.clone(),
            hops: 0,
            error: Some(RunError { node, node_type, message }),
            trace: Vec::new(),
            trace_dropped: 0,
        }
    }

    /// The history of one that a person (the audit entry's actor) ended.
    pub(super) fn cancelled(&self, audit: &AuditEntry, at: Timestamp) -> RunRecord {
        let before = self.error.as_ref().map_or(String::new(), |error| format!("; before: {}", error.message));
        self.ended(RunState::Stopped, format!("cancelled by {}{before}", audit.actor), at)
    }

    /// The history of one in doubt that a person decided to fail.
    pub(super) fn failed(&self, audit: &AuditEntry, at: Timestamp) -> RunRecord {
        let doubt = self.error.as_ref().map_or("in doubt", |error| error.message.as_str());
        self.ended(RunState::Failed, format!("{doubt}; {} decided that it failed", audit.actor), at)
    }
}

/// What became of a lease that was to be extended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extended {
    Kept,
    /// Kept, and somebody wants the run to be cancelled: end it as [`RunState::Stopped`].
    CancelWanted,
    /// Somebody else has it, or it has ended: stop at once, and store nothing.
    Lost,
}

/// A durable point: where a run goes on after a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    pub held: Held,
    /// Grows from point to point of one lease: one that arrives after a later one, as on a line that was broken, changes
    /// nothing.
    pub number: i64,
    /// The lease lasts at least this long from now on, milliseconds: who is told in time that its point is stored may act.
    pub lease_ms: u64,
    /// JSON; none: the one before stays.
    pub snapshot: Option<String>,
    /// JSON; none: those before stay.
    pub effects: Option<String>,
}

/// Where a run begins that is run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resume {
    /// At its latest durable point.
    Point,
    /// With its message; points and marks of effects are forgotten.
    Start,
}

/// What became of a leased run.
#[derive(Clone, Debug, PartialEq)]
pub struct Settlement {
    pub held: Held,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Its history, whose id is the run's. For good.
    Ended(Box<RunRecord>),
    /// Again after this long, milliseconds.
    Retry { delay_ms: u64, error: RunError, resume: Resume },
    /// Given back by a worker that stops: anybody may go on at once at the latest point; the attempt does not count.
    Released,
    /// Its attempts are used up.
    Dead { error: RunError },
    /// A person must decide; what a person needs for that.
    Doubt { what: RunError },
}

/// What became of an evaluation's results; see [`Queue::commit_run`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommittedRun {
    /// Stored, and the run has ended.
    Done(Committed),
    /// The lease is somebody else's: nothing was stored.
    Lost,
    /// The agreement's turn is another one: nothing was stored, the lease stays.
    OtherTurn,
}

impl CommittedRun {
    /// What was stored, if it was.
    pub fn done(self) -> Option<Committed> {
        match self {
            CommittedRun::Done(committed) => Some(committed),
            CommittedRun::Lost | CommittedRun::OtherTurn => None,
        }
    }
}

/// What a person decides about an effect of which nobody knows whether it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// It did not happen: make it.
    Again,
    /// It happened: go on behind it.
    Skip,
    /// The run ends as failed.
    Fail,
}

impl Decision {
    pub fn as_str(self) -> &'static str {
        match self {
            Decision::Again => "again",
            Decision::Skip => "skip",
            Decision::Fail => "fail",
        }
    }

    pub fn parse(word: &str) -> Option<Decision> {
        [Decision::Again, Decision::Skip, Decision::Fail].into_iter().find(|decision| decision.as_str() == word)
    }
}

/// What became of a wish to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It has ended, as [`RunState::Stopped`].
    Ended,
    /// Somebody runs it and is told with the next extension of the lease; who leases it next is told, too.
    Wanted,
    /// There is no such run that has not ended.
    Unknown,
}

/// A flow whose runs are not leased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PausedFlow {
    pub flow: String,
    pub by: String,
    pub since: Timestamp,
}

/// Which durable runs to list. Everything given must hold.
#[derive(Clone, Debug, Default)]
pub struct QueueQuery {
    pub flow: Option<String>,
    pub state: Option<QueueState>,
    pub tenant: Option<String>,
    /// Accepted at or after this.
    pub from: Option<Timestamp>,
    /// Accepted before this.
    pub to: Option<Timestamp>,
    /// Stands in the message or the error, in any case of letters.
    pub text: Option<String>,
    /// Leases that ran out at least this long ago and were not taken up, milliseconds: stuck ones.
    pub overdue_ms: Option<u64>,
}

/// How many durable runs stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct QueueDepth {
    /// May be leased now, but for pauses; leases that ran out are not among them.
    pub ready: u64,
    /// Queued for later.
    pub delayed: u64,
    pub leased: u64,
    /// Leases that ran out; among `leased`.
    pub overdue: u64,
    pub in_doubt: u64,
    pub dead: u64,
    /// How long that has waited which is ready longest, milliseconds.
    pub oldest_ms: Option<u64>,
}

/// The oldest snapshot that somebody holds open in the database. What was deleted since cannot be cleaned up: an old one
/// makes every queue slow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Horizon {
    /// Age of the oldest transaction that holds one, milliseconds; of those that we may see.
    pub held_ms: u64,
    /// Transactions begun since the oldest that is still open.
    pub transactions: u64,
}

/// Durable runs; see the module for what holds for all of it. All instants in answers are the database's.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Stores runs; the answers stand in their order. A run whose id is there, or has ended, is [`Accepted::Known`].
    /// Of several with one key in a batch the first counts. A key whose run ended longer ago than its `keep_ms` is free.
    async fn accept_runs(&self, owner: &str, runs: &[NewRun]) -> Result<Vec<Accepted>, StoreError>;

    /// Stores the run of a firing and completes its claim (also one never made), in one transaction. Known, and nothing
    /// is stored, when the claim was completed before: that run. It is queued, never leased at once, and its key does
    /// not count: a firing is told apart by its claim.
    async fn accept_tick(&self, claim: &ClaimKey, run: &NewRun) -> Result<Accepted, StoreError>;

    /// Leases runs that are ready, and those whose lease ran out: the highest priority first, of one the longest ready.
    /// Flows that are paused are left out. No two callers get one run.
    async fn lease_runs(&self, owner: &str, wanted: &LeaseWanted) -> Result<Vec<QueuedRun>, StoreError>;

    /// Leases those of these runs that are ready and stand at the epoch named, within what is wanted (`max` does not
    /// count), under the rules of [`Queue::lease_runs`].
    async fn lease_named(&self, owner: &str, named: &[Held], wanted: &LeaseWanted) -> Result<LeasedByName, StoreError>;

    /// Runs that may be leased now, for telling workers of them; those of paused flows are left out.
    async fn ready_runs(&self, wanted: &ReadyWanted) -> Result<Vec<Ready>, StoreError>;

    /// Lets leases last this long from now on, milliseconds; the answers stand in their order.
    async fn extend_leases(&self, held: &[Held], lease_ms: u64) -> Result<Vec<Extended>, StoreError>;

    /// Stores durable points, in their order: false where the lease is somebody else's; that run must stop at once.
    async fn mark_points(&self, points: &[Point]) -> Result<Vec<bool>, StoreError>;

    /// Stores what became of runs; the answers stand in their order. False: the lease was somebody else's, or the run
    /// has ended (also by this call, when it was made again after an error); nothing of it was stored.
    async fn settle_runs(&self, settled: &[Settlement]) -> Result<Vec<bool>, StoreError>;

    /// Ends a run with the results of its evaluation, in one transaction: as [`super::Store::commit`], and with a turn as
    /// [`super::Store::commit_at`], if the lease is still the caller's. `commit.run.id` is the run's.
    async fn commit_run(&self, held: Held, commit: &Commit, turn: Option<i64>) -> Result<CommittedRun, StoreError>;

    /// Cancels a run: at once when nobody runs it. The audit entry is stored with it, if there is such a run.
    async fn cancel_run(&self, id: RunId, audit: &AuditEntry) -> Result<Cancelled, StoreError>;

    /// Decides about a run in doubt, with the audit entry. False, and nothing is stored, when there is none.
    async fn decide_run(&self, id: RunId, decision: Decision, audit: &AuditEntry) -> Result<bool, StoreError>;

    /// Queues a dead run anew, with all its attempts, and stores the audit entry. False, and nothing is stored, when
    /// there is none.
    async fn replay_run(&self, id: RunId, resume: Resume, audit: &AuditEntry) -> Result<bool, StoreError>;

    /// Leases no more runs of a flow; those that are leased go on. False, and no audit entry, when it is paused.
    async fn pause_flow(&self, flow: &str, audit: &AuditEntry) -> Result<bool, StoreError>;

    /// Ends a pause. False, and no audit entry, when there is none.
    async fn resume_flow(&self, flow: &str, audit: &AuditEntry) -> Result<bool, StoreError>;

    /// By flow.
    async fn paused_flows(&self) -> Result<Vec<PausedFlow>, StoreError>;

    /// A run that has not ended, whole.
    async fn queued_run(&self, id: RunId) -> Result<Option<QueuedRun>, StoreError>;

    /// Runs that have not ended, newest first; messages, points and effects left empty.
    async fn queued_runs(&self, query: &QueueQuery, page: &PageRequest) -> Result<Page<QueuedRun>, StoreError>;

    /// Of one flow, or of all.
    async fn queue_depth(&self, flow: Option<&str>) -> Result<QueueDepth, StoreError>;

    /// Changes whenever this process has made a run leasable, or another process has said that it did: a hint to lease
    /// at once. Nobody promises it: delays, leases that run out and lost messages say nothing, so poll, too.
    fn wakes(&self) -> watch::Receiver<u64>;

    /// What holds the database back from cleaning up; `None` where no such thing can be.
    async fn horizon(&self) -> Result<Option<Horizon>, StoreError>;
}
