//! Floor 9: what fires what is due: windows that close, open windows (provisional), cron overrides of agreements,
//! waivers that begin or end, and schedule nodes of flows.
//!
//! Every due time is a row `(schedule, due_at)`, unique in the store, whichever replica makes it; one replica at a time
//! holds its lease and does its work. It is complete only with its committed evaluation; one whose lease ran out is taken
//! up by any replica, and a late one is refused by the lease's epoch. Nothing is chained: what is due is worked out from
//! the agreements and flows each time, and a firing that fails never holds up the next.

mod agenda;
mod catch_up;
mod due;
mod firing;
mod punctuality;
mod waivers;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{RwLock, Semaphore, watch};
use tokio::task::JoinSet;

use crate::evaluate::Evaluator;
use crate::model::agreement::Agreement;
use crate::registry::Snapshot;
use crate::runtime::{Deployed, Entry};
use crate::store::queue::{Accepted, NewRun};
use crate::store::{ClaimKey, Due, Holding, StoreError};
use agenda::{Agenda, Come};
use due::{Schedule, Subject, of_agreement};
use punctuality::Seen;

pub use due::ScheduleView;
pub use punctuality::Punctuality;

/// Evaluations at once.
const PARALLEL_MAX: usize = 4;
/// First and longest pause before a failed firing is tried again.
const RETRY_MIN: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(300);
/// First pause before due times that could not be stored are stored again; the longest is [`RETRY_MIN`].
const MAKE_MIN: Duration = Duration::from_millis(200);

/// How often and how far; defaults are those of `config.default.toml`.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Open windows are evaluated this often, milliseconds; 0 never.
    pub provisional_ms: u64,
    /// Closed windows evaluated at the first start, per term.
    pub first_windows_max: usize,
    /// Whether due times are noticed here and made rows (the role `scheduler`).
    pub notices: bool,
    /// Whether the work of firings is done here (the role `worker`).
    pub works: bool,
    /// Firings that nobody holds are looked for this often, milliseconds.
    pub poll_ms: u64,
    /// A firing that is begun later than this is late; one that comes due while the time of day is set forward by more,
    /// or while the machine sleeps so long, is missed. Milliseconds.
    pub late_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            provisional_ms: 60_000,
            first_windows_max: 12,
            notices: true,
            works: true,
            poll_ms: 500,
            late_ms: 60_000,
        }
    }
}

/// Accepts the run of a firing with the completion of its claim, in one transaction.
pub type AcceptRun = Box<dyn Fn(ClaimKey, NewRun) -> BoxFuture<'static, Result<Accepted, StoreError>> + Send + Sync>;

/// Fires what is due until it is stopped. One per process.
pub struct Scheduler {
    /// Where runs of schedule nodes go; none: they are run here.
    accept: Option<AcceptRun>,
    evaluator: Arc<Evaluator>,
    /// The leases of what is done here.
    holding: Arc<Holding>,
    options: Options,
    seen: Seen,
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
    /// Runs of schedule nodes are durable: committed with their firings, and run by whoever runs durable runs. Tabs that
    /// say `fast` keep theirs.
    pub fn with_durable_runs(self, accept: AcceptRun) -> Scheduler {
        Scheduler { accept: Some(accept), ..self }
    }

    /// Schedules every loaded agreement and every schedule node of the deployed flows. Also gives what is wrong
    /// with overrides (bad cron, unknown zone); such an agreement keeps the default schedule.
    pub fn new(evaluator: Arc<Evaluator>, holding: Arc<Holding>, options: Options) -> (Self, Vec<String>) {
        let mut problems = Vec::new();
        let mut schedules = Vec::new();
        let since = evaluator.engine.services.clock.now();
        for agreement in &evaluator.agreements.snapshot().agreements {
            schedules.push(Arc::new(of_agreement(agreement, since, &mut problems)));
        }
        schedules.extend(of_flows(&evaluator.engine.current(), &[], since));
        let scheduler = Scheduler {
            accept: None,
            since,
            evaluator,
            holding,
            options,
            seen: Seen::default(),
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
        self.schedules.load().iter().map(|s| s.view(now, self.seen.of(&s.id))).collect()
    }

    /// How punctual all firings of this process were.
    pub fn punctuality(&self) -> Punctuality {
        self.seen.all()
    }

    /// Takes up open claims, makes up for missed firings, then fires what comes due and takes up what others left, until
    /// `stop` resolves; evaluations under way are finished, other firings given back.
    pub async fn run(self: Arc<Self>, stop: impl Future<Output = ()>) {
        let mut tasks = JoinSet::new();
        tokio::pin!(stop);
        let clock = self.evaluator.engine.services.clock.clone();
        let mut changes = self.evaluator.agreements.subscribe();
        let mut deploys = self.evaluator.engine.deploys();
        // What came between the first plan and now.
        changes.mark_changed();
        tokio::select! {
            open = self.clone().catch_up(self.schedules.load_full(), self.since) => {
                for firing in open {
                    tasks.spawn(firing);
                }
            }
            () = &mut stop => return self.finish(tasks).await,
        }
        if self.options.works {
            tasks.spawn(self.clone().follow_waivers());
        }
        let mut agenda = Agenda::default();
        let poll = Duration::from_millis(self.options.poll_ms.max(10));
        let mut rounds = Rounds { look: clock.now(), provisional: clock.now() };
        let mut come: Vec<Come> = Vec::new();
        let mut making: Option<BoxFuture<'static, Vec<Come>>> = None;
        loop {
            if making.is_none() && !come.is_empty() {
                making = Some(self.clone().make(std::mem::take(&mut come)).boxed());
            }
            agenda.follow(&self.schedules.load_full());
            let now = clock.now();
            rounds.turn_back(now, poll, self.provisional());
            let wake = if self.options.notices { agenda.next() } else { Timestamp::MAX };
            let wake = if self.options.works { wake.min(rounds.next(self.provisional())) } else { wake };
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
                made = async {
                    match &mut making {
                        Some(making) => making.await,
                        None => std::future::pending().await,
                    }
                } => {
                    making = None;
                    for due in made {
                        tasks.spawn(self.clone().fire(due.schedule, due.at, due.how));
                    }
                    continue;
                }
                () = clock.sleep_until(wake) => {}
                // The time of day may have been set back, far before `wake`.
                () = clock.sleep(poll) => {}
                Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
            }
            come.extend(self.clone().round(&mut agenda, &mut rounds, poll, &mut tasks));
        }
        self.finish(tasks).await;
    }

