//! The recorded originals of `tests/cases/status` against our nodes in the real sandbox: every case that was right gives
//! the same messages, but for what `differences.json` lists with its reason; no case, right or wrong, stops a guest.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use probity::clock::Clock;
use probity::model::node_spec::NodeSpec;
use probity::model::run::Trigger;
use probity::model::{Msg, Path, Value};
use probity::net::Net;
use probity::runtime::catalogue::Known;
use probity::runtime::context::{Level, Owner};
use probity::runtime::{Catalogue, Cx, Deployed, Node, NodeType, Step};
use serde_json::{Map, Value as Json, json};

use super::outside::{BACKEND, Outside, same, value};
use super::packs::{STATUS, shipped};
use super::rig::{Outcome, Rig, World};

/// When the tests take place: the instant that the cases with `now` were recorded at.
const NOW: &str = "2024-03-31T12:00:00Z";

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases/status")
}

/// One recorded case, with what its places stand for put in.
struct Case {
    title: String,
    right: bool,
    json: Json,
}

impl Case {
    fn all(node_type: &str, files: &std::path::Path) -> Vec<Case> {
        let text = std::fs::read_to_string(folder().join(format!("{node_type}.json"))).unwrap();
        let text = text.replace("{{backend}}", BACKEND).replace("{{files}}", files.to_str().unwrap());
        let cases: Vec<Json> = serde_json::from_str(&text).unwrap();
        let short = |case: &Json| case["title"].as_str().unwrap().split_once(": ").unwrap().1.to_owned();
        cases.into_iter().map(|c| Case { title: short(&c), right: c["original"] == "right", json: c }).collect()
    }

    /// The node of the case, as an entry of a flow file with this id.
    fn node(&self, id: &str, more: &Json) -> Json {
        let nodes = self.json["flow"].as_array().unwrap();
        let mut node = nodes.iter().find(|n| n["id"] == "n").unwrap().as_object().unwrap().clone();
        let outputs = node["wires"].as_array().unwrap().len();
        node.extend(more.as_object().unwrap().clone());
        node.insert("id".into(), id.into());
        node.insert("wires".into(), vec![json!([]); outputs].into());
        node.into()
    }

    fn events(&self, kind: &str) -> impl Iterator<Item = &Json> {
        self.json["events"].as_array().unwrap().iter().filter(move |event| event["kind"] == kind)
    }

    fn inputs(&self) -> Vec<Value> {
        self.events("inject").map(|event| value(&event["msg"])).collect()
    }

    /// Output, counted from 0, and message.
    fn expected(&self) -> Vec<(usize, Json)> {
        let port = |event: &Json| event["id"].as_str().unwrap().trim_start_matches("out").parse::<usize>().unwrap() - 1;
        self.events("out").map(|event| (port(event), event["msg"].clone())).collect()
    }
}

/// Puts the messages of its list into one run, one after the other.
pub struct Feed;

static FEED: NodeSpec = NodeSpec {
    node_type: "test feed",
    category: "test",
    summary: "Emits each of msg.messages.",
    inputs: 1,
    outputs: Some(1),
    config_node: false,
    properties: &[],
    capabilities: &[],
};

impl Node for Feed {
    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        for item in msg.get("messages").and_then(Value::as_array).unwrap_or_default() {
            cx.emit(0, message(item));
        }
        Step::Done
    }
}

pub fn with_feed(catalogue: &mut Catalogue) {
    assert!(catalogue.add(Known::from(NodeType { spec: &FEED, build: |_| Ok(Arc::new(Feed)) })).is_ok());
}

fn message(value: &Value) -> Msg {
    let mut msg = Msg::from_object(value.as_object().cloned().unwrap_or_default());
    msg.ensure_id();
    msg
}

/// All packs on an engine, and the world they see.
struct Bench {
    rig: Rig,
    outside: Arc<Mutex<Outside>>,
    files: tempfile::TempDir,
}

