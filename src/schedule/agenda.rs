//! What comes due next, of every schedule: follows the time of day, also when that is set forward or back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::due::Schedule;
use crate::store::How;

/// The schedules with how far each has been fired.
#[derive(Default)]
pub(super) struct Agenda {
    items: Vec<Item>,
    of: Option<Arc<Vec<Arc<Schedule>>>>,
}

struct Item {
    schedule: Arc<Schedule>,
    /// What came due up to this instant has been fired, or left out by policy.
    until: Timestamp,
    next: Option<Timestamp>,
}

impl Item {
    fn new(schedule: Arc<Schedule>, until: Timestamp) -> Item {
        let next = schedule.next_after(until);
        Item { schedule, until, next }
    }

    fn go_on_from(&mut self, until: Timestamp) {
        self.until = until;
        self.next = self.schedule.next_after(until);
    }
}

/// A due time that has come.
pub(super) struct Come {
    pub(super) schedule: Arc<Schedule>,
    pub(super) at: Timestamp,
    pub(super) how: How,
}

/// Due times of a schedule that its policy left out.
pub(super) struct LeftOut {
    pub(super) schedule: Arc<Schedule>,
    pub(super) count: u64,
}

impl Agenda {
    /// Brings the agenda to these schedules; those that stay go on where they are.
    pub(super) fn follow(&mut self, schedules: &Arc<Vec<Arc<Schedule>>>) {
        if self.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, schedules)) {
            return;
        }
        let old: HashMap<String, Timestamp> =
            self.items.iter().map(|item| (item.schedule.id.clone(), item.until)).collect();
        let until = |schedule: &Schedule| old.get(&schedule.id).copied().unwrap_or(schedule.since).max(schedule.since);
        self.items = schedules.iter().map(|schedule| Item::new(schedule.clone(), until(schedule))).collect();
        self.of = Some(schedules.clone());
    }

    /// When something comes due next; the end of time when nothing does.
    pub(super) fn next(&self) -> Timestamp {
        self.items.iter().filter_map(|item| item.next).min().unwrap_or(Timestamp::MAX)
    }

    /// What has come due by now, in the order of the due times, and what was left out. The time of day may have been set
    /// back: then due times come again, and their rows, which are there already, keep them from being fired twice. It may
    /// have been set forward by more than `late`, or the machine slept: then the policy of the schedule says what is made
    /// up for. Windows that closed are all judged.
    pub(super) fn take(&mut self, now: Timestamp, late: Duration) -> (Vec<Come>, Vec<LeftOut>) {
        let (mut come, mut left_out) = (Vec::new(), Vec::new());
        let late = SignedDuration::try_from(late).unwrap_or(SignedDuration::MAX);
        for item in &mut self.items {
            if item.until > now {
                item.go_on_from(now);
            }
            let Some(next) = item.next.filter(|next| *next <= now) else { continue };
            let behind = now.duration_since(next) > late && !item.schedule.is_windows();
            let (due, how) = match behind {
                true => (item.schedule.missed(Some(item.until), now), How::Missed),
                false => (item.schedule.between(item.until, now), How::Live),
            };
            if behind {
                let all = item.schedule.count_between(item.until, now);
                let count = all.saturating_sub(due.len() as u64);
                left_out.extend((count > 0).then(|| LeftOut { schedule: item.schedule.clone(), count }));
            }
            item.go_on_from(now);
            come.extend(due.into_iter().map(|at| Come { schedule: item.schedule.clone(), at, how }));
        }
        come.sort_by(|a, b| (a.at, &a.schedule.id).cmp(&(b.at, &b.schedule.id)));
        (come, left_out)
    }
}
