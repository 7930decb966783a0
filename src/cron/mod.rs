//! Floor 1: when a cron pattern fires next in a time zone. Pure.
//!
//! Patterns have five fields (minute, hour, day of month, month, day of week) or six (a second first), with
//! Monday as 1 and Sunday as 0 or 7. When both day fields are restricted (neither `*` nor `?`), a day that
//! matches either fires. The `cron` crate matches the fields over wall-clock times; what those mean in a zone
//! is decided here:
//!
//! * A pattern with a wildcard or a step in its minute or hour field fires at every instant whose wall clock
//!   matches: twice in an hour that is repeated, not at all in one that is skipped.
//! * Any other pattern, lists and ranges included, names fixed times of day, and each fires once: in a repeated hour at the first of the two
//!   instants, in a skipped hour at the first instant after the gap.

mod field;

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use jiff::civil;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use field::Field;

/// A cron pattern.
#[derive(Clone, Debug)]
pub struct Cron {
    text: String,
    /// One, or two when the day fields are alternatives.
    schedules: Vec<cron::Schedule>,
    /// Fires at every matching instant rather than once per wall-clock time.
    every_instant: bool,
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Cron {}

/// Why a text is no cron pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cron pattern \"{pattern}\": {}{problem}; expected {expected}{}", in_field(.field), with_hint(.hint))]
pub struct CronError {
    pub pattern: String,
    /// The field at fault: `second`, `minute`, `hour`, `day of month`, `month`, `day of week`.
    pub field: Option<&'static str>,
    pub problem: String,
    pub expected: String,
    pub hint: Option<String>,
}

fn in_field(field: &Option<&'static str>) -> String {
    field.map(|f| format!("{f}: ")).unwrap_or_default()
}

fn with_hint(hint: &Option<String>) -> String {
    hint.as_ref().map(|h| format!("; {h}")).unwrap_or_default()
}

/// Longer texts are no patterns.
const PATTERN_BYTES_MAX: usize = 1024;

/// The years the `cron` crate knows.
const YEARS: std::ops::RangeInclusive<i16> = 1970..=2100;

impl Cron {
    /// Parses five or six fields, or one of `@yearly @monthly @weekly @daily @hourly`.
    pub fn parse(text: &str) -> Result<Cron, CronError> {
        let fail = |field, problem: String, expected: &str, hint: Option<String>| CronError {
            pattern: text.chars().take(100).collect(),
            field,
            problem,
            expected: expected.into(),
            hint,
        };
        if text.len() > PATTERN_BYTES_MAX {
            return Err(fail(None, "it is too long".into(), "at most 1024 bytes", None));
        }
        let written: Vec<&str> = match shorthand(text.trim()) {
            Some(pattern) => pattern.split(' ').collect(),
            None => text.split_whitespace().collect(),
        };
        let kinds = match written.len() {
            5 => &field::KINDS[1..],
            6 => field::KINDS,
            7 => {
                return Err(fail(
                    None,
                    "it has seven fields".into(),
                    "five fields, or six with seconds first",
                    Some("leave out the year".into()),
                ));
            }
            n => {
                return Err(fail(
                    None,
                    format!("it has {n} field{}", if n == 1 { "" } else { "s" }),
                    "five fields (minute hour day-of-month month day-of-week), or six with seconds first",
                    Some("for example \"0 9 * * MON-FRI\"".into()),
                ));
            }
        };
        let mut fields = Vec::with_capacity(6);
        for (kind, written) in kinds.iter().zip(&written) {
            fields.push(
                Field::parse(*kind, written).map_err(|e| fail(Some(kind.name()), e.problem, &e.expected, e.hint))?,
            );
        }
        if fields.len() == 5 {
            fields.insert(0, Field::only(0));
        }
        let schedules = schedules(&fields).map_err(|problem| fail(None, problem, "a pattern that can fire", None))?;
        Ok(Cron { text: text.into(), schedules, every_instant: fields[1].repeats || fields[2].repeats })
    }

    /// The first firing after `t` in this zone; `None` when there is none (30 February) from 1970 to 2100.
    ///
    /// Following firings from each other gives every one of them, each later than the one before.
    pub fn next_after(&self, t: Timestamp, tz: &TimeZone) -> Option<Timestamp> {
        if self.every_instant { self.next_instant(t, tz) } else { self.next_fixed(t, tz) }
    }

