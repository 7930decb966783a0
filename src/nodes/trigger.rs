//! `trigger`: sends one message now and another after a time, unless more come in between.
//!
//! Behaviour: Node-RED's `89-trigger.js`. What waits belongs to the node, across runs. A wait that its run may not last
//! for ends in a run of its own; so does each repetition of a loop. A durable run that was interrupted while it waited waits
//! anew, and sends its first message no second time.

mod output;
mod topics;

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arcstr::{ArcStr, literal};
use tokio::sync::oneshot;

use super::typed::msg_path;
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::model::path::Path;
use crate::model::value::{Handle, parse_float};
use crate::model::{Diagnostic, Msg, Object, Value};
use crate::runtime::{Cx, Node, NodeConfig, NodeError, NodeType, Status, Step, Then};
use output::Output;
use topics::{Due, Topics};

const UNITS: &[&str] = &["ms", "s", "min", "hr"];

static SPEC: NodeSpec = NodeSpec {
    node_type: "trigger",
    category: "function",
    summary: "Sends a message, and another one after a time unless it is extended or reset.",
    inputs: 1,
    outputs: None,
    config_node: false,
    properties: &[
        Property::new(
            "op1type",
            PropertyKind::Text,
            "Type of op1; pay: the message as it is; nul: nothing. str when absent.",
        ),
        Property::new("op1", PropertyKind::Text, "What is sent first; a str may be a mustache template."),
        Property::new(
            "op2type",
            PropertyKind::Text,
            "Type of op2; pay: the first payload; payl: the latest message; nul: nothing. str when absent.",
        ),
        Property::new("op2", PropertyKind::Text, "What is sent then; flow, global and date are read at that time."),
        Property::new(
            "duration",
            PropertyKind::Number,
            "The time between, in units; 0 blocks until reset, below 0 repeats op1.",
        ),
        Property::new("units", PropertyKind::OneOf(UNITS), "ms when absent."),
        Property::new("extend", PropertyKind::Boolean, "A message that comes meanwhile starts the time anew."),
        Property::new("overrideDelay", PropertyKind::Boolean, "msg.delay, in milliseconds, is the time."),
        Property::new("reset", PropertyKind::Text, "A payload that ends the wait, as msg.reset does."),
        Property::new("bytopic", PropertyKind::OneOf(&["all", "topic"]), "topic: each has a wait of its own."),
        Property::new("topic", PropertyKind::MsgPath, "The property that is the topic; topic when absent."),
        Property::new("outputs", PropertyKind::Number, "2: the second message goes to the second output."),
    ],
    capabilities: &[],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build };

struct Trigger {
    first: Output,
    then: Arc<Output>,
    /// Milliseconds; 0 for ever.
    duration: f64,
    repeats: bool,
    extends: bool,
    by_msg: bool,
    reset: ArcStr,
    by_topic: bool,
    topic: Path,
    second_output: bool,
    topics: Arc<Mutex<Topics>>,
}

/// The key of messages without topic, or of all.
const NO_TOPIC: ArcStr = literal!("_none");

fn build(cfg: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let first = Output::read(cfg, "op1", "1").map_err(|p| problems.push(p)).ok();
    let then = Output::read(cfg, "op2", "0").map_err(|p| problems.push(p)).ok();
    let topic = cfg.text("topic");
    let topic =
        msg_path(cfg, "topic", if topic.is_empty() { "topic" } else { &topic }).map_err(|p| problems.push(p)).ok();
    let units = cfg.text("units");
    let unit = match units.as_str() {
        "" | "ms" => 1.0,
        "s" => 1_000.0,
        "min" => 60_000.0,
        "hr" => 3_600_000.0,
        other => {
            let problem = cfg.problem("unknown-option", "units", format!("\"{other}\" is no unit"));
            problems.push(problem.expected(UNITS.join(", ")).did_you_mean(other, UNITS.iter().copied()));
            1.0
        }
    };
    let given = parse_float(&cfg.text("duration"));
    let given = if given.is_nan() { 250.0 } else { given };
    match (first, then, topic) {
        (Some(first), Some(then), Some(topic)) if problems.is_empty() => Ok(Arc::new(Trigger {
            first,
            then: Arc::new(then),
            duration: given.abs() * unit,
            repeats: given < 0.0,
            extends: cfg.flag("extend") && given >= 0.0,
            by_msg: cfg.get("overrideDelay").is_truthy(),
            reset: cfg.text("reset"),
            by_topic: !matches!(cfg.text("bytopic").as_str(), "" | "all"),
            topic,
            second_output: cfg.number("outputs") == Some(2.0),
            topics: Arc::default(),
        })),
        _ => Err(problems),
    }
}

