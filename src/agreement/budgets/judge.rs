//! From the verdicts of a guarantee to the states of its budget and burn rates.
//!
//! Windows are counted by their end: one belongs to a budget's period `[from, to)` when it ends after `from` and not
//! after `to`, and to an alert's time likewise. Each scope's windows are added up once, from the first on; what lies
//! between two instants is the difference of two sums of whole numbers, so a rolling period costs the same however long
//! it is, and nothing drifts.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::figures::{alert_verdict, used, verdict};
use crate::agreement::collector::canonical;
use crate::agreement::windows::back;
use crate::agreement::{Calendar, TooManyWindows};
use crate::model::RunId;
use crate::model::agreement::{Agreement, Guarantee, Reach};
use crate::model::budget::{
    Budget, BurnAlert, BurnFigures, Counts, EventMetric, Figures, NAMED_MAX, Outcome, Ratio, Tally, Used,
};
use crate::model::provenance::Digest;
use crate::model::score::Score;
use crate::model::state::{Coverage, Evidence, Scope, State, StateKind, Verdict, Window};

/// Windows of a guarantee are made in pieces of this many days, so that no range is too long.
const PIECE_DAYS: i64 = 60;
/// The greatest count that a metric gives exactly.
const COUNT_MAX: f64 = 9_007_199_254_740_992.0;

/// What is to be said of a budget, and which verdicts that takes.
#[derive(Clone, Debug)]
pub struct Due {
    /// Periods of the budget, closed ones and the open one.
    pub periods: Vec<Window>,
    /// Ends of the guarantee's windows at which burn rates are said.
    pub ends: Vec<Timestamp>,
    /// The verdicts of windows that end after `after` and not after `until` are needed.
    pub after: Timestamp,
    pub until: Timestamp,
}

/// What must be said at `now` when verdicts changed whose windows end in `changed`, both inclusive: every period and
/// burn rate they are counted in, the last closed period and the open one.
///
/// # Errors
/// When there are more periods than one call may give.
pub fn due(
    agreement: &Agreement,
    budget: &Budget,
    changed: Option<(Timestamp, Timestamp)>,
    now: Timestamp,
) -> Result<Option<Due>, TooManyWindows> {
    let Some(guarantee) = guarantee_of(agreement, budget) else { return Ok(None) };
    let calendar = Calendar::of(agreement, &budget.window);
    let mut periods: BTreeSet<Window> = calendar.last_closed(now, 1).into_iter().chain(calendar.open_at(now)).collect();
    let mut ends = Vec::new();
    if let Some((first, last)) = changed {
        let just_before = earlier(first, SignedDuration::from_nanos(1));
        let until = budget.window.reach.map_or(last, |reach| later(last, at_most(reach))).min(now);
        let found = calendar.overlapping(just_before, until)?;
        periods.extend(found.into_iter().filter(|p| p.to <= now && p.from < last && p.to >= first));
        let longest = budget.alerts.iter().map(|alert| at_most(alert.long)).max();
        if let Some(longest) = longest {
            let spec = &guarantee.terms.first().map(|term| &term.window);
            let windows = spec.map(|spec| Calendar::of(agreement, spec));
            ends = windows.map_or_else(Vec::new, |c| ending_in(&c, just_before, later(last, longest).min(now)));
        }
    }
    let ends: Vec<Timestamp> = ends.into_iter().map(|window| window.to).collect();
    let starts = periods.iter().map(|p| p.from).min();
    let alerts = ends
        .first()
        .into_iter()
        .flat_map(|end| budget.alerts.iter().filter_map(|alert| back(*end, alert.long, &agreement.time_zone)));
    let Some(after) = starts.into_iter().chain(alerts).min() else { return Ok(None) };
    let until = periods.iter().map(|p| p.to).chain(ends.last().copied()).max().unwrap_or(now);
    Ok(Some(Due { periods: periods.into_iter().collect(), ends, after, until }))
}

