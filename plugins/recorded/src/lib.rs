//! Replays what the nodes of node-red-status (bc5d353, recorded once in Node-RED) did, for the tests of the node packs:
//! `tests/cases/status/<type>.json`, whose README says how they were made.
//!
//! A case is the messages that went into one node and all that came of them. `original` says whether that was right;
//! only right cases are to be repeated.

use std::path::PathBuf;

use probity_sdk::testing::{ContextLevel, Host, Response, Sent};
use probity_sdk::{Error, Map, NodeType, Value};

/// One recorded case.
#[derive(Clone, Debug)]
pub struct Case {
    pub title: String,
    /// Whether what the original did was right.
    pub right: bool,
    /// The node's properties.
    pub config: Map<String, Value>,
    events: Vec<Value>,
    http: Vec<Value>,
    /// The whole case, for the world around the node: `env`, `flowContext`, `globalContext`, `files`, `now`.
    world: Value,
}

/// What came of a case.
#[derive(Debug)]
pub struct Outcome {
    /// What was sent, in order.
    pub sent: Vec<Sent>,
    /// The errors, one per message that failed.
    pub errors: Vec<Error>,
}

/// The cases of a node type.
pub fn cases(node_type: &str) -> Vec<Case> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/status").join(node_type);
    let path = path.with_extension("json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let all: Vec<Value> = probity_sdk::serde_json::from_str(&text).expect("a list of cases");
    all.iter().map(Case::read).collect()
}

impl Case {
    fn read(case: &Value) -> Self {
        let list = |name: &str| case[name].as_array().cloned().unwrap_or_default();
        let node = list("flow").into_iter().find(|node| node["id"] == "n").expect("each case has the node n");
        let mut config = node.as_object().expect("a node is an object").clone();
        config.retain(|name, _| !["id", "type", "z", "name", "x", "y", "wires"].contains(&name.as_str()));
        Self {
            title: case["title"].as_str().expect("each case has a title").to_owned(),
            right: case["original"] == "right",
            config,
            events: list("events"),
            http: list("http"),
            world: case.clone(),
        }
    }

    fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.events.iter().filter(move |event| event["kind"] == kind)
    }

    /// The messages that went in.
    pub fn inputs(&self) -> Vec<Value> {
        self.of_kind("inject").map(|event| plain(&event["msg"])).collect()
    }

    /// What the original sent: output, counted from 0, and message.
    pub fn expected(&self) -> Vec<(u32, Value)> {
        let port = |event: &Value| {
            let number: u32 = event["id"].as_str()?.strip_prefix("out")?.parse().ok()?;
            Some(number - 1)
        };
        self.of_kind("out")
            .map(|event| (port(event).expect("outputs are out1, out2, …"), event["msg"].clone()))
            .collect()
    }

    /// The requests the original sent: `method`, `url`, `headers`, `body`.
    pub fn requests(&self) -> Vec<&Value> {
        self.of_kind("request").collect()
    }

    /// Whether the original reported an error.
    pub fn failed(&self) -> bool {
        self.of_kind("error").next().is_some()
    }

    /// Hands a new node the case's messages, one after the other, each with `more` over the recorded properties.
    pub fn replay<N: NodeType>(&self, more: &Value) -> Outcome {
        self.replay_in::<N>(more).1
    }

    /// As [`replay`](Self::replay), with the host it ran in.
    pub fn replay_in<N: NodeType>(&self, more: &Value) -> (Host, Outcome) {
        let host = Host::new();
        for answer in &self.http {
            prepare(&host, answer);
        }
        surround(&host, &self.world);
        let mut config = self.config.clone();
        config.extend(more.as_object().cloned().unwrap_or_default());
        let mut outcome = Outcome { sent: Vec::new(), errors: Vec::new() };
        let inputs = self.inputs();
        // Where the original was right one caller sent all of them.
        host.caller(inputs.iter().any(|msg| msg.get("req").is_some()));
        for msg in inputs {
            match host.process::<N>(Value::Object(config.clone()), msg) {
                Ok(sent) => outcome.sent.extend(sent),
                Err(error) => outcome.errors.push(error),
            }
        }
        (host, outcome)
    }
}

