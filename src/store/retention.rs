//! How long results are kept, and what was removed.

use std::ops::AddAssign;

use jiff::civil::Date;
use jiff::tz::Offset;
use jiff::{Timestamp, ToSpan};
use serde_json::json;
use uuid::Uuid;

use super::AuditEntry;

/// How many days results are kept; `None`: for good. Days are whole days of UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Days after the end of its window that a state is kept, with its earlier revisions and its evidence.
    pub states_days: Option<u32>,
    /// Days after its opening that a run is kept, and a completed firing after it was due.
    pub runs_days: Option<u32>,
}

/// What [`super::Store::upkeep`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// States, as they stood last.
    pub states: u64,
    /// Their earlier revisions.
    pub revisions: u64,
    pub runs: u64,
    /// Completed firings of schedules.
    pub claims: u64,
}

impl Expired {
    pub fn is_empty(&self) -> bool {
        *self == Expired::default()
    }
}

impl AddAssign for Expired {
    fn add_assign(&mut self, more: Expired) {
        self.states += more.states;
        self.revisions += more.revisions;
        self.runs += more.runs;
        self.claims += more.claims;
    }
}

/// The days before which things go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cutoffs {
    pub states: Option<Date>,
    pub runs: Option<Date>,
}

impl Retention {
    /// What is kept for one day stays until the day after the next one has begun.
    pub(super) fn cutoffs(&self, now: Timestamp) -> Cutoffs {
        let today = Offset::UTC.to_datetime(now).date();
        let before = |days: u32| today.checked_sub(i64::from(days).days()).unwrap_or(Date::MIN);
        Cutoffs { states: self.states_days.map(before), runs: self.runs_days.map(before) }
    }
}

/// The instant a day begins, UTC.
pub(super) fn start(day: Date) -> Timestamp {
    Offset::UTC.to_timestamp(day.at(0, 0, 0, 0)).unwrap_or(Timestamp::MIN)
}

/// The least id of a run that is opened on this day or later.
pub(super) fn first_run(day: Date) -> Uuid {
    Uuid::from_u128(u128::from(start(day).as_millisecond().max(0).unsigned_abs()) << 80)
}

/// Says what was removed.
pub(super) fn audit(at: Timestamp, subject: String, expired: &Expired) -> AuditEntry {
    AuditEntry {
        at,
        actor: "retention".into(),
        action: "expire".into(),
        subject,
        detail: json!({
            "states": expired.states, "revisions": expired.revisions, "runs": expired.runs, "claims": expired.claims,
        }),
    }
}
