//! States to be told to others, in SQLite.

use jiff::Timestamp;
use sqlx::sqlite::SqlitePool;
use sqlx::{Row as _, SqliteConnection};
use uuid::Uuid;

use super::{begin, history};
use crate::store::delivery::{Delivery, Kept, Settled};
use crate::store::stored::{self, column};
use crate::store::{StoreError, during};

pub(super) async fn keep(
    tx: &mut SqliteConnection,
    group: Uuid,
    kept: &[Kept],
    recorded_at: Timestamp,
) -> Result<(), sqlx::Error> {
    for kept in kept {
        sqlx::query(
            "INSERT INTO probity_delivery (\"group\", states, count, last, recorded_at) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(group)
        .bind(&kept.states)
        .bind(kept.count)
        .bind(kept.last)
        .bind(recorded_at.as_microsecond())
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// The first that is not done, if nobody else has it.
pub(super) async fn next(
    writer: &mut SqliteConnection,
    now: Timestamp,
    until: Timestamp,
) -> Result<Option<Delivery>, sqlx::Error> {
    let mut tx = begin(writer).await?;
    let row = sqlx::query(
        "SELECT id, \"group\", states, last, sent, leased_until FROM probity_delivery WHERE NOT done ORDER BY id LIMIT 1",
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let (id, leased_until): (i64, Option<i64>) = (row.try_get("id")?, row.try_get("leased_until")?);
    if leased_until.is_some_and(|until| until > now.as_microsecond()) {
        return Ok(None);
    }
    sqlx::query("UPDATE probity_delivery SET leased_until = ? WHERE id = ?")
        .bind(until.as_microsecond())
        .bind(id)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    let states: String = row.try_get("states")?;
    let states = serde_json::from_str(&states).map_err(|error| sqlx::Error::Decode(error.into()))?;
    Ok(Some(Delivery {
        id,
        group: row.try_get("group")?,
        states,
        last: row.try_get("last")?,
        sent: usize::try_from(row.try_get::<i64, _>("sent")?).unwrap_or_default(),
        in_doubt: leased_until.is_some(),
    }))
}

pub(super) async fn settle(
    writer: &mut SqliteConnection,
    delivery: &Delivery,
    settled: &Settled,
) -> Result<(), sqlx::Error> {
    let mut tx = begin(writer).await?;
    let set = match settled {
        Settled::Sent { states, until } => {
            sqlx::query("UPDATE probity_delivery SET sent = ?2, leased_until = ?3 WHERE id = ?1")
                .bind(delivery.id)
                .bind(stored::count(*states as u64))
                .bind(until.as_microsecond())
        }
        // A lease that has run out: whoever takes it sees that somebody had it.
        Settled::InDoubt => {
            sqlx::query("UPDATE probity_delivery SET leased_until = ?2 WHERE id = ?1").bind(delivery.id).bind(i64::MIN)
        }
        Settled::Released => {
            sqlx::query("UPDATE probity_delivery SET leased_until = NULL WHERE id = ?1").bind(delivery.id)
        }
        // What was told stays until its whole group is: it may have to be told again.
        Settled::Done if !delivery.last => {
            sqlx::query("UPDATE probity_delivery SET done = 1, sent = count WHERE id = ?1").bind(delivery.id)
        }
        Settled::Done | Settled::Refused(_) => {
            sqlx::query("DELETE FROM probity_delivery WHERE \"group\" = ?1").bind(delivery.group)
        }
        Settled::Again { group } => sqlx::query(
            "UPDATE probity_delivery SET \"group\" = ?2, sent = 0, done = 0, leased_until = NULL WHERE \"group\" = ?1",
        )
        .bind(delivery.group)
        .bind(*group),
    };
    set.execute(&mut *tx).await?;
    if let Settled::Refused(audit) = settled {
        history::add_audit(&mut *tx, audit).await?;
    }
    tx.commit().await
}

/// States that wait.
pub(super) async fn waiting(pool: &SqlitePool) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT coalesce(sum(count - sent), 0) AS waiting FROM probity_delivery WHERE NOT done")
        .fetch_one(pool)
        .await
        .map_err(during("count what is to be delivered"))?;
    Ok(column::<i64, _>(&row, "waiting")?.unsigned_abs())
}
