//! The failover drill of the `ha` profile: Postgres under Patroni with etcd behind HAProxy, a real server that stores
//! verdicts all the while, and the primary lost in three ways. Nothing that was acknowledged may be missing, neither after
//! the failover nor after the old primary's return.
//!
//! With the seeds' scheme (no promotion, a check for the port alone) the last step loses what was written meanwhile: the
//! proxy goes back to the old primary. Here it comes back as a replica, rewound.
//!
//! `tests/drills/failover` runs the long one: the shipped times, three members of etcd, every way to lose a primary, and
//! what is lost when commits do not wait.

pub(crate) mod cluster;
pub(crate) mod load;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::{Connection, Row};

use crate::serve::{Folder, Server, probity, until};
use cluster::{Cluster, Mode, NODES};
use load::Load;

const SHORT: Mode = Mode { synchronous: true, shipped_times: false };

/// A way to lose a primary.
#[derive(Clone, Copy, Debug)]
enum Loss {
    /// The machine: Postgres and Patroni at once.
    Machine,
    /// Patroni alone: Postgres goes on as an old primary that does not know.
    Patroni,
    /// Postgres alone.
    Postgres,
}

/// What a failover came to.
#[derive(Debug)]
struct Outcome {
    loss: Loss,
    /// From the last verdict that was acknowledged before to the first one after.
    without_writes: Duration,
    told: usize,
    missing: usize,
    refused: u64,
}

/// A server over the cluster, and those who call it.
struct Drill {
    cluster: Cluster,
    mode: Mode,
    load: Load,
    server: Server,
    _folder: Folder,
}

impl Drill {
    async fn start(mode: Mode) -> Drill {
        let cluster = Cluster::start(mode).await;
        let folder = Folder::new();
        let collector = load::collector().await;
        folder.write("flows.json", &json!([]));
        load::write_agreements(&folder, &collector);
        let mut command = probity();
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--database-url", &cluster.url()])
            .arg("--data-dir")
            .arg(folder.0.join("data"))
            .arg("--flows")
            .arg(folder.0.join("flows.json"))
            .arg("--agreements")
            .arg(folder.0.join("agreements"))
            // Only what is asked for is evaluated.
            .env("PROBITY_SCHEDULE_FIRST_WINDOWS_MAX", "0")
            .env("PROBITY_SCHEDULE_PROVISIONAL_MS", "0")
            .env("PROBITY_LOG_LEVEL", "warn,probity=info")
            .env("PROBITY_STORE_WAIT_MS_MAX", "3000");
        let server = Server::start(&mut command);
        let load = Load::start(&server.base);
        Drill { cluster, mode, load, server, _folder: folder }
    }

    /// So many more verdicts are acknowledged.
    async fn more(&self, verdicts: usize) {
        let from = self.load.count();
        until("verdicts are acknowledged", async || self.load.count() >= from + verdicts).await;
    }

    /// Loses the primary, waits until verdicts are acknowledged again, brings the old primary back, and counts.
    async fn fail_over(&mut self, loss: Loss) -> Outcome {
        until("the replica could take over", async || self.cluster.has_standby(self.mode).await).await;
        self.more(40).await;
        let old = self.cluster.primary().await.expect("there is a primary");
        let refused = self.load.refused();
        let before = self.load.count();
        match loss {
            Loss::Machine => assert!(self.cluster.lose_machine(old), "the primary has no Postgres"),
            Loss::Patroni => self.cluster.lose_patroni(old),
            Loss::Postgres => assert!(self.cluster.lose_postgres(old), "the primary has no Postgres"),
        }
        let lost = Instant::now();
        until("the other node is primary", async || self.cluster.primary().await.is_some_and(|node| node != old)).await;
        if matches!(loss, Loss::Patroni) {
            self.old_primary_acknowledges_nothing(old).await;
        }
        self.more(40).await;
        let without_writes = self.longest_gap(lost);
        if !matches!(loss, Loss::Postgres) {
            self.cluster.start_node(old);
        }
        until("the old primary is a replica again", async || self.cluster.has_standby(self.mode).await).await;
        assert_eq!(self.cluster.primary().await, Some(1 - old), "the old primary got the role back");
        self.more(40).await;
        let told = self.load.told();
        let missing = self.missing(&told).await;
        assert!(told.len() > before, "nothing was written after the failover");
        Outcome {
            loss,
            without_writes,
            told: told.len(),
            missing: missing.len(),
            refused: self.load.refused() - refused,
        }
    }

