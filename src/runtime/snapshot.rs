//! The snapshot of a durable run: written at its durable points, read when it is gone on with.
//!
//! It holds the messages in the queue and those under way, the states of nodes in this run, and how many effects each
//! node has begun. Nodes are named by their ids. [`VERSION`] is its form; an older form must stay readable.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arcstr::ArcStr;
use serde::ser::SerializeSeq;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::Cx;
use super::Deployed;
use super::durable::{Decision, Doubt, Way};
use super::exchange::Request;
use super::opening::Start;
use super::run::{Delivery, RunCore};
use crate::model::flow::NodeIndex;
use crate::model::run::{Attached, RunError};
use crate::model::trace_context::TraceParent;
use crate::model::value::kept::{self, Kept, KeptMsg};
use crate::model::{Msg, Object, RunId, Value};

/// The form of snapshots written now.
const VERSION: u32 = 1;

/// State of a node in one run ([`super::Cx::run_state`]).
pub trait NodeState: Any + Send {
    /// What is written of it at a durable point; `None` when there is nothing to write, or nothing that could be.
    fn kept(&self) -> Option<Value> {
        None
    }

    /// The state again from what was written; `None` when that cannot be.
    fn restored(_kept: &Value) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }
}

#[derive(Serialize)]
struct Written<'a> {
    v: u32,
    queue: Messages<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ways: Vec<WrittenWay<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    states: Vec<(&'a str, WrittenValue)>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    counts: BTreeMap<&'a str, u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    at_end: Vec<&'a str>,
    hops: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a RunError>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    came_with: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    evidence: Vec<(&'a str, &'a Attached)>,
    /// The caller's span: what comes after a crash is part of its trace, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
}

/// The queue.
struct Messages<'a>(Vec<(&'a str, u32, &'a Msg)>);

impl Serialize for Messages<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut seq = s.serialize_seq(Some(self.0.len()))?;
        for (node, hops, msg) in &self.0 {
            seq.serialize_element(&(node, hops, KeptMsg(msg)))?;
        }
        seq.end()
    }
}

#[derive(Serialize)]
struct WrittenWay<'a> {
    node: &'a str,
    hops: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    msg: Option<KeptMsg<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    at_end: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    effect: Option<u32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    once: bool,
}

struct WrittenValue(Value);

impl Serialize for WrittenValue {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        Kept(&self.0).serialize(s)
    }
}

fn written_way<'a>(deployed: &'a Deployed, way: &'a Way) -> WrittenWay<'a> {
    WrittenWay {
        node: &deployed.plan.nodes[way.node as usize].id,
        hops: way.hops,
        msg: way.msg.as_ref().map(KeptMsg),
        at_end: way.at_end,
        effect: way.effect,
        once: way.once,
    }
}

/// Messages stay texts until the nodes they are for are known: each is then read on its own.
#[derive(Deserialize)]
struct Read<'a> {
    v: u32,
    #[serde(borrow)]
    queue: Vec<(String, u32, &'a RawValue)>,
    #[serde(borrow, default)]
    ways: Vec<ReadWay<'a>>,
    #[serde(borrow, default)]
    states: Vec<(String, &'a RawValue)>,
    #[serde(default)]
    counts: HashMap<String, u32>,
    #[serde(default)]
    at_end: Vec<String>,
    hops: u64,
    #[serde(default)]
    error: Option<RunError>,
    #[serde(default)]
    came_with: Vec<String>,
    #[serde(default)]
    evidence: Vec<(String, Attached)>,
    #[serde(default)]
    parent: Option<String>,
}

#[derive(Deserialize)]
struct ReadWay<'a> {
    node: String,
    hops: u32,
    #[serde(borrow, default)]
    msg: Option<&'a RawValue>,
    #[serde(default)]
    at_end: bool,
    #[serde(default)]
    effect: Option<u32>,
    #[serde(default)]
    once: bool,
}

impl RunCore {
    /// What the run has come to. `failed_only`: nothing but the messages whose nodes failed, to be given to them again.
    pub(super) fn snapshot(&self, deployed: &Deployed, failed_only: bool) -> String {
        let id = |node: NodeIndex| deployed.plan.nodes[node as usize].id.as_str();
        let Some(durable) = &self.durable else { return String::new() };
        let queue = self.queue.iter().filter(|d| !failed_only && !d.msg.is_signal());
        let counts = |way: &&Way| way.msg.is_some() || way.at_end || way.effect.is_some();
        let under_way = durable.ways.iter().filter(|way| !failed_only && counts(way));
        let failed = durable.failed.iter().map(|way| written_way(deployed, way));
        let states = self.states.iter().filter_map(|(node, state)| Some((id(*node), WrittenValue(state.kept()?))));
        let saved = durable.saved.iter().map(|(node, kept)| (id(*node), WrittenValue(kept.clone())));
        let step_node = |step: &usize| self.steps.get(*step).map(|step| id(step.node()));
        let written = Written {
            v: VERSION,
            queue: Messages(queue.map(|d| (id(d.node), d.hops, &d.msg)).collect()),
            ways: failed.chain(under_way.map(|way| written_way(deployed, way))).collect(),
            states: states.chain(saved).collect(),
            counts: durable.counts.iter().map(|(node, n)| (id(*node), *n)).collect(),
            at_end: self.at_end.iter().map(|node| id(*node)).collect(),
            hops: self.hops,
            error: durable.lasting.as_ref(),
            came_with: durable.came_with.iter().map(|id| id.as_str()).collect(),
            evidence: self.evidence.iter().filter_map(|(step, e)| Some((step_node(step)?, e))).collect(),
            parent: self.parent.map(|parent| parent.to_string()),
        };
        serde_json::to_string(&written).expect("keys are texts, and no value refuses to be written")
    }

