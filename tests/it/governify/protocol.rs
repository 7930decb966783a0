//! Collectors under way: how many calls a host gets at once, and which calls are made again.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use axum::response::IntoResponse;
use probity::api::registry_v6::Mode;
use probity::clock::Clock;
use serde_json::{Value, json};

use super::{Behind, Front, call};
use crate::harness::server::read;

/// What a collector saw.
#[derive(Default)]
struct Seen {
    open: AtomicU32,
    most: AtomicU32,
    calls: Mutex<Vec<(String, u16)>>,
}

/// A collector that answers by `status`, given the call's method and how many of that method came before.
async fn collector(status: fn(&Method, usize) -> u16) -> (String, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let counted = seen.clone();
    let app = Router::new().fallback(move |method: Method, uri: Uri| {
        let seen = counted.clone();
        async move {
            let open = seen.open.fetch_add(1, Ordering::SeqCst) + 1;
            seen.most.fetch_max(open, Ordering::SeqCst);
            // Others get their chance to come in meanwhile.
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
            let before = seen.calls.lock().unwrap().iter().filter(|(m, _)| m == method.as_str()).count();
            let status = status(&method, before);
            seen.calls.lock().unwrap().push((method.to_string(), status));
            seen.open.fetch_sub(1, Ordering::SeqCst);
            let body = match uri.path() {
                "/computations" => json!({ "code": status, "computation": "/computations/1" }),
                _ => json!({ "code": status, "computations": [{"scope": {}, "value": 80}] }),
            };
            (StatusCode::from_u16(status).unwrap(), body.to_string()).into_response()
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, seen)
}

/// The verdicts of ten days, and what the collector saw.
async fn ten_days(status: fn(&Method, usize) -> u16, days: u32) -> (Vec<Value>, Arc<Seen>) {
    let (url, seen) = collector(status).await;
    let behind = Behind::new().await;
    let front = Front::start(&behind, Clock::System, Mode::Strict, |config| {
        config.collectors.host_parallel_max = 2;
        config.collectors.poll_ms_min = 1;
    })
    .await;
    let document = json!({"id": "a", "version": "1", "type": "agreement",
        "context": {"validity": {"initial": "2024-01-01", "timeZone": "UTC"}},
        "terms": {"metrics": {"M": {"measure": {}, "collector": {"infrastructurePath": url, "endpoint": "/computations",
                  "type": "POST-GET-V1", "config": {}}}},
                  "guarantees": [{"id": "G", "scope": {}, "of": [{"objective": "M >= 50", "with": {"M": {}},
                      "window": {"type": "static", "period": "daily", "initial": "2024-01-01"}}]}]}});
    assert_eq!(call(front.address, "POST", "/api/v6/agreements", Some(&document), None).await.status(), 201);
    let path = format!("/api/v6/states/a/guarantees?from=2024-03-01&to=2024-03-{:02}", days + 1);
    let (status, states) = read(front.get(&path).await).await;
    assert_eq!(status, 200);
    (states.as_array().unwrap().clone(), seen)
}

#[tokio::test]
async fn a_host_has_no_more_calls_at_once_than_configured() {
    let (states, seen) = ten_days(|_, _| 200, 10).await;
    assert!(states.len() == 10 && states.iter().all(|s| s["value"] == true), "{states:?}");
    assert_eq!(seen.most.load(Ordering::SeqCst), 2);
    assert_eq!(seen.calls.lock().unwrap().len(), 20);
}

#[tokio::test]
async fn a_refused_post_and_a_failed_get_are_made_again_and_others_are_not() {
    let again = |method: &Method, before: usize| match (method.as_str(), before) {
        ("POST", 0) => 503,
        ("GET", 0) => 502,
        _ => 200,
    };
    let (states, seen) = ten_days(again, 1).await;
    assert_eq!(states[0]["value"], true, "{states:?}");
    let calls = |seen: &Seen| seen.calls.lock().unwrap().iter().map(|(m, s)| format!("{m} {s}")).collect::<Vec<_>>();
    assert_eq!(calls(&seen), ["POST 503", "POST 200", "GET 502", "GET 200"]);
    let (states, seen) = ten_days(|_, _| 500, 1).await;
    assert_eq!((&states[0]["value"], &states[0]["verdict"]), (&Value::Null, &json!("unknown")));
    assert!(states[0]["reason"].as_str().unwrap().contains("answered 500"), "{states:?}");
    assert_eq!(calls(&seen), ["POST 500"]);
}
