//! From what a guest says of itself to the catalogue's specs and to a node's configuration.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::{Map, Value as Json};

use super::bindings::exports::probity::plugin::handler::Description;
use super::granted::CAPABILITIES;
use crate::model::node_spec::{Capability, NodeSpec, Property, PropertyKind};
use crate::model::{Diagnostic, Value};

/// A node type of a loaded plugin.
pub(super) struct TypeOf {
    pub(super) description: Description,
    /// JSON Schema of its properties.
    pub(super) schema: Json,
    pub(super) spec: &'static NodeSpec,
}

/// Specs made so far, by everything they say. The catalogue's specs live as long as the process, builtin or not;
/// a version that describes itself as the one before costs nothing.
static SPECS: Mutex<BTreeMap<String, &'static NodeSpec>> = Mutex::new(BTreeMap::new());

/// Reads a description; all that is wrong with it at once.
pub(super) fn read(description: Description) -> Result<TypeOf, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let node_type = description.node_type.clone();
    let mut problem = |field: &str, message: String, expected: &str| {
        let at = format!("describe()[{node_type:?}].{field}");
        problems.push(Diagnostic::error("plugin-description", at, message).expected(expected.to_string()));
    };
    let name_ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ' ' | '.' | '/');
    if node_type.is_empty() || node_type.len() > 64 || !node_type.chars().all(name_ok) {
        problem("node-type", format!("\"{node_type}\" is no node type"), "1 to 64 letters, digits, - _ . / or blanks");
    }
    if description.inputs > 1 {
        problem("inputs", format!("{} inputs", description.inputs), "0 or 1");
    }
    if description.outputs.len() > 255 {
        problem("outputs", format!("{} outputs", description.outputs.len()), "at most 255");
    }
    for capability in description.capabilities.iter().filter(|c| !CAPABILITIES.contains(&c.as_str())) {
        problem("capabilities", format!("\"{capability}\" is no capability"), &CAPABILITIES.join(", "));
    }
    let schema = match serde_json::from_str::<Json>(&description.config) {
        Ok(schema @ Json::Object(_)) => schema,
        Ok(_) => {
            problem("config", "is no object".into(), "a JSON Schema of type object");
            Json::Null
        }
        Err(e) => {
            problem("config", format!("is no JSON: {e}"), "a JSON Schema of type object");
            Json::Null
        }
    };
    if !problems.is_empty() {
        return Err(problems);
    }
    let spec = spec(&description, &schema);
    Ok(TypeOf { description, schema, spec })
}

fn spec(description: &Description, schema: &Json) -> &'static NodeSpec {
    let d = description;
    let key = format!("{:?}", (&d.node_type, &d.category, &d.summary, d.inputs, d.outputs.len(), &d.config));
    let mut specs = SPECS.lock().unwrap_or_else(|p| p.into_inner());
    specs.entry(key).or_insert_with(|| {
        let properties: Vec<Property> = properties(schema).map(|(name, s)| property(schema, name, s)).collect();
        let net = d.capabilities.iter().any(|c| c == "http").then_some(Capability::Net);
        let secret = d.capabilities.iter().any(|c| c == "secret").then_some(Capability::Secret);
        let capabilities: Vec<Capability> = net.into_iter().chain(secret).collect();
        Box::leak(Box::new(NodeSpec {
            node_type: leak(&d.node_type),
            category: leak(&d.category),
            summary: leak(&d.summary),
            inputs: d.inputs as u8,
            outputs: Some(d.outputs.len() as u8),
            config_node: false,
            properties: properties.leak(),
            capabilities: capabilities.leak(),
        }))
    })
}

fn leak(text: &str) -> &'static str {
    String::from(text).leak()
}

fn properties(schema: &Json) -> impl Iterator<Item = (&String, &Json)> {
    schema.get("properties").and_then(Json::as_object).into_iter().flatten()
}

