//! Blue-green as docs/deploy/blue-green.md has it: two instances on one Postgres behind the shipped proxy, the table turned
//! from one to the other and back under load. No caller notices, no acknowledged verdict is missing or there twice.
//!
//! `PROBITY_TEST_BLUE` names the program of another version to be blue; without it both are this one.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::{Connection, PgConnection, Row};

use super::failover::load::{self, Load};
use crate::harness::{nginx, postgres};
use crate::serve::{Folder, Server, get, probity, until};

/// One version that runs.
struct Instance {
    server: Server,
    folder: Folder,
}

#[expect(clippy::disallowed_methods, reason = "tests have no config")]
fn blue() -> Command {
    let Some(other) = std::env::var_os("PROBITY_TEST_BLUE") else { return probity() };
    let mut command = Command::new(other);
    command.stdin(Stdio::null()).env_remove("PROBITY_DATABASE_URL").env_remove("PROBITY_LISTEN");
    command
}

impl Instance {
    /// On the one database, with the one folder of agreements; flows are the store's, or those in its folder.
    async fn start(mut command: Command, folder: Folder, url: &str, agreements: &Folder) -> Instance {
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--database-url", url, "--data-dir"])
            .arg(&folder.0)
            .arg("--agreements")
            .arg(agreements.0.join("agreements"))
            .env("PROBITY_SCHEDULE_FIRST_WINDOWS_MAX", "0")
            .env("PROBITY_SCHEDULE_PROVISIONAL_MS", "0")
            .env("PROBITY_STORE_CONNECTIONS_MAX", "4");
        let instance = Instance { server: Server::start(&mut command), folder };
        let ready = format!("{}/health/ready", instance.server.base);
        until("it is ready", async || get(&ready).await.0 == 200).await;
        instance
    }

    /// Ends it as Docker does; it must end well.
    async fn stop(self) -> Folder {
        self.server.terminate();
        let server = self.server;
        let (code, log) = tokio::task::spawn_blocking(move || server.ended()).await.unwrap();
        assert_eq!(code, Some(0), "{log:?}");
        self.folder
    }
}

fn table(instances: &[&Instance]) -> BTreeMap<&'static str, Vec<String>> {
    let addresses = instances.iter().map(|instance| instance.server.base.trim_start_matches("http://").to_owned());
    // A table needs a server of each kind; nobody asks these.
    let nobody = || vec!["127.0.0.1:9".to_owned()];
    let others = ["status-frontend", "status-backend", "grafana"].map(|name| (name, nobody()));
    others.into_iter().chain([("nodered", addresses.collect())]).collect()
}

/// Those who call a flow all the while: how many answers, and how many that were not what they should be.
struct Callers {
    answers: Arc<AtomicU64>,
    wrong: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Callers {
    fn start(url: String) -> Callers {
        let (answers, wrong, stop) =
            (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let task = tokio::spawn({
            let (answers, wrong, stop) = (answers.clone(), wrong.clone(), stop.clone());
            async move {
                let client = crate::harness::server::client();
                while !stop.load(Ordering::SeqCst) {
                    let call = client.get(&url).header("connection", "close").timeout(Duration::from_secs(30));
                    let good = call.send().await.is_ok_and(|answer| answer.status() == 200);
                    if good { &answers } else { &wrong }.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        Callers { answers, wrong, stop, task }
    }
}

/// Verdicts are acknowledged and calls answered, so many more of each.
async fn more(load: &Load, callers: &Callers, number: usize) {
    let (verdicts, answers) = (load.count() + number, callers.answers.load(Ordering::SeqCst) + number as u64);
    until("verdicts are acknowledged and calls answered", async || {
        load.count() >= verdicts && callers.answers.load(Ordering::SeqCst) >= answers
    })
    .await;
}

/// What is stored, by agreement, team, begin of the window (seconds) and verdict; and how many evaluations.
async fn stored(url: &str) -> (BTreeSet<(String, String, i64, String)>, i64) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let rows = sqlx::query(
        "SELECT agreement, scope ->> 'team' AS team, extract(epoch FROM window_from)::bigint AS at, verdict
         FROM probity.state WHERE kind = 'guarantee'",
    );
    let rows = rows.fetch_all(&mut connection).await.unwrap();
    let states = rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
    // Those that were asked for; a window that closes meanwhile is evaluated by itself.
    let runs = sqlx::query_scalar(
        "SELECT count(*) FROM probity.run WHERE subject LIKE 'drill-%' AND trigger ->> 'schedule' IS NULL",
    );
    (states, runs.fetch_one(&mut connection).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_versions_change_places_and_back_and_no_caller_notices() {
    let Some(binary) = nginx::binary() else { return };
    let url = postgres::database().await;
    let agreements = Folder::new();
    load::write_agreements(&agreements, &load::collector().await);
    let folder = Folder::new();
    folder.write(
        "flows.json",
        &json!([
            {"id": "tab0000000000000", "type": "tab", "label": "v"},
            {"id": "in00000000000000", "z": "tab0000000000000", "type": "http in", "url": "/v", "method": "get", "x": 1, "y": 1,
             "wires": [["out0000000000000"]]},
            {"id": "out0000000000000", "z": "tab0000000000000", "type": "http response", "x": 2, "y": 2, "wires": []},
        ]),
    );
    let old = Instance::start(blue(), folder, &url, &agreements).await;
    let proxy = nginx::start(binary, &table(&[&old]));
    let base = format!("http://{}/node-red", proxy.port().await);
    let mut load = Load::start(&base);
    let callers = Callers::start(format!("{base}/v"));
    more(&load, &callers, 20).await;

    // Green beside blue, then alone.
    let began = Instant::now();
    let green = Instance::start(probity(), Folder::new(), &url, &agreements).await;
    proxy.lead(&table(&[&old, &green])).await;
    more(&load, &callers, 20).await;
    proxy.lead(&table(&[&green])).await;
    let folder = old.stop().await;
    let there = began.elapsed();
    more(&load, &callers, 20).await;

    // And back.
    let began = Instant::now();
    let old = Instance::start(blue(), folder, &url, &agreements).await;
    proxy.lead(&table(&[&green, &old])).await;
    more(&load, &callers, 20).await;
    proxy.lead(&table(&[&old])).await;
    green.stop().await;
    let back = began.elapsed();
    more(&load, &callers, 20).await;

    load.stop().await;
    callers.stop.store(true, Ordering::SeqCst);
    callers.task.await.unwrap();
    let told = load.told();
    let (states, runs) = stored(&url).await;
    eprintln!(
        "blue-green: there in {:.1} s, back in {:.1} s; {} verdicts acknowledged, {} calls answered, {} and {} not",
        there.as_secs_f64(),
        back.as_secs_f64(),
        told.len(),
        callers.answers.load(Ordering::SeqCst),
        load.refused(),
        callers.wrong.load(Ordering::SeqCst),
    );
    assert_eq!((load.refused(), callers.wrong.load(Ordering::SeqCst)), (0, 0), "calls that were not answered");
    for told in &told {
        let at = told.from.parse::<jiff::Timestamp>().unwrap().as_second();
        let key = (told.agreement.clone(), told.team.clone(), at, told.verdict.clone());
        assert!(states.contains(&key), "{key:?} was acknowledged and is missing");
    }
    // Two verdicts each: none was made twice.
    assert_eq!(usize::try_from(runs).unwrap() * 2, told.len());
}
