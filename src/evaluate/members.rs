//! The members of scopes with `*`: which there are is known from the answers only, and may be another time's answer.
//!
//! What is stored of such a scope as a whole, when nobody knew its members, is outdated when they come; a member that was
//! known while its window was open, and that the answer after its end leaves out, does not vanish. So what is stored of
//! a window is what was judged of it last, and judging that again comes to the same.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::Timestamp;

use super::kept::{Bounds, Unanswered, bounds};
use super::{EvaluateError, Evaluator};
use crate::agreement::observed;
use crate::agreement::queries::{Judgement, Plan};
use crate::agreement::slices::Answers;
use crate::model::RunId;
use crate::model::agreement::Agreement;
use crate::model::state::{Amounts, Sample, SampleValue, Scope, State, StateKind, StoredState, Verdict};
use crate::model::waiver;
use crate::store::{PageRequest, StateQuery};

/// Members of a scope with `*` that were judged: in these windows nothing is to be said of the scope as a whole.
struct Members<'s> {
    kind: StateKind,
    /// Guarantee, or what the states of a metric are named.
    of: &'s str,
    /// The scope with `*`.
    scope: &'s Scope,
    windows: HashSet<Bounds>,
}

/// Windows in which members were judged, by guarantee and by name of a metric's states.
type Known<'s> = HashMap<(StateKind, &'s str), HashSet<Bounds>>;

/// The scopes with `*` of which an evaluation says something, by guarantee and by name of a metric's states.
fn wholes<'s>(agreement: &'s Agreement, plan: &'s Plan) -> BTreeMap<(StateKind, &'s str), BTreeSet<&'s Scope>> {
    let guarantees = plan.judgements.iter().map(|judgement| {
        let guarantee = &agreement.guarantees[judgement.guarantee];
        ((StateKind::Guarantee, guarantee.id.as_str()), &guarantee.terms[judgement.term].scope)
    });
    let metrics = plan.queries.iter().map(|query| ((StateKind::Metric, query.state_name.as_str()), &query.scope));
    let mut wholes: BTreeMap<_, BTreeSet<&Scope>> = BTreeMap::new();
    for (of, scope) in guarantees.chain(metrics).filter(|(_, scope)| scope.has_wildcard()) {
        wholes.entry(of).or_default().insert(scope);
    }
    wholes
}

/// The scopes with `*` whose members are among `states`, without the windows in which they were judged as a whole, too.
/// Linear in the states.
fn members<'s>(agreement: &'s Agreement, plan: &'s Plan, states: &'s [State]) -> Vec<Members<'s>> {
    let wholes = wholes(agreement, plan);
    let mut said: HashMap<(StateKind, &str), Vec<&State>> = HashMap::new();
    for state in states {
        let of = (state.kind, state.of.as_str());
        if wholes.contains_key(&of) {
            said.entry(of).or_default().push(state);
        }
    }
    let mut found = Vec::new();
    for (of, scopes) in wholes {
        let Some(states) = said.get(&of) else { continue };
        let patterns: BTreeSet<Vec<&str>> = scopes.iter().map(|scope| scope.wildcards().collect()).collect();
        let scopes: Vec<&Scope> = scopes.into_iter().collect();
        let mut windows = vec![HashSet::new(); scopes.len()];
        let (whole, concrete): (Vec<&State>, Vec<&State>) = states.iter().partition(|s| s.scope.has_wildcard());
        // A scope comes in every window.
        let mut places: HashMap<&Scope, Vec<usize>> = HashMap::new();
        for state in concrete {
            let places = places.entry(&state.scope).or_insert_with(|| {
                let wholes = patterns.iter().map(|pattern| {
                    let mut scope = state.scope.clone();
                    let named = scope.0.iter_mut().filter(|(key, _)| pattern.contains(&key.as_str()));
                    named.for_each(|(_, member)| *member = "*".into());
                    scope
                });
                wholes.filter_map(|whole| scopes.binary_search(&&whole).ok()).collect()
            });
            for place in places {
                windows[*place].insert(bounds(&state.window));
            }
        }
        for state in whole {
            if let Ok(place) = scopes.binary_search(&&state.scope) {
                windows[place].remove(&bounds(&state.window));
            }
        }
        let known = scopes.into_iter().zip(windows).filter(|(_, windows)| !windows.is_empty());
        found.extend(known.map(|(scope, windows)| Members { kind: of.0, of: of.1, scope, windows }));
    }
    found
}

