//! A run of the history as a test file: what set it off is the step, what came from outside is mocked, what it showed
//! and answered is expected. Values that differ from run to run (times, ids) are only expected to be there, and so is
//! what was masked or cut.

mod outside;

use serde_json::{Map, Value as Json, json};

use crate::model::run::MASK;
use crate::model::{Msg, Path, Value};

/// A recorded test.
pub struct Recorded {
    pub yaml: String,
    /// What a person should look at before relying on it.
    pub note: String,
}

/// Headers that say who called and by which way; a flow does not depend on them.
const CALLERS_HEADERS: [&str; 21] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "connection",
    "content-length",
    "dnt",
    "forwarded",
    "host",
    "origin",
    "pragma",
    "priority",
    "referer",
    "te",
    "traceparent",
    "tracestate",
    "transfer-encoding",
    "upgrade-insecure-requests",
    "user-agent",
    "via",
    "x-real-ip",
];

/// Makes a test of a run, as `GET /probity/v1/runs/{id}` gives it, of these flow entries; `flow` names their file.
///
/// # Errors
/// Its messages were not kept.
pub fn recorded(run: &Json, entries: &[Map<String, Json>], flow: &str) -> Result<Recorded, String> {
    let steps = run["trace"].as_array().map_or(&[][..], Vec::as_slice);
    let first = steps.first().filter(|step| step["input"].is_object() || step["sent"].is_array());
    let first = first.ok_or("the messages of this run were not kept, so there is nothing to test with")?;
    let of = Entries(entries);
    let outside = outside::answers(run, steps, &of);
    let (debug, reply) = shown(steps, &of);
    let mut expect = Map::new();
    expect.insert("debug".into(), debug.into());
    if let Some(errors) = errors(run, steps) {
        expect.insert("errors".into(), errors);
    }
    let name = format!("as recorded of run {}", text(run, "id"));
    let mut case = Map::new();
    case.insert("name".into(), name.into());
    if !outside.http.is_empty() {
        case.insert("http".into(), outside.http.into());
    }
    if !outside.mocks.is_empty() {
        case.insert("mocks".into(), outside.mocks.into());
    }
    case.insert("steps".into(), json!([step(run, first, reply)]));
    case.insert("expect".into(), Json::Object(expect));
    let file = json!({ "flow": flow, "now": run["started_at"], "tests": [case] });
    let yaml = serde_saphyr::to_string(&file).map_err(|e| e.to_string())?;
    Ok(Recorded { yaml, note: note(run, steps) })
}

/// The flow file, looked into by ids of traces.
struct Entries<'a>(&'a [Map<String, Json>]);

impl Entries<'_> {
    /// Of the node, or of its definition inside a subflow.
    fn get(&self, id: &str, property: &str) -> Option<&Json> {
        let is = |entry: &Map<String, Json>, fits: &dyn Fn(&str) -> bool| {
            entry.get("id").and_then(Json::as_str).is_some_and(fits)
        };
        let itself = self.0.iter().find(|entry| is(entry, &|own| own == id));
        let inside = || self.0.iter().find(|entry| is(entry, &|own| id.ends_with(&format!("-{own}"))));
        itself.or_else(inside)?.get(property)
    }

    fn text(&self, id: &str, property: &str) -> String {
        self.get(id, property).and_then(Json::as_str).unwrap_or_default().to_string()
    }
}

fn text<'a>(json: &'a Json, key: &str) -> &'a str {
    json[key].as_str().unwrap_or_default()
}

/// A message without what belongs to its run.
fn plain(msg: &Json) -> Json {
    let kept =
        msg.as_object().into_iter().flatten().filter(|(key, _)| {
            !matches!(key.as_str(), "_msgid" | "req" | "res" | "_session" | "_linkSource" | "_event")
        });
    Json::Object(kept.map(|(key, value)| (key.clone(), value.clone())).collect())
}

/// What set the run off.
fn step(run: &Json, first: &Json, reply: Option<Json>) -> Json {
    let trigger = &run["trigger"];
    let input = &first["input"]["msg"];
    match text(trigger, "kind") {
        "http" => json!({ "call": call(trigger, input, reply) }),
        "metric" if input["metric"]["name"].is_string() => {
            let (metric, window) = (&input["metric"], &input["metric"]["window"]);
            let window = json!({ "from": window["from"], "to": window["end"] });
            json!({ "metric": { "name": metric["name"], "scope": metric["scope"], "window": window } })
        }
        kind => {
            // An entry emits what it is given: what it sent then, or what the first node behind it was given.
            let entry = trigger["node"].as_str().unwrap_or_else(|| text(first, "node"));
            let sent = &first["sent"][0]["msg"];
            let is_entry = kind == "cron" || trigger["node"] == first["node"];
            let given = if is_entry && sent.is_object() { sent } else { input };
            json!({ "give": { "node": entry, "msg": plain(given) } })
        }
    }
}

