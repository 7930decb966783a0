//! The partitions by day that states and runs lie in: made before they are needed, and again when they are gone.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;
use sqlx::PgConnection;
use sqlx::postgres::PgPool;
use uuid::Uuid;

use crate::store::batch::Row;
use crate::store::{StoreError, during};

/// First half of the advisory lock that whoever makes or drops partitions holds, in the migrations, too: `PRTP`.
pub(super) const LOCK_PARTITIONS: i32 = 0x5052_5450;

/// Those that are partitioned. A state and its earlier revisions have partitions of the same days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    Run,
    State,
    Revision,
}

impl Table {
    pub const ALL: [Table; 3] = [Table::Run, Table::State, Table::Revision];

    /// Its name in schema `probity`.
    pub fn name(self) -> &'static str {
        match self {
            Table::Run => "run",
            Table::State => "state",
            Table::Revision => "state_revision",
        }
    }
}

/// The days (UTC) that are known to have partitions. What another process drops meanwhile is found out by writing.
#[derive(Debug, Default)]
pub(super) struct Partitions(Mutex<BTreeSet<(Table, Date)>>);

impl Partitions {
    fn known(&self) -> MutexGuard<'_, BTreeSet<(Table, Date)>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Knows nothing any more.
    pub fn forget(&self) {
        self.known().clear();
    }

    /// Makes those of these days that are not known to be there.
    pub async fn make(&self, pool: &PgPool, wanted: BTreeSet<(Table, Date)>, today: Date) -> Result<(), StoreError> {
        let missing: Vec<(Table, Date)> = {
            let known = self.known();
            wanted.into_iter().filter(|day| !known.contains(day)).collect()
        };
        if missing.is_empty() {
            return Ok(());
        }
        // One transaction each: what they lock is free again before the next.
        for (table, day) in &missing {
            add(*table, *day, today).execute(pool).await.map_err(during("make room for a day"))?;
        }
        self.known().extend(missing);
        Ok(())
    }
}

/// Makes these days in a transaction that then writes to them: nobody drops one of them before it has.
pub(super) async fn make_and_hold(
    tx: &mut PgConnection,
    wanted: &BTreeSet<(Table, Date)>,
    today: Date,
) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_advisory_xact_lock($1, 0)").bind(LOCK_PARTITIONS).execute(&mut *tx).await?;
    for (table, day) in wanted {
        add(*table, *day, today).execute(&mut *tx).await?;
    }
    Ok(())
}

fn add(
    table: Table,
    day: Date,
    today: Date,
) -> sqlx::query::Query<'static, sqlx::Postgres, sqlx::postgres::PgArguments> {
    let add = sqlx::query("SELECT probity.add_day($1, $2::text::date, $3::text::date)");
    add.bind(table.name()).bind(written(day)).bind(written(today))
}

/// A day as Postgres reads it; years it does not know count as the first it has.
fn written(day: Date) -> String {
    if day.year() < 1 { "0001-01-01".into() } else { day.to_string() }
}

/// The day of an instant, UTC.
pub(super) fn day(at: Timestamp) -> Date {
    Offset::UTC.to_datetime(at).date()
}

/// The day a run was opened, by its id. Ids that are no UUIDs of version 7 belong to some day all the same.
pub(super) fn day_of_run(id: Uuid) -> Date {
    let millis = id.as_u128() >> 80;
    let at = i64::try_from(millis).ok().and_then(|millis| Timestamp::from_millisecond(millis).ok());
    day(at.unwrap_or(Timestamp::MAX))
}

/// The days that these states lie in.
pub(super) fn days_of_states(rows: &[Row<'_>]) -> BTreeSet<(Table, Date)> {
    let mut days = BTreeSet::new();
    let mut last = None;
    for row in rows {
        let to = row.state.window.to;
        // Most follow one of the same window.
        if last != Some(to) {
            last = Some(to);
            days.insert((Table::State, day(to)));
            days.insert((Table::Revision, day(to)));
        }
    }
    days
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_lies_in_the_day_its_id_was_made() {
        let id: Uuid = "019a0000-0000-7000-8000-000000000000".parse().unwrap();
        let millis = 0x019a_0000_0000_i64;
        assert_eq!(day_of_run(id), day(Timestamp::from_millisecond(millis).unwrap()));
        assert_eq!(day_of_run(Uuid::max()), day(Timestamp::MAX));
        assert_eq!(day_of_run(Uuid::nil()).to_string(), "1970-01-01");
    }

    #[test]
    fn a_day_ends_before_midnight_utc() {
        let at = |text: &str| day(text.parse().unwrap()).to_string();
        assert_eq!(at("2026-03-01T23:59:59.999999Z"), "2026-03-01");
        assert_eq!(at("2026-03-02T00:00:00Z"), "2026-03-02");
        assert_eq!(written("-0044-03-15".parse().unwrap_or(Date::MIN)), "0001-01-01");
    }
}
