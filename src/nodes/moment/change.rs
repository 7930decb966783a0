//! Moments changed in place: parts set, spans added, starts and ends of units, other zones.

use jiff::tz::TimeZone;

use super::calendar::{self, HOUR_MS, ISO, LOCALE, MINUTE_MS, SECOND_MS, Weeks};
use super::read;
use super::{Arg, Moment, Zone};
use crate::model::value::{parse_float, str_to_number};

/// An offset further than this leads from no date to another, minutes.
const OFFSET_MAX: f64 = 2.0 * 8.64e15 / MINUTE_MS;

/// A unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Year,
    Quarter,
    Month,
    Week,
    IsoWeek,
    Day,
    Date,
    Weekday,
    IsoWeekday,
    DayOfYear,
    WeekYear,
    IsoWeekYear,
    Hour,
    Minute,
    Second,
    Millisecond,
}

impl Unit {
    /// By any of its names: `d`, `day`, `days`; `M` is a month, `m` a minute.
    pub fn named(name: &str) -> Option<Unit> {
        Self::named_exactly(name).or_else(|| Self::named_exactly(&name.to_lowercase()))
    }

    fn named_exactly(name: &str) -> Option<Unit> {
        Some(match name {
            "y" | "year" | "years" => Unit::Year,
            "Q" | "quarter" | "quarters" => Unit::Quarter,
            "M" | "month" | "months" => Unit::Month,
            "w" | "week" | "weeks" => Unit::Week,
            "W" | "isoweek" | "isoweeks" => Unit::IsoWeek,
            "d" | "day" | "days" => Unit::Day,
            "D" | "date" | "dates" => Unit::Date,
            "e" | "weekday" | "weekdays" => Unit::Weekday,
            "E" | "isoweekday" | "isoweekdays" => Unit::IsoWeekday,
            "DDD" | "dayofyear" | "dayofyears" => Unit::DayOfYear,
            "gg" | "weekyear" | "weekyears" => Unit::WeekYear,
            "GG" | "isoweekyear" | "isoweekyears" => Unit::IsoWeekYear,
            "h" | "hour" | "hours" => Unit::Hour,
            "m" | "minute" | "minutes" => Unit::Minute,
            "s" | "second" | "seconds" => Unit::Second,
            "ms" | "millisecond" | "milliseconds" => Unit::Millisecond,
            _ => return None,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Unit::Year => "year",
            Unit::Quarter => "quarter",
            Unit::Month => "month",
            Unit::Week => "week",
            Unit::IsoWeek => "isoWeek",
            Unit::Day => "day",
            Unit::Date => "date",
            Unit::Weekday => "weekday",
            Unit::IsoWeekday => "isoWeekday",
            Unit::DayOfYear => "dayOfYear",
            Unit::WeekYear => "weekYear",
            Unit::IsoWeekYear => "isoWeekYear",
            Unit::Hour => "hour",
            Unit::Minute => "minute",
            Unit::Second => "second",
            Unit::Millisecond => "millisecond",
        }
    }

    /// In which order Moment sets several.
    fn priority(self) -> u8 {
        match self {
            Unit::Year | Unit::WeekYear | Unit::IsoWeekYear => 1,
            Unit::DayOfYear => 4,
            Unit::Week | Unit::IsoWeek => 5,
            Unit::Quarter => 7,
            Unit::Month => 8,
            Unit::Date => 9,
            Unit::Day | Unit::Weekday | Unit::IsoWeekday => 11,
            Unit::Hour => 13,
            Unit::Minute => 14,
            Unit::Second => 15,
            Unit::Millisecond => 16,
        }
    }
}

/// A length of time; months and days are kept apart, as they are not always as long.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    pub months: f64,
    pub days: f64,
    pub milliseconds: f64,
}

impl Span {
    /// As `add` takes it: a number with a unit, an object of them, `1.02:03:04`, `P1DT2H`.
    pub fn of(value: &Arg, unit: &Arg) -> Span {
        let mut span = Span::default();
        let number = value.to_number();
        match value {
            Arg::Array(_) | Arg::Object(_) if number.is_nan() => {
                if let Arg::Object(entries) = value {
                    for (name, value) in entries {
                        span.plus(Unit::named(name), value.to_number());
                    }
                }
            }
            Arg::Text(text) if number.is_nan() => return Span::of_text(text),
            _ if number.is_nan() => {}
            _ if unit.is_truthy() => span.plus(unit.text().and_then(Unit::named), number),
            _ => span.milliseconds = number,
        }
        span
    }

    fn of_text(text: &str) -> Span {
        Span::of_clock(text).or_else(|| Span::of_iso(text)).unwrap_or_default()
    }