fn call(trigger: &Json, input: &Json, reply: Option<Json>) -> Json {
    let request = &input["req"];
    let url = request["url"].as_str().or(trigger["path"].as_str()).unwrap_or("/");
    let mut call = json!({ "method": trigger["method"], "path": url });
    let headers: Map<String, Json> = request["headers"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, value)| {
            let own = !CALLERS_HEADERS.contains(&name.as_str())
                && !["sec-", "x-forwarded-", "x-request"].iter().any(|of| name.starts_with(of));
            own && value.as_str().is_some_and(|text| !text.contains(MASK))
        })
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if !headers.is_empty() {
        call["headers"] = headers.into();
    }
    if trigger["method"] != "GET" && !input["payload"].is_null() {
        call["body"] = input["payload"].clone();
    }
    if let Some(reply) = reply {
        call["reply"] = reply;
    }
    call
}

/// The one error that no catch node took; `None` when there may have been more, of which the history knows no words.
fn errors(run: &Json, steps: &[Json]) -> Option<Json> {
    let (node, message) = (text(&run["error"], "node"), text(&run["error"], "message"));
    let failed = steps.iter().filter(|step| step["note"] == "failed").count();
    let known = !message.is_empty() && !node.is_empty() && failed <= 1;
    known.then(|| json!([{ "node": node, "message": lasting(&json!(message)) }]))
}

/// What debug nodes showed, and the reply.
fn shown(steps: &[Json], of: &Entries<'_>) -> (Vec<Json>, Option<Json>) {
    let (mut debug, mut reply) = (Vec::new(), None);
    for step in steps.iter().filter(|step| step["input"].is_object()) {
        let (node, msg) = (text(step, "node"), &step["input"]["msg"]);
        let cut = step["input"]["cut"] == true;
        match text(step, "node_type") {
            "debug" if is_on(of, node, "active") && is_on(of, node, "tosidebar") => {
                let label = if text(step, "name").is_empty() { node } else { text(step, "name") };
                let value = if cut { anything() } else { debugged(node, msg, of) };
                debug.push(json!({ "node": label, "value": value }));
            }
            "http response" if reply.is_none() => {
                let own = of.text(node, "statusCode").parse::<u64>().ok();
                let said = &msg["statusCode"];
                let said = said.as_u64().or_else(|| said.as_str()?.parse().ok());
                let mut expected = json!({ "status": own.or(said).unwrap_or(200) });
                if !cut && !msg["payload"].is_null() {
                    expected["body"] = lasting(&as_received(&msg["payload"]));
                }
                reply = Some(expected);
            }
            _ => {}
        }
    }
    (debug, reply)
}

/// Whether a property that is on when it is not there is on.
fn is_on(of: &Entries<'_>, node: &str, property: &str) -> bool {
    !matches!(of.get(node, property), Some(Json::Bool(false)))
}

/// What a debug node showed of this message.
fn debugged(node: &str, msg: &Json, of: &Entries<'_>) -> Json {
    let property = of.text(node, "complete");
    match (of.text(node, "targetType").as_str(), property.as_str()) {
        // Computed: what it came to is not in the trace.
        ("jsonata", _) => anything(),
        ("full", _) | (_, "true") => lasting(&plain(msg)),
        (_, property) => {
            let property = if property.is_empty() || property == "false" { "payload" } else { property };
            let value = Path::parse(property).ok().and_then(|path| {
                let msg = Msg::from_value(&Value::from(msg))?;
                Some(msg.get_path(&path)).filter(|value| !value.is_undefined())
            });
            value.map_or_else(anything, |value| lasting(&value.to_serde()))
        }
    }
}

/// What is only expected to be there.
fn anything() -> Json {
    json!({ "$exists": true })
}

/// A payload as a test reads it from the reply: JSON if it is JSON, else text.
fn as_received(payload: &Json) -> Json {
    let text = match payload {
        Json::String(text) => text.clone(),
        buffer => match bytes(buffer) {
            Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            None => return payload.clone(),
        },
    };
    serde_json::from_str(&text).unwrap_or(Json::String(text))
}

/// The bytes of a buffer as Node.js writes it in JSON.
fn bytes(value: &Json) -> Option<Vec<u8>> {
    let data = value.get("data").filter(|_| value["type"] == "Buffer")?.as_array()?;
    data.iter().map(|byte| byte.as_u64().and_then(|byte| u8::try_from(byte).ok())).collect()
}

/// A value with what differs from run to run, or is not known, only expected to be there.
fn lasting(value: &Json) -> Json {
    let is_time = |n: f64| (1.5e12..4.2e12).contains(&n);
    let is_instant = |t: &str| t.len() >= 20 && t.as_bytes()[10] == b'T' && t.parse::<jiff::Timestamp>().is_ok();
    let is_id = |t: &str| (t.len() == 16 || t.len() == 32) && t.bytes().all(|b| b.is_ascii_hexdigit());
    match value {
        Json::Number(n) if n.as_f64().is_some_and(is_time) => anything(),
        Json::String(t) if t.contains(MASK) => anything(),
        Json::String(t) if t.is_ascii() && (is_instant(t) || is_id(t) || uuid::Uuid::parse_str(t).is_ok()) => {
            anything()
        }
        Json::Array(items) => items.iter().map(lasting).collect(),
        Json::Object(map) => Json::Object(map.iter().map(|(k, v)| (k.clone(), lasting(v))).collect()),
        other => other.clone(),
    }
}

