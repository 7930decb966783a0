//! A run: one activation of a flow or one evaluation, why it happened and how it went.

use arcstr::ArcStr;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::RunId;
use super::call::CallRecord;

/// Why a run happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Trigger {
    Http {
        method: String,
        path: String,
    },
    Cron {
        schedule: String,
        due_at: Timestamp,
    },
    Inject {
        node: String,
    },
    Event {
        node: String,
    },
    /// By a person or a program: CLI, API.
    Manual {
        by: String,
    },
    /// A collector call: a flow computes a metric for an evaluation.
    Metric {
        evaluation: RunId,
    },
    /// Emitted after its run had ended.
    Linked {
        run: RunId,
        /// That run had a caller: what this one combines stays apart from other callers', too.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        caller: bool,
    },
}

impl Trigger {
    /// True when somebody waits for this activation (or waited for the one it goes on from), so that combining state belongs to the run, not the node.
    pub fn has_caller(&self) -> bool {
        !matches!(self, Trigger::Inject { .. } | Trigger::Event { .. } | Trigger::Linked { caller: false, .. })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    Running,
    Done,
    Failed,
    /// Ended by `run_ms_max`, by cancel or by shutdown.
    Stopped,
}

impl RunState {
    pub fn as_str(self) -> &'static str {
        match self {
            RunState::Running => "running",
            RunState::Done => "done",
            RunState::Failed => "failed",
            RunState::Stopped => "stopped",
        }
    }

    pub fn parse(s: &str) -> Option<Self> {
        [RunState::Running, RunState::Done, RunState::Failed, RunState::Stopped].into_iter().find(|v| v.as_str() == s)
    }
}

/// What is kept of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    pub id: RunId,
    /// Flow id for a flow run, agreement id for an evaluation.
    pub subject: String,
    pub trigger: Trigger,
    pub state: RunState,
    pub started_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// SHA-256 of what ran: flow file or agreement.
    pub version: String,
    /// Messages delivered to nodes.
    pub hops: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<RunError>,
    /// The first steps, at most `trace_steps_max`.
    pub trace: Vec<TraceStep>,
    /// Steps beyond those kept.
    pub trace_dropped: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunError {
    pub node: String,
    pub node_type: String,
    pub message: String,
}

/// One delivery of a message to a node (flow runs) or one step of an evaluation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TraceStep {
    /// Microseconds since the run started.
    pub at_us: u64,
    pub node: ArcStr,
    pub node_type: ArcStr,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Messages it emitted while handling this one.
    pub emitted: u32,
    /// How long the node took over it, microseconds, without what it waited for; only of runs that are looked at closely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_us: Option<u64>,
    /// The message it was given; only of runs whose messages are kept. A step that goes on after a wait has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Captured>,
    /// What it sent, in order; as long as there was room.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sent: Vec<Sent>,
    /// What happened, for evaluations and errors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What the node attached as evidence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Attached>,
    /// Calls of a deterministic plugin, recorded so that they can be replayed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<CallRecord>,
    /// Calls of the whole run that were not recorded for want of room; on its last step.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub calls_cut: u64,
}

/// Stands for a secret in what is kept.
pub const MASK: &str = "•••";

/// A message as it was kept for a trace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Captured {
    pub msg: serde_json::Value,
    /// Something was left out for want of room.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
    /// Secrets were masked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub masked: bool,
}

/// A message that a step sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    pub port: u32,
    #[serde(flatten)]
    pub msg: Captured,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// A fact that a node attached to its run, and who says so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attached {
    /// UUID.
    pub id: String,
    pub key: String,
    pub value: serde_json::Value,
    /// What the node concluded from it; absent when nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<bool>,
    pub at: Timestamp,
    /// The plugin that attached it: `name@version`, and the digest of its code.
    pub plugin: ArcStr,
    pub digest: ArcStr,
}
