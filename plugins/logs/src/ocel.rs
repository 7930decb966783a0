//! OCEL 2.0 logs (JSON and XML), seen from one object type: each object of it a trace with the events it took part in.
//!
//! Format: <https://www.ocel-standard.org/2.0/ocel20_specification.pdf>

use std::collections::{BTreeSet, HashMap};

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::traces::List;
use crate::{Unreadable, xes};

/// Whether a parsed XML root element `log` is an OCEL 2.0 log.
pub fn is_ocel_xml(root: &Value) -> bool {
    root.get("objects").is_some() && root.get("events").is_some()
}

/// What of a log is needed to see it from an object type: objects by their names, events as the text they become.
#[derive(Default)]
pub struct Ocel {
    types: Vec<String>,
    /// With the place of its type in `types`.
    objects: Vec<(String, usize)>,
    events: Vec<Event>,
    /// Places in `events`, by the object's id.
    events_of: HashMap<String, Vec<usize>>,
}

struct Event {
    time: Option<String>,
    /// As XES has it, JSON.
    text: String,
}

impl Ocel {
    /// Of JSON text; `None` if that is no OCEL log. An error says where and what is wrong.
    pub fn of_json(text: &str) -> Result<Option<Self>, String> {
        let Ok(whole) = serde_json::from_str::<HashMap<String, &RawValue>>(text) else {
            // An error of its own, or JSON of another kind.
            return serde_json::from_str::<&RawValue>(text).map(|_| None).map_err(|error| error.to_string());
        };
        let list =
            |name: &str| whole.get(name).and_then(|list| serde_json::from_str::<Vec<&RawValue>>(list.get()).ok());
        let (Some(objects), Some(events)) = (list("objects"), list("events")) else { return Ok(None) };
        let mut ocel = Ocel::default();
        for (at, object) in objects.iter().enumerate() {
            let object = serde_json::from_str(object.get()).map_err(|error| format!("objects[{at}]: {error}"))?;
            ocel.object(&object);
        }
        for (at, event) in events.iter().enumerate() {
            let event = serde_json::from_str(event.get()).and_then(|event| ocel.event(&event));
            event.map_err(|error| format!("events[{at}]: {error}"))?;
        }
        Ok(Some(ocel))
    }

    /// Takes an element `<object>` of an XML log.
    pub fn object_of_xml(&mut self, object: &Value) {
        self.object(&json!({ "id": object["$"]["id"], "type": object["$"]["type"] }));
    }

    /// Takes an element `<event>` of an XML log.
    pub fn event_of_xml(&mut self, event: &Value) -> Result<(), Unreadable> {
        let inside = |list: &str, item: &str| -> Vec<&Value> {
            let lists = event[list].as_array().map(Vec::as_slice).unwrap_or_default();
            lists.iter().flat_map(|list| list[item].as_array().map(Vec::as_slice).unwrap_or_default()).collect()
        };
        let attributes: Value = inside("attributes", "attribute")
            .into_iter()
            .map(|found| json!({ "name": found["$"]["name"], "value": found["_"] }))
            .collect();
        let related: Value = inside("objects", "relationship")
            .into_iter()
            .chain(inside("objects", "object"))
            .map(|found| json!({ "objectId": found["$"]["object-id"] }))
            .collect();
        let event = json!({ "id": event["$"]["id"], "type": event["$"]["type"], "time": event["$"]["time"],
            "attributes": attributes, "relationships": related });
        self.event(&event).map_err(|error| Unreadable::new(format!("it cannot be written as JSON: {error}")))
    }

    fn object(&mut self, object: &Value) {
        let Some(named) = object["type"].as_str() else { return };
        let place = self.types.iter().position(|known| known == named).unwrap_or_else(|| {
            self.types.push(named.to_owned());
            self.types.len() - 1
        });
        self.objects.push((object["id"].as_str().unwrap_or_default().to_owned(), place));
    }

    fn event(&mut self, event: &Value) -> serde_json::Result<()> {
        let related = event["relationships"].as_array().into_iter().flatten();
        for object in related.filter_map(|of| of["objectId"].as_str()).collect::<BTreeSet<&str>>() {
            match self.events_of.get_mut(object) {
                Some(places) => places.push(self.events.len()),
                None => drop(self.events_of.insert(object.to_owned(), vec![self.events.len()])),
            }
        }
        let text = serde_json::to_string(&of_xes(event))?;
        self.events.push(Event { time: event["time"].as_str().map(str::to_owned), text });
        Ok(())
    }

    /// The log as one of traces, JSON text: those of the objects of type `object_type`; the only type, when there is one
    /// only.
    pub fn traces_of(mut self, object_type: &str) -> Result<String, Unreadable> {
        let known =
            self.types.iter().map(String::as_str).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ");
        let chosen = match (object_type, self.types.len()) {
            ("", 1) => 0,
            ("", _) => {
                return Err(Unreadable::new(format!("the log is object-centric: choose an object type of {known}")));
            }
            (chosen, _) => {
                self.types.iter().position(|of| of == chosen).ok_or_else(|| {
                    Unreadable::new(format!("the log has no objects of type {chosen}; it has {known}"))
                })?
            }
        };
        let mut traces = List::with_capacity(self.events.iter().map(|event| event.text.len() + 1).sum());
        for (id, _) in self.objects.iter().filter(|(_, of)| *of == chosen) {
            let mut places = self.events_of.remove(id).unwrap_or_default();
            // ISO 8601 in UTC sorts as text; what is equal keeps its order.
            places.sort_by(|a, b| self.events[*a].time.cmp(&self.events[*b].time));
            let mut events = List::with_capacity(places.iter().map(|at| self.events[*at].text.len() + 1).sum());
            places.iter().for_each(|at| events.push(&self.events[*at].text));
            traces.push(&events.in_object(xes::attributes(&[("concept:name", id)], &[]), "event")?);
        }
        let of_type = json!([xes::item("ocel:object-type", &self.types[chosen])]);
        traces.in_log(Map::from_iter([("string".to_owned(), of_type)]))
    }
}

fn of_xes(event: &Value) -> Map<String, Value> {
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
    xes::attributes(&texts, &[("time:timestamp", text("time"))])
}
