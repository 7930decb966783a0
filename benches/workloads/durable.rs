//! Durable runs in Postgres, the store alone: accepted, leased and settled in batches, by some workers at once.
//!
//! `PROBITY_BENCH_POSTGRES_URL=postgres://… PROBITY_BENCH_POSTGRES_PID=… cargo bench --bench workloads -- durable [--runs 200000
//! --batch 200 --workers 4]`; the user must be allowed to create databases, and the process id (of the server's first
//! process, on this machine) tells whose CPU time to count. Prints one line of JSON for each step and exits 1 when a run
//! was lost or settled twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use probity::model::RunId;
use probity::model::run::{RunRecord, RunState, Trigger};
use probity::store::queue::{
    Accepted, DedupKey, FIRST_EPOCH, Held, LeaseWanted, NewRun, Outcome, QueuedRun, Settlement,
};
use probity::store::{AuditEntry, Store, StoreOptions, open};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::bed::{cpu_s, family_cpu_s, new_run, number, on_database};

/// Longer than any bench.
const LEASE_MS: u64 = 3_600_000;

#[derive(Clone, Copy)]
struct Size {
    runs: usize,
    batch: usize,
    workers: usize,
}

#[expect(clippy::disallowed_methods, reason = "a program of its own, not the engine")]
pub fn run() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let size = Size {
        runs: number(&args, "--runs", 200_000)?,
        batch: number(&args, "--batch", 200)?,
        workers: number(&args, "--workers", 4)?,
    };
    let url = std::env::var("PROBITY_BENCH_POSTGRES_URL").context("set PROBITY_BENCH_POSTGRES_URL")?;
    let pid = std::env::var("PROBITY_BENCH_POSTGRES_PID").ok();
    on_database(&url, "probity_bench", async |url| measure(url, size, pid.as_deref()).await)
}

async fn measure(url: &str, size: Size, postgres: Option<&str>) -> Result<()> {
    let store = open(url, &StoreOptions::default()).await?;
    store.migrate().await?;
    let steps = Steps { store, size, postgres };
    steps.step("accept", |store, runs| Box::pin(accept(store, runs, None)), new_runs(size, "f", false)).await?;
    steps.drain("lease and settle", size.runs).await?;
    let runs = new_runs(size, "f", false);
    steps.step("accept leased and settle", |store, runs| Box::pin(accept_and_settle(store, runs)), runs).await?;
    steps
        .step("accept with keys", |store, runs| Box::pin(accept(store, runs, None)), new_runs(size, "f", true))
        .await?;
    steps.drain("lease and settle with keys", size.runs).await?;
    // A long line of a flow that may not run, before those of another.
    steps
        .step(
            "accept for a paused flow",
            |store, runs| Box::pin(accept(store, runs, None)),
            new_runs(size, "paused", false),
        )
        .await?;
    let audit = AuditEntry {
        at: jiff::Timestamp::UNIX_EPOCH,
        actor: "bench".into(),
        action: "pause".into(),
        subject: "paused".into(),
        detail: Value::Null,
    };
    ensure!(steps.store.pause_flow("paused", &audit).await?, "the flow is paused already");
    steps
        .step("accept behind it", |store, runs| Box::pin(accept(store, runs, None)), new_runs(size, "g", false))
        .await?;
    steps.drain("lease and settle behind it", size.runs).await?;
    let depth = steps.store.queue_depth(None).await?;
    ensure!(depth.ready as usize == size.runs && depth.leased == 0, "{depth:?}");
    Ok(())
}

fn new_runs(size: Size, flow: &str, keyed: bool) -> Vec<NewRun> {
    let run = |_| {
        let run = new_run(flow);
        let key = || DedupKey { key: format!("orders:{}", run.id), request: [7; 32], keep_ms: 86_400_000 };
        NewRun { dedup: keyed.then(key), ..run }
    };
    (0..size.runs).map(run).collect()
}

fn ended(id: RunId, epoch: i64, flow: &str) -> Settlement {
    let record = RunRecord {
        id,
        subject: flow.to_owned(),
        trigger: Trigger::Http { method: "POST".into(), path: "/orders".into() },
        state: RunState::Done,
        started_at: jiff::Timestamp::UNIX_EPOCH,
        ended_at: Some(jiff::Timestamp::UNIX_EPOCH),
        version: "3f2a5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d15".into(),
        hops: 5,
        error: None,
        trace: Vec::new(),
        trace_dropped: 0,
    };
    Settlement { held: Held { id, epoch }, outcome: Outcome::Ended(Box::new(record)) }
}

