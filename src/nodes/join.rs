//! `join`: puts the messages of a sequence together again, or any messages by count, time or `msg.complete`, or
//! reduces a sequence with an expression.
//!
//! Groups are kept by `parts.id`; those of a run with a caller belong to that run alone.

mod group;
mod groups;
mod reduce;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use arcstr::{ArcStr, literal};
use tokio::sync::oneshot;

use super::combining::Combining;
use super::split::unescape;
use super::typed::msg_path;
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::model::value::Handle;
use crate::model::{Diagnostic, Msg, Object, Path, Value};
use crate::runtime::{Cx, Node, NodeConfig, NodeType, Step, Then};
use group::{Group, Kind};
use groups::{Groups, Outcome};
use reduce::{Pending, Reduce};

static SPEC: NodeSpec = NodeSpec {
    node_type: "join",
    category: "sequence",
    summary: "Joins sequences of messages into one message.",
    inputs: 1,
    outputs: Some(1),
    config_node: false,
    properties: &[
        Property::new("mode", PropertyKind::OneOf(&["auto", "custom", "reduce"]), "auto (undo a split) when absent."),
        Property::new(
            "build",
            PropertyKind::OneOf(&["array", "object", "merged", "string", "buffer"]),
            "custom: what to make; array when absent.",
        ),
        Property::new("property", PropertyKind::MsgPath, "custom: what to take of each message; payload when absent."),
        Property::new("propertyType", PropertyKind::OneOf(&["msg", "full"]), "full: take the whole message."),
        Property::new("key", PropertyKind::MsgPath, "custom, object: where the key stands; topic when absent."),
        Property::new("joiner", PropertyKind::Text, "custom, string and buffer: what stands between parts."),
        Property::new("joinerType", PropertyKind::OneOf(&["str", "bin"]), "bin: joiner is a JSON array of bytes."),
        Property::new("count", PropertyKind::Number, "custom: parts that make a group; empty or 0: parts.count."),
        Property::new("timeout", PropertyKind::Number, "custom: seconds after the first part; empty for none."),
        Property::new("accumulate", PropertyKind::Boolean, "custom: keep the group and send it again with every part."),
        Property::new("useparts", PropertyKind::Boolean, "custom: use msg.parts; true when absent."),
        Property::new("reduceExp", PropertyKind::Text, "reduce: JSONata with $A result so far, $I index, $N count."),
        Property::new("reduceInit", PropertyKind::Text, "reduce: first value of $A."),
        Property::new("reduceInitType", PropertyKind::Text, "reduce: type of reduceInit."),
        Property::new("reduceFixup", PropertyKind::Text, "reduce: JSONata applied to the result $A."),
        Property::new("reduceRight", PropertyKind::Boolean, "reduce: from the last message to the first."),
    ],
    capabilities: &[],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build };

/// The group of messages without `parts.id`.
const NO_ID: ArcStr = literal!("_");

struct Join {
    mode: Mode,
    groups: Arc<Combining<Groups>>,
}

enum Mode {
    Auto,
    Custom(Box<Custom>),
    Reduce(Box<Reduce>),
}

/// Configuration of the manual mode.
struct Custom {
    build: Kind,
    /// `None`: the whole message.
    property: Option<Path>,
    key: Path,
    joiner: Value,
    count: f64,
    /// `count` was left empty: `parts.count` says it.
    count_by_parts: bool,
    timeout: Option<Duration>,
    accumulate: bool,
    useparts: bool,
}

fn build(config: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let mode = match config.text("mode").as_str() {
        "" | "auto" => Mode::Auto,
        "custom" => Mode::Custom(Box::new(custom(config)?)),
        "reduce" => Mode::Reduce(Box::new(Reduce::new(config)?)),
        other => {
            return Err(vec![
                config
                    .problem("unknown-option", "mode", format!("\"{other}\" is no mode"))
                    .expected("auto, custom or reduce")
                    .did_you_mean(other, ["auto", "custom", "reduce"]),
            ]);
        }
    };
    Ok(Arc::new(Join { mode, groups: Arc::default() }))
}

