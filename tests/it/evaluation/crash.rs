//! A process killed in the middle of its evaluations leaves whole batches or none, and the next start finishes them.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use probity::model::RunId;
use probity::model::state::StoredState;
use probity::store::{PageRequest, RunQuery, StateQuery, StoreOptions, open};
use serde_json::json;
use sqlx::{Connection, PgConnection};

use crate::harness::postgres::Server;

/// Windows of each evaluation; a batch is this many verdicts and as many metric states.
const WINDOWS: usize = 200;

struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// An agreement whose single metric is answered by a flow, over many windows.
fn write_content(folder: &std::path::Path, agreements: usize) {
    let flow = json!([
        {"id": "tab0000000000000", "type": "tab", "label": "collector"},
        {"id": "m000000000000000", "type": "metric", "z": "tab0000000000000", "metric": "RATE", "mode": "in",
         "x": 1, "y": 1, "wires": [["chg0000000000000"]]},
        {"id": "chg0000000000000", "type": "change", "z": "tab0000000000000", "x": 2, "y": 1,
         "rules": [{"t": "set", "p": "payload", "pt": "msg", "to": "95", "tot": "num"}],
         "wires": [["out0000000000000"]]},
        {"id": "out0000000000000", "type": "metric", "z": "tab0000000000000", "mode": "answer", "x": 3, "y": 1, "wires": []},
    ]);
    std::fs::create_dir_all(folder.join("agreements")).unwrap();
    std::fs::write(folder.join("flows.json"), flow.to_string()).unwrap();
    for i in 0..agreements {
        let agreement = json!({
            "id": format!("crash-{i}"), "version": "1.0.0", "type": "agreement",
            "context": {"validity": {"initial": "2026-01-01T00:00:00Z", "end": "2026-01-31T00:00:00Z", "timeZone": "UTC"}},
            "terms": {
                "metrics": {"RATE": {"collector": {"type": "PROBITY-FLOW-V1", "metric": "RATE"}, "measure": {}}},
                "guarantees": [{"id": "ENOUGH", "scope": {}, "of": [{"scope": {}, "objective": "RATE >= 90",
                    "with": {"RATE": {}}, "window": {"type": "static", "period": "hourly", "initial": "2026-01-01T00:00:00Z"}}]}],
            },
        });
        std::fs::write(folder.join(format!("agreements/crash-{i}.json")), agreement.to_string()).unwrap();
    }
}

fn serve(folder: &std::path::Path) -> Child {
    serve_on(folder, "")
}

