//! Boundaries that follow each other: the *i*-th counted from the first, in a zone.
//!
//! Boundary *i* is the first civil time plus *i* periods, always counted from the first one, so a month that starts on
//! the 31st ends on the last day of shorter months and comes back to the 31st. A boundary in a gap of the civil time
//! moves forward by the gap, one that occurs twice means the first. Hours and five minutes are absolute.

use jiff::civil::{Date, DateTime, ISOWeekDate, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan};

use crate::model::agreement::{Period, WindowSpec};

/// The boundaries of a window's period.
#[derive(Clone, Debug)]
pub(super) struct Steps<'a> {
    zone: &'a TimeZone,
    first: Timestamp,
    /// The first boundary on the clock on the wall.
    start: DateTime,
    count: i64,
    unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Second,
    Day,
    Month,
    IsoYear,
}

impl<'a> Steps<'a> {
    pub(super) fn of(spec: &WindowSpec, zone: &'a TimeZone) -> Self {
        let (count, unit) = step(spec.period);
        let start = zone.to_datetime(spec.initial);
        let Some(day) = aligned(spec, start.date()) else {
            return Steps { zone, first: spec.initial, start, count, unit };
        };
        let start = DateTime::from(day);
        let first = zone.to_ambiguous_timestamp(start).compatible().unwrap_or(spec.initial);
        Steps { zone, first, start, count, unit }
    }

    /// The first boundary.
    pub(super) fn first(&self) -> Timestamp {
        self.first
    }

    /// Start of step `index` (0 is the first boundary); `None` beyond year 9999.
    pub(super) fn boundary(&self, index: i64) -> Option<Timestamp> {
        if index == 0 {
            return Some(self.first);
        }
        let steps = index.checked_mul(self.count)?;
        let civil = match self.unit {
            Unit::Second => return self.first.checked_add(Span::new().try_seconds(steps).ok()?).ok(),
            Unit::Day => self.start.checked_add(Span::new().try_days(steps).ok()?).ok()?,
            Unit::Month => self.start.checked_add(Span::new().try_months(steps).ok()?).ok()?,
            Unit::IsoYear => {
                let year = i64::from(self.start.date().iso_week_date().year()).checked_add(steps)?;
                DateTime::from(first_of_iso_year(i16::try_from(year).ok()?)?)
            }
        };
        self.zone.to_ambiguous_timestamp(civil).compatible().ok()
    }

    /// The step that holds `at`; `None` before the first.
    pub(super) fn index(&self, at: Timestamp) -> Option<i64> {
        if at < self.first {
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

    /// A step near `at`, found without walking.
    fn estimate(&self, at: Timestamp) -> i64 {
        let civil = self.zone.to_datetime(at);
        let units = match self.unit {
            Unit::Second => at.as_second() - self.first.as_second(),
            Unit::Day => {
                let days = civil.date().since(self.start.date()).map_or(0, |span| span.get_days());
                i64::from(days)
            }
            Unit::Month => {
                i64::from(civil.year() - self.start.year()) * 12 + i64::from(civil.month() - self.start.month())
            }
            Unit::IsoYear => {
                let year = |date: Date| i64::from(date.iso_week_date().year());
                year(civil.date()) - year(self.start.date())
            }
        };
        units / self.count
    }
}

fn step(period: Period) -> (i64, Unit) {
    match period {
        Period::FiveMinutes => (300, Unit::Second),
        Period::Hourly => (3600, Unit::Second),
        Period::Daily | Period::Rules => (1, Unit::Day),
        Period::Weekly | Period::IsoWeekly => (7, Unit::Day),
        Period::Biweekly => (14, Unit::Day),
        Period::Monthly => (1, Unit::Month),
        Period::Bimonthly => (2, Unit::Month),
        Period::Quarterly | Period::FiscalQuarterly => (3, Unit::Month),
        Period::Yearly | Period::FiscalYearly => (12, Unit::Month),
        Period::IsoYearly => (1, Unit::IsoYear),
    }
}

/// The day a period with days of its own starts on, at or before `day`; `None` for one that is counted from anywhere.
fn aligned(spec: &WindowSpec, day: Date) -> Option<Date> {
    let months = match spec.period {
        Period::IsoWeekly => {
            let since = day.weekday().since(Weekday::Monday);
            return day.checked_sub(i64::from(since).days()).ok();
        }
        Period::IsoYearly => return first_of_iso_year(day.iso_week_date().year()),
        Period::FiscalQuarterly => 3,
        Period::FiscalYearly => 12,
        _ => return None,
    };
    let since = i64::from((day.month() - spec.fiscal_month).rem_euclid(months));
    day.first_of_month().checked_sub(since.months()).ok()
}

fn first_of_iso_year(year: i16) -> Option<Date> {
    ISOWeekDate::new(year, 1, Weekday::Monday).ok().map(|week| week.date())
}
