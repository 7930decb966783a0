//! Stored waivers in SQLite.

use jiff::Timestamp;
use sqlx::SqliteConnection;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use super::{history, turns};
use crate::model::waiver::{Origin, Waiver};
use crate::store::stored::{self, column};
use crate::store::{AuditEntry, StoreError, during};

pub(super) async fn add(
    writer: &mut SqliteConnection,
    waiver: &Waiver,
    audit: &AuditEntry,
) -> Result<bool, sqlx::Error> {
    let waiver = stored::clean_waiver(waiver);
    let mut tx = super::begin(writer).await?;
    let done = sqlx::query(
        "INSERT INTO probity_waiver (agreement, id, guarantee, scope, reason, owner, valid_from, valid_to, expires, \
         ended_at, created_by, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(&waiver.agreement)
    .bind(&waiver.id)
    .bind(&waiver.guarantee)
    .bind(waiver.scope.canonical())
    .bind(&waiver.reason)
    .bind(&waiver.owner)
    .bind(waiver.from.as_microsecond())
    .bind(waiver.to.map(Timestamp::as_microsecond))
    .bind(waiver.expires.as_microsecond())
    .bind(waiver.ended_at.map(Timestamp::as_microsecond))
    .bind(&waiver.created_by)
    .bind(waiver.created_at.unwrap_or(audit.at).as_microsecond())
    .execute(&mut *tx)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    turns::raise(&mut tx, &waiver.agreement).await?;
    history::add_audit(&mut *tx, audit).await?;
    tx.commit().await?;
    Ok(true)
}

pub(super) async fn end(
    writer: &mut SqliteConnection,
    agreement: &str,
    id: &str,
    at: Timestamp,
    audit: &AuditEntry,
) -> Result<bool, sqlx::Error> {
    let mut tx = super::begin(writer).await?;
    let done = sqlx::query(
        "UPDATE probity_waiver SET ended_at = ?3 \
         WHERE agreement = ?1 AND id = ?2 AND ?3 < min(expires, coalesce(ended_at, expires))",
    )
    .bind(stored::text(agreement))
    .bind(stored::text(id))
    .bind(at.as_microsecond())
    .execute(&mut *tx)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    turns::raise(&mut tx, agreement).await?;
    history::add_audit(&mut *tx, audit).await?;
    tx.commit().await?;
    Ok(true)
}

pub(super) async fn list(pool: &SqlitePool, agreement: Option<&str>) -> Result<Vec<Waiver>, StoreError> {
    let rows = sqlx::query(
        "SELECT agreement, id, guarantee, scope, reason, owner, valid_from, valid_to, expires, ended_at, created_by, \
         created_at FROM probity_waiver WHERE ?1 IS NULL OR agreement = ?1 ORDER BY agreement, id",
    )
    .bind(agreement.map(stored::text))
    .fetch_all(pool)
    .await
    .map_err(during("list waivers"))?;
    rows.iter().map(read).collect()
}

fn read(row: &SqliteRow) -> Result<Waiver, StoreError> {
    let instant = |name| stored::read_instant("instant of a waiver", column(row, name)?);
    let maybe = |name| {
        column::<Option<i64>, _>(row, name)?.map(|at| stored::read_instant("instant of a waiver", at)).transpose()
    };
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
