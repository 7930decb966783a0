//! Deploys over HTTP: what an invalid one leaves alone, what goes on, what is saved, who wins.

use std::time::Duration;

use probity::clock::Clock;
use serde_json::{Value as Json, json};

use super::{PATIENCE, Rig, Wanted};

fn tab(id: &str) -> Json {
    json!({ "id": id, "type": "tab", "label": id })
}

fn node(id: &str, z: &str, node_type: &str, more: Json, wires: Json) -> Json {
    let mut node = json!({ "id": id, "z": z, "type": node_type, "x": 1, "y": 1, "wires": wires });
    for (key, value) in more.as_object().unwrap() {
        node[key] = value.clone();
    }
    node
}

/// A tab that answers GET on a path with a text.
fn endpoint(id: &str, method: &str, url: &str, text: &str) -> Vec<Json> {
    vec![
        tab(id),
        node(
            &format!("{id}-in"),
            id,
            "http in",
            json!({ "method": method, "url": url }),
            json!([[format!("{id}-set")]]),
        ),
        node(
            &format!("{id}-set"),
            id,
            "change",
            json!({ "rules": [{ "t": "set", "p": "payload", "pt": "msg", "to": text, "tot": "str" }] }),
            json!([[format!("{id}-out")]]),
        ),
        node(&format!("{id}-out"), id, "http response", json!({}), json!([])),
    ]
}

