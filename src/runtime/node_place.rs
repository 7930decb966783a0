//! Where a node stands: what it may read, and keep, without handling a message.

use std::sync::Arc;

use arcstr::ArcStr;
use jiff::Timestamp;

use super::context::{Level, Owner};
use super::{Deployed, Source};
use super::{NodeError, Services};
use crate::model::flow::{NodeIndex, Plan, PlanNode};
use crate::model::path::Path;
use crate::model::{Msg, Value};

/// Where a node stands: what it may read without handling a message.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    deployed: &'a Arc<Deployed>,
    node: NodeIndex,
}

impl<'a> Place<'a> {
    pub fn node(self) -> &'a PlanNode {
        &self.deployed.plan.nodes[self.node as usize]
    }

    pub fn plan(self) -> &'a Plan {
        &self.deployed.plan
    }

    pub fn services(self) -> &'a Arc<Services> {
        &self.deployed.services
    }

    pub fn now(self) -> Timestamp {
        self.deployed.services.clock.now()
    }

    /// An environment variable as this node sees it: its groups, subflow, tab, then the process.
    pub fn env(self, name: &str) -> Value {
        match self.node().env.get(name) {
            Some(value) => value.clone(),
            None => (self.deployed.services.env)(name).map(Value::from).unwrap_or_default(),
        }
    }

    /// Whose contexts it sees.
    fn owner(self) -> Owner<'a> {
        Owner { node: self.node(), tenant: self.plan().tenant(self.node()) }
    }

    /// Reads a context.
    ///
    /// # Errors
    /// The store is in the database, and that did not answer.
    pub fn context_get(self, level: Level, path: &Path, msg: &Msg) -> Result<Value, NodeError> {
        self.services().context.get(self.owner(), level, path, Some(msg.object()))
    }

    /// As [`Place::context_get`], for who can wait.
    ///
    /// # Errors
    /// As there.
    pub async fn context_read(self, level: Level, path: &Path, msg: &Msg) -> Result<Value, NodeError> {
        self.services().context.read(self.owner(), level, path, Some(msg.object())).await
    }

    /// The names kept in a context; those of the default store unless one is named.
    ///
    /// # Errors
    /// As of [`Place::context_get`].
    pub fn context_keys(self, level: Level, store: Option<&str>) -> Result<Vec<ArcStr>, NodeError> {
        self.services().context.keys(self.owner(), level, store)
    }

    /// Sets a value; false when a scalar is in the way.
    ///
    /// # Errors
    /// The store is in the database, and that did not answer, or the value is too large.
    pub fn context_set(self, level: Level, path: &Path, value: Value, msg: &Msg) -> Result<bool, NodeError> {
        self.services().context.set(self.owner(), level, path, value, Some(msg.object()))
    }

    /// As [`Place::context_set`], for who can wait.
    ///
    /// # Errors
    /// As there.
    pub async fn context_write(self, level: Level, path: &Path, value: Value, msg: &Msg) -> Result<bool, NodeError> {
        self.services().context.write(self.owner(), level, path, value, Some(msg.object())).await
    }

    /// Makes of what is under a key of the node's own context what `change` says, at once for all; `None` leaves it as it
    /// is. It may be asked again.
    ///
    /// # Errors
    /// As of [`Place::context_set`].
    pub fn context_update(
        self,
        store: Option<&str>,
        key: &ArcStr,
        change: &mut (dyn FnMut(Value) -> Option<Value> + Send),
    ) -> Result<(), NodeError> {
        self.services().context.update(self.owner(), store, key, change)
    }

    /// The plan it is in, and the node: for who looks again later.
    pub fn held(self) -> (Arc<Deployed>, NodeIndex) {
        (self.deployed.clone(), self.node)
    }
}

impl Deployed {
    /// What lets a node of this plan act by itself.
    pub fn source(self: &Arc<Self>, node: NodeIndex) -> Source {
        Source { instance: self.instances[node as usize].clone(), services: self.services.clone() }
    }

    pub fn place(self: &Arc<Self>, node: NodeIndex) -> Place<'_> {
        Place { deployed: self, node }
    }
}
