//! All a node may touch while it handles a message.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use arcstr::ArcStr;
use jiff::Timestamp;

use super::context::Level;
use super::opening::{Opening, Start};
use super::run::{Delivery, RunCore};
use super::{Deployed, Event, Limits, NodeError, NodeState, Place, Reply, ReplyHandle, Services, Status};
use crate::clock::Clock;
use crate::model::call::CallRecord;
use crate::model::flow::{NodeIndex, PlanNode};
use crate::model::path::Path;
use crate::model::run::{Attached, RunError, Trigger};
use crate::model::trace_context::TraceParent;
use crate::model::{Msg, Object, RunId, Value};

/// The hands of a node: emit, reply, report, keep state, read time.
pub struct Cx<'a> {
    pub(super) core: &'a mut RunCore,
    pub(super) deployed: &'a Arc<Deployed>,
    pub(super) node: NodeIndex,
    pub(super) hops: u32,
    pub(super) emitted: u32,
}

impl Cx<'_> {
    /// Sends a message along the wires of a port: the last wire gets it, the others a clone (a pointer).
    pub fn emit(&mut self, port: usize, msg: Msg) {
        self.emit_from(self.node, port, msg);
    }

    /// Sends along the wires of another node (what a link call is given back).
    pub fn emit_from(&mut self, from: NodeIndex, port: usize, mut msg: Msg) {
        msg.ensure_id();
        if let Some(completing) = &mut self.core.completing
            && completing.get("_msgid") == msg.get("_msgid")
        {
            *completing = msg.clone();
        }
        if let Some(recorder) = &mut self.core.recorder {
            recorder.sends(port, &msg);
        }
        let deployed = self.deployed;
        let source = &deployed.plan.nodes[from as usize];
        let wires = source.wires.get(port).map_or(&[][..], |w| w.as_slice());
        let Some((last, others)) = wires.split_last() else {
            self.emitted += 1;
            if deployed.services.observer.is_some() {
                self.event(Event::Output { node: source.id.clone(), name: source.name.clone(), port, msg });
            }
            return;
        };
        for target in others {
            self.push(*target, msg.clone());
        }
        self.push(*last, msg);
    }

    /// Delivers straight to a node, past the wires (link call).
    pub fn emit_to(&mut self, target: NodeIndex, mut msg: Msg) {
        msg.ensure_id();
        if let Some(recorder) = &mut self.core.recorder {
            recorder.sends(0, &msg);
        }
        self.push(target, msg);
    }

    fn push(&mut self, target: NodeIndex, msg: Msg) {
        self.emitted += 1;
        let limits = &self.deployed.services.limits;
        if self.hops >= limits.hops_max {
            let message = format!("a message made {} hops (hops_max); is there a loop without an end?", self.hops);
            self.core.fail(self.deployed, self.node, message);
            return;
        }
        self.core.enqueue(self.deployed, self.node, Delivery { node: target, hops: self.hops + 1, msg });
    }

    /// Hands this node a message after this long, in a run of its own, linked to this one; for waits longer than a run
    /// may last.
    pub fn deliver_later(&mut self, after: Duration, msg: Msg) {
        let deployed = self.deployed.clone();
        let (node, run, caller) = (self.node, self.core.id, self.has_caller());
        self.deployed.keep_task(node, async move {
            deployed.services.clock.sleep(after).await;
            // A deploy may have made the node part of another plan meanwhile.
            let (deployed, node) = deployed.now_of(node);
            let opening =
                Opening { node, start: Start::Deliver, msg, trigger: Trigger::Linked { run, caller }, reply: None };
            if deployed.spawn(opening).is_err() {
                tracing::error!(%run, "a delayed message was dropped: too many runs are open (runs_max)");
            }
        });
    }

    /// Answers the caller whose `res` this message carries. False when it carries none, or the caller was
    /// answered before.
    pub fn reply(&mut self, msg: &Msg, reply: Reply) -> bool {
        let Some(handle) = msg.get("res").and_then(|v| v.as_handle::<ReplyHandle>()) else { return false };
        let told = self.deployed.services.observer.is_some().then(|| reply.clone());
        let counts = handle.0.send(reply);
        if let Some(reply) = told.filter(|_| counts) {
            let node = self.node().id.clone();
            self.event(Event::Reply { node, reply });
        }
        counts
    }

    /// Shows a status under the node and tells the status nodes that listen to it.
    pub fn status(&mut self, status: Status) {
        self.status_with(status, Object::new());
    }

    /// As [`Cx::status`], with further properties for the status nodes.
    pub fn status_with(&mut self, status: Status, more: Object) {
        let node = self.node();
        // What a subflow's status output is given is the status of the instance around it.
        let shown = match node.instance.filter(|_| node.node_type == crate::flow::SUBFLOW_STATUS) {
            Some(instance) => &self.deployed.plan.nodes[instance as usize],
            None => node,
        };
        let shown_id = shown.id.clone();
        if !node.status.is_empty() {
            let source = source_of(shown);
            let mut body = Object::new();
            if let Some(fill) = &status.fill {
                body.insert("fill", fill.clone());
            }
            if let Some(shape) = &status.shape {
                body.insert("shape", shape.clone());
            }
            // A status that is taken away says nothing at all.
            if !status.text.is_empty() || status.fill.is_some() || status.shape.is_some() {
                body.insert("text", status.text.clone());
            }
            for (name, value) in more.iter() {
                body.insert(name.clone(), value.clone());
            }
            body.insert("source", source);
            let mut msg = Msg::new();
            msg.set("status", body);
            for target in node.status.clone() {
                self.push(target, msg.clone());
            }
        }
        let at = self.node().instance.filter(|_| self.node().node_type == crate::flow::SUBFLOW_STATUS);
        self.tell(at.unwrap_or(self.node), Event::Status { node: shown_id, status });
    }

    /// Logs in the node's name.
    pub fn log(&mut self, level: tracing::Level, text: impl Into<String>) {
        let text = text.into();
        let node = self.node();
        let run = self.core.id;
        match level {
            tracing::Level::ERROR => tracing::error!(%run, node = %node.id, "{text}"),
            tracing::Level::WARN => tracing::warn!(%run, node = %node.id, "{text}"),
            tracing::Level::INFO => tracing::info!(%run, node = %node.id, "{text}"),
            _ => tracing::debug!(%run, node = %node.id, "{text}"),
        }
        let (node, name) = (node.id.clone(), node.name.clone());
        self.event(Event::Log { node, name, level, text });
    }

    pub fn warn(&mut self, text: impl Into<String>) {
        self.log(tracing::Level::WARN, text);
    }

    /// Reports an error about a message and goes on (`node.error(e, msg)`): catch nodes get the message.
    pub fn error(&mut self, msg: Msg, error: impl Into<NodeError>) {
        self.core.raise(self.deployed, self.node, self.hops, error.into(), msg);
    }

    /// True when complete nodes listen to this node.
    pub fn is_heard(&self) -> bool {
        !self.node().complete.is_empty()
    }

    /// This node is not done with the message at hand: it keeps it, and [`Cx::done`] will say when it is.
    pub fn keep(&mut self) {
        self.core.completing = None;
    }

    /// Tells complete nodes that this node is done with a message it kept.
    pub fn done(&mut self, msg: &Msg) {
        if self.is_heard() {
            let at_hand = self.core.completing.replace(msg.clone());
            self.core.completed(self.deployed, self.node, self.hops);
            self.core.completing = at_hand;
        }
    }

    /// Attaches evidence to the run: kept in its history whatever else is left out of it.
    pub fn attach(&mut self, evidence: Attached) {
        let step = self.step();
        self.core.evidence.push((step, evidence));
    }

    /// Keeps the record of a plugin's call, of about so many bytes, unless those of this run would then take more
    /// than `run_bytes_max`; what is not kept is counted.
    pub fn keep_call(&mut self, call: CallRecord, bytes: usize, run_bytes_max: usize) {
        if self.core.calls.bytes + bytes > run_bytes_max {
            self.core.calls.cut += 1;
            return;
        }
        let step = self.step();
        let calls = &mut self.core.calls;
        calls.bytes += bytes;
        calls.kept.push((step, call));
    }

    /// The step of this node that is under way. One beyond the trace's limit is kept after all when something hangs
    /// on it.
    fn step(&mut self) -> usize {
        match self.core.steps.last() {
            Some(last) if last.is_of(self.node) => self.core.steps.len() - 1,
            _ => self.core.keep_step(self.node),
        }
    }

    /// Tells whoever listens (the editor, `probity run`, tests).
    pub fn event(&mut self, event: Event) {
        self.tell(self.node, event);
    }

    fn tell(&self, node: NodeIndex, event: Event) {
        if let Some(feed) = self.deployed.services.feed.get() {
            feed.told(self.deployed.place(node), &event);
        }
        if let Some(observer) = &self.deployed.services.observer {
            observer(self.core.id, event);
        }
    }

    /// This node's state in this run; made on first use, gone with the run.
    pub fn run_state<T: NodeState + Default>(&mut self) -> &mut T {
        let node = self.node;
        let is_it = |(n, s): &(NodeIndex, Box<dyn NodeState>)| *n == node && (&**s as &dyn Any).is::<T>();
        let at = match self.core.states.iter().position(is_it) {
            Some(at) => at,
            None => {
                let restored = self.core.durable.as_mut().and_then(|durable| durable.take_state(node));
                let state = restored.and_then(|kept| T::restored(&kept)).unwrap_or_default();
                self.core.states.push((node, Box::new(state)));
                self.core.states.len() - 1
            }
        };
        (&mut *self.core.states[at].1 as &mut dyn Any).downcast_mut().expect("found by its type")
    }

    /// Tells the receiver of this node's effect that a repetition is one: `<run>/<node>/<n>`, the same each time it is
    /// repeated. `None` in runs that are not durable, whose effects are not repeated, and for nodes without effect.
    pub fn idempotency_key(&self) -> Option<String> {
        let n = self.core.durable.as_ref()?.effect()?;
        Some(format!("{}/{}/{n}", self.core.id, self.node().id))
    }

    /// True when a message that this node fails now will be given to it again: in a durable run, unless a catch node takes
    /// the error.
    pub fn is_tried_again(&self) -> bool {
        self.core.durable.is_some() && self.node().catch.is_empty()
    }

    /// True in a durable run that nobody waits for an answer of.
    pub fn is_unanswered(&self) -> bool {
        self.core.durable.is_some() && self.core.reply.is_none()
    }

    /// True when a sequence belongs to this run although nobody waits for it: the run is durable, and its first message
    /// was not part of that sequence, so that other runs are not expected to bring parts of it.
    pub fn has_sequence(&self, id: &str) -> bool {
        let durable = self.core.durable.as_ref().filter(|_| !self.has_caller());
        durable.is_some_and(|durable| durable.came_with.iter().all(|came| came != id))
    }

    /// True in a durable run that was taken up again from its last durable point.
    pub fn is_resumed(&self) -> bool {
        self.core.durable.as_ref().is_some_and(|durable| durable.resumed)
    }

    /// For a node that has taken its message into its state and now waits, or fails: what it is given should the run be
    /// taken up again meanwhile, in place of the message it had. `None`: nothing, and a failure is not tried again.
    pub fn resume_with(&mut self, msg: impl FnOnce() -> Option<Msg>) {
        let way = self.core.way;
        if let Some(durable) = &mut self.core.durable {
            durable.resume_with(way, msg());
        }
    }

    /// Asks for [`super::Node::on_run_end`] once nothing else is left to do in this run.
    pub fn at_run_end(&mut self) {
        self.core.at_end.insert(self.node);
    }

    /// True when somebody waits for this activation: what combines messages then belongs to the run.
    pub fn has_caller(&self) -> bool {
        self.core.trigger.has_caller()
    }

    /// How long this run may go on (`run_ms_max`, `durable.run_ms_max`).
    pub fn time_left(&self) -> Duration {
        let max = self.core.time_max(&self.deployed.services.limits);
        max.saturating_sub(self.core.began.elapsed())
    }

    /// The `traceparent` for calls that this step makes: part of the caller's trace, or of the run's own when traces are
    /// told to somebody; else `None`.
    pub fn trace_parent(&self) -> Option<TraceParent> {
        let core = &self.core;
        if core.parent.is_none() && !core.timed {
            return None;
        }
        let kept = core.steps.len() < self.deployed.services.limits.trace_steps_max;
        let span = if kept { core.id.step_span(core.steps.len()) } else { core.id.span() };
        let (trace, sampled) = core.parent.map_or((core.id.trace(), true), |p| (p.trace, p.sampled));
        Some(TraceParent { trace, span, sampled })
    }

    /// When this run was opened.
    pub fn started(&self) -> std::time::Instant {
        self.core.started
    }

    pub fn run_id(&self) -> RunId {
        self.core.id
    }

    pub fn trigger(&self) -> &Trigger {
        &self.core.trigger
    }

    pub fn node(&self) -> &PlanNode {
        &self.deployed.plan.nodes[self.node as usize]
    }

    /// The id of any node of this plan.
    pub fn node_id(&self, node: NodeIndex) -> Option<&ArcStr> {
        self.deployed.plan.nodes.get(node as usize).map(|n| &n.id)
    }

    pub fn node_index(&self) -> NodeIndex {
        self.node
    }

    pub fn services(&self) -> &Arc<Services> {
        &self.deployed.services
    }

    pub fn clock(&self) -> Clock {
        self.deployed.services.clock.clone()
    }

    pub fn now(&self) -> Timestamp {
        self.deployed.services.clock.now()
    }

    pub fn place(&self) -> Place<'_> {
        self.deployed.place(self.node)
    }

    /// The plan this run goes on with.
    pub fn deployed(&self) -> &Arc<Deployed> {
        self.deployed
    }

    /// As [`Place::env`].
    pub fn env(&self, name: &str) -> Value {
        self.place().env(name)
    }

    /// As [`Place::context_get`].
    ///
    /// # Errors
    /// As there.
    pub fn context_get(&self, level: Level, path: &Path, msg: &Msg) -> Result<Value, NodeError> {
        self.place().context_get(level, path, msg)
    }

    /// As [`Place::context_set`].
    ///
    /// # Errors
    /// As there.
    pub fn context_set(&self, level: Level, path: &Path, value: Value, msg: &Msg) -> Result<bool, NodeError> {
        self.place().context_set(level, path, value, msg)
    }
}

