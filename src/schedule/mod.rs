//! Floor 9: what fires what is due: windows that close, open windows (provisional), cron overrides of agreements,
//! waivers that begin or end, and schedule nodes of flows.
//!
//! Every firing is a claim `(schedule, due_at)`, unique in the store, so that exactly one process proceeds. A claim
//! is complete only with its committed evaluation; one without is taken up again at the next start, and retried
//! while the process runs. Nothing is chained: what is due is worked out from the agreements and flows each time.

mod due;
mod waivers;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{RwLock, Semaphore, watch};
use tokio::task::JoinSet;

use crate::evaluate::{Evaluator, Request, Windows};
use crate::model::agreement::Agreement;
use crate::model::flow::NodeIndex;
use crate::model::run::Trigger;
use crate::model::{Msg, Object};
use crate::registry::Snapshot;
use crate::runtime::engine::{Opening, Start};
use crate::runtime::{Deployed, Entry};
use crate::store::{ClaimKey, Store, StoreError};
use due::{Schedule, Subject, calendars, of_agreement};

pub use due::ScheduleView;

/// Evaluations at once.
const PARALLEL_MAX: usize = 4;
/// First and longest pause before a failed firing is tried again.
const RETRY_MIN: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(300);

/// How often and how far; defaults are those of `config.default.toml`.
#[derive(Clone, Debug)]
pub struct Options {
    /// Open windows are evaluated this often, milliseconds; 0 never.
    pub provisional_ms: u64,
    /// Closed windows evaluated at the first start, per term.
    pub first_windows_max: usize,
}

/// Why a firing is done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// It has just come due.
    Live,
    /// It is the latest one of a schedule that has never fired.
    First,
    /// It came due while nobody ran.
    Missed,
    /// It was claimed before, but never completed.
    Again,
}

/// Fires what is due until it is stopped. One per process.
pub struct Scheduler {
    evaluator: Arc<Evaluator>,
    options: Options,
    /// Those in force, of agreements first.
    schedules: ArcSwap<Vec<Arc<Schedule>>>,
    /// What comes due after this instant is fired live; what came due before is caught up.
    since: Timestamp,
    evaluations: Arc<Semaphore>,
    /// True once the scheduler is to stop: nothing is tried again then.
    stopping: watch::Sender<bool>,
    /// Firings under way, so that none is taken up a second time.
    under_way: Mutex<HashSet<ClaimKey>>,
    /// By agreement: firings share its turn; judging again after a change has it alone, and so comes last.
    turns: Mutex<HashMap<String, Arc<RwLock<()>>>>,
    /// Agreements with a provisional evaluation under way.
    provisional: Mutex<HashSet<String>>,
    /// Firings started, failed, and how late the last one was in milliseconds.
    pub fired: AtomicU64,
    pub failed: AtomicU64,
    pub lag_ms: AtomicU64,
}

impl Scheduler {
    /// Schedules every loaded agreement and every schedule node of the deployed flows. Also gives what is wrong
    /// with overrides (bad cron, unknown zone); such an agreement keeps the default schedule.
    pub fn new(evaluator: Arc<Evaluator>, options: Options) -> (Self, Vec<String>) {
        let mut problems = Vec::new();
        let mut schedules = Vec::new();
        let since = evaluator.engine.services.clock.now();
        for agreement in &evaluator.agreements.snapshot().agreements {
            schedules.push(Arc::new(of_agreement(agreement, since, &mut problems)));
        }
        schedules.extend(of_flows(&evaluator.engine.current(), &[], since));
        let scheduler = Scheduler {
            since,
            evaluator,
            options,
            schedules: ArcSwap::from_pointee(schedules),
            under_way: Mutex::default(),
            turns: Mutex::default(),
            evaluations: Arc::new(Semaphore::new(PARALLEL_MAX)),
            stopping: watch::Sender::new(false),
            provisional: Mutex::default(),
            fired: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            lag_ms: AtomicU64::new(0),
        };
        (scheduler, problems)
    }

    /// All schedules with their next firing after `now`.
    pub fn list(&self, now: Timestamp) -> Vec<ScheduleView> {
        self.schedules.load().iter().map(|s| s.view(now)).collect()
    }

