//! The periods the Governify Registry asks its collectors about, by its own rules.
//!
//! They are not windows: a period has both its bounds in it, snaps to marks one second before a boundary, knows no zone
//! when dates are given, and shifts by whole hours when none are. Domain facts U7–U10 and `governify.md` §3.3 say what
//! is wrong with them; `tests/cases/governify/periods-strict.tsv` says where [`Calendar`](super::super::Calendar)
//! answers otherwise, and why. Registry 3.8 and later is [`of_guarantee`]; 3.4 to 3.7 is [`enumerated`].

mod boundaries;

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan};
use serde_json::Value;

use boundaries::Boundaries;

/// What a caller of `GET /states/{id}/guarantees` asks for, as it stands in the query.
#[derive(Clone, Copy, Debug)]
pub struct Query<'q> {
    /// Used only when `to` is there, too.
    pub from: Option<&'q str>,
    pub to: Option<&'q str>,
    /// `lastPeriod`; the Registry's default is true.
    pub last_period: bool,
    /// `newPeriodsFromGuarantees`; the Registry's default is true.
    pub new_periods_from_guarantees: bool,
}

impl Default for Query<'_> {
    fn default() -> Self {
        Query { from: None, to: None, last_period: true, new_periods_from_guarantees: true }
    }
}

/// A period as the Registry has it: both bounds are in it, in whole milliseconds, and `from` may lie after `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegistryPeriod {
    pub from: Timestamp,
    pub to: Timestamp,
}

impl RegistryPeriod {
    /// `from` as the Registry writes it: `2024-02-29T23:59:59.000Z`.
    pub fn from_text(&self) -> String {
        iso(self.from)
    }

    /// `to` as the Registry writes it.
    pub fn to_text(&self) -> String {
        iso(self.to)
    }
}

/// Why the Registry answers 500 instead of a state; `message` is the one it sends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PeriodsError {
    pub message: String,
}

impl PeriodsError {
    fn new(message: impl Into<String>) -> Self {
        PeriodsError { message: message.into() }
    }

    fn undefined(property: &str) -> Self {
        Self::new(format!("Cannot read properties of undefined (reading '{property}')"))
    }

    fn invalid_date() -> Self {
        Self::new("Invalid time value")
    }
}

/// The periods Registry 3.8 and later evaluates a guarantee for: exactly one, from the window of its first term.
///
/// `guarantee` is one of the document's `terms.guarantees`, `validity` its `context.validity`, both as written and with
/// references resolved. `now` is the end of every recurrence.
///
/// # Errors
/// The Registry's own message, to be sent with status 500. Where no recording says what it would be (a window that has
/// yet to start, a date that cannot be read in `window.initial`), it is `Invalid time value`.
pub fn of_guarantee(
    guarantee: &Value,
    validity: &Value,
    query: &Query<'_>,
    now: Timestamp,
) -> Result<Vec<RegistryPeriod>, PeriodsError> {
    let range = query.from.zip(query.to);
    if range.is_none() && !query.last_period {
        let id = guarantee["id"].as_str().unwrap_or_default();
        return Err(PeriodsError::new(format!("Cannot create property 'guarantee' on string '{id}'")));
    }
    let term = guarantee["of"].get(0).ok_or_else(|| PeriodsError::undefined("window"))?;
    let window = term.get("window").filter(|window| !window.is_null());
    let Some((from, to)) = range else {
        let window = window.ok_or_else(|| PeriodsError::undefined("period"))?;
        let zone = validity["timeZone"].as_str().unwrap_or("UTC");
        return last(window, initial(validity), zone, now).map(|period| vec![period]);
    };
    let window = window.ok_or_else(|| PeriodsError::new("Cannot set properties of undefined (setting 'from')"))?;
    let (from, to) = (date(from)?, date(to)?);
    if !query.new_periods_from_guarantees {
        return Ok(vec![RegistryPeriod { from, to }]);
    }
    snapped(window, initial(validity), from, to, now).map(|period| vec![period])
}

/// A range of dates moved outward to the boundaries and −1 s marks around it. No zone has a say.
///
/// # Errors
/// The Registry's message, for a period name it does not know and a date that is none.
pub fn snapped(
    window: &Value,
    validity_initial: Option<&str>,
    from: Timestamp,
    to: Timestamp,
    now: Timestamp,
) -> Result<RegistryPeriod, PeriodsError> {
    let boundaries = Boundaries::of(window, validity_initial, to, now, "sort")?;
    Ok(RegistryPeriod {
        from: boundaries.last_before(from).unwrap_or(from),
        to: boundaries.first_after(to).unwrap_or(to),
    })
}

