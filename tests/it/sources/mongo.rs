//! Agreements in a real MongoDB: inserted, changed, broken and deleted while we run; with and without a replica set,
//! with and without authentication; the server killed and started again mid-way.

use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::{Collection, Database};
use probity::clock::Clock;
use probity::net::Net;
use probity::registry::{self, Agreements, SourceState, Times};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::evaluation::{at, in_process, until};
use crate::harness::mongo::{Mode, Mongo, PASSWORD};

const TIMES: Times =
    Times { watch: Duration::from_secs(1), poll: Duration::from_secs(10), request: Duration::from_secs(4) };

/// As the Registry stores it.
fn stored(id: &str, version: &str) -> Document {
    let value = &crate::evaluation::agreement(id, in_process(), json!({"version": version})).document;
    let mut document = mongodb::bson::serialize_to_document(value).unwrap();
    document.insert("__v", 0);
    document
}

struct Rig {
    clock: Clock,
    agreements: Arc<Agreements>,
    following: JoinHandle<()>,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.following.abort();
    }
}

impl Rig {
    async fn start(url: &str) -> Rig {
        let clock = Clock::manual(at("2026-03-01T10:30:00Z"));
        let agreements = Agreements::new(clock.clone(), None);
        let source = registry::remote(url, &Arc::new(Net::default()), TIMES).unwrap();
        let following = tokio::spawn(registry::follow(&agreements, vec![source]).run());
        agreements.started(Duration::from_secs(60)).await;
        Rig { clock, agreements, following }
    }

    fn versions(&self) -> Vec<(String, String)> {
        self.agreements.snapshot().agreements.iter().map(|a| (a.id.clone(), a.version.clone())).collect()
    }

    fn state(&self) -> SourceState {
        self.agreements.snapshot().sources[0].state
    }

    /// Waits for it; `moving` also moves the clock, by which polls and retries come.
    async fn until(&self, what: &str, moving: bool, mut condition: impl FnMut() -> bool) {
        until(what, async || {
            if moving {
                self.clock.advance(Duration::from_secs(1));
            }
            condition()
        })
        .await;
    }

    async fn becomes(&self, moving: bool, wanted: &[(&str, &str)]) {
        let wanted: Vec<(String, String)> = wanted.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect();
        self.until(&format!("the set is {wanted:?}"), moving, || self.versions() == wanted).await;
    }
}

