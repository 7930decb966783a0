//! A flow under test: messages and calls in, replies, outputs, errors and outgoing requests compared.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::guests::Guests;
use super::matching::{Tolerance, differences};
use super::{Case, TestFile, mock, stub};
use crate::agreement::queries::iso;
use crate::app::read_flows;
use crate::clock::Clock;
use crate::model::flow::NodeIndex;
use crate::model::run::Trigger;
use crate::model::state::Scope;
use crate::model::{Msg, RunId, Value};
use crate::net::Net;
use crate::runtime::opening::{Opening, Start};
use crate::runtime::{Catalogue, Deployed, Engine, Event, Limits, Reply, Request, Services};

/// One thing that happens to the flow.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(super) enum Step {
    /// An HTTP call; the reply is compared when `reply` is given.
    Call(Call),
    /// A question as an agreement asks it of a `metric` node; the answer is compared when `answer` is given.
    Metric(Ask),
    /// A message handed to a node (by id or name); an entry (`http in`, `inject`, …) emits it instead.
    Give(Give),
    /// The clock moves on, milliseconds.
    AdvanceMs(u64),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Call {
    #[serde(default = "get")]
    method: String,
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Json,
    #[serde(default)]
    reply: Option<Json>,
    /// Name → JSON pointer into `{status, headers, body}`: texts of the reply that later paths use as `${name}`.
    #[serde(default)]
    keep: BTreeMap<String, String>,
}

/// A collector call, in the form of an evaluation's.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ask {
    name: String,
    #[serde(default)]
    scope: Scope,
    window: Asked,
    /// The reply's status; 200 when left out.
    #[serde(default = "ok")]
    status: u16,
    #[serde(default)]
    answer: Option<Json>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    from: Timestamp,
    to: Timestamp,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Give {
    node: String,
    #[serde(default)]
    msg: Json,
}

fn get() -> String {
    "GET".into()
}

fn ok() -> u16 {
    200
}

/// Where the clock stands when the file does not say.
pub(in crate::cli) const START: &str = "2026-01-01T00:00:00Z";

/// Polls without progress after which the clock is moved for what waits on it.
const QUIET_POLLS: usize = 200;
/// The clock is moved in these steps, and at most so far, for one step of a test.
const TICK: Duration = Duration::from_millis(100);
const TICKS_MAX: usize = 36_000;

/// What the flow did, by kind.
#[derive(Default)]
struct Seen {
    outputs: Vec<Json>,
    debug: Vec<Json>,
    errors: Vec<Json>,
    statuses: Vec<Json>,
}

/// Runs one case; gives what was not as expected.
pub(super) async fn run(file: &TestFile, flow: &Path, case: &Case, guests: &Guests) -> Result<Vec<String>, String> {
    let mut content = read_flows(flow).map_err(|e| format!("{e:#}"))?;
    let mut problems = super::errors(&content.diagnostics);
    stub::stand_in(&mut content.loaded, &case.mocks)?;
    let clock = Clock::manual(file.now.unwrap_or_else(|| START.parse().expect("a constant")));
    let (net, asked) = mock::net(&case.http);
    let seen = Arc::new(Mutex::new(Seen::default()));
    let engine = engine(file, clock.clone(), net, seen.clone(), guests, &[flow.to_path_buf()]).await?;
    let mocked = stub::Given::default();
    let mut catalogue = Catalogue::clone(&engine.catalogue());
    if catalogue.add(stub::known(&case.mocks, mocked.clone())).is_err() {
        return Err("mocks: a plugin has a node type of the tests' own name".into());
    }
    engine.set_catalogue(catalogue);
    let deployed = engine.deploy(crate::app::plan(&engine, &content.loaded));
    problems.extend(super::errors(&deployed.plan.diagnostics));
    problems.extend(super::errors(&deployed.diagnostics));
    let mut kept = BTreeMap::new();
    for (i, step) in case.steps.iter().enumerate() {
        let at = format!("steps[{i}]");
        match step {
            Step::AdvanceMs(ms) => advance(&clock, Duration::from_millis(*ms)).await,
            Step::Call(call) => {
                problems.extend(self::call(&deployed, &clock, call, (&mut kept, &case.tolerance), &at).await)
            }
            Step::Metric(ask) => problems.extend(self::ask(&deployed, &clock, (ask, &case.tolerance), &at).await),
            Step::Give(give) => problems.extend(self::give(&engine, &deployed, &clock, give, &at).await),
        }
    }
    settle(&clock, || engine.open_runs() == 0).await;
    if let Some(expected) = &case.expect {
        let seen = seen.lock().unwrap_or_else(|p| p.into_inner());
        let requests = asked.lock().unwrap_or_else(|p| p.into_inner()).clone();
        let found = json!({
            "outputs": seen.outputs, "debug": seen.debug, "errors": seen.errors, "statuses": seen.statuses,
            "requests": requests, "mocked": *mocked.lock().unwrap_or_else(|p| p.into_inner()),
        });
        problems.extend(case.tolerance.differences(expected, &found, "expect"));
    }
    Ok(problems)
}

