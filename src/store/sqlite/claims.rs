//! Claims of schedule firings and duties in SQLite; its clock is that of the machine, read in the statement.

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{SqliteStore, begin, release};
use crate::model::RunId;
use crate::store::claims::{Claim, Claimed, Claims, Due, Holder, How, Tick};
use crate::store::cursor::{self, TickPosition};
use crate::store::{ClaimKey, Page, PageRequest, StoreError, during, stored};

/// Milliseconds since 1970, as leases are kept.
macro_rules! now_ms {
    () => {
        "CAST(unixepoch('now', 'subsec') * 1000 AS INTEGER)"
    };
}

/// Completes a claim whose lease is still ours; false when it is not. The same run may say so again.
pub(super) async fn put_completed(
    tx: &mut SqliteConnection,
    claim: &Claim,
    run: RunId,
    at: Timestamp,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "UPDATE probity_claim SET run = ?4, ended_at = coalesce(ended_at, ?5) \
         WHERE schedule = ?1 AND due_at = ?2 AND lease_epoch = ?3 AND (run IS NULL OR run = ?4)",
    )
    .bind(stored::text(&claim.key.schedule))
    .bind(claim.key.due_at.as_microsecond())
    .bind(claim.epoch)
    .bind(run.to_string())
    .bind(at.as_microsecond())
    .execute(tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

async fn materialise_on(writer: &mut SqliteConnection, due: &[Due]) -> Result<u64, sqlx::Error> {
    let mut tx = begin(writer).await?;
    let mut made = 0;
    for due in due {
        let done = sqlx::query(
            "INSERT INTO probity_claim (schedule, due_at, claimed_at, how) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(stored::text(&due.key.schedule))
        .bind(due.key.due_at.as_microsecond())
        .bind(due.at.as_microsecond())
        .bind(due.how.word())
        .execute(&mut *tx)
        .await?;
        made += done.rows_affected();
    }
    tx.commit().await?;
    Ok(made)
}

async fn claim_on(
    writer: &mut SqliteConnection,
    due: &Due,
    holder: Holder<'_>,
) -> Result<Option<SqliteRow>, sqlx::Error> {
    let mut tx = begin(writer).await?;
    let row = sqlx::query(concat!(
        "INSERT INTO probity_claim \
           (schedule, due_at, claimed_at, how, started_at, lease_owner, lease_epoch, lease_until, overlapping) \
         VALUES (?1, ?2, ?3, ?4, ?3, ?5, 1, ",
        now_ms!(),
        " + ?6, EXISTS (SELECT 1 FROM probity_claim AS other WHERE other.schedule = ?1 AND other.due_at < ?2 \
                        AND other.run IS NULL AND other.lease_until > ",
        now_ms!(),
        ")) ON CONFLICT (schedule, due_at) DO UPDATE SET \
           overlapping = CASE WHEN probity_claim.started_at IS NULL THEN excluded.overlapping \
                         ELSE probity_claim.overlapping END, \
           started_at = coalesce(probity_claim.started_at, excluded.started_at), lease_owner = excluded.lease_owner, \
           lease_epoch = probity_claim.lease_epoch + 1, lease_until = excluded.lease_until \
         WHERE probity_claim.run IS NULL AND probity_claim.lease_until <= ",
        now_ms!(),
        " RETURNING lease_epoch, how, overlapping",
    ))
    .bind(stored::text(&due.key.schedule))
    .bind(due.key.due_at.as_microsecond())
    .bind(due.at.as_microsecond())
    .bind(due.how.word())
    .bind(holder.owner)
    .bind(stored::count(holder.lease_ms))
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(row)
}

async fn extend_on(writer: &mut SqliteConnection, claims: &[Claim], lease_ms: u64) -> Result<Vec<bool>, sqlx::Error> {
    let mut tx = begin(writer).await?;
    let mut kept = Vec::with_capacity(claims.len());
    for claim in claims {
        let done = sqlx::query(concat!(
            "UPDATE probity_claim SET lease_until = ",
            now_ms!(),
            " + ? WHERE schedule = ? AND due_at = ? AND lease_epoch = ?",
        ))
        .bind(stored::count(lease_ms))
        .bind(stored::text(&claim.key.schedule))
        .bind(claim.key.due_at.as_microsecond())
        .bind(claim.epoch)
        .execute(&mut *tx)
        .await?;
        kept.push(done.rows_affected() == 1);
    }
    tx.commit().await?;
    Ok(kept)
}

fn keys(rows: Vec<(String, i64)>) -> Result<Vec<ClaimKey>, StoreError> {
    let key =
        |(schedule, due_at)| Ok(ClaimKey { schedule, due_at: stored::read_instant("instant of a claim", due_at)? });
    rows.into_iter().map(key).collect()
}

fn tick(schedule: &str, row: &SqliteRow) -> Result<Tick, StoreError> {
    let instant = |name| -> Result<Option<Timestamp>, StoreError> {
        let micros: Option<i64> = stored::column(row, name)?;
        micros.map(|micros| stored::read_instant("instant of a claim", micros)).transpose()
    };
    let due_at = stored::read_instant("instant of a claim", stored::column(row, "due_at")?)?;
    let key = ClaimKey { schedule: schedule.to_owned(), due_at };
    let started_at = instant("started_at")?;
    let run: Option<String> = stored::column(row, "run")?;
    let corrupt = |run: &str| StoreError::Corrupt { what: "run of a claim", problem: format!("{run:?} is no run id") };
    Ok(Tick {
        how: stored::column::<Option<String>, _>(row, "how")?.as_deref().and_then(How::parse),
        drift_ms: Tick::drift(&key, started_at),
        key,
        started_at,
        ended_at: instant("ended_at")?,
        overlapping: stored::column(row, "overlapping")?,
        leases: stored::column(row, "lease_epoch")?,
        owner: stored::column(row, "lease_owner")?,
        run: run.map(|run| run.parse().map_err(|_| corrupt(&run))).transpose()?,
    })
}

#[async_trait]
impl Claims for SqliteStore {
    async fn materialise(&self, due: &[Due]) -> Result<u64, StoreError> {
        let failed = "make rows of due times";
        let mut writer = self.writer.acquire().await.map_err(during(failed))?;
        let done = materialise_on(&mut writer, due).await;
        release(writer, done).await.map_err(during(failed))
    }

    async fn claim(&self, due: &Due, holder: Holder<'_>) -> Result<Option<Claimed>, StoreError> {
        let failed = "claim a firing";
        let mut writer = self.writer.acquire().await.map_err(during(failed))?;
        let done = claim_on(&mut writer, due, holder).await;
        let Some(row) = release(writer, done).await.map_err(during(failed))? else { return Ok(None) };
        let how: Option<String> = row.try_get("how").map_err(during(failed))?;
        Ok(Some(Claimed {
            claim: Claim { key: due.key.clone(), epoch: stored::column(&row, "lease_epoch")? },
            how: how.as_deref().and_then(How::parse),
            overlapping: stored::column(&row, "overlapping")?,
        }))
    }

    async fn extend_claims(&self, claims: &[Claim], lease_ms: u64) -> Result<Vec<bool>, StoreError> {
        let failed = "extend the leases of firings";
        let mut writer = self.writer.acquire().await.map_err(during(failed))?;
        let done = extend_on(&mut writer, claims, lease_ms).await;
        release(writer, done).await.map_err(during(failed))
    }

    async fn release_claim(&self, claim: &Claim) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE probity_claim SET lease_until = 0 \
             WHERE schedule = ? AND due_at = ? AND lease_epoch = ? AND run IS NULL",
        )
        .bind(stored::text(&claim.key.schedule))
        .bind(claim.key.due_at.as_microsecond())
        .bind(claim.epoch)
        .execute(&self.writer)
        .await
        .map_err(during("give a firing back"))?;
        Ok(())
    }

    async fn complete_claim(&self, claim: &Claim, run: RunId, at: Timestamp) -> Result<bool, StoreError> {
        let failed = "complete a claim";
        let mut writer = self.writer.acquire().await.map_err(during(failed))?;
        let done = put_completed(&mut writer, claim, run, at).await;
        release(writer, done).await.map_err(during(failed))
    }

    async fn open_claims(&self) -> Result<Vec<ClaimKey>, StoreError> {
        let rows =
            sqlx::query_as("SELECT schedule, due_at FROM probity_claim WHERE run IS NULL ORDER BY due_at, schedule")
                .fetch_all(&self.readers)
                .await
                .map_err(during("list open claims"))?;
        keys(rows)
    }

    async fn leasable_claims(&self, schedules: &[&str], limit: u32) -> Result<Vec<ClaimKey>, StoreError> {
        let schedules: Vec<_> = schedules.iter().map(|schedule| stored::text(schedule)).collect();
        let rows = sqlx::query_as(concat!(
            "SELECT schedule, due_at FROM probity_claim WHERE run IS NULL AND lease_until <= ",
            now_ms!(),
            " AND schedule IN (SELECT value FROM json_each(?)) ORDER BY due_at, schedule LIMIT ?",
        ))
        .bind(stored::json(&schedules))
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await
        .map_err(during("look for firings that nobody holds"))?;
        keys(rows)
    }

    async fn last_claim_until(&self, schedule: &str, until: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let last: Option<i64> =
            sqlx::query_scalar("SELECT max(due_at) FROM probity_claim WHERE schedule = ? AND due_at <= ?")
                .bind(stored::text(schedule))
                .bind(until.as_microsecond())
                .fetch_one(&self.readers)
                .await
                .map_err(during("read the last claim"))?;
        last.map(|micros| stored::read_instant("instant of a claim", micros)).transpose()
    }

    async fn ticks(&self, schedule: &str, page: &PageRequest) -> Result<Page<Tick>, StoreError> {
        let after = page.position::<TickPosition>()?;
        let rows = sqlx::query(
            "SELECT due_at, how, started_at, ended_at, overlapping, lease_epoch, lease_owner, run FROM probity_claim \
             WHERE schedule = ? AND due_at < ? ORDER BY due_at DESC LIMIT ?",
        )
        .bind(stored::text(schedule))
        .bind(after.map_or(i64::MAX, |after| after.0.as_microsecond()))
        .bind(page.rows_wanted())
        .fetch_all(&self.readers)
        .await
        .map_err(during("list the firings of a schedule"))?;
        let found = rows.iter().map(|row| {
            let tick = tick(schedule, row)?;
            Ok((TickPosition(tick.key.due_at), tick))
        });
        Ok(cursor::page(found.collect::<Result<_, StoreError>>()?, page))
    }

    async fn take_duty(&self, name: &str, holder: Holder<'_>) -> Result<bool, StoreError> {
        let done = sqlx::query(concat!(
            "INSERT INTO probity_duty (name, owner, until) VALUES (?1, ?2, ",
            now_ms!(),
            " + ?3) ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until \
             WHERE probity_duty.owner = excluded.owner OR probity_duty.until <= ",
            now_ms!(),
        ))
        .bind(stored::text(name))
        .bind(holder.owner)
        .bind(stored::count(holder.lease_ms))
        .execute(&self.writer)
        .await
        .map_err(during("take a duty"))?;
        Ok(done.rows_affected() == 1)
    }

    async fn leave_duty(&self, name: &str, owner: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM probity_duty WHERE name = ? AND owner = ?")
            .bind(stored::text(name))
            .bind(owner)
            .execute(&self.writer)
            .await
            .map_err(during("leave a duty"))?;
        Ok(())
    }
}
