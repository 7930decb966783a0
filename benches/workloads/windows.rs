//! Expands a year of hourly windows in every IANA zone and prints the slowest as one line of JSON.
//!
//! `cargo bench --bench workloads -- windows`

use std::time::Instant;

use anyhow::{Result, ensure};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use probity::agreement::Calendar;
use probity::model::agreement::{Period, WindowSpec};

/// Each zone is expanded this often and its best time counts: others use the machine, too.
const ROUNDS: usize = 5;

pub fn run() -> Result<()> {
    let (from, to): (Timestamp, Timestamp) = ("2026-01-01T00:00:00Z".parse()?, "2027-01-01T00:00:00Z".parse()?);
    let spec = WindowSpec::counted(Period::Hourly, "hourly", from);
    let mut slowest = (0.0, String::new());
    let mut zones = 0;
    for name in jiff::tz::db().available() {
        let zone = TimeZone::get(name.as_str())?;
        let mut best = f64::INFINITY;
        for _ in 0..ROUNDS {
            let started = Instant::now();
            let windows = Calendar::new(&spec, &zone, from, None).overlapping(from, to)?;
            best = best.min(started.elapsed().as_secs_f64() * 1e3);
            ensure!(windows.len() == 8760, "{} windows in {name}", windows.len());
        }
        zones += 1;
        if best > slowest.0 {
            slowest = (best, name.to_string());
        }
    }
    println!("{}", serde_json::json!({"zones": zones, "slowest_ms": slowest.0, "slowest_zone": slowest.1}));
    Ok(())
}
