//! Settling durable runs in Postgres: an end deletes the row and writes the history in one statement.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::postgres::{PgPool, PgRow};
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use super::super::{PostgresStore, history, is_conflict, partitions};
use super::lease::{by_key, still_held};
use super::millis;
use crate::model::RunId;
use crate::model::run::RunRecord;
use crate::store::postgres::partitions::Table;
use crate::store::queue::{Held, Outcome, Resume, Settlement};
use crate::store::stored;
use crate::store::{StoreError, during};

pub(super) const FAILED: &str = "settle durable runs";

/// Keys that one statement forgets.
const KEYS_TOGETHER: i64 = 5_000;

pub(super) async fn settle(store: &PostgresStore, settled: &[Settlement]) -> Result<Vec<bool>, StoreError> {
    // Of several settlements under one lease the first counts: the others come too late.
    let mut first: BTreeMap<Held, usize> = BTreeMap::new();
    for (at, settlement) in settled.iter().enumerate() {
        first.entry(settlement.held).or_insert(at);
    }
    let (mut ended, mut changes) = (Vec::new(), Changes::default());
    for at in first.values() {
        let settlement = &settled[*at];
        match &settlement.outcome {
            Outcome::Ended(record) => ended.push((settlement.held, &**record)),
            other => changes.push(settlement.held, other),
        }
    }
    let done = store.end_and_change(&ended, &changes).await?;
    let mut answers = vec![false; settled.len()];
    for (held, at) in first {
        answers[at] = done.contains(&held);
    }
    Ok(answers)
}

