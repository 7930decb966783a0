//! Why a budget or burn rate is as it is: what used it up, which windows, and how far it is from being exhausted.
//!
//! A state of a budget keeps its exact figures with it; what is added here is the verdicts of the windows they name.

use jiff::Timestamp;
use serde::Serialize;

use crate::agreement::explain::verdict_id;
use crate::agreement::explain::words::{Language, scope_text, short};
use crate::model::RunId;
use crate::model::agreement::Agreement;
use crate::model::budget::{Budget, Counts, EventMetric, Figures, Ratio, Tally};
use crate::model::provenance::Digest;
use crate::model::score::Score;
use crate::model::state::{Scope, State, StateKind, StoredState, Verdict, Window};

/// Why a budget or burn rate is as it is.
#[derive(Clone, Debug, Serialize)]
pub struct BudgetExplanation {
    /// `agreement/budget/scope/window`, as `probity explain --budget` takes it; of a burn rate `budget%2Falert`.
    pub id: String,
    /// `budget` or `burn-rate`.
    pub kind: &'static str,
    pub agreement: String,
    pub budget: String,
    pub scope: Scope,
    pub window: Window,
    pub verdict: Verdict,
    pub provisional: bool,
    /// The sentence stored with the state, in English.
    pub reason: String,
    /// Of a budget the share that is left, of a burn rate how many times too fast.
    pub value: Option<f64>,
    pub score: Option<Score>,
    pub figures: Figures,
    /// How much more may be bad: of the budget's period, or over the alert's long time.
    pub distance: Distance,
    /// Over the alert's short time; an alert fires when both are used up.
    pub short_distance: Option<Distance>,
    /// The windows in which something was bad, the latest first, at most [`NAMED_MAX`](crate::model::budget::NAMED_MAX).
    pub consumed_by: Vec<Consumer>,
    /// Those that are not known, likewise.
    pub unknown: Vec<Consumer>,
    pub revision: u32,
    pub recorded_at: Timestamp,
    pub run: RunId,
    pub agreement_version: String,
    /// SHA-256 of the figures.
    pub inputs: Option<Digest>,
    /// The agreement loaded now is another version, so the budget may be another one.
    pub agreement_changed: bool,
}

/// How far it is to exhaustion, or to the limit of an alert, in whole windows or events of the population there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Distance {
    /// Windows or events that count: known, not known and, of windows, still to come.
    pub population: u64,
    /// So many of them may be bad before the budget is exceeded, or the rate above its limit.
    pub may_be_bad: u64,
    pub bad: u64,
    pub unknown: u64,
    /// So many more may be bad if nothing unknown was; below 0, so many are too many.
    pub left_most: i64,
    /// If everything unknown was bad; absent where nobody knows how many events that were.
    pub left_least: Option<i64>,
}

/// A window, and what it took of the budget.
#[derive(Clone, Debug, Serialize)]
pub struct Consumer {
    pub from: Timestamp,
    pub to: Option<Timestamp>,
    /// As `probity explain` takes it; absent when no verdict of it is stored.
    pub verdict_id: Option<String>,
    pub verdict: Option<Verdict>,
    pub reason: String,
    /// Bad windows (1) or events in it.
    pub bad: Option<u64>,
    /// The share of the budget that this is; of a burn rate, how much it adds to it.
    pub share: Option<Score>,
}

