//! Flows that somebody works on: checked before they are deployed, runs opened at a node, nodes that a test stands in for.

use serde_json::{Value, json};

use crate::harness::server::client;
use crate::serve::{Folder, Server, probity};

fn start(folder: &Folder, flows: &Value) -> Server {
    let flows = folder.write("flows.json", flows);
    let mut command = probity();
    command.args(["serve", "--listen", "127.0.0.1:0", "--database-url", "memory:", "--flows"]).arg(flows);
    Server::start(command.arg("--data-dir").arg(&folder.0))
}

async fn call(server: &Server, method: reqwest::Method, path: &str, body: Value) -> (u16, Value) {
    let call = client().request(method, format!("{}{path}", server.base)).body(body.to_string());
    let answer = call.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

fn flows() -> Value {
    json!([
        { "id": "tab", "type": "tab", "label": "A flow" },
        { "id": "double", "type": "change", "z": "tab", "name": "double", "x": 1, "y": 1, "wires": [["show"]],
          "rules": [{ "t": "set", "p": "payload", "pt": "msg", "to": "payload * 2", "tot": "jsonata" }] },
        { "id": "show", "type": "debug", "z": "tab", "name": "", "active": true, "tosidebar": true, "complete": "payload",
          "targetType": "msg", "x": 2, "y": 1, "wires": [] },
    ])
}

#[tokio::test]
async fn flows_are_checked_without_being_deployed() {
    let folder = Folder::new();
    let server = start(&folder, &flows());
    let post = reqwest::Method::POST;
    let (status, answer) = call(&server, post.clone(), "/probity/v1/flows/check", json!({ "flows": flows() })).await;
    assert_eq!((status, &answer["problems"]), (200, &json!([])), "{answer}");
    let mut wrong = flows();
    wrong[1]["rules"][0]["to"] = "payload *".into();
    wrong[2]["type"] = "no such type".into();
    let (_, answer) = call(&server, post.clone(), "/probity/v1/flows/check", json!({ "flows": wrong })).await;
    let of = |node: &str| answer["problems"].as_array().unwrap().iter().find(|p| p["node"] == node);
    assert_eq!(of("double").unwrap_or_else(|| panic!("{answer}"))["severity"], "error");
    assert!(of("show").unwrap_or_else(|| panic!("{answer}"))["message"].as_str().unwrap().contains("no such type"));
    let (_, after) = call(&server, reqwest::Method::GET, "/flows", Value::Null).await;
    assert_eq!(after, flows(), "nothing was deployed");
    let (status, _) = call(&server, post, "/probity/v1/flows/check", json!({})).await;
    assert_eq!(status, 400);
    server.terminate();
    server.ended();
}

#[tokio::test]
async fn a_run_is_opened_at_a_node_and_is_in_the_history() {
    let folder = Folder::new();
    let server = start(&folder, &flows());
    let post = reqwest::Method::POST;
    let draft = json!({ "node": "double", "msg": { "payload": 21 } });
    let (status, opened) = call(&server, post.clone(), "/probity/v1/runs", draft).await;
    assert_eq!(status, 202, "{opened}");
    let run = opened["run"].as_str().unwrap();
    let (_, found) = call(&server, reqwest::Method::GET, &format!("/probity/v1/runs/{run}"), Value::Null).await;
    assert_eq!(found["state"], "done", "it goes as far as it can at once: {found}");
    let nodes: Vec<&Value> = found["trace"].as_array().unwrap().iter().map(|step| &step["node"]).collect();
    assert_eq!(nodes, ["double", "show"]);
    assert_eq!(found["trigger"], json!({ "kind": "manual", "by": "anonymous" }));
    let (_, audit) = call(&server, reqwest::Method::GET, "/probity/v1/audit", Value::Null).await;
    let written = audit["items"].as_array().unwrap().iter().any(|e| e["action"] == "run" && e["subject"] == "double");
    assert!(written, "{audit}");
    let (status, answer) = call(&server, post, "/probity/v1/runs", json!({ "node": "nobody" })).await;
    assert_eq!(status, 404, "{answer}");
    server.terminate();
    server.ended();
}

const TESTS: &str = r#"
flow: flows.json
tests:
  - name: the database is stood in for
    mocks:
      - {node: Ask, when: {topic: teams}, answer: {payload: 20.95}, times: 1}
      - {node: ask, fail: the database is away}
    tolerance: {percent: 1, ignore: ["expect.mocked[*].msg.at"]}
    steps:
      - give: {node: ask, msg: {topic: teams, at: 7}}
      - give: {node: ask, msg: {topic: teams, at: 8}}
    expect:
      debug: [{node: show, value: 42}]
      errors: [{node: ask, message: the database is away}]
      mocked: [{node: Ask, msg: {at: 1}}, {node: Ask, msg: {at: 2}}]
  - name: without tolerance it is another number
    mocks: [{node: ask, answer: {payload: 20.95}}]
    steps: [{give: {node: ask, msg: {}}}]
    expect: {debug: [{node: show, value: 42}]}
  - name: a node that is not there
    mocks: [{node: nobody}]
"#;

#[test]
fn a_test_stands_in_for_nodes_and_is_as_tolerant_as_it_says() {
    let folder = Folder::new();
    let mut flows = flows();
    flows.as_array_mut().unwrap().push(json!({
        "id": "ask", "type": "sql", "z": "tab", "name": "Ask", "datasource": "shop", "query": "select 1", "x": 3, "y": 1,
        "wires": [["double"]],
    }));
    folder.write("flows.json", &flows);
    std::fs::write(folder.0.join("flows.test.yaml"), TESTS).unwrap();
    let ran = probity().arg("test").arg(&folder.0).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert_eq!(ran.status.code(), Some(1), "{said}");
    assert!(said.contains("ok   ") && said.contains("1 passed, 2 failed"), "{said}");
    assert!(said.contains("expect.debug[0].value: expected 42, found 41.9"), "{said}");
    assert!(said.contains("mocks: the flow has no node \"nobody\""), "{said}");
}

/// A service outside, which answers each call with how many there were.
async fn outside() -> (String, tokio::task::JoinHandle<()>) {
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let answer = move || {
        let n = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
        async move { axum::Json(json!({ "n": n, "at": 1_700_000_000_000u64 })) }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let app = axum::Router::new().route("/n", axum::routing::get(answer));
    (address, tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }))
}