fn note(run: &Json, steps: &[Json]) -> String {
    let mut notes =
        vec!["Save it beside the flow file as <name>.test.yaml, and run it with `probity test`.".to_string()];
    let all = || steps.iter().flat_map(|s| s["sent"].as_array().into_iter().flatten().chain([&s["input"]]));
    if all().any(|message| message["cut"] == true) {
        notes.push("Some messages were too long to be kept whole (trace.message_bytes_max): complete them.".into());
    }
    if all().any(|message| message["masked"] == true) {
        notes.push("Secrets are masked: put in what the test is to use.".into());
    }
    if run["trace_dropped"].as_u64().unwrap_or(0) > 0 {
        notes.push("Only the first steps were kept: what later ones showed is not expected.".into());
    }
    if steps.iter().filter(|step| step["note"] == "failed").count() > 1 {
        notes.push("More than one node failed: errors are not expected.".into());
    }
    notes.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(trigger: &Json, trace: &Json) -> Json {
        json!({ "id": "r", "trigger": trigger, "started_at": "2026-01-01T00:00:00Z", "trace": trace, "trace_dropped": 0 })
    }

    fn entries() -> Vec<Map<String, Json>> {
        let entries = json!([
            { "id": "ask", "type": "http request", "method": "GET", "url": "http://shop.test/n" },
            { "id": "rows", "type": "sql" },
            { "id": "seen", "type": "debug", "complete": "payload", "targetType": "msg" },
            { "id": "end", "type": "http response", "statusCode": "" },
        ]);
        entries.as_array().unwrap().iter().map(|e| e.as_object().unwrap().clone()).collect()
    }

    fn read(recorded: &Recorded) -> Json {
        serde_saphyr::from_str(&recorded.yaml).unwrap()
    }

    #[test]
    fn a_call_becomes_a_step_and_what_came_from_outside_is_mocked() {
        let input = |msg: Json| json!({ "msg": msg });
        let trace = json!([
            { "node": "ask", "node_type": "http request", "input": input(json!({ "_msgid": "1", "payload": { "n": "1" },
              "req": { "url": "/x?n=1", "headers": { "host": "h", "x-team": "blue", "authorization": MASK } } })) },
            { "node": "ask", "node_type": "http request",
              "sent": [{ "port": 0, "msg": { "payload": 7, "statusCode": 200, "headers": { "content-type": "text/plain" } } }] },
            { "node": "rows", "node_type": "sql", "input": input(json!({ "payload": 7 })),
              "sent": [{ "port": 0, "msg": { "payload": [{ "a": 1 }] }, "masked": true }] },
            { "node": "seen", "node_type": "debug", "name": "Seen", "input": input(json!({ "payload": { "at": 1700000000000u64, "n": 1 } })) },
            { "node": "end", "node_type": "http response", "input": input(json!({ "payload": { "ok": true }, "statusCode": 201 })) },
        ]);
        let trigger = json!({ "kind": "http", "method": "GET", "path": "/x" });
        let recorded = recorded(&run(&trigger, &trace), &entries(), "f.json").unwrap_or_else(|e| panic!("{e}"));
        let file = read(&recorded);
        let case = &file["tests"][0];
        assert_eq!((&file["flow"], &file["now"]), (&json!("f.json"), &json!("2026-01-01T00:00:00Z")));
        assert_eq!(
            case["steps"],
            json!([{ "call": { "method": "GET", "path": "/x?n=1", "headers": { "x-team": "blue" },
                     "reply": { "status": 201, "body": { "ok": true } } } }])
        );
        assert_eq!(
            case["http"],
            json!([{ "when": { "method": "GET", "url": "http://shop.test/n" }, "times": 1,
                     "answer": { "status": 200, "body": 7, "headers": { "content-type": "text/plain" } } }])
        );
        assert_eq!(
            case["mocks"],
            json!([{ "node": "rows", "answer": { "payload": [{ "a": 1 }] }, "port": 0, "times": 1 }])
        );
        assert_eq!(
            case["expect"],
            json!({ "debug": [{ "node": "Seen", "value": { "at": { "$exists": true }, "n": 1 } }] })
        );
        assert!(recorded.note.contains("masked"), "{}", recorded.note);
    }

    #[test]
    fn an_inject_is_given_what_it_sent() {
        let trace = json!([
            { "node": "press", "node_type": "inject", "input": { "msg": { "_msgid": "1" } },
              "sent": [{ "port": 0, "msg": { "_msgid": "1", "payload": "hello" } }] },
        ]);
        let recorded = recorded(&run(&json!({ "kind": "inject", "node": "press" }), &trace), &[], "f.json");
        let file = read(&recorded.unwrap_or_else(|e| panic!("{e}")));
        assert_eq!(file["tests"][0]["steps"], json!([{ "give": { "node": "press", "msg": { "payload": "hello" } } }]));
        let bare = json!([{ "node": "press", "node_type": "inject" }]);
        assert!(super::recorded(&run(&json!({ "kind": "inject", "node": "press" }), &bare), &[], "f").is_err());
    }
}
