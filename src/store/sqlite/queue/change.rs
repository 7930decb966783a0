//! Accepting and settling durable runs in SQLite.

use sha2::{Digest, Sha256};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::super::{SqliteStore, begin, history, release};
use super::{after, now};
use crate::model::RunId;
use crate::model::run::RunError;
use crate::store::queue::{Accepted, DedupKey, FIRST_EPOCH, Held, NewRun, Outcome, QueueState, Resume, Settlement};
use crate::store::{ClaimKey, stored};

/// Keys that one transaction forgets.
const KEYS_TOGETHER: i64 = 5_000;

pub(super) async fn accept(
    writer: &mut SqliteConnection,
    owner: &str,
    runs: &[NewRun],
) -> Result<Vec<Accepted>, sqlx::Error> {
    let mut tx = begin(writer).await?;
    let now = now(&mut tx).await?;
    let mut accepted = Vec::with_capacity(runs.len());
    for run in runs {
        accepted.push(accept_one(&mut tx, owner, run, now).await?);
    }
    tx.commit().await?;
    Ok(accepted)
}

async fn accept_one(tx: &mut SqliteConnection, owner: &str, run: &NewRun, now: i64) -> Result<Accepted, sqlx::Error> {
    let key = run.dedup.as_ref().map(|dedup| Sha256::digest(dedup.key.as_bytes()).to_vec());
    if let (Some(dedup), Some(key)) = (&run.dedup, &key)
        && let Some(taken) = taken(tx, dedup, key, now).await?
    {
        return Ok(taken);
    }
    let stored = insert(tx, owner, run, key.as_deref(), now).await?;
    let Some(row) = stored else { return Ok(Accepted::Known(run.id)) };
    if let (Some(dedup), Some(key)) = (&run.dedup, &key) {
        sqlx::query(
            "INSERT INTO probity_dedup (key, run, request, keep_ms) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE \
             SET run = excluded.run, request = excluded.request, keep_ms = excluded.keep_ms, expires_at = NULL",
        )
        .bind(key)
        .bind(run.id.to_string())
        .bind(dedup.request.as_slice())
        .bind(stored::count(dedup.keep_ms))
        .execute(&mut *tx)
        .await?;
    }
    Ok(if row.try_get::<&str, _>(0)? == QueueState::Leased.as_str() { Accepted::Leased } else { Accepted::Queued })
}

/// Whose the key is, when it is taken.
async fn taken(
    tx: &mut SqliteConnection,
    dedup: &DedupKey,
    key: &[u8],
    now: i64,
) -> Result<Option<Accepted>, sqlx::Error> {
    let found: Option<(String, Vec<u8>)> = sqlx::query_as(
        "SELECT run, request FROM probity_dedup WHERE key = ? AND (expires_at IS NULL OR expires_at > ?)",
    )
    .bind(key)
    .bind(now)
    .fetch_optional(tx)
    .await?;
    let Some((run, request)) = found else { return Ok(None) };
    let run: RunId = run.parse().map_err(|error: uuid::Error| sqlx::Error::Decode(error.into()))?;
    Ok(Some(if request == dedup.request { Accepted::Known(run) } else { Accepted::Conflict(run) }))
}

