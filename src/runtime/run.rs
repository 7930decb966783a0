//! A run: one task that owns a queue of deliveries and the futures its nodes wait for.
//!
//! Order is deterministic and breadth-first, as Node-RED's: what is emitted first is delivered first. A hop between
//! two nodes is a function call. The run ends when queue and futures are empty.

use std::any::Any;
use std::cell::Cell;
use std::collections::{BTreeSet, VecDeque};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use jiff::Timestamp;

use super::capture::{Kept, Recorder};
use super::durable::{Durable, DurableEnd, Left, Wish};
use super::exchange::ReplyTo;
use super::places::Rank;
use super::{Cx, Deployed, Node, NodeState, Reply, Step, Then, Wait};
use crate::model::call::CallRecord;
use crate::model::flow::{NodeIndex, Plan};
use crate::model::run::{Attached, RunError, RunRecord, RunState, TraceStep, Trigger};
use crate::model::trace_context::TraceParent;
use crate::model::{Msg, RunId};

/// A run lets others on after this many deliveries, and this long: to do so wakes another thread, which costs some 10 µs.
const YIELD: (u32, Duration) = (256, Duration::from_micros(250));

/// One that an evaluation asked for does so sooner: calls that come meanwhile pass it.
const BULK_YIELD: (u32, Duration) = (16, Duration::from_micros(25));

/// A message on its way to a node.
pub(super) struct Delivery {
    pub(super) node: NodeIndex,
    pub(super) hops: u32,
    pub(super) msg: Msg,
}

/// The state of a run that its nodes work on.
pub(super) struct RunCore {
    pub(super) id: RunId,
    pub(super) flow: u32,
    pub(super) trigger: Trigger,
    pub(super) started: Instant,
    /// When it was let in, if it had to wait for a place: `run_ms_max` counts from here.
    pub(super) began: Instant,
    pub(super) started_at: Timestamp,
    pub(super) queue: VecDeque<Delivery>,
    /// The message that the node now called works on, as it last sent it on; kept when complete nodes want to hear of it.
    pub(super) completing: Option<Msg>,
    pub(super) states: Vec<(NodeIndex, Box<dyn NodeState>)>,
    pub(super) at_end: BTreeSet<NodeIndex>,
    pub(super) steps: Vec<StepRecord>,
    /// Evidence by the step that attached it.
    pub(super) evidence: Vec<(usize, Attached)>,
    /// What its steps are given and send, when that is kept.
    pub(super) recorder: Option<Box<Recorder>>,
    /// Whether its steps are timed.
    pub(super) timed: bool,
    /// The caller's span, if it named one.
    pub(super) parent: Option<TraceParent>,
    pub(super) calls: Calls,
    pub(super) hops: u64,
    pub(super) error: Option<RunError>,
    pub(super) overflowed: bool,
    pub(super) reply: Option<Arc<ReplyTo>>,
    /// The way of the message at hand in a durable run; else 0.
    pub(super) way: u32,
    /// What a fast run has not.
    pub(super) durable: Option<Box<Durable>>,
}

/// Why a run stops before its end.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stop {
    /// It ends.
    Because(&'static str),
    /// What it has come to is kept, and somebody else may go on.
    GivenBack,
    /// Somebody else has it.
    Lost,
}

/// Recorded calls of deterministic plugins, by the step that made them.
#[derive(Default)]
pub(super) struct Calls {
    pub(super) kept: Vec<(usize, CallRecord)>,
    /// About what they take, bytes.
    pub(super) bytes: usize,
    /// How many were not kept for want of room.
    pub(super) cut: u64,
}

/// One delivery, as small as can be: names are looked up only when somebody reads the trace.
#[derive(Clone, Copy)]
pub(super) struct StepRecord {
    at_us: u32,
    node: NodeIndex,
    emitted: u32,
    /// [`UNTIMED`] when nobody wants to know.
    took_us: u32,
    failed: bool,
}

/// A step whose time was not taken.
const UNTIMED: u32 = u32::MAX;

impl StepRecord {
    pub(super) fn is_of(&self, node: NodeIndex) -> bool {
        self.node == node
    }

    pub(super) fn node(&self) -> NodeIndex {
        self.node
    }
}

impl RunCore {
    /// Microseconds since the run started.
    fn age_us(&self) -> u32 {
        self.started.elapsed().as_micros().min(u128::from(u32::MAX)) as u32
    }

