//! Keeps leases alive, and tells runs what the store says of them: cancelled, or somebody else's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::clock::Clock;
use crate::model::RunId;
use crate::runtime::durable::{Control, Wish};
use crate::store::Store;
use crate::store::queue::{Extended, Held};

/// Leases extended in one transaction.
const BATCH_MAX: usize = 1_000;

/// The runs that this process holds.
#[derive(Default)]
pub(super) struct HeldRuns(Mutex<HashMap<RunId, (Held, Arc<Control>)>>);

impl HeldRuns {
    fn runs(&self) -> MutexGuard<'_, HashMap<RunId, (Held, Arc<Control>)>> {
        self.0.lock().unwrap_or_else(|p| p.into_inner())
    }

    pub(super) fn add(&self, held: Held, control: Arc<Control>) {
        self.runs().insert(held.id, (held, control));
    }

    /// Forgets a lease, not another one of the same run.
    pub(super) fn remove(&self, held: Held) {
        let mut runs = self.runs();
        if runs.get(&held.id).is_some_and(|(of, _)| *of == held) {
            runs.remove(&held.id);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.runs().len()
    }

    /// Asks this of every run.
    pub(super) fn ask_all(&self, wish: Wish) {
        self.runs().values().for_each(|(_, control)| control.ask(wish));
    }

    /// Extends all leases, and again every third of a lease, for ever.
    pub(super) async fn beat(&self, store: Arc<dyn Store>, clock: Clock, lease_ms: u64) {
        let every = Duration::from_millis((lease_ms / 3).max(1));
        loop {
            clock.sleep(every).await;
            let all: Vec<(Held, Arc<Control>)> = self.runs().values().cloned().collect();
            for batch in all.chunks(BATCH_MAX) {
                let held: Vec<Held> = batch.iter().map(|(held, _)| *held).collect();
                match store.extend_leases(&held, lease_ms).await {
                    Ok(told) => {
                        for ((held, control), told) in batch.iter().zip(told) {
                            match told {
                                Extended::Kept => {}
                                Extended::CancelWanted => control.ask(Wish::Cancel),
                                // What has just been settled is nobody's any more either; its control is not heard.
                                Extended::Lost => {
                                    tracing::debug!(run = %held.id, "the lease of a run is somebody else's");
                                    control.ask(Wish::Lost);
                                }
                            }
                        }
                    }
                    // Whether a lease is lost is decided where points and ends are stored, by its epoch.
                    Err(error) => tracing::warn!(%error, leases = batch.len(), "leases could not be extended"),
                }
            }
        }
    }
}
