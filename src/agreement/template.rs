//! Templates: a document with typed parameters, and the agreement that values make of it.
//!
//! A template of ours declares `parameters`, each a small JSON Schema; `${name}` as a whole text becomes the value with
//! its type, inside a text its spelling; `$${` stands for `${`. Governify's templates declare nothing: their placeholders
//! (`1010101010`, `$_[infrastructure.internal.assets.default]`) are texts that are replaced wherever they stand. Nothing is
//! computed and nothing but the given values is read.

use std::collections::BTreeMap;

use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Value};

use super::document::{join, kind};
use super::load::load_value;
use super::source::value_at;
use crate::model::agreement::Agreement;
use crate::model::diagnostic::Diagnostic;

/// Steps that one parameter's `pattern` may take on one text.
const PATTERN_STEPS_MAX: usize = 100_000;
/// Deepest nesting that is filled in; documents have been read with the same bound.
const DEPTH_MAX: usize = 128;
/// Keywords a parameter may have.
const KEYWORDS: &[&str] = &[
    "type",
    "description",
    "title",
    "default",
    "enum",
    "examples",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "items",
    "minItems",
    "maxItems",
];
/// Types a parameter may have.
const TYPES: &[&str] = &["string", "number", "integer", "boolean", "array", "object"];

/// A document to be filled in.
#[derive(Clone, Debug)]
pub struct Template {
    /// The document's own id, which becomes the `templateId` of agreements made from it.
    pub id: String,
    pub source: String,
    pub parameters: Vec<Parameter>,
    /// As it was read.
    pub document: Value,
}

/// What a template asks for.
#[derive(Clone, Debug)]
pub struct Parameter {
    pub name: String,
    /// One of `string number integer boolean array object`.
    pub kind: String,
    pub description: String,
    pub default: Option<Value>,
    /// The declaration, a JSON Schema of the value.
    pub schema: Value,
}

/// Values by the names of parameters, or by the placeholders of Governify, as they are written on a command line.
pub type Given = BTreeMap<String, String>;

impl Template {
    /// Reads a template, or an agreement with placeholders. Reports what is wrong with its parameters, and with the
    /// agreement it makes: it is filled in with defaults and examples and loaded. What depends on a text that has
    /// neither is not judged.
    pub fn read(document: Value, source: &str) -> (Template, Vec<Diagnostic>) {
        let mut problems = Vec::new();
        let parameters = read_parameters(&document, &mut problems);
        let id = document.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        let template = Template { id, source: source.to_owned(), parameters, document };
        problems.extend(template.trial());
        (template, problems.into_iter().map(|p| p.in_file(source)).collect())
    }

    /// Whether a document says that it is a template.
    pub fn is_template(document: &Value) -> bool {
        document.get("type").and_then(Value::as_str) == Some("template")
    }

    /// Governify's placeholders in the document, sorted.
    pub fn placeholders(&self) -> Vec<String> {
        let mut found = std::collections::BTreeSet::new();
        texts(&self.document, &mut |text| found.extend(placeholders(text)));
        found.into_iter().collect()
    }

    /// The document with the values filled in: `type` is `agreement`, `id` the value of `id`, `templateId` the
    /// template's id.
    ///
    /// # Errors
    /// Every value that is missing, unknown or not of its parameter's type, and every placeholder without parameter.
    pub fn render(&self, given: &Given) -> Result<Value, Vec<Diagnostic>> {
        let mut problems = Vec::new();
        let known = self.placeholders();
        let mut values = BTreeMap::new();
        for parameter in &self.parameters {
            let value = match given.get(&parameter.name) {
                Some(text) => parameter.value(text),
                None => parameter.default.clone().ok_or_else(|| parameter.missing()),
            };
            match value.and_then(|value| parameter.check(value)) {
                Ok(value) => drop(values.insert(parameter.name.clone(), value)),
                Err(problem) => problems.push(*problem),
            }
        }
        let declared = |name: &str| self.parameters.iter().any(|p| p.name == name);
        for name in given.keys().filter(|name| *name != "id" && !declared(name) && !known.contains(*name)) {
            let names = self.parameters.iter().map(|p| p.name.as_str()).chain(known.iter().map(String::as_str));
            let problem =
                Diagnostic::error("unknown-parameter", "$", format!("the template has no parameter \"{name}\""));
            problems.push(match names.clone().collect::<Vec<_>>().as_slice() {
                [] => problem.expected("id only: it has no parameters and no placeholders"),
                list => problem.expected(format!("one of id, {}", list.join(", "))).did_you_mean(name, names),
            });
        }
        let is_template = Self::is_template(&self.document);
        let id = given.get("id").cloned();
        if id.is_none() && is_template && !declared("id") {
            problems.push(
                Diagnostic::error("missing-parameter", "$.id", "the agreement has no id of its own")
                    .expected("--set id=…, a name that no other agreement has"),
            );
        }
        let mut document = self.document.clone();
        if !self.parameters.is_empty() {
            fill(&mut document, "$", &values, &self.parameters, DEPTH_MAX, &mut problems);
        }
        if !problems.is_empty() {
            return Err(problems.into_iter().map(|p| p.in_file(&self.source)).collect());
        }
        for (placeholder, text) in given.iter().filter(|(name, _)| known.contains(*name)) {
            replace(&mut document, placeholder, text);
        }
        if let Some(map) = document.as_object_mut() {
            map.shift_remove("parameters");
            if is_template {
                map.insert("type".into(), "agreement".into());
                map.insert("templateId".into(), self.id.as_str().into());
            }
            let id = id.map(Value::from).or_else(|| values.get("id").cloned());
            if let Some(id) = id {
                map.insert("id".into(), id);
            }
        }
        Ok(document)
    }