/// Explains a stored state of a budget or burn rate; `None` for any other. `verdicts` are the last revisions of the
/// verdicts of its guarantee in the windows that its figures name, as far as they are stored.
pub fn explain(
    agreement: Option<&Agreement>,
    stored: &StoredState,
    verdicts: &[StoredState],
) -> Option<BudgetExplanation> {
    let state = &stored.state;
    let figures = Figures::of(state)?;
    let budget = agreement.and_then(|a| a.budgets.iter().find(|b| b.id == figures.budget));
    let changed = agreement.is_none_or(|a| a.hash != state.agreement_version);
    let share = share(&figures)?;
    let limit = figures.burn.as_ref().map_or(ONE, |burn| ratio(burn.above));
    let events = figures.counts == "events";
    let consumer = |from: &Timestamp| {
        let found = verdicts.iter().map(|v| &v.state).find(|v| v.window.from == *from && v.scope == state.scope);
        let bad = found.and_then(|v| bad_in(budget.filter(|_| !changed), events, v));
        Consumer {
            from: *from,
            to: found.map(|v| v.window.to),
            verdict_id: found.map(|v| verdict_id(&v.agreement, &v.of, &v.scope, v.window.from)),
            verdict: found.and_then(|v| v.verdict),
            reason: found.map_or_else(String::new, |v| v.reason.clone()),
            share: bad.and_then(|bad| part(bad, population(&figures.tally, events), share)),
            bad,
        }
    };
    let mut unknown: Vec<Consumer> = figures.unknown_windows.iter().map(consumer).collect();
    unknown.iter_mut().for_each(|window| (window.bad, window.share) = (None, None));
    Some(BudgetExplanation {
        id: verdict_id(&state.agreement, &state.of, &state.scope, state.window.from),
        kind: state.kind.as_str(),
        agreement: state.agreement.clone(),
        budget: figures.budget.clone(),
        scope: state.scope.clone(),
        window: state.window.clone(),
        verdict: state.verdict?,
        provisional: state.provisional,
        reason: state.reason.clone(),
        value: state.value,
        score: state.score,
        distance: distance(&figures.tally, events, share, limit),
        short_distance: figures.burn.as_ref().map(|burn| distance(&burn.short_tally, events, share, limit)),
        consumed_by: figures.bad_windows.iter().map(consumer).collect(),
        unknown,
        figures,
        revision: stored.revision,
        recorded_at: stored.recorded_at,
        run: state.run,
        agreement_version: state.agreement_version.clone(),
        inputs: state.inputs,
        agreement_changed: changed,
    })
}

/// The windows of the guarantee whose verdicts [`explain`] needs, by their starts.
pub fn windows_needed(state: &State) -> Vec<Timestamp> {
    let Some(figures) = Figures::of(state) else { return Vec::new() };
    let mut found = [figures.bad_windows, figures.unknown_windows].concat();
    found.sort_unstable();
    found.dedup();
    found
}

/// The guarantee whose verdicts it was counted from.
pub fn guarantee(state: &State) -> Option<String> {
    matches!(state.kind, StateKind::Budget | StateKind::BurnRate).then(|| Figures::of(state).map(|f| f.guarantee))?
}

const ONE: Ratio = Ratio { numerator: 1, denominator: 1 };

fn ratio(score: Score) -> Ratio {
    Ratio { numerator: score.numerator().into(), denominator: score.denominator().into() }
}

/// The share that may be bad, from the target as the figures have it: `199/200` leaves one in 200.
fn share(figures: &Figures) -> Option<Ratio> {
    let (numerator, denominator) = figures.target.split_once('/')?;
    let (numerator, denominator): (i128, i128) = (numerator.parse().ok()?, denominator.parse().ok()?);
    Ratio::new(denominator - numerator, denominator)
}

fn population(tally: &Tally, events: bool) -> u64 {
    let seen = tally.seen();
    // Nobody knows how many events an unknown window had, nor how many are still to come.
    if events { seen } else { seen.saturating_add(tally.unknown).saturating_add(tally.pending) }
}

/// `bad` of `population`, by the share that may be bad.
fn part(bad: u64, population: u64, share: Ratio) -> Option<Score> {
    let numerator = i128::from(bad).checked_mul(share.denominator)?;
    let denominator = i128::from(population).checked_mul(share.numerator)?;
    Ratio::new(numerator, denominator)?.score()
}

fn distance(tally: &Tally, events: bool, share: Ratio, limit: Ratio) -> Distance {
    let population = population(tally, events);
    // Exceeded when bad / population > share × limit: the greatest whole number that does not is what may be bad.
    let may = i128::from(population).saturating_mul(share.numerator).saturating_mul(limit.numerator)
        / share.denominator.saturating_mul(limit.denominator).max(1);
    // More than there are cannot be bad.
    let may = u64::try_from(may).unwrap_or(u64::MAX).min(population);
    let left = |bad: u64| i64::try_from(i128::from(may) - i128::from(bad)).unwrap_or(i64::MIN);
    let bounded = !events || tally.unknown == 0;
    Distance {
        population,
        may_be_bad: may,
        bad: tally.bad,
        unknown: tally.unknown,
        left_most: left(tally.bad),
        left_least: bounded.then(|| left(tally.bad.saturating_add(if events { 0 } else { tally.unknown }))),
    }
}

