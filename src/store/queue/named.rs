//! Leasing runs by their names: for who was told of them by other means than the queue itself.

use std::collections::BTreeMap;

use super::{Held, LeaseWanted, Priority, QueuedRun};
use crate::model::RunId;

/// A run that may be leased now, as somebody is told of it who may lease it by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ready {
    pub id: RunId,
    /// The epoch it stands at: that of its last lease, 0 before the first. Once it is leased, this one is out of date.
    pub epoch: i64,
    pub priority: Priority,
}

impl Ready {
    pub fn held(&self) -> Held {
        Held { id: self.id, epoch: self.epoch }
    }
}

/// Which ready runs to name.
#[derive(Clone, Copy, Debug)]
pub struct ReadyWanted {
    /// At most this many of each priority, the longest ready first.
    pub max: u32,
    /// Those that were ready when they were accepted, and have never been leased, only when they have been ready for so
    /// long, milliseconds: who accepted them has told of them. All others (tried again, given back, due later, of a
    /// lease that ran out) nobody has told of.
    pub told_ms: u64,
}

/// Ready runs that are looked through for those wanted, of each priority: behind a longer line nobody is in a hurry.
pub(in crate::store) const READY_LOOKED_AT: u32 = 5_000;

/// What became of runs that were to be leased by name. Those in neither list were leased by somebody else or have ended.
#[derive(Clone, Debug, Default)]
pub struct LeasedByName {
    pub leased: Vec<QueuedRun>,
    /// Still at the epoch named, and not to be leased now: paused, held back by a cap, not due yet, or somebody is at it.
    pub held_back: Vec<Held>,
}

/// What the caps of a lease leave.
pub(in crate::store) struct CapsLeft {
    flows: BTreeMap<String, u32>,
    tenants: BTreeMap<String, u32>,
}

impl CapsLeft {
    pub(in crate::store) fn of(wanted: &LeaseWanted) -> CapsLeft {
        CapsLeft { flows: wanted.flow_caps.clone(), tenants: wanted.tenant_caps.clone() }
    }

    /// Whether a run of this flow and tenant keeps all caps; then it counts.
    pub(in crate::store) fn take(&mut self, flow: &str, tenant: &str) -> bool {
        if self.flows.get(flow) == Some(&0) || self.tenants.get(tenant) == Some(&0) {
            return false;
        }
        for left in [self.flows.get_mut(flow), self.tenants.get_mut(tenant)].into_iter().flatten() {
            *left -= 1;
        }
        true
    }
}
