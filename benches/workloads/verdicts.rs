//! Evaluates and stores 100 agreements × 10 guarantees × 10 scopes × 24 hourly windows in Postgres, at a quarter, half
//! and whole of that size, then recomputes verdicts in SQL from the formula the samples were made with.
//!
//! `PROBITY_BENCH_POSTGRES_URL=postgres://… cargo bench --bench workloads -- verdicts [--agreements 100 --guarantees 10 --scopes
//! 10 --shares 4,2,1]`; the user must be allowed to create databases. Prints one line of JSON for each size and exits 1
//! when a verdict is wrong.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use futures_util::{FutureExt, StreamExt, stream};
use probity::app::{self, Surroundings};
use probity::clock::Clock;
use probity::config::Config;
use probity::evaluate::{InProcess, Request, Service, Windows};
use probity::model::agreement::Agreement;
use probity::model::run::Trigger;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection, Row};

const WINDOWS: i64 = 24;
const FROM: &str = "2026-03-02T00:00:00Z";
const TO: &str = "2026-03-03T00:00:00Z";
/// Verdicts compared with their recomputation.
const COMPARED: i64 = 1_000;

/// How much is evaluated.
#[derive(Clone, Copy)]
struct Size {
    agreements: usize,
    guarantees: usize,
    scopes: usize,
}

/// The number after this option.
fn number(args: &[String], option: &str, default: usize) -> Result<usize> {
    match args.iter().position(|a| a == option) {
        Some(at) => Ok(args.get(at + 1).with_context(|| format!("{option} needs a number"))?.parse()?),
        None => Ok(default),
    }
}

pub fn run() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let size = Size {
        agreements: number(&args, "--agreements", 100)?,
        guarantees: number(&args, "--guarantees", 10)?,
        scopes: number(&args, "--scopes", 10)?,
    };
    let shares = match args.iter().position(|a| a == "--shares") {
        Some(at) => args.get(at + 1).context("--shares needs numbers such as 4,2,1")?.as_str(),
        None => "4,2,1",
    };
    #[expect(clippy::disallowed_methods, reason = "a program of its own, not the engine")]
    let url = std::env::var("PROBITY_BENCH_POSTGRES_URL").context("set PROBITY_BENCH_POSTGRES_URL")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    for share in shares.split(',') {
        let share: usize = share.parse().context("--shares needs numbers such as 4,2,1")?;
        let size = Size { agreements: size.agreements / share.max(1), ..size };
        println!("{}", runtime.block_on(measure(&url, size))?);
    }
    Ok(())
}

/// Evaluates and stores this many agreements in a database of their own.
async fn measure(url: &str, size: Size) -> Result<Value> {
    let name = format!("probity_bench_{}_{}", std::process::id(), size.agreements);
    let mut server = PgConnection::connect(url).await?;
    server.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
    let measured = in_database(&with_database(url, &name)?, size).await;
    server.execute(sqlx::AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).await?;
    measured
}

fn with_database(url: &str, name: &str) -> Result<String> {
    let mut url = url::Url::parse(url)?;
    url.set_path(name);
    Ok(url.into())
}

async fn in_database(url: &str, size: Size) -> Result<Value> {
    let mut config = Config::defaults();
    config.database_url = url.into();
    let store = app::open_store(&config).await?;
    store.migrate().await?;
    let agreements = (0..size.agreements).map(|a| agreement(a, size).map(Arc::new)).collect::<Result<Vec<_>>>()?;
    let surroundings =
        Surroundings { clock: Clock::System, net: app::net(&config)?, store: store.clone(), observer: None };
    let plugins = app::plugins::none(&config, &surroundings.net, &surroundings.clock);
    let engine = app::engine(&config, surroundings, &plugins);
    let services = HashMap::from([("bench".to_string(), Service::InProcess(collector(size.scopes as u64)))]);
    let evaluator =
        app::evaluator(&config, &engine, &store, probity::registry::Agreements::fixed(agreements.clone()), services);
    let (started, cpu) = (Instant::now(), cpu_s());
    let mut stored = stream::iter(agreements)
        .map(|agreement| {
            let evaluator = evaluator.clone();
            let request = Request {
                agreement,
                windows: Windows::Overlapping {
                    from: FROM.parse().expect("a constant"),
                    to: TO.parse().expect("a constant"),
                },
                guarantee: None,
                trigger: Trigger::Manual { by: "bench".into() },
                actor: "bench".into(),
                store: true,
                claim: None,
            };
            tokio::spawn(async move { evaluator.run(request).await })
        })
        .buffer_unordered(2);
    let mut verdicts = 0;
    while let Some(evaluation) = stored.next().await {
        verdicts += evaluation??.verdicts().count();
    }
    let seconds = started.elapsed().as_secs_f64();
    let expected = size.agreements * size.guarantees * size.scopes * WINDOWS as usize;
    ensure!(verdicts == expected, "{verdicts} verdicts instead of {expected}");
    let compared = compare(url, expected as i64).await?;
    Ok(json!({
        "agreements": size.agreements, "verdicts": verdicts, "seconds": seconds, "engine_cpu_s": cpu_s() - cpu,
        "verdicts_per_s": verdicts as f64 / seconds, "compared": compared,
    }))
}