fn custom(config: &NodeConfig<'_>) -> Result<Custom, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let mut path = |name: &str, default: &str| {
        let text = config.text(name);
        let text = if text.is_empty() { default } else { text.as_str() };
        msg_path(config, name, text).map_err(|p| problems.push(p)).unwrap_or_else(|()| Path::key(literal!("payload")))
    };
    let property = (config.text("propertyType") != "full").then(|| path("property", "payload"));
    let key = path("key", "topic");
    let build = match config.text("build").as_str() {
        "" => Kind::Array,
        name => Kind::parse(name).unwrap_or_else(|| {
            let known = ["array", "object", "merged", "string", "buffer"];
            problems.push(
                config
                    .problem("unknown-option", "build", format!("cannot build \"{name}\""))
                    .expected(known.join(", "))
                    .did_you_mean(name, known),
            );
            Kind::Array
        }),
    };
    let joiner = config.text("joiner");
    let joiner = match config.text("joinerType").as_str() {
        "bin" => match Value::from_json(if joiner.is_empty() { "[]" } else { &joiner }) {
            Ok(Value::Array(items)) => {
                Value::Bytes(Arc::new(items.iter().map(|v| v.to_number() as i64 as u8).collect()))
            }
            _ => {
                problems.push(
                    config
                        .problem("invalid-separator", "joiner", format!("{joiner} is no buffer"))
                        .expected("a JSON array of bytes such as [13,10]"),
                );
                Value::Undefined
            }
        },
        _ => Value::from(unescape(&joiner)),
    };
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Custom {
        build,
        property,
        key,
        joiner,
        count: config.number("count").unwrap_or(0.0),
        count_by_parts: config.get("count").as_str() == Some(""),
        timeout: config
            .number("timeout")
            .filter(|s| *s > 0.0)
            .map(|s| Duration::try_from_secs_f64(s).unwrap_or(Duration::MAX)),
        accumulate: config.get("accumulate") == &Value::Bool(true),
        useparts: config.get("useparts").is_undefined() || config.get("useparts").is_truthy(),
    })
}

/// A time that ends outside the run it began in; travels in a message of its own.
struct Elapsed {
    key: ArcStr,
    timer: u64,
}

/// The property that holds it.
const ELAPSED: &str = "_joinTimer";

/// The property that names the time that ran when a durable run was interrupted.
const WAITED: &str = "_joinWaited";

impl Handle for Elapsed {
    fn kind(&self) -> &'static str {
        "timer"
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Tells complete nodes of the messages whose groups are over.
fn tell_done(groups: &Combining<Groups>, cx: &mut Cx<'_>) {
    if cx.is_heard() {
        let done = groups.with(cx, |groups| std::mem::take(&mut groups.done));
        done.iter().for_each(|msg| cx.done(msg));
    }
}

impl Join {
    /// Keeps a copy of a message for complete nodes.
    fn hear(&self, msg: &Msg, cx: &mut Cx<'_>) {
        if cx.is_heard() && !msg.is_signal() {
            self.groups.with(cx, |groups| groups.heard = Some(msg.clone()));
        }
    }

    /// A message that a group took is done when the group is.
    fn heard(&self, cx: &mut Cx<'_>) {
        if cx.is_heard() {
            let taken = self.groups.with(cx, |groups| groups.heard.take().is_none());
            if taken {
                cx.keep();
            }
            tell_done(&self.groups, cx);
        }
    }