    /// How often open windows are judged; `None`: never.
    fn provisional(&self) -> Option<Duration> {
        Some(Duration::from_millis(self.options.provisional_ms)).filter(|every| !every.is_zero())
    }

    /// Begins what is done in rounds, and gives what has come due by now.
    fn round(
        self: Arc<Self>,
        agenda: &mut Agenda,
        rounds: &mut Rounds,
        poll: Duration,
        tasks: &mut JoinSet<()>,
    ) -> Vec<Come> {
        let now = self.evaluator.engine.services.clock.now();
        let mut due = Vec::new();
        if self.options.notices {
            let (come, left_out) = agenda.take(now, Duration::from_millis(self.options.late_ms));
            for left_out in left_out {
                tracing::warn!(schedule = %left_out.schedule.id, missed = left_out.count,
                    "the clock went on by more than schedule.late_ms; firings in between are not made up for");
                self.seen.missed(&left_out.schedule.id, left_out.count);
            }
            due = come;
        }
        if self.options.works && now >= rounds.look {
            tasks.spawn(self.clone().take_up());
            rounds.look = later(now, poll);
        }
        if let Some(every) = self.provisional().filter(|_| self.options.works && now >= rounds.provisional) {
            for schedule in self.schedules.load().iter() {
                if let Subject::Windows(agreement) = &schedule.subject {
                    tasks.spawn(self.clone().evaluate_open(agreement.clone()));
                }
            }
            rounds.provisional = later(now, every);
        }
        due
    }

    /// Makes rows of what has come due, before any of it is fired, and one batch after the other: a row of a later due time
    /// says that the earlier ones are rows, too. Otherwise a process that dies with an earlier one in its hands would leave a
    /// gap that nobody looks for.
    async fn make(self: Arc<Self>, come: Vec<Come>) -> Vec<Come> {
        let clock = &self.evaluator.engine.services.clock;
        let key = |come: &Come| ClaimKey { schedule: come.schedule.id.clone(), due_at: come.at };
        let due: Vec<Due> = come.iter().map(|come| Due { key: key(come), how: come.how, at: clock.now() }).collect();
        let mut pause = MAKE_MIN;
        while let Err(error) = self.evaluator.store.materialise(&due).await {
            tracing::error!(%error, due = due.len(), retry_ms = pause.as_millis() as u64, "what is due cannot be stored");
            clock.sleep(pause).await;
            pause = (pause * 2).min(RETRY_MIN);
        }
        come
    }

    async fn finish(&self, mut tasks: JoinSet<()>) {
        // Retries that only sleep are given up; their claims are given back.
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
        self.take_schedules(schedules);
        async move {
            if !fresh.is_empty() {
                join_all(self.catch_up(Arc::new(fresh), now).await).await;
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
        self.take_schedules(schedules);
    }

    fn take_schedules(&self, schedules: Vec<Arc<Schedule>>) {
        let ids: HashSet<&str> = schedules.iter().map(|schedule| schedule.id.as_str()).collect();
        self.seen.keep(|schedule| ids.contains(schedule));
        self.schedules.store(Arc::new(schedules));
    }

    fn turn(&self, agreement: &str) -> Arc<RwLock<()>> {
        self.turns.lock().unwrap_or_else(|p| p.into_inner()).entry(agreement.to_owned()).or_default().clone()
    }
}

/// When rounds are due that no schedule asks for.
struct Rounds {
    /// Claims that nobody holds are looked for.
    look: Timestamp,
    /// Open windows are judged.
    provisional: Timestamp,
}

impl Rounds {
    /// None is further off than its interval, whatever the time of day was set to.
    fn turn_back(&mut self, now: Timestamp, poll: Duration, provisional: Option<Duration>) {
        self.look = self.look.min(later(now, poll));
        self.provisional = self.provisional.min(provisional.map_or(Timestamp::MAX, |every| later(now, every)));
    }

    fn next(&self, provisional: Option<Duration>) -> Timestamp {
        if provisional.is_some() { self.look.min(self.provisional) } else { self.look }
    }
}

fn later(now: Timestamp, by: Duration) -> Timestamp {
    now.saturating_add(SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX)).unwrap_or(Timestamp::MAX)
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
