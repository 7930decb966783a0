//! What a node is: the trait every builtin node (and plugin) implements, and what handling a message can come to.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use arcstr::ArcStr;
use serde::Serialize;

use super::durable::Effect;
use super::{Cx, Source};
use crate::model::agreement::CatchUp;
use crate::model::{Msg, Object};

/// A node of a deployed flow. One instance serves all runs; state of an activation belongs to the run
/// ([`Cx::run_state`]), state across activations to the node itself, behind a lock.
pub trait Node: Send + Sync {
    /// Handles one message. A node that must wait returns [`Step::Wait`]; the future is polled once at once, so a
    /// ready answer keeps its place in the queue; so does one that only computes ([`super::work::gives_way`]).
    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step;

    /// Called when the run is otherwise empty, in plan order, for nodes that asked with [`Cx::at_run_end`];
    /// may emit and wait.
    fn on_run_end(&self, _cx: &mut Cx<'_>) -> Step {
        Step::Done
    }

    /// Called once the flows are deployed. A node that acts by itself (inject, mqtt) returns a future, driven by
    /// the engine until the flow stops; it opens runs with `source`.
    fn start(&self, _source: Source) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        None
    }

    /// For a config node: what the nodes that name it find by [`super::NodeConfig::shared`], a connection for example.
    fn shared(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        None
    }

    /// For a config node: what it keeps going once the flows are deployed, for all nodes that name it; driven until
    /// the flows stop.
    fn keep(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        None
    }

    /// Called when the node is stopped: replaced or removed by a deploy, or the engine ends. One that must say goodbye (a
    /// connection, an open file) returns a future, which is given `CLOSE_MS_MAX` and ends before the next nodes start.
    /// Runs still under way on the old plan may call the node afterwards.
    fn close(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        None
    }

    /// Told by the editor to show what it gets in the debug view, or not to, until it is deployed anew (`debug`).
    fn show(&self, _on: bool) {}

    /// What it does to the world outside its flow. In durable runs such a node has a durable point before and after it.
    fn effect(&self) -> Effect {
        Effect::None
    }

    /// Texts that must not be shown of messages, besides the credentials in its configuration.
    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether it may read or write contexts while it is called, given its properties. With one in the database such a node
    /// is called once there is room to wait for that. Errs on the side of yes: by default what names one in any way.
    fn asks_contexts(&self, config: &Object) -> bool {
        super::context::is_named_in(config)
    }

    /// How the world reaches this node, when it is an entry.
    fn entry(&self) -> Option<Entry> {
        None
    }
}

/// How the world reaches a flow.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// HTTP calls below `httpNodeRoot`. `method` is lower-case; `all` stands for every method.
    Http { method: ArcStr, url: ArcStr, upload: bool, skip_body_parsing: bool },
    /// A schedule, claimed once per due time.
    Schedule { cron: crate::cron::Cron, time_zone: jiff::tz::TimeZone, catch_up: CatchUp },
    /// Collector calls for the metric of this name.
    Metric { name: ArcStr },
    /// Websocket connections to a path below `httpNodeRoot`; who takes them up is in `door`.
    Websocket { path: ArcStr, door: super::sockets::Door },
}

/// What handling a message came to.
pub enum Step {
    Done,
    /// The message failed; goes to catch nodes, else the run fails.
    Fail(Box<Failure>),
    /// The run goes on with the rest of its queue and calls back with what the future gives.
    Wait(Wait),
}

/// A future a run polls on a node's behalf.
pub type Wait = Pin<Box<dyn Future<Output = Then> + Send>>;

/// What a wait ends with: called with the context of the node that waited.
pub type Then = Box<dyn FnOnce(&mut Cx<'_>) -> Step + Send>;

/// A failed message: the error and the message as catch nodes shall see it.
pub struct Failure {
    pub error: NodeError,
    pub msg: Msg,
}

impl Step {
    pub fn fail(msg: Msg, error: impl Into<NodeError>) -> Step {
        Step::Fail(Box::new(Failure { error: error.into(), msg }))
    }

    /// Waits for `future`, then calls what it gives.
    pub fn wait<F>(future: F) -> Step
    where
        F: Future<Output = Then> + Send + 'static,
    {
        Step::Wait(Box::pin(future))
    }
}

/// Why a node could not handle a message.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct NodeError {
    pub message: String,
    /// A code flows can test, for example `ETIMEDOUT`.
    pub code: Option<String>,
    /// The effect outside may have happened all the same: the answer is missing, not the deed. A node whose effect must
    /// not be repeated leaves its durable run in doubt with such an error.
    pub unsettled: bool,
}

impl NodeError {
    pub fn new(message: impl Into<String>) -> Self {
        NodeError { message: message.into(), code: None, unsettled: false }
    }

    pub fn with_code(message: impl Into<String>, code: impl Into<String>) -> Self {
        NodeError { code: Some(code.into()), ..NodeError::new(message) }
    }

    /// The same error, of which it is known or not whether the effect happened.
    pub fn unsettled(self, unsettled: bool) -> Self {
        NodeError { unsettled, ..self }
    }
}

impl From<String> for NodeError {
    fn from(message: String) -> Self {
        NodeError::new(message)
    }
}

impl From<&str> for NodeError {
    fn from(message: &str) -> Self {
        NodeError::new(message)
    }
}

/// The small coloured text under a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Status {
    /// `red`, `green`, `yellow`, `blue` or `grey`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fill: Option<ArcStr>,
    /// `ring` or `dot`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shape: Option<ArcStr>,
    pub text: ArcStr,
}
