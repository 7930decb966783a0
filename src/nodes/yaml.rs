//! `yaml`: YAML text to values and back.
//!
//! Behaviour: Node-RED's `70-YAML.js`, which uses js-yaml 4: one document, the core schema of YAML 1.2 with timestamps,
//! merge keys, `!!binary`, `!!omap`, `!!pairs` and `!!set`.

mod dump;
mod load;
mod scalar;

use std::sync::Arc;

use super::typed::msg_path;
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::model::path::Path;
use crate::model::{Diagnostic, Msg, Value};
use crate::runtime::{Cx, Node, NodeConfig, NodeType, Step};

static SPEC: NodeSpec = NodeSpec {
    node_type: "yaml",
    category: "parser",
    summary: "Converts between YAML text and values.",
    inputs: 1,
    outputs: Some(1),
    config_node: false,
    properties: &[Property::new("property", PropertyKind::MsgPath, "What is converted; payload when absent.")],
    capabilities: &[],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build };

pub(super) use load::load;

struct Yaml {
    property: Path,
}

fn build(cfg: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let property = cfg.text("property");
    let property = msg_path(cfg, "property", if property.is_empty() { "payload" } else { &property });
    Ok(Arc::new(Yaml { property: property.map_err(|problem| vec![problem])? }))
}

impl Node for Yaml {
    fn on_msg(&self, mut msg: Msg, cx: &mut Cx<'_>) -> Step {
        let value = match msg.read_path(&self.property) {
            Ok(value) => value,
            Err(why) => return Step::fail(msg, why),
        };
        let converted = match &value {
            Value::Undefined => {
                cx.emit(0, msg);
                return Step::Done;
            }
            Value::String(text) => load(text),
            Value::Bytes(_) => {
                cx.warn("Ignored object: a buffer is neither YAML text nor a JS object.");
                return Step::Done;
            }
            value if value.type_of() == "object" => dump::dump(value).map(Value::from),
            _ => {
                cx.warn("Ignored unsupported payload type");
                return Step::Done;
            }
        };
        match converted {
            Ok(converted) => {
                msg.set_path(&self.property, converted);
                cx.emit(0, msg);
                Step::Done
            }
            Err(why) => Step::fail(msg, why),
        }
    }
}

#[cfg(test)]
mod tests;