    /// What is wrong with the agreement that defaults and examples make.
    fn trial(&self) -> Vec<Diagnostic> {
        let mut unsure = Vec::new();
        let mut given = Given::from([("id".to_owned(), "example".to_owned())]);
        for parameter in self.parameters.iter().filter(|p| p.default.is_none()) {
            let (example, sure) = parameter.example();
            if !sure {
                unsure.push(format!("${{{}}}", parameter.name));
            }
            given.insert(parameter.name.clone(), example);
        }
        let document = match self.render(&given) {
            Ok(document) => document,
            // That an example does not fit its parameter is only of interest where an author gave it.
            Err(problems) => return problems.into_iter().filter(|p| p.code != "bad-value").collect(),
        };
        let (_, problems): (Option<Agreement>, _) = load_value(document, "");
        let depends = |path: &str| {
            let mut found = false;
            // Of an object only what is in it, for its parents hold every placeholder.
            texts(value_at(&self.document, path), &mut |text| {
                found |= unsure.iter().any(|name| text.contains(name.as_str()));
            });
            found
        };
        problems.into_iter().filter(|p| !depends(&p.path)).collect()
    }
}

impl Parameter {
    /// A value as it is written on a command line: texts as they are, everything else as JSON.
    fn value(&self, text: &str) -> Result<Value, Box<Diagnostic>> {
        if self.kind == "string" {
            return Ok(Value::from(text));
        }
        serde_json::from_str(text.trim()).map_err(|_| self.bad(&format!("\"{text}\" is no {}", self.kind)))
    }

    fn validator(&self) -> Result<Validator, Box<Diagnostic>> {
        jsonschema::options()
            .offline()
            .with_pattern_options(PatternOptions::fancy_regex().backtrack_limit(PATTERN_STEPS_MAX))
            .build(&self.schema)
            .map_err(|error| {
                let path = join("$.parameters", &self.name);
                let problem =
                    Diagnostic::error("bad-parameter", path, format!("the declaration is no schema: {error}"));
                Box::new(problem.expected("keywords with the values that JSON Schema gives them"))
            })
    }

    fn check(&self, value: Value) -> Result<Value, Box<Diagnostic>> {
        let problem = self.validator()?.iter_errors(&value).next().map(|error| self.bad(&error.to_string()));
        match problem {
            None => Ok(value),
            Some(problem) => Err(problem),
        }
    }

    fn bad(&self, message: &str) -> Box<Diagnostic> {
        let problem = Diagnostic::error("bad-value", join("$.parameters", &self.name), message);
        Box::new(problem.expected(self.wanted()))
    }

    fn missing(&self) -> Box<Diagnostic> {
        let message = format!("no value is given for \"{}\"", self.name);
        let problem = Diagnostic::error("missing-parameter", join("$.parameters", &self.name), message);
        Box::new(problem.expected(format!("--set {}=…, {}", self.name, self.wanted())))
    }

    /// What a value must be, in words.
    fn wanted(&self) -> String {
        let described = if self.description.is_empty() { String::new() } else { format!(": {}", self.description) };
        match self.schema.get("enum").and_then(Value::as_array) {
            Some(words) => {
                let words: Vec<String> = words.iter().map(spelling).collect();
                format!("one of {}{described}", words.join(", "))
            }
            None => format!("a value of type {}{described}", self.kind),
        }
    }

