//! The engine: builds the nodes of a plan, swaps it in, opens runs and drains them at the end.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use arcstr::ArcStr;
use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::building::{Kept, build};
use super::capture::{Recorder, Secrets, Wanted};
use super::current::{current_run, of_run};
use super::durable::{Beginning, Durable, DurableEnd, DurableOpening};
use super::exchange::{Reply, ReplyHandle, ReplyTo, Request};
use super::instance::Instance;
pub use super::places::Busy;
use super::places::{Place as PlaceInside, Rank, Turn};
use super::routes::Routes;
use super::run::{EndedRun, RunCore, drive, drive_durable};
use super::sockets::Doors;
use super::{Catalogue, Cx, Effect, Entry, Node, Place, Services};
use crate::clock::Clock;
use crate::model::flow::{NodeIndex, Plan, PlanNode, Stopped};
use crate::model::run::{RunRecord, RunState, Trigger};
use crate::model::trace_context::TraceParent;
use crate::model::{Diagnostic, Msg, RunId, Value};

/// Runs flows. One per process.
pub struct Engine {
    pub services: Arc<Services>,
    catalogue: ArcSwap<Catalogue>,
    current: ArcSwap<Deployed>,
    active: Arc<Active>,
    /// Counts the plans that were swapped in.
    deploys: watch::Sender<u64>,
}

/// A plan with its nodes, ready to run. Runs hold on to the one they started on.
pub struct Deployed {
    pub plan: Plan,
    pub(super) nodes: Vec<Arc<dyn Node>>,
    /// The same nodes as they live on over deploys.
    pub(super) instances: Vec<Arc<Instance>>,
    /// Config nodes with their places among the plan's, each after those it names.
    pub(super) configs: Vec<(usize, Arc<Instance>)>,
    pub(super) catalogue: Arc<Catalogue>,
    pub routes: Routes,
    /// Paths of websocket listeners below `httpNodeRoot`.
    pub sockets: Doors,
    /// Metric name → entry node.
    pub metrics: HashMap<ArcStr, NodeIndex>,
    /// Nodes with a schedule.
    pub schedules: Vec<(NodeIndex, Entry)>,
    /// Which nodes the world reaches by themselves.
    pub(super) entries: Vec<bool>,
    /// What each node does outside its flow.
    pub(super) effects: Vec<Effect>,
    /// Which nodes may ask the database for contexts while they are called.
    pub(super) asks_contexts: Vec<bool>,
    /// What is wrong with single nodes; they fail the messages they get.
    pub diagnostics: Vec<Diagnostic>,
    pub services: Arc<Services>,
    pub(super) active: Arc<Active>,
    pub(super) stopped: AtomicBool,
    /// Found when they are first needed.
    pub(super) secrets: OnceLock<Arc<Secrets>>,
}

/// The span that a caller's `traceparent` names.
fn trace_parent(msg: &Msg) -> Option<TraceParent> {
    let request = msg.get("req")?.as_handle::<Request>()?;
    TraceParent::parse(request.headers.get("traceparent")?.as_bytes())
}

/// Runs that are open, in this process.
pub(super) struct Active {
    count: AtomicUsize,
    idle: Notify,
    cut_off: watch::Sender<bool>,
}

/// What opens a run.
pub struct Opening {
    pub node: NodeIndex,
    pub start: Start,
    pub msg: Msg,
    pub trigger: Trigger,
    pub reply: Option<Arc<ReplyTo>>,
}

/// How the first message enters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// As if the node had emitted it on this port.
    Emit(usize),
    /// Handed to the node itself.
    Deliver,
}

/// What came of a call with a caller.
pub struct Called {
    pub run: RunId,
    /// `None` when the deadline passed first; the run goes on.
    pub reply: Option<Reply>,
}

/// Opens runs on behalf of a node that acts by itself, in the plan that the node is part of by then.
#[derive(Clone)]
pub struct Source {
    pub(super) instance: Arc<Instance>,
    pub(super) services: Arc<Services>,
}

impl Source {
    /// Opens a run with a message emitted on port 0.
    pub fn open(&self, msg: Msg, trigger: Trigger) -> Result<RunId, Busy> {
        self.spawn(Start::Emit(0), msg, trigger)
    }

    /// Opens a run by handing the message to the node itself.
    pub fn deliver(&self, msg: Msg, trigger: Trigger) -> Result<RunId, Busy> {
        self.spawn(Start::Deliver, msg, trigger)
    }

