//! `xml`: XML text to objects and back.
//!
//! Behaviour: Node-RED's `70-XML.js`, which uses xml2js 0.6 and its options (`msg.options`).

mod build;
mod names;
mod options;
mod parse;

use std::sync::Arc;

use arcstr::{ArcStr, literal};

use super::typed::msg_path;
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::model::path::Path;
use crate::model::{Diagnostic, Msg, Object, Value};
use crate::runtime::{Cx, Node, NodeConfig, NodeType, Step};
use options::Options;

static SPEC: NodeSpec = NodeSpec {
    node_type: "xml",
    category: "parser",
    summary: "Converts between XML text and objects.",
    inputs: 1,
    outputs: Some(1),
    config_node: false,
    properties: &[
        Property::new("property", PropertyKind::MsgPath, "What is converted; payload when absent."),
        Property::new(
            "attr",
            PropertyKind::Text,
            "The property that holds attributes; msg.options.attrkey or $ when empty.",
        ),
        Property::new("chr", PropertyKind::Text, "The property that holds text; msg.options.charkey or _ when empty."),
    ],
    capabilities: &[],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build };

struct Xml {
    property: Path,
    attr_key: ArcStr,
    char_key: ArcStr,
}

fn build(cfg: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let property = cfg.text("property");
    let property = msg_path(cfg, "property", if property.is_empty() { "payload" } else { &property });
    Ok(Arc::new(Xml {
        property: property.map_err(|problem| vec![problem])?,
        attr_key: cfg.text("attr"),
        char_key: cfg.text("chr"),
    }))
}

impl Xml {
    fn read(&self, msg: &mut Msg, text: &str) -> Result<Value, String> {
        let given = given_options(msg);
        let key = |own: &ArcStr, name: &str, default: ArcStr| {
            let given = || given.as_ref().and_then(|o| o.get(name)).filter(|v| v.is_truthy()).map(Value::to_js_string);
            if own.is_empty() { given().unwrap_or(default) } else { own.clone() }
        };
        let attr_key = key(&self.attr_key, "attrkey", literal!("$"));
        let char_key = key(&self.char_key, "charkey", literal!("_"));
        // The node writes what it uses into the options of the message, which go on with it.
        let options = match given {
            None => Object::new(),
            Some(mut options) => {
                let own = Arc::make_mut(&mut options);
                own.insert(literal!("async"), true);
                own.insert(literal!("attrkey"), attr_key.clone());
                own.insert(literal!("charkey"), char_key.clone());
                msg.set(literal!("options"), options.clone());
                Arc::unwrap_or_clone(options)
            }
        };
        parse::parse(text, &Options { attr_key, char_key, ..Options::read(&options) })
    }

    fn write(&self, msg: &mut Msg, value: &Value) -> Result<String, String> {
        let options = match given_options(msg) {
            None => Options { pretty: false, ..Options::default() },
            Some(mut options) => {
                Arc::make_mut(&mut options).insert(literal!("async"), false);
                msg.set(literal!("options"), options.clone());
                Options::read(&options)
            }
        };
        build::build(value, &options)
    }
}

fn given_options(msg: &Msg) -> Option<Arc<Object>> {
    match msg.get("options") {
        Some(Value::Object(options)) => Some(options.clone()),
        _ => None,
    }
}

impl Node for Xml {
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
            Value::String(text) => self.read(&mut msg, text),
            value if value.type_of() == "object" => self.write(&mut msg, value).map(Value::from),
            _ => {
                cx.warn("This node only handles xml strings or js objects.");
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
