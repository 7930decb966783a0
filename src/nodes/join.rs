//! `join`: puts the messages of a sequence together again, or any messages by count, time or `msg.complete`, or
//! reduces a sequence with an expression.
//!
//! Groups are kept by `parts.id`; those of a run with a caller belong to that run alone.

mod group;
mod reduce;

use std::any::Any;
use std::collections::HashMap;
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

/// What is being put together.
#[derive(Default)]
struct Groups {
    groups: HashMap<ArcStr, Group>,
    pending: HashMap<ArcStr, Pending>,
    /// Places taken in all groups, held to `node_messages_max`.
    held: usize,
    timers: u64,
}

/// What became of a message.
enum Outcome {
    Kept,
    /// A group is whole.
    Send(Msg),
    Warn(String),
    Fail(String),
    /// A group was opened, or its time starts anew.
    Time {
        key: ArcStr,
        timer: u64,
        cancelled: oneshot::Receiver<()>,
    },
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

impl Groups {
    /// Takes a group away and makes its message.
    fn finish(&mut self, key: &str) -> Option<Msg> {
        let group = self.groups.remove(key)?;
        self.held -= group.places();
        Some(group.into_msg())
    }

    fn forget(&mut self, key: &str) {
        if let Some(group) = self.groups.remove(key) {
            self.held -= group.places();
        }
    }

    /// Drops everything: one more message would be too many.
    fn overflow(&mut self, max: usize) -> Outcome {
        *self = Groups { timers: self.timers, ..Groups::default() };
        Outcome::Fail(format!(
            "too many pending messages in join node: more than {max} (node_messages_max); all dropped"
        ))
    }

    fn start_timer(&mut self, key: &ArcStr) -> Outcome {
        let (cancel, cancelled) = oneshot::channel();
        self.timers += 1;
        let timer = self.timers;
        if let Some(group) = self.groups.get_mut(key) {
            group.timer = Some((timer, cancel));
        }
        Outcome::Time { key: key.clone(), timer, cancelled }
    }

    /// Takes `msg` when it is kept; leaves it for an error.
    fn auto(&mut self, slot: &mut Option<Msg>, max: usize) -> Outcome {
        let Some(msg) = slot.as_ref() else { return Outcome::Kept };
        let parts = match msg.get("parts") {
            Some(Value::Object(parts)) if parts.contains_key("id") => parts.clone(),
            _ if msg.object().contains_key("reset") => {
                *self = Groups { timers: self.timers, ..Groups::default() };
                return Outcome::Kept;
            }
            _ => return Outcome::Warn("Message missing msg.parts property - cannot join in 'auto' mode".into()),
        };
        let id = match parts.get("id") {
            Some(Value::String(id)) => id.clone(),
            other => other.map(Value::to_js_string).unwrap_or_default(),
        };
        if msg.object().contains_key("reset") {
            self.forget(&id);
            return Outcome::Kept;
        }
        let key = parts.get("key").filter(|k| !k.is_nullish()).map(Value::to_js_string).filter(|k| !k.is_empty());
        if !self.groups.contains_key(&id) {
            if self.groups.len() >= max {
                return self.overflow(max);
            }
            let kind = parts.get("type").and_then(Value::as_str).and_then(Kind::parse).unwrap_or(Kind::Array);
            let property = match parts.get("property") {
                Some(Value::String(text)) if !text.is_empty() => match Path::parse(text) {
                    Ok(path) => path,
                    Err(e) => return Outcome::Fail(format!("msg.parts.property: {e}")),
                },
                _ => Path::key(literal!("payload")),
            };
            let mut group = Group::new(kind, property, parts.get("ch").cloned().unwrap_or_default());
            group.array_len = parts.get("len").map_or(0.0, Value::to_number);
            self.groups.insert(id.clone(), group);
        }
        let Some(group) = self.groups.get_mut(&id) else { return Outcome::Kept };
        if group.kind == Kind::Object && key.is_none() {
            return Outcome::Warn("Message missing 'msg.parts.key' property - cannot add to object".into());
        }
        let before = group.places();
        let value = msg.get_path(&group.property);
        let index = parts.get("index").map_or(f64::NAN, Value::to_number);
        if index >= max as f64 {
            return self.overflow(max);
        }
        if let Err(problem) = group.add(key, index, value) {
            return Outcome::Fail(problem);
        }
        self.held += group.places() - before;
        if self.held > max {
            return self.overflow(max);
        }
        let complete = msg.object().contains_key("complete");
        if let Some(msg) = slot.take() {
            group.merge(msg, parts.get("count"));
        }
        if complete || group.is_full() { self.finish(&id).map_or(Outcome::Kept, Outcome::Send) } else { Outcome::Kept }
    }

