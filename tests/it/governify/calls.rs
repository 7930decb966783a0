//! The Registry API as its callers meet it: who may write, what a document becomes, what is said when something is
//! missing or away, and that nothing a caller, a collector or the database does ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use probity::api::registry_v6::Mode;
use probity::clock::Clock;
use probity::config::Config;
use probity::model::state::{StateKind, Verdict};
use probity::store::{PageRequest, StateQuery};
use serde_json::{Value, json};

use super::{Behind, Collector, Computed, Front, Posted, call};
use crate::evaluation::until;
use crate::harness::server::read;

const MARCH: &str = "from=2024-03-01T00:00:00.000Z&to=2024-03-03T00:00:00.000Z";

/// Two guarantees over two metrics; the second metric has a collector of its own path.
fn document(id: &str) -> Value {
    let metric = |measure: &str| {
        json!({"collector": {"infrastructurePath": "internal.collector.events", "endpoint": "/api/v2/computations",
               "type": "POST-GET-V1", "config": {}}, "measure": {"what": measure}})
    };
    let guarantee = |id: &str, metric: &str| {
        json!({"id": id, "scope": {"team": {"default": "*"}},
               "of": [{"scope": {"team": "*"}, "objective": format!("{metric} >= 50"), "with": {metric: {}},
                       "window": {"type": "static", "period": "daily", "initial": "2024-01-01"}}]})
    };
    json!({"id": id, "version": "1.0.0", "type": "agreement",
           "context": {"validity": {"initial": "2024-01-01", "timeZone": "UTC"}},
           "terms": {"metrics": {"GOOD": metric("good"), "BAD": metric("bad")},
                     "guarantees": [guarantee("FIRST", "BAD"), guarantee("SECOND", "GOOD")]}})
}

/// Answers for the metric `good` by day and two teams; `bad` gives nothing, by its own measure.
fn collector(bad: Computed) -> super::Answering {
    Arc::new(move |posted: &Posted| {
        let metric = &posted.body["metric"];
        if metric["what"] == "bad" {
            return bad.clone();
        }
        let bound = |key: &str| metric["window"][key].as_str().unwrap().parse::<Timestamp>().unwrap();
        let (from, to) = (bound("initial"), bound("end"));
        let day = jiff::SignedDuration::from_hours(24);
        let starts = std::iter::successors(Some(from), |at| Some(*at + day)).take_while(|at| *at < to);
        let text = |at: Timestamp| format!("{at:.3}");
        let computations: Vec<Value> = starts
            .flat_map(|at| [("a", 80), ("b", 20)].map(|(team, value)| (at, team, value)))
            .map(|(at, team, value)| {
                json!({"scope": {"team": team}, "period": {"from": text(at), "to": text(to.min(at + day))},
                       "value": value, "evidences": [{"id": team}]})
            })
            .collect();
        Computed { post: 201, polls: 1, get: 200, body: json!({ "code": 200, "computations": computations }) }
    })
}

fn nothing() -> Computed {
    Computed { post: 200, polls: 0, get: 200, body: json!({ "code": 200, "computations": [] }) }
}

fn configured(url: &str) -> impl FnOnce(&mut Config) {
    let url = url.to_owned();
    move |config| {
        config.collectors.services.insert("internal.collector.events".into(), url);
        (config.collectors.poll_ms_min, config.collectors.retries_max) = (1, 0);
    }
}

pub(super) async fn stored(behind: &Behind) -> Vec<(String, Verdict)> {
    let query = StateQuery { kind: Some(StateKind::Guarantee), ..StateQuery::default() };
    let page = behind.store.states(&query, &PageRequest { limit: 1000, after: None }).await.unwrap();
    let mut found: Vec<_> = page.items.into_iter().map(|s| (s.state.of, s.state.verdict.unwrap())).collect();
    found.sort();
    found
}

