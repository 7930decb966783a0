//! Values at the border of `jsonata-core`, which has its own.

use std::rc::Rc;
use std::sync::Arc;

use indexmap::IndexMap;
use jsonata_core::value::{JMap, JValue};

use super::moments::Moments;
use crate::model::value::date_to_iso;
use crate::model::{Object, Value};
use crate::runtime::NodeError;

/// Nesting of a value handed to or taken from an expression.
const VALUE_DEPTH_MAX: usize = 512;

fn too_deep() -> NodeError {
    NodeError::new(format!("a value is nested deeper than {VALUE_DEPTH_MAX} levels"))
}

/// A value as JSONata sees it. Dates are ISO text, buffers `{type:"Buffer",data:[…]}`.
pub(super) fn to_jsonata(value: &Value, depth: usize) -> Result<JValue, NodeError> {
    if depth > VALUE_DEPTH_MAX {
        return Err(too_deep());
    }
    Ok(match value {
        Value::Undefined => JValue::Undefined,
        Value::Null => JValue::Null,
        Value::Bool(b) => JValue::Bool(*b),
        Value::Number(n) => JValue::Number(*n),
        Value::String(s) => JValue::string(s.as_str()),
        Value::Date(ms) => JValue::string(date_to_iso(*ms)),
        Value::Bytes(bytes) => {
            let data = bytes.iter().map(|b| JValue::Number(f64::from(*b))).collect();
            JValue::object(IndexMap::from([
                ("type".to_string(), JValue::string("Buffer")),
                ("data".to_string(), JValue::array(data)),
            ]))
        }
        Value::Error(e) => JValue::object(IndexMap::from([
            ("name".to_string(), JValue::string(e.name.as_str())),
            ("message".to_string(), JValue::string(e.message.as_str())),
        ])),
        Value::Array(items) => {
            let items: Result<Vec<_>, _> = items.iter().map(|v| to_jsonata(v, depth + 1)).collect();
            JValue::array(items?)
        }
        Value::Object(object) => convert_object(object, depth)?,
        Value::Handle(handle) => match handle.object() {
            Some(object) => convert_object(&object, depth)?,
            None => JValue::Null,
        },
    })
}

pub(super) fn convert_object(object: &Object, depth: usize) -> Result<JValue, NodeError> {
    let mut map = IndexMap::with_capacity(object.len());
    for (key, value) in object.iter() {
        if !value.is_undefined() {
            map.insert(key.to_string(), to_jsonata(value, depth + 1)?);
        }
    }
    Ok(JValue::object(map))
}

/// A value for expressions that only count it: objects inside an array lose their contents.
pub(super) fn outline(value: &Value) -> Result<JValue, NodeError> {
    let Value::Array(items) = value else { return to_jsonata(value, 1) };
    let empty = JValue::Object(Rc::new(JMap::default()));
    let items: Result<Vec<_>, _> = items
        .iter()
        .map(|item| match item {
            Value::Object(_) => Ok(empty.clone()),
            other => to_jsonata(other, 2),
        })
        .collect();
    Ok(JValue::array(items?))
}

/// `moments`: those of the evaluation, which leave it as ISO 8601 text.
pub(super) fn from_jsonata(value: &JValue, depth: usize, moments: Option<&Moments>) -> Result<Value, NodeError> {
    if depth > VALUE_DEPTH_MAX {
        return Err(too_deep());
    }
    Ok(match value {
        JValue::Null => Value::Null,
        JValue::Bool(b) => Value::Bool(*b),
        JValue::Number(n) => Value::Number(*n),
        JValue::String(s) => Value::from(&**s),
        JValue::Array(items) => {
            let items: Result<Vec<_>, _> = items.iter().map(|v| from_jsonata(v, depth + 1, moments)).collect();
            Value::array(items?)
        }
        JValue::Object(map) => {
            if let Some(left) = moments.and_then(|moments| moments.left_behind(value)) {
                return Ok(left);
            }
            let mut object = Object::with_capacity(map.len());
            for (key, value) in map.iter() {
                object.insert(key.as_str(), from_jsonata(value, depth + 1, moments)?);
            }
            buffer_of(&object).unwrap_or_else(|| object.into())
        }
        _ => Value::Undefined,
    })
}

/// The buffer that `{type:"Buffer",data:[…]}` stands for.
fn buffer_of(object: &Object) -> Option<Value> {
    if object.len() != 2 || object.get("type")?.as_str() != Some("Buffer") {
        return None;
    }
    let bytes: Option<Vec<u8>> = object
        .get("data")?
        .as_array()?
        .iter()
        .map(|v| v.as_f64().filter(|n| n.fract() == 0.0 && (0.0..256.0).contains(n)).map(|n| n as u8))
        .collect();
    Some(Value::Bytes(Arc::new(bytes?)))
}
