//! `exists-pipe`: a trace has so many events.

use probity_sdk::prelude::*;
use status_conventions::value::{kind, shown, truthy};
use status_conventions::verdict::{self, Finding};

/// Checks how many events a trace has.
///
/// Counts the events in `msg.payload.trace.event`, `msg.payload.event` or `msg.payload.events`, else what
/// `msg.payload` itself holds: elements of a list, properties of an object (as it came in), characters of a text. Sets
/// `msg.payload.result`: true if there are as many as expected.
///
/// *Store evidences* adds `{id, key: "Count", value: {expected, actual}, result}` to `msg.payload.evidences`. A caller
/// may send `count` and `storeEvidences` in the body of the request.
#[derive(Clone, Config)]
pub struct ExistsPipe {
    /// How many events are expected.
    #[config(label = "Count", default = 0, lenient)]
    count: Value,
    /// Keep what was found as evidence.
    #[config(name = "storeEvidences", label = "Store evidences", default = false)]
    store_evidences: bool,
}

#[node(
    type = "exists-pipe",
    category = "validation",
    color = "#DDAA99",
    icon = "fa-sort-numeric-asc",
    wants = ["payload", "req"],
    capabilities = ["evidence"]
)]
impl Node for ExistsPipe {
    fn process(&self, mut msg: Message, cx: &Context) -> Result<()> {
        let config = self.over(&msg)?;
        let expected = number(&config.count)?;
        let actual = count(msg.payload())?;
        let result = actual as f64 == expected;
        verdict::conclude(&mut msg, result)?;
        if config.store_evidences {
            let value = json!({ "expected": config.count, "actual": actual });
            verdict::store(&mut msg, cx, &Finding::new("Count", value, result))?;
        }
        cx.emit(0, msg)
    }
}

fn number(count: &Value) -> Result<f64> {
    let found = match count {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    found.context(format_args!("count is {}: a number was expected", shown(count)))
}

fn count(payload: &Value) -> Result<usize> {
    let nested = payload.get("trace").and_then(|trace| trace.get("event"));
    let places = [nested, payload.get("event"), payload.get("events")];
    match places.into_iter().flatten().find(|value| truthy(value)).unwrap_or(payload) {
        Value::Array(items) => Ok(items.len()),
        Value::Object(object) => Ok(object.len()),
        // As JavaScript counts.
        Value::String(text) => Ok(text.encode_utf16().count()),
        other => bail!("{} was found where events were expected, in msg.payload: nothing can be counted", kind(other)),
    }
}
