//! The editors' websocket: what is told, how it is batched and kept, and that nobody waits for a slow listener.

use std::time::Duration;

use probity::clock::Clock;
use serde_json::{Value as Json, json};

use super::{Editor, PATIENCE, Rig, Wanted};

/// An inject node whose messages are taken apart and shown.
fn splitting(z: &str) -> Json {
    json!([
        { "id": "t", "type": "tab", "label": "T" },
        { "id": "go", "type": "inject", "z": z, "props": [], "x": 1, "y": 1, "wires": [["split"]] },
        { "id": "split", "type": "split", "z": z, "x": 1, "y": 1, "wires": [["show"]] },
        { "id": "show", "type": "debug", "z": z, "name": "n", "complete": "payload", "x": 1, "y": 1, "wires": [] }
    ])
}

async fn inject(rig: &Rig, value: &Json) {
    let props = json!({ "__user_inject_props__": [{ "p": "payload", "v": value.to_string(), "vt": "json" }] });
    assert_eq!(rig.send("POST", "/inject/go", &props).await.text, "OK");
}

#[tokio::test]
async fn messages_come_in_order_at_most_fifty_at_once() {
    let rig = Rig::new(splitting("t")).await;
    let mut editor = rig.editor().await;
    // A subscription shows that the server listens.
    editor.subscribe().await;
    editor.wait_for("notification/runtime-state", |data| data["state"] == "start").await;
    editor.wait_for("notification/runtime-deploy", |_| true).await;
    inject(&rig, &(0..120).collect::<Vec<u32>>().into()).await;
    let mut shown = Vec::new();
    while shown.len() < 120 {
        let frame = editor.frame().await.unwrap();
        let messages = frame.as_array().unwrap().clone();
        assert!((1..=50).contains(&messages.len()));
        shown.extend(messages);
    }
    for (i, message) in shown.iter().enumerate() {
        let data = json!({ "id": "show", "z": "t", "path": "t", "name": "n", "property": "payload",
                           "msg": i.to_string(), "format": "number" });
        assert_eq!(*message, json!({ "topic": "debug", "data": data }));
    }
}

#[tokio::test]
async fn the_heart_beats_every_fifteen_seconds() {
    let mut wanted = Wanted::of(json!([]));
    wanted.clock = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
    let rig = Rig::start(wanted).await;
    let mut editor = rig.editor().await;
    let beat = async {
        let frame = editor.frame();
        tokio::pin!(frame);
        loop {
            tokio::select! {
                frame = &mut frame => break frame.unwrap(),
                () = tokio::task::yield_now() => rig.clock.advance(Duration::from_millis(10)),
            }
        }
    };
    let beat = tokio::time::timeout(PATIENCE, beat).await.unwrap();
    assert_eq!(beat[0]["topic"], "hb");
    let passed = beat[0]["data"].as_i64().unwrap() - 1_767_225_600_000;
    assert!(passed >= 15_000, "{passed}");
}

#[tokio::test]
async fn who_does_not_listen_costs_nobody_anything() {
    let rig = Rig::new(splitting("t")).await;
    let mut deaf = rig.editor().await;
    deaf.subscribe().await;
    let mut editor = rig.editor().await;
    editor.subscribe().await;
    editor.wait_for("notification/runtime-deploy", |_| true).await;
    let long = "x".repeat(900);
    // More than one listener may have waiting, in bodies of a size that is taken.
    for _ in 0..3 {
        inject(&rig, &vec![long.clone(); 4_000].into()).await;
    }
    while rig.engine.open_runs() > 0 {
        tokio::task::yield_now().await;
    }
    // The deaf one is told what it missed when it listens again, or sent away.
    let note = async {
        while let Some(frame) = deaf.frame().await {
            let text = frame.to_string();
            if text.contains("debug messages are left out") {
                return true;
            }
        }
        false
    };
    assert!(tokio::time::timeout(PATIENCE, note).await.unwrap());
    assert_eq!(rig.get("/flows/state").await.json(), json!({ "state": "start" }));
}

