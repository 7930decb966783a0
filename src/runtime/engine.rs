//! The engine: builds the nodes of a plan, swaps it in, opens runs and drains them at the end.

use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use arcstr::ArcStr;
use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::catalogue::Configs;
use super::exchange::{Reply, ReplyHandle, ReplyTo};
use super::routes::{Route, Routes};
use super::run::{EndedRun, RunCore, drive};
use super::sockets::Doors;
use super::{Catalogue, Cx, Entry, Node, NodeConfig, Place, Services, Step};
use crate::clock::Clock;
use crate::model::flow::{NodeIndex, Plan, Stopped};
use crate::model::run::{RunRecord, RunState, Trigger};
use crate::model::{Diagnostic, Msg, RunId, Value};

/// Runs flows. One per process.
pub struct Engine {
    pub services: Arc<Services>,
    catalogue: ArcSwap<Catalogue>,
    current: ArcSwap<Deployed>,
    active: Arc<Active>,
}

/// A plan with its nodes, ready to run. Runs hold on to the one they started on.
pub struct Deployed {
    pub plan: Plan,
    pub(super) nodes: Vec<Arc<dyn Node>>,
    /// Config nodes, each after those it names.
    configs: Vec<Arc<dyn Node>>,
    pub routes: Routes,
    /// Paths of websocket listeners below `httpNodeRoot`.
    pub sockets: Doors,
    /// Metric name → entry node.
    pub metrics: HashMap<ArcStr, NodeIndex>,
    /// Nodes with a schedule.
    pub schedules: Vec<(NodeIndex, Entry)>,
    /// Which nodes the world reaches by themselves.
    entries: Vec<bool>,
    /// What is wrong with single nodes; they fail the messages they get.
    pub diagnostics: Vec<Diagnostic>,
    pub services: Arc<Services>,
    active: Arc<Active>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    stopped: AtomicBool,
}

/// Runs that are open, in this process.
struct Active {
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

/// Too many runs are open (`runs_max`), or the engine is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many runs are open (runs_max), or the engine is stopping")]
pub struct Busy;

/// What came of a call with a caller.
pub struct Called {
    pub run: RunId,
    /// `None` when the deadline passed first; the run goes on.
    pub reply: Option<Reply>,
}

/// Opens runs on behalf of a node that acts by itself.
#[derive(Clone)]
pub struct Source {
    deployed: Arc<Deployed>,
    node: NodeIndex,
}

impl Source {
    /// Opens a run with a message emitted on port 0.
    pub fn open(&self, msg: Msg, trigger: Trigger) -> Result<RunId, Busy> {
        self.deployed.spawn(Opening { node: self.node, start: Start::Emit(0), msg, trigger, reply: None })
    }

    /// Opens a run by handing the message to the node itself.
    pub fn deliver(&self, msg: Msg, trigger: Trigger) -> Result<RunId, Busy> {
        self.deployed.spawn(Opening { node: self.node, start: Start::Deliver, msg, trigger, reply: None })
    }

    /// Opens a run in which the node does what `act` says: emits, shows a status, reports an error. One that leaves
    /// nothing to do is over at once and leaves no trace.
    pub fn act(&self, act: impl FnOnce(&mut Cx<'_>)) -> Result<(), Busy> {
        self.deployed.act(self.node, act)
    }

    pub fn clock(&self) -> Clock {
        self.deployed.services.clock.clone()
    }

    pub fn place(&self) -> Place<'_> {
        self.deployed.place(self.node)
    }
}

impl Engine {
    pub fn new(services: Arc<Services>, catalogue: Catalogue) -> Arc<Engine> {
        let active =
            Arc::new(Active { count: AtomicUsize::new(0), idle: Notify::new(), cut_off: watch::channel(false).0 });
        let empty = build(Plan::default(), &catalogue, &services, &active);
        let catalogue = ArcSwap::from_pointee(catalogue);
        Arc::new(Engine { services, catalogue, current: ArcSwap::from_pointee(empty), active })
    }

    /// Builds the plan's nodes and swaps it in; new runs start on it, open ones end on the old one. Nodes with
    /// problems fail the messages they get; their problems are in [`Deployed::diagnostics`].
    pub fn deploy(&self, plan: Plan) -> Arc<Deployed> {
        let deployed = Arc::new(build(plan, &self.catalogue.load(), &self.services, &self.active));
        let old = self.current.swap(deployed.clone());
        deployed.start_after(old.stop());
        deployed
    }

