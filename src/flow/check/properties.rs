//! A node's properties against its spec: there, of the right kind, and pointing at something.

use super::super::Specs;
use super::super::env::whole_reference;
use super::super::index::Index;
use crate::model::flow::NodeDef;
use crate::model::node_spec::{Property, PropertyKind};
use crate::model::value::str_to_number;
use crate::model::{Diagnostic, Path, Value};

/// What the name of a secret begins with.
const SECRET: &str = "secret:";

/// What the editor writes for a config node yet to be made.
const TO_BE_ADDED: &str = "_ADD_";

pub(super) fn check(index: &Index<'_>, node: &NodeDef, specs: Specs<'_>, out: &mut Vec<Diagnostic>) {
    let Some(spec) = specs(&node.node_type) else { return };
    for property in spec.properties {
        let path = format!("$[{}].{}", node.entry, property.name);
        let value = node.config.get(property.name).unwrap_or(&Value::Undefined);
        if is_unset(value) {
            if property.required {
                out.push(missing(node, property, path));
            }
        } else if value.as_str().and_then(whole_reference).is_none() {
            if let PropertyKind::JsonWithSecrets(paths) = property.kind {
                // The editor's plain form exports a list as its text.
                let read = value.as_str().and_then(|text| Value::from_json(text).ok());
                for steps in paths {
                    literal_secrets(node, property, read.as_ref().unwrap_or(value), steps, &path, out);
                }
            }
            out.extend(wrong(index, node, property, value, path));
        }
    }
}

fn is_unset(value: &Value) -> bool {
    value.is_nullish() || matches!(value.as_str(), Some("" | TO_BE_ADDED))
}

fn missing(node: &NodeDef, property: &Property, path: String) -> Diagnostic {
    let d = Diagnostic::error("missing-property", path, format!("a {} node needs `{}`", node.node_type, property.name))
        .expected(if property.help.is_empty() { kind_text(&property.kind) } else { property.help.to_string() });
    if node.config.contains_key(property.name) {
        return d;
    }
    d.did_you_mean(property.name, node.config.keys().map(|k| k.as_str()))
}

fn kind_text(kind: &PropertyKind) -> String {
    match kind {
        PropertyKind::Text => "a text".into(),
        PropertyKind::Secret => "the name of a secret, as \"secret:NAME\"".into(),
        PropertyKind::Number => "a number".into(),
        PropertyKind::Boolean => "true or false".into(),
        PropertyKind::OneOf(names) | PropertyKind::OneOfAnyCase(names) => {
            let names: Vec<String> = names.iter().map(|n| format!("\"{n}\"")).collect();
            format!("one of {}", names.join(", "))
        }
        PropertyKind::MsgPath => "a property path such as payload.items[0]".into(),
        PropertyKind::NodeRef(node_type) => format!("the id of a {node_type} node"),
        PropertyKind::Json | PropertyKind::JsonWithSecrets(_) => "any JSON".into(),
    }
}

