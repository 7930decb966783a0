//! Verdicts that need not be asked for again: those of windows that closed, judged for good by the document there is now.

use std::collections::{HashMap, HashSet};

use jiff::{Timestamp, ToSpan};

use super::{EvaluateError, Evaluator, Request, Windows};
use crate::model::agreement::Agreement;
use crate::model::run::Trigger;
use crate::model::state::{Scope, State, StateKind, Verdict};
use crate::store::StateQuery;

impl Evaluator {
    /// The stored verdicts of a guarantee in the windows that overlap `[from, to)`, by window and scope. `None` when one of
    /// them is still open, was judged by another document, is not judged for every term, or is unknown: then it is worth
    /// asking again.
    ///
    /// # Errors
    /// Too many windows, and a store that cannot be read.
    pub async fn settled(
        &self,
        agreement: &std::sync::Arc<Agreement>,
        guarantee: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Option<Vec<State>>, EvaluateError> {
        let request = Request {
            agreement: agreement.clone(),
            windows: Windows::Overlapping { from, to },
            guarantee: Some(guarantee.to_owned()),
            trigger: Trigger::Manual { by: String::new() },
            actor: String::new(),
            store: false,
            claim: None,
        };
        let plan = self.plan(&request)?;
        let now = self.engine.services.clock.now();
        let bounds = |window: &crate::model::state::Window| (window.from, window.to);
        let windows: HashSet<_> = plan.judgements.iter().map(|j| bounds(&j.window)).collect();
        if windows.is_empty() || windows.iter().any(|(_, to)| *to > now) {
            return Ok(None);
        }
        let query = StateQuery {
            agreement: Some(agreement.id.clone()),
            kind: Some(StateKind::Guarantee),
            of: Some(guarantee.to_owned()),
            // By their ends: a rolling window reaches back over many that are none of these.
            from: windows.iter().map(|w| w.1).min().and_then(|end| end.checked_sub(1.microsecond()).ok()),
            to: windows.iter().map(|w| w.1).max(),
            provisional: Some(false),
            ..StateQuery::default()
        };
        let stored = self.store.all_states(&query).await?;
        let states = stored.into_iter().map(|stored| stored.state);
        let mut found: Vec<State> =
            states.filter(|s| windows.contains(&bounds(&s.window)) && s.agreement_version == agreement.hash).collect();
        // The whole of a scope whose members have come says nothing more.
        found.retain(|s| !(s.scope.has_wildcard() && s.verdict == Some(Verdict::NotApplicable)));
        let unknown = |s: &State| s.unwaived() == Some(Verdict::Unknown);
        let all_judged = {
            let mut scopes: HashMap<_, Vec<&Scope>> = HashMap::new();
            for state in &found {
                scopes.entry(bounds(&state.window)).or_default().push(&state.scope);
            }
            plan.judgements.iter().all(|judgement| {
                let term = &agreement.guarantees[judgement.guarantee].terms[judgement.term];
                let here = scopes.get(&bounds(&judgement.window));
                here.is_some_and(|scopes| scopes.iter().any(|scope| term.scope.covers(scope)))
            })
        };
        if found.iter().any(unknown) || !all_judged {
            return Ok(None);
        }
        found.sort_by(|a, b| (a.window.from, a.window.to, &a.scope).cmp(&(b.window.from, b.window.to, &b.scope)));
        Ok(Some(found))
    }
}
