//! Contexts in the database: what one replica sets another one reads, nothing that two set at once is lost, and a database
//! that does not answer is an error, never a value that is not there.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use probity::clock::Clock;
use probity::flow;
use probity::model::run::Trigger;
use probity::model::{Msg, Object, RunId};
use probity::plugin::function::{Functions, Limits as FunctionLimits};
use probity::runtime::context::{ContextStore, Home, Stored, StoredLimits};
use probity::runtime::opening::{Opening, Start};
use probity::runtime::{Engine, Event, Limits, Services};
use probity::store::{Store, StoreOptions, open};
use serde_json::{Value, json};

use crate::harness::postgres;
use crate::harness::server::{client, read};
use crate::serve::{Folder, Server, get, probity, until};
use crate::store::Fixture;

/// An engine on a store, with a context store `shared` in its database beside the default one in memory.
pub(crate) struct Replica {
    engine: Arc<Engine>,
    events: Arc<Mutex<Vec<Event>>>,
}

fn limits() -> StoredLimits {
    StoredLimits { value_bytes_max: 2_000, scope_bytes_max: 50_000, answer_ms_max: 20_000, parallel_max: 2 }
}

impl Replica {
    pub(crate) fn new(store: &Arc<dyn Store>, flows: &Value) -> Replica {
        Replica::with(store, flows, None, limits())
    }

    fn with(
        store: &Arc<dyn Store>,
        flows: &Value,
        functions: Option<&Arc<Functions>>,
        limits: StoredLimits,
    ) -> Replica {
        let mut services = Services::new(Clock::System, Limits::default(), Default::default());
        let stores = vec![("default".into(), Home::Memory), ("shared".into(), Home::Database)];
        services.context = ContextStore::open(stores, Some(Stored::new(store.clone(), limits)));
        services.store = Some(store.clone());
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let sink = events.clone();
        services.observer = Some(Arc::new(move |_: RunId, event| sink.lock().unwrap().push(event)));
        let mut catalogue = probity::nodes::catalogue();
        if let Some(functions) = functions {
            assert!(catalogue.add(probity::nodes::function::known(functions)).is_ok());
        }
        let (file, problems) = flow::load(&flows.to_string(), "test.json");
        assert!(problems.is_empty(), "{problems:?}");
        let plan = flow::plan(&file, &|name| catalogue.spec(name), &|_| None);
        let engine = Engine::new(Arc::new(services), catalogue);
        let deployed = engine.deploy(plan);
        assert_eq!(deployed.diagnostics, []);
        Replica { engine, events }
    }

    pub(crate) fn open(&self, id: &str, msg: &Value) -> impl Future<Output = ()> + Send + 'static {
        let deployed = self.engine.current();
        let node = deployed.plan.nodes.iter().position(|n| n.id == id).unwrap() as u32;
        let msg = Msg::from_object(serde_json::from_str::<Object>(&msg.to_string()).unwrap());
        let trigger = Trigger::Inject { node: "test".into() };
        let opening = Opening { node, start: Start::Deliver, msg, trigger, reply: None };
        let (_, run) = deployed.open(opening).unwrap();
        async move { drop(run.await) }
    }

    /// Hands a node a message and waits for the end of the run; gives the payloads of what left, and of errors that were
    /// caught code and text.
    pub(crate) async fn run(&self, id: &str, msg: Value) -> Vec<String> {
        tokio::spawn(self.open(id, &msg)).await.unwrap();
        self.take()
    }

    pub(crate) fn take(&self) -> Vec<String> {
        let events = std::mem::take(&mut *self.events.lock().unwrap());
        let line = |event| match event {
            Event::Output { node, msg, .. } if node == "caught" => {
                let error = msg.get("error").cloned().unwrap_or_default();
                Some(format!("caught {} {}", error.get("code").to_js_string(), error.get("message").to_js_string()))
            }
            Event::Output { msg, .. } if msg.payload().is_undefined() => Some("undefined".into()),
            Event::Output { msg, .. } => Some(msg.payload().to_json()),
            Event::Error { message, .. } => Some(format!("failed {message}")),
            _ => None,
        };
        events.into_iter().filter_map(line).collect()
    }
}

