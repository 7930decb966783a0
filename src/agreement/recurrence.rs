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
    if let Some((_, often)) = parts.iter().find(|(key, value)| key == "FREQ" && is_too_often(value)) {
        return Err(format!("FREQ={often} is more often than hourly; write BYHOUR and BYMINUTE with FREQ=DAILY"));
    }
    let text: Vec<String> = parts.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    RRule::from_str(&text.join(";")).map_err(|e| plain(&e.to_string()))
}

/// The crate gives up a search of so many steps as if there were nothing more; hours do not come to that.
fn is_too_often(frequency: &str) -> bool {
    ["MINUTELY", "SECONDLY"].iter().any(|name| name.eq_ignore_ascii_case(frequency))
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

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    fn days(rule: &str) -> Vec<String> {
        let rule = Recurrence::parse(rule, Some(date(2026, 1, 1).at(0, 0, 0, 0))).unwrap();
        let found = rule.until(date(2026, 12, 31).at(23, 59, 59, 0), 1000).unwrap();
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn times_are_those_of_the_clock_on_the_wall() {
        let twice = ["2026-03-29T02:30:00", "2026-03-30T02:30:00"];
        for z in ["", "Z"] {
            let rule = format!("DTSTART:20260329T023000{z}\nRRULE:FREQ=DAILY;UNTIL=20260330T023000{z}");
            assert_eq!(days(&rule), twice);
            assert_eq!(days(&rule.replace("DTSTART", "DTSTART;TZID=Mars/Olympus")), twice);
        }
        // A date alone has its whole day in it; the last of two equal parts holds.
        assert_eq!(days("DTSTART:20260329T023000\nRRULE:FREQ=DAILY;UNTIL=20260329;UNTIL=20260330"), twice);
        assert_eq!(days("freq=monthly;bymonthday=31").len(), 7);
        assert_eq!(days("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"), [""; 0]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = |rule: &str| Recurrence::parse(rule, None).unwrap_err();
        assert_eq!(wrong("FREQ=DAILY"), "the rule has no DTSTART");
        assert!(wrong("DTSTART:20260231\nRRULE:FREQ=DAILY").contains("20260231"));
        assert!(wrong("DTSTART:20260201\nRRULE:FREQ=MINUTELY").contains("more often than hourly"));
        assert!(wrong("DTSTART:20260201\nRULE:FREQ=DAILY").contains("RULE"));
        assert!(wrong("DTSTART:20260201\nFREQ").contains("NAME=VALUE"));
        assert!(wrong(&"x".repeat(5000)).contains("5000 bytes"));
    }

    #[test]
    fn more_than_the_caller_takes_is_said() {
        let rule = Recurrence::parse("FREQ=DAILY", Some(date(2026, 1, 1).at(0, 0, 0, 0))).unwrap();
        assert_eq!(rule.until(date(2026, 1, 9).at(0, 0, 0, 0), 8), Err(TooMany));
        assert_eq!(rule.until(date(2026, 1, 8).at(0, 0, 0, 0), 8).unwrap().len(), 8);
        assert_eq!(rule.until(date(2025, 1, 8).at(0, 0, 0, 0), 8).unwrap().len(), 0);
    }

    fn part() -> impl Strategy<Value = String> {
        let number = prop_oneof![-400i32..400, Just(0), Just(i32::MAX)];
        let key = prop::sample::select(vec![
            "INTERVAL",
            "COUNT",
            "BYMONTH",
            "BYMONTHDAY",
            "BYYEARDAY",
            "BYWEEKNO",
            "BYDAY",
            "BYHOUR",
            "BYMINUTE",
            "BYSECOND",
            "BYSETPOS",
            "WKST",
            "UNTIL",
            "BYEASTER",
            "X",
        ]);
        let day = prop::sample::select(vec!["MO", "-1FR", "5SU", "99TU", "", "20260301T000000Z", "99990101"]);
        (key, prop::collection::vec(number, 1..3), day, any::<bool>()).prop_map(|(key, numbers, day, as_day)| {
            let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
            format!("{key}={}", if as_day { day.to_owned() } else { numbers.join(",") })
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        /// Whatever a rule says, it is read or refused, and what it gives is in order and ends.
        #[test]
        fn rules_neither_panic_nor_hang(
            frequency in prop::sample::select(vec!["YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY"]),
            parts in prop::collection::vec(part(), 0..4),
            start in prop::sample::select(vec!["20260101T000000Z", "19000229", "99991231T235959", "20240229T120000"]),
        ) {
            let text = format!("DTSTART:{start}\nRRULE:FREQ={frequency};{}", parts.join(";"));
            if let Ok(rule) = Recurrence::parse(&text, None)
                && let Ok(found) = rule.until(date(2030, 1, 1).at(0, 0, 0, 0), 200)
            {
                prop_assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "{text}: {found:?}");
            }
        }
    }
}