/// What was bad in a window: itself, or the events its metrics count. Those of a budget that is another one now are not
/// known.
fn bad_in(budget: Option<&Budget>, events: bool, verdict: &State) -> Option<u64> {
    if !events {
        return Some(u64::from(verdict.verdict == Some(Verdict::Violated)));
    }
    let Counts::Events { events, total } = &budget?.counts else { return None };
    let count = |metric: &str| {
        let value = verdict.values.get(metric).copied().flatten()?;
        (value >= 0.0 && value.fract() == 0.0 && value <= 9_007_199_254_740_992.0).then_some(value as u64)
    };
    match events {
        EventMetric::Bad(metric) => count(metric),
        EventMetric::Good(metric) => count(total)?.checked_sub(count(metric)?),
    }
}

impl BudgetExplanation {
    /// The explanation as lines of text; a line that belongs to the one before starts with two blanks.
    pub fn lines(&self, language: Language) -> Vec<String> {
        let say = |key: &str, values: &[(&str, &str)]| language.say(key, values);
        let unit = say(if self.figures.counts == "events" { "unit-events" } else { "unit-windows" }, &[]);
        let (is_rate, verdict) = (self.figures.burn.is_some(), say(self.verdict.as_str(), &[]));
        let mut lines = vec![say(
            if is_rate { "rate-title" } else { "budget-title" },
            &[
                ("budget", &self.budget),
                ("alert", self.figures.burn.as_ref().map_or("", |burn| &burn.alert)),
                ("agreement", &self.agreement),
                ("verdict", &verdict),
                ("scope", &scope_text(&self.scope, language)),
                ("window", &self.window.text()),
            ],
        )];
        if self.provisional {
            lines.push(say("provisional", &[]));
        }
        if self.agreement_changed {
            lines.push(say("version-changed", &[("version", short(&self.agreement_version))]));
        }
        lines.push(say("said", &[("reason", &self.reason)]));
        let target = [("guarantee", self.figures.guarantee.as_str()), ("target", &self.figures.target)];
        lines.push(say("budget-target", &target));
        lines.push(self.far(&self.distance, "budget-may", &unit, language));
        if let Some(short) = &self.short_distance {
            lines.push(self.far(short, "rate-short", &unit, language));
        }
        for (title, windows) in [("budget-consumed", &self.consumed_by), ("budget-unknown", &self.unknown)] {
            if windows.is_empty() {
                continue;
            }
            lines.push(say(title, &[("count", &windows.len().to_string())]));
            lines.extend(windows.iter().map(|window| format!("  {}", consumed(window, &unit, language))));
        }
        if self.consumed_by.is_empty() {
            lines.push(say("budget-untouched", &[]));
        }
        lines.push(say(
            "chain",
            &[
                ("revision", &self.revision.to_string()),
                ("at", &self.recorded_at.to_string()),
                ("run", &self.run.to_string()),
                ("version", short(&self.agreement_version)),
            ],
        ));
        lines
    }

    fn far(&self, distance: &Distance, key: &str, unit: &str, language: Language) -> String {
        let say = |key: &str, values: &[(&str, &str)]| language.say(key, values);
        let number = |n: u64| n.to_string();
        let mut line = say(
            key,
            &[
                ("bad", &number(distance.bad)),
                ("population", &number(distance.population)),
                ("may", &number(distance.may_be_bad)),
                ("unit", unit),
                ("length", self.figures.burn.as_ref().map_or("", |burn| &burn.short)),
            ],
        );
        let left = |n: i64| match n {
            0.. => say("budget-left", &[("left", &n.to_string())]),
            _ => say("budget-exceeded", &[("over", &n.unsigned_abs().to_string())]),
        };
        line.push_str(": ");
        line.push_str(&left(distance.left_most));
        match distance.left_least {
            Some(least) if least != distance.left_most => {
                line.push_str(&say("budget-if-bad", &[("left", &left(least))]));
            }
            None => line.push_str(&say("budget-no-bound", &[])),
            Some(_) => {}
        }
        line
    }
}

fn consumed(window: &Consumer, unit: &str, language: Language) -> String {
    let mut line = window.from.to_string();
    if let (Some(bad), Some(share)) = (window.bad, window.share) {
        let share = crate::expr::number_text((share.value() * 10_000.0).floor() / 100.0);
        let values = [("bad", &*bad.to_string()), ("share", &share), ("unit", unit)];
        line.push_str(&language.say("budget-part", &values));
    }
    if !window.reason.is_empty() {
        line.push_str(&format!(": {}", window.reason));
    }
    line
}
