//! A list of states that has begun: its caller leaves, its database goes away, a collector hangs or is gone. The process
//! stays up, whoever reads can tell a whole list from one that was broken off, and the log says what happened.

use std::io::Write;
use std::sync::{Arc, Mutex};

use probity::api::registry_v6::Mode;
use probity::clock::Clock;
use serde_json::{Value, json};
use sqlx::SqlitePool;
use tracing_subscriber::fmt::MakeWriter;

use super::{Behind, Collector, Computed, Front, Posted, call};
use crate::evaluation::until;
use crate::harness::server::read;

const MARCH: &str = "from=2024-03-01T00:00:00.000Z&to=2024-03-03T00:00:00.000Z";

/// Guarantees FIRST and SECOND, each over a metric of a service of its own.
fn document() -> Value {
    let metric = |service: &str| {
        json!({"collector": {"infrastructurePath": service, "endpoint": "/api/v2/computations",
               "type": "POST-GET-V1", "config": {}}, "measure": {"what": service}})
    };
    let guarantee = |id: &str, metric: &str| {
        json!({"id": id, "scope": {}, "of": [{"objective": format!("{metric} >= 50"), "with": {metric: {}},
               "window": {"type": "static", "period": "daily", "initial": "2024-01-01"}}]})
    };
    json!({"id": "a", "version": "1.0.0", "type": "agreement",
           "context": {"validity": {"initial": "2024-01-01", "timeZone": "UTC"}},
           "terms": {"metrics": {"QUICK": metric("quick"), "SLOW": metric("slow")},
                     "guarantees": [guarantee("FIRST", "QUICK"), guarantee("SECOND", "SLOW")]}})
}

/// `quick` is answered at once; `slow` after so many polls.
fn answering(polls: u32) -> super::Answering {
    Arc::new(move |posted: &Posted| {
        let slow = posted.body["metric"]["what"] == "slow";
        let window = &posted.body["metric"]["window"];
        let period = json!({"from": window["initial"], "to": window["end"]});
        let computation = json!({"scope": {}, "period": period, "value": 80, "evidences": []});
        let body = json!({"code": 200, "computations": [computation]});
        Computed { post: 201, polls: if slow { polls } else { 0 }, get: 200, body }
    })
}

/// What is logged on this thread, on which all of the test runs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Log;
    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}

struct Rig {
    front: Front,
    collector: Arc<Collector>,
    behind: Behind,
    db: SqlitePool,
    log: Log,
    _folder: tempfile::TempDir,
    _logging: tracing::subscriber::DefaultGuard,
}

impl Rig {
    async fn start(polls: u32, slow: Option<&str>, collect_ms_max: u64) -> Rig {
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
        let logging = tracing::subscriber::set_default(subscriber);
        let (url, collector) = Collector::start(answering(polls)).await;
        let folder = tempfile::tempdir().unwrap();
        let path = format!("sqlite:{}", folder.path().join("p.db").display());
        let store = probity::store::open(&path, &Default::default()).await.unwrap();
        store.migrate().await.unwrap();
        let behind = Behind::over(store).await;
        let slow = slow.unwrap_or(&url).to_owned();
        let front = Front::start(&behind, Clock::System, Mode::Strict, |config| {
            config.collectors.services.insert("quick".into(), url);
            config.collectors.services.insert("slow".into(), slow);
            (config.collectors.poll_ms_min, config.collectors.poll_ms_max) = (1, 2);
            (config.collectors.retries_max, config.collectors.collect_ms_max) = (0, collect_ms_max);
        })
        .await;
        assert_eq!(call(front.address, "POST", "/api/v6/agreements", Some(&document()), None).await.status(), 201);
        let db = SqlitePool::connect(&path).await.unwrap();
        Rig { front, collector, behind, db, log, _folder: folder, _logging: logging }
    }

    async fn ask(&self) -> reqwest::Response {
        self.front.get(&format!("/api/v6/states/a/guarantees?{MARCH}")).await
    }

    async fn rename(&self, from: &str, to: &str) {
        let rename = format!("ALTER TABLE {from} RENAME TO {to}");
        sqlx::query(sqlx::AssertSqlSafe(rename)).execute(&self.db).await.unwrap();
    }
}

/// Reads to the end, or to where it was broken off.
async fn rest(response: &mut reqwest::Response, text: &mut String) -> Result<(), reqwest::Error> {
    while let Some(piece) = response.chunk().await? {
        text.push_str(std::str::from_utf8(&piece).unwrap());
    }
    Ok(())
}

#[tokio::test]
async fn a_database_that_goes_away_breaks_the_list_off() {
    let rig = Rig::start(u32::MAX, None, 60_000).await;
    let mut response = rig.ask().await;
    assert_eq!(response.status(), 200);
    let mut text = String::from_utf8(response.chunk().await.unwrap().unwrap().to_vec()).unwrap();
    assert!(text.starts_with("[\n{") && text.contains("FIRST") && !text.contains("SECOND"), "{text}");
    rig.rename("probity_audit", "away").await;
    let ended = {
        let reading = rest(&mut response, &mut text);
        tokio::pin!(reading);
        loop {
            rig.collector.ready();
            tokio::select! {
                ended = &mut reading => break ended,
                () = tokio::task::yield_now() => {}
            }
        }
    };
    assert!(ended.is_err(), "the list must not end as if it were whole: {text}");
    assert!(serde_json::from_str::<Value>(&text).is_err(), "{text}");
    let log = rig.log.text();
    assert!(log.contains("a list of states is broken off") && log.contains("could not be stored"), "{log}");
    // The server goes on, and gives the whole list when the database is back.
    assert_eq!(rig.front.get("/api/info").await.status(), 200);
    rig.rename("away", "probity_audit").await;
    rig.collector.answer_with(answering(0));
    let whole = read(rig.ask().await).await.1;
    let ids: Vec<&str> = whole.as_array().unwrap().iter().map(|state| state["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["FIRST", "FIRST", "SECOND", "SECOND"]);
}

#[tokio::test]
async fn a_caller_that_leaves_in_the_middle_leaves_the_verdicts_to_be_stored() {
    let rig = Rig::start(u32::MAX, None, 60_000).await;
    let mut response = rig.ask().await;
    assert!(response.chunk().await.unwrap().is_some());
    drop(response);
    until("all four verdicts are stored", async || {
        rig.collector.ready();
        super::calls::stored(&rig.behind).await.len() == 4
    })
    .await;
    assert_eq!(rig.front.get("/api/info").await.status(), 200);
}

#[tokio::test]
async fn a_collector_that_hangs_costs_its_own_verdicts() {
    let rig = Rig::start(u32::MAX, None, 100).await;
    let states = read(rig.ask().await).await.1;
    expect_second_unknown(&states, "within 100 ms");
}

#[tokio::test]
async fn a_collector_that_is_gone_costs_its_own_verdicts() {
    // Bound and let go: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let rig = Rig::start(0, Some(&format!("http://127.0.0.1:{port}")), 60_000).await;
    let states = read(rig.ask().await).await.1;
    expect_second_unknown(&states, &format!("127.0.0.1:{port}"));
}

fn expect_second_unknown(states: &Value, because: &str) {
    let seen: Vec<(&Value, &Value)> = states.as_array().unwrap().iter().map(|s| (&s["id"], &s["value"])).collect();
    let (first, second, yes) = (json!("FIRST"), json!("SECOND"), json!(true));
    assert_eq!(seen, [(&first, &yes), (&first, &yes), (&second, &Value::Null), (&second, &Value::Null)]);
    let reason = states[2]["reason"].as_str().unwrap();
    assert!(reason.contains(because), "{reason}");
}
