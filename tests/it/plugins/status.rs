//! The pack `status` in the real sandbox: `status-storer` between a caller and a loopback server with status-backend's
//! contract, `filter-scope` and `databinder` in flows.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use probity::model::run::Trigger;
use probity::model::{Msg, Value};
use probity::plugin::granted::Granted;
use probity::plugin::limits::Limits;
use probity::runtime::Deployed;
use probity::runtime::opening::Start;
use serde_json::{Value as Json, json};

use super::packs::dist;
use super::rig::Rig;

/// What a group came to at the backend.
#[derive(Default)]
struct Group {
    rows: Vec<Json>,
    tokens: Vec<String>,
    done: usize,
    after_done: usize,
}

/// status-backend as far as it takes computations (statuscompliance/status-backend: 201 with rows, 400 for none or
/// without a group, 413 beyond Express' 100 kB).
#[derive(Default)]
struct Backend {
    groups: Mutex<HashMap<String, Group>>,
    posts: AtomicUsize,
    /// Number of the request, from 1, that is answered with 500.
    failing: Option<usize>,
}

impl Backend {
    fn take(&self, token: &str, body: &str) -> StatusCode {
        let post = self.posts.fetch_add(1, Ordering::SeqCst) + 1;
        if self.failing == Some(post) {
            return StatusCode::INTERNAL_SERVER_ERROR;
        }
        if body.len() > 100 * 1024 {
            return StatusCode::PAYLOAD_TOO_LARGE;
        }
        let body: Json = serde_json::from_str(body).unwrap();
        let rows = body["computations"].as_array().cloned().unwrap_or_default();
        let Some(group) = rows.first().and_then(|row| row["computationGroup"].as_str()) else {
            return StatusCode::BAD_REQUEST;
        };
        let mut groups = self.groups.lock().unwrap();
        let group = groups.entry(group.to_owned()).or_default();
        group.after_done += usize::from(group.done > 0);
        group.done += usize::from(body["done"] == true);
        group.tokens.push(token.to_owned());
        group.rows.extend(rows);
        StatusCode::CREATED
    }
}

