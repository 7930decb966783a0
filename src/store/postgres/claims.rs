//! Claims of schedule firings and duties in Postgres: each lease is one conditional statement by the database's clock.

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::PostgresStore;
use super::instant::Instant;
use crate::model::RunId;
use crate::store::claims::{Claim, Claimed, Claims, Due, Holder, How, Tick};
use crate::store::cursor::{self, TickPosition};
use crate::store::{ClaimKey, Page, PageRequest, StoreError, during, stored};

/// Completes a claim whose lease is still ours; false when it is not. The same run may say so again.
pub(super) async fn put_completed(
    tx: &mut PgConnection,
    claim: &Claim,
    run: RunId,
    at: Timestamp,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "UPDATE probity.claim SET run = $4, ended_at = coalesce(ended_at, $5) \
         WHERE schedule = $1 AND due_at = $2 AND lease_epoch = $3 AND (run IS NULL OR run = $4)",
    )
    .bind(stored::text(&claim.key.schedule))
    .bind(Instant(claim.key.due_at))
    .bind(claim.epoch)
    .bind(run.0)
    .bind(Instant(at))
    .execute(tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

fn keys(claims: &[Claim]) -> (Vec<String>, Vec<Instant>, Vec<i64>) {
    let schedules = claims.iter().map(|claim| stored::text(&claim.key.schedule).into_owned()).collect();
    let due = claims.iter().map(|claim| Instant(claim.key.due_at)).collect();
    (schedules, due, claims.iter().map(|claim| claim.epoch).collect())
}

fn tick(schedule: &str, row: &PgRow) -> Result<Tick, StoreError> {
    let instant = |name| -> Result<Option<Timestamp>, StoreError> {
        Ok(stored::column::<Option<Instant>, _>(row, name)?.map(|instant| instant.0))
    };
    let due_at = stored::column::<Instant, _>(row, "due_at")?.0;
    let key = ClaimKey { schedule: schedule.to_owned(), due_at };
    let started_at = instant("started_at")?;
    Ok(Tick {
        how: stored::column::<Option<String>, _>(row, "how")?.as_deref().and_then(How::parse),
        drift_ms: Tick::drift(&key, started_at),
        key,
        started_at,
        ended_at: instant("ended_at")?,
        overlapping: stored::column(row, "overlapping")?,
        leases: stored::column(row, "lease_epoch")?,
        owner: stored::column(row, "lease_owner")?,
        run: stored::column::<Option<uuid::Uuid>, _>(row, "run")?.map(RunId),
    })
}

#[async_trait]
impl Claims for PostgresStore {
    async fn materialise(&self, due: &[Due]) -> Result<u64, StoreError> {
        let failed = "make rows of due times";
        let schedules: Vec<_> = due.iter().map(|due| stored::text(&due.key.schedule).into_owned()).collect();
        let instants: Vec<_> = due.iter().map(|due| Instant(due.key.due_at)).collect();
        let noticed: Vec<_> = due.iter().map(|due| Instant(due.at)).collect();
        let how: Vec<_> = due.iter().map(|due| due.how.word()).collect();
        // In one order, so that two who make the same rows do not wait for each other.
        let made = sqlx::query(
            "INSERT INTO probity.claim (schedule, due_at, claimed_at, how) \
             SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::text[]) AS due (schedule, due_at, noticed, how) \
             ORDER BY 1, 2 ON CONFLICT DO NOTHING",
        )
        .bind(schedules)
        .bind(instants)
        .bind(noticed)
        .bind(how)
        .execute(&self.pool);
        let made = self.within(failed, async { made.await.map_err(during(failed)) }).await?;
        Ok(made.rows_affected())
    }

    async fn claim(&self, due: &Due, holder: Holder<'_>) -> Result<Option<Claimed>, StoreError> {
        let failed = "claim a firing";
        let row = sqlx::query(
            "INSERT INTO probity.claim AS claim \
               (schedule, due_at, claimed_at, how, started_at, lease_owner, lease_epoch, lease_until, overlapping) \
             VALUES ($1, $2, $3, $4, $3, $5, 1, clock_timestamp() + $6 * interval '1 millisecond', \
               EXISTS (SELECT 1 FROM probity.claim AS other WHERE other.schedule = $1 AND other.due_at < $2 \
                       AND other.run IS NULL AND other.lease_until > clock_timestamp())) \
             ON CONFLICT (schedule, due_at) DO UPDATE SET \
               overlapping = CASE WHEN claim.started_at IS NULL THEN excluded.overlapping ELSE claim.overlapping END, \
               started_at = coalesce(claim.started_at, excluded.started_at), lease_owner = excluded.lease_owner, \
               lease_epoch = claim.lease_epoch + 1, lease_until = excluded.lease_until \
             WHERE claim.run IS NULL AND claim.lease_until <= clock_timestamp() \
             RETURNING lease_epoch, how, overlapping",
        )
        .bind(stored::text(&due.key.schedule))
        .bind(Instant(due.key.due_at))
        .bind(Instant(due.at))
        .bind(due.how.word())
        .bind(holder.owner)
        .bind(holder.lease_ms as f64)
        .fetch_optional(&self.pool);
        let row = self.within(failed, async { row.await.map_err(during(failed)) }).await?;
        let Some(row) = row else { return Ok(None) };
        let epoch = stored::column(&row, "lease_epoch")?;
        Ok(Some(Claimed {
            claim: Claim { key: due.key.clone(), epoch },
            how: stored::column::<Option<String>, _>(&row, "how")?.as_deref().and_then(How::parse),
            overlapping: stored::column(&row, "overlapping")?,
        }))
    }

    async fn extend_claims(&self, claims: &[Claim], lease_ms: u64) -> Result<Vec<bool>, StoreError> {
        let failed = "extend the leases of firings";
        let (schedules, due, epochs) = keys(claims);
        let kept = sqlx::query(
            "WITH wanted AS (SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::bigint[]) \
               WITH ORDINALITY AS w (schedule, due_at, epoch, place)) \
             UPDATE probity.claim AS claim SET lease_until = clock_timestamp() + $4 * interval '1 millisecond' \
             FROM wanted WHERE claim.schedule = wanted.schedule AND claim.due_at = wanted.due_at \
               AND claim.lease_epoch = wanted.epoch RETURNING wanted.place",
        )
        .bind(schedules)
        .bind(due)
        .bind(epochs)
        .bind(lease_ms as f64)
        .fetch_all(&self.pool);
        let kept = self.within(failed, async { kept.await.map_err(during(failed)) }).await?;
        let mut extended = vec![false; claims.len()];
        for row in kept {
            let place: i64 = row.try_get("place").map_err(during(failed))?;
            if let Some(extended) = usize::try_from(place - 1).ok().and_then(|place| extended.get_mut(place)) {
                *extended = true;
            }
        }
        Ok(extended)
    }

    async fn release_claim(&self, claim: &Claim) -> Result<(), StoreError> {
        let failed = "give a firing back";
        let released = sqlx::query(
            "UPDATE probity.claim SET lease_until = '-infinity' \
             WHERE schedule = $1 AND due_at = $2 AND lease_epoch = $3 AND run IS NULL",
        )
        .bind(stored::text(&claim.key.schedule))
        .bind(Instant(claim.key.due_at))
        .bind(claim.epoch)
        .execute(&self.pool);
        self.within(failed, async { released.await.map_err(during(failed)) }).await.map(drop)
    }

    async fn complete_claim(&self, claim: &Claim, run: RunId, at: Timestamp) -> Result<bool, StoreError> {
        let failed = "complete a claim";
        let complete = async {
            let mut connection = self.pool.acquire().await.map_err(during(failed))?;
            put_completed(&mut connection, claim, run, at).await.map_err(during(failed))
        };
        self.within(failed, complete).await
    }

    async fn open_claims(&self) -> Result<Vec<ClaimKey>, StoreError> {
        let failed = "list open claims";
        let rows =
            sqlx::query_as("SELECT schedule, due_at FROM probity.claim WHERE run IS NULL ORDER BY due_at, schedule")
                .fetch_all(&self.pool);
        let rows: Vec<(String, Instant)> = self.within(failed, async { rows.await.map_err(during(failed)) }).await?;
        Ok(rows.into_iter().map(|(schedule, due_at)| ClaimKey { schedule, due_at: due_at.0 }).collect())
    }

    async fn leasable_claims(&self, schedules: &[&str], limit: u32) -> Result<Vec<ClaimKey>, StoreError> {
        let failed = "look for firings that nobody holds";
        let schedules: Vec<_> = schedules.iter().map(|schedule| stored::text(schedule).into_owned()).collect();
        let rows = sqlx::query_as(
            "SELECT schedule, due_at FROM probity.claim \
             WHERE run IS NULL AND lease_until <= clock_timestamp() AND schedule = ANY ($1) \
             ORDER BY due_at, schedule LIMIT $2",
        )
        .bind(schedules)
        .bind(i64::from(limit))
        .fetch_all(&self.pool);
        let rows: Vec<(String, Instant)> = self.within(failed, async { rows.await.map_err(during(failed)) }).await?;
        Ok(rows.into_iter().map(|(schedule, due_at)| ClaimKey { schedule, due_at: due_at.0 }).collect())
    }

    async fn last_claim_until(&self, schedule: &str, until: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let failed = "read the last claim";
        let last = sqlx::query_scalar("SELECT max(due_at) FROM probity.claim WHERE schedule = $1 AND due_at <= $2")
            .bind(stored::text(schedule))
            .bind(Instant(until))
            .fetch_one(&self.pool);
        let last: Option<Instant> = self.within(failed, async { last.await.map_err(during(failed)) }).await?;
        Ok(last.map(|instant| instant.0))
    }

    async fn ticks(&self, schedule: &str, page: &PageRequest) -> Result<Page<Tick>, StoreError> {
        let failed = "list the firings of a schedule";
        let after = page.position::<TickPosition>()?;
        let rows = sqlx::query(
            "SELECT due_at, how, started_at, ended_at, overlapping, lease_epoch, lease_owner, run FROM probity.claim \
             WHERE schedule = $1 AND ($2::timestamptz IS NULL OR due_at < $2) ORDER BY due_at DESC LIMIT $3",
        )
        .bind(stored::text(schedule))
        .bind(after.map(|after| Instant(after.0)))
        .bind(page.rows_wanted())
        .fetch_all(&self.pool);
        let rows = self.within(failed, async { rows.await.map_err(during(failed)) }).await?;
        let found = rows.iter().map(|row| {
            let tick = tick(schedule, row)?;
            Ok((TickPosition(tick.key.due_at), tick))
        });
        Ok(cursor::page(found.collect::<Result<_, StoreError>>()?, page))
    }

    async fn take_duty(&self, name: &str, holder: Holder<'_>) -> Result<bool, StoreError> {
        let failed = "take a duty";
        let taken = sqlx::query(
            "INSERT INTO probity.duty AS duty (name, owner, until) \
             VALUES ($1, $2, clock_timestamp() + $3 * interval '1 millisecond') \
             ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until \
             WHERE duty.owner = excluded.owner OR duty.until <= clock_timestamp()",
        )
        .bind(stored::text(name))
        .bind(holder.owner)
        .bind(holder.lease_ms as f64)
        .execute(&self.pool);
        let taken = self.within(failed, async { taken.await.map_err(during(failed)) }).await?;
        Ok(taken.rows_affected() == 1)
    }

    async fn leave_duty(&self, name: &str, owner: &str) -> Result<(), StoreError> {
        let failed = "leave a duty";
        let left = sqlx::query("DELETE FROM probity.duty WHERE name = $1 AND owner = $2")
            .bind(stored::text(name))
            .bind(owner)
            .execute(&self.pool);
        self.within(failed, async { left.await.map_err(during(failed)) }).await.map(drop)
    }
}
