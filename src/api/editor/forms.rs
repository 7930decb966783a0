//! Forms for node types that bring none: rows from the properties, help from their texts, and the definition the
//! editor registers. What the form stores is what `probity check` and the node read.

use maud::{Markup, PreEscaped, html};
use serde_json::{Map, Value as Json, json};

use crate::model::node_spec::{NodeSpec, PropertyKind};
use crate::plugin::description::Description;

/// All the editor is told of a node type.
#[derive(Debug)]
pub(super) struct Form {
    node_type: String,
    category: String,
    colour: String,
    icon: String,
    summary: String,
    /// Markdown.
    help: String,
    inputs: u32,
    outputs: u32,
    output_labels: Vec<String>,
    config_node: bool,
    fields: Vec<Field>,
}

/// A property as its form has it.
#[derive(Debug)]
struct Field {
    name: String,
    label: String,
    help: String,
    required: bool,
    default: Json,
    input: Input,
}

#[derive(Debug)]
enum Input {
    Text,
    /// Stored as text, as the editor's own number fields are; whether only whole ones are meant, and bounds.
    Number {
        least: Option<f64>,
        most: Option<f64>,
    },
    Flag,
    OneOf(Vec<String>),
    /// A path below `msg`.
    MsgPath,
    NodeRef(String),
    /// Typed input: kinds, and the property that keeps which.
    Typed {
        kinds: Vec<String>,
        kind_property: String,
    },
    /// The name of a secret, as `secret:NAME`.
    Secret,
    /// Arrays and objects, edited as JSON and stored as such.
    Json,
    /// Kept by another field's input.
    Hidden,
}

const COMPLIANCE: &str = "#B8D8BA";
const PLUGIN: &str = "#C0DEED";

impl Form {
    /// The form of a builtin node type.
    pub(super) fn of_spec(spec: &NodeSpec) -> Form {
        let field = |property: &crate::model::node_spec::Property| {
            let (input, default) = match &property.kind {
                PropertyKind::Text => (Input::Text, json!("")),
                PropertyKind::Secret => (Input::Secret, json!("")),
                PropertyKind::Number => (Input::Number { least: None, most: None }, json!("")),
                PropertyKind::Boolean => (Input::Flag, json!(false)),
                PropertyKind::OneOf(words) | PropertyKind::OneOfAnyCase(words) => {
                    (Input::OneOf(words.iter().map(|w| w.to_string()).collect()), json!(words.first()))
                }
                PropertyKind::MsgPath => (Input::MsgPath, json!("payload")),
                PropertyKind::NodeRef(node_type) => (Input::NodeRef(node_type.to_string()), json!("")),
                PropertyKind::Json | PropertyKind::JsonWithSecrets(_) => (Input::Json, Json::Null),
            };
            Field {
                name: property.name.to_string(),
                label: words(property.name),
                help: property.help.to_string(),
                required: property.required,
                default,
                input,
            }
        };
        Form {
            node_type: spec.node_type.to_string(),
            category: if spec.config_node { "config".to_string() } else { spec.category.to_string() },
            colour: COMPLIANCE.to_string(),
            icon: icon_of(spec.node_type).to_string(),
            summary: spec.summary.to_string(),
            help: String::new(),
            inputs: u32::from(spec.inputs),
            outputs: u32::from(spec.outputs.unwrap_or(1)),
            output_labels: Vec::new(),
            config_node: spec.config_node,
            fields: spec.properties.iter().filter(|p| p.name != "name").map(field).collect(),
        }
    }

    /// The form of a plugin's node type.
    pub(super) fn of_plugin(of: &Description) -> Form {
        let schema: Json = serde_json::from_str(&of.config).unwrap_or_default();
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        let properties = schema["properties"].as_object().cloned().unwrap_or_default();
        let fields = properties.iter().filter(|(name, _)| *name != "name");
        let fields = fields.map(|(name, of)| field(name, of, required.contains(&name.as_str()))).collect();
        Form {
            node_type: of.node_type.clone(),
            category: if of.category.is_empty() { "plugins".to_string() } else { of.category.clone() },
            colour: if of.color.is_empty() { PLUGIN.to_string() } else { of.color.clone() },
            icon: match of.icon.as_str() {
                "" => "font-awesome/fa-puzzle-piece".to_string(),
                icon if icon.starts_with("fa-") => format!("font-awesome/{icon}"),
                icon => icon.to_string(),
            },
            summary: of.summary.clone(),
            help: of.help.clone(),
            inputs: of.inputs,
            outputs: of.outputs.len() as u32,
            output_labels: of.outputs.clone(),
            config_node: false,
            fields,
        }
    }

