//! The process dies at each named place, is started again, and in the end every acknowledged run has ended, with effects
//! that their receiver can tell apart. Asked in SQL, of SQLite and of Postgres.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};

use super::{Receiver, client, flows, json_of, post_async, queue, serve};
use crate::harness::postgres;
use crate::serve::{Folder, Server, until};

/// Where it dies, and at which pass.
const DEATHS: [&str; 8] = [
    "accept.before_commit:2",
    "accept.after_commit:3",
    "dispatch.leased:1",
    "point.before:1",
    "point.after:1",
    "effect.sent:2",
    "settle.before_commit:1",
    "settle.after_commit:1",
];

/// Runs asked for in each of these lives.
const RUNS: usize = 6;

/// What a caller knows of its requests: the run each was acknowledged with.
type Acknowledged = BTreeMap<String, Option<String>>;

/// Asks for what has not been acknowledged, in its order; what was must be answered the same.
async fn ask(base: &str, path: &str, asked: &mut Acknowledged, all: bool) {
    for (key, run) in asked.iter_mut().filter(|(_, run)| all || run.is_none()) {
        let Some((status, answer)) = post_async(base, path, key, key).await else { continue };
        assert_eq!(status, 202, "{answer}");
        let given = answer["run"].as_str().unwrap().to_owned();
        assert!(run.as_ref().is_none_or(|before| *before == given), "{key} was {run:?} and is {given}");
        *run = Some(given);
    }
}

/// Waits until a server that is to die has died.
async fn died(server: Server, place: &str) {
    let started = Instant::now();
    let (code, log) = tokio::task::spawn_blocking(move || server.ended()).await.unwrap();
    assert_eq!(code, None, "{place}: it was to die by a signal: {log:#?}");
    assert!(started.elapsed() < Duration::from_secs(60), "{place}");
}

/// Lives and deaths, then a last life to the end. Gives what was acknowledged.
async fn lives(database: &str, receiver: &Receiver) -> Acknowledged {
    let folder = Folder::new();
    folder.write("flows.json", &flows(&receiver.url));
    let mut asked = Acknowledged::new();
    for place in DEATHS {
        let mut command = serve(&folder, database);
        command.env("PROBITY_DURABLE_FAIL_POINTS", place).env("PROBITY_DURABLE_ATTEMPTS_MAX", "100");
        asked.extend((0..RUNS).map(|n| (format!("{place}/{n}"), None)));
        // What is left of the life before may lead it there before it is ready.
        let server = match tokio::task::block_in_place(|| Server::begin(&mut command)) {
            Ok(server) => server,
            Err((code, log)) => {
                assert_eq!(code, None, "{place}: {log:#?}");
                continue;
            }
        };
        let base = server.base.clone();
        let dying = tokio::spawn(died(server, place));
        ask(&base, "/pay", &mut asked, false).await;
        dying.await.unwrap();
    }
    let mut command = serve(&folder, database);
    let server = Server::start(command.env("PROBITY_DURABLE_ATTEMPTS_MAX", "100"));
    // Everything anew: what was acknowledged must be known.
    ask(&server.base, "/pay", &mut asked, true).await;
    until("the queue is empty", async || queue(&server.base).await.is_some_and(|items| items.is_empty())).await;
    server.terminate();
    let (code, log) = tokio::task::spawn_blocking(move || server.ended()).await.unwrap();
    assert_eq!(code, Some(0), "{log:#?}");
    asked
}

/// What must hold of the receiver: nothing is missing, and what came twice came under one key.
fn check(asked: &Acknowledged, receiver: &Receiver) {
    let got = receiver.got();
    assert_eq!(got.keys().collect::<Vec<_>>(), asked.keys().collect::<Vec<_>>());
    let mut repeated = 0;
    for (body, (times, keys)) in &got {
        let run = asked[body].as_deref().unwrap();
        assert_eq!(keys.iter().map(String::as_str).collect::<Vec<_>>(), [format!("{run}/send/1")], "{body}");
        repeated += times - 1;
    }
    // Only what was under way when the process died.
    assert!(repeated <= DEATHS.len() * RUNS, "{repeated}");
}