    /// `-1.02:03:04.5`, with days before the first point or blank.
    fn of_clock(text: &str) -> Option<Span> {
        let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
        let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
        let (days, clock) = match rest.find(['.', ' ']).filter(|at| !rest[..*at].contains(':')) {
            Some(at) => (&rest[..at], &rest[at + 1..]),
            None => ("", rest),
        };
        let parts: Vec<&str> = clock.split(':').collect();
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let (seconds, fraction) = match parts.get(2) {
            Some(seconds) => seconds.split_once('.').unwrap_or((seconds, "")),
            None => ("0", ""),
        };
        let fits = (2..=3).contains(&parts.len())
            && parts[..2].iter().all(|part| is_number(part))
            && is_number(seconds)
            && (fraction.is_empty() || is_number(fraction))
            && (days.is_empty() || is_number(days));
        if !fits {
            return None;
        }
        let n = str_to_number;
        let ms = (n(&format!("0.{fraction}0")) * 1e3).round();
        let clock = n(parts[0]) * HOUR_MS + n(parts[1]) * MINUTE_MS + n(seconds) * SECOND_MS + ms;
        Some(Span { months: 0.0, days: sign * n(days), milliseconds: sign * clock })
    }

    /// `P1Y2M3W4DT5H6M7.8S`.
    fn of_iso(text: &str) -> Option<Span> {
        let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
        let rest = text.strip_prefix(['-', '+']).unwrap_or(text).strip_prefix('P')?;
        let mut span = Span::default();
        let mut in_clock = false;
        let mut number = String::new();
        for c in rest.chars() {
            match c {
                '0'..='9' | '.' | ',' | '+' | '-' => number.push(if c == ',' { '.' } else { c }),
                'T' if number.is_empty() && !in_clock => in_clock = true,
                _ => {
                    let unit = match (c, in_clock) {
                        ('Y', false) => Unit::Year,
                        ('M', false) => Unit::Month,
                        ('W', false) => Unit::Week,
                        ('D', false) => Unit::Day,
                        ('H', true) => Unit::Hour,
                        ('M', true) => Unit::Minute,
                        ('S', true) => Unit::Second,
                        _ => return None,
                    };
                    let n = parse_float(&number);
                    span.plus(Some(unit), if n.is_nan() { 0.0 } else { n * sign });
                    number.clear();
                }
            }
        }
        number.is_empty().then_some(span)
    }

    fn plus(&mut self, unit: Option<Unit>, n: f64) {
        match unit {
            Some(Unit::Year) => self.months += n * 12.0,
            Some(Unit::Quarter) => self.months += n * 3.0,
            Some(Unit::Month) => self.months += n,
            Some(Unit::Week | Unit::IsoWeek) => self.days += n * 7.0,
            Some(Unit::Day) => self.days += n,
            Some(Unit::Hour) => self.milliseconds += n * HOUR_MS,
            Some(Unit::Minute) => self.milliseconds += n * MINUTE_MS,
            Some(Unit::Second) => self.milliseconds += n * SECOND_MS,
            Some(Unit::Millisecond) => self.milliseconds += n,
            _ => {}
        }
    }
}

/// JavaScript's `Math.round`: halves go up.
pub fn round(n: f64) -> f64 {
    (n + 0.5).floor()
}

fn round_away(n: f64) -> f64 {
    if n < 0.0 { -round(-n) } else { round(n) }
}

impl Moment {
    /// A copy, which looks up its zone's offset anew.
    pub fn copy(&self) -> Moment {
        let mut copy = self.clone();
        copy.update_offset(false);
        copy
    }

    /// Takes up its zone's offset after a change. `keep`: what its clock shows stays.
    fn update_offset(&mut self, keep: bool) {
        let Some(zone) = self.zone.take() else { return };
        if self.is_valid() {
            let offset = calendar::offset_ms(&zone.rules, self.value()) / MINUTE_MS;
            self.set_offset(offset, keep);
        }
        self.zone = Some(zone);
    }

    /// Minutes; the zone is not looked at.
    fn set_offset(&mut self, offset: f64, keep: bool) {
        let before = self.offset.unwrap_or(0.0);
        if !self.utc && keep {
            self.date = calendar::clip(self.date + self.utc_offset() * MINUTE_MS);
        }
        (self.offset, self.utc) = (Some(offset), true);
        if before != offset && !keep {
            self.date = calendar::clip(self.date + (offset - before) * MINUTE_MS);
        }
    }

