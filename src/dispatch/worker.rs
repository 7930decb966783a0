//! The worker: leases runs, has the engine run them, and stores what became of them.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::acceptor::{Acceptor, Local};
use super::backoff::pause_ms;
use super::commits::{Commits, HeldRun};
use super::heartbeat::HeldRuns;
use super::plans::{NoPlan, Plans};
use super::{Counts, Dispatcher, Found, Next, Options};
use crate::clock::Clock;
use crate::failpoint::{self, FailPoint};
use crate::model::run::RunError;
use crate::runtime::durable::{Beginning, Control, Decision, Doubt, DurableEnd, DurableOpening, Wish};
use crate::runtime::opening::Start;
use crate::runtime::snapshot::read_start;
use crate::store::Store;
use crate::store::queue::{self, Held, LeaseWanted, LeasedByName, NewRun, Outcome, QueueState, QueuedRun, Resume};

/// Runs durable runs until it is stopped. One per process.
pub struct Worker {
    store: Arc<dyn Store>,
    clock: Clock,
    options: Options,
    acceptor: Arc<Acceptor>,
    plans: Arc<Plans>,
    held: Arc<HeldRuns>,
    /// Told when a run has ended, so that there is room for another.
    room: Arc<Notify>,
}

/// What one run needs beside itself.
#[derive(Clone)]
struct Means {
    options: Options,
    clock: Clock,
    commits: Commits,
    plans: Arc<Plans>,
    counts: Arc<Counts>,
}

impl Worker {
    /// A worker for what `acceptor` accepts, and for all else that is ready in its store.
    pub fn new(store: Arc<dyn Store>, acceptor: Arc<Acceptor>, plans: Arc<Plans>, options: Options) -> Arc<Worker> {
        let clock = plans.engine().services.clock.clone();
        acceptor.handover.has_worker.store(true, Ordering::Release);
        let (held, room) = Default::default();
        Arc::new(Worker { store, clock, options, acceptor, plans, held, room })
    }

    /// Durable runs under way in this process.
    pub fn under_way(&self) -> usize {
        self.held.len()
    }

    /// Leases and runs until `stop` resolves. Then nothing more is leased; runs that can be are given back at their next
    /// message, those that wait for an effect or have a caller get `grace`, and what is left after that is given back
    /// where it stands.
    pub async fn run(self: Arc<Self>, grace: Duration, stop: impl Future<Output = ()>) {
        let counts = self.acceptor.counts.clone();
        let (commits, storing) = Commits::new(self.store.clone(), self.clock.clone(), &self.options, counts.clone());
        let storing = tokio::spawn(storing);
        let beating = {
            let (held, store, clock, lease_ms) =
                (self.held.clone(), self.store.clone(), self.clock.clone(), self.options.lease_ms);
            tokio::spawn(async move { held.beat(store, clock, lease_ms).await })
        };
        let means = Means {
            options: self.options.clone(),
            clock: self.clock.clone(),
            commits,
            plans: self.plans.clone(),
            counts,
        };
        let mut runs = JoinSet::new();
        let taken = self.acceptor.handover.taken.lock().unwrap_or_else(|p| p.into_inner()).take();
        let Some(mut taken) = taken else {
            tracing::error!("a worker was started twice; the first goes on");
            return;
        };
        tokio::select! {
            biased;
            () = stop => {}
            () = self.lease(&means, &mut runs, &mut taken) => {}
        }
        self.acceptor.handover.has_room.store(false, Ordering::Release);
        self.acceptor.handover.has_worker.store(false, Ordering::Release);
        self.drain(&means, runs, taken, grace).await;
        drop(means);
        let ended = tokio::select! {
            ended = storing => ended.is_ok(),
            () = self.clock.sleep(grace) => false,
        };
        if !ended {
            tracing::warn!("ends of runs could not be stored; others take these runs up when their leases are over");
        }
        beating.abort();
    }

