//! Verdicts told to status-backend: all of them, once, in order, whatever the backend does meanwhile.
//!
//! The backend here is a FAKE. It enforces what was measured of, or read in, status-backend: the body limit of Express
//! (100 kB → 413), a token (→ 401), no empty list and no row without a group (→ 400), 201 with the rows; and answers for
//! a group as the older or the newer one does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State as Shared};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use jiff::Timestamp;
use probity::clock::Clock;
use probity::delivery::{Deliverer, Options, Token};
use probity::model::RunId;
use probity::model::state::{Evidence, State, Verdict};
use probity::net::{Net, NetOptions};
use probity::store::{PageRequest, Store, StoreOptions, open};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::store::samples::{at, commit, guarantee};

/// Express: `express.json()` without a limit of its own.
const BODY_BYTES: usize = 102_400;
const SECRET: &str = "the JWT_SECRET of STATUS";

/// What goes wrong with one call.
enum Fault {
    /// Nothing is stored, and this is the answer.
    Answer(u16),
    /// It is stored, and this is the answer.
    StoredAnswer(u16),
    /// It is stored, and there is never an answer.
    StoredSilence,
}

#[derive(Default)]
struct Backend {
    /// As the newer backend: nothing is shown of a group before it is done.
    hides: bool,
    faults: Mutex<VecDeque<Fault>>,
    /// Bodies as they were stored.
    posts: Mutex<Vec<Value>>,
    tokens: Mutex<Vec<String>>,
    calls: Mutex<Vec<usize>>,
}

impl Backend {
    fn of(hides: bool, faults: impl IntoIterator<Item = Fault>) -> Arc<Backend> {
        Arc::new(Backend { hides, faults: Mutex::new(faults.into_iter().collect()), ..Backend::default() })
    }

    async fn listen(self: &Arc<Self>, address: SocketAddr) -> (SocketAddr, JoinHandle<()>) {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new()
            .route("/api/v1/computations/bulk", post(bulk))
            .route("/api/v1/computations/{group}", get(group))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(self.clone());
        (address, tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }))
    }

    /// All rows, as they came: their group, and the beginning of their window.
    fn rows(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let posts = self.posts.lock().unwrap();
        let rows = posts.iter().flat_map(|post| post["computations"].as_array().unwrap());
        rows.map(|row| (text(&row["computationGroup"]), text(&row["period"]["from"]))).collect()
    }

    /// How often each group was said to be done, when that was last, and how many requests it had.
    fn done(&self) -> BTreeMap<String, (usize, bool, usize)> {
        let mut groups: BTreeMap<String, (usize, bool, usize)> = BTreeMap::new();
        for post in self.posts.lock().unwrap().iter() {
            let group = post["computations"][0]["computationGroup"].as_str().unwrap();
            let done = post["done"].as_bool().unwrap();
            let entry = groups.entry(group.to_owned()).or_default();
            *entry = (entry.0 + usize::from(done), done, entry.2 + 1);
        }
        groups
    }

    fn is_done(&self, groups: usize) -> bool {
        self.done().values().filter(|(done, ..)| *done > 0).count() == groups
    }
}

async fn bulk(Shared(backend): Shared<Arc<Backend>>, headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
    let answer = |status: u16, text: &str| (StatusCode::from_u16(status).unwrap(), text.to_owned());
    backend.calls.lock().unwrap().push(body.len());
    if body.len() > BODY_BYTES {
        return answer(413, "request entity too large");
    }
    let token = headers.get("x-access-token").map_or("", |token| token.to_str().unwrap());
    if token.is_empty() {
        return answer(401, "No token provided");
    }
    backend.tokens.lock().unwrap().push(token.to_owned());
    let body: Value = serde_json::from_slice(&body).unwrap();
    if body["computations"].as_array().is_none_or(Vec::is_empty) {
        return answer(400, "Invalid computations");
    }
    if body["computations"][0]["computationGroup"].as_str().is_none() {
        return answer(400, "Invalid computationGroup");
    }
    let fault = backend.faults.lock().unwrap().pop_front();
    if let Some(Fault::Answer(status)) = fault {
        return answer(status, "a fault of the fake");
    }
    backend.posts.lock().unwrap().push(body);
    match fault {
        Some(Fault::StoredAnswer(status)) => answer(status, "a fault of the fake"),
        Some(Fault::StoredSilence) => std::future::pending().await,
        _ => answer(201, "[]"),
    }
}

