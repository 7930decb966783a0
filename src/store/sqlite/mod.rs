//! The store in a SQLite file: one writer, a few readers, WAL, every acknowledged commit synced to the disk.

mod aside;
mod claims;
mod contexts;
mod delivery;
mod documents;
mod flow_revisions;
mod good;
mod history;
mod notifications;
mod people;
mod queue;
mod states;
mod turns;
mod upkeep;
mod waivers;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, Sqlite, SqliteConnection};
use tokio::sync::watch;

use super::queue::{CommittedRun, Held};
use super::{
    AuditEntry, Commit, Committed, Delivery, DocumentKind, Expired, GoodDocument, NotificationRule, Page, PageRequest,
    PutDocument, Retention, RunQuery, SchemaDistance, Settled, StateQuery, Store, StoreError, StoreOptions,
    StoredDocument, batch, during, session::Session,
};
use crate::clock::Clock;
use crate::model::RunId;
use crate::model::budget::Outcome;
use crate::model::run::RunRecord;
use crate::model::state::{Correction, Scope, State, StateKind, StoredState};
use crate::model::waiver::Waiver;

/// A reader that nobody asked for this long is closed.
const READER_IDLE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct SqliteStore {
    /// One connection: SQLite has one writer at a time, and a queue here is fairer than its busy loop.
    writer: SqlitePool,
    readers: SqlitePool,
    path: PathBuf,
    deliver: Option<Vec<String>>,
    wakes: watch::Sender<u64>,
    notify: Vec<NotificationRule>,
}

impl SqliteStore {
    /// Creates file and folder when they are missing.
    pub(super) async fn open(url: &str, options: &StoreOptions) -> Result<SqliteStore, StoreError> {
        let unusable =
            |problem: String, hint: &str| StoreError::Unusable { url: url.to_owned(), problem, hint: hint.to_owned() };
        let path = url.trim_start_matches("sqlite:");
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() || path.contains('?') || path == ":memory:" {
            return Err(unusable(
                "it must be a path and nothing else".into(),
                "give sqlite:<path>, or memory: for a store that is gone with the process",
            ));
        }
        let path = PathBuf::from(path);
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            tokio::fs::create_dir_all(folder).await.map_err(|error| {
                unusable(
                    format!("cannot create the folder {}: {error}", folder.display()),
                    "create it, or give a path this user may write to",
                )
            })?;
        }
        let connect = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .busy_timeout(Duration::from_millis(options.busy_timeout_ms));
        // What was acknowledged survives a power cut, not only a crash of the process.
        let writes = connect.clone().journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
        let began = Instant::now();
        let writer = loop {
            match pool(1, options).connect_with(writes.clone()).await {
                // Of several that open a new file at once SQLite tells one that it is locked without waiting: they change
                // its journal's mode.
                Err(error) if is_busy(&error) && began.elapsed() < Duration::from_millis(options.busy_timeout_ms) => {
                    Clock::System.sleep(Duration::from_millis(10)).await;
                }
                opened => break opened,
            }
        };
        let writer = writer.map_err(|error| {
            unusable(
                error.to_string(),
                "give a file on a local disk that this user may write and that is a SQLite database or absent",
            )
        })?;
        // Each is a thread with a cache of pages, and opened in less than a millisecond.
        let readers = pool(options.connections_max.max(1), options)
            .idle_timeout(READER_IDLE)
            .connect_lazy_with(connect.create_if_missing(false).pragma("query_only", "ON"));
        let (deliver, notify, wakes) = (options.deliver.clone(), options.notify.clone(), watch::channel(0).0);
        Ok(SqliteStore { writer, readers, path, deliver, notify, wakes })
    }

    async fn try_commit(
        &self,
        commit: &Commit,
        turn: Option<i64>,
        held: Option<Held>,
    ) -> Result<CommittedRun, StoreError> {
        let failed = "store an evaluation";
        let mut writer = self.writer.acquire().await.map_err(during(failed))?;
        let done = commit_on(&mut writer, commit, turn, held, self.deliver.as_deref(), &self.notify).await;
        release(writer, done).await.map_err(during(failed))?
    }

    async fn try_record(&self, runs: &[RunRecord]) -> Result<(), sqlx::Error> {
        let mut writer = self.writer.acquire().await?;
        let done = record_on(&mut writer, runs).await;
        release(writer, done).await
    }

    async fn try_add_waiver(&self, waiver: &Waiver, audit: &AuditEntry) -> Result<bool, sqlx::Error> {
        let mut writer = self.writer.acquire().await?;
        let done = waivers::add(&mut writer, waiver, audit).await;
        release(writer, done).await
    }

    async fn try_end_waiver(
        &self,
        agreement: &str,
        id: &str,
        at: Timestamp,
        audit: &AuditEntry,
    ) -> Result<bool, sqlx::Error> {
        let mut writer = self.writer.acquire().await?;
        let done = waivers::end(&mut writer, agreement, id, at, audit).await;
        release(writer, done).await
    }

    async fn try_migrate(&self) -> Result<(), sqlx::Error> {
        let mut writer = self.writer.acquire().await?;
        let done = migrate_on(&mut writer).await;
        release(writer, done).await
    }
}