    /// Adds a step of a node past the trace's limit; gives its place.
    pub(super) fn keep_step(&mut self, node: NodeIndex) -> usize {
        self.steps.push(StepRecord { at_us: self.age_us(), node, emitted: 0, took_us: UNTIMED, failed: false });
        self.steps.len() - 1
    }
}

/// A run that is over. Keeps its plan until nobody can ask for its trace any more; not the nodes, which may hold sandboxes
/// and connections.
pub struct EndedRun {
    pub id: RunId,
    pub state: RunState,
    pub trigger: Trigger,
    pub flow: u32,
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
    pub hops: u64,
    pub error: Option<RunError>,
    /// How long it took, microseconds.
    pub took_us: u64,
    /// The caller's span, if it named one.
    pub parent: Option<TraceParent>,
    steps: Vec<StepRecord>,
    evidence: Vec<(usize, Attached)>,
    /// What steps were given and sent.
    messages: Kept,
    calls: Calls,
    plan: Arc<Plan>,
}

impl EndedRun {
    /// True when verdicts may rest on what this run attached, so that it must be kept.
    pub fn has_evidence(&self) -> bool {
        !self.evidence.is_empty()
    }

    /// The name of its flow as people know it.
    pub fn flow_label(&self) -> String {
        let flow = self.plan.flows.get(self.flow as usize);
        flow.map(|f| if f.label.is_empty() { f.id.to_string() } else { f.label.to_string() }).unwrap_or_default()
    }

    /// About what its recorded calls and messages take, bytes.
    pub(super) fn recorded_bytes(&self) -> usize {
        self.calls.bytes + self.messages.bytes
    }

    /// True when somebody asked for this run's messages and waits for them.
    pub(super) fn is_asked_for(&self) -> bool {
        self.messages.asked
    }

    /// Forgets recorded calls and messages: nobody will read them, or there is no room.
    pub(super) fn drop_recorded(&mut self) {
        self.messages = Kept { asked: self.messages.asked, ..Kept::default() };
        self.calls.cut += self.calls.kept.len() as u64;
        self.calls.kept = Vec::new();
        self.calls.bytes = 0;
    }

    /// As kept in the history.
    pub fn to_record(&self) -> RunRecord {
        let plan = &self.plan;
        let mut exchanged = self.messages.steps.iter().peekable();
        let trace = self.steps.iter().enumerate().map(|(at, step)| {
            let node = &plan.nodes[step.node as usize];
            let messages = exchanged.next_if(|(of, _)| *of == at).map(|(_, e)| e.clone()).unwrap_or_default();
            TraceStep {
                at_us: u64::from(step.at_us),
                node: node.id.clone(),
                node_type: node.node_type.clone(),
                name: node.name.to_string(),
                emitted: step.emitted,
                took_us: (step.took_us != UNTIMED).then_some(u64::from(step.took_us)),
                input: messages.input,
                sent: messages.sent,
                note: step.failed.then(|| "failed".to_string()),
                evidence: self.evidence.iter().filter(|(of, _)| *of == at).map(|(_, e)| e.clone()).collect(),
                calls: self.calls.kept.iter().filter(|(of, _)| *of == at).map(|(_, call)| call.clone()).collect(),
                calls_cut: if at + 1 == self.steps.len() { self.calls.cut } else { 0 },
            }
        });
        RunRecord {
            id: self.id,
            subject: plan.flows.get(self.flow as usize).map(|f| f.id.to_string()).unwrap_or_default(),
            trigger: self.trigger.clone(),
            state: self.state,
            started_at: self.started_at,
            ended_at: Some(self.ended_at),
            version: plan.version.clone(),
            hops: self.hops,
            error: self.error.clone(),
            trace: trace.collect(),
            trace_dropped: self.hops.saturating_sub(self.steps.len() as u64),
        }
    }
}

/// A node's future, with whom to call back.
struct Waiting {
    node: NodeIndex,
    hops: u32,
    way: u32,
    completing: Option<Msg>,
    future: Wait,
}

/// A future that is ready: whom to call back (node, hops, way), with what, and the message it was about.
type Ready = ((NodeIndex, u32, u32), Option<Msg>, Result<Then, String>);

impl Future for Waiting {
    type Output = Ready;
    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let whom = (self.node, self.hops, self.way);
        match std::panic::catch_unwind(AssertUnwindSafe(|| self.future.as_mut().poll(task))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(then)) => Poll::Ready((whom, self.completing.take(), Ok(then))),
            Err(panic) => Poll::Ready((whom, None, Err(panic_text(&*panic)))),
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| s.to_string()).or_else(|| panic.downcast_ref::<String>().cloned());
    format!("the node panicked: {}", text.unwrap_or_else(|| "no message".into()))
}

