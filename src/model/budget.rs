//! Error budgets: how much of a promise may be broken in a period, and how fast that may be used up.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::agreement::{Reach, WindowSpec};
use super::score::Score;
use super::state::{Scope, State, StateKind, Verdict};

/// An error budget of one guarantee, in every scope it is judged in: `context["x-probity"].budgets`.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// Unique within the agreement.
    pub id: String,
    pub guarantee: String,
    /// The share that must be good; what is left to one is the budget.
    pub target: Share,
    pub counts: Counts,
    /// The period the budget is for: of the calendar, or rolling.
    pub window: WindowSpec,
    pub alerts: Vec<BurnAlert>,
}

/// What is counted as good or bad.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Counts {
    /// Each window of the guarantee once: kept or broken.
    Windows,
    /// What two metrics of the guarantee count in each of its windows.
    Events { events: EventMetric, total: String },
}

impl Counts {
    /// `windows` or `events`.
    pub fn word(&self) -> &'static str {
        match self {
            Counts::Windows => "windows",
            Counts::Events { .. } => "events",
        }
    }
}

/// The metric that says how many of the total were good, or how many were bad.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventMetric {
    Good(String),
    Bad(String),
}

/// An exact share between none and all: `0 < numerator < denominator`, without a common factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    numerator: u64,
    denominator: u64,
}

/// Greatest denominator of a share or a rate: nine decimals of a percentage.
pub const DENOMINATOR_MAX: u64 = 100_000_000_000;

impl Share {
    /// `None` unless it lies strictly between none and all, with a denominator of at most [`DENOMINATOR_MAX`].
    pub fn new(numerator: u64, denominator: u64) -> Option<Share> {
        let divisor = gcd(u128::from(numerator), u128::from(denominator)).max(1) as u64;
        let (numerator, denominator) = (numerator / divisor, denominator / divisor);
        let lies = numerator > 0 && numerator < denominator && denominator <= DENOMINATOR_MAX;
        lies.then_some(Share { numerator, denominator })
    }

    pub fn numerator(self) -> u64 {
        self.numerator
    }

    pub fn denominator(self) -> u64 {
        self.denominator
    }

    /// The numerator of what is left to one, over the same denominator: the share that may be bad.
    pub fn rest(self) -> u64 {
        self.denominator - self.numerator
    }

    /// `999/1000`.
    pub fn text(self) -> String {
        format!("{}/{}", self.numerator, self.denominator)
    }
}

/// When a budget that is used up too fast is worth an alert: over a long and a short time at once, as the multi-window,
/// multi-burn-rate alerts of Google's *Site Reliability Workbook*, chapter 5, have it.
#[derive(Clone, Debug, PartialEq)]
pub struct BurnAlert {
    /// Unique within the budget.
    pub id: String,
    /// Passed on to whoever is alerted: `page`, `ticket`.
    pub severity: String,
    /// It fires when the budget is used up more than this many times as fast as would use it up exactly.
    pub above: Rate,
    pub long: Reach,
    pub short: Reach,
    /// The durations as written, for names and messages.
    pub long_text: String,
    pub short_text: String,
    /// It never fires when fewer than this many (windows or events) were seen over the long time.
    pub minimum: u64,
}

/// An exact positive number, without a common factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub numerator: u64,
    /// At least 1.
    pub denominator: u64,
}

/// What was counted of a guarantee in one scope over some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Windows that are over or, in an open period, still to come.
    pub windows: u64,
    /// Those of them of which it is known what they were.
    pub judged: u64,
    /// Those with nothing to judge: they count for nothing.
    pub not_applicable: u64,
    /// Those of which it is not known whether they were good or bad: they are neither.
    pub unknown: u64,
    /// Those of an open period that are not over.
    pub pending: u64,
    /// Windows or events that were good.
    pub good: u64,
    /// Windows or events that were bad.
    pub bad: u64,
    /// Bad ones that a waiver accepts: they belong to the population, and use up nothing.
    pub waived_bad: u64,
    /// Unknown windows that a waiver accepts.
    pub waived_unknown: u64,
}

impl Tally {
    /// What both counted together; sums stay at the greatest number there is.
    #[must_use]
    pub fn plus(self, other: Tally) -> Tally {
        self.with(other, u64::saturating_add)
    }

    /// What this counted beyond an earlier part of it.
    #[must_use]
    pub fn minus(self, earlier: Tally) -> Tally {
        self.with(earlier, u64::saturating_sub)
    }

    fn with(self, other: Tally, combine: fn(u64, u64) -> u64) -> Tally {
        Tally {
            windows: combine(self.windows, other.windows),
            judged: combine(self.judged, other.judged),
            not_applicable: combine(self.not_applicable, other.not_applicable),
            unknown: combine(self.unknown, other.unknown),
            pending: combine(self.pending, other.pending),
            good: combine(self.good, other.good),
            bad: combine(self.bad, other.bad),
            waived_bad: combine(self.waived_bad, other.waived_bad),
            waived_unknown: combine(self.waived_unknown, other.waived_unknown),
        }
    }

    /// Windows or events of which it is known what they were.
    pub fn seen(self) -> u64 {
        self.good.saturating_add(self.bad).saturating_add(self.waived_bad).saturating_add(self.waived_unknown)
    }

    /// The same with every waiver taken back.
    #[must_use]
    pub fn unwaived(self) -> Tally {
        Tally {
            bad: self.bad.saturating_add(self.waived_bad),
            unknown: self.unknown.saturating_add(self.waived_unknown),
            waived_bad: 0,
            waived_unknown: 0,
            ..self
        }
    }
}

