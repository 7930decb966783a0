//! What editors hear of while they look on: statuses, debug output, warnings and errors of nodes, and notices about the
//! flows, as Node-RED's `/comms` websocket tells them (`runtime/lib/api/comms.js`). Telling never waits: who listens too
//! slowly misses debug output, and is told so.

pub(crate) mod encode;
mod listener;
pub(super) mod socket;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use arcstr::ArcStr;
use serde_json::{Map, Value as Json, json};

use crate::clock::Clock;
use crate::deploy::Notices;
use crate::model::Value;
use crate::runtime::{Event, Feed, Place, Status};
use encode::{Encoded, encode};
use listener::Listener;

/// Node-RED's numbers of log levels.
const LEVEL_ERROR: u32 = 20;
const LEVEL_WARN: u32 = 30;

/// Everybody who looks on, and what those who come later must still be told.
pub struct Comms {
    clock: Clock,
    /// Texts and lists in debug output are cut off beyond this (`debugMaxLength`).
    pub debug_length_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Topic → when it was first kept, and the data as JSON text.
    retained: HashMap<String, (u64, Arc<str>)>,
    /// How many topics were ever kept.
    kept: u64,
    listeners: Vec<Weak<Listener>>,
}

impl Comms {
    pub fn new(clock: Clock, debug_length_max: usize) -> Arc<Comms> {
        Arc::new(Comms { clock, debug_length_max, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|p| p.into_inner())
    }

    /// Somebody who is told everything from now on.
    fn listen(&self) -> Arc<Listener> {
        let listener = Arc::new(Listener::default());
        self.state().listeners.push(Arc::downgrade(&listener));
        listener
    }

    /// Tells one listener again what is kept under topics that fit `pattern` (`+` one level, `/#` all below).
    fn replay(&self, pattern: &str, to: &Listener) {
        let state = self.state();
        let mut fitting: Vec<_> = state.retained.iter().filter(|(topic, _)| fits(pattern, topic)).collect();
        fitting.sort_by_key(|(_, (order, _))| *order);
        for (topic, (_, data)) in fitting {
            to.tell(frame(topic, data), false);
        }
    }

    fn publish(&self, topic: &str, data: &str, retained: bool) {
        let mut state = self.state();
        if retained {
            state.kept += 1;
            let order = state.retained.get(topic).map_or(state.kept, |(order, _)| *order);
            state.retained.insert(topic.to_string(), (order, data.into()));
        } else {
            state.retained.remove(topic);
        }
        state.tell(frame(topic, data), topic == "debug");
    }

    /// Whether anybody looks on.
    fn is_watched(&self) -> bool {
        let mut state = self.state();
        state.listeners.retain(|listener| listener.strong_count() > 0);
        !state.listeners.is_empty()
    }

    fn status(&self, node: &str, status: &Status) {
        let topic = format!("status/{node}");
        let mut data = Map::new();
        let parts = [("text", Some(&status.text)), ("fill", status.fill.as_ref()), ("shape", status.shape.as_ref())];
        for (name, part) in parts {
            data.extend(part.filter(|part| !part.is_empty()).map(|part| (name.to_string(), part.as_str().into())));
        }
        if !data.is_empty() {
            self.publish(&topic, &Json::Object(data).to_string(), true);
        } else if self.state().retained.contains_key(&topic) {
            self.publish(&topic, "{}", false);
        }
    }

    /// What a debug node shows.
    fn debug(&self, at: Place<'_>, topic: &Value, property: &str, value: &Value) {
        let mut data = place(at);
        data.insert("name".into(), at.node().name.as_str().into());
        if !topic.is_undefined() {
            // As JSON.stringify leaves it; only texts are common.
            data.insert("topic".into(), serde_json::from_str(&topic.to_json()).unwrap_or_default());
        }
        if !property.is_empty() {
            data.insert("property".into(), property.into());
        }
        self.say(data, encode(value, self.debug_length_max));
    }

    /// What a node logs as warning or error.
    fn log(&self, at: Place<'_>, level: u32, text: &str) {
        let mut data = Map::new();
        data.insert("level".into(), level.into());
        data.append(&mut place(at));
        data.insert("type".into(), at.node().node_type.as_str().into());
        if !at.node().name.is_empty() {
            data.insert("name".into(), at.node().name.as_str().into());
        }
        data.insert("timestamp".into(), (at.now().as_millisecond()).into());
        self.say(data, encode::of_text(text, self.debug_length_max));
    }

    fn say(&self, mut data: Map<String, Json>, Encoded { msg, format }: Encoded) {
        data.insert("msg".into(), msg.into());
        data.insert("format".into(), format.into());
        self.publish("debug", &Json::Object(data).to_string(), false);
    }
}

impl State {
    fn tell(&mut self, frame: Arc<str>, dispensable: bool) {
        self.listeners.retain(|listener| match listener.upgrade() {
            Some(listener) => {
                listener.tell(frame.clone(), dispensable);
                true
            }
            None => false,
        });
    }
}

/// One message as it stands in a frame's array.
fn frame(topic: &str, data: &str) -> Arc<str> {
    format!(r#"{{"topic":{},"data":{data}}}"#, Json::from(topic)).into()
}

/// Where a node is, as the editor finds it: inside subflows by the instances on the way.
fn place(at: Place<'_>) -> Map<String, Json> {
    let node = at.node();
    let mut data = Map::new();
    data.insert("id".into(), node.id.as_str().into());
    data.insert("z".into(), node.context.as_str().into());
    // Inside a subflow instance: `<instance>-<id of the definition>`.
    let defined = node.id.strip_prefix(node.context.as_str()).and_then(|rest| rest.strip_prefix('-'));
    data.extend(defined.map(|id| ("_alias".to_string(), id.into())));
    let path = at.env("NR_NODE_PATH").to_js_string();
    let path = path.rsplit_once('/').map_or("", |(path, _)| path);
    data.insert("path".into(), path.into());
    data
}

/// `a/+/c` and `a/#` against a topic; `a/#` also fits `a`.
fn fits(pattern: &str, topic: &str) -> bool {
    let (mut pattern, mut topic) = (pattern.split('/').peekable(), topic.split('/'));
    while let Some(level) = pattern.next() {
        if level == "#" && pattern.peek().is_none() {
            return true;
        }
        match topic.next() {
            Some(given) if level == "+" || level == given => {}
            _ => return false,
        }
        if pattern.peek() == Some(&"#") && topic.clone().next().is_none() {
            return true;
        }
    }
    topic.next().is_none()
}

impl Feed for Comms {
    fn told(&self, at: Place<'_>, event: &Event) {
        match event {
            Event::Status { node, status } => self.status(node, status),
            // Made only when somebody looks: it costs.
            Event::Debug { topic, property, value, .. } if self.is_watched() => self.debug(at, topic, property, value),
            Event::Error { message, .. } if self.is_watched() => self.log(at, LEVEL_ERROR, message),
            Event::Log { level, text, .. } if *level <= tracing::Level::WARN && self.is_watched() => {
                let level = if *level == tracing::Level::ERROR { LEVEL_ERROR } else { LEVEL_WARN };
                self.log(at, level, text);
            }
            _ => {}
        }
    }
}

impl Notices for Comms {
    fn stopped(&self, nodes: &[ArcStr]) {
        for node in nodes {
            self.status(node, &Status::default());
        }
    }

    fn notify(&self, topic: &str, data: Json, retained: bool) {
        self.publish(&format!("notification/{topic}"), &data.to_string(), retained);
    }
}

/// A note in the debug view in place of what a slow listener missed.
fn missed(n: u64, now_ms: i64) -> Arc<str> {
    let text = format!("{n} debug messages are left out here: they came faster than this editor takes them");
    let data = json!({
        "level": LEVEL_WARN, "id": "", "type": "debug", "msg": text, "timestamp": now_ms,
        "format": format!("string[{}]", text.len()),
    });
    frame("debug", &data.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comms() -> Arc<Comms> {
        Comms::new(Clock::manual(jiff::Timestamp::UNIX_EPOCH), 1000)
    }

    #[test]
    fn subscriptions_fit_as_in_node_red() {
        for (pattern, topic, expected) in [
            ("debug", "debug", true),
            ("debug", "debug/x", false),
            ("status/#", "status/a", true),
            ("status/#", "status", true),
            ("status/#", "statuses", false),
            ("notification/#", "notification/node/added", true),
            ("notification/+", "notification/node/added", false),
            ("a/+/c", "a/b/c", true),
            ("#", "a", true),
        ] {
            assert_eq!(fits(pattern, topic), expected, "{pattern} {topic}");
        }
    }

    #[test]
    fn who_comes_later_hears_what_is_retained() {
        let comms = comms();
        let status = |text: &str| Status { text: text.into(), ..Status::default() };
        comms.status("a", &status("one"));
        comms.status("b", &status("two"));
        comms.status("a", &status("three"));
        comms.notify("runtime-state", json!({ "state": "start" }), true);
        comms.notify("once", json!({}), false);
        let late = comms.listen();
        comms.replay("status/#", &late);
        comms.replay("notification/#", &late);
        let expected = [
            r#"[{"topic":"status/a","data":{"text":"three"}},{"topic":"status/b","data":{"text":"two"}},"#,
            r#"{"topic":"notification/runtime-state","data":{"state":"start"}}]"#,
        ];
        assert_eq!(late.take(0).unwrap(), expected.concat());
        comms.stopped(&["a".into(), "never".into()]);
        assert_eq!(late.take(0).unwrap(), r#"[{"topic":"status/a","data":{}}]"#);
        let later = comms.listen();
        comms.replay("status/#", &later);
        assert_eq!(later.take(0).unwrap(), r#"[{"topic":"status/b","data":{"text":"two"}}]"#);
    }
}
