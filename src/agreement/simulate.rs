//! A changed agreement over stored evidence: which verdicts would be others.
//!
//! Purely: [`answers`] says what the store holds of what the candidate asks, [`compare`] sets the verdicts it comes to
//! beside the stored ones. What is not stored is never made up: a metric whose collector, measure or parameters were
//! changed, a window that was cut otherwise, a member nobody asked about has no value, for that reason.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use super::budgets::compare::BudgetChange;
use super::explain::terms;
use super::observed;
use super::queries::{Plan, Query, state_name};
use crate::expr::{self, Operand};
use crate::model::agreement::{Agreement, Term};
use crate::model::state::{Sample, SampleValue, Scope, State, StoredState, Verdict, Window};

pub mod words;

/// What a candidate would change.
#[derive(Clone, Debug, Serialize)]
pub struct Simulation {
    /// The agreement whose evidence is used, and its version.
    pub agreement: String,
    pub current: String,
    /// Hash of the candidate.
    pub candidate: String,
    pub from: Timestamp,
    pub to: Timestamp,
    /// Verdicts that are the same.
    pub same: usize,
    /// Verdicts that are others, by window, guarantee and scope.
    pub flips: Vec<Flip>,
    /// Verdicts of the candidate that nothing stored stands for.
    pub added: Vec<Flip>,
    /// Stored verdicts that the candidate does not give.
    pub removed: Vec<Flip>,
    /// The earliest flip.
    pub first: Option<Flip>,
    /// The flip that the fewest values decide; of several the earliest.
    pub smallest: Option<Flip>,
    /// How many verdicts there are of each kind, stored and under the candidate.
    pub before: BTreeMap<String, usize>,
    pub after: BTreeMap<String, usize>,
    /// Sums of penalties by name.
    pub penalties: Vec<Sum>,
    /// States of budgets and burn rates that are others, new or gone, and how many there are that are none of these.
    pub budgets: Vec<BudgetChange>,
    pub budgets_same: usize,
    /// Why values were not at hand, each with how many questions it left open.
    pub not_stored: BTreeMap<String, usize>,
    /// Stored verdicts of other versions than the current agreement. Their values are used like all others, though what
    /// those versions asked their collectors for is not known any more.
    pub other_versions: usize,
}

/// One verdict, before and after.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Flip {
    pub guarantee: String,
    pub scope: Scope,
    pub window: Window,
    /// As they stand, under the waivers of each side.
    pub before: Option<Verdict>,
    pub after: Option<Verdict>,
    /// What a waived one is without its waiver.
    pub unwaived_before: Option<Verdict>,
    pub unwaived_after: Option<Verdict>,
    /// The sentence of the stored verdict, and of the candidate's.
    pub reason_before: Option<String>,
    pub reason_after: Option<String>,
    /// Values the candidate's objective was evaluated with.
    pub values: BTreeMap<String, Option<f64>>,
    /// The fewest metrics that decide it under the candidate.
    pub decided_by: Vec<String>,
}

/// A penalty's sum over all verdicts; verdicts whose penalty cannot be said are counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Sum {
    pub over: String,
    pub before: f64,
    pub after: f64,
    pub unsaid_before: usize,
    pub unsaid_after: usize,
}

impl Simulation {
    /// Whether any verdict or budget is another, or there at all only on one side.
    pub fn changes_something(&self) -> bool {
        let verdicts = self.flips.is_empty() && self.added.is_empty() && self.removed.is_empty();
        !(verdicts && self.budgets.is_empty())
    }
}

/// How the reason begins for which a value is not at hand.
const NOT_STORED: &str = "it is not stored";
/// Nothing was collected in this window.
pub const NOT_OF_WINDOW: &str = "it is not stored for this window";
const NOT_OF_SCOPE: &str = "it is not stored for this scope";
const NEW_METRIC: &str = "it is not stored: the current agreement has no such metric";
const OTHER_MEASURE: &str = "it is not stored: its collector or its measure is another in the current agreement";
const OTHER_PARAMETERS: &str = "it is not stored: the current agreement never asks for it with these parameters";

