//! `context["x-probity"].calendars` and `.fiscalYear`: which hours count, and when a fiscal year starts.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde_json::{Map, Value};

use super::document::{Reader, join};
use super::recurrence::Recurrence;
use super::rules::{self, HORIZON_YEARS};
use crate::model::agreement::BusinessCalendar;
use crate::model::diagnostic::Diagnostic;

const WEEKDAYS: [&str; 7] = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"];
/// Most days one rule for holidays gives: every day for thirty years.
const HOLIDAYS_MAX: usize = 366 * HORIZON_YEARS as usize;

type Days = [Option<(Time, Option<Time>)>; 7];

/// What an agreement says about its days and years.
#[derive(Clone, Debug)]
pub(super) struct Calendars {
    pub(super) zone: TimeZone,
    /// 1 to 12.
    pub(super) fiscal_month: i8,
    /// By name; `None` for one with a problem, which is reported once, where it is defined.
    pub(super) business: BTreeMap<String, Option<Arc<BusinessCalendar>>>,
    /// The recurrence rules that were followed for windows.
    pub(super) rules: RefCell<rules::Known>,
}

impl Calendars {
    pub(super) fn in_zone(zone: TimeZone) -> Self {
        Calendars { zone, fiscal_month: 1, business: BTreeMap::new(), rules: RefCell::default() }
    }
}

/// Reads what stands in `context["x-probity"]`, at `path`. Rules for holidays are followed from the year of `valid_from`.
pub(super) fn read_calendars<'d>(
    reader: &mut Reader<'d>,
    ours: &'d Map<String, Value>,
    path: &str,
    zone: &TimeZone,
    valid_from: Timestamp,
) -> Calendars {
    let mut found = Calendars::in_zone(zone.clone());
    if let Some(month) = read_fiscal_year(reader, ours, path) {
        found.fiscal_month = month;
    }
    let first_year = zone.to_datetime(valid_from).date().first_of_year();
    let path = join(path, "calendars");
    for (name, written) in reader.object(ours, "calendars", path.trim_end_matches(".calendars")).into_iter().flatten() {
        let path = join(&path, name);
        let calendar = match written.as_object() {
            Some(written) => read_calendar(reader, name, written, &path, first_year),
            None => {
                reader.wrong_kind(&path, written, "a calendar: an object with days, hours and holidays");
                None
            }
        };
        found.business.insert(name.clone(), calendar.map(Arc::new));
    }
    found
}

fn read_fiscal_year<'d>(reader: &mut Reader<'d>, ours: &'d Map<String, Value>, path: &str) -> Option<i8> {
    let year = reader.object(ours, "fiscalYear", path)?;
    let path = join(path, "fiscalYear");
    reader.unknown_keys(year, &["firstMonth"], &path);
    let Some(written) = reader.field(year, "firstMonth", &path) else {
        reader.absent("firstMonth", &path, "the month the fiscal year starts with, 1 to 12");
        return None;
    };
    let month = written.as_i64().and_then(|month| i8::try_from(month).ok()).filter(|month| (1..=12).contains(month));
    if month.is_none() {
        let message = format!("{written} is not a month");
        reader.report(
            Diagnostic::error("bad-month", join(&path, "firstMonth"), message).expected("a whole number from 1 to 12"),
        );
    }
    month
}

fn read_calendar<'d>(
    reader: &mut Reader<'d>,
    name: &str,
    written: &'d Map<String, Value>,
    path: &str,
    first_year: Date,
) -> Option<BusinessCalendar> {
    reader.unknown_keys(written, &["days", "hours", "holidays"], path);
    let before = reader.problems.len();
    let days = read_days(reader, written, path);
    let holidays = read_holidays(reader, written, path, first_year);
    let holds = reader.problems[before..].iter().all(|p| p.severity != crate::model::diagnostic::Severity::Error);
    holds.then(|| BusinessCalendar { name: name.to_owned(), days, holidays })
}

