//! The json node: JSON text to values and back.
//!
//! Behaviour: Node-RED's `70-JSON.js`, except that a message with `msg.schema` is refused: JSON Schema
//! validation is not part of this release, and a message that should have been validated must not pass.

use std::sync::Arc;

use super::typed::msg_path;
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::model::path::Path;
use crate::model::{Diagnostic, Msg, Value};
use crate::runtime::{Cx, Node, NodeConfig, NodeError, NodeType, Step};

static SPEC: NodeSpec = NodeSpec {
    node_type: "json",
    category: "parser",
    summary: "Converts between JSON text and values.",
    inputs: 1,
    outputs: Some(1),
    config_node: false,
    properties: &[
        Property::new("property", PropertyKind::MsgPath, "The property that is converted; default payload."),
        Property::new(
            "action",
            PropertyKind::OneOf(&["", "str", "obj"]),
            "obj: always to a value; str: always to text; empty: whichever it is not. Nesting is limited to 128 \
             levels. A message with msg.schema is refused: schemas are not supported.",
        ),
        Property::new("pretty", PropertyKind::Boolean, "Indents text by 4 spaces."),
    ],
    capabilities: &[],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build };

struct Json {
    property: Path,
    to_value: bool,
    to_text: bool,
    pretty: bool,
}

fn build(cfg: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let property = cfg.text("property");
    let property = if property.is_empty() { "payload" } else { property.as_str() };
    let property = msg_path(cfg, "property", property).map_err(|d| vec![d])?;
    let action = cfg.text("action");
    Ok(Arc::new(Json {
        property,
        to_value: action != "str",
        to_text: action != "obj",
        pretty: cfg.get("pretty").is_truthy(),
    }))
}

impl Node for Json {
    fn on_msg(&self, mut msg: Msg, cx: &mut Cx<'_>) -> Step {
        if msg.get("schema").is_some_and(Value::is_truthy) {
            return Step::fail(
                msg,
                "JSON Schema validation (msg.schema) is not supported: remove msg.schema, or validate elsewhere",
            );
        }
        let changed = match msg.get_path(&self.property) {
            Value::String(text) if self.to_value => Some(Value::from_json(&text)),
            Value::Bytes(bytes) if self.to_value => Some(Value::from_json_slice(&bytes)),
            Value::Undefined | Value::String(_) | Value::Bytes(_) => None,
            value if self.to_text => {
                let text = if self.pretty { value.to_json_pretty(4) } else { value.to_json() };
                Some(Ok(text.into()))
            }
            _ => None,
        };
        match changed {
            Some(Ok(value)) => {
                msg.set_path(&self.property, value);
            }
            Some(Err(error)) => return Step::fail(msg, NodeError::new(error.to_string())),
            None => {}
        }
        cx.emit(0, msg);
        Step::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::testbed::{Bed, json};

    fn converted(config: &str, payload: &str) -> String {
        Bed::new(TYPE, config).payload(&format!(r#"{{"payload":{payload}}}"#)).to_json()
    }

    #[test]
    fn converts_either_way() {
        for (config, payload, expected) in [
            ("{}", r#""{\"a\":[1,2.5]}""#, r#"{"a":[1,2.5]}"#),
            ("{}", r#"{"a":1}"#, r#""{\"a\":1}""#),
            ("{}", "null", "\"null\""),
            ("{}", "true", "\"true\""),
            ("{}", "1e21", "\"1e+21\""),
            ("{}", "1e-7", "\"1e-7\""),
            ("{}", "0.000001", "\"0.000001\""),
            (r#"{"action":"obj"}"#, r#"{"a":1}"#, r#"{"a":1}"#),
            (r#"{"action":"str"}"#, r#""{}""#, r#""{}""#),
            (
                r#"{"action":"str","pretty":true}"#,
                r#"{"a":[],"b":[1]}"#,
                r#""{\n    \"a\": [],\n    \"b\": [\n        1\n    ]\n}""#,
            ),
        ] {
            assert_eq!(converted(config, payload), expected, "{config} {payload}");
        }
    }

    #[test]
    fn buffers_are_read_as_text_and_missing_properties_passed_on() {
        let mut msg = Msg::new();
        msg.set("b", Value::Bytes(Arc::new(b"[1]".to_vec())));
        let out = Bed::new(TYPE, r#"{"property":"b"}"#).send_msgs(vec![msg]);
        assert_eq!(out[0].1.get("b"), Some(&json("[1]")));
        assert_eq!(Bed::new(TYPE, "{}").send(&[r#"{"x":1}"#]).len(), 1);
    }

    #[test]
    fn what_cannot_be_converted_is_an_error() {
        let bed = Bed::new(TYPE, r#"{"action":"obj"}"#);
        assert!(bed.error(r#"{"payload":"{"}"#).contains("EOF"));
        let deep = "[".repeat(100_000);
        assert!(bed.error(&format!(r#"{{"payload":"{deep}"}}"#)).contains("recursion"));
        assert!(bed.error(r#"{"payload":"1","schema":{"type":"string"}}"#).contains("not supported"));
    }
}
