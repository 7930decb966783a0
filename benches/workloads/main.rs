//! Workloads measured inside the process: `cargo bench --bench workloads -- NAME [OPTIONS]`; `tests/bench/run` calls it.
//!
//! One program, since linking with link-time optimisation takes minutes.

mod bed;
mod dispatch;
mod durable;
mod evaluation;
mod explain;
mod functions;
mod hostile;
mod plugins;
mod verdicts;
mod windows;

use anyhow::{Result, bail};

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("dispatch") => dispatch::run(),
        Some("durable") => durable::run(),
        Some("evaluation") => evaluation::run(),
        Some("explain") => explain::run(),
        Some("functions") => functions::run(),
        Some("hostile") => hostile::run(),
        Some("plugins") => plugins::run(),
        Some("verdicts") => verdicts::run(),
        Some("windows") => windows::run(),
        other => bail!(
            "no workload {}: dispatch, durable, evaluation, explain, functions, hostile, plugins, verdicts or windows",
            other.unwrap_or("was named")
        ),
    }
}
