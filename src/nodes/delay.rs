//! `delay`: holds each message back for a time, or lets so many through per time.
//!
//! Waiting messages stand in one line per node, whichever run they belong to: a rate holds for all callers, and
//! `msg.reset` and `msg.flush` reach every waiting message, as in Node-RED.

mod line;
mod shared;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arcstr::literal;
use jiff::Timestamp;

use crate::model::node_spec::{Capability, NodeSpec, Property, PropertyKind};
use crate::model::value::parse_float;
use crate::model::{Diagnostic, Msg, Object, Value};
use crate::runtime::durable::Effect;
use crate::runtime::{Cx, Node, NodeConfig, NodeType, Status, Step, Then};
use line::{Joined, Line, Place, Returned, Turn};
use shared::Shared;

const PAUSES: &[&str] = &["delay", "delayv", "random", "rate", "queue", "timed", "burst"];
const UNITS: &[&str] = &["milliseconds", "seconds", "minutes", "hours", "days"];
const RATE_UNITS: &[&str] = &["second", "minute", "hour", "day"];

static SPEC: NodeSpec = NodeSpec {
    node_type: "delay",
    category: "function",
    summary: "Delays messages, or limits how many go through per time.",
    inputs: 1,
    outputs: None,
    config_node: false,
    properties: &[
        Property::new(
            "pauseType",
            PropertyKind::OneOf(PAUSES),
            "delay: fixed; delayv: msg.delay milliseconds, else fixed; random; rate: evenly spaced; queue: one per time, \
             the latest of each topic; timed: all topics' latest per time; burst: so many per time, no more.",
        ),
        Property::new("timeout", PropertyKind::Number, "delay: how long, in timeoutUnits."),
        Property::new("timeoutUnits", PropertyKind::OneOf(UNITS), "seconds when absent."),
        Property::new("rate", PropertyKind::Number, "Messages per time, above 0."),
        Property::new("nbRateUnits", PropertyKind::Number, "How many rateUnits that time is; 1 when absent."),
        Property::new("rateUnits", PropertyKind::OneOf(RATE_UNITS), "second when absent."),
        Property::new("randomFirst", PropertyKind::Number, "random: shortest delay, in randomUnits."),
        Property::new("randomLast", PropertyKind::Number, "random: longest delay, in randomUnits."),
        Property::new("randomUnits", PropertyKind::OneOf(UNITS), "seconds when absent."),
        Property::new(
            "drop",
            PropertyKind::Boolean,
            "rate: drop messages that come too fast instead of queueing them.",
        ),
        Property::new("allowrate", PropertyKind::Boolean, "msg.rate (milliseconds between messages) sets the rate."),
        Property::new("outputs", PropertyKind::Number, "2: dropped messages go to the second output."),
        Property::new(
            "shared",
            PropertyKind::Boolean,
            "rate, burst: the limit is that of all replicas together; limits.shared_rates when absent.",
        ),
    ],
    capabilities: &[Capability::Store],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build };

enum Pause {
    /// Milliseconds.
    Fixed {
        ms: f64,
        by_msg: bool,
    },
    Random {
        first: f64,
        last: f64,
    },
    Rate {
        drop: bool,
    },
    Queue {
        all: bool,
    },
    Burst {
        count: f64,
        window_ms: f64,
    },
}

struct Delay {
    pause: Pause,
    /// No durable run lasts as long as any message waits here.
    outlasts_runs: bool,
    /// Milliseconds between messages, as configured.
    rate: f64,
    allow_rate: bool,
    second_output: bool,
    /// There when its limit is that of all replicas.
    shared: Option<Shared>,
    state: Arc<Mutex<State>>,
}

/// A delay as a node: what waits holds on to it.
struct DelayNode(Arc<Delay>);

struct State {
    line: Line,
    /// Milliseconds between messages, as it is now.
    rate: f64,
    /// When the last message went, or will go: the next one goes `rate` later.
    last: Option<f64>,
    /// `queue`, `timed`: ticks are counted from here.
    ticks_from: f64,
    /// `burst`: when the places of messages sent become free.
    taken_until: VecDeque<f64>,
    /// Until then all places of a shared limit are taken, as far as is known.
    full_until: f64,
}

