//! What was recorded of a real Registry, asked of ours: each answer is the same, or the committed table says which
//! known defect it is that the Registry's came from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use probity::api::registry_v6::Mode;
use probity::clock::Clock;
use probity::config::Config;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Behind, Collector, Computed, Front, Posted};

fn case(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases/governify").join(name)
}

/// One call as it was recorded.
#[derive(Debug, Deserialize)]
struct Recorded {
    note: String,
    method: String,
    path: String,
    body: Option<Value>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    response: Option<Answer>,
    #[serde(default)]
    collector: Vec<Asked>,
    now: Option<Timestamp>,
    /// For a call of which only the number of states was recorded.
    states: Option<usize>,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Answer {
    status: u16,
    #[serde(rename = "type")]
    media: Option<String>,
    body: Value,
}

/// What the collector was asked then, and what it must have answered.
#[derive(Clone, Debug, Deserialize)]
struct Asked {
    url: String,
    cookie: Option<String>,
    body: Value,
    answer: Told,
}

#[derive(Clone, Debug, Deserialize)]
struct Told {
    post: u16,
    polls: u32,
    get: u16,
    #[serde(default)]
    body: Value,
}

/// The table of differences.
#[derive(Deserialize)]
struct Table {
    /// Number of the known defect → what it says.
    sections: BTreeMap<String, String>,
    differences: Vec<Difference>,
}

#[derive(Debug, Deserialize)]
struct Difference {
    transcript: String,
    note: String,
    section: String,
    /// What ours answers, so that the row cannot outlive its reason.
    status: u16,
    why: String,
}

/// The body that a collector is sent, without `window.from`, which the Registry forgets for all but the first term.
fn compared(body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(window) = body.pointer_mut("/metric/window").and_then(Value::as_object_mut) {
        window.remove("from");
    }
    body
}

/// Answers as the recorded collector did; what it was never asked is a failure of the test.
fn answering(asked: Vec<Asked>, strange: Arc<Mutex<Vec<String>>>) -> super::Answering {
    Arc::new(move |posted: &Posted| {
        let same = |a: &&Asked| a.url == posted.url && compared(&a.body) == compared(&posted.body);
        match asked.iter().find(same) {
            Some(found) => {
                if found.cookie != posted.cookie {
                    strange.lock().unwrap().push(format!("cookie {:?} instead of {:?}", posted.cookie, found.cookie));
                }
                let from = posted.body.pointer("/metric/window/from");
                if from != posted.body.pointer("/metric/window/initial") {
                    strange.lock().unwrap().push(format!("window.from is {from:?}"));
                }
                let Told { post, polls, get, body } = found.answer.clone();
                Computed { post, polls, get, body }
            }
            None => {
                strange.lock().unwrap().push(format!("asked {}", posted.body));
                Computed { post: 400, polls: 0, get: 400, body: Value::Null }
            }
        }
    })
}

/// For calls by which the Registry asked nobody: a value for what was asked.
fn one_value() -> super::Answering {
    Arc::new(|posted: &Posted| {
        let metric = &posted.body["metric"];
        let period = json!({"from": metric["window"]["initial"], "to": metric["window"]["end"]});
        let computation = json!({"scope": metric["scope"], "period": period, "value": 85, "evidences": []});
        Computed { post: 201, polls: 0, get: 200, body: json!({ "code": 200, "computations": [computation] }) }
    })
}

/// Two members and seven days, as the collector of the Director's transcript had them.
fn by_days() -> super::Answering {
    Arc::new(|posted: &Posted| {
        assert_eq!(posted.body["metric"]["window"]["initial"], "2024-03-01T00:00:00.000Z");
        let day = |n: u32| format!("2024-03-{n:02}T00:00:00.000Z");
        let computations: Vec<Value> = (1..8)
            .flat_map(|n| ["m000", "m001"].map(|member| (n, member)))
            .map(|(n, member)| {
                json!({"scope": {"project": "p1", "class": "c1", "member": member}, "value": 60 - n, "evidences": [],
                       "period": {"from": day(n), "to": day(n + 1)}})
            })
            .collect();
        Computed { post: 200, polls: 0, get: 200, body: json!({ "code": 200, "computations": computations }) }
    })
}

/// Keys of the database are its own.
fn without_keys(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let own = fields.iter().filter(|(key, _)| key.as_str() != "_id");
            Value::Object(own.map(|(key, value)| (key.clone(), without_keys(value))).collect())
        }
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(without_keys).collect();
            // The Registry stores states at the same time and gives them in the order in which that ends.
            items.sort_by_key(Value::to_string);
            Value::Array(items)
        }
        other => other.clone(),
    }
}