#[tokio::test]
async fn in_strict_what_is_not_known_is_null_and_says_why() {
    let (url, _) = Collector::start(collector(nothing())).await;
    let behind = Behind::new().await;
    let front = Front::start(&behind, Clock::System, Mode::Strict, configured(&url)).await;
    let created = call(front.address, "POST", "/api/v6/agreements", Some(&document("a")), None).await;
    assert_eq!((created.status().as_u16(), created.text().await.unwrap().as_str()), (201, "OK"));
    let (status, states) = read(front.get(&format!("/api/v6/states/a/guarantees?{MARCH}")).await).await;
    let states = states.as_array().unwrap();
    assert_eq!((status, states.len()), (200, 6));
    let keys: Vec<&String> = states[0].as_object().unwrap().keys().collect();
    let expected = ["stateType", "agreementId", "id", "scope", "period", "value", "metrics", "evidences", "verdict"];
    assert_eq!(keys[..9], expected);
    let first = &states[0];
    assert_eq!((&first["id"], &first["value"], &first["verdict"]), (&json!("FIRST"), &Value::Null, &json!("unknown")));
    assert!(first["reason"].as_str().unwrap().contains("returned no computation"), "{first}");
    let second: Vec<&Value> = states.iter().filter(|s| s["id"] == "SECOND").map(|s| &s["value"]).collect();
    assert_eq!(second, [true, false, true, false]);
    // The Registry would have lost all of it; the store has every verdict.
    let (status, lost) = read(front.get(&format!("/api/v6/states/a/guarantees?{MARCH}&mode=compat")).await).await;
    assert_eq!((status, &lost["message"]), (500, &json!("Error processing guarantees sequentially")));
    let (fulfilled, violated) = (Verdict::Fulfilled, Verdict::Violated);
    let verdicts: Vec<Verdict> =
        stored(&behind).await.into_iter().filter(|(of, _)| of == "SECOND").map(|s| s.1).collect();
    assert_eq!(
        verdicts.iter().filter(|v| **v == fulfilled).count(),
        verdicts.iter().filter(|v| **v == violated).count()
    );
    assert!(!verdicts.is_empty());
}

#[tokio::test]
async fn one_guarantee_may_be_asked_for_and_its_last_states() {
    let (url, _) = Collector::start(collector(nothing())).await;
    let behind = Behind::new().await;
    let front = Front::start(&behind, Clock::System, Mode::Compat, configured(&url)).await;
    call(front.address, "POST", "/api/v6/agreements", Some(&document("a")), None).await;
    let path = "/api/v6/states/a/guarantees/SECOND";
    let (status, states) = read(front.get(&format!("{path}?{MARCH}&newPeriodsFromGuarantees=false")).await).await;
    assert_eq!((status, states.as_array().unwrap().len()), (200, 4));
    let (status, lasts) = read(front.get(&format!("{path}?lasts=2&evidences=false&withNoEvidences=false")).await).await;
    assert_eq!((status, lasts.as_array().unwrap().len()), (200, 2));
    assert_eq!(lasts[0]["period"]["to"], "2024-03-03T00:00:00.000Z");
    assert_eq!(lasts[0]["record"]["metrics"]["GOOD"].as_f64().unwrap() as i64 % 20, 0);
    assert!(lasts[0]["record"].get("evidences").is_none() && lasts[0]["record_size"] == 1);
    let (status, unknown) = read(front.get("/api/v6/states/a/guarantees/THIRD").await).await;
    assert_eq!((status, unknown["message"].as_str().unwrap().contains("THIRD")), (404, true));
}

