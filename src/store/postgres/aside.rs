//! States of ranges that are nobody's windows, kept apart from all others, in Postgres.

use jiff::Timestamp;
use sqlx::postgres::PgPool;

use super::instant::Instant;
use crate::model::state::{State, StoredState};
use crate::store::stored::{self, column};
use crate::store::{ASIDE_MAX, StoreError, during, fingerprint};

pub(super) async fn put(pool: &PgPool, agreement: &str, states: &[State], at: Timestamp) -> Result<(), StoreError> {
    let failed = "keep states aside";
    // Of several states with one identity the last counts, and one order for all writers means no deadlock.
    let states: std::collections::BTreeMap<_, _> = states.iter().map(|s| (fingerprint::identity_of(s), s)).collect();
    let mut tx = pool.begin().await.map_err(during(failed))?;
    for (key, state) in states {
        sqlx::query(
            "INSERT INTO probity.aside AS had (key, agreement, window_to, revision, recorded_at, state) \
             VALUES ($1, $2, $3, 1, $4, $5::text::json) ON CONFLICT (key) DO UPDATE SET \
             revision = had.revision + 1, recorded_at = excluded.recorded_at, state = excluded.state",
        )
        .bind(key)
        .bind(stored::text(agreement))
        .bind(Instant(state.window.to))
        .bind(Instant(at))
        .bind(stored::json(state))
        .execute(&mut *tx)
        .await
        .map_err(during(failed))?;
    }
    sqlx::query(
        "DELETE FROM probity.aside WHERE key IN (SELECT key FROM probity.aside WHERE agreement = $1 \
         ORDER BY recorded_at DESC, key OFFSET $2)",
    )
    .bind(stored::text(agreement))
    .bind(ASIDE_MAX)
    .execute(&mut *tx)
    .await
    .map_err(during(failed))?;
    tx.commit().await.map_err(during(failed))
}

pub(super) async fn list(pool: &PgPool, agreement: &str) -> Result<Vec<StoredState>, StoreError> {
    let rows = sqlx::query(
        "SELECT revision, recorded_at, state::text AS state FROM probity.aside WHERE agreement = $1 \
         ORDER BY window_to DESC, key",
    )
    .bind(stored::text(agreement))
    .fetch_all(pool)
    .await
    .map_err(during("read states kept aside"))?;
    rows.iter()
        .map(|row| {
            Ok(StoredState {
                state: stored::read_json("state kept aside", column(row, "state")?)?,
                revision: u32::try_from(column::<i32, _>(row, "revision")?).unwrap_or(1),
                recorded_at: column::<Instant, _>(row, "recorded_at")?.0,
            })
        })
        .collect()
}