/// On this database; its own file when it is empty.
fn serve_on(folder: &std::path::Path, database_url: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_probity"))
        .args(["serve", "--listen", "127.0.0.1:0"])
        .arg("--data-dir")
        .arg(folder)
        .arg("--flows")
        .arg(folder.join("flows.json"))
        .arg("--agreements")
        .arg(folder.join("agreements"))
        .env("PROBITY_SCHEDULE_FIRST_WINDOWS_MAX", WINDOWS.to_string())
        .env("PROBITY_SCHEDULE_PROVISIONAL_MS", "0")
        .env("PROBITY_DATABASE_URL", database_url)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Runs and verdicts in the database right now.
async fn counts(folder: &std::path::Path) -> (usize, usize) {
    let url = format!("sqlite:{}", folder.join("probity.db").display());
    let store = open(&url, &StoreOptions::default()).await.unwrap();
    if store.migrate().await.is_err() {
        return (0, 0);
    }
    let page = PageRequest { limit: 1000, after: None };
    let query = RunQuery { trigger: Some("cron".into()), ..Default::default() };
    let runs = store.runs(&query, &page).await.unwrap().items.len();
    let (mut verdicts, mut page) = (0, page);
    loop {
        let query = StateQuery { kind: Some(probity::model::state::StateKind::Guarantee), ..Default::default() };
        let found = store.states(&query, &page).await.unwrap();
        verdicts += found.items.len();
        match found.next {
            Some(next) => page.after = Some(next),
            None => return (runs, verdicts),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_leaves_no_half_written_batch_and_the_next_start_finishes() {
    const AGREEMENTS: usize = 6;
    let folder = Folder(std::env::temp_dir().join(format!("probity-crash-{}", uuid::Uuid::new_v4().simple())));
    write_content(&folder.0, AGREEMENTS);
    let mut finished = false;
    for attempt in 0..20 {
        let mut child = serve(&folder.0);
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let ready = log.by_ref().map_while(Result::ok).any(|line| line.contains("Probity is ready"));
        assert!(ready, "the server did not start");
        // Kill at another moment each time; the last attempt is left to finish.
        if attempt < 6 {
            std::thread::sleep(Duration::from_millis(7 * attempt));
            child.kill().unwrap();
            child.wait().unwrap();
            let (runs, verdicts) = counts(&folder.0).await;
            assert!(verdicts.is_multiple_of(WINDOWS), "{verdicts} verdicts are no whole batches");
            assert!(verdicts / WINDOWS <= runs, "{verdicts} verdicts of only {runs} stored runs");
            continue;
        }
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(60) && !finished {
            finished = counts(&folder.0).await.1 == AGREEMENTS * WINDOWS;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        break;
    }
    assert!(finished, "the last start did not finish what the killed ones began");
}

/// All states there are now, without what another evaluation changes by itself; none while nobody answers.
async fn states(url: &str) -> Vec<StoredState> {
    let options = StoreOptions { connect_timeout_ms: 2_000, ..StoreOptions::default() };
    let Ok(store) = open(url, &options).await else { return Vec::new() };
    let (mut states, mut page) = (Vec::new(), PageRequest { limit: 1000, after: None });
    loop {
        // Before the first start there are no tables.
        let Ok(found) = store.states(&StateQuery::default(), &page).await else { return Vec::new() };
        states.extend(found.items.into_iter().map(|mut stored| {
            stored.recorded_at = jiff::Timestamp::UNIX_EPOCH;
            stored.state.run = RunId(uuid::Uuid::nil());
            for piece in &mut stored.state.evidence {
                piece.collected_at = jiff::Timestamp::UNIX_EPOCH;
                // Names the run of the flow.
                piece.data = json!(null);
            }
            stored
        }));
        match found.next {
            Some(next) => page.after = Some(next),
            None => return states,
        }
    }
}

/// Waits for this many states.
async fn stored(url: &str, at_least: usize) -> Vec<StoredState> {
    let started = Instant::now();
    loop {
        let found = states(url).await;
        if found.len() >= at_least {
            return found;
        }
        assert!(started.elapsed() < Duration::from_secs(120), "{} of {at_least} states after two minutes", found.len());
    }
}

/// A server, killed when it is dropped.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A server on a database, and what it logs.
fn logging(folder: &std::path::Path, url: &str) -> (Serving, std::sync::mpsc::Receiver<String>) {
    let mut child = serve_on(folder, url);
    let log = BufReader::new(child.stderr.take().unwrap()).lines();
    let (said, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || log.map_while(Result::ok).for_each(|line| said.send(line).unwrap_or_default()));
    (Serving(child), lines)
}

/// Postgres is killed in the middle of evaluations, twice, and started again: Probity stays up, says what happened, and in
/// the end the states are those of a run that nobody disturbed.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_postgres_changes_nothing_in_the_end() {
    const AGREEMENTS: usize = 16;
    // Verdicts and the values they rest on.
    const STATES: usize = AGREEMENTS * WINDOWS * 2;
    let folder = Folder(std::env::temp_dir().join(format!("probity-crash-{}", uuid::Uuid::new_v4().simple())));
    write_content(&folder.0, AGREEMENTS);
    let server = Server::start(true);
    let (undisturbed, disturbed) = (server.database().await, server.database().await);

    let (serving, _log) = logging(&folder.0, &undisturbed);
    let wanted = stored(&undisturbed, STATES).await;
    drop(serving);

    let (mut serving, log) = logging(&folder.0, &disturbed);
    for kill in 0..2 {
        stored(&disturbed, 1 + kill * STATES / 2).await;
        server.kill_9();
        server.start_again();
        // One statement: between the pages of a list the next batch may come.
        let mut connection = PgConnection::connect(&disturbed).await.unwrap();
        let batches: Vec<(String, i64)> =
            sqlx::query_as("SELECT agreement, count(*) FROM probity.state GROUP BY agreement")
                .fetch_all(&mut connection)
                .await
                .unwrap();
        assert!(batches.iter().all(|(_, states)| *states == 2 * WINDOWS as i64), "no whole batches: {batches:?}");
    }
    let found = stored(&disturbed, STATES).await;
    assert!(serving.0.try_wait().unwrap().is_none(), "Probity went down with its database");
    drop(serving);
    assert_eq!(found.len(), wanted.len());
    assert_eq!(found, wanted);
    let lines: Vec<String> = log.into_iter().collect();
    assert!(lines.iter().any(|line| line.contains("ERROR") && line.contains("store")), "{}", lines.join("\n"));
}
