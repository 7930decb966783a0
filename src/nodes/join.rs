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

use super::combining::{Combining, Sequences, dropped};
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

impl Custom {
    /// The sequence that a message says to be part of; `None` when groups are not made by that.
    fn sequence(&self, msg: &Msg) -> Option<ArcStr> {
        let parts = msg.get("parts").filter(|_| self.count_by_parts && self.useparts)?;
        Some(parts.as_object()?.get("id")?.to_js_string())
    }
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

/// Works on the groups a sequence is put together in, `None`: on the groups of what belongs to none. Gives also the messages
/// that the node is done with.
fn working<R>(
    groups: &Combining<Groups>,
    sequence: Option<&str>,
    cx: &mut Cx<'_>,
    work: impl FnOnce(&mut Groups) -> R,
) -> (R, Vec<Msg>) {
    let work = |groups: &mut Groups| (work(groups), std::mem::take(&mut groups.done));
    match sequence {
        Some(id) => groups.with_sequence(id, cx, work),
        None => groups.with(cx, work),
    }
}

/// Works on what holds the group with this time: the run, when it does.
fn with_timer<R>(groups: &Combining<Groups>, key: &str, cx: &mut Cx<'_>, work: impl FnOnce(&mut Groups) -> R) -> R {
    match cx.has_sequence(key) && cx.run_state::<Groups>().holds(key) {
        true => work(cx.run_state::<Groups>()),
        false => groups.with(cx, work),
    }
}

/// Sends a group whose time is over.
fn elapsed(groups: &Combining<Groups>, (key, timer): (&ArcStr, u64), accumulate: bool, cx: &mut Cx<'_>) {
    let (msg, done) = with_timer(groups, key, cx, |groups| {
        (groups.elapsed(key, timer, accumulate), std::mem::take(&mut groups.done))
    });
    if let Some(msg) = msg {
        cx.emit(0, msg);
    }
    tell(&done, cx);
}

/// Tells complete nodes of the messages whose groups are over.
fn tell(done: &[Msg], cx: &mut Cx<'_>) {
    done.iter().for_each(|msg| cx.done(msg));
}

impl Join {
    /// Gives a message to the groups; gives also those that the node is done with. One that a group took is done when the
    /// group is.
    fn give<R>(
        &self,
        msg: Msg,
        sequence: Option<&str>,
        cx: &mut Cx<'_>,
        work: impl FnOnce(&mut Groups, Msg) -> R,
    ) -> (R, Vec<Msg>) {
        let heard = (cx.is_heard() && !msg.is_signal()).then(|| msg.clone());
        let ((result, taken), done) = working(&self.groups, sequence, cx, |groups| {
            groups.heard = heard;
            let result = work(groups, msg);
            (result, groups.heard.take().is_none())
        });
        if taken && cx.is_heard() {
            cx.keep();
        }
        (result, done)
    }

    fn custom(&self, custom: &Custom, msg: Msg, cx: &mut Cx<'_>) -> Step {
        if let Some(timer) = msg.get(ELAPSED).and_then(|v| v.as_handle::<Elapsed>()) {
            elapsed(&self.groups, (&timer.key, timer.timer), custom.accumulate, cx);
            return Step::Done;
        }
        if let Some(waited) = msg.get(WAITED).filter(|_| cx.is_resumed()) {
            let (key, timer) = (waited.get("key").to_js_string(), waited.get("timer").to_number() as u64);
            let cancelled = with_timer(&self.groups, &key, cx, |groups| groups.run_again(&key, timer));
            return cancelled.map_or(Step::Done, |cancelled| self.wait(custom, key, timer, cancelled, cx));
        }
        let max = cx.services().limits.node_messages_max;
        let failed = msg.clone();
        // A time that ends outside of the run ends that of a group of the node.
        let outlives_run = custom.timeout.is_some_and(|after| after >= cx.time_left());
        let held = |id: &ArcStr, cx: &mut Cx<'_>| cx.has_sequence(id) && cx.run_state::<Groups>().holds(id);
        let sequence = custom.sequence(&msg).filter(|id| !outlives_run || held(id, cx));
        let (outcomes, done) = self.give(msg, sequence.as_deref(), cx, |groups, msg| groups.custom(custom, msg, max));
        let mut step = Step::Done;
        for outcome in outcomes {
            match outcome {
                Outcome::Kept => {}
                Outcome::Send(msg) => cx.emit(0, msg),
                Outcome::Warn(text) => cx.warn(text),
                Outcome::Fail(problem) | Outcome::TooMany(problem) => cx.error(failed.clone(), problem),
                Outcome::Time { key, timer, cancelled } => step = self.wait(custom, key, timer, cancelled, cx),
            }
        }
        tell(&done, cx);
        step
    }

    /// Puts a message to its group by what it says of itself.
    fn auto(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        let max = cx.services().limits.node_messages_max;
        let id = msg.get("parts").map(|parts| parts.get("id")).filter(|id| !id.is_undefined());
        let id = id.map(|id| id.to_js_string());
        if id.is_none() && msg.object().contains_key("reset") && cx.is_unanswered() && !cx.has_caller() {
            let of_run = std::mem::take(cx.run_state::<Groups>());
            of_run.groups.values().for_each(|group| tell(&group.heard, cx));
        }
        let ((outcome, left), done) = self.give(msg, id.as_deref(), cx, |groups, msg| {
            let mut msg = Some(msg);
            (groups.auto(&mut msg, max), msg)
        });
        tell(&done, cx);
        match outcome {
            Outcome::Kept | Outcome::Time { .. } => {}
            Outcome::Send(msg) => cx.emit(0, msg),
            Outcome::Warn(text) => cx.warn(text),
            Outcome::Fail(problem) => return Step::fail(left.unwrap_or_default(), problem),
            Outcome::TooMany(problem) => return dropped(left.unwrap_or_default(), problem, cx),
        }
        Step::Done
    }

    /// What is not whole at the end of a run nobody waits for is the node's from then on.
    fn hand_over(&self, cx: &mut Cx<'_>) -> Step {
        let max = cx.services().limits.node_messages_max;
        let has_places = matches!(self.mode, Mode::Auto);
        let accumulates = matches!(&self.mode, Mode::Custom(custom) if custom.accumulate);
        let of_run = std::mem::take(cx.run_state::<Groups>());
        let ((outcomes, whole), done) =
            working(&self.groups, None, cx, |groups| groups.absorb(of_run, (has_places, accumulates), max));
        for outcome in outcomes {
            match outcome {
                Outcome::Send(msg) => cx.emit(0, msg),
                Outcome::Fail(problem) | Outcome::TooMany(problem) => cx.error(Msg::new(), problem),
                _ => {}
            }
        }
        tell(&done, cx);
        match &self.mode {
            Mode::Reduce(reduce) => reduce.all(whole, cx),
            _ => Step::Done,
        }
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
            let is_over = tokio::select! {
                biased;
                _ = cancelled => false,
                () = clock.sleep(after) => true,
            };
            Box::new(move |cx: &mut Cx<'_>| {
                if is_over {
                    elapsed(&groups, (&key, timer), accumulate, cx);
                }
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
            Mode::Auto => self.auto(msg, cx),
        }
    }

    /// What a caller's run leaves incomplete is gone with it, which must not go unseen.
    fn on_run_end(&self, cx: &mut Cx<'_>) -> Step {
        if !cx.has_caller() {
            return self.hand_over(cx);
        }
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
