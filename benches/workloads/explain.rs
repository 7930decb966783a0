//! Explains stored verdicts among many: fills a store with states of one agreement, then explains verdicts picked evenly
//! over it, violated ones with a history, and prints how long that takes.
//!
//! `cargo bench --bench workloads -- explain [--states 1000000]`, in SQLite; with `PROBITY_BENCH_POSTGRES_URL=postgres://…` in that
//! database, which must be empty. Exits 1 when p99 is above 20 ms or an explanation is not whole.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use jiff::{Timestamp, ToSpan};
use probity::agreement::explain::VerdictId;
use probity::agreement::{self, Calendar};
use probity::evaluate::explain::explain;
use probity::model::RunId;
use probity::model::agreement::Agreement;
use probity::model::run::{RunRecord, RunState, Trigger};
use probity::model::state::{Evidence, Scope, State, StateKind, Verdict, Window};
use probity::store::{AuditEntry, Commit, Store};
use serde_json::json;

const SCOPES: usize = 100;
const EXPLAINED: usize = 1_000;
/// Milliseconds.
const P99_MAX: f64 = 20.0;
const COMMITTED_AT_ONCE: usize = 3_000;

pub fn run() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let states = match args.iter().position(|a| a == "--states") {
        Some(at) => args.get(at + 1).context("--states needs a number")?.parse()?,
        None => 30_000,
    };
    #[expect(clippy::disallowed_methods, reason = "a program of its own, not the engine")]
    let url = std::env::var("PROBITY_BENCH_POSTGRES_URL").ok();
    let folder = std::env::temp_dir().join(format!("probity-bench-explain-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let url = url.unwrap_or_else(|| format!("sqlite:{}", folder.join("probity.db").display()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let measured = runtime.block_on(measure(&url, states));
    std::fs::remove_dir_all(&folder)?;
    measured
}

fn contract() -> Result<Agreement> {
    let term = json!({
        "objective": "A >= 95 and B <= 300", "with": {"A": {}, "B": {}}, "scope": {"member": "*"},
        "window": {"type": "static", "period": "hourly", "initial": "2026-01-01"},
    });
    let metric = |name: &str| json!({"collector": {"type": "PROBITY-FLOW-V1", "metric": name}});
    let document = json!({
        "id": "bench", "version": "1", "type": "agreement",
        "context": {"validity": {"initial": "2026-01-01", "timeZone": "Europe/Madrid"}},
        "terms": {
            "metrics": {"A": metric("a"), "B": metric("b")},
            "guarantees": [{"id": "G", "scope": {"member": {"default": "*"}}, "of": [term]}],
        },
    });
    let (agreement, problems) = agreement::load_value(document, "bench");
    agreement.with_context(|| format!("{problems:?}"))
}

async fn measure(url: &str, wanted: usize) -> Result<()> {
    let store = probity::store::open(url, &Default::default()).await?;
    store.migrate().await?;
    let agreement = contract()?;
    // Three states, the verdict's and two metrics', for each scope and window.
    let windows = (wanted / 3 / SCOPES).max(30);
    let calendar = Calendar::of(&agreement, &agreement.guarantees[0].terms[0].window);
    let to = agreement.valid_from.checked_add(i64::try_from(windows)?.hours())?;
    let windows = calendar.overlapping(agreement.valid_from, to)?;
    let filled = Instant::now();
    let mut batch = Vec::new();
    for (w, window) in windows.iter().enumerate() {
        for s in 0..SCOPES {
            batch.extend(states(&agreement, window, w, s));
        }
        if batch.len() >= COMMITTED_AT_ONCE || w + 1 == windows.len() {
            commit(store.as_ref(), &agreement, std::mem::take(&mut batch)).await?;
        }
    }
    let filled_s = filled.elapsed().as_secs_f64();
    let mut took = Vec::with_capacity(EXPLAINED);
    for i in 0..EXPLAINED {
        // A step that has no factor in common with the windows visits all of them.
        let (w, s) = ((i * 7919) % windows.len(), i % SCOPES);
        let id = VerdictId {
            agreement: agreement.id.clone(),
            guarantee: "G".into(),
            scope: scope(s),
            from: windows[w].from.to_string(),
            to: None,
        };
        let started = Instant::now();
        let explanation = explain(store.as_ref(), Some(&agreement), &id).await?;
        took.push(started.elapsed().as_secs_f64() * 1000.0);
        let objective = explanation.objectives.first().context("an objective")?;
        ensure!(!objective.differs && !objective.decided_by.is_empty(), "{explanation:?}");
        ensure!(objective.decided_by.iter().all(|d| d.evidence.len() == 1 && d.revision == Some(1)), "{explanation:?}");
    }
    took.sort_by(f64::total_cmp);
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    let stored = windows.len() * SCOPES * 3;
    println!(
        "{}",
        json!({"states": stored, "filled_s": filled_s, "explained": took.len(), "p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": at(1.0)})
    );
    ensure!(at(0.99) <= P99_MAX, "p99 is {} ms, more than {P99_MAX}", at(0.99));
    Ok(())
}

fn scope(s: usize) -> Scope {
    Scope([("member".to_owned(), format!("m{s}"))].into())
}

/// The verdict of a scope and window and the two states it rests on. Of ten scopes one never passes.
fn states(agreement: &Agreement, window: &Window, w: usize, s: usize) -> [State; 3] {
    let a = if s.is_multiple_of(10) || w.is_multiple_of(3) { 90.0 } else { 99.0 };
    let b = 250.0;
    let run = RunId::fresh();
    let blank = |kind, of: &str| State {
        agreement_version: agreement.hash.clone(),
        ..State::blank(&agreement.id, kind, of, scope(s), window.clone(), run)
    };
    let evidence = |metric: &str, value: f64| Evidence {
        metric: metric.into(),
        source: "http://collector.example/api".into(),
        collected_at: window.to,
        data: json!({"value": value, "scope": s}),
    };
    let metric = |of: &str, value: f64| State {
        value: Some(value),
        values: BTreeMap::from([(of.to_owned(), Some(value))]),
        reason: format!("{of} is {value}"),
        evidence: vec![evidence(of, value)],
        ..blank(StateKind::Metric, of)
    };
    let holds = a >= 95.0;
    let verdict = State {
        verdict: Some(if holds { Verdict::Fulfilled } else { Verdict::Violated }),
        value: Some(f64::from(u8::from(holds))),
        values: BTreeMap::from([("A".to_owned(), Some(a)), ("B".to_owned(), Some(b))]),
        reason: format!("A >= 95 and B <= 300: {a} >= 95 and {b} <= 300 is {holds}"),
        evidence: vec![evidence("A", a), evidence("B", b)],
        ..blank(StateKind::Guarantee, "G")
    };
    [verdict, metric("A", a), metric("B", b)]
}

async fn commit(store: &dyn Store, agreement: &Agreement, states: Vec<State>) -> Result<()> {
    let at: Timestamp = states.iter().map(|s| s.window.to).max().context("some states")?;
    let run = RunRecord {
        id: RunId::fresh(),
        subject: agreement.id.clone(),
        trigger: Trigger::Manual { by: "bench".into() },
        state: RunState::Done,
        started_at: at,
        ended_at: Some(at),
        version: agreement.hash.clone(),
        hops: 0,
        error: None,
        trace: Vec::new(),
        trace_dropped: 0,
    };
    let audit = AuditEntry {
        at,
        actor: "bench".into(),
        action: "evaluate".into(),
        subject: agreement.id.clone(),
        detail: json!({}),
    };
    store.commit(&Commit { run, states, audit, claim: None, recorded_at: at }).await?;
    Ok(())
}
