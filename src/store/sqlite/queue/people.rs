//! What people do with durable runs, in SQLite: cancel, decide, replay, pause. Each with its audit entry.

use sqlx::sqlite::SqlitePool;
use sqlx::{Row as _, SqliteConnection};

use super::super::{begin, history};
use super::{change, now, read};
use crate::model::RunId;
use crate::model::run::RunRecord;
use crate::store::queue::{Cancelled, Decision, PausedFlow, QueueState, QueuedRun, Resume};
use crate::store::{AuditEntry, StoreError, during, stored};

/// A run, and its key.
async fn find(tx: &mut SqliteConnection, id: RunId) -> Result<Option<(QueuedRun, Option<Vec<u8>>)>, sqlx::Error> {
    let mut sql = sqlx::QueryBuilder::new("SELECT ");
    sql.push(read::WHOLE).push(", dedup FROM probity_queue WHERE id = ").push_bind(id.to_string());
    let row = sql.build().fetch_optional(tx).await?;
    row.map(|row| {
        let run = read::whole(&row).map_err(|error| sqlx::Error::Decode(error.into()))?;
        Ok((run, row.try_get("dedup")?))
    })
    .transpose()
}

/// Ends a run that nobody runs.
async fn end(tx: &mut SqliteConnection, id: RunId, key: Option<&[u8]>, record: &RunRecord) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM probity_queue WHERE id = ?").bind(id.to_string()).execute(&mut *tx).await?;
    change::remember(tx, id, key).await?;
    history::put_run(tx, record).await
}

fn instant(micros: i64) -> Result<jiff::Timestamp, sqlx::Error> {
    stored::read_instant("SQLite's time", micros).map_err(|error| sqlx::Error::Decode(error.into()))
}

pub(super) async fn cancel(
    writer: &mut SqliteConnection,
    id: RunId,
    audit: &AuditEntry,
) -> Result<Cancelled, sqlx::Error> {
    let mut tx = begin(writer).await?;
    let Some((run, key)) = find(&mut tx, id).await? else { return Ok(Cancelled::Unknown) };
    let done = if run.state == QueueState::Leased {
        sqlx::query("UPDATE probity_queue SET cancel_wanted = 1 WHERE id = ?")
            .bind(id.to_string())
            .execute(&mut *tx)
            .await?;
        Cancelled::Wanted
    } else {
        let at = instant(now(&mut tx).await?)?;
        end(&mut tx, id, key.as_deref(), &run.cancelled(audit, at)).await?;
        Cancelled::Ended
    };
    history::add_audit(&mut *tx, audit).await?;
    tx.commit().await?;
    Ok(done)
}

pub(super) async fn decide(
    writer: &mut SqliteConnection,
    id: RunId,
    decision: Decision,
    audit: &AuditEntry,
) -> Result<bool, sqlx::Error> {
    let mut tx = begin(writer).await?;
    let found = find(&mut tx, id).await?;
    let Some((run, key)) = found.filter(|(run, _)| run.state == QueueState::InDoubt) else { return Ok(false) };
    let now = now(&mut tx).await?;
    if decision == Decision::Fail {
        end(&mut tx, id, key.as_deref(), &run.failed(audit, instant(now)?)).await?;
    } else {
        sqlx::query("UPDATE probity_queue SET state = 'queued', ready_at = ?, decision = ? WHERE id = ?")
            .bind(now)
            .bind(decision.as_str())
            .bind(id.to_string())
            .execute(&mut *tx)
            .await?;
    }
    history::add_audit(&mut *tx, audit).await?;
    tx.commit().await?;
    Ok(true)
}

pub(super) async fn replay(
    writer: &mut SqliteConnection,
    id: RunId,
    resume: Resume,
    audit: &AuditEntry,
) -> Result<bool, sqlx::Error> {
    let mut tx = begin(writer).await?;
    let now = now(&mut tx).await?;
    let replayed = sqlx::query(
        "UPDATE probity_queue SET state = 'queued', ready_at = ?2, attempt = 0, point = iif(?3, NULL, point), \
         effects = iif(?3, NULL, effects), decision = iif(?3, NULL, decision) WHERE id = ?1 AND state = 'dead'",
    )
    .bind(id.to_string())
    .bind(now)
    .bind(resume == Resume::Start)
    .execute(&mut *tx)
    .await?
    .rows_affected();
    finish(tx, replayed, audit).await
}

pub(super) async fn pause(writer: &mut SqliteConnection, flow: &str, audit: &AuditEntry) -> Result<bool, sqlx::Error> {
    let mut tx = begin(writer).await?;
    let now = now(&mut tx).await?;
    let paused =
        sqlx::query("INSERT INTO probity_flow_pause (flow, paused_by, since) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
            .bind(stored::text(flow))
            .bind(stored::text(&audit.actor))
            .bind(now)
            .execute(&mut *tx)
            .await?
            .rows_affected();
    finish(tx, paused, audit).await
}

pub(super) async fn resume(writer: &mut SqliteConnection, flow: &str, audit: &AuditEntry) -> Result<bool, sqlx::Error> {
    let mut tx = begin(writer).await?;
    let resumed = sqlx::query("DELETE FROM probity_flow_pause WHERE flow = ?")
        .bind(stored::text(flow))
        .execute(&mut *tx)
        .await?
        .rows_affected();
    finish(tx, resumed, audit).await
}

/// Commits with the audit entry, if anything was changed.
async fn finish(
    mut tx: sqlx::Transaction<'_, sqlx::Sqlite>,
    changed: u64,
    audit: &AuditEntry,
) -> Result<bool, sqlx::Error> {
    if changed == 0 {
        return Ok(false);
    }
    history::add_audit(&mut *tx, audit).await?;
    tx.commit().await?;
    Ok(true)
}

pub(super) async fn paused(pool: &SqlitePool) -> Result<Vec<PausedFlow>, StoreError> {
    let rows: Vec<(String, String, i64)> =
        sqlx::query_as("SELECT flow, paused_by, since FROM probity_flow_pause ORDER BY flow")
            .fetch_all(pool)
            .await
            .map_err(during("list paused flows"))?;
    rows.into_iter()
        .map(|(flow, by, since)| Ok(PausedFlow { flow, by, since: stored::read_instant("instant of a pause", since)? }))
        .collect()
}