impl Bench {
    async fn new(node_type: &str) -> Option<Bench> {
        let files = tempfile::tempdir().unwrap();
        let outside: Arc<Mutex<Outside>> = Arc::default();
        let (world, env) = (outside.clone(), outside.clone());
        let rig = Rig::around(World {
            net: Arc::new(Net::answering(Arc::new(move |request| world.lock().unwrap().answer(request)))),
            // Files are read on another thread, which no manual clock can wait for.
            clock: if node_type == "csv-reader" { Clock::System } else { Clock::manual(NOW.parse().unwrap()) },
            env: Arc::new(move |name| env.lock().unwrap().env[name].as_str().map(str::to_owned)),
            ..World::default()
        });
        let pack = STATUS.iter().find(|(_, types)| types.contains(&node_type)).unwrap().0;
        rig.load(shipped(pack, &[files.path()])?).await.unwrap_or_else(|problems| panic!("{problems:#?}"));
        Some(Bench { rig, outside, files })
    }

    /// Deploys a node per case.
    fn deploy(&self, cases: &[Case], more: &Json) -> Arc<Deployed> {
        let nodes = cases.iter().enumerate().flat_map(|(i, case)| {
            let feed = json!({ "id": format!("feed{i}"), "type": "test feed", "wires": [[format!("n{i}")]] });
            [feed, case.node(&format!("n{i}"), more)]
        });
        self.rig.deploy_with(nodes.collect::<Vec<_>>().into(), with_feed)
    }

    /// Hands the node of a case its messages: with a request in one run with a caller, else each in a run of its own
    /// that nobody waits for.
    async fn replay(&self, deployed: &Arc<Deployed>, case: &Case, i: usize) -> Outcome {
        let place = deployed.plan.nodes.iter().find(|n| n.id == format!("n{i}")).unwrap();
        let context = &deployed.services.context;
        let owner = Owner { node: place, tenant: "" };
        for (level, name) in [(Level::Flow, "flowContext"), (Level::Global, "globalContext")] {
            for (path, item) in case.json[name].as_object().into_iter().flatten() {
                assert!(context.set(owner, level, &Path::parse(path).unwrap(), value(item), None).unwrap());
            }
        }
        for (name, content) in case.json["files"].as_object().into_iter().flatten() {
            let path = self.files.path().join(name);
            match content.as_str() {
                Some(text) => std::fs::write(path, text).unwrap(),
                None => std::fs::create_dir_all(path).unwrap(),
            }
        }
        let answers = case.json["http"].as_array().cloned().unwrap_or_default();
        let env = case.json["env"].clone();
        *self.outside.lock().unwrap() = Outside { env, answers, asked: Vec::new() };
        let inputs = case.inputs();
        if inputs.iter().any(|msg| !msg.get("req").is_undefined()) {
            let trigger = Trigger::Http { method: "POST".into(), path: "/check".into() };
            let mut all = Msg::new();
            all.set("messages", Value::array(inputs));
            return self.rig.run(deployed, &format!("feed{i}"), all, trigger).await.1;
        }
        let mut whole = Outcome::default();
        for input in inputs {
            let trigger = Trigger::Inject { node: "test".into() };
            let of = self.rig.run(deployed, &format!("n{i}"), message(&input), trigger).await.1;
            whole.out.extend(of.out);
            whole.errors.extend(of.errors);
        }
        whole
    }
}

/// What our nodes do otherwise where the original was right: case and reason, by type.
fn differences(node_type: &str, compat: bool) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(folder().join("differences.json")).unwrap();
    let all: Map<String, Json> = serde_json::from_str(&text).unwrap();
    let mut found = BTreeMap::new();
    for entry in all.get(node_type).and_then(Json::as_array).into_iter().flatten() {
        if !(compat && entry["compat"] == true) {
            let cases = entry["cases"].as_array().unwrap().iter();
            found.extend(cases.map(|case| (case.as_str().unwrap().to_owned(), entry["why"].to_string())));
        }
    }
    found
}

/// Takes out of both sides what is known to differ.
fn tidied(node_type: &str, mut msg: Json) -> Json {
    let object = msg.as_object_mut().unwrap();
    object.remove("_msgid");
    match node_type {
        // The original's evidence has `name` where all others have `key`; ours has both.
        "lesser-than" => {
            for evidence in msg["payload"]["evidences"].as_array_mut().into_iter().flatten() {
                if let Some(evidence) = evidence.as_object_mut().filter(|evidence| evidence.contains_key("name")) {
                    evidence.remove("key");
                }
            }
        }
        // Those of Node.js' `fetch`, which adds a content type of its own.
        "databinder" => strip(&mut msg["payload"], "headers"),
        _ => {}
    }
    msg
}

