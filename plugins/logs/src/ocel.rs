//! OCEL 2.0 logs (JSON and XML), seen from one object type: each object of it a trace with the events it took part in.
//!
//! Format: <https://www.ocel-standard.org/2.0/ocel20_specification.pdf>

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};

use crate::{Unreadable, xes};

/// Whether a JSON value is an OCEL 2.0 log.
pub fn is_ocel(value: &Value) -> bool {
    value.is_object() && ["objects", "events"].iter().all(|name| value[*name].is_array())
}

/// Whether a parsed XML root element `log` is an OCEL 2.0 log.
pub fn is_ocel_xml(root: &Value) -> bool {
    root.get("objects").is_some() && root.get("events").is_some()
}

/// The JSON form of a parsed XML root element.
pub fn of_xml(root: &Value) -> Value {
    let inside = |of: &Value, list: &str, item: &str| -> Vec<Value> {
        let lists = of[list].as_array().cloned().unwrap_or_default();
        lists.iter().flat_map(|list| list[item].as_array().cloned().unwrap_or_default()).collect()
    };
    let attributes = |of: &Value| -> Value {
        let all = inside(of, "attributes", "attribute");
        all.iter()
            .map(|found| json!({ "name": found["$"]["name"], "value": found["_"], "time": found["$"]["time"] }))
            .collect()
    };
    let relations = |of: &Value| -> Value {
        let mut all = inside(of, "objects", "relationship");
        all.extend(inside(of, "objects", "object"));
        all.iter()
            .map(|found| json!({ "objectId": found["$"]["object-id"], "qualifier": found["$"]["qualifier"] }))
            .collect()
    };
    let objects: Value = inside(root, "objects", "object")
        .iter()
        .map(|object| json!({ "id": object["$"]["id"], "type": object["$"]["type"], "attributes": attributes(object) }))
        .collect();
    let events: Value = inside(root, "events", "event")
        .iter()
        .map(|event| {
            json!({ "id": event["$"]["id"], "type": event["$"]["type"], "time": event["$"]["time"],
            "attributes": attributes(event), "relationships": relations(event) })
        })
        .collect();
    json!({ "objects": objects, "events": events })
}

/// The log as one of traces: those of the objects of type `object_type`; the only type, when there is one only.
pub fn flatten(log: &Value, object_type: &str) -> Result<Value, Unreadable> {
    let list = |name: &str| log[name].as_array().map(Vec::as_slice).unwrap_or_default();
    let types: BTreeSet<&str> = list("objects").iter().filter_map(|object| object["type"].as_str()).collect();
    let known = types.iter().copied().collect::<Vec<_>>().join(", ");
    let chosen = match (object_type, types.len()) {
        ("", 1) => types.first().copied().unwrap_or_default(),
        ("", _) => return Err(Unreadable::new(format!("the log is object-centric: choose an object type of {known}"))),
        (chosen, _) if types.contains(chosen) => chosen,
        (other, _) => return Err(Unreadable::new(format!("the log has no objects of type {other}; it has {known}"))),
    };
    let mut events_of: HashMap<&str, Vec<&Value>> = HashMap::new();
    for event in list("events") {
        let related: BTreeSet<&str> =
            event["relationships"].as_array().into_iter().flatten().filter_map(|of| of["objectId"].as_str()).collect();
        for object in related {
            events_of.entry(object).or_default().push(event);
        }
    }
    let mut traces = Vec::new();
    for object in list("objects").iter().filter(|object| object["type"] == chosen) {
        let id = object["id"].as_str().unwrap_or_default();
        let mut events = events_of.remove(id).unwrap_or_default();
        // ISO 8601 in UTC sorts as text; what is equal keeps its order.
        events.sort_by(|a, b| a["time"].as_str().cmp(&b["time"].as_str()));
        let mut trace = xes::attributes(&[("concept:name", id)], &[]);
        trace.insert("event".to_owned(), events.into_iter().map(event).collect());
        traces.push(Value::Object(trace));
    }
    Ok(json!({ "string": [xes::item("ocel:object-type", chosen)], "trace": traces }))
}

fn event(event: &Value) -> Value {
    let text = |name: &str| event[name].as_str().unwrap_or_default();
    let own = event["attributes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let own: Vec<(String, String)> = own
        .iter()
        .filter_map(|attribute| {
            let value = &attribute["value"];
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            Some((attribute["name"].as_str()?.to_owned(), value))
        })
        .collect();
    let mut texts = vec![("concept:name", text("type")), ("ocel:event-id", text("id"))];
    texts.extend(own.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    Value::Object(xes::attributes(&texts, &[("time:timestamp", text("time"))]))
}
