//! `deploy/`: the compose files by the real Docker Compose, the proxy by a real nginx, the roles by the real init script,
//! and every query of the dashboard on a real Postgres as Grafana's read-only user. No container engine is needed.

mod blue_green;
mod compose;
mod dashboard;
mod development;
pub(crate) mod failover;
mod gateway;
mod image;
mod kubernetes;
mod limits;
mod macros;
mod monitoring;
mod networks;
mod postgres17;
mod proxy;
mod references;
mod schema;
mod tls;
mod upgrade;

use std::path::PathBuf;

/// Below the repository's root.
fn file(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(file(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}