    /// The longest time around an instant in which nothing was acknowledged.
    fn longest_gap(&self, around: Instant) -> Duration {
        let told = self.load.told();
        let before = told.iter().map(|told| told.at).filter(|at| *at <= around).max();
        let mut after: Vec<Instant> = told.iter().map(|told| told.at).filter(|at| *at > around).collect();
        after.sort_unstable();
        after.insert(0, before.unwrap_or(around));
        after.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }

    /// Postgres of a node that lost its role, and does not know: a direct writer, past the proxy, is told of nothing.
    async fn old_primary_acknowledges_nothing(&self, old: usize) {
        // Patroni has the key some moments before its Postgres stops receiving; what is acknowledged in between is what
        // the new primary replays before it takes writes.
        let mut new = Cluster::connect(&self.cluster.node_url(1 - old)).await;
        let new = std::cell::RefCell::new(&mut new);
        #[expect(clippy::await_holding_refcell_ref, reason = "one task asks, one after the other")]
        let takes_writes = async || {
            let query = sqlx::query_scalar::<_, bool>("SELECT NOT pg_is_in_recovery()");
            query.fetch_one(&mut **new.borrow_mut()).await.unwrap()
        };
        until("the new primary takes writes", takes_writes).await;
        let url = self.cluster.node_url(old);
        let mut writer = Cluster::connect(&url).await;
        let writes = sqlx::query(
            "INSERT INTO probity.audit (at, actor, action, subject, detail) VALUES (now(), 'nobody', 'late', 'drill', '{}')",
        );
        let told = tokio::time::timeout(Duration::from_secs(3), writes.execute(&mut writer)).await;
        assert!(told.is_err() || told.is_ok_and(|told| told.is_err()), "the old primary acknowledged a write");
    }

    /// Of these verdicts, those that are not stored as they were told, on either node.
    async fn missing(&self, told: &[load::Told]) -> BTreeSet<String> {
        let mut missing = BTreeSet::new();
        for (node, name) in NODES.iter().enumerate() {
            let mut connection = Cluster::connect(&self.cluster.node_url(node)).await;
            let replica: bool =
                sqlx::query_scalar("SELECT pg_is_in_recovery()").fetch_one(&mut connection).await.unwrap();
            if replica && !self.mode.synchronous {
                // It may be behind; what counts is the primary.
                continue;
            }
            if replica {
                // Acknowledged means written there, not yet that it can be read.
                self.caught_up(&mut connection).await;
            }
            let rows = sqlx::query(
                "SELECT agreement, scope ->> 'team' AS team, extract(epoch FROM window_from)::bigint AS at, verdict
                 FROM probity.state WHERE kind = 'guarantee'",
            );
            let rows = rows.fetch_all(&mut connection).await.unwrap();
            let stored: BTreeSet<(String, String, i64, String)> =
                rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
            for told in told {
                let at = told.from.parse::<jiff::Timestamp>().unwrap().as_second();
                let key = (told.agreement.clone(), told.team.clone(), at, told.verdict.clone());
                if !stored.contains(&key) {
                    missing.insert(format!("{} of {key:?}", name));
                }
            }
            connection.close().await.ok();
        }
        missing
    }

    /// The replica has replayed what the primary had written when this was asked.
    async fn caught_up(&self, replica: &mut sqlx::PgConnection) {
        let primary = self.cluster.primary().await.expect("there is a primary");
        let mut connection = Cluster::connect(&self.cluster.node_url(primary)).await;
        let at: String =
            sqlx::query_scalar("SELECT pg_current_wal_lsn()::text").fetch_one(&mut connection).await.unwrap();
        let replica = std::cell::RefCell::new(replica);
        #[expect(clippy::await_holding_refcell_ref, reason = "one task asks, one after the other")]
        let behind = async || {
            let query = sqlx::query_scalar::<_, bool>("SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn").bind(&at);
            query.fetch_one(&mut **replica.borrow_mut()).await.unwrap()
        };
        until("the replica has replayed it", behind).await;
    }

