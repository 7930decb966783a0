//! Samples to states: what a guarantee's verdict is in each scope of a window, and why; and the metrics' own values.
//!
//! Nothing missing is ever taken for zero or for success. A scope whose sample is missing is undecided with a
//! reason, unless the objective is decided by what is there; two samples for one scope are as good as none.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use super::coverage;
use super::elsewhere::another_period;
use super::inputs::{Inputs, in_order};
use super::observed;
use super::penalties;
use super::queries::{Collected, Plan, Query};
use crate::expr::{self, Operand};
use crate::model::RunId;
use crate::model::agreement::{Agreement, Guarantee, Term};
use crate::model::state::{Coverage, Sample, SampleValue, Scope, State, StateKind, Verdict, Window};

/// Judges one term of a guarantee in one window: a state for each concrete scope that `collected` knows, or one with
/// the term's own scope when it has no `*` or nothing is known of its members. `run` is the evaluation; a window
/// that ends after `now` gives provisional states.
///
/// Linear in the samples given. Empty when the guarantee has no such term.
pub fn guarantee_states(
    agreement: &Agreement,
    guarantee: &Guarantee,
    term: usize,
    window: &Window,
    collected: &Collected<'_>,
    run: RunId,
    now: Timestamp,
) -> Vec<State> {
    let Some(term) = guarantee.terms.get(term) else { return Vec::new() };
    let metrics: Vec<Column<'_>> = term.with.iter().map(|(id, _)| Column::new(id, term, window, collected)).collect();
    let used = expr::metrics(&term.objective.expr);
    let frame = |scope: &Scope| State {
        provisional: window.to > now,
        agreement_version: agreement.hash.clone(),
        ..State::blank(&agreement.id, StateKind::Guarantee, &guarantee.id, scope.clone(), window.clone(), run)
    };
    rows(term, &metrics)
        .into_iter()
        .map(|(scope, cells)| {
            let mut state = frame(scope);
            judge(&mut state, term, &metrics, &cells, &used);
            state
        })
        .collect()
}

/// One metric of a term, with what was collected for it.
struct Column<'a> {
    id: &'a str,
    /// Of this window and within the term's scope.
    samples: Vec<&'a Sample>,
    /// What is said of a scope that has no sample.
    absence: String,
}

impl<'a> Column<'a> {
    fn new(id: &'a str, term: &Term, window: &Window, collected: &Collected<'a>) -> Self {
        let (samples, absence) = match collected.get(id) {
            None => (Vec::new(), "it was not collected".to_owned()),
            Some(Err(reason)) => (Vec::new(), (*reason).to_owned()),
            Some(Ok(all)) => {
                let fits = |s: &&Sample| {
                    (s.window.from, s.window.to) == (window.from, window.to) && term.scope.covers(&s.scope)
                };
                let samples: Vec<&Sample> = all.iter().filter(fits).collect();
                let absence = absence(all, window, samples.len());
                (samples, absence)
            }
        };
        Column { id, samples, absence }
    }
}

/// Why a scope has no sample although the source answered.
fn absence(all: &[Sample], window: &Window, fitting: usize) -> String {
    if all.is_empty() {
        return "the collector returned no computation".into();
    }
    if fitting > 0 {
        return "the collector returned no computation for this scope".into();
    }
    // The least of them, so that the reason does not depend on the order they came in.
    let others = all.iter().filter(|s| (s.window.from, s.window.to) != (window.from, window.to));
    match others.min_by_key(|s| (s.window.from, s.window.to)) {
        Some(other) => another_period(&other.window),
        None => {
            let least = all.iter().map(|s| &s.scope).min().map(Scope::canonical).unwrap_or_default();
            format!("the collector answered for other scopes only, such as {least}")
        }
    }
}