    /// Template, help and definition, as the editor reads them.
    pub(super) fn html(&self) -> String {
        let definition = format!("RED.nodes.registerType({}, {});", script(&json!(self.node_type)), self.definition());
        html! {
            script type="text/html" data-template-name=(self.node_type) { (self.rows()) }
            script type="text/markdown" data-help-name=(self.node_type) { (PreEscaped(raw_text(&self.help()))) }
            script type="text/javascript" { (PreEscaped(definition)) }
        }
        .into_string()
    }

    /// Ids of inputs begin with this; the editor fills and reads those it knows.
    fn prefix(&self) -> &'static str {
        if self.config_node { "node-config-input-" } else { "node-input-" }
    }

    fn rows(&self) -> Markup {
        html! {
            div class="form-row" {
                label for={ (self.prefix()) "name" } { i class="fa fa-tag" {} " Name" }
                input type="text" id={ (self.prefix()) "name" } placeholder="Name";
            }
            @for field in &self.fields { (self.row(field)) }
        }
    }

    fn row(&self, field: &Field) -> Markup {
        let id = format!("{}{}", self.prefix(), field.name);
        html! {
            @if matches!(field.input, Input::Hidden) {
                input type="hidden" id=(id);
            } @else {
                div class="form-row" title=(field.help) {
                    label for=(id) style="width:130px" { (field.label) @if field.required { " *" } }
                    @match &field.input {
                        Input::Flag => { input type="checkbox" id=(id) style="width:auto; vertical-align:top"; }
                        Input::OneOf(choices) => {
                            select id=(id) style="width:calc(100% - 140px)" {
                                @for choice in choices { option value=(choice) { (choice) } }
                            }
                        }
                        Input::Json => {
                            textarea id={ "probity-json-" (field.name) } rows="4"
                                style="width:calc(100% - 150px); font-family:monospace" {}
                        }
                        Input::Secret => {
                            input type="text" id=(id) placeholder="secret:NAME" style="width:calc(100% - 140px)";
                        }
                        _ => { input type="text" id=(id) style="width:calc(100% - 140px)"; }
                    }
                }
            }
        }
    }

    fn help(&self) -> String {
        let mut text = format!("{}\n\n", self.summary);
        if !self.help.is_empty() {
            text.push_str(&self.help);
            text.push_str("\n\n");
        }
        let described = self.fields.iter().filter(|f| !f.help.is_empty() && !matches!(f.input, Input::Hidden));
        let lines: Vec<String> =
            described.map(|f| format!("- **{}**: {}", f.label, f.help.replace('\n', " "))).collect();
        if !lines.is_empty() {
            text.push_str("### Properties\n\n");
            text.push_str(&lines.join("\n"));
            text.push('\n');
        }
        text
    }

    /// The second argument of `registerType`: JSON, but for its functions.
    fn definition(&self) -> String {
        let mut defaults = vec!["\"name\":{\"value\":\"\"}".to_string()];
        defaults.extend(self.fields.iter().map(default));
        let mut definition = json!({
            "category": self.category,
            "color": self.colour,
            "icon": self.icon,
            "paletteLabel": self.node_type,
        });
        if !self.config_node {
            definition["inputs"] = json!(self.inputs);
            definition["outputs"] = json!(self.outputs);
            definition["outputLabels"] = json!(self.output_labels);
        }
        let facts = script(&definition);
        format!(
            "{facts},\"defaults\":{{{defaults}}},\
             \"label\":function(){{return this.name||{node_type};}},\
             \"oneditprepare\":function(){{var node=this,prefix={prefix};{prepare}}},\
             \"oneditsave\":function(){{var node=this,text;{save}}}}}",
            facts = facts.strip_suffix('}').expect("an object ends so"),
            defaults = defaults.join(","),
            node_type = script(&json!(self.node_type)),
            prefix = script(&json!(self.prefix())),
            prepare = self.fields.iter().map(prepare).collect::<String>(),
            save = self.fields.iter().map(save).collect::<String>(),
        )
    }
}

