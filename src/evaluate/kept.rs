//! Asking again in vain.
//!
//! A source that fails says nothing about a window that is over and was judged for good: what is known of it stays known.
//! So a metric that cannot be asked again is judged from what is stored of it, where that answers the same question: it
//! was stored under the same document. Where it was not, the stored verdict stands, unless another metric that did answer
//! says something new. Either way it is said that the verdict was kept, and why: in the answer, the run, the log and the
//! audit trail. A window that was never judged for good is unknown, as ever.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;

use super::{EvaluateError, Evaluator};
use crate::agreement::observed;
use crate::agreement::queries::{Plan, Query, asked_both_ways};
use crate::agreement::slices::Answers;
use crate::model::RunId;
use crate::model::agreement::{Agreement, Collector};
use crate::model::state::{Coverage, Kept, Sample, SampleValue, Scope, State, StateKind, StoredState, Verdict, Window};
use crate::model::waiver;
use crate::store::StateQuery;

/// The bounds of a window as databases keep them: in microseconds.
pub(super) type Bounds = (i64, i64);

pub(super) fn bounds(window: &Window) -> Bounds {
    (window.from.as_microsecond(), window.to.as_microsecond())
}

/// What became of the questions about closed windows that were not answered: indexes into [`Plan::queries`].
#[derive(Default)]
pub(super) struct Unanswered {
    /// Judged from what is stored under the same document.
    remembered: HashSet<usize>,
    /// Of those nothing is stored, or under another document only.
    open: HashSet<usize>,
    /// What was said for good of the guarantees and windows they are about, without waivers.
    verdicts: Verdicts,
}

type Verdicts = HashMap<(String, Bounds), BTreeMap<Scope, State>>;

impl Unanswered {
    /// The windows of which something was said for good that could not be asked about again.
    pub(super) fn judged(&self) -> HashSet<Bounds> {
        self.verdicts.keys().map(|(_, window)| *window).collect()
    }
}