fn strip(value: &mut Json, name: &str) {
    match value {
        Json::Object(object) => {
            object.remove(name);
            object.values_mut().for_each(|value| strip(value, name));
        }
        Json::Array(items) => items.iter_mut().for_each(|value| strip(value, name)),
        _ => {}
    }
}

/// What differs from what the original did, in words.
fn difference(node_type: &str, case: &Case, found: &Outcome, asked: &[Json]) -> Option<String> {
    if node_type == "status-storer" {
        return stored_otherwise(case, found, asked);
    }
    let out = found.out.iter().map(|(_, port, msg)| (*port, tidied(node_type, msg.to_value().to_serde())));
    // The second output of the filters is ours.
    let out: Vec<_> = out.filter(|(port, _)| *port == 0 || !node_type.starts_with("filter-by")).collect();
    let expected: Vec<_> = case.expected().into_iter().map(|(port, msg)| (port, tidied(node_type, msg))).collect();
    let all = expected.len() == out.len()
        && expected.iter().zip(&out).all(|(theirs, ours)| theirs.0 == ours.0 && same(&theirs.1, &ours.1));
    (!all).then(|| format!("got {out:?}\n  with errors {:?}\n  instead of {expected:?}", found.errors))
}

/// The storer sends the rows of the original, in order, and says once, last, that it is done.
fn stored_otherwise(case: &Case, found: &Outcome, asked: &[Json]) -> Option<String> {
    if case.title == "size too large" {
        // The original waits for ever; here the run's end tells.
        let told = found.errors.len() == 1 && found.errors[0].contains("2 of 5 results");
        return (!(told && asked.is_empty())).then(|| format!("{found:?}"));
    }
    let rows = |bodies: Vec<&Json>| -> Vec<Json> {
        bodies.into_iter().flat_map(|body| body["computations"].as_array().unwrap().clone()).collect()
    };
    let mut theirs = rows(case.events("request").map(|request| &request["body"]).collect());
    for row in &mut theirs {
        // Numbers of controls as numbers, as the backend's column has them.
        if let Some(number) = row["controlId"].as_str().and_then(|text| text.parse::<i64>().ok()) {
            row["controlId"] = number.into();
        }
    }
    let ours = rows(asked.iter().map(|request| &request["body"]).collect());
    let done: Vec<bool> = asked.iter().map(|request| request["body"]["done"] == true).collect();
    let once = done.iter().filter(|done| **done).count() == 1 && done.last() == Some(&true);
    let expected = case.expected();
    let sent = expected.len() == found.out.len()
        && expected.iter().zip(&found.out).all(|((port, theirs), (_, other, ours))| {
            port == other && same(theirs, &tidied("status-storer", ours.to_value().to_serde()))
        });
    let all = same(&Json::Array(theirs.clone()), &Json::Array(ours.clone())) && once && sent;
    (!all).then(|| format!("stored {ours:?}, done {done:?}\n  with {found:?}\n  instead of {theirs:?}"))
}

