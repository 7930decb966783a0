//! A recorded case: its flow, the messages put in, and what came out, made comparable.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use probity::model::{Object, Value};

use super::Seen;

/// What an entry of a flow that is no node has as its type.
const STRUCTURAL: [&str; 4] = ["tab", "subflow", "group", "global-config"];

pub(crate) struct Case(Value);

/// A message put into a node.
pub(crate) struct Injection {
    pub(crate) node: String,
    pub(crate) msg: Arc<Object>,
}

impl Case {
    pub(crate) fn new(recorded: Value) -> Case {
        Case(recorded)
    }

    pub(crate) fn title(&self) -> String {
        self.0.get("title").to_js_string().to_string()
    }

    /// The flow as a file has it. The recorded flows name no tab and no place on it where the test helper needs none;
    /// the format does.
    pub(crate) fn flow(&self) -> Vec<serde_json::Value> {
        let serde_json::Value::Array(mut entries) = self.0.get("flow").to_serde() else { panic!("no flow") };
        let tab = entries.iter().find(|e| e["type"] == "tab").map(|e| e["id"].clone());
        let tab = tab.unwrap_or_else(|| {
            entries.insert(0, serde_json::json!({"id": "replay", "type": "tab", "label": "replay"}));
            "replay".into()
        });
        for entry in &mut entries {
            let structural = STRUCTURAL.iter().any(|t| entry["type"] == *t);
            if let (false, Some(entry)) = (structural, entry.as_object_mut()) {
                entry.entry("z").or_insert_with(|| tab.clone());
                entry.entry("x").or_insert(10.into());
                entry.entry("y").or_insert(10.into());
            }
        }
        entries
    }

    /// The types of its nodes.
    pub(crate) fn node_types(&self) -> impl Iterator<Item = String> {
        let is_node = |t: &String| !STRUCTURAL.contains(&t.as_str()) && !t.starts_with(probity::flow::SUBFLOW_PREFIX);
        self.flow().into_iter().map(|e| e["type"].as_str().unwrap().to_string()).filter(is_node)
    }

    /// When something is put in or came out (milliseconds since the case began), in order; a case lasts until the last of them.
    pub(crate) fn timeline(&self) -> Vec<(u64, Option<Injection>)> {
        let events = self.0.get("events");
        let event = |event: &Value| {
            let at = event.get("t").to_number() as u64;
            let put_in = event.get("kind").as_str() == Some("inject") && event.get("type").as_str() != Some("helper");
            let injection = put_in.then(|| {
                let Value::Object(msg) = decode(&event.get("msg")) else { panic!("a message is an object") };
                Injection { node: event.get("id").to_js_string().to_string(), msg }
            });
            (at, injection)
        };
        events.as_array().unwrap().iter().map(event).collect()
    }

    /// What reached each helper.
    pub(crate) fn wanted(&self) -> Seen {
        let mut out: Seen = BTreeMap::new();
        for event in self.0.get("events").as_array().unwrap() {
            if event.get("kind").as_str() == Some("out") {
                let id = event.get("id").to_js_string();
                let id = id.split('@').next().unwrap_or_default().to_string();
                out.entry(id).or_default().push(canonical(&decode(&event.get("msg"))));
            }
        }
        out
    }
}

pub(crate) fn canonical_lists(seen: &Seen) -> Seen {
    seen.iter().map(|(id, msgs)| (id.clone(), msgs.iter().map(canonical).collect())).collect()
}

/// Undoes the recording's encoding of what JSON cannot say.
pub(crate) fn decode(value: &Value) -> Value {
    match value {
        Value::Array(items) => Value::array(items.iter().map(decode).collect()),
        Value::Object(object) => match object.get("$t").and_then(Value::as_str) {
            Some("buffer") => {
                let text = object.get("v").unwrap().to_js_string();
                Value::Bytes(Arc::new(base64::engine::general_purpose::STANDARD.decode(text.as_str()).unwrap()))
            }
            Some("undefined") => Value::Undefined,
            Some("date") => Value::Date(object.get("v").unwrap().to_number()),
            Some("number") => Value::Number(object.get("v").unwrap().to_number()),
            Some("error") => Value::error("recorded"),
            Some(other) => panic!("no decoding for {other}"),
            None => object.iter().map(|(k, v)| (k.clone(), decode(v))).collect::<Object>().into(),
        },
        other => other.clone(),
    }
}

/// Ids and times, which differ from run to run, as placeholders; properties that are nobody's business left out.
pub(crate) fn canonical(value: &Value) -> Value {
    match value {
        Value::String(text)
            if (14..=32).contains(&text.len()) && text.bytes().all(|b| b"0123456789abcdef".contains(&b)) =>
        {
            "<id>".into()
        }
        Value::String(text) if is_iso_time(text) => "<time>".into(),
        Value::Number(n) if (1.6e12..4e12).contains(n) => "<time>".into(),
        Value::Date(_) => "<time>".into(),
        // Recorded without its message.
        Value::Error(_) => "<error>".into(),
        Value::Array(items) => Value::array(items.iter().map(canonical).collect()),
        Value::Object(object) => object
            .iter()
            .filter(|(key, value)| {
                let hidden = ["_msgid", "_event", "stack"].contains(&key.as_str());
                let sequence_id = key.as_str() == "id" && object.contains_key("index");
                // The recorded nodes have no `name` at all, which a flow from an editor always has.
                let unnamed = key.as_str() == "name" && object.contains_key("type") && value.as_str() == Some("");
                // A handle is no data: JSON leaves it out, and so did the recording.
                let handle = matches!(value, Value::Handle(h) if h.object().is_none());
                !hidden && !sequence_id && !unnamed && !handle && !value.is_undefined()
            })
            .map(|(key, value)| (key.clone(), canonical(value)))
            .collect::<Object>()
            .into(),
        other => other.clone(),
    }
}

/// `2026-03-01T12:00:00.440Z`.
fn is_iso_time(text: &str) -> bool {
    let digits: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    digits == "0000-00-00T00:00:00.000Z"
}