/// The whole life of agreements in a database.
async fn followed(mode: Mode) {
    let Some(mut mongo) = Mongo::start(mode).await else { return };
    let database: Database = mongo.database().await;
    let agreements: Collection<Document> = database.collection("agreementmodels");
    agreements.insert_one(stored("a", "1")).await.unwrap();
    // What else the Registry keeps in its database is none of ours.
    let stub = doc! {"agreementId": "a", "scope": {}, "records": []};
    database.collection::<Document>("statemodels").insert_one(stub).await.unwrap();
    database
        .collection::<Document>("templatemodels")
        .insert_one(doc! {"id": "t-v1-0-0", "type": "template"})
        .await
        .unwrap();
    let rig = Rig::start(&mongo.url()).await;
    assert_eq!(rig.versions(), [("a".into(), "1".into())]);
    let a = rig.agreements.get("a").unwrap();
    assert!(a.document.get("_id").is_none() && a.document.get("__v").is_none());
    assert_eq!(a.hash, crate::evaluation::agreement("a", in_process(), json!({"version": "1"})).hash);
    assert!(!a.source.contains(PASSWORD) && a.source.ends_with("/registry/agreementmodels/a"), "{}", a.source);
    assert_eq!(rig.agreements.snapshot().templates.len(), 1);
    // With a change stream nobody has to wait for a poll: the clock stands still.
    let polled = !mode.replica_set;
    agreements.insert_one(stored("b", "1")).await.unwrap();
    rig.becomes(polled, &[("a", "1"), ("b", "1")]).await;
    agreements.update_one(doc! {"id": "b"}, doc! {"$set": {"version": "2"}}).await.unwrap();
    rig.becomes(polled, &[("a", "1"), ("b", "2")]).await;
    let broken = doc! {"$set": {"version": "3", "context.validity.timeZone": "Europe/Atlantis"}};
    agreements.update_one(doc! {"id": "b"}, broken).await.unwrap();
    let problem = || {
        let snapshot = rig.agreements.snapshot();
        snapshot.diagnostics.iter().find(|d| d.path == "$.context.validity.timeZone").map(|d| d.file.clone())
    };
    rig.until("the problem is known", polled, || problem().is_some()).await;
    assert_eq!(rig.versions(), [("a".into(), "1".into()), ("b".into(), "2".into())]);
    assert_eq!(problem().unwrap(), rig.agreements.get("b").unwrap().source);
    mongo.kill();
    rig.until("the server is away", true, || rig.state() == SourceState::Away).await;
    assert_eq!(rig.versions(), [("a".into(), "1".into()), ("b".into(), "2".into())]);
    let why = rig.agreements.snapshot().sources[0].problem.clone().unwrap();
    assert!(!why.is_empty() && !why.contains(PASSWORD) && !why.contains("s3cret"), "{why}");
    mongo.restart();
    rig.until("the server is back", true, || rig.state() == SourceState::Ok).await;
    let back = doc! {"$set": {"version": "4", "context.validity.timeZone": "UTC"}};
    agreements.update_one(doc! {"id": "b"}, back).await.unwrap();
    rig.becomes(polled, &[("a", "1"), ("b", "4")]).await;
    assert!(rig.agreements.snapshot().diagnostics.is_empty());
    agreements.delete_one(doc! {"id": "a"}).await.unwrap();
    rig.becomes(polled, &[("b", "4")]).await;
    // Some Registries take a second document of the same id: the older one counts.
    agreements.insert_one(stored("b", "5")).await.unwrap();
    let duplicate = || rig.agreements.snapshot().diagnostics.iter().any(|d| d.code == "duplicate-agreement");
    rig.until("the duplicate is known", polled, duplicate).await;
    assert_eq!(rig.versions(), [("b".into(), "4".into())]);
    if mode.authentication {
        let stranger = Rig::start(&mongo.url_with("wrong-password")).await;
        stranger.until("the stranger is refused", true, || stranger.state() == SourceState::Away).await;
        let why = stranger.agreements.snapshot().sources[0].problem.clone().unwrap();
        assert!(why.contains("uthentication") && !why.contains("wrong-password"), "{why}");
    }
}

#[tokio::test]
async fn a_single_server_is_polled() {
    followed(Mode { replica_set: false, authentication: false }).await;
}

#[tokio::test]
async fn a_single_server_with_a_login_is_polled() {
    followed(Mode { replica_set: false, authentication: true }).await;
}

#[tokio::test]
async fn a_replica_set_says_what_changes() {
    followed(Mode { replica_set: true, authentication: false }).await;
}

#[tokio::test]
async fn a_replica_set_with_a_login_says_what_changes() {
    followed(Mode { replica_set: true, authentication: true }).await;
}

#[tokio::test]
async fn an_address_nobody_can_use_is_refused_without_its_secrets() {
    let net = Arc::new(Net::default());
    let refused = |address: &str| registry::remote(address, &net, TIMES).err().unwrap();
    let why = refused("mongo://ana:s3cret-word@a/registry");
    assert!(why.contains("mongodb://") && !why.contains("s3cret"), "{why}");
    assert!(refused("ftp://a").contains("expected a folder"));
    // Found out when it is first used.
    let rig = Rig::start("mongodb://ana:s3cr:et@word@127.0.0.1/registry").await;
    rig.until("it is away", true, || rig.state() == SourceState::Away).await;
    let shown: Value = serde_json::to_value(&rig.agreements.snapshot().sources).unwrap();
    assert!(!shown.to_string().contains("s3cr"), "{shown}");
}

