//! The windows of a term: half-open, in the agreement's zone.
//!
//! Time is cut into pieces: steps of a period counted from `window.initial` ([`Steps`](super::steps::Steps)), or the
//! list that recurrence rules gave. A window is its piece; with a business calendar, the open part of it; of a rolling
//! window, the piece is its last step, and it reaches back from the end of that. Pieces of steps leave no gap and do not
//! overlap; a civil day that a zone skipped (Samoa, 2011-12-30) has none.

use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan};

use super::business::open_part;
use super::steps::Steps;
use crate::model::agreement::{Agreement, Period, Reach, WindowSpec};
use crate::model::state::Window;

/// Most windows one call gives: over eleven years of hours.
pub const WINDOWS_MAX: usize = 100_000;
/// Most pieces without a window that are walked over in search of one: longer than any row of holidays.
const EMPTY_MAX: usize = 10_000;

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
    steps: Steps<'a>,
}

type Bounds = (Timestamp, Timestamp);

impl<'a> Calendar<'a> {
    pub fn of(agreement: &'a Agreement, spec: &'a WindowSpec) -> Self {
        Self::new(spec, &agreement.time_zone, agreement.valid_from, agreement.valid_to)
    }

    pub fn new(spec: &'a WindowSpec, zone: &'a TimeZone, valid_from: Timestamp, valid_to: Option<Timestamp>) -> Self {
        let valid_to = [valid_to, spec.end].into_iter().flatten().min();
        Calendar { spec, zone, valid_from, valid_to, steps: Steps::of(spec, zone) }
    }

    /// This range as one window, whatever the term's period is.
    pub fn exactly(&self, from: Timestamp, to: Timestamp) -> Window {
        Window { from, to, from_local: local(from, self.zone), to_local: local(to, self.zone) }
    }