    /// A value to try the template with, as text, and whether its author gave it.
    fn example(&self) -> (String, bool) {
        let given = ["examples", "enum"].iter().find_map(|key| self.schema.get(key)?.as_array()?.first());
        if let Some(value) = given {
            return (spelling(value), true);
        }
        let least = self.schema.get("minimum").or_else(|| self.schema.get("exclusiveMinimum")).and_then(Value::as_f64);
        match self.kind.as_str() {
            "number" => (least.map_or(1.0, |n| n + 1.0).to_string(), true),
            "integer" => ((least.map_or(1.0, |n| n.floor() + 1.0) as i64).to_string(), true),
            "boolean" => ("true".into(), true),
            "array" => ("[]".into(), false),
            "object" => ("{}".into(), false),
            _ => ("example".into(), false),
        }
    }
}

fn read_parameters(document: &Value, problems: &mut Vec<Diagnostic>) -> Vec<Parameter> {
    let path = "$.parameters";
    let list = match document.get("parameters") {
        None | Some(Value::Null) => return Vec::new(),
        Some(Value::Object(list)) => list,
        Some(other) => {
            problems.push(
                Diagnostic::error("wrong-kind", path, format!("{} stands here", kind(other)))
                    .expected("an object of parameters, such as {\"team\": {\"type\": \"string\"}}"),
            );
            return Vec::new();
        }
    };
    list.iter().filter_map(|(name, value)| read_parameter(name, value, &join(path, name), problems)).collect()
}

fn read_parameter(name: &str, value: &Value, path: &str, problems: &mut Vec<Diagnostic>) -> Option<Parameter> {
    let Some(declared) = value.as_object() else {
        problems.push(
            Diagnostic::error("wrong-kind", path, format!("{} stands here", kind(value)))
                .expected("an object such as {\"type\": \"number\", \"default\": 99.5, \"description\": \"…\"}"),
        );
        return None;
    };
    if !is_name(name) {
        problems.push(
            Diagnostic::error("bad-parameter-name", path, format!("\"{name}\" cannot stand in a placeholder"))
                .expected("letters, digits, `_` and `-`"),
        );
        return None;
    }
    for key in declared.keys().filter(|key| !KEYWORDS.contains(&key.as_str())) {
        problems.push(
            Diagnostic::error("unknown-field", join(path, key), format!("{key} is no keyword of a parameter"))
                .expected(format!("one of {}", KEYWORDS.join(", ")))
                .did_you_mean(key, KEYWORDS.iter().copied()),
        );
    }
    let kind = declared.get("type").and_then(Value::as_str).unwrap_or_default();
    if !TYPES.contains(&kind) {
        let message = match declared.get("type") {
            None => "the parameter has no type".to_owned(),
            Some(other) => format!("{} is no type", spelling(other)),
        };
        problems.push(
            Diagnostic::error("unknown-parameter-type", join(path, "type"), message)
                .expected(format!("one of {}", TYPES.join(", ")))
                .did_you_mean(kind, TYPES.iter().copied()),
        );
        return None;
    }
    let text = |key: &str| declared.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let parameter = Parameter {
        name: name.to_owned(),
        kind: kind.to_owned(),
        description: text("description"),
        default: declared.get("default").filter(|d| !d.is_null()).cloned(),
        schema: value.clone(),
    };
    if let Err(problem) = parameter.validator() {
        problems.push(*problem);
        return None;
    }
    let examples = declared.get("examples").and_then(Value::as_array).into_iter().flatten();
    for own in parameter.default.iter().chain(examples) {
        if let Err(problem) = parameter.check(own.clone()) {
            problems.push(*problem);
        }
    }
    Some(parameter)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
}

