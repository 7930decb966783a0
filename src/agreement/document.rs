//! A document as it is read: JSON or YAML text, local `$ref`s, and the problems found on the way.

use serde_json::{Map, Value};

use crate::model::diagnostic::{Diagnostic, Severity, closest};

/// Longest chain of `$ref`s.
const REFERENCES_MAX: usize = 32;
/// Most values one expansion may give: a document of nested `$ref`s grows exponentially.
const EXPANDED_MAX: usize = 100_000;
/// Deepest nesting of a document, as `serde_json` has it.
pub(super) const DEPTH_MAX: usize = 128;

/// Reads JSON, or YAML when it does not start like JSON.
///
/// # Errors
/// One diagnostic at `$` that says what the parser said, with line and column.
pub(super) fn parse(text: &str) -> Result<Value, Box<Diagnostic>> {
    let text = text.trim_start_matches('\u{feff}');
    if text.trim().is_empty() {
        return Err(Box::new(Diagnostic::empty_file()));
    }
    if text.trim_start().starts_with(['{', '[']) {
        match serde_json::from_str(text) {
            Ok(value) => return Ok(value),
            // YAML flow style also starts with a brace; but then it is YAML all the way.
            Err(json) => {
                return yaml(text).map_err(|_| {
                    let message = format!("the document is not JSON: {json}");
                    let problem = Diagnostic::error("not-json", "$", message).expected("a JSON or YAML object");
                    Box::new(problem.at_line(place(json.line()), place(json.column())))
                });
            }
        }
    }
    yaml(text)
}

fn yaml(text: &str) -> Result<Value, Box<Diagnostic>> {
    let options = serde_saphyr::options! { strict_booleans: true };
    let value: Value = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let message = error.to_string();
        let first = message.lines().next().unwrap_or_default();
        // What follows is advice for who writes programs with the parser.
        let advice = [", set DuplicateKeyPolicy", "; use from_str_multiple"].iter().find_map(|said| first.find(said));
        let message = format!("the document is not YAML: {}", &first[..advice.unwrap_or(first.len())]);
        let mut problem = Diagnostic::error("not-yaml", "$", message).expected("a JSON or YAML object");
        if first.contains("multiple YAML documents") {
            problem = problem.hint("put them into files of their own, or make them items of one list");
        } else if first.contains("duplicate mapping key") {
            problem = problem.hint("remove or rename one of the two");
        }
        Box::new(match error.location() {
            Some(at) => problem.at_line(place(at.line()), place(at.column())),
            None => problem,
        })
    })?;
    if too_deep(&value, DEPTH_MAX) {
        let problem = Diagnostic::error("too-deep", "$", "the document is nested too deeply");
        return Err(Box::new(problem.expected(format!("at most {DEPTH_MAX} levels"))));
    }
    Ok(value)
}

/// A line or column as the parsers count them; an end of the text before the first column is the first.
fn place<N: TryInto<u32>>(n: N) -> u32 {
    n.try_into().unwrap_or(u32::MAX).max(1)
}

fn too_deep(value: &Value, left: usize) -> bool {
    left == 0
        || match value {
            Value::Object(map) => map.values().any(|v| too_deep(v, left - 1)),
            Value::Array(items) => items.iter().any(|v| too_deep(v, left - 1)),
            _ => false,
        }
}

/// A document being read, and what was found wrong with it so far.
pub(super) struct Reader<'d> {
    root: &'d Value,
    pub(super) problems: Vec<Diagnostic>,
}

impl<'d> Reader<'d> {
    pub(super) fn new(root: &'d Value) -> Self {
        Reader { root, problems: Vec::new() }
    }

    pub(super) fn report(&mut self, problem: Diagnostic) {
        self.problems.push(problem);
    }

    pub(super) fn has_errors(&self) -> bool {
        self.problems.iter().any(|p| p.severity == Severity::Error)
    }

