//! The proxy of `deploy/nginx`, run by a real nginx: every route arrives where it should, rewritten; websockets pass;
//! files are kept for 30 days; uploads end at 50 MB; an instance that died is not noticed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use axum::Router;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::response::IntoResponse;
use axum::routing::any;
use futures_util::{SinkExt, StreamExt};
use reqwest::StatusCode;
use tokio::net::{UnixListener, UnixStream};

use crate::harness::nginx;

/// A service that says its name and what arrived; `…/ws` echoes.
pub(super) fn service(folder: &Path, name: &'static str) -> (PathBuf, tokio::task::JoinHandle<()>) {
    let socket = folder.join(name);
    let listener = UnixListener::bind(&socket).expect("a socket");
    let echo = async |ws: WebSocketUpgrade| {
        ws.on_upgrade(async |mut socket| {
            while let Some(Ok(message)) = socket.recv().await {
                if matches!(message, Message::Text(_)) && socket.send(message).await.is_err() {
                    break;
                }
            }
        })
    };
    let answer = async move |call: axum::extract::Request| {
        let (head, body) = call.into_parts();
        let length = axum::body::to_bytes(body, 64 << 20).await.map(|bytes| bytes.len()).unwrap_or_default();
        let host = head.headers.get("host").and_then(|v| v.to_str().ok()).unwrap_or_default().to_string();
        let scheme =
            head.headers.get("x-forwarded-proto").and_then(|v| v.to_str().ok()).unwrap_or_default().to_string();
        ([("cache-control", "no-cache")], format!("{name} {} {length} {host} {scheme}", head.uri)).into_response()
    };
    let router = Router::new().route("/comms", any(echo)).route("/api/live/ws", any(echo)).fallback(any(answer));
    let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("served") });
    (socket, task)
}

fn one_each(folder: &Path) -> BTreeMap<&'static str, Vec<String>> {
    ["status-frontend", "status-backend", "nodered", "grafana"]
        .map(|name| (name, vec![address_of(&service(folder, name).0)]))
        .into()
}

/// A socket as nginx writes it.
fn address_of(socket: &Path) -> String {
    format!("unix:{}", socket.display())
}

pub(super) async fn get(client: &reqwest::Client, path: &str) -> (StatusCode, String) {
    let answer = client.get(format!("http://proxy:3000{path}")).send().await.expect("an answer");
    (answer.status(), answer.text().await.expect("a text"))
}

#[tokio::test]
async fn every_route_arrives_where_it_should() {
    let Some(binary) = nginx::binary() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let nginx = nginx::start(binary, &one_each(folder.path()));
    let client = nginx.client().await;
    for (asked, arrived) in [
        ("/", "status-frontend /"),
        ("/controls/7?x=1", "status-frontend /controls/7?x=1"),
        ("/backend/users/sign-in", "status-backend /api/v1/users/sign-in"),
        ("/backend/export.css?a=%20b", "status-backend /api/v1/export.css?a=%20b"),
        ("/node-red/", "nodered /"),
        ("/node-red/red/red.min.js?v=1", "nodered /red/red.min.js?v=1"),
        ("/grafana/d/abc", "grafana /d/abc"),
    ] {
        let (status, text) = get(&client, asked).await;
        assert_eq!(
            (status, text.as_str()),
            (StatusCode::OK, format!("{arrived} 0 proxy:3000 http").as_str()),
            "{asked}"
        );
    }
    let seen = client.get("http://proxy/").header("x-forwarded-proto", "https").send().await.expect("an answer");
    assert!(seen.text().await.expect("a text").ends_with("proxy https"), "TLS before this proxy is passed on");
    let log = std::fs::read_to_string(nginx.folder().join("access")).expect("a log");
    assert!(log.contains("/controls/7") && !log.contains("x=1"), "queries stay out of the log: {log}");
}

#[tokio::test]
async fn files_are_kept_for_thirty_days_and_pages_are_not() {
    let Some(binary) = nginx::binary() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let nginx = nginx::start(binary, &one_each(folder.path()));
    let client = nginx.client().await;
    let kept = async |path: &str| {
        let answer = client.get(format!("http://proxy{path}")).send().await.expect("an answer");
        let values = answer.headers().get_all("cache-control").iter();
        values.map(|v| v.to_str().expect("text").to_string()).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(kept("/assets/index-4f2a.js").await, "max-age=2592000, public");
    assert_eq!(kept("/").await, "no-cache");
    // Node-RED's own files change with a deploy of nodes; it says itself how long they are good for.
    assert_eq!(kept("/node-red/red/main.min.js").await, "no-cache");
}

#[tokio::test]
async fn websockets_pass_to_the_editor_and_to_grafana() {
    let Some(binary) = nginx::binary() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let nginx = nginx::start(binary, &one_each(folder.path()));
    nginx.client().await;
    for path in ["/node-red/comms", "/grafana/api/live/ws"] {
        let stream = UnixStream::connect(nginx.socket()).await.expect("connected");
        let (mut socket, _) =
            tokio_tungstenite::client_async(format!("ws://proxy{path}"), stream).await.expect("upgraded");
        socket.send(tokio_tungstenite::tungstenite::Message::text("hello")).await.expect("sent");
        let back = socket.next().await.expect("something").expect("a message");
        assert_eq!(back.into_text().expect("text").as_str(), "hello", "{path}");
    }
}

#[tokio::test]
async fn uploads_end_at_fifty_megabytes() {
    let Some(binary) = nginx::binary() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let nginx = nginx::start(binary, &one_each(folder.path()));
    let client = nginx.client().await;
    let upload = async |megabytes: usize| {
        client.post("http://proxy/backend/files").body(vec![b'x'; megabytes << 20]).send().await
    };
    let taken = upload(49).await.expect("an answer");
    assert_eq!(taken.status(), StatusCode::OK);
    assert!(taken.text().await.expect("a text").contains(&format!(" {} ", 49 << 20)));
    // It may also cut the connection while the rest is still on its way.
    assert!(upload(51).await.is_ok_and(|answer| answer.status() == StatusCode::PAYLOAD_TOO_LARGE));
}

#[tokio::test]
async fn a_client_does_not_notice_that_an_instance_died() {
    let Some(binary) = nginx::binary() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut servers = one_each(folder.path());
    let (second, second_task) = service(folder.path(), "nodered-2");
    servers.get_mut("nodered").expect("it is there").push(address_of(&second));
    let nginx = nginx::start(binary, &servers);
    let client = nginx.client().await;
    let mut before = std::collections::BTreeSet::new();
    for _ in 0..20 {
        before.insert(get(&client, "/node-red/x").await.1.split(' ').next().expect("a name").to_string());
    }
    assert_eq!(before.len(), 2, "both are asked: {before:?}");
    second_task.abort();
    std::fs::remove_file(&second).expect("the socket goes");
    for _ in 0..50 {
        let (status, text) = get(&client, "/node-red/x").await;
        assert_eq!(status, StatusCode::OK);
        assert!(text.starts_with("nodered /x"), "{text}");
    }
}
