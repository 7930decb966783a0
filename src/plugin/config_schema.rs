//! Is a node type's config a JSON Schema (2020-12) that forms, checks and defaults can be made from?

use serde_json::{Map, Value};

use crate::model::Diagnostic;
use crate::model::diagnostic::closest;

/// A longer schema is refused, bytes.
const SCHEMA_BYTES_MAX: usize = 256 << 10;

/// Schemas nested deeper are refused.
const DEPTH_MAX: usize = 32;

const TYPES: &[&str] = &["string", "number", "integer", "boolean", "array", "object", "null"];

/// What a keyword's value must be.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Any,
    Text,
    Flag,
    /// A number; the flag: not below 0 and whole.
    Number(bool),
    List,
    Texts,
    Pattern,
    Schema,
    Schemas,
    /// Object of schemas.
    Members,
    Type,
}

/// The keywords of 2020-12. `x-…` is the author's own.
const KEYWORDS: &[(&str, Form)] = &[
    ("$anchor", Form::Text),
    ("$comment", Form::Text),
    ("$defs", Form::Members),
    ("$id", Form::Text),
    ("$ref", Form::Text),
    ("$schema", Form::Text),
    ("additionalProperties", Form::Schema),
    ("allOf", Form::Schemas),
    ("anyOf", Form::Schemas),
    ("const", Form::Any),
    ("contains", Form::Schema),
    ("contentEncoding", Form::Text),
    ("contentMediaType", Form::Text),
    ("default", Form::Any),
    ("dependentRequired", Form::Any),
    ("dependentSchemas", Form::Members),
    ("deprecated", Form::Flag),
    ("description", Form::Text),
    ("else", Form::Schema),
    ("enum", Form::List),
    ("examples", Form::List),
    ("exclusiveMaximum", Form::Number(false)),
    ("exclusiveMinimum", Form::Number(false)),
    ("format", Form::Text),
    ("if", Form::Schema),
    ("items", Form::Schema),
    ("maxContains", Form::Number(true)),
    ("maxItems", Form::Number(true)),
    ("maxLength", Form::Number(true)),
    ("maxProperties", Form::Number(true)),
    ("maximum", Form::Number(false)),
    ("minContains", Form::Number(true)),
    ("minItems", Form::Number(true)),
    ("minLength", Form::Number(true)),
    ("minProperties", Form::Number(true)),
    ("minimum", Form::Number(false)),
    ("multipleOf", Form::Number(false)),
    ("not", Form::Schema),
    ("oneOf", Form::Schemas),
    ("pattern", Form::Pattern),
    ("patternProperties", Form::Members),
    ("prefixItems", Form::Schemas),
    ("properties", Form::Members),
    ("propertyNames", Form::Schema),
    ("readOnly", Form::Flag),
    ("required", Form::Texts),
    ("then", Form::Schema),
    ("title", Form::Text),
    ("type", Form::Type),
    ("unevaluatedItems", Form::Schema),
    ("unevaluatedProperties", Form::Schema),
    ("uniqueItems", Form::Flag),
    ("writeOnly", Form::Flag),
];

/// Every problem of a schema's text.
pub(super) fn check(text: &str, at: &str) -> Vec<Diagnostic> {
    if text.len() > SCHEMA_BYTES_MAX {
        let message = format!("the schema has {} bytes", text.len());
        return vec![Diagnostic::error("too-large", at, message).expected(format!("at most {SCHEMA_BYTES_MAX} bytes"))];
    }
    let schema: Value = match serde_json::from_str(text) {
        Ok(schema) => schema,
        Err(e) => {
            let problem = Diagnostic::error("bad-schema", at, format!("the config schema is not JSON: {e}"));
            return vec![problem.expected("JSON Schema 2020-12 of an object")];
        }
    };
    let Some(object) = schema.as_object() else {
        let problem = Diagnostic::error("bad-schema", at, "the config schema is no object");
        return vec![
            problem.expected("JSON Schema 2020-12 of an object").hint("{\"type\": \"object\", \"properties\": {…}}"),
        ];
    };
    let mut problems = Vec::new();
    if object.get("type").and_then(Value::as_str) != Some("object") {
        let problem = Diagnostic::error("bad-schema", format!("{at}.type"), "a node's config is an object");
        problems.push(problem.expected("\"object\""));
    }
    Checker { root: &schema, problems: &mut problems }.schema(&schema, at, 0);
    problems
}

