//! Windows: named days of the calendar, and the partition of time in many zones.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use proptest::prelude::*;

use super::super::time::instant;
use super::super::windows::{Calendar, WINDOWS_MAX, local};
use crate::model::agreement::{Period, WindowSpec};

const PERIODS: [Period; 8] = [
    Period::Hourly,
    Period::Daily,
    Period::Weekly,
    Period::Biweekly,
    Period::Monthly,
    Period::Bimonthly,
    Period::Quarterly,
    Period::Yearly,
];

fn at(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

fn spec(period: Period, initial: Timestamp) -> WindowSpec {
    WindowSpec::counted(period, &format!("{period:?}").to_lowercase(), initial)
}

/// Local starts of the windows in a range.
fn starts(period: Period, zone_name: &str, initial: &str, from: &str, to: &str) -> Vec<String> {
    let zone = zone(zone_name);
    let spec = spec(period, instant(initial, &zone).unwrap());
    let calendar = Calendar::new(&spec, &zone, spec.initial, None);
    let windows = calendar.overlapping(instant(from, &zone).unwrap(), instant(to, &zone).unwrap()).unwrap();
    windows.into_iter().map(|w| w.from_local).collect()
}

fn hours(period: Period, zone_name: &str, initial: &str, day: &str) -> f64 {
    let zone = zone(zone_name);
    let spec = spec(period, instant(initial, &zone).unwrap());
    let calendar = Calendar::new(&spec, &zone, spec.initial, None);
    let window = calendar.open_at(instant(day, &zone).unwrap()).unwrap();
    window.to.duration_since(window.from).as_secs_f64() / 3600.0
}

#[test]
fn days_have_23_24_and_25_hours() {
    assert_eq!(hours(Period::Daily, "Europe/Madrid", "2020-01-01", "2026-03-29T12:00"), 23.0);
    assert_eq!(hours(Period::Daily, "Europe/Madrid", "2020-01-01", "2026-03-30T12:00"), 24.0);
    assert_eq!(hours(Period::Daily, "Europe/Madrid", "2020-01-01", "2026-10-25T12:00"), 25.0);
    assert_eq!(hours(Period::Daily, "Asia/Kolkata", "2020-01-01", "2026-03-29T12:00"), 24.0);
    assert_eq!(hours(Period::Daily, "Australia/Lord_Howe", "2020-01-01", "2026-10-04T12:00"), 23.5);
    assert_eq!(hours(Period::Weekly, "America/Los_Angeles", "2022-01-03", "2026-03-05T12:00"), 167.0);
}

#[test]
fn months_that_start_on_the_31st() {
    let found = starts(Period::Monthly, "Europe/Madrid", "2025-12-31", "2025-12-31", "2026-06-01");
    let days: Vec<&str> = found.iter().map(|s| &s[..10]).collect();
    assert_eq!(days, ["2025-12-31", "2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31"]);
    let leap = starts(Period::Yearly, "UTC", "2024-02-29", "2024-03-01", "2029-01-01");
    let days: Vec<&str> = leap.iter().map(|s| &s[..10]).collect();
    assert_eq!(days, ["2024-02-29", "2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29"]);
}

#[test]
fn every_period_steps_as_it_is_called() {
    let days = |period, to| {
        let found = starts(period, "UTC", "2026-01-01", "2026-01-01", to);
        found.iter().map(|s| s[5..10].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(days(Period::Daily, "2026-01-03"), ["01-01", "01-02"]);
    assert_eq!(days(Period::Weekly, "2026-01-16"), ["01-01", "01-08", "01-15"]);
    assert_eq!(days(Period::Biweekly, "2026-02-01"), ["01-01", "01-15", "01-29"]);
    assert_eq!(days(Period::Monthly, "2026-03-02"), ["01-01", "02-01", "03-01"]);
    assert_eq!(days(Period::Bimonthly, "2026-06-01"), ["01-01", "03-01", "05-01"]);
    assert_eq!(days(Period::Quarterly, "2026-07-02"), ["01-01", "04-01", "07-01"]);
    assert_eq!(days(Period::Yearly, "2028-01-01"), ["01-01", "01-01"]);
    assert_eq!(starts(Period::Hourly, "UTC", "2026-01-01T00:20", "2026-01-01T01:00", "2026-01-01T02:21").len(), 3);
}

#[test]
fn local_texts() {
    let madrid = zone("Europe/Madrid");
    assert_eq!(local(at("2026-03-28T23:00:00Z"), &madrid), "2026-03-29T00:00:00+01:00");
    assert_eq!(local(at("2026-06-01T00:00:00.25Z"), &TimeZone::UTC), "2026-06-01T00:00:00.25+00:00");
    assert_eq!(local(at("2026-06-01T00:00:00Z"), &zone("America/St_Johns")), "2026-05-31T21:30:00-02:30");
    // What we write by hand is what the library reads.
    let text = local(at("2026-10-25T01:30:00Z"), &madrid);
    assert_eq!(text.parse::<Timestamp>().unwrap(), at("2026-10-25T01:30:00Z"));
}

#[test]
fn dates_are_read_in_the_zone_they_name() {
    let madrid = zone("Europe/Madrid");
    let read = |text: &str| instant(text, &madrid).map(|at| at.to_string());
    let eleven = Some("2025-12-31T23:00:00Z".to_owned());
    for text in ["2026-01-01", " 2026-01-01T00:00 ", "2026-01-01T00:00:00+01:00", "2025-12-31T23:00:00Z"] {
        assert_eq!(read(text), eleven, "{text}");
    }
    assert_eq!(read("2026-01-01T00:00[America/New_York]").as_deref(), Some("2026-01-01T05:00:00Z"));
    // A gap moves forward; of a time that occurs twice the first is meant.
    assert_eq!(read("2026-03-29T02:30").as_deref(), Some("2026-03-29T01:30:00Z"));
    assert_eq!(read("2026-10-25T02:30").as_deref(), Some("2026-10-25T00:30:00Z"));
    for text in
        ["", "tomorrow", "2026-13-01", "2026-02-30", "2026-01-01T25:00", "2026-01-01T00:00+99:00", "1767225600000"]
    {
        assert_eq!(read(text), None, "{text}");
    }
}

#[test]
fn a_day_that_samoa_skipped_has_no_window() {
    let found = starts(Period::Daily, "Pacific/Apia", "2011-12-01", "2011-12-29", "2012-01-01");
    let days: Vec<&str> = found.iter().map(|s| &s[..10]).collect();
    assert_eq!(days, ["2011-12-29", "2011-12-31"]);
}

#[test]
fn windows_are_whole_and_within_validity() {
    let zone = zone("Europe/Madrid");
    let mut spec = spec(Period::Monthly, instant("2026-01-01", &zone).unwrap());
    let valid_from = instant("2026-02-10", &zone).unwrap();
    let valid_to = instant("2026-04-10", &zone).unwrap();
    let months = |spec: &WindowSpec, from: &str, to: &str| {
        let calendar = Calendar::new(spec, &zone, valid_from, Some(valid_to));
        let windows = calendar.overlapping(at(from), at(to)).unwrap();
        windows.iter().map(|w| w.from_local[5..7].to_owned() + "-" + &w.to_local[5..7]).collect::<Vec<_>>()
    };
    assert_eq!(months(&spec, "2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z"), ["02-03", "03-04", "04-05"]);
    assert_eq!(months(&spec, "2026-03-05T00:00:00Z", "2026-03-06T00:00:00Z"), ["03-04"]);
    assert_eq!(months(&spec, "2026-03-05T00:00:00Z", "2026-03-05T00:00:00Z").len(), 0);
    assert_eq!(months(&spec, "2026-01-05T00:00:00Z", "2026-02-05T00:00:00Z").len(), 0);
    assert_eq!(months(&spec, "2026-03-05T00:00:00Z", "2025-03-05T00:00:00Z").len(), 0);
    spec.end = Some(instant("2026-03-10", &zone).unwrap());
    assert_eq!(months(&spec, "2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z"), ["02-03", "03-04"]);
}

#[test]
fn closed_open_and_next() {
    let zone = TimeZone::UTC;
    let spec = spec(Period::Daily, at("2026-01-01T00:00:00Z"));
    let calendar = Calendar::new(&spec, &zone, spec.initial, Some(at("2026-01-10T00:00:00Z")));
    let closed =
        |now: &str| calendar.last_closed(at(now), 2).iter().map(|w| w.from_local[8..10].to_owned()).collect::<Vec<_>>();
    assert_eq!(closed("2026-01-05T12:00:00Z"), ["03", "04"]);
    assert_eq!(closed("2026-01-05T00:00:00Z"), ["03", "04"]);
    assert_eq!(closed("2026-01-02T00:00:00Z"), ["01"]);
    assert!(closed("2026-01-01T23:00:00Z").is_empty() && closed("2025-01-01T00:00:00Z").is_empty());
    assert_eq!(closed("2027-01-01T00:00:00Z"), ["08", "09"]);
    let next = |now: &str| calendar.next_close_after(at(now)).map(|t| t.to_string());
    assert_eq!(next("2026-01-05T12:00:00Z").as_deref(), Some("2026-01-06T00:00:00Z"));
    assert_eq!(next("2026-01-06T00:00:00Z").as_deref(), Some("2026-01-07T00:00:00Z"));
    assert_eq!(next("2020-01-01T00:00:00Z").as_deref(), Some("2026-01-02T00:00:00Z"));
    assert_eq!(next("2026-01-09T12:00:00Z").as_deref(), Some("2026-01-10T00:00:00Z"));
    assert_eq!(next("2026-01-10T00:00:00Z"), None);
    assert!(calendar.open_at(at("2026-01-10T00:00:00Z")).is_none());
    assert!(calendar.open_at(at("2025-12-31T23:59:59Z")).is_none());
    assert_eq!(calendar.open_at(at("2026-01-09T23:59:59.999999999Z")).unwrap().from, at("2026-01-09T00:00:00Z"));
}

#[test]
fn more_windows_than_one_call_gives_are_refused() {
    let utc = TimeZone::UTC;
    let spec = spec(Period::Hourly, at("2000-01-01T00:00:00Z"));
    let calendar = Calendar::new(&spec, &utc, spec.initial, None);
    let error = calendar.overlapping(spec.initial, at("2040-01-01T00:00:00Z")).unwrap_err();
    assert_eq!(error.windows, 350_640);
    assert!(error.to_string().contains("350640 hourly windows") && WINDOWS_MAX == 100_000);
    // Ends of time do not hang or panic.
    assert!(calendar.overlapping(Timestamp::MIN, Timestamp::MAX).is_err());
    let yearly = self::spec(Period::Yearly, Timestamp::MAX);
    let calendar = Calendar::new(&yearly, &utc, Timestamp::MIN, None);
    assert!(calendar.overlapping(Timestamp::MIN, Timestamp::MAX).unwrap().is_empty());
    assert!(calendar.next_close_after(Timestamp::MAX).is_none());
}

/// Every zone the program knows.
fn zones() -> Vec<String> {
    jiff::tz::db().available().map(|name| name.to_string()).collect()
}

proptest! {
    /// No gap, no overlap, no empty window; and the windows of two neighbouring ranges are those of both together.
    #[test]
    fn windows_partition_time(
        name in prop::sample::select(zones()),
        period in prop::sample::select(PERIODS.to_vec()),
        initial in 946_684_800i64..2_208_988_800,
        whole_day in any::<bool>(),
        after in 0i64..400,
        length in 1i64..60,
        cut in 0i64..60,
    ) {
        let zone = zone(&name);
        let mut initial = Timestamp::from_second(initial).unwrap();
        if whole_day {
            initial = initial.to_zoned(zone.clone()).start_of_day().unwrap().timestamp();
        }
        let spec = spec(period, initial);
        let calendar = Calendar::new(&spec, &zone, initial, None);
        let hours = if period == Period::Hourly { 1 } else { 24 };
        let from = initial.checked_add((after * hours).hours()).unwrap();
        let to = from.checked_add((length * hours).hours()).unwrap();
        let windows = calendar.overlapping(from, to).unwrap();
        prop_assert!(!windows.is_empty());
        prop_assert!(windows[0].from <= from && windows[windows.len() - 1].to >= to);
        for window in &windows {
            prop_assert!(window.from < window.to, "{window:?}");
            prop_assert!(window.to > from && window.from < to, "{window:?}");
            prop_assert_eq!(window.from_local.parse::<Timestamp>().ok(), Some(window.from));
            let inside = window.to.checked_sub(1.nanosecond()).unwrap();
            let open = calendar.open_at(inside);
            prop_assert_eq!(open.as_ref(), Some(window));
            prop_assert_eq!(calendar.next_close_after(inside), Some(window.to));
            let closed = calendar.last_closed(window.to, 1);
            prop_assert_eq!(closed.first(), Some(window));
        }
        for pair in windows.windows(2) {
            prop_assert_eq!(pair[0].to, pair[1].from);
            prop_assert_eq!(&pair[0].to_local, &pair[1].from_local);
        }
        let middle = from.checked_add(((cut % length) * hours).hours()).unwrap();
        let mut both = calendar.overlapping(from, middle).unwrap();
        both.extend(calendar.overlapping(middle, to).unwrap());
        both.dedup();
        prop_assert_eq!(both, windows);
    }
}
