//! The loop that runs tasks when they are due: each due time by one process, missed runs made up for by the latest one,
//! none begun while the one before is under way.

use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use url::Url;

use super::{Director, DirectorError, SCHEDULE_PREFIX, Scripts, Task};
use crate::evaluate::Windows;
use crate::model::RunId;
use crate::model::run::{RunError, RunRecord, RunState, Trigger};
use crate::store::{Claim, ClaimKey, Due, How};

/// How often tasks are read again: another process may have changed them.
const LOOK: Duration = Duration::from_secs(10);

impl Director {
    /// Runs tasks until `stop` resolves; runs under way are finished.
    pub async fn run(self: Arc<Self>, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        let mut runs = JoinSet::new();
        loop {
            let now = self.clock.now();
            let mut wake = now.saturating_add(jiff::SignedDuration::try_from(LOOK).unwrap_or_default()).unwrap_or(now);
            match self.tasks().await {
                Ok(tasks) => {
                    for task in tasks {
                        if let Some(next) = task.next_after(now) {
                            wake = wake.min(next);
                        }
                        if let Some(due) = task.latest_before(now) {
                            runs.spawn(self.clone().fire(task, due));
                        }
                    }
                }
                Err(error) => tracing::error!(%error, "the tasks cannot be read"),
            }
            tokio::select! {
                biased;
                () = &mut stop => break,
                () = self.changed.notified() => {}
                () = self.clock.sleep_until(wake) => {}
            }
            while runs.try_join_next().is_some() {}
        }
        while runs.join_next().await.is_some() {}
    }

    /// One due run, unless it was done, another process does it, or the one before is under way.
    async fn fire(self: Arc<Self>, task: Task, due: Timestamp) {
        if let Err(problem) = self.ours(&task) {
            let text = problem.to_string();
            let said = self.said.lock().unwrap_or_else(|p| p.into_inner()).insert(task.id.clone(), text.clone());
            if said.as_ref() != Some(&text) {
                tracing::error!(task = task.id, "the task is not run: {text}");
            }
            return;
        }
        let under_way = || self.under_way.lock().unwrap_or_else(|p| p.into_inner());
        match under_way().entry(task.id.clone()) {
            Entry::Vacant(free) => drop(free.insert(false)),
            Entry::Occupied(mut busy) => {
                busy.insert(true);
                return;
            }
        }
        let done = self.fire_alone(&task, due).await;
        let more = under_way().remove(&task.id).unwrap_or_default();
        // What came due meanwhile begins now.
        if more || matches!(done, Ok(true)) {
            self.changed.notify_one();
        }
        if let Err(error) = done {
            tracing::error!(task = task.id, %due, %error, "a run of a task failed; it is tried again");
        }
    }

    /// Whether the run was this process' to do.
    async fn fire_alone(&self, task: &Task, due: Timestamp) -> Result<bool, DirectorError> {
        let schedule = format!("{SCHEDULE_PREFIX}{}", task.id);
        let key = ClaimKey { schedule: schedule.clone(), due_at: due };
        let due_row = Due { key, how: How::Live, at: self.clock.now() };
        // One that broke off, here or in another process, is taken up when its lease is over.
        let Some(held) = self.holding.lease(&due_row).await? else { return Ok(false) };
        let trigger = Trigger::Cron { schedule, due_at: due };
        let done = tokio::select! {
            done = self.evaluate(task, due, trigger, "director", Some(held.claim.clone())) => done,
            () = held.lost() => return Ok(false),
        };
        if done.is_err() {
            // The next look takes it up.
            held.give_back().await?;
        }
        done.map(|_| true)
    }

    /// Runs a task now and waits for it.
    pub async fn run_now(&self, id: &str, by: &str) -> Result<Value, DirectorError> {
        let task = self.task(id).await?;
        self.ours(&task)?;
        let trigger = Trigger::Manual { by: by.into() };
        self.evaluate(&task, self.clock.now(), trigger, by, None).await
    }

    /// Refuses a task whose script is not ours, with the reason.
    pub(super) fn ours(&self, task: &Task) -> Result<(), DirectorError> {
        let allowed = || self.scripts.get().is_some_and(|scripts| scripts.allowed(task).is_some());
        if task.is_ours(&self.script_hosts) || allowed() {
            return Ok(());
        }
        let script = task.script().unwrap_or_default();
        Err(DirectorError::NotOurs(format!(
            "its script \"{}\" is not one of Probity's, and scripts of others are run only from the addresses in \
             director.scripts; expected {} at {}",
            script.split('?').next().unwrap_or_default(),
            super::SCRIPT_PATH,
            self.script_hosts.join(" or ")
        )))
    }

    /// Runs a script of others. Its run is kept; one that failed is not run again for the same due time, for nobody knows
    /// what it had done by then.
    async fn run_script(
        &self,
        scripts: &Scripts,
        task: &Task,
        url: Url,
        trigger: Trigger,
        claim: Option<Claim>,
    ) -> Result<Value, DirectorError> {
        let (id, started_at) = (RunId::fresh(), self.clock.now());
        let done = scripts.run(task, url, self.evaluator.engine.current()).await;
        let error = done.as_ref().err().map(|message| RunError {
            node: task.id.as_str().into(),
            node_type: "task".into(),
            message: message.clone(),
        });
        let run = RunRecord {
            id,
            subject: format!("{SCHEDULE_PREFIX}{}", task.id),
            trigger,
            state: if done.is_ok() { RunState::Done } else { RunState::Failed },
            started_at,
            ended_at: Some(self.clock.now()),
            version: String::new(),
            hops: 1,
            error,
            trace: Vec::new(),
            trace_dropped: 0,
        };
        self.store.record_runs(&[run]).await?;
        if let Some(claim) = &claim {
            self.store.complete_claim(claim, id, self.clock.now()).await?;
        }
        done.map_err(DirectorError::Failed)
    }

    async fn evaluate(
        &self,
        task: &Task,
        due: Timestamp,
        trigger: Trigger,
        actor: &str,
        claim: Option<Claim>,
    ) -> Result<Value, DirectorError> {
        let failed = |problem: String| DirectorError::Failed(problem);
        let foreign = self.scripts.get().filter(|_| !task.is_ours(&self.script_hosts));
        if let Some((scripts, url)) = foreign.and_then(|scripts| Some((scripts, scripts.allowed(task)?))) {
            return self.run_script(scripts, task, url, trigger, claim).await;
        }
        let id = task
            .config("agreementId")
            .and_then(Value::as_str)
            .ok_or_else(|| failed("config.agreementId is missing; expected the id of an agreement".into()))?;
        let windows = match task.config("periods").and_then(Value::as_array) {
            None => vec![Windows::LastClosed { at: due, count: 1 }],
            Some(periods) => super::points::windows(periods).map_err(failed)?,
        };
        if let (true, Some(claim)) = (windows.is_empty(), &claim) {
            // Nothing is stored with which it would be done.
            self.store.complete_claim(claim, RunId::fresh(), self.clock.now()).await?;
        }
        let last = windows.len().saturating_sub(1);
        let mut verdicts = 0;
        for (i, windows) in windows.into_iter().enumerate() {
            let claim = claim.clone().filter(|_| i == last);
            let states = super::points::evaluate(&self.evaluator, id, windows, trigger.clone(), actor, claim);
            verdicts += states.await.map_err(failed)?;
        }
        Ok(json!({"agreementId": id, "verdicts": verdicts}))
    }
}
