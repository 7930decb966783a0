//! One firing: its row is leased, its work done until it is done or lost, and completed by the lease's epoch.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{OwnedRwLockReadGuard, OwnedSemaphorePermit};

use super::due::{Schedule, Subject};
use super::punctuality::Begun;
use super::{RETRY_MAX, RETRY_MIN, Scheduler};
use crate::evaluate::{EvaluateError, Request, Windows};
use crate::failpoint::{FailPoint, reach};
use crate::model::agreement::Agreement;
use crate::model::flow::NodeIndex;
use crate::model::run::Trigger;
use crate::model::{Msg, Object, RunId};
use crate::runtime::Deployed;
use crate::runtime::opening::{Opening, Start};
use crate::runtime::snapshot::write_start;
use crate::store::queue::{NewRun, Priority};
use crate::store::{ClaimKey, Due, Held, How};

/// What an evaluation needs before its claim is leased: so that a process leases no more than it can do.
struct Room {
    _shared: OwnedRwLockReadGuard<()>,
    _permit: OwnedSemaphorePermit,
}

impl Scheduler {
    /// One firing: lease it, then do it until it is done. Without the role that works, only its row is made.
    pub(super) async fn fire(self: Arc<Self>, schedule: Arc<Schedule>, due_at: Timestamp, how: How) {
        let clock = self.evaluator.engine.services.clock.clone();
        let key = ClaimKey { schedule: schedule.id.clone(), due_at };
        let Some(_under_way) = UnderWay::begin(&self, &key) else { return };
        let due = Due { key, how, at: clock.now() };
        if !self.options.works {
            self.with_store(move |store| {
                let due = due.clone();
                async move { store.materialise(&[due]).await }.boxed()
            })
            .await;
            return;
        }
        let room = match &schedule.subject {
            Subject::Flow { .. } => None,
            Subject::Windows(agreement) | Subject::Cron { agreement, .. } => match self.room(agreement).await {
                None => return,
                room => room,
            },
        };
        let holding = self.holding.clone();
        let held = self.with_store(move |_| {
            let (holding, due) = (holding.clone(), Due { at: clock.now(), ..due.clone() });
            async move { holding.lease(&due).await }.boxed()
        });
        let Some(held) = held.await else { return };
        reach(FailPoint::TickClaimed);
        self.begin(&held);
        let done = tokio::select! {
            done = self.work(&schedule, &held, room) => done,
            () = held.lost() => false,
        };
        if !done && let Err(error) = held.give_back().await {
            tracing::debug!(%error, "a firing could not be given back; it is taken up when its lease has run out");
        }
    }

    fn begin(&self, held: &Held) {
        let ClaimKey { schedule, due_at } = &held.claim.key;
        let drift = self.evaluator.engine.services.clock.now().duration_since(*due_at).as_millis();
        let drift_ms = u64::try_from(drift).unwrap_or(0);
        let taken_up = held.claim.epoch > 1;
        if taken_up {
            tracing::info!(%schedule, %due_at, epoch = held.claim.epoch, "taking up an unfinished firing");
        }
        let is_late = drift_ms > self.options.late_ms;
        self.seen.begun(schedule, &Begun { drift_ms, is_late, overlapping: held.overlapping, taken_up });
        self.lag_ms.store(drift_ms, Ordering::Relaxed);
        self.fired.fetch_add(1, Ordering::Relaxed);
    }

    /// True when it is done, here or by another.
    async fn work(&self, schedule: &Arc<Schedule>, held: &Held, room: Option<Room>) -> bool {
        match &schedule.subject {
            Subject::Flow { deployed, node, .. } => self.run_flow(deployed, *node, held).await,
            Subject::Windows(agreement) | Subject::Cron { agreement, .. } => {
                let room = Mutex::new(room);
                let evaluate = || self.evaluate_due(schedule, agreement, held, &room).boxed();
                self.insist(&held.claim.key, evaluate).await.unwrap_or(false)
            }
        }
    }