/// What `catch`, `status` and `complete` nodes are told of a node; a name only where its definition has one.
fn source_of(node: &PlanNode) -> Object {
    let mut source = Object::new();
    source.insert("id", node.id.clone());
    source.insert("type", node.node_type.clone());
    if let Some(name) = node.config.get("name") {
        source.insert("name", name.clone());
    }
    source
}

/// The stack of an error that Node-RED gives as an `Error` (its text then begins with the kind): the code's own where
/// `msg.error` holds it, else the node. `None` for errors that are texts.
fn stack_of(message: &str, failed: &PlanNode, before: Option<&Value>) -> Option<ArcStr> {
    let kind = message.split(':').next().filter(|kind| kind.len() < message.len() && kind.ends_with("Error"))?;
    if !kind.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    match before {
        Some(Value::Error(error)) if message.contains(error.message.as_str()) && error.stack.is_some() => {
            error.stack.clone()
        }
        _ => Some(arcstr::format!("{message}\n    at {} node \"{}\"", failed.node_type, failed.id)),
    }
}

impl RunCore {
    /// How long the run may go on.
    pub(super) fn time_max(&self, limits: &Limits) -> Duration {
        Duration::from_millis(if self.durable.is_some() { limits.durable_run_ms_max } else { limits.run_ms_max })
    }

