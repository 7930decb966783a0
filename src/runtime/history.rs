//! What becomes of ended runs: counted, the latest kept in memory, the telling ones written to the store.
//!
//! Failed runs, runs with evidence and all that were not plain HTTP calls are always written; successful HTTP runs up to
//! `runs_kept_per_s_max` a second, so that a busy endpoint does not drown the database. What is not written is
//! counted.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::Limits;
use super::run::EndedRun;
use crate::clock::Clock;
use crate::model::RunId;
use crate::model::run::{RunRecord, RunState, Trigger};
use crate::store::{Store, StoreError};

/// Ended runs waiting to be written.
const QUEUE_MAX: usize = 10_000;
/// Pauses between two tries while the store is away, milliseconds.
const RETRY_MS_MIN: u64 = 100;
const RETRY_MS_MAX: u64 = 5_000;
/// Runs written in one transaction.
const BATCH_MAX: usize = 500;

/// What recorded calls of plugins may take in memory, bytes: those of runs that wait to be written, and those of
/// ended runs that are kept for questions.
const CALL_BYTES_MAX: usize = 64 << 20;

/// What can be asked about without the store.
#[derive(Default)]
struct Memory {
    ended: VecDeque<Arc<EndedRun>>,
    /// Runs that wait for something; one that never waits is over before anybody could ask.
    open: HashMap<RunId, RunRecord>,
    /// About what the recorded calls of `ended` take, bytes.
    call_bytes: usize,
}

impl Memory {
    fn push(&mut self, run: Arc<EndedRun>, runs_max: usize) {
        self.call_bytes += run.recorded_bytes();
        while !self.ended.is_empty() && (self.ended.len() >= runs_max || self.call_bytes > CALL_BYTES_MAX) {
            self.call_bytes -= self.ended.pop_front().map_or(0, |run| run.recorded_bytes());
        }
        self.ended.push_back(run);
    }
}