/// Leaves out what is no change of the candidate's: windows that the current agreement has too and in which nobody has
/// judged the guarantee, and stored verdicts that neither agreement would give, for they are of an earlier version with
/// other windows or scopes. Gives how many questions are left out with them.
pub fn leave_out_incomparable(
    plan: &mut Plan,
    candidate: &Agreement,
    (current, planned): (&Agreement, &Plan),
    verdicts: &mut Vec<StoredState>,
) -> usize {
    let (now, then) = (Places::of(current, planned), Places::of(candidate, plan));
    verdicts.retain(|stored| now.has(&stored.state) || then.has(&stored.state));
    let judged: HashSet<_> = verdicts.iter().map(|s| window_of(&s.state.of, &s.state.window)).collect();
    let is_new: Vec<bool> = plan
        .judgements
        .iter()
        .map(|judgement| {
            let place = window_of(&candidate.guarantees[judgement.guarantee].id, &judgement.window);
            judged.contains(&place) || !now.0.contains_key(&place)
        })
        .collect();
    let (mut is_new, asked) = (is_new.into_iter(), plan.queries.len());
    plan.retain(|_| is_new.next().unwrap_or(false));
    asked - plan.queries.len()
}

/// A window of a guarantee.
type WindowOf<'s> = (&'s str, Timestamp, Timestamp);

fn window_of<'s>(guarantee: &'s str, window: &Window) -> WindowOf<'s> {
    (guarantee, window.from, window.to)
}

/// The scopes that an agreement's terms judge, by guarantee and window.
struct Places<'a>(HashMap<WindowOf<'a>, Vec<&'a Scope>>);

