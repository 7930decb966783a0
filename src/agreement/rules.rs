//! `customRules` and `customRuleDaily`: windows by recurrence rules, listed when the document is read.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan};
use serde_json::{Map, Value};

use super::calendars::Calendars;
use super::document::{Reader, join};
use super::recurrence::Recurrence;
use super::windows::WINDOWS_MAX;
use crate::model::agreement::WindowSpec;
use crate::model::diagnostic::Diagnostic;

/// Rules without an end are followed for so many years from `window.initial`.
pub(super) const HORIZON_YEARS: i16 = 30;

type Pairs = Vec<(DateTime, DateTime)>;

/// Windows that rules gave, in order.
pub(super) type Listed = Arc<[(Timestamp, Timestamp)]>;

/// What was listed already: whether the rule is of days, its text, `window.initial`, and the end. A document may use one
/// rule in hundreds of terms.
pub(super) type Known = HashMap<(bool, String, Timestamp, Option<Timestamp>), Listed>;

/// The windows of a spec whose period is rules: `rules` (`starts---ends`), or for `customRuleDaily` the days of `rule`.
/// `until` is the end of the validity.
pub(super) fn read<'d>(
    reader: &mut Reader<'d>,
    window: &'d Map<String, Value>,
    path: &str,
    spec: &WindowSpec,
    calendars: &Calendars,
    until: Option<Timestamp>,
) -> Option<Listed> {
    let daily = spec.period_name.trim().eq_ignore_ascii_case("customRuleDaily");
    let key = if daily && window.contains_key("rule") { "rule" } else { "rules" };
    let Some(text) = reader.text(window, key, path) else {
        if window.get(key).is_none_or(Value::is_null) {
            let expected = if daily {
                "the days, such as \"DTSTART:20260105T000000Z\\nRRULE:FREQ=WEEKLY;BYDAY=MO\""
            } else {
                "the rule of the starts, ---, and the rule of the ends"
            };
            reader.absent(if daily { "rule" } else { "rules" }, path, expected);
        }
        return None;
    };
    let zone = &calendars.zone;
    let known = (daily, text.clone(), spec.initial, until);
    if let Some(listed) = calendars.rules.borrow().get(&known) {
        return Some(listed.clone());
    }
    let initial = zone.to_datetime(spec.initial);
    let end = horizon(initial, until.map(|until| zone.to_datetime(until)));
    let found = if daily { days(&text, initial, end) } else { pairs(&text, initial, end) };
    match found.and_then(|pairs| listed(&pairs, zone)) {
        Ok(listed) => {
            calendars.rules.borrow_mut().insert(known, listed.clone());
            Some(listed)
        }
        Err(problem) => {
            let mut diagnostic =
                Diagnostic::error(problem.code, join(path, key), problem.message).expected(problem.expected);
            diagnostic.hint = problem.hint.map(str::to_owned);
            reader.report(diagnostic);
            None
        }
    }
}

struct Problem {
    code: &'static str,
    message: String,
    expected: &'static str,
    hint: Option<&'static str>,
}

/// The end of the validity, or [`HORIZON_YEARS`] after the start where there is none.
fn horizon(initial: DateTime, until: Option<DateTime>) -> DateTime {
    until.unwrap_or_else(|| initial.checked_add(i64::from(HORIZON_YEARS).years()).unwrap_or(DateTime::MAX))
}

fn occurrences(rule: &str, which: &str, initial: DateTime, until: DateTime) -> Result<Vec<DateTime>, Problem> {
    let rule = Recurrence::parse(rule, Some(initial)).map_err(|why| Problem {
        code: "bad-rule",
        message: format!("{which} cannot be read: {why}"),
        expected: "a recurrence rule such as DTSTART:20260105T000000Z, a new line, RRULE:FREQ=WEEKLY;BYDAY=MO",
        hint: None,
    })?;
    let found = rule.until(until, WINDOWS_MAX).map_err(|_| Problem {
        code: "too-many-windows",
        message: format!("{which} recurs more than {WINDOWS_MAX} times until {}", until.date()),
        expected: "a rule that recurs less often, or an agreement that ends earlier",
        hint: Some("\"hourly\" and \"fiveMinutes\" are periods of their own, without such a limit"),
    })?;
    if found.is_empty() {
        return Err(Problem {
            code: "no-windows",
            message: format!("{which} never recurs until {}", until.date()),
            expected: "a rule with at least one date within the validity",
            hint: None,
        });
    }
    Ok(found)
}

