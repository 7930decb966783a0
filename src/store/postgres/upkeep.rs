//! Retention and partitions: days ahead are made, days that have expired are dropped, old days become months.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use sqlx::postgres::PgPool;
use sqlx::{AssertSqlSafe, PgConnection};

use super::instant::Instant;
use super::partitions::{LOCK_PARTITIONS, Partitions, Period, Table, named};
use super::{history, partitions};
use crate::store::retention::{self, Cutoffs, Expired, Retention};
use crate::store::{StoreError, during};

/// Days ahead that have partitions, today not counted.
const DAYS_AHEAD: i64 = 7;
/// A month becomes one partition when it ended this many days ago. [`DAYS_KEPT_APART`] tells when it does not.
const FOLDED_AFTER_DAYS: i64 = 31;
/// With fewer days kept than this, days stay days: they are dropped before there are many.
const DAYS_KEPT_APART: i64 = 100;

const FAILED: &str = "remove what has expired";

pub(super) async fn upkeep(
    pool: &PgPool,
    known: &Partitions,
    now: Timestamp,
    keep: &Retention,
) -> Result<Expired, StoreError> {
    let today = partitions::day(now);
    let ahead = (0..=DAYS_AHEAD).filter_map(|days| today.checked_add(days.days()).ok());
    let wanted = ahead.flat_map(|day| Table::ALL.map(|table| (table, day))).collect();
    // Others may have dropped some that we know.
    known.forget();
    known.make(pool, &wanted, today).await?;
    let cutoffs = keep.cutoffs(now);
    let mut expired = Expired::default();
    if let Some(day) = cutoffs.states {
        expired += drop_before(pool, &[Table::State, Table::Revision], day, now).await?;
        expired += delete_ancient(pool, now).await?;
    }
    if let Some(day) = cutoffs.runs {
        expired += drop_before(pool, &[Table::Run], day, now).await?;
        expired += delete_claims(pool, day, now).await?;
    }
    fold(pool, &cutoffs, today).await?;
    known.forget();
    Ok(expired)
}

/// Drops the partitions that end by this day, those of one period together, each with its audit entry.
async fn drop_before(pool: &PgPool, tables: &[Table], day: Date, now: Timestamp) -> Result<Expired, StoreError> {
    let mut periods: BTreeMap<Period, Vec<Table>> = BTreeMap::new();
    for table in tables {
        for period in named(pool, *table).await? {
            if period.1 <= day {
                periods.entry(period).or_default().push(*table);
            }
        }
    }
    let mut expired = Expired::default();
    for (period, tables) in periods {
        expired += drop_period(pool, period, &tables, now).await.map_err(during(FAILED))?;
    }
    Ok(expired)
}

async fn drop_period(pool: &PgPool, period: Period, tables: &[Table], now: Timestamp) -> Result<Expired, sqlx::Error> {
    let mut tx = pool.begin().await?;
    take_turn(&mut tx).await?;
    let mut expired = Expired::default();
    for table in tables {
        // Another process may have been first.
        let name: Option<String> = sqlx::query_scalar(
            "SELECT name FROM probity.partitions($1) WHERE first_day = $2::text::date AND end_day = $3::text::date",
        )
        .bind(table.name())
        .bind(period.0.to_string())
        .bind(period.1.to_string())
        .fetch_optional(&mut *tx)
        .await?;
        let Some(name) = name else { continue };
        // A name that the pattern of `probity.partitions` let through: letters, digits and underscores.
        let rows: i64 = sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM probity.{name}")))
            .fetch_one(&mut *tx)
            .await?;
        sqlx::query(AssertSqlSafe(format!("DROP TABLE probity.{name}"))).execute(&mut *tx).await?;
        *expired.of(*table) += rows.unsigned_abs();
    }
    if !expired.is_empty() {
        let subject = format!("windows and runs from {} to before {}", period.0, period.1);
        history::add_audit(&mut *tx, &retention::audit(now, subject, &expired)).await?;
    }
    tx.commit().await?;
    Ok(expired)
}

