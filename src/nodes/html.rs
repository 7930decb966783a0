//! `html`: picks elements out of an HTML document by a CSS selector.
//!
//! Behaviour: Node-RED's `70-HTML.js`, which uses cheerio; of jQuery's own pseudo-classes those about an element's place
//! or text are known ([`selection`]).

mod selection;
mod text;

use std::sync::Arc;

use arcstr::{ArcStr, literal};
use scraper::{ElementRef, Html};

use super::typed::msg_path;
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::model::path::Path;
use crate::model::{Diagnostic, Msg, Object, Value};
use crate::runtime::{Cx, Node, NodeConfig, NodeType, Step};
use selection::Selection;

static SPEC: NodeSpec = NodeSpec {
    node_type: "html",
    category: "parser",
    summary: "Extracts elements from an HTML document with a CSS selector.",
    inputs: 1,
    outputs: Some(1),
    config_node: false,
    properties: &[
        Property::new("property", PropertyKind::MsgPath, "Where the document is; payload when absent."),
        Property::new("outproperty", PropertyKind::MsgPath, "Where the result goes; property when absent."),
        Property::new("tag", PropertyKind::Text, "CSS selector, for example table > tr; msg.select when empty."),
        Property::new(
            "ret",
            PropertyKind::OneOf(&["html", "text", "attr", "compl"]),
            "html: the contents as markup; text: as text; attr: an object of attributes; compl: both. html when absent.",
        ),
        Property::new("as", PropertyKind::OneOf(&["single", "multi"]), "single: an array; multi: a message for each."),
        Property::new("chr", PropertyKind::Text, "compl: the property that holds the contents; _ when absent."),
    ],
    capabilities: &[],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build };

#[derive(Clone, Copy)]
enum Returned {
    Html,
    Text,
    Attributes,
    Complete,
}

struct HtmlNode {
    property: Path,
    out_property: Path,
    /// `None`: `msg.select` says it.
    selection: Option<Selection>,
    returned: Returned,
    multi: bool,
    contents_key: ArcStr,
}

fn build(cfg: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let or = |name: &str, default: &str| match cfg.text(name) {
        text if text.is_empty() => default.into(),
        text => text,
    };
    let property_text = or("property", "payload");
    let property = msg_path(cfg, "property", &property_text).map_err(|p| problems.push(p)).ok();
    let out_property =
        msg_path(cfg, "outproperty", &or("outproperty", &property_text)).map_err(|p| problems.push(p)).ok();
    let tag = cfg.text("tag");
    let selection = (!tag.is_empty()).then(|| Selection::parse(&tag)).transpose().map_err(|why| {
        problems.push(cfg.problem("invalid-selector", "tag", why).expected("a CSS selector such as ul > li"));
    });
    let ret = or("ret", "html");
    let returned = match ret.as_str() {
        "html" => Returned::Html,
        "text" => Returned::Text,
        "attr" => Returned::Attributes,
        "compl" => Returned::Complete,
        other => {
            let known = ["html", "text", "attr", "compl"];
            let problem = cfg.problem("unknown-option", "ret", format!("\"{other}\" is nothing an element has"));
            problems.push(problem.expected(known.join(", ")).did_you_mean(other, known));
            Returned::Html
        }
    };
    match (property, out_property, selection) {
        (Some(property), Some(out_property), Ok(selection)) if problems.is_empty() => Ok(Arc::new(HtmlNode {
            property,
            out_property,
            selection,
            returned,
            multi: cfg.text("as") == "multi",
            contents_key: or("chr", "_"),
        })),
        _ => Err(problems),
    }
}

impl HtmlNode {
    fn value_of(&self, element: ElementRef<'_>) -> Value {
        let attributes = |mut object: Object| {
            for (name, value) in element.value().attrs() {
                object.insert(name, value);
            }
            Value::from(object)
        };
        match self.returned {
            Returned::Html => text::inner_xml(element).into(),
            Returned::Text => text::text(element).into(),
            Returned::Attributes => attributes(Object::new()),
            Returned::Complete => {
                let contents = text::inner_html(element);
                attributes([(self.contents_key.clone(), contents)].into_iter().collect())
            }
        }
    }

    /// The selected parts of the document.
    fn parts(&self, msg: &Msg, document: &Value) -> Result<Vec<Value>, String> {
        let text = match document {
            Value::String(text) => text.clone(),
            Value::Bytes(bytes) => String::from_utf8_lossy(bytes).as_ref().into(),
            other => return Err(format!("expected HTML text, found {}", other.type_of())),
        };
        let given = match (&self.selection, msg.get("select")) {
            (None, Some(select)) if select.is_truthy() => Some(Selection::parse(&select.to_js_string())?),
            _ => None,
        };
        let Some(selection) = self.selection.as_ref().or(given.as_ref()) else { return Ok(Vec::new()) };
        let document = Html::parse_document(&text);
        Ok(selection.of(&document).into_iter().map(|element| self.value_of(element)).collect())
    }
}

impl Node for HtmlNode {
    fn on_msg(&self, mut msg: Msg, cx: &mut Cx<'_>) -> Step {
        let document = match msg.read_path(&self.property) {
            Ok(value) => value,
            Err(why) => return Step::fail(msg, why),
        };
        if document.is_undefined() {
            cx.emit(0, msg);
            return Step::Done;
        }
        let parts = match self.parts(&msg, &document) {
            Ok(parts) => parts,
            Err(why) => return Step::fail(msg, why),
        };
        if !self.multi {
            msg.set_path(&self.out_property, Value::array(parts));
            cx.emit(0, msg);
            return Step::Done;
        }
        cx.keep();
        cx.done(&msg);
        let (id, count) = (msg.get("_msgid").cloned().unwrap_or_default(), parts.len());
        for (index, part) in parts.into_iter().enumerate().filter(|(_, part)| part.is_truthy()) {
            let mut msg = msg.clone();
            msg.set_path(&self.out_property, part);
            let mut of = Object::with_capacity(5);
            of.insert(literal!("id"), id.clone());
            of.insert(literal!("index"), index);
            of.insert(literal!("count"), count);
            of.insert(literal!("type"), literal!("string"));
            of.insert(literal!("ch"), ArcStr::new());
            msg.set(literal!("parts"), of);
            cx.emit(0, msg);
        }
        Step::Done
    }
}

#[cfg(test)]
mod tests;