impl Evaluator {
    /// The answers with stored samples in place of failures, where they answer the same question and a verdict was given
    /// for good.
    pub(super) async fn remembered<'a>(
        &self,
        agreement: &Agreement,
        plan: &Plan,
        answers: &'a [Result<Vec<Sample>, String>],
        now: Timestamp,
    ) -> Result<(Cow<'a, [Result<Vec<Sample>, String>]>, Unanswered), EvaluateError> {
        let failed = |(_, (query, answer)): &(usize, (&Query, &Result<Vec<Sample>, String>))| {
            let metric = agreement.metrics.get(&query.metric);
            // Nobody can be asked for what no collector speaks: that is no failure.
            let has_source = metric.is_some_and(|m| !matches!(m.collector, Collector::Unsupported { .. }));
            answer.is_err() && has_source && query.window.to <= now
        };
        let open: HashSet<usize> =
            plan.queries.iter().zip(answers).enumerate().filter(failed).map(|(i, _)| i).collect();
        let mut unanswered = Unanswered { open, ..Unanswered::default() };
        if unanswered.open.is_empty() {
            return Ok((Cow::Borrowed(answers), unanswered));
        }
        unanswered.verdicts = self.verdicts_of(agreement, plan, &unanswered.open, now).await?;
        let mut asked: BTreeMap<&str, HashMap<Bounds, Vec<usize>>> = BTreeMap::new();
        // Who was judged by each question: what is stored of a metric may be of a total, which is asked about by name, too.
        let mut members: HashMap<usize, HashSet<&Scope>> = HashMap::new();
        // Of who is asked about twice the verdicts that rest on an answer that came now, too, by question.
        let both_ways = asked_both_ways(agreement);
        let mut partly: HashMap<usize, Vec<&BTreeMap<Scope, State>>> = HashMap::new();
        for judgement in &plan.judgements {
            let guarantee = &agreement.guarantees[judgement.guarantee];
            let scope = &guarantee.terms[judgement.term].scope;
            let said = unanswered.verdicts.get(&(guarantee.id.clone(), bounds(&judgement.window)));
            let tells = |s: &State| scope.covers(&s.scope) && (is_known(s) || is_member(scope, &s.scope));
            let was_known = said.is_some_and(|said| said.values().any(tells));
            for i in judgement.queries.iter().copied().filter(|i| was_known && unanswered.open.contains(i)) {
                let query = &plan.queries[i];
                let places = asked.entry(&query.state_name).or_default().entry(bounds(&query.window)).or_default();
                if !places.contains(&i) {
                    places.push(i);
                }
                members.entry(i).or_default().extend(said.into_iter().flat_map(BTreeMap::keys));
                let has_news = judgement.queries.iter().any(|i| !unanswered.open.contains(i));
                if has_news && both_ways.contains(query.metric.as_str()) {
                    partly.entry(i).or_default().extend(said);
                }
            }
        }
        let mut found: HashMap<usize, Vec<Sample>> = HashMap::new();
        for (name, places) in asked {
            let mut stored: HashMap<Bounds, Vec<State>> = HashMap::new();
            for found in self.final_states(agreement, StateKind::Metric, name, places.keys().copied()).await? {
                if found.state.agreement_version == agreement.hash {
                    stored.entry(bounds(&found.state.window)).or_default().push(found.state);
                }
            }
            for (window, queries) in places {
                let here = stored.get(&window).map(Vec::as_slice).unwrap_or_default();
                for i in queries {
                    if let Some(Ok(samples)) = observed::answer(&plan.queries[i], here.iter()) {
                        found.insert(i, samples);
                    }
                }
            }
        }
        found.retain(|i, samples| {
            let scope = &plan.queries[*i].scope;
            let judged = |sample: &Sample| members.get(i).is_some_and(|members| members.contains(&sample.scope));
            samples.retain(|sample| !is_member(scope, &sample.scope) || judged(sample));
            // What is stored may be the answer to the other question.
            let metric = plan.queries[*i].metric.as_str();
            let other = |sample: &Sample| {
                let mut verdicts = partly.get(i).into_iter().flatten().filter_map(|said| said.get(&sample.scope));
                verdicts.any(|verdict| verdict.values.get(metric) != Some(&number(sample)))
            };
            !samples.iter().any(other)
                && samples.iter().any(|sample| says_something(sample) || is_member(scope, &sample.scope))
        });
        drop(partly);
        drop(members);
        if found.is_empty() {
            return Ok((Cow::Borrowed(answers), unanswered));
        }
        let mut answers: Answers = answers.to_vec();
        for (i, samples) in found {
            answers[i] = Ok(samples);
            unanswered.open.remove(&i);
            unanswered.remembered.insert(i);
        }
        Ok((Cow::Owned(answers), unanswered))
    }

    /// What was said for good of all guarantees and windows that these questions are about.
    async fn verdicts_of(
        &self,
        agreement: &Agreement,
        plan: &Plan,
        queries: &HashSet<usize>,
        now: Timestamp,
    ) -> Result<Verdicts, EvaluateError> {
        let mut windows: BTreeMap<&str, HashSet<Bounds>> = BTreeMap::new();
        for judgement in plan.judgements.iter().filter(|j| j.queries.iter().any(|i| queries.contains(i))) {
            let guarantee = &agreement.guarantees[judgement.guarantee];
            windows.entry(&guarantee.id).or_default().insert(bounds(&judgement.window));
        }
        let mut verdicts = Verdicts::new();
        for (guarantee, windows) in windows {
            let windows = windows.iter().copied();
            for found in self.final_states(agreement, StateKind::Guarantee, guarantee, windows).await? {
                let mut state = found.state;
                waiver::apply(&mut state, &[], now);
                let of_window = verdicts.entry((guarantee.to_owned(), bounds(&state.window))).or_default();
                of_window.insert(state.scope.clone(), state);
            }
        }
        Ok(verdicts)
    }

    /// Puts stored final verdicts in the place of those that are unknown only because nobody could be asked again. Gives
    /// all that were kept, also those judged from what is stored.
    pub(super) fn kept(
        agreement: &Agreement,
        plan: &Plan,
        answers: &[Result<Vec<Sample>, String>],
        unanswered: &Unanswered,
        states: &mut Vec<State>,
    ) -> Vec<Kept> {
        if unanswered.open.is_empty() && unanswered.remembered.is_empty() {
            return Vec::new();
        }
        stand(agreement, plan, unanswered, states);
        let reason = |queries: &[usize], of: &HashSet<usize>| {
            let failed = queries.iter().filter(|i| of.contains(*i)).find_map(|i| {
                let failed = answers.get(*i).and_then(|answer| answer.as_ref().err())?;
                Some((&plan.queries[*i], failed))
            });
            failed.map(|(query, failed)| said(query, failed))
        };
        // There may be as many judgements as states: each looks at those of its own window only.
        let mut of_window: HashMap<(&str, Bounds), Vec<&State>> = HashMap::new();
        if !unanswered.remembered.is_empty() {
            for state in states.iter().filter(|s| s.kind == StateKind::Guarantee) {
                of_window.entry((&state.of, bounds(&state.window))).or_default().push(state);
            }
        }
        let mut kept = Vec::new();
        // Of each guarantee and window, why it could not be asked about again; and with which questions.
        let mut open: BTreeMap<&str, HashMap<Bounds, (String, Vec<usize>)>> = BTreeMap::new();
        for judgement in &plan.judgements {
            let (guarantee, at) = (&agreement.guarantees[judgement.guarantee], bounds(&judgement.window));
            if let Some(reason) = reason(&judgement.queries, &unanswered.open) {
                let place = open.entry(&guarantee.id).or_default().entry(at).or_insert((reason, Vec::new()));
                place.1.extend(judgement.queries.iter().filter(|i| unanswered.open.contains(*i)));
            } else if let Some(reason) = reason(&judgement.queries, &unanswered.remembered) {
                let term = &guarantee.terms[judgement.term];
                let judged = of_window.get(&(guarantee.id.as_str(), at)).into_iter().flatten();
                kept.extend(judged.filter(|s| term.scope.covers(&s.scope)).map(|state| note(state, &reason)));
            }
        }
        drop(of_window);
        let of_guarantee = |s: &&State| s.kind == StateKind::Guarantee;
        let place = |s: &State| (s.of.clone(), bounds(&s.window), s.scope.clone());
        let judged: HashSet<(String, Bounds, Scope)> = states.iter().filter(of_guarantee).map(place).collect();
        let mut not_kept: HashSet<usize> = HashSet::new();
        for state in std::mem::take(states) {
            let at = bounds(&state.window);
            let undecided = state.kind == StateKind::Guarantee && state.verdict == Some(Verdict::Unknown);
            let Some((reason, queries)) = open.get(state.of.as_str()).and_then(|p| p.get(&at)).filter(|_| undecided)
            else {
                states.push(state);
                continue;
            };
            let of_window = unanswered.verdicts.get(&(state.of.clone(), at));
            let mut standing = of_window.map(|of_window| standing(&state, of_window)).unwrap_or_default();
            standing.retain(|s| s.scope == state.scope || !judged.contains(&place(s)));
            kept.extend(standing.iter().map(|state| note(state, reason)));
            if standing.is_empty() {
                not_kept.extend(queries);
                standing.push(state);
            }
            states.append(&mut standing);
        }
        // Of a metric whose verdicts were kept, what is known is not forgotten either.
        let failures: HashMap<(&str, &Scope, Bounds), &str> = open
            .values()
            .flat_map(HashMap::values)
            .flat_map(|(_, queries)| queries)
            .filter(|i| !not_kept.contains(*i))
            .map(|i| &plan.queries[*i])
            .map(|query| ((query.state_name.as_str(), &query.scope, bounds(&query.window)), query.metric.as_str()))
            .collect();
        let without_value = |s: &State, metric: &str| matches!(observed::value(s, metric), SampleValue::Missing { .. });
        states.retain(|s| {
            let failure = failures.get(&(s.of.as_str(), &s.scope, bounds(&s.window)));
            s.kind != StateKind::Metric || !failure.is_some_and(|metric| without_value(s, metric))
        });
        let mut seen = HashSet::new();
        kept.retain(|k| seen.insert((k.guarantee.clone(), k.scope.clone(), bounds(&k.window))));
        kept
    }

    /// The stored states of one guarantee or metric that were said for good of these windows.
    async fn final_states(
        &self,
        agreement: &Agreement,
        kind: StateKind,
        of: &str,
        windows: impl Iterator<Item = Bounds> + Clone,
    ) -> Result<Vec<StoredState>, EvaluateError> {
        let wanted: HashSet<Bounds> = windows.clone().collect();
        let at = |microseconds: Option<i64>| microseconds.and_then(|us| Timestamp::from_microsecond(us).ok());
        let query = StateQuery {
            agreement: Some(agreement.id.clone()),
            kind: Some(kind),
            of: Some(of.to_owned()),
            // By their ends, which are exact: a rolling window reaches back over many that are none of these.
            from: at(windows.clone().map(|w| w.1 - 1).min()),
            to: at(windows.map(|w| w.1).max().map(|us| us.saturating_add(1))),
            provisional: Some(false),
            ..StateQuery::default()
        };
        let mut found = self.store.all_states(&query).await?;
        found.retain(|s| wanted.contains(&bounds(&s.state.window)));
        Ok(found)
    }
}