/// Gives a writer back. After an error it is closed and the next caller gets a new one: on a full disk SQLite ends
/// the transaction by itself, and the connection, which does not know, would refuse every further one.
async fn release<T>(writer: PoolConnection<Sqlite>, done: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
    if done.is_err()
        && let Err(error) = writer.close().await
    {
        tracing::debug!(%error, "a connection to SQLite could not be closed in order");
    }
    done
}

async fn begin(writer: &mut SqliteConnection) -> Result<sqlx::Transaction<'_, Sqlite>, sqlx::Error> {
    // Takes the write lock at once: a transaction that first reads and then writes could not wait for it.
    writer.begin_with("BEGIN IMMEDIATE").await
}

async fn record_on(writer: &mut SqliteConnection, runs: &[RunRecord]) -> Result<(), sqlx::Error> {
    let mut tx = begin(writer).await?;
    for run in runs {
        history::put_run(&mut tx, run).await?;
    }
    tx.commit().await
}

async fn migrate_on(writer: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let mut tx = begin(writer).await?;
    migrator().run_direct(None, &mut *tx, false).await?;
    tx.commit().await
}

fn migrator() -> sqlx::migrate::Migrator {
    let mut migrator = sqlx::migrate!("src/store/migrations/sqlite");
    migrator.dangerous_set_table_name("probity_migration");
    migrator
}

/// Numbers of the migrations that were run.
async fn migrated(readers: &SqlitePool) -> Result<Vec<i64>, sqlx::Error> {
    let table = "SELECT count(*) FROM sqlite_master WHERE name = 'probity_migration'";
    if sqlx::query_scalar::<_, i64>(table).fetch_one(readers).await? == 0 {
        return Ok(Vec::new());
    }
    sqlx::query_scalar("SELECT version FROM probity_migration ORDER BY version").fetch_all(readers).await
}

/// With a lease, the durable run that it is of ends with the commit.
async fn commit_on(
    writer: &mut SqliteConnection,
    commit: &Commit,
    turn: Option<i64>,
    held: Option<Held>,
    deliver: Option<&[String]>,
    notify: &[NotificationRule],
) -> Result<Result<CommittedRun, StoreError>, sqlx::Error> {
    let rows = batch::rows(&commit.states);
    let mut tx = begin(writer).await?;
    if let Some(held) = held
        && !queue::remove(&mut tx, held).await?
    {
        tx.rollback().await?;
        return Ok(Ok(CommittedRun::Lost));
    }
    let next = turns::raise(&mut tx, &commit.run.subject).await?;
    if turn.is_some_and(|turn| next != turn + 1) {
        tx.rollback().await?;
        return Ok(Ok(CommittedRun::OtherTurn));
    }
    let known = states::known(&mut tx, &rows).await?;
    let changes = batch::changes(&rows, &known);
    states::move_to_history(&mut tx, &changes.replaced).await?;
    states::insert(&mut tx, &changes.written, commit.recorded_at).await?;
    let kept = super::delivery::kept(&changes.written, deliver);
    delivery::keep(&mut tx, commit.run.id.0, &kept, commit.recorded_at).await?;
    notifications::keep(&mut tx, commit.run.id, &changes.written, notify, commit.recorded_at).await?;
    history::put_run(&mut tx, &commit.run).await?;
    history::add_audit(&mut *tx, &commit.audit).await?;
    if let Some(claim) = &commit.claim
        && !claims::put_completed(&mut tx, claim, commit.run.id, commit.recorded_at).await?
    {
        tx.rollback().await?;
        return Ok(Err(StoreError::late(claim)));
    }
    tx.commit().await?;
    Ok(Ok(CommittedRun::Done(changes.committed)))
}

