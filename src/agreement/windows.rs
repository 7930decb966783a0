//! Calendar windows of a term: half-open, counted from `window.initial` in the agreement's zone.
//!
//! Boundary *i* is the initial civil time plus *i* periods, always counted from the initial one, so a month that
//! starts on the 31st ends on the last day of shorter months and comes back to the 31st. A boundary in a gap of the
//! civil time moves forward by the gap, one that occurs twice means the first. Hours are absolute. Each window ends
//! where the next one starts; a civil day that a zone skipped (Samoa, 2011-12-30) has no window.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan};

use crate::model::agreement::{Agreement, Period, WindowSpec};
use crate::model::state::Window;

/// Most windows one call gives: over eleven years of hours.
pub const WINDOWS_MAX: usize = 100_000;

/// A range holds more windows than one call may give.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{windows} {period} windows lie in the range, more than {WINDOWS_MAX}; ask for a shorter range")]
pub struct TooManyWindows {
    pub windows: u64,
    pub period: String,
}

/// The windows of one term, within the agreement's validity.
#[derive(Clone, Debug)]
pub struct Calendar<'a> {
    spec: &'a WindowSpec,
    zone: &'a TimeZone,
    valid_from: Timestamp,
    /// Exclusive; the earlier of the validity's and the window's own end.
    valid_to: Option<Timestamp>,
    start: DateTime,
}

impl<'a> Calendar<'a> {
    pub fn of(agreement: &'a Agreement, spec: &'a WindowSpec) -> Self {
        Self::new(spec, &agreement.time_zone, agreement.valid_from, agreement.valid_to)
    }

    pub fn new(spec: &'a WindowSpec, zone: &'a TimeZone, valid_from: Timestamp, valid_to: Option<Timestamp>) -> Self {
        let valid_to = [valid_to, spec.end].into_iter().flatten().min();
        Calendar { spec, zone, valid_from, valid_to, start: zone.to_datetime(spec.initial) }
    }

