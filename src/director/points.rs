//! What tasks ask of a Reporter: the verdicts of some periods of an agreement, answered at once and made in the
//! background. Periods asked for while others of the same agreement are made wait together, each once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use serde_json::Value;

use crate::evaluate::{Evaluator, Request, Windows};
use crate::model::run::Trigger;
use crate::store::Claim;

/// Periods that may wait for one agreement.
const WAITING_MAX: usize = 10_000;

/// Periods as they are asked for: half-open, `[from, to)`.
pub(super) fn windows(periods: &[Value]) -> Result<Vec<Windows>, String> {
    periods
        .iter()
        .enumerate()
        .map(|(i, period)| {
            let bound = |key: &str| -> Result<Timestamp, String> {
                let text = period.get(key).and_then(Value::as_str).unwrap_or_default();
                text.parse().map_err(|_| {
                    format!("periods[{i}].{key} is \"{text}\"; expected an instant such as 2026-03-01T00:00:00.000Z")
                })
            };
            let (from, to) = (bound("from")?, bound("to")?);
            if from >= to {
                return Err(format!("periods[{i}]: from is not before to"));
            }
            Ok(Windows::Overlapping { from, to })
        })
        .collect()
}

/// Evaluates and stores. Gives the number of verdicts.
pub(super) async fn evaluate(
    evaluator: &Evaluator,
    agreement: &str,
    windows: Windows,
    trigger: Trigger,
    actor: &str,
    claim: Option<Claim>,
) -> Result<usize, String> {
    let agreement = evaluator.agreement(agreement).map_err(|e| e.to_string())?;
    let request = Request { agreement, windows, guarantee: None, trigger, actor: actor.into(), store: true, claim };
    evaluator.run(request).await.map(|evaluation| evaluation.verdicts().count()).map_err(|e| e.to_string())
}

/// What waits, and is made one agreement at a time.
pub struct Points {
    evaluator: Arc<Evaluator>,
    waiting: Mutex<BTreeMap<String, Waiting>>,
}

#[derive(Default)]
struct Waiting {
    windows: Vec<Windows>,
    /// Somebody makes them.
    made: bool,
}

impl Points {
    pub fn new(evaluator: Arc<Evaluator>) -> Arc<Points> {
        Arc::new(Points { evaluator, waiting: Mutex::default() })
    }

    /// Takes an order: the last closed windows without `periods`. Returns at once; the work is done in the background.
    ///
    /// # Errors
    /// An agreement that is not there, a period that is none, and more than can wait.
    pub fn order(self: &Arc<Self>, agreement: &str, periods: Option<&[Value]>, by: &str) -> Result<(), String> {
        self.evaluator.agreement(agreement).map_err(|e| e.to_string())?;
        let now = self.evaluator.engine.services.clock.now();
        let windows = match periods {
            Some(periods) => windows(periods)?,
            None => vec![Windows::LastClosed { at: now, count: 1 }],
        };
        let mut waiting = self.waiting.lock().unwrap_or_else(|p| p.into_inner());
        let order = waiting.entry(agreement.to_owned()).or_default();
        for windows in windows {
            if order.windows.contains(&windows) {
                continue;
            }
            if order.windows.len() >= WAITING_MAX {
                return Err(format!("more than {WAITING_MAX} periods of \"{agreement}\" wait"));
            }
            order.windows.push(windows);
        }
        if !std::mem::replace(&mut order.made, true) {
            let (points, agreement, by) = (self.clone(), agreement.to_owned(), by.to_owned());
            tokio::spawn(async move { points.make(&agreement, &by).await });
        }
        Ok(())
    }

    /// Makes what waits for an agreement until nothing does.
    async fn make(&self, agreement: &str, by: &str) {
        loop {
            let windows = {
                let mut waiting = self.waiting.lock().unwrap_or_else(|p| p.into_inner());
                let Some(order) = waiting.get_mut(agreement).filter(|order| !order.windows.is_empty()) else {
                    waiting.remove(agreement);
                    return;
                };
                std::mem::take(&mut order.windows)
            };
            for windows in windows {
                let trigger = Trigger::Manual { by: by.to_owned() };
                match evaluate(&self.evaluator, agreement, windows, trigger, by, None).await {
                    Ok(verdicts) => tracing::debug!(agreement, verdicts, "periods are judged"),
                    Err(error) => tracing::error!(agreement, error, "periods could not be judged"),
                }
            }
        }
    }
}
