//! The json node: JSON text to values and back.
//!
//! Behaviour: Node-RED's `70-JSON.js`, with `msg.schema` (JSON Schema). Unlike there, `format` is checked, and a
//! schema may name draft 4, 2019-09 or 2020-12, too.

mod keywords;
mod schema;

pub(super) mod syntax;

use std::sync::{Arc, Mutex};

use schema::Schema;

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
             levels. msg.schema, a JSON Schema (draft 7 unless $schema says otherwise; $ref only within it), must \
             hold for the value; then it is removed, else msg.schemaError says what is wrong.",
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
    /// The schema of the message before: most flows have one.
    schema: Mutex<Option<Arc<Schema>>>,
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
        schema: Mutex::default(),
    }))
}

impl Json {
    /// The compiled `msg.schema`, if there is one.
    fn schema(&self, msg: &Msg) -> Result<Option<Arc<Schema>>, NodeError> {
        let Some(source) = msg.get("schema").filter(|s| s.is_truthy()) else { return Ok(None) };
        let mut last = self.schema.lock().unwrap_or_else(|p| p.into_inner());
        if let Some(schema) = last.as_ref().filter(|schema| schema.is_of(source)) {
            return Ok(Some(schema.clone()));
        }
        *last = None;
        let compiled = Schema::compile(source)
            .map_err(|why| NodeError::new(format!("JSON Schema error: failed to compile schema: {why}")))?;
        Ok(last.insert(Arc::new(compiled)).clone().into())
    }
}

impl Node for Json {
    fn on_msg(&self, mut msg: Msg, cx: &mut Cx<'_>) -> Step {
        let schema = match self.schema(&msg) {
            Ok(schema) => schema,
            Err(error) => return Step::fail(msg, error),
        };
        let mut value = match msg.read_path(&self.property) {
            Ok(value) => value,
            Err(why) => return Step::fail(msg, why),
        };
        // A message without the property goes on as it is, in Node-RED with its schema, too.
        if value.is_undefined() {
            cx.emit(0, msg);
            return Step::Done;
        }
        let is_text = matches!(value, Value::String(_) | Value::Bytes(_));
        if is_text && (self.to_value || schema.is_some()) {
            let read = match &value {
                Value::Bytes(bytes) => Value::from_json_slice(bytes),
                text => Value::from_json(&text.to_js_string()),
            };
            value = match read {
                Ok(value) => value,
                Err(error) => {
                    // Bytes that are no text are read as Node.js reads them.
                    let problem = syntax::problem(&value.to_js_string()).unwrap_or_else(|| error.to_string());
                    return Step::fail(msg, NodeError::new(problem));
                }
            };
            if self.to_value {
                msg.set_path(&self.property, value.clone());
            }
        }
        if let Some(schema) = schema {
            if let Err(invalid) = schema.validate(&value) {
                msg.set("schemaError", invalid.errors);
                return Step::fail(msg, NodeError::new(format!("JSON Schema error: {}", invalid.text)));
            }
            msg.remove("schema");
        }
        if !is_text && self.to_text {
            let text = if self.pretty { value.to_json_pretty(4) } else { value.to_json() };
            msg.set_path(&self.property, text.into());
        }
        cx.emit(0, msg);
        Step::Done
    }
}

#[cfg(test)]
mod schema_tests;

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
        assert!(bed.error(r#"{"payload":"{"}"#).contains("Expected property name"));
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert!(bed.error(&format!(r#"{{"payload":"{deep}"}}"#)).contains("recursion"));
    }
}