async fn group(Shared(backend): Shared<Arc<Backend>>, Path(group): Path<String>) -> (StatusCode, String) {
    let posts = backend.posts.lock().unwrap();
    let of_group: Vec<&Value> =
        posts.iter().filter(|post| post["computations"][0]["computationGroup"] == group.as_str()).collect();
    if of_group.is_empty() {
        return (StatusCode::NOT_FOUND, "{}".into());
    }
    if backend.hides && !of_group.iter().any(|post| post["done"] == true) {
        return (StatusCode::ACCEPTED, json!({"message": "Not ready yet"}).to_string());
    }
    let rows = of_group.iter().flat_map(|post| post["computations"].as_array().unwrap());
    let evidences: Vec<&Value> = rows.flat_map(|row| row["evidences"].as_array().unwrap()).collect();
    (StatusCode::OK, json!({"computations": [{"id": group, "evidences": evidences}]}).to_string())
}

fn options(address: SocketAddr) -> Options {
    Options {
        url: format!("http://{address}/api/v1/computations/bulk").parse().unwrap(),
        token: Some(Token::Signed { secret: SECRET.into() }),
        controls: [("sla/fast".to_owned(), 12)].into(),
        body_bytes_max: 100_000,
        request: Duration::from_secs(10),
        retry_max: Duration::from_secs(60),
    }
}

async fn store() -> Arc<dyn Store> {
    open("memory:", &StoreOptions { deliver: Some(Vec::new()), ..StoreOptions::default() }).await.unwrap()
}

fn deliverer(options: Options, store: &Arc<dyn Store>, clock: &Clock) -> Arc<Deliverer> {
    let net = Net::new(NetOptions { allow: vec!["127.0.0.1".into()], ..NetOptions::default() }).unwrap();
    Deliverer::new(options, Arc::new(net), store.clone(), clock.clone())
}

fn clock() -> Clock {
    Clock::manual(at("2026-01-02T00:00:00Z"))
}

/// Moves the clock until it is so: what waits for another try tries.
async fn until(clock: &Clock, what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(60), "never came true: {what}");
        clock.advance(Duration::from_millis(100));
        tokio::task::yield_now().await;
    }
}

/// An evaluation with this many verdicts.
async fn evaluate(store: &Arc<dyn Store>, verdicts: i64) -> RunId {
    let run = RunId::fresh();
    store.commit(&commit(run, (0..verdicts).map(|n| guarantee(n, run)).collect())).await.unwrap();
    run
}

/// The beginnings of the first hours of the year.
fn hours(count: i64) -> Vec<String> {
    (0..count).map(|n| crate::store::samples::hour(n).from.to_string()).collect()
}

