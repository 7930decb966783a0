//! What stands for a subflow in a plan: the instance (its input) and the sink of its status output.

use std::sync::Arc;

use super::junction::PassOn;
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::runtime::NodeType;

static SPEC: NodeSpec = NodeSpec {
    // The trailing colon makes it the type of every `subflow:<id>`.
    node_type: "subflow:",
    category: "common",
    summary: "An instance of a subflow: hands its messages to the subflow's input.",
    inputs: 1,
    outputs: None,
    config_node: false,
    properties: &[Property::new("env", PropertyKind::Json, "Values of the subflow's properties for this instance.")],
    capabilities: &[],
};

/// An instance: the planner wires it to the subflow's input targets.
pub const TYPE: NodeType = NodeType { spec: &SPEC, build: |_| Ok(Arc::new(PassOn)) };
