//! Recurrence rules (RFC 5545) over civil time.
//!
//! A rule says what the clock on the wall shows; which instants that means is decided by the zone it is read in. So a
//! `Z` behind a time of `DTSTART`, `UNTIL`, `RDATE` or `EXDATE` is passed over, as in the rules that Governify
//! documents carry: `DTSTART:20240101T000000Z` is midnight wherever the agreement is. The `rrule` crate sees all of it
//! as UTC, and none of its own zones.

use std::str::FromStr;

use chrono::{Datelike, NaiveDate, Timelike};
use jiff::civil::{Date, DateTime, Time};
use rrule::{RRule, RRuleSet, Tz, Unvalidated};

/// Longest text of one rule, in bytes.
const BYTES_MAX: usize = 4096;
/// Last year a rule is followed to; what lies beyond is never asked for, and the crate's own limit is far beyond
/// what [`DateTime`] holds.
const YEAR_MAX: i16 = 9000;

/// A rule with its start, its dates added and its dates left out.
#[derive(Clone, Debug)]
pub(super) struct Recurrence {
    set: RRuleSet,
}

/// More occurrences than the caller takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany;

impl Recurrence {
    /// Reads the lines `DTSTART`, `RRULE`, `RDATE` and `EXDATE`, or a bare `FREQ=…`. A rule without `DTSTART` starts at `start`.
    ///
    /// # Errors
    /// A text that says what is wrong, without a full stop.
    pub(super) fn parse(text: &str, start: Option<DateTime>) -> Result<Recurrence, String> {
        if text.len() > BYTES_MAX {
            return Err(format!("the rule has {} bytes, more than {BYTES_MAX}", text.len()));
        }
        let mut lines = Lines::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            lines.read(line)?;
        }
        let start = lines.start.or(start).ok_or("the rule has no DTSTART")?;
        let set = RRuleSet::new(to_utc(start)?).limit();
        let mut set = lines.rules.into_iter().try_fold(set, |set, rule| {
            let rule = rule.validate(to_utc(start)?).map_err(|e| plain(&e.to_string()))?;
            Ok::<_, String>(set.rrule(rule))
        })?;
        for date in lines.added {
            set = set.rdate(to_utc(date)?);
        }
        for date in lines.left_out {
            set = set.exdate(to_utc(date)?);
        }
        Ok(Recurrence { set })
    }

    /// The occurrences up to and including `until`, in order.
    ///
    /// # Errors
    /// When there are more than `max`.
    pub(super) fn until(&self, until: DateTime, max: usize) -> Result<Vec<DateTime>, TooMany> {
        let mut found = Vec::new();
        for at in self.set.into_iter().map_while(from_utc).take_while(|at| *at <= until && at.year() <= YEAR_MAX) {
            if found.len() == max {
                return Err(TooMany);
            }
            found.push(at);
        }
        Ok(found)
    }
}

/// What the lines of a rule say.
#[derive(Default)]
struct Lines {
    start: Option<DateTime>,
    rules: Vec<RRule<Unvalidated>>,
    added: Vec<DateTime>,
    left_out: Vec<DateTime>,
}

impl Lines {
    fn read(&mut self, line: &str) -> Result<(), String> {
        let (name, value) = match line.split_once(':') {
            Some((name, value)) => (name.split(';').next().unwrap_or_default().to_uppercase(), value),
            None => ("RRULE".to_owned(), line),
        };
        match name.as_str() {
            "DTSTART" => self.start = Some(date_time(value)?),
            "RRULE" => self.rules.push(rule(value)?),
            "RDATE" => self.added.extend(dates(value)?),
            "EXDATE" => self.left_out.extend(dates(value)?),
            other => return Err(format!("\"{other}\" is not a line of a rule; DTSTART, RRULE, RDATE and EXDATE are")),
        }
        Ok(())
    }
}

fn dates(list: &str) -> Result<Vec<DateTime>, String> {
    list.split(',').map(date_time).collect()
}

/// `20240101T000000Z`, `20240101T000000` or `20240101`.
fn date_time(text: &str) -> Result<DateTime, String> {
    let text = text.trim();
    let bare = text.trim_end_matches(['Z', 'z']);
    bare.parse::<DateTime>().map_err(|_| format!("\"{text}\" is not a date or time such as 20240101T090000"))
}

/// One rule, its `UNTIL` read as civil time; a date alone means that whole day. Of two equal parts the last holds.
fn rule(value: &str) -> Result<RRule<Unvalidated>, String> {
    let mut parts: Vec<(String, String)> = Vec::new();
    for part in value.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').ok_or_else(|| format!("\"{part}\" is not NAME=VALUE"))?;
        let (key, mut value) = (key.trim().to_uppercase(), value.trim().to_owned());
        if key == "UNTIL" {
            let mut until = date_time(&value)?;
            if !value.contains(['T', 't']) {
                until = until.with().time(Time::constant(23, 59, 59, 0)).build().map_err(|e| e.to_string())?;
            }
            value = until.strftime("%Y%m%dT%H%M%SZ").to_string();
        }
        parts.retain(|(k, _)| *k != key);
        parts.push((key, value));
    }
    let text: Vec<String> = parts.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    RRule::from_str(&text.join(";")).map_err(|e| plain(&e.to_string()))
}

/// A message of the crate without its prefix and full stop.
fn plain(message: &str) -> String {
    let message = message.split_once("error: ").map_or(message, |(_, rest)| rest);
    message.trim_end_matches('.').to_owned()
}

/// A civil time dressed as UTC, which is how the crate is kept from seeing any zone.
fn to_utc(at: DateTime) -> Result<chrono::DateTime<Tz>, String> {
    let date =
        NaiveDate::from_ymd_opt(i32::from(at.year()), at.month().unsigned_abs().into(), at.day().unsigned_abs().into());
    let (hour, minute, second) = (at.hour().unsigned_abs(), at.minute().unsigned_abs(), at.second().unsigned_abs());
    date.and_then(|date| date.and_hms_opt(hour.into(), minute.into(), second.into()))
        .map(|at| at.and_utc().with_timezone(&Tz::UTC))
        .ok_or_else(|| format!("{at} is beyond the calendar"))
}

/// `None` beyond what [`DateTime`] holds.
fn from_utc(at: chrono::DateTime<Tz>) -> Option<DateTime> {
    let date = Date::new(i16::try_from(at.year()).ok()?, at.month() as i8, at.day() as i8).ok()?;
    Some(date.at(at.hour() as i8, at.minute() as i8, at.second() as i8, 0))
}