/// The end of a wait; travels in a message of its own.
struct Elapsed(Due);

/// The property that holds it.
const ELAPSED: ArcStr = literal!("_triggerTimer");

/// The property that holds a wait that a durable run was in when it was interrupted.
const WAITED: ArcStr = literal!("_triggerWaited");

impl Handle for Elapsed {
    fn kind(&self) -> &'static str {
        "timer"
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn lock(topics: &Mutex<Topics>) -> MutexGuard<'_, Topics> {
    topics.lock().unwrap_or_else(|p| p.into_inner())
}

fn show(topics: &Mutex<Topics>, cx: &mut Cx<'_>) {
    let waiting = lock(topics).len();
    cx.status(match waiting {
        0 => Status::default(),
        n => Status {
            fill: Some(literal!("blue")),
            shape: Some(literal!("dot")),
            text: if n == 1 { ArcStr::new() } else { n.to_string().into() },
        },
    });
}

impl Trigger {
    fn key(&self, msg: &Msg) -> ArcStr {
        let topic = if self.by_topic { msg.get_path(&self.topic) } else { Value::Undefined };
        if topic.is_truthy() { topic.to_js_string() } else { NO_TOPIC }
    }

    fn resets(&self, msg: &Msg) -> bool {
        let by_payload = || {
            !self.reset.is_empty()
                && msg.get("payload").is_some_and(|p| !p.is_nullish() && p.to_js_string() == self.reset)
        };
        msg.object().contains_key("reset") || by_payload()
    }

    fn delay(&self, msg: &Msg) -> f64 {
        let given = msg.get("delay").filter(|_| self.by_msg).map(|d| parse_float(&d.to_js_string()));
        // A timer of less than a millisecond fires after one; nothing but 0 waits for ever.
        given.filter(|ms| !ms.is_nan()).map_or(self.duration, |ms| if ms < 0.0 { 1.0 } else { ms })
    }

    fn starts(&self, key: ArcStr, mut msg: Msg, ms: f64, cx: &mut Cx<'_>) -> Result<Step, NodeError> {
        let then = self.then.begin(&msg, cx)?;
        if let Some(payload) = self.first.first(&msg, cx)? {
            msg.set(literal!("payload"), payload);
        }
        let after = Duration::try_from_secs_f64(ms / 1000.0).unwrap_or(Duration::MAX);
        let waits = ms > 0.0 && !(self.repeats && self.first.is_nothing());
        let due = lock(&self.topics).start(key, then, msg.clone(), waits);
        let step = match due {
            None => Step::Done,
            Some((due, _)) if self.repeats => {
                self.come_back(due, after, cx);
                Step::Done
            }
            Some((due, cancelled)) => self.wait(due, cancelled, after, cx),
        };
        show(&self.topics, cx);
        // What waits is the second message; the node is done with this one.
        cx.keep();
        cx.done(&msg);
        if !self.first.is_nothing() {
            cx.emit(0, msg);
        }
        Ok(step)
    }

    /// Asks to be told in a run of its own.
    fn come_back(&self, due: Due, after: Duration, cx: &mut Cx<'_>) {
        let mut msg = Msg::from_object(Object::new());
        msg.set(ELAPSED, Value::handle(Elapsed(due)));
        cx.deliver_later(after, msg);
    }

