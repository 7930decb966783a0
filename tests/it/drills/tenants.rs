//! Tenants on Postgres clusters of their own, each with its Probity, behind HAProxy with the shipped configuration: what is
//! one tenant's lies in its cluster alone, and a cluster that is down is nobody else's trouble.

use std::process::{Child, Command, Stdio};

use serde_json::Value;
use sqlx::{Connection, PgConnection};

use super::fleet::free_port;
use crate::durable::{Receiver, client, flows, serve};
use crate::harness::postgres;
use crate::serve::{Folder, Server, until};

/// A tenant's cluster and its Probity.
struct Cluster {
    postgres: postgres::Server,
    database: String,
    server: Server,
    receiver: std::sync::Arc<Receiver>,
    _folder: Folder,
}

impl Cluster {
    async fn start(tenant: &str) -> Cluster {
        let (postgres, receiver, folder) = (postgres::Server::start(true), Receiver::serve().await, Folder::new());
        let database = postgres.database().await;
        let mut tabs = flows(&receiver.url);
        tabs[0]["tenant"] = tenant.into();
        folder.write("flows.json", &tabs);
        let server = Server::start(&mut serve(&folder, &database));
        Cluster { postgres, database, server, receiver, _folder: folder }
    }

    /// Runs in its history.
    async fn runs(&self) -> i64 {
        let mut connection = PgConnection::connect(&self.database).await.unwrap();
        let count = sqlx::query_scalar("SELECT count(*) FROM probity.run WHERE subject = 't' AND state = 'done'");
        count.fetch_one(&mut connection).await.unwrap()
    }
}

/// HAProxy; gone with the test.
struct Proxy {
    child: Child,
    base: String,
    _folder: Folder,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Proxy {
    fn start(clusters: [&Cluster; 2]) -> Proxy {
        let (folder, port) = (Folder::new(), free_port());
        let map = folder.0.join("tenants.map");
        std::fs::write(&map, "acme.example.org cluster-1\nglobex.example.org cluster-2\n").unwrap();
        let mut text = crate::deploy::read("deploy/ha/tenants.cfg");
        let address = |cluster: &Cluster| cluster.server.base.trim_start_matches("http://").to_owned();
        for (from, to) in [
            ("bind :1880", format!("bind 127.0.0.1:{port}")),
            ("/usr/local/etc/haproxy/tenants.map", map.display().to_string()),
            ("log stdout format raw local0", String::new()),
            ("cluster-1-a:1880", address(clusters[0])),
            ("cluster-2-a:1880", address(clusters[1])),
        ] {
            assert!(text.contains(from), "deploy/ha/tenants.cfg has no {from:?} any more");
            text = text.replace(from, &to);
        }
        let config = folder.0.join("haproxy.cfg");
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("/usr/sbin/haproxy");
        command.args(["-db", "-f"]).arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("haproxy runs");
        Proxy { child, base: format!("http://127.0.0.1:{port}"), _folder: folder }
    }

    /// Asks for a run of a tenant; its status, or none when the connection broke.
    async fn pay(&self, host: &str, what: &str) -> Option<u16> {
        let call = client().post(format!("{}/pay?async=1", self.base)).header("host", host).body(what.to_owned());
        Some(call.header("idempotency-key", what).send().await.ok()?.status().as_u16())
    }

    async fn ready(&self, host: &str) -> Option<(u16, Value)> {
        let answer = client().get(format!("{}/health/ready", self.base)).header("host", host).send().await.ok()?;
        Some((answer.status().as_u16(), serde_json::from_str(&answer.text().await.ok()?).unwrap_or_default()))
    }
}

const ACME: &str = "acme.example.org";
const GLOBEX: &str = "globex.example.org:8443";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_down_is_nobody_elses_trouble() {
    let (acme, globex) = (Cluster::start("acme").await, Cluster::start("globex").await);
    let proxy = Proxy::start([&acme, &globex]);
    for host in [ACME, GLOBEX] {
        until("both are behind the proxy", async || {
            proxy.ready(host).await.is_some_and(|(status, told)| status == 200 && told["dependencies"].is_object())
        })
        .await;
    }
    assert_eq!(proxy.ready("initech.example.org").await.map(|(status, _)| status), Some(404));
    for n in 0..5 {
        assert_eq!(proxy.pay(ACME, &format!("a{n}")).await, Some(202));
    }
    assert_eq!(proxy.pay(GLOBEX, "g0").await, Some(202));
    until("each in its own cluster", async || acme.runs().await == 5 && globex.runs().await == 1).await;
    let sent = |cluster: &Cluster| cluster.receiver.got().into_keys().collect::<Vec<_>>();
    assert_eq!(
        (sent(&acme), sent(&globex)),
        (["a0", "a1", "a2", "a3", "a4"].map(String::from).to_vec(), vec!["g0".into()])
    );

    // Accepted, and not at its end when its cluster goes down.
    globex.receiver.hold(true);
    assert_eq!(proxy.pay(GLOBEX, "g1").await, Some(202));
    until("it is under way", async || globex.receiver.got().contains_key("g1")).await;
    globex.postgres.kill_9();
    until("the other's readiness says so", async || proxy.ready(GLOBEX).await.is_some_and(|(code, _)| code == 503))
        .await;
    assert_eq!(proxy.pay(GLOBEX, "g2").await, Some(503), "nothing is accepted without its cluster");
    assert_eq!(proxy.ready(ACME).await.map(|(status, _)| status), Some(200));
    for n in 5..10 {
        assert_eq!(proxy.pay(ACME, &format!("a{n}")).await, Some(202));
    }
    until("this one works on", async || acme.runs().await == 10).await;

    globex.postgres.start_again();
    globex.receiver.hold(false);
    until("the other is back", async || proxy.pay(GLOBEX, "g2").await == Some(202)).await;
    until("what it had accepted has ended", async || globex.runs().await == 3).await;
    assert_eq!(acme.runs().await, 10);
    // What was under way may have been sent again, under its own key.
    assert!(globex.receiver.got().values().all(|(_, keys)| keys.len() == 1));
}
