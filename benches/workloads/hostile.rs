//! What guests that do what they should not cost everybody else: how late each is stopped, what 10,000 stops leave
//! behind, and how a neighbour fares meanwhile. `cargo bench --bench workloads -- hostile` prints one JSON object;
//! `tests/bench/run hostile` calls it.

#[path = "../../tests/it/plugins/rig.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "the tests' own rig, of which a part is used")]
mod rig;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use self::rig::{Rig, granted, msg, package};
use anyhow::{Result, ensure};
use probity::clock::Clock;
use probity::plugin::limits::{CallLimits, Limits};
use probity::runtime::Deployed;
use serde_json::json;

const COMPUTE_MS_MAX: u64 = 5;
const CALL_MS_MAX: u64 = 20;

/// Each guest, what it may, and the limit that ends it, milliseconds; 0 for what is stopped at once.
const GUESTS: &[(&str, &[&str], u64)] = &[
    ("loop", &[], COMPUTE_MS_MAX),
    ("memory", &[], 0),
    ("table", &[], 0),
    ("stack", &[], 0),
    ("output", &[], COMPUTE_MS_MAX),
    ("log", &[], COMPUTE_MS_MAX),
    ("bad-result", &[], 0),
    ("bad-pointer", &[], 0),
    ("bad-length", &[], 0),
    ("bad-text", &[], 0),
    ("bad-json", &[], 0),
    ("clock", &[], 0),
    ("sleep", &["clock"], CALL_MS_MAX),
];
/// Messages to each for the measure of lateness.
const EACH: u32 = 200;
/// Stops of the measure of memory.
const STOPS: u32 = 10_000;
/// Calls of the neighbour: alone, and beside the endless loop.
const CALLS: usize = 20_000;

fn limits() -> Limits {
    let small = CallLimits {
        compute_ms_max: COMPUTE_MS_MAX,
        call_ms_max: CALL_MS_MAX,
        memory_bytes_max: 1 << 20,
        output_bytes_max: 1 << 20,
        state_bytes_max: 64 << 10,
    };
    Limits { default: small.clone(), max: small, stops_max: u32::MAX, ..Limits::default() }
}

async fn loaded(names: &[&str]) -> (Arc<Rig>, Arc<Deployed>) {
    let rig = Rig::new(limits());
    for name in names {
        let may = GUESTS.iter().find(|(n, ..)| n == name).map_or(&[][..], |(_, may, _)| may);
        let outcome = rig.load(package(name, "", granted(may))).await;
        outcome.unwrap_or_else(|problems| panic!("{name}: {problems:?}"));
    }
    let nodes: Vec<_> = names.iter().map(|n| json!({"id": n, "type": format!("guest-{n}")})).collect();
    let flow = rig.deploy(nodes.into());
    (Arc::new(rig), flow)
}

/// The longest time beyond its limit that any guest took to be stopped, milliseconds, and which one.
async fn lateness() -> Result<(f64, &'static str)> {
    let mut worst = (0.0, "");
    for (name, _, limit_ms) in GUESTS {
        let (rig, flow) = loaded(&[name]).await;
        for _ in 0..EACH {
            let began = Instant::now();
            let outcome = rig.send(&flow, name, msg("x")).await;
            let late = began.elapsed().as_secs_f64() * 1_000.0 - *limit_ms as f64;
            ensure!(outcome.errors.len() == 1, "{name} was not stopped: {outcome:?}");
            if late > worst.0 {
                worst = (late, *name);
            }
        }
    }
    Ok(worst)
}

fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0) / 1_024.0
}

/// Resident memory before, and after each of three times so many stops, MB.
async fn memory() -> Result<(f64, [f64; 3])> {
    let names: Vec<&str> = GUESTS.iter().filter(|(name, ..)| *name != "sleep").map(|(name, ..)| *name).collect();
    let (rig, flow) = loaded(&names).await;
    let stop = async |times: u32| {
        for n in 0..times {
            let outcome = rig.send(&flow, names[n as usize % names.len()], msg("x")).await;
            ensure!(outcome.errors.len() == 1, "not stopped: {outcome:?}");
        }
        Ok(())
    };
    // Ended runs wait for a store that is not here, up to 10,000 of them: those are there before the first look.
    stop(STOPS).await?;
    let before = resident_mb();
    let mut after = [0.0; 3];
    for mb in &mut after {
        stop(STOPS).await?;
        *mb = resident_mb();
    }
    Ok((before, after))
}

/// p99 of a neighbour's calls, microseconds.
async fn neighbour(rig: &Rig, flow: &Arc<Deployed>) -> Result<f64> {
    let mut took = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let began = Instant::now();
        let outcome = rig.send(flow, "pass", msg("y")).await;
        took.push(began.elapsed());
        ensure!(outcome.out.len() == 1, "the neighbour failed: {outcome:?}");
        // A pause, so that waking up is part of it, as for a caller from outside.
        Clock::System.sleep(Duration::from_micros(100)).await;
    }
    took.sort();
    Ok(took[CALLS * 99 / 100].as_secs_f64() * 1e6)
}

async fn beside() -> Result<(f64, f64)> {
    let (rig, flow) = loaded(&["pass", "loop"]).await;
    let of = |rig: &Arc<Rig>, flow: &Arc<Deployed>| {
        let (rig, flow) = (rig.clone(), flow.clone());
        tokio::spawn(async move { neighbour(&rig, &flow).await })
    };
    of(&rig, &flow).await??;
    let alone = of(&rig, &flow).await??;
    let over = Arc::new(AtomicBool::new(false));
    let looping = {
        let (rig, flow, over) = (rig.clone(), flow.clone(), over.clone());
        tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                rig.send(&flow, "loop", msg("x")).await;
            }
        })
    };
    let beside = of(&rig, &flow).await??;
    over.store(true, Ordering::Relaxed);
    looping.await?;
    Ok((alone, beside))
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
pub async fn run() -> Result<()> {
    let (late_ms, latest) = tokio::spawn(lateness()).await??;
    let (before_mb, after_mb) = tokio::spawn(memory()).await??;
    let (alone_us, beside_us) = beside().await?;
    println!(
        "{}",
        json!({
            "late_ms_max": late_ms, "latest": latest, "stops": STOPS, "rss_before_mb": before_mb,
            "rss_after_mb": after_mb[0], "rss_after_2_mb": after_mb[1], "rss_after_3_mb": after_mb[2], "neighbour_p99_alone_us": alone_us, "neighbour_p99_beside_us": beside_us,
        })
    );
    Ok(())
}