fn build(config: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let pause_type = config.text("pauseType");
    let mut unit = |name: &str, known: &[&'static str]| {
        let text = config.text(name);
        if !text.is_empty() && !known.contains(&text.as_str()) {
            problems.push(
                config
                    .problem("unknown-option", name, format!("\"{text}\" is no unit"))
                    .expected(known.join(", "))
                    .did_you_mean(&text, known.iter().copied()),
            );
        }
        unit_ms(&text)
    };
    let (timeout_unit, random_unit, rate_unit) =
        (unit("timeoutUnits", UNITS), unit("randomUnits", UNITS), unit("rateUnits", RATE_UNITS));
    let units = config.number("nbRateUnits").filter(|n| *n > 0.0).unwrap_or(1.0);
    let per_time = config.number("rate").filter(|n| *n > 0.0);
    if per_time.is_none() && matches!(pause_type.as_str(), "rate" | "queue" | "timed" | "burst") {
        let text = config.text("rate");
        problems.push(
            config
                .problem("invalid-rate", "rate", format!("\"{text}\" messages per time is no rate"))
                .expected("a number above 0"),
        );
    }
    let ms = |name: &str, unit: f64| (config.number(name).unwrap_or(0.0) * unit).max(0.0);
    let pause = match pause_type.as_str() {
        "delay" | "delayv" => Pause::Fixed { ms: ms("timeout", timeout_unit), by_msg: pause_type == "delayv" },
        "random" => Pause::Random { first: ms("randomFirst", random_unit), last: ms("randomLast", random_unit) },
        "rate" => Pause::Rate { drop: config.flag("drop") },
        "queue" => Pause::Queue { all: false },
        "timed" => Pause::Queue { all: true },
        "burst" => Pause::Burst { count: per_time.unwrap_or(1.0), window_ms: units * rate_unit },
        other => {
            problems.push(
                config
                    .problem("unknown-option", "pauseType", format!("\"{other}\" is no kind of delay"))
                    .expected(PAUSES.join(", "))
                    .did_you_mean(other, PAUSES.iter().copied()),
            );
            Pause::Rate { drop: false }
        }
    };
    if !problems.is_empty() {
        return Err(problems);
    }
    let rate = rate_unit * units / per_time.unwrap_or(1.0);
    let state = State {
        line: Line::default(),
        rate,
        last: None,
        ticks_from: config.services.clock.now_ms(),
        taken_until: VecDeque::new(),
        full_until: 0.0,
    };
    let shortest = match pause {
        Pause::Fixed { ms, by_msg: false } => ms,
        Pause::Random { first, last } => first.min(last),
        _ => 0.0,
    };
    let shared = match pause {
        Pause::Rate { .. } | Pause::Burst { .. } => Shared::of(config),
        _ => None,
    };
    let delay = Delay {
        pause,
        outlasts_runs: shortest >= config.services.limits.durable_run_ms_max as f64,
        rate,
        allow_rate: config.flag("allowrate"),
        second_output: config.number("outputs") == Some(2.0),
        shared,
        state: Arc::new(Mutex::new(state)),
    };
    Ok(Arc::new(DelayNode(Arc::new(delay))))
}

fn unit_ms(unit: &str) -> f64 {
    match unit {
        "milliseconds" => 1.0,
        "minute" | "minutes" => 60_000.0,
        "hour" | "hours" => 3_600_000.0,
        "day" | "days" => 86_400_000.0,
        _ => 1_000.0,
    }
}

/// Properties besides `_msgid`.
fn own_keys(msg: &Msg) -> usize {
    msg.object().keys().filter(|k| *k != "_msgid").count()
}

/// How many a `msg.flush` lets go.
fn flush_count(flush: &Value) -> usize {
    flush.as_f64().map_or(usize::MAX, |n| n.max(0.0) as usize)
}

fn too_many(max: usize) -> String {
    format!("too many pending messages in delay node: {max} (node_messages_max); all dropped")
}