    /// Takes up open claims, makes up for missed firings, then fires what comes due until `stop` resolves;
    /// evaluations under way are finished.
    pub async fn run(self: Arc<Self>, stop: impl Future<Output = ()>) {
        let mut tasks = JoinSet::new();
        tokio::pin!(stop);
        let clock = self.evaluator.engine.services.clock.clone();
        let mut changes = self.evaluator.agreements.subscribe();
        let mut deploys = self.evaluator.engine.deploys();
        // What came between the first plan and now.
        changes.mark_changed();
        tokio::select! {
            open = self.clone().catch_up(self.schedules.load_full(), self.since, true) => {
                for firing in open {
                    tasks.spawn(firing);
                }
            }
            () = &mut stop => return self.finish(tasks).await,
        }
        tasks.spawn(self.clone().follow_waivers());
        let mut after = self.since;
        let provisional = Duration::from_millis(self.options.provisional_ms);
        let mut next_provisional = clock.now();
        loop {
            let schedules = self.schedules.load_full();
            let due = schedules.iter().filter_map(|s| Some((s.next_after(after.max(s.since))?, s))).collect::<Vec<_>>();
            let mut wake = due.iter().map(|(at, _)| *at).min().unwrap_or(Timestamp::MAX);
            if !provisional.is_zero() {
                wake = wake.min(next_provisional);
            }
            tokio::select! {
                biased;
                () = &mut stop => break,
                // The sender lives in the evaluator.
                _ = changes.changed() => {
                    let loaded = changes.borrow_and_update().clone();
                    tasks.spawn(self.clone().replan(&loaded));
                    continue;
                }
                // The sender lives in the engine.
                _ = deploys.changed() => {
                    self.follow_flows();
                    continue;
                }
                () = clock.sleep_until(wake) => {}
                Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
            }
            let now = clock.now();
            for (at, schedule) in due.into_iter().filter(|(at, _)| *at == wake) {
                self.lag_ms.store(now.duration_since(at).as_millis().max(0) as u64, Ordering::Relaxed);
                tasks.spawn(self.clone().fire(schedule.clone(), at, How::Live));
            }
            if !provisional.is_zero() && wake >= next_provisional {
                for schedule in schedules.iter() {
                    if let Subject::Windows(agreement) = &schedule.subject {
                        tasks.spawn(self.clone().evaluate_open(agreement.clone()));
                    }
                }
                next_provisional = now
                    .saturating_add(SignedDuration::try_from(provisional).unwrap_or_default())
                    .unwrap_or(Timestamp::MAX);
            }
            after = after.max(wake.min(now));
        }
        self.finish(tasks).await;
    }

    async fn finish(&self, mut tasks: JoinSet<()>) {
        // Retries that only sleep are given up; their claims stay open for the next start.
        self.stopping.send_replace(true);
        self.evaluations.close();
        while tasks.join_next().await.is_some() {}
    }

    /// Brings the schedules to the agreements there are now. Gives what is to be done for those that came or changed.
    fn replan(self: Arc<Self>, loaded: &Snapshot) -> impl Future<Output = ()> + Send + use<> {
        let old = self.schedules.load_full();
        let by_id: HashMap<&str, (&Arc<Agreement>, &Arc<Schedule>)> = old
            .iter()
            .filter_map(|schedule| match &schedule.subject {
                Subject::Windows(agreement) | Subject::Cron { agreement, .. } => {
                    Some((agreement.id.as_str(), (agreement, schedule)))
                }
                Subject::Flow { .. } => None,
            })
            .collect();
        let now = self.evaluator.engine.services.clock.now();
        let (mut schedules, mut fresh, mut problems) = (Vec::new(), Vec::new(), Vec::new());
        for agreement in &loaded.agreements {
            let known = by_id.get(agreement.id.as_str());
            if let Some((_, schedule)) = known.filter(|(old, _)| Arc::ptr_eq(old, agreement)) {
                schedules.push((*schedule).clone());
                continue;
            }
            // One that goes on as another version misses nothing; one that came begins now.
            let since = known.map_or(now, |(_, schedule)| schedule.since);
            let schedule = Arc::new(of_agreement(agreement, since, &mut problems));
            if known.is_none_or(|(old, _)| old.hash != agreement.hash) {
                fresh.push(schedule.clone());
            }
            schedules.push(schedule);
        }
        for problem in problems {
            tracing::error!("{problem}");
        }
        schedules.extend(old.iter().filter(|s| matches!(s.subject, Subject::Flow { .. })).cloned());
        self.schedules.store(Arc::new(schedules));
        async move {
            if !fresh.is_empty() {
                join_all(self.catch_up(Arc::new(fresh), now, false).await).await;
            }
        }
    }

