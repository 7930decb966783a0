//! Windows in the zones of the world: time is cut without gap or overlap, and two other implementations cut it alike.
//!
//! By default a sample of zones, drawn by `PROBITY_TEST_WINDOWS_SEED` (1); `PROBITY_TEST_WINDOWS_FULL=1` goes through
//! all of them, 2000 to 2040, with every period. In a debug build that takes five minutes of one core for the partition,
//! six for Postgres and about an hour for Python.

mod partition;
mod postgres;
mod python;

use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::tz::TimeZone;
use probity::agreement::{instant, load_value};
use probity::model::agreement::{Agreement, WindowSpec};
use serde_json::{Value, json};

/// Zones that have bitten somebody; always in the sample.
const NOTED: [&str; 10] = [
    "UTC",
    "Europe/Madrid",
    "America/Los_Angeles",
    "Asia/Kolkata",
    // Half an hour of summer time; midnight skipped; a whole day skipped; two changes around Ramadan; quarter hours.
    "Australia/Lord_Howe",
    "America/Asuncion",
    "Pacific/Apia",
    "Africa/Casablanca",
    "Asia/Kathmandu",
    "America/Sao_Paulo",
];

#[expect(clippy::disallowed_methods, reason = "tests have no config")]
fn setting(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}

fn full() -> bool {
    setting("PROBITY_TEST_WINDOWS_FULL").is_some()
}

fn seed() -> u64 {
    setting("PROBITY_TEST_WINDOWS_SEED").map_or(1, |text| text.parse().expect("PROBITY_TEST_WINDOWS_SEED: a number"))
}

/// All zones, or the noted ones and `sampled` others.
fn zones(sampled: usize) -> Vec<String> {
    let mut all: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
    // A zone that has no time is none.
    all.retain(|name| !["Etc/Unknown", "Factory"].contains(&name.as_str()));
    assert!(all.len() > 550, "{} zones", all.len());
    if full() {
        return all;
    }
    fastrand::Rng::with_seed(seed()).shuffle(&mut all);
    let mut found: Vec<String> = NOTED.map(str::to_owned).to_vec();
    found.extend(all.into_iter().filter(|name| !NOTED.contains(&name.as_str())).take(sampled));
    found
}

/// Calls `f` with each zone, on as many threads as there are cores.
fn in_each(zones: &[String], f: impl Fn(&str) + Sync) {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(zone) = zones.get(next.fetch_add(1, Ordering::Relaxed)) {
                    f(zone);
                }
            });
        }
    });
}

/// An agreement with one term that has this window, valid from its initial day until 2040.
fn agreement(zone: &str, ours: &Value, window: &Value) -> Agreement {
    let document = json!({
        "id": "case", "version": "1.0.0", "type": "agreement",
        "context": {
            "validity": {"initial": window["initial"], "end": "2040-01-01", "timeZone": zone},
            "x-probity": ours,
        },
        "terms": {
            "metrics": {"A": {"collector": {"type": "PROBITY-FLOW-V1", "metric": "a"}}},
            "guarantees": [{"id": "G", "scope": {}, "of": [{"objective": "A > 1", "with": {"A": {}}, "window": window}]}],
        },
    });
    let (agreement, problems) = load_value(document, "case");
    agreement.unwrap_or_else(|| panic!("{zone} {window}: {problems:#?}"))
}

fn spec(agreement: &Agreement) -> &WindowSpec {
    &agreement.guarantees[0].terms[0].window
}

fn at(text: &str, zone: &TimeZone) -> jiff::Timestamp {
    instant(text, zone).expect("a date")
}
