//! Durable runs in SQLite: one writer at a time, so that what is read in a transaction stays so until it commits.
//!
//! The time is SQLite's own, asked once a transaction, to the millisecond.

mod change;
mod lease;
mod named;
mod people;
mod read;

use async_trait::async_trait;
use sqlx::SqliteConnection;
use tokio::sync::watch;

pub(super) use change::{expire_keys, remove};

use super::{SqliteStore, release};
use crate::failpoint::{FailPoint, reach};
use crate::model::RunId;
use crate::store::queue::{
    Accepted, Cancelled, CommittedRun, Decision, Extended, Held, Horizon, LeaseWanted, LeasedByName, NewRun, Outcome,
    PausedFlow, Point, Queue, QueueDepth, QueueQuery, QueuedRun, Ready, ReadyWanted, Resume, Settlement,
};
use crate::store::{AuditEntry, ClaimKey, Commit, Page, PageRequest, StoreError, during};

/// Longer times are cut to this: a hundred years, milliseconds.
const DURATION_MS_MAX: u64 = 100 * 366 * 86_400_000;

/// Microseconds since 1970, by SQLite's clock.
async fn now(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000").fetch_one(connection).await
}

/// The instant that is this long, milliseconds, after another.
fn after(now: i64, ms: u64) -> i64 {
    let ms = i64::try_from(ms.min(DURATION_MS_MAX)).expect("a hundred years fit");
    now.saturating_add(ms * 1000)
}

/// Does something with the writer, and names what failed.
macro_rules! write {
    ($store:expr, $failed:expr, |$writer:ident| $call:expr) => {{
        let mut $writer = $store.writer.acquire().await.map_err(during($failed))?;
        let done = $call.await;
        release($writer, done).await.map_err(during($failed))?
    }};
}

impl SqliteStore {
    /// Something can be leased.
    fn wake(&self) {
        self.wakes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

#[async_trait]
impl Queue for SqliteStore {
    async fn accept_runs(&self, owner: &str, runs: &[NewRun]) -> Result<Vec<Accepted>, StoreError> {
        reach(FailPoint::AcceptBeforeCommit);
        let accepted = write!(self, "accept durable runs", |writer| change::accept(&mut writer, owner, runs));
        reach(FailPoint::AcceptAfterCommit);
        if accepted.contains(&Accepted::Queued) {
            self.wake();
        }
        Ok(accepted)
    }

    async fn accept_tick(&self, claim: &ClaimKey, run: &NewRun) -> Result<Accepted, StoreError> {
        reach(FailPoint::AcceptBeforeCommit);
        let accepted = write!(self, "accept a firing's run", |writer| change::tick(&mut writer, claim, run));
        reach(FailPoint::AcceptAfterCommit);
        self.wake();
        Ok(accepted)
    }

    async fn lease_runs(&self, owner: &str, wanted: &LeaseWanted) -> Result<Vec<QueuedRun>, StoreError> {
        let rows = write!(self, "lease durable runs", |writer| lease::lease(&mut writer, owner, wanted));
        rows.iter().map(read::whole).collect()
    }

    async fn lease_named(&self, owner: &str, named: &[Held], wanted: &LeaseWanted) -> Result<LeasedByName, StoreError> {
        let (rows, held_back) =
            write!(self, "lease durable runs", |writer| named::lease(&mut writer, owner, named, wanted));
        Ok(LeasedByName { leased: rows.iter().map(read::whole).collect::<Result<_, StoreError>>()?, held_back })
    }

    async fn ready_runs(&self, wanted: &ReadyWanted) -> Result<Vec<Ready>, StoreError> {
        named::ready(&self.readers, wanted).await
    }

    async fn extend_leases(&self, held: &[Held], lease_ms: u64) -> Result<Vec<Extended>, StoreError> {
        Ok(write!(self, "extend leases", |writer| lease::extend(&mut writer, held, lease_ms)))
    }

    async fn mark_points(&self, points: &[Point]) -> Result<Vec<bool>, StoreError> {
        reach(FailPoint::PointBefore);
        let marked = write!(self, "store durable points", |writer| lease::mark(&mut writer, points));
        reach(FailPoint::PointAfter);
        Ok(marked)
    }

    async fn settle_runs(&self, settled: &[Settlement]) -> Result<Vec<bool>, StoreError> {
        reach(FailPoint::SettleBeforeCommit);
        let done = write!(self, "settle durable runs", |writer| change::settle(&mut writer, settled));
        reach(FailPoint::SettleAfterCommit);
        if settled.iter().any(|settlement| matches!(settlement.outcome, Outcome::Released)) {
            self.wake();
        }
        Ok(done)
    }

    async fn commit_run(&self, held: Held, commit: &Commit, turn: Option<i64>) -> Result<CommittedRun, StoreError> {
        reach(FailPoint::SettleBeforeCommit);
        let done = self.try_commit(commit, turn, Some(held)).await?;
        reach(FailPoint::SettleAfterCommit);
        Ok(done)
    }

    async fn cancel_run(&self, id: RunId, audit: &AuditEntry) -> Result<Cancelled, StoreError> {
        Ok(write!(self, "cancel a run", |writer| people::cancel(&mut writer, id, audit)))
    }

    async fn decide_run(&self, id: RunId, decision: Decision, audit: &AuditEntry) -> Result<bool, StoreError> {
        let decided = write!(self, "decide about a run", |writer| people::decide(&mut writer, id, decision, audit));
        self.wake();
        Ok(decided)
    }

    async fn replay_run(&self, id: RunId, resume: Resume, audit: &AuditEntry) -> Result<bool, StoreError> {
        let replayed = write!(self, "replay a run", |writer| people::replay(&mut writer, id, resume, audit));
        self.wake();
        Ok(replayed)
    }

    async fn pause_flow(&self, flow: &str, audit: &AuditEntry) -> Result<bool, StoreError> {
        Ok(write!(self, "pause a flow", |writer| people::pause(&mut writer, flow, audit)))
    }

    async fn resume_flow(&self, flow: &str, audit: &AuditEntry) -> Result<bool, StoreError> {
        let resumed = write!(self, "resume a flow", |writer| people::resume(&mut writer, flow, audit));
        self.wake();
        Ok(resumed)
    }

    async fn paused_flows(&self) -> Result<Vec<PausedFlow>, StoreError> {
        people::paused(&self.readers).await
    }

    async fn queued_run(&self, id: RunId) -> Result<Option<QueuedRun>, StoreError> {
        read::one(&self.readers, id).await
    }

    async fn queued_runs(&self, query: &QueueQuery, page: &PageRequest) -> Result<Page<QueuedRun>, StoreError> {
        read::list(&self.readers, query, page).await
    }

    async fn queue_depth(&self, flow: Option<&str>) -> Result<QueueDepth, StoreError> {
        read::depth(&self.readers, flow).await
    }

    fn wakes(&self) -> watch::Receiver<u64> {
        self.wakes.subscribe()
    }

    /// A reader that stays keeps the log from being emptied, which makes it grow, but nothing slow.
    async fn horizon(&self) -> Result<Option<Horizon>, StoreError> {
        Ok(None)
    }
}
