//! The store in Postgres: schema `probity`, set-based statements, one transaction a commit.

mod address;
mod aside;
mod claims;
mod contexts;
mod copy;
mod delivery;
mod documents;
mod flow_revisions;
mod good;
mod history;
mod instant;
mod notifications;
mod partitions;
mod people;
mod queue;
mod states;
mod turns;
mod upkeep;
mod waivers;

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use jiff::civil::Date;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use address::{Address, Servers};
use partitions::{Partitions, Table};

use super::batch::{self, Row};
use super::queue::{CommittedRun, Held};
use super::{
    AuditEntry, Commit, Committed, Delivery, DocumentKind, Expired, GoodDocument, NotificationRule, Page, PageRequest,
    PutDocument, Retention, RunQuery, SchemaDistance, Settled, StateQuery, Store, StoreError, StoreOptions,
    StoredDocument, during, session::Session, without_password,
};
use crate::model::RunId;
use crate::model::budget::Outcome;
use crate::model::run::RunRecord;
use crate::model::state::{Correction, Scope, State, StateKind, StoredState};
use crate::model::waiver::Waiver;

/// First halves of our advisory locks, so that they meet nobody else's: `PROB`, `PROM`.
const LOCK_AGREEMENT: i32 = 0x5052_4f42;
const LOCK_MIGRATION: i32 = 0x5052_4f4d;

/// Keys a statement carries: enough to hide the round trip, few enough that a chunk stays a few megabytes.
const CHUNK_ROWS: usize = 2000;

#[derive(Debug)]
pub(super) struct PostgresStore {
    pool: PgPool,
    queue: queue::Lane,
    partitions: Partitions,
    /// Without the password.
    shown: String,
    call_timeout: Duration,
    commit_attempts_max: u32,
    deliver: Option<Vec<String>>,
    notify: Vec<NotificationRule>,
    servers: Servers,
}

impl PostgresStore {
    /// Connects once, to say now and exactly what is wrong; then as needed.
    pub(super) async fn open(url: &str, options: &StoreOptions) -> Result<PostgresStore, StoreError> {
        let shown = without_password(url);
        let unusable =
            |problem: String, hint: &str| StoreError::Unusable { url: shown.clone(), problem, hint: hint.to_owned() };
        let expected =
            "expected postgres://user:password@host:5432/database; percent-encode what is special in a password";
        let address = Address::parse(url, &options.password).map_err(|problem| unusable(problem, expected))?;
        let timeout = Duration::from_millis(options.connect_timeout_ms);
        let (wanted, servers) = (address.wanted, Servers::new(address.clone(), timeout));
        let connect = servers.fitting(&address).await.map_err(|error| match error {
            sqlx::Error::Io(ref io) if io.kind() == std::io::ErrorKind::TimedOut => {
                unusable(io.to_string(), "check host, port and firewall, or raise connect_timeout_ms")
            }
            sqlx::Error::Io(ref io) if io.kind() == std::io::ErrorKind::NotFound && url.contains("sslrootcert=") => {
                let file = url.split("sslrootcert=").nth(1).and_then(|rest| rest.split('&').next()).unwrap_or_default();
                unusable(format!("{file}: {io}"), "sslrootcert names the file of a certificate authority")
            }
            error => unusable(error.to_string(), hint_for(&error)),
        })?;
        let queue = queue::Lane::new(&connect, options.connections_max, timeout);
        let pool = PgPoolOptions::new()
            .max_connections(options.connections_max.max(1))
            .acquire_timeout(timeout)
            .after_connect(move |connection, _| Box::pin(address::check(connection, wanted)))
            .connect_lazy_with(connect);
        Ok(PostgresStore {
            pool,
            queue,
            partitions: Partitions::default(),
            shown,
            call_timeout: Duration::from_millis(options.call_timeout_ms),
            commit_attempts_max: options.commit_attempts_max.max(1),
            deliver: options.deliver.clone(),
            notify: options.notify.clone(),
            servers,
        })
    }

    /// New connections are made so from now on.
    fn connect_with(&self, options: PgConnectOptions) {
        self.queue.renew(&options);
        self.pool.set_connect_options(options);
    }

