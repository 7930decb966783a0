//! The stored states that explain a verdict, read by their identity: no list is searched, however many there are.

use std::collections::BTreeMap;

use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};

use crate::agreement::budgets::explain as budgets;
use crate::agreement::budgets::explain::BudgetExplanation;
use crate::agreement::explain::{self, Explanation, Facts, Question, VerdictId};
use crate::agreement::{Calendar, observed};
use crate::model::agreement::{Agreement, Term};
use crate::model::state::{StateKind, StoredState, Window};
use crate::store::{PageRequest, StateQuery, Store, StoreError};

/// Reads of the store at once.
const PARALLEL: usize = 8;

/// Why there is no explanation.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The caller's fault, with what to do.
    #[error("{0}")]
    BadId(String),
    #[error("no verdict of {guarantee} is stored for this scope and window, {window}")]
    NotStored { guarantee: String, window: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Explains a stored verdict. `agreement` is the one that is loaded now, if it is.
///
/// # Errors
/// When the id names no window, no such verdict is stored, or the store cannot be read.
pub async fn explain(
    store: &dyn Store,
    agreement: Option<&Agreement>,
    id: &VerdictId,
) -> Result<Explanation, ExplainError> {
    let windows = windows(agreement, id)?;
    let of = |window: &Window| {
        let (from, to) = (window.from, window.to);
        store.revisions(&id.agreement, StateKind::Guarantee, &id.guarantee, &id.scope, from, to)
    };
    let mut revisions = Vec::new();
    for window in &windows {
        revisions = of(window).await?;
        if !revisions.is_empty() {
            break;
        }
    }
    let meant: Vec<String> = windows.iter().map(Window::text).collect();
    let not_stored = || ExplainError::NotStored { guarantee: id.guarantee.clone(), window: meant.join(" or ") };
    let Some(stored) = revisions.last() else { return Err(not_stored()) };
    // Bounds in local time are the store's: a window given by two instants has none.
    let window = stored.state.window.clone();
    let questions = agreement.map(|a| explain::questions(a, &id.guarantee, &id.scope, &window)).unwrap_or_default();
    let answers: Vec<_> = questions.iter().map(|question| answer(store, id, question, stored).boxed()).collect();
    let metrics: BTreeMap<String, StoredState> =
        stream::iter(answers).buffered(PARALLEL).try_filter_map(async |found| Ok(found)).try_collect().await?;
    let before = agreement.map(|a| explain::windows_before(a, &id.guarantee, &id.scope, &window)).unwrap_or_default();
    let before: Vec<_> = before.iter().map(|window| of(window).boxed()).collect();
    let earlier: Vec<StoredState> = stream::iter(before)
        .buffered(PARALLEL)
        .try_filter_map(async |revisions| Ok(revisions.into_iter().next_back()))
        .try_collect()
        .await?;
    let facts = Facts { agreement, revisions: &revisions, metrics, earlier: &earlier };
    explain::explain(&facts).ok_or_else(not_stored)
}

/// A window of a budget or burn rate that is not named by its start: the latest there is.
pub const LATEST: &str = "latest";

/// Whether an id means a budget or, as `<budget>/<alert>`, a burn rate. An id with a slash may be a budget's own.
pub fn budget_kind(agreement: Option<&Agreement>, id: &VerdictId) -> StateKind {
    let is_budget = agreement.is_some_and(|a| a.budgets.iter().any(|budget| budget.id == id.guarantee));
    if is_budget || !id.guarantee.contains('/') { StateKind::Budget } else { StateKind::BurnRate }
}

/// Explains a stored state of a budget (`id.guarantee` is the budget's id) or of a burn rate (`<budget>/<alert>`). Its
/// window is named by its start, or by `latest`. `agreement` is the one that is loaded now, if it is.
///
/// # Errors
/// When the id names no window or several, no such state is stored, or the store cannot be read.
pub async fn explain_budget(
    store: &dyn Store,
    agreement: Option<&Agreement>,
    id: &VerdictId,
    kind: StateKind,
) -> Result<BudgetExplanation, ExplainError> {
    let stored = stored_budget(store, agreement, id, kind).await?;
    let state = &stored.state;
    let (needed, guarantee) = (budgets::windows_needed(state), budgets::guarantee(state).unwrap_or_default());
    let mut verdicts = Vec::new();
    if let (Some(first), Some(last)) = (needed.first(), needed.last()) {
        let query = StateQuery {
            agreement: Some(id.agreement.clone()),
            kind: Some(StateKind::Guarantee),
            of: Some(guarantee.clone()),
            scope: Some(id.scope.clone()),
            from: Some(*first),
            // Databases keep microseconds.
            to: last.checked_add(jiff::SignedDuration::from_micros(1)).ok(),
            // What was known then: a later correction makes a later revision of the budget.
            as_of: Some(stored.recorded_at),
            ..StateQuery::default()
        };
        verdicts = store.all_states(&query).await?;
    }
    budgets::explain(agreement, &stored, &verdicts).ok_or_else(|| ExplainError::NotStored {
        guarantee: format!("budget {}", id.guarantee),
        window: id.from.clone(),
    })
}

/// The state that an id means.
async fn stored_budget(
    store: &dyn Store,
    agreement: Option<&Agreement>,
    id: &VerdictId,
    kind: StateKind,
) -> Result<StoredState, ExplainError> {
    let zone = agreement.map_or(jiff::tz::TimeZone::UTC, |a| a.time_zone.clone());
    let instant = |text: &str| {
        crate::agreement::instant(text, &zone).ok_or_else(|| {
            ExplainError::BadId(format!(
                "\"{text}\" is no instant such as 2026-03-01T00:00:00Z, no date, and not \"{LATEST}\""
            ))
        })
    };
    let mut query = StateQuery {
        agreement: Some(id.agreement.clone()),
        kind: Some(kind),
        of: Some(id.guarantee.clone()),
        scope: Some(id.scope.clone()),
        ..StateQuery::default()
    };
    let not_stored = || ExplainError::NotStored {
        guarantee: format!("{} {}", kind.as_str(), id.guarantee),
        window: id.to.as_ref().map_or_else(|| id.from.clone(), |to| format!("{}..{to}", id.from)),
    };
    if id.from == LATEST {
        // The latest window comes first.
        let found = store.states(&query, &PageRequest { limit: 1, after: None }).await?;
        return found.items.into_iter().next().ok_or_else(not_stored);
    }
    let from = instant(&id.from)?;
    let to = id.to.as_deref().map(instant).transpose()?;
    (query.from, query.to) = (Some(from), from.checked_add(jiff::SignedDuration::from_micros(1)).ok());
    let mut found = store.all_states(&query).await?;
    found.retain(|stored| stored.state.window.from == from && to.is_none_or(|to| stored.state.window.to == to));
    match found.len() {
        0 => Err(not_stored()),
        1 => Ok(found.remove(0)),
        several => Err(ExplainError::BadId(format!(
            "{several} windows of {} start at {}; say which by its end: …/{}..{}",
            id.guarantee, id.from, id.from, found[0].state.window.to
        ))),
    }
}

/// The window an id means: by its bounds, or those of the guarantee that start there, of which its terms may have several,
/// first those of the terms that judge its scope.
fn windows(agreement: Option<&Agreement>, id: &VerdictId) -> Result<Vec<Window>, ExplainError> {
    let zone = agreement.map_or(jiff::tz::TimeZone::UTC, |a| a.time_zone.clone());
    let instant = |text: &str| {
        crate::agreement::instant(text, &zone).ok_or_else(|| {
            ExplainError::BadId(format!("\"{text}\" is no instant such as 2026-03-01T00:00:00Z and no date"))
        })
    };
    let from = instant(&id.from)?;
    if let Some(to) = &id.to {
        let local = |at| crate::agreement::windows::local(at, &zone);
        let to = instant(to)?;
        return Ok(vec![Window { from, to, from_local: local(from), to_local: local(to) }]);
    }
    let Some(agreement) = agreement else {
        let problem =
            format!("agreement \"{}\" is not loaded, so give the window's end, too: …/{}..END", id.agreement, id.from);
        return Err(ExplainError::BadId(problem));
    };
    let Some(guarantee) = agreement.guarantees.iter().find(|g| g.id == id.guarantee) else {
        let known = agreement.guarantees.iter().map(|g| g.id.as_str());
        let hint = crate::model::diagnostic::closest(&id.guarantee, known.clone())
            .map_or_else(|| known.collect::<Vec<_>>().join(", "), |best| format!("did you mean \"{best}\"?"));
        let problem = format!("agreement \"{}\" has no guarantee \"{}\": {hint}", id.agreement, id.guarantee);
        return Err(ExplainError::BadId(problem));
    };
    let (judging, others): (Vec<&Term>, Vec<&Term>) = guarantee.terms.iter().partition(|t| t.scope.covers(&id.scope));
    let mut found: Vec<Window> = Vec::new();
    for term in judging.into_iter().chain(others) {
        let starting = Calendar::of(agreement, &term.window).starting_at(from);
        found.extend(starting.filter(|window| !found.contains(window)));
    }
    if found.is_empty() {
        let problem =
            format!("no window of {} starts at {}; windows start at their period's bounds", id.guarantee, id.from);
        return Err(ExplainError::BadId(problem));
    }
    Ok(found)
}

/// The metric's state as it was when the verdict was given: the last revision recorded by then.
async fn answer(
    store: &dyn Store,
    id: &VerdictId,
    question: &Question,
    verdict: &StoredState,
) -> Result<Option<(String, StoredState)>, StoreError> {
    let window = &verdict.state.window;
    for scope in &question.scopes {
        let revisions =
            store.revisions(&id.agreement, StateKind::Metric, &question.name, scope, window.from, window.to).await?;
        let then = revisions.into_iter().rfind(|r| r.recorded_at <= verdict.recorded_at);
        if let Some(found) = then.filter(|found| !observed::is_outdated(&found.state)) {
            return Ok(Some((question.metric.clone(), found)));
        }
    }
    Ok(None)
}
