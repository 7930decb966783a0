//! States to be told to others, in Postgres.

use jiff::Timestamp;
use sqlx::postgres::PgPool;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use super::history;
use super::instant::Instant;
use crate::store::delivery::{Delivery, Kept, Settled};
use crate::store::stored::{self, column};
use crate::store::{StoreError, during};

pub(super) async fn keep(
    tx: &mut PgConnection,
    group: Uuid,
    kept: &[Kept],
    recorded_at: Timestamp,
) -> Result<(), sqlx::Error> {
    for kept in kept {
        sqlx::query(
            "INSERT INTO probity.delivery (\"group\", states, count, last, recorded_at) \
             VALUES ($1, $2::text::json, $3, $4, $5)",
        )
        .bind(group)
        .bind(&kept.states)
        .bind(kept.count)
        .bind(kept.last)
        .bind(Instant(recorded_at))
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// The first that is not done, if nobody else has it.
pub(super) async fn next(pool: &PgPool, now: Timestamp, until: Timestamp) -> Result<Option<Delivery>, StoreError> {
    let row = sqlx::query(
        "WITH head AS (SELECT id, leased_until FROM probity.delivery WHERE NOT done ORDER BY id LIMIT 1 FOR UPDATE) \
         UPDATE probity.delivery AS delivery SET leased_until = $2 FROM head \
         WHERE delivery.id = head.id AND (head.leased_until IS NULL OR head.leased_until <= $1) \
         RETURNING delivery.id, \"group\", states::text AS states, last, sent, head.leased_until IS NOT NULL AS in_doubt",
    )
    .bind(Instant(now))
    .bind(Instant(until))
    .fetch_optional(pool)
    .await
    .map_err(during("take a delivery"))?;
    row.map(|row| {
        Ok(Delivery {
            id: column(&row, "id")?,
            group: column(&row, "group")?,
            states: stored::read_json("states to deliver", column(&row, "states")?)?,
            last: column(&row, "last")?,
            sent: usize::try_from(column::<i64, _>(&row, "sent")?).unwrap_or_default(),
            in_doubt: column(&row, "in_doubt")?,
        })
    })
    .transpose()
}

pub(super) async fn settle(pool: &PgPool, delivery: &Delivery, settled: &Settled) -> Result<(), sqlx::Error> {
    let mut tx = pool.begin().await?;
    let set = match settled {
        Settled::Sent { states, until } => {
            sqlx::query("UPDATE probity.delivery SET sent = $2, leased_until = $3 WHERE id = $1")
                .bind(delivery.id)
                .bind(stored::count(*states as u64))
                .bind(Instant(*until))
        }
        // A lease that has run out: whoever takes it sees that somebody had it.
        Settled::InDoubt => {
            sqlx::query("UPDATE probity.delivery SET leased_until = '-infinity' WHERE id = $1").bind(delivery.id)
        }
        Settled::Released => {
            sqlx::query("UPDATE probity.delivery SET leased_until = NULL WHERE id = $1").bind(delivery.id)
        }
        // What was told stays until its whole group is: it may have to be told again.
        Settled::Done if !delivery.last => {
            sqlx::query("UPDATE probity.delivery SET done = true, sent = count WHERE id = $1").bind(delivery.id)
        }
        Settled::Done | Settled::Refused(_) => {
            sqlx::query("DELETE FROM probity.delivery WHERE \"group\" = $1").bind(delivery.group)
        }
        Settled::Again { group } => sqlx::query(
            "UPDATE probity.delivery SET \"group\" = $2, sent = 0, done = false, leased_until = NULL \
             WHERE \"group\" = $1",
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
pub(super) async fn waiting(pool: &PgPool) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT coalesce(sum(count - sent), 0)::bigint FROM probity.delivery WHERE NOT done")
        .fetch_one(pool)
        .await
        .map_err(during("count what is to be delivered"))?;
    Ok(row.get::<i64, _>(0).unsigned_abs())
}
