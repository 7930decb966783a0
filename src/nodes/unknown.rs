//! `unknown`: what an editor writes for a node whose type it did not know. Takes messages and does nothing.

use std::sync::Arc;

use super::comment::Silent;
use crate::model::node_spec::NodeSpec;
use crate::runtime::NodeType;

static SPEC: NodeSpec = NodeSpec {
    node_type: "unknown",
    category: "common",
    summary: "Stands for a node whose type was not known when the flow was saved; does nothing.",
    inputs: 1,
    outputs: None,
    config_node: false,
    properties: &[],
    capabilities: &[],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build: |_| Ok(Arc::new(Silent)) };