/// The states of a budget and its burn rates, in every scope its guarantee has. `outcomes` are the verdicts that
/// [`Due`] asks for, in any order; `now` says which windows are over; `run` is the evaluation.
pub fn states(
    agreement: &Agreement,
    budget: &Budget,
    due: &Due,
    outcomes: &[Outcome],
    run: RunId,
    now: Timestamp,
) -> Vec<State> {
    let Some(guarantee) = guarantee_of(agreement, budget) else { return Vec::new() };
    let Some(term) = guarantee.terms.first() else { return Vec::new() };
    let windows = ending_in(&Calendar::of(agreement, &term.window), due.after, due.until);
    let said = Said { agreement, budget, windows: &windows, run, now };
    let mut by_scope: BTreeMap<&Scope, Vec<&Outcome>> = BTreeMap::new();
    for outcome in outcomes {
        if guarantee.terms.iter().any(|term| term.scope.covers(&outcome.scope)) {
            by_scope.entry(&outcome.scope).or_default().push(outcome);
        }
    }
    // A scope without `*` is there even if nothing was ever said of it.
    for term in guarantee.terms.iter().filter(|term| !term.scope.has_wildcard()) {
        by_scope.entry(&term.scope).or_default();
    }
    let mut found = Vec::new();
    for (scope, outcomes) in &by_scope {
        let line = Line::new(&budget.counts, &windows, outcomes, now);
        let is_there = |from: usize, to: usize| !term_is_open(guarantee, scope) || line.known(from, to) > 0;
        // Of a scope with `*` something is to be said only where none of its members is known.
        let members = scope.has_wildcard().then(|| Line::of_members(&by_scope, scope, &windows));
        let hidden = |from, to| members.as_ref().is_some_and(|members| members.known(from, to) > 0);
        for period in &due.periods {
            let (from, to) = said.between(period.from, period.to);
            if is_there(from, to) {
                found.push(said.period(scope, period, &line, (from, to), hidden(from, to)));
            }
        }
        for (end, alert) in due.ends.iter().flat_map(|end| budget.alerts.iter().map(move |alert| (end, alert))) {
            let Some(start) = back(*end, alert.long, &agreement.time_zone) else { continue };
            let (from, to) = said.between(start, *end);
            if is_there(from, to) {
                found.extend(said.burn_rate(scope, alert, *end, &line, hidden(from, to)));
            }
        }
    }
    found
}

/// A scope that is there only where something was said of it: a member, or one with `*`.
fn term_is_open(guarantee: &Guarantee, scope: &Scope) -> bool {
    !guarantee.terms.iter().any(|term| term.scope == *scope && !term.scope.has_wildcard())
}

fn guarantee_of<'a>(agreement: &'a Agreement, budget: &Budget) -> Option<&'a Guarantee> {
    agreement.guarantees.iter().find(|guarantee| guarantee.id == budget.guarantee)
}

/// The windows that end after `after` and not after `until`, in order.
fn ending_in(calendar: &Calendar<'_>, after: Timestamp, until: Timestamp) -> Vec<Window> {
    let mut found: Vec<Window> = Vec::new();
    let mut from = after;
    while from < until {
        let to = later(from, SignedDuration::from_hours(24 * PIECE_DAYS)).min(until);
        // A piece of 60 days holds far fewer windows than one call may give.
        for window in calendar.overlapping(from, to).unwrap_or_default() {
            if window.to > after && window.to <= until && found.last().is_none_or(|last| last.to < window.to) {
                found.push(window);
            }
        }
        from = to;
    }
    found
}

/// One scope's windows, added up.
struct Line {
    /// `sums[i]` is of the first `i` windows.
    sums: Vec<Tally>,
    /// Of how many of the first `i` windows something was said.
    known: Vec<usize>,
    /// Places of the windows in which something was bad, and of those that are not known.
    bad: Vec<usize>,
    unknown: Vec<usize>,
}

impl Line {
    fn new(counts: &Counts, windows: &[Window], outcomes: &[&Outcome], now: Timestamp) -> Line {
        let said: HashMap<(Timestamp, Timestamp), &Outcome> = outcomes.iter().map(|o| ((o.from, o.to), *o)).collect();
        let mut line = Line { sums: vec![Tally::default()], known: vec![0], bad: Vec::new(), unknown: Vec::new() };
        let (mut sum, mut known) = (Tally::default(), 0);
        for (i, window) in windows.iter().enumerate() {
            let outcome = said.get(&(window.from, window.to)).copied();
            let tally = if window.to > now {
                Tally { windows: 1, pending: 1, ..Tally::default() }
            } else {
                counted(counts, outcome)
            };
            known += usize::from(outcome.is_some());
            if tally.bad > 0 {
                line.bad.push(i);
            }
            if tally.unknown > 0 {
                line.unknown.push(i);
            }
            sum = sum.plus(tally);
            line.sums.push(sum);
            line.known.push(known);
        }
        line
    }