#[tokio::test]
async fn a_debug_node_is_switched_off_and_on_until_it_is_deployed_anew() {
    let rig = Rig::new(splitting("t")).await;
    let mut editor = rig.editor().await;
    editor.subscribe().await;
    let toggle = async |path: &str, status: u16| assert_eq!(rig.send("POST", path, &json!({})).await.status, status);
    toggle("/debug/show/disable", 201).await;
    inject(&rig, &json!(["unseen"])).await;
    toggle("/debug/show/enable", 200).await;
    inject(&rig, &json!(["seen"])).await;
    assert_eq!(editor.wait_for("debug", |_| true).await["msg"], "seen");
    toggle("/debug/show/disable", 201).await;
    rig.deploy("full", splitting("t"), None).await;
    inject(&rig, &json!(["again"])).await;
    assert_eq!(editor.wait_for("debug", |_| true).await["msg"], "again");
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let bulk = rig.call("POST", "/debug/disable", &form, "nodes%5B%5D=show&nodes%5B%5D=go".into()).await;
    assert_eq!((bulk.status, bulk.text.as_str()), (201, "Created"));
    assert_eq!(rig.call("POST", "/debug/disable", &form, "nodes=show".into()).await.status, 400);
}

#[tokio::test]
async fn what_nodes_in_subflows_say_is_told_with_the_way_to_them() {
    let flows = json!([
        { "id": "t", "type": "tab", "label": "T" },
        { "id": "s", "type": "subflow", "name": "S", "in": [{ "wires": [{ "id": "d" }] }], "out": [] },
        { "id": "d", "type": "debug", "z": "s", "name": "", "complete": "true", "tostatus": true, "x": 1, "y": 1, "wires": [] },
        { "id": "i", "type": "subflow:s", "z": "t", "x": 1, "y": 1, "wires": [] },
        { "id": "go", "type": "inject", "z": "t", "props": [], "x": 1, "y": 1, "wires": [["i"]] }
    ]);
    let rig = Rig::new(flows).await;
    let mut editor = rig.editor().await;
    editor.subscribe().await;
    inject(&rig, &json!("p")).await;
    let shown = editor.wait_for("debug", |_| true).await;
    let place = ["id", "z", "_alias", "path"].map(|key| shown[key].as_str().unwrap_or_default().to_string());
    assert_eq!(place, ["i-d", "i", "d", "t/i"]);
    let status = editor.wait_for("status/i-d", |_| true).await;
    assert_eq!(status, json!({ "text": "p", "fill": "grey", "shape": "dot" }));
    // Kept for those who come later, and over with the node.
    let mut later = rig.editor().await;
    later.send(json!({ "subscribe": "status/#" })).await;
    later.wait_for("status/i-d", |data| data["text"] == "p").await;
    rig.deploy("full", json!([]), None).await;
    later.wait_for("status/i-d", |data| *data == json!({})).await;
}

#[tokio::test]
async fn an_error_that_nobody_catches_is_shown() {
    let flows = json!([
        { "id": "t", "type": "tab", "label": "T" },
        { "id": "go", "type": "inject", "z": "t", "props": [], "x": 1, "y": 1, "wires": [["j"]] },
        { "id": "j", "type": "json", "z": "t", "name": "parse", "property": "payload", "action": "obj", "x": 1, "y": 1, "wires": [[]] }
    ]);
    let rig = Rig::new(flows).await;
    let mut editor = rig.editor().await;
    editor.subscribe().await;
    inject(&rig, &json!("{no")).await;
    let shown = editor.wait_for("debug", |data| data["level"] == 20).await;
    for (key, value) in [("id", "j"), ("type", "json"), ("z", "t"), ("name", "parse"), ("path", "t")] {
        assert_eq!(shown[key], value, "{shown}");
    }
    assert!(shown["timestamp"].is_number() && shown["format"].as_str().unwrap().starts_with("string["), "{shown}");
}

#[tokio::test]
async fn the_server_ends_the_connections_when_it_stops() {
    let mut rig = Rig::new(json!([])).await;
    let mut editor = rig.editor().await;
    editor.subscribe().await;
    editor.wait_for("notification/runtime-deploy", |_| true).await;
    rig.server.stop();
    while editor.frame().await.is_some() {}
    // No websocket, no upgrade: as Express answers.
    let rig = Rig::new(json!([])).await;
    assert_eq!(rig.get("/comms").await.status, 404);
    let garbage: [&str; 4] = ["no json", "{\"subscribe\":7}", "[]", "{\"topic\":\"x\",\"data\":1}"];
    let mut editor = Editor::connect(&rig.server).await;
    for text in garbage {
        editor.text(text).await;
    }
    editor.subscribe().await;
    editor.wait_for("notification/runtime-state", |_| true).await;
}
