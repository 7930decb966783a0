//! `probity simulate`: the stored states of an agreement, judged again under another one.

use std::collections::{BTreeSet, HashSet};

use jiff::Timestamp;

use super::judge;
use crate::agreement::budgets::compare::changes;
use crate::agreement::budgets::judge::{Due, due, states};
use crate::agreement::queries;
use crate::agreement::simulate::{
    NOT_OF_WINDOW, Simulation, answers as stored_answers, compare, is_outdated, leave_out_incomparable,
    leave_out_named, put_right,
};
use crate::model::RunId;
use crate::model::agreement::Agreement;
use crate::model::budget::{Budget, Outcome};
use crate::model::state::{Scope, State, StateKind, StoredState};
use crate::model::waiver::{self, Waiver};
use crate::store::{StateQuery, Store, StoreError};

/// Why nothing could be simulated.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    #[error("nothing of agreement \"{0}\" is stored in this range")]
    NothingStored(String),
    #[error("{0}")]
    TooManyWindows(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Judges what is stored of `current` under `candidate`: every window of the candidate that overlaps `[from, to)`; without
/// bounds, those of everything stored. On both sides the waivers hold that are in force at `at`: those of the document and
/// the stored ones. Budgets are counted at `at` on both sides, of verdicts said for good; those outside of the range count
/// as they are stored. Nothing is asked of any collector, and nothing is written. Reads all of the range's states into
/// memory.
///
/// # Errors
/// When nothing is stored there, the candidate has too many windows in the range, or the store cannot be read.
pub async fn simulate(
    store: &dyn Store,
    current: &Agreement,
    candidate: &Agreement,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    at: Timestamp,
) -> Result<Simulation, SimulateError> {
    let query = StateQuery { agreement: Some(current.id.clone()), from, to, ..StateQuery::default() };
    let mut stored = store.all_states(&query).await?;
    // Budgets and burn rates follow from verdicts, and reach further.
    stored.retain(|s| matches!(s.state.kind, StateKind::Guarantee | StateKind::Metric));
    let bounds = || stored.iter().map(|s| &s.state.window);
    let nothing = || SimulateError::NothingStored(current.id.clone());
    let first = bounds().map(|w| w.from).min().ok_or_else(nothing)?;
    let last = bounds().map(|w| w.to).max().ok_or_else(nothing)?;
    let whole = from.is_none() && to.is_none();
    let (from, to) = (from.unwrap_or(first), to.unwrap_or(last));
    let (metrics, mut verdicts): (Vec<_>, Vec<_>) = stored.into_iter().partition(|s| s.state.kind == StateKind::Metric);
    let plan =
        |of: &Agreement| queries::plan(of, None, from, to).map_err(|e| SimulateError::TooManyWindows(e.to_string()));
    let (planned, mut plan) = (plan(current)?, plan(candidate)?);
    let left_out = leave_out_incomparable(&mut plan, candidate, (current, &planned), &mut verdicts);
    let mut answers = stored_answers(current, candidate, &plan, &metrics);
    leave_out_named(current, &plan, &verdicts, &mut answers);
    if !queries::asked_both_ways(current).is_empty() {
        let mut own = stored_answers(current, current, &planned, &metrics);
        leave_out_named(current, &planned, &verdicts, &mut own);
        let again = judge::judge(current, &planned, &own, RunId::fresh(), to);
        put_right(current, &plan, &verdicts, &again, &mut answers);
    }
    // Whether a window was still open is no part of the comparison.
    let states = judge::judge(candidate, &plan, &answers, RunId::fresh(), to);
    let mut judged: Vec<State> = states.into_iter().filter(|s| s.kind == StateKind::Guarantee).collect();
    let kept = store.waivers(Some(&current.id)).await?;
    let with = |own: &[Waiver]| -> Vec<Waiver> { own.iter().chain(&kept).cloned().collect() };
    let (now, then) = (with(&current.waivers), with(&candidate.waivers));
    verdicts.iter_mut().for_each(|stored| waiver::apply(&mut stored.state, &now, at));
    judged.iter_mut().for_each(|state| waiver::apply(state, &then, at));
    let mut simulation = compare(current, candidate, (from, to), &verdicts, &judged, &answers);
    // Who asks about a range is told what of it nobody has judged; what is stored may well be a month and one of its days.
    if left_out > 0 && !whole {
        *simulation.not_stored.entry(NOT_OF_WINDOW.into()).or_default() += left_out;
    }
    let open: HashSet<Place> = metrics.iter().chain(&verdicts).filter(|s| s.state.provisional).map(place).collect();
    let before: Vec<(&str, Outcome)> = verdicts
        .iter()
        .filter(|stored| !is_outdated(&stored.state))
        .filter_map(|stored| Some((stored.state.of.as_str(), Outcome::of(&stored.state)?)))
        .collect();
    // What is known of a window while it was open is not said for good by judging it again.
    judged.iter_mut().for_each(|s| s.provisional = s.window.to > at || open.contains(&place_of(s)));
    let after: Vec<(&str, Outcome)> = judged.iter().filter_map(|s| Some((s.of.as_str(), Outcome::of(s)?))).collect();
    let budgets = Budgets { store, current, candidate, range: (from, to), whole, before, after, at };
    budgets.compare(&mut simulation).await?;
    Ok(simulation)
}

type Place = (Scope, Timestamp, Timestamp);

fn place_of(state: &State) -> Place {
    (state.scope.clone(), state.window.from, state.window.to)
}

fn place(stored: &StoredState) -> Place {
    place_of(&stored.state)
}

/// Burn rates of so many window ends are held in memory at once.
const ENDS_AT_ONCE: usize = 500;

/// The budgets of both agreements, and the verdicts they are counted from.
struct Budgets<'s> {
    store: &'s dyn Store,
    current: &'s Agreement,
    candidate: &'s Agreement,
    range: (Timestamp, Timestamp),
    /// The range is all that is stored.
    whole: bool,
    /// What was said for good within the range, by guarantee.
    before: Vec<(&'s str, Outcome)>,
    after: Vec<(&'s str, Outcome)>,
    at: Timestamp,
}

/// One budget on one side.
struct Side<'s> {
    agreement: &'s Agreement,
    budget: &'s Budget,
    due: Due,
    outcomes: Vec<Outcome>,
}

impl Budgets<'_> {
    async fn compare(&self, into: &mut Simulation) -> Result<(), SimulateError> {
        let both = self.current.budgets.iter().chain(&self.candidate.budgets);
        let ids: BTreeSet<&str> = both.map(|budget| budget.id.as_str()).collect();
        for id in ids {
            let of = |agreement: &'_ Agreement| agreement.budgets.iter().position(|budget| budget.id == id);
            let (old, new) = (of(self.current), of(self.candidate));
            let (old, new) = (old.map(|i| &self.current.budgets[i]), new.map(|i| &self.candidate.budgets[i]));
            let changed = self.changed(old, new);
            let old = self.side(self.current, old, &self.before, changed).await?;
            let new = self.side(self.candidate, new, &self.after, changed).await?;
            let sides = [old.as_ref(), new.as_ref()];
            let mut pieces = vec![None];
            let ends: BTreeSet<Timestamp> =
                sides.iter().flatten().flat_map(|side| side.due.ends.iter().copied()).collect();
            let ends: Vec<Timestamp> = ends.into_iter().collect();
            pieces.extend(ends.chunks(ENDS_AT_ONCE).map(|ends| Some((ends[0], ends[ends.len() - 1]))));
            for piece in pieces {
                let [before, after] = sides.map(|side| side.map(|s| s.states(piece, self.at)).unwrap_or_default());
                into.budgets_same += changes(&before, &after, &mut into.budgets);
            }
        }
        Ok(())
    }

    /// The first and last end of the windows that were judged on either side.
    fn changed(&self, old: Option<&Budget>, new: Option<&Budget>) -> Option<(Timestamp, Timestamp)> {
        let of = |budget: Option<&Budget>, said: &[(&str, Outcome)]| -> Vec<Timestamp> {
            let said = said.iter().filter(|(guarantee, _)| budget.is_some_and(|b| b.guarantee == *guarantee));
            said.map(|(_, outcome)| outcome.to).collect()
        };
        let ends = [of(old, &self.before), of(new, &self.after)].concat();
        ends.iter().min().copied().zip(ends.iter().max().copied())
    }

    async fn side<'a>(
        &self,
        agreement: &'a Agreement,
        budget: Option<&'a Budget>,
        said: &[(&str, Outcome)],
        changed: Option<(Timestamp, Timestamp)>,
    ) -> Result<Option<Side<'a>>, SimulateError> {
        let Some(budget) = budget else { return Ok(None) };
        let due = due(agreement, budget, changed, self.at);
        let Some(due) = due.map_err(|e| SimulateError::TooManyWindows(e.to_string()))? else { return Ok(None) };
        let of_budget = said.iter().filter(|(guarantee, _)| *guarantee == budget.guarantee);
        let mut outcomes: Vec<Outcome> = of_budget.map(|(_, outcome)| outcome.clone()).collect();
        if !self.whole {
            let (from, to) = self.range;
            let id = &self.current.id;
            let stored = self.store.outcomes(id, &budget.guarantee, due.after, due.until).await?;
            outcomes.extend(stored.into_iter().filter(|outcome| outcome.to <= from || outcome.from >= to));
        }
        Ok(Some(Side { agreement, budget, due, outcomes }))
    }
}

impl Side<'_> {
    /// The states of the periods, or of the burn rates at the ends of a piece, both inclusive.
    fn states(&self, piece: Option<(Timestamp, Timestamp)>, at: Timestamp) -> Vec<State> {
        let (after, until) = (self.due.after, self.due.until);
        let due = match piece {
            None => Due { periods: self.due.periods.clone(), ends: Vec::new(), after, until },
            Some((first, last)) => {
                let ends = self.due.ends.iter().copied().filter(|end| (first..=last).contains(end)).collect();
                Due { periods: Vec::new(), ends, after, until }
            }
        };
        states(self.agreement, self.budget, &due, &self.outcomes, RunId::fresh(), at)
    }
}