    fn wait(&self, due: Due, cancelled: oneshot::Receiver<()>, after: Duration, cx: &mut Cx<'_>) -> Step {
        if after >= cx.time_left() {
            self.come_back(due, after, cx);
            return Step::Done;
        }
        cx.resume_with(|| {
            let mut kept = lock(&self.topics).kept(&due)?;
            kept.insert(literal!("ms"), after.as_secs_f64() * 1000.0);
            let mut msg = Msg::from_object(Object::new());
            msg.set(WAITED, kept);
            Some(msg)
        });
        let (clock, topics, then, port) = (cx.clock(), self.topics.clone(), self.then.clone(), self.port());
        Step::wait(async move {
            let elapsed = tokio::select! {
                biased;
                _ = cancelled => false,
                () = clock.sleep(after) => true,
            };
            Box::new(move |cx: &mut Cx<'_>| if elapsed { ends(&topics, &then, port, &due, cx) } else { Step::Done })
                as Then
        })
    }

    /// Begins a wait anew that a durable run was in: its first message has been sent.
    fn waits_again(&self, waited: &Value, cx: &mut Cx<'_>) -> Step {
        let Some(msg) = Msg::from_value(&waited.get("msg")) else { return Step::Done };
        let after = Duration::try_from_secs_f64(waited.get("ms").to_number() / 1000.0).unwrap_or(Duration::MAX);
        let started =
            lock(&self.topics).start(waited.get("topic").to_js_string(), waited.get("then").clone(), msg, true);
        let step = started.map_or(Step::Done, |(due, cancelled)| self.wait(due, cancelled, after, cx));
        show(&self.topics, cx);
        step
    }

    fn port(&self) -> usize {
        usize::from(self.second_output)
    }

    fn repeat(&self, due: &Due, cx: &mut Cx<'_>) {
        let Some(mut msg) = lock(&self.topics).repeated(due) else { return };
        if self.first.is_now() {
            msg.set(literal!("payload"), cx.clock().now_ms());
        }
        cx.emit(0, msg);
        let after = Duration::try_from_secs_f64(self.duration / 1000.0).unwrap_or(Duration::MAX);
        self.come_back(due.clone(), after, cx);
    }
}

/// The time of a topic is over: sends its second message.
fn ends(topics: &Mutex<Topics>, then: &Output, port: usize, due: &Due, cx: &mut Cx<'_>) -> Step {
    let Some(ended) = lock(topics).end(due) else { return Step::Done };
    show(topics, cx);
    if then.is_nothing() {
        return Step::Done;
    }
    match then.end(ended, cx) {
        Ok(msg) => {
            cx.emit(port, msg);
            Step::Done
        }
        Err((msg, error)) => Step::fail(msg, error),
    }
}

impl Node for Trigger {
    fn on_msg(&self, mut msg: Msg, cx: &mut Cx<'_>) -> Step {
        if let Some(Elapsed(due)) = msg.get(&ELAPSED).and_then(|v| v.as_handle::<Elapsed>()) {
            if self.repeats {
                self.repeat(due, cx);
                return Step::Done;
            }
            return ends(&self.topics, &self.then, self.port(), due, cx);
        }
        if let Some(waited) = msg.get(&WAITED).filter(|_| cx.is_resumed()) {
            return self.waits_again(&waited.clone(), cx);
        }
        msg.ensure_id();
        let key = self.key(&msg);
        if self.resets(&msg) {
            lock(&self.topics).forget(&key);
            show(&self.topics, cx);
            return Step::Done;
        }
        let ms = self.delay(&msg);
        let waiting = lock(&self.topics).note(&key, self.then.is_latest().then_some(&msg));
        if !waiting || self.repeats {
            let max = cx.services().limits.node_messages_max;
            if !waiting && lock(&self.topics).len() >= max {
                return Step::fail(msg, format!("too many topics wait in trigger node: {max} (node_messages_max)"));
            }
            let failed = msg.clone();
            return self.starts(key, msg, ms, cx).unwrap_or_else(|error| Step::fail(failed, error));
        }
        if self.extends && ms > 0.0 {
            let after = Duration::try_from_secs_f64(ms / 1000.0).unwrap_or(Duration::MAX);
            cx.keep();
            cx.done(&msg);
            let extended = lock(&self.topics).extend(key, msg);
            if let Some((due, cancelled)) = extended {
                return self.wait(due, cancelled, after, cx);
            }
        }
        Step::Done
    }
}

#[cfg(test)]
mod tests;
