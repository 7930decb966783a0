//! kill -9 of Probity or of the `mongod` it reads from and writes to, at any moment of an evaluation: what is stored in the
//! end equals what an undisturbed run stores.
//!
//! Moments inside the commit are held open by locking a table that it comes to; those while collecting, by the collector,
//! which kills at a given call. Postgres' own death is tested with the stores.

use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use mongodb::bson::{Document, doc};
use probity::clock::Clock;
use probity::evaluate::{InProcess, Request, Windows};
use probity::model::run::Trigger;
use probity::registry::{self, Agreements, StateWriter, Times};
use probity::store::{PageRequest, StateQuery, Store, StoreOptions, open};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::harness::mongo::{Mode, Mongo};
use crate::harness::postgres;
use crate::serve::{Folder, probity, until};

const AGREEMENTS: usize = 2;
const WINDOWS: usize = 12;
/// Two members, each with a verdict and a value.
const STATES: usize = AGREEMENTS * WINDOWS * 4;

/// A collector that computes from the question alone, and kills at its `deadly`th call.
#[derive(Default)]
struct Deadly {
    asked: Mutex<std::collections::HashMap<u64, Value>>,
    calls: AtomicU64,
    deadly: AtomicU64,
    /// The call is answered first.
    after: std::sync::atomic::AtomicBool,
    victim: AtomicU32,
}

impl Deadly {
    async fn serve() -> (String, Arc<Deadly>) {
        let deadly = Arc::new(Deadly::default());
        let app = Router::new()
            .route("/computations", post(posted))
            .route("/computations/{id}", get(fetched))
            .with_state(deadly.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (url, deadly)
    }

    fn arm(&self, victim: u32, call: u64, after: bool) {
        self.calls.store(0, Ordering::SeqCst);
        self.after.store(after, Ordering::SeqCst);
        self.victim.store(victim, Ordering::SeqCst);
        self.deadly.store(call, Ordering::SeqCst);
    }

    fn disarm(&self) {
        self.deadly.store(0, Ordering::SeqCst);
    }

    fn called(&self) {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        if call != self.deadly.load(Ordering::SeqCst) {
            return;
        }
        let victim = self.victim.load(Ordering::SeqCst);
        if self.after.load(Ordering::SeqCst) {
            std::thread::spawn(move || kill(victim));
        } else {
            kill(victim);
        }
    }
}

fn kill(process: u32) {
    let status = std::process::Command::new("kill").args(["-9", &process.to_string()]).status().unwrap();
    assert!(status.success(), "the process was not there to be killed");
}

async fn posted(State(deadly): State<Arc<Deadly>>, body: axum::body::Bytes) -> axum::Json<Value> {
    let metric: Value = serde_json::from_slice::<Value>(&body).unwrap()["metric"].clone();
    let id = u64::from_le_bytes(uuid::Uuid::new_v4().as_bytes()[..8].try_into().unwrap());
    deadly.asked.lock().unwrap().insert(id, metric);
    deadly.called();
    axum::Json(json!({"code": 201, "computation": format!("/computations/{id}")}))
}

async fn fetched(State(deadly): State<Arc<Deadly>>, Path(id): Path<u64>) -> axum::Json<Value> {
    let metric = deadly.asked.lock().unwrap()[&id].clone();
    deadly.called();
    axum::Json(answer(&metric["window"]))
}

/// Values and evidence that follow from the window.
fn answer(window: &Value) -> Value {
    let (from, to) = (window["initial"].as_str().unwrap(), window["end"].as_str().unwrap());
    let hour: u64 = from[11..13].parse().unwrap();
    let computations: Vec<Value> = [("a", 80 + hour), ("b", 99 - hour)]
        .into_iter()
        .map(|(team, value)| {
            let evidences = [json!({"seen": from, "team": team})];
            json!({"scope": {"team": team}, "period": {"from": from, "to": to}, "value": value, "evidences": evidences})
        })
        .collect();
    json!({"code": 200, "computations": computations})
}

/// One installation: its agreements, and its database.
struct Installation {
    folder: Folder,
    url: String,
}

impl Installation {
    async fn new(collector: &str) -> Installation {
        let folder = Folder::new();
        std::fs::create_dir(folder.0.join("agreements")).unwrap();
        folder.write("flows.json", &json!([]));
        for i in 0..AGREEMENTS {
            let collector =
                json!({"infrastructurePath": collector, "endpoint": "/computations", "type": "POST-GET-V1"});
            let validity = json!({"initial": "2026-01-01T00:00:00Z", "end": "2026-01-31T00:00:00Z", "timeZone": "UTC"});
            let extra = json!({"context": {"validity": validity}});
            let agreement = super::agreement(&format!("killed-{i}"), collector, extra);
            folder.write(&format!("agreements/killed-{i}.json"), &agreement.document);
        }
        Installation { folder, url: postgres::database().await }
    }