/// The new row's state; none when there is a run with this id, ended or not.
async fn insert(
    tx: &mut SqliteConnection,
    owner: &str,
    run: &NewRun,
    key: Option<&[u8]>,
    now: i64,
) -> Result<Option<SqliteRow>, sqlx::Error> {
    let queued_at = after(now, if run.lease_ms.is_some() { 0 } else { run.delay_ms });
    sqlx::query(
        "INSERT INTO probity_queue (id, flow, node, flow_version, \"trigger\", msg, reply, priority, tenant, state, \
         attempt, lease_epoch, lease_owner, ready_at, accepted_at, dedup) \
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, iif(held, 'leased', 'queued'), held, iif(held, ?16, 0), \
         iif(held, ?10, NULL), iif(held, ?11, ?12), ?13, ?14 \
         FROM (SELECT ?15 AND NOT EXISTS (SELECT 1 FROM probity_flow_pause WHERE flow = ?2) AS held) \
         WHERE NOT EXISTS (SELECT 1 FROM probity_run WHERE id = ?1) \
         ON CONFLICT (id) DO NOTHING RETURNING state",
    )
    .bind(run.id.to_string())
    .bind(stored::text(&run.flow))
    .bind(stored::text(&run.node))
    .bind(stored::text(&run.flow_version))
    .bind(stored::json(&run.trigger))
    .bind(stored::text(&run.msg))
    .bind(run.reply)
    .bind(run.priority.number())
    .bind(stored::text(&run.tenant))
    .bind(stored::text(owner))
    .bind(after(now, run.lease_ms.unwrap_or_default()))
    .bind(queued_at)
    .bind(now)
    .bind(key)
    .bind(run.lease_ms.is_some())
    .bind(FIRST_EPOCH)
    .fetch_optional(tx)
    .await
}

/// The claim first: who completes it stores the run.
pub(super) async fn tick(
    writer: &mut SqliteConnection,
    claim: &ClaimKey,
    run: &NewRun,
) -> Result<Accepted, sqlx::Error> {
    let mut tx = begin(writer).await?;
    let now = now(&mut tx).await?;
    let won = sqlx::query(
        "INSERT INTO probity_claim (schedule, due_at, claimed_at, started_at, ended_at, run) \
         VALUES (?1, ?2, ?3, ?3, ?3, ?4) ON CONFLICT (schedule, due_at) DO UPDATE SET run = excluded.run, \
         started_at = coalesce(probity_claim.started_at, excluded.started_at), ended_at = excluded.ended_at \
         WHERE probity_claim.run IS NULL",
    )
    .bind(stored::text(&claim.schedule))
    .bind(claim.due_at.as_microsecond())
    .bind(now)
    .bind(run.id.to_string())
    .execute(&mut *tx)
    .await?
    .rows_affected();
    if won == 0 {
        let first: String = sqlx::query_scalar("SELECT run FROM probity_claim WHERE schedule = ? AND due_at = ?")
            .bind(stored::text(&claim.schedule))
            .bind(claim.due_at.as_microsecond())
            .fetch_one(&mut *tx)
            .await?;
        let first = first.parse().map_err(|error: uuid::Error| sqlx::Error::Decode(error.into()))?;
        return Ok(Accepted::Known(first));
    }
    let stored = insert(&mut tx, "", &NewRun { lease_ms: None, ..run.clone() }, None, now).await?;
    tx.commit().await?;
    Ok(if stored.is_some() { Accepted::Queued } else { Accepted::Known(run.id) })
}

pub(super) async fn settle(writer: &mut SqliteConnection, settled: &[Settlement]) -> Result<Vec<bool>, sqlx::Error> {
    let mut tx = begin(writer).await?;
    let now = now(&mut tx).await?;
    let mut done = Vec::with_capacity(settled.len());
    for settlement in settled {
        done.push(settle_one(&mut tx, settlement, now).await?);
    }
    tx.commit().await?;
    Ok(done)
}

async fn settle_one(tx: &mut SqliteConnection, settlement: &Settlement, now: i64) -> Result<bool, sqlx::Error> {
    let held = settlement.held;
    match &settlement.outcome {
        Outcome::Ended(record) => {
            let gone = remove(tx, held).await?;
            if gone {
                history::put_run(tx, record).await?;
            }
            Ok(gone)
        }
        Outcome::Retry { delay_ms, error, resume } => {
            let anew = *resume == Resume::Start;
            change(tx, held, QueueState::Queued, after(now, *delay_ms), Some(error), anew).await
        }
        Outcome::Released => {
            let released = change(tx, held, QueueState::Queued, now, None, false).await?;
            if released {
                sqlx::query("UPDATE probity_queue SET attempt = max(0, attempt - 1) WHERE id = ?")
                    .bind(held.id.to_string())
                    .execute(tx)
                    .await?;
            }
            Ok(released)
        }
        Outcome::Dead { error } => change(tx, held, QueueState::Dead, now, Some(error), false).await,
        Outcome::Doubt { what } => change(tx, held, QueueState::InDoubt, now, Some(what), false).await,
    }
}