fn tab(id: &str, more: &Value, nodes: &[Value]) -> Vec<Value> {
    let mut tab = json!({"id": id, "type": "tab", "label": id});
    tab.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut all = vec![tab];
    for node in nodes {
        let mut node = node.clone();
        let fields = node.as_object_mut().unwrap();
        fields.insert("z".into(), id.into());
        fields.entry("wires").or_insert(json!([[]]));
        all.push(node);
    }
    all
}

pub(crate) fn flows(nodes: &[Value]) -> Value {
    let mut nodes = nodes.to_vec();
    nodes.push(json!({"id": "caught", "type": "catch", "scope": null}));
    tab("tab", &json!({}), &nodes).into()
}

fn change(id: &str, rules: Value) -> Value {
    json!({"id": id, "type": "change", "rules": rules})
}

fn set(to: &str, kind: &str, value: &str, from: &str) -> Value {
    json!({"t": "set", "p": to, "pt": kind, "to": value, "tot": from})
}

/// Nodes that write and read, each in the way of its kind.
fn of_all_kinds() -> Value {
    flows(&[
        change("set", json!([set("#:(shared)::a.b[1].c", "flow", "payload", "msg")])),
        change("get", json!([set("payload", "msg", "#:(shared)::a", "flow")])),
        change("everywhere", json!([set("#:(shared)::g", "global", "payload", "msg")])),
        change("delete", json!([{"t": "delete", "p": "#:(shared)::a.b[0]", "pt": "flow"}])),
        change("move", json!([{"t": "move", "p": "#:(shared)::g", "pt": "global", "to": "payload", "tot": "msg"}])),
        change("memory", json!([set("payload", "msg", "a", "flow")])),
        change("jsonata", json!([set("payload", "msg", "$flowContext('a.b[1].c', 'shared') + 1", "jsonata")])),
        json!({"id": "template", "type": "template", "template": "<{{flow[shared].a.b.1.c}}>"}),
        json!({"id": "made", "type": "template", "template": "made", "field": "#:(shared)::m", "fieldType": "flow"}),
        json!({"id": "inject", "type": "inject", "props": [{"p": "payload", "v": "#:(shared)::a.b[1].c", "vt": "flow"}]}),
        json!({"id": "switch", "type": "switch", "property": "#:(shared)::a.b[1].c", "propertyType": "flow",
               "rules": [{"t": "eq", "v": "7", "vt": "num"}, {"t": "else"}], "outputs": 2, "wires": [[], ["get"]]}),
    ])
}

