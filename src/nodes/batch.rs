//! `batch`: groups messages into sequences: so many each, all of an interval, or sequences joined end to end.
//!
//! Behaviour: Node-RED's `19-batch.js`. What one caller's messages build up belongs to that caller's run.

mod concat;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arcstr::{ArcStr, literal};
use tokio::sync::watch;

use super::combining::{Combining, dropped, kept_msgs, restored_msgs};
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::model::run::Trigger;
use crate::model::value::Handle;
use crate::model::{Diagnostic, Msg, Object, Value, id};
use crate::runtime::{Cx, Node, NodeConfig, NodeState, NodeType, Source, Step, Then};
use concat::Concat;

static SPEC: NodeSpec = NodeSpec {
    node_type: "batch",
    category: "sequence",
    summary: "Groups messages into sequences by number, by time, or by joining sequences.",
    inputs: 1,
    outputs: Some(1),
    config_node: false,
    properties: &[
        Property::new("mode", PropertyKind::OneOf(&["count", "interval", "concat"]), "count when absent."),
        Property::new("count", PropertyKind::Number, "count: messages per sequence, from 1."),
        Property::new("overlap", PropertyKind::Number, "count: how many each sequence repeats of the one before."),
        Property::new(
            "honourParts",
            PropertyKind::Boolean,
            "count: the last message of a sequence ends the group, too.",
        ),
        Property::new("interval", PropertyKind::Number, "interval: seconds."),
        Property::new(
            "allowEmptySequence",
            PropertyKind::Boolean,
            "interval: a message without payload when none came.",
        ),
        Property::new("topics", PropertyKind::Json, "concat: [{topic}], in the order their sequences are joined."),
    ],
    capabilities: &[],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build };

enum Mode {
    Count { count: usize, overlap: usize, honour_parts: bool },
    Interval { period: Option<Duration>, allow_empty: bool },
    Concat(Vec<Value>),
}

struct Batch {
    mode: Mode,
    id: ArcStr,
    pending: Arc<Combining<Pending>>,
    /// Told when the interval is to start anew.
    restarted: watch::Sender<()>,
}

/// What waits to become a sequence.
#[derive(Default)]
struct Pending {
    msgs: VecDeque<Msg>,
    concat: Concat,
    /// A caller's run waits for the end of the interval.
    waits: bool,
}

impl NodeState for Pending {
    fn kept(&self) -> Option<Value> {
        let kept = || Value::array(vec![kept_msgs(&self.msgs), self.concat.kept()]);
        (!self.msgs.is_empty() || self.concat.held() > 0).then(kept)
    }

    /// The wait for the end of the interval begins anew by itself.
    fn restored(kept: &Value) -> Option<Self> {
        let msgs = restored_msgs(&kept.get("0")).into();
        Some(Pending { msgs, concat: Concat::restored(&kept.get("1")), waits: false })
    }
}

fn build(cfg: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let number = |name: &str, default: f64| cfg.number(name).filter(|n| *n > 0.0).unwrap_or(default);
    let mode = match cfg.text("mode").as_str() {
        "" | "count" => {
            // What is no positive number is a mistake, nothing at all is the default.
            let given = cfg.get("count");
            let n = given.to_number();
            if given.is_truthy() && (n.is_nan() || n <= 0.0) {
                let what = format!("a sequence of {} messages is none", given.to_js_string());
                return Err(vec![cfg.problem("invalid-count", "count", what).expected("1 or more")]);
            }
            let (count, overlap) = (number("count", 1.0) as usize, number("overlap", 0.0) as usize);
            if count <= overlap {
                let what = format!("a sequence of {count} message(s) cannot repeat {overlap}");
                return Err(vec![cfg.problem("invalid-overlap", "overlap", what).expected("less than count")]);
            }
            Mode::Count { count, overlap, honour_parts: cfg.get("honourParts").is_truthy() }
        }
        "interval" => Mode::Interval {
            period: cfg.number("interval").filter(|s| *s > 0.0).and_then(|s| Duration::try_from_secs_f64(s).ok()),
            allow_empty: cfg.get("allowEmptySequence").is_truthy(),
        },
        "concat" => {
            Mode::Concat(cfg.get("topics").as_array().unwrap_or_default().iter().map(|t| t.get("topic")).collect())
        }
        other => {
            let problem = cfg.problem("unknown-option", "mode", format!("\"{other}\" is no way to batch"));
            let known = ["count", "interval", "concat"];
            return Err(vec![problem.expected("count, interval or concat").did_you_mean(other, known)]);
        }
    };
    Ok(Arc::new(Batch { mode, id: cfg.node.id.clone(), pending: Arc::default(), restarted: watch::channel(()).0 }))
}