    /// Dashboards read on the other port, as Grafana's user, and cannot write there.
    async fn reads_come_from_the_replica(&self) {
        let reads = async || {
            let mut connection = Cluster::connect(&self.cluster.read_url()).await;
            let row =
                sqlx::query("SELECT pg_is_in_recovery(), count(*) FROM probity.verdicts").fetch_one(&mut connection);
            let row = row.await.unwrap();
            row.get::<bool, _>(0) && row.get::<i64, _>(1) > 0
        };
        until("reads are answered by the replica", reads).await;
    }

    /// The daily backup by the one address of the database, whichever node is behind it now; its manifest counts the rows.
    fn backs_up_through_the_proxy(&self, told: usize) {
        let backups = tempfile::tempdir().unwrap();
        let output = std::process::Command::new("bash")
            .arg(super::file("deploy/bin/backup_db.sh"))
            .env("BACKUP_DIR", backups.path())
            .env("BACKUP_UNENCRYPTED", "yes")
            .envs(self.cluster.administrator())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let files = std::fs::read_dir(backups.path()).unwrap().map(|entry| entry.unwrap().path());
        let file = files.into_iter().find(|path| path.to_string_lossy().ends_with(".sql.gz")).expect("a backup");
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let time = name.strip_prefix("db_backup_").and_then(|rest| rest.strip_suffix(".sql.gz")).expect("its name");
        assert!(time.len() == 14 && time.chars().all(|c| c.is_ascii_digit()), "{name}");
        let text = std::process::Command::new("gzip").arg("-dc").arg(&file).output().unwrap().stdout;
        let text = String::from_utf8_lossy(&text);
        let counted = text.lines().find_map(|line| line.strip_prefix("-- table probity.state\t")).expect("a count");
        let rows: usize = counted.split('\t').next().unwrap().parse().unwrap();
        assert!(rows >= told, "{rows} rows of states, and {told} verdicts were told");
    }

    fn logs(&self) -> String {
        format!("{}\n{}\nserver {}", self.cluster.log(0), self.cluster.log(1), self.server.base)
    }
}

fn say(outcome: &Outcome) {
    eprintln!(
        "failover ({:?} lost): {:.1} s without acknowledged writes, {} calls refused meanwhile; {} of {} acknowledged \
         verdicts missing",
        outcome.loss,
        outcome.without_writes.as_secs_f64(),
        outcome.refused,
        outcome.missing,
        outcome.told,
    );
}

/// The short one: the machine is lost under load, and comes back.
#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_verdict_is_missing_when_the_primary_is_lost_and_returns() {
    if !cluster::available() {
        return;
    }
    let mut drill = Drill::start(SHORT).await;
    let outcome = drill.fail_over(Loss::Machine).await;
    say(&outcome);
    drill.reads_come_from_the_replica().await;
    drill.load.stop().await;
    let told = drill.load.told();
    let missing = drill.missing(&told).await;
    assert!(missing.is_empty(), "{missing:?}\n{}", drill.logs());
    assert_eq!(outcome.missing, 0);
    drill.backs_up_through_the_proxy(told.len());
}

/// The long one, with the shipped times; `tests/drills/failover`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: tests/drills/failover"]
async fn every_way_to_lose_a_primary() {
    assert!(cluster::available());
    let mut drill = Drill::start(Mode { synchronous: true, shipped_times: true }).await;
    for loss in [Loss::Machine, Loss::Patroni, Loss::Postgres, Loss::Machine] {
        let outcome = drill.fail_over(loss).await;
        say(&outcome);
        assert_eq!(outcome.missing, 0, "{}", drill.logs());
    }
    drill.reads_come_from_the_replica().await;
    drill.load.stop().await;
    let told = drill.load.told();
    let missing = drill.missing(&told).await;
    assert!(missing.is_empty(), "{missing:?}\n{}", drill.logs());
}

/// What is lost when commits do not wait for the replica: printed, and bounded by the time of the last moments.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: tests/drills/failover"]
async fn without_synchronous_commits_only_the_last_moments_are_lost() {
    assert!(cluster::available());
    let mode = Mode { synchronous: false, shipped_times: false };
    let mut drill = Drill::start(mode).await;
    let lost = Instant::now();
    let outcome = drill.fail_over(Loss::Machine).await;
    say(&outcome);
    drill.load.stop().await;
    eprintln!(
        "asynchronous: {} acknowledged verdicts missing ({:.1} s of load)",
        outcome.missing,
        lost.elapsed().as_secs_f64()
    );
    assert!(outcome.missing < outcome.told / 2, "more than the last moments are gone: {outcome:?}\n{}", drill.logs());
}
