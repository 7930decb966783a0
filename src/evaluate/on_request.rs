//! Evaluations that a node or a caller of the API asks for.

use async_trait::async_trait;

use super::{EvaluateError, Evaluator, Request, Windows, nothing_to_judge};
use crate::model::run::Trigger;
use crate::model::state::{State, StateKind};
use crate::runtime::services::{EvaluateAgreement, EvaluateRequest, Evaluated, NotEvaluated};

impl From<EvaluateError> for NotEvaluated {
    fn from(error: EvaluateError) -> Self {
        match error {
            EvaluateError::Contended(_) | EvaluateError::Store(_) => NotEvaluated::NotStored(error.to_string()),
            _ => NotEvaluated::Refused(error.to_string()),
        }
    }
}

#[async_trait]
impl EvaluateAgreement for Evaluator {
    async fn waivers_changed(&self, agreement: &str, by: &str) -> Result<u64, String> {
        self.waivers_changed.notify_waiters();
        let Ok(agreement) = self.agreement(agreement) else { return Ok(0) };
        let trigger = Trigger::Manual { by: by.to_owned() };
        let reviewed = self.review_waivers(&agreement, trigger, by).await.map_err(|e| e.to_string())?;
        Ok(reviewed.map_or(0, |committed| committed.inserted + committed.revised))
    }

    async fn evaluate(&self, request: EvaluateRequest) -> Result<Evaluated, NotEvaluated> {
        let agreement = self.agreement(&request.agreement)?;
        let windows = match request.range {
            Some((from, to)) => Windows::Overlapping { from, to },
            None => Windows::LastClosed { at: self.engine.services.clock.now(), count: 1 },
        };
        let actor = match &request.trigger {
            Trigger::Manual { by } => by.clone(),
            _ => "flow".into(),
        };
        let request = Request {
            agreement: agreement.clone(),
            windows,
            guarantee: request.guarantee,
            trigger: request.trigger,
            actor,
            store: request.store,
            claim: None,
        };
        let evaluation = self.run(request).await?;
        let states: Vec<State> = evaluation.states.into_iter().filter(|s| s.kind == StateKind::Guarantee).collect();
        let nothing = states.is_empty().then(|| nothing_to_judge(&agreement, windows));
        Ok(Evaluated { states, kept: evaluation.kept, nothing })
    }
}