    fn custom(&self, custom: &Custom, msg: Msg, cx: &mut Cx<'_>) -> Step {
        if let Some(elapsed) = msg.get(ELAPSED).and_then(|v| v.as_handle::<Elapsed>()) {
            let accumulate = custom.accumulate;
            if let Some(msg) = self.groups.with(cx, |g| g.elapsed(&elapsed.key, elapsed.timer, accumulate)) {
                cx.emit(0, msg);
            }
            tell_done(&self.groups, cx);
            return Step::Done;
        }
        if let Some(waited) = msg.get(WAITED).filter(|_| cx.is_resumed()) {
            let (key, timer) = (waited.get("key").to_js_string(), waited.get("timer").to_number() as u64);
            let cancelled = self.groups.with(cx, |groups| groups.run_again(&key, timer));
            return cancelled.map_or(Step::Done, |cancelled| self.wait(custom, key, timer, cancelled, cx));
        }
        let max = cx.services().limits.node_messages_max;
        let failed = msg.clone();
        self.hear(&msg, cx);
        let outcomes = self.groups.with(cx, |groups| groups.custom(custom, msg, max));
        let mut step = Step::Done;
        for outcome in outcomes {
            match outcome {
                Outcome::Kept => {}
                Outcome::Send(msg) => cx.emit(0, msg),
                Outcome::Warn(text) => cx.warn(text),
                Outcome::Fail(problem) => cx.error(failed.clone(), problem),
                Outcome::Time { key, timer, cancelled } => step = self.wait(custom, key, timer, cancelled, cx),
            }
        }
        self.heard(cx);
        step
    }

    /// Waits for the time of a group, or for its end before that.
    fn wait(
        &self,
        custom: &Custom,
        key: ArcStr,
        timer: u64,
        cancelled: oneshot::Receiver<()>,
        cx: &mut Cx<'_>,
    ) -> Step {
        let (after, accumulate) = (custom.timeout.unwrap_or(Duration::MAX), custom.accumulate);
        if !cx.has_caller() && after >= cx.time_left() {
            let mut msg = Msg::from_object(Object::new());
            msg.set(literal!("_joinTimer"), Value::handle(Elapsed { key, timer }));
            cx.deliver_later(after, msg);
            return Step::Done;
        }
        cx.resume_with(|| {
            let waited: Object =
                [("key", Value::from(key.clone())), ("timer", Value::from(timer as f64))].into_iter().collect();
            let mut msg = Msg::from_object(Object::new());
            msg.set(literal!("_joinWaited"), waited);
            Some(msg)
        });
        let (clock, groups) = (cx.clock(), self.groups.clone());
        Step::wait(async move {
            let elapsed = tokio::select! {
                biased;
                _ = cancelled => false,
                () = clock.sleep(after) => true,
            };
            Box::new(move |cx: &mut Cx<'_>| {
                if elapsed && let Some(msg) = groups.with(cx, |g| g.elapsed(&key, timer, accumulate)) {
                    cx.emit(0, msg);
                }
                tell_done(&groups, cx);
                Step::Done
            }) as Then
        })
    }
}

impl Node for Join {
    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        if cx.has_caller() {
            cx.at_run_end();
        }
        match &self.mode {
            Mode::Custom(custom) => self.custom(custom, msg, cx),
            Mode::Reduce(reduce) => reduce.take(&self.groups, msg, cx),
            Mode::Auto => {
                let max = cx.services().limits.node_messages_max;
                self.hear(&msg, cx);
                let mut msg = Some(msg);
                let outcome = self.groups.with(cx, |groups| groups.auto(&mut msg, max));
                self.heard(cx);
                match outcome {
                    Outcome::Kept | Outcome::Time { .. } => Step::Done,
                    Outcome::Send(msg) => {
                        cx.emit(0, msg);
                        Step::Done
                    }
                    Outcome::Warn(text) => {
                        cx.warn(text);
                        Step::Done
                    }
                    Outcome::Fail(problem) => Step::fail(msg.unwrap_or_default(), problem),
                }
            }
        }
    }

    /// What a caller's run leaves incomplete is gone with it, which must not go unseen.
    fn on_run_end(&self, cx: &mut Cx<'_>) -> Step {
        let (groups, held) = self.groups.with(cx, |g| {
            let parts = g.groups.values().map(Group::parts).chain(g.pending.values().map(Pending::len));
            (g.groups.len() + g.pending.len(), parts.sum::<usize>())
        });
        if groups > 0 {
            cx.warn(format!("the run ended before {groups} group(s) were complete; {held} part(s) were not joined"));
        }
        Step::Done
    }
}

#[cfg(test)]
mod tests;