    fn custom(&mut self, custom: &Custom, mut msg: Msg, max: usize) -> Vec<Outcome> {
        if !custom.useparts
            && let Some(parts) = msg.remove("parts")
            && let Some(outer) = parts.as_object().and_then(|p| p.get("parts"))
        {
            let nested: Object = [("parts", outer.clone())].into_iter().collect();
            msg.set(literal!("parts"), nested);
        }
        let parts = match msg.get("parts") {
            Some(Value::Object(parts)) => Some(parts.clone()),
            _ => None,
        };
        let (mut id, mut count) = (NO_ID, custom.count);
        if custom.count_by_parts
            && let Some(parts) = &parts
        {
            count = parts.get("count").map_or(0.0, Value::to_number);
            if let Some(given) = parts.get("id") {
                id = given.to_js_string();
            }
        }
        let mut outcomes = Vec::new();
        let has = |name: &str| msg.object().contains_key(name);
        if has("restartTimeout") && custom.timeout.is_some() && self.groups.contains_key(&id) {
            outcomes.push(self.start_timer(&id));
        }
        if has("reset") {
            self.forget(&id);
            return outcomes;
        }
        let complete = has("complete");
        let mut key = None;
        if custom.build == Kind::Object {
            key = Some(msg.get_path(&custom.key)).filter(|k| !k.is_nullish()).map(|k| k.to_js_string());
            key = key.filter(|k| !k.is_empty());
            if key.is_none() {
                outcomes.extend(match (complete, self.groups.contains_key(&id)) {
                    (true, true) => self.finish(&id).map(Outcome::Send),
                    (true, false) => None,
                    (false, _) => Some(Outcome::Warn(format!(
                        "Message missing key property 'msg.{}' - cannot add to object",
                        custom.key.text()
                    ))),
                });
                return outcomes;
            }
        }
        if !self.groups.contains_key(&id) {
            if self.groups.len() >= max {
                outcomes.push(self.overflow(max));
                return outcomes;
            }
            let property = custom.property.clone().unwrap_or_else(|| Path::key(literal!("payload")));
            let mut group = Group::new(custom.build, property, custom.joiner.clone());
            group.target = count;
            self.groups.insert(id.clone(), group);
            if custom.timeout.is_some() {
                outcomes.push(self.start_timer(&id));
            }
        }
        let Some(group) = self.groups.get_mut(&id) else { return outcomes };
        let value = match &custom.property {
            Some(path) => msg.get_path(path),
            None => msg.to_value(),
        };
        let before = group.places();
        if custom.build == Kind::Merged && !value.is_nullish() && !matches!(value, Value::Object(_)) {
            if !complete {
                outcomes.push(Outcome::Warn("Cannot merge non-object types".into()));
            }
        } else if let Err(problem) = group.add(key, f64::NAN, value) {
            outcomes.push(Outcome::Fail(problem));
            return outcomes;
        }
        self.held += group.places() - before;
        if self.held > max {
            outcomes.push(self.overflow(max));
            return outcomes;
        }
        group.merge(msg, parts.as_ref().and_then(|p| p.get("count")));
        if complete || group.is_full() {
            if custom.accumulate && !complete {
                group.timer = None;
                outcomes.push(Outcome::Send(group.clone_msg()));
            } else {
                outcomes.extend(self.finish(&id).map(Outcome::Send));
            }
        }
        outcomes
    }

    /// A group's time is over.
    fn elapsed(&mut self, key: &ArcStr, timer: u64, accumulate: bool) -> Option<Msg> {
        let group = self.groups.get_mut(key)?;
        if group.timer.as_ref().map(|(t, _)| *t) != Some(timer) {
            return None;
        }
        if accumulate && !group.says_complete() {
            group.timer = None;
            return Some(group.clone_msg());
        }
        self.finish(key)
    }
}

/// A time that ends outside the run it began in; travels in a message of its own.
struct Elapsed {
    key: ArcStr,
    timer: u64,
}

/// The property that holds it.
const ELAPSED: &str = "_joinTimer";

impl Handle for Elapsed {
    fn kind(&self) -> &'static str {
        "timer"
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Join {
    fn custom(&self, custom: &Custom, msg: Msg, cx: &mut Cx<'_>) -> Step {
        if let Some(elapsed) = msg.get(ELAPSED).and_then(|v| v.as_handle::<Elapsed>()) {
            let accumulate = custom.accumulate;
            if let Some(msg) = self.groups.with(cx, |g| g.elapsed(&elapsed.key, elapsed.timer, accumulate)) {
                cx.emit(0, msg);
            }
            return Step::Done;
        }
        let max = cx.services().limits.node_messages_max;
        let failed = msg.clone();
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
                let mut msg = Some(msg);
                match self.groups.with(cx, |groups| groups.auto(&mut msg, max)) {
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
