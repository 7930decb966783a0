//! `get-kv-property`: the value of an attribute of a log, wherever it is in a property.

use probity_sdk::prelude::*;
use status_conventions::value::kind;

/// Finds an attribute of a log by its key and puts its value into the payload.
///
/// Attributes are as XES logs have them: `{"$": {"key": "concept:name", "value": "A"}}`. Looks below
/// `payload.trace.<property>`, or `payload.<property>` when the payload has no trace, in the order of the document, what
/// is inside an object before the object itself; the first attribute with the key counts. Its value, null when there is
/// none, becomes `payload.<response>`.
///
/// A missing property, a property that is no object or list, and an empty key are errors.
///
/// A caller may send `keyToSearch`, `payloadProperty` and `response` in the body of the request.
#[derive(Clone, Config)]
pub struct GetKvProperty {
    /// The attribute's key.
    #[config(name = "keyToSearch", label = "Key", default = "", placeholder = "concept:name")]
    key: String,
    /// Property of the trace, or of the payload, below which to look.
    #[config(name = "payloadProperty", label = "Property", default = "", placeholder = "string")]
    property: String,
    /// Property of the payload that gets the value.
    #[config(label = "Response", default = "", placeholder = "name")]
    response: String,
}

#[node(
    type = "get-kv-property",
    category = "extraction",
    color = "#DDAA99",
    icon = "fa-key",
    wants = ["payload", "req"]
)]
impl Node for GetKvProperty {
    fn process(&self, mut msg: Message, cx: &Context) -> Result<()> {
        let config = self.over(&msg)?;
        ensure!(
            !config.key.is_empty(),
            "keyToSearch is empty: write the key of the attribute, for example concept:name"
        );
        let found = find(place(msg.payload(), &config.property)?, &config.key).cloned().unwrap_or_default();
        match msg.payload_mut() {
            Value::Object(payload) => payload.insert(config.response, found),
            other => bail!("msg.payload is {}: the value can only be written to an object", kind(other)),
        };
        cx.emit(0, msg)
    }
}

/// What to look below.
fn place<'v>(payload: &'v Value, property: &str) -> Result<&'v Value> {
    let trace = payload.get("trace").filter(|trace| status_conventions::value::truthy(trace));
    let (name, holder) = trace.map_or(("msg.payload", payload), |trace| ("msg.payload.trace", trace));
    let found = match holder {
        Value::Object(object) => object.get(property),
        other => bail!("The property does not exist in the payload: {name} is {}, not an object", kind(other)),
    };
    let found =
        found.context(format_args!("The property does not exist in the payload: {name} has no `{property}`"))?;
    ensure!(
        found.is_object() || found.is_array(),
        "{name}.{property} is {}: an object or a list with attributes was expected",
        kind(found)
    );
    Ok(found)
}

/// The value of the first attribute with this key, children before parents.
fn find<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    // A stack of our own: how deep a log is nested is up to whoever sent it.
    let mut stack = vec![(value, false)];
    while let Some((value, seen)) = stack.pop() {
        if seen {
            let attribute = value.get("$").filter(|attribute| attribute.get("key").is_some_and(|found| found == key));
            if let Some(found) = attribute.and_then(|attribute| attribute.get("value")) {
                return Some(found);
            }
            continue;
        }
        stack.push((value, true));
        let push = |child: &'v Value, stack: &mut Vec<_>| {
            if child.is_object() || child.is_array() {
                stack.push((child, false));
            }
        };
        match value {
            Value::Object(object) => object.values().rev().for_each(|child| push(child, &mut stack)),
            Value::Array(items) => items.iter().rev().for_each(|child| push(child, &mut stack)),
            _ => {}
        }
    }
    None
}