    /// Brings the schedules to the flows that are deployed now.
    fn follow_flows(&self) {
        let old = self.schedules.load_full();
        let now = self.evaluator.engine.services.clock.now();
        let mut schedules: Vec<Arc<Schedule>> =
            old.iter().filter(|s| !matches!(s.subject, Subject::Flow { .. })).cloned().collect();
        schedules.extend(of_flows(&self.evaluator.engine.current(), &old, now));
        self.schedules.store(Arc::new(schedules));
    }

    /// What must be done before the clock is followed for these schedules: open claims, then firings missed since the
    /// last claim.
    async fn catch_up(
        self: Arc<Self>,
        schedules: Arc<Vec<Arc<Schedule>>>,
        now: Timestamp,
        all: bool,
    ) -> Vec<BoxFuture<'static, ()>> {
        let mut firings: Vec<BoxFuture<'static, ()>> = Vec::new();
        let open = self.with_store(|store| async move { store.open_claims().await }.boxed()).await;
        let by_id: HashMap<&str, &Arc<Schedule>> = schedules.iter().map(|s| (s.id.as_str(), s)).collect();
        for claim in &open {
            match by_id.get(claim.schedule.as_str()) {
                Some(schedule) => {
                    tracing::info!(schedule = %claim.schedule, due_at = %claim.due_at, "taking up an unfinished firing");
                    firings.push(self.clone().fire((*schedule).clone(), claim.due_at, How::Again).boxed());
                }
                // The Director takes up its own.
                None if claim.schedule.starts_with("task/") => {}
                None if all => tracing::warn!(schedule = %claim.schedule, due_at = %claim.due_at,
                    "an unfinished firing belongs to no schedule that is loaded"),
                None => {}
            }
        }
        for schedule in schedules.iter() {
            let id = schedule.id.clone();
            let last = self
                .with_store(move |store| {
                    let id = id.clone();
                    async move { store.last_claim(&id).await }.boxed()
                })
                .await;
            let missed = schedule.missed(last, now);
            if missed.is_empty()
                && let Subject::Windows(agreement) | Subject::Cron { agreement, .. } = &schedule.subject
                && self.is_revised(agreement).await
            {
                firings.push(self.clone().evaluate_again(agreement.clone(), now).boxed());
            }
            let how = if last.is_none() { How::First } else { How::Missed };
            firings.extend(missed.into_iter().map(|at| self.clone().fire(schedule.clone(), at, how).boxed()));
        }
        firings
    }

    /// Asks the store until it answers.
    async fn with_store<T>(
        &self,
        ask: impl Fn(Arc<dyn Store>) -> BoxFuture<'static, Result<T, StoreError>> + Send + Sync,
    ) -> T {
        let mut pause = RETRY_MIN;
        loop {
            match ask(self.evaluator.store.clone()).await {
                Ok(answer) => return answer,
                Err(error) => {
                    tracing::error!(%error, retry_s = pause.as_secs(), "the schedule cannot reach the store");
                    self.evaluator.engine.services.clock.sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// One firing: claim it (unless it was claimed before), then do it until it is done.
    async fn fire(self: Arc<Self>, schedule: Arc<Schedule>, due_at: Timestamp, how: How) {
        let clock = self.evaluator.engine.services.clock.clone();
        let claim = ClaimKey { schedule: schedule.id.clone(), due_at };
        let Some(_under_way) = UnderWay::begin(&self, &claim) else { return };
        if how != How::Again {
            let (wanted, at) = (claim.clone(), clock.now());
            let ours = self.with_store(move |store| {
                let wanted = wanted.clone();
                async move { store.claim(&wanted, at).await }.boxed()
            });
            if !ours.await {
                return;
            }
        }
        self.fired.fetch_add(1, Ordering::Relaxed);
        match &schedule.subject {
            Subject::Flow { deployed, node, .. } => self.run_flow(deployed, *node, &claim).await,
            Subject::Windows(agreement) | Subject::Cron { agreement, .. } => {
                self.insist(&claim, || self.evaluate_due(&schedule, agreement, &claim, how).boxed()).await;
            }
        }
    }

    /// Does a step of a firing until it is done, with growing pauses; `None` when the scheduler stops before.
    async fn insist<'s, T>(
        &self,
        claim: &ClaimKey,
        step: impl Fn() -> BoxFuture<'s, Result<T, String>> + Send + Sync,
    ) -> Option<T> {
        let mut stopping = self.stopping.subscribe();
        let mut pause = RETRY_MIN;
        loop {
            match step().await {
                Ok(done) => return Some(done),
                Err(error) => {
                    self.failed.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(schedule = %claim.schedule, due_at = %claim.due_at, error, retry_s = pause.as_secs(),
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
    async fn run_flow(&self, deployed: &Arc<Deployed>, node: NodeIndex, claim: &ClaimKey) {
        if *self.stopping.borrow() {
            return;
        }
        let run = || {
            async {
                let opening = Opening {
                    node,
                    // To the node itself, which may have a payload of its own.
                    start: Start::Deliver,
                    msg: due_message(&claim.schedule, claim.due_at),
                    trigger: Trigger::Cron { schedule: claim.schedule.clone(), due_at: claim.due_at },
                    reply: None,
                };
                let (run, future) = deployed.open(opening).map_err(|e| e.to_string())?;
                future.await;
                Ok(run)
            }
            .boxed()
        };
        let Some(run) = self.insist(claim, run).await else { return };
        let complete =
            || async { self.evaluator.store.complete_claim(claim, run).await.map_err(|e| e.to_string()) }.boxed();
        self.insist(claim, complete).await;
    }

    /// One evaluation of what is due. Does nothing once the scheduler stops: the claim stays open.
    async fn evaluate_due(
        &self,
        schedule: &Schedule,
        agreement: &Arc<Agreement>,
        claim: &ClaimKey,
        how: How,
    ) -> Result<(), String> {
        let turn = self.turn(&agreement.id);
        let _shared = turn.read().await;
        let Ok(_permit) = self.evaluations.clone().acquire_owned().await else { return Ok(()) };
        // What has waited begins with the document as it is now.
        let agreement = &self.evaluator.agreements.get(&agreement.id).unwrap_or_else(|| agreement.clone());
        let request = Request {
            agreement: agreement.clone(),
            windows: self.windows_due(schedule, agreement, claim.due_at, how).await?,
            guarantee: None,
            trigger: Trigger::Cron { schedule: claim.schedule.clone(), due_at: claim.due_at },
            actor: "schedule".into(),
            store: true,
            claim: Some(claim.clone()),
        };
        self.evaluator.run(request).await.map(drop).map_err(|e| e.to_string())
    }

    /// The windows of a firing: those that close at that instant, or have closed since the firing before it. While an
    /// agreement has no final verdicts it takes the latest closed ones, too; so does a firing that is taken up again,
    /// which may have been the first.
    async fn windows_due(
        &self,
        schedule: &Schedule,
        agreement: &Agreement,
        due_at: Timestamp,
        how: How,
    ) -> Result<Windows, String> {
        let first = how == How::Again || self.is_first(agreement).await?;
        let at_least = if first { self.options.first_windows_max.max(1) } else { 1 };
        Ok(match &schedule.subject {
            _ if how == How::First => Windows::LastClosed { at: due_at, count: at_least },
            Subject::Cron { .. } => {
                let just_before = due_at.saturating_sub(SignedDuration::from_nanos(1)).unwrap_or(due_at);
                let after = schedule.latest_before(just_before).unwrap_or(Timestamp::MIN);
                Windows::ClosedBetween { after, at: due_at, at_least }
            }
            _ if first || how == How::Missed => Windows::LastClosed { at: due_at, count: at_least },
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

    /// True when the agreement's latest final verdicts were said of another version of its document.
    async fn is_revised(&self, agreement: &Agreement) -> bool {
        let id = agreement.id.clone();
        let page = self.with_store(move |store| {
            let query = crate::store::StateQuery {
                agreement: Some(id.clone()),
                provisional: Some(false),
                ..Default::default()
            };
            async move { store.states(&query, &crate::store::PageRequest { limit: 1, after: None }).await }.boxed()
        });
        page.await.items.first().is_some_and(|latest| latest.state.agreement_version != agreement.hash)
    }

    /// Judges the last closed windows anew, under the document as it is now; the verdicts said before stay as earlier
    /// revisions.
    async fn evaluate_again(self: Arc<Self>, agreement: Arc<Agreement>, now: Timestamp) {
        let turn = self.turn(&agreement.id);
        let _alone = turn.write().await;
        let Ok(_permit) = self.evaluations.clone().acquire_owned().await else { return };
        let id = agreement.id.clone();
        tracing::info!(agreement = %id, "its document has changed; its last closed windows are judged again");
        let request = Request {
            agreement,
            windows: Windows::LastClosed { at: now, count: 1 },
            guarantee: None,
            trigger: Trigger::Cron { schedule: format!("agreement/{id}/revised"), due_at: now },
            actor: "schedule".into(),
            store: true,
            claim: None,
        };
        if let Err(error) = self.evaluator.run(request).await {
            self.failed.fetch_add(1, Ordering::Relaxed);
            tracing::error!(agreement = %id, %error, "its last closed windows could not be judged again");
        }
    }

    fn turn(&self, agreement: &str) -> Arc<RwLock<()>> {
        self.turns.lock().unwrap_or_else(|p| p.into_inner()).entry(agreement.to_owned()).or_default().clone()
    }

    /// Judges the open windows of an agreement; skipped while the last such evaluation is still under way.
    async fn evaluate_open(self: Arc<Self>, agreement: Arc<Agreement>) {
        let id = agreement.id.clone();
        if !self.provisional.lock().unwrap_or_else(|p| p.into_inner()).insert(id.clone()) {
            return;
        }
        let permit = self.evaluations.clone().acquire_owned().await;
        let now = self.evaluator.engine.services.clock.now();
        let any_open = calendars(&agreement).any(|calendar| calendar.open_at(now).is_some());
        if permit.is_ok() && any_open {
            let request = Request {
                agreement,
                windows: Windows::OpenAt(now),
                guarantee: None,
                trigger: Trigger::Cron { schedule: format!("agreement/{id}/open"), due_at: now },
                actor: "schedule".into(),
                store: true,
                claim: None,
            };
            if let Err(error) = self.evaluator.run(request).await {
                self.failed.fetch_add(1, Ordering::Relaxed);
                tracing::error!(agreement = %id, %error, "the open windows could not be evaluated");
            }
        }
        self.provisional.lock().unwrap_or_else(|p| p.into_inner()).remove(&id);
    }
}

/// A firing under way; no other one of the same claim begins until this is dropped.
struct UnderWay<'s> {
    scheduler: &'s Scheduler,
    claim: ClaimKey,
}

impl<'s> UnderWay<'s> {
    fn begin(scheduler: &'s Scheduler, claim: &ClaimKey) -> Option<UnderWay<'s>> {
        let new = scheduler.under_way.lock().unwrap_or_else(|p| p.into_inner()).insert(claim.clone());
        new.then(|| UnderWay { scheduler, claim: claim.clone() })
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.scheduler.under_way.lock().unwrap_or_else(|p| p.into_inner()).remove(&self.claim);
    }
}

/// The schedules of deployed flows. One that was there before, at the same times, goes on; others begin now.
fn of_flows(deployed: &Arc<Deployed>, before: &[Arc<Schedule>], now: Timestamp) -> Vec<Arc<Schedule>> {
    let schedules = deployed.schedules.iter().filter_map(|(node, entry)| {
        let Entry::Schedule { cron, time_zone, catch_up } = entry else { return None };
        let id = format!("flow/{}", deployed.plan.nodes[*node as usize].id);
        let same = |s: &&Arc<Schedule>| {
            s.id == id && matches!(&s.subject, Subject::Flow { cron: c, zone, .. } if c == cron && zone == time_zone)
        };
        let since = before.iter().find(same).map_or(now, |s| s.since);
        let subject =
            Subject::Flow { deployed: deployed.clone(), node: *node, cron: cron.clone(), zone: time_zone.clone() };
        Some(Arc::new(Schedule { id, subject, catch_up: *catch_up, since }))
    });
    schedules.collect()
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
