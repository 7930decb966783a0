//! Flow endpoints: the message a flow gets, and what a caller gets when no flow answers.

use http::Method;
use probity::runtime::Limits;
use serde_json::{Value, json};

use crate::harness::server::{Server, Setup, read, tab};

async fn echo(flows: Vec<Value>) -> Server {
    Server::start(Setup { flows, ..Setup::default() }).await
}

#[tokio::test]
async fn a_get_carries_query_parameters_cookies_and_path_parameters() {
    let server = echo(tab("e", "get", "/orders/:id", "echo")).await;
    let call = server.client.get(server.url("/orders/a%20b?x=1&y[]=2&y[]=3")).header("cookie", "c=d");
    let (status, msg) = read(call.send().await.unwrap()).await;
    assert_eq!(status, 200);
    assert_eq!(msg["payload"], json!({ "x": "1", "y": ["2", "3"] }));
    assert_eq!(msg["req"]["params"], json!({ "id": "a b" }));
    assert_eq!(msg["req"]["cookies"], json!({ "c": "d" }));
    assert_eq!(msg["req"]["method"], "GET");
    assert_eq!(msg["req"]["ip"], "127.0.0.1");
    let keys: Vec<&String> = msg.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["_msgid", "req", "payload"], "res is no data; the others stand in Node-RED's order");
}

#[tokio::test]
async fn a_post_carries_its_body() {
    let server = echo(tab("e", "post", "/in", "echo")).await;
    let call = server.client.post(server.url("/in")).header("content-type", "application/json").body("{\"a\":[1]}");
    let (status, msg) = read(call.send().await.unwrap()).await;
    assert_eq!((status, &msg["payload"]), (200, &json!({ "a": [1] })));
    assert_eq!(msg["req"]["body"], msg["payload"]);
    let call = server.client.post(server.url("/in")).header("content-type", "text/plain").body("hi");
    assert_eq!(read(call.send().await.unwrap()).await.1["payload"], "hi");
}

#[tokio::test]
async fn the_answer_names_its_run_and_the_run_has_a_trace() {
    let server = echo(tab("e", "get", "/a", "echo")).await;
    let response = server.get("/a").await;
    let run = response.headers()["x-probity-run"].to_str().unwrap().to_string();
    drop(response);
    let (status, record) = server.json(&format!("/probity/v1/runs/{run}")).await;
    assert_eq!((status, &record["subject"], &record["state"]), (200, &json!("e"), &json!("done")));
    assert_eq!(record["trigger"], json!({ "kind": "http", "method": "GET", "path": "/a" }));
    let nodes: Vec<&Value> = record["trace"].as_array().unwrap().iter().map(|s| &s["node_type"]).collect();
    assert_eq!(nodes, ["echo"]);
}

#[tokio::test]
async fn flows_live_below_the_node_root_and_never_in_our_own_paths() {
    let mut flows = tab("e", "get", "/a", "echo");
    flows.extend(tab("m", "get", "/metrics", "echo"));
    let mut setup = Setup { flows, ..Setup::default() };
    setup.options.node_root = "/api/v1/".into();
    let server = Server::start(setup).await;
    let (status, msg) = server.json("/api/v1/a?x=1").await;
    assert_eq!(status, 200);
    assert_eq!((&msg["req"]["url"], &msg["req"]["originalUrl"]), (&json!("/a?x=1"), &json!("/api/v1/a?x=1")));
    assert_eq!(server.get("/a").await.status(), 404);
    assert_eq!(server.get("/api/v1/metrics").await.status(), 200);
    assert!(server.get("/metrics").await.text().await.unwrap().contains("probity_runs_open"));
}

