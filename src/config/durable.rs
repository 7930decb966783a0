//! How durable runs are accepted, leased and tried again (`[durable]`).

use serde::Deserialize;

use super::Config;

#[derive(Clone, Debug, Deserialize)]
pub struct Durable {
    pub flows: String,
    pub accept_ms_max: u64,
    pub accept_batch_max: usize,
    pub lease_ms: u64,
    pub lease_batch_max: usize,
    pub parallel_max: usize,
    pub poll_ms_min: u64,
    pub poll_ms_max: u64,
    pub attempts_max: u32,
    pub retry_ms_min: u64,
    pub retry_ms_max: u64,
    pub run_ms_max: u64,
    pub key_ms: u64,
    pub fail_points: Vec<String>,
}

/// What is wrong with how durable runs are run.
pub(super) fn problems(config: &Config) -> Vec<String> {
    let durable = &config.durable;
    let mut problems = Vec::new();
    if !["", "durable", "fast"].contains(&durable.flows.as_str()) {
        problems.push(format!("durable.flows: expected \"durable\", \"fast\" or nothing, found \"{}\"", durable.flows));
    }
    if durable.lease_ms < 300 {
        problems.push(format!("durable.lease_ms: expected at least 300 milliseconds, found {}", durable.lease_ms));
    }
    for (key, min, max) in [
        ("durable.poll_ms", durable.poll_ms_min, durable.poll_ms_max),
        ("durable.retry_ms", durable.retry_ms_min, durable.retry_ms_max),
    ] {
        if min == 0 || min > max {
            problems.push(format!("{key}_min: expected 1 to {key}_max ({max}), found {min}"));
        }
    }
    problems
}