    fn start(&self) -> Child {
        probity()
            .args(["serve", "--listen", "127.0.0.1:0", "--database-url", &self.url])
            .arg("--data-dir")
            .arg(&self.folder.0)
            .arg("--flows")
            .arg(self.folder.0.join("flows.json"))
            .arg("--agreements")
            .arg(self.folder.0.join("agreements"))
            .env("PROBITY_SCHEDULE_FIRST_WINDOWS_MAX", WINDOWS.to_string())
            .env("PROBITY_SCHEDULE_PROVISIONAL_MS", "0")
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    async fn store(&self) -> Arc<dyn Store> {
        open(&self.url, &StoreOptions::default()).await.unwrap()
    }

    /// Runs until everything is stored and no claim is open.
    async fn finish(&self) -> Vec<String> {
        let mut child = self.start();
        let store = self.store().await;
        until("everything is stored", async || {
            let claims = store.open_claims().await;
            states(&*store).await.len() == STATES && claims.is_ok_and(|open| open.is_empty())
        })
        .await;
        child.kill().unwrap();
        child.wait().unwrap();
        states(&*store).await
    }
}

/// All that is stored, without when and by which run.
async fn states(store: &dyn Store) -> Vec<String> {
    let mut page = PageRequest { limit: 1000, after: None };
    let mut found = Vec::new();
    loop {
        let Ok(stored) = store.states(&StateQuery::default(), &page).await else { return Vec::new() };
        found.extend(stored.items.into_iter().map(|stored| {
            let mut state = serde_json::to_value(&stored.state).unwrap();
            state["run"] = Value::Null;
            for piece in state["evidence"].as_array_mut().into_iter().flatten() {
                piece["collected_at"] = Value::Null;
            }
            format!("{} {state}", stored.revision)
        }));
        match stored.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    found.sort();
    found
}

/// Each table that a commit comes to is held while a process wants it; then the process is killed, and the lock let go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_killed_inside_its_commit_leaves_what_an_undisturbed_one_does() {
    let (collector, deadly) = Deadly::serve().await;
    deadly.disarm();
    let (calm, killed) = (Installation::new(&collector).await, Installation::new(&collector).await);
    let undisturbed = calm.finish().await;
    killed.store().await.migrate().await.unwrap();
    let mut holder = PgConnection::connect(&killed.url).await.unwrap();
    let mut watcher = PgConnection::connect(&killed.url).await.unwrap();
    for table in ["claim", "turn", "state", "run", "audit"] {
        let mut holding = holder.begin().await.unwrap();
        let lock = format!("LOCK TABLE probity.{table} IN EXCLUSIVE MODE");
        sqlx::query(sqlx::AssertSqlSafe(lock)).execute(&mut *holding).await.unwrap();
        let mut child = killed.start();
        until(&format!("it wants to write to {table}"), async || {
            let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                           AND application_name = 'probity' AND wait_event_type = 'Lock'";
            sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut watcher).await.unwrap() > 0
        })
        .await;
        child.kill().unwrap();
        child.wait().unwrap();
        holding.rollback().await.unwrap();
        // Whole evaluations or none of them.
        let left = states(&*killed.store().await).await.len();
        assert!(left.is_multiple_of(STATES / AGREEMENTS), "{left} states after a kill at {table}");
    }
    assert_eq!(killed.finish().await, undisturbed);
}

/// The collector kills who asks it, at the first question, in the middle, at the last answer and right after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_killed_while_it_collects_leaves_what_an_undisturbed_one_does() {
    let (collector, deadly) = Deadly::serve().await;
    let (calm, killed) = (Installation::new(&collector).await, Installation::new(&collector).await);
    let undisturbed = calm.finish().await;
    let all = (AGREEMENTS * WINDOWS * 2) as u64;
    for (call, after) in [(1, false), (all / 2, false), (all, false), (all, true)] {
        let mut child = killed.start();
        // It is armed before the first question can come, which needs the database to be made.
        deadly.arm(child.id(), call, after);
        let ended = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
        assert!(!ended.success(), "call {call} kills");
        deadly.disarm();
        let left = states(&*killed.store().await).await.len();
        assert!(left.is_multiple_of(STATES / AGREEMENTS), "{left} states after a kill at call {call}");
        if left == STATES {
            break;
        }
    }
    assert_eq!(killed.finish().await, undisturbed);
}

