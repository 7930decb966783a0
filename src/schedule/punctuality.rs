//! How punctual firings are: planned against begun, late, left out, overlapping, taken up from others.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use serde::Serialize;

/// What this process saw of firings since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Punctuality {
    /// Begun here.
    pub fired: u64,
    /// Of those, the ones begun later than allowed (`schedule.late_ms`).
    pub late: u64,
    /// Due times that nobody was there for and that the catch-up policy left out.
    pub missed: u64,
    /// Begun while an earlier firing of the same schedule was under way.
    pub overlapping: u64,
    /// Taken up from a process that did not finish them.
    pub taken_up: u64,
    /// How much later than planned the last one was begun, milliseconds.
    pub drift_ms: u64,
    /// The most of that so far.
    pub drift_ms_max: u64,
    /// The sum of that so far.
    pub drift_ms_sum: u64,
}

/// A firing that is begun.
pub(super) struct Begun {
    pub(super) drift_ms: u64,
    pub(super) is_late: bool,
    pub(super) overlapping: bool,
    /// The lease is not the first.
    pub(super) taken_up: bool,
}

impl Punctuality {
    fn begun(&mut self, begun: &Begun) {
        self.fired += 1;
        self.overlapping += u64::from(begun.overlapping && !begun.taken_up);
        self.taken_up += u64::from(begun.taken_up);
        if !begun.taken_up {
            // Of one that is taken up, the first begin counts: that was elsewhere.
            self.late += u64::from(begun.is_late);
            self.drift_ms = begun.drift_ms;
            self.drift_ms_max = self.drift_ms_max.max(begun.drift_ms);
            self.drift_ms_sum += begun.drift_ms;
        }
    }
}

/// By schedule, and over all.
#[derive(Default)]
pub(super) struct Seen(Mutex<(BTreeMap<String, Punctuality>, Punctuality)>);

impl Seen {
    fn inner(&self) -> MutexGuard<'_, (BTreeMap<String, Punctuality>, Punctuality)> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(super) fn begun(&self, schedule: &str, begun: &Begun) {
        let (by_schedule, all) = &mut *self.inner();
        by_schedule.entry(schedule.to_owned()).or_default().begun(begun);
        all.begun(begun);
    }

    pub(super) fn missed(&self, schedule: &str, count: u64) {
        let (by_schedule, all) = &mut *self.inner();
        by_schedule.entry(schedule.to_owned()).or_default().missed += count;
        all.missed += count;
    }

    pub(super) fn of(&self, schedule: &str) -> Punctuality {
        self.inner().0.get(schedule).copied().unwrap_or_default()
    }

    pub(super) fn all(&self) -> Punctuality {
        self.inner().1
    }

    /// Forgets schedules that are gone.
    pub(super) fn keep(&self, is_there: impl Fn(&str) -> bool) {
        self.inner().0.retain(|schedule, _| is_there(schedule));
    }
}
