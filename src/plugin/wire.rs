//! Messages on their way across the sandbox's border, property by property.

use super::bindings::probity::plugin::types::{Message, Property, Value as Crossing};
use crate::model::{Msg, Value};

/// What did not fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TooLarge;

/// The properties of a message that a node wants, `None` for all; `res` never crosses.
pub(super) fn message(
    msg: &Msg,
    wants: Option<&[String]>,
    run: String,
    caller: bool,
    bytes_max: u64,
) -> Result<Message, TooLarge> {
    let mut properties = Vec::new();
    let mut bytes = 0;
    let mut add = |name: &str, value: &Value| {
        let Some(value) = crossing(value).filter(|_| name != "res") else { return Ok(()) };
        bytes += match &value {
            Crossing::Json(text) => text.len() as u64,
            Crossing::Bytes(bytes) => bytes.len() as u64,
        };
        properties.push(Property { name: name.to_string(), value });
        if bytes > bytes_max { Err(TooLarge) } else { Ok(()) }
    };
    match wants {
        Some(names) => names.iter().try_for_each(|name| msg.get(name).map_or(Ok(()), |value| add(name, value)))?,
        None => msg.object().iter().try_for_each(|(name, value)| add(name, value))?,
    }
    Ok(Message { run, caller, properties })
}

/// A value as it crosses; `None` for undefined and for what is no data.
pub(super) fn crossing(value: &Value) -> Option<Crossing> {
    match value {
        Value::Undefined => None,
        Value::Bytes(bytes) => Some(Crossing::Bytes(bytes.to_vec())),
        Value::Handle(handle) => handle.object().map(|object| Crossing::Json(Value::Object(object).to_json())),
        other => Some(Crossing::Json(other.to_json())),
    }
}