async fn accept(store: Arc<dyn Store>, runs: Vec<NewRun>, lease_ms: Option<u64>) -> Result<usize> {
    let runs: Vec<NewRun> = runs.into_iter().map(|run| NewRun { lease_ms, ..run }).collect();
    let wanted = if lease_ms.is_some() { Accepted::Leased } else { Accepted::Queued };
    let accepted = store.accept_runs("bench", &runs).await?;
    ensure!(accepted.iter().all(|one| *one == wanted), "not all were accepted");
    Ok(accepted.len())
}

async fn accept_and_settle(store: Arc<dyn Store>, runs: Vec<NewRun>) -> Result<usize> {
    let settled: Vec<Settlement> = runs.iter().map(|run| ended(run.id, FIRST_EPOCH, &run.flow)).collect();
    accept(store.clone(), runs, Some(LEASE_MS)).await?;
    settle(&store, settled).await
}

async fn settle(store: &Arc<dyn Store>, settled: Vec<Settlement>) -> Result<usize> {
    let done = store.settle_runs(&settled).await?;
    ensure!(done.iter().all(|done| *done), "a run was settled twice");
    Ok(done.len())
}

type Doing = std::pin::Pin<Box<dyn Future<Output = Result<usize>> + Send>>;

struct Steps<'a> {
    store: Arc<dyn Store>,
    size: Size,
    postgres: Option<&'a str>,
}

impl Steps<'_> {
    /// Does something with all runs, a batch at a time, by all workers.
    async fn step(&self, what: &str, call: fn(Arc<dyn Store>, Vec<NewRun>) -> Doing, runs: Vec<NewRun>) -> Result<()> {
        let batches: Vec<Vec<NewRun>> = runs.chunks(self.size.batch).map(<[NewRun]>::to_vec).collect();
        let batches = Arc::new(std::sync::Mutex::new(batches));
        self.measure(what, runs.len(), |store| {
            let batches = batches.clone();
            Box::pin(async move {
                let mut done = 0;
                loop {
                    let next = batches.lock().map_err(|_| anyhow::anyhow!("a worker has died"))?.pop();
                    let Some(batch) = next else { return Ok(done) };
                    done += call(store.clone(), batch).await?;
                }
            })
        })
        .await
    }

    /// Leases and settles until so many are done.
    async fn drain(&self, what: &str, runs: usize) -> Result<()> {
        let left = Arc::new(AtomicUsize::new(runs));
        let batch = self.size.batch as u32;
        self.measure(what, runs, |store| {
            let left = left.clone();
            Box::pin(async move {
                let mut done = 0;
                let wanted = LeaseWanted { max: batch, lease_ms: LEASE_MS, ..LeaseWanted::default() };
                while left.load(Ordering::Relaxed) > 0 {
                    let leased = store.lease_runs("bench", &wanted).await?;
                    let settled = leased.iter().map(|run: &QueuedRun| ended(run.id, run.epoch, &run.flow)).collect();
                    let settled = settle(&store, settled).await?;
                    left.fetch_sub(settled, Ordering::Relaxed);
                    done += settled;
                }
                Ok(done)
            })
        })
        .await
    }

    async fn measure(&self, what: &str, runs: usize, work: impl Fn(Arc<dyn Store>) -> Doing) -> Result<()> {
        let (started, own, theirs) = (Instant::now(), cpu_s("self"), self.postgres.map_or(0.0, family_cpu_s));
        let mut workers = JoinSet::new();
        for _ in 0..self.size.workers {
            workers.spawn(work(self.store.clone()));
        }
        let mut done = 0;
        while let Some(worker) = workers.join_next().await {
            done += worker??;
        }
        ensure!(done == runs, "{what}: {done} of {runs}");
        let seconds = started.elapsed().as_secs_f64();
        let per_run = |cpu_s: f64| cpu_s * 1e6 / runs as f64;
        let line = json!({
            "step": what, "runs": runs, "batch": self.size.batch, "workers": self.size.workers, "seconds": seconds,
            "per_s": runs as f64 / seconds, "own_cpu_us": per_run(cpu_s("self") - own),
            "postgres_cpu_us": self.postgres.map(|pid| per_run(family_cpu_s(pid) - theirs)),
        });
        println!("{line}");
        Ok(())
    }
}
