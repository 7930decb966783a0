//! What people do with durable runs, in Postgres: cancel, decide, replay, pause. Each with its audit entry.

use jiff::Timestamp;
use sqlx::PgConnection;
use sqlx::postgres::{PgPool, PgTransaction};

use super::super::instant::Instant;
use super::super::{PostgresStore, history};
use super::{read, settle};
use crate::model::RunId;
use crate::model::run::RunRecord;
use crate::store::queue::{Cancelled, Decision, PausedFlow, QueueState, QueuedRun, Resume};
use crate::store::stored::column;
use crate::store::{AuditEntry, StoreError, during, stored};

/// A run that nobody else can change until the transaction ends.
struct Locked {
    run: QueuedRun,
    dedup: Option<Vec<u8>>,
    now: Timestamp,
}

async fn lock(tx: &mut PgConnection, id: RunId, failed: &'static str) -> Result<Option<Locked>, StoreError> {
    let sql = format!("SELECT {}, dedup, now() AS now FROM probity.queue WHERE id = $1 FOR UPDATE", read::WHOLE);
    let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id.0).fetch_optional(tx).await.map_err(during(failed))?;
    row.map(|row| {
        Ok(Locked { run: read::whole(&row)?, dedup: column(&row, "dedup")?, now: column::<Instant, _>(&row, "now")?.0 })
    })
    .transpose()
}

/// Ends a run that nobody runs.
async fn end(tx: &mut PgConnection, locked: &Locked, record: &RunRecord) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM probity.queue WHERE id = $1").bind(locked.run.id.0).execute(&mut *tx).await?;
    settle::remember(tx, locked.run.id, locked.dedup.as_deref()).await?;
    history::put_runs(tx, &[record]).await
}

async fn finish(mut tx: PgTransaction<'_>, audit: &AuditEntry, failed: &'static str) -> Result<(), StoreError> {
    history::add_audit(&mut *tx, audit).await.map_err(during(failed))?;
    tx.commit().await.map_err(during(failed))
}

/// The partition that the history of a run goes into, which is found by its id alone.
async fn make_day(store: &PostgresStore, id: RunId, audit: &AuditEntry) -> Result<(), StoreError> {
    use super::super::partitions::{Table, day, day_of_run};
    let days = [(Table::Run, day_of_run(id.0))].into_iter().collect();
    store.partitions.make(&store.pool, &days, day(audit.at)).await
}

pub(super) async fn cancel(store: &PostgresStore, id: RunId, audit: &AuditEntry) -> Result<Cancelled, StoreError> {
    let failed = "cancel a run";
    make_day(store, id, audit).await?;
    let mut tx = store.queue.pool.begin().await.map_err(during(failed))?;
    let Some(locked) = lock(&mut tx, id, failed).await? else { return Ok(Cancelled::Unknown) };
    let done = if locked.run.state == QueueState::Leased {
        sqlx::query("UPDATE probity.queue SET cancel_wanted = true WHERE id = $1")
            .bind(id.0)
            .execute(&mut *tx)
            .await
            .map_err(during(failed))?;
        Cancelled::Wanted
    } else {
        let record = locked.run.cancelled(audit, locked.now);
        end(&mut tx, &locked, &record).await.map_err(during(failed))?;
        Cancelled::Ended
    };
    finish(tx, audit, failed).await?;
    Ok(done)
}

pub(super) async fn decide(
    store: &PostgresStore,
    id: RunId,
    decision: Decision,
    audit: &AuditEntry,
) -> Result<bool, StoreError> {
    let failed = "decide about a run";
    make_day(store, id, audit).await?;
    let mut tx = store.queue.pool.begin().await.map_err(during(failed))?;
    let locked = lock(&mut tx, id, failed).await?;
    let Some(locked) = locked.filter(|locked| locked.run.state == QueueState::InDoubt) else {
        // Now, not when the connection is used next: who leases meanwhile would step over the row.
        tx.rollback().await.map_err(during(failed))?;
        return Ok(false);
    };
    if decision == Decision::Fail {
        let record = locked.run.failed(audit, locked.now);
        end(&mut tx, &locked, &record).await.map_err(during(failed))?;
    } else {
        sqlx::query("UPDATE probity.queue SET state = 'queued', ready_at = now(), decision = $2 WHERE id = $1")
            .bind(id.0)
            .bind(decision.as_str())
            .execute(&mut *tx)
            .await
            .map_err(during(failed))?;
    }
    finish(tx, audit, failed).await?;
    Ok(true)
}

pub(super) async fn replay(pool: &PgPool, id: RunId, resume: Resume, audit: &AuditEntry) -> Result<bool, StoreError> {
    let failed = "replay a run";
    let mut tx = pool.begin().await.map_err(during(failed))?;
    let replayed = sqlx::query(
        "UPDATE probity.queue SET state = 'queued', ready_at = now(), attempt = 0, \
         point = CASE WHEN $2 THEN NULL ELSE point END, effects = CASE WHEN $2 THEN NULL ELSE effects END, \
         decision = CASE WHEN $2 THEN NULL ELSE decision END WHERE id = $1 AND state = 'dead'",
    )
    .bind(id.0)
    .bind(resume == Resume::Start)
    .execute(&mut *tx)
    .await
    .map_err(during(failed))?
    .rows_affected();
    if replayed == 0 {
        return Ok(false);
    }
    finish(tx, audit, failed).await?;
    Ok(true)
}

pub(super) async fn pause(pool: &PgPool, flow: &str, audit: &AuditEntry) -> Result<bool, StoreError> {
    let failed = "pause a flow";
    let mut tx = pool.begin().await.map_err(during(failed))?;
    let paused = sqlx::query(
        "INSERT INTO probity.flow_pause (flow, paused_by, since) VALUES ($1, $2, now()) ON CONFLICT DO NOTHING",
    )
    .bind(stored::text(flow))
    .bind(stored::text(&audit.actor))
    .execute(&mut *tx)
    .await
    .map_err(during(failed))?
    .rows_affected();
    if paused == 0 {
        return Ok(false);
    }
    finish(tx, audit, failed).await?;
    Ok(true)
}

pub(super) async fn resume(pool: &PgPool, flow: &str, audit: &AuditEntry) -> Result<bool, StoreError> {
    let failed = "resume a flow";
    let mut tx = pool.begin().await.map_err(during(failed))?;
    let resumed = sqlx::query("DELETE FROM probity.flow_pause WHERE flow = $1")
        .bind(stored::text(flow))
        .execute(&mut *tx)
        .await
        .map_err(during(failed))?
        .rows_affected();
    if resumed == 0 {
        return Ok(false);
    }
    finish(tx, audit, failed).await?;
    Ok(true)
}

pub(super) async fn paused(pool: &PgPool) -> Result<Vec<PausedFlow>, StoreError> {
    let rows: Vec<(String, String, Instant)> =
        sqlx::query_as("SELECT flow, paused_by, since FROM probity.flow_pause ORDER BY flow")
            .fetch_all(pool)
            .await
            .map_err(during("list paused flows"))?;
    Ok(rows.into_iter().map(|(flow, by, since)| PausedFlow { flow, by, since: since.0 }).collect())
}
