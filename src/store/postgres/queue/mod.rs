//! Durable runs in Postgres: batches as arrays, leases by `FOR UPDATE SKIP LOCKED`, every write fenced by its epoch.
//!
//! The time is `now()`: when the transaction began, by the server's clock.

mod accept;
mod lease;
mod named;
mod people;
mod read;
mod settle;
mod wake;

use std::sync::Mutex;
use std::time::{Duration, Instant as Monotonic};

use async_trait::async_trait;
use sqlx::Executor as _;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use tokio::sync::watch;

pub(super) use settle::{expire_keys, remove};

use super::PostgresStore;
use crate::failpoint::{FailPoint, reach};
use crate::model::RunId;
use crate::store::queue::{
    Accepted, Cancelled, CommittedRun, Decision, Extended, Held, Horizon, LeaseWanted, LeasedByName, NewRun, Outcome,
    PausedFlow, Point, Queue, QueueDepth, QueueQuery, QueuedRun, Ready, ReadyWanted, Resume, Settlement,
};
use crate::store::{AuditEntry, ClaimKey, Commit, Page, PageRequest, StoreError};

/// Connections of the queue, besides those of everything else: a long list must not hold up leases.
const CONNECTIONS_MAX: u32 = 4;
/// How long it may take until a change of pauses by another process is known, milliseconds. A pause is kept from its
/// commit on, and until it is known leases are only slower; a flow that was resumed waits for so long.
const PAUSES_KNOWN_MS: u64 = 250;
/// Longer times are cut to this: a hundred years, milliseconds.
const DURATION_MS_MAX: u64 = 100 * 366 * 86_400_000;

/// The queue's own connections, and what it knows.
#[derive(Debug)]
pub(super) struct Lane {
    pool: PgPool,
    wakes: wake::Wakes,
    /// Flows that were paused when somebody looked.
    paused: Mutex<(Option<Monotonic>, Vec<String>)>,
}

impl Lane {
    pub(super) fn new(connect: &PgConnectOptions, connections_max: u32, acquire: Duration) -> Lane {
        let pool = PgPoolOptions::new()
            .max_connections(connections_max.clamp(1, CONNECTIONS_MAX))
            .acquire_timeout(acquire)
            .after_connect(|connection, _| {
                // A queue is empty when Postgres counts it and full when it is asked: only plans by key are right for
                // both, and made once. A plan anew for each small batch costs more than the batch, the more days of
                // history there are. Costs of what is switched off would set off the compiler, too.
                Box::pin(async move {
                    connection
                        .execute(
                            "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; \
                             SET jit = off; SET plan_cache_mode = force_generic_plan",
                        )
                        .await
                        .map(drop)
                })
            })
            .connect_lazy_with(connect.clone());
        Lane { pool, wakes: wake::Wakes::new(connect, acquire), paused: Mutex::default() }
    }

    /// New connections are made so from now on.
    pub(super) fn renew(&self, connect: &PgConnectOptions) {
        self.pool.set_connect_options(connect.clone());
        self.wakes.renew(connect);
    }

    /// Flows known to be paused, asked for anew every [`PAUSES_KNOWN_MS`].
    async fn paused(&self) -> Result<Vec<String>, StoreError> {
        {
            let (asked_at, paused) = &*self.paused.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            if asked_at.is_some_and(|at| at.elapsed() < Duration::from_millis(PAUSES_KNOWN_MS)) {
                return Ok(paused.clone());
            }
        }
        let paused: Vec<String> = people::paused(&self.pool).await?.into_iter().map(|paused| paused.flow).collect();
        *self.paused.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = (Some(Monotonic::now()), paused.clone());
        Ok(paused)
    }

    fn forget_paused(&self) {
        self.paused.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).0 = None;
    }
}

/// A duration as statements take it.
fn millis(ms: u64) -> i64 {
    i64::try_from(ms.min(DURATION_MS_MAX)).expect("a hundred years fit")
}

#[async_trait]
impl Queue for PostgresStore {
    async fn accept_runs(&self, owner: &str, runs: &[NewRun]) -> Result<Vec<Accepted>, StoreError> {
        reach(FailPoint::AcceptBeforeCommit);
        let accepted = self.within(accept::FAILED, accept::accept(&self.queue.pool, owner, runs)).await?;
        reach(FailPoint::AcceptAfterCommit);
        if accepted.contains(&Accepted::Queued) {
            self.queue.wakes.wake();
        }
        Ok(accepted)
    }

    async fn accept_tick(&self, claim: &ClaimKey, run: &NewRun) -> Result<Accepted, StoreError> {
        reach(FailPoint::AcceptBeforeCommit);
        let accepted = self.within(accept::FAILED, accept::tick(&self.queue.pool, claim, run)).await?;
        reach(FailPoint::AcceptAfterCommit);
        self.queue.wakes.wake();
        Ok(accepted)
    }

