//! The Director both ways: recorded calls of one are answered alike, tasks run by our clock, and our tasks are registered
//! with one elsewhere, for which our own API stands in here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use probity::api::director_v1::{self, DirectorV1};
use probity::api::registry_v6::{self, Mode, RegistryV6};
use probity::clock::Clock;
use probity::director::client::{CALLBACK_PATH, Client, ClientOptions, SIGNATURE_HEADER, Signer};
use probity::director::{Director, Points, SCRIPT_PATH};
use probity::evaluate::Evaluator;
use probity::net::Net;
use probity::registry::Agreements;
use probity::store::{DocumentKind, PageRequest, Store};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::evaluation::schedule::holding;
use crate::evaluation::{agreement, at, evaluator, in_process, two_teams, until, verdicts};
use crate::store::Fixture;

const SECRET: &str = "sixteen characters";

struct Rig {
    clock: Clock,
    store: Arc<dyn Store>,
    evaluator: Arc<Evaluator>,
    director: Arc<Director>,
    router: Router,
    asked: Arc<AtomicU64>,
    _fixture: Fixture,
}

impl Rig {
    async fn new(now: &str) -> Rig {
        Rig::of(Fixture::memory().await, now)
    }

    fn of(fixture: Fixture, now: &str) -> Rig {
        let clock = Clock::manual(at(now));
        let store = fixture.store.clone();
        let asked = Arc::new(AtomicU64::new(0));
        let agreements = vec![agreement("sla", in_process(), Value::Null)];
        let evaluator = evaluator(&clock, &store, agreements, two_teams(asked.clone()), "[]");
        let director = Director::new(evaluator.clone(), holding(&evaluator), vec!["probity:5800".into()]);
        let parts = DirectorV1 {
            director: director.clone(),
            points: Points::new(evaluator.clone()),
            signer: Signer::new(SECRET),
        };
        let registry =
            RegistryV6::new(evaluator.clone(), evaluator.agreements.clone(), Mode::default(), BTreeMap::new());
        let router = director_v1::router(Arc::new(parts)).merge(registry_v6::commons(registry));
        Rig { clock, store, evaluator, director, router, asked, _fixture: fixture }
    }