    async fn lease(&self, means: &Means, runs: &mut JoinSet<()>, taken: &mut mpsc::UnboundedReceiver<(Held, NewRun)>) {
        let dispatcher = self.acceptor.dispatcher().clone();
        loop {
            while runs.try_join_next().is_some() {}
            let wanted = self.room().min(self.options.lease_batch_max);
            if wanted == 0 {
                tokio::select! {
                    biased;
                    // The sender lives in the acceptor.
                    Some(handed) = taken.recv() => self.begin_handed(means, runs, handed),
                    () = self.room.notified() => {}
                }
                continue;
            }
            // One wait, however many runs are handed over meanwhile: a look into the queue is not put off by them.
            let next = dispatcher.next(wanted);
            tokio::pin!(next);
            let next = loop {
                tokio::select! {
                    biased;
                    Some(handed) = taken.recv() => {
                        self.begin_handed(means, runs, handed);
                        self.room();
                    }
                    next = &mut next => break next,
                }
            };
            let wanted = wanted.min(self.room());
            let leased = match next {
                Next::Any => self.lease_any(&*dispatcher, wanted).await,
                Next::Named(named) => self.lease_named(&*dispatcher, wanted, &named).await,
            };
            for run in leased {
                self.begin(means, runs, run, None);
            }
        }
    }

    /// For how many runs there is room; the acceptor is told whether there is.
    fn room(&self) -> usize {
        let room = self.options.parallel_max.saturating_sub(self.held.len());
        self.acceptor.handover.has_room.store(room > 0, Ordering::Release);
        room
    }

    /// What is to be leased: no more of a flow or tenant than its limit lets begin here soon.
    fn wanted(&self, max: usize) -> LeaseWanted {
        let engine = self.plans.engine();
        let (flow_caps, tenant_caps) = engine.services.places.caps(&engine.current().plan.flows);
        let max = u32::try_from(max).unwrap_or(u32::MAX);
        LeaseWanted { max, lease_ms: self.options.lease_ms, versions: None, flow_caps, tenant_caps }
    }

    async fn lease_any(&self, dispatcher: &dyn Dispatcher, max: usize) -> Vec<QueuedRun> {
        if max == 0 {
            return Vec::new();
        }
        let wanted = self.wanted(max);
        match self.store.lease_runs(self.acceptor.owner(), &wanted).await {
            Ok(leased) => {
                let capped = wanted.flow_caps.values().chain(wanted.tenant_caps.values()).any(|cap| *cap == 0);
                dispatcher.found(match leased.len() {
                    n if n == max => Found::All,
                    _ if capped => Found::HeldBack,
                    0 => Found::None,
                    _ => Found::Some,
                });
                self.leased(leased)
            }
            Err(error) => {
                tracing::error!(%error, "durable runs could not be leased");
                dispatcher.found(Found::Failed);
                Vec::new()
            }
        }
    }

    async fn lease_named(&self, dispatcher: &dyn Dispatcher, max: usize, named: &[Held]) -> Vec<QueuedRun> {
        let (now, later) = named.split_at(max.min(named.len()));
        let told = match now {
            [] => Ok(LeasedByName::default()),
            now => self.store.lease_named(self.acceptor.owner(), now, &self.wanted(max)).await,
        };
        match told {
            Ok(told) => {
                let leased = self.leased(told.leased);
                let later: HashSet<Held> = told.held_back.into_iter().chain(later.iter().copied()).collect();
                let settled: Vec<Held> = now.iter().filter(|held| !later.contains(held)).copied().collect();
                dispatcher.stale(settled.len().saturating_sub(leased.len()));
                dispatcher.done(&settled, &Vec::from_iter(later)).await;
                leased
            }
            Err(error) => {
                tracing::error!(%error, "durable runs could not be leased");
                // They may have been leased, and the answer was lost: then the name is out of date next time.
                dispatcher.done(&[], named).await;
                Vec::new()
            }
        }
    }

    fn leased(&self, leased: Vec<QueuedRun>) -> Vec<QueuedRun> {
        if !leased.is_empty() {
            self.acceptor.counts.leased.fetch_add(leased.len() as u64, Ordering::Relaxed);
            failpoint::reach(FailPoint::DispatchLeased);
        }
        leased
    }

