//! A Governify Registry over HTTP. What answers is a fake that says so: it plays `GET /api/v6/agreements` with documents
//! as Registry A was recorded to give them back (`_id`, `__v`, field order).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use probity::clock::Clock;
use probity::net::Net;
use probity::registry::{self, Agreements, SourceState, Times};
use serde_json::{Value, json};

use crate::evaluation::{at, in_process, until};

const TIMES: Times =
    Times { watch: Duration::from_secs(1), poll: Duration::from_secs(10), request: Duration::from_secs(20) };

#[derive(Default)]
struct Fake {
    agreements: Mutex<Vec<Value>>,
    templates: Mutex<Option<Vec<Value>>>,
    broken: Mutex<Option<&'static str>>,
    unchanged: AtomicU64,
    logins: Mutex<Vec<String>>,
}

fn stored(id: &str, version: &str) -> Value {
    let mut document = crate::evaluation::agreement(id, in_process(), json!({"version": version})).document.clone();
    document["_id"] = json!(format!("6b020381609bafcf17557f{:02}", id.len()));
    document["__v"] = json!(0);
    document
}

async fn agreements(State(fake): State<Arc<Fake>>, headers: HeaderMap) -> Response {
    if let Some(login) = headers.get("authorization") {
        fake.logins.lock().unwrap().push(login.to_str().unwrap().into());
    }
    if let Some(text) = *fake.broken.lock().unwrap() {
        return (StatusCode::OK, text).into_response();
    }
    let body = Value::from(fake.agreements.lock().unwrap().clone()).to_string();
    let tag = format!("W/\"{:x}\"", body.len());
    if headers.get("if-none-match").is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        fake.unchanged.fetch_add(1, Ordering::SeqCst);
        return StatusCode::NOT_MODIFIED.into_response();
    }
    ([("etag", tag), ("content-type", "application/json; charset=utf-8".into())], body).into_response()
}

async fn templates(State(fake): State<Arc<Fake>>) -> Response {
    match fake.templates.lock().unwrap().clone() {
        Some(templates) => Json(templates).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn shared() -> Json<Value> {
    Json(json!({"validity": {"initial": "2026-01-01T00:00:00Z", "timeZone": "UTC"}}))
}

async fn serve(fake: Arc<Fake>) -> (String, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let router = axum::Router::new()
        .route("/api/v6/agreements", axum::routing::get(agreements))
        .route("/api/v6/templates", axum::routing::get(templates))
        .route("/shared.json", axum::routing::get(shared))
        .with_state(fake);
    (address, tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }))
}