    /// With a lease, the durable run that it is of ends with the commit.
    async fn try_commit(
        &self,
        commit: &Commit,
        turn: Option<i64>,
        held: Option<Held>,
        rows: &[Row<'_>],
        again: bool,
    ) -> Result<CommittedRun, StoreError> {
        let failed = "store an evaluation";
        let days_of_states = partitions::days_of_states(rows);
        let of = |table| days_of_states.iter().map(move |day| (table, *day));
        let mut days: BTreeSet<(Table, Date)> = of(Table::State).collect();
        days.insert((Table::Run, partitions::day_of_run(commit.run.id.0)));
        let earlier: BTreeSet<(Table, Date)> = of(Table::Revision).collect();
        let today = partitions::day(commit.recorded_at);
        // Where nothing is stored yet nothing becomes an earlier revision, and half of the partitions need not be made.
        // When that has changed by the time of the commit, there is no place for them, and it is tried again.
        if again || (!self.partitions.all_known(&earlier) && self.are_some_known(rows).await?) {
            days.extend(earlier);
        }
        if !again {
            self.partitions.make(&self.pool, &days, today).await?;
        }
        let mut tx = self.pool.begin().await.map_err(during(failed))?;
        if again {
            // Others may be dropping these very days, again and again.
            partitions::make_and_hold(&mut tx, &days, today).await.map_err(during(failed))?;
        }
        states::find_by_key(&mut tx).await.map_err(during(failed))?;
        states::lock_agreements(&mut tx, rows).await.map_err(during(failed))?;
        if let Some(held) = held
            && !queue::remove(&mut tx, held).await.map_err(during(failed))?
        {
            tx.rollback().await.map_err(during(failed))?;
            return Ok(CommittedRun::Lost);
        }
        let next = turns::raise(&mut tx, &commit.run.subject).await.map_err(during(failed))?;
        if turn.is_some_and(|turn| next != turn + 1) {
            // At once: dropped, it would be rolled back when the connection is used next.
            tx.rollback().await.map_err(during(failed))?;
            return Ok(CommittedRun::OtherTurn);
        }
        let known = states::known(&mut tx, rows).await.map_err(during(failed))?;
        let changes = batch::changes(rows, &known);
        states::move_to_history(&mut tx, &changes.replaced).await.map_err(during(failed))?;
        states::insert(&mut tx, &changes.written, commit.recorded_at).await.map_err(during(failed))?;
        let kept = super::delivery::kept(&changes.written, self.deliver.as_deref());
        delivery::keep(&mut tx, commit.run.id.0, &kept, commit.recorded_at).await.map_err(during(failed))?;
        notifications::keep(&mut tx, commit.run.id, &changes.written, &self.notify, commit.recorded_at)
            .await
            .map_err(during(failed))?;
        history::put_runs(&mut tx, &[&commit.run]).await.map_err(during(failed))?;
        history::add_audit(&mut *tx, &commit.audit).await.map_err(during(failed))?;
        if let Some(claim) = &commit.claim
            && !claims::put_completed(&mut tx, claim, commit.run.id, commit.recorded_at)
                .await
                .map_err(during(failed))?
        {
            // Dropped, the transaction is rolled back.
            return Err(StoreError::late(claim));
        }
        tx.commit().await.map_err(during(failed))?;
        Ok(CommittedRun::Done(changes.committed))
    }

    /// Whether anything is stored of the agreements of these rows in the time of their windows.
    async fn are_some_known(&self, rows: &[Row<'_>]) -> Result<bool, StoreError> {
        let failed = "look for states";
        let mut connection = self.pool.acquire().await.map_err(during(failed))?;
        states::any_known(&mut connection, rows).await.map_err(during(failed))
    }

    /// Fails a call that takes longer than allowed. Its transaction, if any, is rolled back.
    async fn within<T>(
        &self,
        what: &'static str,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let done = tokio::time::timeout(self.call_timeout, call).await.unwrap_or_else(|_| {
            let problem = format!("no answer within {} ms", self.call_timeout.as_millis());
            let source = std::io::Error::new(std::io::ErrorKind::TimedOut, problem);
            Err(StoreError::Database { what, source: sqlx::Error::Io(source) })
        });
        if let Err(error) = &done
            && (error.is_unreachable() || is_read_only(error))
        {
            let now = self.pool.connect_options();
            if let Some(found) = self.servers.elsewhere(&now).await {
                self.connect_with(found);
            }
        }
        done
    }