    /// Every window that overlaps `[from, to)` and the validity, whole, in order.
    ///
    /// # Errors
    /// When there are more than [`WINDOWS_MAX`].
    pub fn overlapping(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Window>, TooManyWindows> {
        let from = from.max(self.valid_from);
        let to = self.valid_to.map_or(to, |end| to.min(end));
        if from >= to || to <= self.spec.initial {
            return Ok(Vec::new());
        }
        let (Some(first), Some(last)) = (self.index(from.max(self.spec.initial)), self.index_before(to)) else {
            return Ok(Vec::new());
        };
        let windows = u64::try_from(last - first + 1).unwrap_or(0);
        if windows > WINDOWS_MAX as u64 {
            return Err(TooManyWindows { windows, period: self.spec.period_name.clone() });
        }
        Ok(self.expand(first, last))
    }

    /// The latest `count` windows that are over at `now`, oldest first.
    pub fn last_closed(&self, now: Timestamp, count: usize) -> Vec<Window> {
        let count = count.min(WINDOWS_MAX);
        // What starts at or after the end of validity is no window, however late it is.
        let until = self.valid_to.map_or(now, |end| now.min(end));
        let Some(mut index) = self.index_before(until) else { return Vec::new() };
        let mut found = Vec::new();
        while found.len() < count && index >= 0 {
            match self.window(index) {
                Some(window) if window.to <= self.valid_from => break,
                Some(window) if window.to <= now => found.push(window),
                _ => {}
            }
            index -= 1;
        }
        found.reverse();
        found
    }

    /// The window that holds `now`.
    pub fn open_at(&self, now: Timestamp) -> Option<Window> {
        let window = self.window(self.index(now)?)?;
        let valid = window.to > self.valid_from && self.valid_to.is_none_or(|end| window.from < end);
        valid.then_some(window)
    }

    /// When the next window closes, strictly after `now`. `None` when the validity is over.
    pub fn next_close_after(&self, now: Timestamp) -> Option<Timestamp> {
        let index = self.index(now.max(self.valid_from).max(self.spec.initial))?;
        let (from, to) = (self.boundary(index)?, self.boundary(index + 1)?);
        self.valid_to.is_none_or(|end| from < end).then_some(to)
    }

    /// Window `index`; `None` when it is empty or beyond the calendar.
    fn window(&self, index: i64) -> Option<Window> {
        let (from, to) = (self.boundary(index)?, self.boundary(index + 1)?);
        (from < to).then(|| Window { from, to, from_local: local(from, self.zone), to_local: local(to, self.zone) })
    }

    fn expand(&self, first: i64, last: i64) -> Vec<Window> {
        let mut found = Vec::with_capacity(usize::try_from(last - first + 1).unwrap_or(0));
        let mut start = self.boundary(first).map(|at| (at, local(at, self.zone)));
        for index in first..=last {
            let end = self.boundary(index + 1).map(|at| (at, local(at, self.zone)));
            if let (Some((from, from_local)), Some((to, to_local))) = (start, &end)
                && from < *to
            {
                found.push(Window { from, to: *to, from_local, to_local: to_local.clone() });
            }
            start = end;
        }
        found
    }

    /// Start of window `index` (0 is `window.initial`); `None` beyond year 9999.
    fn boundary(&self, index: i64) -> Option<Timestamp> {
        if index == 0 {
            return Some(self.spec.initial);
        }
        let (count, unit) = self.step();
        let steps = index.checked_mul(count)?;
        let span = match unit {
            Unit::Hour => return self.spec.initial.checked_add(Span::new().try_hours(steps).ok()?).ok(),
            Unit::Day => Span::new().try_days(steps).ok()?,
            Unit::Month => Span::new().try_months(steps).ok()?,
        };
        let civil = self.start.checked_add(span).ok()?;
        self.zone.to_ambiguous_timestamp(civil).compatible().ok()
    }

    /// The window that holds `at`; `None` before the first.
    fn index(&self, at: Timestamp) -> Option<i64> {
        if at < self.spec.initial {
            return None;
        }
        let mut index = self.estimate(at).max(0);
        while index > 0 && self.boundary(index).is_none_or(|start| start > at) {
            index -= 1;
        }
        while self.boundary(index + 1).is_some_and(|end| end <= at) {
            index += 1;
        }
        Some(index)
    }

    /// The last window that starts before `to`.
    fn index_before(&self, to: Timestamp) -> Option<i64> {
        self.index(to.checked_sub(1.nanosecond()).ok()?)
    }

    /// A window near `at`, found without walking.
    fn estimate(&self, at: Timestamp) -> i64 {
        let (count, unit) = self.step();
        let civil = self.zone.to_datetime(at);
        let units = match unit {
            Unit::Hour => (at.as_second() - self.spec.initial.as_second()) / 3600,
            Unit::Day => {
                let days = civil.date().since(self.start.date()).map_or(0, |span| span.get_days());
                i64::from(days)
            }
            Unit::Month => {
                i64::from(civil.year() - self.start.year()) * 12 + i64::from(civil.month() - self.start.month())
            }
        };
        units / count
    }

    fn step(&self) -> (i64, Unit) {
        match self.spec.period {
            Period::Hourly => (1, Unit::Hour),
            Period::Daily => (1, Unit::Day),
            Period::Weekly => (7, Unit::Day),
            Period::Biweekly => (14, Unit::Day),
            Period::Monthly => (1, Unit::Month),
            Period::Bimonthly => (2, Unit::Month),
            Period::Quarterly => (3, Unit::Month),
            Period::Yearly => (12, Unit::Month),
        }
    }
}

enum Unit {
    Hour,
    Day,
    Month,
}

/// An instant in a zone as RFC 3339 text with the zone's offset then: `2026-03-29T00:00:00+01:00`.
/// Written by hand: this is most of the cost of expanding a year of hours.
pub fn local(at: Timestamp, zone: &TimeZone) -> String {
    let offset = zone.to_offset(at);
    let civil = offset.to_datetime(at);
    let mut out = String::with_capacity(25);
    if !(0..=9999).contains(&civil.year()) {
        return civil.to_string();
    }
    let year = civil.year().unsigned_abs();
    two(&mut out, (year / 100) as u8);
    two(&mut out, (year % 100) as u8);
    for (separator, field) in
        [('-', civil.month()), ('-', civil.day()), ('T', civil.hour()), (':', civil.minute()), (':', civil.second())]
    {
        out.push(separator);
        two(&mut out, field.unsigned_abs());
    }
    if civil.subsec_nanosecond() != 0 {
        let fraction = format!("{:09}", civil.subsec_nanosecond());
        out.push('.');
        out.push_str(fraction.trim_end_matches('0'));
    }
    // Offsets before standard time have seconds, which RFC 3339 cannot write; they are rounded to the minute.
    let seconds = offset.seconds();
    let minutes = (seconds.unsigned_abs() + 30) / 60;
    out.push(if seconds < 0 { '-' } else { '+' });
    two(&mut out, (minutes / 60) as u8);
    out.push(':');
    two(&mut out, (minutes % 60) as u8);
    out
}

fn two(out: &mut String, n: u8) {
    out.push(char::from(b'0' + n / 10));
    out.push(char::from(b'0' + n % 10));
}
