//! What STATUS's backend and pages call, as its checklist has it: flows as they are, single tabs, nodes on no tab,
//! unknown types, endpoints that answer as soon as they are deployed.

use serde_json::{Value as Json, json};

use super::Rig;

/// STATUS's own end-to-end fixture is of this kind: nodes whose tab is nowhere.
fn echo(z: &str, url: &str) -> Json {
    json!([
        { "id": format!("{z}in"), "type": "http in", "z": z, "name": "", "url": url, "method": "post", "upload": false,
          "swaggerDoc": "", "x": 1, "y": 1, "wires": [[format!("{z}out")]] },
        { "id": format!("{z}out"), "type": "http response", "z": z, "name": "", "statusCode": "200", "headers": {},
          "x": 2, "y": 1, "wires": [] }
    ])
}

#[tokio::test]
async fn flows_come_back_as_they_were_posted() {
    let rig = Rig::new(json!([])).await;
    let flows = json!([
        { "zz": 1, "id": "t", "type": "tab", "label": "Mashup", "info": "what it is for", "disabled": false, "secrets": ["a"] },
        { "type": "http in", "id": "i", "z": "t", "url": "/m", "method": "post", "params": { "threshold": "number" },
          "custom": { "b": 1, "a": [null, 1.5] }, "x": 1, "y": 1, "wires": [[]] },
        { "id": "u", "type": "status-unknown", "z": "t2", "config": "${X}", "x": 1, "y": 1, "wires": [["nowhere", ""]] }
    ]);
    let posted = rig.send("POST", "/flows", &flows).await;
    assert_eq!((posted.status, posted.text.as_str()), (204, ""));
    let read = rig.get("/flows").await;
    assert_eq!(read.text, flows.to_string(), "in their order, too");
    assert_eq!(rig.send("POST", "/flows", &json!([])).await.status, 204);
    assert_eq!(rig.get("/flows").await.text, "[]");
}

#[tokio::test]
async fn a_new_endpoint_answers_before_the_deploy_is_over() {
    let rig = Rig::new(json!([])).await;
    for i in 0..5 {
        let url = format!("/status-test{i}");
        assert_eq!(rig.send("POST", "/flows", &echo("lost", &url)).await.status, 204);
        let answer = rig.send("POST", &url, &json!({ "value": i })).await;
        assert_eq!((answer.status, answer.json()), (200, json!({ "value": i })));
    }
    let shown = rig.get("/flow/lost").await;
    assert_eq!(shown.json()["nodes"][0]["url"], "/status-test4");
    assert_eq!(rig.send("DELETE", "/flow/lost", &json!({})).await.status, 204);
    assert_eq!(rig.send("POST", "/status-test4", &json!({})).await.status, 404);
}

#[tokio::test]
async fn tabs_are_made_read_changed_and_removed_one_by_one() {
    let rig = Rig::new(json!([])).await;
    let body = json!({ "id": "ours", "label": "M", "info": "i", "nodes": echo("elsewhere", "/m"), "configs": [] });
    let made = rig.send("POST", "/flow", &body).await;
    let id = made.json()["id"].as_str().unwrap().to_string();
    assert!(made.status == 200 && id != "ours" && id.len() <= 32);
    let path = format!("/flow/{id}");
    let read = rig.get(&path).await.json();
    assert_eq!((read["label"].as_str(), read["info"].as_str()), (Some("M"), Some("i")));
    assert!(read["nodes"].as_array().unwrap().iter().all(|node| node["z"] == id.as_str()));
    assert_eq!(rig.send("POST", "/m", &json!({ "a": 1 })).await.json(), json!({ "a": 1 }));
    let again = rig.send("POST", "/flow", &body).await;
    assert_eq!(again.json(), json!({ "code": "unexpected_error", "message": "duplicate id" }));
    // STATUS sends the tab along, under an id of its own.
    let mut nodes = echo("x", "/n").as_array().unwrap().clone();
    nodes.insert(0, json!({ "id": "foreign", "type": "tab", "label": "T" }));
    let put = rig.send("PUT", &path, &json!({ "id": "foreign", "label": "N", "nodes": nodes })).await;
    assert_eq!((put.status, put.json()), (200, json!({ "id": id })));
    assert_eq!(rig.send("POST", "/m", &json!({})).await.status, 404);
    assert_eq!(rig.send("POST", "/n", &json!({ "b": 2 })).await.json(), json!({ "b": 2 }));
    assert_eq!(rig.send("PUT", &path, &json!({ "label": "N", "nodes": nodes })).await.status, 200, "and again");
    assert_eq!(rig.send("DELETE", &path, &json!({})).await.status, 204);
    for gone in [rig.get(&path).await, rig.send("DELETE", &path, &json!({})).await, rig.send("PUT", &path, &body).await]
    {
        assert_eq!((gone.status, gone.json()), (404, json!({ "code": "not_found", "message": "Error" })));
    }
}

#[tokio::test]
async fn a_tab_with_unknown_nodes_is_alone_in_not_running() {
    let mut flows = echo("good", "/good").as_array().unwrap().clone();
    flows.extend(echo("bad", "/bad").as_array().unwrap().clone());
    flows.push(json!({ "id": "u", "type": "sf:filter", "z": "bad", "x": 1, "y": 1, "wires": [] }));
    let rig = Rig::new(json!([])).await;
    let mut editor = rig.editor().await;
    editor.subscribe().await;
    assert_eq!(rig.send("POST", "/flows", &Json::from(flows)).await.status, 204);
    assert_eq!(rig.send("POST", "/good", &json!({ "a": 1 })).await.status, 200);
    let refused = rig.send("POST", "/bad", &json!({})).await;
    assert_eq!((refused.status, refused.json()["types"].clone()), (501, json!(["sf:filter"])));
    let told = editor.wait_for("notification/runtime-state", |data| data["error"] == "missing-types").await;
    assert_eq!((told["state"].as_str(), told["types"].clone()), (Some("start"), json!(["sf:filter"])));
}

#[tokio::test]
async fn odd_files_load_as_in_node_red() {
    let mut flows = echo("t", "/twice").as_array().unwrap().clone();
    flows.push(json!({ "id": "t", "type": "tab", "label": "T" }));
    flows.push(json!({ "id": "", "type": "comment", "z": "t", "x": 1, "y": 1, "wires": [""] }));
    flows.push(json!({ "id": "g", "type": "group", "z": "t", "nodes": ["gone"] }));
    flows.push(json!({ "id": "off", "type": "debug", "z": "t", "d": true, "x": 1, "y": 1, "wires": "" }));
    let second = echo("second", "/twice");
    flows.extend(second.as_array().unwrap().clone());
    let rig = Rig::new(json!([])).await;
    assert_eq!(rig.send("POST", "/flows", &Json::from(flows.clone())).await.status, 204);
    assert_eq!(rig.get("/flows").await.json(), Json::from(flows));
    assert_eq!(rig.send("POST", "/twice", &json!({ "a": 1 })).await.json(), json!({ "a": 1 }));
}
