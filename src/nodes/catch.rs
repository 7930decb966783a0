//! `catch`: where messages that failed come out. Which errors reach it is decided when the flow is planned.

use std::sync::Arc;

use super::junction::PassOn;
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::runtime::NodeType;

static SPEC: NodeSpec = NodeSpec {
    node_type: "catch",
    category: "common",
    summary: "Emits the message of a node that failed, with msg.error {message, source, code}.",
    inputs: 0,
    outputs: Some(1),
    config_node: false,
    properties: &[
        Property::new(
            "scope",
            PropertyKind::Json,
            "Node ids to listen to; null for the whole flow, \"group\" for the nodes of this node's group.",
        ),
        Property::new("uncaught", PropertyKind::Boolean, "Take only errors that no other catch node took."),
    ],
    capabilities: &[],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build: |_| Ok(Arc::new(PassOn)) };