    /// The agreement's turn, shared, and a place among the evaluations; `None` once the scheduler stops.
    async fn room(&self, agreement: &Agreement) -> Option<Room> {
        let shared = self.turn(&agreement.id).read_owned().await;
        let permit = self.evaluations.clone().acquire_owned().await.ok()?;
        Some(Room { _shared: shared, _permit: permit })
    }

    /// Does a step of a firing until it is done, with growing pauses; `None` when the scheduler stops before.
    async fn insist<'s, T>(
        &self,
        key: &ClaimKey,
        step: impl Fn() -> BoxFuture<'s, Result<T, String>> + Send + Sync,
    ) -> Option<T> {
        let mut stopping = self.stopping.subscribe();
        let mut pause = RETRY_MIN;
        loop {
            match step().await {
                Ok(done) => return Some(done),
                Err(error) => {
                    self.failed.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(schedule = %key.schedule, due_at = %key.due_at, error, retry_s = pause.as_secs(),
                        "a firing failed");
                }
            }
            tokio::select! {
                () = self.evaluator.engine.services.clock.sleep(pause) => pause = (pause * 2).min(RETRY_MAX),
                _ = stopping.wait_for(|stop| *stop) => return None,
            }
        }
    }

    /// One run of a flow for a due time; it may take as long as it likes without holding up evaluations. What is tried
    /// again is to open it, and to store that it was done, but not the run.
    async fn run_flow(&self, deployed: &Arc<Deployed>, node: NodeIndex, held: &Held) -> bool {
        if *self.stopping.borrow() {
            return false;
        }
        let ClaimKey { schedule, due_at } = &held.claim.key;
        let flow = deployed.plan.flows.get(deployed.plan.nodes[node as usize].flow as usize);
        if let Some(accept) = self.accept.as_ref().filter(|_| flow.is_none_or(|flow| flow.durable != Some(false))) {
            let run = durable_run(deployed, node, &held.claim.key);
            let commit = || {
                async { accept(held.claim.key.clone(), run.clone()).await.map(drop).map_err(|e| e.to_string()) }.boxed()
            };
            return self.insist(&held.claim.key, commit).await.is_some();
        }
        let run = || {
            async {
                let opening = Opening {
                    node,
                    // To the node itself, which may have a payload of its own.
                    start: Start::Deliver,
                    msg: due_message(schedule, *due_at),
                    trigger: Trigger::Cron { schedule: schedule.clone(), due_at: *due_at },
                    reply: None,
                };
                let (run, future) = deployed.open(opening).map_err(|e| e.to_string())?;
                future.await;
                Ok(run)
            }
            .boxed()
        };
        let Some(run) = self.insist(&held.claim.key, run).await else { return false };
        let clock = &self.evaluator.engine.services.clock;
        let complete = || async { held.complete(run, clock.now()).await.map_err(|e| e.to_string()) }.boxed();
        // Lost or not: it is over here.
        self.insist(&held.claim.key, complete).await.is_some()
    }

    /// One evaluation of what is due; true when it is done, here or by another. Does nothing once the scheduler stops: the
    /// claim stays open.
    async fn evaluate_due(
        &self,
        schedule: &Schedule,
        agreement: &Arc<Agreement>,
        held: &Held,
        room: &Mutex<Option<Room>>,
    ) -> Result<bool, String> {
        let had = room.lock().unwrap_or_else(|p| p.into_inner()).take();
        let _room = match had {
            Some(room) => room,
            None => match self.room(agreement).await {
                Some(room) => room,
                None => return Ok(false),
            },
        };
        let ClaimKey { schedule: id, due_at } = &held.claim.key;
        // What has waited begins with the document as it is now.
        let agreement = &self.evaluator.agreements.get(&agreement.id).unwrap_or_else(|| agreement.clone());
        let request = Request {
            agreement: agreement.clone(),
            windows: self.windows_due(schedule, agreement, *due_at, held.how).await?,
            guarantee: None,
            trigger: Trigger::Cron { schedule: id.clone(), due_at: *due_at },
            actor: "schedule".into(),
            store: true,
            claim: Some(held.claim.clone()),
        };
        match self.evaluator.run(request).await {
            Ok(_) => Ok(true),
            // Its verdicts are stored, by another process or by a try whose answer was lost.
            Err(EvaluateError::Store(error)) if error.is_late() => {
                tracing::info!(schedule = %id, %due_at, %error, "an evaluation came too late");
                Ok(true)
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// The windows of a firing: those that close at that instant, or have closed since the firing before it. While an
    /// agreement has no final verdicts it takes the latest closed ones, too; so does a firing of which it is not known
    /// how it came, which may have been the first.
    async fn windows_due(
        &self,
        schedule: &Schedule,
        agreement: &Agreement,
        due_at: Timestamp,
        how: Option<How>,
    ) -> Result<Windows, String> {
        let first = how.is_none() || self.is_first(agreement).await?;
        let at_least = if first { self.options.first_windows_max.max(1) } else { 1 };
        Ok(match &schedule.subject {
            _ if how == Some(How::First) => Windows::LastClosed { at: due_at, count: at_least },
            Subject::Cron { .. } => {
                let just_before = due_at.saturating_sub(SignedDuration::from_nanos(1)).unwrap_or(due_at);
                let after = schedule.latest_before(just_before).unwrap_or(Timestamp::MIN);
                Windows::ClosedBetween { after, at: due_at, at_least }
            }
            _ if first || how == Some(How::Missed) => Windows::LastClosed { at: due_at, count: at_least },
            _ => Windows::ClosingAt(due_at),
        })
    }

    /// True while no final verdict of this agreement has been stored: then its latest closed windows are judged.
    async fn is_first(&self, agreement: &Agreement) -> Result<bool, String> {
        let query = crate::store::StateQuery {
            agreement: Some(agreement.id.clone()),
            provisional: Some(false),
            ..Default::default()
        };
        let page = crate::store::PageRequest { limit: 1, after: None };
        Ok(self.evaluator.store.states(&query, &page).await.map_err(|e| e.to_string())?.items.is_empty())
    }
}

/// A firing under way; no other one of the same claim begins in this process until this is dropped.
struct UnderWay<'s> {
    scheduler: &'s Scheduler,
    key: ClaimKey,
}

impl<'s> UnderWay<'s> {
    fn begin(scheduler: &'s Scheduler, key: &ClaimKey) -> Option<UnderWay<'s>> {
        let new = scheduler.under_way.lock().unwrap_or_else(|p| p.into_inner()).insert(key.clone());
        new.then(|| UnderWay { scheduler, key: key.clone() })
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.scheduler.under_way.lock().unwrap_or_else(|p| p.into_inner()).remove(&self.key);
    }
}

/// The run of a firing as it is committed: its message goes to the schedule node itself.
fn durable_run(deployed: &Deployed, node: NodeIndex, key: &ClaimKey) -> NewRun {
    let at = &deployed.plan.nodes[node as usize];
    let (flow, tenant) = deployed.plan.owner(node);
    NewRun {
        id: RunId::fresh(),
        flow,
        node: at.id.to_string(),
        flow_version: deployed.plan.version.clone(),
        trigger: Trigger::Cron { schedule: key.schedule.clone(), due_at: key.due_at },
        msg: write_start(Start::Deliver, &due_message(&key.schedule, key.due_at)),
        reply: false,
        priority: Priority::Normal,
        tenant,
        delay_ms: 0,
        dedup: None,
        lease_ms: None,
    }
}

/// The message a schedule node is handed when it is due.
fn due_message(schedule: &str, due_at: Timestamp) -> Msg {
    let mut about = Object::new();
    about.insert("id", schedule);
    about.insert("dueAt", due_at.to_string());
    let mut msg = Msg::with_payload(due_at.to_string());
    msg.set("schedule", about);
    msg
}
