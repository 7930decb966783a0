//! What runs under way have stored: points and ends, many in one transaction.
//!
//! What comes while a transaction is under way goes into the next one. While the store does not answer, it is asked again
//! and again: a run that waits for its point does nothing meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use super::{Counts, Options};
use crate::clock::Clock;
use crate::runtime::durable::{Control, Lease, Marked, Wish};
use crate::store::queue::{Held, Outcome, Point, Settlement};
use crate::store::{Store, StoreError};

/// First and longest pause before the store is asked again.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Who waits for what.
struct Pending<T> {
    what: T,
    done: oneshot::Sender<bool>,
}

/// The two ways to the store.
#[derive(Clone)]
pub(super) struct Commits {
    points: mpsc::UnboundedSender<Pending<Point>>,
    /// Of the latest point of any run.
    number: Arc<AtomicI64>,
    clock: Clock,
    lease_ms: u64,
    ends: mpsc::UnboundedSender<Pending<Settlement>>,
}

/// A run's hold on its row.
pub(super) struct HeldRun {
    pub(super) held: Held,
    pub(super) commits: Commits,
    pub(super) control: Arc<Control>,
}

#[async_trait]
impl Lease for HeldRun {
    async fn mark(&self, snapshot: String) -> Marked {
        if self.control.wish() == Wish::Lost {
            return Marked::Lost;
        }
        loop {
            let asked = self.commits.clock.now();
            if !self.commits.mark(self.held, snapshot.clone()).await {
                return Marked::Lost;
            }
            // The lease lasts from when the point was stored. Told later than that, as a process that stood still is, it
            // may be over: what comes next must not be done by two.
            let age = self.commits.clock.now().duration_since(asked);
            if age.as_millis() <= i128::from(self.commits.lease_ms) * 3 / 4 {
                return Marked::Kept;
            }
            tracing::warn!(run = %self.held.id, "a durable point was stored too slowly to go on; it is stored again");
        }
    }
}

impl Commits {
    /// The ways, and what must be driven for them to lead anywhere: until all runs have ended.
    pub(super) fn new(
        store: Arc<dyn Store>,
        clock: Clock,
        options: &Options,
        counts: Arc<Counts>,
    ) -> (Commits, impl Future<Output = ()> + Send + use<>) {
        let (points, marked) = mpsc::unbounded_channel();
        let (ends, settled) = mpsc::unbounded_channel();
        let max = options.lease_batch_max;
        let told = clock.clone();
        let marking = {
            let (store, clock) = (store.clone(), clock.clone());
            let mark = move |batch: Arc<Vec<Point>>| {
                let (store, counts) = (store.clone(), counts.clone());
                async move {
                    let kept = store.mark_points(&batch).await?;
                    counts.points.fetch_add(kept.len() as u64, Ordering::Relaxed);
                    Ok(kept)
                }
            };
            drive(marked, max, clock, "durable points", mark)
        };
        let settle = move |batch: Arc<Vec<Settlement>>| {
            let store = store.clone();
            async move { store.settle_runs(&batch).await }
        };
        let settling = drive(settled, max, clock, "the ends of runs", settle);
        let both = async move {
            tokio::join!(marking, settling);
        };
        (Commits { points, number: Arc::default(), clock: told, lease_ms: options.lease_ms, ends }, both)
    }

    /// Stores a point; false when somebody else has the run.
    pub(super) async fn mark(&self, held: Held, snapshot: String) -> bool {
        let (done, told) = oneshot::channel();
        let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
        let what = Point { held, number, lease_ms: self.lease_ms, snapshot: Some(snapshot), effects: None };
        self.points.send(Pending { what, done }).is_ok() && told.await.unwrap_or(false)
    }

    /// Stores what became of a run; false when somebody else has it.
    pub(super) async fn settle(&self, held: Held, outcome: Outcome) -> bool {
        let (done, told) = oneshot::channel();
        let sent = self.ends.send(Pending { what: Settlement { held, outcome }, done });
        sent.is_ok() && told.await.unwrap_or(false)
    }
}

/// Stores what comes in batches until nobody can send any more.
async fn drive<T: Send + Sync + 'static, F>(
    mut coming: mpsc::UnboundedReceiver<Pending<T>>,
    max: usize,
    clock: Clock,
    what: &'static str,
    store: impl Fn(Arc<Vec<T>>) -> F + Send,
) where
    F: Future<Output = Result<Vec<bool>, StoreError>> + Send,
{
    let mut taken = Vec::new();
    while coming.recv_many(&mut taken, max).await > 0 {
        let (mut batch, mut told) = (Vec::with_capacity(taken.len()), Vec::with_capacity(taken.len()));
        for Pending { what, done } in taken.drain(..) {
            batch.push(what);
            told.push(done);
        }
        let batch = Arc::new(batch);
        let mut pause = PAUSE_MIN;
        let answers = loop {
            match store(batch.clone()).await {
                Ok(answers) => break answers,
                Err(error) => {
                    tracing::error!(%error, "{what} could not be stored; they are stored again and again");
                    clock.sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        };
        for (done, answer) in told.into_iter().zip(answers) {
            // A run that was cut off does not wait any more.
            let _ = done.send(answer).is_ok();
        }
    }
}
