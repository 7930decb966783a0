//! Which states of budgets and burn rates a changed agreement would make others.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::model::state::{Scope, State, StateKind, Verdict, Window};

/// One state of a budget or burn rate, before and after.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BudgetChange {
    pub kind: StateKind,
    /// The budget's id; of a burn rate, `<budget>/<alert>`.
    pub of: String,
    pub scope: Scope,
    pub window: Window,
    /// `None`: there is no such state on this side.
    pub before: Option<Verdict>,
    pub after: Option<Verdict>,
    /// What is left of the budget, 1 being all of it; of a burn rate, how many times as fast as allowed it is used up.
    pub value_before: Option<f64>,
    pub value_after: Option<f64>,
    pub reason_before: Option<String>,
    pub reason_after: Option<String>,
}

/// Adds the states that differ to `changes`, by kind, id, scope and window, and gives the number of those that do not. A
/// budget differs when its verdict or a figure does; a burn rate, which moves with every verdict beneath it, when its verdict
/// does.
pub fn changes(before: &[State], after: &[State], changes: &mut Vec<BudgetChange>) -> usize {
    type Place<'s> = (StateKind, &'s str, &'s Scope, Timestamp, Timestamp);
    fn place(state: &State) -> Place<'_> {
        (state.kind, &state.of, &state.scope, state.window.from, state.window.to)
    }
    let mut places: BTreeMap<Place<'_>, (Option<&State>, Option<&State>)> = BTreeMap::new();
    before.iter().for_each(|state| places.entry(place(state)).or_default().0 = Some(state));
    after.iter().for_each(|state| places.entry(place(state)).or_default().1 = Some(state));
    let mut same = 0;
    for sides in places.into_values() {
        match sides {
            (Some(old), Some(new)) if is_same(old, new) => same += 1,
            (old, new) => changes.extend(change(old, new)),
        }
    }
    same
}

fn is_same(old: &State, new: &State) -> bool {
    old.verdict == new.verdict
        && (old.kind == StateKind::BurnRate || (old.score == new.score && old.values == new.values))
}

fn change(before: Option<&State>, after: Option<&State>) -> Option<BudgetChange> {
    let state = after.or(before)?;
    Some(BudgetChange {
        kind: state.kind,
        of: state.of.clone(),
        scope: state.scope.clone(),
        window: state.window.clone(),
        before: before.and_then(|s| s.verdict),
        after: after.and_then(|s| s.verdict),
        value_before: before.and_then(|s| s.value),
        value_after: after.and_then(|s| s.value),
        reason_before: before.map(|s| s.reason.clone()),
        reason_after: after.map(|s| s.reason.clone()),
    })
}