/// `days` (Monday to Friday when absent) and `hours` (all day when absent; one for all, or by day).
fn read_days<'d>(reader: &mut Reader<'d>, written: &'d Map<String, Value>, path: &str) -> Days {
    let mut days: Days = [None; 7];
    let all_day = Some((Time::midnight(), None));
    match reader.field(written, "days", path) {
        None => days[..5].fill(all_day),
        Some(Value::Array(list)) if !list.is_empty() => {
            for (index, day) in list.iter().enumerate() {
                let path = format!("{}[{index}]", join(path, "days"));
                if let Some(day) = read_weekday(reader, day.as_str().unwrap_or_default(), &path) {
                    days[day] = all_day;
                }
            }
        }
        Some(other) => reader.wrong_kind(&join(path, "days"), other, "a list of days such as [\"MO\", \"TU\"]"),
    }
    let path = join(path, "hours");
    match reader.field(written, "hours", path.trim_end_matches(".hours")) {
        None => {}
        Some(Value::Object(by_day)) => {
            for (name, hours) in by_day {
                let path = join(&path, name);
                let hours = read_hours(reader, hours, &path);
                if let Some(day) = read_weekday(reader, name, &path) {
                    days[day] = hours;
                }
            }
        }
        Some(hours) => {
            if let Some(hours) = read_hours(reader, hours, &path) {
                days.iter_mut().flatten().for_each(|day| *day = hours);
            }
        }
    }
    days
}

fn read_weekday(reader: &mut Reader<'_>, name: &str, path: &str) -> Option<usize> {
    let day = WEEKDAYS.iter().position(|day| day.eq_ignore_ascii_case(name.trim()));
    if day.is_none() {
        reader.report(
            Diagnostic::error("unknown-day", path, format!("\"{name}\" is not a day of the week"))
                .expected(format!("one of {}", WEEKDAYS.join(", "))),
        );
    }
    day
}

/// `09:00-17:30`; `24:00` is the end of the day.
fn read_hours(reader: &mut Reader<'_>, written: &Value, path: &str) -> Option<(Time, Option<Time>)> {
    let hours = written.as_str().and_then(|text| {
        let (open, close) = text.split_once('-')?;
        let open: Time = open.trim().parse().ok()?;
        let close = match close.trim() {
            "24:00" => None,
            close => Some(close.parse::<Time>().ok()?),
        };
        close.is_none_or(|close| open < close).then_some((open, close))
    });
    if hours.is_none() {
        reader.report(
            Diagnostic::error("bad-hours", path, format!("{written} is not from one time of a day to a later one"))
                .expected("hours such as \"09:00-17:30\"; \"24:00\" is the end of the day"),
        );
    }
    hours
}

/// Dates, and rules for the days of every year.
fn read_holidays<'d>(
    reader: &mut Reader<'d>,
    written: &'d Map<String, Value>,
    path: &str,
    first_year: Date,
) -> BTreeSet<Date> {
    let mut found = BTreeSet::new();
    let list = match reader.field(written, "holidays", path) {
        None => return found,
        Some(Value::Array(list)) => list,
        Some(other) => {
            reader.wrong_kind(&join(path, "holidays"), other, "a list of dates and rules");
            return found;
        }
    };
    for (index, day) in list.iter().enumerate() {
        let path = format!("{}[{index}]", join(path, "holidays"));
        match holiday(day.as_str().unwrap_or_default().trim(), first_year) {
            Ok(days) => found.extend(days),
            Err(why) => reader.report(
                Diagnostic::error("bad-holiday", path, format!("{day} is not a holiday: {why}")).expected(
                    "a date such as \"2026-12-25\", or a rule such as \"FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=25\"",
                ),
            ),
        }
    }
    found
}

fn holiday(text: &str, first_year: Date) -> Result<Vec<Date>, String> {
    if !text.contains('=') {
        let day = text.parse::<Date>().map_err(|_| "it is no date".to_owned())?;
        return Ok(vec![day]);
    }
    let last = first_year.checked_add(i64::from(HORIZON_YEARS).years()).map_err(|e| e.to_string())?;
    let rule = Recurrence::parse(text, Some(first_year.into()))?;
    let days = rule.until(last.into(), HOLIDAYS_MAX).map_err(|_| "it falls more than once a day".to_owned())?;
    if days.is_empty() {
        return Err("it never falls".into());
    }
    Ok(days.into_iter().map(|day| day.date()).collect())
}
