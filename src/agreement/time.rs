//! Dates, zones and periods as documents write them.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde_json::{Map, Value};

use super::document::{Reader, join};
use crate::model::agreement::{Period, WindowSpec};
use crate::model::diagnostic::Diagnostic;

/// Names of periods, with the ones other tools use for them.
const PERIODS: &[(&str, Period)] = &[
    ("hourly", Period::Hourly),
    ("daily", Period::Daily),
    ("weekly", Period::Weekly),
    ("biweekly", Period::Biweekly),
    ("monthly", Period::Monthly),
    ("bimonthly", Period::Bimonthly),
    ("quarterly", Period::Quarterly),
    ("yearly", Period::Yearly),
    ("annually", Period::Yearly),
];

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

/// Reads a term's window.
pub(super) fn read_window<'d>(
    reader: &mut Reader<'d>,
    term: &'d Map<String, Value>,
    path: &str,
    zone: &TimeZone,
    valid_from: Timestamp,
) -> Option<WindowSpec> {
    let names = || PERIODS.iter().map(|p| p.0);
    let Some(window) = reader.object(term, "window", path) else {
        if term.get("window").is_none_or(Value::is_null) {
            reader.absent("window", path, "a window such as {\"type\": \"static\", \"period\": \"monthly\"}");
        }
        return None;
    };
    let path = join(path, "window");
    let kind = reader.text(window, "type", &path).unwrap_or_else(|| "static".into());
    if kind != "static" {
        reader.report(
            Diagnostic::error(
                "unknown-window-type",
                join(&path, "type"),
                format!("windows of type \"{kind}\" are not supported"),
            )
            .expected("\"static\": calendar windows, one after the other"),
        );
    }
    let before = reader.problems.len();
    let initial = read_instant(reader, window, "initial", &path, zone);
    let end = read_instant(reader, window, "end", &path, zone);
    let dates_hold = reader.problems.len() == before;
    let initial = initial.unwrap_or(valid_from);
    if end.is_some_and(|end| end <= initial) {
        reader.report(
            Diagnostic::error("empty-window-range", join(&path, "end"), "the windows end before they begin")
                .expected("an end after window.initial; it is exclusive"),
        );
    }
    let written = reader.text(window, "period", &path);
    let period_name = match &written {
        Some(name) => name.to_lowercase(),
        None if window.get("period").is_none_or(Value::is_null) => {
            reader.report(
                Diagnostic::warning("missing-period", join(&path, "period"), "no period is given; monthly is taken")
                    .expected(names().collect::<Vec<_>>().join(", ")),
            );
            "monthly".into()
        }
        None => return None,
    };
    let Some((_, period)) = PERIODS.iter().find(|p| p.0 == period_name) else {
        let mut problem = Diagnostic::error(
            "unknown-period",
            join(&path, "period"),
            format!("\"{}\" is not a period", written.unwrap_or_default()),
        )
        .expected(format!("one of {}", names().collect::<Vec<_>>().join(", ")));
        problem = if period_name == "customrules" {
            problem.hint("windows by recurrence rules are not supported in this release")
        } else {
            problem.did_you_mean(&period_name, names())
        };
        reader.report(problem);
        return None;
    };
    dates_hold.then_some(WindowSpec { period: *period, initial, end, kind, period_name })
}