    fn spawn(&self, start: Start, msg: Msg, trigger: Trigger) -> Result<RunId, Busy> {
        let (deployed, node) = self.instance.place().ok_or(Busy::Server)?;
        deployed.spawn(Opening { node, start, msg, trigger, reply: None })
    }

    /// Opens a run in which the node does what `act` says: emits, shows a status, reports an error. One that leaves
    /// nothing to do is over at once and leaves no trace.
    pub fn act(&self, act: impl FnOnce(&mut Cx<'_>)) -> Result<(), Busy> {
        let (deployed, node) = self.instance.place().ok_or(Busy::Server)?;
        deployed.act(node, act)
    }

    pub fn clock(&self) -> Clock {
        self.services.clock.clone()
    }

    /// The plan it acts in now, and the node; `None` when that plan is gone.
    pub fn stands(&self) -> Option<(Arc<Deployed>, NodeIndex)> {
        self.instance.place()
    }

    pub fn services(&self) -> &Arc<Services> {
        &self.services
    }

    /// Reads where the node stands now; `None` when its plan is gone.
    pub fn at_place<T>(&self, read: impl FnOnce(Place<'_>) -> T) -> Option<T> {
        let (deployed, node) = self.instance.place()?;
        Some(read(deployed.place(node)))
    }
}

impl Engine {
    pub fn new(services: Arc<Services>, catalogue: Catalogue) -> Arc<Engine> {
        let active =
            Arc::new(Active { count: AtomicUsize::new(0), idle: Notify::new(), cut_off: watch::channel(false).0 });
        let catalogue = Arc::new(catalogue);
        let empty = build(Plan::default(), &catalogue, &services, &active, &Kept::default());
        let catalogue = ArcSwap::new(catalogue);
        let deploys = watch::Sender::new(0);
        Arc::new(Engine { services, catalogue, current: ArcSwap::from_pointee(empty), active, deploys })
    }

    /// Builds the plan's nodes and swaps it in; new runs start on it, open ones end on the old one. Nodes with
    /// problems fail the messages they get; their problems are in [`Deployed::diagnostics`].
    pub fn deploy(&self, plan: Plan) -> Arc<Deployed> {
        let deployed = self.prepare(plan);
        self.swap(deployed.clone(), &|_| {});
        deployed
    }

    /// Swaps a plan in as [`Engine::deploy`] does, but starts none of its sources: for commands that only ask flows.
    pub fn deploy_idle(&self, plan: Plan) -> Arc<Deployed> {
        let deployed = self.prepare(plan);
        self.current.swap(deployed.clone()).stop_but(&HashSet::new()).1.detach();
        deployed
    }

    /// Builds a plan without swapping it in or starting its sources: for one run, or to see what is wrong with it.
    pub fn prepare(&self, plan: Plan) -> Arc<Deployed> {
        self.prepare_keeping(plan, &|_| false)
    }

    /// As [`Engine::prepare`], but nodes of the current plan that `keeps` asks for and that would be built from the very
    /// same are taken over as they are, with their state, timers and connections. They become part of the new plan with
    /// [`Engine::swap`].
    pub fn prepare_keeping(&self, plan: Plan, keeps: &dyn Fn(&PlanNode) -> bool) -> Arc<Deployed> {
        let (catalogue, old) = (self.catalogue.load_full(), self.current());
        let kept = Kept::of(&old, &plan, &catalogue, keeps);
        let deployed = Arc::new(build(plan, &catalogue, &self.services, &self.active, &kept));
        for (index, instance) in deployed.instances.iter().enumerate().filter(|(_, i)| i.place().is_none()) {
            instance.take_place(&deployed, index as NodeIndex);
        }
        deployed
    }

    /// Swaps in what was prepared: the nodes it did not take over are stopped, `between` is told their ids, and its new
    /// ones are started. New runs start on it, open ones end on the old one.
    pub fn swap(&self, deployed: Arc<Deployed>, between: &dyn Fn(&[ArcStr])) {
        let old = self.current.swap(deployed.clone());
        let (stopped, goodbye) = old.stop_but(&deployed.lives());
        between(&stopped);
        deployed.start_after(goodbye, old.lives());
        self.deploys.send_modify(|n| *n += 1);
    }

    /// Tells of every plan that is swapped in and started.
    pub fn deploys(&self) -> watch::Receiver<u64> {
        self.deploys.subscribe()
    }

    /// The node types known now.
    pub fn catalogue(&self) -> Arc<Catalogue> {
        self.catalogue.load_full()
    }

    /// Changes the node types for the plans built from now on.
    pub fn set_catalogue(&self, catalogue: Catalogue) {
        self.catalogue.store(Arc::new(catalogue));
    }

    pub fn current(&self) -> Arc<Deployed> {
        self.current.load_full()
    }

    /// Runs open now.
    pub fn open_runs(&self) -> usize {
        self.active.count.load(Ordering::Relaxed)
    }

    /// Stops the sources, waits for open runs, and after `grace` ends those left. Gives how many it had to end.
    pub async fn drain(&self, grace: Duration) -> usize {
        let goodbye = self.current.load().stop_but(&HashSet::new()).1;
        let left = self.end_runs(grace).await;
        goodbye.wait().await;
        left
    }

    async fn end_runs(&self, grace: Duration) -> usize {
        let idle = self.active.idle();
        let clock = self.services.clock.clone();
        tokio::select! {
            () = idle => return 0,
            () = clock.sleep(grace) => {}
        }
        let left = self.open_runs();
        self.active.cut_off.send_replace(true);
        tokio::select! {
            () = self.active.idle() => {}
            () = clock.sleep(Duration::from_secs(1)) => {}
        }
        left
    }
}

impl Active {
    async fn idle(&self) {
        loop {
            let notified = self.idle.notified();
            if self.count.load(Ordering::Acquire) == 0 {
                return;
            }
            notified.await;
        }
    }
}

/// Counts a run as open for as long as it lives.
struct OpenRun(Arc<Active>);

impl Drop for OpenRun {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

/// A run about to be polled.
pub type RunFuture = Pin<Box<dyn Future<Output = Arc<EndedRun>> + Send>>;

/// A durable run about to be polled.
pub type DurableFuture = Pin<Box<dyn Future<Output = DurableEnd> + Send>>;

/// Lets a run go as far as it can at once, and the rest of it on a task of its own: what one source opens one after
/// the other (messages of a topic, an inject pressed twice) keeps that order. What a node opens while its own run is
/// polled is left to a task, so that no node is called within another.
fn begin(mut run: RunFuture) {
    if current_run().is_none() && run.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
        return;
    }
    tokio::spawn(run);
}

impl Deployed {
    /// Opens a run; it makes progress when the future is polled.
    pub fn open(self: &Arc<Self>, opening: Opening) -> Result<(RunId, RunFuture), Busy> {
        let turn = self.turn(opening.node, &opening.trigger)?;
        self.open_at(opening, self.services.clock.now(), turn)
    }

    fn open_at(
        self: &Arc<Self>,
        opening: Opening,
        started_at: Timestamp,
        turn: Turn,
    ) -> Result<(RunId, RunFuture), Busy> {
        let (mut core, open) = self.core(opening.node, opening.trigger, opening.reply, started_at)?;
        core.parent = trace_parent(&opening.msg);
        self.enter(&mut core, opening.node, opening.start, opening.msg);
        Ok((core.id, self.run(core, open, turn)))
    }

    /// A place for a run of this node's flow, or a place in the queue for one.
    fn turn(&self, node: NodeIndex, trigger: &Trigger) -> Result<Turn, Busy> {
        let flow = self.plan.flows.get(self.plan.nodes[node as usize].flow as usize);
        self.services.places.ask(flow, Rank::of(trigger))
    }

    /// Puts a run's first message where it enters.
    fn enter(self: &Arc<Self>, core: &mut RunCore, node: NodeIndex, start: Start, msg: Msg) {
        match start {
            Start::Deliver => core.queue.push_back(super::run::Delivery { node, hops: 0, msg }),
            Start::Emit(port) => Cx { core, deployed: self, node, hops: 0, emitted: 0 }.emit(port, msg),
        }
    }

    /// Opens a durable run, or goes on with one; it makes progress when the future is polled. What cannot be gone on
    /// with, and what is in doubt, is told by the future.
    pub fn open_durable(self: &Arc<Self>, opening: DurableOpening) -> Result<DurableFuture, Busy> {
        let DurableOpening { id, node, trigger, beginning, decision, reply, lease, control } = opening;
        let started_at = self.services.clock.now();
        // While it waits for its place its lease is kept; too many that wait are given back to the queue.
        let turn = self.turn(node, &trigger)?;
        let (mut core, open) = self.core(node, trigger.clone(), reply, started_at)?;
        core.id = id;
        core.durable = Some(Box::new(Durable::new(lease, control)));
        let stays = match beginning {
            Beginning::Message { start, msg } => {
                core.parent = trace_parent(&msg);
                self.enter(&mut core, node, start, msg);
                None
            }
            Beginning::Snapshot(snapshot) => match core.resume(self, &snapshot, decision) {
                Ok(doubts) if doubts.is_empty() => None,
                Ok(doubts) => Some(DurableEnd::Doubt(doubts)),
                Err(problem) => Some(DurableEnd::Unusable(problem)),
            },
        };
        self.services.history.opened(self.open_record(id, node, trigger, started_at));
        let deployed = self.clone();
        Ok(Box::pin(of_run(id, async move {
            let place = deployed.take_place(&mut core, turn).await;
            let end = match stays {
                Some(end) => end,
                // The engine stopped first.
                None if place.is_none() => DurableEnd::GivenBack,
                None => drive_durable(deployed.clone(), core).await,
            };
            if let (DurableEnd::Ended(ended), Some(watch)) = (&end, deployed.services.watch.get()) {
                watch.ended(ended);
            }
            deployed.services.history.closed(id);
            drop((place, open));
            end
        })))
    }

    fn act(self: &Arc<Self>, node: NodeIndex, act: impl FnOnce(&mut Cx<'_>)) -> Result<(), Busy> {
        let trigger = Trigger::Event { node: self.plan.nodes[node as usize].id.to_string() };
        let started_at = self.services.clock.now();
        let turn = self.turn(node, &trigger)?;
        let (mut core, open) = self.core(node, trigger.clone(), None, started_at)?;
        act(&mut Cx { core: &mut core, deployed: self, node, hops: 0, emitted: 0 });
        if core.queue.is_empty() && core.error.is_none() {
            return Ok(());
        }
        self.services.history.opened(self.open_record(core.id, node, trigger, started_at));
        begin(self.run(core, open, turn));
        Ok(())
    }

    /// A run about to begin, counted as open.
    fn core(
        &self,
        node: NodeIndex,
        trigger: Trigger,
        reply: Option<Arc<ReplyTo>>,
        started_at: Timestamp,
    ) -> Result<(RunCore, OpenRun), Busy> {
        if self.active.count.fetch_add(1, Ordering::AcqRel) >= self.services.limits.runs_max
            || *self.active.cut_off.borrow()
        {
            drop(OpenRun(self.active.clone()));
            return Err(Busy::Server);
        }
        let open = OpenRun(self.active.clone());
        let flow = self.plan.nodes[node as usize].flow;
        let recorder = match self.services.capturing.wants(self.plan.flows.get(flow as usize), &trigger) {
            Wanted::No => None,
            wanted => {
                let limits = &self.services.capturing.limits;
                Some(Box::new(Recorder::new(limits, self.secrets(), wanted == Wanted::Asked)))
            }
        };
        let now = Instant::now();
        let core = RunCore {
            id: RunId::fresh(),
            flow,
            trigger,
            started: now,
            began: now,
            started_at,
            queue: Default::default(),
            completing: None,
            states: Vec::new(),
            at_end: Default::default(),
            steps: Vec::new(),
            evidence: Vec::new(),
            recorder,
            timed: self.services.watch.get().is_some(),
            parent: None,
            calls: Default::default(),
            hops: 0,
            error: None,
            overflowed: false,
            reply,
            way: 0,
            durable: None,
        };
        Ok((core, open))
    }

    fn run(self: &Arc<Self>, mut core: RunCore, open: OpenRun, turn: Turn) -> RunFuture {
        let deployed = self.clone();
        Box::pin(of_run(core.id, async move {
            let place = deployed.take_place(&mut core, turn).await;
            let ended = drive(deployed.clone(), core, place.is_none()).await;
            let place = place.flatten();
            let ended = deployed.services.history.ended(ended);
            if let Some(watch) = deployed.services.watch.get() {
                watch.ended(&ended);
            }
            drop((place, open));
            ended
        }))
    }

    /// Waits for a run's place, if it needs one that is not free. `None`: the engine stopped first, and the run is not to
    /// begin.
    async fn take_place(&self, core: &mut RunCore, turn: Turn) -> Option<Option<PlaceInside>> {
        let mut ticket = match turn {
            Turn::Free => return Some(None),
            Turn::Now(place) => return Some(Some(place)),
            Turn::Later(ticket) => ticket,
        };
        let place = tokio::select! {
            biased;
            // First: the run before may just have been cut off, and its place is nobody's any more.
            () = self.cut_off() => return None,
            place = ticket.place() => place,
        };
        core.began = Instant::now();
        Some(place)
    }

    /// What must not be shown of this plan's messages.
    fn secrets(&self) -> Arc<Secrets> {
        self.secrets
            .get_or_init(|| Arc::new(Secrets::of(&self.plan).and(self.nodes.iter().flat_map(|node| node.secrets()))))
            .clone()
    }

    /// Opens a run that nobody waits for: it goes as far as it can at once, then on a task of its own.
    pub fn spawn(self: &Arc<Self>, opening: Opening) -> Result<RunId, Busy> {
        let (node, trigger, started_at) = (opening.node, opening.trigger.clone(), self.services.clock.now());
        let turn = self.turn(node, &trigger)?;
        let (id, run) = self.open_at(opening, started_at, turn)?;
        self.services.history.opened(self.open_record(id, node, trigger, started_at));
        begin(run);
        Ok(id)
    }

    /// What is known of a run while it is open.
    fn open_record(&self, id: RunId, node: NodeIndex, trigger: Trigger, started_at: Timestamp) -> RunRecord {
        let flow = self.plan.flows.get(self.plan.nodes[node as usize].flow as usize);
        RunRecord {
            id,
            subject: flow.map(|f| f.id.to_string()).unwrap_or_default(),
            trigger,
            state: RunState::Running,
            started_at,
            ended_at: None,
            version: self.plan.version.clone(),
            hops: 0,
            error: None,
            trace: Vec::new(),
            trace_dropped: 0,
        }
    }

    /// Opens a run with a caller and waits for its answer at most `deadline`; the run goes on regardless. One for which
    /// there is no place by then is not begun. `msg` gets its `res`.
    pub async fn call(
        self: &Arc<Self>,
        node: NodeIndex,
        start: Start,
        mut msg: Msg,
        trigger: Trigger,
        deadline: Duration,
    ) -> Result<Called, Busy> {
        let turn = self.turn(node, &trigger)?;
        let too_late = self.services.clock.sleep(deadline);
        tokio::pin!(too_late);
        let turn = match turn {
            Turn::Later(mut ticket) => tokio::select! {
                biased;
                place = ticket.place() => place.map_or(Turn::Free, Turn::Now),
                () = &mut too_late => return Err(ticket.late.clone()),
                () = self.cut_off() => return Err(Busy::Server),
            },
            turn => turn,
        };
        let (reply_to, answer) = ReplyTo::new();
        let reply_to = Arc::new(reply_to);
        msg.set(arcstr::literal!("res"), Value::handle(ReplyHandle(reply_to.clone())));
        let started_at = self.services.clock.now();
        let opening = Opening { node, start, msg, trigger: trigger.clone(), reply: Some(reply_to) };
        let (run, mut future) = self.open_at(opening, started_at, turn)?;
        // Most runs end without waiting for anything: they are done after one poll, on the caller's task.
        if futures_util::poll!(&mut future).is_pending() {
            self.services.history.opened(self.open_record(run, node, trigger, started_at));
            tokio::spawn(future);
        }
        let reply = tokio::select! {
            biased;
            reply = answer => reply.ok(),
            () = &mut too_late => None,
        };
        Ok(Called { run, reply })
    }

    /// True when the world reaches this node by itself: it has no input, or an [`Entry`].
    pub fn is_entry(&self, node: NodeIndex) -> bool {
        self.entries[node as usize]
    }

    /// The answer deadline of callers of this flow.
    pub fn reply_deadline(&self, node: NodeIndex) -> Duration {
        let flow = self.plan.nodes[node as usize].flow as usize;
        let own = self.plan.flows.get(flow).and_then(|f| f.reply_ms_max);
        Duration::from_millis(own.unwrap_or(self.services.limits.reply_ms_max))
    }

    /// Why the flow of a node does not run, if it does not.
    pub fn stopped(&self, node: NodeIndex) -> Option<&Stopped> {
        self.plan.flows.get(self.plan.nodes[node as usize].flow as usize)?.stopped.as_ref()
    }

    /// Keeps a task of a node until the node is stopped.
    pub(super) fn keep_task(&self, node: NodeIndex, task: impl Future<Output = ()> + Send + 'static) {
        self.instances[node as usize].keep_task(task);
    }

    /// Where a node of this plan lives now: another plan, when that took the node over.
    pub(super) fn now_of(self: &Arc<Self>, node: NodeIndex) -> (Arc<Deployed>, NodeIndex) {
        self.instances[node as usize].place().unwrap_or_else(|| (self.clone(), node))
    }

    /// Turns what a node shows on or off ([`Node::show`]).
    pub fn show(&self, node: NodeIndex, on: bool) {
        self.nodes[node as usize].show(on);
    }

    /// Every node that lives in this plan.
    fn lives(&self) -> HashSet<usize> {
        self.instances.iter().chain(self.configs.iter().map(|(_, config)| config)).map(Instance::address).collect()
    }

    /// Starts what acts by itself and is not `running` already, once the nodes before have said goodbye; at once when
    /// they have nothing to say.
    fn start_after(self: &Arc<Self>, goodbye: Goodbye, running: HashSet<usize>) {
        for (index, instance) in self.instances.iter().enumerate() {
            instance.take_place(self, index as NodeIndex);
        }
        if goodbye.0.is_empty() {
            return self.start_but(&running);
        }
        let deployed = Arc::downgrade(self);
        tokio::spawn(async move {
            goodbye.wait().await;
            // Gone when further flows took their place meanwhile.
            if let Some(deployed) = deployed.upgrade()
                && !deployed.stopped.load(Ordering::Acquire)
            {
                deployed.start_but(&running);
            }
        });
    }

    fn start_but(self: &Arc<Self>, running: &HashSet<usize>) {
        for (index, instance) in self.instances.iter().enumerate() {
            if running.contains(&instance.address()) || self.stopped(index as NodeIndex).is_some() {
                continue;
            }
            let source = Source { instance: instance.clone(), services: self.services.clone() };
            if let Some(task) = instance.node.start(source) {
                instance.keep_task(task);
            }
        }
        // Last: what a connection brings at once finds the nodes that take it. A broker hands over what it kept for us
        // together with its first word.
        for (_, config) in self.configs.iter().filter(|(_, config)| !running.contains(&config.address())) {
            if let Some(task) = config.node.keep() {
                config.keep_task(task);
            }
        }
    }

    /// Stops what acts by itself and is not taken over: nodes first, then config nodes, as in Node-RED. Gives the ids of
    /// the stopped nodes.
    fn stop_but(&self, taken_over: &HashSet<usize>) -> (Vec<ArcStr>, Goodbye) {
        if self.stopped.swap(true, Ordering::AcqRel) {
            return (Vec::new(), Goodbye(Vec::new()));
        }
        let goes = |instance: &&Arc<Instance>| !taken_over.contains(&instance.address());
        let nodes = self.instances.iter().filter(goes);
        let configs = self.configs.iter().map(|(_, config)| config).filter(goes);
        let closing: Vec<_> = nodes.chain(configs).filter_map(|instance| instance.stop()).collect();
        let ids = self.plan.nodes.iter().zip(&self.instances).filter(|(_, instance)| goes(instance));
        let ids = ids.map(|(node, _)| node.id.clone()).collect();
        let limit = Duration::from_millis(CLOSE_MS_MAX);
        let spawn = |goodbye| {
            let clock = self.services.clock.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = goodbye => {}
                    () = clock.sleep(limit) => tracing::warn!("a node did not close within {CLOSE_MS_MAX} ms"),
                }
            })
        };
        (ids, Goodbye(closing.into_iter().map(spawn).collect()))
    }

    pub(super) fn is_cut_off(&self) -> bool {
        *self.active.cut_off.borrow()
    }

    pub(super) async fn cut_off(&self) {
        let mut cut_off = self.active.cut_off.subscribe();
        // The sender lives in `self.active`, so this resolves only when runs are to end.
        let _ = cut_off.wait_for(|cut| *cut).await.is_ok();
    }
}

/// How long a node may take to close, milliseconds: Node-RED's `nodeCloseTimeout`.
const CLOSE_MS_MAX: u64 = 15_000;

/// Nodes that are closing.
struct Goodbye(Vec<JoinHandle<()>>);

impl Goodbye {
    async fn wait(self) {
        for closing in self.0 {
            // An error is a panic of the node, which is as closed as it can be.
            let _ = closing.await.is_ok();
        }
    }

    /// They close by themselves.
    fn detach(self) {}
}
