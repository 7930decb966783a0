//! Stands for a node that the operator has not allowed: says so, and how to allow it, at deploy and to every message.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::model::Msg;
use crate::runtime::{Cx, Node, NodeConfig, NodeError, Source, Status, Step};

pub(super) struct Refused {
    why: String,
}

impl Refused {
    pub(super) fn node(why: impl Into<String>) -> Arc<dyn Node> {
        Arc::new(Refused { why: why.into() })
    }
}

/// The refusal of a node type that runs only where the operator allows it by name; `None` when that is so.
pub(super) fn unless_allowed(config: &NodeConfig<'_>, what: &str) -> Option<Arc<dyn Node>> {
    let node_type = config.node.node_type.as_str();
    let allowed = &config.services.nodes_allowed;
    if allowed.iter().any(|name| name == node_type) {
        return None;
    }
    let list: Vec<String> =
        allowed.iter().map(String::as_str).chain([node_type]).map(|name| format!("\"{name}\"")).collect();
    Some(Refused::node(format!(
        "nodes of type \"{node_type}\" are not allowed: {what}. To allow them: nodes.allow = [{}] in the configuration",
        list.join(", ")
    )))
}

impl Node for Refused {
    fn on_msg(&self, msg: Msg, _cx: &mut Cx<'_>) -> Step {
        Step::fail(msg, NodeError::with_code(self.why.clone(), "EACCES"))
    }

    fn start(&self, source: Source) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        let why = self.why.clone();
        Some(Box::pin(async move {
            let told = source.act(|cx| {
                cx.status(Status { fill: Some("red".into()), shape: Some("ring".into()), text: "not allowed".into() });
                cx.warn(why.clone());
            });
            if told.is_err() {
                tracing::warn!("{why}");
            }
        }))
    }
}