    /// `utcOffset`: minutes, hours below 16, or a text such as `+02:00`.
    pub(super) fn move_to_offset(&mut self, offset: &Arg, keep: bool, minutes: bool) {
        self.zone = None;
        if !self.is_valid() {
            return;
        }
        let offset = match offset {
            Arg::Text(text) => read::offset(text),
            other => Some(other.to_number()).map(|n| if n.abs() < 16.0 && !minutes { n * 60.0 } else { n }),
        };
        if let Some(offset) = offset {
            self.set_offset(offset, keep);
            if !(-OFFSET_MAX..=OFFSET_MAX).contains(&offset) {
                self.date = f64::NAN;
            }
        }
    }

    pub(super) fn move_to_local(&mut self, keep: bool) {
        self.zone = None;
        if !self.utc {
            return;
        }
        if self.is_valid() {
            self.set_offset(0.0, keep);
        }
        self.utc = false;
        if keep && self.is_valid() {
            self.date = calendar::clip(self.date - self.utc_offset() * MINUTE_MS);
        }
    }

    /// To the offset that its text gave.
    pub(super) fn move_to_parsed(&mut self) {
        match (self.parsed_offset, self.input.clone()) {
            (Some(offset), _) => self.move_to_offset(&Arg::Number(offset), false, true),
            (None, Some(text)) => match read::whole_offset(&text) {
                Some(offset) => self.move_to_offset(&Arg::Number(offset), false, false),
                None => self.move_to_offset(&Arg::Number(0.0), true, false),
            },
            (None, None) => {}
        }
    }

    /// False when there is no such zone.
    pub(super) fn move_to_zone(&mut self, name: &str, keep: bool) -> bool {
        let Ok(rules) = TimeZone::get(name) else { return false };
        let name = rules.iana_name().unwrap_or(name).into();
        self.zone = Some(Zone { name, rules });
        self.update_offset(keep);
        true
    }

    pub fn add(&mut self, span: Span, sign: f64) {
        if !self.is_valid() {
            return;
        }
        // What is no number changes nothing.
        let number = |n: f64| if n.is_nan() { 0.0 } else { n };
        let (months, days) = (round_away(number(span.months)), round_away(number(span.days)));
        let milliseconds = number(span.milliseconds);
        if months != 0.0 {
            self.set_month_field(self.wall().month as f64 + months * sign);
        }
        if days != 0.0 {
            let day = self.wall().day as f64 + days * sign;
            self.set_wall(|parts| parts[2] = day);
        }
        if milliseconds != 0.0 {
            self.date = calendar::clip(self.date + milliseconds * sign);
        }
        self.update_offset(days != 0.0 || months != 0.0);
    }

    pub fn add_days(&mut self, days: f64) {
        self.add(Span { days, ..Span::default() }, 1.0);
    }

    /// Changes what its clock shows: year, month, day, hours, minutes, seconds, milliseconds.
    fn set_wall(&mut self, change: impl FnOnce(&mut [f64; 7])) {
        if !self.is_valid() {
            return;
        }
        let at = self.wall();
        let mut parts = [at.year, at.month, at.day, at.hour, at.minute, at.second, at.millisecond].map(|n| n as f64);
        change(&mut parts);
        let wall = calendar::instant(parts);
        self.date = calendar::clip(if self.utc { wall } else { calendar::from_local(&self.local, wall) });
    }

    /// The last day of a month that is too short.
    fn set_month_field(&mut self, month: f64) {
        if !self.is_valid() {
            return;
        }
        if !month.is_finite() || month.abs() > 1e7 {
            self.date = f64::NAN;
            return;
        }
        let at = self.wall();
        let day = at.day.min(calendar::days_in_month(at.year, month as i64));
        self.set_wall(|parts| (parts[1], parts[2]) = (month, day as f64));
    }

    fn set_field(&mut self, field: usize, value: f64, keep: bool) {
        if self.is_valid() && !value.is_nan() {
            let leap_day = field == 0 && (self.wall().month, self.wall().day) == (1, 29);
            self.set_wall(|parts| {
                parts[field] = value;
                if leap_day && !calendar::is_leap(value as i64) {
                    parts[2] = 28.0;
                }
            });
        }
        self.update_offset(keep);
    }

    fn set_month(&mut self, value: &Arg) {
        let month = match value {
            Arg::Text(text) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => {
                Some(str_to_number(text))
            }
            Arg::Text(text) => read::month_named(text),
            other => Some(other.to_number()),
        };
        if let Some(month) = month {
            self.set_month_field(month);
        }
        self.update_offset(true);
    }

    fn set_weekday(&mut self, value: f64) {
        let day = self.wall().weekday as f64;
        self.add_days(value - day);
    }

    fn set_week_year(&mut self, year: f64, weeks: Weeks, weekday: i64) {
        if year.is_nan() || year.abs() >= 1e6 {
            return;
        }
        let week = self.week(weeks).1.min(weeks.in_year(year as i64));
        let (year, day) = weeks.day(year as i64, week, weekday);
        let at = calendar::wall(calendar::instant([year as f64, 0.0, day as f64, 0.0, 0.0, 0.0, 0.0]));
        self.set_field(0, at.year as f64, true);
        self.set_month(&Arg::Number(at.month as f64));
        self.set_field(2, at.day as f64, true);
    }

