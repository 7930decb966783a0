//! Budgets in the one evaluation path: what verdicts that were judged just now mean for the budgets of their guarantees.

use std::collections::HashMap;

use jiff::Timestamp;

use super::{EvaluateError, Evaluator, Request, Windows};
use crate::agreement::budgets::judge;
use crate::model::RunId;
use crate::model::agreement::Agreement;
use crate::model::budget::Outcome;
use crate::model::state::{Scope, State, StateKind};

/// Which budgets an evaluation is about.
pub(super) enum About<'r> {
    /// Those of all guarantees, or of this one, with their last closed and open periods.
    All(Option<&'r str>),
    /// Those whose verdicts are among the states.
    Changed,
    /// None: open windows count for no budget.
    None,
}

impl<'r> About<'r> {
    pub(super) fn of(request: &'r Request) -> About<'r> {
        match request.windows {
            Windows::OpenAt(_) => About::None,
            // What is a window of the agreement's own is stored as such, and counts.
            Windows::Exactly { .. } if request.store => About::Changed,
            Windows::Exactly { .. } => About::None,
            _ => About::All(request.guarantee.as_deref()),
        }
    }
}

impl Evaluator {
    /// The states of budgets and burn rates at `now`, from what is stored and `judged`, which is newer.
    pub(super) async fn budgets(
        &self,
        agreement: &Agreement,
        judged: &[State],
        about: &About<'_>,
        run: RunId,
        now: Timestamp,
    ) -> Result<Vec<State>, EvaluateError> {
        let mut found = Vec::new();
        for budget in &agreement.budgets {
            let newer: Vec<Outcome> = judged
                .iter()
                .filter(|s| s.kind == StateKind::Guarantee && s.of == budget.guarantee)
                .filter_map(Outcome::of)
                .collect();
            let wanted = match about {
                About::All(guarantee) => guarantee.is_none_or(|only| only == budget.guarantee),
                About::Changed => !newer.is_empty(),
                About::None => false,
            };
            if !wanted {
                continue;
            }
            let ends = || newer.iter().map(|outcome| outcome.to);
            let changed = ends().min().zip(ends().max());
            let due = judge::due(agreement, budget, changed, now)
                .map_err(|e| EvaluateError::TooManyWindows(e.to_string()))?;
            let Some(due) = due else { continue };
            let stored = self.store.outcomes(&agreement.id, &budget.guarantee, due.after, due.until).await?;
            let outcomes = overlaid(stored, newer);
            found.extend(judge::states(agreement, budget, &due, &outcomes, run, now));
        }
        Ok(found)
    }
}

/// What is stored, with what is newer in its place.
fn overlaid(stored: Vec<Outcome>, newer: Vec<Outcome>) -> Vec<Outcome> {
    let key = |o: &Outcome| -> (Scope, Timestamp, Timestamp) { (o.scope.clone(), o.from, o.to) };
    let mut latest: HashMap<_, Outcome> = stored.into_iter().map(|o| (key(&o), o)).collect();
    latest.extend(newer.into_iter().map(|o| (key(&o), o)));
    latest.into_values().collect()
}