/// What a scope has of one metric.
#[derive(Clone, Copy)]
enum Cell<'a> {
    None,
    One(&'a Sample),
    /// More than one computation, and their number.
    Many(&'a Sample, usize),
}

impl<'a> Cell<'a> {
    fn add(&mut self, sample: &'a Sample) {
        *self = match *self {
            Cell::None => Cell::One(sample),
            Cell::One(first) => Cell::Many(first, 2),
            Cell::Many(first, n) => Cell::Many(first, n + 1),
        };
    }
}

/// The scopes to judge, sorted, each with a cell for every metric: a hash join over the scopes of all metrics.
fn rows<'a>(term: &'a Term, metrics: &[Column<'a>]) -> Vec<(&'a Scope, Vec<Cell<'a>>)> {
    let mut places: HashMap<&Scope, usize> = HashMap::new();
    let mut rows: Vec<(&Scope, Vec<Cell<'_>>)> = Vec::new();
    for (m, column) in metrics.iter().enumerate() {
        for sample in &column.samples {
            let place = *places.entry(&sample.scope).or_insert_with(|| {
                rows.push((&sample.scope, vec![Cell::None; metrics.len()]));
                rows.len() - 1
            });
            rows[place].1[m].add(sample);
        }
    }
    if rows.is_empty() {
        rows.push((&term.scope, vec![Cell::None; metrics.len()]));
    }
    rows.sort_unstable_by_key(|(scope, _)| *scope);
    rows
}

/// What a cell gives to the objective, and why it may give nothing.
fn operand<'a>(column: &'a Column<'_>, cell: Cell<'a>, unusable: &'a Unusable) -> Operand<'a> {
    match cell {
        Cell::None => Operand::Missing(&column.absence),
        Cell::Many(..) => Operand::Missing(&unusable.ambiguous),
        Cell::One(_) if !unusable.too_little.is_empty() => Operand::Withheld(&unusable.too_little),
        Cell::One(sample) if is_empty_population(sample) => Operand::Missing(EMPTY_POPULATION),
        Cell::One(sample) => match &sample.value {
            SampleValue::Bool(b) => Operand::Bool(*b),
            SampleValue::Number(n) => sample.score.map_or(Operand::Number(*n), Operand::Counted),
            SampleValue::Rounded { rounded } => Operand::Rounded(*rounded),
            SampleValue::Text(text) => Operand::Text(text),
            SampleValue::Missing { missing } => Operand::Missing(missing),
        },
    }
}

/// Why a metric has no value when its source says that nothing was there to be seen.
const EMPTY_POPULATION: &str = "its population is empty";

/// The source says that nothing was there to be seen.
fn is_empty_population(sample: &Sample) -> bool {
    sample.coverage.is_some_and(|c| c.expected == 0)
}

fn judge(state: &mut State, term: &Term, metrics: &[Column<'_>], cells: &[Cell<'_>], used: &[&str]) {
    let unusable: Vec<Unusable> = cells.iter().map(|cell| Unusable::of(cell, term)).collect();
    let operands: Vec<Operand<'_>> =
        metrics.iter().zip(cells).zip(&unusable).map(|((column, cell), why)| operand(column, *cell, why)).collect();
    let place = |name: &str| metrics.iter().position(|column| column.id == name);
    let outcome = expr::evaluate(&term.objective, &|name| {
        place(name).map_or(Operand::Missing("it is not in the term's `with`"), |m| operands[m])
    });
    state.value = outcome.value;
    state.reason = outcome.sentence(&term.objective);
    let empty = |name: &&str| place(name).is_some_and(|m| matches!(cells[m], Cell::One(s) if is_empty_population(s)));
    let without_value =
        |name: &&str| place(name).is_none_or(|m| matches!(operands[m], Operand::Missing(_) | Operand::Withheld(_)));
    let all_empty = !used.is_empty() && used.iter().all(empty);
    // Undecided only because populations are empty: there was nothing to keep the promise about.
    let of_empty =
        |reason: &String| used.iter().any(|name| empty(name) && *reason == expr::without_value(name, EMPTY_POPULATION));
    let only_empty = outcome.truth.is_none()
        && used.iter().any(empty)
        && used.iter().all(|name| empty(name) || !without_value(name))
        && outcome.missing.iter().all(of_empty);
    state.verdict = Some(match outcome.truth {
        _ if all_empty || only_empty => {
            state.value = None;
            state.reason = not_applicable(term, used.iter().filter(|n| empty(n)).copied());
            Verdict::NotApplicable
        }
        Some(true) => Verdict::Fulfilled,
        Some(false) => Verdict::Violated,
        None => Verdict::Unknown,
    });
    state.score = match state.value {
        Some(_) => expr::score(&term.objective, &|name| place(name).map_or(Operand::Missing(""), |m| operands[m])),
        None => None,
    };
    settle(state, term, &|name| {
        place(name).map_or(Operand::Missing("it is not in the term's `with`"), |m| operands[m])
    });
    gather(state, metrics, cells, &operands);
}

/// What the verdict costs and earns, and why that cannot be said.
fn settle<'a>(state: &mut State, term: &'a Term, lookup: &dyn Fn(&str) -> Operand<'a>) {
    if term.penalties.is_empty() && term.rewards.is_empty() {
        return;
    }
    let (broken, kept) = match state.verdict {
        Some(Verdict::Violated) => (Some(true), Some(false)),
        Some(Verdict::Fulfilled) => (Some(false), Some(true)),
        Some(Verdict::NotApplicable) => (Some(false), Some(false)),
        _ => (None, None),
    };
    let mut missing = Vec::new();
    state.penalties = penalties::amounts(&term.penalties, broken, lookup, &mut missing);
    state.rewards = penalties::amounts(&term.rewards, kept, lookup, &mut missing);
    for reason in missing {
        state.reason.push_str("; ");
        state.reason.push_str(&reason);
    }
}

fn not_applicable<'a>(term: &Term, metrics: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = metrics.collect();
    format!("{}: nothing to judge, the population of {} is empty", term.objective.text.trim(), names.join(" and "))
}

