//! Events of a process log as `xml2js` makes them of XES: attributes in lists by type, each with `$.key` and
//! `$.value`. Events with plain properties (`{"concept:name": "A"}`) and events that are the name itself are read,
//! too.

use probity_sdk::{Error, Result, Value, bail};

use crate::date;
use crate::value::{kind, shown};

/// The standard keys of XES (IEEE 1849).
pub const CONCEPT_NAME: &str = "concept:name";
pub const TIMESTAMP: &str = "time:timestamp";

/// The attribute lists of XES.
const LISTS: [&str; 6] = ["string", "date", "int", "float", "boolean", "id"];

/// The event's activity: the value of its first attribute `key`. `None` when it has none. `at` names the event in
/// errors.
pub fn name<'e>(event: &'e Value, key: &str, at: &str) -> Result<Option<&'e str>> {
    let object = match event {
        Value::String(name) => return Ok(Some(name)),
        Value::Object(object) => object,
        other => bail!("{at} is {}: an event was expected, an object as XES logs have them", kind(other)),
    };
    if let Some(plain) = object.get(key) {
        return text(plain, key, at).map(Some);
    }
    for item in items(object.get("string"), at)? {
        if item.key == Some(key) {
            return text(item.value, key, at).map(Some);
        }
    }
    Ok(None)
}

/// The event's time, milliseconds since 1970: the date `time:timestamp`. With `any`, the first date of another key
/// does, too. `None` when it has no time; an error when it has one that cannot be read.
pub fn time(event: &Value, any: bool, at: &str) -> Result<Option<i64>> {
    let Some(object) = event.as_object() else { return Ok(None) };
    let plain = object.get(TIMESTAMP);
    let listed = items(object.get("date"), at)?;
    let stamped = listed.iter().find(|item| item.key == Some(TIMESTAMP));
    let found = stamped.or(listed.first().filter(|_| any)).map(|item| item.value).or(plain);
    let Some(value) = found else { return Ok(None) };
    let read = match value {
        Value::String(text) => date::milliseconds(text),
        Value::Number(number) => number.as_i64(),
        _ => None,
    };
    let expected = "a date such as 2024-03-01T10:00:00Z was expected";
    read.map(Some).ok_or_else(|| Error::new(format!("the time of {at} is {}: {expected}", shown(value))))
}

struct Item<'e> {
    key: Option<&'e str>,
    value: &'e Value,
}

/// The attributes of one list of an event. `xml2js` writes a list of one as the one itself, if told so.
fn items<'e>(list: Option<&'e Value>, at: &str) -> Result<Vec<Item<'e>>> {
    static NULL: Value = Value::Null;
    let all = match list {
        None | Some(Value::Null) => &[],
        Some(Value::Array(all)) => all.as_slice(),
        Some(one) => std::slice::from_ref(one),
    };
    let read = |item: &'e Value| {
        let attributes = item.get("$").filter(|attributes| attributes.is_object());
        let attributes = attributes.ok_or_else(|| {
            Error::new(format!(
                "{at} has the attribute {}: {{\"$\": {{\"key\": …, \"value\": …}}}} was expected, as xml2js makes it",
                shown(item)
            ))
        })?;
        let key = attributes.get("key").and_then(Value::as_str);
        Ok(Item { key, value: attributes.get("value").unwrap_or(&NULL) })
    };
    all.iter().map(read).collect()
}

fn text<'e>(value: &'e Value, key: &str, at: &str) -> Result<&'e str> {
    value.as_str().ok_or_else(|| Error::new(format!("{key} of {at} is {}: a text was expected", shown(value))))
}

/// Whether the object is one of XES, with attributes in lists.
pub fn is_xes(event: &Value) -> bool {
    event.as_object().is_some_and(|object| LISTS.iter().any(|list| object.contains_key(*list)))
}

#[cfg(test)]
mod tests {
    use probity_sdk::json;

    use super::*;

    fn xes() -> Value {
        json!({
            "string": [
                { "$": { "key": "org:resource", "value": "Ana" } },
                { "$": { "key": "concept:name", "value": "A" } },
                { "$": { "key": "concept:name", "value": "B" } }
            ],
            "date": [
                { "$": { "key": "due", "value": "2030-01-01T00:00:00Z" } },
                { "$": { "key": "time:timestamp", "value": "2024-03-01T10:00:00+01:00" } }
            ]
        })
    }

    #[test]
    fn the_first_concept_name_and_the_timestamp_count() {
        assert_eq!(name(&xes(), CONCEPT_NAME, "event 0").unwrap(), Some("A"));
        assert_eq!(time(&xes(), true, "event 0").unwrap(), Some(1_709_283_600_000));
        assert_eq!(name(&xes(), "org:resource", "event 0").unwrap(), Some("Ana"));
    }

    #[test]
    fn plain_events_and_names_are_events() {
        let plain = json!({ "concept:name": "A", "time:timestamp": "2024-03-01T09:00:00Z" });
        assert_eq!(name(&plain, CONCEPT_NAME, "event 0").unwrap(), Some("A"));
        assert_eq!(time(&plain, false, "event 0").unwrap(), Some(1_709_283_600_000));
        assert_eq!(name(&json!("A"), CONCEPT_NAME, "event 0").unwrap(), Some("A"));
        assert_eq!(name(&json!({}), CONCEPT_NAME, "event 0").unwrap(), None);
    }

    #[test]
    fn another_date_is_the_time_only_where_any_does() {
        let due = json!({ "date": { "$": { "key": "due", "value": "2024-03-01" } } });
        assert_eq!(time(&due, false, "event 0").unwrap(), None);
        assert_eq!(time(&due, true, "event 0").unwrap(), Some(1_709_251_200_000));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let error = name(&json!(null), CONCEPT_NAME, "event 3").unwrap_err();
        assert_eq!(error.message(), "event 3 is null: an event was expected, an object as XES logs have them");
        let error = name(&json!({ "string": [{ "key": "concept:name" }] }), CONCEPT_NAME, "event 3").unwrap_err();
        assert!(error.message().starts_with("event 3 has the attribute {\"key\":\"concept:name\"}"), "{error}");
        let bad = json!({ "date": [{ "$": { "key": "time:timestamp", "value": "soon" } }] });
        let error = time(&bad, false, "event 3").unwrap_err();
        let expected = "the time of event 3 is \"soon\": a date such as 2024-03-01T10:00:00Z was expected";
        assert_eq!(error.message(), expected);
    }
}