    /// Routes an error to the catch nodes that take it; without one the run fails (and goes on with the rest of
    /// its queue). True when one took it.
    pub(super) fn raise(
        &mut self,
        deployed: &Arc<Deployed>,
        node: NodeIndex,
        hops: u32,
        error: NodeError,
        mut msg: Msg,
    ) -> bool {
        let failed = &deployed.plan.nodes[node as usize];
        if failed.catch.is_empty() || hops >= deployed.services.limits.hops_max {
            self.fail(deployed, node, error.message);
            return false;
        }
        let before = msg.get("error").cloned();
        let again = before.as_ref().map(|e| e.get("source")).filter(|s| s.get("id").as_str() == Some(&failed.id));
        let count = again.and_then(|s| s.get("count").as_f64()).unwrap_or(0.0) + 1.0;
        // Node-RED's guard against a catch node that leads back to the node that failed.
        if count >= 10.0 {
            self.fail(
                deployed,
                node,
                format!("message exceeded maximum number of catches; last error: {}", error.message),
            );
            return false;
        }
        let mut source = source_of(failed);
        source.insert("count", count);
        let mut body = Object::new();
        let stack = stack_of(&error.message, failed, before.as_ref());
        body.insert("message", ArcStr::from(error.message));
        body.insert("source", source);
        if let Some(code) = error.code {
            body.insert("code", code);
        }
        if let Some(stack) = stack {
            body.insert("stack", stack);
        }
        // In its place, as in Node-RED, and what stood there behind everything else.
        msg.set("error", body);
        if let Some(before) = before {
            msg.set("_error", before);
        }
        msg.ensure_id();
        for target in &failed.catch {
            self.enqueue(deployed, node, Delivery { node: target.node, hops: hops + 1, msg: msg.clone() });
        }
        true
    }

