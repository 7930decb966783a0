//! Durable runs: what [`probity::store::queue::Queue`] promises, whatever lies beneath.

mod ending;
mod killed;
mod leasing;
mod model;
mod people;
mod plans;
mod simulation;

use std::collections::BTreeMap;

use probity::model::RunId;
use probity::model::run::{RunError, RunRecord, RunState, Trigger};
use probity::store::Store;
use probity::store::queue::{Accepted, DedupKey, LeaseWanted, NewRun, Outcome, Priority, QueuedRun, Settlement};

use super::Fixture;
use super::samples::{at, audit, commit, guarantee};

/// A lease that does not run out while a test runs.
const LONG_MS: u64 = 3_600_000;

fn new_run(flow: &str) -> NewRun {
    let (trigger, msg) = (Trigger::Manual { by: "ana".into() }, r#"{"payload":"é\u0000\"😀"}"#);
    NewRun { node: "n1".into(), flow_version: "v1".into(), ..NewRun::new(flow, trigger, msg) }
}

fn keyed(key: &str, request: u8, keep_ms: u64) -> NewRun {
    NewRun { dedup: Some(DedupKey { key: key.into(), request: [request; 32], keep_ms }), ..new_run("f") }
}

fn wanted(max: u32, lease_ms: u64) -> LeaseWanted {
    LeaseWanted { max, lease_ms, ..LeaseWanted::default() }
}

fn error(message: &str) -> RunError {
    RunError { node: "n7".into(), node_type: "http request".into(), message: message.into() }
}

fn record(id: RunId, state: RunState) -> RunRecord {
    RunRecord {
        id,
        subject: "f".into(),
        trigger: Trigger::Manual { by: "ana".into() },
        state,
        started_at: at("2026-01-05T12:00:00Z"),
        ended_at: Some(at("2026-01-05T12:00:01Z")),
        version: "v1".into(),
        hops: 3,
        error: None,
        trace: Vec::new(),
        trace_dropped: 0,
    }
}

fn ended(run: &QueuedRun) -> Settlement {
    Settlement { held: run.held(), outcome: Outcome::Ended(Box::new(record(run.id, RunState::Done))) }
}

async fn accept(store: &dyn Store, runs: &[NewRun]) {
    let accepted = store.accept_runs("w0", runs).await.unwrap();
    assert!(accepted.iter().all(|one| *one == Accepted::Queued), "{accepted:?}");
}

async fn lease(store: &dyn Store, owner: &str, max: u32, lease_ms: u64) -> Vec<QueuedRun> {
    store.lease_runs(owner, &wanted(max, lease_ms)).await.unwrap()
}

/// The only run there is, leased.
async fn lease_one(store: &dyn Store, owner: &str, lease_ms: u64) -> QueuedRun {
    let mut leased = lease(store, owner, 10, lease_ms).await;
    assert_eq!(leased.len(), 1, "{leased:?}");
    leased.remove(0)
}

fn ids(runs: &[QueuedRun]) -> Vec<RunId> {
    runs.iter().map(|run| run.id).collect()
}

fn caps(caps: &[(&str, u32)]) -> BTreeMap<String, u32> {
    caps.iter().map(|(name, cap)| ((*name).to_owned(), *cap)).collect()
}