/// An engine with the builtin nodes and plugins, a manual clock and mocked net, that notes what happens.
pub(super) async fn plain_engine(
    file: &TestFile,
    clock: Clock,
    net: Arc<Net>,
    guests: &Guests,
    flows: &[PathBuf],
) -> Result<Arc<Engine>, String> {
    engine(file, clock, net, Arc::default(), guests, flows).await
}

async fn engine(
    file: &TestFile,
    clock: Clock,
    net: Arc<Net>,
    seen: Arc<Mutex<Seen>>,
    guests: &Guests,
    flows: &[PathBuf],
) -> Result<Arc<Engine>, String> {
    let plugins = guests.load(flows, &net, &clock, Arc::new(|_| None)).await?;
    let mut services = Services::new(clock, Limits::default(), net);
    let env = file.env.clone();
    services.env = Arc::new(move |name| env.get(name).cloned());
    services.observer =
        Some(Arc::new(move |_, event| note(&mut seen.lock().unwrap_or_else(|p| p.into_inner()), event)));
    Ok(Engine::new(Arc::new(services), crate::app::plugins::catalogue(&plugins)))
}

fn note(seen: &mut Seen, event: Event) {
    let label = |node: &str, name: &str| if name.is_empty() { node.to_string() } else { name.to_string() };
    match event {
        Event::Output { node, name, port, msg } => {
            seen.outputs.push(json!({"node": label(&node, &name), "port": port, "msg": msg.to_value().to_serde()}));
        }
        Event::Debug { node, name, value, .. } => {
            seen.debug.push(json!({"node": label(&node, &name), "value": value.to_serde()}));
        }
        Event::Error { node, message, .. } => seen.errors.push(json!({"node": node.as_str(), "message": message})),
        Event::Status { node, status } => seen.statuses.push(json!({"node": node.as_str(), "status": status})),
        Event::Reply { .. } | Event::Log { .. } => {}
    }
}

async fn call(
    deployed: &Arc<Deployed>,
    clock: &Clock,
    call: &Call,
    (kept, tolerance): (&mut BTreeMap<String, String>, &Tolerance),
    at: &str,
) -> Vec<String> {
    let url = kept.iter().fold(call.path.clone(), |url, (name, value)| url.replace(&format!("${{{name}}}"), value));
    let path = url.split('?').next().unwrap_or_default();
    let Some(found) = deployed.routes.find(&call.method, path) else {
        return vec![format!("{at}: no http in node answers {} {path}", call.method)];
    };
    let node = found.route.node;
    let mut headers = HeaderMap::new();
    for (name, value) in &call.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    let body = super::value(&call.body);
    let method = call.method.to_uppercase();
    let request = Request::new(method.as_str(), url.as_str(), headers, found.params, body.clone(), "127.0.0.1");
    let mut msg = Msg::with_payload(if method == "GET" { request.query() } else { body });
    msg.set("req", Value::handle(request));
    let trigger = Trigger::Http { method, path: path.into() };
    let reply = match reply_to(deployed, clock, node, msg, trigger).await {
        Ok(reply) => describe(&reply),
        Err(problem) => return vec![format!("{at}: {problem}")],
    };
    let expected = call.reply.as_ref();
    let mut problems =
        expected.map_or_else(Vec::new, |wanted| tolerance.differences(wanted, &reply, &format!("{at}.reply")));
    for (name, pointer) in &call.keep {
        match reply.pointer(pointer) {
            Some(Json::String(text)) => drop(kept.insert(name.clone(), text.clone())),
            Some(other) => drop(kept.insert(name.clone(), other.to_string())),
            None => problems.push(format!("{at}.keep.{name}: the reply has nothing at {pointer}")),
        }
    }
    problems
}

