//! `status`: emits the statuses that other nodes show. Which ones is decided when the flow is planned.

use std::sync::Arc;

use super::junction::PassOn;
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::runtime::NodeType;

static SPEC: NodeSpec = NodeSpec {
    node_type: "status",
    category: "common",
    summary: "Emits msg.status {fill, shape, text, source} when a node of the flow changes its status.",
    inputs: 0,
    outputs: Some(1),
    config_node: false,
    properties: &[Property::new(
        "scope",
        PropertyKind::Json,
        "Node ids to listen to; null for the whole flow, \"group\" for the nodes of this node's group.",
    )],
    capabilities: &[],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build: |_| Ok(Arc::new(PassOn)) };
