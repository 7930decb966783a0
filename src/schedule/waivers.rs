//! What waivers make due: at the instant one begins or expires, and when one was made or ended, the verdicts it is about
//! are judged again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures_util::FutureExt;
use jiff::{SignedDuration, Timestamp};

use super::{RETRY_MIN, Scheduler};
use crate::evaluate::in_force;
use crate::model::agreement::Agreement;
use crate::model::run::Trigger;
use crate::model::waiver::Waiver;

/// Another process may have made or ended a waiver: they are read again this often.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(30);

impl Scheduler {
    /// Follows the waivers of all loaded agreements until the scheduler stops. The first look is at every agreement, for
    /// whatever began or ended while nobody ran.
    pub(super) async fn follow_waivers(self: Arc<Self>) {
        let clock = self.evaluator.engine.services.clock.clone();
        let mut stopping = self.stopping.subscribe();
        let mut changes = self.evaluator.agreements.subscribe();
        // Of each agreement, those that were in force when its verdicts were last brought under them.
        let mut settled: HashMap<String, Vec<Waiver>> = HashMap::new();
        loop {
            let told = self.evaluator.waivers_changed.notified();
            tokio::pin!(told);
            // From here on; what is told while this looks around is not missed.
            told.as_mut().enable();
            changes.mark_unchanged();
            let waivers = self.all_waivers().await;
            let now = clock.now();
            let mut failed = false;
            for (agreement, waivers) in &waivers {
                let wanted: Vec<Waiver> = in_force(waivers, now).into_iter().cloned().collect();
                if settled.get(&agreement.id).is_some_and(|settled| *settled == wanted) {
                    continue;
                }
                let trigger = Trigger::Cron { schedule: format!("waivers/{}", agreement.id), due_at: now };
                match self.evaluator.review_waivers(agreement, trigger, "schedule").await {
                    Ok(_) => drop(settled.insert(agreement.id.clone(), wanted)),
                    Err(error) => {
                        failed = true;
                        tracing::error!(agreement = %agreement.id, %error, "waivers could not be applied; it is tried again");
                    }
                }
            }
            let mut wake = next_boundary(waivers.iter().flat_map(|(_, waivers)| waivers), now)
                .min(now.saturating_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX));
            if failed {
                let pause = SignedDuration::try_from(RETRY_MIN).unwrap_or_default();
                wake = wake.min(now.saturating_add(pause).unwrap_or(Timestamp::MAX));
            }
            tokio::select! {
                _ = stopping.wait_for(|stop| *stop) => return,
                () = clock.sleep_until(wake) => {}
                () = told => {}
                _ = changes.changed() => {}
            }
        }
    }

    /// Every loaded agreement with its waivers.
    async fn all_waivers(&self) -> Vec<(Arc<Agreement>, Vec<Waiver>)> {
        let stored = self.with_store(|store| async move { store.waivers(None).await }.boxed()).await;
        let mut by_agreement: BTreeMap<String, Vec<Waiver>> = BTreeMap::new();
        for waiver in stored {
            by_agreement.entry(waiver.agreement.clone()).or_default().push(waiver);
        }
        let loaded = self.evaluator.agreements.snapshot();
        let with = |agreement: &Arc<Agreement>| {
            let mut waivers = agreement.waivers.clone();
            waivers.extend(by_agreement.remove(&agreement.id).unwrap_or_default());
            (agreement.clone(), waivers)
        };
        loaded.agreements.iter().map(with).collect()
    }
}

/// The next instant after `now` at which one begins or ends.
fn next_boundary<'w>(waivers: impl Iterator<Item = &'w Waiver>, now: Timestamp) -> Timestamp {
    waivers.flat_map(|waiver| [waiver.from, waiver.ends()]).filter(|at| *at > now).min().unwrap_or(Timestamp::MAX)
}