pub struct History {
    memory: Mutex<Memory>,
    recent_max: usize,
    sender: mpsc::Sender<Arc<EndedRun>>,
    receiver: Mutex<Option<mpsc::Receiver<Arc<EndedRun>>>>,
    allowance: Mutex<(Instant, u32)>,
    kept_per_s_max: u32,
    /// About what the recorded calls of runs that wait to be written take, bytes.
    waiting_call_bytes: AtomicUsize,
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
            memory: Mutex::default(),
            recent_max: limits.runs_in_memory_max,
            sender,
            receiver: Mutex::new(Some(receiver)),
            allowance: Mutex::new((Instant::now(), limits.runs_kept_per_s_max)),
            kept_per_s_max: limits.runs_kept_per_s_max,
            waiting_call_bytes: AtomicUsize::new(0),
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            stopped: AtomicU64::new(0),
            hops: AtomicU64::new(0),
            sampled_out: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    pub(super) fn ended(&self, mut run: EndedRun) -> Arc<EndedRun> {
        self.count(&run);
        let http = matches!(run.trigger, Trigger::Http { .. });
        let plain = run.state == RunState::Done && http && !run.has_evidence() && !run.is_asked_for();
        let written = !plain || self.allow();
        let waiting = self.waiting_call_bytes.load(Ordering::Relaxed);
        // Calls are recorded to be replayed from the history: of a run that is not in it, or while its writer is far
        // behind, they would be in the way.
        if !written || waiting.saturating_add(run.recorded_bytes()) > CALL_BYTES_MAX {
            run.drop_recorded();
        }
        let run = Arc::new(run);
        if !written {
            self.sampled_out.fetch_add(1, Ordering::Relaxed);
        } else {
            self.waiting_call_bytes.fetch_add(run.recorded_bytes(), Ordering::Relaxed);
            if self.sender.try_send(run.clone()).is_err() {
                self.waiting_call_bytes.fetch_sub(run.recorded_bytes(), Ordering::Relaxed);
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        let mut memory = self.memory();
        if !memory.open.is_empty() {
            memory.open.remove(&run.id);
        }
        memory.push(run.clone(), self.recent_max);
        run
    }

    /// Notes a run that goes on for a while, so that it can be found until it has ended. To be called before anything
    /// can poll it.
    pub(super) fn opened(&self, run: RunRecord) {
        self.memory().open.insert(run.id, run);
    }

    /// Notes the end of a durable run, which is written with its row in the queue.
    pub(super) fn ended_durable(&self, run: EndedRun) -> Arc<EndedRun> {
        self.count(&run);
        let run = Arc::new(run);
        let mut memory = self.memory();
        memory.open.remove(&run.id);
        memory.push(run.clone(), self.recent_max);
        run
    }

    /// A run is no longer worked on here, whatever became of it.
    pub(super) fn closed(&self, id: RunId) {
        self.memory().open.remove(&id);
    }

    /// Forgets an end that was not stored.
    pub fn forget(&self, id: RunId) {
        let Memory { ended, call_bytes, .. } = &mut *self.memory();
        ended.retain(|run| {
            if run.id == id {
                *call_bytes -= run.recorded_bytes();
            }
            run.id != id
        });
    }

    fn count(&self, run: &EndedRun) {
        let count = match run.state {
            RunState::Done | RunState::Running => &self.done,
            RunState::Failed => &self.failed,
            RunState::Stopped => &self.stopped,
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.hops.fetch_add(run.hops, Ordering::Relaxed);
    }

    /// Ended runs that wait to be written.
    pub fn waiting(&self) -> usize {
        self.sender.max_capacity() - self.sender.capacity()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(|p| p.into_inner())
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

    /// A run still in memory: ended a while ago, or open and waiting.
    pub fn find(&self, id: RunId) -> Option<RunRecord> {
        let memory = self.memory();
        let ended = memory.ended.iter().rev().find(|r| r.id == id).cloned();
        let open = if ended.is_none() { memory.open.get(&id).cloned() } else { None };
        drop(memory);
        ended.map(|run| run.to_record()).or(open)
    }

    /// Ended runs in memory, newest first, and the open ones that wait for something, in no order and without trace.
    pub fn in_memory(&self) -> (Vec<Arc<EndedRun>>, Vec<RunRecord>) {
        let memory = self.memory();
        (memory.ended.iter().rev().cloned().collect(), memory.open.values().cloned().collect())
    }

    /// Writes ended runs to the store in batches until `stop` resolves and nothing is left. Call once.
    /// While the store is away, runs wait here, as many as fit; it is asked again and again, and those that do not fit are
    /// counted.
    pub async fn write_to(&self, store: Arc<dyn Store>, clock: Clock, stop: impl Future<Output = ()>) {
        let receiver = self.receiver.lock().unwrap_or_else(|p| p.into_inner()).take();
        let Some(mut receiver) = receiver else { return };
        let mut batch = Vec::new();
        tokio::pin!(stop);
        let mut stopping = false;
        loop {
            let more = match stopping {
                true => receiver.recv_many(&mut batch, BATCH_MAX).await > 0,
                false => tokio::select! {
                    biased;
                    n = receiver.recv_many(&mut batch, BATCH_MAX) => n > 0,
                    () = &mut stop => {
                        stopping = true;
                        receiver.close();
                        continue;
                    }
                },
            };
            if !more {
                return;
            }
            let call_bytes = batch.iter().map(|run| run.recorded_bytes()).sum();
            let records: Vec<RunRecord> = batch.drain(..).map(|run| run.to_record()).collect();
            let mut pause = RETRY_MS_MIN;
            while let Err(error) = store.record_runs(&records).await {
                let away = error.is_unreachable() || matches!(error, StoreError::Disk { .. });
                if !away || stopping {
                    self.dropped.fetch_add(records.len() as u64, Ordering::Relaxed);
                    tracing::error!(%error, runs = records.len(), "run history could not be written");
                    break;
                }
                if pause == RETRY_MS_MIN {
                    tracing::warn!(%error, "run history waits for the store; up to {QUEUE_MAX} runs are held meanwhile");
                }
                tokio::select! {
                    () = clock.sleep(Duration::from_millis(pause)) => pause = (pause * 2).min(RETRY_MS_MAX),
                    () = &mut stop => {
                        // One last try.
                        stopping = true;
                        receiver.close();
                    }
                }
            }
            if pause > RETRY_MS_MIN && !stopping {
                let (waiting, dropped) = (receiver.len(), self.dropped.load(Ordering::Relaxed));
                tracing::info!(waiting, dropped, "run history is written again");
            }
            self.waiting_call_bytes.fetch_sub(call_bytes, Ordering::Relaxed);
        }
    }
}