    /// Where any member of a scope with `*` is known.
    fn of_members(by_scope: &BTreeMap<&Scope, Vec<&Outcome>>, whole: &Scope, windows: &[Window]) -> Line {
        let members = by_scope.iter().filter(|(scope, _)| !scope.has_wildcard() && whole.covers(scope));
        let said: BTreeSet<(Timestamp, Timestamp)> =
            members.flat_map(|(_, outcomes)| outcomes).map(|o| (o.from, o.to)).collect();
        let mut known = vec![0];
        for (i, window) in windows.iter().enumerate() {
            known.push(known[i] + usize::from(said.contains(&(window.from, window.to))));
        }
        Line { sums: Vec::new(), known, bad: Vec::new(), unknown: Vec::new() }
    }

    fn tally(&self, from: usize, to: usize) -> Tally {
        self.sums[to].minus(self.sums[from])
    }

    fn known(&self, from: usize, to: usize) -> usize {
        self.known[to] - self.known[from]
    }

    /// The starts of some of the windows between two places, the latest first.
    fn named(places: &[usize], windows: &[Window], from: usize, to: usize) -> Vec<Timestamp> {
        let (first, end) = (places.partition_point(|p| *p < from), places.partition_point(|p| *p < to));
        places[first..end].iter().rev().take(NAMED_MAX).map(|place| windows[*place].from).collect()
    }
}

/// What a verdict counts for in a budget, by outcome, in the order of [`rules::OUTCOMES`](super::rules::OUTCOMES).
pub fn slice(budget: &Budget, outcome: &Outcome) -> [u64; 7] {
    let tally = counted(&budget.counts, Some(outcome));
    [tally.good, tally.bad, tally.waived_bad, tally.waived_unknown, tally.judged, tally.not_applicable, tally.unknown]
}

/// What one window that is over counts for.
pub(super) fn counted(counts: &Counts, outcome: Option<&Outcome>) -> Tally {
    let one = Tally { windows: 1, ..Tally::default() };
    let unknown = Tally { unknown: 1, ..one };
    let Some(outcome) = outcome else { return unknown };
    if outcome.verdict == Verdict::NotApplicable {
        return Tally { not_applicable: 1, ..one };
    }
    let waived = outcome.verdict == Verdict::Waived;
    if let Counts::Events { events, total } = counts {
        let Some((good, bad)) = events_of(outcome, events, total) else { return unknown };
        let (bad, waived_bad) = if waived { (0, bad) } else { (bad, 0) };
        return Tally { judged: 1, good, bad, waived_bad, ..one };
    }
    match (outcome.unwaived, waived) {
        (Verdict::Fulfilled, _) => Tally { judged: 1, good: 1, ..one },
        (Verdict::Violated, false) => Tally { judged: 1, bad: 1, ..one },
        (Verdict::Violated, true) => Tally { judged: 1, waived_bad: 1, ..one },
        (_, true) => Tally { waived_unknown: 1, ..one },
        (_, false) => unknown,
    }
}

/// How many events were good and bad; `None` unless both metrics are counts that fit together.
fn events_of(outcome: &Outcome, events: &EventMetric, total: &str) -> Option<(u64, u64)> {
    let count = |metric: &str| {
        let value = outcome.values.get(metric).copied().flatten()?;
        ((0.0..=COUNT_MAX).contains(&value) && value.fract() == 0.0).then_some(value as u64)
    };
    let total = count(total)?;
    match events {
        EventMetric::Good(metric) => count(metric).and_then(|good| Some((good, total.checked_sub(good)?))),
        EventMetric::Bad(metric) => count(metric).and_then(|bad| Some((total.checked_sub(bad)?, bad))),
    }
}

/// What all states of a budget have in common.
struct Said<'a> {
    agreement: &'a Agreement,
    budget: &'a Budget,
    windows: &'a [Window],
    run: RunId,
    now: Timestamp,
}

