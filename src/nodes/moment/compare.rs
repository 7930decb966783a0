//! Moments against each other: before, after, how far, and how people say it.

use super::Moment;
use super::calendar::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS};
use super::change::{Span, Unit, round};

impl Moment {
    pub fn is_after(&self, other: &Moment, unit: Option<Unit>) -> bool {
        let edge = self.edge(unit, false);
        self.is_valid() && other.is_valid() && edge > other.value()
    }

    pub fn is_before(&self, other: &Moment, unit: Option<Unit>) -> bool {
        let edge = self.edge(unit, true);
        self.is_valid() && other.is_valid() && edge < other.value()
    }

    pub fn is_same(&self, other: &Moment, unit: Option<Unit>) -> bool {
        let range = self.edge(unit, false)..=self.edge(unit, true);
        self.is_valid() && other.is_valid() && range.contains(&other.value())
    }

    fn edge(&self, unit: Option<Unit>, end: bool) -> f64 {
        let mut copy = self.copy();
        copy.to_edge(unit, end);
        copy.value()
    }

    /// How far it is behind another, in the unit, else in milliseconds; cut to a whole number unless `exact`.
    pub fn diff(&self, other: &Moment, unit: Option<Unit>, exact: bool) -> f64 {
        if !self.is_valid() {
            return f64::NAN;
        }
        let other = self.like_this(other);
        if !other.is_valid() {
            return f64::NAN;
        }
        let ms = self.value() - other.value();
        // A day is as long as its clock says.
        let zone = (other.utc_offset() - self.utc_offset()) * MINUTE_MS;
        let diff = match unit {
            Some(Unit::Year) => self.months_since(&other) / 12.0,
            Some(Unit::Month) => self.months_since(&other),
            Some(Unit::Quarter) => self.months_since(&other) / 3.0,
            Some(Unit::Second) => ms / SECOND_MS,
            Some(Unit::Minute) => ms / MINUTE_MS,
            Some(Unit::Hour) => ms / HOUR_MS,
            Some(Unit::Day) => (ms - zone) / DAY_MS,
            Some(Unit::Week) => (ms - zone) / (7.0 * DAY_MS),
            _ => ms,
        };
        if exact { diff } else { diff.trunc() + 0.0 }
    }

    fn months_since(&self, other: &Moment) -> f64 {
        let (a, b) = (self.wall(), other.wall());
        if a.day < b.day {
            // Ends of months come out right when the longer month is the first.
            return -other.months_since(self) + 0.0;
        }
        let whole = ((b.year - a.year) * 12 + b.month - a.month) as f64;
        let months = |n: f64| {
            let mut copy = self.copy();
            copy.add(Span { months: n, ..Span::default() }, 1.0);
            copy.value()
        };
        let (anchor, at) = (months(whole), other.value());
        let part = if at < anchor {
            (at - anchor) / (anchor - months(whole - 1.0))
        } else {
            (at - anchor) / (months(whole + 1.0) - anchor)
        };
        -(whole + part) + 0.0
    }

    /// From another to this one, in months and what is left of them.
    fn span_since(&self, other: &Moment) -> Span {
        if !self.is_valid() || !other.is_valid() {
            return Span::default();
        }
        let this = other.like_this(self);
        if other.is_before(&this, None) {
            return this.positive_span_since(other);
        }
        let span = other.positive_span_since(&this);
        Span { months: -span.months, days: 0.0, milliseconds: -span.milliseconds }
    }

    fn positive_span_since(&self, other: &Moment) -> Span {
        let (from, to) = (other.wall(), self.wall());
        let mut months = (to.month - from.month + (to.year - from.year) * 12) as f64;
        let after = |n: f64| {
            let mut copy = other.copy();
            copy.add(Span { months: n, ..Span::default() }, 1.0);
            copy
        };
        if after(months).is_after(self, None) {
            months -= 1.0;
        }
        Span { months, days: 0.0, milliseconds: self.value() - after(months).value() }
    }

    /// `in 3 days`, `3 days ago`, or without that `3 days`. Both are valid.
    pub fn told_from(&self, other: &Moment, bare: bool) -> String {
        let span = self.span_since(other);
        let days = span.days + round(span.months * 146_097.0 / 4_800.0);
        let is_later = (days * DAY_MS).floor() + span.milliseconds > 0.0;
        let text =
            humanized(Span { months: span.months.abs(), days: span.days.abs(), milliseconds: span.milliseconds.abs() });
        match (bare, is_later) {
            (true, _) => text,
            (false, true) => format!("in {text}"),
            (false, false) => format!("{text} ago"),
        }
    }

    /// Which of the formats of `calendar` holds, seen from `now`.
    pub fn calendar_key(&self, now: &Moment) -> &'static str {
        let mut start = self.like_this(now);
        start.to_edge(Some(Unit::Day), false);
        let days = self.diff(&start, Some(Unit::Day), true);
        match days {
            _ if !(-6.0..7.0).contains(&days) => "sameElse",
            _ if days < -1.0 => "lastWeek",
            _ if days < 0.0 => "lastDay",
            _ if days < 1.0 => "sameDay",
            _ if days < 2.0 => "nextDay",
            _ => "nextWeek",
        }
    }

    pub(super) fn is_summer_time(&self) -> bool {
        let offset_in = |month: f64| {
            let mut copy = self.copy();
            copy.set(Unit::Month, &super::Arg::Number(month));
            copy.utc_offset()
        };
        self.is_valid() && (self.utc_offset() > offset_in(0.0) || self.utc_offset() > offset_in(5.0))
    }
}

/// A span as people say it; it is not negative.
fn humanized(span: Span) -> String {
    let days = span.days + round(span.months * 146_097.0 / 4_800.0);
    let ms = span.milliseconds;
    let months = span.months + (span.days + ms / DAY_MS) * 4_800.0 / 146_097.0;
    let seconds = round(days * 86_400.0 + ms / SECOND_MS);
    let minutes = round(days * 1_440.0 + ms / MINUTE_MS);
    let hours = round(days * 24.0 + ms / HOUR_MS);
    let days = round(days + ms / DAY_MS);
    let (months, years) = (round(months), round(months / 12.0));
    match () {
        () if seconds <= 44.0 => "a few seconds".into(),
        () if minutes <= 1.0 => "a minute".into(),
        () if minutes < 45.0 => format!("{minutes} minutes"),
        () if hours <= 1.0 => "an hour".into(),
        () if hours < 22.0 => format!("{hours} hours"),
        () if days <= 1.0 => "a day".into(),
        () if days < 26.0 => format!("{days} days"),
        () if months <= 1.0 => "a month".into(),
        () if months < 11.0 => format!("{months} months"),
        () if years <= 1.0 => "a year".into(),
        () => format!("{years} years"),
    }
}
