//! The tabs of STATUS's own flow files in this engine: `tests/cases/status/tabs.yaml` lists every one, either with what
//! it is asked and must answer, or with the node types it needs that are not there yet.
//!
//! The tabs are those recorded in `tests/cases/status/flows`. With `PROBITY_STATUS_FLOWS` set to a folder with the flow
//! files themselves, those are read, too: each tab in them must be listed, and run where the list has it run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use http::HeaderMap;
use probity::clock::Clock;
use probity::model::run::Trigger;
use probity::model::{Msg, Value};
use probity::net::Net;
use probity::runtime::opening::{Opening, Start};
use probity::runtime::{Deployed, Engine, Request};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::outside::{BACKEND, Outside, same};
use super::packs::{STATUS, shipped};
use super::rig::{Outcome, Rig, World};

/// A tab of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tab {
    file: String,
    tab: String,
    /// Node types it needs that are not there yet: it does not run.
    #[serde(default)]
    later: BTreeSet<String>,
    /// Node types it needs that node-red-status itself has no more.
    #[serde(default)]
    gone: BTreeSet<String>,
    #[serde(default)]
    checks: Vec<Check>,
}

/// Something the tab is asked, and what must come of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Check {
    /// The `inject` node that is pressed, or the `http in` node that is called.
    at: String,
    /// What the caller sends.
    #[serde(default)]
    headers: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    query: String,
    #[serde(default)]
    body: Json,
    /// Presses or calls before this one, which wait for it.
    #[serde(default)]
    after: Vec<String>,
    /// The world outside: `{method, url, status, body, text}`.
    #[serde(default)]
    http: Vec<Json>,
    /// What comes is what was recorded of the original, which was right.
    #[serde(default)]
    recorded: bool,
    #[serde(default)]
    reply: Option<Json>,
    /// What debug nodes show, in order: `{node, value}`.
    #[serde(default)]
    debug: Vec<Json>,
    /// Each error contains its text.
    #[serde(default)]
    errors: Vec<String>,
    /// What was asked of the world outside: `{method, url, body}`.
    #[serde(default)]
    asked: Option<Json>,
    /// Why this is not what the original did.
    #[serde(default)]
    why: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/status")
}

fn read(path: &Path) -> Json {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The recorded tab: `flow` and `steps`.
fn recording(tab: &Tab) -> Option<Json> {
    let path = folder().join("flows").join(&tab.file);
    let tabs = path.is_file().then(|| read(&path))?;
    tabs.as_array().unwrap().iter().find(|t| t["tab"] == tab.tab).cloned()
}

/// Expected objects may have fewer members than what came; all else is whole.
fn fits(expected: &Json, found: &Json) -> bool {
    match (expected, found) {
        (Json::Object(object), _) if object.contains_key("$t") => same(expected, found),
        (Json::Object(expected), Json::Object(found)) => {
            expected.iter().all(|(name, value)| found.get(name).is_some_and(|found| fits(value, found)))
        }
        (Json::Array(expected), Json::Array(found)) => {
            expected.len() == found.len() && expected.iter().zip(found).all(|(expected, found)| fits(expected, found))
        }
        _ => same(expected, found),
    }
}

/// An engine with all packs, and the world they see.
struct Bench {
    rig: Rig,
    outside: Arc<Mutex<Outside>>,
}

impl Bench {
    async fn new() -> Option<Bench> {
        let outside: Arc<Mutex<Outside>> = Arc::default();
        let world = outside.clone();
        let rig = Rig::around(World {
            net: Arc::new(Net::answering(Arc::new(move |request| world.lock().unwrap().answer(request)))),
            clock: Clock::manual("2025-11-19T12:00:00Z".parse().unwrap()),
            ..World::default()
        });
        for (pack, _) in STATUS {
            rig.load(shipped(pack, &[])?).await.unwrap_or_else(|problems| panic!("{problems:#?}"));
        }
        Some(Bench { rig, outside })
    }
}

/// A tab that runs.
struct Running<'b> {
    bench: &'b Bench,
    engine: Arc<Engine>,
    deployed: Arc<Deployed>,
}