/// Counts, then recomputes verdicts from the formula alone; any difference is an error.
async fn compare(url: &str, expected: i64) -> Result<i64> {
    let mut db = PgConnection::connect(url).await?;
    let count: i64 = sqlx::query("SELECT count(*) FROM probity.verdicts").fetch_one(&mut db).await?.get(0);
    ensure!(count == expected, "{count} rows in probity.verdicts instead of {expected}");
    let rows = sqlx::query(
        "WITH chosen AS (
           SELECT substr(agreement, 7)::bigint a, substr(guarantee, 2)::bigint g,
                  substr(scope->>'team', 5)::bigint s,
                  extract(epoch FROM window_from - '2026-03-02T00:00:00Z'::timestamptz)::bigint / 3600 h,
                  verdict, value
           FROM probity.verdicts ORDER BY random() LIMIT $1),
         computed AS (
           SELECT *, (a * 7919 + g * 104729 + s * 1299709 + h * 15485863) % 1000 AS n FROM chosen)
         SELECT a, g, s, h, verdict, value,
                CASE WHEN n % 97 = 0 THEN 'unknown' WHEN n / 10.0 >= 50 THEN 'fulfilled' ELSE 'violated' END,
                CASE WHEN n % 97 = 0 THEN NULL ELSE (n / 10.0)::float8 END
         FROM computed",
    )
    .bind(COMPARED)
    .fetch_all(&mut db)
    .await?;
    for row in &rows {
        let key: [i64; 4] = [row.get(0), row.get(1), row.get(2), row.get(3)];
        let (verdict, wanted): (String, String) = (row.get(4), row.get(6));
        let (value, wanted_value): (Option<f64>, Option<f64>) = (row.get(5), row.get(7));
        ensure!(
            verdict == wanted && value == wanted_value,
            "{key:?}: {verdict} {value:?} instead of {wanted} {wanted_value:?}"
        );
    }
    Ok(rows.len() as i64)
}

/// The value of a sample in tenths, the same formula as in the SQL above.
fn sample(a: u64, g: u64, s: u64, h: u64) -> u64 {
    (a * 7919 + g * 104_729 + s * 1_299_709 + h * 15_485_863) % 1000
}

/// Answers like a collector: the body of a POST in, computations for every team out. Every 97th value is missing.
fn collector(scopes: u64) -> InProcess {
    Arc::new(move |query, body| {
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        let (a, g) = (number(&body["metric"]["agreement"]), number(&body["metric"]["guarantee"]));
        let start: jiff::Timestamp = FROM.parse().expect("a constant");
        let h = (query.window.from.as_second() - start.as_second()) / 3600;
        let (from, to) = (query.window.from.to_string(), query.window.to.to_string());
        let computations: Vec<Value> = (0..scopes)
            .map(|s| {
                let n = sample(a, g, s, h as u64);
                let value = if n.is_multiple_of(97) { Value::Null } else { json!(n as f64 / 10.0) };
                json!({
                    "scope": {"team": format!("team{s}")}, "period": {"from": from, "to": to}, "value": value,
                    "evidences": [{"id": format!("{a}-{g}-{s}-{h}"), "passed": n, "total": 1000}],
                })
            })
            .collect();
        async move { Ok(json!({ "computations": computations })) }.boxed()
    })
}

fn agreement(a: usize, size: Size) -> Result<Agreement> {
    let mut metrics = serde_json::Map::new();
    let mut guarantees = Vec::new();
    for g in 0..size.guarantees {
        let metric = format!("RATE{g}");
        metrics.insert(
            metric.clone(),
            json!({
                "collector": {"infrastructurePath": "bench", "endpoint": "/computations", "type": "POST-GET-V1", "config": {}},
                "measure": {"agreement": a, "guarantee": g},
            }),
        );
        guarantees.push(json!({
            "id": format!("g{g}"), "scope": {"team": {"name": "Team", "type": "string", "default": "*"}},
            "of": [{
                "scope": {"team": "*"}, "objective": format!("{metric} >= 50"), "with": {metric: {}},
                "window": {"type": "static", "period": "hourly", "initial": "2026-01-01T00:00:00Z"},
            }],
        }));
    }
    let document = json!({
        "id": format!("bench-{a}"), "version": "1.0.0", "type": "agreement",
        "context": {"validity": {"initial": "2026-01-01T00:00:00Z", "timeZone": "UTC"}},
        "terms": {"metrics": metrics, "guarantees": guarantees},
    });
    let (agreement, diagnostics) = probity::agreement::load(&document.to_string(), "bench");
    agreement.with_context(|| format!("the bench agreement does not load: {diagnostics:?}"))
}

/// CPU seconds of this process so far, user and system.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<f64> =
        stat.rsplit(')').next().unwrap_or("").split_whitespace().filter_map(|f| f.parse().ok()).collect();
    // utime and stime follow the state letter, which is no number and so not in the list, in hundredths of a second.
    (fields.get(10).unwrap_or(&0.0) + fields.get(11).unwrap_or(&0.0)) / 100.0
}
