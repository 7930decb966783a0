//! A plan with its nodes: what it is made of, and what is known of each node.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arcstr::ArcStr;

use super::capture::Secrets;
use super::engine::Active;
use super::instance::Instance;
use super::routes::Routes;
use super::sockets::Doors;
use super::{Catalogue, Effect, Entry, Node, Services};
use crate::model::Diagnostic;
use crate::model::flow::{NodeIndex, Plan, Stopped};

/// A plan with its nodes, ready to run. Runs hold on to the one they started on.
pub struct Deployed {
    pub plan: Arc<Plan>,
    pub(super) nodes: Vec<Arc<dyn Node>>,
    /// The same nodes as they live on over deploys.
    pub(super) instances: Vec<Arc<Instance>>,
    /// Config nodes with their places among the plan's, each after those it names.
    pub(super) configs: Vec<(usize, Arc<Instance>)>,
    pub(super) catalogue: Arc<Catalogue>,
    pub routes: Routes,
    /// Paths of websocket listeners below `httpNodeRoot`.
    pub sockets: Doors,
    /// Metric name → entry node.
    pub metrics: HashMap<ArcStr, NodeIndex>,
    /// Nodes with a schedule.
    pub schedules: Vec<(NodeIndex, Entry)>,
    /// Which nodes the world reaches by themselves.
    pub(super) entries: Vec<bool>,
    /// What each node does outside its flow.
    pub(super) effects: Vec<Effect>,
    /// Which nodes may ask the database for contexts while they are called.
    pub(super) asks_contexts: Vec<bool>,
    /// What is wrong with single nodes; they fail the messages they get.
    pub diagnostics: Vec<Diagnostic>,
    pub services: Arc<Services>,
    pub(super) active: Arc<Active>,
    pub(super) stopped: AtomicBool,
    /// Found when they are first needed.
    pub(super) secrets: OnceLock<Arc<Secrets>>,
}

impl Deployed {
    /// What must not be shown of this plan's messages.
    pub(super) fn secrets(&self) -> Arc<Secrets> {
        self.secrets
            .get_or_init(|| Arc::new(Secrets::of(&self.plan).and(self.nodes.iter().flat_map(|node| node.secrets()))))
            .clone()
    }

    /// True when the world reaches this node by itself: it has no input, or an [`Entry`].
    pub fn is_entry(&self, node: NodeIndex) -> bool {
        self.entries[node as usize]
    }

    /// The answer deadline of callers of this flow.
    pub fn reply_deadline(&self, node: NodeIndex) -> Duration {
        let flow = self.plan.nodes[node as usize].flow as usize;
        let own = self.plan.flows.get(flow).and_then(|f| f.reply_ms_max);
        Duration::from_millis(own.unwrap_or(self.services.limits.reply_ms_max))
    }

    /// Why the flow of a node does not run, if it does not.
    pub fn stopped(&self, node: NodeIndex) -> Option<&Stopped> {
        self.plan.flows.get(self.plan.nodes[node as usize].flow as usize)?.stopped.as_ref()
    }

    /// Keeps a task of a node until the node is stopped.
    pub(super) fn keep_task(&self, node: NodeIndex, task: impl Future<Output = ()> + Send + 'static) {
        self.instances[node as usize].keep_task(task);
    }

    /// Where a node of this plan lives now: another plan, when that took the node over.
    pub(super) fn now_of(self: &Arc<Self>, node: NodeIndex) -> (Arc<Deployed>, NodeIndex) {
        self.instances[node as usize].place().unwrap_or_else(|| (self.clone(), node))
    }

    /// Turns what a node shows on or off ([`Node::show`]).
    pub fn show(&self, node: NodeIndex, on: bool) {
        self.nodes[node as usize].show(on);
    }

    /// Every node that lives in this plan.
    pub(super) fn lives(&self) -> HashSet<usize> {
        self.instances.iter().chain(self.configs.iter().map(|(_, config)| config)).map(Instance::address).collect()
    }

    pub(super) fn is_cut_off(&self) -> bool {
        *self.active.cut_off.borrow()
    }

    pub(super) async fn cut_off(&self) {
        let mut cut_off = self.active.cut_off.subscribe();
        // The sender lives in `self.active`, so this resolves only when runs are to end.
        let _ = cut_off.wait_for(|cut| *cut).await.is_ok();
    }
}