const TIMES: Times =
    Times { watch: Duration::from_secs(1), poll: Duration::from_secs(10), request: Duration::from_secs(4) };

/// What is evaluated from a document of `mongod` and written back to it; `deadly` is the question at which it dies.
async fn with_mongo(deadly: Option<u64>) -> Option<(Vec<String>, Vec<Document>)> {
    let mongo = Mongo::start(Mode { replica_set: true, authentication: false }).await?;
    let database = mongo.database().await;
    let agreement = super::agreement("sla", super::in_process(), Value::Null);
    let document = mongodb::bson::serialize_to_document(&agreement.document).unwrap();
    database.collection::<Document>("agreementmodels").insert_one(document).await.unwrap();
    let clock = Clock::manual(super::at("2026-03-01T10:30:00Z"));
    let set = Agreements::new(clock.clone(), None);
    let source = registry::remote(&mongo.url(), &Arc::default(), TIMES).unwrap();
    let following = tokio::spawn(registry::follow(&set, vec![source]).run());
    set.started(Duration::from_secs(60)).await;
    let (url, mongo) = (mongo.url(), Arc::new(Mutex::new(mongo)));
    let asked = AtomicU64::new(0);
    let collector: InProcess = {
        let mongo = mongo.clone();
        Arc::new(move |query, _| {
            if Some(asked.fetch_add(1, Ordering::SeqCst) + 1) == deadly {
                mongo.lock().unwrap().kill();
            }
            let text = |at| probity::agreement::queries::iso(at);
            let answer = answer(&json!({"initial": text(query.window.from), "end": text(query.window.to)}));
            Box::pin(async move { Ok(answer) })
        })
    };
    let fixture = crate::store::Fixture::memory().await;
    let evaluator = super::evaluator(&clock, &fixture.store, vec![agreement], collector, "[]");
    let writer = StateWriter::new();
    assert!(evaluator.written_back.set(writer.clone()).is_ok());
    let writing = tokio::spawn(writer.run(url, TIMES.request, clock.clone()));
    for count in [4, 8] {
        let request = Request {
            // As it stands in the set, whether its source is there or not.
            agreement: set.get("sla").expect("the last good version goes on"),
            windows: Windows::LastClosed { at: clock.now(), count },
            guarantee: None,
            trigger: Trigger::Manual { by: "ana".into() },
            actor: "ana".into(),
            store: true,
            claim: None,
        };
        evaluator.run(request).await.unwrap();
    }
    if deadly.is_some() {
        mongo.lock().unwrap().restart();
    }
    let written = database.collection::<Document>("statemodels");
    let everything = doc! {"records.0": {"$exists": true}};
    until("everything is written back", async || {
        clock.advance(Duration::from_secs(1));
        written.count_documents(everything.clone()).await.unwrap_or_default() == 8 * 4
    })
    .await;
    let mut cursor = written.find(everything).sort(doc! {"_id": 1}).await.unwrap();
    let mut documents = Vec::new();
    while cursor.advance().await.unwrap() {
        let mut state = cursor.deserialize_current().unwrap();
        // When and how often it was said depends on when the database took it.
        let records = state.get_array_mut("records").unwrap();
        let mut newest = records.pop().unwrap().as_document().unwrap().clone();
        newest.remove("time");
        state.insert("records", vec![newest]);
        documents.push(state);
    }
    following.abort();
    writing.abort();
    Some((states(&*fixture.store).await, documents))
}

/// `mongod` dies at the first question, in the middle of an evaluation, and between two.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mongod_killed_at_any_moment_changes_no_verdict_and_gets_every_state() {
    let Some(undisturbed) = with_mongo(None).await else { return };
    for question in [1, 4, 7] {
        let killed = with_mongo(Some(question)).await.unwrap();
        assert_eq!(killed.0, undisturbed.0, "killed at question {question}");
        assert_eq!(killed.1, undisturbed.1, "killed at question {question}");
    }
}