/// What else reads the Registry's database finds final verdicts and values there, each state once.
#[tokio::test]
async fn states_are_written_back_as_the_registry_keeps_them() {
    let Some(mut mongo) = Mongo::start(Mode { replica_set: false, authentication: true }).await else { return };
    let database = mongo.database().await;
    let states: Collection<Document> = database.collection("statemodels");
    // As the Registry has it already, its keys in another order; beside a stub and a coarser scope.
    let period = doc! {"from": "2026-03-01T09:00:00.000Z", "to": "2026-03-01T10:00:00.000Z"};
    let theirs = doc! {
        "records": [{"value": true, "time": "2026-03-01T10:00:01.000Z", "metrics": {"RATE": 91}, "evidences": []}],
        "period": &period, "scope": {"team": "b"}, "id": "ENOUGH", "agreementId": "sla", "stateType": "guarantees", "__v": 0,
    };
    let coarser = doc! {"stateType": "guarantees", "agreementId": "sla", "id": "ENOUGH", "scope": {}, "period": &period, "records": []};
    let stub = doc! {"agreementId": "sla", "scope": {}, "records": []};
    states.insert_many([theirs, coarser, stub]).await.unwrap();
    let fixture = crate::store::Fixture::memory().await;
    let clock = Clock::manual(at("2026-03-01T10:30:00Z"));
    let agreements = vec![crate::evaluation::agreement("sla", in_process(), Value::Null)];
    let asked = crate::evaluation::two_teams(Arc::default());
    let evaluator = crate::evaluation::evaluator(&clock, &fixture.store, agreements, asked, "[]");
    let writer = registry::StateWriter::new();
    assert!(evaluator.written_back.set(writer.clone()).is_ok());
    let writing = tokio::spawn(writer.run(mongo.url(), TIMES.request, clock.clone()));
    let evaluate = async |count: usize| {
        let request = probity::evaluate::Request {
            agreement: evaluator.agreement("sla").unwrap(),
            windows: probity::evaluate::Windows::LastClosed { at: clock.now(), count },
            guarantee: None,
            trigger: probity::model::run::Trigger::Manual { by: "ana".into() },
            actor: "ana".into(),
            store: true,
            claim: None,
        };
        evaluator.run(request).await.unwrap();
    };
    let count = async |filter: Document| states.count_documents(filter).await.unwrap_or_default();
    let filled = doc! {"agreementId": "sla", "records.0": {"$exists": true}};
    evaluate(1).await;
    // Two teams: a verdict and a value each.
    until("four states are written", async || count(filled.clone()).await == 4).await;
    let find = async |team: &str| {
        let filter = doc! {"stateType": "guarantees", "id": "ENOUGH", "scope.team": team, "period.from": "2026-03-01T09:00:00.000Z"};
        states.find_one(filter).await.unwrap().unwrap()
    };
    until("the Registry's own state has a further record", async || {
        find("b").await.get_array("records").unwrap().len() == 2
    })
    .await;
    let b = find("b").await;
    let newest = b.get_array("records").unwrap()[1].as_document().unwrap();
    assert_eq!(
        (newest.get_bool("value").unwrap(), newest.get_document("metrics").unwrap()),
        (false, &doc! {"RATE": 80.0})
    );
    let a = find("a").await;
    let keys: Vec<&str> = a.keys().map(String::as_str).collect();
    assert_eq!(keys, ["_id", "agreementId", "id", "stateType", "scope", "period", "__v", "records"]);
    let metric = states.find_one(doc! {"stateType": "metrics", "scope.team": "a"}).await.unwrap().unwrap();
    assert_eq!(metric.get_document("window").unwrap().get_str("period").unwrap(), "hourly");
    // The database is away: what comes meanwhile waits. Each state stays one document, its records bounded.
    mongo.kill();
    evaluate(3).await;
    mongo.restart();
    until("the states of three hours are there", async || {
        clock.advance(Duration::from_secs(1));
        count(filled.clone()).await == 12
    })
    .await;
    for _ in 0..25 {
        evaluate(1).await;
    }
    until("the records are bounded", async || find("a").await.get_array("records").unwrap().len() == 20).await;
    assert_eq!(count(doc! {}).await, 14, "twelve, the coarser one and the stub");
    writing.abort();
}
