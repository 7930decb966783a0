//! A rolling upgrade: replicas are stopped with SIGTERM and started as another version, one after the other, under load.
//! Callers, who ask once, see no 5xx, no reset and no timeout, and no verdict is lost or doubled.
//!
//! `tests/drills/upgrade --from BINARY --to BINARY` runs the long one, between any two versions.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::Row;
use tokio::task::JoinSet;

use super::account::{self, Times};
use super::database::Database;
use super::fleet::{Fleet, Plan};
use super::receiver::Receiver;
use super::{Settings, flows, pause, within};
use crate::deploy::failover::{cluster, load};

/// What one caller was told.
#[derive(Debug, Default)]
struct Told {
    /// Answers to calls, by what was asked and the status; and what else happened.
    answers: BTreeMap<String, usize>,
    bad: Vec<String>,
    times: Vec<Duration>,
    /// Orders of durable calls that were answered.
    orders: Vec<String>,
    /// Verdicts: agreement, team, begin of the window; and the word.
    verdicts: BTreeMap<(String, String, String), String>,
}

struct Callers {
    stop: Arc<AtomicBool>,
    told: Arc<Mutex<Told>>,
    tasks: JoinSet<()>,
}

/// The hour of the year 2026 with this number, as a window.
fn window(hour: u64) -> (String, String) {
    let begin: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let at = |hour: u64| (begin + jiff::SignedDuration::from_hours(i64::try_from(hour).unwrap())).to_string();
    (at(hour), at(hour + 1))
}

/// One call; every fortieth an evaluation, of one agreement and therefore one after the other; the others durable with and
/// without waiting, and fast.
async fn call(client: reqwest::Client, base: String, n: u64, told: Arc<Mutex<Told>>) {
    let key = format!("call-{n}");
    let post = |path: &str| client.post(format!("{base}{path}")).timeout(Duration::from_secs(20));
    let keyed =
        |path: &str| post(path).header("idempotency-key", &key).header("content-type", "text/plain").body(key.clone());
    let (what, call) = match n % 10 {
        _ if n.is_multiple_of(40) => {
            let (from, to) = window(n / 40);
            let url = format!("/probity/v1/agreements/{}/evaluate", load::id(0));
            ("evaluation", post(&url).body(json!({"from": from, "to": to}).to_string()))
        }
        0..=3 => ("accepted", keyed("/pay?async=1")),
        4..=6 => ("durable", keyed("/pay")),
        _ => ("fast", post("/fast").header("content-type", "text/plain").body(key.clone())),
    };
    let began = Instant::now();
    let answer = match call.send().await {
        Ok(answer) => {
            let status = answer.status().as_u16();
            answer.text().await.map(|text| (status, text))
        }
        Err(error) => Err(error),
    };
    let mut told = told.lock().unwrap();
    told.times.push(began.elapsed());
    match answer {
        Ok((status @ (200 | 202), text)) => {
            *told.answers.entry(format!("{what} {status}")).or_default() += 1;
            if what == "evaluation" {
                for verdict in load::read(&text) {
                    told.verdicts.insert((verdict.agreement, verdict.team, verdict.from), verdict.verdict);
                }
            } else if what != "fast" {
                told.orders.push(key);
            }
        }
        Ok((status, text)) => told.bad.push(format!("{what} {n}: {status} {text}")),
        Err(error) => told.bad.push(format!("{what} {n}: {error:?}")),
    }
}

impl Callers {
    fn start(base: &str, per_s: u64) -> Callers {
        let (stop, told) = (Arc::new(AtomicBool::new(false)), Arc::<Mutex<Told>>::default());
        let (base, stopped, telling) = (base.to_owned(), stop.clone(), told.clone());
        let client = crate::harness::server::client();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let (began, mut asked, mut calls) = (Instant::now(), 0_u64, JoinSet::new());
            while !stopped.load(Ordering::SeqCst) {
                let due = began.elapsed().as_micros() as u64 * per_s / 1_000_000;
                for n in asked..due {
                    calls.spawn(call(client.clone(), base.clone(), n, telling.clone()));
                }
                asked = due.max(asked);
                while calls.try_join_next().is_some() {}
                pause(Duration::from_millis(2)).await;
            }
            while calls.join_next().await.is_some() {}
        });
        Callers { stop, told, tasks }
    }

    fn count(&self) -> usize {
        self.told.lock().unwrap().times.len()
    }

    async fn stop(mut self) -> Told {
        self.stop.store(true, Ordering::SeqCst);
        while let Some(task) = self.tasks.join_next().await {
            task.unwrap();
        }
        std::mem::take(&mut *self.told.lock().unwrap())
    }
}

