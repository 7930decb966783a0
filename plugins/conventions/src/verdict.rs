//! Where a verdict goes: `payload.result`, and `payload.evidences` with one `{id, key, value, result}` per finding.

use probity_sdk::{Context, Map, Message, Result, Value, bail, json};

use crate::value::kind;

/// One finding.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// What it is about.
    pub key: String,
    /// What was found, as flows get it in `payload.evidences`.
    pub value: Value,
    /// What the run keeps instead of `value`, where it can say more.
    pub details: Option<Value>,
    /// The finding's verdict: a boolean, or whatever a service answered.
    pub result: Value,
}

impl Finding {
    /// A finding whose run evidence is the same as the flow's.
    pub fn new(key: impl Into<String>, value: impl Into<Value>, result: impl Into<Value>) -> Self {
        Self { key: key.into(), value: value.into(), details: None, result: result.into() }
    }
}

/// Keeps the finding as evidence of the run, and adds it to `payload.evidences` under the same id. The node type needs
/// the capability `evidence`.
pub fn store(msg: &mut Message, cx: &Context, finding: &Finding) -> Result<()> {
    store_with(msg, cx, finding, Map::new())
}

/// As [`store`], with further properties of the evidence.
pub fn store_with(msg: &mut Message, cx: &Context, finding: &Finding, more: Map<String, Value>) -> Result<()> {
    let kept = finding.details.as_ref().unwrap_or(&finding.value);
    let id = cx.evidence(&finding.key, kept, finding.result.as_bool())?;
    let mut evidence = Map::new();
    evidence.insert("id".to_owned(), Value::from(id));
    evidence.insert("key".to_owned(), Value::from(finding.key.clone()));
    evidence.insert("value".to_owned(), finding.value.clone());
    evidence.insert("result".to_owned(), finding.result.clone());
    evidence.extend(more);
    evidences(payload(msg)?).push(Value::Object(evidence));
    Ok(())
}

/// Sets `payload.result`, and sees to it that `payload.evidences` is a list.
pub fn conclude(msg: &mut Message, result: impl Into<Value>) -> Result<()> {
    let payload = payload(msg)?;
    payload.insert("result".to_owned(), result.into());
    evidences(payload);
    Ok(())
}

/// The payload as an object that can hold a result. A list of events becomes `{event: [...]}`, where the next node
/// finds it: JavaScript would put the result on the list itself, where every copy loses it.
pub fn payload(msg: &mut Message) -> Result<&mut Map<String, Value>> {
    let payload = msg.payload_mut();
    if payload.is_array() {
        let list = payload.take();
        *payload = json!({ "event": list });
    }
    match payload {
        Value::Object(object) => Ok(object),
        other => bail!(
            "msg.payload is {}: a result can only be written to an object; put a change node in front that sets \
             msg.payload to an object",
            kind(other)
        ),
    }
}

/// The evidences of a payload; what is there and is no list is replaced by one.
pub fn evidences(payload: &mut Map<String, Value>) -> &mut Vec<Value> {
    let found = payload.entry("evidences").or_insert_with(|| json!([]));
    if !found.is_array() {
        *found = json!([]);
    }
    found.as_array_mut().expect("it was made one if it was none")
}
