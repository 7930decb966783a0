//! Runs that nodes begin by themselves, or for later. In a durable flow they are committed before they count as begun.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::opening::Start;
use super::{Cx, Step, Then};
use super::{Deployed, Source};
use crate::model::Msg;
use crate::model::flow::NodeIndex;
use crate::model::run::Trigger;

/// A run that a node begins.
pub struct BegunRun {
    pub deployed: Arc<Deployed>,
    pub node: NodeIndex,
    pub start: Start,
    pub msg: Msg,
    pub trigger: Trigger,
    /// Not before this has passed.
    pub after: Duration,
    /// What is begun twice under one key is one run; the keys are the node's alone.
    pub key: Option<String>,
}

/// Commits runs that nodes begin; given to them by the application.
#[async_trait]
pub trait AcceptRuns: Send + Sync {
    /// Whether flows are durable that do not say so themselves.
    fn by_default(&self) -> bool;

    /// Commits a run. The error says why it could not be, for a person; then it may have been committed all the same.
    async fn accept(&self, run: BegunRun) -> Result<(), String>;
}

/// Where a node of a durable flow begins runs.
pub struct DurableStart {
    accept: Arc<dyn AcceptRuns>,
    deployed: Arc<Deployed>,
    node: NodeIndex,
}

impl Source {
    /// Where the node's runs are committed before they count as begun; `None` when its flow is not durable.
    pub fn durable(&self) -> Option<DurableStart> {
        let accept = self.services().accept.get()?.clone();
        let (deployed, node) = self.stands()?;
        let flow = deployed.plan.flows.get(deployed.plan.nodes[node as usize].flow as usize);
        let durable = flow.and_then(|flow| flow.durable).unwrap_or_else(|| accept.by_default());
        durable.then_some(DurableStart { accept, deployed, node })
    }
}

impl DurableStart {
    /// Begins a run: it is committed when this returns.
    ///
    /// # Errors
    /// Why it could not be committed.
    pub async fn begin(self, start: Start, msg: Msg, trigger: Trigger) -> Result<(), String> {
        let DurableStart { accept, deployed, node } = self;
        accept.accept(BegunRun { deployed, node, start, msg, trigger, after: Duration::ZERO, key: None }).await
    }

    /// Begins a run with a message that came from outside, emitted on port 0: it is committed when this returns.
    ///
    /// # Errors
    /// Why it could not be committed.
    pub async fn event(self, msg: Msg) -> Result<(), String> {
        let node = self.deployed.plan.nodes[self.node as usize].id.to_string();
        self.begin(Start::Emit(0), msg, Trigger::Event { node }).await
    }
}

impl Cx<'_> {
    /// For a wait that is longer than a durable run may last: the message leaves port 0 after this long, in a run of its
    /// own that is committed now. Done again after a crash it is that same run, if the node has an
    /// [`Effect`](super::durable::Effect). `None` where nothing is committed: the run is not durable.
    pub fn emit_durably_later(&self, msg: &Msg, after: Duration) -> Option<Step> {
        self.core.durable.as_ref()?;
        let accept = self.deployed.services.accept.get()?.clone();
        let failed = msg.clone();
        let mut msg = msg.clone();
        msg.remove("res");
        let run = BegunRun {
            deployed: self.deployed.clone(),
            node: self.node,
            start: Start::Emit(0),
            msg,
            trigger: Trigger::Linked { run: self.core.id, caller: self.has_caller() },
            after,
            key: self.idempotency_key(),
        };
        Some(Step::wait(async move {
            let accepted = accept.accept(run).await;
            Box::new(move |_: &mut Cx<'_>| match accepted {
                Ok(()) => Step::Done,
                Err(problem) => Step::fail(failed, problem),
            }) as Then
        }))
    }
}