/// Replays every case of a type; gives how many there were, or `None` where the packs are not built.
async fn replay(node_type: &str, compat: bool, problems: &mut Vec<String>) -> Option<usize> {
    let bench = Bench::new(node_type).await?;
    let cases = Case::all(node_type, bench.files.path());
    let more = if compat { json!({ "compat": true }) } else { json!({}) };
    let deployed = bench.deploy(&cases, &more);
    let mut differing = differences(node_type, compat);
    for (i, case) in cases.iter().enumerate() {
        let title = format!("{node_type}: {}{}", case.title, if compat { " (compat)" } else { "" });
        let found = bench.replay(&deployed, case, i).await;
        if !case.right {
            continue;
        }
        let place = deployed.plan.nodes.iter().find(|n| n.id == format!("n{i}")).unwrap();
        for (name, recorded) in case.json["globalAfter"].as_object().into_iter().flatten() {
            let owner = Owner { node: place, tenant: "" };
            let found = deployed.services.context.get(owner, Level::Global, &Path::parse(name).unwrap(), None).unwrap();
            if !same(recorded, &found.to_serde()) {
                problems.push(format!("{title}\n  global {name} is {found:?} instead of {recorded}"));
            }
        }
        let asked = bench.outside.lock().unwrap().asked.clone();
        match (difference(node_type, case, &found, &asked), differing.remove(&case.title)) {
            (Some(difference), None) => problems.push(format!("{title}\n  {difference}")),
            (None, Some(why)) => problems.push(format!("{title}\n  is as recorded, yet listed: {why}")),
            _ => {}
        }
    }
    problems.extend(differing.keys().map(|title| format!("{node_type}: no right case is called {title:?}")));
    for report in bench.rig.plugins.report() {
        problems.extend(report.last_stops.iter().map(|stop| format!("{node_type}: a guest was stopped: {stop:?}")));
    }
    Some(cases.len())
}

/// Replays types of one pack, and those that `compat` changes once more with it.
async fn as_recorded(pack: &str) {
    let types = STATUS.iter().find(|(name, _)| *name == pack).unwrap().1;
    let mut problems = Vec::new();
    for node_type in types {
        let Some(count) = replay(node_type, false, &mut problems).await else { return };
        assert!(count > 10, "{node_type} has {count} cases");
        if differences(node_type, true).len() < differences(node_type, false).len() {
            replay(node_type, true, &mut problems).await;
        }
    }
    assert!(problems.is_empty(), "{} problems\n\n{}", problems.len(), problems.join("\n\n"));
}

#[tokio::test]
async fn ai_does_as_recorded() {
    as_recorded("ai").await;
}

#[tokio::test]
async fn control_flow_does_as_recorded() {
    as_recorded("control-flow").await;
}

#[tokio::test]
async fn extraction_does_as_recorded() {
    as_recorded("extraction").await;
}

#[tokio::test]
async fn filtering_does_as_recorded() {
    as_recorded("filtering").await;
}

#[tokio::test]
async fn integration_does_as_recorded() {
    as_recorded("integration").await;
}

#[tokio::test]
async fn logic_does_as_recorded() {
    as_recorded("logic").await;
}

#[tokio::test]
async fn status_does_as_recorded() {
    as_recorded("status").await;
}

#[tokio::test]
async fn validation_does_as_recorded() {
    as_recorded("validation").await;
}

/// A guest that computes for long lets other tasks run, yet nothing of its own run passes it: `implies` and its like
/// tell operands by their order.
#[tokio::test]
async fn no_message_passes_one_that_a_guest_works_on() {
    let Some(bench) = Bench::new("response").await else { return };
    let check = |id: &str| json!({ "id": id, "type": "response", "eventAName": "A", "eventBName": "B" });
    let [mut first, mut second] = [check("first"), check("second")];
    first["wires"] = json!([["out"]]);
    second["wires"] = json!([["out"]]);
    let nodes = json!([
        { "id": "in", "type": "test feed", "wires": [["first", "second", "note"]] },
        first,
        second,
        { "id": "note", "type": "change", "rules": [], "wires": [["out"]] },
        { "id": "out", "type": "change", "rules": [] }
    ]);
    let deployed = bench.rig.deploy_with(nodes, with_feed);
    // Long enough for several ticks of the sandbox's clock, then short.
    let payload = |n: usize| json!({ "events": vec!["A"; n], "n": n });
    let messages = [20_000, 1, 2, 10_000, 3].map(|n| Value::from(&json!({ "payload": payload(n) })));
    let mut all = Msg::new();
    all.set("messages", Value::array(messages.into()));
    let outcome = bench.rig.run(&deployed, "in", all, Trigger::Manual { by: "test".into() }).await.1;
    let order: Vec<f64> = outcome.out.iter().map(|(_, _, msg)| msg.payload().get("n").as_f64().unwrap()).collect();
    let each = |n: f64| [n, n, n];
    assert_eq!(order, [20_000., 1., 2., 10_000., 3.].map(each).concat(), "{:?}", outcome.errors);
}