/// The period that runs at `now`: from the last boundary, read as UTC and then moved by the zone's offset in whole
/// hours, to `now`; when that is the future, to the day after it.
///
/// # Errors
/// As [`snapped`].
pub fn last(
    window: &Value,
    validity_initial: Option<&str>,
    zone: &str,
    now: Timestamp,
) -> Result<RegistryPeriod, PeriodsError> {
    let until = window["end"].as_str().map_or(Ok(now), date)?;
    let boundaries = Boundaries::of(window, validity_initial, until, now, "length")?;
    let start = boundaries.last_start().ok_or_else(PeriodsError::invalid_date)?;
    let from = shifted(start, &zone_of(zone)).ok_or_else(PeriodsError::invalid_date)?;
    let now = milliseconds(now);
    let to = if now < from { day_after(now, from).ok_or_else(PeriodsError::invalid_date)? } else { now };
    Ok(RegistryPeriod { from, to })
}

/// The periods Registry 3.4 to 3.7 cut a range into: pairs of a start and the mark before the next one, both moved by
/// the zone's offset in whole hours, that end after `from` and not after `to`.
///
/// # Errors
/// As [`snapped`], and when there are more than [`WINDOWS_MAX`](super::super::WINDOWS_MAX).
pub fn enumerated(
    window: &Value,
    validity_initial: Option<&str>,
    zone: &str,
    from: Timestamp,
    to: Timestamp,
    now: Timestamp,
) -> Result<Vec<RegistryPeriod>, PeriodsError> {
    let boundaries = Boundaries::of(window, validity_initial, to, now, "sort")?;
    let zone = zone_of(zone);
    let pairs = boundaries.pairs_around(from, to)?;
    let period = |(start, end): (Timestamp, Timestamp)| {
        let end = Timestamp::from_millisecond(end.as_millisecond().div_euclid(1000) * 1000 + 999).ok()?;
        Some(RegistryPeriod { from: shifted(start, &zone)?, to: shifted(end, &zone)? })
    };
    Ok(pairs.into_iter().filter_map(period).filter(|p| p.to > from && p.to <= to).collect())
}

fn initial(validity: &Value) -> Option<&str> {
    validity["initial"].as_str()
}

/// An unknown zone is UTC, as the Registry's library has it.
fn zone_of(name: &str) -> TimeZone {
    super::super::time::zone(name).unwrap_or(TimeZone::UTC)
}

/// `setUTCHours(hours - offset)`: an offset of hours and minutes loses its minutes towards zero.
fn shifted(at: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let utc = Offset::UTC.to_datetime(at);
    let seconds = i64::from(utc.hour()) * 3600 - i64::from(zone.to_offset(at).seconds());
    let day = utc.with().hour(0).build().ok()?;
    let moved = Offset::UTC.to_timestamp(day).ok()?;
    moved.checked_add(SignedDuration::from_hours(seconds / 3600)).ok()
}

/// `to.setUTCDate(from.getUTCDate() + 1)`: the day of the month of `from`, and one, in the month of `to`.
fn day_after(to: Timestamp, from: Timestamp) -> Option<Timestamp> {
    let utc = Offset::UTC.to_datetime(to);
    let day = Offset::UTC.to_datetime(from).day();
    let first = utc.with().day(1).build().ok()?;
    Offset::UTC.to_timestamp(first.checked_add(i64::from(day).days()).ok()?).ok()
}

/// A date as the Registry's JavaScript reads it, in the forms of ISO 8601 (`2024-03`, `2024-03-01`,
/// `2024-03-01T08:00`, with `Z` or an offset); without an offset it is UTC, the zone its container runs in. Cut to
/// milliseconds.
///
/// # Errors
/// `Invalid time value`.
pub fn date(text: &str) -> Result<Timestamp, PeriodsError> {
    let text = text.trim();
    let whole = match text.len() {
        4 => format!("{text}-01-01"),
        7 => format!("{text}-01"),
        _ => text.to_owned(),
    };
    let instant = whole.parse::<Timestamp>().ok();
    let civil = || whole.parse::<DateTime>().ok().and_then(|at| Offset::UTC.to_timestamp(at).ok());
    instant.or_else(civil).map(milliseconds).ok_or_else(PeriodsError::invalid_date)
}

fn milliseconds(at: Timestamp) -> Timestamp {
    let cut = at.as_nanosecond().div_euclid(1_000_000);
    i64::try_from(cut).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(at)
}

fn iso(at: Timestamp) -> String {
    Offset::UTC.to_datetime(at).strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

#[cfg(test)]
mod tests;