/// Drives a run to its end; one that comes too late, while the engine stops, ends before it begins. Never panics because
/// of a node.
pub(super) async fn drive(deployed: Arc<Deployed>, mut core: RunCore, too_late: bool) -> EndedRun {
    let stopped = if too_late { Some(SHUT_DOWN) } else { work(&deployed, &mut core).await };
    if let Some(reply) = &core.reply {
        reply.send(no_response(core.id));
    }
    let why = match stopped {
        Some(Stop::Because(why)) => Some(why),
        // Nobody asks this of a fast run.
        Some(Stop::GivenBack | Stop::Lost) | None => None,
    };
    ended(&deployed, core, why)
}

/// Drives a durable run to its end, or to where somebody else is to go on.
pub(super) async fn drive_durable(deployed: Arc<Deployed>, mut core: RunCore) -> DurableEnd {
    let stopped = work(&deployed, &mut core).await;
    let failed = core.durable.as_ref().is_some_and(|durable| !durable.failed.is_empty());
    if let Some(reply) = &core.reply {
        reply.send(match stopped {
            None | Some(Stop::Because(_)) => no_response(core.id),
            Some(Stop::GivenBack | Stop::Lost) => goes_on_elsewhere(core.id),
        });
    }
    let why = match stopped {
        Some(Stop::GivenBack) => return DurableEnd::GivenBack,
        Some(Stop::Lost) => return DurableEnd::Lost,
        Some(Stop::Because(why)) => Some(why),
        None => None,
    };
    match core.error.take_if(|_| failed && why.is_none()) {
        Some(error) => DurableEnd::Again { error, snapshot: core.snapshot(&deployed, true) },
        None => DurableEnd::Ended(deployed.services.history.ended_durable(ended(&deployed, core, why))),
    }
}

/// What is left of a run.
fn ended(deployed: &Deployed, mut core: RunCore, stopped: Option<&'static str>) -> EndedRun {
    let state = match (stopped, &core.error) {
        (Some(_), _) => RunState::Stopped,
        (None, Some(_)) => RunState::Failed,
        (None, None) => RunState::Done,
    };
    if let Some(why) = stopped {
        core.error.get_or_insert_with(|| RunError {
            node: String::new(),
            node_type: String::new(),
            message: why.to_string(),
        });
    }
    let limits = &deployed.services.capturing.limits;
    EndedRun {
        id: core.id,
        state,
        trigger: core.trigger,
        flow: core.flow,
        started_at: core.started_at,
        ended_at: deployed.services.clock.now(),
        hops: core.hops,
        error: core.error,
        took_us: core.started.elapsed().as_micros() as u64,
        parent: core.parent,
        steps: core.steps,
        evidence: core.evidence,
        messages: core.recorder.map(|recorder| recorder.into_kept(limits)).unwrap_or_default(),
        calls: core.calls,
        plan: deployed.plan.clone(),
    }
}

/// The answer to a caller whose run ended without one.
fn no_response(run: RunId) -> Reply {
    Reply {
        status: 500,
        headers: vec![("content-type".into(), "application/json".into())],
        body: format!("{{\"error\":\"no_response\",\"run\":\"{run}\"}}").into(),
    }
}

/// The answer to a caller whose run goes on without this process: it was accepted, and so it happens.
fn goes_on_elsewhere(run: RunId) -> Reply {
    Reply {
        status: 202,
        headers: vec![
            ("content-type".into(), "application/json".into()),
            ("location".into(), format!("/probity/v1/runs/{run}")),
        ],
        body: format!("{{\"run\":\"{run}\",\"state\":\"queued\"}}").into(),
    }
}

const RAN_TOO_LONG: Stop = Stop::Because("the run was ended because it lasted longer than run_ms_max");
const SHUT_DOWN: Stop = Stop::Because("the run was ended because the engine was shutting down");

/// What the engine's end means for a run: a durable one is gone on with by somebody else.
async fn shut_down(deployed: &Arc<Deployed>, core: &mut RunCore) -> Stop {
    match core.durable {
        Some(_) => core.obey(deployed, Wish::GiveBack).await,
        None => SHUT_DOWN,
    }
}

