//! The template node: sets a property from a Mustache template or plain text.
//!
//! Behaviour: Node-RED's `80-template.js`.

use std::cell::Cell;
use std::sync::Arc;

use super::mustache::{Outside, Template, View};
use super::typed::{TypedTarget, env_text};
use super::yaml::load as load_yaml;
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::model::{Diagnostic, Msg, Object, Value};
use crate::runtime::{Cx, Node, NodeConfig, NodeError, NodeType, Step};

static SPEC: NodeSpec = NodeSpec {
    node_type: "template",
    category: "function",
    summary: "Sets a property from a Mustache template or plain text.",
    inputs: 1,
    outputs: Some(1),
    config_node: false,
    properties: &[
        Property::new("field", PropertyKind::Text, "The property that is set; default payload."),
        Property::new("fieldType", PropertyKind::OneOf(&["msg", "flow", "global"]), "Where `field` lies; default msg."),
        Property::new(
            "template",
            PropertyKind::Text,
            "The template, at most 4 MiB; when empty, msg.template is used. Names are message properties, \
             flow.x, global.x or env.X. `{{x}}` escapes HTML, `{{{x}}}` does not.",
        ),
        Property::new("syntax", PropertyKind::OneOf(&["mustache", "plain"]), "plain: no names; default mustache."),
        Property::new("format", PropertyKind::Text, "The editor's highlighting; not used when the flow runs."),
        Property::new(
            "output",
            PropertyKind::OneOf(&["str", "json", "yaml"]),
            "What the rendered text is parsed as; default str.",
        ),
    ],
    capabilities: &[],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build };

#[derive(Clone, Copy, Debug, PartialEq)]
enum Output {
    Text,
    Json,
    Yaml,
}

enum Source {
    /// A template without names, parsed as the output wants it.
    Fixed(Value),
    Mustache(Template),
    /// From `msg.template`.
    Message,
}

struct TemplateNode {
    source: Source,
    mustache: bool,
    output: Output,
    target: TypedTarget,
}

fn build(cfg: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let field = cfg.text("field");
    let field = if field.is_empty() { "payload" } else { field.as_str() };
    let target = TypedTarget::of(cfg, "field", field, &cfg.text("fieldType")).map_err(|d| problems.push(d)).ok();
    let output = match cfg.text("output").as_str() {
        "json" => Output::Json,
        "yaml" => Output::Yaml,
        _ => Output::Text,
    };
    let syntax = cfg.text("syntax");
    let mustache = syntax.is_empty() || syntax == "mustache";
    let text = cfg.text("template");
    let source = match text.as_str() {
        "" => Some(Source::Message),
        _ if mustache => Template::parse(&text)
            .map(Source::Mustache)
            .map_err(|e| {
                problems.push(cfg.problem("invalid-template", "template", e).expected("a Mustache template"));
            })
            .ok(),
        _ => parse_output(output, text.to_string())
            .map(Source::Fixed)
            .map_err(|e| problems.push(cfg.problem("invalid-template", "template", e.message)))
            .ok(),
    };
    match (target, source) {
        (Some(target), Some(source)) => Ok(Arc::new(TemplateNode { source, mustache, output, target })),
        _ => Err(problems),
    }
}

impl Node for TemplateNode {
    /// A template may come with the message.
    fn asks_contexts(&self, _config: &Object) -> bool {
        true
    }

    fn on_msg(&self, mut msg: Msg, cx: &mut Cx<'_>) -> Step {
        match self.value(&msg, cx) {
            Ok(value) => match self.target.set(&mut msg, cx, value) {
                Ok(_) => {
                    cx.emit(0, msg);
                    Step::Done
                }
                Err(error) => Step::fail(msg, error),
            },
            Err(error) => Step::fail(msg, error),
        }
    }
}

impl TemplateNode {
    fn value(&self, msg: &Msg, cx: &Cx<'_>) -> Result<Value, NodeError> {
        match &self.source {
            Source::Fixed(value) => Ok(value.clone()),
            Source::Mustache(template) => self.render(template, msg, cx),
            Source::Message => match msg.get("template") {
                None => parse_output(self.output, String::new()),
                Some(Value::String(text)) if self.mustache => self.render(&Template::parse(text)?, msg, cx),
                Some(value) if self.mustache => {
                    let kind = if value.as_array().is_some() { "array" } else { value.type_of() };
                    Err(NodeError::new(format!("Invalid template! msg.template should be a string but is {kind}")))
                }
                Some(value) if self.output == Output::Text => Ok(value.clone()),
                Some(value) => parse_output(self.output, value.to_js_string().to_string()),
            },
        }
    }

