//! What stands for a subflow in a plan: the instance (its input) and the sink of its status output.

use std::sync::Arc;

use super::junction::PassOn;
use crate::flow::SUBFLOW_STATUS;
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::model::{Msg, Value};
use crate::runtime::{Cx, Node, NodeType, Status, Step};

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

static STATUS_SPEC: NodeSpec = NodeSpec {
    node_type: SUBFLOW_STATUS,
    category: "common",
    summary: "The status output of a subflow: what reaches it is the status of the instance.",
    inputs: 1,
    outputs: Some(0),
    config_node: false,
    properties: &[],
    capabilities: &[],
};

/// Where a subflow's status output leads; the planner makes one per instance, no file names it.
pub const STATUS_TYPE: NodeType = NodeType { spec: &STATUS_SPEC, build: |_| Ok(Arc::new(StatusOutput)) };

struct StatusOutput;

impl Node for StatusOutput {
    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        if let Some(status) = status_of(&msg) {
            cx.status(status);
        }
        Step::Done
    }
}

/// As Node-RED reads it: a text, something that looks like a status, anything else shortened; or `msg.status`.
fn status_of(msg: &Msg) -> Option<Status> {
    let text = |text: &str| Status { fill: None, shape: None, text: text.into() };
    match msg.get("payload").filter(|v| !v.is_undefined()) {
        None => msg.get("status").filter(|v| !v.is_undefined()).map(from_object),
        Some(Value::String(s)) => Some(text(s)),
        Some(Value::Object(o)) if o.is_empty() || ["text", "fill", "shape"].iter().any(|k| o.contains_key(k)) => {
            Some(from_object(&Value::Object(o.clone())))
        }
        Some(other) => {
            let shown = other.to_json();
            let short: String = shown.chars().take(32).collect();
            Some(text(&if short.len() < shown.len() { short + "..." } else { short }))
        }
    }
}

fn from_object(value: &Value) -> Status {
    let part = |key: &str| Some(value.get(key)).filter(|v| !v.is_nullish()).map(|v| v.to_js_string());
    Status { fill: part("fill"), shape: part("shape"), text: part("text").unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_statuses_as_node_red_does() {
        for (name, json, text, fill) in [
            ("payload", r#""busy""#, "busy", None),
            ("payload", r#"{"fill":"red","text":3}"#, "3", Some("red")),
            ("payload", "{}", "", None),
            ("payload", r#"{"a":1}"#, r#"{"a":1}"#, None),
            ("payload", "[1111111111,2222222222,3333333333]", "[1111111111,2222222222,333333333...", None),
            ("status", r#"{"fill":"green","shape":"dot","text":"ok"}"#, "ok", Some("green")),
        ] {
            let mut msg = Msg::new();
            msg.set(name, Value::from_json(json).unwrap());
            let status = status_of(&msg).unwrap();
            assert_eq!((status.text.as_str(), status.fill.as_deref()), (text, fill), "{json}");
        }
        assert!(status_of(&Msg::new()).is_none());
    }
}
