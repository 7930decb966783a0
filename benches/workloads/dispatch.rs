//! Durable runs dispatched by the database and by NATS beside each other: accepted and told of, then leased and settled by
//! some workers at once, each with a dispatcher of its own. The engine is left out: it is the same for both.
//!
//! `PROBITY_BENCH_POSTGRES_URL=postgres://… PROBITY_BENCH_POSTGRES_PID=… PROBITY_BENCH_NATS_URL=nats://…
//! PROBITY_BENCH_NATS_PID=… cargo bench --bench workloads -- dispatch [--runs 100000 --batch 200 --workers 4]`; without a NATS only
//! the database is measured. Prints one line of JSON for each step and exits 1 when a run was lost or settled twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use probity::clock::Clock;
use probity::dispatch::{Dispatcher, Found, JetStream, JetStreamOptions, Next, Options, Polling};
use probity::model::run::{RunRecord, RunState};
use probity::store::queue::{Accepted, LeaseWanted, NewRun, Outcome, QueuedRun, Ready, Settlement};
use probity::store::{Store, StoreOptions, open};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::bed::{cpu_s, family_cpu_s, new_run, number, on_database};

/// Longer than any bench.
const LEASE_MS: u64 = 3_600_000;
/// Names on their way to NATS at once while runs are accepted.
const TOLD_MAX: u64 = 5_000;

#[derive(Clone)]
struct Bench {
    runs: usize,
    batch: usize,
    workers: usize,
    postgres_pid: Option<String>,
    nats: Option<String>,
    nats_pid: Option<String>,
}

#[expect(clippy::disallowed_methods, reason = "a program of its own, not the engine")]
pub fn run() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let given = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let bench = Bench {
        runs: number(&args, "--runs", 100_000)?,
        batch: number(&args, "--batch", 200)?,
        workers: number(&args, "--workers", 4)?,
        postgres_pid: given("PROBITY_BENCH_POSTGRES_PID"),
        nats: given("PROBITY_BENCH_NATS_URL"),
        nats_pid: given("PROBITY_BENCH_NATS_PID"),
    };
    let url = given("PROBITY_BENCH_POSTGRES_URL").context("set PROBITY_BENCH_POSTGRES_URL")?;
    on_database(&url, "probity_dispatch", async |url| both(url, &bench).await)
}

async fn both(url: &str, bench: &Bench) -> Result<()> {
    let store = open(url, &StoreOptions::default()).await?;
    store.migrate().await?;
    let options = Options { poll_ms_min: 1, ..Options::default() };
    let polling = || -> Arc<dyn Dispatcher> { Arc::new(Polling::new(&*store, Clock::System, &options)) };
    measure("by the database", &store, bench, &polling).await?;
    let Some(nats) = &bench.nats else { return Ok(()) };
    let name = format!("bench-{}", std::process::id());
    let nats_options = JetStreamOptions {
        url: nats.clone(),
        user: String::new(),
        password: String::new(),
        credentials: None,
        authority: None,
        stream: name,
        replicas: 1,
        ack_ms: 30_000,
        sweep_ms: 500,
    };
    let by_nats = || -> Arc<dyn Dispatcher> {
        Arc::new(JetStream::new(nats_options.clone(), store.clone(), Clock::System, &options))
    };
    measure("by NATS", &store, bench, &by_nats).await
}

async fn measure(
    what: &str,
    store: &Arc<dyn Store>,
    bench: &Bench,
    dispatcher: &dyn Fn() -> Arc<dyn Dispatcher>,
) -> Result<()> {
    let (stop, stopped) = watch::channel(false);
    let start = |works: bool| {
        let (dispatcher, mut stopped) = (dispatcher(), stopped.clone());
        let running = dispatcher.clone().run(
            works,
            Box::pin(async move {
                let _ = stopped.wait_for(|stop| *stop).await.is_ok();
            }),
        );
        tokio::spawn(running);
        dispatcher
    };
    let telling = start(false);
    let workers: Vec<_> = (0..bench.workers).map(|_| start(true)).collect();
    for dispatcher in workers.iter().chain([&telling]) {
        let started = Instant::now();
        while let Some(why) = dispatcher.standing().fallback {
            ensure!(started.elapsed() < Duration::from_secs(30), "{what}: {why}");
            Clock::System.sleep(Duration::from_millis(10)).await;
        }
    }
    let runs = new_runs(bench.runs);
    let accepting = Step::begin(format!("accepted, told of {what}"), bench);
    for batch in runs.chunks(bench.batch) {
        accept(&**store, &*telling, batch).await?;
    }
    accepting.end();
    let (left, leasing) =
        (Arc::new(AtomicUsize::new(bench.runs)), Step::begin(format!("leased and settled, dispatched {what}"), bench));
    let over = watch::Sender::new(false);
    let mut tasks = JoinSet::new();
    for dispatcher in workers {
        tasks.spawn(work(store.clone(), dispatcher, left.clone(), over.clone(), bench.batch));
    }
    let mut done = 0;
    while let Some(worker) = tasks.join_next().await {
        done += worker??;
    }
    ensure!(done == bench.runs, "{what}: {done} of {} runs", bench.runs);
    leasing.end();
    stop.send_replace(true);
    let depth = store.queue_depth(None).await?;
    ensure!(depth.ready == 0 && depth.leased == 0, "{what}: {depth:?}");
    Ok(())
}

