//! State of nodes that combine messages. What one caller's messages build up belongs to that caller's run; what
//! nobody waits for belongs to the node, across runs, as in Node-RED. Sequences that a durable run makes though nobody waits
//! for it belong to the run until it ends, so that a crash does not lose them; the node gets what is then not whole.

use std::sync::{Mutex, MutexGuard};

use crate::model::{Msg, Object, Value};
use crate::runtime::{Cx, NodeError, NodeState, Step};

/// State of a node, or of the node in one run when that run has a caller. Two callers never share it.
#[derive(Default)]
pub(super) struct Combining<T>(Mutex<T>);

impl<T: NodeState + Default> Combining<T> {
    /// Works on the state that this run's messages belong to.
    pub(super) fn with<R>(&self, cx: &mut Cx<'_>, work: impl FnOnce(&mut T) -> R) -> R {
        if cx.has_caller() { work(cx.run_state::<T>()) } else { work(&mut self.of_node()) }
    }

    fn of_node(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(|p| p.into_inner())
    }
}

/// What a node holds of sequences that are not whole.
pub(super) trait Sequences: NodeState + Default {
    /// Whether some of this sequence is held.
    fn holds(&self, id: &str) -> bool;
}

impl<T: Sequences> Combining<T> {
    /// Works on the state that this sequence belongs to.
    pub(super) fn with_sequence<R>(&self, id: &str, cx: &mut Cx<'_>, work: impl FnOnce(&mut T) -> R) -> R {
        if !cx.has_sequence(id) {
            return self.with(cx, work);
        }
        let mut of_node = self.of_node();
        if of_node.holds(id) {
            return work(&mut of_node);
        }
        drop(of_node);
        cx.at_run_end();
        work(cx.run_state::<T>())
    }

    /// At the end of a run that nobody waits for: the node takes over what the run holds. `join` puts the second, the run's,
    /// to the first, the node's.
    pub(super) fn hand_over<R>(&self, cx: &mut Cx<'_>, join: impl FnOnce(&mut T, T) -> R) -> R {
        let of_run = std::mem::take(cx.run_state::<T>());
        join(&mut self.of_node(), of_run)
    }
}

/// The property that holds what [`again`] keeps.
const AGAIN: &str = "_sequence";

/// Messages that failed together and that the node does not hold any more.
pub(super) struct FailedSequence {
    pub msgs: Vec<Msg>,
    /// Those of them that complete nodes are told of once it has succeeded.
    pub untold: Vec<Msg>,
    pub error: NodeError,
}

/// Fails with these; with none it is done. A durable run whose failures are tried again ([`Cx::is_tried_again`])
/// gives the node all of them again, in one message that [`given_again`] takes apart: the last message of a sequence alone
/// would wait for the others for ever.
pub(super) fn again(mut failed: Vec<FailedSequence>, cx: &mut Cx<'_>) -> Step {
    if failed.is_empty() {
        return Step::Done;
    }
    cx.resume_with(|| {
        let kept = failed.iter().map(|of| Value::array(vec![kept_msgs(&of.msgs), kept_msgs(&of.untold)]));
        let mut msg = Msg::from_object(Object::new());
        msg.set(AGAIN, Value::array(kept.collect()));
        Some(msg)
    });
    let FailedSequence { mut msgs, error, .. } = failed.swap_remove(failed.len() - 1);
    Step::fail(msgs.pop().unwrap_or_default(), error)
}

/// The sequences that failed, and who is to be told of each, when this is what a durable run gives again of them.
pub(super) fn given_again(msg: &Msg, cx: &Cx<'_>) -> Option<Vec<(Vec<Msg>, Vec<Msg>)>> {
    // A message has nothing but its id beside it.
    let kept = msg.get(AGAIN).filter(|_| cx.is_resumed() && msg.object().len() <= 2)?.as_array()?;
    Some(kept.iter().map(|kept| (restored_msgs(&kept.get("0")), restored_msgs(&kept.get("1")))).collect())
}

/// Fails the message with which a node came to hold too many and dropped them all. It is not tried again: a durable run ends
/// as failed, instead of as done without what was dropped.
pub(super) fn dropped(msg: Msg, why: impl Into<NodeError>, cx: &mut Cx<'_>) -> Step {
    cx.resume_with(|| None);
    Step::fail(msg, why)
}

/// Messages as a durable run keeps them.
pub(super) fn kept_msgs<'a>(msgs: impl IntoIterator<Item = &'a Msg>) -> Value {
    Value::array(msgs.into_iter().map(Msg::to_value).collect())
}

/// What [`kept_msgs`] kept.
pub(super) fn restored_msgs(kept: &Value) -> Vec<Msg> {
    kept.as_array().unwrap_or_default().iter().filter_map(Msg::from_value).collect()
}

#[cfg(test)]
mod tests;
