//! `comment`: a note on the canvas. Takes no messages.

use std::sync::Arc;

use crate::model::Msg;
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::runtime::{Cx, Node, NodeType, Step};

static SPEC: NodeSpec = NodeSpec {
    node_type: "comment",
    category: "common",
    summary: "A note for readers of the flow; does nothing.",
    inputs: 0,
    outputs: Some(0),
    config_node: false,
    properties: &[Property::new("info", PropertyKind::Text, "The note, as Markdown.")],
    capabilities: &[],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build: |_| Ok(Arc::new(Silent)) };

/// Takes messages and does nothing with them.
pub(super) struct Silent;

impl Node for Silent {
    fn on_msg(&self, _msg: Msg, _cx: &mut Cx<'_>) -> Step {
        Step::Done
    }
}
