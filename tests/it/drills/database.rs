//! The Postgres of a drill: one server, or two under Patroni with HAProxy before them.

use std::time::Duration;

use sqlx::{Connection, PgConnection};

use super::wire::Target;
use super::within;
use crate::deploy::failover::cluster::{Cluster, Mode};
use crate::harness::postgres;

/// Patroni's shortest times: a failover takes seconds.
const MODE: Mode = Mode { synchronous: true, shipped_times: false };

pub(super) enum Database {
    One { server: postgres::Server, url: url::Url },
    Two(Box<Cluster>),
}

impl Database {
    pub(super) async fn one() -> Database {
        let server = postgres::Server::start(true);
        let url = url::Url::parse(&server.database().await).unwrap();
        Database::One { server, url }
    }

    pub(super) async fn two() -> Database {
        Database::Two(Box::new(Cluster::start(MODE).await))
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Database::Two(_))
    }

    /// Where a wire leads.
    pub(super) fn target(&self) -> Target {
        match self {
            Database::One { server, .. } => Target::Socket(server.folder().join(".s.PGSQL.5432")),
            Database::Two(cluster) => Target::Port(cluster.port),
        }
    }

    /// A replica's address, over the wire with this port.
    pub(super) fn url_over(&self, port: u16) -> String {
        let mut url = match self {
            Database::One { url, .. } => url.clone(),
            Database::Two(cluster) => url::Url::parse(&cluster.url()).unwrap(),
        };
        url.set_query(None);
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(port)).unwrap();
        url.into()
    }

    /// The superuser's connection to who may write, past all wires; nothing while nobody may.
    pub(super) async fn try_connect(&self) -> Option<PgConnection> {
        let url = match self {
            Database::One { url, .. } => url.to_string(),
            Database::Two(cluster) => cluster.node_url(cluster.primary().await?),
        };
        let connecting = tokio::time::timeout(Duration::from_secs(5), PgConnection::connect(&url)).await;
        connecting.ok()?.ok()
    }

    pub(super) async fn connect(&self) -> PgConnection {
        let found = std::cell::RefCell::new(None);
        let try_it = async || {
            let connection = self.try_connect().await;
            let is_there = connection.is_some();
            *found.borrow_mut() = connection;
            is_there
        };
        within(Duration::from_secs(90), "the database answers", try_it, async || self.log()).await;
        found.into_inner().expect("it was there")
    }

    /// Kills all of a server's processes; it starts again at once.
    pub(super) async fn restart(&self) {
        match self {
            Database::One { server, .. } => {
                server.kill_9();
                tokio::task::block_in_place(|| server.start_again());
            }
            Database::Two(cluster) => {
                if let Some(primary) = cluster.primary().await {
                    // None is there while Patroni starts it after the restart before.
                    cluster.lose_postgres(primary);
                }
            }
        }
    }

    /// The primary's machine is gone; the other one takes over, and the old one comes back behind it. True when it was
    /// done: it is not while nobody could take over. When the last to be sure of was that the other had not all commits,
    /// it must not, and the old one comes back as what it was.
    pub(super) async fn fail_over(&mut self) -> bool {
        let Database::Two(cluster) = self else { return false };
        let ready = async || cluster.has_standby(MODE).await;
        let mut left = 300;
        while !ready().await {
            left -= 1;
            if left == 0 {
                return false;
            }
            super::pause(Duration::from_millis(100)).await;
        }
        let Some(old) = cluster.primary().await else { return false };
        cluster.lose_machine(old);
        let other = async || cluster.primary().await.is_some_and(|node| node != old);
        let decided = async || other().await || cluster.must_not_take_over(1 - old, MODE).await;
        within(Duration::from_secs(90), "the other node is primary", decided, async || cluster.log(1 - old)).await;
        let taken_over = other().await;
        cluster.start_node(old);
        taken_over
    }

    pub(super) fn log(&self) -> String {
        match self {
            Database::One { server, .. } => {
                let log = std::fs::read_to_string(server.folder().join("server.log")).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                lines[lines.len().saturating_sub(40)..].join("\n")
            }
            Database::Two(cluster) => format!("{}\n{}", cluster.log(0), cluster.log(1)),
        }
    }
}