/// Asks a metric as an evaluation does.
async fn ask(deployed: &Arc<Deployed>, clock: &Clock, (ask, tolerance): (&Ask, &Tolerance), at: &str) -> Vec<String> {
    let Some(node) = deployed.metrics.get(ask.name.as_str()).copied() else {
        return vec![format!("{at}: no running flow answers for metric \"{}\"", ask.name)];
    };
    let (from, to) = (iso(ask.window.from), iso(ask.window.to));
    let window = json!({"type": "static", "initial": from, "from": from, "end": to, "timeZone": "UTC"});
    let about = json!({"name": ask.name, "scope": ask.scope, "window": window});
    let mut msg =
        Msg::with_payload(Value::from(&json!({"config": {}, "metric": {"scope": ask.scope, "window": window}})));
    msg.set("metric", Value::from(&about));
    let trigger = Trigger::Metric { evaluation: RunId::fresh() };
    let reply = match reply_to(deployed, clock, node, msg, trigger).await {
        Ok(reply) => describe(&reply),
        Err(problem) => return vec![format!("{at}: {problem}")],
    };
    let mut problems = differences(&json!({"status": ask.status}), &reply, at);
    if let Some(expected) = &ask.answer {
        problems.extend(tolerance.differences(expected, &reply["body"], &format!("{at}.answer")));
    }
    problems
}

/// Starts a run with a caller and moves the clock until it is answered.
async fn reply_to(
    deployed: &Arc<Deployed>,
    clock: &Clock,
    node: NodeIndex,
    msg: Msg,
    trigger: Trigger,
) -> Result<Reply, String> {
    let deadline = deployed.reply_deadline(node);
    let called = {
        let deployed = deployed.clone();
        tokio::spawn(async move { deployed.call(node, Start::Emit(0), msg, trigger, deadline).await })
    };
    settle(clock, || called.is_finished()).await;
    if !called.is_finished() {
        called.abort();
        return Err("no reply, and nothing moves any more".into());
    }
    match called.await {
        Ok(Ok(called)) => Ok(called.reply.unwrap_or(Reply { status: 504, ..Reply::default() })),
        Ok(Err(busy)) => Err(busy.to_string()),
        Err(panic) => Err(panic.to_string()),
    }
}

fn describe(reply: &Reply) -> Json {
    let body = serde_json::from_slice(&reply.body)
        .unwrap_or_else(|_| Json::String(String::from_utf8_lossy(&reply.body).into_owned()));
    let headers: serde_json::Map<String, Json> =
        reply.headers.iter().map(|(k, v)| (k.clone(), Json::String(v.clone()))).collect();
    json!({"status": reply.status, "headers": headers, "body": body})
}

async fn give(engine: &Engine, deployed: &Arc<Deployed>, clock: &Clock, give: &Give, at: &str) -> Vec<String> {
    let Some(node) = find(deployed, &give.node) else {
        return vec![format!("{at}: the flow has no node \"{}\"", give.node)];
    };
    let msg = message(&give.msg);
    let trigger = Trigger::Manual { by: "test".into() };
    let opening = Opening { node, start: start_of(deployed, node), msg, trigger, reply: None };
    if let Err(busy) = deployed.spawn(opening) {
        return vec![format!("{at}: {busy}")];
    }
    settle(clock, || engine.open_runs() == 0).await;
    Vec::new()
}

/// A message from JSON; what is no object becomes the payload.
pub(in crate::cli) fn message(json: &Json) -> Msg {
    match super::value(json) {
        Value::Object(object) => {
            let mut msg = Msg::from_object(object);
            msg.ensure_id();
            msg
        }
        Value::Null => Msg::new(),
        payload => Msg::with_payload(payload),
    }
}

/// A node by id, else by name.
pub(in crate::cli) fn find(deployed: &Deployed, wanted: &str) -> Option<NodeIndex> {
    let nodes = &deployed.plan.nodes;
    let found = nodes.iter().position(|n| n.id == wanted).or_else(|| nodes.iter().position(|n| n.name == wanted))?;
    Some(found as NodeIndex)
}

/// Entries emit what they are given; other nodes handle it.
pub(in crate::cli) fn start_of(deployed: &Deployed, node: NodeIndex) -> Start {
    if deployed.is_entry(node) { Start::Emit(0) } else { Start::Deliver }
}

async fn advance(clock: &Clock, by: Duration) {
    let mut left = by;
    while !left.is_zero() {
        let step = left.min(TICK);
        clock.advance(step);
        left -= step;
        for _ in 0..QUIET_POLLS {
            tokio::task::yield_now().await;
        }
    }
}

/// Lets everything run that can; moves the clock when nothing can, until `done` or nothing waits for it any more.
pub(in crate::cli) async fn settle(clock: &Clock, done: impl Fn() -> bool) {
    for _ in 0..TICKS_MAX {
        for _ in 0..QUIET_POLLS {
            if done() {
                return;
            }
            tokio::task::yield_now().await;
        }
        clock.advance(TICK);
    }
}