impl Running<'_> {
    fn new(bench: &Bench, entries: Vec<Json>) -> Running<'_> {
        let (engine, deployed) = bench.rig.deploy_file(entries, |_| ());
        Running { bench, engine, deployed }
    }

    fn node(&self, id: &str) -> u32 {
        let at = self.deployed.plan.nodes.iter().position(|n| n.id == id);
        at.unwrap_or_else(|| panic!("there is no node {id}")) as u32
    }

    /// Presses an `inject` or calls an `http in`; gives the reply, if there is one.
    async fn ask(&self, check: &Check, at: &str) -> Json {
        let node = self.node(at);
        let of = &self.deployed.plan.nodes[node as usize];
        if of.node_type == "inject" {
            let trigger = Trigger::Inject { node: at.into() };
            let opening = Opening { node, start: Start::Deliver, msg: Msg::new(), trigger, reply: None };
            self.deployed.spawn(opening).unwrap();
            return Json::Null;
        }
        let text = |name: &str| of.config.get(name).unwrap().to_js_string();
        let (method, url) = (text("method").to_uppercase(), text("url"));
        let found = self.deployed.routes.find(&method, &url).unwrap_or_else(|| panic!("{method} {url} is no route"));
        let mut headers = HeaderMap::new();
        for (name, value) in &check.headers {
            headers.insert(http::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
        }
        let body = if check.body.is_null() { Value::Undefined } else { Value::from(&check.body) };
        let whole = if check.query.is_empty() { url.to_string() } else { format!("{url}?{}", check.query) };
        let request = Request::new(method.as_str(), whole, headers, found.params, body.clone(), "127.0.0.1");
        let mut msg = Msg::with_payload(if method == "GET" { request.query() } else { body });
        msg.set("req", Value::handle(request));
        let trigger = Trigger::Http { method, path: url.to_string() };
        let deadline = self.deployed.reply_deadline(node);
        let called = self.deployed.call(node, Start::Emit(0), msg, trigger, deadline);
        let Some(reply) = self.bench.rig.to_its_end(called).await.unwrap().reply else {
            return json!({ "status": 504 });
        };
        let body: Json = serde_json::from_slice(&reply.body)
            .unwrap_or_else(|_| String::from_utf8_lossy(&reply.body).into_owned().into());
        json!({ "status": reply.status, "body": body })
    }

    /// What does not fit, in words.
    async fn check(&self, check: &Check, recording: Option<&Json>) -> Vec<String> {
        let answers = check.http.clone();
        *self.bench.outside.lock().unwrap() = Outside { answers, ..Outside::default() };
        for before in &check.after {
            self.ask(check, before).await;
        }
        let reply = self.ask(check, &check.at).await;
        let found = self.bench.rig.settled(&self.engine).await;
        let asked = Json::from(self.bench.outside.lock().unwrap().asked.clone());
        let mut problems = if check.recorded {
            as_recorded(check, recording, &reply, &found)
        } else {
            as_listed(check, &reply, &found)
        };
        if let Some(expected) = check.asked.as_ref().filter(|expected| !fits(expected, &asked)) {
            problems.push(format!("asked {asked} instead of {expected}"));
        }
        problems
    }
}

fn as_recorded(check: &Check, recording: Option<&Json>, reply: &Json, found: &Outcome) -> Vec<String> {
    let steps = recording.map(|tab| tab["steps"].as_array().unwrap().as_slice()).unwrap_or_default();
    let Some(step) = steps.iter().find(|step| step["trigger"] == check.at) else {
        return vec!["nothing was recorded of it".into()];
    };
    let mut problems = Vec::new();
    if step["original"] != "right" {
        problems.push(format!("the original was not right: {}", step["why"]));
    }
    let events = |kind: &'static str| step["events"].as_array().unwrap().iter().filter(move |e| e["kind"] == kind);
    let expected: Vec<&Json> = events("debug").collect();
    let shown = |(expected, (node, property, value)): (&&Json, &(String, String, Value))| {
        let msg = &expected["msg"];
        let expected_value = property.split('.').fold(msg, |value, name| &value[name]);
        expected["id"] == *node && fits(&without_parts(expected_value), &value.to_serde())
    };
    if expected.len() != found.debug.len() || !expected.iter().zip(&found.debug).all(shown) {
        problems.push(format!("debug nodes showed {:?} instead of {expected:?}", found.debug));
    }
    if let Some(expected) = events("reply").next()
        && !fits(&json!({ "status": expected["status"], "body": expected["body"] }), reply)
    {
        problems.push(format!("replied {reply} instead of {expected}"));
    }
    if events("error").count() != found.errors.len() {
        problems.push(format!("errors {:?}", found.errors));
    }
    problems
}

/// Ids of sequences are new each time.
fn without_parts(value: &Json) -> Json {
    let mut value = value.clone();
    if let Some(object) = value.as_object_mut() {
        object.remove("parts");
    }
    value
}

fn as_listed(check: &Check, reply: &Json, found: &Outcome) -> Vec<String> {
    let mut problems = Vec::new();
    if check.why.is_empty() {
        problems.push("the list does not say why this is not what was recorded".into());
    }
    if let Some(expected) = check.reply.as_ref().filter(|expected| !fits(expected, reply)) {
        problems.push(format!("replied {reply} instead of {expected}"));
    }
    let shown: Vec<Json> =
        found.debug.iter().map(|(node, _, value)| json!({ "node": node, "value": value.to_serde() })).collect();
    if !fits(&Json::from(check.debug.clone()), &Json::from(shown.clone())) {
        problems.push(format!(
            "debug nodes showed {} instead of {}",
            Json::from(shown),
            Json::from(check.debug.clone())
        ));
    }
    let told = check.errors.len() == found.errors.len()
        && check.errors.iter().zip(&found.errors).all(|(expected, error)| error.contains(expected));
    if !told {
        problems.push(format!("errors {:?} instead of {:?}", found.errors, check.errors));
    }
    problems
}