    /// Begins a run that was leased when it was accepted.
    fn begin_handed(&self, means: &Means, runs: &mut JoinSet<()>, (held, run): (Held, NewRun)) {
        self.acceptor.counts.leased.fetch_add(1, Ordering::Relaxed);
        failpoint::reach(FailPoint::DispatchLeased);
        let now = self.clock.now();
        let run = QueuedRun {
            id: run.id,
            flow: run.flow,
            node: run.node,
            flow_version: run.flow_version,
            trigger: run.trigger,
            msg: run.msg,
            reply: run.reply,
            priority: run.priority,
            tenant: run.tenant,
            state: QueueState::Leased,
            attempt: 1,
            epoch: held.epoch,
            owner: None,
            ready_at: now,
            accepted_at: now,
            point: None,
            effects: None,
            decision: None,
            cancel_wanted: false,
            error: None,
        };
        let local = self.acceptor.handover.take(run.id);
        self.begin(means, runs, run, local);
    }

    fn begin(&self, means: &Means, runs: &mut JoinSet<()>, run: QueuedRun, local: Option<Local>) {
        let local = local.or_else(|| self.acceptor.handover.take(run.id));
        let (held, control) = (run.held(), Arc::new(Control::default()));
        if run.cancel_wanted {
            control.ask(Wish::Cancel);
        }
        self.held.add(held, control.clone());
        let (means, all, room) = (means.clone(), self.held.clone(), self.room.clone());
        runs.spawn(async move {
            means.work(run, local, control).await;
            all.remove(held);
            room.notify_one();
        });
    }

    /// Gives back what can be, lets the rest end.
    async fn drain(
        &self,
        means: &Means,
        mut runs: JoinSet<()>,
        mut taken: mpsc::UnboundedReceiver<(Held, NewRun)>,
        grace: Duration,
    ) {
        // Accepted with a lease, and not begun: its caller waits, so it is begun all the same.
        taken.close();
        while let Some(handed) = taken.recv().await {
            self.begin_handed(means, &mut runs, handed);
        }
        self.held.ask_all(Wish::GiveBack);
        let all = async { while runs.join_next().await.is_some() {} };
        tokio::select! {
            () = all => return,
            () = self.clock.sleep(grace) => {}
        }
        tracing::warn!(runs = self.held.len(), "durable runs were still under way and go on elsewhere");
        // The engine cuts off what is left; it is given back at its last point.
        let all = async { while runs.join_next().await.is_some() {} };
        tokio::select! {
            () = all => {}
            () = self.clock.sleep(Duration::from_secs(2)) => runs.shutdown().await,
        }
    }
}

impl Means {
    /// Runs one run and stores what became of it.
    async fn work(&self, run: QueuedRun, local: Option<Local>, control: Arc<Control>) {
        let held = run.held();
        let (attempt, trigger_node) = (run.attempt, run.node.clone());
        let outcome = match self.outcome(run, local, control).await {
            Some(outcome) => outcome,
            None => {
                self.counts.lost.fetch_add(1, Ordering::Relaxed);
                return;
            }
        };
        let outcome = match outcome {
            Outcome::Retry { error, .. } if attempt >= self.options.attempts_max => Outcome::Dead { error },
            outcome => outcome,
        };
        let count = match &outcome {
            Outcome::Ended(_) => &self.counts.ended,
            Outcome::Retry { .. } => &self.counts.retried,
            Outcome::Released => &self.counts.released,
            Outcome::Dead { error } => {
                tracing::error!(run = %held.id, node = %trigger_node, error = %error.message, "a run is a dead letter");
                &self.counts.dead
            }
            Outcome::Doubt { what } => {
                tracing::error!(run = %held.id, node = %what.node, "a run is in doubt: {}", what.message);
                &self.counts.in_doubt
            }
        };
        let stored = self.commits.settle(held, outcome).await;
        if !stored {
            // What its end said here is not what counts.
            self.plans.engine().services.history.forget(held.id);
        }
        (if stored { count } else { &self.counts.lost }).fetch_add(1, Ordering::Relaxed);
    }

