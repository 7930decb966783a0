//! Postgres killed with -9 under load: what was acknowledged is there, and nothing has ended twice.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use probity::store::{StoreOptions, open};

use super::*;
use crate::harness::postgres::Server;

/// How often the server dies, and after how many acknowledged settlements each time.
const KILLS: usize = 3;
const SETTLED_BETWEEN: usize = 200;

#[derive(Default)]
struct Acknowledged {
    accepted: Mutex<BTreeSet<RunId>>,
    settled: Mutex<Vec<RunId>>,
    count: AtomicUsize,
    stop: AtomicBool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_kills_of_postgres() {
    let server = Server::start(true);
    let url = server.database().await;
    let options = StoreOptions { connect_timeout_ms: 500, ..StoreOptions::default() };
    let store = open(&url, &options).await.unwrap();
    store.migrate().await.unwrap();
    let known = Arc::new(Acknowledged::default());
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..2 {
        tasks.spawn(accept_some(store.clone(), known.clone(), worker));
        tasks.spawn(run_some(store.clone(), known.clone(), format!("w{worker}")));
    }
    for kill in 1..=KILLS {
        while known.count.load(Ordering::Relaxed) < kill * SETTLED_BETWEEN {
            tokio::task::yield_now().await;
        }
        server.kill_9();
        server.start_again();
    }
    known.stop.store(true, Ordering::Relaxed);
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    // What is left, those included that nobody knows whether they were stored: their leases are at an end here.
    while let Ok(depth) = store.queue_depth(None).await
        && depth.ready + depth.leased > 0
    {
        settle_all(&*store, &known, "w9").await;
    }
    let settled = known.settled.lock().unwrap().clone();
    let accepted = known.accepted.lock().unwrap().clone();
    assert_eq!(settled.iter().collect::<BTreeSet<_>>().len(), settled.len(), "a run was settled twice");
    for id in &accepted {
        assert!(store.run(*id).await.unwrap().is_some(), "{id} was accepted and is lost");
    }
    println!("{} accepted, {KILLS} kills, {} settled; lost 0, doubled 0", accepted.len(), settled.len());
}

async fn accept_some(store: Arc<dyn Store>, known: Arc<Acknowledged>, worker: usize) {
    let mut number = 0;
    while !known.stop.load(Ordering::Relaxed) {
        number += 1;
        let mut batch: Vec<NewRun> = (0..5).map(|_| new_run("f")).collect();
        batch.push(keyed(&format!("{worker} {number}"), 1, LONG_MS));
        if let Ok(accepted) = store.accept_runs("w", &batch).await {
            assert!(accepted.iter().all(|one| *one == Accepted::Queued), "{accepted:?}");
            known.accepted.lock().unwrap().extend(batch.iter().map(|run| run.id));
        }
        tokio::task::yield_now().await;
    }
}

async fn run_some(store: Arc<dyn Store>, known: Arc<Acknowledged>, owner: String) {
    while !known.stop.load(Ordering::Relaxed) {
        settle_all(&*store, &known, &owner).await;
        tokio::task::yield_now().await;
    }
}

/// Leases some, for no time at all, so that others lease them, too; and settles those that are still its own.
async fn settle_all(store: &dyn Store, known: &Acknowledged, owner: &str) {
    let Ok(leased) = store.lease_runs(owner, &wanted(20, 0)).await else { return };
    let batch: Vec<Settlement> = leased.iter().map(ended).collect();
    let Ok(done) = store.settle_runs(&batch).await else { return };
    let ours = leased.iter().zip(done).filter(|(_, done)| *done).map(|(run, _)| run.id);
    let mut settled = known.settled.lock().unwrap();
    settled.extend(ours);
    known.count.store(settled.len(), Ordering::Relaxed);
}
