//! The calendar as JavaScript's `Date` has it: proleptic Gregorian, in milliseconds, NaN for no date.

use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, civil};

pub const SECOND_MS: f64 = 1_000.0;
pub const MINUTE_MS: f64 = 60_000.0;
pub const HOUR_MS: f64 = 3_600_000.0;
pub const DAY_MS: f64 = 86_400_000.0;

/// The furthest instant a `Date` can be, milliseconds from the epoch.
const LAST_MS: f64 = 8.64e15;

/// What clock and calendar show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wall {
    pub year: i64,
    /// 0 to 11.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
    pub millisecond: i64,
    /// 0 is Sunday.
    pub weekday: i64,
}

/// An instant as `Date` keeps it: whole milliseconds, NaN beyond its range.
pub fn clip(ms: f64) -> f64 {
    if ms.is_finite() && ms.abs() <= LAST_MS { ms.trunc() } else { f64::NAN }
}

/// Days since the epoch; month and day may lie outside their range.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year + month.div_euclid(12);
    let month = month.rem_euclid(12) + 1;
    // Years that begin in March have their leap day at the end.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year + day - 1 - 719_468
}

/// What a clock without zone shows at `ms`, which is finite.
pub fn wall(ms: f64) -> Wall {
    let ms = ms as i64;
    let (day, rest) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    let shifted = day + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let (year, civil) = (year_of_era + era * 400, month < 10);
    Wall {
        year: if civil { year } else { year + 1 },
        month: if civil { month + 2 } else { month - 10 },
        day: of_year - (153 * month + 2) / 5 + 1,
        hour: rest / 3_600_000,
        minute: rest / 60_000 % 60,
        second: rest / 1_000 % 60,
        millisecond: rest % 1_000,
        weekday: (day + 4).rem_euclid(7),
    }
}

/// Milliseconds of a date and a time of day, each part of which may lie outside its range: year, month from 0, day,
/// hours, minutes, seconds, milliseconds.
pub fn instant(parts: [f64; 7]) -> f64 {
    // Beyond this no sum is within the range of a `Date`.
    if parts.iter().any(|part| !part.is_finite() || part.abs() > 1e17) {
        return f64::NAN;
    }
    let [year, month, day, hour, minute, second, ms] = parts.map(f64::trunc);
    if year.abs() > 1e6 || month.abs() > 1e7 {
        return f64::NAN;
    }
    let days = days(year as i64, month as i64, 1) as f64 + day - 1.0;
    days * DAY_MS + hour * HOUR_MS + minute * MINUTE_MS + second * SECOND_MS + ms
}

pub fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

pub fn days_in_year(year: i64) -> i64 {
    if is_leap(year) { 366 } else { 365 }
}

/// The month may lie outside its range.
pub fn days_in_month(year: i64, month: i64) -> i64 {
    days(year, month + 1, 1) - days(year, month, 1)
}

/// First weekday and the day of January that is always in the first week of the year, less the days before it.
#[derive(Clone, Copy)]
pub struct Weeks {
    first_weekday: i64,
    doy: i64,
}

/// Weeks from Sunday; the one of 1 January is the first.
pub const LOCALE: Weeks = Weeks { first_weekday: 0, doy: 6 };
/// Weeks from Monday; the one of 4 January is the first.
pub const ISO: Weeks = Weeks { first_weekday: 1, doy: 4 };

impl Weeks {
    /// Days from 1 January to the first day of the first week.
    fn offset(self, year: i64) -> i64 {
        let always = 7 + self.first_weekday - self.doy;
        let weekday = (days(year, 0, always) + 4).rem_euclid(7);
        -((7 + weekday - self.first_weekday) % 7) + always - 1
    }

    pub fn in_year(self, year: i64) -> i64 {
        (days_in_year(year) - self.offset(year) + self.offset(year + 1)) / 7
    }

    /// Year and week of a day of a year, counted from 1.
    pub fn of(self, year: i64, day_of_year: i64) -> (i64, i64) {
        let week = (day_of_year - self.offset(year) - 1).div_euclid(7) + 1;
        if week < 1 {
            (year - 1, week + self.in_year(year - 1))
        } else if week > self.in_year(year) {
            (year + 1, week - self.in_year(year))
        } else {
            (year, week)
        }
    }

    /// Year and day of the year, counted from 1, of a week's day.
    pub fn day(self, year: i64, week: i64, weekday: i64) -> (i64, i64) {
        let day = 1 + 7 * (week - 1) + (7 + weekday - self.first_weekday) % 7 + self.offset(year);
        if day <= 0 {
            (year - 1, days_in_year(year - 1) + day)
        } else if day > days_in_year(year) {
            (year + 1, day - days_in_year(year))
        } else {
            (year, day)
        }
    }
}

/// Days from 1 January, which is 1.
pub fn day_of_year(wall: &Wall) -> i64 {
    days(wall.year, wall.month, wall.day) - days(wall.year, 0, 1) + 1
}

/// Whole cycles of 400 years that bring an instant into the years a zone knows.
fn cycles(ms: f64) -> f64 {
    let year = wall(ms).year;
    let known = if year > 9_900 {
        9_500
    } else if year < -9_900 {
        -9_500
    } else {
        return 0.0;
    };
    ((known - year) / 400) as f64 * 146_097.0 * DAY_MS
}

fn timestamp(ms: f64) -> Timestamp {
    Timestamp::from_millisecond((ms + cycles(ms)) as i64).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// How far clocks of the zone are ahead at an instant, milliseconds.
pub fn offset_ms(zone: &TimeZone, ms: f64) -> f64 {
    f64::from(zone.to_offset(timestamp(ms)).seconds()) * SECOND_MS
}

/// What the zone calls its time at an instant, such as `CEST`.
pub fn abbreviation(zone: &TimeZone, ms: f64) -> String {
    zone.to_offset_info(timestamp(ms)).abbreviation().to_string()
}

/// The instant at which clocks of the zone show `local`: the first of two, and where they skip it as before the change.
pub fn from_local(zone: &TimeZone, local: f64) -> f64 {
    if !local.is_finite() || local.abs() > LAST_MS + DAY_MS {
        return f64::NAN;
    }
    let at = wall(local + cycles(local));
    let date = civil::DateTime::new(
        at.year as i16,
        at.month as i8 + 1,
        at.day as i8,
        at.hour as i8,
        at.minute as i8,
        at.second as i8,
        at.millisecond as i32 * 1_000_000,
    );
    let Ok(date) = date else { return f64::NAN };
    let offset = match zone.to_ambiguous_timestamp(date).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset,
        AmbiguousOffset::Gap { before, .. } | AmbiguousOffset::Fold { before, .. } => before,
    };
    local - f64::from(offset.seconds()) * SECOND_MS
}
