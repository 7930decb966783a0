//! Floor 9: what fires what is due: windows that close, open windows (provisional), cron overrides of agreements,
//! and schedule nodes of flows.
//!
//! Every firing is a claim `(schedule, due_at)`, unique in the store, so that exactly one process proceeds. A claim
//! is complete only with its committed evaluation; one without is taken up again at the next start, and retried
//! while the process runs. Nothing is chained: what is due is worked out from the agreements and flows each time.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::agreement::Calendar;
use crate::cron::Cron;
use crate::evaluate::{Evaluator, Request, Windows};
use crate::model::agreement::{Agreement, CatchUp};
use crate::model::flow::NodeIndex;
use crate::model::run::Trigger;
use crate::model::{Msg, Object};
use crate::runtime::engine::{Opening, Start};
use crate::runtime::{Deployed, Entry};
use crate::store::{ClaimKey, Store, StoreError};

/// Evaluations at once.
const PARALLEL_MAX: usize = 4;
/// Missed firings made up for with `catchUp: all`.
const CATCH_UP_MAX: usize = 1_000;
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

/// One schedule, for lists.
#[derive(Clone, Debug, Serialize)]
pub struct ScheduleView {
    pub id: String,
    /// `windows` (fires when one closes), `cron` or `flow`.
    pub kind: &'static str,
    /// Agreement or node id.
    pub subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    pub time_zone: String,
    pub catch_up: CatchUp,
    pub next_due: Option<Timestamp>,
}

/// Something that fires.
struct Schedule {
    id: String,
    subject: Subject,
    catch_up: CatchUp,
}

enum Subject {
    /// Fires when a window of any term closes.
    Windows(Arc<Agreement>),
    /// Fires by `context.x-probity.schedule`.
    Cron { agreement: Arc<Agreement>, cron: Cron, zone: TimeZone },
    /// A schedule node.
    Flow { deployed: Arc<Deployed>, node: NodeIndex, cron: Cron, zone: TimeZone },
}

/// Why a firing is done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// It has just come due.
    Live,
    /// It came due while nobody ran.
    Missed,
    /// It was claimed before, but never completed.
    Again,
}

