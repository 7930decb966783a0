//! Claims of schedule firings in SQLite.

use jiff::Timestamp;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqlitePool;

use crate::model::RunId;
use crate::store::{ClaimKey, StoreError, during, stored};

pub(super) async fn claim(pool: &SqlitePool, claim: &ClaimKey, at: Timestamp) -> Result<bool, StoreError> {
    let done =
        sqlx::query("INSERT INTO probity_claim (schedule, due_at, claimed_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
            .bind(stored::text(&claim.schedule))
            .bind(claim.due_at.as_microsecond())
            .bind(at.as_microsecond())
            .execute(pool)
            .await
            .map_err(during("claim a firing"))?;
    Ok(done.rows_affected() == 1)
}

/// Completes a claim, also one never made: what has been evaluated must not fire again. The first run stays.
pub(super) async fn put_completed(
    tx: &mut SqliteConnection,
    claim: &ClaimKey,
    run: RunId,
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO probity_claim (schedule, due_at, claimed_at, run) VALUES (?, ?, ?, ?) \
         ON CONFLICT (schedule, due_at) DO UPDATE SET run = excluded.run WHERE probity_claim.run IS NULL",
    )
    .bind(stored::text(&claim.schedule))
    .bind(claim.due_at.as_microsecond())
    .bind(at.as_microsecond())
    .bind(run.to_string())
    .execute(tx)
    .await?;
    Ok(())
}

pub(super) async fn complete(pool: &SqlitePool, claim: &ClaimKey, run: RunId) -> Result<(), StoreError> {
    sqlx::query("UPDATE probity_claim SET run = ? WHERE schedule = ? AND due_at = ? AND run IS NULL")
        .bind(run.to_string())
        .bind(stored::text(&claim.schedule))
        .bind(claim.due_at.as_microsecond())
        .execute(pool)
        .await
        .map_err(during("complete a claim"))?;
    Ok(())
}

pub(super) async fn open(pool: &SqlitePool) -> Result<Vec<ClaimKey>, StoreError> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT schedule, due_at FROM probity_claim WHERE run IS NULL ORDER BY due_at, schedule")
            .fetch_all(pool)
            .await
            .map_err(during("list open claims"))?;
    rows.into_iter()
        .map(|(schedule, due_at)| {
            Ok(ClaimKey { schedule, due_at: stored::read_instant("instant of a claim", due_at)? })
        })
        .collect()
}

pub(super) async fn last(pool: &SqlitePool, schedule: &str) -> Result<Option<Timestamp>, StoreError> {
    let last: Option<i64> = sqlx::query_scalar("SELECT max(due_at) FROM probity_claim WHERE schedule = ?")
        .bind(stored::text(schedule))
        .fetch_one(pool)
        .await
        .map_err(during("read the last claim"))?;
    last.map(|micros| stored::read_instant("instant of a claim", micros)).transpose()
}
