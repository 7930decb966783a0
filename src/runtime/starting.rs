//! What of a plan acts by itself is started and stopped, and nodes say goodbye.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arcstr::ArcStr;
use tokio::task::JoinHandle;

use super::instance::Instance;
use super::{Deployed, Source};
use crate::model::flow::NodeIndex;

/// How long a node may take to close, milliseconds: Node-RED's `nodeCloseTimeout`.
const CLOSE_MS_MAX: u64 = 15_000;

/// Nodes that are closing.
pub(super) struct Goodbye(Vec<JoinHandle<()>>);

impl Goodbye {
    pub(super) async fn wait(self) {
        for closing in self.0 {
            // An error is a panic of the node, which is as closed as it can be.
            let _ = closing.await.is_ok();
        }
    }

    /// They close by themselves.
    pub(super) fn detach(self) {}
}

impl Deployed {
    /// Starts what acts by itself and is not `running` already, once the nodes before have said goodbye; at once when
    /// they have nothing to say.
    pub(super) fn start_after(self: &Arc<Self>, goodbye: Goodbye, running: HashSet<usize>) {
        for (index, instance) in self.instances.iter().enumerate() {
            instance.take_place(self, index as NodeIndex);
        }
        if goodbye.0.is_empty() {
            return self.start_but(&running);
        }
        let deployed = Arc::downgrade(self);
        tokio::spawn(async move {
            goodbye.wait().await;
            // Gone when further flows took their place meanwhile.
            if let Some(deployed) = deployed.upgrade()
                && !deployed.stopped.load(Ordering::Acquire)
            {
                deployed.start_but(&running);
            }
        });
    }

    fn start_but(self: &Arc<Self>, running: &HashSet<usize>) {
        for (index, instance) in self.instances.iter().enumerate() {
            if running.contains(&instance.address()) || self.stopped(index as NodeIndex).is_some() {
                continue;
            }
            let source = Source { instance: instance.clone(), services: self.services.clone() };
            if let Some(task) = instance.node.start(source) {
                instance.keep_task(task);
            }
        }
        // Last: what a connection brings at once finds the nodes that take it. A broker hands over what it kept for us
        // together with its first word.
        for (_, config) in self.configs.iter().filter(|(_, config)| !running.contains(&config.address())) {
            if let Some(task) = config.node.keep() {
                config.keep_task(task);
            }
        }
    }

    /// Stops what acts by itself and is not taken over: nodes first, then config nodes, as in Node-RED. Gives the ids of
    /// the stopped nodes.
    pub(super) fn stop_but(self: &Arc<Self>, taken_over: &HashSet<usize>) -> (Vec<ArcStr>, Goodbye) {
        if self.stopped.swap(true, Ordering::AcqRel) {
            return (Vec::new(), Goodbye(Vec::new()));
        }
        let goes = |instance: &&Arc<Instance>| !taken_over.contains(&instance.address());
        let nodes = self.instances.iter().filter(goes);
        let configs = self.configs.iter().map(|(_, config)| config).filter(goes);
        let closing: Vec<_> = nodes.chain(configs).filter_map(|instance| instance.stop()).collect();
        let ids = self.plan.nodes.iter().zip(&self.instances).filter(|(_, instance)| goes(instance));
        let ids = ids.map(|(node, _)| node.id.clone()).collect();
        let limit = Duration::from_millis(CLOSE_MS_MAX);
        let spawn = |goodbye| {
            // What a node does last it does in its own plan, which nobody else may hold any more.
            let deployed = self.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = goodbye => {}
                    () = deployed.services.clock.sleep(limit) => {
                        tracing::warn!("a node did not close within {CLOSE_MS_MAX} ms");
                    }
                }
            })
        };
        (ids, Goodbye(closing.into_iter().map(spawn).collect()))
    }
}
