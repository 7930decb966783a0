//! State of nodes that combine messages. What one caller's messages build up belongs to that caller's run; what
//! nobody waits for belongs to the node, across runs, as in Node-RED.

use std::sync::Mutex;

use crate::model::{Msg, Value};
use crate::runtime::{Cx, NodeState};

/// State of a node, or of the node in one run when that run has a caller. Two callers never share it.
#[derive(Default)]
pub(super) struct Combining<T>(Mutex<T>);

impl<T: NodeState + Default> Combining<T> {
    /// Works on the state that this run's messages belong to.
    pub(super) fn with<R>(&self, cx: &mut Cx<'_>, work: impl FnOnce(&mut T) -> R) -> R {
        if cx.has_caller() {
            work(cx.run_state::<T>())
        } else {
            work(&mut self.0.lock().unwrap_or_else(|p| p.into_inner()))
        }
    }
}

/// Messages as a durable run keeps them.
pub(super) fn kept_msgs<'a>(msgs: impl IntoIterator<Item = &'a Msg>) -> Value {
    Value::array(msgs.into_iter().map(Msg::to_value).collect())
}

/// What [`kept_msgs`] kept.
pub(super) fn restored_msgs(kept: &Value) -> Vec<Msg> {
    kept.as_array().unwrap_or_default().iter().filter_map(Msg::from_value).collect()
}
