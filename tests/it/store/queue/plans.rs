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

/// Does something with a store of its own, and gives how often it looked into an index of the queue. What connections have
/// counted is known when they have ended.
async fn looks(url: &str, connection: &mut PgConnection, call: impl AsyncFnOnce(&dyn Store)) -> i64 {
    let before = looked(connection).await;
    let store = open(url, &StoreOptions::default()).await.unwrap();
    call(&*store).await;
    drop(store);
    alone(connection).await;
    looked(connection).await - before
}

/// Waits until all other connections to the database have ended.
async fn alone(connection: &mut PgConnection) {
    let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                  AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
    until("other connections have ended", async || {
        sqlx::query_scalar::<_, i64>(others).fetch_one(&mut *connection).await.unwrap() == 0
    })
    .await;
}

async fn looked(connection: &mut PgConnection) -> i64 {
    let scans = "SELECT sum(idx_scan)::int8 FROM pg_stat_user_indexes WHERE relname = 'queue'";
    sqlx::query_scalar(scans).fetch_one(connection).await.unwrap()
}

#[tokio::test]
async fn held_runs_are_found_by_their_keys_although_the_table_was_last_seen_empty() {
    let url = postgres::database().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let mut held = Vec::new();
    let mut named = Vec::new();
    prepared(&url, &mut connection, &mut held).await;
    let at_least = |looks: i64, what: &str| assert!(looks >= ASKED as i64, "{what}: {looks} looks for {ASKED} runs");

    let extended = async |store: &dyn Store| drop(store.extend_leases(&held, LONG_MS).await.unwrap());
    at_least(looks(&url, &mut connection, extended).await, "leases are extended");

    let point =
        |held: &Held| Point { held: *held, number: 1, lease_ms: LONG_MS, snapshot: Some("{}".into()), effects: None };
    let marked = async |store: &dyn Store| {
        let points: Vec<Point> = held.iter().map(point).collect();
        assert!(store.mark_points(&points).await.unwrap().iter().all(|kept| *kept));
    };
    at_least(looks(&url, &mut connection, marked).await, "points are stored");

    let given_back = async |store: &dyn Store| {
        let back: Vec<Settlement> =
            held.iter().map(|held| Settlement { held: *held, outcome: Outcome::Released }).collect();
        assert!(store.settle_runs(&back).await.unwrap().iter().all(|done| *done));
    };
    at_least(looks(&url, &mut connection, given_back).await, "runs are given back");

    let leased = async |store: &dyn Store| {
        named = store.lease_named("w", &held, &wanted(0, LONG_MS)).await.unwrap().leased;
    };
    // Once to find them, once to lease them, and the second was never in doubt.
    let looks_of_leases = looks(&url, &mut connection, leased).await;
    at_least(looks_of_leases - ASKED as i64, "runs are leased by name");
    assert_eq!(named.len(), ASKED);

    let ends = async |store: &dyn Store| {
        let ends: Vec<Settlement> = named.iter().map(ended).collect();
        assert!(store.settle_runs(&ends).await.unwrap().iter().all(|done| *done));
    };
    at_least(looks(&url, &mut connection, ends).await, "runs end");
}

/// Many runs, some of them held, in a table that was empty when Postgres counted its rows.
async fn prepared(url: &str, connection: &mut PgConnection, held: &mut Vec<Held>) {
    let store = open(url, &StoreOptions::default()).await.unwrap();
    store.migrate().await.unwrap();
    let runs: Vec<NewRun> = (0..OTHERS + ASKED).map(|_| new_run("f")).collect();
    // Rows that have gone: Postgres counts none in pages that are there.
    accept(&*store, &runs).await;
    let mut gone = lease(&*store, "w", 10_000, LONG_MS).await;
    assert_eq!(gone.len(), runs.len());
    store.settle_runs(&gone.drain(..).map(|run| ended(&run)).collect::<Vec<_>>()).await.unwrap();
    for table in ["queue", "dedup"] {
        sqlx::query(sqlx::AssertSqlSafe(format!("VACUUM ANALYZE probity.{table}")))
            .execute(&mut *connection)
            .await
            .unwrap();
    }
    let again: Vec<NewRun> = runs.iter().map(|run| NewRun { id: RunId::fresh(), ..run.clone() }).collect();
    accept(&*store, &again).await;
    let leased = lease(&*store, "w", ASKED as u32, LONG_MS).await;
    held.extend(leased.iter().map(QueuedRun::held));
    drop(store);
    alone(connection).await;
}
