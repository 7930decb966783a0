//! The two boolean results that `and`, `or` and `implies` combine.

use probity_sdk::{Context, Message, Result, Value, bail};
use serde::{Deserialize, Serialize};
use status_conventions::value::shown;
use status_conventions::verdict::{self, Finding};

use crate::waiting;

/// The result of a message, with what it rests on.
#[derive(Clone, Serialize, Deserialize)]
pub struct Operand {
    result: bool,
    evidences: Vec<Value>,
}

/// Takes the message's result; gives both results once there are two, the first to come first, with the evidences of
/// both put into the message.
pub fn pair(msg: &mut Message, cx: &Context) -> Result<Option<[bool; 2]>> {
    let operand = operand(msg)?;
    let first = waiting::step(msg, cx, |first: Option<Operand>| match first {
        None => Ok((Some(operand.clone()), None)),
        Some(first) => Ok((None, Some(first))),
    })?;
    let Some(mut first) = first else { return Ok(None) };
    first.evidences.extend(operand.evidences);
    *verdict::evidences(verdict::payload(msg)?) = first.evidences;
    Ok(Some([first.result, operand.result]))
}

fn operand(msg: &Message) -> Result<Operand> {
    let result = match msg.payload().get("result") {
        Some(Value::Bool(result)) => *result,
        None => bail!("msg.payload.result is missing: true or false was expected; nothing else can be combined"),
        Some(other) => {
            bail!("msg.payload.result is {}: true or false was expected; nothing else can be combined", shown(other))
        }
    };
    let evidences = msg.payload().get("evidences").and_then(Value::as_array).cloned().unwrap_or_default();
    Ok(Operand { result, evidences })
}

/// Writes the result and, if asked, the evidence of the operation, and sends the message on.
pub fn send(mut msg: Message, cx: &Context, result: bool, operation: &str, of: [bool; 2], store: bool) -> Result<()> {
    verdict::conclude(&mut msg, result)?;
    if store {
        let finding = Finding::new(operation, Value::from(of.to_vec()), result);
        verdict::store(&mut msg, cx, &finding)?;
    }
    cx.emit(0, msg)
}

/// See [`waiting::nothing_left`].
pub fn nothing_left(last: &Message, cx: &Context) -> Result<()> {
    waiting::nothing_left::<Operand>(last, cx)
}
