//! Ranges that somebody asks about for once: `from` and `to` of a Registry's call, and what its collectors cut them into.
//!
//! Where such a range is a window of the term itself, its verdict is that window's. Any other is nobody's promise: it
//! overlaps the windows that are, shifted by a second or cut off now, and would be counted beside them in every sum. It is
//! kept apart from them, for who asks for the same range again.

use std::collections::HashMap;

use jiff::{Timestamp, ToSpan};

use crate::agreement::Calendar;
use crate::model::agreement::{Agreement, Term};
use crate::model::state::{State, StateKind, Window};

/// The states of windows that the agreement itself has, and the others.
pub(super) fn apart(agreement: &Agreement, states: Vec<State>) -> (Vec<State>, Vec<State>) {
    let mut known: HashMap<(StateKind, String, Timestamp, Timestamp), bool> = HashMap::new();
    states.into_iter().partition(|state| {
        // Budgets and burn rates count the agreement's own windows only.
        if matches!(state.kind, StateKind::Budget | StateKind::BurnRate) {
            return true;
        }
        let key = (state.kind, state.of.clone(), state.window.from, state.window.to);
        *known.entry(key).or_insert_with(|| terms(agreement, state).any(|term| has(agreement, term, &state.window)))
    })
}

/// The terms that a state may be of.
fn terms<'a>(agreement: &'a Agreement, state: &'a State) -> impl Iterator<Item = &'a Term> {
    let guarantees = agreement.guarantees.iter();
    let of = guarantees.filter(|g| state.kind == StateKind::Metric || g.id == state.of);
    // A metric asked with parameters of its own has a name that begins with its id.
    let uses = |term: &&Term| {
        state.kind == StateKind::Guarantee || term.with.iter().any(|(id, _)| state.of.starts_with(id.as_str()))
    };
    of.flat_map(|g| &g.terms).filter(uses)
}

fn has(agreement: &Agreement, term: &Term, window: &Window) -> bool {
    let Ok(last) = window.to.checked_sub(1.nanosecond()) else { return false };
    let calendar = Calendar::of(agreement, &term.window);
    calendar.overlapping(last, window.to).is_ok_and(|found| found.contains(window))
}
