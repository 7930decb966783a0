//! Upkeep of the store: what has expired is removed by the configured policy, and the operator is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Clock;
use crate::config;
use crate::store::{Expired, Retention, Store};

/// Applies the policy until it is dropped. One per process; several processes do not disturb each other.
pub struct Upkeep {
    store: Arc<dyn Store>,
    clock: Clock,
    keep: Retention,
    every: Duration,
    /// Removed since the start: states, earlier revisions, runs, completed firings.
    pub expired: [AtomicU64; 4],
    /// Rounds that failed.
    pub failed: AtomicU64,
}

impl Upkeep {
    pub fn new(config: &config::Retention, store: Arc<dyn Store>, clock: Clock) -> Upkeep {
        let days = |days: u32| (days > 0).then_some(days);
        Upkeep {
            store,
            clock,
            keep: Retention { states_days: days(config.states_days), runs_days: days(config.runs_days) },
            every: Duration::from_millis(config.every_ms),
            expired: Default::default(),
            failed: AtomicU64::new(0),
        }
    }

    /// Goes on until it is dropped; begins at once.
    pub async fn run(self: Arc<Self>) {
        loop {
            self.round().await;
            self.clock.sleep(self.every).await;
        }
    }

    /// One round. What fails is tried again in the next.
    pub async fn round(&self) {
        match self.store.upkeep(self.clock.now(), &self.keep).await {
            Ok(expired) => self.tell(expired),
            Err(error) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, retry_s = self.every.as_secs(), "what has expired could not be removed");
            }
        }
    }

    fn tell(&self, expired: Expired) {
        let Expired { states, revisions, runs, claims } = expired;
        for (count, more) in self.expired.iter().zip([states, revisions, runs, claims]) {
            count.fetch_add(more, Ordering::Relaxed);
        }
        if !expired.is_empty() {
            tracing::info!(states, revisions, runs, firings = claims, "results that have expired were removed");
        }
    }
}