    async fn lease_runs(&self, owner: &str, wanted: &LeaseWanted) -> Result<Vec<QueuedRun>, StoreError> {
        self.within(lease::FAILED, lease::lease(&self.queue, owner, wanted)).await
    }

    async fn lease_named(&self, owner: &str, named: &[Held], wanted: &LeaseWanted) -> Result<LeasedByName, StoreError> {
        self.within(lease::FAILED, named::lease(&self.queue, owner, named, wanted)).await
    }

    async fn ready_runs(&self, wanted: &ReadyWanted) -> Result<Vec<Ready>, StoreError> {
        self.within("look for ready runs", named::ready(&self.queue.pool, wanted)).await
    }

    async fn extend_leases(&self, held: &[Held], lease_ms: u64) -> Result<Vec<Extended>, StoreError> {
        self.within("extend leases", lease::extend(&self.queue.pool, held, lease_ms)).await
    }

    async fn mark_points(&self, points: &[Point]) -> Result<Vec<bool>, StoreError> {
        reach(FailPoint::PointBefore);
        let marked = self.within("store durable points", lease::mark(&self.queue.pool, points)).await?;
        reach(FailPoint::PointAfter);
        Ok(marked)
    }

    async fn settle_runs(&self, settled: &[Settlement]) -> Result<Vec<bool>, StoreError> {
        reach(FailPoint::SettleBeforeCommit);
        let done = self.within(settle::FAILED, settle::settle(self, settled)).await?;
        reach(FailPoint::SettleAfterCommit);
        if settled.iter().any(|settlement| matches!(settlement.outcome, Outcome::Released)) {
            self.queue.wakes.wake();
        }
        Ok(done)
    }

    async fn commit_run(&self, held: Held, commit: &Commit, turn: Option<i64>) -> Result<CommittedRun, StoreError> {
        reach(FailPoint::SettleBeforeCommit);
        let committed = self.within("store an evaluation", self.commit_in_turn(commit, turn, Some(held))).await?;
        reach(FailPoint::SettleAfterCommit);
        Ok(committed)
    }

    async fn cancel_run(&self, id: RunId, audit: &AuditEntry) -> Result<Cancelled, StoreError> {
        self.within("cancel a run", people::cancel(self, id, audit)).await
    }

    async fn decide_run(&self, id: RunId, decision: Decision, audit: &AuditEntry) -> Result<bool, StoreError> {
        let decided = self.within("decide about a run", people::decide(self, id, decision, audit)).await?;
        self.queue.wakes.wake();
        Ok(decided)
    }

    async fn replay_run(&self, id: RunId, resume: Resume, audit: &AuditEntry) -> Result<bool, StoreError> {
        let replayed = self.within("replay a run", people::replay(&self.queue.pool, id, resume, audit)).await?;
        self.queue.wakes.wake();
        Ok(replayed)
    }

    async fn pause_flow(&self, flow: &str, audit: &AuditEntry) -> Result<bool, StoreError> {
        self.queue.forget_paused();
        self.within("pause a flow", people::pause(&self.queue.pool, flow, audit)).await
    }

    async fn resume_flow(&self, flow: &str, audit: &AuditEntry) -> Result<bool, StoreError> {
        let resumed = self.within("resume a flow", people::resume(&self.queue.pool, flow, audit)).await?;
        self.queue.forget_paused();
        self.queue.wakes.wake();
        Ok(resumed)
    }

    async fn paused_flows(&self) -> Result<Vec<PausedFlow>, StoreError> {
        self.within("list paused flows", people::paused(&self.queue.pool)).await
    }

    // Lists and counts are asked on everybody's connections: they may take their time, and need other plans.

    async fn queued_run(&self, id: RunId) -> Result<Option<QueuedRun>, StoreError> {
        self.within("read a durable run", read::one(&self.pool, id)).await
    }

    async fn queued_runs(&self, query: &QueueQuery, page: &PageRequest) -> Result<Page<QueuedRun>, StoreError> {
        self.within("list durable runs", read::list(&self.pool, query, page)).await
    }

    async fn queue_depth(&self, flow: Option<&str>) -> Result<QueueDepth, StoreError> {
        self.within("count durable runs", read::depth(&self.pool, flow)).await
    }

    fn wakes(&self) -> watch::Receiver<u64> {
        self.queue.wakes.subscribe()
    }

    async fn horizon(&self) -> Result<Option<Horizon>, StoreError> {
        self.within("look for old snapshots", read::horizon(&self.pool)).await.map(Some)
    }
}
