//! Replicas, each with a folder and a wire of its own, and HAProxy before them with the shipped configuration.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::database::Database;
use super::wire::{OPEN, Wire};
use super::{pause, within};
use crate::serve::Folder;

/// What `deploy/ha/replicas.cfg` calls them.
const NAMES: [&str; 3] = ["probity-1", "probity-2", "probity-3"];

/// How the replicas of a fleet are run.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) binary: String,
    pub(super) replicas: usize,
    pub(super) lease_ms: u64,
    /// More of their environment.
    pub(super) env: Vec<(String, String)>,
    /// More of their arguments.
    pub(super) args: Vec<String>,
    /// Whether the proxy itself asks another replica when one breaks off; otherwise callers must.
    pub(super) proxy_repeats: bool,
}

pub(super) struct Replica {
    folder: Folder,
    pub(super) wire: Wire,
    database: String,
    child: Option<Child>,
    /// How often it was started.
    starts: usize,
    /// Its own address.
    pub(super) base: String,
}

impl Drop for Replica {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

impl Replica {
    fn log_file(&self) -> PathBuf {
        self.folder.0.join(format!("log-{}", self.starts))
    }

    /// The last lines of its present life.
    pub(super) fn log(&self) -> String {
        let log = std::fs::read_to_string(self.log_file()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    fn command(&self, plan: &Plan) -> Command {
        let mut command = Command::new(&plan.binary);
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(&self.folder.0)
            .arg("--flows")
            .arg(self.folder.0.join("flows.json"))
            .args(&plan.args)
            .env_remove("PROBITY_LISTEN")
            .env("PROBITY_DATABASE_URL", &self.database)
            .env("PROBITY_DATASOURCES_BOOKS_URL", &self.database)
            .env("PROBITY_DATASOURCES_BOOKS_WRITE", "true")
            .env("PROBITY_CREDENTIALS_SECRET", "one for all replicas")
            .env("PROBITY_DURABLE_LEASE_MS", plan.lease_ms.to_string())
            .env("PROBITY_DURABLE_ATTEMPTS_MAX", "100")
            .env("PROBITY_DURABLE_RETRY_MS_MAX", "5000")
            .env("PROBITY_SCHEDULE_LEASE_MS", plan.lease_ms.to_string())
            .env("PROBITY_SCHEDULE_FIRST_WINDOWS_MAX", "0")
            .env("PROBITY_SCHEDULE_PROVISIONAL_MS", "0")
            .env("PROBITY_LOG_LEVEL", "warn,probity=info")
            .envs(plan.env.iter().cloned());
        command
    }

    /// Starts it and waits until it says where it listens. One that ends before, as without a database, is started again.
    async fn start(&mut self, plan: &Plan) {
        let started = Instant::now();
        loop {
            assert!(started.elapsed() < Duration::from_secs(120), "a replica does not start:\n{}", self.log());
            self.starts += 1;
            let log = std::fs::File::create(self.log_file()).unwrap();
            let mut command = self.command(plan);
            let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
            loop {
                let log = std::fs::read_to_string(self.log_file()).unwrap_or_default();
                let at = log
                    .find("http://127.0.0.1:")
                    .and_then(|at| log[at..].split("/probity").next().filter(|base| log[at..].len() > base.len()));
                if let Some(base) = at {
                    self.base = base.to_owned();
                    self.child = Some(child);
                    return;
                }
                if child.try_wait().unwrap().is_some() {
                    pause(Duration::from_millis(200)).await;
                    break;
                }
                assert!(started.elapsed() < Duration::from_secs(120), "a replica is not ready:\n{}", self.log());
                pause(Duration::from_millis(20)).await;
            }
        }
    }

    fn signal(&self, signal: &str) {
        let Some(child) = &self.child else { return };
        Command::new("kill").arg(signal).arg(child.id().to_string()).status().unwrap();
    }

    /// SIGSTOP: it does nothing, and does not know.
    pub(super) fn halt(&self) {
        self.signal("-STOP");
    }

    pub(super) fn wake(&self) {
        self.signal("-CONT");
    }

    pub(super) fn kill_9(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// SIGTERM, and what it ended with.
    pub(super) async fn terminate(&mut self) -> Option<i32> {
        self.signal("-TERM");
        let mut child = self.child.take().expect("it runs");
        let started = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status.code();
            }
            assert!(started.elapsed() < Duration::from_secs(90), "a replica does not stop:\n{}", self.log());
            pause(Duration::from_millis(20)).await;
        }
    }
}

pub(super) struct Fleet {
    pub(super) plan: Plan,
    pub(super) replicas: Vec<Replica>,
    proxy: Child,
    folder: Folder,
    /// Where callers call.
    pub(super) base: String,
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.proxy.kill().ok();
        self.proxy.wait().ok();
    }
}

pub(super) fn free_port() -> u16 {
    let held = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    held.local_addr().expect("it has an address").port()
}

/// The shipped configuration with the places of a test.
fn configuration(plan: &Plan, port: u16, admin: &Path) -> String {
    let mut text = crate::deploy::read("deploy/ha/replicas.cfg");
    let mut words = vec![
        ("bind :1880", format!("bind 127.0.0.1:{port}")),
        ("/tmp/admin.sock", admin.display().to_string()),
        ("log stdout format raw local0", String::new()),
        // There is no DNS of Docker's to ask; a replica's address is told when it has started.
        ("nameserver dns 127.0.0.11:53", String::new()),
        ("resolvers docker init-addr last,libc,none ", String::new()),
    ];
    if !plan.proxy_repeats {
        words.push(("retry-on conn-failure empty-response", "retry-on conn-failure".to_owned()));
    }
    let servers = NAMES.map(|name| (format!("server {name} {name}:1880"), format!("server {name} 127.0.0.1:1")));
    words.extend(servers.iter().map(|(from, to)| (from.as_str(), to.clone())));
    for (from, to) in words {
        assert!(text.contains(from), "deploy/ha/replicas.cfg has no {from:?} any more");
        text = text.replace(from, &to);
    }
    text
}

impl Fleet {
    /// Replicas with these flows, ready behind the proxy.
    pub(super) async fn start(plan: Plan, database: &Database, flows: &Value) -> Fleet {
        assert!(plan.replicas <= NAMES.len(), "at most {} replicas", NAMES.len());
        let folder = Folder::new();
        let (port, admin) = (free_port(), folder.0.join("admin.sock"));
        let config = folder.0.join("haproxy.cfg");
        std::fs::write(&config, configuration(&plan, port, &admin)).unwrap();
        let log = std::fs::File::create(folder.0.join("haproxy.log")).unwrap();
        let mut command = Command::new("/usr/sbin/haproxy");
        command.args(["-db", "-f"]).arg(&config).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let proxy = command.spawn().expect("haproxy runs");
        let mut fleet = Fleet { plan, replicas: Vec::new(), proxy, folder, base: format!("http://127.0.0.1:{port}") };
        for at in 0..fleet.plan.replicas {
            let own = Folder::new();
            own.write("flows.json", flows);
            let wire = Wire::to(database.target()).await;
            let database = database.url_over(wire.port);
            fleet.replicas.push(Replica { folder: own, wire, database, child: None, starts: 0, base: String::new() });
            fleet.start_replica(at).await;
        }
        let ready = async || fleet.ready().await;
        within(Duration::from_secs(60), "all replicas are behind the proxy", ready, async || fleet.log()).await;
        fleet
    }