    /// Tells complete nodes that a node is done with a message.
    pub(super) fn completed(&mut self, deployed: &Arc<Deployed>, node: NodeIndex, hops: u32) {
        let Some(mut msg) = self.completing.take() else { return };
        msg.ensure_id();
        if hops >= deployed.services.limits.hops_max {
            self.fail(
                deployed,
                node,
                format!("a message made {hops} hops (hops_max); is there a loop without an end?"),
            );
            return;
        }
        let done = &deployed.plan.nodes[node as usize];
        msg.set("complete", [("source", source_of(done))].into_iter().collect::<Object>());
        for target in &done.complete {
            self.enqueue(deployed, node, Delivery { node: *target, hops: hops + 1, msg: msg.clone() });
        }
    }

    /// Puts a message that `from` sends in the queue, as long as there is room.
    fn enqueue(&mut self, deployed: &Arc<Deployed>, from: NodeIndex, delivery: Delivery) {
        let max = deployed.services.limits.queue_max;
        if self.queue.len() >= max {
            self.overflow(deployed, from, format!("{max} messages are waiting in this run (queue_max)"));
        } else {
            self.queue.push_back(delivery);
        }
    }

    /// Marks the run failed; the first error is the one that is kept.
    pub(super) fn fail(&mut self, deployed: &Arc<Deployed>, node: NodeIndex, message: String) {
        let failed = &deployed.plan.nodes[node as usize];
        tracing::warn!(run = %self.id, node = %failed.id, node_type = %failed.node_type, "{message}");
        let services = &deployed.services;
        if services.observer.is_some() || services.feed.get().is_some() {
            let event =
                Event::Error { node: failed.id.clone(), node_type: failed.node_type.clone(), message: message.clone() };
            if let Some(feed) = services.feed.get() {
                feed.told(deployed.place(node), &event);
            }
            if let Some(observer) = &services.observer {
                observer(self.id, event);
            }
        }
        let error = RunError { node: failed.id.to_string(), node_type: failed.node_type.to_string(), message };
        if let Some(durable) = self.durable.as_mut().filter(|durable| durable.lasting.is_none()) {
            durable.lasting = Some(error.clone());
        }
        if self.error.is_none() {
            self.error = Some(error);
        }
    }

    /// Fails the run and drops what is queued: it would only grow.
    fn overflow(&mut self, deployed: &Arc<Deployed>, node: NodeIndex, message: String) {
        if !self.overflowed {
            self.overflowed = true;
            self.fail(deployed, node, message);
        }
    }
}