impl Delay {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|p| p.into_inner())
    }

    /// Waits for its turn in its own run, or leaves the run when that may not last so long.
    fn stand(self: &Arc<Self>, msg: Msg, place: Place, due: f64, cx: &mut Cx<'_>) -> Step {
        let max = cx.services().limits.node_messages_max;
        let now = cx.clock().now_ms();
        let wait = Duration::try_from_secs_f64((due - now).max(0.0) / 1000.0).unwrap_or(Duration::MAX);
        let leaves = wait >= cx.time_left();
        let joined = {
            let mut state = self.state();
            if state.line.len() >= max {
                Err(state.line.clear(Turn::TooMany))
            } else {
                Ok(state.line.join(place, due, msg.clone(), (!leaves).then(|| cx.run_id())))
            }
        };
        self.show_depth(cx);
        match joined {
            Err(left_their_runs) => {
                left_their_runs.into_iter().for_each(|msg| cx.error(msg, too_many(max)));
                Step::fail(msg, too_many(max))
            }
            Ok(Joined { id, turn, replaced }) => {
                if let Some(replaced) = replaced.filter(|_| self.second_output) {
                    cx.emit(1, replaced);
                }
                match turn {
                    Some(turn) => self.wait(msg, id, turn, cx),
                    None => {
                        come_back(id, wait, cx);
                        Step::Done
                    }
                }
            }
        }
    }

    fn wait(self: &Arc<Self>, msg: Msg, id: u64, turn: tokio::sync::watch::Receiver<Turn>, cx: &Cx<'_>) -> Step {
        let (clock, delay, mut turn) = (cx.clock(), self.clone(), turn);
        let leaving = Leaving { state: self.state.clone(), id };
        // A shared limit may put its turn off for longer than the run may last.
        let run_ends = cx.clock().now_ms() + cx.time_left().as_secs_f64() * 1000.0;
        Step::wait(async move {
            let mut too_late = None;
            loop {
                // Bound first: the borrow must end before the wait.
                let told = *turn.borrow_and_update();
                let Turn::At(due) = told else { break };
                if delay.shared.is_some() && due >= run_ends {
                    too_late = Some(due);
                    break;
                }
                let due = Timestamp::from_millisecond(due.ceil() as i64).unwrap_or(Timestamp::MAX);
                tokio::select! {
                    biased;
                    changed = turn.changed() => if changed.is_err() { break },
                    () = clock.sleep_until(due) => {
                        let waits = delay.state().line.is_leaving(id);
                        if !waits || turn.changed().await.is_err() {
                            break;
                        }
                    }
                }
            }
            Box::new(move |cx: &mut Cx<'_>| {
                if let Some(due) = too_late
                    && delay.state().line.leave_run(id)
                {
                    come_back(id, until(due, cx), cx);
                    return Step::Done;
                }
                let due = delay.state().line.go(id);
                // Let go in the instant in which its time came, or told so: then others may still be before it.
                let let_go = due.is_none() && delay.state().line.is_leaving(id);
                let told = *turn.borrow();
                let step = match (due, told) {
                    (Some(due), _) => delay.send(due, cx),
                    (None, _) if let_go => {
                        cx.emit(0, msg);
                        Step::Done
                    }
                    (None, Turn::Replaced) if delay.second_output => {
                        cx.emit(1, msg);
                        Step::Done
                    }
                    (None, Turn::TooMany) => Step::fail(msg, too_many(cx.services().limits.node_messages_max)),
                    (None, _) => Step::Done,
                };
                drop(leaving);
                step
            }) as Then
        })
    }

    /// Sends messages whose time has come; by a shared limit when there is a place for them.
    fn send(self: &Arc<Self>, due: Vec<Msg>, cx: &mut Cx<'_>) -> Step {
        match &self.shared {
            Some(shared) => self.pass(shared, due.into(), cx),
            None => {
                due.into_iter().for_each(|msg| cx.emit(0, msg));
                Step::Done
            }
        }
    }

    fn show_depth(&self, cx: &mut Cx<'_>) {
        let depth = self.state().line.len();
        cx.status(Status { fill: Some("blue".into()), shape: Some("dot".into()), text: depth.to_string().into() });
    }

    /// Drops what waits and starts anew.
    fn reset(&self, cx: &mut Cx<'_>) {
        {
            let mut state = self.state();
            state.line.clear(Turn::Dropped);
            state.rate = self.rate;
            state.last = None;
            state.full_until = 0.0;
        }
        cx.status(Status { fill: Some("blue".into()), shape: Some("ring".into()), text: "0".into() });
    }

    fn release(&self, n: usize, cx: &mut Cx<'_>) {
        let released = self.state().line.release(n);
        for msg in released {
            cx.emit(0, msg);
        }
        self.show_depth(cx);
    }

    /// `delay`, `delayv`, `random`.
    fn hold_back(self: &Arc<Self>, msg: Msg, ms: f64, cx: &mut Cx<'_>) -> Step {
        if msg.object().contains_key("reset") {
            self.reset(cx);
            return Step::Done;
        }
        let flush = msg.get("flush").cloned();
        let step = match &flush {
            Some(_) if own_keys(&msg) == 1 => Step::Done,
            _ => {
                let wait = Duration::try_from_secs_f64(ms / 1000.0).unwrap_or(Duration::MAX);
                let later = if wait >= cx.time_left() { cx.emit_durably_later(&msg, wait) } else { None };
                match later {
                    Some(later) => later,
                    None => {
                        let due = cx.clock().now_ms() + ms;
                        self.stand(msg, Place::Back, due, cx)
                    }
                }
            }
        };
        if let Some(flush) = flush {
            self.release(flush_count(&flush), cx);
        }
        step
    }

    /// Takes over `msg.rate`, if that may be; true when it changed.
    fn take_rate(&self, msg: &Msg) -> bool {
        let given = msg.get("rate").map(|r| parse_float(&r.to_js_string())).filter(|r| *r > 0.0 && self.allow_rate);
        let mut state = self.state();
        given.is_some_and(|rate| std::mem::replace(&mut state.rate, rate) != rate)
    }

    fn rate_limit(self: &Arc<Self>, mut msg: Msg, cx: &mut Cx<'_>) -> Step {
        let now = cx.clock().now_ms();
        let flush = msg.remove("flush");
        let reset = msg.object().contains_key("reset").then(|| msg.clone());
        let mut step = Step::Done;
        if own_keys(&msg) > 0 && reset.is_none() {
            let changed = self.take_rate(&msg);
            let due = {
                let mut state = self.state();
                let rate = state.rate;
                if changed && state.line.len() > 0 {
                    state.line.give_dues(|i| now + rate * (i + 1) as f64);
                    state.last = state.line.last_due();
                }
                let due = state.last.map_or(now, |last| (last + rate).max(now));
                state.last = Some(due);
                due
            };
            if due <= now {
                step = self.send(vec![msg], cx);
            } else {
                let front = msg.get("toFront") == Some(&Value::Bool(true));
                step = self.stand(msg, if front { Place::Front } else { Place::Back }, due, cx);
            }
        }
        if let Some(flush) = &flush {
            self.release(flush_count(flush), cx);
            let mut state = self.state();
            let rate = state.rate;
            state.line.give_dues(|i| now + rate * (i + 1) as f64);
            state.last = state.line.last_due().or(Some(now));
        }
        if let Some(msg) = reset {
            self.reset(cx);
            step = self.free_places(msg, cx);
        }
        step
    }

    fn drop_excess(self: &Arc<Self>, msg: Msg, cx: &mut Cx<'_>) -> Step {
        if msg.object().contains_key("reset") {
            self.reset(cx);
            return self.free_places(msg, cx);
        }
        self.take_rate(&msg);
        let now = cx.clock().now_ms();
        let goes = {
            let mut state = self.state();
            let goes = state.last.is_none_or(|last| now - last > state.rate) && now >= state.full_until;
            if goes && self.shared.is_none() {
                state.last = Some(now);
            }
            goes
        };
        let rate = self.state().rate;
        if goes && let Some(asked) = self.pass_or_drop(&msg, 1, rate, cx) {
            return asked;
        }
        self.let_go(msg, goes, cx);
        Step::Done
    }

    /// Sends a message on, or drops it; a burst says so.
    fn let_go(&self, msg: Msg, goes: bool, cx: &mut Cx<'_>) {
        if matches!(self.pause, Pause::Burst { .. }) {
            let (fill, shape) = if goes { ("green", "ring") } else { ("red", "dot") };
            cx.status(Status { fill: Some(fill.into()), shape: Some(shape.into()), ..Status::default() });
        }
        match goes {
            true => cx.emit(0, msg),
            false if self.second_output => cx.emit(1, msg),
            false => {}
        }
    }

    fn burst(self: &Arc<Self>, msg: Msg, count: f64, window_ms: f64, cx: &mut Cx<'_>) -> Step {
        let now = cx.clock().now_ms();
        if msg.object().contains_key("reset") {
            {
                let mut state = self.state();
                state.taken_until.clear();
                state.full_until = 0.0;
            }
            return self.free_places(msg, cx);
        }
        if self.shared.is_some() {
            let full = now < self.state().full_until;
            let asked = if full { None } else { self.pass_or_drop(&msg, count.ceil() as u32, window_ms, cx) };
            return asked.unwrap_or_else(|| {
                self.let_go(msg, false, cx);
                Step::Done
            });
        }
        let goes = {
            let mut state = self.state();
            while state.taken_until.front().is_some_and(|until| *until <= now) {
                state.taken_until.pop_front();
            }
            let goes = (state.taken_until.len() as f64) < count;
            if goes {
                state.taken_until.push_back(now + window_ms);
            }
            goes
        };
        self.let_go(msg, goes, cx);
        Step::Done
    }

    fn queue(self: &Arc<Self>, mut msg: Msg, all: bool, cx: &mut Cx<'_>) -> Step {
        let now = cx.clock().now_ms();
        if self.take_rate(&msg) {
            let mut state = self.state();
            let rate = state.rate;
            state.ticks_from = now;
            state.line.give_dues(|i| now + rate * if all { 1.0 } else { (i + 1) as f64 });
        }
        let (flush, reset) = (msg.get("flush").cloned(), msg.object().contains_key("reset"));
        let mut step = Step::Done;
        if own_keys(&msg) > usize::from(flush.is_some()) + usize::from(reset) {
            if !msg.object().contains_key("topic") {
                msg.set(literal!("topic"), "_none_");
            }
            let topic = msg.get("topic").cloned().unwrap_or_default();
            let due = {
                let state = self.state();
                let next = state.ticks_from + ((now - state.ticks_from) / state.rate + 1.0).floor() * state.rate;
                match state.line.last_due() {
                    Some(last) if !all => (last + state.rate).max(next),
                    _ => next,
                }
            };
            step = self.stand(msg, Place::Topic(topic), due, cx);
        }
        if let Some(flush) = flush {
            self.release(flush_count(&flush), cx);
        }
        if reset {
            self.reset(cx);
        }
        step
    }
}