impl Expired {
    fn of(&mut self, table: Table) -> &mut u64 {
        match table {
            Table::Run => &mut self.runs,
            Table::State => &mut self.states,
            Table::Revision => &mut self.revisions,
        }
    }
}

/// Takes turns with others who make or drop partitions. Who waits for a lock makes all others wait behind him, so that
/// is not for long; then it is tried again at the next round.
async fn take_turn(tx: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_advisory_xact_lock($1, 0)").bind(LOCK_PARTITIONS).execute(&mut *tx).await?;
    sqlx::query("SET LOCAL lock_timeout = '5s'").execute(tx).await?;
    Ok(())
}

/// What ended before 1970 has one partition, which stays.
async fn delete_ancient(pool: &PgPool, now: Timestamp) -> Result<Expired, StoreError> {
    let delete = async {
        let mut tx = pool.begin().await?;
        let states = sqlx::query("DELETE FROM probity.state_before_1970").execute(&mut *tx).await?.rows_affected();
        let revisions =
            sqlx::query("DELETE FROM probity.state_revision_before_1970").execute(&mut *tx).await?.rows_affected();
        let expired = Expired { states, revisions, ..Expired::default() };
        if !expired.is_empty() {
            let entry = retention::audit(now, "windows that ended before 1970".into(), &expired);
            history::add_audit(&mut *tx, &entry).await?;
        }
        tx.commit().await?;
        Ok(expired)
    };
    delete.await.map_err(during::<sqlx::Error>(FAILED))
}

/// Claims that are complete; the newest of each schedule stays, by which the schedule knows where it is.
async fn delete_claims(pool: &PgPool, day: Date, now: Timestamp) -> Result<Expired, StoreError> {
    let delete = async {
        let mut tx = pool.begin().await?;
        let claims = sqlx::query(
            "DELETE FROM probity.claim AS claim WHERE run IS NOT NULL AND due_at < $1 \
             AND EXISTS (SELECT FROM probity.claim AS newer WHERE newer.schedule = claim.schedule \
             AND newer.due_at > claim.due_at)",
        )
        .bind(Instant(retention::start(day)))
        .execute(&mut *tx)
        .await?
        .rows_affected();
        let expired = Expired { claims, ..Expired::default() };
        if !expired.is_empty() {
            let entry = retention::audit(now, format!("completed firings due before {day}"), &expired);
            history::add_audit(&mut *tx, &entry).await?;
        }
        tx.commit().await?;
        Ok(expired)
    };
    delete.await.map_err(during::<sqlx::Error>(FAILED))
}

/// Makes one partition of each month that ended long ago.
async fn fold(pool: &PgPool, cutoffs: &Cutoffs, today: Date) -> Result<(), StoreError> {
    let failed = "put the days of a month together";
    for table in Table::ALL {
        let cutoff = if table == Table::Run { cutoffs.runs } else { cutoffs.states };
        if cutoff.is_some_and(|day| today.since(day).is_ok_and(|kept| i64::from(kept.get_days()) <= DAYS_KEPT_APART)) {
            continue;
        }
        let days = named(pool, table).await?.into_iter().filter(|(first, end)| first.tomorrow().ok() == Some(*end));
        let months: std::collections::BTreeSet<Date> = days.map(|(first, _)| first.first_of_month()).collect();
        for month in months {
            let due = month.checked_add(1.month()).and_then(|next| next.checked_add(FOLDED_AFTER_DAYS.days()));
            if due.is_ok_and(|due| due <= today) {
                let fold = async {
                    let mut tx = pool.begin().await?;
                    take_turn(&mut tx).await?;
                    sqlx::query("SELECT probity.fold_month($1, $2::text::date)")
                        .bind(table.name())
                        .bind(month.to_string())
                        .execute(&mut *tx)
                        .await?;
                    tx.commit().await
                };
                fold.await.map_err(during(failed))?;
            }
        }
    }
    Ok(())
}