/// Lets verdicts stand that were judged again from nothing but what is stored and came to other inputs than they were given
/// from: of a scope that is asked about by name and among all members the metric's state has one answer only.
fn stand(agreement: &Agreement, plan: &Plan, unanswered: &Unanswered, states: &mut [State]) {
    if unanswered.remembered.is_empty() {
        return;
    }
    let both_ways = asked_both_ways(agreement);
    if both_ways.is_empty() {
        return;
    }
    // Whether all questions were answered from what is stored, and whether one is about such a metric.
    let mut from_stored: HashMap<(&str, Bounds), (bool, bool)> = HashMap::new();
    for judgement in &plan.judgements {
        let place = (agreement.guarantees[judgement.guarantee].id.as_str(), bounds(&judgement.window));
        let (all, one) = from_stored.entry(place).or_insert((true, false));
        *all &= judgement.queries.iter().all(|i| unanswered.remembered.contains(i));
        *one |= judgement.queries.iter().any(|i| both_ways.contains(plan.queries[*i].metric.as_str()));
    }
    for state in states.iter_mut().filter(|state| state.kind == StateKind::Guarantee) {
        let at = bounds(&state.window);
        if from_stored.get(&(state.of.as_str(), at)) != Some(&(true, true)) {
            continue;
        }
        let given = unanswered.verdicts.get(&(state.of.clone(), at)).and_then(|given| given.get(&state.scope));
        let given = given.filter(|given| given.agreement_version == state.agreement_version);
        if let Some(given) = given.filter(|given| given.inputs.is_some() && given.inputs != state.inputs) {
            *state = given.clone();
        }
    }
}

