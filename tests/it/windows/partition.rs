//! No gap, no overlap, no empty window, and the lengths add up to the validity.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use probity::agreement::Calendar;
use probity::model::agreement::{Period, WindowSpec};
use serde_json::{Value, json};

use super::{agreement, at, full, in_each, seed, spec, zones};

const PERIODS: [&str; 13] = [
    "fiveMinutes",
    "hourly",
    "daily",
    "weekly",
    "isoWeekly",
    "biweekly",
    "monthly",
    "bimonthly",
    "quarterly",
    "fiscalQuarterly",
    "yearly",
    "isoYearly",
    "fiscalYearly",
];

#[test]
fn windows_of_every_period_partition_the_validity() {
    in_each(&zones(5), |zone| {
        let mut rng = fastrand::Rng::with_seed(seed());
        for period in PERIODS {
            // Counted from an ordinary day, from one that short months do not have, and from the middle of a day.
            for initial in ["2000-01-01", "2000-01-31", "2000-08-30T02:30"] {
                let ours = json!({"fiscalYear": {"firstMonth": rng.u8(1..=12)}});
                let agreement = agreement(zone, &ours, &json!({"period": period, "initial": initial}));
                // Hours and minutes know no calendar: one initial, and of five minutes one year.
                let years = match (period, full()) {
                    ("fiveMinutes" | "hourly", _) if initial != "2000-01-01" => continue,
                    ("fiveMinutes", false) => continue,
                    ("fiveMinutes", true) | ("hourly", false) => Some(rng.i16(2000..2040)),
                    _ => None,
                };
                let years = years.map_or(2000..2040, |year| year..year + 1);
                check(spec(&agreement), &agreement.time_zone, zone, years);
            }
        }
    });
}

/// Windows one year after the other, so that the boundaries between two calls are looked at, too.
fn check(spec: &WindowSpec, zone: &TimeZone, name: &str, years: std::ops::Range<i16>) {
    let (valid_from, valid_to) = (spec.initial, at("2040-01-01", zone));
    let calendar = Calendar::new(spec, zone, valid_from, Some(valid_to));
    let what = &spec.period_name;
    let (mut first, mut end, mut total): (Option<Timestamp>, Option<Timestamp>, _) = (None, None, SignedDuration::ZERO);
    for year in years.clone() {
        // A year of five minutes is more than one call gives.
        let parts: &[(&str, &str)] = match spec.period {
            Period::FiveMinutes => &[("01-01", "04-01"), ("04-01", "07-01"), ("07-01", "10-01"), ("10-01", "")],
            _ => &[("01-01", "")],
        };
        for (from, to) in parts {
            let to = if to.is_empty() { format!("{}-01-01", year + 1) } else { format!("{year}-{to}") };
            let windows = calendar.overlapping(at(&format!("{year}-{from}"), zone), at(&to, zone));
            for window in windows.unwrap_or_else(|e| panic!("{name} {what} {year}: {e}")) {
                if end.is_some_and(|end| window.to <= end) {
                    // It lies in two years, and was seen in the first.
                    assert_eq!(Some(window.to), end, "{name} {what}: {window:?}");
                    continue;
                }
                assert!(window.from < window.to, "{name} {what}: {window:?}");
                assert_eq!(
                    window.from,
                    end.unwrap_or(window.from),
                    "{name} {what}: a gap or an overlap before {window:?}"
                );
                first.get_or_insert(window.from);
                end = Some(window.to);
                total += window.to.duration_since(window.from);
            }
        }
    }
    let (first, end) = (first.expect("windows"), end.expect("windows"));
    assert_eq!(total, end.duration_since(first), "{name} {what}");
    let from = valid_from.max(at(&format!("{}-01-01", years.start), zone));
    let to = valid_to.min(at(&format!("{}-01-01", years.end), zone));
    assert!(first <= from && end >= to, "{name} {what}: {first} to {end} is not all of {from} to {to}");
    // Windows are whole, and none of them is needless.
    let second = calendar.next_close_after(from).expect("a first window");
    let last = calendar.last_closed(end, 1);
    assert!(second > from && last[0].from < to, "{name} {what}");
    if years.start == 2000 && !starts_on_days_of_its_own(spec.period) {
        assert_eq!(first, valid_from, "{name} {what}");
    }
}

fn starts_on_days_of_its_own(period: Period) -> bool {
    matches!(period, Period::IsoWeekly | Period::IsoYearly | Period::FiscalQuarterly | Period::FiscalYearly)
}

/// The steps of rolling windows partition time, and each window ends with its step; open hours lie in their days and
/// never touch.
#[test]
fn rolling_and_business_windows_keep_to_their_pieces() {
    in_each(&zones(2), |zone| {
        let daily = agreement(zone, &Value::Null, &json!({"period": "daily", "initial": "2019-06-01"}));
        let rolling = json!({"type": "rolling", "length": "P1M2DT3H", "step": "daily", "initial": "2019-06-01"});
        let rolling = agreement(zone, &Value::Null, &rolling);
        let office = json!({"calendars": {"office": {"hours": "02:15-17:30", "holidays": ["2020-01-01"]}}});
        let window = json!({"period": "daily", "initial": "2019-06-01", "x-probity": {"calendar": "office"}});
        let business = agreement(zone, &office, &window);
        let (from, to) = (at("2020-01-01", &daily.time_zone), at("2021-01-01", &daily.time_zone));
        let windows = |agreement| Calendar::of(agreement, spec(agreement)).overlapping(from, to).unwrap();
        let (days, rolled, open) = (windows(&daily), windows(&rolling), windows(&business));
        assert_eq!(days.len(), rolled.len(), "{zone}");
        for (day, window) in days.iter().zip(&rolled) {
            assert_eq!(day.to, window.to, "{zone}");
            let length = window.to.duration_since(window.from).as_hours();
            assert!((28 * 24 + 48..=31 * 24 + 54).contains(&length), "{zone}: {length} h, {window:?}");
        }
        assert!((250..=262).contains(&open.len()), "{zone}: {}", open.len());
        for window in &open {
            let day = days.iter().find(|day| day.from <= window.from && window.to <= day.to);
            assert!(day.is_some(), "{zone}: {window:?}");
        }
        assert!(open.windows(2).all(|pair| pair[0].to < pair[1].from), "{zone}");
    });
}
