//! Node-RED's recorded cases against the builtin nodes: flows and messages as data in `tests/cases/node`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use probity::clock::Clock;
use probity::flow;
use probity::model::node_spec::NodeSpec;
use probity::model::run::Trigger;
use probity::model::{Msg, Object, Value};
use probity::nodes::catalogue;
use probity::runtime::engine::{Opening, Start};
use probity::runtime::{Catalogue, Cx, Engine, Limits, Node, NodeType, Services, Step};

/// Cases that pass today; a change that makes fewer pass is a regression.
const PASSED_MIN: usize = 216;

/// The clock stands here when a case begins: between two seconds, as it did for the recorded cron cases.
const START: &str = "2026-03-01T12:00:00.440Z";

/// Time moves in steps of this, milliseconds.
const STEP_MS: u64 = 5;

/// What reached a `helper` node, by its id.
type Seen = BTreeMap<String, Vec<Value>>;

/// What happened to a case.
pub enum Outcome {
    Passed,
    Differs(String),
}

static HELPER: NodeSpec = NodeSpec {
    node_type: "helper",
    category: "test",
    summary: "",
    inputs: 1,
    outputs: Some(1),
    config_node: false,
    properties: &[],
    capabilities: &[],
};

thread_local! {
    static SEEN: std::cell::RefCell<Arc<Mutex<Seen>>> = std::cell::RefCell::default();
}

/// Records what reaches it.
struct Helper {
    seen: Arc<Mutex<Seen>>,
}

impl Node for Helper {
    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        let mut seen = self.seen.lock().unwrap();
        seen.entry(cx.node().id.to_string()).or_default().push(msg.to_value());
        Step::Done
    }
}

const HELPER_TYPE: NodeType =
    NodeType { spec: &HELPER, build: |_| Ok(Arc::new(Helper { seen: SEEN.with_borrow(|seen| seen.clone()) })) };

#[test]
fn recorded_cases_replay() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/node");
    let known = differences(&folder);
    let mut unlisted = Vec::new();
    let mut listed = BTreeSet::new();
    let mut passed_in_all = 0;
    for (name, cases) in read_cases(&folder) {
        let (mut passed, mut differing) = (0, 0);
        for case in cases {
            let id = format!("{name}: {}", case.get("title").to_js_string());
            match replay(&case) {
                Outcome::Passed => {
                    passed += 1;
                    if known.contains_key(&id) {
                        unlisted.push(format!("{id}\n  passes now: remove it from differences.yaml"));
                    }
                }
                Outcome::Differs(_) if known.contains_key(&id) => {
                    differing += 1;
                    listed.insert(id);
                }
                Outcome::Differs(how) => unlisted.push(format!("{id}\n  {how}")),
            }
        }
        println!("{name}: {passed} passed, {differing} differ as listed");
        passed_in_all += passed;
    }
    assert!(unlisted.is_empty(), "{} surprises:\n{}", unlisted.len(), unlisted.join("\n"));
    assert!(passed_in_all >= PASSED_MIN, "only {passed_in_all} cases passed");
}

/// Case to reason.
fn differences(folder: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(folder.join("differences.yaml")).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

fn read_cases(folder: &Path) -> Vec<(String, Vec<Value>)> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "json"));
    files.sort();
    files
        .into_iter()
        .map(|file| {
            let cases = Value::from_json(&std::fs::read_to_string(&file).unwrap()).unwrap();
            (file.file_stem().unwrap().to_string_lossy().into(), cases.as_array().unwrap().to_vec())
        })
        .collect()
}

fn replay(case: &Value) -> Outcome {
    replay_in(case, catalogue())
}

