//! An answer of a datasource as messages: whole, or in parts as `split` makes them.

use crate::datasource::Answer;
use crate::model::{Msg, Object, Value, id};
use crate::runtime::{Cx, NodeError, Step, Then};

/// How an answer leaves the node.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Shape {
    /// All rows in one message.
    Whole,
    /// A message for each batch, with `parts`; the last one says how many there were. No rows are one empty batch.
    Parts,
}

/// Emits the answer as it comes: the next batch is fetched when the run has worked through the last one. An error ends
/// it; the last part is then missing, so that nobody takes what came for the whole.
pub(super) fn deliver(answer: Answer, msg: Msg, shape: Shape) -> Step {
    next(answer, msg, shape, id::hex16(), 0)
}

fn next(mut answer: Answer, msg: Msg, shape: Shape, id: arcstr::ArcStr, index: usize) -> Step {
    Step::wait(async move {
        let batch = answer.recv().await;
        Box::new(move |cx: &mut Cx<'_>| match batch {
            Some(Ok(batch)) => {
                let mut out = msg.clone();
                if shape == Shape::Parts {
                    let mut parts = Object::with_capacity(4);
                    parts.insert("id", id.clone());
                    parts.insert("type", "array");
                    parts.insert("index", index);
                    parts.insert("len", batch.rows.len());
                    if batch.last {
                        parts.insert("count", index + 1);
                    }
                    // An answer in parts may itself be asked for by a part.
                    if let Some(outer) = msg.get("parts") {
                        parts.insert("parts", outer.clone());
                    }
                    out.remove("_msgid");
                    out.set("parts", parts);
                }
                if batch.last
                    && let Some(changed) = batch.changed
                {
                    out.set("rowsChanged", changed as f64);
                }
                out.set("payload", Value::array(batch.rows));
                cx.emit(0, out);
                if batch.last { Step::Done } else { next(answer, msg, shape, id, index + 1) }
            }
            Some(Err(error)) => {
                Step::fail(msg, NodeError::with_code(error.message, error.code).unsettled(error.unsettled))
            }
            None => Step::fail(msg, NodeError::new("the answer broke off").unsettled(true)),
        }) as Then
    })
}
