//! A run of the history as a test file: what set it off is the step, what came from outside is mocked, what it showed
//! and answered is expected. Values that differ from run to run (times, ids) are only expected to be there.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Map, Value as Json, json};

/// A recorded test.
pub struct Recorded {
    pub yaml: String,
    /// What a person should look at before relying on it.
    pub note: String,
}

/// Nodes that ask the world by other ways than HTTP: they are mocked as a whole.
const OUTSIDE: [&str; 7] = ["sql", "mongodb", "exec", "file", "file in", "mqtt out", "evaluate"];

/// Makes a test of a run, as `GET /probity/v1/runs/{id}` gives it, of these flow entries; `flow` names their file.
///
/// # Errors
/// Its messages were not kept.
pub fn recorded(run: &Json, entries: &[Map<String, Json>], flow: &str) -> Result<Recorded, String> {
    let steps = run["trace"].as_array().map_or(&[][..], Vec::as_slice);
    let first = steps.first().filter(|step| step["input"].is_object() || step["sent"].is_array());
    let first = first.ok_or("the messages of this run were not kept, so there is nothing to test with")?;
    let of = Entries(entries);
    let (http, mocks) = outside(steps, &of);
    let (debug, reply) = shown(steps, &of);
    let mut expect = Map::new();
    expect.insert("debug".into(), debug.into());
    if let Some(message) = run["error"]["message"].as_str() {
        expect.insert("errors".into(), json!([{ "node": run["error"]["node"], "message": message }]));
    }
    let name = format!("as recorded of run {}", run["id"].as_str().unwrap_or_default());
    let mut case = Map::new();
    case.insert("name".into(), name.into());
    if !http.is_empty() {
        case.insert("http".into(), http.into());
    }
    if !mocks.is_empty() {
        case.insert("mocks".into(), mocks.into());
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
        let named = |entry: &&Map<String, Json>| {
            entry.get("id").and_then(Json::as_str).is_some_and(|own| own == id || id.ends_with(&format!("-{own}")))
        };
        self.0.iter().find(named)?.get(property)
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
    if trigger["kind"] == "http" {
        let url = input["req"]["url"].as_str().or(trigger["path"].as_str()).unwrap_or("/");
        let mut call = json!({ "method": trigger["method"], "path": url });
        if trigger["method"] != "GET" {
            call["body"] = input["payload"].clone();
        }
        if let Some(reply) = reply {
            call["reply"] = reply;
        }
        return json!({ "call": call });
    }
    // An entry emits what it is given: what it sent then.
    let is_entry = trigger["node"] == first["node"];
    let sent = &first["sent"][0]["msg"];
    let given = if is_entry && sent.is_object() { sent } else { input };
    json!({ "give": { "node": first["node"], "msg": plain(given) } })
}

/// Mocks of what came from outside: answers to HTTP requests, and what other nodes made of their messages.
fn outside(steps: &[Json], of: &Entries<'_>) -> (Vec<Json>, Vec<Json>) {
    let (mut http, mut mocks) = (Vec::new(), Vec::new());
    let mut open: BTreeMap<&str, VecDeque<&Json>> = BTreeMap::new();
    for step in steps {
        let (node, node_type) = (text(step, "node"), text(step, "node_type"));
        if node_type != "http request" && !OUTSIDE.contains(&node_type) {
            continue;
        }
        if step["input"].is_object() {
            open.entry(node).or_default().push_back(&step["input"]["msg"]);
        }
        for sent in step["sent"].as_array().into_iter().flatten() {
            // It went on after a wait: with the first message that waits.
            let Some(asked) = open.get_mut(node).and_then(VecDeque::pop_front) else { continue };
            let got = &sent["msg"];
            if node_type == "http request" {
                http.push(json!({ "when": request(asked, node, of), "answer": answer(got), "times": 1 }));
            } else {
                let port = sent["port"].as_u64().unwrap_or(0);
                mocks.push(json!({ "node": node, "answer": changed(asked, got), "port": port, "times": 1 }));
            }
        }
    }
    (http, mocks)
}

fn request(asked: &Json, node: &str, of: &Entries<'_>) -> Json {
    let mut when = Map::new();
    let own = of.text(node, "url");
    let url = if own.is_empty() { text(asked, "url").to_string() } else { own };
    // One with mustache in it was another text when it was sent.
    if url.contains("://")
        && !url.contains("{{")
        && let Ok(url) = url::Url::parse(&url)
    {
        when.insert("url".into(), url.as_str().into());
    }
    let method = match of.text(node, "method").as_str() {
        "use" => text(asked, "method").to_uppercase(),
        method => method.to_uppercase(),
    };
    if !method.is_empty() {
        when.insert("method".into(), method.into());
    }
    Json::Object(when)
}

fn answer(got: &Json) -> Json {
    let mut answer = json!({ "status": got["statusCode"].as_u64().unwrap_or(200), "body": got["payload"] });
    if let Some(kind) = got["headers"]["content-type"].as_str() {
        answer["headers"] = json!({ "content-type": kind });
    }
    answer
}

/// The properties that came or changed.
fn changed(before: &Json, after: &Json) -> Json {
    let after = plain(after);
    let kept = after.as_object().into_iter().flatten().filter(|(key, value)| before.get(key.as_str()) != Some(value));
    Json::Object(kept.map(|(key, value)| (key.clone(), value.clone())).collect())
}

/// What debug nodes showed, and the reply.
fn shown(steps: &[Json], of: &Entries<'_>) -> (Vec<Json>, Option<Json>) {
    let (mut debug, mut reply) = (Vec::new(), None);
    for step in steps.iter().filter(|step| step["input"].is_object()) {
        let (node, msg) = (text(step, "node"), &step["input"]["msg"]);
        match text(step, "node_type") {
            "debug" if of.get(node, "active") != Some(&json!(false)) => {
                let label = if text(step, "name").is_empty() { node } else { text(step, "name") };
                let property = of.text(node, "complete");
                let value = match (of.text(node, "targetType").as_str(), property.as_str()) {
                    // Computed: what it is here is not in the trace.
                    ("jsonata", _) => json!({ "$exists": true }),
                    ("full", _) | (_, "true") => lasting(&plain(msg)),
                    (_, property) => {
                        let property = if property.is_empty() || property == "false" { "payload" } else { property };
                        let at = format!("/{}", property.replace('.', "/"));
                        msg.pointer(&at).map_or_else(|| json!({ "$exists": true }), lasting)
                    }
                };
                debug.push(json!({ "node": label, "value": value }));
            }
            "http response" if reply.is_none() => {
                let own = of.text(node, "statusCode").parse::<u64>().ok();
                let status = own.or(msg["statusCode"].as_u64()).unwrap_or(200);
                reply = Some(json!({ "status": status, "body": lasting(&msg["payload"]) }));
            }
            _ => {}
        }
    }
    (debug, reply)
}

/// A value with what differs from run to run only expected to be there.
fn lasting(value: &Json) -> Json {
    let is_time = |n: f64| (1.5e12..4.2e12).contains(&n);
    let is_instant = |t: &str| t.len() >= 20 && t.as_bytes()[10] == b'T' && t.parse::<jiff::Timestamp>().is_ok();
    let is_id = |t: &str| (t.len() == 16 || t.len() == 32) && t.bytes().all(|b| b.is_ascii_hexdigit());
    match value {
        Json::Number(n) if n.as_f64().is_some_and(is_time) => json!({ "$exists": true }),
        Json::String(t) if t.is_ascii() && (is_instant(t) || is_id(t) || uuid::Uuid::parse_str(t).is_ok()) => {
            json!({ "$exists": true })
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
            { "node": "ask", "node_type": "http request", "input": input(json!({ "_msgid": "1", "req": { "url": "/x?n=1" }, "payload": { "n": "1" } })) },
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
            json!([{ "call": { "method": "GET", "path": "/x?n=1", "reply": { "status": 201, "body": { "ok": true } } } }])
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
