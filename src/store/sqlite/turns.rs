//! Turns of agreements in SQLite: who judges from what is stored finds out whether somebody else stored meanwhile.

use sqlx::SqliteConnection;
use sqlx::sqlite::SqlitePool;

use crate::store::{StoreError, during, stored};

pub(super) async fn read(pool: &SqlitePool, agreement: &str) -> Result<i64, StoreError> {
    let found: Option<i64> = sqlx::query_scalar("SELECT turn FROM probity_turn WHERE agreement = ?")
        .bind(stored::text(agreement))
        .fetch_optional(pool)
        .await
        .map_err(during("read the turn of an agreement"))?;
    Ok(found.unwrap_or_default())
}

/// Raises the turn by one and gives the new one.
pub(super) async fn raise(tx: &mut SqliteConnection, agreement: &str) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "INSERT INTO probity_turn (agreement, turn) VALUES (?, 1) \
         ON CONFLICT (agreement) DO UPDATE SET turn = turn + 1 RETURNING turn",
    )
    .bind(stored::text(agreement))
    .fetch_one(tx)
    .await
}
