//! States of ranges that are nobody's windows, kept apart from all others, in SQLite.

use jiff::Timestamp;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqlitePool;

use crate::model::state::{State, StoredState};
use crate::store::stored::{self, column};
use crate::store::{ASIDE_MAX, StoreError, during, fingerprint};

pub(super) async fn put(
    writer: &mut SqliteConnection,
    agreement: &str,
    states: &[State],
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    let mut tx = super::begin(writer).await?;
    for state in states {
        sqlx::query(
            "INSERT INTO probity_aside (key, agreement, window_to, revision, recorded_at, state) \
             VALUES (?, ?, ?, 1, ?, ?) ON CONFLICT (key) DO UPDATE SET \
             revision = revision + 1, recorded_at = excluded.recorded_at, state = excluded.state",
        )
        .bind(fingerprint::identity_of(state))
        .bind(stored::text(agreement))
        .bind(state.window.to.as_microsecond())
        .bind(at.as_microsecond())
        .bind(stored::json(state))
        .execute(&mut *tx)
        .await?;
    }
    sqlx::query(
        "DELETE FROM probity_aside WHERE key IN (SELECT key FROM probity_aside WHERE agreement = ? \
         ORDER BY recorded_at DESC, key LIMIT -1 OFFSET ?)",
    )
    .bind(stored::text(agreement))
    .bind(ASIDE_MAX)
    .execute(&mut *tx)
    .await?;
    tx.commit().await
}

pub(super) async fn list(pool: &SqlitePool, agreement: &str) -> Result<Vec<StoredState>, StoreError> {
    let rows = sqlx::query(
        "SELECT revision, recorded_at, state FROM probity_aside WHERE agreement = ? ORDER BY window_to DESC, key",
    )
    .bind(stored::text(agreement))
    .fetch_all(pool)
    .await
    .map_err(during("read states kept aside"))?;
    rows.iter()
        .map(|row| {
            Ok(StoredState {
                state: stored::read_json("state kept aside", column(row, "state")?)?,
                revision: u32::try_from(column::<i64, _>(row, "revision")?).unwrap_or(1),
                recorded_at: stored::read_instant("instant of a state kept aside", column(row, "recorded_at")?)?,
            })
        })
        .collect()
}