/// What was said of a guarantee in one scope and window that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub scope: Scope,
    pub from: Timestamp,
    pub to: Timestamp,
    pub verdict: Verdict,
    /// The verdict without any waiver.
    pub unwaived: Verdict,
    /// As in [`State::values`].
    pub values: BTreeMap<String, Option<f64>>,
}

impl Outcome {
    /// What a guarantee's state says, if it was said for good.
    pub fn of(state: &State) -> Option<Outcome> {
        if state.kind != StateKind::Guarantee || state.provisional {
            return None;
        }
        Some(Outcome {
            scope: state.scope.clone(),
            from: state.window.from,
            to: state.window.to,
            verdict: state.verdict?,
            unwaived: state.unwaived()?,
            values: state.values.clone(),
        })
    }
}

/// A ratio before it is reduced: whole numbers, so that comparing never rounds. The denominator is positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ratio {
    pub numerator: i128,
    pub denominator: i128,
}

impl Ratio {
    /// `None` unless the denominator is positive.
    pub fn new(numerator: i128, denominator: i128) -> Option<Ratio> {
        (denominator > 0).then_some(Ratio { numerator, denominator })
    }

    /// Without a common factor.
    #[must_use]
    pub fn reduced(self) -> Ratio {
        let divisor = gcd(self.numerator.unsigned_abs(), self.denominator.unsigned_abs()).max(1);
        let divisor = i128::try_from(divisor).unwrap_or(1);
        Ratio { numerator: self.numerator / divisor, denominator: self.denominator / divisor }
    }

    /// The nearest binary number.
    pub fn value(self) -> f64 {
        let reduced = self.reduced();
        reduced.numerator as f64 / reduced.denominator as f64
    }

    /// As a score, where its numbers are not too great for one.
    pub fn score(self) -> Option<Score> {
        let reduced = self.reduced();
        Score::new(i64::try_from(reduced.numerator).ok()?, i64::try_from(reduced.denominator).ok()?)
    }

    /// Whether it is more than `other`; products beyond the greatest number are as good as it.
    pub fn exceeds(self, other: Ratio) -> bool {
        let (one, other) = (self.reduced(), other.reduced());
        one.numerator.saturating_mul(other.denominator) > other.numerator.saturating_mul(one.denominator)
    }

    /// What is left to one.
    #[must_use]
    pub fn rest(self) -> Ratio {
        Ratio { numerator: self.denominator - self.numerator, denominator: self.denominator }
    }
}

/// How much of a budget is used up, or how fast, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// If everything unknown was good.
    pub least: Option<Ratio>,
    /// If everything unknown was bad; `None` where there is no bound.
    pub most: Option<Ratio>,
    /// If what is unknown was like what is known; lies between the two.
    pub estimate: Option<Ratio>,
}

/// The figures of a budget or burn rate, as the evidence of its state keeps them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    pub budget: String,
    pub guarantee: String,
    /// `999/1000`.
    pub target: String,
    /// `windows` or `events`.
    pub counts: String,
    /// Of a burn rate: over its long time.
    pub tally: Tally,
    /// Share of the budget that is used up, or times too fast; each an exact fraction.
    pub used: Option<Score>,
    pub used_least: Option<Score>,
    pub used_most: Option<Score>,
    /// The verdict if nothing were waived.
    pub unwaived: Verdict,
    /// The share used up if nothing were waived.
    pub used_unwaived: Option<Score>,
    /// Starts of the windows in which something was bad, the latest first, at most [`NAMED_MAX`].
    pub bad_windows: Vec<Timestamp>,
    /// Those that are not known, likewise.
    pub unknown_windows: Vec<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burn: Option<BurnFigures>,
}

/// Windows a state names one by one.
pub const NAMED_MAX: usize = 50;

/// What only a burn rate has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BurnFigures {
    pub alert: String,
    pub severity: String,
    /// The alert fires above it.
    pub above: Score,
    pub minimum: u64,
    pub long: String,
    pub short: String,
    pub short_tally: Tally,
    pub short_rate: Option<Score>,
    pub short_least: Option<Score>,
    pub short_most: Option<Score>,
}

impl Figures {
    /// The figures of a budget's or burn rate's state; `None` for any other.
    pub fn of(state: &State) -> Option<Figures> {
        if !matches!(state.kind, StateKind::Budget | StateKind::BurnRate) {
            return None;
        }
        serde_json::from_value(state.evidence.first()?.data.clone()).ok()
    }
}

fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_reduced_and_neither_none_nor_all() {
        assert_eq!(Share::new(999, 1000).unwrap().text(), "999/1000");
        assert_eq!(Share::new(9950, 10_000).unwrap().text(), "199/200");
        for (numerator, denominator) in [(0, 1), (1, 1), (2, 1), (0, 0), (1, DENOMINATOR_MAX + 2)] {
            assert_eq!(Share::new(numerator, denominator), None, "{numerator}/{denominator}");
        }
    }

    #[test]
    fn ratios_compare_without_rounding() {
        let of = |n, d| Ratio::new(n, d).unwrap();
        let (big, one) = (i128::from(i64::MAX), of(1, 1));
        assert!(of(big, big - 1).exceeds(one) && !of(big, big).exceeds(one) && !of(big - 1, big).exceeds(one));
        assert_eq!(of(6, 4).score(), Score::new(3, 2));
        assert_eq!(of(1, 4).rest(), of(3, 4));
    }
}
