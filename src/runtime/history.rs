//! What becomes of ended runs: counted, the latest kept in memory, the telling ones written to the store.
//!
//! Failed runs and all that were not plain HTTP calls are always written; successful HTTP runs up to
//! `runs_kept_per_s_max` a second, so that a busy endpoint does not drown the database. What is not written is
//! counted.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::mpsc;

use super::Limits;
use super::run::EndedRun;
use crate::model::RunId;
use crate::model::run::{RunRecord, RunState, Trigger};
use crate::store::Store;

/// Ended runs waiting to be written.
const QUEUE_MAX: usize = 10_000;
/// Runs written in one transaction.
const BATCH_MAX: usize = 500;

pub struct History {
    recent: Mutex<VecDeque<Arc<EndedRun>>>,
    recent_max: usize,
    sender: mpsc::Sender<Arc<EndedRun>>,
    receiver: Mutex<Option<mpsc::Receiver<Arc<EndedRun>>>>,
    allowance: Mutex<(Instant, u32)>,
    kept_per_s_max: u32,
    /// Runs ended since the start, by state.
    pub done: AtomicU64,
    pub failed: AtomicU64,
    pub stopped: AtomicU64,
    /// Deliveries of all ended runs.
    pub hops: AtomicU64,
    /// Runs not written to the store: successful HTTP runs beyond the allowance.
    pub sampled_out: AtomicU64,
    /// Runs not written because the writer was too slow.
    pub dropped: AtomicU64,
}

impl History {
    pub fn new(limits: &Limits) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        History {
            recent: Mutex::default(),
            recent_max: limits.runs_in_memory_max,
            sender,
            receiver: Mutex::new(Some(receiver)),
            allowance: Mutex::new((Instant::now(), limits.runs_kept_per_s_max)),
            kept_per_s_max: limits.runs_kept_per_s_max,
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            stopped: AtomicU64::new(0),
            hops: AtomicU64::new(0),
            sampled_out: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    pub(super) fn ended(&self, run: Arc<EndedRun>) {
        let count = match run.state {
            RunState::Done | RunState::Running => &self.done,
            RunState::Failed => &self.failed,
            RunState::Stopped => &self.stopped,
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.hops.fetch_add(run.hops, Ordering::Relaxed);
        let plain = run.state == RunState::Done && matches!(run.trigger, Trigger::Http { .. });
        if plain && !self.allow() {
            self.sampled_out.fetch_add(1, Ordering::Relaxed);
        } else if self.sender.try_send(run.clone()).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        let mut recent = self.recent.lock().unwrap_or_else(|p| p.into_inner());
        if recent.len() >= self.recent_max {
            recent.pop_front();
        }
        recent.push_back(run);
    }

    fn allow(&self) -> bool {
        let mut allowance = self.allowance.lock().unwrap_or_else(|p| p.into_inner());
        if allowance.0.elapsed().as_secs() >= 1 {
            *allowance = (Instant::now(), self.kept_per_s_max);
        }
        let allowed = allowance.1 > 0;
        allowance.1 = allowance.1.saturating_sub(1);
        allowed
    }

    /// A run still in memory.
    pub fn find(&self, id: RunId) -> Option<Arc<EndedRun>> {
        let recent = self.recent.lock().unwrap_or_else(|p| p.into_inner());
        recent.iter().rev().find(|r| r.id == id).cloned()
    }

    /// Runs in memory, newest first.
    pub fn recent(&self, max: usize) -> Vec<Arc<EndedRun>> {
        self.recent.lock().unwrap_or_else(|p| p.into_inner()).iter().rev().take(max).cloned().collect()
    }

    /// Writes ended runs to the store in batches until `stop` resolves and nothing is left. Call once.
    pub async fn write_to(&self, store: Arc<dyn Store>, stop: impl Future<Output = ()>) {
        let receiver = self.receiver.lock().unwrap_or_else(|p| p.into_inner()).take();
        let Some(mut receiver) = receiver else { return };
        let mut batch = Vec::new();
        tokio::pin!(stop);
        loop {
            let more = tokio::select! {
                biased;
                n = receiver.recv_many(&mut batch, BATCH_MAX) => n > 0,
                () = &mut stop => {
                    receiver.close();
                    receiver.recv_many(&mut batch, QUEUE_MAX).await > 0
                }
            };
            if !more {
                return;
            }
            let records: Vec<RunRecord> = batch.drain(..).map(|run| run.to_record()).collect();
            if let Err(error) = store.record_runs(&records).await {
                self.dropped.fetch_add(records.len() as u64, Ordering::Relaxed);
                tracing::error!(%error, runs = records.len(), "run history could not be written");
            }
        }
    }
}
