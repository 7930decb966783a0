//! The database of `deploy/compose.ha.yml` without containers: etcd, two nodes of Postgres under Patroni, HAProxy before
//! them, with the files of `deploy/ha`; only addresses, folders and, in the short drill, times are others.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use sqlx::{Connection, PgConnection};

use crate::harness::postgres::{programs, unprivileged_user};
use crate::serve::until;

/// `tests/all` sets it: then a missing program is a failure.
const REQUIRED: &str = "PROBITY_TEST_REQUIRE_FAILOVER";
/// Ends everything below the folder `$1` when the test process is gone, however it went.
const KEEPER: &str = r#"
trap '' PIPE TERM INT
cat >/dev/null
for round in 1 2 3; do
    for file in "$1"/*.pid "$1"/*/node/postmaster.pid; do
        [ -f "$file" ] && kill -9 "$(head -n 1 "$file")" 2>/dev/null
    done
    sleep 0.2
done
rm -rf "$1"
"#;
const ADMIN_PASSWORD: &str = "a-drill-and-nothing-else";
pub(crate) const NODES: [&str; 2] = ["postgres-a", "postgres-b"];

/// How the cluster is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mode {
    /// As shipped; otherwise commits do not wait for the replica.
    pub(crate) synchronous: bool,
    /// With the shipped times (20 s); otherwise Patroni's shortest.
    pub(crate) shipped_times: bool,
}

/// One node: its ports for SQL and for Patroni's answers.
struct Node {
    sql: u16,
    api: u16,
    patroni: Option<Child>,
}

pub(crate) struct Cluster {
    folder: PathBuf,
    etcd: Vec<Child>,
    etcd_hosts: String,
    nodes: [Node; 2],
    proxy: Option<Child>,
    /// Where writes go.
    pub(crate) port: u16,
    /// Where reads that may be old go.
    pub(crate) read_port: u16,
    status_port: u16,
    client: reqwest::Client,
    keeper: Child,
    /// Held open: its end is the sign to clean up.
    stdin: Option<ChildStdin>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.stdin.take());
        self.keeper.wait().ok();
        let patroni = self.nodes.iter_mut().filter_map(|node| node.patroni.as_mut());
        for child in patroni.chain(&mut self.etcd).chain(&mut self.proxy) {
            child.wait().ok();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "tests have no config")]
fn required() -> bool {
    std::env::var_os(REQUIRED).is_some()
}

/// Whether all programs are there; says so when not.
pub(crate) fn available() -> bool {
    let wanted = ["/usr/bin/patroni", "/usr/bin/etcd", "/usr/sbin/haproxy"];
    let missing: Vec<&str> = wanted.into_iter().filter(|path| !Path::new(path).exists()).collect();
    assert!(missing.is_empty() || !required(), "{missing:?} are missing: apt-get install patroni etcd-server haproxy");
    if !missing.is_empty() {
        eprintln!("SKIPPED: no {missing:?}; apt-get install patroni etcd-server haproxy");
    }
    missing.is_empty()
}

/// Ports nobody listens on at the moment.
fn ports<const N: usize>() -> [u16; N] {
    let held = [(); N].map(|()| std::net::TcpListener::bind("127.0.0.1:0").expect("a free port"));
    held.map(|listener| listener.local_addr().expect("it has an address").port())
}

/// A shipped file with other words in it; each must have been there.
fn adapted(path: &str, words: &[(&str, String)]) -> String {
    let mut text = super::super::read(path);
    for (from, to) in words {
        assert!(text.contains(from), "{path} has no {from:?} any more");
        text = text.replace(from, to);
    }
    text
}

