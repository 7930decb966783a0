//! What the benches of durable runs share: their options, a database of their own, a run, and the CPU time of processes.

use anyhow::{Context, Result};
use probity::model::run::Trigger;
use probity::store::queue::NewRun;
use serde_json::json;
use sqlx::{Connection, Executor, PgConnection};

/// The number after this option.
pub fn number(args: &[String], option: &str, default: usize) -> Result<usize> {
    match args.iter().position(|a| a == option) {
        Some(at) => Ok(args.get(at + 1).with_context(|| format!("{option} needs a number"))?.parse()?),
        None => Ok(default),
    }
}

/// Measures on a database of one's own on this server, which goes with it.
pub fn on_database(server_url: &str, prefix: &str, measure: impl AsyncFnOnce(&str) -> Result<()>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let name = format!("{prefix}_{}", std::process::id());
        let mut server = PgConnection::connect(server_url).await?;
        server.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
        let mut address = url::Url::parse(server_url)?;
        address.set_path(&name);
        let measured = measure(address.as_str()).await;
        server.execute(sqlx::AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).await?;
        measured
    })
}

/// A call of 190 bytes.
pub fn new_run(flow: &str) -> NewRun {
    let msg = json!({"_msgid": "0123456789abcdef", "topic": "orders", "payload": {
        "control": "AC-2(1)", "result": "pass", "owner": "team-platform", "severity": 5,
        "evidence": {"count": 12, "source": "github"}, "tags": ["iam", "access", "sso"]}});
    NewRun {
        node: "3f2a5e884898da28".into(),
        flow_version: "3f2a5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d15".into(),
        ..NewRun::new(flow, Trigger::Http { method: "POST".into(), path: "/orders".into() }, msg.to_string())
    }
}

/// CPU time of a process, seconds; 0 when it is gone.
pub fn cpu_s(pid: &str) -> f64 {
    ticks(pid, 2)
}

/// CPU time of a server's processes, those that have ended among them, seconds.
pub fn family_cpu_s(pid: &str) -> f64 {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    ticks(pid, 4) + children.split_whitespace().map(cpu_s).sum::<f64>()
}

fn ticks(pid: &str, fields: usize) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(fields);
    fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}