/// Runs a tab of the list, or shows that it needs what the list says.
async fn run(bench: &Bench, tab: &Tab, entries: Vec<Json>) -> Vec<String> {
    let running = Running::new(bench, entries.clone());
    let known = running.engine.catalogue();
    let nodes = entries.iter().filter(|entry| entry["z"].is_string());
    let types: BTreeSet<String> = nodes.map(|node| node["type"].as_str().unwrap().to_owned()).collect();
    let structure = |name: &String| name == "group" || name.starts_with("subflow:");
    let missing = types.into_iter().filter(|name| known.get(name).is_none() && !structure(name)).collect();
    let listed: BTreeSet<String> = tab.later.union(&tab.gone).cloned().collect();
    if listed != missing {
        return vec![format!("needs {missing:?}, listed are {listed:?}")];
    }
    if !missing.is_empty() {
        let flow = running.deployed.plan.flows.iter().find(|flow| flow.id == tab.tab).unwrap();
        let stopped = flow.stopped.is_some() && tab.checks.is_empty();
        return if stopped { vec![] } else { vec!["runs without a node it needs".into()] };
    }
    let mut problems = Vec::new();
    let recording = recording(tab);
    for check in &tab.checks {
        let found = running.check(check, recording.as_ref()).await;
        problems.extend(found.into_iter().map(|problem| format!("{}: {problem}", check.at)));
    }
    let entry = |node: &&Json| matches!(node["type"].as_str(), Some("inject" | "http in"));
    let asked = |id: &str| tab.checks.iter().any(|check| check.at == id || check.after.iter().any(|a| a == id));
    let unasked = entries.iter().filter(entry).map(|node| node["id"].as_str().unwrap()).filter(|id| !asked(id));
    problems.extend(unasked.map(|id| format!("{id}: nothing asks it")));
    problems
}

fn listed() -> Vec<Tab> {
    let text = std::fs::read_to_string(folder().join("tabs.yaml")).unwrap().replace("{{backend}}", BACKEND);
    serde_saphyr::from_str(&text).unwrap()
}

#[tokio::test]
async fn tabs_of_status_run_here_or_are_named_with_what_they_need() {
    let Some(bench) = Bench::new().await else { return };
    let listed = listed();
    let mut problems = Vec::new();
    for tab in &listed {
        let Some(recording) = recording(tab) else { continue };
        let found = run(&bench, tab, recording["flow"].as_array().unwrap().clone()).await;
        problems.extend(found.into_iter().map(|problem| format!("{} {}: {problem}", tab.file, tab.tab)));
    }
    let mut recorded = 0;
    for file in std::fs::read_dir(folder().join("flows")).unwrap() {
        let file = file.unwrap();
        for tab in read(&file.path()).as_array().unwrap() {
            recorded += 1;
            if !listed.iter().any(|l| file.file_name() == *l.file && tab["tab"] == l.tab) {
                problems.push(format!("{:?}: {} is not listed", file.file_name(), tab["tab"]));
            }
        }
    }
    assert_eq!(recorded, 17);
    assert!(problems.is_empty(), "{} problems\n\n{}", problems.len(), problems.join("\n\n"));
}

/// The flow files themselves, where somebody has them (those of today are recorded; older ones are not in this
/// repository).
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
async fn flow_files_of_status_hold_the_listed_tabs() {
    let Some(folder) = std::env::var_os("PROBITY_STATUS_FLOWS").map(PathBuf::from) else {
        eprintln!("SKIPPED: PROBITY_STATUS_FLOWS names no folder with STATUS's flow files");
        return;
    };
    let Some(bench) = Bench::new().await else { return };
    let listed = listed();
    let (mut problems, mut tabs) = (Vec::new(), 0);
    for file in read(&folder.join("MANIFEST.json"))["files"].as_array().unwrap() {
        assert_eq!(file["license"], "Apache-2.0", "{file}");
        let name = file["file"].as_str().unwrap();
        let Some(entries) = read(&folder.join(name)).as_array().cloned() else { continue };
        for id in entries.iter().filter(|entry| entry["type"] == "tab").map(|tab| tab["id"].as_str().unwrap()) {
            tabs += 1;
            let Some(tab) = listed.iter().find(|l| l.file == name && l.tab == id) else {
                problems.push(format!("{name} {id} is not listed"));
                continue;
            };
            // A tab alone, with the subflows and the nodes that belong to no tab.
            let tab_ids: BTreeSet<&str> =
                entries.iter().filter(|e| e["type"] == "tab").filter_map(|e| e["id"].as_str()).collect();
            let of = |e: &&Json| {
                e["id"] == id
                    || e["z"] == id
                    || (e["type"] != "tab" && e["z"].as_str().is_none_or(|z| !tab_ids.contains(z)))
            };
            let found = run(&bench, tab, entries.iter().filter(of).cloned().collect()).await;
            problems.extend(found.into_iter().map(|problem| format!("{name} {id}: {problem}")));
        }
    }
    assert_eq!(tabs, listed.len());
    assert!(problems.is_empty(), "{} problems\n\n{}", problems.len(), problems.join("\n\n"));
}
