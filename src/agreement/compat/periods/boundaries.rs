//! The marks in time the Registry snaps to: the starts of periods until now, and one second before each but the first.

use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{Timestamp, ToSpan};
use serde_json::Value;

use super::super::super::recurrence::Recurrence;
use super::super::super::windows::WINDOWS_MAX;
use super::{PeriodsError, date};

const SECOND: i64 = 1000;
const HOUR: i64 = 3600 * SECOND;

/// Instants in milliseconds of the Unix time.
#[derive(Clone, Debug)]
pub(super) struct Boundaries {
    starts: Starts,
    now: i64,
}

#[derive(Clone, Debug)]
enum Starts {
    /// Every `step` from `first`.
    Every { first: i64, step: i64 },
    /// In order, up to and including the first after now.
    Months(Vec<i64>),
    /// `customRules`: the starts and the ends, each in order.
    Rules { starts: Vec<i64>, ends: Vec<i64> },
}

impl Boundaries {
    /// `until` ends the rules of `customRules`; everything else ends now. `undefined` is the property the Registry fails to read where it has no boundaries for a period's name.
    pub(super) fn of(
        window: &Value,
        validity_initial: Option<&str>,
        until: Timestamp,
        now: Timestamp,
        undefined: &str,
    ) -> Result<Boundaries, PeriodsError> {
        let initial = window["initial"].as_str().or(validity_initial);
        let first = initial.map_or(Err(PeriodsError::invalid_date()), date)?;
        let now = now.as_millisecond();
        let every = |step| Starts::Every { first: first.as_millisecond(), step };
        let period = match &window["period"] {
            Value::Null => "monthly",
            period => period.as_str().unwrap_or_default(),
        };
        let starts = match period {
            "hourly" => every(HOUR),
            "daily" => every(24 * HOUR),
            "weekly" => every(7 * 24 * HOUR),
            "monthly" => Starts::Months(months(first, 1, now)),
            "yearly" => Starts::Months(months(first, 12, now)),
            "customRules" => rules(window, until)?,
            _ => return Err(PeriodsError::undefined(undefined)),
        };
        Ok(Boundaries { starts, now })
    }

    /// The last start that is not after now.
    pub(super) fn last_start(&self) -> Option<Timestamp> {
        let last = match &self.starts {
            Starts::Every { first, step } => {
                (self.now >= *first).then(|| self.now - (self.now - first).rem_euclid(*step))
            }
            Starts::Months(starts) | Starts::Rules { starts, .. } => {
                starts.iter().rfind(|at| **at <= self.now).copied()
            }
        };
        last.and_then(|at| Timestamp::from_millisecond(at).ok())
    }

    /// The last mark strictly before `at`.
    pub(super) fn last_before(&self, at: Timestamp) -> Option<Timestamp> {
        // A cut to milliseconds would move an instant onto a mark before it.
        let at = at.as_millisecond();
        self.marks_around(at)
            .into_iter()
            .filter(|mark| *mark < at)
            .max()
            .and_then(|ms| Timestamp::from_millisecond(ms).ok())
    }

    /// The first mark strictly after `at`.
    pub(super) fn first_after(&self, at: Timestamp) -> Option<Timestamp> {
        let at = at.as_millisecond();
        self.marks_around(at)
            .into_iter()
            .filter(|mark| *mark > at)
            .min()
            .and_then(|ms| Timestamp::from_millisecond(ms).ok())
    }

    /// Marks up to now, among them those next to `at`.
    fn marks_around(&self, at: i64) -> Vec<i64> {
        let mut marks: Vec<i64> = match &self.starts {
            Starts::Every { first, step } => {
                // A range beyond now ends at the marks next to now.
                let near = (at.min(self.now) - first).div_euclid(*step).max(0);
                let starts = (near - 1..=near + 2).filter(|index| *index >= 0);
                starts.flat_map(|index| with_mark(first + index * step, *first)).collect()
            }
            Starts::Months(starts) => starts.iter().flat_map(|at| with_mark(*at, starts[0])).collect(),
            Starts::Rules { starts, ends } => return starts.iter().chain(ends).copied().collect(),
        };
        marks.retain(|mark| *mark <= self.now);
        marks
    }

    /// Every start with the mark at its end, the `k`-th with the `k`-th, as far as they may lie in a range once they are moved by a zone's offset.
    pub(super) fn pairs_around(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(Timestamp, Timestamp)>, PeriodsError> {
        let (from, to) = (from.as_millisecond() - 48 * HOUR, to.as_millisecond() + 48 * HOUR);
        let pairs: Vec<(i64, i64)> = match &self.starts {
            Starts::Every { first, step } => {
                let lowest = (from - first).div_euclid(*step).max(0);
                let highest = (to.min(self.now) - first).div_euclid(*step);
                if highest - lowest > WINDOWS_MAX as i64 {
                    return Err(PeriodsError::new(format!("more than {WINDOWS_MAX} periods lie in the range")));
                }
                let start = |index: i64| first + index * step;
                (lowest..=highest).map(|index| (start(index), start(index + 1) - SECOND)).collect()
            }
            Starts::Months(starts) => starts.windows(2).map(|pair| (pair[0], pair[1] - SECOND)).collect(),
            Starts::Rules { starts, ends } => starts.iter().copied().zip(ends.iter().copied()).collect(),
        };
        let until_now = |pair: &(i64, i64)| matches!(self.starts, Starts::Rules { .. }) || pair.1 <= self.now;
        let instant = |ms| Timestamp::from_millisecond(ms).ok();
        Ok(pairs
            .into_iter()
            .filter(|pair| pair.1 > from && pair.0 < to && until_now(pair))
            .filter_map(|(start, end)| Some((instant(start)?, instant(end)?)))
            .collect())
    }
}

/// A start and the mark one second before it; the first start has none.
fn with_mark(start: i64, first: i64) -> impl Iterator<Item = i64> {
    let mark = (start != first).then_some(start - SECOND);
    mark.into_iter().chain([start])
}

/// A day of the month that a month does not have leaves that month out, as the Registry's library does.
fn months(first: Timestamp, step: i64, now: i64) -> Vec<i64> {
    let civil: DateTime = Offset::UTC.to_datetime(first);
    let mut found = Vec::new();
    for count in 0.. {
        let next = civil.checked_add((count * step).months());
        let at = next.ok().and_then(|at| Some((at.day(), Offset::UTC.to_timestamp(at).ok()?.as_millisecond())));
        let Some((day, at)) = at else { break };
        if day == civil.day() {
            found.push(at);
            if at > now {
                break;
            }
        }
    }
    found
}

/// Two rules with `---` between them.
fn rules(window: &Value, until: Timestamp) -> Result<Starts, PeriodsError> {
    let text = window["rules"].as_str().ok_or_else(|| PeriodsError::undefined("split"))?;
    let (starts, ends) = text.split_once("---").ok_or_else(|| PeriodsError::undefined("split"))?;
    let occurrences = |rule: &str| {
        let rule = Recurrence::parse(rule, None).map_err(PeriodsError::new)?;
        let found = rule.until(Offset::UTC.to_datetime(until), WINDOWS_MAX);
        let found = found.map_err(|_| PeriodsError::new(format!("a rule recurs more than {WINDOWS_MAX} times")))?;
        let instant = |at| Offset::UTC.to_timestamp(at).map(|at: Timestamp| at.as_millisecond());
        Ok::<Vec<i64>, PeriodsError>(found.into_iter().filter_map(|at| instant(at).ok()).collect())
    };
    Ok(Starts::Rules { starts: occurrences(starts)?, ends: occurrences(ends)? })
}