/// Says in the log that verdicts were kept.
pub(super) fn told(agreement: &Agreement, run: RunId, kept: &[Kept]) {
    if let Some(first) = kept.first() {
        tracing::warn!(
            agreement = agreement.id,
            run = %run,
            kept = kept.len(),
            reason = first.reason,
            "verdicts stand as they are stored: they could not be asked for again"
        );
    }
}

/// What of the stored verdicts of a window stands in the place of one that could not be decided: its own, or for a scope
/// with `*` those of its members, whatever they are. Nothing, where its own is not known, or where a metric that answered
/// says something new.
fn standing(undecided: &State, stored: &BTreeMap<Scope, State>) -> Vec<State> {
    if undecided.scope.has_wildcard() {
        let members = stored.values().filter(|s| !s.scope.has_wildcard() && undecided.scope.covers(&s.scope));
        let members: Vec<State> = members.cloned().collect();
        if !members.is_empty() {
            return members;
        }
    }
    let agrees = |s: &State| {
        let answered = undecided.values.iter().filter(|(_, value)| value.is_some());
        answered.into_iter().all(|(metric, value)| s.values.get(metric) == Some(value))
    };
    stored.get(&undecided.scope).filter(|s| is_known(s) && agrees(s)).cloned().into_iter().collect()
}

fn is_known(verdict: &State) -> bool {
    !matches!(verdict.verdict, Some(Verdict::Unknown) | None)
}

/// A member of a scope with `*`: that it is there is known, even where nothing is known of it.
fn is_member(scope: &Scope, found: &Scope) -> bool {
    scope.has_wildcard() && !found.has_wildcard()
}

/// A value, or that there is nobody of whom one could be: an answer, and not that there was none.
fn says_something(sample: &Sample) -> bool {
    matches!(sample.coverage, Some(Coverage { expected: 0, .. }))
        || !matches!(sample.value, SampleValue::Missing { .. })
}

/// The number that a verdict keeps of a sample.
fn number(sample: &Sample) -> Option<f64> {
    match sample.value {
        SampleValue::Number(n) | SampleValue::Rounded { rounded: n } => Some(n).filter(|n| n.is_finite()),
        SampleValue::Bool(b) => Some(f64::from(u8::from(b))),
        SampleValue::Text(_) | SampleValue::Missing { .. } => None,
    }
}

fn said(query: &Query, failed: &str) -> String {
    format!("{} was asked for again and not given: {failed}; what is stored of this window stands", query.metric)
}

fn note(state: &State, reason: &str) -> Kept {
    Kept {
        guarantee: state.of.clone(),
        scope: state.scope.clone(),
        window: state.window.clone(),
        reason: reason.to_owned(),
    }
}
