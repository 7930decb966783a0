//! Changes of verdicts to be told, in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use super::MemoryStore;
use crate::model::RunId;
use crate::store::StoreError;
use crate::store::notification::{self, Latest, Notification, Notifications, Rule, Told, Written};

/// What waits, in the order it came, and the latest verdicts.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    latest: HashMap<Uuid, Latest>,
    waiting: Vec<Kept>,
}

#[derive(Debug)]
struct Kept {
    notification: Notification,
    due: Timestamp,
    leased_until: Option<Timestamp>,
}

impl Waiting {
    pub(super) fn keep(&mut self, run: RunId, written: &[Written<'_>], rules: &[Rule], recorded_at: Timestamp) {
        if rules.is_empty() {
            return;
        }
        let changes = notification::changes(written, &mut self.latest);
        for notification in notification::notifications(run, &changes, rules, recorded_at) {
            self.waiting.push(Kept { notification, due: recorded_at, leased_until: None });
        }
    }
}

#[async_trait]
impl Notifications for MemoryStore {
    async fn next_notifications(&self, now: Timestamp, until: Timestamp) -> Result<Vec<Notification>, StoreError> {
        let mut contents = self.contents();
        let mut seen = BTreeSet::new();
        let mut taken = Vec::new();
        for kept in &mut contents.notifications.waiting {
            let first = seen.insert(kept.notification.channel.clone());
            if first && kept.due <= now && kept.leased_until.is_none_or(|until| until <= now) {
                kept.leased_until = Some(until);
                taken.push(kept.notification.clone());
            }
        }
        Ok(taken)
    }

    async fn settle_notification(&self, id: Uuid, told: &Told) -> Result<(), StoreError> {
        let mut contents = self.contents();
        let waiting = &mut contents.notifications.waiting;
        match told {
            Told::Later { due, failed } => {
                for kept in waiting.iter_mut().filter(|kept| kept.notification.id == id) {
                    (kept.due, kept.leased_until) = (*due, None);
                    kept.notification.attempts += u32::from(*failed);
                }
            }
            Told::Done | Told::Refused(_) => waiting.retain(|kept| kept.notification.id != id),
        }
        if let Told::Refused(audit) = told {
            contents.audit.push(audit.clone());
        }
        Ok(())
    }

    async fn notifications_waiting(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        let mut waiting = BTreeMap::new();
        for kept in &self.contents().notifications.waiting {
            *waiting.entry(kept.notification.channel.clone()).or_default() += 1;
        }
        Ok(waiting)
    }
}