#[tokio::test]
async fn an_invalid_deploy_changes_nothing_and_says_everything_that_is_wrong() {
    let rig = Rig::new(endpoint("a", "get", "/hello", "one").into()).await;
    let before = std::fs::read(&rig.file).unwrap();
    let revision = rig.admin.flows.current().revision.clone();
    let bad = json!([
        tab("a"),
        7,
        node("x", "a", "debug", json!({}), json!([])),
        node("x", "a", "debug", json!({}), json!([])),
        { "id": "y", "z": "a" },
        { "id": "s", "type": "subflow", "name": "S" },
        node("i", "s", "subflow:s", json!({}), json!([])),
        node("j", "a", "subflow:s", json!({}), json!([])),
    ]);
    for kind in ["full", "flows", "nodes"] {
        let answer = rig.deploy(kind, bad.clone(), None).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        let body = answer.json();
        assert_eq!(body["code"], "invalid_flows");
        let problems = body["problems"].as_array().unwrap();
        let codes: Vec<&str> = problems.iter().map(|p| p["code"].as_str().unwrap()).collect();
        for code in ["entry-not-object", "duplicate-id", "missing-type", "subflow-recursion"] {
            assert!(codes.contains(&code), "{code}: {codes:?}");
            let said = problems.iter().find(|p| p["code"] == code).unwrap()["message"].as_str().unwrap();
            assert!(body["message"].as_str().unwrap().contains(said), "{said}");
        }
    }
    assert_eq!(std::fs::read(&rig.file).unwrap(), before);
    assert_eq!(rig.admin.flows.current().revision, revision);
    assert_eq!(rig.get("/hello").await.text, "one");
    for (version, body) in [("v1", json!({ "flows": [] })), ("v2", json!([])), ("v2", json!({ "flows": 1 }))] {
        let headers = [("content-type", "application/json"), ("node-red-api-version", version)];
        let answer = rig.call("POST", "/flows", &headers, body.to_string()).await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (400, Some("unexpected_error")), "{body}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_file_already_does_not_stand_in_the_way() {
    let twice =
        [endpoint("a", "get", "/hello", "one"), vec![node("d", "b", "debug", json!({}), json!([])); 2]].concat();
    let rig = Rig::new(twice.clone().into()).await;
    let answer = rig.send("POST", "/flow", &json!({ "label": "new", "nodes": [] })).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// Tab `j`: two injected messages become one, shown by a debug node; tab `o` is another.
fn joining(other: &str) -> Json {
    let join =
        json!({ "mode": "custom", "build": "array", "property": "payload", "propertyType": "msg", "count": "2" });
    let inject = json!({ "props": [{ "p": "payload", "v": "x", "vt": "str" }] });
    json!([
        tab("j"),
        node("go", "j", "inject", inject, json!([["both"]])),
        node("both", "j", "join", join, json!([["show"]])),
        node("show", "j", "debug", json!({ "complete": "payload", "name": "show" }), json!([])),
        tab("o"),
        node("other", "o", "debug", json!({ "name": other }), json!([])),
    ])
}

#[tokio::test]
async fn untouched_flows_keep_what_they_have_collected() {
    let rig = Rig::new(joining("before")).await;
    let mut editor = rig.editor().await;
    editor.subscribe().await;
    let inject = async || assert_eq!(rig.send("POST", "/inject/go", &json!({})).await.text, "OK");
    for (kind, name) in [("nodes", "one"), ("flows", "two")] {
        inject().await;
        let answer = rig.deploy(kind, joining(name), None).await;
        editor.deployed(answer.json()["rev"].as_str().unwrap()).await;
        inject().await;
        let shown = editor.wait_for("debug", |data| data["id"] == "show").await;
        assert_eq!(
            (shown["msg"].as_str(), shown["format"].as_str()),
            (Some(r#"["x","x"]"#), Some("array[2]")),
            "{kind}"
        );
    }
    // A full deploy starts everything anew: one message is not two.
    inject().await;
    rig.deploy("full", joining("three"), None).await;
    inject().await;
    inject().await;
    editor.wait_for("debug", |data| data["id"] == "show").await;
    assert!(editor.take().iter().all(|m| m["topic"] != "debug"));
}

#[tokio::test]
async fn callers_that_wait_are_answered_over_a_deploy() {
    let delay = json!({ "pauseType": "delay", "timeout": "1", "timeoutUnits": "seconds" });
    let mut flows = endpoint("a", "get", "/slow", "late");
    flows[1]["wires"] = json!([["wait"]]);
    flows.push(node("wait", "a", "delay", delay, json!([["a-set"]])));
    let mut wanted = Wanted::of(flows.into());
    wanted.clock = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
    let rig = Rig::start(wanted).await;
    let waiting = {
        let (client, url) = (rig.server.client.clone(), rig.server.url("/slow"));
        tokio::spawn(async move { client.get(url).send().await.unwrap().text().await.unwrap() })
    };
    while rig.engine.open_runs() == 0 {
        tokio::task::yield_now().await;
    }
    // Its tab is gone, and the path is another tab's.
    let answer = rig.deploy("full", endpoint("b", "get", "/slow", "new").into(), None).await;
    assert_eq!(answer.status, 200);
    assert_eq!(rig.get("/slow").await.text, "new");
    let answered = async {
        while !waiting.is_finished() {
            rig.clock.advance(Duration::from_millis(100));
            tokio::task::yield_now().await;
        }
        waiting.await.unwrap()
    };
    assert_eq!(tokio::time::timeout(PATIENCE, answered).await.unwrap(), "late");
}

#[tokio::test]
async fn flows_are_saved_as_node_red_writes_them_and_are_there_after_a_restart() {
    let wanted = Wanted::of(json!([]));
    let folder = wanted.folder.clone();
    let rig = Rig::start(wanted).await;
    let mut flows = endpoint("a", "get", "/kept", "kept");
    flows[2]["zzz"] = json!({ "n": 1.50, "10": 1, "9": 2, "list": [], "secret": null });
    let answer = rig.deploy("full", flows.clone().into(), None).await;
    let revision = answer.json()["rev"].clone();
    let text = std::fs::read_to_string(&rig.file).unwrap();
    assert!(text.starts_with("[\n    {\n        \"id\": \"a\",\n"), "{text}");
    assert!(
        text.contains("\"zzz\": {\n            \"9\": 2,\n            \"10\": 1,\n            \"n\": 1.5,"),
        "{text}"
    );
    assert!(text.ends_with("]") && folder.path().join(".flows.json.backup").exists());
    assert!(!folder.path().join(".flows.json.new").exists());
    rig.server.stopped().await;
    let mut wanted = Wanted::of(json!([]));
    wanted.folder = folder;
    let rig = Rig::start(wanted).await;
    assert_eq!(rig.get("/kept").await.text, "kept");
    let headers = [("node-red-api-version", "v2")];
    let kept = rig.call("GET", "/flows", &headers, String::new()).await.json();
    assert_eq!(kept, json!({ "flows": flows, "rev": revision }));
}

#[tokio::test]
async fn a_folder_and_a_read_only_file_are_not_written_and_say_so() {
    let wanted = Wanted::of(json!([]));
    let folder = wanted.folder.path().to_path_buf();
    let flows = folder.join("many");
    std::fs::create_dir(&flows).unwrap();
    let one = serde_json::to_string(&endpoint("a", "get", "/hello", "one")).unwrap();
    std::fs::write(flows.join("a.json"), &one).unwrap();
    let rig = Rig::over(wanted, flows).await;
    assert_eq!(rig.get("/hello").await.text, "one");
    let answer = rig.deploy("full", json!([]), None).await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (400, Some("flows_read_only")));
    assert!(answer.json()["message"].as_str().unwrap().contains("folder"), "{answer:?}");
    assert_eq!(rig.get("/hello").await.text, "one");

    let rig = Rig::new(endpoint("a", "get", "/hello", "one").into()).await;
    let mut permissions = rig.file.metadata().unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&rig.file, permissions).unwrap();
    let answer = rig.send("DELETE", "/flow/a", &json!({})).await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (400, Some("flows_read_only")));
    assert!(answer.json()["message"].as_str().unwrap().contains("read-only"), "{answer:?}");
    assert_eq!(rig.get("/hello").await.text, "one");
}

#[tokio::test]
async fn of_two_editors_that_started_from_the_same_flows_one_wins() {
    let rig = Rig::new(endpoint("a", "get", "/hello", "one").into()).await;
    let revision = rig.admin.flows.current().revision.clone();
    let (one, two) = tokio::join!(
        rig.deploy("full", endpoint("a", "get", "/hello", "left").into(), Some(&revision)),
        rig.deploy("full", endpoint("a", "get", "/hello", "right").into(), Some(&revision)),
    );
    let (won, lost) = if one.status == 200 { (one, two) } else { (two, one) };
    assert_eq!((won.status, lost.status), (200, 409));
    assert_eq!(lost.json(), json!({ "code": "version_mismatch", "message": "Error" }));
    let text = rig.get("/hello").await.text;
    assert!(["left", "right"].contains(&text.as_str()), "{text}");
}

#[tokio::test]
async fn admin_routes_come_before_flows_and_ours_before_both() {
    let flows = [
        endpoint("a", "get", "/flows", "never"),
        endpoint("b", "post", "/flow/x", "a flow's"),
        endpoint("c", "get", "/flowsy", "a flow's, too"),
        endpoint("d", "get", "/metrics", "never"),
    ];
    let rig = Rig::new(flows.concat().into()).await;
    assert!(rig.get("/flows").await.text.starts_with("[{"));
    assert_eq!(rig.send("POST", "/flow/x", &json!({})).await.text, "a flow's");
    assert_eq!(rig.get("/flowsy").await.text, "a flow's, too");
    assert!(rig.get("/metrics").await.text.contains("# TYPE"));
    let mut wanted = Wanted::of(endpoint("a", "get", "/flows", "below the root").into());
    wanted.node_root = "/api/v1".into();
    let rig = Rig::start(wanted).await;
    assert_eq!(rig.get("/api/v1/flows").await.text, "below the root");
    assert!(rig.get("/flows").await.text.starts_with("[{"));
}

#[tokio::test]
async fn flows_that_were_stopped_stay_so_until_they_are_started() {
    let wanted = Wanted::of(endpoint("a", "get", "/hello", "one").into());
    let folder = wanted.folder.clone();
    let rig = Rig::start(wanted).await;
    let state = |state: &str| json!({ "state": state });
    assert_eq!(rig.send("POST", "/flows/state", &state("stop")).await.json(), state("stop"));
    assert_eq!(rig.get("/hello").await.status, 404);
    // A deploy is kept, and not started.
    assert_eq!(rig.deploy("full", endpoint("a", "get", "/hello", "two").into(), None).await.status, 200);
    assert_eq!(rig.get("/hello").await.status, 404);
    rig.server.stopped().await;
    let mut wanted = Wanted::of(json!([]));
    wanted.folder = folder;
    let rig = Rig::start(wanted).await;
    assert_eq!(rig.get("/flows/state").await.json(), state("stop"));
    assert_eq!(rig.get("/hello").await.status, 404);
    assert_eq!(rig.send("POST", "/flows/state", &state("start")).await.json(), state("start"));
    assert_eq!(rig.get("/hello").await.text, "two");

    let mut wanted = Wanted::of(json!([]));
    wanted.runtime_state = false;
    let rig = Rig::start(wanted).await;
    assert_eq!(rig.send("POST", "/flows/state", &state("stop")).await.status, 404);
}

#[tokio::test]
async fn contexts_go_with_their_tabs_and_stay_with_all_others() {
    let set =
        |to: &str, scope: &str| json!({ "rules": [{ "t": "set", "p": "k", "pt": scope, "to": to, "tot": "str" }] });
    let flows = json!([
        tab("a"),
        node("go", "a", "inject", json!({ "props": [] }), json!([["f", "g"]])),
        node("f", "a", "change", set("flow's", "flow"), json!([["seen"]])),
        node("g", "a", "change", set("global's", "global"), json!([["seen"]])),
        node("seen", "a", "debug", json!({}), json!([])),
    ]);
    let rig = Rig::new(flows.clone()).await;
    let mut editor = rig.editor().await;
    editor.subscribe().await;
    rig.send("POST", "/inject/go", &json!({})).await;
    for _ in 0..2 {
        editor.wait_for("debug", |_| true).await;
    }
    let value =
        |text: &str| json!({ "default": { "k": { "msg": text, "format": format!("string[{}]", text.len()) } } });
    rig.deploy("full", flows, None).await;
    assert_eq!(rig.get("/context/flow/a").await.json(), value("flow's"));
    assert_eq!(rig.get("/context/global").await.json(), value("global's"));
    rig.deploy("full", json!([]), None).await;
    assert_eq!(rig.get("/context/flow/a").await.json(), json!({ "default": {} }));
    assert_eq!(rig.get("/context/global").await.json(), value("global's"));
    assert_eq!(rig.send("DELETE", "/context/global/k", &json!({})).await.status, 204);
    assert_eq!(rig.get("/context/global").await.json(), json!({ "default": {} }));
}