impl<'a> Places<'a> {
    fn of(agreement: &'a Agreement, plan: &Plan) -> Places<'a> {
        let mut places: HashMap<WindowOf<'a>, Vec<&Scope>> = HashMap::new();
        for judgement in &plan.judgements {
            let guarantee = &agreement.guarantees[judgement.guarantee];
            let scopes = places.entry(window_of(&guarantee.id, &judgement.window)).or_default();
            scopes.push(&guarantee.terms[judgement.term].scope);
        }
        Places(places)
    }

    fn has(&self, state: &State) -> bool {
        let scopes = self.0.get(&window_of(&state.of, &state.window));
        scopes.is_some_and(|scopes| scopes.iter().any(|scope| scope.covers(&state.scope)))
    }
}

/// What the store holds of what a candidate's plan asks: one answer for each query, and why there is none.
pub fn answers(
    current: &Agreement,
    candidate: &Agreement,
    plan: &Plan,
    metrics: &[StoredState],
) -> Vec<Result<Vec<Sample>, String>> {
    let mut by_window: HashMap<(&str, Timestamp, Timestamp), Vec<&State>> = HashMap::new();
    for stored in metrics {
        let state = &stored.state;
        by_window.entry((&state.of, state.window.from, state.window.to)).or_default().push(state);
    }
    let mut names: HashMap<(String, String), Result<String, String>> = HashMap::new();
    let mut answer = |query: &Query| {
        let params = super::collector::canonical(&Value::Object(query.params.clone()));
        let name = names
            .entry((query.metric.clone(), params))
            .or_insert_with(|| stored_name(current, candidate, &query.metric, &query.params))
            .clone()?;
        let window = &query.window;
        let here = by_window.get(&(name.as_str(), window.from, window.to)).map(Vec::as_slice).unwrap_or_default();
        observed::answer(query, here.iter().copied())
            .unwrap_or_else(|| Err(if here.is_empty() { NOT_OF_WINDOW } else { NOT_OF_SCOPE }.to_owned()))
    };
    plan.queries.iter().map(&mut answer).collect()
}

/// Leaves out of the answers about all members who is known from being asked about by name only, such as a total beside
/// them: the current agreement asks about all members too, and has no verdict of this one from that.
pub fn leave_out_named(
    current: &Agreement,
    plan: &Plan,
    verdicts: &[StoredState],
    answers: &mut [Result<Vec<Sample>, String>],
) {
    let mut by_name: HashSet<(&str, &Scope)> = HashSet::new();
    // By guarantee, the metrics that it asks about all members.
    let mut of_all: HashMap<&str, HashSet<&str>> = HashMap::new();
    for guarantee in &current.guarantees {
        for term in &guarantee.terms {
            let metrics = term.with.iter().map(|(metric, _)| metric.as_str());
            if term.scope.has_wildcard() {
                of_all.entry(&guarantee.id).or_default().extend(metrics);
            } else {
                by_name.extend(metrics.map(|metric| (metric, &term.scope)));
            }
        }
    }
    by_name.retain(|(metric, _)| of_all.values().any(|metrics| metrics.contains(metric)));
    if by_name.is_empty() {
        return;
    }
    let mut judged: HashSet<(&str, &Scope, Timestamp, Timestamp)> = HashSet::new();
    for state in verdicts.iter().map(|stored| &stored.state) {
        for metric in of_all.get(state.of.as_str()).into_iter().flatten() {
            if by_name.contains(&(*metric, &state.scope)) {
                judged.insert((*metric, &state.scope, state.window.from, state.window.to));
            }
        }
    }
    for (query, answer) in plan.queries.iter().zip(answers) {
        let Ok(samples) = answer else { continue };
        if !query.scope.has_wildcard() || samples.is_empty() {
            continue;
        }
        let (metric, from, to) = (query.metric.as_str(), query.window.from, query.window.to);
        samples.retain(|sample| {
            !by_name.contains(&(metric, &sample.scope)) || judged.contains(&(metric, &sample.scope, from, to))
        });
        if samples.is_empty() {
            *answer = Err(NOT_OF_SCOPE.to_owned());
        }
    }
}

/// A question about a scope in a window: metric, parameters, the scope asked about, and the one that is answered about.
type Asked<'s> = (&'s str, String, &'s Scope, &'s Scope, Timestamp, Timestamp);

/// Puts into the answers what the stored verdicts were judged from, where what is stored of a metric is another answer (see
/// [`asked_both_ways`](super::queries::asked_both_ways)). `again` are the verdicts that the current agreement comes to from
/// what is stored. Of a value only its number is known then: of one that was a text, or was rounded, that much is lost.
pub fn put_right(
    current: &Agreement,
    plan: &Plan,
    verdicts: &[StoredState],
    again: &[State],
    answers: &mut [Result<Vec<Sample>, String>],
) {
    let own = verdicts.iter().map(|stored| &stored.state).filter(|state| state.agreement_version == current.hash);
    let given: HashMap<Place<'_>, &State> = own.filter(|s| s.inputs.is_some()).map(|s| (place(s), s)).collect();
    let mut values: HashMap<Asked<'_>, Option<f64>> = HashMap::new();
    for state in again {
        let Some(given) = given.get(&place(state)).filter(|given| given.inputs != state.inputs) else { continue };
        let terms = terms(current, &state.of, &state.scope, &state.window);
        for (term, (metric, params)) in terms.iter().flat_map(|term| term.with.iter().map(move |with| (term, with))) {
            // The verdict of several terms has one value of a metric, whichever of them asked for it.
            let asks = |other: &&&Term| other.with.iter().any(|with| with.0 == *metric);
            let is_one = terms.iter().filter(asks).count() == 1;
            if is_one && state.values.get(metric) != given.values.get(metric) {
                let params = super::collector::canonical(&Value::Object(params.clone()));
                let asked = (metric.as_str(), params, &term.scope, &given.scope, given.window.from, given.window.to);
                values.insert(asked, given.values.get(metric).copied().flatten());
            }
        }
    }
    if values.is_empty() {
        return;
    }
    for (query, answer) in plan.queries.iter().zip(answers) {
        let params = super::collector::canonical(&Value::Object(query.params.clone()));
        for sample in answer.iter_mut().flatten() {
            let asked =
                (&*query.metric, params.clone(), &query.scope, &sample.scope, query.window.from, query.window.to);
            let Some(value) = values.get(&asked) else { continue };
            let none = || SampleValue::Missing { missing: "it had none when this was judged".to_owned() };
            sample.value = value.map_or_else(none, SampleValue::Number);
            (sample.score, sample.coverage) = (None, None);
        }
    }
}