/// A message that waits: when it has gone, or its run has ended, the next that was let go may go.
struct Leaving {
    state: Arc<Mutex<State>>,
    id: u64,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.state.lock().unwrap_or_else(|p| p.into_inner()).line.left(self.id);
    }
}

/// How long it is until an instant, milliseconds since the epoch.
fn until(due: f64, cx: &Cx<'_>) -> Duration {
    Duration::try_from_secs_f64((due - cx.clock().now_ms()).max(0.0) / 1000.0).unwrap_or(Duration::MAX)
}

/// Asks to be handed the ticket when its time has come.
fn come_back(id: u64, after: Duration, cx: &mut Cx<'_>) {
    let mut msg = Msg::from_object(Object::new());
    msg.set(literal!("_ticket"), Value::handle(Returned(id)));
    cx.deliver_later(after, msg);
}

impl Node for DelayNode {
    fn effect(&self) -> Effect {
        // What waits longer than any run may last is committed as a run of its own; its number says which.
        if self.0.outlasts_runs { Effect::Repeatable } else { Effect::None }
    }

    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        let DelayNode(delay) = self;
        if let Some(Returned(id)) = msg.get("_ticket").and_then(|t| t.as_handle::<Returned>()) {
            let returned = delay.state().line.returned(*id, cx.clock().now_ms());
            return match returned {
                Some(Ok(msg)) => delay.send(vec![msg], cx),
                Some(Err(ms)) => {
                    come_back(*id, Duration::from_secs_f64(ms / 1000.0), cx);
                    Step::Done
                }
                None => Step::Done,
            };
        }
        match &delay.pause {
            Pause::Fixed { ms, by_msg } => {
                let given = msg
                    .get("delay")
                    .filter(|_| *by_msg)
                    .map(|d| parse_float(&d.to_js_string()))
                    .filter(|n| !n.is_nan());
                let ms = given.map_or(*ms, |n| n.max(0.0));
                delay.hold_back(msg, ms, cx)
            }
            Pause::Random { first, last } => {
                let ms = first + (last - first) * fastrand::f64();
                delay.hold_back(msg, ms, cx)
            }
            Pause::Rate { drop: false } => delay.rate_limit(msg, cx),
            Pause::Rate { drop: true } => delay.drop_excess(msg, cx),
            Pause::Queue { all } => delay.queue(msg, *all, cx),
            Pause::Burst { count, window_ms } => delay.burst(msg, *count, *window_ms, cx),
        }
    }
}

#[cfg(test)]
mod tests;
