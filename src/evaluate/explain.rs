//! The stored states that explain a verdict, read by their identity: no list is searched, however many there are.

use std::collections::BTreeMap;

use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};

use crate::agreement::Calendar;
use crate::agreement::explain::{self, Explanation, Facts, Question, VerdictId};
use crate::model::agreement::Agreement;
use crate::model::state::{StateKind, StoredState, Window};
use crate::store::{Store, StoreError};

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
    let window = window(agreement, id)?;
    let of = |window: &Window| {
        let (from, to) = (window.from, window.to);
        store.revisions(&id.agreement, StateKind::Guarantee, &id.guarantee, &id.scope, from, to)
    };
    let revisions = of(&window).await?;
    let not_stored = || ExplainError::NotStored { guarantee: id.guarantee.clone(), window: window.text() };
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

/// The window an id means: by its bounds, or the one of the guarantee that starts there.
fn window(agreement: Option<&Agreement>, id: &VerdictId) -> Result<Window, ExplainError> {
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
        return Ok(Window { from, to, from_local: local(from), to_local: local(to) });
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
    let starts = |term: &crate::model::agreement::Term| Calendar::of(agreement, &term.window).starting_at(from);
    guarantee.terms.iter().find_map(starts).ok_or_else(|| {
        ExplainError::BadId(format!(
            "no window of {} starts at {}; windows start at their period's bounds",
            id.guarantee, id.from
        ))
    })
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
        if let Some(found) = revisions.into_iter().rfind(|r| r.recorded_at <= verdict.recorded_at) {
            return Ok(Some((question.metric.clone(), found)));
        }
    }
    Ok(None)
}