    /// Swaps a plan in as [`Engine::deploy`] does, but starts none of its sources: for commands that only ask flows.
    pub fn deploy_idle(&self, plan: Plan) -> Arc<Deployed> {
        let deployed = self.prepare(plan);
        self.current.swap(deployed.clone()).stop().detach();
        deployed
    }

    /// Builds a plan without swapping it in or starting its sources: for one run, or to see what is wrong with it.
    pub fn prepare(&self, plan: Plan) -> Arc<Deployed> {
        Arc::new(build(plan, &self.catalogue.load(), &self.services, &self.active))
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
        let goodbye = self.current.load().stop();
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

impl Deployed {
    /// Opens a run; it makes progress when the future is polled.
    pub fn open(self: &Arc<Self>, opening: Opening) -> Result<(RunId, RunFuture), Busy> {
        self.open_at(opening, self.services.clock.now())
    }

    fn open_at(self: &Arc<Self>, opening: Opening, started_at: Timestamp) -> Result<(RunId, RunFuture), Busy> {
        let (mut core, open) = self.core(opening.node, opening.trigger, opening.reply, started_at)?;
        match opening.start {
            Start::Deliver => {
                core.queue.push_back(super::run::Delivery { node: opening.node, hops: 0, msg: opening.msg });
            }
            Start::Emit(port) => {
                let mut cx = Cx { core: &mut core, deployed: self, node: opening.node, hops: 0, emitted: 0 };
                cx.emit(port, opening.msg);
            }
        }
        Ok((core.id, self.run(core, open)))
    }

    fn act(self: &Arc<Self>, node: NodeIndex, act: impl FnOnce(&mut Cx<'_>)) -> Result<(), Busy> {
        let trigger = Trigger::Event { node: self.plan.nodes[node as usize].id.to_string() };
        let started_at = self.services.clock.now();
        let (mut core, open) = self.core(node, trigger.clone(), None, started_at)?;
        act(&mut Cx { core: &mut core, deployed: self, node, hops: 0, emitted: 0 });
        if core.queue.is_empty() && core.error.is_none() {
            return Ok(());
        }
        self.services.history.opened(self.open_record(core.id, node, trigger, started_at));
        tokio::spawn(self.run(core, open));
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
            return Err(Busy);
        }
        let open = OpenRun(self.active.clone());
        let core = RunCore {
            id: RunId::fresh(),
            flow: self.plan.nodes[node as usize].flow,
            trigger,
            started: Instant::now(),
            started_at,
            queue: Default::default(),
            states: Vec::new(),
            at_end: Default::default(),
            steps: Vec::new(),
            evidence: Vec::new(),
            calls: Default::default(),
            hops: 0,
            error: None,
            overflowed: false,
            reply,
        };
        Ok((core, open))
    }

    fn run(self: &Arc<Self>, core: RunCore, open: OpenRun) -> RunFuture {
        let deployed = self.clone();
        Box::pin(async move {
            let ended = drive(deployed.clone(), core).await;
            let ended = deployed.services.history.ended(ended);
            drop(open);
            ended
        })
    }

    /// Opens a run on a task of its own.
    pub fn spawn(self: &Arc<Self>, opening: Opening) -> Result<RunId, Busy> {
        let (node, trigger, started_at) = (opening.node, opening.trigger.clone(), self.services.clock.now());
        let (id, run) = self.open_at(opening, started_at)?;
        self.services.history.opened(self.open_record(id, node, trigger, started_at));
        tokio::spawn(run);
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

    /// Opens a run with a caller and waits for its answer at most `deadline`; the run goes on regardless.
    /// `msg` gets its `res`.
    pub async fn call(
        self: &Arc<Self>,
        node: NodeIndex,
        start: Start,
        mut msg: Msg,
        trigger: Trigger,
        deadline: Duration,
    ) -> Result<Called, Busy> {
        let (reply_to, answer) = ReplyTo::new();
        let reply_to = Arc::new(reply_to);
        msg.set(arcstr::literal!("res"), Value::handle(ReplyHandle(reply_to.clone())));
        let started_at = self.services.clock.now();
        let opening = Opening { node, start, msg, trigger: trigger.clone(), reply: Some(reply_to) };
        let (run, mut future) = self.open_at(opening, started_at)?;
        // Most runs end without waiting for anything: they are done after one poll, on the caller's task.
        if futures_util::poll!(&mut future).is_pending() {
            self.services.history.opened(self.open_record(run, node, trigger, started_at));
            tokio::spawn(future);
        }
        let reply = tokio::select! {
            biased;
            reply = answer => reply.ok(),
            () = self.services.clock.sleep(deadline) => None,
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

    /// Keeps a task for as long as this plan is the current one.
    pub(super) fn keep_task(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(|p| p.into_inner());
        // Looked through only when it would have to grow: many delayed messages cost no more than their number.
        if tasks.len() == tasks.capacity() {
            tasks.retain(|t| !t.is_finished());
        }
        tasks.push(tokio::spawn(task));
    }

    /// Starts what acts by itself once the flows before have said goodbye; at once when they have nothing to say.
    fn start_after(self: &Arc<Self>, goodbye: Goodbye) {
        if goodbye.0.is_empty() {
            return self.start();
        }
        let deployed = Arc::downgrade(self);
        tokio::spawn(async move {
            goodbye.wait().await;
            // Gone when further flows took their place meanwhile.
            if let Some(deployed) = deployed.upgrade()
                && !deployed.stopped.load(Ordering::Acquire)
            {
                deployed.start();
            }
        });
    }

    fn start(self: &Arc<Self>) {
        for config in &self.configs {
            if let Some(task) = config.keep() {
                self.keep_task(task);
            }
        }
        for (index, node) in self.nodes.iter().enumerate() {
            let index = index as NodeIndex;
            if self.stopped(index).is_some() {
                continue;
            }
            if let Some(task) = node.start(Source { deployed: self.clone(), node: index }) {
                self.keep_task(task);
            }
        }
    }

    /// Stops what acts by itself: nodes first, then config nodes, as in Node-RED.
    fn stop(&self) -> Goodbye {
        if self.stopped.swap(true, Ordering::AcqRel) {
            return Goodbye(Vec::new());
        }
        let closing: Vec<_> = self.nodes.iter().chain(&self.configs).filter_map(|node| node.close()).collect();
        for task in self.tasks.lock().unwrap_or_else(|p| p.into_inner()).drain(..) {
            task.abort();
        }
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
        Goodbye(closing.into_iter().map(spawn).collect())
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

/// Stands for a node that cannot be built: says so to every message.
struct Broken {
    problem: String,
}

impl Node for Broken {
    fn on_msg(&self, msg: Msg, _cx: &mut Cx<'_>) -> Step {
        Step::fail(msg, self.problem.as_str())
    }
}

fn duplicate_metric(entry: usize, name: &str) -> Diagnostic {
    let message = format!("another node already answers for metric \"{name}\"");
    Diagnostic::error("duplicate-metric", format!("$[{entry}].metric"), message).expected("one entry for each metric")
}

/// Nodes that other nodes lead to: catch, status and link nodes among them, which have no input port.
fn reached(plan: &Plan) -> HashSet<NodeIndex> {
    let targets = plan.nodes.iter().flat_map(|node| {
        let caught = node.catch.iter().map(|t| t.node);
        let linked = node.links.iter().map(|t| t.node);
        caught.chain(linked).chain(node.status.iter().copied()).chain(node.wires.iter().flatten().copied())
    });
    targets.collect()
}

fn build(plan: Plan, catalogue: &Catalogue, services: &Arc<Services>, active: &Arc<Active>) -> Deployed {
    let mut nodes: Vec<Arc<dyn Node>> = Vec::with_capacity(plan.nodes.len());
    let mut diagnostics = Vec::new();
    let mut routes = Routes::default();
    let mut metrics = HashMap::new();
    let mut schedules = Vec::new();
    let mut entries = Vec::with_capacity(plan.nodes.len());
    let mut sockets = Doors::default();
    let (configs, by_id) = build_configs(&plan, catalogue, services, &mut sockets, &mut diagnostics);
    let reached = reached(&plan);
    for (index, node) in plan.nodes.iter().enumerate() {
        let index = index as NodeIndex;
        let built = match catalogue.get(&node.node_type) {
            Some(node_type) => (node_type.build)(&NodeConfig { node, plan: &plan, services, configs: &by_id }),
            // Its flow does not run; the plan's diagnostics say why.
            None => Err(Vec::new()),
        };
        let built = built.unwrap_or_else(|problems| {
            let text: Vec<String> = problems.iter().map(|d| d.message.clone()).collect();
            diagnostics.extend(problems);
            Arc::new(Broken { problem: text.join("; ") })
        });
        let stopped = plan.flows.get(node.flow as usize).and_then(|f| f.stopped.as_ref());
        match built.entry() {
            _ if stopped == Some(&Stopped::Disabled) => {}
            Some(Entry::Http { method, url, upload, skip_body_parsing }) => {
                let route = Route { method, url, node: index, upload, skip_body_parsing };
                if let Err(problem) = routes.add(route) {
                    diagnostics.push(Diagnostic::error("invalid-route", format!("$[{}].url", node.entry), problem));
                }
            }
            Some(Entry::Metric { name }) if stopped.is_none() => match metrics.entry(name) {
                // As with routes, the first answers.
                Occupied(first) => diagnostics.push(duplicate_metric(node.entry, first.key())),
                Vacant(place) => drop(place.insert(index)),
            },
            Some(schedule @ Entry::Schedule { .. }) if stopped.is_none() => schedules.push((index, schedule)),
            _ => {}
        }
        let source = catalogue.get(&node.node_type).is_some_and(|t| t.spec.inputs == 0 && t.spec.outputs != Some(0));
        entries.push(built.entry().is_some() || source && !reached.contains(&index));
        nodes.push(built);
    }
    Deployed {
        plan,
        nodes,
        configs,
        routes,
        sockets,
        metrics,
        schedules,
        entries,
        diagnostics,
        services: services.clone(),
        active: active.clone(),
        tasks: Mutex::default(),
        stopped: AtomicBool::new(false),
    }
}

/// Builds the config nodes, each after those it names. One that cannot be built is absent, and its problems are told.
fn build_configs(
    plan: &Plan,
    catalogue: &Catalogue,
    services: &Arc<Services>,
    sockets: &mut Doors,
    diagnostics: &mut Vec<Diagnostic>,
) -> (Vec<Arc<dyn Node>>, Configs) {
    let mut built = Vec::new();
    let mut by_id = Configs::new();
    for at in config_order(plan) {
        let node = &plan.configs[at];
        let stopped = plan.flows.get(node.flow as usize).is_some_and(|f| f.stopped.is_some());
        let Some(known) = catalogue.get(&node.node_type).filter(|_| !stopped) else { continue };
        match (known.build)(&NodeConfig { node, plan, services, configs: &by_id }) {
            Ok(config) => {
                if let Some(Entry::Websocket { path, door }) = config.entry()
                    && let Err(problem) = sockets.add(path, door)
                {
                    diagnostics.push(Diagnostic::error("duplicate-path", format!("$[{}].path", node.entry), problem));
                }
                by_id.insert(node.id.clone(), config.clone());
                built.push(config);
            }
            Err(problems) => diagnostics.extend(problems),
        }
    }
    (built, by_id)
}

/// The places of the config nodes, those that are named by others first; among equals, and in a circle, in the order of
/// the file.
fn config_order(plan: &Plan) -> Vec<usize> {
    let ids: HashMap<&str, usize> = plan.configs.iter().enumerate().map(|(at, node)| (node.id.as_str(), at)).collect();
    let mut order = Vec::with_capacity(plan.configs.len());
    let mut seen = vec![false; plan.configs.len()];
    for first in 0..plan.configs.len() {
        let mut path = vec![(first, false)];
        while let Some((at, done)) = path.pop() {
            if done {
                order.push(at);
                continue;
            }
            if std::mem::replace(&mut seen[at], true) {
                continue;
            }
            path.push((at, true));
            let texts =
                plan.configs[at].config.iter().filter(|(name, _)| *name != "id").filter_map(|(_, v)| v.as_str());
            path.extend(
                texts.filter_map(|text| ids.get(text)).filter(|named| !seen[**named]).map(|named| (*named, false)),
            );
        }
    }
    order
}
