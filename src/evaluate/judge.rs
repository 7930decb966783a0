//! From answers to states, purely: every planned judgement, and one state for each identity.

use std::collections::HashMap;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::agreement::evaluate::{guarantee_states, metrics_states};
use crate::agreement::penalties;
use crate::agreement::queries::Plan;
use crate::model::RunId;
use crate::model::agreement::Agreement;
use crate::model::provenance::Digest;
use crate::model::state::{Sample, State, Verdict};

/// Judges everything that was planned: the guarantees' states, then the metrics' own.
pub(super) fn judge(
    agreement: &Agreement,
    plan: &Plan,
    answers: &[Result<Vec<Sample>, String>],
    run: RunId,
    now: Timestamp,
) -> Vec<State> {
    let mut states = Vec::new();
    let mut of_guarantee = Vec::new();
    let mut guarantee = None;
    for judgement in &plan.judgements {
        if guarantee != Some(judgement.guarantee) {
            states.append(&mut joined(std::mem::take(&mut of_guarantee)));
            guarantee = Some(judgement.guarantee);
        }
        let collected = plan.collected(judgement, answers);
        let found = &agreement.guarantees[judgement.guarantee];
        // Of one term alone no two states are of one scope and window.
        let states = if found.terms.len() == 1 { &mut states } else { &mut of_guarantee };
        states.extend(guarantee_states(agreement, found, judgement.term, &judgement.window, &collected, run, now));
    }
    states.append(&mut joined(of_guarantee));
    states.extend(metrics_states(agreement, plan, answers, run, now));
    states
}

/// One state for each scope and window of a guarantee. Where two of its terms judge the same scope and window, all
/// of them must hold: the gravest verdict stands, with the reasons of all.
fn joined(states: Vec<State>) -> Vec<State> {
    let mut places: HashMap<(String, Timestamp, Timestamp), usize> = HashMap::with_capacity(states.len());
    let mut out: Vec<State> = Vec::with_capacity(states.len());
    for state in states {
        match places.entry((state.scope.canonical(), state.window.from, state.window.to)) {
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(out.len());
                out.push(state);
            }
            std::collections::hash_map::Entry::Occupied(place) => join(&mut out[*place.get()], state),
        }
    }
    out
}

fn join(one: &mut State, other: State) {
    let (mut first, second) = if gravity(&other) > gravity(one) { (other, one.clone()) } else { (one.clone(), other) };
    first.reason = format!("{}; and {}", first.reason, second.reason);
    penalties::add(&mut first.penalties, second.penalties);
    penalties::add(&mut first.rewards, second.rewards);
    first.inputs = first.inputs.zip(second.inputs).map(|(one, other)| both(one, other));
    for (metric, value) in second.values {
        first.values.entry(metric).or_insert(value);
    }
    for evidence in second.evidence {
        if !first.evidence.contains(&evidence) {
            first.evidence.push(evidence);
        }
    }
    *one = first;
}

/// The inputs of two terms as one hash, whichever of them comes first.
fn both(one: Digest, other: Digest) -> Digest {
    let (less, more) = if one <= other { (one, other) } else { (other, one) };
    let mut hash = Sha256::new();
    hash.update(less.0);
    hash.update(more.0);
    Digest(hash.finalize().into())
}

fn gravity(state: &State) -> u8 {
    match state.verdict {
        Some(Verdict::Violated) => 3,
        Some(Verdict::Unknown) => 2,
        // No waiver is applied before terms are joined.
        Some(Verdict::Waived) => 2,
        Some(Verdict::Fulfilled) => 1,
        Some(Verdict::NotApplicable) | None => 0,
    }
}
