//! Stored waivers in Postgres.

use jiff::Timestamp;
use sqlx::postgres::{PgPool, PgRow};

use super::instant::Instant;
use super::{history, turns};
use crate::model::waiver::{Origin, Waiver};
use crate::store::stored::{self, column};
use crate::store::{AuditEntry, StoreError, during};

pub(super) async fn add(pool: &PgPool, waiver: &Waiver, audit: &AuditEntry) -> Result<bool, StoreError> {
    let failed = "store a waiver";
    let waiver = stored::clean_waiver(waiver);
    let mut tx = pool.begin().await.map_err(during(failed))?;
    let done = sqlx::query(
        "INSERT INTO probity.waiver (agreement, id, guarantee, scope, reason, owner, valid_from, valid_to, expires, \
         ended_at, created_by, created_at) VALUES ($1, $2, $3, $4::text::json, $5, $6, $7, $8, $9, $10, $11, $12) \
         ON CONFLICT DO NOTHING",
    )
    .bind(&waiver.agreement)
    .bind(&waiver.id)
    .bind(&waiver.guarantee)
    .bind(waiver.scope.canonical())
    .bind(&waiver.reason)
    .bind(&waiver.owner)
    .bind(Instant(waiver.from))
    .bind(waiver.to.map(Instant))
    .bind(Instant(waiver.expires))
    .bind(waiver.ended_at.map(Instant))
    .bind(&waiver.created_by)
    .bind(Instant(waiver.created_at.unwrap_or(audit.at)))
    .execute(&mut *tx)
    .await
    .map_err(during(failed))?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    turns::raise(&mut tx, &waiver.agreement).await.map_err(during(failed))?;
    history::add_audit(&mut *tx, audit).await.map_err(during(failed))?;
    tx.commit().await.map_err(during(failed))?;
    Ok(true)
}

pub(super) async fn end(
    pool: &PgPool,
    agreement: &str,
    id: &str,
    at: Timestamp,
    audit: &AuditEntry,
) -> Result<bool, StoreError> {
    let failed = "end a waiver";
    let mut tx = pool.begin().await.map_err(during(failed))?;
    let done = sqlx::query(
        "UPDATE probity.waiver SET ended_at = $3 \
         WHERE agreement = $1 AND id = $2 AND $3 < least(expires, coalesce(ended_at, expires))",
    )
    .bind(stored::text(agreement))
    .bind(stored::text(id))
    .bind(Instant(at))
    .execute(&mut *tx)
    .await
    .map_err(during(failed))?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    turns::raise(&mut tx, agreement).await.map_err(during(failed))?;
    history::add_audit(&mut *tx, audit).await.map_err(during(failed))?;
    tx.commit().await.map_err(during(failed))?;
    Ok(true)
}

pub(super) async fn list(pool: &PgPool, agreement: Option<&str>) -> Result<Vec<Waiver>, StoreError> {
    let rows = sqlx::query(
        "SELECT agreement, id, guarantee, scope::text AS scope, reason, owner, valid_from, valid_to, expires, \
         ended_at, created_by, created_at FROM probity.waiver \
         WHERE $1::text IS NULL OR agreement = $1 ORDER BY agreement, id",
    )
    .bind(agreement.map(stored::text))
    .fetch_all(pool)
    .await
    .map_err(during("list waivers"))?;
    rows.iter().map(read).collect()
}

fn read(row: &PgRow) -> Result<Waiver, StoreError> {
    let instant = |name| Ok::<_, StoreError>(column::<Instant, _>(row, name)?.0);
    let maybe = |name| Ok::<_, StoreError>(column::<Option<Instant>, _>(row, name)?.map(|at| at.0));
    Ok(Waiver {
        id: column(row, "id")?,
        agreement: column(row, "agreement")?,
        guarantee: column(row, "guarantee")?,
        scope: stored::read_json("scope of a waiver", column(row, "scope")?)?,
        reason: column(row, "reason")?,
        owner: column(row, "owner")?,
        from: instant("valid_from")?,
        to: maybe("valid_to")?,
        expires: instant("expires")?,
        ended_at: maybe("ended_at")?,
        origin: Origin::Stored,
        created_by: column(row, "created_by")?,
        created_at: Some(instant("created_at")?),
    })
}