/// Replays a case with these node types.
pub fn replay_in(case: &Value, mut catalogue: Catalogue) -> Outcome {
    assert!(catalogue.add(HELPER_TYPE.into()).is_ok(), "no builtin type has the helper's name");
    let entries = match case.get("flow").to_serde() {
        serde_json::Value::Array(entries) => placed(entries),
        other => panic!("no flow: {other}"),
    };
    let structural = ["tab", "subflow", "group", "global-config"];
    for entry in &entries {
        let node_type = entry["type"].as_str().unwrap();
        let known = structural.contains(&node_type) || node_type.starts_with(flow::SUBFLOW_PREFIX);
        if !known && catalogue.get(node_type).is_none() {
            return Outcome::Differs(format!("unknown node type {node_type}"));
        }
    }
    let (file, _) = flow::load_value(entries, "");
    let plan = flow::plan(&file, &|t| catalogue.spec(t), &|_| None);
    let seen: Arc<Mutex<Seen>> = Arc::default();
    SEEN.set(seen.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let stopped = runtime.block_on(run(case, catalogue, plan));
    drop(runtime);
    let (want, got) = (wanted(case), canonical_lists(&seen.lock().unwrap()));
    match (stopped, want == got) {
        (_, true) => Outcome::Passed,
        (Some(why), false) => Outcome::Differs(format!("the flow does not run: {why}")),
        (None, false) => Outcome::Differs(format!("expected {want:?}\n  got      {got:?}")),
    }
}

/// The recorded flows name no tab and no place on it where the test helper needs none; the format does.
fn placed(mut entries: Vec<serde_json::Value>) -> Vec<serde_json::Value> {
    let tab = entries.iter().find(|e| e["type"] == "tab").map(|e| e["id"].clone());
    let tab = tab.unwrap_or_else(|| {
        entries.insert(0, serde_json::json!({"id": "replay", "type": "tab", "label": "replay"}));
        "replay".into()
    });
    for entry in &mut entries {
        let structural = ["tab", "subflow", "group", "global-config"].iter().any(|t| entry["type"] == *t);
        if let (false, Some(entry)) = (structural, entry.as_object_mut()) {
            entry.entry("z").or_insert_with(|| tab.clone());
            entry.entry("x").or_insert(10.into());
            entry.entry("y").or_insert(10.into());
        }
    }
    entries
}

/// Deploys and plays the case's messages at their times; returns why the flow does not run.
async fn run(case: &Value, catalogue: Catalogue, plan: probity::model::flow::Plan) -> Option<String> {
    let clock = Clock::manual(START.parse().unwrap());
    let services = Services::new(clock.clone(), Limits::default(), Default::default());
    let engine = Engine::new(Arc::new(services), catalogue);
    let deployed = engine.deploy(plan);
    let mut now = 0;
    for event in case.get("events").as_array().unwrap() {
        let at = event.get("t").to_number() as u64;
        while now < at {
            now = at.min(now + STEP_MS);
            settle().await;
            clock.advance(Duration::from_millis(STEP_MS.min(at + STEP_MS - now)));
        }
        settle().await;
        if event.get("kind").as_str() != Some("inject") || event.get("type").as_str() == Some("helper") {
            continue;
        }
        let id = event.get("id").to_js_string();
        let Some(node) = deployed.plan.nodes.iter().position(|n| n.id == id) else {
            return Some(format!("there is no node {id}"));
        };
        if let Some(stopped) = deployed.stopped(node as u32) {
            return Some(format!("{stopped:?}"));
        }
        let Value::Object(msg) = decode(&event.get("msg")) else { panic!("a message is an object") };
        let trigger = Trigger::Inject { node: id.to_string() };
        let opening =
            Opening { node: node as u32, start: Start::Deliver, msg: Msg::from_object(msg), trigger, reply: None };
        if deployed.spawn(opening).is_err() {
            return Some("too many runs".into());
        }
    }
    settle().await;
    engine.drain(Duration::ZERO).await;
    None
}

/// Lets every task go as far as it can while time stands still.
async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

fn wanted(case: &Value) -> BTreeMap<String, Vec<Value>> {
    let mut out: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for event in case.get("events").as_array().unwrap() {
        if event.get("kind").as_str() == Some("out") {
            let id = event.get("id").to_js_string();
            let id = id.split('@').next().unwrap_or_default().to_string();
            out.entry(id).or_default().push(canonical(&decode(&event.get("msg"))));
        }
    }
    out
}

fn canonical_lists(seen: &Seen) -> BTreeMap<String, Vec<Value>> {
    seen.iter().map(|(id, msgs)| (id.clone(), msgs.iter().map(canonical).collect())).collect()
}

/// Undoes the recording's encoding of what JSON cannot say.
fn decode(value: &Value) -> Value {
    match value {
        Value::Array(items) => Value::array(items.iter().map(decode).collect()),
        Value::Object(object) => match object.get("$t").and_then(Value::as_str) {
            Some("buffer") => {
                let text = object.get("v").unwrap().to_js_string();
                Value::Bytes(Arc::new(base64::engine::general_purpose::STANDARD.decode(text.as_str()).unwrap()))
            }
            Some("undefined") => Value::Undefined,
            Some("error") => Value::error(object.get("message").unwrap_or(&Value::Undefined).to_js_string()),
            Some(other) => panic!("no decoding for {other}"),
            None => object.iter().map(|(k, v)| (k.clone(), decode(v))).collect::<Object>().into(),
        },
        other => other.clone(),
    }
}

/// Ids and times, which differ from run to run, as placeholders; properties that are nobody's business left out.
fn canonical(value: &Value) -> Value {
    match value {
        Value::String(text)
            if (14..=32).contains(&text.len()) && text.bytes().all(|b| b"0123456789abcdef".contains(&b)) =>
        {
            "<id>".into()
        }
        Value::Number(n) if (1.6e12..4e12).contains(n) => "<time>".into(),
        Value::Date(_) => "<time>".into(),
        // Its stack is one of another engine.
        Value::Error(error) => Value::error(error.message.clone()),
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
