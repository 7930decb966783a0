//! What was prepared takes the place of what runs, and whoever listens is told.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arcstr::ArcStr;
use serde_json::{Value as Json, json};

use super::{Current, Flows};
use crate::model::flow::{FlowFile, Plan, PlanNode, Stopped};
use crate::runtime::Deployed;

impl Flows {
    pub(super) fn prepare(&self, file: &FlowFile, keeps: &dyn Fn((&Plan, &PlanNode)) -> bool) -> Arc<Deployed> {
        let plan = (self.parts.plan)(file);
        let nodes = plan.nodes.iter().chain(&plan.configs);
        let kept: HashSet<ArcStr> = nodes.filter(|n| keeps((&plan, n))).map(|n| n.id.clone()).collect();
        self.parts.engine.prepare_keeping(plan, &|node| kept.contains(&node.id))
    }

    /// Makes flows the current ones, and runs them unless all flows are stopped.
    pub(super) fn take(&self, current: Current, prepared: Arc<Deployed>, deploy: bool) {
        self.current.store(Arc::new(current));
        if self.running.load(Ordering::Acquire) {
            self.swap(prepared, deploy);
        }
        self.tell_revision();
    }

    pub(super) fn swap(&self, prepared: Arc<Deployed>, deploy: bool) {
        (self.parts.report)(&prepared.plan.diagnostics);
        (self.parts.report)(&prepared.diagnostics);
        self.parts.engine.swap(prepared.clone(), &|stopped| {
            self.parts.notices.stopped(stopped);
            if deploy {
                self.tell_state("stop", true, &[]);
            }
        });
        self.clean_contexts(&prepared.plan);
        self.tell_state("start", deploy, &unknown_types(&prepared.plan));
    }

    /// Forgets the contexts of nodes and tabs that are gone; of those in the database only what the newest revision
    /// does not know, switched off or not.
    fn clean_contexts(&self, plan: &Plan) {
        let tabs = plan.flows.iter().map(|flow| flow.id.clone());
        let nodes = plan.nodes.iter().chain(&plan.configs);
        let mut known: HashSet<ArcStr> = tabs.chain(nodes.map(|node| node.id.clone())).collect();
        let engine = self.parts.engine.clone();
        engine.services.context.keep(&|scope| known.contains(scope));
        if !engine.services.context.is_in_database() {
            return;
        }
        let current = self.current();
        known.extend(current.file.nodes.iter().map(|node| node.id.clone()));
        // A node of a subflow instance that is switched off: both of its parts are known.
        let inner = move |id: &str| {
            id.rsplit_once('-').is_some_and(|(instance, node)| known.contains(instance) && known.contains(node))
                || known.contains(id)
        };
        tokio::spawn(async move {
            let kept = engine.services.context.keep_stored(&inner, current.number).await;
            if let Err(error) = kept {
                tracing::warn!(%error, "contexts of nodes that are gone stay in the database until the next deploy");
            }
        });
    }

    pub(super) fn tell_state(&self, state: &str, deploy: bool, unknown: &[ArcStr]) {
        let mut data = json!({ "state": state });
        if deploy {
            data["deploy"] = true.into();
        }
        if !unknown.is_empty() {
            data["error"] = "missing-types".into();
            data["type"] = "warning".into();
            data["text"] = "Tabs with nodes of a missing type do not run; the others do".into();
            data["types"] = unknown.iter().map(|t| Json::from(t.as_str())).collect();
        }
        self.parts.notices.notify("runtime-state", data, true);
    }

    pub(super) fn tell_revision(&self) {
        self.parts.notices.notify("runtime-deploy", json!({ "revision": self.current().revision }), true);
    }
}

/// The types whose lack stops a tab, each once.
fn unknown_types(plan: &Plan) -> Vec<ArcStr> {
    let mut types: Vec<ArcStr> = Vec::new();
    for flow in &plan.flows {
        if let Some(Stopped::UnknownTypes(unknown)) = &flow.stopped {
            types.extend(unknown.iter().filter(|t| !types.contains(t)).cloned().collect::<Vec<_>>());
        }
    }
    types
}