/// Why what a scope has of a metric is not gone by; texts are empty where that is no reason.
#[derive(Default)]
struct Unusable {
    ambiguous: String,
    too_little: String,
}

impl Unusable {
    fn of(cell: &Cell<'_>, term: &Term) -> Unusable {
        match cell {
            Cell::None => Unusable::default(),
            Cell::One(sample) => {
                Unusable { too_little: coverage::too_little(sample, term).unwrap_or_default(), ..Unusable::default() }
            }
            Cell::Many(_, n) => Unusable {
                ambiguous: format!("the collector returned {n} computations for this scope and window"),
                ..Unusable::default()
            },
        }
    }
}

/// Values, coverage and evidence, in `with` order.
fn gather(state: &mut State, metrics: &[Column<'_>], cells: &[Cell<'_>], operands: &[Operand<'_>]) {
    let mut evidence = 0;
    for ((column, cell), operand) in metrics.iter().zip(cells).zip(operands) {
        let value = match operand {
            Operand::Number(n) | Operand::Rounded(n) => Some(*n).filter(|n| n.is_finite()),
            Operand::Counted(score) => Some(score.value()),
            Operand::Bool(b) => Some(f64::from(u8::from(*b))),
            Operand::Text(_) | Operand::Withheld(_) | Operand::Missing(_) => None,
        };
        state.values.insert(column.id.to_owned(), value);
        if let Cell::One(sample) = cell {
            state.coverage = add(state.coverage, sample.coverage);
            evidence += sample.evidence.len();
        } else if let Cell::Many(..) = cell {
            evidence += of_scope(column, &state.scope).map(|s| s.evidence.len()).sum::<usize>();
        }
    }
    state.evidence = Vec::with_capacity(evidence);
    let mut inputs = Inputs::default();
    for (column, cell) in metrics.iter().zip(cells) {
        match cell {
            Cell::None => inputs.absent(column.id, &column.absence),
            Cell::One(sample) => {
                inputs.sample(sample);
                state.evidence.extend(sample.evidence.iter().cloned());
            }
            Cell::Many(..) => {
                let mut samples: Vec<&Sample> = of_scope(column, &state.scope).collect();
                in_order(&mut samples);
                samples.iter().for_each(|sample| inputs.sample(sample));
                state.evidence.extend(samples.iter().flat_map(|s| &s.evidence).cloned());
            }
        }
    }
    state.inputs = Some(inputs.finish());
}

fn of_scope<'a>(column: &Column<'a>, scope: &Scope) -> impl Iterator<Item = &'a Sample> {
    column.samples.iter().filter(move |s| s.scope == *scope).copied()
}

/// Counts of all metrics that say them, added up.
fn add(a: Option<Coverage>, b: Option<Coverage>) -> Option<Coverage> {
    match (a, b) {
        (Some(a), Some(b)) => {
            Some(Coverage { seen: a.seen.saturating_add(b.seen), expected: a.expected.saturating_add(b.expected) })
        }
        (one, other) => one.or(other),
    }
}