#[tokio::test]
async fn what_no_flow_answers_is_a_404_as_express_writes_it() {
    let server = echo(tab("e", "get", "/a", "echo")).await;
    let response = server.client.post(server.url("/a<b>")).send().await.unwrap();
    assert_eq!(response.status(), 404);
    assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
    assert!(response.text().await.unwrap().contains("<pre>Cannot POST /a%3Cb%3E</pre>"));
    assert_eq!(server.client.post(server.url("/a")).send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn head_is_answered_from_the_routes_there_are_and_options_on_any_path() {
    let mut flows = tab("e", "get", "/a", "echo");
    flows.extend(tab("p", "post", "/a", "echo"));
    let server = echo(flows).await;
    let head = server.client.head(server.url("/a")).send().await.unwrap();
    assert_eq!(head.status(), 200);
    assert_ne!(head.headers()["content-length"], "0");
    assert_eq!(head.text().await.unwrap(), "");
    let options = server.client.request(Method::OPTIONS, server.url("/a")).send().await.unwrap();
    let methods = &options.headers()["access-control-allow-methods"];
    assert_eq!((options.status().as_u16(), methods), (204, &"GET,PUT,POST,DELETE".parse().unwrap()));
    assert_eq!(server.client.request(Method::OPTIONS, server.url("/b")).send().await.unwrap().status(), 204);
}

#[tokio::test]
async fn the_front_page_leads_to_the_pages_unless_a_flow_answers_there() {
    let server = echo(vec![]).await;
    assert!(server.get("/").await.text().await.unwrap().contains("href=\"/probity/\""));
    let server = echo(tab("e", "get", "/", "echo")).await;
    assert_eq!(server.json("/").await.1["req"]["path"], "/");
}

#[tokio::test]
async fn a_flow_with_unknown_types_says_which_and_the_others_run() {
    let mut flows = tab("bad", "get", "/bad", "no-such-type");
    flows.extend(tab("e", "get", "/a", "echo"));
    let server = echo(flows).await;
    let (status, body) = server.json("/bad").await;
    assert_eq!((status, &body["error"]), (501, &json!("unknown_node_type")));
    assert_eq!((&body["types"], &body["flow"]), (&json!(["no-such-type"]), &json!("tab bad")));
    assert_eq!(server.get("/a").await.status(), 200);
    let (_, flow) = server.json("/probity/v1/flows/bad").await;
    assert_eq!((&flow["state"], &flow["unknown_types"]), (&json!("unknown-types"), &json!(["no-such-type"])));
    assert_eq!(flow["endpoints"], json!([{ "method": "GET", "path": "/bad", "node": "badin" }]));
}

#[tokio::test]
async fn every_caller_is_answered() {
    let mut flows = tab("s", "get", "/silent", "silent");
    flows.extend(tab("h", "get", "/hang", "hang"));
    let limits = Limits { reply_ms_max: 30, runs_max: 2, ..Limits::default() };
    let server = Server::start(Setup { flows, limits, ..Setup::default() }).await;
    let silent = server.get("/silent").await;
    let run = silent.headers()["x-probity-run"].to_str().unwrap().to_string();
    assert_eq!(read(silent).await, (500, json!({ "error": "no_response", "run": run })));
    for open in 1..=2 {
        let hang = server.get("/hang").await;
        let run = hang.headers()["x-probity-run"].to_str().unwrap().to_string();
        assert_eq!(read(hang).await, (504, json!({ "error": "deadline", "run": run, "deadline_ms": 30 })));
        assert_eq!(server.engine.open_runs(), open, "the run goes on");
        let (status, record) = server.json(&format!("/probity/v1/runs/{run}")).await;
        assert_eq!((status, &record["id"], &record["state"]), (200, &json!(run), &json!("running")));
        assert_eq!((&record["subject"], &record["trigger"]["path"]), (&json!("h"), &json!("/hang")));
        assert!(record.get("ended_at").is_none());
        let (_, running) = server.json("/probity/v1/runs?state=running").await;
        assert_eq!(running["items"].as_array().unwrap().len(), open);
        assert_eq!(running["items"][0]["id"], json!(run), "newest first");
    }
    let busy = server.get("/silent").await;
    assert_eq!((busy.status().as_u16(), &busy.headers()["retry-after"]), (503, &"1".parse().unwrap()));
    let (status, ready) = server.json("/health/ready").await;
    assert_eq!((status, &ready["failed"]), (503, &json!(["runs"])));
}

#[tokio::test]
async fn a_call_under_way_is_answered_though_the_server_stops() {
    let limits = Limits { reply_ms_max: 200, ..Limits::default() };
    let flows = tab("h", "get", "/hang", "hang");
    let mut server = Server::start(Setup { flows, limits, ..Setup::default() }).await;
    let call = tokio::spawn(server.client.get(server.url("/hang")).send());
    while server.engine.open_runs() == 0 {
        tokio::task::yield_now().await;
    }
    server.stop();
    let answer = call.await.unwrap().unwrap();
    assert_eq!(answer.status(), 504);
    server.stopped().await;
}
