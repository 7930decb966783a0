//! Accepting runs: a group of them in one commit, each caller told after it.
//!
//! What comes while a commit is under way goes into the next one, so that nobody waits for others to come: alone a run is
//! committed at once, and under load a commit takes as many as there are, at most `accept_batch_max`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::{Counts, Dispatcher, Options, Polling};
use crate::clock::Clock;
use crate::model::{Msg, RunId};
use crate::runtime::exchange::ReplyTo;
use crate::runtime::opening::Start;
use crate::store::queue::{Accepted, FIRST_EPOCH, Held, NewRun, Ready};
use crate::store::{ClaimKey, Store, StoreError};

/// Runs that wait to be committed; what comes beyond is refused at once.
const WAITING_MAX: usize = 20_000;

/// Why a run was not accepted. It does not happen, unless its commit went through without an answer; a caller that asks
/// again with the same key is then told of it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotAccepted {
    /// The store could not be asked, or not in time.
    #[error("the run could not be committed: {0}")]
    Unavailable(String),
    /// Too many wait already.
    #[error("too many runs wait to be committed")]
    Full,
    #[error("the server is stopping")]
    Stopping,
}

/// What this process has of a run beyond what is stored: its message as it came, and its caller.
pub struct Local {
    pub start: Start,
    pub msg: Msg,
    pub reply: Option<Arc<ReplyTo>>,
}

/// A run that somebody asks for.
pub struct Asked {
    pub run: NewRun,
    pub local: Local,
}

struct Wanted {
    asked: Asked,
    answer: oneshot::Sender<Result<Accepted, NotAccepted>>,
}

/// Commits runs before they are acknowledged. One per process.
pub struct Acceptor {
    store: Arc<dyn Store>,
    clock: Clock,
    options: Options,
    owner: String,
    sender: mpsc::Sender<Wanted>,
    receiver: Mutex<Option<mpsc::Receiver<Wanted>>>,
    pub(super) handover: Handover,
    dispatcher: Arc<dyn Dispatcher>,
    pub counts: Arc<Counts>,
}

/// What the acceptor and the worker of one process share: runs accepted here that are to be run here.
pub(super) struct Handover {
    local: Mutex<HashMap<RunId, Local>>,
    /// Leased with their acceptance.
    ready: mpsc::UnboundedSender<(Held, NewRun)>,
    pub(super) taken: Mutex<Option<mpsc::UnboundedReceiver<(Held, NewRun)>>>,
    /// A worker runs in this process and has room.
    pub(super) has_room: AtomicBool,
    /// A worker runs in this process.
    pub(super) has_worker: AtomicBool,
}

impl Handover {
    fn local(&self) -> MutexGuard<'_, HashMap<RunId, Local>> {
        self.local.lock().unwrap_or_else(|p| p.into_inner())
    }

    /// What this process has of a run; once.
    pub(super) fn take(&self, id: RunId) -> Option<Local> {
        self.local().remove(&id)
    }
}

impl Acceptor {
    /// `owner` names this process among those that lease; unique.
    pub fn new(store: Arc<dyn Store>, clock: Clock, options: Options, owner: impl Into<String>) -> Arc<Acceptor> {
        let polling = Arc::new(Polling::new(&*store, clock.clone(), &options));
        Acceptor::telling(store, clock, options, owner, polling)
    }

    /// As [`Acceptor::new`]; what is accepted and not run here is told of by this dispatcher.
    pub fn telling(
        store: Arc<dyn Store>,
        clock: Clock,
        options: Options,
        owner: impl Into<String>,
        dispatcher: Arc<dyn Dispatcher>,
    ) -> Arc<Acceptor> {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let (ready, taken) = mpsc::unbounded_channel();
        let handover = Handover {
            local: Mutex::default(),
            ready,
            taken: Mutex::new(Some(taken)),
            has_room: AtomicBool::new(false),
            has_worker: AtomicBool::new(false),
        };
        Arc::new(Acceptor {
            store,
            clock,
            options,
            owner: owner.into(),
            sender,
            receiver: Mutex::new(Some(receiver)),
            handover,
            dispatcher,
            counts: Arc::default(),
        })
    }

    /// The process, as the store knows it.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// True when runs are run in this process, so that their callers can be answered by their flows.
    pub fn has_worker(&self) -> bool {
        self.handover.has_worker.load(Ordering::Acquire)
    }