/// A property as the editor's `defaults` have it: its value and what makes another one valid.
fn default(field: &Field) -> String {
    let mut of = Map::from_iter([("value".to_string(), field.default.clone())]);
    if field.required {
        of.insert("required".to_string(), json!(true));
    }
    if let Input::NodeRef(node_type) = &field.input {
        of.insert("type".to_string(), json!(node_type));
    }
    let facts = script(&Json::Object(of));
    let name = script(&json!(field.name));
    match check(field) {
        None => format!("{name}:{facts}"),
        Some(check) => format!("{name}:{},\"validate\":{check}}}", facts.strip_suffix('}').expect("an object ends so")),
    }
}

/// The field of one property of a plugin's schema.
fn field(name: &str, of: &Json, required: bool) -> Field {
    let text = |key: &str| of[key].as_str().unwrap_or_default().to_string();
    let choices: Option<Vec<String>> =
        of["enum"].as_array().and_then(|all| all.iter().map(|v| v.as_str().map(str::to_string)).collect());
    let kind = match &of["type"] {
        Json::Array(kinds) => kinds.iter().filter_map(Json::as_str).find(|kind| *kind != "null").unwrap_or_default(),
        kind => kind.as_str().unwrap_or_default(),
    };
    let typed = &of["x-typed-input"];
    let input = if of["x-hidden"] == json!(true) {
        Input::Hidden
    } else if let (Some(kinds), Some(kind_property)) = (typed["kinds"].as_array(), typed["kindProperty"].as_str()) {
        let kinds = kinds.iter().filter_map(Json::as_str).map(str::to_string).collect();
        Input::Typed { kinds, kind_property: kind_property.to_string() }
    } else if of["x-secret"] == json!(true) {
        Input::Secret
    } else if let Some(choices) = choices {
        Input::OneOf(choices)
    } else {
        match kind {
            "string" => Input::Text,
            "number" | "integer" => Input::Number { least: of["minimum"].as_f64(), most: of["maximum"].as_f64() },
            "boolean" => Input::Flag,
            _ => Input::Json,
        }
    };
    let default = match (&of["default"], &input) {
        (Json::Null, Input::Flag) => json!(false),
        (Json::Null, Input::Json) => Json::Null,
        (Json::Null, Input::OneOf(choices)) => json!(choices.first()),
        (Json::Null, _) => json!(""),
        (default, _) => default.clone(),
    };
    let title = text("title");
    Field {
        name: name.to_string(),
        label: if title.is_empty() { words(name) } else { title },
        help: text("description"),
        required: required && of.get("default").is_none(),
        default,
        input,
    }
}

/// JavaScript that sets a field up.
fn prepare(field: &Field) -> String {
    let name = script(&json!(field.name));
    match &field.input {
        Input::MsgPath => format!("$('#'+prefix+{name}).typedInput({{types:['msg']}});"),
        Input::Typed { kinds, kind_property } => format!(
            "$('#'+prefix+{name}).typedInput({{types:{},typeField:'#'+prefix+{}}});",
            script(&json!(kinds)),
            script(&json!(kind_property)),
        ),
        Input::Json => format!(
            "$('#probity-json-'+{name}).val(node[{name}]==null?'':\
             typeof node[{name}]==='string'?node[{name}]:JSON.stringify(node[{name}],null,2));"
        ),
        _ => String::new(),
    }
}

/// JavaScript that reads a field the editor does not read itself. What is not JSON is kept as it was typed, and the
/// check of the property marks the node.
fn save(field: &Field) -> String {
    let Input::Json = field.input else { return String::new() };
    let name = script(&json!(field.name));
    format!(
        "text=($('#probity-json-'+{name}).val()||'').trim();\
         if(text===''){{node[{name}]=null;}}else{{try{{node[{name}]=JSON.parse(text);}}catch(e){{node[{name}]=text;}}}}"
    )
}