    /// Starts a replica and tells the proxy where it is.
    pub(super) async fn start_replica(&mut self, at: usize) {
        let plan = self.plan.clone();
        self.replicas[at].start(&plan).await;
        let port = self.replicas[at].base.rsplit(':').next().unwrap().to_owned();
        let told = self.ask_proxy(&format!("set server probity/{} addr 127.0.0.1 port {port}", NAMES[at])).await;
        assert!(told.is_some(), "the proxy does not answer:\n{}", self.proxy_log());
    }

    /// One command of HAProxy's runtime API; its answer.
    async fn ask_proxy(&self, command: &str) -> Option<String> {
        let socket = self.folder.0.join("admin.sock");
        for _ in 0..200 {
            if let Ok(mut stream) = UnixStream::connect(&socket).await {
                stream.write_all(format!("{command}\n").as_bytes()).await.ok()?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await.ok()?;
                return Some(answer);
            }
            pause(Duration::from_millis(50)).await;
        }
        None
    }

    /// How many replicas the proxy would ask.
    async fn up(&self) -> usize {
        let states = self.ask_proxy("show servers state probity").await.unwrap_or_default();
        let words =
            states.lines().filter(|line| line.contains(" probity-")).map(|line| line.split(' ').collect::<Vec<_>>());
        // The sixth column: 2 is running.
        words.filter(|words| words.get(5) == Some(&"2")).count()
    }

    /// Whether all replicas are asked.
    pub(super) async fn ready(&self) -> bool {
        self.up().await == self.plan.replicas
    }

    /// Waits until all that were started are asked.
    pub(super) async fn all_up(&self) {
        let ready = async || self.ready().await;
        within(Duration::from_secs(90), "all replicas are behind the proxy", ready, async || self.log()).await;
    }

    /// Nothing is slowed, cut or halted any more, and all replicas run.
    pub(super) async fn heal(&mut self) {
        for at in 0..self.replicas.len() {
            self.replicas[at].wire.set(OPEN);
            self.replicas[at].wake();
            let gone = match &mut self.replicas[at].child {
                Some(child) => child.try_wait().unwrap().is_some(),
                None => true,
            };
            if gone {
                self.start_replica(at).await;
            }
        }
    }

    fn proxy_log(&self) -> String {
        std::fs::read_to_string(self.folder.0.join("haproxy.log")).unwrap_or_default()
    }

    pub(super) fn log(&self) -> String {
        let logs =
            self.replicas.iter().enumerate().map(|(at, replica)| format!("--- {}\n{}", NAMES[at], replica.log()));
        format!("{}\n--- proxy\n{}", logs.collect::<Vec<_>>().join("\n"), self.proxy_log())
    }
}