/// Fires what is due until it is stopped. One per process.
pub struct Scheduler {
    evaluator: Arc<Evaluator>,
    options: Options,
    schedules: Vec<Arc<Schedule>>,
    /// What comes due after this instant is fired live; what came due before is caught up.
    since: Timestamp,
    evaluations: Arc<Semaphore>,
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
        for agreement in &evaluator.agreements {
            schedules.push(Arc::new(of_agreement(agreement, &mut problems)));
        }
        let deployed = evaluator.engine.current();
        for (node, entry) in &deployed.schedules {
            if let Entry::Schedule { cron, time_zone, catch_up } = entry {
                schedules.push(Arc::new(Schedule {
                    id: format!("flow/{}", deployed.plan.nodes[*node as usize].id),
                    subject: Subject::Flow {
                        deployed: deployed.clone(),
                        node: *node,
                        cron: cron.clone(),
                        zone: time_zone.clone(),
                    },
                    catch_up: *catch_up,
                }));
            }
        }
        let scheduler = Scheduler {
            since: evaluator.engine.services.clock.now(),
            evaluator,
            options,
            schedules,
            evaluations: Arc::new(Semaphore::new(PARALLEL_MAX)),
            provisional: Mutex::default(),
            fired: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            lag_ms: AtomicU64::new(0),
        };
        (scheduler, problems)
    }

    /// All schedules with their next firing after `now`.
    pub fn list(&self, now: Timestamp) -> Vec<ScheduleView> {
        self.schedules.iter().map(|s| s.view(now)).collect()
    }

    /// Takes up open claims, makes up for missed firings, then fires what comes due until `stop` resolves;
    /// evaluations under way are finished.
    pub async fn run(self: Arc<Self>, stop: impl Future<Output = ()>) {
        let mut tasks = JoinSet::new();
        tokio::pin!(stop);
        let clock = self.evaluator.engine.services.clock.clone();
        tokio::select! {
            () = self.clone().catch_up(&mut tasks) => {}
            () = &mut stop => return self.finish(tasks).await,
        }
        let mut after = self.since;
        let provisional = Duration::from_millis(self.options.provisional_ms);
        let mut next_provisional = clock.now();
        loop {
            let due = self.schedules.iter().filter_map(|s| Some((s.next_after(after)?, s))).collect::<Vec<_>>();
            let mut wake = due.iter().map(|(at, _)| *at).min().unwrap_or(Timestamp::MAX);
            if !provisional.is_zero() {
                wake = wake.min(next_provisional);
            }
            tokio::select! {
                biased;
                () = &mut stop => break,
                () = clock.sleep_until(wake) => {}
                Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
            }
            let now = clock.now();
            for (at, schedule) in due.into_iter().filter(|(at, _)| *at == wake) {
                self.lag_ms.store(now.duration_since(at).as_millis().max(0) as u64, Ordering::Relaxed);
                tasks.spawn(self.clone().fire(schedule.clone(), at, How::Live));
            }
            if !provisional.is_zero() && wake >= next_provisional {
                for schedule in &self.schedules {
                    if let Subject::Windows(agreement) = &schedule.subject {
                        tasks.spawn(self.clone().evaluate_open(agreement.clone()));
                    }
                }
                next_provisional = now
                    .saturating_add(jiff::SignedDuration::try_from(provisional).unwrap_or_default())
                    .unwrap_or(Timestamp::MAX);
            }
            after = after.max(wake.min(now));
        }
        self.finish(tasks).await;
    }

    async fn finish(&self, mut tasks: JoinSet<()>) {
        // Retries that only sleep are given up; their claims stay open for the next start.
        self.evaluations.close();
        while tasks.join_next().await.is_some() {}
    }

    /// What must be done before the clock is followed: open claims, then firings missed since the last claim.
    async fn catch_up(self: Arc<Self>, tasks: &mut JoinSet<()>) {
        let open = self.with_store(|store| async move { store.open_claims().await }.boxed()).await;
        let by_id: BTreeMap<&str, &Arc<Schedule>> = self.schedules.iter().map(|s| (s.id.as_str(), s)).collect();
        for claim in &open {
            match by_id.get(claim.schedule.as_str()) {
                Some(schedule) => {
                    tracing::info!(schedule = %claim.schedule, due_at = %claim.due_at, "taking up an unfinished firing");
                    tasks.spawn(self.clone().fire((*schedule).clone(), claim.due_at, How::Again));
                }
                None => tracing::warn!(schedule = %claim.schedule, due_at = %claim.due_at,
                    "an unfinished firing belongs to no schedule any more"),
            }
        }
        for schedule in &self.schedules {
            let id = schedule.id.clone();
            let last = self
                .with_store(move |store| {
                    let id = id.clone();
                    async move { store.last_claim(&id).await }.boxed()
                })
                .await;
            let missed = schedule.missed(last, self.since);
            if missed.is_empty()
                && let Subject::Windows(agreement) | Subject::Cron { agreement, .. } = &schedule.subject
                && self.is_revised(agreement).await
            {
                tasks.spawn(self.clone().evaluate_again(agreement.clone()));
            }
            for at in missed {
                tasks.spawn(self.clone().fire(schedule.clone(), at, How::Missed));
            }
        }
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
        let mut pause = RETRY_MIN;
        loop {
            let Ok(_permit) = self.evaluations.clone().acquire_owned().await else { return };
            match self.act(&schedule, &claim, how).await {
                Ok(()) => return,
                Err(error) => {
                    self.failed.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(schedule = %schedule.id, %due_at, error, retry_s = pause.as_secs(), "a firing failed");
                }
            }
            drop(_permit);
            let closed = self.evaluations.clone();
            tokio::select! {
                () = clock.sleep(pause) => pause = (pause * 2).min(RETRY_MAX),
                () = wait_closed(&closed) => return,
            }
        }
    }

    async fn act(&self, schedule: &Schedule, claim: &ClaimKey, how: How) -> Result<(), String> {
        let due_at = claim.due_at;
        let trigger = Trigger::Cron { schedule: schedule.id.clone(), due_at };
        let (agreement, live) = match &schedule.subject {
            Subject::Flow { deployed, node, .. } => {
                let opening = Opening {
                    node: *node,
                    // To the node itself, which may have a payload of its own.
                    start: Start::Deliver,
                    msg: due_message(&schedule.id, due_at),
                    trigger,
                    reply: None,
                };
                let (run, future) = deployed.open(opening).map_err(|e| e.to_string())?;
                future.await;
                return self.evaluator.store.complete_claim(claim, run).await.map_err(|e| e.to_string());
            }
            Subject::Windows(agreement) => (agreement, Windows::ClosingAt(due_at)),
            Subject::Cron { agreement, .. } => {
                let just_before = due_at.saturating_sub(jiff::SignedDuration::from_nanos(1)).unwrap_or(due_at);
                let after = schedule.latest_before(just_before).unwrap_or(Timestamp::MIN);
                (agreement, Windows::ClosedBetween { after, at: due_at })
            }
        };
        let first = how == How::Again || self.is_first(agreement).await?;
        let windows = match how {
            _ if first => Windows::LastClosed { at: due_at, count: self.options.first_windows_max.max(1) },
            How::Missed if schedule.catch_up == CatchUp::Last => Windows::LastClosed { at: due_at, count: 1 },
            _ => live,
        };
        let request = Request {
            agreement: agreement.clone(),
            windows,
            guarantee: None,
            trigger,
            actor: "schedule".into(),
            store: true,
            claim: Some(claim.clone()),
        };
        self.evaluator.run(request).await.map(|_| ()).map_err(|e| e.to_string())
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
    async fn evaluate_again(self: Arc<Self>, agreement: Arc<Agreement>) {
        let Ok(_permit) = self.evaluations.clone().acquire_owned().await else { return };
        let id = agreement.id.clone();
        tracing::info!(agreement = %id, "its document has changed; its last closed windows are judged again");
        let request = Request {
            agreement,
            windows: Windows::LastClosed { at: self.since, count: 1 },
            guarantee: None,
            trigger: Trigger::Cron { schedule: format!("agreement/{id}/revised"), due_at: self.since },
            actor: "schedule".into(),
            store: true,
            claim: None,
        };
        if let Err(error) = self.evaluator.run(request).await {
            self.failed.fetch_add(1, Ordering::Relaxed);
            tracing::error!(agreement = %id, %error, "its last closed windows could not be judged again");
        }
    }

    /// Judges the open windows of an agreement; skipped while the last such evaluation is still under way.
    async fn evaluate_open(self: Arc<Self>, agreement: Arc<Agreement>) {
        let id = agreement.id.clone();
        if !self.provisional.lock().unwrap_or_else(|p| p.into_inner()).insert(id.clone()) {
            return;
        }
        if let Ok(_permit) = self.evaluations.clone().acquire_owned().await {
            let now = self.evaluator.engine.services.clock.now();
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

async fn wait_closed(semaphore: &Semaphore) {
    // More permits than there are: only closing ends the wait.
    let _closed = semaphore.acquire_many((PARALLEL_MAX + 1) as u32).await.is_err();
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

fn of_agreement(agreement: &Arc<Agreement>, problems: &mut Vec<String>) -> Schedule {
    let id = format!("agreement/{}", agreement.id);
    let windows = || Schedule { id: id.clone(), subject: Subject::Windows(agreement.clone()), catch_up: CatchUp::Last };
    let Some(own) = &agreement.schedule else { return windows() };
    let at = format!("agreement \"{}\": $.context.x-probity.schedule", agreement.id);
    let zone = match &own.time_zone {
        None => Ok(agreement.time_zone.clone()),
        Some(name) => TimeZone::get(name).map_err(|e| e.to_string()),
    };
    match (Cron::parse(&own.cron), zone) {
        (Ok(cron), Ok(zone)) => {
            Schedule { id, subject: Subject::Cron { agreement: agreement.clone(), cron, zone }, catch_up: own.catch_up }
        }
        (Err(error), _) => {
            problems.push(format!("{at}.cron: {error}; the agreement is evaluated when its windows close"));
            windows()
        }
        (_, Err(error)) => {
            problems.push(format!("{at}.timeZone: {error}; the agreement is evaluated when its windows close"));
            windows()
        }
    }
}

impl Schedule {
    fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.subject {
            Subject::Windows(agreement) => calendars(agreement).filter_map(|c| c.next_close_after(after)).min(),
            Subject::Cron { cron, zone, .. } | Subject::Flow { cron, zone, .. } => cron.next_after(after, zone),
        }
    }

    /// Firings that should have been between the last claim and now, by the catch-up policy. An agreement that was
    /// never evaluated is caught up with its last closed windows, so that its verdicts show at once.
    fn missed(&self, last: Option<Timestamp>, now: Timestamp) -> Vec<Timestamp> {
        let is_flow = matches!(self.subject, Subject::Flow { .. });
        let Some(last) = last else {
            return if is_flow { Vec::new() } else { self.latest_before(now).into_iter().collect() };
        };
        match self.catch_up {
            CatchUp::Skip => Vec::new(),
            CatchUp::Last => self.latest_before(now).filter(|at| *at > last).into_iter().collect(),
            CatchUp::All => {
                let mut missed = Vec::new();
                let mut after = last;
                while let Some(at) = self.next_after(after).filter(|at| *at <= now) {
                    missed.push(at);
                    after = at;
                    if missed.len() >= CATCH_UP_MAX {
                        tracing::warn!(schedule = %self.id, "more than {CATCH_UP_MAX} missed firings; the older ones are made up for");
                        break;
                    }
                }
                missed
            }
        }
    }

    /// The latest firing at or before `now`.
    fn latest_before(&self, now: Timestamp) -> Option<Timestamp> {
        match &self.subject {
            Subject::Windows(agreement) => calendars(agreement).flat_map(|c| c.last_closed(now, 1)).map(|w| w.to).max(),
            Subject::Cron { cron, zone, .. } | Subject::Flow { cron, zone, .. } => {
                // Cron only looks forward: look from ever further back until something is found.
                let mut back = jiff::SignedDuration::from_hours(1);
                while back <= jiff::SignedDuration::from_hours(24 * 366 * 5) {
                    let mut found = cron.next_after(now.saturating_sub(back).ok()?, zone).filter(|at| *at <= now);
                    while let Some(at) = found {
                        match cron.next_after(at, zone).filter(|next| *next <= now) {
                            Some(next) => found = Some(next),
                            None => return Some(at),
                        }
                    }
                    back *= 24;
                }
                None
            }
        }
    }

    fn view(&self, now: Timestamp) -> ScheduleView {
        let (kind, subject, cron, zone) = match &self.subject {
            Subject::Windows(a) => ("windows", a.id.clone(), None, a.time_zone_name.clone()),
            Subject::Cron { agreement, cron, zone } => {
                ("cron", agreement.id.clone(), Some(cron.to_string()), zone_name(zone))
            }
            Subject::Flow { deployed, node, cron, zone } => {
                let node = deployed.plan.nodes[*node as usize].id.to_string();
                ("flow", node, Some(cron.to_string()), zone_name(zone))
            }
        };
        ScheduleView {
            id: self.id.clone(),
            kind,
            subject,
            cron,
            time_zone: zone,
            catch_up: self.catch_up,
            next_due: self.next_after(now),
        }
    }
}

fn calendars(agreement: &Agreement) -> impl Iterator<Item = Calendar<'_>> {
    agreement.guarantees.iter().flat_map(|g| &g.terms).map(|t| Calendar::of(agreement, &t.window))
}

fn zone_name(zone: &TimeZone) -> String {
    zone.iana_name().unwrap_or("UTC").to_string()
}
