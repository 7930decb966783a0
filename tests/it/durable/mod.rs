//! Durable runs of the real program: killed at every named place, stopped, without its database.

mod crash;
mod starts;
mod stops;
mod trace;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::serve::{Folder, probity};

/// Counts what it is sent, by what stands in the body and by `Idempotency-Key`; answers while it is open.
pub(crate) struct Receiver {
    pub(crate) url: String,
    got: Mutex<Vec<(String, String)>>,
    /// `traceparent` of each call.
    traces: Mutex<Vec<String>>,
    open: watch::Sender<bool>,
}

async fn take(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: String) -> &'static str {
    let header = |name: &str| headers.get(name).map_or("", |value| value.to_str().unwrap());
    let key = header("idempotency-key");
    receiver.traces.lock().unwrap().push(header("traceparent").to_owned());
    receiver.got.lock().unwrap().push((body, key.to_owned()));
    let mut open = receiver.open.subscribe();
    open.wait_for(|open| *open).await.unwrap();
    "taken"
}

impl Receiver {
    pub(crate) async fn serve() -> Arc<Receiver> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let receiver =
            Arc::new(Receiver { url, got: Mutex::default(), traces: Mutex::default(), open: watch::Sender::new(true) });
        let app = Router::new().route("/", post(take)).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        receiver
    }

    pub(crate) fn hold(&self, hold: bool) {
        self.open.send_replace(!hold);
    }

    /// How often each body came, and under which keys.
    pub(crate) fn got(&self) -> BTreeMap<String, (usize, BTreeSet<String>)> {
        let mut by_body: BTreeMap<String, (usize, BTreeSet<String>)> = BTreeMap::new();
        for (body, key) in self.got.lock().unwrap().iter() {
            let entry = by_body.entry(body.clone()).or_default();
            entry.0 += 1;
            entry.1.insert(key.clone());
        }
        by_body
    }
}

/// A tab that passes what is posted on to the receiver and answers: once more after a crash (`/pay`), or never
/// (`/once`); and one that waits for a minute first (`/late`).
pub(crate) fn flows(receiver: &str) -> Value {
    let send = |id: &str, retry: &str, to: &str| {
        json!({"id": id, "z": "t", "type": "http request", "method": "POST", "ret": "txt", "url": receiver,
            "retry": retry, "x": 1, "y": 1, "wires": [[to]]})
    };
    let entry = |id: &str, url: &str, to: &str| json!({"id": id, "z": "t", "type": "http in", "url": url, "method": "post", "x": 1, "y": 1, "wires": [[to]]});
    json!([
        {"id": "t", "type": "tab", "label": "durable", "durability": "durable", "tenant": "acme"},
        entry("pay", "/pay", "send"),
        send("send", "", "answer"),
        entry("once", "/once", "only"),
        send("only", "never", "answer"),
        entry("late", "/late", "wait"),
        {"id": "wait", "z": "t", "type": "delay", "pauseType": "delay", "timeout": "60", "timeoutUnits": "seconds",
            "x": 1, "y": 1, "wires": [["send"]]},
        {"id": "answer", "z": "t", "type": "http response", "statusCode": "", "headers": {}, "x": 1, "y": 1, "wires": []},
    ])
}

/// The program over these flows and this database, with leases that are soon over.
pub(crate) fn serve(folder: &Folder, database: &str) -> Command {
    let mut command = probity();
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--database-url", database, "--agreements", "shipped"])
        .arg("--data-dir")
        .arg(&folder.0)
        .arg("--flows")
        .arg(folder.0.join("flows.json"))
        .env("PROBITY_DURABLE_LEASE_MS", "500")
        .env("PROBITY_DURABLE_POLL_MS_MAX", "50")
        .env("PROBITY_SCHEDULE_FIRST_WINDOWS_MAX", "0")
        .env("PROBITY_SCHEDULE_PROVISIONAL_MS", "0");
    command
}

/// Posts without waiting for the flow; gives the status and the answer, or nothing when the connection broke.
pub(crate) async fn post_async(base: &str, path: &str, key: &str, body: &str) -> Option<(u16, Value)> {
    let call = client().post(format!("{base}{path}?async=1")).header("idempotency-key", key).body(body.to_owned());
    let answer = call.header("content-type", "text/plain").send().await.ok()?;
    let status = answer.status().as_u16();
    Some((status, serde_json::from_str(&answer.text().await.ok()?).ok()?))
}

pub(crate) fn client() -> reqwest::Client {
    // Of its own for each call: no connection outlives its server.
    crate::harness::server::client()
}

/// The body of an answer.
pub(crate) async fn json_of(answer: reqwest::Response) -> Value {
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

/// The queue's items, or nothing while the server does not answer.
pub(crate) async fn queue(base: &str) -> Option<Vec<Value>> {
    let answer = client().get(format!("{base}/probity/v1/queue?limit=1000")).send().await.ok()?;
    serde_json::from_str::<Value>(&answer.text().await.ok()?).ok()?["items"].as_array().cloned()
}