/// Every row came once, in the order of windows, in one group that was done once and last.
fn assert_whole(backend: &Backend, group: &str, verdicts: i64) {
    let rows: Vec<String> = backend.rows().into_iter().filter(|(of, _)| of == group).map(|(_, from)| from).collect();
    assert_eq!(rows, hours(verdicts));
    let (done, last, _) = backend.done()[group];
    assert_eq!((done, last), (1, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_count_is_told_whole_and_done_once_and_last() {
    for verdicts in [1, 2, 3, 199, 200, 201, 777] {
        let (backend, store, clock) = (Backend::of(false, []), store().await, clock());
        let (address, _) = backend.listen(([127, 0, 0, 1], 0).into()).await;
        let run = evaluate(&store, verdicts).await;
        let task = tokio::spawn(deliverer(options(address), &store, &clock).run());
        until(&clock, "the group is done", || backend.is_done(1)).await;
        task.abort();
        assert_whole(&backend, &run.to_string(), verdicts);
        assert!(backend.calls.lock().unwrap().iter().all(|bytes| *bytes <= 100_000));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_as_large_as_the_backend_takes_and_what_never_fits_is_left_out() {
    let (backend, store, clock) = (Backend::of(false, []), store().await, clock());
    let (address, _) = backend.listen(([127, 0, 0, 1], 0).into()).await;
    let run = RunId::fresh();
    let evidence = |bytes: usize| Evidence {
        metric: "p99".into(),
        source: "test".into(),
        collected_at: at("2026-01-01T00:00:00Z"),
        data: json!([{"result": true, "key": "k", "value": "x".repeat(bytes)}, {"result": false, "id": 7}, "other"]),
    };
    let sizes = [30_000, 30_000, 30_000, 30_000, 99_000, 250_000, 1];
    let states = sizes.iter().enumerate();
    let states = states.map(|(n, bytes)| State { evidence: vec![evidence(*bytes)], ..guarantee(n as i64, run) });
    store.commit(&commit(run, states.collect())).await.unwrap();
    let task = tokio::spawn(deliverer(options(address), &store, &clock).run());
    until(&clock, "the group is done", || backend.is_done(1)).await;
    task.abort();
    assert_whole(&backend, &run.to_string(), sizes.len() as i64);
    let posts = backend.posts.lock().unwrap();
    let counts: Vec<usize> = posts.iter().map(|post| post["computations"].as_array().unwrap().len()).collect();
    assert_eq!(
        counts,
        [3, 1, 2, 1],
        "30,000 three times, then once; what is near the limit with what was cut; the rest"
    );
    let row = &posts[0]["computations"][0];
    assert_eq!((&row["controlId"], &row["value"], &row["scope"]["team"]), (&json!(12), &json!(false), &json!("blue")));
    assert_eq!(row["period"], json!({"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T01:00:00Z"}));
    let results: Vec<&Value> = row["evidences"].as_array().unwrap().iter().map(|e| &e["result"]).collect();
    assert_eq!(results, [true, false], "STATUS's own evidences, of which it makes the compliance");
    let cut = &posts[2]["computations"][1]["evidences"];
    assert_eq!(cut.as_array().unwrap().len(), 1);
    assert!(cut[0]["value"].as_str().unwrap().starts_with("2 evidences are left out"), "{cut}");
    assert_eq!(cut[0]["result"], false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_evidence_of_its_form_the_metrics_stand_with_the_verdict() {
    let (backend, store, clock) = (Backend::of(false, []), store().await, clock());
    let (address, _) = backend.listen(([127, 0, 0, 1], 0).into()).await;
    let run = RunId::fresh();
    let kept = State { verdict: Some(Verdict::Fulfilled), of: "other".into(), ..guarantee(0, run) };
    let bare = State { values: BTreeMap::new(), evidence: Vec::new(), ..guarantee(1, run) };
    store.commit(&commit(run, vec![kept, bare])).await.unwrap();
    let task = tokio::spawn(deliverer(options(address), &store, &clock).run());
    until(&clock, "the group is done", || backend.is_done(1)).await;
    task.abort();
    let posts = backend.posts.lock().unwrap();
    let shown = |row: &Value| {
        let evidences = row["evidences"].as_array().unwrap().iter();
        evidences.map(|e| format!("{} {} {}", e["key"], e["value"], e["result"])).collect::<Vec<_>>()
    };
    let rows = posts[0]["computations"].as_array().unwrap();
    let of = |control: Value| rows.iter().find(|row| row["controlId"] == control).unwrap();
    assert_eq!(shown(of(Value::Null)), ["\"lost\" null true", "\"p99\" 0.30000000000000004 true"]);
    assert_eq!(shown(of(json!(12))), ["\"fast\" 0.30000000000000004 false"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_the_backend_is_away() {
    let (backend, store, clock) = (Backend::of(false, []), store().await, clock());
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let deliverer = deliverer(options(address), &store, &clock);
    let task = tokio::spawn(deliverer.clone().run());
    let mut runs = Vec::new();
    for n in 1..=3 {
        runs.push(evaluate(&store, n).await);
        // The same windows again must say something else to be told.
        let run = RunId::fresh();
        let changed = State { value: Some(n as f64), ..guarantee(100, run) };
        store.commit(&commit(run, vec![changed])).await.unwrap();
        runs.push(run);
        deliverer.stored(run, None);
        clock.advance(Duration::from_secs(70));
    }
    let waiting = store.deliveries_waiting().await.unwrap();
    assert_eq!(waiting, 1 + 1 + 1 + 1 + 1 + 1, "hours 0, 1, 2 once each, and one of three revisions");
    backend.listen(address).await;
    until(&clock, "all groups are done", || backend.is_done(6)).await;
    // The backend has the last one before we have noted that.
    let began = std::time::Instant::now();
    while store.deliveries_waiting().await.unwrap() > 0 {
        assert!(began.elapsed() < Duration::from_secs(60), "the last group is never settled");
        tokio::task::yield_now().await;
    }
    task.abort();
    let groups: Vec<String> = backend.rows().into_iter().map(|(group, _)| group).collect();
    assert_eq!(groups, runs.iter().map(ToString::to_string).collect::<Vec<_>>(), "in the order they were stored");
}

/// A request that may have been stored is looked for before it is sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_in_doubt_is_not_stored_twice() {
    use Fault::{Answer, StoredAnswer};
    for faults in [
        vec![StoredAnswer(500)],
        vec![Answer(500), Answer(502), StoredAnswer(504)],
        vec![Answer(401), Answer(404), Answer(429)],
        vec![StoredAnswer(500), StoredAnswer(500), StoredAnswer(500), StoredAnswer(500)],
    ] {
        let (backend, store, clock) = (Backend::of(false, faults), store().await, clock());
        let (address, _) = backend.listen(([127, 0, 0, 1], 0).into()).await;
        let run = evaluate(&store, 450).await;
        let task =
            tokio::spawn(deliverer(Options { body_bytes_max: 50_000, ..options(address) }, &store, &clock).run());
        until(&clock, "the group is done", || backend.is_done(1)).await;
        until(&clock, "no fault is left", || backend.faults.lock().unwrap().is_empty()).await;
        task.abort();
        assert_whole(&backend, &run.to_string(), 450);
    }
}

/// A newer backend does not show what it has of a group that is not done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_cannot_be_looked_at_is_told_again_under_another_id() {
    let faults = [Fault::StoredAnswer(500)];
    let (backend, store, clock) = (Backend::of(true, faults), store().await, clock());
    let (address, _) = backend.listen(([127, 0, 0, 1], 0).into()).await;
    let run = evaluate(&store, 450).await;
    let task = tokio::spawn(deliverer(options(address), &store, &clock).run());
    until(&clock, "a group is done", || backend.is_done(1)).await;
    task.abort();
    let done = backend.done();
    assert_eq!(done.len(), 2);
    assert_eq!(done[&run.to_string()].0, 0, "the old group is never done");
    let new = done.keys().find(|group| **group != run.to_string()).unwrap().clone();
    assert_whole(&backend, &new, 450);
}

/// Whoever comes after one that was killed in the middle of a request goes on where it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_loses_and_repeats_nothing() {
    let (backend, store, clock) = (Backend::of(false, [Fault::StoredSilence]), store().await, clock());
    let (address, _) = backend.listen(([127, 0, 0, 1], 0).into()).await;
    let run = evaluate(&store, 450).await;
    let first = tokio::spawn(deliverer(options(address), &store, &clock).run());
    let started = Instant::now();
    while backend.posts.lock().unwrap().is_empty() {
        assert!(started.elapsed() < Duration::from_secs(60), "nothing was sent");
        tokio::task::yield_now().await;
    }
    first.abort();
    let second = tokio::spawn(deliverer(options(address), &store, &clock).run());
    until(&clock, "the group is done", || backend.is_done(1)).await;
    second.abort();
    assert_whole(&backend, &run.to_string(), 450);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_backend_refuses_is_audited_and_the_rest_goes_on() {
    let (backend, store, clock) = (Backend::of(false, [Fault::Answer(400)]), store().await, clock());
    let (address, _) = backend.listen(([127, 0, 0, 1], 0).into()).await;
    let refused = evaluate(&store, 3).await;
    let run = RunId::fresh();
    store.commit(&commit(run, vec![guarantee(9, run)])).await.unwrap();
    let deliverer = deliverer(options(address), &store, &clock);
    let task = tokio::spawn(deliverer.clone().run());
    until(&clock, "the second group is done", || backend.is_done(1)).await;
    task.abort();
    assert_eq!(backend.rows().len(), 1);
    let entries = store.audit_entries(&PageRequest::default()).await.unwrap().items;
    let entry = entries.iter().find(|entry| entry.action == "give up").unwrap();
    assert_eq!((entry.subject.as_str(), &entry.detail["verdicts"]), ("sla", &json!(3)));
    assert_eq!(entry.detail["group"], json!(refused.0));
    assert!(entry.detail["problem"].as_str().unwrap().contains("400"), "{}", entry.detail);
    assert_eq!(deliverer.refused.load(std::sync::atomic::Ordering::Relaxed), 3);
}

/// A token of STATUS.
fn token(name: &str, expires: Timestamp) -> String {
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    let claims = json!({"username": name, "authority": "USER", "exp": expires.as_second()});
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

fn names(tokens: &[String]) -> Vec<String> {
    let mut rules = jsonwebtoken::Validation::default();
    rules.validate_exp = false;
    rules.required_spec_claims.clear();
    let key = jsonwebtoken::DecodingKey::from_secret(SECRET.as_bytes());
    let name = |token: &String| jsonwebtoken::decode::<Value>(token, &key, &rules).unwrap().claims["username"].clone();
    tokens.iter().map(|token| name(token).as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_callers_token_is_shown_while_it_counts() {
    let (backend, store, clock) = (Backend::of(false, []), store().await, clock());
    let (address, _) = backend.listen(([127, 0, 0, 1], 0).into()).await;
    let deliverer = deliverer(options(address), &store, &clock);
    for (n, (name, expires)) in [("ana", "2026-01-03T00:00:00Z"), ("bea", "2026-01-01T23:59:59Z")].iter().enumerate() {
        let run = RunId::fresh();
        store.commit(&commit(run, vec![guarantee(n as i64, run)])).await.unwrap();
        deliverer.stored(run, Some(&token(name, at(expires))));
    }
    let run = RunId::fresh();
    store.commit(&commit(run, vec![guarantee(7, run)])).await.unwrap();
    let task = tokio::spawn(deliverer.clone().run());
    until(&clock, "all groups are done", || backend.is_done(3)).await;
    task.abort();
    assert_eq!(names(&backend.tokens.lock().unwrap()), ["ana", "probity", "probity"]);
    let seen: BTreeSet<String> = backend.tokens.lock().unwrap().iter().cloned().collect();
    assert!(seen.len() >= 2, "{seen:?}");
}
