//! `junction`: a point where wires meet. Passes every message on.

use std::sync::Arc;

use crate::model::Msg;
use crate::model::node_spec::NodeSpec;
use crate::runtime::{Cx, Node, NodeType, Step};

static SPEC: NodeSpec = NodeSpec {
    node_type: "junction",
    category: "common",
    summary: "Joins wires: what comes in goes out unchanged.",
    inputs: 1,
    outputs: Some(1),
    config_node: false,
    properties: &[],
    capabilities: &[],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build: |_| Ok(Arc::new(PassOn)) };

/// Sends what it gets out of its first port.
pub(super) struct PassOn;

impl Node for PassOn {
    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        cx.emit(0, msg);
        Step::Done
    }
}