/// Each day a rule names, from midnight to midnight.
fn days(text: &str, initial: DateTime, until: DateTime) -> Result<Pairs, Problem> {
    let days = occurrences(text, "the rule", initial, until)?;
    let mut days: Vec<_> = days.into_iter().map(|at| at.date()).collect();
    days.dedup();
    Ok(days.into_iter().filter_map(|day| Some((day.into(), day.tomorrow().ok()?.into()))).collect())
}

/// Each start with the first end after it: the k-th with the k-th, but for starts and ends that rules leave out.
fn pairs(text: &str, initial: DateTime, until: DateTime) -> Result<Pairs, Problem> {
    let Some((starts, ends)) = text.split_once("---") else {
        return Err(Problem {
            code: "bad-rule",
            message: "there is one rule, not two".into(),
            expected: "the rule of the starts, ---, and the rule of the ends",
            hint: Some("days of one rule are \"period\": \"customRuleDaily\""),
        });
    };
    // The window that is open at the end closes after it.
    let after = until.checked_add(1.year()).unwrap_or(until);
    let starts = occurrences(starts, "the rule of the starts", initial, until)?;
    let ends = occurrences(ends, "the rule of the ends", initial, after)?;
    let ends: Vec<DateTime> = ends.into_iter().map(after_last_second).collect();
    let first_after = |start: DateTime| ends.get(ends.partition_point(|end| *end <= start)).map(|end| (start, *end));
    if let (Some(start), Some(end)) = (starts.first(), ends.first())
        && start >= end
    {
        return Err(Problem {
            code: "rules-out-of-order",
            message: format!("window 1 would start at {start} and end at {end}"),
            expected: "rules whose first end is after their first start",
            hint: Some("let the DTSTART of the ends be the end of the first window"),
        });
    }
    let pairs: Pairs = starts.into_iter().filter_map(first_after).collect();
    if let Some(index) = pairs.windows(2).position(|pair| pair[1].0 < pair[0].1) {
        return Err(Problem {
            code: "rules-overlap",
            message: format!("window {} starts at {}, before window {} ends", index + 2, pairs[index + 1].0, index + 1),
            expected: "rules whose windows do not overlap",
            hint: Some("windows that reach back are \"type\": \"rolling\""),
        });
    }
    Ok(pairs)
}

/// An end on the last second of a minute is meant to have that second in it: `23:59:59` is midnight.
fn after_last_second(end: DateTime) -> DateTime {
    if end.second() == 59 { end.checked_add(1.second()).unwrap_or(end) } else { end }
}

/// Civil times as instants; what falls into a gap of the clock as a whole is no window.
fn listed(pairs: &Pairs, zone: &TimeZone) -> Result<Listed, Problem> {
    let instant = |at: DateTime| zone.to_ambiguous_timestamp(at).compatible().ok();
    // Both ends in one gap would be moved behind it together.
    let are_in_one_gap = |start: DateTime, end: DateTime| {
        let (start, end) = (zone.to_ambiguous_timestamp(start), zone.to_ambiguous_timestamp(end));
        let in_gaps = [&start, &end].into_iter().all(|at| matches!(at.offset(), AmbiguousOffset::Gap { .. }));
        in_gaps && matches!((start.later(), end.earlier()), (Ok(start), Ok(end)) if start > end)
    };
    let known = pairs.iter().filter(|(start, end)| !are_in_one_gap(*start, *end));
    let windows = known.filter_map(|(start, end)| Some((instant(*start)?, instant(*end)?)));
    Ok(windows.filter(|(start, end)| start < end).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the night of 29 March 2026 Madrid has no 02:00 to 03:00.
    #[test]
    fn what_lies_in_a_gap_of_the_clock_is_no_window() {
        let zone = TimeZone::get("Europe/Madrid").unwrap();
        let pairs = [
            ("2026-03-29T01:30", "2026-03-29T02:00"),
            ("2026-03-29T02:00", "2026-03-29T02:30"),
            ("2026-03-29T03:00", "2026-03-29T03:30"),
            ("2026-03-29T02:30", "2027-03-28T02:30"),
        ];
        let pairs: Pairs = pairs.iter().map(|(start, end)| (start.parse().unwrap(), end.parse().unwrap())).collect();
        let Ok(windows) = listed(&pairs, &zone) else { panic!("they are windows") };
        let windows: Vec<String> = windows.iter().map(|(start, end)| format!("{start} {end}")).collect();
        assert_eq!(
            windows,
            [
                "2026-03-29T00:30:00Z 2026-03-29T01:00:00Z",
                "2026-03-29T01:00:00Z 2026-03-29T01:30:00Z",
                "2026-03-29T01:30:00Z 2027-03-28T01:30:00Z",
            ]
        );
    }
}
