//! Waivers in the one evaluation path: which are in force, and what happens when one begins or ends.
//!
//! Every evaluation applies those in force when it judges. When that set changes (one begins, expires, is made or ended)
//! the stored verdicts it is about are judged again from the evidence they have, in one transaction, so that all who
//! read them see the change at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;

use super::budgets::About;
use super::{EvaluateError, Evaluator};
use crate::model::RunId;
use crate::model::agreement::Agreement;
use crate::model::run::{RunRecord, RunState, Trigger};
use crate::model::state::{State, StateKind, Verdict};
use crate::model::waiver::{self, Waiver};
use crate::store::{AuditEntry, Commit, Committed, PageRequest, StateQuery};

/// How often verdicts are judged anew because another process stored some of the same agreement meanwhile.
pub(super) const TRIES_MAX: usize = 50;

/// Judging takes turns by agreement: what is read must be what is revised. Between processes the store's turns do it.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    pub(super) fn of(&self, agreement: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        turns.entry(agreement.to_owned()).or_default().clone()
    }
}

/// Those in force at an instant, in an order that does not depend on where they stand.
pub fn in_force(waivers: &[Waiver], at: Timestamp) -> Vec<&Waiver> {
    let mut found: Vec<&Waiver> = waivers.iter().filter(|waiver| waiver.in_force(at)).collect();
    found.sort_by(|a, b| (&a.id, a.origin as u8).cmp(&(&b.id, b.origin as u8)));
    found
}

impl Evaluator {
    /// The waivers of an agreement, of its document and stored, whether in force or not.
    pub async fn waivers(&self, agreement: &Agreement) -> Result<Vec<Waiver>, EvaluateError> {
        let mut waivers = agreement.waivers.clone();
        waivers.extend(self.store.waivers(Some(&agreement.id)).await?);
        Ok(waivers)
    }

    /// Judges again what was stored before a waiver began or ended, if one did between judging and now.
    pub(super) async fn review_if_changed(
        &self,
        agreement: &Agreement,
        judged_with: &[Waiver],
        judged_at: Timestamp,
    ) -> Result<(), EvaluateError> {
        let waivers = self.waivers(agreement).await?;
        let now = self.engine.services.clock.now();
        if in_force(&waivers, now) == in_force(judged_with, judged_at) {
            return Ok(());
        }
        let trigger = Trigger::Cron { schedule: format!("waivers/{}", agreement.id), due_at: now };
        self.review_in_turn(agreement, trigger, "schedule").await.map(drop)
    }

    /// Brings the stored verdicts of an agreement under the waivers in force now, in one transaction. `None` when all
    /// of them were already.
    pub async fn review_waivers(
        &self,
        agreement: &Agreement,
        trigger: Trigger,
        actor: &str,
    ) -> Result<Option<Committed>, EvaluateError> {
        let turn = self.turns.of(&agreement.id);
        let _ours = turn.lock().await;
        self.review_in_turn(agreement, trigger, actor).await
    }

    async fn review_in_turn(
        &self,
        agreement: &Agreement,
        trigger: Trigger,
        actor: &str,
    ) -> Result<Option<Committed>, EvaluateError> {
        for _ in 0..TRIES_MAX {
            let turn = self.store.turn(&agreement.id).await?;
            let Some(commit) = self.reviewed(agreement, trigger.clone(), actor).await? else { return Ok(None) };
            if let Some(committed) = self.store_commit(&commit, turn).await? {
                return Ok(Some(committed));
            }
        }
        Err(EvaluateError::Contended(agreement.id.clone()))
    }

    /// What is stored of an agreement as it is under the waivers in force now; `None` when all of it is already.
    async fn reviewed(
        &self,
        agreement: &Agreement,
        trigger: Trigger,
        actor: &str,
    ) -> Result<Option<Commit>, EvaluateError> {
        let waivers = self.waivers(agreement).await?;
        let now = self.engine.services.clock.now();
        let run = RunId::fresh();
        let mut changed = Vec::new();
        for query in may_change(agreement, &in_force(&waivers, now)) {
            let mut page = PageRequest { limit: 1000, after: None };
            loop {
                let stored = self.store.states(&query, &page).await?;
                changed
                    .extend(stored.items.into_iter().filter_map(|stored| reviewed(stored.state, &waivers, now, run)));
                match stored.next {
                    Some(next) => page.after = Some(next),
                    None => break,
                }
            }
        }
        if changed.is_empty() {
            return Ok(None);
        }
        let verdicts = changed.len();
        let mut budgets = self.budgets(agreement, &changed, &About::Changed, run, now).await?;
        let provenance = self.provenance(agreement);
        budgets.iter_mut().for_each(|state| state.provenance = provenance.clone());
        changed.append(&mut budgets);
        let record = RunRecord {
            id: run,
            subject: agreement.id.clone(),
            trigger,
            state: RunState::Done,
            started_at: now,
            ended_at: Some(self.engine.services.clock.now()),
            version: agreement.hash.clone(),
            hops: 0,
            error: None,
            trace: Vec::new(),
            trace_dropped: 0,
        };
        let audit = AuditEntry {
            at: now,
            actor: actor.to_owned(),
            action: "review waivers".into(),
            subject: agreement.id.clone(),
            detail: serde_json::json!({ "run": run, "verdicts": verdicts }),
        };
        Ok(Some(Commit { run: record, states: changed, audit, claim: None, recorded_at: now }))
    }
}

/// What waivers may change: everything that is waived, and what is violated or unknown where one in force covers it.
fn may_change(agreement: &Agreement, in_force: &[&Waiver]) -> Vec<StateQuery> {
    let of = |verdict| StateQuery {
        agreement: Some(agreement.id.clone()),
        kind: Some(StateKind::Guarantee),
        verdict: Some(verdict),
        ..StateQuery::default()
    };
    let mut queries = vec![of(Verdict::Waived)];
    let from = in_force.iter().map(|waiver| waiver.from).min();
    let to = in_force.iter().map(|waiver| waiver.to.unwrap_or(waiver.expires)).max();
    if let (Some(from), Some(to)) = (from, to) {
        let within = |verdict| StateQuery { from: Some(from), to: Some(to), ..of(verdict) };
        queries.extend([within(Verdict::Violated), within(Verdict::Unknown)]);
    }
    queries
}

/// The state as it stands now, if that is not as it stood.
fn reviewed(stored: State, waivers: &[Waiver], now: Timestamp, run: RunId) -> Option<State> {
    let mut state = stored.clone();
    waiver::apply(&mut state, waivers, now);
    if state == stored {
        return None;
    }
    state.run = run;
    Some(state)
}
