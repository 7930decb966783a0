//! Claims of schedule firings in Postgres.

use jiff::Timestamp;
use sqlx::PgConnection;
use sqlx::postgres::PgPool;

use super::instant::Instant;
use crate::model::RunId;
use crate::store::{ClaimKey, StoreError, during, stored};

pub(super) async fn claim(pool: &PgPool, claim: &ClaimKey, at: Timestamp) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO probity.claim (schedule, due_at, claimed_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
    )
    .bind(stored::text(&claim.schedule))
    .bind(Instant(claim.due_at))
    .bind(Instant(at))
    .execute(pool)
    .await
    .map_err(during("claim a firing"))?;
    Ok(done.rows_affected() == 1)
}

/// Completes a claim, also one never made: what has been evaluated must not fire again. The first run stays.
pub(super) async fn put_completed(
    tx: &mut PgConnection,
    claim: &ClaimKey,
    run: RunId,
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO probity.claim AS claim (schedule, due_at, claimed_at, run) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (schedule, due_at) DO UPDATE SET run = excluded.run WHERE claim.run IS NULL",
    )
    .bind(stored::text(&claim.schedule))
    .bind(Instant(claim.due_at))
    .bind(Instant(at))
    .bind(run.0)
    .execute(tx)
    .await?;
    Ok(())
}

pub(super) async fn complete(pool: &PgPool, claim: &ClaimKey, run: RunId) -> Result<(), StoreError> {
    sqlx::query("UPDATE probity.claim SET run = $3 WHERE schedule = $1 AND due_at = $2 AND run IS NULL")
        .bind(stored::text(&claim.schedule))
        .bind(Instant(claim.due_at))
        .bind(run.0)
        .execute(pool)
        .await
        .map_err(during("complete a claim"))?;
    Ok(())
}

pub(super) async fn open(pool: &PgPool) -> Result<Vec<ClaimKey>, StoreError> {
    let rows: Vec<(String, Instant)> =
        sqlx::query_as("SELECT schedule, due_at FROM probity.claim WHERE run IS NULL ORDER BY due_at, schedule")
            .fetch_all(pool)
            .await
            .map_err(during("list open claims"))?;
    Ok(rows.into_iter().map(|(schedule, due_at)| ClaimKey { schedule, due_at: due_at.0 }).collect())
}

pub(super) async fn last(pool: &PgPool, schedule: &str) -> Result<Option<Timestamp>, StoreError> {
    let last: Option<Instant> = sqlx::query_scalar("SELECT max(due_at) FROM probity.claim WHERE schedule = $1")
        .bind(stored::text(schedule))
        .fetch_one(pool)
        .await
        .map_err(during("read the last claim"))?;
    Ok(last.map(|instant| instant.0))
}
