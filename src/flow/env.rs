//! Environments: evaluates the `env` entries of tabs, groups and subflow instances, and replaces `${X}` in
//! node properties.
//!
//! Follows Node-RED's `evaluateEnvProperties` and `mapEnvVarProperties` (`runtime/lib/flows/util.js`).

use std::collections::HashMap;
use std::sync::Arc;

use arcstr::ArcStr;
use jsonata_core::evaluator::{Context, Evaluator, EvaluatorOptions};
use jsonata_core::value::JValue;

use crate::model::flow::{Env, EnvEntry};
use crate::model::{Diagnostic, Object, Value};

/// An `env` entry may refer to others of its level this deep.
const REFERENCES_MAX: usize = 32;

/// Time a JSONata entry may take, in milliseconds.
const JSONATA_MS_MAX: u64 = 200;

/// Longest JSONata entry in bytes.
const JSONATA_BYTES_MAX: usize = 64 * 1024;

/// The process environment, as the caller grants it.
pub(super) type Process<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The value of `name` seen from `env`, the process last.
pub(super) fn lookup(env: Option<&Env>, name: &str, process: Process<'_>) -> Option<Value> {
    match env.and_then(|env| env.get(name)) {
        Some(value) => Some(value.clone()),
        None => {
            let mut bare = name;
            while let Some(rest) = bare.strip_prefix("$parent.") {
                bare = rest;
            }
            process(bare).map(Value::from)
        }
    }
}

/// One level under construction.
struct Level<'a> {
    entries: &'a [EnvEntry],
    /// Names the level has by itself (`NR_FLOW_NAME`, …); they win over entries.
    own: Vec<(ArcStr, Value)>,
    parent: Option<Arc<Env>>,
    process: Process<'a>,
    done: HashMap<ArcStr, Value>,
    problems: Vec<(usize, String)>,
}

/// Evaluates one level of environment. `path` locates the level's entries in diagnostics.
pub(super) fn level(
    entries: &[EnvEntry],
    own: Vec<(ArcStr, Value)>,
    parent: Option<Arc<Env>>,
    process: Process<'_>,
    path: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> Arc<Env> {
    let mut level = Level { entries, own, parent, process, done: HashMap::new(), problems: Vec::new() };
    for (i, entry) in entries.iter().enumerate().filter(|(_, e)| e.kind != "env") {
        let value = level.constant(i, entry);
        level.done.insert(entry.name.clone(), value);
    }
    for (i, entry) in entries.iter().enumerate().filter(|(_, e)| e.kind == "env") {
        let value = level.reference(entry, 0);
        if level.entries[i + 1..].iter().all(|later| later.name != entry.name) {
            level.done.insert(entry.name.clone(), value);
        }
    }
    for (i, message) in &level.problems {
        diagnostics.push(Diagnostic::warning("env-not-evaluated", format!("{path}.env[{i}]"), message.clone()));
    }
    let mut values: Vec<(ArcStr, Value)> = Vec::with_capacity(entries.len() + level.own.len());
    for entry in entries {
        if let Some(value) = level.done.remove(&entry.name) {
            values.push((entry.name.clone(), value));
        }
    }
    values.append(&mut level.own);
    Arc::new(Env { values, parent: level.parent, of_node: false })
}

impl Level<'_> {
    /// Entries that do not refer to others of their level.
    fn constant(&mut self, i: usize, entry: &EnvEntry) -> Value {
        let text = || entry.value.to_js_string();
        let result = match entry.kind.as_str() {
            "str" => Ok(Value::String(text())),
            "num" => Ok(Value::Number(entry.value.to_number())),
            "bool" => Ok(Value::Bool(matches!(entry.value, Value::Bool(true)) || entry.value.as_str() == Some("true"))),
            "json" => match &entry.value {
                Value::String(json) => Value::from_json(json).map_err(|e| format!("not JSON: {e}")),
                other => Ok(other.clone()),
            },
            "bin" => bytes(&entry.value),
            "jsonata" => self.jsonata(&text()),
            "date" | "re" => Err(format!("entries of type {} are not supported; the value is undefined", entry.kind)),
            "conf-type" | "conf-types" => Ok(self.config_node(entry)),
            "cred" if entry.value.is_nullish() => {
                Err("a credential's value is not in the flow file; the value is undefined".into())
            }
            _ => Ok(entry.value.clone()),
        };
        result.unwrap_or_else(|problem| {
            self.problems.push((i, format!("environment entry \"{}\": {problem}", entry.name)));
            Value::Undefined
        })
    }

    /// `${X}` names an entry around that holds a config node's id.
    fn config_node(&self, entry: &EnvEntry) -> Value {
        match entry.value.as_str().and_then(|s| s.strip_prefix("${")).and_then(|s| s.strip_suffix('}')) {
            Some(name) => lookup(self.parent.as_deref(), name, self.process).unwrap_or_default(),
            None => entry.value.clone(),
        }
    }

    /// `X`, `${X}` or `pre-${X}-post`; what is missing is the empty text.
    fn reference(&mut self, entry: &EnvEntry, depth: usize) -> Value {
        let text = entry.value.to_js_string();
        let find = |level: &mut Self, name: &str| level.find(name, &entry.name, depth);
        if !text.contains("${") {
            return find(self, &text).unwrap_or_else(|| "".into());
        }
        if let Some(name) = text.strip_prefix("${").and_then(|t| t.strip_suffix('}'))
            && !name.contains('}')
        {
            return find(self, name).unwrap_or_else(|| "".into());
        }
        let mut out = String::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, tail)) = after.split_once('}') else { break };
            out.push_str(before);
            if let Some(value) = find(self, name) {
                out.push_str(&value.to_js_string());
            }
            rest = tail;
        }
        out.push_str(rest);
        out.into()
    }

    /// A name as seen by the entry `asker`; its own name means the one of the level around.
    fn find(&mut self, name: &str, asker: &str, depth: usize) -> Option<Value> {
        if let Some((_, value)) = self.own.iter().find(|(k, _)| k == name) {
            return Some(value.clone());
        }
        if let Some(outer) = name.strip_prefix("$parent.") {
            return lookup(self.parent.as_deref(), outer, self.process);
        }
        if name != asker {
            if let Some(value) = self.done.get(name) {
                return Some(value.clone());
            }
            let later = self.entries.iter().rev().find(|e| e.name == name && e.kind == "env");
            if let Some(later) = later.filter(|_| depth < REFERENCES_MAX) {
                return Some(self.reference(later, depth + 1));
            }
        }
        lookup(self.parent.as_deref(), name, self.process)
    }

    fn jsonata(&self, text: &str) -> Result<Value, String> {
        if text.len() > JSONATA_BYTES_MAX {
            return Err(format!("the expression is longer than {JSONATA_BYTES_MAX} bytes"));
        }
        let ast = jsonata_core::parser::parse(text).map_err(|e| e.to_string())?;
        let options = EvaluatorOptions { timeout_ms: Some(JSONATA_MS_MAX), ..EvaluatorOptions::default() };
        let mut evaluator = Evaluator::with_options(Context::new(), options);
        let env = self.parent.clone();
        let literals: HashMap<String, Value> =
            quoted(text).filter_map(|name| Some((name.to_string(), Value::from((self.process)(name)?)))).collect();
        let own = self.own.clone();
        let ask = move |args: &[JValue]| {
            let name = args.first().and_then(JValue::as_str).unwrap_or_default();
            let found = own.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone());
            let found = found.or_else(|| env.as_ref().and_then(|env| env.get(name).cloned()));
            let value = found.or_else(|| literals.get(name).cloned()).unwrap_or_else(|| "".into());
            Ok(JValue::from_json_str(&value.to_json()).unwrap_or(JValue::Null))
        };
        evaluator.register_fn("env", ask).map_err(|e| e.to_string())?;
        let result = evaluator.evaluate(&ast, &JValue::Undefined).map_err(|e| e.to_string())?;
        if result.is_undefined() {
            return Ok(Value::Undefined);
        }
        let json = result.to_json_string().map_err(|e| e.to_string())?;
        Value::from_json(&json).map_err(|e| e.to_string())
    }
}

