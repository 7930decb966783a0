//! `udp in` and `udp out`: named, and refused: they are not built yet, also where the operator allows them.

use super::tcp::build;
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::runtime::NodeType;

static IN_SPEC: NodeSpec = NodeSpec {
    node_type: "udp in",
    category: "network",
    summary: "UDP datagrams as messages; refused.",
    inputs: 0,
    outputs: Some(1),
    config_node: false,
    properties: &[Property::new("port", PropertyKind::Text, "Port.")],
    capabilities: &[],
};

static OUT_SPEC: NodeSpec = NodeSpec {
    node_type: "udp out",
    category: "network",
    summary: "Messages as UDP datagrams; refused.",
    inputs: 1,
    outputs: Some(0),
    config_node: false,
    properties: &[
        Property::new("addr", PropertyKind::Text, "Host to send to."),
        Property::new("port", PropertyKind::Text, "Port."),
    ],
    capabilities: &[],
};

pub const IN: NodeType = NodeType { spec: &IN_SPEC, build };
pub const OUT: NodeType = NodeType { spec: &OUT_SPEC, build };