/// Makes one sequence of these messages; its id is the first one's. The node is done with all but the last `repeated`.
fn send(msgs: impl ExactSizeIterator<Item = Msg>, repeated: usize, cx: &mut Cx<'_>) {
    let count = msgs.len();
    let mut sequence = None;
    let mut done = Vec::new();
    for (index, mut msg) in msgs.enumerate() {
        let sequence = sequence.get_or_insert_with(|| msg.get("_msgid").cloned().unwrap_or_default());
        let parts = msg.object_mut().entry_mut(&literal!("parts"));
        if !matches!(parts, Value::Object(_)) {
            *parts = Object::with_capacity(3).into();
        }
        if let Value::Object(parts) = parts {
            let parts = Arc::make_mut(parts);
            parts.insert(literal!("id"), sequence.clone());
            parts.insert(literal!("index"), index);
            parts.insert(literal!("count"), count);
        }
        if cx.is_heard() && index + repeated < count {
            done.push(msg.clone());
        }
        cx.emit(0, msg);
    }
    done.iter().for_each(|msg| cx.done(msg));
}

/// The end of an interval; travels in a message of its own.
struct Tick;

impl Handle for Tick {
    fn kind(&self) -> &'static str {
        "tick"
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

const TICK: ArcStr = literal!("_batchTick");

/// Marks what the node is given when a durable run is gone on with while it waited for the end of an interval.
const WAITS_AGAIN: ArcStr = literal!("_batchWaits");

fn tick() -> Msg {
    let mut msg = Msg::from_object(Object::new());
    msg.set(TICK, Value::handle(Tick));
    msg
}

impl Batch {
    fn too_many(&self, msg: Msg, cx: &mut Cx<'_>) -> Option<Step> {
        let max = cx.services().limits.node_messages_max;
        let overflows = self.pending.with(cx, |pending| {
            let overflows = pending.msgs.len() + pending.concat.held() > max;
            if overflows {
                *pending = Pending { waits: pending.waits, ..Pending::default() };
            }
            overflows
        });
        overflows
            .then(|| dropped(msg, format!("too many pending messages in batch node: more than {max}; all dropped"), cx))
    }

    fn count(&self, msg: Msg, (count, overlap, honour_parts): (usize, usize, bool), cx: &mut Cx<'_>) -> Step {
        let ends = honour_parts
            && msg.get("parts").is_some_and(|p| p.get("index").to_number() + 1.0 == p.get("count").to_number());
        let last = msg.clone();
        let group = self.pending.with(cx, |pending| {
            pending.msgs.push_back(msg);
            (pending.msgs.len() == count || ends).then(|| {
                let rest = pending.msgs.len().saturating_sub(overlap);
                let kept: VecDeque<Msg> =
                    pending.msgs.iter().skip(if overlap > 0 { rest } else { usize::MAX }).cloned().collect();
                std::mem::replace(&mut pending.msgs, kept)
            })
        });
        if let Some(group) = group {
            send(group.into_iter(), overlap, cx);
        }
        self.too_many(last, cx).unwrap_or(Step::Done)
    }

    /// Sends what came in the interval that ends now.
    fn interval_ends(pending: &Combining<Pending>, allow_empty: bool, cx: &mut Cx<'_>) {
        let msgs = pending.with(cx, |pending| std::mem::take(&mut pending.msgs));
        if !msgs.is_empty() {
            send(msgs.into_iter(), 0, cx);
        } else if allow_empty {
            let mut msg = Msg::with_payload(Value::Null);
            let parts: Object = [("id", id::hex16().into()), ("index", Value::from(0)), ("count", Value::from(1))]
                .into_iter()
                .collect();
            msg.set(literal!("parts"), parts);
            cx.emit(0, msg);
        }
    }