impl Said<'_> {
    /// The places of the windows that end after `from` and not after `to`.
    fn between(&self, from: Timestamp, to: Timestamp) -> (usize, usize) {
        let start = self.windows.partition_point(|window| window.to <= from);
        (start, self.windows.partition_point(|window| window.to <= to).max(start))
    }

    fn period(&self, scope: &Scope, period: &Window, line: &Line, (from, to): (usize, usize), hidden: bool) -> State {
        let budget = self.budget;
        let tally = line.tally(from, to);
        let verdict = verdict(&budget.counts, budget.target, tally);
        let used = used(&budget.counts, budget.target, tally);
        let mut figures = self.figures(line, (from, to), tally, used);
        figures.unwaived = self::verdict(&budget.counts, budget.target, tally.unwaived());
        let mut state = self.blank(StateKind::Budget, &budget.id, scope, period.clone(), tally);
        let left = used.estimate.map(Ratio::rest);
        (state.value, state.score) = (left.map(Ratio::value), left.and_then(Ratio::score));
        state.verdict = Some(verdict);
        state.reason = self.budget_reason(tally, used);
        self.numbers(&mut state, tally, used);
        if hidden {
            hide(&mut state, &mut figures);
        }
        self.finish(state, &figures)
    }

    fn burn_rate(&self, scope: &Scope, alert: &BurnAlert, end: Timestamp, line: &Line, hidden: bool) -> Option<State> {
        let (budget, zone) = (self.budget, &self.agreement.time_zone);
        let (start, short_start) = (back(end, alert.long, zone)?, back(end, alert.short, zone)?);
        let (from, to) = self.between(start, end);
        let (short_from, _) = self.between(short_start, end);
        let (long, short) = (line.tally(from, to), line.tally(short_from.max(from), to));
        let (rate, short_rate) =
            (used(&budget.counts, budget.target, long), used(&budget.counts, budget.target, short));
        let above = Ratio { numerator: alert.above.numerator.into(), denominator: alert.above.denominator.into() };
        let calendar = Calendar::new(&budget.window, zone, self.agreement.valid_from, None);
        let of = format!("{}/{}", budget.id, alert.id);
        let mut state = self.blank(StateKind::BurnRate, &of, scope, calendar.exactly(start, end), long);
        (state.value, state.score) = (rate.estimate.map(Ratio::value), rate.estimate.and_then(Ratio::score));
        state.verdict = Some(alert_verdict(budget, alert, long, short));
        state.reason = burn_reason(alert, long, rate, short_rate);
        self.numbers(&mut state, long, rate);
        state.values.insert("short".into(), short_rate.estimate.map(Ratio::value));
        state.values.insert("above".into(), Some(above.value()));
        let mut figures = self.figures(line, (from, to), long, rate);
        figures.unwaived = alert_verdict(budget, alert, long.unwaived(), short.unwaived());
        figures.burn = Some(BurnFigures {
            alert: alert.id.clone(),
            severity: alert.severity.clone(),
            above: above.score().or_else(|| Score::new(i64::MAX, 1))?,
            minimum: alert.minimum,
            long: alert.long_text.clone(),
            short: alert.short_text.clone(),
            short_tally: short,
            short_rate: short_rate.estimate.and_then(Ratio::score),
            short_least: short_rate.least.and_then(Ratio::score),
            short_most: short_rate.most.and_then(Ratio::score),
        });
        if hidden {
            hide(&mut state, &mut figures);
        }
        Some(self.finish(state, &figures))
    }

    fn blank(&self, kind: StateKind, of: &str, scope: &Scope, window: Window, tally: Tally) -> State {
        let expected = tally.windows.saturating_sub(tally.not_applicable).saturating_sub(tally.pending);
        State {
            provisional: window.to > self.now,
            agreement_version: self.agreement.hash.clone(),
            coverage: Some(Coverage { seen: tally.judged, expected }),
            ..State::blank(&self.agreement.id, kind, of, scope.clone(), window, self.run)
        }
    }

    fn figures(&self, line: &Line, (from, to): (usize, usize), tally: Tally, figures: Used) -> Figures {
        let budget = self.budget;
        let score = |ratio: Option<Ratio>| ratio.and_then(Ratio::score);
        Figures {
            budget: budget.id.clone(),
            guarantee: budget.guarantee.clone(),
            target: budget.target.text(),
            counts: budget.counts.word().into(),
            tally,
            used: score(figures.estimate),
            used_least: score(figures.least),
            used_most: score(figures.most),
            unwaived: Verdict::Unknown,
            used_unwaived: score(used(&budget.counts, budget.target, tally.unwaived()).estimate),
            bad_windows: Line::named(&line.bad, self.windows, from, to),
            unknown_windows: Line::named(&line.unknown, self.windows, from, to),
            burn: None,
        }
    }

    /// The counts and bounds, where tables and SQL find them.
    fn numbers(&self, state: &mut State, tally: Tally, used: Used) {
        let count = |n: u64| Some(n as f64);
        let value = |ratio: Option<Ratio>| ratio.map(Ratio::value);
        let unwaived = self::used(&self.budget.counts, self.budget.target, tally.unwaived());
        for (name, number) in [
            ("used", value(used.estimate)),
            ("used_least", value(used.least)),
            ("used_most", value(used.most)),
            ("used_unwaived", value(unwaived.estimate)),
            ("good", count(tally.good)),
            ("bad", count(tally.bad)),
            ("waived", count(tally.waived_bad.saturating_add(tally.waived_unknown))),
            ("unknown_windows", count(tally.unknown)),
            ("pending_windows", count(tally.pending)),
        ] {
            state.values.insert(name.into(), number);
        }
    }

    fn finish(&self, mut state: State, figures: &Figures) -> State {
        let data = json!(figures);
        state.inputs = Some(Digest(Sha256::digest(canonical(&data)).into()));
        state.evidence = vec![Evidence {
            metric: self.budget.guarantee.clone(),
            source: format!("verdicts of {}", self.budget.guarantee),
            collected_at: self.now,
            data,
        }];
        state
    }

    fn budget_reason(&self, tally: Tally, used: Used) -> String {
        let budget = self.budget;
        let (seen, unit) = (tally.seen(), budget.counts.word());
        let mut text = format!("{} of {seen} {unit} seen were bad, {} may be", tally.bad, per_cent_left(budget));
        describe(&mut text, tally);
        match (used.least, used.most) {
            _ if used.estimate.is_none() => text.push_str("; nothing of it is known"),
            (Some(least), Some(most)) if least == most => {
                text.push_str(&format!("; {} of the budget is used up", percent(least)))
            }
            (Some(least), Some(most)) => {
                text.push_str(&format!("; between {} and {} of the budget is used up", percent(least), percent(most)));
            }
            _ => text.push_str("; how many events the others had is not known, so there are no bounds"),
        }
        text
    }
}