fn property(schema: &Json, name: &str, of: &Json) -> Property {
    let text = |key: &str| of.get(key).and_then(Json::as_str);
    let required = schema.get("required").and_then(Json::as_array);
    let required = required.is_some_and(|names| names.iter().any(|n| n == name)) && of.get("default").is_none();
    let words: Option<Vec<&'static str>> =
        of.get("enum").and_then(Json::as_array).and_then(|all| all.iter().map(|v| v.as_str().map(leak)).collect());
    let kind = match (words, text("type")) {
        (Some(words), _) => PropertyKind::OneOf(words.leak()),
        (None, Some("string")) if of.get("x-secret") == Some(&Json::Bool(true)) => PropertyKind::Secret,
        (None, Some("string")) => PropertyKind::Text,
        (None, Some("number" | "integer")) => PropertyKind::Number,
        (None, Some("boolean")) => PropertyKind::Boolean,
        _ => {
            let mut paths = Vec::new();
            secret_paths(of, &mut Vec::new(), &mut paths);
            if paths.is_empty() { PropertyKind::Json } else { PropertyKind::JsonWithSecrets(paths.leak()) }
        }
    };
    Property { name: leak(name), kind, required, help: leak(text("description").unwrap_or_default()) }
}

/// Where below a property its schema says `x-secret`. References (`$ref`) are not followed.
fn secret_paths(of: &Json, at: &mut Vec<&'static str>, out: &mut Vec<&'static [&'static str]>) {
    if of.get("x-secret") == Some(&Json::Bool(true)) {
        out.push(at.clone().leak());
    }
    let each = ["items", "additionalProperties"].into_iter().filter_map(|key| of.get(key).map(|of| ("*", of)));
    for (name, of) in properties(of).map(|(name, of)| (leak(name), of)).chain(each) {
        at.push(name);
        secret_paths(of, at, out);
        at.pop();
    }
}

/// The configuration a guest is given: the node's properties, the schema's defaults where absent, and numbers and
/// booleans as such where the editor exported text.
pub(super) fn config(schema: &Json, properties_of_node: &crate::model::Object) -> Map<String, Json> {
    let mut config: Map<String, Json> = properties_of_node
        .iter()
        .filter_map(|(name, value)| Some((name.to_string(), serde_json::from_str(&json(value)?).ok()?)))
        .collect();
    for (name, of) in properties(schema) {
        let kind = of.get("type").and_then(Json::as_str);
        match config.get_mut(name) {
            None | Some(Json::Null) => {
                if let Some(default) = of.get("default") {
                    config.insert(name.clone(), default.clone());
                }
            }
            Some(value) => {
                if let Some(read) = value.as_str().and_then(|text| as_exported(text, kind)) {
                    *value = read;
                }
            }
        }
    }
    config
}

fn json(value: &Value) -> Option<String> {
    (!value.is_undefined()).then(|| value.to_json())
}

/// Text of the editor as what the schema says it is.
fn as_exported(text: &str, kind: Option<&str>) -> Option<Json> {
    match kind? {
        "number" | "integer" => {
            let number: f64 = text.trim().parse().ok()?;
            match number {
                n if n.fract() == 0.0 && n.abs() < 9e15 => Some(Json::from(n as i64)),
                n => serde_json::Number::from_f64(n).map(Json::Number),
            }
        }
        "boolean" => text.parse().ok().map(Json::Bool),
        "array" | "object" => serde_json::from_str(text).ok(),
        _ => None,
    }
}

/// The secrets that a configuration names, wherever in it: `secret:NAME`.
pub(super) fn secrets(config: &Json) -> Vec<String> {
    match config {
        Json::String(text) => text.strip_prefix("secret:").map(str::to_string).into_iter().collect(),
        Json::Array(items) => items.iter().flat_map(secrets).collect(),
        Json::Object(map) => map.values().flat_map(secrets).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found_wherever_a_schema_has_them() {
        let schema = serde_json::json!({"properties": {
            "plain": {"type": "array", "items": {"type": "string"}},
            "token": {"type": "string", "x-secret": true},
            "services": {"type": "array", "items": {"type": "object", "properties": {
                "url": {"type": "string"},
                "token": {"type": "string", "x-secret": true},
                "keys": {"type": "object", "additionalProperties": {"type": "string", "x-secret": true}},
            }}},
        }});
        let kinds = |name: &str| property(&schema, name, &schema["properties"][name]).kind;
        assert_eq!(kinds("plain"), PropertyKind::Json);
        assert_eq!(kinds("token"), PropertyKind::Secret);
        let PropertyKind::JsonWithSecrets(paths) = kinds("services") else { panic!("{:?}", kinds("services")) };
        let mut paths = paths.to_vec();
        paths.sort_unstable();
        assert_eq!(paths, [&["*", "keys", "*"][..], &["*", "token"]]);
    }
}