async fn each_kind_of_node_shares_it(fixture: &Fixture) {
    let other = match fixture.url.as_str() {
        // It is in this one store only.
        "memory:" => fixture.store.clone(),
        url => open(url, &StoreOptions::default()).await.unwrap(),
    };
    let replicas = [Replica::new(&fixture.store, &of_all_kinds()), Replica::new(&other, &of_all_kinds())];
    let [one, two] = &replicas;
    assert_eq!(two.run("get", json!({"payload": 1})).await, ["undefined"]);
    one.run("set", json!({"payload": 7})).await;
    assert_eq!(two.run("get", json!({})).await, [r#"{"b":[null,{"c":7}]}"#]);
    assert_eq!(two.run("memory", json!({})).await, ["undefined"], "the default store is another");
    assert_eq!(two.run("jsonata", json!({})).await, ["8"]);
    assert_eq!(two.run("template", json!({})).await, [r#""<7>""#]);
    assert_eq!(two.run("inject", json!({})).await, ["7"]);
    assert_eq!(two.run("switch", json!({"payload": "fits"})).await, [r#""fits""#]);
    two.run("delete", json!({})).await;
    assert_eq!(one.run("get", json!({})).await, [r#"{"b":[{"c":7}]}"#]);
    one.run("everywhere", json!({"payload": {"deep": [1]}})).await;
    assert_eq!(two.run("move", json!({})).await, [r#"{"deep":[1]}"#]);
    assert_eq!(one.run("move", json!({})).await, ["undefined"]);
    two.run("made", json!({})).await;
    // Started again, from the database alone.
    let again = Replica::new(&other, &of_all_kinds());
    assert_eq!(again.run("get", json!({})).await, [r#"{"b":[{"c":7}]}"#]);
    let of = probity::store::ContextScope { store: "shared".into(), tenant: String::new(), scope: "tab".into() };
    let kept = fixture.store.context_values(&of).await.unwrap();
    let wanted = [("a", r#"{"b":[{"c":7}]}"#), ("m", r#""made""#)];
    assert_eq!(kept, wanted.map(|(key, text)| (key.to_owned(), text.to_owned())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_of_node_shares_it_in_memory() {
    each_kind_of_node_shares_it(&Fixture::memory().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_of_node_shares_it_in_sqlite() {
    each_kind_of_node_shares_it(&Fixture::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_of_node_shares_it_in_postgres() {
    each_kind_of_node_shares_it(&Fixture::postgres().await).await;
}

/// Far more runs at once than there are places to ask: none waits for ever, and none is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_what_replicas_set_at_once_nothing_is_lost() {
    let fixture = Fixture::postgres().await;
    let other = open(&fixture.url, &StoreOptions::default()).await.unwrap();
    let flows = flows(&[
        change("set", json!([set("#:(shared)::all[msg.key]", "flow", "payload", "msg")])),
        change("get", json!([set("payload", "msg", "$count($keys($flowContext('all', 'shared')))", "jsonata")])),
    ]);
    let replicas = [Replica::new(&fixture.store, &flows), Replica::new(&other, &flows)];
    let runs: Vec<_> = (0..120)
        .map(|n| tokio::spawn(replicas[n % 2].open("set", &json!({"key": format!("k{n}"), "payload": n}))))
        .collect();
    for run in runs {
        run.await.unwrap();
    }
    for replica in &replicas {
        assert!(replica.take().iter().all(|line| !line.starts_with("caught")));
        assert_eq!(replica.run("get", json!({})).await, ["120"]);
    }
}

/// Nodes of one run do not pass each other while they ask.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_one_run_keep_their_order_and_see_each_other() {
    let fixture = Fixture::postgres().await;
    let add = "$append($flowContext('list', 'shared'), [payload])";
    let flows = flows(&[
        json!({"id": "split", "type": "split", "wires": [["add"]]}),
        change("add", json!([set("#:(shared)::list", "flow", add, "jsonata")])),
        change("get", json!([set("payload", "msg", "#:(shared)::list", "flow")])),
    ]);
    let replica = Replica::new(&fixture.store, &flows);
    let numbers: Vec<u32> = (0..60).collect();
    let passed = replica.run("split", json!({"payload": numbers})).await;
    assert_eq!(passed, numbers.iter().map(u32::to_string).collect::<Vec<_>>());
    assert_eq!(replica.run("get", json!({})).await, [json!(numbers).to_string()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_json_cannot_say_comes_back_as_it_was() {
    let fixture = Fixture::sqlite().await;
    let flows = flows(&[
        change("bytes", json!([set("#:(shared)::v", "global", "[1,255]", "bin")])),
        change("date", json!([set("#:(shared)::v", "global", "object", "date")])),
        json!({"id": "switch", "type": "switch", "property": "#:(shared)::v", "propertyType": "global",
               "rules": [{"t": "istype", "v": "buffer", "vt": "buffer"}, {"t": "else"}], "outputs": 2,
               "wires": [["yes"], ["no"]]}),
        change("yes", json!([set("payload", "msg", "bytes", "str")])),
        change("no", json!([set("payload", "msg", "something else", "str")])),
    ]);
    let replica = Replica::new(&fixture.store, &flows);
    replica.run("bytes", json!({})).await;
    assert_eq!(replica.run("switch", json!({})).await, [r#""bytes""#]);
    replica.run("date", json!({})).await;
    assert_eq!(replica.run("switch", json!({})).await, [r#""something else""#]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_that_are_too_large_are_refused_and_change_nothing() {
    let fixture = Fixture::postgres().await;
    let flows = flows(&[
        change("set", json!([set("#:(shared)::v[msg.key]", "flow", "payload", "msg")])),
        change("whole", json!([set("#:(shared)::[msg.key]", "flow", "payload", "msg")])),
        change("get", json!([set("payload", "msg", "#:(shared)::v", "flow")])),
        change("through", json!([set("#:(shared)::v.small.x", "flow", "payload", "msg")])),
        change("here", json!([set("here", "flow", "payload", "msg")])),
        change("move", json!([{"t": "move", "p": "here", "pt": "flow", "to": "#:(shared)::there", "tot": "flow"}])),
        change("still", json!([set("payload", "msg", "here", "flow")])),
    ]);
    let replica = Replica::new(&fixture.store, &flows);
    replica.run("set", json!({"key": "small", "payload": 1})).await;
    let large = "x".repeat(2_000);
    for id in ["set", "whole"] {
        let refused = replica.run(id, json!({"key": "large", "payload": large})).await;
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert!(refused[0].starts_with("caught ELIMIT ") && refused[0].contains("value_bytes_max"), "{refused:?}");
    }
    replica.run("here", json!({"payload": large})).await;
    let refused = replica.run("move", json!({})).await;
    assert!(refused[0].starts_with("caught ELIMIT "), "{refused:?}");
    assert_eq!(replica.run("still", json!({})).await, [json!(large).to_string()], "it is not lost on the way");
    let refused = replica.run("whole", json!({"key": "k".repeat(1_001), "payload": 1})).await;
    assert!(refused[0].contains("1000 bytes"), "{refused:?}");
    // As in memory, a scalar in the way is told, and the message goes on.
    assert_eq!(replica.run("through", json!({"payload": 2})).await, ["2"]);
    assert_eq!(replica.run("get", json!({})).await, [r#"{"small":1}"#]);
    let mut last = Vec::new();
    for n in 0..40 {
        last = replica.run("whole", json!({"key": format!("k{n}"), "payload": "x".repeat(1_500)})).await;
    }
    assert!(last[0].starts_with("caught ELIMIT ") && last[0].contains("scope_bytes_max"), "{last:?}");
}

/// What comes to all replicas at once is let through by one of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_passes_the_filters_of_all_replicas_once() {
    let fixture = Fixture::postgres().await;
    let other = open(&fixture.url, &StoreOptions::default()).await.unwrap();
    let filter = json!({"id": "filter", "type": "rbe", "func": "rbe", "store": "shared"});
    let band = json!({"id": "band", "type": "rbe", "func": "deadband", "gap": "5", "store": "shared"});
    let flows = flows(&[filter, band]);
    let replicas = [Replica::new(&fixture.store, &flows), Replica::new(&other, &flows)];
    for (payload, topic) in [(json!(1), "a"), (json!({"x": [null]}), "a"), (json!(1), "b"), (json!(2), "a")] {
        let msg = json!({"payload": payload, "topic": topic});
        let runs: Vec<_> = (0..8).map(|n| tokio::spawn(replicas[n % 2].open("filter", &msg))).collect();
        for run in runs {
            run.await.unwrap();
        }
        let passed: Vec<String> = replicas.iter().flat_map(Replica::take).collect();
        assert_eq!(passed, [payload.to_string()]);
    }
    let again = json!({"payload": 2, "topic": "a"});
    assert_eq!(replicas[0].run("filter", again.clone()).await, [""; 0]);
    replicas[1].run("filter", json!({"reset": true})).await;
    assert_eq!(replicas[0].run("filter", again).await, ["2"]);
    assert_eq!(replicas[0].run("band", json!({"payload": 10})).await, ["10"]);
    assert_eq!(replicas[1].run("band", json!({"payload": 14})).await, [""; 0]);
    assert_eq!(replicas[0].run("band", json!({"payload": 16})).await, ["16"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_do_not_see_each_others_global_context() {
    let fixture = Fixture::postgres().await;
    let nodes = |of: &str| {
        [
            change(&format!("set-{of}"), json!([set("#:(shared)::whose", "global", of, "str")])),
            change(&format!("get-{of}"), json!([set("payload", "msg", "#:(shared)::whose", "global")])),
        ]
    };
    let mut flows = tab("a", &json!({"tenant": "acme"}), &nodes("acme"));
    flows.extend(tab("b", &json!({"tenant": "zeta"}), &nodes("zeta")));
    flows.extend(tab("c", &json!({}), &nodes("none")));
    let replica = Replica::new(&fixture.store, &flows.into());
    for of in ["acme", "zeta"] {
        replica.run(&format!("set-{of}"), json!({})).await;
    }
    for (of, wanted) in [("acme", r#""acme""#), ("zeta", r#""zeta""#), ("none", "undefined")] {
        assert_eq!(replica.run(&format!("get-{of}"), json!({})).await, [wanted]);
    }
}

/// A server of its own, which is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_fails_the_message() {
    let database = postgres::Server::start(false);
    let url = database.database().await;
    let store = open(&url, &StoreOptions { connect_timeout_ms: 500, ..StoreOptions::default() }).await.unwrap();
    store.migrate().await.unwrap();
    let functions = crate::functions::functions(FunctionLimits::default());
    let code = "try { flow.get('a', 'shared'); } catch (e) { node.send({payload: [e.code, String(e.message)]}); } \
                flow.get('a', 'shared', (e, v) => node.send({payload: [e.code, v === undefined]})); \
                flow.set('a', 1, 'shared', (e) => node.send({payload: e.code})); return flow.keys('shared');";
    let mut nodes = vec![
        change("get", json!([set("payload", "msg", "#:(shared)::a", "flow")])),
        change("set", json!([set("#:(shared)::a", "flow", "payload", "msg")])),
        change("jsonata", json!([set("payload", "msg", "$flowContext('a', 'shared')", "jsonata")])),
        json!({"id": "template", "type": "template", "template": "{{flow[shared].a}}"}),
        json!({"id": "switch", "type": "switch", "property": "#:(shared)::a", "propertyType": "flow",
               "rules": [{"t": "else"}], "outputs": 1}),
        json!({"id": "split", "type": "split", "wires": [["sort"]]}),
        json!({"id": "sort", "type": "sort", "seqKeyType": "jsonata", "seqKey": "$flowContext('a', 'shared') + payload"}),
    ];
    if functions.is_some() {
        nodes.push(json!({"id": "function", "type": "function", "name": "", "func": code, "outputs": 1}));
    }
    let limits = StoredLimits { answer_ms_max: 2_000, ..limits() };
    let replica = Replica::with(&store, &flows(&nodes), functions.as_ref(), limits);
    replica.run("set", json!({"payload": 1})).await;
    assert_eq!(replica.run("get", json!({})).await, ["1"]);
    assert_eq!(replica.run("split", json!({"payload": [2, 1, 3]})).await, ["1", "2", "3"]);
    database.kill_9();
    let away = "caught ECONTEXT context store \"shared\" in the database: ";
    for id in ["get", "set", "switch", "jsonata", "template"] {
        let failed = replica.run(id, json!({"payload": 2})).await;
        assert_eq!(failed.len(), 1, "{id}: {failed:?}");
        assert!(failed[0].starts_with(away), "{id}: {failed:?}");
    }
    // A sequence that could not be sorted is not lost: each of its messages is caught.
    let failed = replica.run("split", json!({"payload": [2, 1, 3]})).await;
    assert_eq!(failed.len(), 3, "{failed:?}");
    assert!(failed.iter().all(|failed| failed.starts_with(away)), "{failed:?}");
    if functions.is_some() {
        let failed = replica.run("function", json!({})).await;
        assert_eq!(failed.len(), 4, "{failed:?}");
        assert!(failed[0].starts_with(r#"["ECONTEXT","context store "#), "{failed:?}");
        assert_eq!(failed[1], r#"["ECONTEXT",true]"#);
        assert_eq!(failed[2], r#""ECONTEXT""#);
        assert!(failed[3].starts_with("caught ECONTEXT "), "{failed:?}");
    }
    database.start_again();
    until("the value is there again", async || replica.run("get", json!({})).await == ["1"]).await;
}

/// The code of function nodes waits for the database in the middle of what it does, and nothing passes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn function_nodes_read_and_write_it_in_both_ways() {
    let Some(functions) = crate::functions::functions(FunctionLimits::default()) else { return };
    let fixture = Fixture::postgres().await;
    let plain = "flow.set('a.b', 1, 'shared'); flow.set(['x', 'y'], [2, {z: [3]}], 'shared'); \
                 context.set('own', Buffer.from('é'), 'shared'); global.set('g', 4, 'shared'); \
                 return {payload: [flow.get('a', 'shared'), flow.get(['x', 'y.z[0]'], 'shared'), flow.keys('shared'), \
                 context.get('own', 'shared').toString(), global.get('g', 'shared'), flow.get('none', 'shared') === undefined]};";
    let called_back = "flow.get(['x', 'y'], 'shared', (e, x, y) => { flow.set('x', x + 1, 'shared', (e2) => { \
                       flow.keys('shared', (e3, keys) => { node.send({payload: [e ?? 0, x, y, e2 ?? 0, keys]}); }); }); });";
    let count = "const n = (flow.get('n', 'shared') ?? 0) + 1; flow.set('n', n, 'shared'); return {payload: n};";
    let function = |id: &str, code: &str| json!({"id": id, "type": "function", "name": "", "func": code, "outputs": 1});
    let nodes = [
        function("plain", plain),
        function("called back", called_back),
        json!({"id": "split", "type": "split", "wires": [["count"]]}),
        function("count", count),
        function("get", "return {payload: [flow.get('x', 'shared'), flow.get('n', 'shared')]};"),
    ];
    let replicas = [(); 2].map(|()| Replica::with(&fixture.store, &flows(&nodes), Some(&functions), limits()));
    let [one, two] = &replicas;
    let wanted = json!([{"b": 1}, [2, 3], ["a", "x", "y"], "é", 4, true]);
    assert_eq!(one.run("plain", json!({})).await, [wanted.to_string()]);
    let wanted = json!([0, 2, {"z": [3]}, 0, ["a", "x", "y"]]);
    assert_eq!(two.run("called back", json!({})).await, [wanted.to_string()]);
    let counted = two.run("split", json!({"payload": (0..30).collect::<Vec<_>>()})).await;
    assert_eq!(counted, (1..=30).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(one.run("get", json!({})).await, ["[3,30]"]);
}

/// `POST /set/KEY` keeps the body under a key of the tab's context, and `GET /get/KEY` answers with it.
fn keeping(id: &str) -> Vec<Value> {
    let own = |name: &str| format!("{id}{name}");
    tab(
        id,
        &json!({}),
        &[
            json!({"id": own("set"), "type": "http in", "url": format!("/{id}/:key"), "method": "post", "wires": [[own("put")]]}),
            json!({"id": own("put"), "type": "change", "rules": [set("#:(shared)::[msg.req.params.key]", "flow", "payload", "msg")],
                   "wires": [[own("ok")]]}),
            json!({"id": own("get"), "type": "http in", "url": format!("/{id}/:key"), "method": "get", "wires": [[own("read")]]}),
            json!({"id": own("read"), "type": "change", "rules": [set("payload", "msg", "#:(shared)::[msg.req.params.key]", "flow")],
                   "wires": [[own("ok")]]}),
            json!({"id": own("ok"), "type": "http response", "wires": []}),
        ],
    )
}

struct Process {
    folder: Folder,
    server: Server,
}

impl Process {
    fn command(folder: &Folder, url: &str) -> Command {
        let mut command = probity();
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--agreements", "", "--data-dir"])
            .arg(&folder.0)
            .env("PROBITY_DATABASE_URL", url)
            .env("PROBITY_STORE_FOLLOW_MS", "100")
            .env("PROBITY_CREDENTIALS_SECRET", "one for all replicas");
        command
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.base)
    }

    async fn keep(&self, path: &str, body: Value) {
        let call = client().post(self.url(path)).header("content-type", "application/json");
        let answer = call.body(body.to_string()).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }

    async fn context(&self, path: &str) -> Value {
        let (status, body) = get(&self.url(path)).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    async fn deploy(&self, flows: &Value) {
        let call = client().post(self.url("/flows")).header("node-red-api-version", "v2");
        let call = call.header("content-type", "application/json").body(json!({"flows": flows}).to_string());
        let (status, answer) = read(call.send().await.unwrap()).await;
        assert_eq!(status, 200, "{answer}");
    }
}

/// Two programs on one Postgres; one has its store from settings.js, the other from its configuration.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_show_it_delete_it_and_forget_it_with_its_tab() {
    let url = postgres::database().await;
    let both: Value = [keeping("one"), keeping("two")].concat().into();
    let folder = Folder::new();
    folder.write("flows.json", &both);
    std::fs::write(
        folder.0.join("settings.js"),
        "module.exports = { contextStorage: { default: 'mem', mem: { module: 'memory' }, shared: { module: 'database' } } }",
    )
    .unwrap();
    let server = Server::start(&mut Process::command(&folder, &url));
    let first = Process { folder, server };
    let start_second = |folder: Folder| {
        let mut command = Process::command(&folder, &url);
        let server = Server::start(command.env("PROBITY_CONTEXTS_STORES", "shared=database"));
        Process { folder, server }
    };
    let second = start_second(Folder::new());
    until("it runs the first one's flows", async || get(&second.url("/one/none")).await.0 == 200).await;

    first.keep("/one/a", json!({"x": [1]})).await;
    second.keep("/two/b", json!({"y": 2})).await;
    assert_eq!(get(&second.url("/one/a")).await, (200, r#"{"x":[1]}"#.to_owned()));
    let shown = second.context("/context/flow/one?store=shared").await;
    assert_eq!(shown["shared"]["a"]["msg"], json!(r#"{"x":[1]}"#), "{shown}");
    let keys = first.context("/context/flow/two?store=shared&keysOnly=true").await;
    assert_eq!(keys, json!({"shared": {"keys": [{"key": "b"}]}}));
    let one = second.context("/context/flow/one/a.x?store=shared").await;
    assert_eq!((&one["msg"], &one["store"]), (&json!("[1]"), &json!("shared")), "{one}");
    let settings = second.context("/settings").await;
    assert_eq!(settings["context"], json!({"default": "default", "stores": ["default", "shared"]}));
    let settings = first.context("/settings").await;
    assert_eq!(settings["context"], json!({"default": "mem", "stores": ["mem", "shared"]}));

    let deleted = client().delete(first.url("/context/flow/one/a.x?store=shared")).send().await.unwrap();
    assert_eq!(deleted.status(), 204);
    assert_eq!(get(&second.url("/one/a")).await, (200, "{}".to_owned()));

    // Killed and started again.
    let Process { folder, server } = second;
    let killed = Command::new("kill").arg("-9").arg(server.id().to_string()).status().unwrap();
    assert!(killed.success());
    drop(server);
    let second = start_second(folder);
    assert_eq!(get(&second.url("/two/b")).await, (200, r#"{"y":2}"#.to_owned()));

    first.deploy(&keeping("two").into()).await;
    let pool = sqlx::postgres::PgPool::connect(&url).await.unwrap();
    let scopes = async || {
        let scopes = sqlx::query_scalar::<_, String>("SELECT DISTINCT scope FROM probity.context_value");
        scopes.fetch_all(&pool).await.unwrap()
    };
    until("what is gone is forgotten", async || scopes().await == ["two"]).await;
    until("the other follows", async || get(&second.url("/one/a")).await.0 == 404).await;
    assert_eq!(get(&second.url("/two/b")).await, (200, r#"{"y":2}"#.to_owned()));
    let files: Vec<PathBuf> = [&first.folder, &second.folder].iter().map(|f| f.0.join("context")).collect();
    assert!(files.iter().all(|folder| !folder.exists()), "nothing of it is in files");
}

/// Whoever asks for contexts while their database is away hears that, not that there are none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_api_says_that_a_context_is_not_known() {
    let database = postgres::Server::start(false);
    let folder = Folder::new();
    folder.write("flows.json", &Value::from(keeping("one")));
    let mut command = Process::command(&folder, &database.database().await);
    command.env("PROBITY_CONTEXTS_STORES", "shared=database").env("PROBITY_CONTEXTS_ANSWER_MS_MAX", "2000");
    let server = Server::start(&mut command);
    let process = Process { folder, server };
    process.keep("/one/a", json!({"x": 1})).await;
    let all = "/context/flow/one?store=shared";
    let before = process.context(all).await;
    assert_eq!(before["shared"]["a"]["msg"], r#"{"x":1}"#, "{before}");
    database.kill_9();
    let asked = [(reqwest::Method::GET, all), (reqwest::Method::GET, "/context/flow/one/a?store=shared")];
    let deleted = (reqwest::Method::DELETE, "/context/flow/one/a?store=shared");
    for (method, path) in asked.into_iter().chain([deleted]) {
        let (status, body) = read(client().request(method.clone(), process.url(path)).send().await.unwrap()).await;
        assert_eq!(status, 503, "{method} {path}: {body}");
        assert!(body.to_string().contains("context_unavailable"), "{method} {path}: {body}");
    }
    database.start_again();
    until("contexts are known again", async || get(&process.url(all)).await.0 == 200).await;
    assert_eq!(process.context(all).await, before);
}