    /// A commit, again while others are in its way.
    async fn commit_in_turn(
        &self,
        commit: &Commit,
        turn: Option<i64>,
        held: Option<Held>,
    ) -> Result<CommittedRun, StoreError> {
        let rows = batch::rows(&commit.states);
        let mut attempt = 1;
        loop {
            match self.try_commit(commit, turn, held, &rows, attempt > 1).await {
                Err(error) if attempt < self.commit_attempts_max && is_conflict(&error) => {
                    tracing::debug!(attempt, %error, "commit again: another transaction was in the way");
                    // It may be that a partition was dropped.
                    self.partitions.forget();
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    async fn put_runs(&self, runs: &[RunRecord]) -> Result<(), StoreError> {
        let mut attempt = 1;
        loop {
            match self.try_put_runs(runs).await {
                Err(error) if attempt < self.commit_attempts_max && is_conflict(&error) => {
                    self.partitions.forget();
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    async fn try_put_runs(&self, runs: &[RunRecord]) -> Result<(), StoreError> {
        let failed = "store runs";
        let Some(today) = runs.iter().map(|run| run.started_at).max() else { return Ok(()) };
        let days = runs.iter().map(|run| (Table::Run, partitions::day_of_run(run.id.0))).collect();
        self.partitions.make(&self.pool, &days, partitions::day(today)).await?;
        let mut tx = self.pool.begin().await.map_err(during(failed))?;
        let runs: Vec<&RunRecord> = runs.iter().collect();
        for chunk in runs.chunks(CHUNK_ROWS) {
            history::put_runs(&mut tx, chunk).await.map_err(during(failed))?;
        }
        tx.commit().await.map_err(during(failed))
    }

    /// All in one transaction that holds a lock, so that several processes can start at once, and one that dies
    /// leaves nothing half done.
    async fn try_migrate(&self) -> Result<(), StoreError> {
        let failed = "bring the schema up to date";
        let mut tx = self.pool.begin().await.map_err(during(failed))?;
        sqlx::query("SELECT pg_advisory_xact_lock($1, 0)")
            .bind(LOCK_MIGRATION)
            .execute(&mut *tx)
            .await
            .map_err(during(failed))?;
        // Not `IF NOT EXISTS`: that needs the right to create schemas even when there is nothing to create.
        let missing: bool = sqlx::query_scalar("SELECT to_regnamespace('probity') IS NULL")
            .fetch_one(&mut *tx)
            .await
            .map_err(during(failed))?;
        if missing {
            sqlx::query("CREATE SCHEMA probity").execute(&mut *tx).await.map_err(during(failed))?;
        }
        migrator().run_direct(None, &mut *tx, false).await.map_err(during(failed))?;
        sqlx::raw_sql(include_str!("grafana_role.sql")).execute(&mut *tx).await.map_err(during(failed))?;
        tx.commit().await.map_err(during(failed))
    }
}

fn migrator() -> sqlx::migrate::Migrator {
    let mut migrator = sqlx::migrate!("src/store/migrations/postgres");
    migrator.dangerous_set_table_name("probity.migration");
    migrator.set_locking(false);
    migrator
}

/// Numbers of the migrations that were run.
async fn migrated(pool: &PgPool) -> Result<Vec<i64>, sqlx::Error> {
    let there = "SELECT to_regclass('probity.migration') IS NOT NULL";
    if !sqlx::query_scalar::<_, bool>(there).fetch_one(pool).await? {
        return Ok(Vec::new());
    }
    sqlx::query_scalar("SELECT version FROM probity.migration ORDER BY version").fetch_all(pool).await
}

/// What to do about a refused connection.
fn hint_for(error: &sqlx::Error) -> &'static str {
    match error {
        sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            "check sslmode and the certificate"
        }
        sqlx::Error::Io(_) => "is Postgres running there, and does it listen on this host and port?",
        sqlx::Error::Database(error) => match error.code().as_deref() {
            Some("28P01" | "28000") => "check user and password, and pg_hba.conf",
            Some("3D000") => "create it: CREATE DATABASE … OWNER …",
            Some("53300") => "the server has no free connection; raise its max_connections or lower ours",
            _ => "see the server's log",
        },
        sqlx::Error::Tls(_) => "check sslmode and the certificate",
        _ => "check the address",
    }
}

/// The server is no primary any more.
fn is_read_only(error: &StoreError) -> bool {
    let StoreError::Database { source: sqlx::Error::Database(error), .. } = error else { return false };
    error.code().as_deref() == Some("25006")
}

/// Changes the password of the user of an address.
pub(super) async fn change_password(url: &str, options: &StoreOptions, new: &str) -> Result<(), StoreError> {
    let shown = without_password(url);
    let unusable =
        |problem: String, hint: &str| StoreError::Unusable { url: shown.clone(), problem, hint: hint.to_owned() };
    let address = Address::parse(url, &options.password).map_err(|problem| unusable(problem, "check the address"))?;
    let limit = Duration::from_millis(options.connect_timeout_ms);
    let changed = address::change_password(&address, limit, new).await;
    changed.map_err(|error| unusable(error.to_string(), hint_for(&error)))
}

/// Another transaction was in the way: the same again may succeed. Deadlock, serialisation failure, a row that
/// somebody inserted meanwhile, or a partition that is gone (to Postgres a violated check).
fn is_conflict(error: &StoreError) -> bool {
    let StoreError::Database { source: sqlx::Error::Database(error), .. } = error else { return false };
    matches!(error.code().as_deref(), Some("40001" | "40P01" | "23505" | "23514"))
}

#[async_trait]
impl Store for PostgresStore {
    fn describe(&self) -> String {
        self.shown.clone()
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        // However long it takes: a large database is carried over by some migrations.
        self.try_migrate().await
    }

    async fn schema_distance(&self) -> Result<SchemaDistance, StoreError> {
        let what = "read which migrations were run";
        let applied = async { migrated(&self.pool).await.map_err(during(what)) };
        let applied = self.within(what, applied).await?;
        Ok(SchemaDistance::between(&migrator(), &applied))
    }

    async fn renew(&self, url: &str, password: &str) -> Result<(), StoreError> {
        let what = "use another address or password";
        let address = Address::parse(url, password)
            .map_err(|problem| StoreError::Database { what, source: sqlx::Error::Configuration(problem.into()) })?;
        let found = self.servers.renewed(address).await.map_err(during(what))?;
        self.connect_with(found);
        Ok(())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let what = "reach the database";
        let asked = async { sqlx::query("SELECT 1").execute(&self.pool).await.map_err(during(what)) };
        self.within(what, asked).await.map(drop)
    }

    async fn commit(&self, commit: &Commit) -> Result<Committed, StoreError> {
        let committed = self.within("store an evaluation", self.commit_in_turn(commit, None, None)).await?;
        Ok(committed.done().expect("only a turn that is given can be another"))
    }

    async fn commit_at(&self, commit: &Commit, turn: i64) -> Result<Option<Committed>, StoreError> {
        Ok(self.within("store an evaluation", self.commit_in_turn(commit, Some(turn), None)).await?.done())
    }

    async fn put_aside(&self, agreement: &str, states: &[State], at: Timestamp) -> Result<(), StoreError> {
        self.within("keep states aside", aside::put(&self.pool, agreement, states, at)).await
    }

    async fn aside(&self, agreement: &str) -> Result<Vec<StoredState>, StoreError> {
        self.within("read states kept aside", aside::list(&self.pool, agreement)).await
    }

    async fn keep_good(&self, source: &str, documents: &[GoodDocument]) -> Result<(), StoreError> {
        self.within("keep good documents", good::keep(&self.pool, source, documents)).await
    }

    async fn good(&self, source: &str) -> Result<Vec<GoodDocument>, StoreError> {
        self.within("read good documents", good::list(&self.pool, source)).await
    }

    async fn turn(&self, agreement: &str) -> Result<i64, StoreError> {
        self.within("read the turn of an agreement", turns::read(&self.pool, agreement)).await
    }

    async fn upkeep(&self, now: Timestamp, keep: &Retention) -> Result<Expired, StoreError> {
        // However long it takes: counting and moving the rows of a large partition is work.
        queue::expire_keys(&self.pool).await?;
        contexts::forget_free_limits(&self.pool).await?;
        upkeep::upkeep(&self.pool, &self.partitions, now, keep).await
    }

    async fn next_delivery(&self, now: Timestamp, until: Timestamp) -> Result<Option<Delivery>, StoreError> {
        self.within("take a delivery", delivery::next(&self.pool, now, until)).await
    }

    async fn settle_delivery(&self, delivery: &Delivery, settled: &Settled) -> Result<(), StoreError> {
        let what = "settle a delivery";
        let settle = delivery::settle(&self.pool, delivery, settled);
        self.within(what, async { settle.await.map_err(during(what)) }).await
    }

    async fn deliveries_waiting(&self) -> Result<u64, StoreError> {
        self.within("count what is to be delivered", delivery::waiting(&self.pool)).await
    }

    async fn record_runs(&self, runs: &[RunRecord]) -> Result<(), StoreError> {
        self.within("store runs", self.put_runs(runs)).await
    }

    async fn run(&self, id: RunId) -> Result<Option<RunRecord>, StoreError> {
        self.within("read a run", history::run(&self.pool, id)).await
    }

    async fn runs(&self, query: &RunQuery, page: &PageRequest) -> Result<Page<RunRecord>, StoreError> {
        self.within("list runs", history::runs(&self.pool, query, page)).await
    }

    async fn states(&self, query: &StateQuery, page: &PageRequest) -> Result<Page<StoredState>, StoreError> {
        self.within("list states", states::list(&self.pool, query, page)).await
    }

    async fn outcomes(
        &self,
        agreement: &str,
        guarantee: &str,
        after: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Outcome>, StoreError> {
        self.within(
            "read the verdicts of a guarantee",
            states::outcomes(&self.pool, agreement, guarantee, after, until),
        )
        .await
    }

    async fn revisions(
        &self,
        agreement: &str,
        kind: StateKind,
        of: &str,
        scope: &Scope,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<StoredState>, StoreError> {
        let key = super::fingerprint::identity(agreement, kind, of, scope, from, to);
        self.within("read the revisions of a state", states::revisions(&self.pool, to, key)).await
    }

    async fn corrections(&self, query: &StateQuery, page: &PageRequest) -> Result<Page<Correction>, StoreError> {
        self.within("list corrections", states::corrections(&self.pool, query, page)).await
    }

    async fn add_waiver(&self, waiver: &Waiver, audit: &AuditEntry) -> Result<bool, StoreError> {
        self.within("store a waiver", waivers::add(&self.pool, waiver, audit)).await
    }

    async fn end_waiver(
        &self,
        agreement: &str,
        id: &str,
        at: Timestamp,
        audit: &AuditEntry,
    ) -> Result<bool, StoreError> {
        self.within("end a waiver", waivers::end(&self.pool, agreement, id, at, audit)).await
    }

    async fn waivers(&self, agreement: Option<&str>) -> Result<Vec<Waiver>, StoreError> {
        self.within("list waivers", waivers::list(&self.pool, agreement)).await
    }

    async fn documents(&self, kind: DocumentKind) -> Result<Vec<StoredDocument>, StoreError> {
        self.within("list documents", documents::list(&self.pool, kind)).await
    }

    async fn documents_revision(&self) -> Result<i64, StoreError> {
        self.within("read the revision of documents", documents::revision(&self.pool)).await
    }

    async fn put_document(
        &self,
        kind: DocumentKind,
        document: &StoredDocument,
        only_new: bool,
        audit: &AuditEntry,
    ) -> Result<PutDocument, StoreError> {
        let what = "store a document";
        let put = documents::put(&self.pool, kind, document, only_new, audit);
        self.within(what, async { put.await.map_err(during(what)) }).await
    }

    async fn remove_document(&self, kind: DocumentKind, id: &str, audit: &AuditEntry) -> Result<bool, StoreError> {
        let what = "remove a document";
        let remove = documents::remove(&self.pool, kind, id, audit);
        self.within(what, async { remove.await.map_err(during(what)) }).await
    }

    async fn add_session(&self, session: &Session, now: Timestamp) -> Result<(), StoreError> {
        self.within("store a login", people::add_session(&self.pool, session, now)).await
    }

    async fn session(&self, token_hash: &str) -> Result<Option<Session>, StoreError> {
        self.within("look up a login", people::session(&self.pool, token_hash)).await
    }

    async fn end_session(&self, token_hash: &str) -> Result<bool, StoreError> {
        self.within("end a login", people::end_session(&self.pool, token_hash)).await
    }

    async fn user_settings(&self, user: &str) -> Result<Option<serde_json::Value>, StoreError> {
        self.within("read a user's settings", people::user_settings(&self.pool, user)).await
    }

    async fn put_user_settings(&self, user: &str, settings: &serde_json::Value) -> Result<(), StoreError> {
        self.within("store a user's settings", people::put_user_settings(&self.pool, user, settings)).await
    }

    async fn audit(&self, entry: &AuditEntry) -> Result<(), StoreError> {
        let what = "store an audit entry";
        self.within(what, async { history::add_audit(&self.pool, entry).await.map_err(during(what)) }).await
    }

    async fn audit_entries(&self, page: &PageRequest) -> Result<Page<AuditEntry>, StoreError> {
        self.within("list audit entries", history::audit_entries(&self.pool, page)).await
    }
}
