//! Leasing durable runs by their names in SQLite, and naming those that are ready.

use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::super::begin;
use super::super::history::read_run_id;
use super::{after, now, read};
use crate::store::queue::{CapsLeft, Held, LeaseWanted, Priority, READY_LOOKED_AT, Ready, ReadyWanted};
use crate::store::stored::{self, column};
use crate::store::{StoreError, during};

pub(super) async fn lease(
    writer: &mut SqliteConnection,
    owner: &str,
    named: &[Held],
    wanted: &LeaseWanted,
) -> Result<(Vec<SqliteRow>, Vec<Held>), sqlx::Error> {
    let mut tx = begin(writer).await?;
    let now = now(&mut tx).await?;
    let (mut leased, mut held_back) = (Vec::new(), Vec::new());
    let mut caps = CapsLeft::of(wanted);
    for held in named {
        let found: Option<(String, String, bool)> = sqlx::query_as(
            "SELECT flow, tenant, ready_at <= ?3 AND flow NOT IN (SELECT flow FROM probity_flow_pause) \
             AND (?4 IS NULL OR flow_version IN (SELECT value FROM json_each(?4))) \
             FROM probity_queue WHERE id = ?1 AND lease_epoch = ?2 AND state IN ('queued', 'leased')",
        )
        .bind(held.id.to_string())
        .bind(held.epoch)
        .bind(now)
        .bind(wanted.versions.as_ref().map(stored::json))
        .fetch_optional(&mut *tx)
        .await?;
        let Some((flow, tenant, ready)) = found else { continue };
        if !ready || !caps.take(&flow, &tenant) {
            held_back.push(*held);
            continue;
        }
        let sql = format!(
            "UPDATE probity_queue SET state = 'leased', lease_owner = ?2, ready_at = ?3, \
             lease_epoch = lease_epoch + 1, attempt = attempt + 1, point_number = 0 WHERE id = ?1 RETURNING {}",
            read::WHOLE
        );
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(held.id.to_string())
            .bind(stored::text(owner))
            .bind(after(now, wanted.lease_ms))
            .fetch_one(&mut *tx)
            .await?;
        leased.push(row);
    }
    tx.commit().await?;
    Ok((leased, held_back))
}

/// Only the front of each line is looked at: what is tried again has no claim to be before those who wait longer.
pub(super) async fn ready(readers: &SqlitePool, wanted: &ReadyWanted) -> Result<Vec<Ready>, StoreError> {
    let failed = "look for ready runs";
    let mut reader = readers.acquire().await.map_err(during(failed))?;
    let now = now(&mut reader).await.map_err(during(failed))?;
    let told_ms = i64::try_from(wanted.told_ms).unwrap_or(i64::MAX);
    let mut found = Vec::new();
    for priority in Priority::ALL.into_iter().rev() {
        let rows = sqlx::query(
            "SELECT id, lease_epoch FROM (SELECT id, lease_epoch, ready_at, accepted_at FROM probity_queue \
             WHERE priority = ?1 AND state IN ('queued', 'leased') AND ready_at <= ?2 \
             AND flow NOT IN (SELECT flow FROM probity_flow_pause) ORDER BY ready_at LIMIT ?3) \
             WHERE lease_epoch > 0 OR ready_at <> accepted_at OR ready_at <= ?4 ORDER BY ready_at LIMIT ?5",
        )
        .bind(priority.number())
        .bind(now)
        .bind(READY_LOOKED_AT)
        .bind(now.saturating_sub(told_ms.saturating_mul(1_000)))
        .bind(wanted.max)
        .fetch_all(&mut *reader)
        .await
        .map_err(during(failed))?;
        for row in &rows {
            found.push(Ready { id: read_run_id(column(row, "id")?)?, epoch: column(row, "lease_epoch")?, priority });
        }
    }
    Ok(found)
}