    /// Status, media type and body.
    async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> (u16, String, Value) {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let answer = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let media = answer.headers().get("content-type").map_or("", |v| v.to_str().unwrap()).to_string();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        (status, media, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }
}

/// What differs in kind: missing fields, other types; further fields but for those named.
fn shape(path: &str, recorded: &Value, ours: &Value, extra: &[&str], problems: &mut Vec<String>) {
    match (recorded, ours) {
        (Value::Object(recorded), Value::Object(ours)) => {
            for (key, value) in recorded {
                match ours.get(key) {
                    Some(our) => shape(&format!("{path}.{key}"), value, our, extra, problems),
                    None => problems.push(format!("{path}.{key} is missing")),
                }
            }
            for key in ours.keys().filter(|k| !recorded.contains_key(*k) && !extra.contains(&k.as_str())) {
                problems.push(format!("{path}.{key} is new"));
            }
        }
        (Value::Array(recorded), Value::Array(ours)) => {
            if recorded.len() != ours.len() {
                problems.push(format!("{path} has {} items, and {} were recorded", ours.len(), recorded.len()));
            }
            recorded.iter().zip(ours).for_each(|(r, o)| shape(&format!("{path}[]"), r, o, extra, problems));
        }
        (recorded, ours) if std::mem::discriminant(recorded) == std::mem::discriminant(ours) => {}
        (recorded, ours) => problems.push(format!("{path} is {ours}, and {recorded} was recorded")),
    }
}

#[tokio::test]
async fn recorded_calls_are_answered_with_the_same_status_and_shape() {
    let rig = Rig::new("2026-11-21T21:02:50Z").await;
    let differences: BTreeMap<String, Value> =
        serde_json::from_str(include_str!("../cases/director/differences.json")).unwrap();
    let mut used = Vec::new();
    let mut problems = Vec::new();
    for line in include_str!("../cases/director/director-v1.jsonl").lines() {
        let recorded: Value = serde_json::from_str(line).unwrap();
        let note = recorded["note"].as_str().unwrap();
        if note == "get expired" {
            rig.clock.set(at("2026-11-21T21:05:00Z"));
        }
        let (request, response) = (&recorded["request"], &recorded["response"]);
        let (method, path) = (request["method"].as_str().unwrap(), request["path"].as_str().unwrap());
        let (status, media, body) = rig.call(method, path, &[], &request["body"]).await;
        let difference = differences.get(note);
        used.extend(difference.map(|_| note.to_string()));
        let expected = difference.and_then(|d| d["status"].as_u64()).or(response["status"].as_u64()).unwrap();
        if u64::from(status) != expected {
            problems.push(format!("{note}: {status}, and {expected} was expected: {body}"));
        }
        let kind = |media: &str| media.split(';').next().unwrap_or_default().to_string();
        if kind(&media) != kind(response["type"].as_str().unwrap()) {
            problems.push(format!("{note}: {media}"));
        }
        if difference.is_some_and(|d| d.get("status").is_some()) {
            assert!(body["message"].as_str().unwrap().contains("script"), "{note} says why: {body}");
            continue;
        }
        let extra: Vec<&str> =
            difference.and_then(|d| d["extra"].as_array()).into_iter().flatten().map(|v| v.as_str().unwrap()).collect();
        let mut found = Vec::new();
        shape("$", &response["body"], &body, &extra, &mut found);
        problems.extend(found.into_iter().map(|problem| format!("{note}: {problem}")));
        let values_differ = difference.is_some_and(|d| d.get("values").is_some() || d.get("extra").is_some());
        if !values_differ && body != response["body"] {
            problems.push(format!("{note}: {body}, and {} was recorded", response["body"]));
        }
    }
    used.dedup();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert_eq!(used.len(), differences.len(), "a difference that is none: {used:?}");
}

fn task(id: &str, config: Value) -> Value {
    json!({
        "id": id, "script": format!("http://probity:5800{SCRIPT_PATH}"), "running": true, "config": config,
        "init": "2026-03-01T10:00:00.000Z", "end": "2026-03-02T10:00:00.000Z", "interval": 3_600_000,
    })
}

#[tokio::test]
async fn tasks_run_when_they_are_due_each_due_time_once() {
    for fixture in [Fixture::memory().await, Fixture::sqlite().await] {
        let rig = Rig::of(fixture, "2026-03-01T09:30:00Z");
        let config = json!({"agreementId": "sla"});
        assert_eq!(rig.call("POST", "/api/v1/tasks", &[], &task("hourly", config.clone())).await.0, 200);
        let mut theirs = task("theirs", config);
        theirs["script"] = json!("http://elsewhere/any.js");
        assert_eq!(rig.call("POST", "/api/v1/tasks", &[], &theirs).await.0, 200);
        let start = |director: &Arc<Director>| {
            let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
            (stop, tokio::spawn(director.clone().run(async { drop(stopped.await) })))
        };
        let (stop, running) = start(&rig.director);
        rig.clock.set(at("2026-03-01T10:00:00Z"));
        until("the first run", async || verdicts(&rig.store).await.len() == 2).await;
        rig.clock.set(at("2026-03-01T11:00:00Z"));
        until("the second run", async || verdicts(&rig.store).await.len() == 4).await;
        drop(stop);
        running.await.unwrap();
        assert_eq!(rig.asked.load(Ordering::SeqCst), 2);
        // While nobody ran, two came due: the latest is made up for, once, by whichever process is first.
        rig.clock.set(at("2026-03-01T13:10:00Z"));
        let other = Director::new(rig.evaluator.clone(), holding(&rig.evaluator), vec!["probity:5800".into()]);
        let (stop, running) = start(&rig.director);
        let (other_stop, other_running) = start(&other);
        until("what was missed", async || verdicts(&rig.store).await.len() == 6).await;
        drop((stop, other_stop));
        running.await.unwrap();
        other_running.await.unwrap();
        assert_eq!(verdicts(&rig.store).await[5].state.window.to, at("2026-03-01T13:00:00Z"));
        assert!(rig.store.open_claims().await.unwrap().is_empty());
        let status = rig.call("GET", "/api/v1/tasks/theirs/status", &[], &Value::Null).await.2;
        assert!(status["problem"].as_str().unwrap().contains("not one of Probity's"), "{status}");
        let status = rig.call("GET", "/api/v1/tasks/hourly/status", &[], &Value::Null).await.2;
        let next = at("2026-03-01T14:00:00Z").as_millisecond().to_string();
        assert_eq!(status, json!({"id": "hourly", "running": true, "nextExecution": next}));
        let ran = rig.call("POST", "/api/v1/tasks/hourly/run", &[], &Value::Null).await;
        assert_eq!((ran.0, ran.2), (200, json!({"agreementId": "sla", "verdicts": 2})));
        // It has ended: it is gone, and the audit trail says so.
        rig.clock.set(at("2026-03-03T00:00:00Z"));
        assert_eq!(rig.call("GET", "/api/v1/tasks/hourly", &[], &Value::Null).await.0, 404);
        let trail = rig.store.audit_entries(&PageRequest::default()).await.unwrap().items;
        assert!(trail.iter().any(|e| e.action == "expire-task" && e.subject == "hourly"));
    }
}

#[tokio::test]
async fn the_reporters_endpoint_answers_at_once_and_judges_in_the_background() {
    let rig = Rig::new("2026-03-01T10:30:00Z").await;
    let path = "/api/v4/contracts/sla/createPointsFromPeriods";
    let periods = json!({"periods": [
        {"from": "2026-03-01T05:00:00.000Z", "to": "2026-03-01T06:00:00.000Z"},
        {"from": "2026-03-01T07:00:00.000Z", "to": "2026-03-01T09:00:00.000Z"},
        {"from": "2026-03-01T05:00:00.000Z", "to": "2026-03-01T06:00:00.000Z"},
    ]});
    assert_eq!(rig.call("POST", path, &[], &periods).await.0, 200);
    until("three hours of two teams", async || verdicts(&rig.store).await.len() == 6).await;
    assert_eq!(rig.asked.load(Ordering::SeqCst), 3, "a period asked for twice is judged once");
    let unknown = rig.call("POST", "/api/v4/contracts/slb/createPointsFromPeriods", &[], &periods).await;
    assert_eq!(unknown.0, 404);
    assert!(unknown.2["message"].as_str().unwrap().contains("did you mean"), "{}", unknown.2);
    for (periods, says) in [
        (json!([{"from": "yesterday", "to": "2026-03-01T06:00:00.000Z"}]), "periods[0].from"),
        (json!([{"from": "2026-03-01T06:00:00Z", "to": "2026-03-01T05:00:00Z"}]), "not before"),
    ] {
        let (status, _, body) = rig.call("POST", path, &[], &json!({"periods": periods})).await;
        assert_eq!(status, 400);
        assert!(body["message"].as_str().unwrap().contains(says), "{body}");
    }
}

#[tokio::test]
async fn our_tasks_are_registered_changed_and_removed_and_call_back_signed() {
    // Our own API stands in for a Director elsewhere.
    let elsewhere = Rig::new("2026-03-01T10:30:00Z").await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let director = format!("http://{}/", listener.local_addr().unwrap());
    let router = elsewhere.router.clone();
    let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let rig = Rig::new("2026-03-01T10:30:00Z").await;
    let set = Agreements::new(rig.clock.clone(), Some(rig.store.clone()));
    let source = probity::registry::StoredSource::new(&set, rig.store.clone(), Duration::from_secs(1));
    let following = tokio::spawn(probity::registry::follow(&set, vec![Box::new(source)]).run());
    set.started(Duration::from_secs(60)).await;
    let document = |version: &str, zone: &str| {
        let validity = json!({"version": version, "context": {"validity": {"initial": zone}}});
        agreement("sla", in_process(), validity).document.clone()
    };
    set.add(DocumentKind::Agreement, document("1", "2026-01-01T00:00:00Z"), "ana").await.unwrap();
    let options = ClientOptions {
        director: director.parse().unwrap(),
        callback: "http://probity:5800/".parse().unwrap(),
        signer: Signer::new(SECRET),
        interval_ms: 3_600_000,
    };
    let client = Client::new(options, set.clone(), Arc::new(Net::default()), rig.clock.clone());
    let somebody = json!({"id": "sla", "script": "http://elsewhere/any.js", "running": false});
    elsewhere.call("POST", "/api/v1/tasks", &[], &somebody).await;
    client.step().await.unwrap();
    let tasks = elsewhere.call("GET", "/api/v1/tasks", &[], &Value::Null).await.2;
    assert_eq!(tasks[1], somebody, "a task of somebody else is left alone");
    let ours = &tasks[0];
    assert_eq!(ours["id"], "probity-sla");
    assert_eq!((&ours["running"], &ours["interval"]), (&json!(true), &json!(3_600_000)));
    assert_eq!(ours["script"], format!("http://probity:5800{SCRIPT_PATH}"));
    assert_eq!(ours["init"], "2026-01-01T00:00:00.000Z");
    // Nothing has changed, or only what is the Director's own affair: nothing is sent.
    elsewhere.call("POST", "/api/v1/tasks/probity-sla/status/stop", &[], &Value::Null).await;
    let before = elsewhere.store.documents_revision().await.unwrap();
    client.step().await.unwrap();
    assert_eq!(elsewhere.store.documents_revision().await.unwrap(), before);
    set.put(DocumentKind::Agreement, document("2", "2026-02-01T00:00:00Z"), "ana").await.unwrap();
    client.step().await.unwrap();
    let changed = elsewhere.call("GET", "/api/v1/tasks/probity-sla", &[], &Value::Null).await.2;
    assert_eq!(changed["init"], "2026-02-01T00:00:00.000Z");
    // What the script does with that config.
    let (status, media, script) = rig.call("GET", SCRIPT_PATH, &[], &Value::Null).await;
    assert!(
        status == 200 && media.starts_with("text/javascript") && script.as_str().unwrap().contains(SIGNATURE_HEADER)
    );
    let body = json!({"agreementId": "sla"});
    let signature = ours["config"]["signature"].as_str().unwrap();
    assert_eq!(ours["config"]["callback"], format!("http://probity:5800{CALLBACK_PATH}"));
    for wrong in ["", "00", &"0".repeat(64), &Signer::new("another secret of length").sign("sla")] {
        let refused = rig.call("POST", CALLBACK_PATH, &[(SIGNATURE_HEADER, wrong)], &body).await;
        assert_eq!(refused.0, 401, "{wrong}");
    }
    let other = json!({"agreementId": "other"});
    assert_eq!(rig.call("POST", CALLBACK_PATH, &[(SIGNATURE_HEADER, signature)], &other).await.0, 401);
    assert_eq!(rig.asked.load(Ordering::SeqCst), 0);
    for _ in 0..3 {
        assert_eq!(rig.call("POST", CALLBACK_PATH, &[(SIGNATURE_HEADER, signature)], &body).await.0, 202);
    }
    until("the last closed window is judged", async || verdicts(&rig.store).await.len() == 2).await;
    set.remove(DocumentKind::Agreement, "sla", "ana").await.unwrap();
    client.step().await.unwrap();
    let left = elsewhere.call("GET", "/api/v1/tasks", &[], &Value::Null).await.2;
    assert_eq!(left, json!([somebody]));
    serving.abort();
    serving.await.ok();
    assert!(client.step().await.is_err(), "nobody is there");
    following.abort();
}

/// What a Director does with a script: fetched as text before every run, loaded as a CommonJS module, `main(config)`.
const DIRECTOR: &str = r#"
const [url, config] = process.argv.slice(1);
require('http').get(url, { headers: { 'user-agent': 'request' } }, (answer) => {
  let text = '';
  answer.on('data', (piece) => { text += piece; });
  answer.on('end', () => {
    const Module = require('module');
    const script = new Module(url);
    script._compile(text, url);
    Promise.resolve(script.exports.main(JSON.parse(config))).then(
      (done) => console.log(JSON.stringify({ done })),
      (failed) => console.log(JSON.stringify({ failed: { status: failed.status, code: failed.code } })));
  });
});
"#;

/// The script that a Director fetches, run by Node.js as a Director runs it. `PROBITY_TEST_NODE` names another binary;
/// without one the test is skipped and says so, unless `PROBITY_TEST_REQUIRE_NODE` is set.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "tests have no config")]
async fn our_script_runs_in_a_director() {
    let node = std::env::var("PROBITY_TEST_NODE").unwrap_or_else(|_| "node".into());
    if std::process::Command::new(&node).arg("--version").output().is_err() {
        assert!(
            std::env::var("PROBITY_TEST_REQUIRE_NODE").is_err(),
            "PROBITY_TEST_REQUIRE_NODE is set, and there is no {node}"
        );
        eprintln!("SKIPPED: there is no {node}; install Node.js, or name it in PROBITY_TEST_NODE");
        return;
    }
    let rig = Rig::new("2026-03-01T10:30:00Z").await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let router = rig.router.clone();
    let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let run = async |config: Value| -> Value {
        let (node, script) = (node.clone(), format!("{base}{SCRIPT_PATH}"));
        let output = tokio::task::spawn_blocking(move || {
            std::process::Command::new(node)
                .args(["-e", DIRECTOR, "--", &script, &config.to_string()])
                .output()
                .unwrap()
        });
        let output = output.await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {said}"))
    };
    let callback = format!("{base}{CALLBACK_PATH}");
    let signature = Signer::new(SECRET).sign("sla");
    let config = json!({"agreementId": "sla", "callback": callback, "signature": signature});
    assert_eq!(run(config.clone()).await, json!({"done": {"status": 202}}));
    until("the last hour of two teams is judged", async || verdicts(&rig.store).await.len() == 2).await;
    let mut forged = config.clone();
    forged["signature"] = json!(Signer::new("another secret of sixteen").sign("sla"));
    assert_eq!(run(forged).await, json!({"failed": {"status": 401}}));
    serving.abort();
    assert!(serving.await.unwrap_err().is_cancelled());
    // Nobody fetches it any more; what calls back into nothing fails and does not hang.
    assert_eq!(verdicts(&rig.store).await.len(), 2);
}

/// A task with an empty list of periods has nothing to judge, and its due time is done with.
#[tokio::test]
async fn a_task_without_periods_is_done_with() {
    let rig = Rig::new("2026-03-01T10:30:00Z").await;
    let task = task("empty", json!({"agreementId": "sla", "periods": []}));
    let put = rig.call("POST", "/api/v1/tasks", &[], &task).await;
    assert_eq!(put.0, 200, "{}", put.2);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(rig.director.clone().run(async { drop(stopped.await) }));
    until("its due time is claimed and done", async || {
        let claimed = rig.store.last_claim("task/empty").await.unwrap().is_some();
        claimed && rig.store.open_claims().await.unwrap().is_empty()
    })
    .await;
    assert_eq!(rig.asked.load(Ordering::SeqCst), 0);
    drop(stop);
    running.await.unwrap();
}

/// Scripts of others: fetched from where the operator says and nowhere else, run in the sandbox, calling whom he says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_of_others_run_in_the_sandbox_when_they_are_allowed() {
    let Some(functions) = crate::functions::functions(Default::default()) else { return };
    let rig = Rig::new("2026-03-01T10:30:00Z").await;
    let called = Arc::new(AtomicU64::new(0));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let base = format!("http://{authority}");
    let script = "module.exports.main = async (config) => {\n\
                  const answer = await require('axios').post(config.url, { id: config.agreementId });\n\
                  return { status: answer.status, said: answer.data.said };\n};";
    let text = move |script: &'static str| axum::routing::get(async move || script);
    let router = {
        let called = called.clone();
        let said = async move || {
            called.fetch_add(1, Ordering::SeqCst);
            axum::Json(json!({"said": "yes"}))
        };
        Router::new()
            .route("/scripts/report.js", text(script))
            .route("/scripts/broken.js", text("exports.main = () => {\n  nothing.here();\n};"))
            .route("/other/report.js", text(script))
            .route(
                "/scripts/moved.js",
                axum::routing::get(async || axum::response::Redirect::temporary("/other/report.js")),
            )
            .route("/said", axum::routing::post(said))
    };
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let scripts = probity::director::Scripts {
        sandbox: Box::new(move || Some(functions.clone())),
        net: Arc::new(Net::default()),
        allow: vec![format!("{base}/scripts/").parse().unwrap()],
        calls: vec![authority.clone()],
        compute_ms_max: 2_000,
        run_ms_max: 20_000,
    };
    assert!(rig.director.scripts.set(scripts).is_ok());
    let put = async |id: &str, script: &str, url: String| {
        let mut task = task(id, json!({"agreementId": "sla", "url": url}));
        task["script"] = json!(format!("{base}{script}"));
        task["running"] = json!(false);
        assert_eq!(rig.call("POST", "/api/v1/tasks", &[], &task).await.0, 200);
        rig.call("POST", &format!("/api/v1/tasks/{id}/run"), &[], &Value::Null).await
    };
    let (status, _, done) = put("good", "/scripts/report.js", format!("{base}/said")).await;
    assert_eq!((status, done), (200, json!({"status": 200, "said": "yes"})));
    let (status, _, failed) = put("broken", "/scripts/broken.js", String::new()).await;
    assert!(status == 500 && failed["message"].as_str().unwrap().contains("broken.js:2"), "{failed}");
    let (status, _, failed) = put("moved", "/scripts/moved.js", String::new()).await;
    assert!(status == 500 && failed["message"].as_str().unwrap().contains("307"), "{failed}");
    let (status, _, failed) = put("stranger", "/other/report.js", format!("{base}/said")).await;
    assert!(status == 501 && failed["message"].as_str().unwrap().contains("director.scripts"), "{failed}");
    let (status, _, failed) = put("elsewhere", "/scripts/report.js", "http://127.0.0.2:9/".into()).await;
    assert!(status == 500 && failed["message"].as_str().unwrap().contains("127.0.0.2"), "{failed}");
    assert_eq!(called.load(Ordering::SeqCst), 1);
    // By the clock each due time runs once, also one that fails, and its run is kept.
    let mut due = task("due", json!({"url": format!("{base}/said")}));
    due["script"] = json!(format!("{base}/scripts/report.js"));
    assert_eq!(rig.call("POST", "/api/v1/tasks", &[], &due).await.0, 200);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(rig.director.clone().run(async { drop(stopped.await) }));
    until("it ran", async || called.load(Ordering::SeqCst) == 2 && rig.store.open_claims().await.unwrap().is_empty())
        .await;
    drop(stop);
    running.await.unwrap();
    let runs = rig.store.runs(&Default::default(), &PageRequest::default()).await.unwrap().items;
    let states: Vec<&str> =
        runs.iter().filter(|run| run.subject.starts_with("task/")).map(|run| run.state.as_str()).collect();
    assert_eq!(states, ["done", "failed", "failed", "failed", "done"]);
}
