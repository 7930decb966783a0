//! What a business calendar leaves of a piece of time.
//!
//! A day that counts is open from its opening to its closing time, half-open, on the clock on the wall. The window of
//! a piece of time runs from the first instant in it that is open to the last one; nights and holidays in between are
//! inside it. A piece without an open instant has no window.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

use crate::model::agreement::BusinessCalendar;

/// `[from, to)` without what is closed at its start and its end; `None` when nothing is open.
pub(super) fn open_part(
    calendar: &BusinessCalendar,
    zone: &TimeZone,
    from: Timestamp,
    to: Timestamp,
) -> Option<(Timestamp, Timestamp)> {
    let (first, last) = (zone.to_datetime(from).date(), zone.to_datetime(to).date());
    let clipped = |day: Date| {
        let (open, close) = hours(calendar, zone, day)?;
        let part = (open.max(from), close.min(to));
        (part.0 < part.1).then_some(part)
    };
    let start = first.series(jiff::Span::new().days(1)).take_while(|day| *day <= last).find_map(clipped)?;
    let end = last.series(jiff::Span::new().days(-1)).take_while(|day| *day >= first).find_map(clipped)?;
    Some((start.0, end.1))
}

/// When a day opens and closes; `None` for one that does not count.
fn hours(calendar: &BusinessCalendar, zone: &TimeZone, day: Date) -> Option<(Timestamp, Timestamp)> {
    let weekday = usize::try_from(day.weekday().to_monday_zero_offset()).ok()?;
    let (open, close) = calendar.days.get(weekday).copied().flatten()?;
    if calendar.holidays.contains(&day) {
        return None;
    }
    let instant = |at: DateTime| zone.to_ambiguous_timestamp(at).compatible().ok();
    let close = match close {
        Some(close) => day.to_datetime(close),
        None => day.tomorrow().ok()?.to_datetime(Time::midnight()),
    };
    Some((instant(day.to_datetime(open))?, instant(close)?))
}