    fn interval(&self, msg: Msg, period: Option<Duration>, cx: &mut Cx<'_>) -> Step {
        let last = msg.clone();
        let again = cx.is_resumed() && msg.object().contains_key(WAITS_AGAIN.as_str());
        let waits = self.pending.with(cx, |pending| {
            if !again {
                pending.msgs.push_back(msg);
            }
            std::mem::replace(&mut pending.waits, true)
        });
        if let Some(step) = self.too_many(last, cx) {
            return step;
        }
        cx.resume_with(|| {
            let mut msg = Msg::from_object(Object::new());
            msg.set(WAITS_AGAIN, true);
            (!waits).then_some(msg)
        });
        // Somebody waits for this run, so its messages cannot leave with the node's next tick in another one.
        let Some(period) = period.filter(|_| cx.has_caller() && !waits) else { return Step::Done };
        let (clock, pending) = (cx.clock(), self.pending.clone());
        Step::wait(async move {
            clock.sleep(period).await;
            Box::new(move |cx: &mut Cx<'_>| {
                pending.with(cx, |pending| pending.waits = false);
                Batch::interval_ends(&pending, false, cx);
                Step::Done
            }) as Then
        })
    }

    fn concat(&self, msg: Msg, topics: &[Value], cx: &mut Cx<'_>) -> Step {
        let last = msg.clone();
        match self.pending.with(cx, |pending| pending.concat.add(msg, topics)) {
            Err(problem) => return Step::fail(last, problem),
            Ok(Some(msgs)) => send(msgs.into_iter(), 0, cx),
            Ok(None) => {}
        }
        self.too_many(last, cx).unwrap_or(Step::Done)
    }
}

impl Node for Batch {
    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        if let (Mode::Interval { allow_empty, .. }, Some(_)) =
            (&self.mode, msg.get(&TICK).and_then(|v| v.as_handle::<Tick>()))
        {
            Batch::interval_ends(&self.pending, *allow_empty, cx);
            return Step::Done;
        }
        if msg.object().contains_key("reset") {
            let dropped = self
                .pending
                .with(cx, |pending| std::mem::replace(pending, Pending { waits: pending.waits, ..Pending::default() }));
            dropped.msgs.iter().chain(dropped.concat.msgs()).for_each(|msg| cx.done(msg));
            self.restarted.send_replace(());
            return Step::Done;
        }
        if cx.has_caller() {
            cx.at_run_end();
        }
        cx.keep();
        match &self.mode {
            Mode::Count { count, overlap, honour_parts } => self.count(msg, (*count, *overlap, *honour_parts), cx),
            Mode::Interval { period, .. } => self.interval(msg, *period, cx),
            Mode::Concat(topics) => self.concat(msg, topics, cx),
        }
    }

    /// What a caller's run leaves incomplete is gone with it, which must not go unseen.
    fn on_run_end(&self, cx: &mut Cx<'_>) -> Step {
        let held = self.pending.with(cx, |pending| pending.msgs.len() + pending.concat.held());
        let repeated = if let Mode::Count { overlap, .. } = &self.mode { *overlap } else { 0 };
        if held > repeated {
            cx.warn(format!("the run ended before a batch was full; {held} message(s) were not sent on"));
        }
        Step::Done
    }

    fn start(&self, source: Source) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        let Mode::Interval { period: Some(period), .. } = self.mode else { return None };
        let (id, mut restarted) = (self.id.clone(), self.restarted.subscribe());
        Some(Box::pin(async move {
            let clock = source.clock();
            loop {
                tokio::select! {
                    biased;
                    changed = restarted.changed() => if changed.is_err() { return },
                    () = clock.sleep(period) => {
                        if source.deliver(tick(), Trigger::Event { node: id.to_string() }).is_err() {
                            tracing::error!(node = %id, "a batch waits for the next interval: too many runs are open (runs_max)");
                        }
                    }
                }
            }
        }))
    }
}

#[cfg(test)]
mod tests;