#[tokio::test]
async fn documents_are_added_replaced_and_removed() {
    let behind = Behind::new().await;
    let front = Front::start(&behind, Clock::System, Mode::Strict, |_| ()).await;
    let at = front.address;
    let ask = async |method: &str, path: &str, body: Option<Value>| {
        let answer = call(at, method, path, body.as_ref(), None).await;
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str::<Value>(&text).unwrap_or(json!(text)))
    };
    assert_eq!(ask("POST", "/api/v6/agreements", Some(document("a"))).await.0, 201);
    let conflict = json!({ "code": 409, "message": "Agreement already exists" });
    assert_eq!(ask("POST", "/api/v6/agreements", Some(document("a"))).await, (409, conflict));
    let mut broken = document("b");
    broken["terms"]["guarantees"][0]["of"][0]["objective"] = json!("process.exit(1)");
    let (status, refused) = ask("POST", "/api/v6/agreements", Some(broken)).await;
    assert_eq!((status, &refused["problems"][0]["path"]), (400, &json!("$.terms.guarantees[0].of[0].objective")));
    let mut changed = document("a");
    changed["version"] = json!("2.0.0");
    assert_eq!(ask("PUT", "/api/v6/agreements/a", Some(changed.clone())).await, (200, changed.clone()));
    assert_eq!(ask("GET", "/api/v6/agreements", None).await, (200, json!([changed])));
    assert_eq!(ask("PUT", "/api/v6/agreements/b", Some(document("b"))).await.0, 404);
    assert_eq!(ask("PUT", "/api/v6/agreements/a", Some(document("b"))).await.0, 400);
    assert_eq!(ask("DELETE", "/api/v6/agreements/a", None).await, (200, json!("OK")));
    let (status, gone) = ask("GET", "/api/v6/states/a/guarantees", None).await;
    assert_eq!((status, gone), (404, json!({ "message": "There is no agreement with id: a" })));
    for (query, says) in [
        ("from=2024-03-01", "together"),
        ("from=x&to=y", "from is \"x\""),
        ("from=2024-03-02&to=2024-03-01", "must be before"),
        ("lastPeriod=false", "lastPeriod"),
        ("mode=lax", "strict or compat"),
    ] {
        assert_eq!(
            ask("POST", "/api/v6/agreements", Some(document("c"))).await.0 / 100,
            if query == "from=2024-03-01" { 2 } else { 4 }
        );
        let (status, refused) = ask("GET", &format!("/api/v6/states/c/guarantees?{query}"), None).await;
        assert_eq!(status, 400, "{query}");
        assert!(refused["message"].as_str().unwrap().contains(says), "{refused}");
    }
}

/// Even when a guarantee before it has few enough: a list that has begun could only be broken off.
#[tokio::test]
async fn a_range_of_too_many_windows_is_refused_before_anybody_is_asked() {
    let (url, collector) = Collector::start(collector(nothing())).await;
    let behind = Behind::new().await;
    let front = Front::start(&behind, Clock::System, Mode::Strict, |config| {
        configured(&url)(config);
        config.schedule.windows_max = 10;
    })
    .await;
    let mut document = document("a");
    document["terms"]["guarantees"][0]["of"][0]["window"]["period"] = json!("monthly");
    assert_eq!(call(front.address, "POST", "/api/v6/agreements", Some(&document), None).await.status(), 201);
    let ask = async |query: &str| read(front.get(&format!("/api/v6/states/a/guarantees?{query}")).await).await;
    let (status, refused) = ask("from=2024-01-01T00:00:00.000Z&to=2024-03-01T00:00:00.000Z").await;
    assert_eq!((status, &refused["code"]), (400, &json!(400)));
    for part in ["\"SECOND\"", "more than 10 windows", "schedule.windows_max", "ask for a shorter range"] {
        assert!(refused["message"].as_str().unwrap().contains(part), "{part}: {refused}");
    }
    assert_eq!(collector.posted.lock().unwrap().len(), 0);
    assert_eq!(ask(MARCH).await.0, 200);
}

