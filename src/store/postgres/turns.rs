//! Turns of agreements in Postgres: who judges from what is stored finds out whether somebody else stored meanwhile.

use sqlx::PgConnection;
use sqlx::postgres::PgPool;

use crate::store::{StoreError, during, stored};

pub(super) async fn read(pool: &PgPool, agreement: &str) -> Result<i64, StoreError> {
    let found: Option<i64> = sqlx::query_scalar("SELECT turn FROM probity.turn WHERE agreement = $1")
        .bind(stored::text(agreement))
        .fetch_optional(pool)
        .await
        .map_err(during("read the turn of an agreement"))?;
    Ok(found.unwrap_or_default())
}

/// Raises the turn by one and gives the new one. Others wait until the transaction ends.
pub(super) async fn raise(tx: &mut PgConnection, agreement: &str) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "INSERT INTO probity.turn AS had (agreement, turn) VALUES ($1, 1) \
         ON CONFLICT (agreement) DO UPDATE SET turn = had.turn + 1 RETURNING turn",
    )
    .bind(stored::text(agreement))
    .fetch_one(tx)
    .await
}