    /// Accepts a run: it is committed when this returns, or it was not accepted. The store is told by
    /// [`NewRun::lease_ms`] of this call whether this process runs it at once; what the caller says there does not count.
    pub async fn accept(&self, mut asked: Asked) -> Result<Accepted, NotAccepted> {
        let at_once = self.handover.has_room.load(Ordering::Acquire) && asked.run.delay_ms == 0;
        asked.run.lease_ms = at_once.then_some(self.options.lease_ms);
        let (answer, answered) = oneshot::channel();
        self.sender.try_send(Wanted { asked, answer }).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => {
                self.counts.full.fetch_add(1, Ordering::Relaxed);
                NotAccepted::Full
            }
            mpsc::error::TrySendError::Closed(_) => {
                self.counts.refused.fetch_add(1, Ordering::Relaxed);
                NotAccepted::Stopping
            }
        })?;
        let max = Duration::from_millis(self.options.accept_ms_max);
        let accepted = tokio::select! {
            biased;
            accepted = answered => accepted.unwrap_or(Err(NotAccepted::Stopping)),
            () = self.clock.sleep(max) => Err(NotAccepted::Unavailable(format!("no answer within {} ms", max.as_millis()))),
        };
        let count = if accepted.is_ok() { &self.counts.accepted } else { &self.counts.refused };
        count.fetch_add(1, Ordering::Relaxed);
        accepted
    }

    /// The caller of a run does not wait for it any more.
    pub fn forget_caller(&self, id: RunId) {
        drop(self.handover.take(id));
    }

    /// Accepts the run of a firing with the completion of its claim, in one transaction.
    ///
    /// # Errors
    /// When the store cannot; the claim is then open as before.
    pub async fn accept_tick(&self, claim: &ClaimKey, run: &NewRun) -> Result<Accepted, StoreError> {
        let accepted = self.store.accept_tick(claim, run).await?;
        if accepted == Accepted::Queued && run.delay_ms == 0 {
            self.dispatcher.tell(&[Ready { id: run.id, epoch: 0, priority: run.priority }]);
        }
        self.counts.accepted.fetch_add(1, Ordering::Relaxed);
        Ok(accepted)
    }

    /// Commits what is asked for until `stop` resolves and nothing is left. Call once.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let receiver = self.receiver.lock().unwrap_or_else(|p| p.into_inner()).take();
        let Some(mut receiver) = receiver else { return };
        tokio::pin!(stop);
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                n = receiver.recv_many(&mut batch, self.options.accept_batch_max) => if n == 0 { return },
                () = &mut stop, if !receiver.is_closed() => {
                    receiver.close();
                    continue;
                }
            }
            if batch.len() < self.options.accept_batch_max {
                // Those who are about to ask are let in.
                tokio::task::yield_now().await;
                while batch.len() < self.options.accept_batch_max
                    && let Ok(more) = receiver.try_recv()
                {
                    batch.push(more);
                }
            }
            self.commit(std::mem::take(&mut batch)).await;
        }
    }

    async fn commit(&self, batch: Vec<Wanted>) {
        let (mut runs, mut answers) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        {
            // Before the commit: another task of this process may lease it the moment it is there.
            let mut local = self.handover.local();
            for Wanted { asked, answer } in batch {
                if asked.run.lease_ms.is_some() || asked.local.reply.is_some() {
                    local.insert(asked.run.id, asked.local);
                }
                runs.push(asked.run);
                answers.push(answer);
            }
        }
        match self.store.accept_runs(&self.owner, &runs).await {
            Ok(accepted) => {
                let told: Vec<Ready> = runs
                    .iter()
                    .zip(&accepted)
                    .filter(|(run, accepted)| **accepted == Accepted::Queued && run.delay_ms == 0)
                    .map(|(run, _)| Ready { id: run.id, epoch: 0, priority: run.priority })
                    .collect();
                self.dispatcher.tell(&told);
                for ((run, answer), accepted) in runs.into_iter().zip(answers).zip(accepted) {
                    match accepted {
                        // The receiver lives as long as this does.
                        Accepted::Leased => {
                            drop(self.handover.ready.send((Held { id: run.id, epoch: FIRST_EPOCH }, run)));
                        }
                        Accepted::Queued if run.reply => {}
                        Accepted::Queued | Accepted::Known(_) | Accepted::Conflict(_) => {
                            drop(self.handover.take(run.id));
                        }
                    }
                    // A caller may have stopped waiting.
                    drop(answer.send(Ok(accepted)));
                }
            }
            Err(error) => {
                tracing::error!(%error, runs = runs.len(), "runs could not be accepted");
                for (run, answer) in runs.iter().zip(answers) {
                    drop(self.handover.take(run.id));
                    drop(answer.send(Err(NotAccepted::Unavailable(error.to_string()))));
                }
            }
        }
    }

    /// Who tells workers of what is ready.
    pub fn dispatcher(&self) -> &Arc<dyn Dispatcher> {
        &self.dispatcher
    }
}