fn instant(microseconds: Option<i64>) -> Option<Timestamp> {
    microseconds.and_then(|us| Timestamp::from_microsecond(us).ok())
}

impl Evaluator {
    /// What is stored of scopes with `*` as a whole, from when their members were not known, whose members are judged now:
    /// it must not stand beside them as if nothing had come.
    pub(super) async fn superseded(
        &self,
        agreement: &Agreement,
        plan: &Plan,
        states: &[State],
        run: RunId,
        asked_at: Timestamp,
    ) -> Result<Vec<State>, EvaluateError> {
        let mut by_scope: BTreeMap<&Scope, Known<'_>> = BTreeMap::new();
        for Members { kind, of, scope, windows } in members(agreement, plan, states) {
            by_scope.entry(scope).or_default().insert((kind, of), windows);
        }
        let mut found = Vec::new();
        for (scope, known) in by_scope {
            let windows = || known.values().flatten();
            let query = StateQuery {
                agreement: Some(agreement.id.clone()),
                scope: Some(scope.clone()),
                // By their ends, which are exact: a rolling window reaches back over many that are none of these.
                from: instant(windows().map(|w| w.1 - 1).min()),
                to: instant(windows().map(|w| w.1).max()),
                ..StateQuery::default()
            };
            let mut page = PageRequest { limit: 1000, after: None };
            loop {
                let stored = self.store.states(&query, &page).await?;
                let whole = stored.items.into_iter().map(|stored| stored.state).filter(|whole| {
                    let windows = known.get(&(whole.kind, whole.of.as_str()));
                    windows.is_some_and(|windows| windows.contains(&bounds(&whole.window)))
                });
                found.extend(whole.filter_map(|whole| outdated(agreement, whole, run, asked_at)));
                match stored.next {
                    Some(next) => page.after = Some(next),
                    None => break,
                }
            }
        }
        Ok(found)
    }

    /// The answers about all members in windows that are over, with a sample without value for each member that was known
    /// while its window was open and is left out now, or of which the source says nothing now; but for those of whom nothing
    /// is known but what a term asks about them by name. What was judged for good is not looked at: see [`Evaluator::remembered`].
    pub(super) async fn with_earlier_members<'a>(
        &self,
        agreement: &Agreement,
        plan: &Plan,
        answers: Cow<'a, [Result<Vec<Sample>, String>]>,
        unanswered: &Unanswered,
        now: Timestamp,
    ) -> Result<Cow<'a, [Result<Vec<Sample>, String>]>, EvaluateError> {
        let judged = unanswered.judged();
        let mut asked: BTreeMap<&str, HashMap<Bounds, Vec<usize>>> = BTreeMap::new();
        for (i, (query, answer)) in plan.queries.iter().zip(answers.iter()).enumerate() {
            let stands = answer.is_err() && judged.contains(&bounds(&query.window));
            if query.scope.has_wildcard() && query.window.to <= now && !stands {
                asked.entry(&query.state_name).or_default().entry(bounds(&query.window)).or_default().push(i);
            }
        }
        // Who is asked about by name may be known from there only, such as a total beside the members.
        let by_name: HashSet<(&str, &Scope)> = agreement
            .guarantees
            .iter()
            .flat_map(|guarantee| &guarantee.terms)
            .filter(|term| !term.scope.has_wildcard())
            .flat_map(|term| term.with.iter().map(move |(metric, _)| (metric.as_str(), &term.scope)))
            .collect();
        let mut missed: HashMap<usize, BTreeSet<Scope>> = HashMap::new();
        let windows = || asked.values().flat_map(HashMap::keys);
        let query = StateQuery {
            agreement: Some(agreement.id.clone()),
            kind: Some(StateKind::Metric),
            from: instant(windows().map(|w| w.1 - 1).min()),
            to: instant(windows().map(|w| w.1).max()),
            provisional: Some(true),
            ..StateQuery::default()
        };
        let open = if asked.is_empty() { Vec::new() } else { self.store.all_states(&query).await? };
        for StoredState { state, .. } in open.into_iter().filter(|stored| !stored.state.scope.has_wildcard()) {
            let places = asked.get(state.of.as_str()).and_then(|places| places.get(&bounds(&state.window)));
            for i in places.into_iter().flatten() {
                let query = &plan.queries[*i];
                if query.scope.covers(&state.scope) && !by_name.contains(&(query.metric.as_str(), &state.scope)) {
                    missed.entry(*i).or_default().insert(state.scope.clone());
                }
            }
        }
        let asked: HashSet<usize> = asked.into_values().flat_map(HashMap::into_values).flatten().collect();
        let of_all: HashSet<&str> = asked.iter().map(|i| plan.queries[*i].metric.as_str()).collect();
        if by_name.iter().any(|(metric, _)| of_all.contains(metric)) {
            let open = self.store.all_states(&StateQuery { kind: Some(StateKind::Guarantee), ..query }).await?;
            for (i, scope) in named_members(agreement, plan, (&asked, &by_name), &open) {
                missed.entry(i).or_default().insert(scope.clone());
            }
        }
        for (i, members) in &mut missed {
            for sample in answers[*i].iter().flatten().filter(|sample| plan.queries[*i].is_answered_by(sample)) {
                members.remove(&sample.scope);
            }
        }
        missed.retain(|_, members| !members.is_empty());
        if missed.is_empty() {
            return Ok(answers);
        }
        let mut answers: Answers = answers.into_owned();
        for (i, members) in missed {
            let query = &plan.queries[i];
            let reason = match &answers[i] {
                Ok(_) => "the collector returned no computation for this scope any more".to_owned(),
                Err(reason) => reason.clone(),
            };
            let left_out = members.into_iter().map(|scope| Sample {
                metric: query.metric.clone(),
                scope,
                window: query.window.clone(),
                value: SampleValue::Missing { missing: reason.clone() },
                evidence: Vec::new(),
                coverage: None,
                score: None,
                run: None,
            });
            let mut samples = answers[i].clone().unwrap_or_default();
            samples.extend(left_out);
            answers[i] = Ok(samples);
        }
        Ok(Cow::Owned(answers))
    }
}