#[tokio::test]
async fn a_run_of_a_server_becomes_a_test_that_needs_no_world_and_holds_no_secrets() {
    let (address, service) = outside().await;
    let folder = Folder::new();
    let node = |id: &str, node_type: &str, wires: &[&str]| json!({ "id": id, "type": node_type, "z": "tab", "x": 1, "y": 1, "wires": [wires] });
    let with = |mut node: Value, more: Value| {
        node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        node
    };
    let flows = json!([
        { "id": "tab", "type": "tab", "label": "A flow", "trace": true },
        { "id": "sub", "type": "subflow", "name": "asks", "in": [{ "wires": [{ "id": "ask" }] }],
          "out": [{ "wires": [{ "id": "ask", "port": 0 }] }] },
        with(node("ask", "http request", &[]), json!({ "z": "sub", "method": "GET", "ret": "obj", "paytoqs": "query",
             "url": format!("{address}/n"), "credentials": { "user": "ana", "password": "open sesame" } })),
        with(node("in", "http in", &["i"]), json!({ "url": "/order", "method": "post" })),
        node("i", "subflow:sub", &["sum"]),
        with(node("sum", "change", &["keep"]), json!({ "rules": [
             { "t": "set", "p": "payload", "pt": "msg", "to": "payload.n * 2", "tot": "jsonata" }] })),
        with(node("keep", "file", &["seen", "lost"]), json!({ "filename": "kept.txt", "overwriteFile": "false" })),
        with(node("seen", "debug", &[]), json!({ "complete": "payload", "targetType": "msg", "wires": [] })),
        with(node("lost", "http request", &["end"]), json!({ "method": "GET", "ret": "txt", "url": "http://127.0.0.1:1/x" })),
        with(node("end", "http response", &[]), json!({ "wires": [] })),
    ]);
    let server = {
        let flows = folder.write("orders.json", &flows);
        std::fs::create_dir(folder.0.join("files")).unwrap();
        let mut command = probity();
        command.args(["serve", "--listen", "127.0.0.1:0", "--database-url", "memory:", "--flows"]).arg(flows);
        command.arg("--data-dir").arg(&folder.0).env("PROBITY_FILES_DIR", folder.0.join("files"));
        Server::start(&mut command)
    };
    let asked = client().post(format!("{}/order", server.base)).basic_auth("bob", Some("hunter22"));
    let asked = asked.header("x-team", "blue").header("content-type", "application/json").body(r#"{"q":"x y"}"#);
    let answer = asked.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let (_, runs) = call(&server, reqwest::Method::GET, "/probity/v1/runs?trigger=http", Value::Null).await;
    let run = runs["items"][0]["id"].as_str().unwrap_or_else(|| panic!("{runs}"));

    let listen = server.base.strip_prefix("http://").unwrap();
    let record = |run: &str| {
        let mut command = probity();
        command.args(["test", "--record", run, "--listen", listen, "--out"]).arg(&folder.0).output().unwrap()
    };
    let recorded = record(run);
    let said = String::from_utf8_lossy(&recorded.stderr).into_owned();
    assert_eq!(recorded.status.code(), Some(0), "{said}");
    assert!(said.contains("Secrets are masked"), "{said}");
    assert_eq!(record(run).status.code(), Some(2), "what is there is not overwritten");
    assert_ne!(record("00000000-0000-0000-0000-000000000000").status.code(), Some(0));

    let mut there = std::fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().path());
    let file = there.find(|path| path.to_string_lossy().ends_with(".test.yaml")).unwrap();
    let yaml = std::fs::read_to_string(&file).unwrap();
    for secret in ["sesame", "hunter22", "Basic ", "aHVudGVyMjI"] {
        assert!(!yaml.contains(secret), "{secret} in {yaml}");
    }
    for part in ["orders.json", "x-team", "/n?q=x", "ECONNREFUSED", "node: keep"] {
        assert!(yaml.contains(part), "no {part} in {yaml}");
    }

    // Without the service, without the server, without the folder for files.
    service.abort();
    server.terminate();
    server.ended();
    std::fs::remove_dir_all(folder.0.join("files")).unwrap();
    let test = || {
        let ran = probity().arg("test").arg(&file).output().unwrap();
        (ran.status.code(), String::from_utf8_lossy(&ran.stdout).into_owned())
    };
    let (code, said) = test();
    assert_eq!(code, Some(0), "{said}\n{yaml}");
    let text = flows.to_string().replace("payload.n * 2", "payload.n * 3");
    std::fs::write(folder.0.join("orders.json"), text).unwrap();
    let (code, said) = test();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("expected 2, found 3"), "{said}");
}