/// Names of the properties a schema defines at its top.
pub(super) fn properties(text: &str) -> Vec<String> {
    let schema: Value = serde_json::from_str(text).unwrap_or_default();
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.map(|p| p.keys().cloned().collect()).unwrap_or_default()
}

struct Checker<'s> {
    root: &'s Value,
    problems: &'s mut Vec<Diagnostic>,
}

impl Checker<'_> {
    fn problem(&mut self, at: String, message: String, expected: &str) {
        let problem = Diagnostic::error("bad-schema", at, message);
        self.problems.push(if expected.is_empty() { problem } else { problem.expected(expected) });
    }

    fn schema(&mut self, schema: &Value, at: &str, depth: usize) {
        if depth > DEPTH_MAX {
            return self.problem(at.into(), format!("the schema nests deeper than {DEPTH_MAX} levels"), "");
        }
        let object = match schema {
            Value::Bool(_) => return,
            Value::Object(object) => object,
            _ => return self.problem(at.into(), "this is no schema".into(), "an object, true or false"),
        };
        for (keyword, value) in object {
            let at = format!("{at}.{keyword}");
            match KEYWORDS.iter().find(|(name, _)| name == keyword) {
                Some((_, form)) => self.keyword(*form, value, &at, depth),
                None if keyword.starts_with("x-") => {}
                None => {
                    let message = format!("\"{keyword}\" is no keyword of JSON Schema");
                    let problem = Diagnostic::warning("unknown-keyword", at, message);
                    let near = closest(keyword, KEYWORDS.iter().map(|(name, _)| *name));
                    self.problems.push(match near {
                        Some(near) => problem.hint(format!("did you mean \"{near}\"?")),
                        None => problem.hint("own keywords start with \"x-\""),
                    });
                }
            }
        }
        self.together(object, at);
    }

    fn keyword(&mut self, form: Form, value: &Value, at: &str, depth: usize) {
        let at = || at.to_string();
        match (form, value) {
            (Form::Any, _) | (Form::Text, Value::String(_)) | (Form::Flag, Value::Bool(_)) => {}
            (Form::Text, _) => self.problem(at(), "expected a text".into(), ""),
            (Form::Flag, _) => self.problem(at(), "expected true or false".into(), ""),
            (Form::Number(count), Value::Number(number)) => {
                if count && number.as_u64().is_none() {
                    self.problem(at(), format!("expected a whole number from 0, found {number}"), "");
                }
            }
            (Form::Number(_), _) => self.problem(at(), "expected a number".into(), ""),
            (Form::List, Value::Array(_)) => {}
            (Form::List, _) => self.problem(at(), "expected a list".into(), ""),
            (Form::Texts, Value::Array(texts)) if texts.iter().all(Value::is_string) => {}
            (Form::Texts, _) => self.problem(at(), "expected a list of texts".into(), ""),
            (Form::Pattern, Value::String(pattern)) => {
                if let Err(e) = regress::Regex::new(pattern) {
                    self.problem(at(), format!("\"{pattern}\" is no regular expression: {e}"), "");
                }
            }
            (Form::Pattern, _) => self.problem(at(), "expected a regular expression".into(), ""),
            (Form::Schema, schema) => self.schema(schema, &at(), depth + 1),
            (Form::Schemas, Value::Array(schemas)) if !schemas.is_empty() => {
                for (i, schema) in schemas.iter().enumerate() {
                    self.schema(schema, &format!("{}[{i}]", at()), depth + 1);
                }
            }
            (Form::Schemas, _) => self.problem(at(), "expected a list of schemas, at least one".into(), ""),
            (Form::Members, Value::Object(members)) => {
                for (name, schema) in members {
                    self.schema(schema, &format!("{}.{name}", at()), depth + 1);
                }
            }
            (Form::Members, _) => self.problem(at(), "expected an object of schemas".into(), ""),
            (Form::Type, value) => self.types(value, &at()),
        }
    }

    fn types(&mut self, value: &Value, at: &str) {
        let given: Vec<&Value> = match value {
            Value::Array(types) if !types.is_empty() => types.iter().collect(),
            one => vec![one],
        };
        for name in given {
            let known = name.as_str().is_some_and(|n| TYPES.contains(&n));
            if !known {
                let problem = Diagnostic::error("bad-schema", at, format!("{name} is no type of JSON Schema"))
                    .expected(TYPES.join(", "));
                self.problems.push(problem.did_you_mean(name.as_str().unwrap_or_default(), TYPES.iter().copied()));
            }
        }
    }

    /// What keywords say of each other.
    fn together(&mut self, object: &Map<String, Value>, at: &str) {
        let properties = object.get("properties").and_then(Value::as_object);
        let required = object.get("required").and_then(Value::as_array).into_iter().flatten().enumerate();
        for (i, name) in required.filter_map(|(i, n)| Some((i, n.as_str()?))) {
            let known = properties.is_some_and(|p| p.contains_key(name));
            if !known && object.get("additionalProperties").is_none_or(|a| a == &Value::Bool(false)) {
                let message = format!("\"{name}\" is required, but no property");
                let problem = Diagnostic::error("bad-schema", format!("{at}.required[{i}]"), message);
                let names = properties.into_iter().flat_map(|p| p.keys().map(String::as_str));
                self.problems.push(problem.did_you_mean(name, names));
            }
        }
        for (low, high) in [
            ("minimum", "maximum"),
            ("minLength", "maxLength"),
            ("minItems", "maxItems"),
            ("minProperties", "maxProperties"),
        ] {
            let number = |key: &str| object.get(key).and_then(Value::as_f64);
            if let (Some(min), Some(max)) = (number(low), number(high))
                && min > max
            {
                self.problem(format!("{at}.{low}"), format!("{low} {min} is above {high} {max}"), "");
            }
        }
        if let Some(reference) = object.get("$ref").and_then(Value::as_str) {
            let found = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
            if found.is_none() {
                let message = format!("\"{reference}\" leads nowhere in this schema");
                self.problem(
                    format!("{at}.$ref"),
                    message,
                    "a reference inside the schema, for example \"#/$defs/name\"",
                );
            }
        }
        if let Some(default) = object.get("default") {
            self.default(default, object, &format!("{at}.default"));
        }
    }

    /// A default must be what the schema itself takes.
    fn default(&mut self, default: &Value, object: &Map<String, Value>, at: &str) {
        let types: Vec<&str> = match object.get("type") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(types)) => types.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        if !types.is_empty() && !types.iter().any(|t| is_of_type(default, t)) {
            self.problem(at.into(), format!("the default {default} is not of type {}", types.join(" or ")), "");
        }
        if let Some(Value::Array(values)) = object.get("enum")
            && !values.contains(default)
        {
            let values: Vec<String> = values.iter().map(Value::to_string).collect();
            self.problem(at.into(), format!("the default {default} is none of {}", values.join(", ")), "");
        }
        let bound = |key: &str| object.get(key).and_then(Value::as_f64);
        if let Some(number) = default.as_f64()
            && (bound("minimum").is_some_and(|min| number < min) || bound("maximum").is_some_and(|max| number > max))
        {
            self.problem(at.into(), format!("the default {default} is out of bounds"), "");
        }
    }
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|n| n.fract() == 0.0),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        // An unknown type has been reported.
        _ => true,
    }
}