/// JavaScript that says whether a value will do. A `${…}` is the environment's business.
fn check(field: &Field) -> Option<String> {
    let optional = !field.required;
    match &field.input {
        Input::Number { least, most } => Some(format!(
            "function(v){{if(v===\"\"||v==null)return {optional};if(/^\\${{[^}}]+}}$/.test(v))return true;\
             var n=Number(v);return !isNaN(n){least}{most};}}",
            least = least.map(|n| format!("&&n>={n}")).unwrap_or_default(),
            most = most.map(|n| format!("&&n<={n}")).unwrap_or_default(),
        )),
        Input::Json => {
            Some(format!("function(v){{if(v==null||v===\"\")return {optional};return typeof v!==\"string\";}}"))
        }
        _ => None,
    }
}

/// `maxItems` → `Max items`.
fn words(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        match c {
            '_' | '-' => text.push(' '),
            c if c.is_uppercase() && !text.is_empty() => {
                text.push(' ');
                text.extend(c.to_lowercase());
            }
            c if text.is_empty() => text.extend(c.to_uppercase()),
            c => text.push(c),
        }
    }
    text
}

fn icon_of(node_type: &str) -> &'static str {
    match node_type {
        "schedule" => "timer.svg",
        "evaluate" => "font-awesome/fa-balance-scale",
        "metric" => "font-awesome/fa-bar-chart",
        "jsonpath" => "parser-json.svg",
        "sql" => "db.svg",
        "mongodb" => "mongodb.svg",
        _ => "font-awesome/fa-cube",
    }
}

/// JSON inside a script element: nothing in it ends the element.
fn script(value: &Json) -> String {
    value.to_string().replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

/// Text inside a script element, which knows no escapes: what would end it is broken up.
fn raw_text(text: &str) -> String {
    text.replace("</", "<\u{200b}/").replace("<!--", "<\u{200b}!--")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(config: Json) -> Form {
        Form::of_plugin(&Description {
            node_type: "check-property".into(),
            category: "filtering".into(),
            icon: "fa-filter".into(),
            summary: "Checks.".into(),
            help: "Ends in </script> and <!-- more".into(),
            inputs: 1,
            outputs: vec!["yes".into(), "no".into()],
            config: config.to_string(),
            ..Description::default()
        })
    }

    #[test]
    fn every_kind_of_property_has_its_input() {
        let form = plugin(json!({
            "type": "object",
            "required": ["limit"],
            "properties": {
                "limit": { "type": "integer", "minimum": 1, "maximum": 9, "description": "How many." },
                "field": { "type": "string", "x-typed-input": { "kinds": ["msg", "str"], "kindProperty": "fieldType" } },
                "fieldType": { "type": "string", "enum": ["msg", "str"], "default": "msg", "x-hidden": true },
                "token": { "type": "string", "x-secret": true },
                "order": { "type": "string", "enum": ["up", "down"], "title": "Sort" },
                "deep": { "type": "boolean", "default": true },
                "rules": { "type": "array", "default": [] },
            },
        }));
        let html = form.html();
        for part in [
            r#"data-template-name="check-property""#,
            r#"id="node-input-limit""#,
            "&&n>=1&&n<=9",
            r##"typeField:'#'+prefix+"fieldType""##,
            r#"<input type="hidden" id="node-input-fieldType">"#,
            r#"placeholder="secret:NAME""#,
            r#"<option value="down">down</option>"#,
            r#""deep":{"value":true}"#,
            r#"id="probity-json-rules""#,
            r#""icon":"font-awesome/fa-filter""#,
            "- **Limit**: How many.",
            r#""outputs":2"#,
        ] {
            assert!(html.contains(part), "{part}\n{html}");
        }
        assert_eq!(html.matches("</script>").count(), 3, "the help ends no element: {html}");
        assert!(!html.contains("<!-- more"));
    }

    #[test]
    fn every_builtin_type_can_have_a_form() {
        for known in crate::nodes::catalogue().iter() {
            let html = Form::of_spec(known.spec).html();
            assert_eq!(html.matches("</script>").count(), 3, "{html}");
        }
    }

    #[test]
    fn names_become_words() {
        assert_eq!(words("maxItems"), "Max items");
        assert_eq!(words("time_zone"), "Time zone");
    }
}