impl Cluster {
    /// A primary with its replica, reached through the proxy.
    pub(crate) async fn start(mode: Mode) -> Cluster {
        let folder = std::env::temp_dir().join(format!("probity-drill-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(folder.join("patroni/init")).expect("a folder");
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "sh"]).arg(&folder).process_group(0).stdin(Stdio::piped());
        let mut keeper = keeper.spawn().expect("sh runs");
        let stdin = keeper.stdin.take();
        let [sql_a, sql_b, api_a, api_b, port, read_port, status_port] = ports();
        let nodes = [(sql_a, api_a), (sql_b, api_b)].map(|(sql, api)| Node { sql, api, patroni: None });
        let client = crate::harness::server::client();
        let mut cluster = Cluster {
            folder,
            etcd: Vec::new(),
            etcd_hosts: String::new(),
            nodes,
            proxy: None,
            port,
            read_port,
            status_port,
            client,
            keeper,
            stdin,
        };
        cluster.write_files(mode);
        cluster.start_etcd(if mode.shipped_times { 3 } else { 1 });
        cluster.start_node(0);
        cluster.start_node(1);
        cluster.start_proxy();
        until("the replica follows the primary", async || cluster.has_standby(mode).await).await;
        let status = format!("http://127.0.0.1:{status_port}/health");
        until("the proxy knows the primary", async || cluster.status(&status).await == 200).await;
        cluster
    }

    fn write_files(&self, mode: Mode) {
        let mut times = vec![];
        if !mode.shipped_times {
            times.extend([
                ("ttl: 20", "ttl: 5".to_owned()),
                ("loop_wait: 5", "loop_wait: 1".to_owned()),
                ("retry_timeout: 5", "retry_timeout: 2".to_owned()),
            ]);
        }
        if !mode.synchronous {
            times.push(("synchronous_mode: true", "synchronous_mode: false".to_owned()));
        }
        let patroni = self.folder.join("patroni");
        for (node, name) in self.nodes.iter().zip(NODES) {
            let own = self.folder.join(name);
            std::fs::create_dir_all(own.join("socket")).expect("a folder");
            let mut words = times.clone();
            words.extend([
                ("listen: 0.0.0.0:8008", format!("listen: 127.0.0.1:{}", node.api)),
                ("listen: 0.0.0.0:5432", format!("listen: 127.0.0.1:{}", node.sql)),
                ("/var/run/postgresql", own.join("socket").display().to_string()),
                ("/tmp/pgpass", own.join("pgpass").display().to_string()),
                ("/etc/patroni/", format!("{}/", patroni.display())),
                // Debian's C locale of this name is everywhere; its libc knows it.
                ("locale: C.UTF-8", "locale: C.UTF-8".to_owned()),
            ]);
            let config = self.folder.join(format!("{name}.yml"));
            std::fs::write(config, adapted("deploy/ha/patroni.yml", &words)).expect("written");
        }
        for (from, to) in [
            ("deploy/ha/post-bootstrap.sh", "post-bootstrap.sh"),
            ("deploy/postgres/init/10-roles.sh", "init/10-roles.sh"),
        ] {
            std::fs::copy(super::super::file(from), patroni.join(to)).expect("copied");
        }
        let mut words = vec![
            ("bind :5432", format!("bind 127.0.0.1:{}", self.port)),
            ("bind :5433", format!("bind 127.0.0.1:{}", self.read_port)),
            ("bind :8404", format!("bind 127.0.0.1:{}", self.status_port)),
            ("/tmp/admin.sock", self.folder.join("admin.sock").display().to_string()),
            // There is no DNS of Docker's to ask.
            ("nameserver dns 127.0.0.11:53", String::new()),
            ("resolvers docker init-addr last,libc,none ", String::new()),
            ("log stdout format raw local0", String::new()),
        ];
        let servers = NODES.map(|name| format!("server {name} {name}:5432"));
        for (node, server) in self.nodes.iter().zip(&servers) {
            let name = server.split(' ').nth(1).expect("its second word");
            words.push((server, format!("server {name} 127.0.0.1:{} port {}", node.sql, node.api)));
        }
        let config = self.folder.join("haproxy.cfg");
        std::fs::write(config, adapted("deploy/ha/haproxy.cfg", &words)).expect("written");
        if let Some((uid, gid)) = unprivileged_user() {
            let given = Command::new("chown").arg("-R").arg(format!("{uid}:{gid}")).arg(&self.folder).status();
            assert!(given.expect("chown runs").success());
        }
    }

    /// As the user that Postgres runs as, with a log and its process id in the folder.
    fn spawn(&self, name: &str, command: &mut Command) -> Child {
        let log = std::fs::File::create(self.folder.join(format!("{name}.log"))).expect("a log");
        if let Some((uid, gid)) = unprivileged_user() {
            command.uid(uid).gid(gid);
        }
        command.current_dir(&self.folder).process_group(0).stdin(Stdio::null());
        let child = command.stdout(log.try_clone().expect("a log")).stderr(log).spawn().expect("it starts");
        let mut file = std::fs::File::create(self.folder.join(format!("{name}.pid"))).expect("a file");
        writeln!(file, "{}", child.id()).expect("written");
        child
    }

