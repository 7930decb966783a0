//! `probity simulate`: the stored states of an agreement, judged again under another one.

use jiff::Timestamp;

use super::judge;
use crate::agreement::queries;
use crate::agreement::simulate::{Simulation, answers, compare};
use crate::model::RunId;
use crate::model::agreement::Agreement;
use crate::model::state::{State, StateKind, StoredState};
use crate::model::waiver::{self, Waiver};
use crate::store::{PageRequest, StateQuery, Store, StoreError};

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
/// the stored ones. Nothing is asked of any collector, and nothing is written. Reads all of the
/// range's states into memory.
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
    let mut stored = read(store, &current.id, from, to).await?;
    // Budgets and burn rates follow from verdicts, and reach further.
    stored.retain(|s| matches!(s.state.kind, StateKind::Guarantee | StateKind::Metric));
    let bounds = || stored.iter().map(|s| &s.state.window);
    let nothing = || SimulateError::NothingStored(current.id.clone());
    let first = bounds().map(|w| w.from).min().ok_or_else(nothing)?;
    let last = bounds().map(|w| w.to).max().ok_or_else(nothing)?;
    let (from, to) = (from.unwrap_or(first), to.unwrap_or(last));
    let (metrics, mut verdicts): (Vec<_>, Vec<_>) = stored.into_iter().partition(|s| s.state.kind == StateKind::Metric);
    let plan = queries::plan(candidate, None, from, to).map_err(|e| SimulateError::TooManyWindows(e.to_string()))?;
    let answers = answers(current, candidate, &plan, &metrics);
    // Whether a window was still open is no part of the comparison.
    let states = judge::judge(candidate, &plan, &answers, RunId::fresh(), to);
    let mut judged: Vec<State> = states.into_iter().filter(|s| s.kind == StateKind::Guarantee).collect();
    let kept = store.waivers(Some(&current.id)).await?;
    let with = |own: &[Waiver]| -> Vec<Waiver> { own.iter().chain(&kept).cloned().collect() };
    let (now, then) = (with(&current.waivers), with(&candidate.waivers));
    verdicts.iter_mut().for_each(|stored| waiver::apply(&mut stored.state, &now, at));
    judged.iter_mut().for_each(|state| waiver::apply(state, &then, at));
    Ok(compare(current, candidate, (from, to), &verdicts, &judged, &answers))
}

/// The latest states of an agreement whose windows overlap the range.
async fn read(
    store: &dyn Store,
    agreement: &str,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
) -> Result<Vec<StoredState>, StoreError> {
    let query = StateQuery { agreement: Some(agreement.to_owned()), from, to, ..StateQuery::default() };
    let mut page = PageRequest { limit: 1000, after: None };
    let mut found = Vec::new();
    loop {
        let answer = store.states(&query, &page).await?;
        found.extend(answer.items);
        match answer.next {
            Some(next) => page.after = Some(next),
            None => return Ok(found),
        }
    }
}