/// Whom a guarantee asks about among all members, and another term by name: questions of `asked`, and who was judged while
/// the window was open as only the answer about all members can have come to.
fn named_members<'s>(
    agreement: &Agreement,
    plan: &Plan,
    (asked, by_name): (&HashSet<usize>, &HashSet<(&str, &Scope)>),
    open: &'s [StoredState],
) -> Vec<(usize, &'s Scope)> {
    let mut judgements: HashMap<(&str, Bounds), Vec<&Judgement>> = HashMap::new();
    for judgement in &plan.judgements {
        let guarantee = &agreement.guarantees[judgement.guarantee];
        judgements.entry((&guarantee.id, bounds(&judgement.window))).or_default().push(judgement);
    }
    let mut found = Vec::new();
    for state in open.iter().map(|stored| &stored.state) {
        for judgement in judgements.get(&(state.of.as_str(), bounds(&state.window))).into_iter().flatten() {
            let guarantee = &agreement.guarantees[judgement.guarantee];
            let is_member = guarantee.terms[judgement.term].scope.covers(&state.scope)
                && !guarantee.terms.iter().any(|term| term.scope == state.scope);
            let questions = judgement.queries.iter().filter(|i| {
                is_member && asked.contains(i) && by_name.contains(&(plan.queries[**i].metric.as_str(), &state.scope))
            });
            found.extend(questions.map(|i| (*i, &state.scope)));
        }
    }
    found
}

/// What is stored of a scope with `*`, as it is now that its members have come; `None` when that is said already.
fn outdated(agreement: &Agreement, mut whole: State, run: RunId, asked_at: Timestamp) -> Option<State> {
    waiver::apply(&mut whole, &[], asked_at);
    let provisional = whole.window.to > asked_at;
    let says_something = match whole.kind {
        StateKind::Guarantee => whole.verdict == Some(Verdict::Unknown),
        _ => !observed::is_outdated(&whole),
    };
    (says_something || whole.provisional != provisional).then(|| State {
        verdict: whole.verdict.and(Some(Verdict::NotApplicable)),
        value: None,
        score: None,
        penalties: Amounts::new(),
        rewards: Amounts::new(),
        inputs: None,
        reason: observed::MEMBERS_CAME.into(),
        provisional,
        agreement_version: agreement.hash.clone(),
        run,
        ..whole
    })
}