/// Says nothing of a scope with `*` whose members are known.
fn hide(state: &mut State, figures: &mut Figures) {
    (state.verdict, state.value, state.score) = (Some(Verdict::NotApplicable), None, None);
    state.reason = "the members of this scope have come and have budgets of their own".into();
    figures.unwaived = Verdict::NotApplicable;
}

fn burn_reason(alert: &BurnAlert, long: Tally, rate: Used, short: Used) -> String {
    let above = Ratio { numerator: alert.above.numerator.into(), denominator: alert.above.denominator.into() };
    let times = |used: Used| match (used.least, used.most) {
        (Some(least), Some(most)) if least == most => times(least),
        (Some(least), Some(most)) => format!("between {} and {}", times(least), times(most)),
        (Some(_), None) => "not known".into(),
        _ => "nothing".into(),
    };
    let mut text = format!(
        "over {} the budget is used up at {} times the rate that it allows, over {} at {}; the limit is {}",
        alert.long_text,
        times(rate),
        alert.short_text,
        times(short),
        self::times(above)
    );
    if long.seen() < alert.minimum {
        text.push_str(&format!("; {} were seen, fewer than {}", long.seen(), alert.minimum));
    }
    describe(&mut text, long);
    text
}

/// What else was counted, where there is any.
fn describe(text: &mut String, tally: Tally) {
    for (count, what) in [
        (tally.waived_bad.saturating_add(tally.waived_unknown), "accepted by a waiver"),
        (tally.unknown, "windows not known"),
        (tally.pending, "windows still to come"),
    ] {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
}

fn per_cent_left(budget: &Budget) -> String {
    let share = Ratio { numerator: budget.target.rest().into(), denominator: budget.target.denominator().into() };
    percent(share)
}

/// `83.33 %`, cut, never rounded up; `…` where there is more.
fn percent(ratio: Ratio) -> String {
    format!("{} %", cut(ratio.numerator.saturating_mul(100), ratio.denominator))
}

fn times(ratio: Ratio) -> String {
    cut(ratio.numerator, ratio.denominator)
}

fn cut(numerator: i128, denominator: i128) -> String {
    let hundredths = numerator.saturating_mul(100) / denominator;
    let more = if hundredths.saturating_mul(denominator) == numerator.saturating_mul(100) { "" } else { "…" };
    match (hundredths / 100, hundredths % 100) {
        (whole, 0) => format!("{whole}{more}"),
        (whole, rest) if rest % 10 == 0 && more.is_empty() => format!("{whole}.{}", rest / 10),
        (whole, rest) => format!("{whole}.{rest:02}{more}"),
    }
}

/// A length of time that is never less than the reach is on the clock on the wall.
fn at_most(reach: Reach) -> SignedDuration {
    let days = i64::from(reach.months) * 31 + i64::from(reach.days) + 1;
    SignedDuration::from_hours(days * 24).saturating_add(SignedDuration::from_secs(reach.seconds))
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

fn earlier(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_sub(by).unwrap_or(Timestamp::MIN)
}
