//! Postgres finds held runs by their keys, however many others there are and whatever it believes of the table.

use probity::store::queue::{Held, Point};
use probity::store::{StoreOptions, open};
use sqlx::{Connection, PgConnection};

use super::*;
use crate::harness::postgres;
use crate::serve::until;

/// Runs that stand beside those that are asked for.
const OTHERS: usize = 2_000;
/// Runs that are asked for together.
const ASKED: usize = 100;

/// What was looked for in the queue's indexes, and what came of it, since the database was made.
async fn looks(connection: &mut PgConnection) -> (i64, i64) {
    sqlx::query_as(
        "SELECT sum(idx_scan)::int8, sum(idx_tup_read)::int8 FROM pg_stat_user_indexes WHERE relname = 'queue'",
    )
    .fetch_one(connection)
    .await
    .unwrap()
}

/// A call that names [`ASKED`] runs makes as many looks into the index at least; a plan that reads all rows makes one.
async fn by_key(connection: &mut PgConnection, what: &str, call: impl AsyncFnOnce()) {
    let (before, _) = looks(connection).await;
    call().await;
    // Counted by each connection for itself, and told by it when it has been idle for a moment.
    until(what, async || looks(connection).await.0 >= before + ASKED as i64).await;
}

#[tokio::test]
async fn held_runs_are_found_by_their_keys_although_the_table_was_last_seen_empty() {
    let url = postgres::database().await;
    let store = open(&url, &StoreOptions::default()).await.unwrap();
    store.migrate().await.unwrap();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let runs: Vec<NewRun> = (0..OTHERS + ASKED).map(|_| new_run("f")).collect();
    // Rows that have gone: Postgres counts none in pages that are there.
    accept(&*store, &runs).await;
    let mut gone = lease(&*store, "w", 10_000, LONG_MS).await;
    assert_eq!(gone.len(), runs.len());
    store.settle_runs(&gone.drain(..).map(|run| ended(&run)).collect::<Vec<_>>()).await.unwrap();
    for table in ["queue", "dedup"] {
        sqlx::query(sqlx::AssertSqlSafe(format!("VACUUM ANALYZE probity.{table}")))
            .execute(&mut connection)
            .await
            .unwrap();
    }
    let again: Vec<NewRun> = runs.iter().map(|run| NewRun { id: RunId::fresh(), ..run.clone() }).collect();
    accept(&*store, &again).await;
    let leased = lease(&*store, "w", ASKED as u32, LONG_MS).await;
    let held: Vec<Held> = leased.iter().map(QueuedRun::held).collect();
    by_key(&mut connection, "leases are extended by key", async || {
        store.extend_leases(&held, LONG_MS).await.unwrap();
    })
    .await;
    let point =
        |held: &Held| Point { held: *held, number: 1, lease_ms: LONG_MS, snapshot: Some("{}".into()), effects: None };
    by_key(&mut connection, "points are stored by key", async || {
        assert!(store.mark_points(&held.iter().map(point).collect::<Vec<_>>()).await.unwrap().iter().all(|kept| *kept));
    })
    .await;
    by_key(&mut connection, "runs are given back by key", async || {
        let back: Vec<Settlement> =
            held.iter().map(|held| Settlement { held: *held, outcome: Outcome::Released }).collect();
        assert!(store.settle_runs(&back).await.unwrap().iter().all(|done| *done));
    })
    .await;
    let mut named = Vec::new();
    by_key(&mut connection, "runs are leased by key", async || {
        named = store.lease_named("w", &held, &wanted(0, LONG_MS)).await.unwrap().leased;
    })
    .await;
    assert_eq!(named.len(), ASKED);
    by_key(&mut connection, "runs end by key", async || {
        let ends: Vec<Settlement> = named.iter().map(ended).collect();
        assert!(store.settle_runs(&ends).await.unwrap().iter().all(|done| *done));
    })
    .await;
}