/// The string literals of an expression, as candidates for names that `$env` asks for.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split(['"', '\'']).skip(1).step_by(2)
}

/// `bin`: a JSON array of bytes, or a JSON string.
fn bytes(value: &Value) -> Result<Value, String> {
    let parsed = match value {
        Value::String(json) => Value::from_json(json).map_err(|e| format!("not JSON: {e}"))?,
        other => other.clone(),
    };
    match parsed {
        Value::Array(items) => Ok(Value::Bytes(Arc::new(items.iter().map(|v| byte(v.to_number())).collect()))),
        Value::String(text) => Ok(Value::Bytes(Arc::new(text.as_bytes().to_vec()))),
        _ => Err("bytes are written as a JSON array of numbers or a JSON string".into()),
    }
}

/// As `Buffer.from` takes numbers: modulo 256.
fn byte(n: f64) -> u8 {
    if n.is_finite() { n.trunc().rem_euclid(256.0) as u8 } else { 0 }
}

/// The name in a property whose whole text is `${X}` or the older `$(X)`.
pub(super) fn whole_reference(text: &str) -> Option<&str> {
    let rest = text.strip_prefix('$')?;
    let name = rest
        .strip_prefix('{')
        .and_then(|r| r.strip_suffix('}'))
        .or_else(|| rest.strip_prefix('(').and_then(|r| r.strip_suffix(')')))?;
    (!name.is_empty() && !name.contains(char::is_whitespace)).then_some(name)
}

fn refers(value: &Value) -> bool {
    match value {
        Value::String(s) => whole_reference(s).is_some(),
        Value::Array(items) => items.iter().any(refers),
        Value::Object(object) => object.iter().any(|(_, v)| refers(v)),
        _ => false,
    }
}

fn replace(value: &mut Value, env: &Env, process: Process<'_>) {
    match value {
        Value::String(s) => {
            // What is not set stays as written, as in Node-RED.
            if let Some(found) = whole_reference(s).and_then(|name| lookup(Some(env), name, process))
                && !found.is_undefined()
            {
                *value = found;
            }
        }
        Value::Array(items) if items.iter().any(refers) => {
            Arc::make_mut(items).iter_mut().for_each(|v| replace(v, env, process));
        }
        Value::Object(object) if object.iter().any(|(_, v)| refers(v)) => {
            Arc::make_mut(object).values_mut().for_each(|(_, v)| replace(v, env, process));
        }
        _ => {}
    }
}

/// Replaces every `${X}` in a node's properties, whatever their depth, keeping the variable's type.
pub(super) fn substitute(config: &mut Arc<Object>, env: &Env, process: Process<'_>) {
    let touched = |key: &ArcStr| !matches!(key.as_str(), "id" | "type" | "z" | "g" | "wires");
    if !config.iter().any(|(k, v)| touched(k) && refers(v)) {
        return;
    }
    Arc::make_mut(config).values_mut().filter(|(k, _)| touched(k)).for_each(|(_, v)| replace(v, env, process));
}