    fn render(&self, template: &Template, msg: &Msg, cx: &Cx<'_>) -> Result<Value, NodeError> {
        // With its code, which the template's errors have no room for.
        let failed: Cell<Option<NodeError>> = Cell::default();
        let outside = |name: &Outside| match name {
            Outside::Context(level, path) => cx.context_get(*level, path, msg).map_err(|error| {
                let text = error.message.clone();
                failed.set(Some(error));
                text
            }),
            Outside::Env(name) => Ok(env_text(cx.node(), cx.services(), name)),
        };
        let view = View { root: msg.to_value(), outside: &outside, escape_json: self.output == Output::Json };
        let text = template.render(&view).map_err(|text| failed.take().unwrap_or_else(|| text.into()))?;
        parse_output(self.output, text)
    }
}

fn parse_output(output: Output, text: String) -> Result<Value, NodeError> {
    match output {
        Output::Text => Ok(text.into()),
        Output::Json => {
            let problem = |e: serde_json::Error| super::json::syntax::problem(&text).unwrap_or_else(|| e.to_string());
            Value::from_json(&text).map_err(|e| NodeError::new(problem(e)))
        }
        Output::Yaml => load_yaml(&text).map_err(|e| NodeError::new(format!("the rendered template is no YAML: {e}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::testbed::{Bed, json, problems};

    fn bed(more: &str, template: &str) -> Bed {
        let text = serde_json::to_string(template).unwrap();
        let bed = Bed::new(TYPE, &format!(r#"{{"template":{text}{more}}}"#));
        bed.set_global("store", json(r#"{"list":[1,2],"n":7}"#));
        bed
    }

    #[test]
    fn renders_message_context_and_environment() {
        let template =
            "{{payload}} {{{payload}}} {{flow.store.n}} {{global[memory].store.list.1}} {{env.HERE}} {{env.NO}}|";
        assert_eq!(bed("", template).payload(r#"{"payload":"a/b"}"#), "a&#x2F;b a/b 7 2 tab-env |".into());
        let template = "{{#flow.store.list}}<{{.}}>{{/flow.store.list}}{{^flow.none}}none{{/flow.none}}";
        assert_eq!(bed("", template).payload("{}"), "<1><2>none".into());
        assert_eq!(bed(r#","syntax":"plain""#, "{{payload}}").payload(r#"{"payload":1}"#), "{{payload}}".into());
    }

    #[test]
    fn output_is_parsed_when_asked() {
        let config = r#","output":"json""#;
        assert_eq!(
            bed(config, r#"{"a":"{{{payload}}}"}"#).payload(r#"{"payload":"x\n\\y"}"#),
            json(r#"{"a":"x\n\\y"}"#)
        );
        assert!(bed(config, "{{payload}}").error(r#"{"payload":"{"}"#).contains("Expected property name"));
        let yaml = bed(r#","output":"yaml""#, "a: 1\nb:\n  - {{payload}}\n");
        assert_eq!(yaml.payload(r#"{"payload":"x"}"#), json(r#"{"a":1,"b":["x"]}"#));
        assert!(yaml.error(r#"{"payload":"[x"}"#).contains("no YAML"));
    }

    #[test]
    fn an_empty_template_takes_the_messages() {
        let bed = bed("", "");
        assert_eq!(bed.payload(r#"{"template":"<{{n}}>","n":5}"#), "<5>".into());
        assert_eq!(bed.payload(r#"{"payload":1}"#), "".into());
        assert_eq!(bed.error(r#"{"template":"{{#a}}"}"#), "Unclosed section \"a\" at 6");
        assert!(bed.error(r#"{"template":5}"#).starts_with("Invalid template!"));
    }

    #[test]
    fn a_field_may_lie_in_the_flow() {
        let bed = bed(r#","field":"made","fieldType":"flow""#, "{{flow.made}}x");
        let first = bed.payload(r#"{"payload":"kept"}"#);
        assert_eq!(first, "kept".into());
        let probe = Bed::new(TYPE, r#"{"template":"{{flow.made}}"}"#);
        assert_eq!(probe.payload("{}"), "".into(), "another engine has a context of its own");
    }

    #[test]
    fn a_broken_template_is_found_at_deploy() {
        let found = problems(&TYPE, r#"{"template":"{{#a}}","field":"a..b"}"#);
        let codes: Vec<_> = found.iter().map(|d| d.code.as_str()).collect();
        assert_eq!(codes, ["invalid-path", "invalid-template"]);
    }
}