/// Ids of ended runs with their states, and how many have not ended.
fn ended(asked: &Acknowledged, rows: Vec<(String, String)>, left: i64) {
    let rows: BTreeMap<String, String> = rows.into_iter().collect();
    assert_eq!(left, 0);
    for run in asked.values().flatten() {
        assert_eq!(rows.get(run).map(String::as_str), Some("done"), "{run}");
    }
    assert_eq!(rows.len(), asked.len(), "a run was made twice, or one that nobody asked for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_nothing_is_doubled_on_sqlite() {
    let (receiver, data) = (Receiver::serve().await, Folder::new());
    let file = data.0.join("results.db");
    let asked = lives(&format!("sqlite:{}", file.display()), &receiver).await;
    check(&asked, &receiver);
    let mut database = SqliteConnection::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    let left = sqlx::query_scalar("SELECT count(*) FROM probity_queue").fetch_one(&mut database).await.unwrap();
    let rows = "SELECT id, state FROM probity_run WHERE subject = 't'";
    let rows = sqlx::query_as(AssertSqlSafe(rows)).fetch_all(&mut database).await.unwrap();
    ended(&asked, rows, left);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_nothing_is_doubled_on_postgres() {
    let (receiver, url) = (Receiver::serve().await, postgres::database().await);
    let asked = lives(&url, &receiver).await;
    check(&asked, &receiver);
    let mut database = PgConnection::connect(&url).await.unwrap();
    let left = sqlx::query_scalar("SELECT count(*) FROM probity.queue").fetch_one(&mut database).await.unwrap();
    let rows = "SELECT id::text, state FROM probity.run WHERE subject = 't'";
    let rows = sqlx::query_as(AssertSqlSafe(rows)).fetch_all(&mut database).await.unwrap();
    ended(&asked, rows, left);
}

/// A call that must not be repeated, cut off by the death of its process, waits for a person.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_must_not_be_repeated_is_in_doubt_after_a_crash() {
    let (receiver, folder) = (Receiver::serve().await, Folder::new());
    folder.write("flows.json", &flows(&receiver.url));
    let database = format!("sqlite:{}", folder.0.join("results.db").display());
    let server = Server::start(serve(&folder, &database).env("PROBITY_DURABLE_FAIL_POINTS", "effect.sent"));
    let (status, answer) = post_async(&server.base, "/once", "k", "pay 5").await.unwrap();
    assert_eq!(status, 202, "{answer}");
    let run = answer["run"].as_str().unwrap().to_owned();
    died(server, "effect.sent").await;
    let server = Server::start(&mut serve(&folder, &database));
    let address = format!("{}/probity/v1/runs/{run}", server.base);
    let state = async || json_of(client().get(&address).send().await.unwrap()).await;
    until("it is in doubt", async || state().await["state"] == "in-doubt").await;
    let doubt = state().await;
    assert_eq!(doubt["error"]["node"], "only", "{doubt}");
    assert!(doubt["error"]["message"].as_str().unwrap().contains(&format!("{run}/only/1")), "{doubt}");
    let replay = client().post(format!("{address}/replay")).send().await.unwrap();
    assert_eq!(replay.status(), 409);
    let decided = client().post(format!("{address}/decide?decision=skip")).send().await.unwrap();
    assert_eq!(decided.status(), 200);
    until("it ends", async || state().await["state"] == "done").await;
    assert_eq!(receiver.got()["pay 5"].0, 1);
    let audit = client().get(format!("{}/probity/v1/audit", server.base)).send().await.unwrap().text().await.unwrap();
    assert!(audit.contains("decide run"), "{audit}");
    server.terminate();
}