#[tokio::test]
async fn agreements_of_a_registry_are_followed() {
    let fake = Arc::new(Fake::default());
    fake.agreements.lock().unwrap().push(stored("a", "1"));
    *fake.templates.lock().unwrap() = Some(vec![json!({"_id": "x", "id": "t-v1-0-0", "type": "template", "__v": 0})]);
    let (address, server) = serve(fake.clone()).await;
    let clock = Clock::manual(at("2026-03-01T10:30:00Z"));
    let set = Agreements::new(clock.clone(), None);
    let url = format!("http://ana:s3cret-word@{address}/?key=another-secret");
    let source = registry::remote(&url, &Arc::new(Net::default()), TIMES).unwrap();
    let following = tokio::spawn(registry::follow(&set, vec![source]).run());
    set.started(Duration::from_secs(60)).await;
    let a = set.get("a").expect("it is there at the start");
    assert_eq!(a.source, format!("http://{address}/api/v6/agreements/a"));
    assert_eq!(a.hash, crate::evaluation::agreement("a", in_process(), json!({"version": "1"})).hash);
    let snapshot = set.snapshot();
    assert_eq!(*snapshot.templates["t-v1-0-0"].document, json!({"id": "t-v1-0-0", "type": "template"}));
    assert_eq!(fake.logins.lock().unwrap()[0], "Basic YW5hOnMzY3JldC13b3Jk");
    assert!(!serde_json::to_string(&snapshot.sources).unwrap().contains("s3cret"));
    let step = async |what: &str, condition: &dyn Fn() -> bool| {
        until(what, async || {
            clock.advance(Duration::from_secs(1));
            condition()
        })
        .await;
    };
    step("it is asked for what is new only", &|| fake.unchanged.load(Ordering::SeqCst) > 1).await;
    // A reference out of the document is resolved relative to it.
    let mut referring = stored("bb", "1");
    referring["context"] = json!({"$ref": "/shared.json"});
    fake.agreements.lock().unwrap().push(referring);
    step("bb is there", &|| set.get("bb").is_some()).await;
    fake.agreements.lock().unwrap()[0] = stored("a", "22");
    step("a is changed", &|| set.get("a").unwrap().version == "22").await;
    fake.agreements.lock().unwrap()[0]["terms"]["guarantees"][0]["of"][0]["objective"] = json!("RATE >=");
    let is_broken = || set.snapshot().diagnostics.iter().any(|d| d.code == "last-good-version");
    step("a is broken", &is_broken).await;
    assert_eq!(set.get("a").unwrap().version, "22");
    let state = || set.snapshot().sources[0].state;
    // An answer that is none takes nothing away.
    *fake.broken.lock().unwrap() = Some("<html>Bad gateway</html>");
    step("the registry is away", &|| state() == SourceState::Away).await;
    assert_eq!(set.snapshot().agreements.len(), 2);
    assert!(set.snapshot().diagnostics.iter().any(|d| d.code == "source-away" && d.message.contains("not JSON")));
    *fake.broken.lock().unwrap() = None;
    fake.agreements.lock().unwrap().remove(0);
    step("a is gone", &|| set.get("a").is_none()).await;
    assert_eq!(state(), SourceState::Ok);
    server.abort();
    step("nobody is there", &|| state() == SourceState::Away).await;
    assert_eq!(set.snapshot().agreements.len(), 1);
    let why = set.snapshot().sources[0].problem.clone().unwrap();
    assert!(!why.contains("secret") && !why.contains("s3cret"), "{why}");
    following.abort();
}

/// A start while a document is broken, and one while the Registry is away: what was last good goes on, and is said.
#[tokio::test]
async fn what_was_last_good_outlives_the_process() {
    let fake = Arc::new(Fake::default());
    *fake.agreements.lock().unwrap() = vec![stored("a", "1"), stored("bb", "1")];
    let (address, server) = serve(fake.clone()).await;
    let clock = Clock::manual(at("2026-03-01T10:30:00Z"));
    let store = crate::store::Fixture::sqlite().await;
    let start = async || {
        let set = Agreements::new(clock.clone(), Some(store.store.clone()));
        let source = registry::remote(&format!("http://{address}"), &Arc::new(Net::default()), TIMES).unwrap();
        let following = tokio::spawn(registry::follow(&set, vec![source]).run());
        set.started(Duration::from_secs(60)).await;
        (set, following)
    };
    let versions = |set: &Agreements| -> Vec<(String, String)> {
        set.snapshot().agreements.iter().map(|a| (a.id.clone(), a.version.clone())).collect()
    };
    let both = [("a".to_owned(), "1".to_owned()), ("bb".to_owned(), "1".to_owned())];
    let (set, following) = start().await;
    assert_eq!(versions(&set), both);
    until("they are kept", async || store.store.good(&format!("http://{address}")).await.unwrap().len() == 2).await;
    following.abort();
    // The next process finds one broken.
    fake.agreements.lock().unwrap()[0]["terms"]["guarantees"][0]["of"][0]["objective"] = json!("RATE >=");
    let (set, following) = start().await;
    assert_eq!(versions(&set), both);
    let codes: Vec<String> = set.snapshot().diagnostics.iter().map(|d| d.code.to_string()).collect();
    assert!(codes.iter().any(|code| code == "last-good-version"), "{codes:?}");
    assert_eq!(set.snapshot().sources[0].broken, 1);
    following.abort();
    // The one after that finds nobody.
    server.abort();
    assert!(server.await.unwrap_err().is_cancelled());
    let (set, following) = start().await;
    let report = set.snapshot().sources[0].clone();
    assert_eq!((report.state, report.read_at), (SourceState::Away, Some(at("2026-03-01T10:30:00Z"))));
    assert_eq!(versions(&set), both);
    assert!(set.get("a").unwrap().source.contains("as it was at 2026-03-01T10:30:00Z"));
    following.abort();
    // Nothing of another source, and nothing without a store.
    assert!(store.store.good("http://elsewhere").await.unwrap().is_empty());
}
