//! XES logs (IEEE 1849) in the shape `log.trace[i].event[j]` with `{"$": {"key", "value"}}` items.

use serde_json::{Map, Value, json};

/// A trace with its events as a list, be it empty.
pub fn trace(found: Value) -> Value {
    let mut trace = match found {
        Value::Object(trace) => trace,
        _ => Map::new(),
    };
    let events = trace.entry("event").or_insert_with(|| json!([]));
    if let Value::Array(events) = events {
        events.iter_mut().filter(|event| !event.is_object()).for_each(|event| *event = json!({}));
    }
    Value::Object(trace)
}

/// One attribute.
pub fn item(key: &str, value: &str) -> Value {
    json!({ "$": { "key": key, "value": value } })
}

/// An event or trace of plain attributes, the dates in the list `date`.
pub fn attributes(texts: &[(&str, &str)], dates: &[(&str, &str)]) -> Map<String, Value> {
    let mut all = Map::new();
    for (list, of) in [("string", texts), ("date", dates)] {
        if !of.is_empty() {
            all.insert(list.to_owned(), of.iter().map(|(key, value)| item(key, value)).collect());
        }
    }
    all
}
