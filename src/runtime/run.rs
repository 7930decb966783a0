//! What a run is while it lasts, how it ends, and what is left of it. The work between is `work`'s.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use super::capture::{Kept, Recorder};
use super::durable::{Durable, DurableEnd};
use super::exchange::ReplyTo;
use super::work::work;
use super::{Deployed, NodeState, Reply};
use crate::model::call::CallRecord;
use crate::model::flow::{NodeIndex, Plan};
use crate::model::run::{Attached, RunError, RunRecord, RunState, TraceStep, Trigger};
use crate::model::trace_context::TraceParent;
use crate::model::{Msg, RunId};

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

/// The engine stops.
pub(super) const SHUT_DOWN: Stop = Stop::Because("the run was ended because the engine was shutting down");

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
    /// A step that began `at_us` after its run's start and took `took_us`, if that was measured.
    pub(super) fn new(at_us: u32, node: NodeIndex, emitted: u32, took_us: Option<u32>, failed: bool) -> Self {
        StepRecord { at_us, node, emitted, took_us: took_us.map_or(UNTIMED, |us| us.min(UNTIMED - 1)), failed }
    }

    pub(super) fn is_of(&self, node: NodeIndex) -> bool {
        self.node == node
    }

    pub(super) fn node(&self) -> NodeIndex {
        self.node
    }
}

impl RunCore {
    /// Microseconds since the run started.
    pub(super) fn age_us(&self) -> u32 {
        self.started.elapsed().as_micros().min(u128::from(u32::MAX)) as u32
    }

    /// Adds a step of a node past the trace's limit; gives its place.
    pub(super) fn keep_step(&mut self, node: NodeIndex) -> usize {
        self.steps.push(StepRecord::new(self.age_us(), node, 0, None, false));
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