/// Whether somebody else holds the file; extended codes have `SQLITE_BUSY` (5) in their lowest byte.
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xff == 5)
}

/// Connections to a file cannot go stale.
fn pool(connections_max: u32, options: &StoreOptions) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(Duration::from_millis(options.connect_timeout_ms.max(options.busy_timeout_ms)))
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}

/// How the file is named in logs.
fn shown(path: &Path) -> String {
    format!("sqlite {}", path.display())
}

#[async_trait]
impl Store for SqliteStore {
    fn describe(&self) -> String {
        shown(&self.path)
    }

    /// All in one transaction that holds the write lock, so that several processes can start at once, and one that
    /// dies leaves nothing half done.
    async fn migrate(&self) -> Result<(), StoreError> {
        self.try_migrate().await.map_err(during("bring the schema up to date"))
    }

    async fn schema_distance(&self) -> Result<SchemaDistance, StoreError> {
        let applied = migrated(&self.readers).await.map_err(during("read which migrations were run"))?;
        Ok(SchemaDistance::between(&migrator(), &applied))
    }

    async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.readers).await.map_err(during("reach the database"))?;
        Ok(())
    }

    async fn commit(&self, commit: &Commit) -> Result<Committed, StoreError> {
        let committed = self.try_commit(commit, None, None).await?;
        Ok(committed.done().expect("only a turn that is given can be another"))
    }

    async fn commit_at(&self, commit: &Commit, turn: i64) -> Result<Option<Committed>, StoreError> {
        Ok(self.try_commit(commit, Some(turn), None).await?.done())
    }

    async fn put_aside(&self, agreement: &str, states: &[State], at: Timestamp) -> Result<(), StoreError> {
        let failed = "keep states aside";
        let mut writer = self.writer.acquire().await.map_err(during(failed))?;
        let done = aside::put(&mut writer, agreement, states, at).await;
        release(writer, done).await.map_err(during(failed))
    }

    async fn aside(&self, agreement: &str) -> Result<Vec<StoredState>, StoreError> {
        aside::list(&self.readers, agreement).await
    }

    async fn keep_good(&self, source: &str, documents: &[GoodDocument]) -> Result<(), StoreError> {
        let failed = "keep good documents";
        let mut writer = self.writer.acquire().await.map_err(during(failed))?;
        let done = good::keep(&mut writer, source, documents).await;
        release(writer, done).await.map_err(during(failed))
    }

    async fn good(&self, source: &str) -> Result<Vec<GoodDocument>, StoreError> {
        good::list(&self.readers, source).await
    }

    async fn turn(&self, agreement: &str) -> Result<i64, StoreError> {
        turns::read(&self.readers, agreement).await
    }

    async fn upkeep(&self, now: Timestamp, keep: &Retention) -> Result<Expired, StoreError> {
        queue::expire_keys(self).await.map_err(during("forget keys of requests"))?;
        contexts::forget_free_limits(self).await.map_err(during("forget rate limits"))?;
        upkeep::upkeep(self, now, keep).await.map_err(during("remove what has expired"))
    }

    async fn next_delivery(&self, now: Timestamp, until: Timestamp) -> Result<Option<Delivery>, StoreError> {
        let next = async {
            let mut writer = self.writer.acquire().await?;
            let done = delivery::next(&mut writer, now, until).await;
            release(writer, done).await
        };
        next.await.map_err(during("take a delivery"))
    }

    async fn settle_delivery(&self, delivery: &Delivery, settled: &Settled) -> Result<(), StoreError> {
        let settle = async {
            let mut writer = self.writer.acquire().await?;
            let done = delivery::settle(&mut writer, delivery, settled).await;
            release(writer, done).await
        };
        settle.await.map_err(during("settle a delivery"))
    }

    async fn deliveries_waiting(&self) -> Result<u64, StoreError> {
        delivery::waiting(&self.readers).await
    }

    async fn record_runs(&self, runs: &[RunRecord]) -> Result<(), StoreError> {
        self.try_record(runs).await.map_err(during("store runs"))
    }

    async fn run(&self, id: RunId) -> Result<Option<RunRecord>, StoreError> {
        history::run(&self.readers, id).await
    }

    async fn runs(&self, query: &RunQuery, page: &PageRequest) -> Result<Page<RunRecord>, StoreError> {
        history::runs(&self.readers, query, page).await
    }

    async fn states(&self, query: &StateQuery, page: &PageRequest) -> Result<Page<StoredState>, StoreError> {
        states::list(&self.readers, query, page).await
    }

    async fn outcomes(
        &self,
        agreement: &str,
        guarantee: &str,
        after: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Outcome>, StoreError> {
        states::outcomes(&self.readers, agreement, guarantee, after, until).await
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
        states::revisions(&self.readers, key).await
    }

    async fn corrections(&self, query: &StateQuery, page: &PageRequest) -> Result<Page<Correction>, StoreError> {
        states::corrections(&self.readers, query, page).await
    }

    async fn add_waiver(&self, waiver: &Waiver, audit: &AuditEntry) -> Result<bool, StoreError> {
        self.try_add_waiver(waiver, audit).await.map_err(during("store a waiver"))
    }

    async fn end_waiver(
        &self,
        agreement: &str,
        id: &str,
        at: Timestamp,
        audit: &AuditEntry,
    ) -> Result<bool, StoreError> {
        self.try_end_waiver(agreement, id, at, audit).await.map_err(during("end a waiver"))
    }

    async fn waivers(&self, agreement: Option<&str>) -> Result<Vec<Waiver>, StoreError> {
        waivers::list(&self.readers, agreement).await
    }

    async fn documents(&self, kind: DocumentKind) -> Result<Vec<StoredDocument>, StoreError> {
        documents::list(&self.readers, kind).await
    }

    async fn documents_revision(&self) -> Result<i64, StoreError> {
        documents::revision(&self.readers).await
    }

    async fn put_document(
        &self,
        kind: DocumentKind,
        document: &StoredDocument,
        only_new: bool,
        audit: &AuditEntry,
    ) -> Result<PutDocument, StoreError> {
        let put = async {
            let mut writer = self.writer.acquire().await?;
            let done = documents::put(&mut writer, kind, document, only_new, audit).await;
            release(writer, done).await
        };
        put.await.map_err(during("store a document"))
    }

    async fn remove_document(&self, kind: DocumentKind, id: &str, audit: &AuditEntry) -> Result<bool, StoreError> {
        let remove = async {
            let mut writer = self.writer.acquire().await?;
            let done = documents::remove(&mut writer, kind, id, audit).await;
            release(writer, done).await
        };
        remove.await.map_err(during("remove a document"))
    }

    async fn add_session(&self, session: &Session, now: Timestamp) -> Result<(), StoreError> {
        people::add_session(&self.writer, session, now).await.map_err(during("store a login"))
    }

    async fn session(&self, token_hash: &str) -> Result<Option<Session>, StoreError> {
        people::session(&self.readers, token_hash).await
    }

    async fn end_session(&self, token_hash: &str) -> Result<bool, StoreError> {
        people::end_session(&self.writer, token_hash).await.map_err(during("end a login"))
    }

    async fn user_settings(&self, user: &str) -> Result<Option<serde_json::Value>, StoreError> {
        people::user_settings(&self.readers, user).await
    }

    async fn put_user_settings(&self, user: &str, settings: &serde_json::Value) -> Result<(), StoreError> {
        people::put_user_settings(&self.writer, user, settings).await.map_err(during("store a user's settings"))
    }

    async fn audit(&self, entry: &AuditEntry) -> Result<(), StoreError> {
        history::add_audit(&self.writer, entry).await.map_err(during("store an audit entry"))
    }

    async fn audit_entries(&self, page: &PageRequest) -> Result<Page<AuditEntry>, StoreError> {
        history::audit_entries(&self.readers, page).await
    }
}
