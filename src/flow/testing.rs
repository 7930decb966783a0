//! A small catalogue of node specs for the tests of this module.

use crate::model::node_spec::{NodeSpec, Property, PropertyKind as Kind};

const fn spec(
    node_type: &'static str,
    inputs: u8,
    outputs: Option<u8>,
    config_node: bool,
    properties: &'static [Property],
) -> NodeSpec {
    NodeSpec { node_type, category: "common", summary: "", inputs, outputs, config_node, properties, capabilities: &[] }
}

static SPECS: &[NodeSpec] = &[
    spec("inject", 0, Some(1), false, &[Property::new("repeat", Kind::Number, "")]),
    spec("debug", 1, Some(0), false, &[Property::new("active", Kind::Boolean, "")]),
    spec("change", 1, Some(1), false, &[Property::new("rules", Kind::Json, "")]),
    spec("switch", 1, None, false, &[Property::required("property", Kind::MsgPath, "")]),
    spec("template", 1, Some(1), false, &[Property::new("syntax", Kind::OneOf(&["mustache", "plain"]), "")]),
    spec("http in", 0, Some(1), false, &[Property::new("method", Kind::OneOf(&["get", "post"]), "")]),
    spec("http response", 1, Some(0), false, &[]),
    spec("http request", 1, Some(1), false, &[Property::new("tls", Kind::NodeRef("tls-config"), "")]),
    spec("tls-config", 0, Some(0), true, &[]),
    spec("junction", 1, Some(1), false, &[]),
    spec("link in", 0, Some(1), false, &[]),
    spec("link out", 1, Some(0), false, &[]),
    spec("link call", 1, Some(1), false, &[]),
    spec("catch", 0, Some(1), false, &[]),
    spec("status", 0, Some(1), false, &[]),
    spec("join", 1, Some(1), false, &[]),
    spec("batch", 1, Some(1), false, &[]),
    spec("schedule", 0, Some(1), false, &[]),
];

pub(super) fn specs(node_type: &str) -> Option<&'static NodeSpec> {
    SPECS.iter().find(|s| s.node_type == node_type)
}

pub(super) fn no_env(_: &str) -> Option<String> {
    None
}
