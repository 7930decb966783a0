//! Holding claims: leases them for one process, extends the leases while their work is done, and tells the work when its
//! lease was lost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

use super::{Claim, ClaimKey, Due, Holder, How, Store, StoreError};
use crate::clock::Clock;
use crate::model::RunId;

/// The claims of one process.
pub struct Holding {
    store: Arc<dyn Store>,
    clock: Clock,
    owner: String,
    lease_ms: u64,
    held: Mutex<HashMap<ClaimKey, (i64, watch::Sender<bool>)>>,
}

impl Holding {
    /// `owner` is unique to the process; leases last `lease_ms` milliseconds and are extended three times in that.
    pub fn new(store: Arc<dyn Store>, clock: Clock, owner: String, lease_ms: u64) -> Arc<Holding> {
        Arc::new(Holding { store, clock, owner, lease_ms, held: Mutex::default() })
    }

    pub fn owner(&self) -> &str {
        &self.owner
    }

    fn held(&self) -> MutexGuard<'_, HashMap<ClaimKey, (i64, watch::Sender<bool>)>> {
        self.held.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Leases a due time, which is made a row if it is none. `None`: it is done, or held, here or elsewhere.
    ///
    /// # Errors
    /// The store's.
    pub async fn lease(self: &Arc<Self>, due: &Due) -> Result<Option<Held>, StoreError> {
        let holder = Holder { owner: &self.owner, lease_ms: self.lease_ms };
        let Some(claimed) = self.store.claim(due, holder).await? else { return Ok(None) };
        let (lost, watched) = watch::channel(false);
        self.held().insert(due.key.clone(), (claimed.claim.epoch, lost));
        let super::Claimed { claim, how, overlapping } = claimed;
        Ok(Some(Held { holding: self.clone(), claim, how, overlapping, lost: watched }))
    }

    /// Takes a duty, or keeps it, for this long.
    ///
    /// # Errors
    /// The store's.
    pub async fn duty(&self, name: &str, lease_ms: u64) -> Result<bool, StoreError> {
        self.store.take_duty(name, Holder { owner: &self.owner, lease_ms }).await
    }

    /// Lays a duty down.
    ///
    /// # Errors
    /// The store's.
    pub async fn leave_duty(&self, name: &str) -> Result<(), StoreError> {
        self.store.leave_duty(name, &self.owner).await
    }

    /// Extends what is held, again and again, until it is dropped.
    pub async fn beat(self: Arc<Self>) {
        loop {
            self.clock.sleep(Duration::from_millis((self.lease_ms / 3).max(1))).await;
            if let Err(error) = self.extend().await {
                // Who was late by then hears it when the work is to be stored.
                tracing::warn!(%error, "the leases of firings could not be extended; others may take them up");
            }
        }
    }

    /// Extends what is held, once; what was lost is told.
    ///
    /// # Errors
    /// The store's; then nothing is known of the leases.
    pub async fn extend(&self) -> Result<(), StoreError> {
        let of = |(key, (epoch, _)): (&ClaimKey, &(i64, _))| Claim { key: key.clone(), epoch: *epoch };
        let claims: Vec<Claim> = self.held().iter().map(of).collect();
        if claims.is_empty() {
            return Ok(());
        }
        let kept = self.store.extend_claims(&claims, self.lease_ms).await?;
        let held = self.held();
        for (claim, _) in claims.iter().zip(kept).filter(|(_, kept)| !kept) {
            if let Some((_, lost)) = held.get(&claim.key).filter(|(epoch, _)| *epoch == claim.epoch) {
                tracing::debug!(schedule = %claim.key.schedule, due_at = %claim.key.due_at, "a lease is over");
                lost.send_replace(true);
            }
        }
        Ok(())
    }
}

/// A claim that is held: extended until this is dropped.
pub struct Held {
    holding: Arc<Holding>,
    pub claim: Claim,
    /// As the claim's row says.
    pub how: Option<How>,
    /// Whether an earlier firing of the same schedule was under way.
    pub overlapping: bool,
    lost: watch::Receiver<bool>,
}

impl Held {
    /// Resolves when the lease was lost: the work is another's now.
    pub async fn lost(&self) {
        let mut lost = self.lost.clone();
        // The sender lives as long as `self`.
        let _ = lost.wait_for(|lost| *lost).await.is_ok();
    }

    /// Gives the claim back: others take it up at once.
    ///
    /// # Errors
    /// The store's; others take it up when the lease has run out.
    pub async fn give_back(self) -> Result<(), StoreError> {
        self.holding.store.release_claim(&self.claim).await
    }

    /// Marks the claim complete; false when the lease was lost.
    ///
    /// # Errors
    /// The store's.
    pub async fn complete(&self, run: RunId, at: Timestamp) -> Result<bool, StoreError> {
        self.holding.store.complete_claim(&self.claim, run, at).await
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.holding.held();
        if held.get(&self.claim.key).is_some_and(|(epoch, _)| *epoch == self.claim.epoch) {
            held.remove(&self.claim.key);
        }
    }
}