    fn start_etcd(&mut self, members: usize) {
        let ports: Vec<[u16; 2]> = (0..members).map(|_| ports()).collect();
        let peers = ports.iter().enumerate().map(|(i, [_, peer])| format!("etcd-{i}=http://127.0.0.1:{peer}"));
        let peers = peers.collect::<Vec<_>>().join(",");
        for (i, [client, peer]) in ports.iter().enumerate() {
            let mut command = Command::new("/usr/bin/etcd");
            let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
            command.args(["--name", &format!("etcd-{i}"), "--log-level", "error", "--initial-cluster", &peers]);
            command.arg("--data-dir").arg(self.folder.join(format!("etcd-{i}")));
            command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
            command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
            let child = self.spawn(&format!("etcd-{i}"), &mut command);
            self.etcd.push(child);
        }
        let hosts = ports.iter().map(|[client, _]| format!("127.0.0.1:{client}"));
        self.etcd_hosts = hosts.collect::<Vec<_>>().join(",");
    }

    /// Starts Patroni on a node, which starts, follows, rewinds or copies as it must.
    pub(crate) fn start_node(&mut self, node: usize) {
        let (name, own) = (NODES[node], self.folder.join(NODES[node]));
        let mut command = Command::new("/usr/bin/patroni");
        command.arg(self.folder.join(format!("{name}.yml")));
        command
            .env("PATRONI_NAME", name)
            .env("PATRONI_ETCD3_HOSTS", &self.etcd_hosts)
            .env("PATRONI_POSTGRESQL_BIN_DIR", programs())
            .env("PATRONI_POSTGRESQL_DATA_DIR", own.join("node"))
            .env("PATRONI_POSTGRESQL_CONNECT_ADDRESS", format!("127.0.0.1:{}", self.nodes[node].sql))
            .env("PATRONI_RESTAPI_CONNECT_ADDRESS", format!("127.0.0.1:{}", self.nodes[node].api))
            .env("PATRONI_SUPERUSER_USERNAME", "postgres")
            .env("PATRONI_REPLICATION_USERNAME", "replicator")
            .env("PATRONI_REWIND_USERNAME", "rewinder")
            .env("DB_NAME", "statusdb")
            .env("DB_USER", "statususer");
        let passwords =
            ["PATRONI_SUPERUSER", "PATRONI_REPLICATION", "PATRONI_REWIND", "DB", "PROBITY_DB", "GRAFANA_DB"];
        command.envs(passwords.map(|of| (format!("{of}_PASSWORD"), ADMIN_PASSWORD)));
        let child = self.spawn(name, &mut command);
        if let Some(mut old) = self.nodes[node].patroni.replace(child) {
            old.wait().ok();
        }
    }

    fn start_proxy(&mut self) {
        let mut command = Command::new("/usr/sbin/haproxy");
        command.args(["-db", "-f"]).arg(self.folder.join("haproxy.cfg"));
        self.proxy = Some(self.spawn("haproxy", &mut command));
    }

    async fn status(&self, url: &str) -> u16 {
        let asked = self.client.get(url).timeout(std::time::Duration::from_secs(2)).send().await;
        asked.map(|answer| answer.status().as_u16()).unwrap_or_default()
    }

    /// What Patroni of a node answers to `/primary`, `/replica` or `/synchronous`; 0 when it does not answer.
    async fn role(&self, node: usize, role: &str) -> u16 {
        self.status(&format!("http://127.0.0.1:{}/{role}", self.nodes[node].api)).await
    }

    pub(crate) async fn primary(&self) -> Option<usize> {
        for node in 0..2 {
            if self.role(node, "primary").await == 200 {
                return Some(node);
            }
        }
        None
    }

    /// Whether a replica could take over without loss.
    pub(crate) async fn has_standby(&self, mode: Mode) -> bool {
        let role = if mode.synchronous { "synchronous" } else { "replica" };
        for node in 0..2 {
            if self.role(node, role).await == 200 {
                return self.primary().await.is_some();
            }
        }
        false
    }