/// Works through queue and futures; gives why the run was stopped before its end, if it was.
async fn work(deployed: &Arc<Deployed>, core: &mut RunCore) -> Option<Stop> {
    let mut waits: FuturesUnordered<Waiting> = FuturesUnordered::new();
    let (mut since_look, mut since_yield) = (0, Instant::now());
    let run_max = core.time_max(&deployed.services.limits);
    let (look_after, yield_after) = if Rank::of(&core.trigger) == Rank::Bulk { BULK_YIELD } else { YIELD };
    let mut too_long = None;
    loop {
        while let Some(delivery) = core.queue.pop_front() {
            let Delivery { node, hops, mut msg } = delivery;
            if core.durable.is_some()
                && let Err(stop) = Box::pin(core.before(deployed, (node, hops), Some(&mut msg), false)).await
            {
                return Some(stop);
            }
            // Should it have to wait when no wait is free, its catch nodes get the message.
            let spare = (waits.len() >= deployed.services.limits.waits_max).then(|| msg.clone());
            let heard = !deployed.plan.nodes[node as usize].complete.is_empty();
            core.completing = (heard && !msg.is_signal()).then(|| {
                msg.ensure_id();
                msg.clone()
            });
            if let Some(recorder) = &mut core.recorder {
                recorder.given(&msg);
            }
            let step = called(deployed, core, node, hops, |node, cx| node.on_msg(msg, cx)).await;
            settle(deployed, core, &mut waits, (node, hops), step, spare).await;
            if let Some(stop) = core.take_stop() {
                return Some(stop);
            }
            since_look += 1;
            if since_look >= look_after {
                since_look = 0;
                if since_yield.elapsed() >= yield_after {
                    tokio::task::yield_now().await;
                    since_yield = Instant::now();
                }
                if core.began.elapsed() > run_max {
                    return Some(RAN_TOO_LONG);
                }
                if deployed.is_cut_off() {
                    return Some(shut_down(deployed, core).await);
                }
                while let Some(Some(ready)) = waits.next().now_or_never() {
                    resume(deployed, core, &mut waits, ready).await;
                }
            }
            if core.overflowed {
                core.queue.clear();
            }
        }
        if waits.is_empty() {
            if core.durable.as_ref().is_some_and(|durable| !durable.failed.is_empty()) {
                // Its end is not yet: what failed is to be tried again.
                return None;
            }
            let node = core.at_end.pop_first()?;
            if core.durable.is_some()
                && let Err(stop) = Box::pin(core.before(deployed, (node, 0), None, true)).await
            {
                return Some(stop);
            }
            let step = called(deployed, core, node, 0, |node, cx| node.on_run_end(cx)).await;
            settle(deployed, core, &mut waits, (node, 0), step, None).await;
            continue;
        }
        if core.durable.is_some()
            && let Some(stop) = Box::pin(before_waiting(deployed, core)).await
        {
            return Some(stop);
        }
        let told = core.told();
        let deadline = too_long.get_or_insert_with(|| {
            let left = run_max.saturating_sub(core.began.elapsed());
            let clock = deployed.services.clock.clone();
            Box::pin(async move { clock.sleep(left).await })
        });
        tokio::select! {
            biased;
            Some(ready) = waits.next() => resume(deployed, core, &mut waits, ready).await,
            () = deadline => return Some(RAN_TOO_LONG),
            () = deployed.cut_off() => return Some(shut_down(deployed, core).await),
            () = told => {}
        }
        if let Some(stop) = core.take_stop() {
            return Some(stop);
        }
    }
}

/// What a durable run does before it waits: it commits what it has come to, and heeds what is wanted of it.
async fn before_waiting(deployed: &Arc<Deployed>, core: &mut RunCore) -> Option<Stop> {
    if let Err(stop) = core.catch_up(deployed).await {
        return Some(stop);
    }
    match core.wished() {
        Some(wish) => Some(core.obey(deployed, wish).await),
        None => None,
    }
}

async fn resume(
    deployed: &Arc<Deployed>,
    core: &mut RunCore,
    waits: &mut FuturesUnordered<Waiting>,
    ((node, hops, way), completing, then): Ready,
) {
    core.completing = completing;
    core.turn_to(way);
    let step = match then {
        Ok(then) => called(deployed, core, node, hops, |_, cx| then(cx)).await,
        Err(panic) => Step::fail(Msg::new(), panic),
    };
    settle(deployed, core, waits, (node, hops), step, None).await;
}

