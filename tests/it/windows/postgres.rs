//! Postgres as oracle: `timestamp + n * interval`, then `AT TIME ZONE`.
//!
//! Two things differ, and only where they do may the answers: of a time that occurs twice Postgres takes the second;
//! and its time zones are of another version, usually the system's, which it does not tell. Where its offset around the
//! instant in question is not ours, the databases differ, not the calendars.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::tz::{AmbiguousOffset, TimeZone};
use probity::agreement::Calendar;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::{agreement, at, spec, zones};
use crate::harness::postgres;

const PERIODS: [(&str, &str, i32); 7] = [
    ("daily", "1 day", 14_610),
    ("weekly", "7 days", 2_088),
    ("biweekly", "14 days", 1_044),
    ("monthly", "1 month", 480),
    ("bimonthly", "2 months", 240),
    ("quarterly", "3 months", 160),
    ("yearly", "12 months", 40),
];

/// What was compared.
#[derive(Debug, Default)]
struct Tally {
    boundaries: usize,
    /// Times that occur twice.
    second_taken: usize,
    /// Where the offsets differ.
    other_zones: usize,
}

#[tokio::test]
async fn postgres_makes_the_same_boundaries() {
    let url = postgres::database().await;
    let mut database = PgConnection::connect(&url).await.expect("the test server answers");
    let known = "SELECT name FROM pg_timezone_names WHERE name NOT LIKE 'posix/%'";
    let known: BTreeSet<String> =
        sqlx::query_scalar(known).fetch_all(&mut database).await.unwrap().into_iter().collect();
    let (mut tally, mut unknown, mut differing) = (Tally::default(), 0, BTreeSet::new());
    let zones = zones(8);
    for zone in &zones {
        if !known.contains(zone) {
            unknown += 1;
            continue;
        }
        let before = tally.other_zones;
        for (index, (period, interval, count)) in PERIODS.into_iter().enumerate() {
            let initial = ["2000-01-01T00:00:00", "2000-01-31T00:30:00", "2000-08-30T02:30:00"][(index + 2) % 3];
            compare(&mut database, zone, period, interval, count, initial, &mut tally).await;
        }
        if tally.other_zones > before {
            differing.insert(zone.clone());
        }
    }
    println!("Postgres: {tally:?}, {unknown} of {} zones unknown to it, other offsets in {differing:?}", zones.len());
    assert!(
        tally.boundaries > 50_000
            && tally.second_taken > 0
            && unknown * 10 < zones.len()
            && differing.len() * 5 < zones.len(),
        "{tally:?}"
    );
}

async fn compare(
    database: &mut PgConnection,
    zone: &str,
    period: &str,
    interval: &str,
    count: i32,
    initial: &str,
    tally: &mut Tally,
) {
    let agreement = agreement(zone, &Value::Null, &json!({"period": period, "initial": initial}));
    let end = at("2039-12-01", &agreement.time_zone);
    let windows = Calendar::of(&agreement, spec(&agreement)).overlapping(Timestamp::MIN, end).unwrap();
    let ours: BTreeSet<i64> = windows.iter().map(|window| window.from.as_second()).collect();
    let theirs = "SELECT extract(epoch FROM ($1::text::timestamp + n * $2::text::interval) AT TIME ZONE $3)::int8
                  FROM generate_series(0, $4) n";
    let query = sqlx::query_scalar(theirs).bind(initial).bind(interval).bind(zone).bind(count);
    let theirs: Vec<i64> = query.fetch_all(&mut *database).await.unwrap();
    let theirs: BTreeSet<i64> = theirs.into_iter().filter(|at| *at < end.as_second()).collect();
    tally.boundaries += ours.len();
    for at in ours.symmetric_difference(&theirs) {
        let twice = second_of(*at, &agreement.time_zone);
        let is_explained = twice.is_some_and(|(first, second)| ours.contains(&first) && theirs.contains(&second));
        if is_explained {
            tally.second_taken += 1;
            continue;
        }
        assert!(differ_near(database, *at, zone, &agreement.time_zone).await, "{zone} {period} from {initial}: {at}");
        tally.other_zones += 1;
    }
}

/// Whether the two have other offsets within three hours of the instant, as far as a change of the clock moves it.
async fn differ_near(database: &mut PgConnection, at: i64, zone: &str, ours: &TimeZone) -> bool {
    const OFFSETS: &str = "SELECT at, extract(epoch FROM to_timestamp(at) AT TIME ZONE $2)::int8 - at
                           FROM generate_series($1 - 10800, $1 + 10800, 1800) at";
    let offsets = sqlx::query_as::<_, (i64, i64)>(OFFSETS).bind(at).bind(zone).fetch_all(database).await.unwrap();
    offsets.into_iter().any(|(at, theirs)| {
        let ours = ours.to_offset(Timestamp::from_second(at).unwrap()).seconds();
        theirs != i64::from(ours)
    })
}

/// The two instants of a clock reading that occurs twice.
fn second_of(at: i64, zone: &TimeZone) -> Option<(i64, i64)> {
    let civil = zone.to_datetime(Timestamp::from_second(at).ok()?);
    let AmbiguousOffset::Fold { before, after } = zone.to_ambiguous_timestamp(civil).offset() else { return None };
    Some((before.to_timestamp(civil).ok()?.as_second(), after.to_timestamp(civil).ok()?.as_second()))
}