    /// What becomes of a run; `None`: somebody else has it.
    async fn outcome(&self, run: QueuedRun, local: Option<Local>, control: Arc<Control>) -> Option<Outcome> {
        let about = |message: String| RunError { node: run.node.clone(), node_type: String::new(), message };
        // A person's decision is not lost to their number.
        if run.attempt > self.options.attempts_max && run.decision.is_none() {
            // Each time nobody was left to say why.
            let attempts = run.attempt - 1;
            let before = run.error.as_ref().map_or(String::new(), |error| format!("; before that: {}", error.message));
            let message = format!("{attempts} attempts ended with the process that made them{before}");
            return Some(Outcome::Dead { error: about(message) });
        }
        let (plan, node) = match self.plans.of(&run).await {
            Ok(found) => found,
            Err(NoPlan::Gone(problem)) => return Some(Outcome::Dead { error: about(problem) }),
            Err(NoPlan::Unreachable(problem)) => {
                tracing::warn!(run = %run.id, "its flows cannot be read now, it is tried again: {problem}");
                self.clock.sleep(Duration::from_millis(self.options.poll_ms_max)).await;
                return Some(Outcome::Released);
            }
        };
        let (mut start, mut reply) = (Start::Emit(0), None);
        let mut message = None;
        if let Some(local) = local {
            (start, reply, message) = (local.start, local.reply, Some(local.msg));
        }
        let beginning = match (run.point.clone(), message) {
            (Some(point), _) => Beginning::Snapshot(point),
            (None, Some(msg)) => Beginning::Message { start, msg },
            (None, None) => match read_start(&run.msg) {
                Ok((start, msg)) => Beginning::Message { start, msg },
                Err(problem) => return Some(Outcome::Dead { error: about(problem) }),
            },
        };
        let decision = run.decision.map(|decision| match decision {
            queue::Decision::Skip => Decision::Skip,
            // One that is decided to fail has ended.
            queue::Decision::Again | queue::Decision::Fail => Decision::Again,
        });
        let lease = Box::new(HeldRun { held: run.held(), commits: self.commits.clone(), control: control.clone() });
        let trigger = run.trigger.clone();
        let opening = DurableOpening { id: run.id, node, trigger, beginning, decision, reply, lease, control };
        let end = match plan.open_durable(opening) {
            Ok(running) => running.await,
            // Too many runs are open, or the process stops: it is somebody's turn later.
            Err(busy) => {
                self.clock.sleep(Duration::from_millis(self.options.poll_ms_min)).await;
                tracing::debug!(run = %run.id, "{busy}");
                DurableEnd::GivenBack
            }
        };
        self.settled(&run, end).await
    }

    async fn settled(&self, run: &QueuedRun, end: DurableEnd) -> Option<Outcome> {
        Some(match end {
            DurableEnd::Ended(ended) => Outcome::Ended(Box::new(ended.to_record())),
            DurableEnd::Again { error, snapshot } => {
                if !self.commits.mark(run.held(), snapshot).await {
                    return None;
                }
                let delay_ms = pause_ms(&self.options, run.attempt, fastrand::f64());
                Outcome::Retry { delay_ms, error, resume: Resume::Point }
            }
            DurableEnd::Doubt(doubts) => Outcome::Doubt { what: doubtful(&doubts) },
            DurableEnd::GivenBack => Outcome::Released,
            DurableEnd::Lost => return None,
            DurableEnd::Unusable(problem) => {
                let error = RunError { node: run.node.clone(), node_type: String::new(), message: problem };
                Outcome::Dead { error }
            }
        })
    }
}

fn doubtful(doubts: &[Doubt]) -> RunError {
    let (node, node_type) =
        doubts.first().map(|doubt| (doubt.node.clone(), doubt.node_type.clone())).unwrap_or_default();
    let message: Vec<String> = doubts.iter().map(Doubt::to_string).collect();
    RunError { node, node_type, message: message.join("; ") }
}