/// Does what a step says; a wait is polled once at once. `spare` is the message, for when there is no room to wait.
async fn settle(
    deployed: &Arc<Deployed>,
    core: &mut RunCore,
    waits: &mut FuturesUnordered<Waiting>,
    (node, hops): (NodeIndex, u32),
    mut step: Step,
    mut spare: Option<Msg>,
) {
    loop {
        match step {
            Step::Done => {
                core.completed(deployed, node, hops);
                if core.way != 0 {
                    Box::pin(core.left(deployed, Left::Done)).await;
                }
                return;
            }
            Step::Fail(failure) => {
                core.completing = None;
                let unsettled = failure.error.unsettled;
                let caught = core.raise(deployed, node, hops, failure.error, failure.msg);
                if core.way != 0 {
                    let left = if caught { Left::Done } else { Left::Failed { unsettled } };
                    Box::pin(core.left(deployed, left)).await;
                }
                return;
            }
            Step::Wait(future) => {
                let way = core.way;
                let mut waiting = Waiting { node, hops, way, completing: core.completing.take(), future };
                step = match first_poll(&mut waiting).await {
                    Poll::Ready((_, completing, Ok(then))) => {
                        core.completing = completing;
                        called(deployed, core, node, hops, |_, cx| then(cx)).await
                    }
                    Poll::Ready((_, _, Err(panic))) => Step::fail(Msg::new(), panic),
                    Poll::Pending if waits.len() >= deployed.services.limits.waits_max => {
                        let max = deployed.services.limits.waits_max;
                        let msg = spare.take().unwrap_or_default();
                        Step::fail(msg, format!("{max} operations are open in this run (waits_max)"))
                    }
                    Poll::Pending => {
                        waits.push(waiting);
                        return;
                    }
                };
            }
        }
    }
}

thread_local! {
    /// Whether the future that this thread polls gave way while it computed.
    static GAVE_WAY: Cell<bool> = const { Cell::new(false) };
}

/// Told by a node's future: true when it is about to be pending not because it waits for something, but to let other
/// tasks run while it computes; false when it goes on. Meanwhile its run goes on with nothing else, so that no message
/// passes the one it works on.
pub fn gives_way(now: bool) {
    GAVE_WAY.set(now);
}

/// What a future has come to once it is ready or really waits.
async fn first_poll(waiting: &mut Waiting) -> Poll<Ready> {
    std::future::poll_fn(|task| {
        GAVE_WAY.set(false);
        match Pin::new(&mut *waiting).poll(task) {
            Poll::Pending if GAVE_WAY.get() => Poll::Pending,
            polled => Poll::Ready(polled),
        }
    })
    .await
}

/// As long as a node's future waits for something that is soon there, its run goes on with nothing else: no message passes
/// the one it works on.
pub async fn holding_up<T>(answer: impl Future<Output = T>) -> T {
    let mut answer = std::pin::pin!(answer);
    std::future::poll_fn(|task| {
        let polled = answer.as_mut().poll(task);
        gives_way(polled.is_pending());
        polled
    })
    .await
}

/// Calls a node, once there is room for it where it may ask the database for contexts.
async fn called(
    deployed: &Arc<Deployed>,
    core: &mut RunCore,
    index: NodeIndex,
    hops: u32,
    f: impl FnOnce(&dyn Node, &mut Cx<'_>) -> Step,
) -> Step {
    let _room = match deployed.asks_contexts[index as usize] {
        true => deployed.services.context.room().await,
        false => None,
    };
    call(deployed, core, index, hops, f)
}

/// Calls a node; a panic is an error of this message.
fn call(
    deployed: &Arc<Deployed>,
    core: &mut RunCore,
    index: NodeIndex,
    hops: u32,
    f: impl FnOnce(&dyn Node, &mut Cx<'_>) -> Step,
) -> Step {
    core.hops += 1;
    let traced = core.steps.len() < deployed.services.limits.trace_steps_max;
    let at_us = if traced { core.age_us() } else { 0 };
    let node = &deployed.nodes[index as usize];
    let mut cx = Cx { core, deployed, node: index, hops, emitted: 0 };
    let step = std::panic::catch_unwind(AssertUnwindSafe(|| f(&**node, &mut cx)));
    let emitted = cx.emitted;
    if traced {
        let failed = !matches!(step, Ok(Step::Done | Step::Wait(_)));
        let timed = core.timed || core.recorder.is_some();
        let took_us = if timed { core.age_us().saturating_sub(at_us).min(UNTIMED - 1) } else { UNTIMED };
        core.steps.push(StepRecord { at_us, node: index, emitted, took_us, failed });
    }
    if let Some(recorder) = &mut core.recorder {
        recorder.close(traced.then(|| core.steps.len() - 1));
    }
    step.unwrap_or_else(|panic| Step::fail(Msg::new(), panic_text(&*panic)))
}