/// Kinds of values and names of fields.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), shape(value))).collect(),
        Value::Array(items) => items.first().map_or(json!([]), |first| json!([shape(first)])),
        Value::String(_) => json!("text"),
        Value::Number(_) => json!(0),
        Value::Bool(_) => json!(true),
        Value::Null => Value::Null,
    }
}

/// The Registry's bytes for a list of states.
fn streamed(states: &[Value]) -> String {
    match states {
        [] => "[]".into(),
        states => {
            let states: Vec<String> = states.iter().map(|s| probity::model::Value::from(s).to_json()).collect();
            format!("[\n{}\n]\n", states.join("\n,\n"))
        }
    }
}

struct Fronts {
    behind: Behind,
    collector: Arc<Collector>,
    url: String,
    plain: Front,
    /// Gives collectors little time.
    hurried: Front,
}

fn configured(url: &str, collect_ms_max: u64) -> impl FnOnce(&mut Config) {
    let url = url.to_owned();
    move |config| {
        for path in ["internal.collector.events", "status-backend"] {
            config.collectors.services.insert(path.into(), url.clone());
        }
        (config.collectors.poll_ms_min, config.collectors.poll_ms_max) = (1, 2);
        config.collectors.collect_ms_max = collect_ms_max;
    }
}

impl Fronts {
    async fn start() -> Fronts {
        let (url, collector) = Collector::start(by_days()).await;
        let behind = Behind::new().await;
        let plain = Front::start(&behind, Clock::System, Mode::Compat, configured(&url, 60_000)).await;
        let hurried = Front::start(&behind, Clock::System, Mode::Compat, configured(&url, 200)).await;
        Fronts { behind, collector, url, plain, hurried }
    }

    /// Asks what was recorded; gives the answer, its text, and what the collector found strange.
    async fn ask(&self, call: &Recorded) -> (Answer, String, Vec<String>) {
        let strange = Arc::new(Mutex::new(Vec::new()));
        let answering = match call.states {
            Some(_) => by_days(),
            None if call.collector.is_empty() => one_value(),
            None => answering(call.collector.clone(), strange.clone()),
        };
        self.collector.answer_with(answering);
        let token = call.headers.get("x-access-token").map(String::as_str);
        let ask = |front: &Front| {
            let (method, path) = (call.method.clone(), call.path.clone());
            let (address, body, token) = (front.address, call.body.clone(), token.map(str::to_owned));
            async move { super::call(address, &method, &path, body.as_ref(), token.as_deref()).await }
        };
        let response = match call.now {
            Some(now) if !(call.path.contains("from=") && call.path.contains("to=")) => {
                let clock = Clock::manual(now);
                let then = Front::start(&self.behind, clock, Mode::Compat, configured(&self.url, 60_000)).await;
                ask(&then).await
            }
            _ if call.collector.iter().any(|asked| asked.answer.polls > 1000 || asked.answer.post == 0) => {
                ask(&self.hurried).await
            }
            _ => ask(&self.plain).await,
        };
        let status = response.status().as_u16();
        let media = response.headers().get("content-type").map(|v| v.to_str().unwrap().to_owned());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or_else(|_| json!(text));
        let strange = strange.lock().unwrap().clone();
        (Answer { status, media, body }, text, strange)
    }
}