    /// What `value` stands for: itself, or the target of its `$ref`. Reports what cannot be resolved.
    pub(super) fn resolve(&mut self, value: &'d Value, path: &str) -> Option<&'d Value> {
        match target(self.root, value) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.report(problem.at(path));
                None
            }
        }
    }

    /// What `value` stands for, without a word about a reference that leads nowhere.
    pub(super) fn peek<'v>(&self, value: &'v Value) -> Option<&'v Value>
    where
        'd: 'v,
    {
        target(self.root, value).ok()
    }

    /// `value` with every `$ref` inside it replaced. Reports what cannot be resolved.
    pub(super) fn expand(&mut self, value: &Value, path: &str) -> Value {
        let mut budget = EXPANDED_MAX;
        match expand(self.root, value, DEPTH_MAX, &mut budget) {
            Ok(value) => value,
            Err(problem) => {
                self.report(problem.at(path));
                Value::Null
            }
        }
    }

    /// Field `key` of `object`, resolved; `None` when absent or null.
    pub(super) fn field(&mut self, object: &'d Map<String, Value>, key: &str, path: &str) -> Option<&'d Value> {
        let value = object.get(key).filter(|v| !v.is_null())?;
        self.resolve(value, &join(path, key)).filter(|v| !v.is_null())
    }

    /// Field `key` as an object; reports another kind of value.
    pub(super) fn object(
        &mut self,
        object: &'d Map<String, Value>,
        key: &str,
        path: &str,
    ) -> Option<&'d Map<String, Value>> {
        let value = self.field(object, key, path)?;
        if !value.is_object() {
            self.wrong_kind(&join(path, key), value, "an object");
        }
        value.as_object()
    }

    /// Field `key` as non-empty text; numbers count as their text. Reports another kind of value.
    pub(super) fn text(&mut self, object: &'d Map<String, Value>, key: &str, path: &str) -> Option<String> {
        let value = self.field(object, key, path)?;
        match value {
            Value::String(text) if text.trim().is_empty() => {
                self.report(
                    Diagnostic::error("empty-text", join(path, key), format!("{key} is empty")).expected("a text"),
                );
                None
            }
            Value::String(text) => Some(text.trim().to_owned()),
            Value::Number(number) => Some(number.to_string()),
            other => {
                self.wrong_kind(&join(path, key), other, "a text");
                None
            }
        }
    }

    pub(super) fn wrong_kind(&mut self, path: &str, found: &Value, expected: &str) {
        let what = match found {
            Value::Array(list) if list.is_empty() => "an empty list",
            Value::Object(map) if map.is_empty() => "an empty object",
            other => kind(other),
        };
        let message = format!("{what} stands here");
        self.report(Diagnostic::error("wrong-kind", path, message).expected(expected));
    }

    /// Reports that field `key` is not there.
    pub(super) fn absent(&mut self, key: &str, path: &str, expected: &str) {
        self.report(
            Diagnostic::error("missing-field", join(path, key), format!("{key} is missing")).expected(expected),
        );
    }

    /// Warns of fields whose names are nearly those of some that are read; others may be somebody else's.
    pub(super) fn misspelt_keys(&mut self, object: &Map<String, Value>, known: &[&str], path: &str) {
        let others: Map<String, Value> = object
            .iter()
            .filter(|(key, _)| !known.contains(&key.as_str()) && closest(key, known.iter().copied()).is_some())
            .map(|(key, _)| (key.clone(), Value::Null))
            .collect();
        self.unknown_keys(&others, known, path);
    }

    /// Warns of keys nobody reads, where a slip of the pen would go unnoticed.
    pub(super) fn unknown_keys(&mut self, object: &Map<String, Value>, known: &[&str], path: &str) {
        for key in object.keys().filter(|k| !known.contains(&k.as_str())) {
            self.report(
                Diagnostic::warning("unknown-field", join(path, key), format!("{key} is not a field Probity reads"))
                    .expected(format!("one of {}", known.join(", ")))
                    .did_you_mean(key, known.iter().copied()),
            );
        }
    }
}

/// What kind of value it is, with its article.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A JSON path one field deeper.
pub(super) fn join(path: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '$');
    if plain { format!("{path}.{key}") } else { format!("{path}[{}]", Value::from(key)) }
}

/// Why a `$ref` leads nowhere.
struct BadReference {
    code: &'static str,
    message: String,
    expected: &'static str,
}

impl BadReference {
    fn at(self, path: &str) -> Diagnostic {
        Diagnostic::error(self.code, path, self.message).expected(self.expected)
    }
}

fn reference(value: &Value) -> Option<&str> {
    value.as_object()?.get("$ref")?.as_str()
}

/// Follows a chain of local references to its end.
fn target<'d>(root: &'d Value, value: &'d Value) -> Result<&'d Value, BadReference> {
    let mut value = value;
    for _ in 0..REFERENCES_MAX {
        let Some(reference) = reference(value) else { return Ok(value) };
        let Some(pointer) = reference.strip_prefix('#') else {
            return Err(BadReference {
                code: "remote-reference",
                message: format!("the reference \"{reference}\" leads out of the document"),
                expected: "a local reference such as \"#/context/definitions/collectors/events\"",
            });
        };
        value = root.pointer(pointer).ok_or_else(|| BadReference {
            code: "broken-reference",
            message: format!("nothing stands at \"{reference}\""),
            expected: "the path of something in this document",
        })?;
    }
    Err(BadReference {
        code: "circular-reference",
        message: format!("the reference \"{}\" leads back to itself", reference(value).unwrap_or_default()),
        expected: "a reference that ends at a value",
    })
}

fn expand(root: &Value, value: &Value, depth: usize, budget: &mut usize) -> Result<Value, BadReference> {
    if depth == 0 || *budget == 0 {
        return Err(BadReference {
            code: "circular-reference",
            message: "the references inside this value lead back to themselves, or make it too large".into(),
            expected: "references that end at values",
        });
    }
    *budget -= 1;
    let value = target(root, value)?;
    Ok(match value {
        Value::Object(map) => Value::Object(
            map.iter()
                .map(|(k, v)| Ok((k.clone(), expand(root, v, depth - 1, budget)?)))
                .collect::<Result<_, BadReference>>()?,
        ),
        Value::Array(items) => {
            Value::Array(items.iter().map(|v| expand(root, v, depth - 1, budget)).collect::<Result<_, _>>()?)
        }
        scalar => scalar.clone(),
    })
}