impl PostgresStore {
    /// In one transaction; those that were changed. Again when a partition was dropped meanwhile.
    async fn end_and_change(
        &self,
        ended: &[(Held, &RunRecord)],
        changes: &Changes,
    ) -> Result<BTreeSet<Held>, StoreError> {
        let mut attempt = 1;
        loop {
            match self.try_end_and_change(ended, changes).await {
                Err(error) if attempt < self.commit_attempts_max && is_conflict(&error) => {
                    self.partitions.forget();
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    async fn try_end_and_change(
        &self,
        ended: &[(Held, &RunRecord)],
        changes: &Changes,
    ) -> Result<BTreeSet<Held>, StoreError> {
        self.make_days(ended.iter().map(|(_, record)| *record)).await?;
        if changes.id.is_empty() {
            // One statement is a transaction.
            let mut connection = self.queue.pool.acquire().await.map_err(during(FAILED))?;
            return end(&mut connection, ended).await.map_err(during(FAILED));
        }
        let mut tx = self.queue.pool.begin().await.map_err(during(FAILED))?;
        let mut done =
            if ended.is_empty() { BTreeSet::new() } else { end(&mut tx, ended).await.map_err(during(FAILED))? };
        done.extend(changes.store(&mut tx).await.map_err(during(FAILED))?);
        tx.commit().await.map_err(during(FAILED))?;
        Ok(done)
    }

    /// Partitions that these runs' history goes into.
    pub(super) async fn make_days(&self, records: impl Iterator<Item = &RunRecord> + Clone) -> Result<(), StoreError> {
        let Some(today) = records.clone().filter_map(|run| run.ended_at).max() else { return Ok(()) };
        let days = records.map(|run| (Table::Run, partitions::day_of_run(run.id.0))).collect();
        self.partitions.make(&self.pool, &days, partitions::day(today)).await
    }
}

/// Deletes the rows that are still leased so, lets their keys expire and writes their history; which ones.
async fn end(connection: &mut PgConnection, ended: &[(Held, &RunRecord)]) -> Result<BTreeSet<Held>, sqlx::Error> {
    let epochs: Vec<i64> = ended.iter().map(|(held, _)| held.epoch).collect();
    let ids: Vec<Uuid> = ended.iter().map(|(held, _)| held.id.0).collect();
    let mut columns = history::RunColumns::default();
    ended.iter().for_each(|(_, record)| columns.push(record));
    columns
        .bind(sqlx::query(concat!(
            "WITH new AS (SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], \
             $6::timestamptz[], $7::timestamptz[], $8::text[], $9::int8[], $10::text[], $11::text[], $12::int8[], \
             $13::uuid[], $14::int8[]) AS t (id, subject, trigger_kind, trigger, state, started_at, ended_at, version, \
             hops, error, trace, trace_dropped, held, epoch)), \
             gone AS (DELETE FROM probity.queue AS run USING new WHERE ",
            still_held!("new.held", "new.epoch"),
            " RETURNING new.*, run.dedup), \
             remembered AS (UPDATE probity.dedup AS dedup \
             SET expires_at = now() + dedup.keep_ms * interval '1 millisecond' \
             FROM gone WHERE dedup.key = gone.dedup AND dedup.run = gone.held), \
             written AS (INSERT INTO probity.run (id, subject, trigger_kind, trigger, state, started_at, ended_at, \
             version, hops, error, trace, trace_dropped) \
             SELECT id, subject, trigger_kind, trigger::json, state, started_at, ended_at, version, hops, error::json, \
             trace::json, trace_dropped FROM gone ON CONFLICT (id) DO NOTHING) \
             SELECT held, epoch FROM gone",
        )))
        .bind(ids)
        .bind(epochs)
        .fetch_all(connection)
        .await?
        .iter()
        .map(read_held)
        .collect()
}

fn read_held(row: &PgRow) -> Result<Held, sqlx::Error> {
    Ok(Held { id: RunId(row.try_get(0)?), epoch: row.try_get(1)? })
}

/// Ends one run whose history is written elsewhere in this transaction, if it is still leased so.
pub(in crate::store::postgres) async fn remove(tx: &mut PgConnection, held: Held) -> Result<bool, sqlx::Error> {
    let gone: Option<Option<Vec<u8>>> = sqlx::query_scalar(
        "DELETE FROM probity.queue WHERE id = $1 AND lease_epoch = $2 AND state = 'leased' RETURNING dedup",
    )
    .bind(held.id.0)
    .bind(held.epoch)
    .fetch_optional(&mut *tx)
    .await?;
    let Some(dedup) = gone else { return Ok(false) };
    remember(tx, held.id, dedup.as_deref()).await?;
    Ok(true)
}

/// From now on the key of a run that has ended is kept for its time.
pub(super) async fn remember(tx: &mut PgConnection, run: RunId, dedup: Option<&[u8]>) -> Result<(), sqlx::Error> {
    let Some(key) = dedup else { return Ok(()) };
    sqlx::query(
        "UPDATE probity.dedup SET expires_at = now() + keep_ms * interval '1 millisecond' WHERE key = $1 AND run = $2",
    )
    .bind(key)
    .bind(run.0)
    .execute(tx)
    .await?;
    Ok(())
}

/// Forgets keys whose time is over, a batch at a time, so that nobody waits for long.
pub(in crate::store::postgres) async fn expire_keys(pool: &PgPool) -> Result<u64, StoreError> {
    let mut forgotten = 0;
    loop {
        let rows = sqlx::query(
            "DELETE FROM probity.dedup WHERE key = ANY (ARRAY (SELECT key FROM probity.dedup \
             WHERE expires_at <= now() ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED))",
        )
        .bind(KEYS_TOGETHER)
        .execute(pool)
        .await
        .map_err(during("forget keys of requests"))?
        .rows_affected();
        forgotten += rows;
        if rows < KEYS_TOGETHER.unsigned_abs() {
            return Ok(forgotten);
        }
    }
}

/// Runs that go on, turned on their side.
#[derive(Default)]
struct Changes {
    id: Vec<Uuid>,
    epoch: Vec<i64>,
    state: Vec<&'static str>,
    delay_ms: Vec<i64>,
    /// The attempt does not count.
    released: Vec<bool>,
    /// Points and marks are forgotten.
    anew: Vec<bool>,
    error: Vec<Option<String>>,
}

impl Changes {
    fn push(&mut self, held: Held, outcome: &Outcome) {
        let (state, delay_ms, error) = match outcome {
            Outcome::Retry { delay_ms, error, .. } => ("queued", *delay_ms, Some(error)),
            Outcome::Released => ("queued", 0, None),
            Outcome::Dead { error } => ("dead", 0, Some(error)),
            Outcome::Doubt { what } => ("in-doubt", 0, Some(what)),
            Outcome::Ended(_) => return,
        };
        self.id.push(held.id.0);
        self.epoch.push(held.epoch);
        self.state.push(state);
        self.delay_ms.push(millis(delay_ms));
        self.released.push(matches!(outcome, Outcome::Released));
        self.anew.push(matches!(outcome, Outcome::Retry { resume: Resume::Start, .. }));
        self.error.push(error.map(|error| stored::text(&stored::json(error)).into_owned()));
    }

    async fn store(&self, tx: &mut PgConnection) -> Result<BTreeSet<Held>, sqlx::Error> {
        sqlx::query(concat!(
            "UPDATE probity.queue AS run SET state = new.state, \
             ready_at = now() + new.delay_ms * interval '1 millisecond', \
             attempt = greatest(0, run.attempt - new.released::int4), error = coalesce(new.error, run.error), \
             point = CASE WHEN new.anew THEN NULL ELSE run.point END, \
             effects = CASE WHEN new.anew THEN NULL ELSE run.effects END, \
             decision = CASE WHEN new.anew THEN NULL ELSE run.decision END \
             FROM unnest($1::uuid[], $2::int8[], $3::text[], $4::int8[], $5::bool[], $6::bool[], $7::text[]) \
             AS new (id, epoch, state, delay_ms, released, anew, error) WHERE ",
            still_held!("new.id", "new.epoch"),
            " RETURNING run.id, run.lease_epoch",
        ))
        .bind(&self.id)
        .bind(&self.epoch)
        .bind(&self.state)
        .bind(&self.delay_ms)
        .bind(&self.released)
        .bind(&self.anew)
        .bind(&self.error)
        .fetch_all(tx)
        .await?
        .iter()
        .map(read_held)
        .collect()
    }
}