impl Outcome {
    /// What differs from what the original sent, in words; `None` when nothing does. `tidy` takes out of both sides
    /// what is known to differ.
    pub fn difference(&self, case: &Case, tidy: fn(&mut Value)) -> Option<String> {
        let expected = case.expected();
        if expected.len() != self.sent.len() {
            let (ours, errors) = (&self.sent, &self.errors);
            return Some(format!("{} sent, {} expected: {ours:?}, errors {errors:?}", ours.len(), expected.len()));
        }
        for ((port, mut theirs), ours) in expected.into_iter().zip(&self.sent) {
            let mut msg = ours.msg.clone();
            tidy(&mut theirs);
            tidy(&mut msg);
            if port != ours.port || !same(&theirs, &msg) {
                return Some(format!("output {} got\n  {msg}\ninstead of output {port}\n  {theirs}", ours.port));
            }
        }
        None
    }
}

/// The cases (their titles behind `<type>: `) of a type that differ with a reason, as `differences.json` has them;
/// with `compat` only those that differ with that option, too.
pub fn differences(node_type: &str, compat: bool) -> Vec<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/status/differences.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let all: Value = probity_sdk::serde_json::from_str(&text).expect("lists of cases by type");
    let entries = all[node_type].as_array().cloned().unwrap_or_default();
    let entries = entries.iter().filter(|entry| !(compat && entry["compat"] == true));
    let cases = entries.flat_map(|entry| entry["cases"].as_array().cloned().unwrap_or_default());
    cases.filter_map(|case| case.as_str().map(str::to_owned)).collect()
}

/// Replays the right cases of a type. Every difference must be among the [`differences`], and each of them must differ.
pub fn compare<N: NodeType>(more: &Value, tidy: fn(&mut Value)) {
    compare_sent::<N>(more, tidy, |_| true);
}

/// As [`compare`], for a node type with more outputs than the original: only what leaves by `output`, counted from 0.
pub fn compare_output<N: NodeType>(output: u32, more: &Value, tidy: fn(&mut Value)) {
    compare_sent::<N>(more, tidy, |sent| sent.port == output);
}

fn compare_sent<N: NodeType>(more: &Value, tidy: fn(&mut Value), counts: impl Fn(&Sent) -> bool) {
    let differs = differences(N::TYPE, more["compat"] == true);
    let mut problems = Vec::new();
    let all = cases(N::TYPE);
    let short = |case: &Case| case.title.trim_start_matches(N::TYPE).trim_start_matches(": ").to_owned();
    for case in all.iter().filter(|case| case.right) {
        let mut outcome = case.replay::<N>(more);
        outcome.sent.retain(&counts);
        let found = outcome.difference(case, tidy);
        match (found, differs.contains(&short(case))) {
            (Some(difference), false) => problems.push(format!("{}: {difference}", case.title)),
            (None, true) => problems.push(format!("{}: is as it was recorded, yet listed", case.title)),
            _ => {}
        }
    }
    for title in &differs {
        if !all.iter().any(|case| case.right && short(case) == *title) {
            problems.push(format!("no right case is called {title:?}"));
        }
    }
    assert!(problems.is_empty(), "{} differences\n\n{}", problems.len(), problems.join("\n\n"));
}

/// Sets up what was around the node. Files are named by what follows `{{files}}/`.
fn surround(host: &Host, world: &Value) {
    let entries = |name: &str| world[name].as_object().cloned().unwrap_or_default();
    for (name, value) in entries("env") {
        host.env(&name, value.as_str().unwrap_or_default());
    }
    for (level, name) in [(ContextLevel::Flow, "flowContext"), (ContextLevel::Global, "globalContext")] {
        for (path, value) in entries(name) {
            host.context(level, &path, plain(&value));
        }
    }
    for (name, content) in entries("files") {
        let content = content.as_str().map_or_else(Vec::new, |text| text.as_bytes().to_vec());
        host.file(&format!("{{{{files}}}}/{name}"), content);
    }
    let now = world["now"].as_str().and_then(status_conventions::date::milliseconds);
    if let Some(now) = now.and_then(|now| u64::try_from(now).ok()) {
        host.now_ms(now);
    }
}

