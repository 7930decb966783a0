//! A node that acts by itself: how it opens runs, and where it stands meanwhile.

use std::sync::Arc;

use super::instance::Instance;
use super::opening::{Opening, Start};
use super::places::Busy;
use super::{Cx, Deployed, Place, Services};
use crate::clock::Clock;
use crate::model::flow::NodeIndex;
use crate::model::run::Trigger;
use crate::model::{Msg, RunId};

/// Opens runs on behalf of a node that acts by itself, in the plan that the node is part of by then.
#[derive(Clone)]
pub struct Source {
    pub(super) instance: Arc<Instance>,
    pub(super) services: Arc<Services>,
}

impl Source {
    /// Opens a run with a message emitted on port 0.
    pub fn open(&self, msg: Msg, trigger: Trigger) -> Result<RunId, Busy> {
        self.spawn(Start::Emit(0), msg, trigger)
    }

    /// Opens a run by handing the message to the node itself.
    pub fn deliver(&self, msg: Msg, trigger: Trigger) -> Result<RunId, Busy> {
        self.spawn(Start::Deliver, msg, trigger)
    }

    fn spawn(&self, start: Start, msg: Msg, trigger: Trigger) -> Result<RunId, Busy> {
        let (deployed, node) = self.instance.place().ok_or(Busy::Server)?;
        deployed.spawn(Opening { node, start, msg, trigger, reply: None })
    }

    /// Opens a run in which the node does what `act` says: emits, shows a status, reports an error. One that leaves
    /// nothing to do is over at once and leaves no trace.
    pub fn act(&self, act: impl FnOnce(&mut Cx<'_>)) -> Result<(), Busy> {
        let (deployed, node) = self.instance.place().ok_or(Busy::Server)?;
        deployed.act(node, act)
    }

    pub fn clock(&self) -> Clock {
        self.services.clock.clone()
    }

    /// The plan it acts in now, and the node; `None` when that plan is gone.
    pub fn stands(&self) -> Option<(Arc<Deployed>, NodeIndex)> {
        self.instance.place()
    }

    pub fn services(&self) -> &Arc<Services> {
        &self.services
    }

    /// Reads where the node stands now; `None` when its plan is gone.
    pub fn at_place<T>(&self, read: impl FnOnce(Place<'_>) -> T) -> Option<T> {
        let (deployed, node) = self.instance.place()?;
        Some(read(deployed.place(node)))
    }
}