/// A value as it is written inside a text.
fn spelling(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Puts the values into every text, keys too.
fn fill(
    value: &mut Value,
    path: &str,
    values: &BTreeMap<String, Value>,
    parameters: &[Parameter],
    depth: usize,
    problems: &mut Vec<Diagnostic>,
) {
    let Some(depth) = depth.checked_sub(1) else { return };
    match value {
        Value::String(text) => {
            if let Some(found) = filled(text, path, values, parameters, problems) {
                *value = found;
            }
        }
        Value::Array(items) => {
            for (i, item) in items.iter_mut().enumerate() {
                fill(item, &format!("{path}[{i}]"), values, parameters, depth, problems);
            }
        }
        Value::Object(map) => {
            let mut out = Map::new();
            for (key, mut inner) in std::mem::take(map) {
                // What the template says of its parameters is no part of the agreement.
                if path == "$" && key == "parameters" {
                    continue;
                }
                let at = join(path, &key);
                fill(&mut inner, &at, values, parameters, depth, problems);
                let name = filled(&key, &at, values, parameters, problems).map_or(key, |found| spelling(&found));
                if out.insert(name.clone(), inner).is_some() {
                    let message = format!("two fields are called \"{name}\" once the values are filled in");
                    problems.push(Diagnostic::error("duplicate-field", at, message).expected("a name of its own"));
                }
            }
            *map = out;
        }
        _ => {}
    }
}

/// The text with its placeholders replaced; `None` when it has none.
fn filled(
    text: &str,
    path: &str,
    values: &BTreeMap<String, Value>,
    parameters: &[Parameter],
    problems: &mut Vec<Diagnostic>,
) -> Option<Value> {
    text.contains("${").then_some(())?;
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            out.push_str(&rest[..at - 1]);
            out.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        let Some((name, after)) = rest[at + 2..].split_once('}') else {
            problems.push(
                Diagnostic::error("open-placeholder", path, "a `${` is not closed")
                    .expected("`${name}`, or `$${` for the two characters themselves"),
            );
            return None;
        };
        out.push_str(&rest[..at]);
        match values.get(name) {
            Some(value) if text.len() == name.len() + 3 => return Some(value.clone()),
            Some(Value::Array(_) | Value::Object(_)) => {
                let message = format!("\"{name}\" is a list or an object and cannot stand inside a text");
                problems.push(Diagnostic::error("bad-placeholder", path, message).expected("the placeholder alone"));
            }
            Some(value) => out.push_str(&spelling(value)),
            // Declared, but its value was refused, which is said already.
            None if parameters.iter().any(|p| p.name == name) => {}
            None => problems.push(
                Diagnostic::error("unknown-parameter", path, format!("\"{name}\" is not among the parameters"))
                    .expected("a name of $.parameters, or `$${` for the two characters themselves")
                    .did_you_mean(name, parameters.iter().map(|p| p.name.as_str())),
            ),
        }
        rest = after;
    }
    out.push_str(rest);
    Some(Value::from(out))
}

/// Calls `f` with every text of a value, keys and numbers too.
pub(super) fn texts(value: &Value, f: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => f(text),
        Value::Number(number) => f(&number.to_string()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, f)),
        Value::Object(map) => map.iter().for_each(|(key, inner)| {
            f(key);
            texts(inner, f);
        }),
        _ => {}
    }
}

/// Governify's placeholders in a text: two digits five times over, and `$_[…]`.
pub(super) fn placeholders(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("$_[") {
        let Some(end) = rest[at..].find(']') else { break };
        found.push(rest[at..=at + end].to_owned());
        rest = &rest[at + end..];
    }
    for run in text.split(|c: char| !c.is_ascii_digit()).filter(|run| run.len() == 10) {
        let pair = run.as_bytes().chunks_exact(2);
        // 0000000000 and the like are somebody's numbers.
        if pair.clone().all(|p| p == &run.as_bytes()[..2]) && run.as_bytes()[0] != run.as_bytes()[1] {
            found.push(run.to_owned());
        }
    }
    found
}

/// Replaces a placeholder wherever it stands. A number that was one stays a number where the text is one.
fn replace(value: &mut Value, placeholder: &str, by: &str) {
    match value {
        Value::String(text) if text.contains(placeholder) => *text = text.replace(placeholder, by),
        Value::Number(number) if number.to_string() == placeholder => {
            let as_number = serde_json::from_str::<serde_json::Number>(by.trim()).map(Value::Number);
            *value = as_number.unwrap_or_else(|_| Value::from(by));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, placeholder, by)),
        Value::Object(map) => {
            let renamed = std::mem::take(map).into_iter().map(|(key, mut inner)| {
                replace(&mut inner, placeholder, by);
                (key.replace(placeholder, by), inner)
            });
            *map = renamed.collect();
        }
        _ => {}
    }
}

/// A warning for each of Governify's placeholders that nobody has filled in, at its first place.
pub(super) fn unfilled(document: &Value) -> Vec<Diagnostic> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    walk(document, "$", DEPTH_MAX, &mut |path, text| {
        for placeholder in placeholders(text) {
            found.entry(placeholder).or_insert_with(|| path.to_owned());
        }
    });
    let warning = |(placeholder, path): (String, String)| {
        Diagnostic::warning(
            "unfilled-placeholder",
            path,
            format!("`{placeholder}` is a placeholder of Governify's templates"),
        )
        .expected("the value it stands for")
        .hint(format!("`probity agreement render FILE --set '{placeholder}=…'` fills it in everywhere"))
    };
    found.into_iter().map(warning).collect()
}

/// Calls `f` with the path of every text, number or key.
fn walk(value: &Value, path: &str, depth: usize, f: &mut impl FnMut(&str, &str)) {
    let Some(depth) = depth.checked_sub(1) else { return };
    match value {
        Value::String(text) => f(path, text),
        Value::Number(number) => f(path, &number.to_string()),
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                walk(item, &format!("{path}[{i}]"), depth, f);
            }
        }
        Value::Object(map) => {
            for (key, inner) in map {
                let at = join(path, key);
                f(&at, key);
                walk(inner, &at, depth, f);
            }
        }
        _ => {}
    }
}