    /// Sets one part.
    pub fn set(&mut self, unit: Unit, value: &Arg) {
        if !self.is_valid() {
            return;
        }
        let n = value.to_number();
        match unit {
            Unit::Year => self.set_field(0, n, true),
            Unit::Month => self.set_month(value),
            Unit::Date => self.set_field(2, n, true),
            Unit::Hour => self.set_field(3, n, true),
            Unit::Minute => self.set_field(4, n, false),
            Unit::Second => self.set_field(5, n, false),
            Unit::Millisecond => self.set_field(6, n, false),
            Unit::Quarter => self.set_month(&Arg::Number((n - 1.0) * 3.0 + (self.wall().month % 3) as f64)),
            Unit::Week => self.add_days((n - self.week(LOCALE).1 as f64) * 7.0),
            Unit::IsoWeek => self.add_days((n - self.week(ISO).1 as f64) * 7.0),
            Unit::DayOfYear => self.add_days(n - calendar::day_of_year(&self.wall()) as f64),
            Unit::Weekday => self.add_days(n - self.wall().weekday as f64),
            Unit::Day => {
                let day = match value {
                    Arg::Text(text) if n.is_nan() => read::day_named(text).unwrap_or(0.0),
                    _ => n.trunc(),
                };
                self.set_weekday(day);
            }
            Unit::IsoWeekday => {
                let day = match value {
                    Arg::Text(text) => match read::day_named(text) {
                        Some(day) if day > 0.0 => day,
                        _ => 7.0,
                    },
                    _ => n,
                };
                let before = if self.wall().weekday == 0 { 7.0 } else { 0.0 };
                self.set_weekday(day - before);
            }
            Unit::WeekYear => self.set_week_year(n, LOCALE, self.wall().weekday),
            Unit::IsoWeekYear => self.set_week_year(n, ISO, self.iso_weekday()),
        }
    }

    /// Sets several parts, from the largest to the smallest.
    pub(super) fn set_all(&mut self, entries: &[(String, Arg)]) {
        let mut units: Vec<(Unit, &Arg)> =
            entries.iter().filter_map(|(name, value)| Some((Unit::named(name)?, value))).collect();
        units.sort_by_key(|(unit, _)| unit.priority());
        for (unit, value) in units {
            self.set(unit, value);
        }
    }

    /// The first instant of the unit, or with `end` the last.
    pub fn to_edge(&mut self, unit: Option<Unit>, end: bool) {
        let Some(unit) = unit.filter(|unit| *unit != Unit::Millisecond && self.is_valid()) else { return };
        let at = self.wall();
        let more = |n: i64| if end { n } else { 0 };
        let start = |year: i64, month: i64, day: i64| {
            let wall = calendar::instant([year as f64, month as f64, day as f64, 0.0, 0.0, 0.0, 0.0]);
            if self.utc { wall } else { calendar::from_local(&self.local, wall) }
        };
        let within = |length: f64, shift: f64| {
            let start = self.date - (self.date + shift).rem_euclid(length);
            if end { start + length } else { start }
        };
        let shift = if self.utc { 0.0 } else { self.utc_offset() * MINUTE_MS };
        let date = match unit {
            Unit::Year => start(at.year + more(1), 0, 1),
            Unit::Quarter => start(at.year, at.month - at.month % 3 + more(3), 1),
            Unit::Month => start(at.year, at.month + more(1), 1),
            Unit::Week => start(at.year, at.month, at.day - at.weekday + more(7)),
            Unit::IsoWeek => start(at.year, at.month, at.day - (self.iso_weekday() - 1) + more(7)),
            Unit::Day | Unit::Date => start(at.year, at.month, at.day + more(1)),
            Unit::Hour => within(HOUR_MS, shift),
            Unit::Minute => within(MINUTE_MS, 0.0),
            Unit::Second => within(SECOND_MS, 0.0),
            // Moment sets no time for others, which makes the date invalid.
            _ => f64::NAN,
        };
        self.date = calendar::clip(if end { date - 1.0 } else { date });
        self.update_offset(true);
    }

    /// The same instant as `other`, seen from where this one is.
    pub(super) fn like_this(&self, other: &Moment) -> Moment {
        if !self.utc {
            let mut other = other.copy();
            other.move_to_local(false);
            return other;
        }
        let mut copy = self.copy();
        copy.date = calendar::clip(copy.date + (other.value() - copy.value()));
        copy.update_offset(false);
        copy
    }
}