async fn serve(backend: Backend) -> (Arc<Backend>, String) {
    let backend = Arc::new(backend);
    let take = async |State(backend): State<Arc<Backend>>, headers: HeaderMap, body: String| {
        let token = headers.get("x-access-token").map(|token| token.to_str().unwrap()).unwrap_or_default();
        (backend.take(token, &body), axum::Json(json!({ "code": 201 })))
    };
    let app = axum::Router::new().fallback(take).with_state(backend.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api/v1/computations/bulk", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (backend, url)
}

fn grants() -> Granted {
    Granted {
        names: ["http", "secret", "state", "clock", "evidence"].map(str::to_owned).into(),
        hosts: vec!["127.0.0.1".into()],
        ..Granted::default()
    }
}

/// `http in`, `split`, a wait of its own for each item, `status-storer`, `http response`.
async fn storing() -> Option<(Rig, Arc<Deployed>)> {
    let package = dist("status", grants())?;
    let rig = Rig::new(Limits::default());
    rig.load(package).await.unwrap();
    let rules = json!([{ "t": "set", "p": "delay", "pt": "msg", "to": "payload.wait", "tot": "msg" }]);
    let deployed = rig.deploy(json!([
        { "id": "in", "type": "http in", "url": "/check", "method": "post", "wires": [["split"]] },
        { "id": "split", "type": "split", "splt": "\n", "spltType": "str", "arraySplt": 1, "arraySpltType": "len",
          "wires": [["set"]] },
        { "id": "set", "type": "change", "rules": rules, "wires": [["wait"]] },
        { "id": "wait", "type": "delay", "pauseType": "delayv", "timeout": "0", "timeoutUnits": "milliseconds",
          "wires": [["storer"]] },
        { "id": "storer", "type": "status-storer", "backendUrl": "", "accessToken": "", "bufferSize": "",
          "flushInterval": "", "from": "", "to": "", "controlId": "", "wires": [["out"]] },
        { "id": "out", "type": "http response", "wires": [] }
    ]));
    Some((rig, deployed))
}

async fn call(deployed: &Arc<Deployed>, url: &str, group: &str, n: usize, wait: fn(usize) -> usize) -> (u16, Json) {
    let item = |i: usize| {
        let evidence = json!({ "id": format!("{group}-{i}"), "key": "k", "value": i, "result": true });
        json!({ "result": true, "scope": { "n": i }, "evidences": [evidence], "wait": wait(i) })
    };
    let mut msg = Msg::with_payload(Value::from(&Json::Array((0..n).map(item).collect())));
    let req = json!({ "body": { "backendUrl": url, "computationGroup": group, "controlId": 1, "from": "a", "to": "b" },
        "headers": { "x-access-token": format!("token of {group}") } });
    msg.set("req", Value::from(&req));
    let entry = deployed.plan.nodes.iter().position(|n| n.id == "in").unwrap() as u32;
    let trigger = Trigger::Http { method: "POST".into(), path: "/check".into() };
    let called = deployed.call(entry, Start::Emit(0), msg, trigger, Duration::from_secs(60)).await.unwrap();
    let reply = called.reply.expect("answered before its deadline");
    (reply.status, serde_json::from_slice(&reply.body).unwrap_or_default())
}

fn stored() -> Json {
    json!({ "message": "Computations succesfully stored" })
}

fn assert_whole(backend: &Backend, group: &str, n: usize) {
    let groups = backend.groups.lock().unwrap();
    let group_of = &groups[group];
    let mut numbers: Vec<u64> = group_of.rows.iter().map(|row| row["scope"]["n"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..n as u64).collect::<Vec<_>>(), "{group}");
    assert!(group_of.rows.iter().all(|row| row["computationGroup"] == group), "{group}");
    assert_eq!((group_of.done, group_of.after_done), (1, 0), "{group}");
    assert!(group_of.tokens.iter().all(|token| *token == format!("token of {group}")), "{group}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_storer_delivers_every_count_in_a_burst_and_spaced() {
    let Some((_rig, deployed)) = storing().await else { return };
    let (backend, url) = serve(Backend::default()).await;
    for n in [1, 2, 3, 4, 7, 50, 200] {
        for (speed, wait) in [("burst", (|_| 0) as fn(usize) -> usize), ("spaced", |i| 1 + i * 53 % 97)] {
            let group = format!("{speed}-{n}");
            assert_eq!(call(&deployed, &url, &group, n, wait).await, (200, stored()), "{group}");
            assert_whole(&backend, &group, n);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_callers_of_the_storer_never_mix() {
    let Some((_rig, deployed)) = storing().await else { return };
    let (backend, url) = serve(Backend::default()).await;
    let calls = (0..200).map(|caller| {
        let (deployed, url) = (deployed.clone(), url.clone());
        let n = 1 + caller % 7;
        tokio::spawn(async move { (n, caller, call(&deployed, &url, &format!("g{caller}"), n, |i| i * 7 % 5).await) })
    });
    for answered in futures_util::future::join_all(calls.collect::<Vec<_>>()).await {
        let (n, caller, answer) = answered.unwrap();
        assert_eq!(answer, (200, stored()), "caller {caller}");
        assert_whole(&backend, &format!("g{caller}"), n);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_of_the_storer_is_never_a_success_to_the_caller() {
    let Some((_rig, deployed)) = storing().await else { return };
    let (backend, url) = serve(Backend { failing: Some(1), ..Backend::default() }).await;
    let (status, body) = call(&deployed, &url, "failing", 3, |_| 0).await;
    assert_eq!(status, 500, "{body}");
    assert_eq!(backend.posts.load(Ordering::SeqCst), 1);
    assert!(backend.groups.lock().unwrap().is_empty());
    // The node is as it was before.
    assert_eq!(call(&deployed, &url, "after", 3, |_| 0).await, (200, stored()));
    assert_whole(&backend, "after", 3);
    // Nobody listens there.
    let nowhere = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nowhere.local_addr().unwrap();
    drop(nowhere);
    let (status, _) = call(&deployed, &format!("http://{address}/"), "nowhere", 1, |_| 0).await;
    assert_eq!(status, 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn filter_scope_holds_back_what_is_not_asked_for() {
    let Some(package) = dist("status", grants()) else { return };
    let rig = Rig::new(Limits::default());
    rig.load(package).await.unwrap();
    let filters = json!([{ "attribute": "declaration", "value": "concept:name" }]);
    let deployed = rig.deploy(json!([{ "id": "n", "type": "filter-scope", "filters": filters }]));
    let send = async |asked: &str| {
        let payload = json!({ "string": [{ "$": { "key": "concept:name", "value": "one" } }] });
        let mut msg = Msg::with_payload(Value::from(&payload));
        msg.set("req", Value::from(&json!({ "body": { "scope": { "declaration": asked } } })));
        rig.send(&deployed, "n", msg).await
    };
    for (asked, passes) in [("*", true), ("one", true), ("two", false)] {
        let outcome = send(asked).await;
        assert_eq!(outcome.errors, Vec::<String>::new());
        assert_eq!(outcome.out.len(), usize::from(passes), "{asked}");
    }
}
