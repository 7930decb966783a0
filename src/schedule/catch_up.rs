//! What is made up for and taken up: due times that nobody was there for, claims that somebody did not finish, documents
//! that changed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use jiff::Timestamp;

use super::due::{Schedule, Subject, calendars};
use super::{RETRY_MAX, RETRY_MIN, Scheduler};
use crate::evaluate::{Request, Windows};
use crate::model::agreement::Agreement;
use crate::model::run::Trigger;
use crate::store::{ClaimKey, Due, How, Store, StoreError};

/// Claims looked at in one round of taking up what others did not finish.
const TAKEN_UP_MAX: u32 = 200;
/// How long one process has the duty of judging a changed agreement again, milliseconds.
const AGAIN_MS: u64 = 60_000;
/// Another process that judges a changed agreement is waited for in such steps.
const AGAIN_LOOK: Duration = Duration::from_secs(1);

impl Scheduler {
    /// What must be done before the clock is followed for these schedules: claims that nobody holds, then due times missed
    /// since the last one that is a row.
    pub(super) async fn catch_up(
        self: Arc<Self>,
        schedules: Arc<Vec<Arc<Schedule>>>,
        now: Timestamp,
    ) -> Vec<BoxFuture<'static, ()>> {
        let mut firings: Vec<BoxFuture<'static, ()>> = Vec::new();
        if self.options.works {
            firings.extend(self.unfinished(&schedules).await);
        }
        for schedule in schedules.iter() {
            let missed = match self.options.notices {
                true => self.make_up(schedule, now).await,
                false => Vec::new(),
            };
            if missed.is_empty()
                && self.options.works
                && let Subject::Windows(agreement) | Subject::Cron { agreement, .. } = &schedule.subject
                && self.is_revised(agreement).await
            {
                firings.push(self.clone().evaluate_again(agreement.clone(), now).boxed());
            }
            firings.extend(
                missed.into_iter().map(|due| self.clone().fire(schedule.clone(), due.key.due_at, due.how).boxed()),
            );
        }
        firings
    }

    /// Makes rows of what a schedule missed, by its policy, and counts what is left out.
    async fn make_up(&self, schedule: &Arc<Schedule>, now: Timestamp) -> Vec<Due> {
        let id = schedule.id.clone();
        let last = self.with_store(move |store| {
            let id = id.clone();
            async move { store.last_claim_until(&id, now).await }.boxed()
        });
        let last = last.await;
        let how = if last.is_none() { How::First } else { How::Missed };
        let missed = schedule.missed(last, now);
        if let Some(last) = last {
            let left_out = schedule.count_between(last, now).saturating_sub(missed.len() as u64);
            if left_out > 0 {
                tracing::info!(schedule = %schedule.id, missed = left_out, policy = ?schedule.catch_up,
                    "firings that were missed are not made up for");
                self.seen.missed(&schedule.id, left_out);
            }
        }
        let key = |due_at| ClaimKey { schedule: schedule.id.clone(), due_at };
        let due: Vec<Due> = missed.into_iter().map(|due_at| Due { key: key(due_at), how, at: now }).collect();
        if !due.is_empty() {
            let rows = due.clone();
            self.with_store(move |store| {
                let rows = rows.clone();
                async move { store.materialise(&rows).await }.boxed()
            })
            .await;
        }
        due
    }

    /// Takes up claims that nobody holds, here or in any other process.
    pub(super) async fn take_up(self: Arc<Self>) {
        let schedules = self.schedules.load_full();
        join_all(self.unfinished(&schedules).await).await;
    }

    async fn unfinished(self: &Arc<Self>, schedules: &[Arc<Schedule>]) -> Vec<BoxFuture<'static, ()>> {
        let by_id: HashMap<&str, &Arc<Schedule>> = schedules.iter().map(|s| (s.id.as_str(), s)).collect();
        let ids: Vec<&str> = by_id.keys().copied().collect();
        let free = match self.evaluator.store.leasable_claims(&ids, TAKEN_UP_MAX).await {
            Ok(free) => free,
            Err(error) => {
                tracing::debug!(%error, "claims that nobody holds cannot be looked for; it is tried again");
                return Vec::new();
            }
        };
        let firing = |key: ClaimKey| {
            let schedule = by_id.get(key.schedule.as_str())?;
            // As its row says: it is there.
            Some(self.clone().fire((*schedule).clone(), key.due_at, How::Missed).boxed())
        };
        free.into_iter().filter_map(firing).collect()
    }

    /// Asks the store until it answers.
    pub(super) async fn with_store<T>(
        &self,
        ask: impl Fn(Arc<dyn Store>) -> BoxFuture<'static, Result<T, StoreError>> + Send + Sync,
    ) -> T {
        let mut pause = RETRY_MIN;
        loop {
            match ask(self.evaluator.store.clone()).await {
                Ok(answer) => return answer,
                Err(error) => {
                    tracing::error!(%error, retry_s = pause.as_secs(), "the schedule cannot reach the store");
                    self.evaluator.engine.services.clock.sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// True when the agreement's latest final verdicts were said of another version of its document.
    async fn is_revised(&self, agreement: &Agreement) -> bool {
        let id = agreement.id.clone();
        let page = self.with_store(move |store| {
            let query = crate::store::StateQuery {
                agreement: Some(id.clone()),
                provisional: Some(false),
                ..Default::default()
            };
            async move { store.states(&query, &crate::store::PageRequest { limit: 1, after: None }).await }.boxed()
        });
        page.await.items.first().is_some_and(|latest| latest.state.agreement_version != agreement.hash)
    }

    /// Judges the last closed windows anew, under the document as it is now; the verdicts said before stay as earlier
    /// revisions. One process does it, the others find it done.
    async fn evaluate_again(self: Arc<Self>, agreement: Arc<Agreement>, now: Timestamp) {
        let id = agreement.id.clone();
        let duty = format!("agreement/{id}/revised");
        let mut stopping = self.stopping.subscribe();
        loop {
            let (holding, name) = (self.holding.clone(), duty.clone());
            let ours = self.with_store(move |_| {
                let (holding, name) = (holding.clone(), name.clone());
                async move { holding.duty(&name, AGAIN_MS).await }.boxed()
            });
            if ours.await {
                break;
            }
            tokio::select! {
                () = self.evaluator.engine.services.clock.sleep(AGAIN_LOOK) => {}
                _ = stopping.wait_for(|stop| *stop) => return,
            }
            if !self.is_revised(&agreement).await {
                return;
            }
        }
        // Another may have been first, between the look and the duty.
        if self.is_revised(&agreement).await {
            self.judge_again(agreement, now).await;
        }
        if let Err(error) = self.holding.leave_duty(&duty).await {
            tracing::debug!(%error, "a duty could not be laid down; it ends by itself");
        }
    }

    async fn judge_again(&self, agreement: Arc<Agreement>, now: Timestamp) {
        let turn = self.turn(&agreement.id);
        let _alone = turn.write().await;
        let Ok(_permit) = self.evaluations.clone().acquire_owned().await else { return };
        let id = agreement.id.clone();
        tracing::info!(agreement = %id, "its document has changed; its last closed windows are judged again");
        let request = Request {
            agreement,
            windows: Windows::LastClosed { at: now, count: 1 },
            guarantee: None,
            trigger: Trigger::Cron { schedule: format!("agreement/{id}/revised"), due_at: now },
            actor: "schedule".into(),
            store: true,
            claim: None,
        };
        if let Err(error) = self.evaluator.run(request).await {
            self.failed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            tracing::error!(agreement = %id, %error, "its last closed windows could not be judged again");
        }
    }

    /// Judges the open windows of an agreement, in one process of all; skipped while the last such evaluation is still under
    /// way.
    pub(super) async fn evaluate_open(self: Arc<Self>, agreement: Arc<Agreement>) {
        let id = agreement.id.clone();
        if !self.provisional.lock().unwrap_or_else(|p| p.into_inner()).insert(id.clone()) {
            return;
        }
        let permit = self.evaluations.clone().acquire_owned().await;
        let now = self.evaluator.engine.services.clock.now();
        let any_open = calendars(&agreement).any(|calendar| calendar.open_at(now).is_some());
        // Who had it last keeps it, unless a round and a half passed without it.
        let (duty, lease_ms) = (format!("agreement/{id}/open"), self.options.provisional_ms.saturating_mul(3) / 2);
        if permit.is_ok() && any_open && self.holding.duty(&duty, lease_ms).await.unwrap_or(false) {
            let request = Request {
                agreement,
                windows: Windows::OpenAt(now),
                guarantee: None,
                trigger: Trigger::Cron { schedule: format!("agreement/{id}/open"), due_at: now },
                actor: "schedule".into(),
                store: true,
                claim: None,
            };
            if let Err(error) = self.evaluator.run(request).await {
                self.failed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                tracing::error!(agreement = %id, %error, "the open windows could not be evaluated");
            }
        }
        self.provisional.lock().unwrap_or_else(|p| p.into_inner()).remove(&id);
    }
}