    fn next_instant(&self, t: Timestamp, tz: &TimeZone) -> Option<Timestamp> {
        let mut offset = tz.to_offset(t);
        let mut local = self.next_local(offset.to_datetime(t))?;
        let mut transitions = tz.following(t);
        loop {
            let candidate = offset.to_timestamp(local).ok()?;
            // As long as the clock has not been put on or back, it shows what was reckoned.
            let Some(transition) = transitions.next().filter(|tr| tr.timestamp() <= candidate) else {
                return Some(candidate);
            };
            offset = transition.offset();
            let just_before = transition.timestamp().checked_sub(SignedDuration::from_secs(1)).ok()?;
            local = self.next_local(offset.to_datetime(just_before))?;
        }
    }

    fn next_fixed(&self, t: Timestamp, tz: &TimeZone) -> Option<Timestamp> {
        let mut local = tz.to_datetime(t);
        loop {
            local = self.next_local(local)?;
            let instant = first_instant(local, tz)?;
            // In the second pass through a repeated hour the times of the first have fired already.
            if instant > t {
                return Some(instant);
            }
        }
    }

    /// The first matching wall-clock time after this one, whatever the zone.
    fn next_local(&self, after: civil::DateTime) -> Option<civil::DateTime> {
        if after.year() > *YEARS.end() {
            return None;
        }
        let after = to_chrono(after.max(civil::datetime(*YEARS.start() - 1, 12, 31, 23, 59, 59, 0)))?;
        let next = self.schedules.iter().filter_map(|s| s.after(&after).next()).min()?;
        from_chrono(next.naive_utc())
    }
}

/// The instant at which the clock first shows `local`, or first shows something later when it skips it.
fn first_instant(local: civil::DateTime, tz: &TimeZone) -> Option<Timestamp> {
    match tz.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(local).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(local).ok(),
        AmbiguousOffset::Gap { after, .. } => {
            // With the offset that holds after the gap, the skipped time lies before the gap.
            let earlier = after.to_timestamp(local).ok()?;
            tz.following(earlier).next().map(|transition| transition.timestamp())
        }
    }
}

fn shorthand(text: &str) -> Option<&'static str> {
    Some(match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => return None,
    })
}

/// The six fields in the `cron` crate's own dialect; twice when either day field may match.
fn schedules(fields: &[Field]) -> Result<Vec<cron::Schedule>, String> {
    let [second, minute, hour, day, month, weekday] = fields else {
        return Err("it has not six fields".into());
    };
    let time = format!("{} {} {}", second.list(), minute.list(), hour.list());
    let month = month.list();
    let patterns = match (day.any, weekday.any) {
        (false, false) => {
            vec![format!("{time} {} {month} *", day.list()), format!("{time} * {month} {}", weekday.quartz_list())]
        }
        (_, true) => vec![format!("{time} {} {month} *", day.list())],
        (true, false) => vec![format!("{time} * {month} {}", weekday.quartz_list())],
    };
    patterns.iter().map(|p| cron::Schedule::from_str(p).map_err(|e| e.to_string())).collect()
}

/// A wall-clock time dressed as UTC, which is how the `cron` crate is kept from seeing any zone.
fn to_chrono(local: civil::DateTime) -> Option<DateTime<Utc>> {
    let date = NaiveDate::from_ymd_opt(i32::from(local.year()), local.month() as u32, local.day() as u32)?;
    let time = date.and_hms_opt(local.hour() as u32, local.minute() as u32, local.second() as u32)?;
    Some(time.and_utc())
}

fn from_chrono(local: NaiveDateTime) -> Option<civil::DateTime> {
    use chrono::{Datelike, Timelike};
    civil::DateTime::new(
        i16::try_from(local.year()).ok()?,
        local.month() as i8,
        local.day() as i8,
        local.hour() as i8,
        local.minute() as i8,
        local.second() as i8,
        0,
    )
    .ok()
}

impl fmt::Display for Cron {
    /// The text as it was given.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Cron {
    type Err = CronError;
    fn from_str(text: &str) -> Result<Self, CronError> {
        Cron::parse(text)
    }
}

#[cfg(test)]
mod tests;