fn tally(dispatcher: &dyn Dispatcher, name: &str) -> u64 {
    dispatcher.tallies().iter().find(|(one, _)| *one == name).map_or(0, |(_, count)| *count)
}

async fn accept(store: &dyn Store, dispatcher: &dyn Dispatcher, runs: &[NewRun]) -> Result<()> {
    let accepted = store.accept_runs("bench", runs).await?;
    ensure!(accepted.iter().all(|one| *one == Accepted::Queued), "not all were accepted");
    let ready: Vec<Ready> = runs.iter().map(|run| Ready { id: run.id, epoch: 0, priority: run.priority }).collect();
    let before = tally(dispatcher, "published") + tally(dispatcher, "unpublished");
    dispatcher.tell(&ready);
    // As many callers would, who wait for their commits: not faster than they are told of.
    while !dispatcher.tallies().is_empty()
        && before + ready.len() as u64 > tally(dispatcher, "published") + tally(dispatcher, "unpublished") + TOLD_MAX
    {
        Clock::System.sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

async fn work(
    store: Arc<dyn Store>,
    dispatcher: Arc<dyn Dispatcher>,
    left: Arc<AtomicUsize>,
    over: watch::Sender<bool>,
    batch: usize,
) -> Result<usize> {
    let wanted = LeaseWanted { max: batch as u32, lease_ms: LEASE_MS, ..LeaseWanted::default() };
    let (mut done, mut told) = (0, over.subscribe());
    loop {
        let next = tokio::select! {
            biased;
            _ = told.wait_for(|over| *over) => return Ok(done),
            next = dispatcher.next(batch) => next,
        };
        let leased = match next {
            Next::Any => {
                let leased = store.lease_runs("bench", &wanted).await?;
                dispatcher.found(match leased.len() {
                    0 => Found::None,
                    n if n == batch => Found::All,
                    _ => Found::Some,
                });
                leased
            }
            Next::Named(named) => {
                let leased = store.lease_named("bench", &named, &wanted).await?;
                let settled: Vec<_> = named.into_iter().filter(|one| !leased.held_back.contains(one)).collect();
                dispatcher.done(&settled, &leased.held_back).await;
                leased.leased
            }
        };
        if leased.is_empty() {
            continue;
        }
        let settled: Vec<Settlement> = leased.iter().map(ended).collect();
        ensure!(store.settle_runs(&settled).await?.iter().all(|done| *done), "a run was settled twice");
        done += settled.len();
        if left.fetch_sub(settled.len(), Ordering::AcqRel) == settled.len() {
            over.send_replace(true);
        }
    }
}

fn new_runs(count: usize) -> Vec<NewRun> {
    (0..count).map(|_| new_run("f")).collect()
}

fn ended(run: &QueuedRun) -> Settlement {
    let record = RunRecord {
        id: run.id,
        subject: run.flow.clone(),
        trigger: run.trigger.clone(),
        state: RunState::Done,
        started_at: run.accepted_at,
        ended_at: Some(run.accepted_at),
        version: run.flow_version.clone(),
        hops: 5,
        error: None,
        trace: Vec::new(),
        trace_dropped: 0,
    };
    Settlement { held: run.held(), outcome: Outcome::Ended(Box::new(record)) }
}

/// One measured step.
struct Step {
    what: String,
    bench: Bench,
    started: Instant,
    cpu: [f64; 3],
}

impl Step {
    fn begin(what: String, bench: &Bench) -> Step {
        Step { what, bench: bench.clone(), started: Instant::now(), cpu: Step::cpu(bench) }
    }

    /// Ours, of Postgres, of NATS, seconds.
    fn cpu(bench: &Bench) -> [f64; 3] {
        let of = |pid: &Option<String>| pid.as_deref().map_or(0.0, family_cpu_s);
        [cpu_s("self"), of(&bench.postgres_pid), of(&bench.nats_pid)]
    }

    fn end(self) {
        let (seconds, cpu) = (self.started.elapsed().as_secs_f64(), Step::cpu(&self.bench));
        let per_run = |at: usize| (cpu[at] - self.cpu[at]) * 1e6 / self.bench.runs as f64;
        let line = json!({
            "step": self.what, "runs": self.bench.runs, "batch": self.bench.batch, "workers": self.bench.workers,
            "seconds": seconds, "per_s": self.bench.runs as f64 / seconds, "own_cpu_us": per_run(0),
            "postgres_cpu_us": per_run(1), "nats_cpu_us": per_run(2),
        });
        println!("{line}");
    }
}