/// Verdicts that are not stored as they were told, and those stored more than once.
async fn verdicts_amiss(database: &Database, told: &Told) -> Vec<String> {
    let rows = sqlx::query(
        "SELECT agreement, scope ->> 'team', extract(epoch FROM window_from)::bigint, verdict, count(*) FROM probity.state \
         WHERE kind = 'guarantee' GROUP BY 1, 2, 3, 4",
    );
    let rows = rows.fetch_all(&mut database.connect().await).await.unwrap();
    let mut stored: BTreeMap<(String, String, i64), Vec<(String, i64)>> = BTreeMap::new();
    for row in &rows {
        stored.entry((row.get(0), row.get(1), row.get(2))).or_default().push((row.get(3), row.get(4)));
    }
    let mut amiss = Vec::new();
    for ((agreement, team, from), verdict) in &told.verdicts {
        let at = from.parse::<jiff::Timestamp>().unwrap().as_second();
        let found = stored.get(&(agreement.clone(), team.clone(), at));
        if found != Some(&vec![(verdict.clone(), 1)]) {
            amiss.push(format!("{agreement} {team} {from}: told {verdict}, stored {found:?}"));
        }
    }
    amiss
}

/// Starts on one version, replaces one replica after the other with another one, and compares.
async fn upgrade(from: String, to: String, per_s: u64, between: usize) {
    let (database, receiver) = (Database::one().await, Receiver::serve().await);
    account::prepare(&database).await;
    let agreements = crate::serve::Folder::new();
    let collector =
        json!({"infrastructurePath": load::collector().await, "endpoint": "/computations", "type": "POST-GET-V1"});
    let validity = json!({"initial": "2026-01-01T00:00:00Z", "end": "2026-12-01T00:00:00Z", "timeZone": "UTC"});
    let agreement = crate::evaluation::agreement(&load::id(0), collector, json!({"context": {"validity": validity}}));
    let document: &Value = &agreement.document;
    agreements.write("agreement.json", document);
    let plan = Plan {
        binary: from.clone(),
        replicas: 3,
        lease_ms: 4000,
        env: vec![("PROBITY_SHUTDOWN_NOTICE_MS".into(), Settings::number("NOTICE_MS", 1500).to_string())],
        args: vec!["--agreements".into(), agreements.0.display().to_string()],
        proxy_repeats: true,
    };
    let mut fleet = Fleet::start(plan, &database, &flows(&receiver.url)).await;
    let callers = Callers::start(&fleet.base, per_s);
    let more = async |fleet: &Fleet| {
        let before = callers.count();
        within(
            Duration::from_secs(90),
            "calls are answered",
            async || callers.count() >= before + between,
            async || fleet.log(),
        )
        .await;
    };
    more(&fleet).await;
    fleet.plan.binary = to;
    for at in 0..3 {
        let code = fleet.replicas[at].terminate().await;
        assert_eq!(code, Some(0), "{}", fleet.log());
        fleet.start_replica(at).await;
        fleet.all_up().await;
        more(&fleet).await;
    }
    let told = callers.stop().await;
    let waiting = async || {
        let mut connection = database.connect().await;
        let left = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM probity.queue WHERE flow = 'orders'")
            .fetch_one(&mut connection);
        left.await.unwrap() == 0
    };
    within(Duration::from_secs(60), "the queue is empty", waiting, async || fleet.log()).await;
    let got = receiver.told();
    let lost: Vec<&String> = told.orders.iter().filter(|order| !got.contains_key(*order)).collect();
    let doubled: Vec<_> = got.iter().filter(|(_, told)| told.keys.len() > 1).collect();
    let amiss = verdicts_amiss(&database, &told).await;
    eprintln!(
        "rolling upgrade at {per_s} calls/s: {} calls, {} of them with an error; {} durable orders, {} lost, {} doubled; {} \
         verdicts, {} amiss\n  {:?}\n  answered after: {}",
        told.times.len(),
        told.bad.len(),
        told.orders.len(),
        lost.len(),
        doubled.len(),
        told.verdicts.len(),
        amiss.len(),
        told.answers,
        Times::of(told.times.iter().copied()),
    );
    assert!(told.bad.is_empty(), "{:#?}\n{}", &told.bad[..told.bad.len().min(10)], fleet.log());
    assert!(lost.is_empty() && doubled.is_empty() && amiss.is_empty(), "{lost:?} {doubled:?} {amiss:?}");
    assert!(!told.orders.is_empty() && !told.verdicts.is_empty());
}

/// The short one: a version replaced by itself.
#[tokio::test(flavor = "multi_thread")]
async fn callers_do_not_notice_a_rolling_upgrade() {
    if !cluster::available() {
        return;
    }
    upgrade(Settings::binary("FROM"), Settings::binary("TO"), 50, 50).await;
}

/// The long one: `tests/drills/upgrade`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute: tests/drills/upgrade"]
async fn callers_do_not_notice_a_rolling_upgrade_at_full_rate() {
    assert!(cluster::available());
    let per_s = Settings::number("RATE", 200);
    upgrade(Settings::binary("FROM"), Settings::binary("TO"), per_s, 5 * per_s as usize).await;
}
