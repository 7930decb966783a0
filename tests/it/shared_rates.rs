//! Rates of `delay` nodes that hold for all replicas, on one Postgres: as many go as there are places, and no faster.

use std::time::{Duration, Instant};

use probity::store::{StoreOptions, open};
use serde_json::{Value, json};

use crate::contexts::{Replica, flows};
use crate::harness::postgres;
use crate::serve::until;
use crate::store::Fixture;

/// A delay node and what its second output leads to, which says `dropped`.
fn limited(mut delay: Value) -> Value {
    let fields = delay.as_object_mut().unwrap();
    fields.insert("id".into(), "limit".into());
    fields.insert("type".into(), "delay".into());
    fields.insert("shared".into(), true.into());
    fields.insert("outputs".into(), 2.into());
    fields.insert("wires".into(), json!([[], ["dropped"]]));
    let rules = json!([{"t": "set", "p": "payload", "pt": "msg", "to": "dropped", "tot": "str"}]);
    flows(&[delay, json!({"id": "dropped", "type": "change", "rules": rules})])
}

async fn replicas(fixture: &Fixture, flows: &Value) -> [Replica; 2] {
    let other = open(&fixture.url, &StoreOptions::default()).await.unwrap();
    [Replica::new(&fixture.store, flows), Replica::new(&other, flows)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_all_replicas_messages_as_many_go_as_there_are_places() {
    let fixture = Fixture::postgres().await;
    for (delay, places) in [
        (json!({"pauseType": "rate", "rate": "1", "rateUnits": "day", "drop": true}), 1),
        (json!({"pauseType": "burst", "rate": "5", "rateUnits": "day"}), 5),
    ] {
        let replicas = replicas(&fixture, &limited(delay.clone())).await;
        let runs: Vec<_> =
            (0..40).map(|n| tokio::spawn(replicas[n % 2].open("limit", &json!({"payload": n})))).collect();
        for run in runs {
            run.await.unwrap();
        }
        let passed: Vec<String> = replicas.iter().flat_map(Replica::take).collect();
        let dropped = passed.iter().filter(|payload| *payload == r#""dropped""#).count();
        assert_eq!((passed.len() - dropped, dropped), (places, 40 - places), "{delay}");
        // A new process knows what is taken.
        let again = Replica::new(&fixture.store, &limited(delay.clone()));
        assert_eq!(again.run("limit", json!({"payload": 1})).await, [r#""dropped""#], "{delay}");
        replicas[0].run("limit", json!({"reset": true})).await;
        let again = Replica::new(&fixture.store, &limited(delay.clone()));
        assert_eq!(again.run("limit", json!({"payload": 1})).await, ["1"], "{delay}");
        fixture.store.free_rate_places("limit").await.unwrap();
    }
}

/// However fast or slow the machine is: nothing goes before its time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_on_all_replicas_goes_one_after_the_other() {
    let fixture = Fixture::postgres().await;
    let flows = limited(json!({"pauseType": "rate", "rate": "20", "rateUnits": "second"}));
    let replicas = replicas(&fixture, &flows).await;
    let began = Instant::now();
    for n in 0..10 {
        for replica in &replicas {
            drop(tokio::spawn(replica.open("limit", &json!({"payload": n}))));
        }
    }
    let mut passed = [Vec::new(), Vec::new()];
    until("all have gone", async || {
        for (replica, passed) in replicas.iter().zip(&mut passed) {
            passed.extend(replica.take());
        }
        passed.iter().map(Vec::len).sum::<usize>() == 20
    })
    .await;
    // 20 messages are 19 times of 50 ms apart; a clock that is corrected meanwhile may shift them by a little.
    assert!(began.elapsed() > Duration::from_millis(900), "{:?}", began.elapsed());
    for of_one in passed {
        let mut all = of_one.clone();
        all.sort();
        assert_eq!(all, (0..10).map(|n| n.to_string()).collect::<Vec<_>>(), "{of_one:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_database_nobody_knows_and_the_message_fails() {
    let database = postgres::Server::start(false);
    let url = database.database().await;
    let store = open(&url, &StoreOptions { connect_timeout_ms: 500, ..StoreOptions::default() }).await.unwrap();
    store.migrate().await.unwrap();
    for delay in [
        json!({"pauseType": "rate", "rate": "1000", "rateUnits": "second"}),
        json!({"pauseType": "rate", "rate": "1000", "rateUnits": "second", "drop": true}),
        json!({"pauseType": "burst", "rate": "1000", "rateUnits": "second"}),
    ] {
        let replica = Replica::new(&store, &limited(delay.clone()));
        assert_eq!(replica.run("limit", json!({"payload": 1})).await, ["1"], "{delay}");
        database.kill_9();
        let failed = replica.run("limit", json!({"payload": 2})).await;
        assert_eq!(failed.len(), 1, "{delay}: {failed:?}");
        assert!(failed[0].starts_with("caught ERATE "), "{delay}: {failed:?}");
        database.start_again();
        until("the database is asked again", async || {
            let passed = replica.run("limit", json!({"payload": 3})).await;
            passed == ["3"]
        })
        .await;
        store.free_rate_places("limit").await.unwrap();
    }
}