/// What the stored states of a candidate's metric are named, when they answer the same question.
fn stored_name(
    current: &Agreement,
    candidate: &Agreement,
    metric: &str,
    params: &Map<String, Value>,
) -> Result<String, String> {
    let (Some(new), Some(old)) = (candidate.metrics.get(metric), current.metrics.get(metric)) else {
        return Err(NEW_METRIC.into());
    };
    if new.collector != old.collector || new.measure != old.measure {
        return Err(OTHER_MEASURE.into());
    }
    let mut uses = current.guarantees.iter().flat_map(|g| &g.terms).flat_map(|t| &t.with);
    if !uses.any(|(id, given)| id == metric && given == params) {
        return Err(OTHER_PARAMETERS.into());
    }
    Ok(state_name(current, metric, params))
}

/// Identity of a verdict within an agreement.
type Place<'s> = (Timestamp, Timestamp, &'s str, &'s Scope);

fn place(state: &State) -> Place<'_> {
    (state.window.from, state.window.to, &state.of, &state.scope)
}

/// Sets a candidate's verdicts beside the stored ones of `[from, to)`, each under the waivers that were applied to it.
/// `answers` are those the verdicts were made from.
pub fn compare(
    current: &Agreement,
    candidate: &Agreement,
    (from, to): (Timestamp, Timestamp),
    stored: &[StoredState],
    judged: &[State],
    answers: &[Result<Vec<Sample>, String>],
) -> Simulation {
    let before: BTreeMap<Place<'_>, &State> =
        stored.iter().map(|s| &s.state).filter(|s| s.verdict.is_some()).map(|s| (place(s), s)).collect();
    let after: BTreeMap<Place<'_>, &State> =
        judged.iter().filter(|s| s.verdict.is_some()).map(|s| (place(s), s)).collect();
    let mut simulation = Simulation {
        agreement: current.id.clone(),
        current: current.hash.clone(),
        candidate: candidate.hash.clone(),
        from,
        to,
        same: 0,
        flips: Vec::new(),
        added: Vec::new(),
        removed: Vec::new(),
        first: None,
        smallest: None,
        before: counts(before.values().copied()),
        after: counts(after.values().copied()),
        penalties: sums(before.values().copied(), after.values().copied()),
        budgets: Vec::new(),
        budgets_same: 0,
        not_stored: BTreeMap::new(),
        other_versions: before.values().filter(|state| state.agreement_version != current.hash).count(),
    };
    for (place, new) in &after {
        match before.get(place) {
            Some(old) if old.verdict == new.verdict => simulation.same += 1,
            Some(old) => simulation.flips.push(flip(candidate, Some(old), Some(new))),
            None => simulation.added.push(flip(candidate, None, Some(new))),
        }
    }
    for (place, old) in before.iter().filter(|(place, old)| !after.contains_key(*place) && !is_outdated(old)) {
        debug_assert_eq!(place.2, old.of);
        simulation.removed.push(flip(candidate, Some(old), None));
    }
    simulation.first = simulation.flips.first().cloned();
    // An undecided one has no deciding values; it rests on all that are missing.
    let size = |f: &&Flip| if f.decided_by.is_empty() { f.values.len() } else { f.decided_by.len() };
    simulation.smallest = simulation.flips.iter().min_by_key(size).cloned();
    for reason in answers.iter().filter_map(|a| a.as_ref().err()).filter(|reason| reason.starts_with(NOT_STORED)) {
        *simulation.not_stored.entry(reason.clone()).or_default() += 1;
    }
    simulation
}