fn prepare(host: &Host, answer: &Value) {
    let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    let method = answer["method"].as_str().unwrap_or("GET").to_owned();
    let url = text("url");
    if let Some(error) = answer["error"].as_str() {
        host.fail(&method, &url, Error::new(error));
        return;
    }
    let status = answer["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or(200);
    let headers = answer["headers"].as_object().into_iter().flatten();
    let headers = headers.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect();
    host.answer_with(&method, &url, Response { status, headers, body: content(answer) });
}

fn content(answer: &Value) -> Vec<u8> {
    match (answer["text"].as_str(), answer["base64"].as_str()) {
        (Some(text), _) => text.as_bytes().to_vec(),
        (None, Some(text)) => unbase64(text),
        (None, None) => bytes(&answer["body"]),
    }
}

fn unbase64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.bytes().filter_map(|byte| DIGITS.iter().position(|digit| *digit == byte));
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_usize, 0);
    for digit in digits {
        bits = bits << 6 | digit;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
            bits &= (1 << count) - 1;
        }
    }
    bytes
}

fn bytes(body: &Value) -> Vec<u8> {
    match body {
        Value::Null => Vec::new(),
        Value::String(text) => text.clone().into_bytes(),
        other => other.to_string().into_bytes(),
    }
}

/// A recorded value as JSON that a message can hold: what was undefined is left out, a date is its text.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(object) => match (object.get("$t").and_then(Value::as_str), object.get("v")) {
            (Some("date"), Some(text)) => text.clone(),
            (Some(_), _) => Value::Null,
            (None, _) => {
                let kept = object.iter().filter(|(_, value)| value["$t"] != "undefined");
                Value::Object(kept.map(|(name, value)| (name.clone(), plain(value))).collect())
            }
        },
        Value::Array(items) => Value::Array(items.iter().map(plain).collect()),
        other => other.clone(),
    }
}

/// Whether the value found is what was recorded; volatile values by their kind, numbers by their value.
pub fn same(recorded: &Value, found: &Value) -> bool {
    match (recorded, found) {
        (Value::Object(expected), _) if expected.contains_key("$t") => special(expected, found),
        (Value::Object(expected), Value::Object(object)) => {
            let mut kept = expected.iter().filter(|(_, value)| value["$t"] != "undefined");
            let all = object.keys().all(|name| expected.contains_key(name));
            all && kept.all(|(name, value)| object.get(name).is_some_and(|found| same(value, found)))
        }
        (Value::Array(expected), Value::Array(items)) => {
            expected.len() == items.len() && expected.iter().zip(items).all(|(expected, item)| same(expected, item))
        }
        (Value::Number(expected), Value::Number(number)) => expected.as_f64() == number.as_f64(),
        _ => recorded == found,
    }
}

fn special(expected: &Map<String, Value>, found: &Value) -> bool {
    match (expected["$t"].as_str(), expected.get("v")) {
        (Some("uuid"), _) => found.as_str().is_some_and(|text| text.len() == 36),
        (Some("date"), Some(text)) => found == text,
        (Some("number"), _) => found.is_null(),
        (Some("now"), _) => found.is_string() || found.is_number(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use probity_sdk::json;

    use super::*;

    #[test]
    fn recorded_values_are_compared_by_kind() {
        let recorded = json!({ "id": { "$t": "uuid" }, "at": { "$t": "date", "v": "2024-03-01T10:00:00.000Z" }, "n": 1,
            "gone": { "$t": "undefined" } });
        let id = "00000000-0000-4000-8000-000000000001";
        assert!(same(&recorded, &json!({ "id": id, "at": "2024-03-01T10:00:00.000Z", "n": 1.0 })));
        assert!(!same(&recorded, &json!({ "id": id, "at": "2024-03-01T10:00:00.000Z", "n": 2 })));
        assert!(!same(&recorded, &json!({ "id": id, "at": "2024-03-01T10:00:00.000Z", "n": 1, "more": 1 })));
        assert!(!same(&recorded, &json!({ "id": "x", "at": "2024-03-01T10:00:00.000Z", "n": 1 })));
    }
}
