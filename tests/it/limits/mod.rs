//! Limits and what operators see: places, floods, searches, traces, OpenTelemetry, the log, a store that is away.

mod away;
mod doctor;
mod flood;
mod log;
mod otel;
mod search;
mod trace;

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::serve::{Folder, probity};

/// A tab with these further properties and nodes.
fn tab(properties: Value, nodes: &[Value]) -> Value {
    let mut tab = json!({"id": "tab0000000000000", "type": "tab", "label": "test"});
    tab.as_object_mut().unwrap().extend(properties.as_object().unwrap().clone());
    let mut all = vec![tab];
    for node in nodes {
        let mut node = node.clone();
        for (name, value) in [("z", json!("tab0000000000000")), ("x", json!(100)), ("y", json!(100))] {
            node[name] = value;
        }
        all.push(node);
    }
    json!(all)
}

/// Calls `url` with what it was called with, and answers with the answer.
fn asking(properties: Value, path: &str, url: &str) -> Value {
    tab(
        properties,
        &[
            json!({"id": "in00000000000000", "type": "http in", "url": path, "method": "post", "wires": [["ask0000000000000"]]}),
            json!({"id": "ask0000000000000", "type": "http request", "method": "POST", "ret": "txt", "url": url,
                   "wires": [["out0000000000000"]]}),
            json!({"id": "out0000000000000", "type": "http response", "wires": []}),
        ],
    )
}

fn serve(folder: &Folder, flows: &Path) -> Command {
    let mut command = probity();
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder.0.join("data"))
        .arg("--flows")
        .arg(flows);
    command
}

/// Serves a router until the test ends; gives its base address.
async fn site(router: axum::Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}
