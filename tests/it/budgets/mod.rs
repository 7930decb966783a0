//! Error budgets through the whole of Probity: agreements and evidence are made up, evaluated and stored for real, and
//! every surface must say the same: API, command line, SQL views, and the rules for Prometheus as `promtool` computes
//! them.
//!
//! By default a few agreements, drawn by `PROBITY_TEST_BUDGETS_SEED` (1); `PROBITY_TEST_BUDGETS_FULL=1` makes 10,000.

mod generated;
mod less;
mod path;
mod promtool;
mod surfaces;

#[expect(clippy::disallowed_methods, reason = "tests have no config")]
fn setting(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}

fn full() -> bool {
    setting("PROBITY_TEST_BUDGETS_FULL").is_some()
}

fn seed() -> u64 {
    setting("PROBITY_TEST_BUDGETS_SEED").map_or(1, |text| text.parse().expect("PROBITY_TEST_BUDGETS_SEED: a number"))
}
