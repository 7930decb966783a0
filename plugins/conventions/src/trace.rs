//! Where the events of a trace are in a payload.

use probity_sdk::{Result, Value, bail};

use crate::value::{kind, truthy};

/// The list that nodes over traces look at: `payload.trace.event`, else `payload.event`, else `payload.events`, else
/// the payload itself.
pub fn events(payload: &Value) -> Result<&[Value]> {
    let (place, found) = find(payload);
    match found {
        Value::Array(events) => Ok(events),
        Value::Null => bail!("msg.payload is undefined or null: {EXPECTED}"),
        other => bail!("{place} is {}: {EXPECTED}", kind(other)),
    }
}

const EXPECTED: &str = "a list of events was expected in msg.payload.trace.event, msg.payload.event, \
                        msg.payload.events or msg.payload";

fn find(payload: &Value) -> (&'static str, &Value) {
    let places = [
        ("msg.payload.trace.event", payload.get("trace").and_then(|trace| trace.get("event"))),
        ("msg.payload.event", payload.get("event")),
        ("msg.payload.events", payload.get("events")),
    ];
    let found = places.into_iter().find_map(|(place, value)| Some((place, value.filter(|value| truthy(value))?)));
    found.unwrap_or(("msg.payload", payload))
}

#[cfg(test)]
mod tests {
    use probity_sdk::json;

    use super::*;

    #[test]
    fn places_are_looked_at_in_order() {
        let all = json!({ "trace": { "event": [1] }, "event": [2, 2], "events": [3, 3, 3] });
        assert_eq!(events(&all).unwrap().len(), 1);
        assert_eq!(events(&json!({ "trace": {}, "event": "", "events": [3, 3, 3] })).unwrap().len(), 3);
        assert_eq!(events(&json!({ "trace": { "event": [] }, "event": [2] })).unwrap().len(), 0);
        assert_eq!(events(&json!([1, 2])).unwrap().len(), 2);
    }

    #[test]
    fn no_list_is_an_error_that_names_the_place() {
        let error = events(&json!({ "trace": { "event": {} } })).unwrap_err();
        assert!(error.message().starts_with("msg.payload.trace.event is an object: a list"), "{error}");
        let error = events(&json!({ "foo": 1 })).unwrap_err();
        assert!(error.message().starts_with("msg.payload is an object"), "{error}");
        assert!(events(&Value::Null).unwrap_err().message().starts_with("msg.payload is undefined or null"));
    }
}