fn wrong(index: &Index<'_>, node: &NodeDef, property: &Property, value: &Value, path: String) -> Option<Diagnostic> {
    let shown = || value.to_json().chars().take(60).collect::<String>();
    let kind = || {
        let message = format!("`{}` of a {} node cannot be {}", property.name, node.node_type, shown());
        Some(Diagnostic::error("wrong-kind", path.clone(), message).expected(kind_text(&property.kind)))
    };
    match &property.kind {
        PropertyKind::Json | PropertyKind::JsonWithSecrets(_) => None,
        PropertyKind::Text => matches!(value, Value::Array(_) | Value::Object(_)).then(kind).flatten(),
        PropertyKind::Secret => match value.as_str() {
            None => kind(),
            Some(text) => literal_secret(node, property, text, path),
        },
        PropertyKind::Number => match value {
            Value::Number(_) => None,
            Value::String(s) if s.trim().is_empty() || !str_to_number(s).is_nan() => None,
            _ => kind(),
        },
        PropertyKind::Boolean => {
            let fine = matches!(value, Value::Bool(_)) || matches!(value.as_str(), Some("true" | "false"));
            if fine { None } else { kind() }
        }
        PropertyKind::OneOf(names) | PropertyKind::OneOfAnyCase(names) => {
            let given = value.to_js_string();
            let any_case = matches!(property.kind, PropertyKind::OneOfAnyCase(_));
            let is = |name: &&str| *name == given || any_case && name.eq_ignore_ascii_case(&given);
            let fine = !matches!(value, Value::Array(_) | Value::Object(_)) && names.iter().any(is);
            if fine { None } else { kind().map(|d| d.did_you_mean(&given, names.iter().copied())) }
        }
        PropertyKind::MsgPath => match value.as_str() {
            None => kind(),
            Some(text) => Path::parse(text).err().map(|e| {
                Diagnostic::error("wrong-path", path.clone(), format!("`{}`: {e}", property.name))
                    .expected(kind_text(&property.kind))
            }),
        },
        PropertyKind::NodeRef(wanted) => match value.as_str() {
            None => kind(),
            Some(id) => wrong_reference(index, property, wanted, id, path.clone()),
        },
    }
}

/// A text that is the secret itself and not its name. The text is not quoted: it is what nobody shall see.
fn literal_secret(node: &NodeDef, property: &Property, text: &str, path: String) -> Option<Diagnostic> {
    if text.is_empty() || text.starts_with(SECRET) || text.contains("${") {
        return None;
    }
    let message = format!(
        "`{}` of a {} node holds the secret itself, for everybody who sees the flow",
        property.name, node.node_type
    );
    let hint = "give it to the engine as PROBITY_SECRET_<NAME>, and write secret:<NAME> here";
    let problem = Diagnostic::warning("literal-secret", path, message);
    Some(problem.expected(kind_text(&PropertyKind::Secret)).hint(hint))
}

/// Those of a property with a form of its own: `steps` lead to them from `value`.
fn literal_secrets(
    node: &NodeDef,
    property: &Property,
    value: &Value,
    steps: &[&str],
    path: &str,
    out: &mut Vec<Diagnostic>,
) {
    let Some((step, below)) = steps.split_first() else {
        out.extend(value.as_str().and_then(|text| literal_secret(node, property, text, path.to_string())));
        return;
    };
    match value {
        Value::Array(items) if *step == "*" => {
            for (n, item) in items.iter().enumerate() {
                literal_secrets(node, property, item, below, &format!("{path}[{n}]"), out);
            }
        }
        Value::Object(members) => {
            for (name, member) in members.iter().filter(|(name, _)| *step == "*" || name.as_str() == *step) {
                literal_secrets(node, property, member, below, &format!("{path}.{name}"), out);
            }
        }
        _ => {}
    }
}

fn wrong_reference(index: &Index<'_>, property: &Property, wanted: &str, id: &str, path: String) -> Option<Diagnostic> {
    let candidates = || index.file.nodes.iter().filter(|n| n.node_type == wanted).map(|n| n.id.as_str());
    let Some(target) = index.node(id) else {
        let message = format!("`{}` refers to \"{id}\", which is not in the file", property.name);
        let d = Diagnostic::error("dangling-reference", path, message).expected(kind_text(&property.kind));
        return Some(d.did_you_mean(id, candidates()));
    };
    let found = &target.node_type;
    if found != wanted {
        let message = format!("`{}` refers to \"{id}\", which is a {found} node", property.name);
        let d = Diagnostic::error("wrong-reference", path, message).expected(kind_text(&property.kind));
        return Some(d.did_you_mean(id, candidates()));
    }
    target.disabled.then(|| {
        let message = format!("`{}` refers to \"{id}\", which is disabled", property.name);
        Diagnostic::warning("disabled-reference", path, message).hint("enable it, or choose another")
    })
}
