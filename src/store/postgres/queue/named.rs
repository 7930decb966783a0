//! Leasing durable runs by their names in Postgres, and naming those that are ready.

use std::collections::HashSet;

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgPool;
use uuid::Uuid;

use super::lease::{FAILED, LEASABLE, LEASABLE_BY_KEY, PRIORITIES, by_key, columns, read_leased, take};
use super::{Lane, millis};
use crate::model::RunId;
use crate::store::queue::{CapsLeft, Held, LeaseWanted, LeasedByName, Priority, READY_LOOKED_AT, Ready, ReadyWanted};
use crate::store::stored::{self, column};
use crate::store::{StoreError, during};

pub(super) async fn lease(
    lane: &Lane,
    owner: &str,
    named: &[Held],
    wanted: &LeaseWanted,
) -> Result<LeasedByName, StoreError> {
    if named.is_empty() {
        return Ok(LeasedByName::default());
    }
    let (ids, epochs) = columns(named.iter().copied());
    let capped = !wanted.flow_caps.is_empty() || !wanted.tenant_caps.is_empty();
    let rows = if capped {
        within_caps(&lane.pool, owner, &ids, &epochs, wanted).await
    } else {
        let sql = take(&format!("ARRAY ({} FOR UPDATE OF run SKIP LOCKED)", named_of("run.id")), "$5", "$6");
        sqlx::query(AssertSqlSafe(sql))
            .bind(wanted.versions.as_deref())
            .bind(Vec::<String>::new())
            .bind(&ids)
            .bind(&epochs)
            .bind(stored::text(owner))
            .bind(millis(wanted.lease_ms))
            .fetch_all(&lane.pool)
            .await
    };
    let leased = read_leased(&rows.map_err(during(FAILED))?)?;
    let held_back = if leased.len() == ids.len() { Vec::new() } else { held_back(lane, &ids, &epochs).await? };
    Ok(LeasedByName { leased, held_back })
}

/// Those named (`$3` ids, `$4` epochs) that may be leased now.
fn named_of(columns: &str) -> String {
    format!(
        "SELECT {columns} FROM unnest($3::uuid[], $4::int8[]) AS named (id, epoch) \
         JOIN probity.queue AS run ON {} WHERE {LEASABLE_BY_KEY}",
        by_key!("named.id", "named.epoch")
    )
}

async fn within_caps(
    pool: &PgPool,
    owner: &str,
    ids: &[Uuid],
    epochs: &[i64],
    wanted: &LeaseWanted,
) -> Result<Vec<sqlx::postgres::PgRow>, sqlx::Error> {
    let mut tx = pool.begin().await?;
    let sql = format!(
        "{} ORDER BY run.priority DESC, run.ready_at FOR UPDATE OF run SKIP LOCKED",
        named_of("run.id, run.flow, run.tenant")
    );
    let picked: Vec<(Uuid, String, String)> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(wanted.versions.as_deref())
        .bind(Vec::<String>::new())
        .bind(ids)
        .bind(epochs)
        .fetch_all(&mut *tx)
        .await?;
    let mut caps = CapsLeft::of(wanted);
    let kept: Vec<Uuid> =
        picked.into_iter().filter(|(_, flow, tenant)| caps.take(flow, tenant)).map(|(id, ..)| id).collect();
    if kept.is_empty() {
        tx.rollback().await?;
        return Ok(Vec::new());
    }
    let rows = sqlx::query(AssertSqlSafe(take("$1", "$2", "$3")))
        .bind(kept)
        .bind(stored::text(owner))
        .bind(millis(wanted.lease_ms))
        .fetch_all(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(rows)
}

/// Those that stand where they were said to and were not leased: what was is one epoch further.
async fn held_back(lane: &Lane, ids: &[Uuid], epochs: &[i64]) -> Result<Vec<Held>, StoreError> {
    let rows: Vec<(Uuid, i64)> = sqlx::query_as(concat!(
        "SELECT run.id, run.lease_epoch FROM unnest($1::uuid[], $2::int8[]) AS named (id, epoch) \
         JOIN probity.queue AS run ON ",
        by_key!("named.id", "named.epoch"),
        " WHERE run.state || '' IN ('queued', 'leased')",
    ))
    .bind(ids)
    .bind(epochs)
    .fetch_all(&lane.pool)
    .await
    .map_err(during(FAILED))?;
    let held: HashSet<Held> = rows.into_iter().map(|(id, epoch)| Held { id: RunId(id), epoch }).collect();
    Ok(Vec::from_iter(held))
}

/// Only the front of each line is looked at: what is tried again has no claim to be before those who wait longer.
pub(super) async fn ready(pool: &PgPool, wanted: &ReadyWanted) -> Result<Vec<Ready>, StoreError> {
    let failed = "look for ready runs";
    let sql = format!(
        "SELECT found.id, found.lease_epoch, found.priority FROM {PRIORITIES} CROSS JOIN LATERAL ( \
         SELECT front.* FROM (SELECT run.id, run.lease_epoch, run.priority, run.ready_at, run.accepted_at \
         FROM probity.queue AS run WHERE run.priority = level.priority AND {LEASABLE} \
         ORDER BY run.ready_at LIMIT $3) AS front \
         WHERE front.lease_epoch > 0 OR front.ready_at <> front.accepted_at \
         OR front.ready_at <= now() - $4 * interval '1 millisecond' \
         ORDER BY front.ready_at LIMIT $5) AS found"
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(None::<Vec<String>>)
        .bind(Vec::<String>::new())
        .bind(i64::from(READY_LOOKED_AT))
        .bind(millis(wanted.told_ms))
        .bind(i64::from(wanted.max))
        .fetch_all(pool)
        .await
        .map_err(during(failed))?;
    let read = |row: &sqlx::postgres::PgRow| {
        let priority: i16 = column(row, "priority")?;
        let unknown = || StoreError::Corrupt { what: "priority", problem: format!("{priority} is unknown") };
        Ok(Ready {
            id: RunId(column(row, "id")?),
            epoch: column(row, "lease_epoch")?,
            priority: Priority::of(priority).ok_or_else(unknown)?,
        })
    };
    rows.iter().map(read).collect()
}
