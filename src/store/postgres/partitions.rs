//! The partitions by day that states and runs lie in: made before they are needed, and again when they are gone.

use std::collections::{BTreeMap, BTreeSet};
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

/// The partitions that are known to be there: of each table, the first day (UTC) and the day behind the last. What another
/// process drops meanwhile is found out by writing.
#[derive(Debug, Default)]
pub(super) struct Partitions(Mutex<BTreeMap<(Table, Date), Date>>);

impl Partitions {
    fn known(&self) -> MutexGuard<'_, BTreeMap<(Table, Date), Date>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Knows nothing any more.
    pub fn forget(&self) {
        self.known().clear();
    }

    /// Whether it is known that rows of this day have a place.
    fn is_known(&self, (table, day): (Table, Date)) -> bool {
        if !(1970..2100).contains(&day.year()) {
            return true;
        }
        let known = self.known();
        known.range((table, Date::MIN)..=(table, day)).next_back().is_some_and(|(_, end)| day < *end)
    }

    /// Whether it is known of all these days.
    pub fn all_known(&self, wanted: &BTreeSet<(Table, Date)>) -> bool {
        wanted.iter().all(|day| self.is_known(*day))
    }

    /// Makes those of these days that have no partition. One that is made may be a month or a year and hold the days that
    /// follow, so that a backfill of a month makes one table, not one call a day.
    pub async fn make(&self, pool: &PgPool, wanted: &BTreeSet<(Table, Date)>, today: Date) -> Result<(), StoreError> {
        if self.all_known(wanted) {
            return Ok(());
        }
        self.read(pool, &Table::ALL).await?;
        for (table, day) in wanted {
            if self.is_known((*table, *day)) {
                continue;
            }
            // One transaction each: what they lock is free again before the next.
            add(*table, *day, today).execute(pool).await.map_err(during("make room for a day"))?;
            self.read(pool, &[*table]).await?;
        }
        Ok(())
    }

    /// Learns which partitions these tables have.
    async fn read(&self, pool: &PgPool, tables: &[Table]) -> Result<(), StoreError> {
        for table in tables {
            let found = named(pool, *table).await?;
            let mut known = self.known();
            known.retain(|(of, _), _| of != table);
            known.extend(found.into_iter().map(|(first, end)| ((*table, first), end)));
        }
        Ok(())
    }
}

/// A day, month or year: from the first day to before the last.
pub(super) type Period = (Date, Date);

/// The periods that a table has partitions of.
pub(super) async fn named(pool: &PgPool, table: Table) -> Result<Vec<Period>, StoreError> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT first_day::text, end_day::text FROM probity.partitions($1)")
            .bind(table.name())
            .fetch_all(pool)
            .await
            .map_err(during("list partitions"))?;
    let read = |text: &str| {
        text.parse::<Date>()
            .map_err(|error| StoreError::Corrupt { what: "day of a partition", problem: error.to_string() })
    };
    rows.iter().map(|(first, end)| Ok((read(first)?, read(end)?))).collect()
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
pub(super) fn days_of_states(rows: &[Row<'_>]) -> BTreeSet<Date> {
    let mut days = BTreeSet::new();
    let mut last = None;
    for row in rows {
        let to = row.state.window.to;
        // Most follow one of the same window.
        if last != Some(to) {
            last = Some(to);
            days.insert(day(to));
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
