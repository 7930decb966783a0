//! `tcp in`, `tcp out` and `tcp request`: named, and refused: they are not built yet, also where the operator allows them.

use std::sync::Arc;

use super::refused::{Refused, unless_allowed};
use crate::model::Diagnostic;
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::runtime::{Node, NodeConfig, NodeType};

macro_rules! spec {
    ($node_type:literal, $inputs:literal, $outputs:literal, $summary:literal) => {
        NodeSpec {
            node_type: $node_type,
            category: "network",
            summary: $summary,
            inputs: $inputs,
            outputs: Some($outputs),
            config_node: false,
            properties: &[
                Property::new("host", PropertyKind::Text, "Host to connect to."),
                Property::new("port", PropertyKind::Text, "Port."),
            ],
            capabilities: &[],
        }
    };
}

static IN_SPEC: NodeSpec = spec!("tcp in", 0, 1, "TCP connections as messages; refused.");
static OUT_SPEC: NodeSpec = spec!("tcp out", 1, 0, "Messages to TCP connections; refused.");
static REQUEST_SPEC: NodeSpec = spec!("tcp request", 1, 1, "A message out, its answer back; refused.");

pub const IN: NodeType = NodeType { spec: &IN_SPEC, build };
pub const OUT: NodeType = NodeType { spec: &OUT_SPEC, build };
pub const REQUEST: NodeType = NodeType { spec: &REQUEST_SPEC, build };

pub(super) fn build(config: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let what = "they connect to, or listen on, ports past the rules of HTTP";
    Ok(unless_allowed(config, what)
        .unwrap_or_else(|| Refused::node(format!("nodes of type \"{}\" are not supported yet", config.node.node_type))))
}