/// The metrics' own states, from all answers: one for each metric, scope and window. `answers[i]` answers
/// `plan.queries[i]`. What an answer says of other windows and scopes than its question's is no state of theirs: nobody
/// asked about them, or was answered about them elsewhere. Where several answers are about one of them, as for `*` and for
/// one of its members, one with a value stands.
pub fn metrics_states(
    agreement: &Agreement,
    plan: &Plan,
    answers: &[Result<Vec<Sample>, String>],
    run: RunId,
    now: Timestamp,
) -> Vec<State> {
    let place = |query: &'_ Query| (query.window.from, query.window.to);
    let mut asked: HashMap<(&str, (Timestamp, Timestamp)), usize> = HashMap::new();
    for query in &plan.queries {
        *asked.entry((&query.state_name, place(query))).or_default() += 1;
    }
    let mut found: Vec<State> = Vec::new();
    let (mut with_value, mut without) = (Vec::new(), Vec::new());
    for (query, answer) in plan.queries.iter().zip(answers) {
        let states = metric_states(agreement, query, answer, run, now);
        if asked[&(query.state_name.as_str(), place(query))] == 1 {
            found.extend(states);
            continue;
        }
        for state in states {
            match observed::value(&state, &query.metric) {
                SampleValue::Missing { .. } => without.push(state),
                _ => with_value.push(state),
            }
        }
    }
    let mut seen = HashSet::new();
    let mut first = |s: &State| seen.insert((s.of.clone(), s.scope.canonical(), s.window.from, s.window.to));
    found.extend(with_value.into_iter().chain(without).filter(|state| first(state)));
    found
}

/// The states of a metric itself in the window it was asked for, from the answer to one query: one for each scope that
/// was answered about, or one without value in the query's own scope that says what failed.
fn metric_states(
    agreement: &Agreement,
    query: &Query,
    answer: &Result<Vec<Sample>, String>,
    run: RunId,
    now: Timestamp,
) -> Vec<State> {
    let window = &query.window;
    let frame = |scope: &Scope, reason: String| State {
        reason,
        provisional: window.to > now,
        agreement_version: agreement.hash.clone(),
        ..State::blank(&agreement.id, StateKind::Metric, &query.state_name, scope.clone(), window.clone(), run)
    };
    let nothing = |reason: &str| {
        let mut inputs = Inputs::default();
        inputs.absent(&query.metric, reason);
        let mut state = frame(&query.scope, expr::without_value(&query.metric, reason));
        state.inputs = Some(inputs.finish());
        vec![state]
    };
    let answer = match answer {
        Err(reason) => return nothing(reason),
        Ok(answer) => answer,
    };
    let samples: Vec<&Sample> = answer.iter().filter(|sample| query.is_answered_by(sample)).collect();
    if samples.is_empty() {
        return nothing(&absence(answer, &query.window, 0));
    }
    let mut places: HashMap<&Scope, usize> = HashMap::with_capacity(samples.len());
    let mut found: Vec<Vec<&Sample>> = Vec::with_capacity(samples.len());
    for sample in samples {
        let place = *places.entry(&sample.scope).or_insert_with(|| {
            found.push(Vec::with_capacity(1));
            found.len() - 1
        });
        found[place].push(sample);
    }
    let state_of = |mut samples: Vec<&Sample>| {
        in_order(&mut samples);
        let mut state = frame(&samples[0].scope, String::new());
        let mut inputs = Inputs::default();
        samples.iter().for_each(|sample| inputs.sample(sample));
        state.inputs = Some(inputs.finish());
        state.evidence.extend(samples.iter().flat_map(|s| &s.evidence).cloned());
        match samples.as_slice() {
            [one] => measured(&mut state, query, one),
            several => {
                state.values.insert(query.metric.clone(), None);
                state.reason = format!(
                    "{} has no value: the collector returned {} computations for this scope and window",
                    query.metric,
                    several.len()
                );
            }
        }
        state
    };
    found.into_iter().map(state_of).collect()
}

fn measured(state: &mut State, query: &Query, sample: &Sample) {
    let metric = &query.metric;
    (state.value, state.reason) = match &sample.value {
        _ if is_empty_population(sample) => (None, expr::without_value(metric, EMPTY_POPULATION)),
        SampleValue::Number(n) => {
            let text = sample.score.map_or_else(|| expr::number_text(*n), expr::counted_text);
            (Some(*n), format!("{metric} is {text}"))
        }
        SampleValue::Rounded { rounded } => {
            (Some(*rounded), format!("{metric} is {}{}", expr::number_text(*rounded), super::rounded::SAID))
        }
        SampleValue::Bool(b) => (Some(f64::from(u8::from(*b))), format!("{metric} is {b}")),
        SampleValue::Text(text) => (None, format!("{metric} is '{text}'")),
        SampleValue::Missing { missing } => (None, expr::without_value(metric, missing)),
    };
    state.coverage = sample.coverage;
    state.score = sample.score.filter(|_| state.value.is_some());
    state.values.insert(metric.clone(), state.value);
}
