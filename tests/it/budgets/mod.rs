//! Error budgets through the whole of Probity: agreements and evidence are made up, evaluated and stored for real, and
//! every surface must say the same: API, command line, SQL views, and the rules for Prometheus as `promtool` computes
//! them.
//!
//! By default a few agreements, drawn by `PROBITY_TEST_BUDGETS_SEED` (1). `PROBITY_TEST_BUDGETS_FULL=1` makes 10,000, in 20
//! shards whose seeds follow from there; `PROBITY_TEST_BUDGETS_SHARDS` says how many of them: 1 for the one with this seed.

mod generated;
mod less;
mod path;
mod promtool;
mod simulated;
mod surfaces;

#[expect(clippy::disallowed_methods, reason = "tests have no config")]
fn setting(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}

fn full() -> bool {
    setting("PROBITY_TEST_BUDGETS_FULL").is_some()
}

/// How many shards of the full mode to run; all of them when it is not said.
fn shards(all: u64) -> u64 {
    let wanted = setting("PROBITY_TEST_BUDGETS_SHARDS")
        .map_or(all, |text| text.parse().expect("PROBITY_TEST_BUDGETS_SHARDS: a number"));
    assert!(wanted > 0, "PROBITY_TEST_BUDGETS_SHARDS: at least 1");
    wanted
}

fn seed() -> u64 {
    setting("PROBITY_TEST_BUDGETS_SEED").map_or(1, |text| text.parse().expect("PROBITY_TEST_BUDGETS_SEED: a number"))
}