/// Why an answer is not the recorded one.
fn difference(call: &Recorded, ours: &Answer, text: &str, strange: &[String], exact: bool) -> Option<String> {
    if let Some(count) = call.states {
        let found = ours.body.as_array().map_or(0, Vec::len);
        return (found != count).then(|| format!("{found} states instead of {count}"));
    }
    let Some(theirs) = &call.response else { return Some("the Registry did not answer".into()) };
    if ours.status != theirs.status {
        return Some(format!("{} instead of {}: {text}", ours.status, theirs.status));
    }
    if !strange.is_empty() {
        return Some(strange.join("; "));
    }
    if ours.media != theirs.media {
        return Some(format!("{:?} instead of {:?}", ours.media, theirs.media));
    }
    let states = theirs.body.as_array().filter(|_| call.path.contains("/guarantees") && theirs.status == 200);
    if let Some(states) = states {
        if without_keys(&ours.body) != without_keys(&theirs.body) {
            return Some(format!("{text} instead of {}", theirs.body));
        }
        let same_order = ours.body.as_array() == Some(states);
        return (same_order && text != streamed(states)).then(|| format!("other bytes: {text:?}"));
    }
    let same = match (theirs.status < 300, exact) {
        (true, true) => without_keys(&ours.body) == without_keys(&theirs.body),
        // Of failures the reason may be said besides.
        (false, _) => match (&theirs.body, &ours.body) {
            (Value::Object(theirs), Value::Object(ours)) => theirs.keys().all(|key| ours.contains_key(key)),
            (theirs, ours) => theirs == ours,
        },
        (true, false) => shape(&ours.body) == shape(&theirs.body),
    };
    (!same).then(|| format!("{text} instead of {}", theirs.body))
}

/// Replays a transcript. Whatever is not the same stands in the table, and nothing stands there that is the same.
async fn replay(transcript: &str, exact: bool) {
    let table = std::fs::read_to_string(case("differences.yaml")).unwrap();
    let table: Table = serde_saphyr::from_str(&table).unwrap();
    let known: Vec<&Difference> = table.differences.iter().filter(|d| d.transcript == transcript).collect();
    let mut used = BTreeSet::new();
    let mut problems = Vec::new();
    let fronts = Fronts::start().await;
    let lines = std::fs::read_to_string(case(&format!("{transcript}.jsonl"))).unwrap();
    for line in lines.lines() {
        let call: Recorded = serde_json::from_str(line).unwrap();
        let (ours, text, strange) = fronts.ask(&call).await;
        let row = known.iter().find(|d| d.note == call.note);
        match (difference(&call, &ours, &text, &strange, exact), row) {
            (None, None) => {}
            (None, Some(_)) => {}
            (Some(_), Some(row)) if row.status == ours.status => {
                used.insert(&row.note);
            }
            (Some(found), row) => problems.push(format!("{} [{:?}]: {found}", call.note, row.map(|r| r.status))),
        }
    }
    for row in known {
        assert!(table.sections.contains_key(&row.section), "section {} has no text", row.section);
        assert!(!row.why.is_empty());
        if !used.contains(&row.note) {
            problems.push(format!("{}: no difference any more", row.note));
        }
    }
    assert!(problems.is_empty(), "{transcript}:\n{}", problems.join("\n"));
}

#[tokio::test]
async fn agreements_and_states() {
    replay("01-agreements-and-states", true).await;
}

#[tokio::test]
async fn values_and_errors() {
    replay("02-values-and-errors", true).await;
}

#[tokio::test]
async fn other_endpoints() {
    replay("04-other-endpoints", false).await;
}

#[tokio::test]
async fn the_flow_of_status() {
    replay("07-status-flow", true).await;
}

#[tokio::test]
async fn the_directors_script() {
    replay("08-director-drives-registry", true).await;
}