#[tokio::test]
async fn reads_are_open_and_writes_need_a_token_or_a_user() {
    use jsonwebtoken::{EncodingKey, Header};
    let behind = Behind::new().await;
    let front = Front::start(&behind, Clock::System, Mode::Strict, |config| {
        config.auth.status_secret = "status secret".into();
        config.auth.users = [("ana".into(), bcrypt::hash("pass", 4).unwrap())].into();
    })
    .await;
    let token = |secret: &str, exp: i64| {
        let claims = json!({ "username": "stat", "exp": exp });
        jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
    };
    let later = Clock::System.now().as_second() + 3600;
    let put = async |token: Option<&str>| {
        call(front.address, "POST", "/api/v6/agreements", Some(&document("a")), token).await.status().as_u16()
    };
    assert_eq!(front.get("/api/v6/agreements").await.status(), 200);
    assert_eq!(put(None).await, 401);
    assert_eq!(put(Some(&token("another secret", later))).await, 401);
    assert_eq!(put(Some(&token("status secret", 1_000_000))).await, 401);
    assert_eq!(put(Some(&token("status secret", later))).await, 201);
    let removed = crate::harness::server::client()
        .delete(format!("http://{}/api/v6/agreements/a", front.address))
        .basic_auth("ana", Some("pass"))
        .send()
        .await
        .unwrap();
    assert_eq!(removed.status(), 200);
    let entries = behind.store.audit_entries(&PageRequest::default()).await.unwrap().items;
    let actors: Vec<&str> = entries.iter().map(|entry| entry.actor.as_str()).collect();
    assert_eq!(actors, ["ana", "stat"]);
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_take_its_verdicts_along() {
    let (url, held) = Collector::start(collector(nothing())).await;
    let behind = Behind::new().await;
    let asked = Arc::new(AtomicU64::new(0));
    let (entered, released) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Semaphore::new(0)));
    // The collector holds its answer until the caller is gone.
    let slow = {
        let (inner, asked, entered, released) =
            (collector(nothing()), asked.clone(), entered.clone(), released.clone());
        Arc::new(move |posted: &Posted| {
            asked.fetch_add(1, Ordering::SeqCst);
            let mut computed = inner(posted);
            computed.polls = if released.available_permits() > 0 { 0 } else { 1_000_000 };
            entered.notify_one();
            computed
        })
    };
    held.answer_with(slow);
    let front = Front::start(&behind, Clock::System, Mode::Strict, configured(&url)).await;
    call(front.address, "POST", "/api/v6/agreements", Some(&document("a")), None).await;
    let path = format!("/api/v6/states/a/guarantees/SECOND?{MARCH}&newPeriodsFromGuarantees=false");
    let waiting = tokio::spawn({
        let address = front.address;
        async move { call(address, "GET", &path, None, None).await.text().await }
    });
    entered.notified().await;
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    released.add_permits(1);
    let whole = async || {
        held.ready();
        stored(&behind).await.len() == 4
    };
    until("the verdicts are stored", whole).await;
    assert_eq!(front.get("/api/info").await.status(), 200);
}

#[tokio::test]
async fn a_database_that_is_away_fails_the_call_and_nothing_else() {
    let (url, _) = Collector::start(collector(nothing())).await;
    let folder = tempfile::tempdir().unwrap();
    let path = format!("sqlite:{}", folder.path().join("p.db").display());
    let store = probity::store::open(&path, &Default::default()).await.unwrap();
    store.migrate().await.unwrap();
    let behind = Behind::over(store).await;
    let front = Front::start(&behind, Clock::System, Mode::Strict, configured(&url)).await;
    call(front.address, "POST", "/api/v6/agreements", Some(&document("a")), None).await;
    let db = sqlx::sqlite::SqlitePool::connect(&path).await.unwrap();
    sqlx::query("ALTER TABLE probity_audit RENAME TO away").execute(&db).await.unwrap();
    let (status, failed) = read(front.get(&format!("/api/v6/states/a/guarantees?{MARCH}")).await).await;
    assert_eq!((status, failed["reason"].as_str().unwrap().contains("could not be stored")), (500, true), "{failed}");
    sqlx::query("ALTER TABLE away RENAME TO probity_audit").execute(&db).await.unwrap();
    let (status, states) = read(front.get(&format!("/api/v6/states/a/guarantees?{MARCH}")).await).await;
    assert_eq!((status, states.as_array().unwrap().len()), (200, 6));
}