/// A scope with `*` whose members have come is not applicable and is not judged again.
pub fn is_outdated(state: &State) -> bool {
    state.scope.has_wildcard() && state.verdict == Some(Verdict::NotApplicable)
}

fn counts<'s>(states: impl Iterator<Item = &'s State>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for verdict in states.filter_map(|state| state.verdict) {
        *counts.entry(verdict.as_str().to_owned()).or_default() += 1;
    }
    counts
}

fn sums<'s>(before: impl Iterator<Item = &'s State>, after: impl Iterator<Item = &'s State>) -> Vec<Sum> {
    /// What is said of each side, and how many cannot be said.
    type Side = (Vec<f64>, usize);
    fn take<'s>(states: impl Iterator<Item = &'s State>, into: &mut BTreeMap<&'s str, [Side; 2]>, side: usize) {
        for (over, amount) in states.flat_map(|state| &state.penalties) {
            let side = &mut into.entry(over).or_default()[side];
            match amount {
                Some(amount) => side.0.push(*amount),
                None => side.1 += 1,
            }
        }
    }
    let mut sums: BTreeMap<&str, [Side; 2]> = BTreeMap::new();
    take(before, &mut sums, 0);
    take(after, &mut sums, 1);
    // As decimals, like bills: -0.1 three times is -0.3.
    let sum = |amounts: Vec<f64>| {
        expr::decimal_sum(amounts.iter().copied()).unwrap_or_else(|| amounts.iter().sum::<f64>()) + 0.0
    };
    let sums = sums.into_iter().map(|(over, [(before, unsaid_before), (after, unsaid_after)])| Sum {
        over: over.to_owned(),
        before: sum(before),
        after: sum(after),
        unsaid_before,
        unsaid_after,
    });
    sums.collect()
}

fn without_waiver(state: &State) -> Option<Verdict> {
    state.waiver.as_ref().map(|waiver| waiver.verdict)
}

fn flip(candidate: &Agreement, before: Option<&State>, after: Option<&State>) -> Flip {
    let state = after.or(before).expect("one of the two is there");
    Flip {
        guarantee: state.of.clone(),
        scope: state.scope.clone(),
        window: state.window.clone(),
        before: before.and_then(|s| s.verdict),
        after: after.and_then(|s| s.verdict),
        unwaived_before: before.and_then(without_waiver),
        unwaived_after: after.and_then(without_waiver),
        reason_before: before.map(|s| s.reason.clone()),
        reason_after: after.map(|s| s.reason.clone()),
        values: state.values.clone(),
        decided_by: after.map(|s| deciders(candidate, s)).unwrap_or_default(),
    }
}

/// The fewest metrics that decide a verdict, by the numbers it was judged with: of the term that is violated, when one is,
/// of all terms otherwise.
fn deciders(agreement: &Agreement, state: &State) -> Vec<String> {
    let lookup = |name: &str| match state.values.get(name) {
        Some(Some(n)) => Operand::Number(*n),
        _ => Operand::Missing(""),
    };
    let mut found: Vec<String> = Vec::new();
    for term in terms(agreement, &state.of, &state.scope, &state.window) {
        let deciding: Vec<String> = expr::deciding(&term.objective, &lookup).into_iter().map(str::to_owned).collect();
        if expr::evaluate(&term.objective, &lookup).truth == Some(false) {
            return deciding;
        }
        for name in deciding {
            if !found.contains(&name) {
                found.push(name);
            }
        }
    }
    found
}
