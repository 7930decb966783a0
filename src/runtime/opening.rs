//! Runs are opened: for a caller, for a source, from the queue; what each has from the start.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use arcstr::ArcStr;
use jiff::Timestamp;

use super::capture::{Recorder, Wanted};
use super::current::{current_run, of_run};
use super::durable::{Beginning, Durable, DurableEnd, DurableOpening};
use super::engine::OpenRun;
use super::exchange::{Reply, ReplyHandle, ReplyTo, Request};
use super::places::{Busy, Place as PlaceInside, Rank, Turn};
use super::run::{EndedRun, RunCore, drive, drive_durable};
use super::{Cx, Deployed};
use crate::model::flow::NodeIndex;
use crate::model::run::{RunRecord, RunState, Trigger};
use crate::model::trace_context::TraceParent;
use crate::model::{Msg, RunId, Value};

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

/// The span that a caller's `traceparent` names.
fn trace_parent(msg: &Msg) -> Option<TraceParent> {
    let request = msg.get("req")?.as_handle::<Request>()?;
    TraceParent::parse(request.headers.get("traceparent")?.as_bytes())
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
                if let Some(durable) = &mut core.durable {
                    durable.came_with = sequences_of(&msg);
                }
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

    pub(super) fn act(self: &Arc<Self>, node: NodeIndex, act: impl FnOnce(&mut Cx<'_>)) -> Result<(), Busy> {
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
}

/// The sequences that a message is part of, the innermost first.
fn sequences_of(msg: &Msg) -> Vec<ArcStr> {
    let mut found = Vec::new();
    let mut parts = msg.get("parts").cloned();
    while let Some(Value::Object(object)) = parts {
        found.extend(object.get("id").map(Value::to_js_string));
        parts = object.get("parts").cloned();
    }
    found
}