    /// Whether a node says that it lacks commits of a primary that is gone, or may: it is not the one that is named as
    /// synchronous, as when the primary's Postgres fell down just before.
    pub(crate) async fn must_not_take_over(&self, node: usize, mode: Mode) -> bool {
        let url = format!("http://127.0.0.1:{}/cluster", self.nodes[node].api);
        let asked = self.client.get(url).timeout(std::time::Duration::from_secs(2)).send().await;
        let Ok(answer) = asked else { return false };
        let cluster: serde_json::Value =
            serde_json::from_str(&answer.text().await.unwrap_or_default()).unwrap_or_default();
        let members = cluster["members"].as_array().cloned().unwrap_or_default();
        let own = members.iter().find(|member| member["name"] == NODES[node]);
        mode.synchronous && own.is_some_and(|own| own["role"] == "replica")
    }

    /// The process of a node's Postgres. None while Patroni, which still calls it the leader, is about to start it again.
    fn postmaster(&self, node: usize) -> Option<String> {
        let path = self.folder.join(NODES[node]).join("node/postmaster.pid");
        let text = std::fs::read_to_string(path).ok()?;
        text.lines().next().map(str::to_owned)
    }

    fn kill_9(processes: &[String]) {
        Command::new("kill").arg("-9").args(processes).status().expect("kill runs");
    }

    fn patroni(&self, node: usize) -> String {
        self.nodes[node].patroni.as_ref().expect("it was started").id().to_string()
    }

    /// The machine is gone: Patroni and Postgres with all its processes, at once. False when it had no Postgres just then.
    pub(crate) fn lose_machine(&self, node: usize) -> bool {
        let mut all = vec![self.patroni(node)];
        let postmaster = self.postmaster(node);
        let was_there = postmaster.is_some();
        if let Some(postmaster) = postmaster {
            let children = std::fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children"));
            all.extend(children.unwrap_or_default().split_whitespace().map(str::to_owned));
            all.push(postmaster);
        }
        Self::kill_9(&all);
        was_there
    }

    /// Patroni is gone and Postgres goes on: an old primary that does not know that it is none any more.
    pub(crate) fn lose_patroni(&self, node: usize) {
        Self::kill_9(&[self.patroni(node)]);
    }

    /// Postgres is gone and Patroni goes on. False when there was none just then.
    pub(crate) fn lose_postgres(&self, node: usize) -> bool {
        self.postmaster(node).inspect(|postmaster| Self::kill_9(std::slice::from_ref(postmaster))).is_some()
    }

    /// The superuser's way to one node, past the proxy.
    pub(crate) fn node_url(&self, node: usize) -> String {
        format!("postgres://postgres:{ADMIN_PASSWORD}@127.0.0.1:{}/statusdb", self.nodes[node].sql)
    }

    /// Probity's way, through the proxy.
    pub(crate) fn url(&self) -> String {
        format!("postgres://probity:{ADMIN_PASSWORD}@127.0.0.1:{}/statusdb", self.port)
    }

    /// The administrator's way through the proxy, as variables of libpq.
    pub(crate) fn administrator(&self) -> [(&'static str, String); 5] {
        let port = self.port.to_string();
        let of = [("PGHOST", "127.0.0.1"), ("PGPORT", &port), ("PGUSER", "postgres"), ("PGDATABASE", "statusdb")];
        let [host, port, user, database] = of.map(|(name, value)| (name, value.to_owned()));
        [host, port, user, database, ("PGPASSWORD", ADMIN_PASSWORD.to_owned())]
    }

    pub(crate) fn read_url(&self) -> String {
        format!("postgres://grafana:{ADMIN_PASSWORD}@127.0.0.1:{}/statusdb", self.read_port)
    }

    pub(crate) async fn connect(url: &str) -> PgConnection {
        PgConnection::connect(url).await.unwrap_or_else(|e| panic!("{e}"))
    }

    /// What a node's Patroni and Postgres wrote, for who must find out why a drill failed.
    pub(crate) fn log(&self, node: usize) -> String {
        let text = std::fs::read_to_string(self.folder.join(format!("{}.log", NODES[node]))).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }
}