/// Changes a run that is still leased so; `anew` forgets its points.
async fn change(
    tx: &mut SqliteConnection,
    held: Held,
    state: QueueState,
    ready_at: i64,
    error: Option<&RunError>,
    anew: bool,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "UPDATE probity_queue SET state = ?3, ready_at = ?4, error = coalesce(?5, error), \
         point = iif(?6, NULL, point), effects = iif(?6, NULL, effects), decision = iif(?6, NULL, decision) \
         WHERE id = ?1 AND lease_epoch = ?2 AND state = 'leased'",
    )
    .bind(held.id.to_string())
    .bind(held.epoch)
    .bind(state.as_str())
    .bind(ready_at)
    .bind(error.map(stored::json))
    .bind(anew)
    .execute(tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes a run whose history is written in the same transaction, if it is still leased so.
pub(in crate::store::sqlite) async fn remove(tx: &mut SqliteConnection, held: Held) -> Result<bool, sqlx::Error> {
    let gone: Option<Option<Vec<u8>>> = sqlx::query_scalar(
        "DELETE FROM probity_queue WHERE id = ? AND lease_epoch = ? AND state = 'leased' RETURNING dedup",
    )
    .bind(held.id.to_string())
    .bind(held.epoch)
    .fetch_optional(&mut *tx)
    .await?;
    let Some(dedup) = gone else { return Ok(false) };
    remember(tx, held.id, dedup.as_deref()).await?;
    Ok(true)
}

/// From now on the key of a run that has ended is kept for its time.
pub(super) async fn remember(tx: &mut SqliteConnection, run: RunId, dedup: Option<&[u8]>) -> Result<(), sqlx::Error> {
    let Some(key) = dedup else { return Ok(()) };
    let now = now(tx).await?;
    let keep_ms: Option<i64> = sqlx::query_scalar("SELECT keep_ms FROM probity_dedup WHERE key = ? AND run = ?")
        .bind(key)
        .bind(run.to_string())
        .fetch_optional(&mut *tx)
        .await?;
    let Some(keep_ms) = keep_ms else { return Ok(()) };
    sqlx::query("UPDATE probity_dedup SET expires_at = ? WHERE key = ?")
        .bind(after(now, keep_ms.unsigned_abs()))
        .bind(key)
        .execute(tx)
        .await?;
    Ok(())
}

/// Forgets keys whose time is over, a batch at a time, so that others come to write in between.
pub(in crate::store::sqlite) async fn expire_keys(store: &SqliteStore) -> Result<u64, sqlx::Error> {
    let mut forgotten = 0;
    loop {
        let mut writer = store.writer.acquire().await?;
        let done = forget(&mut writer).await;
        let rows = release(writer, done).await?;
        forgotten += rows;
        if rows < KEYS_TOGETHER.unsigned_abs() {
            return Ok(forgotten);
        }
    }
}

async fn forget(writer: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
    let mut tx = begin(writer).await?;
    let now = now(&mut tx).await?;
    let rows = sqlx::query(
        "DELETE FROM probity_dedup WHERE key IN (SELECT key FROM probity_dedup WHERE expires_at <= ? LIMIT ?)",
    )
    .bind(now)
    .bind(KEYS_TOGETHER)
    .execute(&mut *tx)
    .await?
    .rows_affected();
    tx.commit().await?;
    Ok(rows)
}