    /// Puts the run where a snapshot left it. Gives what is in doubt, when something is and nobody has decided.
    ///
    /// # Errors
    /// Why the snapshot cannot be used with this plan.
    pub(super) fn resume(
        &mut self,
        deployed: &Arc<Deployed>,
        snapshot: &str,
        decision: Option<Decision>,
    ) -> Result<Vec<Doubt>, String> {
        let read: Read<'_> =
            serde_json::from_str(snapshot).map_err(|e| format!("what was kept of the run cannot be read: {e}"))?;
        if read.v > VERSION {
            return Err(format!("it was kept by a later version of Probity (form {}, known to {VERSION})", read.v));
        }
        let places: HashMap<&str, NodeIndex> =
            deployed.plan.nodes.iter().enumerate().map(|(at, node)| (node.id.as_str(), at as NodeIndex)).collect();
        let place = |id: &str| {
            places
                .get(id)
                .copied()
                .ok_or_else(|| format!("its node \"{id}\" is not part of the flows it is to go on with"))
        };
        let doubts = read.ways.iter().filter(|way| way.once && way.effect.is_some());
        if decision.is_none() {
            let doubts: Result<Vec<Doubt>, String> =
                doubts.map(|way| Ok(doubt(deployed, self.id, place(&way.node)?, way.effect.unwrap_or(0)))).collect();
            let doubts = doubts?;
            if !doubts.is_empty() {
                return Ok(doubts);
            }
        }
        let Some(mut durable) = self.durable.take() else { return Ok(Vec::new()) };
        durable.resumed = true;
        for (id, n) in &read.counts {
            durable.counts.insert(place(id)?, *n);
        }
        for (id, kept) in &read.states {
            durable.saved.push((place(id)?, value(kept)?));
        }
        self.hops = read.hops;
        durable.lasting = read.error.clone();
        durable.came_with = read.came_with.into_iter().map(ArcStr::from).collect();
        self.error = read.error;
        self.parent = read.parent.and_then(|parent| TraceParent::parse(parent.as_bytes()));
        for id in &read.at_end {
            self.at_end.insert(place(id)?);
        }
        for (id, evidence) in read.evidence {
            let step = self.keep_step(place(&id)?);
            self.evidence.push((step, evidence));
        }
        let mut skipped = Vec::new();
        for way in &read.ways {
            let node = place(&way.node)?;
            let msg = way.msg.map(message).transpose()?;
            if way.once && decision == Some(Decision::Skip) {
                skipped.extend(msg.zip(way.effect).map(|(msg, n)| (node, way.hops, n, msg)));
                continue;
            }
            if let Some(n) = way.effect {
                durable.begun.push((node, n));
            }
            match msg {
                Some(msg) => self.queue.push_back(Delivery { node, hops: way.hops, msg }),
                None if way.at_end => drop(self.at_end.insert(node)),
                None => {}
            }
        }
        for (id, hops, msg) in read.queue {
            self.queue.push_back(Delivery { node: place(&id)?, hops, msg: message(msg)? });
        }
        self.durable = Some(durable);
        for (node, hops, n, mut msg) in skipped {
            let key = doubt(deployed, self.id, node, n).key;
            msg.set("inDoubt", [("key", Value::from(key)), ("decided", "skip".into())].into_iter().collect::<Object>());
            Cx { core: self, deployed, node, hops, emitted: 0 }.emit(0, msg);
        }
        Ok(Vec::new())
    }
}

fn doubt(deployed: &Deployed, run: RunId, node: NodeIndex, n: u32) -> Doubt {
    let node = &deployed.plan.nodes[node as usize];
    Doubt {
        node: node.id.to_string(),
        node_type: node.node_type.to_string(),
        name: node.name.to_string(),
        key: format!("{run}/{}/{n}", node.id),
    }
}

/// Writes a message as snapshots hold it, for a run that has not begun.
pub fn write_msg(msg: &Msg) -> String {
    serde_json::to_string(&KeptMsg(msg)).expect("keys are texts, and no value refuses to be written")
}

/// What stands before a message that is handed to its node.
const DELIVERED: &str = "{\"~\":\"deliver\",\"of\":";

/// Writes the first message of a run, and how it enters, for a run that has not begun.
pub fn write_start(start: Start, msg: &Msg) -> String {
    match start {
        Start::Deliver => format!("{DELIVERED}{}}}", write_msg(msg)),
        // Only the first port is ever emitted on from outside.
        Start::Emit(_) => write_msg(msg),
    }
}

/// Reads what [`write_start`] wrote; other JSON objects are messages that the node emits.
///
/// # Errors
/// When the text is no message.
pub fn read_start(text: &str) -> Result<(Start, Msg), String> {
    match text.strip_prefix(DELIVERED).and_then(|text| text.strip_suffix('}')) {
        Some(msg) => Ok((Start::Deliver, read_msg(msg)?)),
        None => Ok((Start::Emit(0), read_msg(text)?)),
    }
}

/// Reads what [`write_msg`] wrote.
///
/// # Errors
/// When the text is no message.
pub fn read_msg(text: &str) -> Result<Msg, String> {
    kept::read_msg(text, &remake).map_err(|e| format!("the message that was kept cannot be read: {e}"))
}

fn message(text: &RawValue) -> Result<Msg, String> {
    read_msg(text.get())
}

fn value(text: &RawValue) -> Result<Value, String> {
    kept::read(text.get(), &remake).map_err(|e| format!("a state that was kept cannot be read: {e}"))
}

/// Handles that outlive their process.
fn remake(kind: &str, data: &Object) -> Option<Value> {
    (kind == "request").then(|| Request::from_kept(data)).flatten().map(Value::handle)
}
