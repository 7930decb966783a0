//! Where samples come from: flows of ours, Governify's protocol over real HTTP, and collectors that fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use probity::clock::Clock;
use probity::evaluate::{Evaluation, Request, Windows};
use probity::model::agreement::Agreement;
use probity::model::state::Verdict;
use serde_json::{Value, json};

use super::{agreement, at, evaluator, in_process, request, two_teams};
use crate::store::Fixture;

async fn evaluate(agreement: Arc<Agreement>, flows: &str) -> Evaluation {
    let fixture = Fixture::memory().await;
    let evaluator =
        evaluator(&Clock::System, &fixture.store, vec![agreement.clone()], two_teams(Arc::default()), flows);
    let windows = Windows::Overlapping { from: at("2026-03-01T10:15:00Z"), to: at("2026-03-01T11:15:00Z") };
    evaluator.run(request(agreement, windows)).await.unwrap()
}

fn found(evaluation: &Evaluation) -> Vec<(String, String, Verdict)> {
    let mut found: Vec<_> =
        evaluation.verdicts().map(|s| (s.scope.canonical(), s.window.from.to_string(), s.verdict.unwrap())).collect();
    found.sort();
    found
}

#[tokio::test]
async fn every_window_that_overlaps_the_range_is_judged_whole() {
    let evaluation = evaluate(agreement("sla", in_process(), Value::Null), "[]").await;
    let (a, b) = (r#"{"team":"a"}"#.to_string(), r#"{"team":"b"}"#.to_string());
    let (ten, eleven) = ("2026-03-01T10:00:00Z".to_string(), "2026-03-01T11:00:00Z".to_string());
    assert_eq!(
        found(&evaluation),
        [
            (a.clone(), ten.clone(), Verdict::Fulfilled),
            (a, eleven.clone(), Verdict::Fulfilled),
            (b.clone(), ten, Verdict::Violated),
            (b, eleven, Verdict::Violated),
        ]
    );
    assert_eq!(evaluation.committed.unwrap().inserted, 8);
}

/// A collector as Governify's: it answers 202 twice, and gives each result once.
#[derive(Default)]
struct Collector {
    polls: AtomicU64,
    bodies: std::sync::Mutex<Vec<Value>>,
}

async fn collector() -> (String, Arc<Collector>) {
    let state = Arc::new(Collector::default());
    let app = Router::new()
        .route(
            "/api/v2/computations",
            post(|Shared(s): Shared<Arc<Collector>>, Json(body): Json<Value>| async move {
                s.bodies.lock().unwrap().push(body);
                Json(json!({"code": 200, "message": "OK", "computation": "/api/v2/computations/7"}))
            }),
        )
        .route(
            "/api/v2/computations/7",
            get(|Shared(s): Shared<Arc<Collector>>| async move {
                if s.polls.fetch_add(1, Ordering::SeqCst) % 3 < 2 {
                    return (StatusCode::ACCEPTED, Json(json!({"message": "not ready"})));
                }
                let body = s.bodies.lock().unwrap().last().cloned().unwrap();
                let window = &body["metric"]["window"];
                let computation = json!({"scope": {"team": "a"}, "value": 91.5, "evidences": [{"case": 1}],
                    "period": {"from": window["initial"], "to": window["end"]}});
                (StatusCode::OK, Json(json!({"code": 200, "message": "OK", "computations": [computation]})))
            }),
        )
        .with_state(state.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (base, state)
}

#[tokio::test]
async fn a_governify_collector_is_posted_to_and_polled_until_it_is_ready() {
    let (base, state) = collector().await;
    let source = json!({"infrastructurePath": base, "endpoint": "/api/v2/computations", "type": "POST-GET-V1", "config": {"k": 1}});
    // One window, so that the collector's single computation is not asked for twice at once.
    let one = json!({"context": {"validity": {"initial": "2026-03-01T11:00:00Z"}}});
    let evaluation = evaluate(agreement("sla", source, one), "[]").await;
    let state_found = evaluation.verdicts().next().unwrap();
    assert_eq!((state_found.value, state_found.verdict), (Some(91.5), Some(Verdict::Fulfilled)));
    assert_eq!(state_found.evidence[0].data, json!({"case": 1}));
    let body = state.bodies.lock().unwrap()[0].clone();
    assert_eq!(body["config"], json!({"k": 1}));
    assert_eq!(body["metric"]["what"], "rate");
    assert_eq!(body["metric"]["scope"], json!({"team": "*"}));
    assert_eq!(body["metric"]["window"]["initial"], "2026-03-01T11:00:00.000Z");
    assert_eq!(state.polls.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_collector_that_refuses_gives_one_undecided_verdict_per_window_and_is_given_up_soon() {
    // A port that was free a moment ago and is closed now: the connection is refused.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let source =
        json!({"infrastructurePath": format!("http://127.0.0.1:{port}"), "endpoint": "/c", "type": "POST-GET-V1"});
    let asked = tokio::time::timeout(Duration::from_secs(20), evaluate(agreement("sla", source, Value::Null), "[]"));
    let evaluation = asked.await.expect("a refused connection is given up at once");
    let windows = found(&evaluation);
    assert_eq!(windows.len(), 2);
    assert!(windows.iter().all(|(scope, _, verdict)| scope == r#"{"team":"*"}"# && *verdict == Verdict::Unknown));
    let reason = &evaluation.verdicts().next().unwrap().reason;
    assert!(reason.contains("ECONNREFUSED"), "{reason}");
}

#[tokio::test]
async fn a_collector_path_that_leads_nowhere_says_which_line_to_add() {
    let source = json!({"infrastructurePath": "internal.collector.nowhere", "endpoint": "/c", "type": "POST-GET-V1"});
    let evaluation = evaluate(agreement("sla", source, Value::Null), "[]").await;
    let reason = &evaluation.verdicts().next().unwrap().reason;
    assert!(reason.contains("[collectors.services]"), "{reason}");
}

#[tokio::test]
async fn a_base_url_that_cannot_be_read_does_not_show_its_password() {
    let source = json!({"infrastructurePath": "http://ana:s3cret@[/", "endpoint": "/c", "type": "POST-GET-V1"});
    let evaluation = evaluate(agreement("sla", source, Value::Null), "[]").await;
    let reason = &evaluation.verdicts().next().unwrap().reason;
    assert!(reason.contains("cannot be read") && !reason.contains("s3cret"), "{reason}");
}

fn flow(answer: &str) -> String {
    json!([
        {"id": "tab0000000000000", "type": "tab", "label": "collector"},
        {"id": "in00000000000000", "type": "http in", "z": "tab0000000000000", "url": "/collect", "method": "post",
         "x": 1, "y": 1, "wires": [["chg0000000000000"]]},
        {"id": "m000000000000000", "type": "metric", "z": "tab0000000000000", "metric": "RATE", "mode": "in",
         "x": 1, "y": 1, "wires": [["chg0000000000000"]]},
        {"id": "chg0000000000000", "type": "change", "z": "tab0000000000000", "x": 2, "y": 1,
         "rules": [{"t": "set", "p": "payload", "pt": "msg", "to": answer, "tot": "jsonata"}],
         "wires": [["out0000000000000"]]},
        {"id": "out0000000000000", "type": "http response", "z": "tab0000000000000", "x": 3, "y": 1, "wires": []},
    ])
    .to_string()
}

#[tokio::test]
async fn a_flow_computes_a_metric_by_its_endpoint_or_its_metric_node() {
    let answer = r#"{"computations": [{"scope": {"team": "a"}, "value": payload.metric.what = "rate" ? 99 : 0,
        "period": {"from": payload.metric.window.initial, "to": payload.metric.window.end}}]}"#;
    for entry in [json!({"endpoint": "/collect"}), json!({"metric": "RATE"})] {
        let mut source = json!({"type": "PROBITY-FLOW-V1"});
        super::merge(&mut source, entry);
        let evaluation = evaluate(agreement("sla", source, Value::Null), &flow(answer)).await;
        let states: Vec<_> = evaluation.verdicts().collect();
        assert_eq!(states.len(), 2);
        assert_eq!(
            (states[0].value, states[0].verdict),
            (Some(99.0), Some(Verdict::Fulfilled)),
            "{}",
            states[0].reason
        );
    }
}

#[tokio::test]
async fn a_flow_that_fails_or_is_not_there_leaves_the_verdict_undecided_with_the_reason() {
    let source = json!({"type": "PROBITY-FLOW-V1", "endpoint": "/collect"});
    let evaluation = evaluate(agreement("sla", source.clone(), Value::Null), &flow("$error('no data today')")).await;
    let state = evaluation.verdicts().next().unwrap();
    assert_eq!(state.verdict, Some(Verdict::Unknown));
    assert!(state.reason.contains("500"), "{}", state.reason);
    let mut unknown: Vec<Value> = serde_json::from_str(&flow("payload")).unwrap();
    unknown
        .push(json!({"id": "odd0000000000000", "type": "quux", "z": "tab0000000000000", "x": 4, "y": 1, "wires": []}));
    let evaluation = evaluate(agreement("sla", source.clone(), Value::Null), &json!(unknown).to_string()).await;
    let state = evaluation.verdicts().next().unwrap();
    assert!(state.reason.contains("it has nodes of unknown type: \"quux\""), "{}", state.reason);
    let evaluation = evaluate(agreement("sla", source, Value::Null), "[]").await;
    let state = evaluation.verdicts().next().unwrap();
    assert!(state.reason.contains("/collect"), "{}", state.reason);
}

#[tokio::test]
async fn terms_that_meet_in_a_scope_must_both_hold_there() {
    let mut document = agreement("sla", in_process(), Value::Null).document.clone();
    let stricter = json!({"scope": {"team": "a"}, "objective": "RATE >= 99", "with": {"RATE": {}},
        "window": {"type": "static", "period": "hourly", "initial": "2026-01-01T00:00:00Z"}});
    document["terms"]["guarantees"][0]["of"].as_array_mut().unwrap().push(stricter);
    let (loaded, diagnostics) = probity::agreement::load(&document.to_string(), "test");
    assert_eq!(diagnostics[0].code, "overlapping-terms");
    let evaluation = evaluate(Arc::new(loaded.unwrap()), "[]").await;
    let of_a: Vec<_> = evaluation.verdicts().filter(|s| s.scope.canonical().contains("\"a\"")).collect();
    assert_eq!(of_a.len(), 2, "one verdict for each window");
    assert!(of_a.iter().all(|s| s.verdict == Some(Verdict::Violated) && s.reason.contains("; and ")));
}

#[tokio::test]
async fn more_windows_than_are_allowed_are_refused_before_they_are_planned() {
    let fixture = Fixture::memory().await;
    let mut document = agreement("sla", in_process(), Value::Null).document.clone();
    let guarantee = document["terms"]["guarantees"][0].clone();
    let guarantees: Vec<Value> = (0..1000)
        .map(|n| {
            let mut one = guarantee.clone();
            one["id"] = format!("G{n}").into();
            one
        })
        .collect();
    document["terms"]["guarantees"] = json!(guarantees);
    let sla = Arc::new(probity::agreement::load(&document.to_string(), "test").0.unwrap());
    let evaluator = evaluator(&Clock::System, &fixture.store, vec![sla.clone()], two_teams(Arc::default()), "[]");
    // Ten years of hours for each of a thousand guarantees: 88 million.
    let windows = Windows::Overlapping { from: at("2026-01-01T00:00:00Z"), to: at("2036-01-01T00:00:00Z") };
    let request = Request { store: false, ..request(sla, windows) };
    let error = evaluator.run(request).await.unwrap_err().to_string();
    assert!(error.contains("more than 100000 windows") && error.contains("schedule.windows_max"), "{error}");
}

#[tokio::test]
async fn what_was_asked_while_the_window_was_open_is_provisional() {
    let clock = Clock::manual(at("2026-03-01T10:59:59Z"));
    let (hand, teams) = (clock.clone(), two_teams(Arc::default()));
    let slow: probity::evaluate::InProcess = Arc::new(move |query, body| {
        hand.set(at("2026-03-01T11:00:05Z"));
        teams(query, body)
    });
    let fixture = Fixture::memory().await;
    let sla = agreement("sla", in_process(), Value::Null);
    let evaluator = evaluator(&clock, &fixture.store, vec![sla.clone()], slow, "[]");
    let request = request(sla, Windows::OpenAt(clock.now()));
    let evaluation = evaluator.run(request).await.unwrap();
    assert!(clock.now() > evaluation.states[0].window.to && evaluation.states.iter().all(|s| s.provisional));
}

#[tokio::test]
async fn a_verdict_on_the_whole_scope_gives_way_once_its_members_are_known() {
    let failing = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let (switch, teams) = (failing.clone(), two_teams(Arc::default()));
    let collector: probity::evaluate::InProcess = Arc::new(move |query, body| {
        if switch.load(Ordering::SeqCst) {
            return Box::pin(async { Err("the collector is down".to_string()) });
        }
        teams(query, body)
    });
    let fixture = Fixture::sqlite().await;
    let sla = agreement("sla", in_process(), Value::Null);
    let evaluator = evaluator(&Clock::System, &fixture.store, vec![sla.clone()], collector, "[]");
    let request =
        |to: &str| request(sla.clone(), Windows::Overlapping { from: at("2026-03-01T10:15:00Z"), to: at(to) });
    let verdicts = async || -> Vec<(String, Verdict, u32)> {
        let found = super::verdicts(&fixture.store).await;
        found.iter().map(|s| (s.state.scope.canonical(), s.state.verdict.unwrap(), s.revision)).collect()
    };
    let whole = r#"{"team":"*"}"#.to_string();
    let request_one = || request("2026-03-01T10:45:00Z");
    evaluator.run(request_one()).await.unwrap();
    assert_eq!(verdicts().await, [(whole.clone(), Verdict::Unknown, 1)]);
    failing.store(false, Ordering::SeqCst);
    for _ in 0..2 {
        evaluator.run(request_one()).await.unwrap();
        let found = verdicts().await;
        assert_eq!(found[0], (whole.clone(), Verdict::NotApplicable, 2));
        assert_eq!((found[1].1, found[2].1), (Verdict::Fulfilled, Verdict::Violated));
    }
    // More windows than one page of the store has.
    failing.store(true, Ordering::SeqCst);
    evaluator.run(request("2026-04-15T00:00:00Z")).await.unwrap();
    failing.store(false, Ordering::SeqCst);
    let again = evaluator.run(request("2026-04-15T00:00:00Z")).await.unwrap();
    let superseded = again.verdicts().filter(|s| s.scope.has_wildcard()).count();
    // Of the first hour the members were known, so asking again in vain said nothing of the whole.
    assert_eq!((superseded, again.verdicts().count()), (1069, 3 * 1070 - 1));
}