    /// Every window that overlaps `[from, to)` and the validity, whole, in order. A rolling window counts by its last
    /// step: one of a day gives the windows that end on that day.
    ///
    /// # Errors
    /// When there are more than [`WINDOWS_MAX`].
    pub fn overlapping(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Window>, TooManyWindows> {
        let from = from.max(self.valid_from).max(self.spec.initial);
        let to = self.valid_to.map_or(to, |end| to.min(end));
        if from >= to {
            return Ok(Vec::new());
        }
        let Some(last) = self.index_before(to) else { return Ok(Vec::new()) };
        let first = self.index(from).unwrap_or(0);
        let windows = u64::try_from(last - first + 1).unwrap_or(0);
        if windows > WINDOWS_MAX as u64 {
            return Err(TooManyWindows { windows, period: self.spec.period_name.clone() });
        }
        Ok(self.expand(first, last, |piece| piece.1 > from && piece.0 < to))
    }

    /// The window that starts at `from`; of rolling ones the first that does, for those that reach back to the initial
    /// day all start there.
    pub fn starting_at(&self, from: Timestamp) -> Option<Window> {
        // The first window may start before the validity.
        let mut to = from.max(self.valid_from).max(self.spec.initial).checked_add(1.nanosecond()).ok()?;
        if let Some(reach) = self.spec.reach {
            // Its step lies at its end: far enough ahead for the longest months, a change of the clock and a step.
            let days = i64::from(reach.months) * 31 + i64::from(reach.days) + 1;
            let ahead = SignedDuration::from_hours(days * 24) + SignedDuration::from_secs(reach.seconds);
            to = to.max(self.steps.boundary(self.index(from.checked_add(ahead).ok()?)? + 1)?);
        }
        self.overlapping(from, to).ok()?.into_iter().find(|window| window.from == from)
    }

    /// The latest `count` windows that are over at `now`, oldest first.
    pub fn last_closed(&self, now: Timestamp, count: usize) -> Vec<Window> {
        let count = count.min(WINDOWS_MAX);
        // What starts at or after the end of validity is no window, however late it is.
        let until = self.valid_to.map_or(now, |end| now.min(end));
        let Some(last) = self.index_before(until) else { return Vec::new() };
        let (mut found, mut empty) = (Vec::new(), 0);
        for index in (0..=last).rev() {
            if found.len() == count || empty == EMPTY_MAX || self.ends_before_validity(index) {
                break;
            }
            match self.window(index).filter(|(window, piece)| window.1 <= now && self.is_valid(*piece)) {
                Some((window, _)) => found.push(self.texts(window)),
                None => empty += 1,
            }
        }
        found.reverse();
        found
    }

    /// The window that holds `now`; of rolling ones, the next to close.
    pub fn open_at(&self, now: Timestamp) -> Option<Window> {
        let (window, piece) = self.window(self.index(now)?)?;
        let holds = window.0 <= now && now < window.1 && self.is_valid(piece);
        holds.then(|| self.texts(window))
    }

    /// When the next window closes, strictly after `now`. `None` when the validity is over.
    pub fn next_close_after(&self, now: Timestamp) -> Option<Timestamp> {
        let from = now.max(self.valid_from).max(self.spec.initial);
        let first = self.index(from).unwrap_or(0);
        for index in first..=first.saturating_add(EMPTY_MAX as i64) {
            let start = self.piece(index)?.0;
            if self.valid_to.is_some_and(|end| start >= end) {
                return None;
            }
            if let Some((window, _)) = self.window(index).filter(|(w, piece)| w.1 > now && self.is_valid(*piece)) {
                return Some(window.1);
            }
        }
        None
    }

    /// Whether a window of this piece of time is within the validity.
    fn is_valid(&self, piece: Bounds) -> bool {
        piece.1 > self.valid_from && self.valid_to.is_none_or(|end| piece.0 < end)
    }

    fn ends_before_validity(&self, index: i64) -> bool {
        self.piece(index).is_some_and(|piece| piece.0 < piece.1 && piece.1 <= self.valid_from)
    }

    /// The piece of time number `index`, empty where a zone skipped it; `None` beyond the calendar.
    fn piece(&self, index: i64) -> Option<Bounds> {
        if self.spec.period == Period::Rules {
            return self.spec.listed.get(usize::try_from(index).ok()?).copied();
        }
        Some((self.steps.boundary(index)?, self.steps.boundary(index + 1)?))
    }

    /// Window `index`, and the part of its piece that says whether it is asked for; `None` when there is none.
    fn window(&self, index: i64) -> Option<(Bounds, Bounds)> {
        self.of_piece(self.piece(index)?)
    }

    fn of_piece(&self, piece: Bounds) -> Option<(Bounds, Bounds)> {
        if piece.0 >= piece.1 {
            return None;
        }
        if let Some(calendar) = &self.spec.business {
            let open = open_part(calendar, self.zone, piece.0, piece.1)?;
            return Some((open, open));
        }
        match self.spec.reach {
            Some(reach) => Some(((back(piece.1, reach, self.zone)?.max(self.steps.first()), piece.1), piece)),
            None => Some((piece, piece)),
        }
    }

    fn expand(&self, first: i64, last: i64, wanted: impl Fn(Bounds) -> bool) -> Vec<Window> {
        let mut found: Vec<Window> = Vec::with_capacity(usize::try_from(last - first + 1).unwrap_or(0));
        // A boundary is the end of one piece and the start of the next: it is reckoned once.
        let mut next = None;
        let mut clock = WallClock::new(self.zone);
        for index in first..=last {
            let piece = match next.take() {
                Some(start) if self.spec.period != Period::Rules => {
                    self.steps.boundary(index + 1).map(|end| (start, end))
                }
                _ => self.piece(index),
            };
            let Some(piece) = piece else { continue };
            next = Some(piece.1);
            let Some((window, part)) = self.of_piece(piece).filter(|(_, part)| wanted(*part)) else { continue };
            let from_local = match found.last() {
                Some(before) if before.to == window.0 => before.to_local.clone(),
                _ => clock.text(window.0),
            };
            found.push(Window { from: window.0, to: window.1, from_local, to_local: clock.text(window.1) });
            debug_assert!(part.0 >= piece.0 && part.1 <= piece.1, "what is asked for is part of the piece");
        }
        found
    }

    fn texts(&self, (from, to): Bounds) -> Window {
        Window { from, to, from_local: local(from, self.zone), to_local: local(to, self.zone) }
    }

    /// The last piece that starts at or before `at`; `None` before the first.
    fn index(&self, at: Timestamp) -> Option<i64> {
        if self.spec.period != Period::Rules {
            return self.steps.index(at);
        }
        let after = self.spec.listed.partition_point(|piece| piece.0 <= at);
        i64::try_from(after.checked_sub(1)?).ok()
    }

    /// The last piece that starts before `to`.
    fn index_before(&self, to: Timestamp) -> Option<i64> {
        self.index(to.checked_sub(1.nanosecond()).ok()?)
    }
}

/// `reach` before `at`, on the clock on the wall but for the seconds.
pub(super) fn back(at: Timestamp, reach: Reach, zone: &TimeZone) -> Option<Timestamp> {
    let mut start = at;
    if reach.months != 0 || reach.days != 0 {
        let civil = zone.to_datetime(at).checked_sub(reach.months.months().days(reach.days)).ok()?;
        start = zone.to_ambiguous_timestamp(civil).compatible().ok()?;
    }
    start.checked_sub(SignedDuration::from_secs(reach.seconds)).ok()
}

/// The texts of instants in order: a zone's offset is looked up when it changes, not for every instant.
struct WallClock<'z> {
    zone: &'z TimeZone,
    offset: Offset,
    /// The offset holds from the first to before the second.
    holds: (Timestamp, Timestamp),
}

impl<'z> WallClock<'z> {
    fn new(zone: &'z TimeZone) -> Self {
        WallClock { zone, offset: Offset::UTC, holds: (Timestamp::MAX, Timestamp::MIN) }
    }

    fn text(&mut self, at: Timestamp) -> String {
        if at < self.holds.0 || at >= self.holds.1 {
            self.offset = self.zone.to_offset(at);
            let next = self.zone.following(at).next();
            self.holds = (at, next.map_or(Timestamp::MAX, |transition| transition.timestamp()));
        }
        with_offset(at, self.offset)
    }
}

/// An instant in a zone as RFC 3339 text with the zone's offset then: `2026-03-29T00:00:00+01:00`.
pub fn local(at: Timestamp, zone: &TimeZone) -> String {
    with_offset(at, zone.to_offset(at))
}

/// Written by hand: this is most of the cost of expanding a year of hours.
fn with_offset(at: Timestamp, offset: Offset) -> String {
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
