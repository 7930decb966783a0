//! Typed inputs: a configured value with a type beside it (`str`, `num`, `msg`, `jsonata`, …), and typed targets.
//!
//! Semantics are those of `evaluateNodeProperty` in Node-RED's `util.js`. All that can be is done at deploy: a
//! constant costs a clone per message.

use std::sync::Arc;

use arcstr::ArcStr;
use jiff::tz::TimeZone;

use super::jsonata::Jsonata;
use super::moment::{Around, Moment};
use crate::model::flow::PlanNode;
use crate::model::path::Path;
use crate::model::value::date_to_iso;
use crate::model::{Diagnostic, Msg, Value};
use crate::regexp::RegExp;
use crate::runtime::context::Level;
use crate::runtime::{Cx, NodeConfig, NodeError, Place, Services};

/// The types a typed input may have.
pub const TYPES: &[&str] =
    &["str", "num", "bool", "json", "re", "date", "bin", "msg", "flow", "global", "env", "jsonata"];

/// A configured value that is evaluated per message.
#[derive(Debug)]
pub enum TypedInput {
    /// `str`, `num`, `bool`, `json`, `re` (its text), `bin`, `env`: the same for every message.
    Constant(Value),
    Date(DateForm),
    Msg(Path),
    Context(Level, Path),
    Jsonata(Box<Jsonata>),
}

/// What a `date` input gives.
#[derive(Debug, PartialEq)]
pub enum DateForm {
    /// Milliseconds since the Unix epoch.
    Millis,
    Iso,
    Object,
    /// A Moment format, in the zone that the environment variable `TZ` names, else UTC.
    Format(ArcStr),
}

impl TypedInput {
    /// Reads a value from one property and its type from another; a missing type means `str`.
    pub fn parse(cfg: &NodeConfig<'_>, value_property: &str, type_property: &str) -> Result<Self, Diagnostic> {
        let kind = cfg.text(type_property);
        let kind = if kind.is_empty() { "str" } else { kind.as_str() };
        Self::of(cfg, value_property, cfg.get(value_property), kind)
    }

    /// From a value and its type; `property` (for example `rules[0].to`) says where they stand.
    pub fn of(cfg: &NodeConfig<'_>, property: &str, value: &Value, kind: &str) -> Result<Self, Diagnostic> {
        let text = match value {
            Value::Undefined | Value::Null => ArcStr::new(),
            other => other.to_js_string(),
        };
        let invalid = |what: String| cfg.problem("invalid-typed-value", property, what);
        Ok(match kind {
            "str" => TypedInput::Constant(Value::String(text)),
            "num" => TypedInput::Constant(Value::Number(value.to_number())),
            "bool" => TypedInput::Constant(Value::Bool(text.eq_ignore_ascii_case("true"))),
            "json" => TypedInput::Constant(match value {
                Value::Object(_) | Value::Array(_) => value.clone(),
                _ => {
                    Value::from_json(&text).map_err(|e| invalid(format!("invalid JSON: {e}")).expected("JSON text"))?
                }
            }),
            "re" => {
                RegExp::new(&text, false)
                    .map_err(|e| invalid(format!("invalid regular expression: {e}")).expected("JavaScript syntax"))?;
                TypedInput::Constant(Value::String(text))
            }
            "date" => TypedInput::Date(match text.as_str() {
                "" => DateForm::Millis,
                "iso" => DateForm::Iso,
                "object" => DateForm::Object,
                _ => DateForm::Format(text),
            }),
            "bin" => TypedInput::Constant(bytes_of(value, &text).map_err(invalid)?),
            // Node-RED finds out at run time, and then has no value.
            "msg" | "flow" | "global" if text.is_empty() => TypedInput::Constant(Value::Undefined),
            "msg" => TypedInput::Msg(msg_path(cfg, property, &text)?),
            "flow" => TypedInput::Context(Level::Flow, context_path(cfg, property, &text)?),
            "global" => TypedInput::Context(Level::Global, context_path(cfg, property, &text)?),
            "env" => TypedInput::Constant(env_text(cfg.node, cfg.services, &text)),
            "jsonata" => {
                let compiled = Jsonata::compile(&text).map_err(|e| {
                    cfg.problem("invalid-jsonata", property, format!("invalid JSONata expression: {e}"))
                })?;
                TypedInput::Jsonata(Box::new(compiled))
            }
            other => {
                return Err(invalid(format!("unknown type \"{other}\""))
                    .expected(format!("one of {}", TYPES.join(", ")))
                    .did_you_mean(other, TYPES.iter().copied()));
            }
        })
    }

    /// The value for this message. Fails when JSONata does, or when a context in the database cannot be read.
    pub fn eval(&self, msg: &Msg, cx: &Cx<'_>) -> Result<Value, NodeError> {
        self.eval_at(msg, cx.place())
    }

    /// The value for this message as the node at this place sees it.
    pub fn eval_at(&self, msg: &Msg, place: Place<'_>) -> Result<Value, NodeError> {
        Ok(match self {
            TypedInput::Constant(value) => value.clone(),
            TypedInput::Msg(path) => msg.get_path(path),
            TypedInput::Context(level, path) => place.context_get(*level, path, msg)?,
            TypedInput::Date(form) => form.eval(place),
            TypedInput::Jsonata(expression) => return expression.eval_with(msg, place, &[]),
        })
    }
}

/// Reads and evaluates a typed input whose kind and text are known only now, as a plugin's are.
pub fn evaluate(kind: &str, text: &str, msg: &Msg, place: Place<'_>) -> Result<Value, NodeError> {
    let configs = Default::default();
    let cfg = NodeConfig { node: place.node(), plan: place.plan(), services: place.services(), configs: &configs };
    let input = TypedInput::of(&cfg, "typed input", &Value::from(text), kind).map_err(|d| d.message)?;
    input.eval_at(msg, place)
}

impl DateForm {
    fn eval(&self, place: Place<'_>) -> Value {
        let ms = place.now().as_millisecond() as f64;
        match self {
            DateForm::Millis => Value::Number(ms),
            DateForm::Iso => date_to_iso(ms).into(),
            DateForm::Object => Value::Date(ms),
            DateForm::Format(pattern) => {
                let zone = place.env("TZ");
                let zone = zone.as_str().and_then(|name| TimeZone::get(name).ok()).unwrap_or(TimeZone::UTC);
                let around = Around { now: place.now().as_millisecond() as f64, local: zone };
                Moment::at(&around, around.now).format(pattern).into()
            }
        }
    }
}

/// A place a node writes to: below the message, the flow context or the global context.
#[derive(Clone, Debug, PartialEq)]
pub enum TypedTarget {
    Msg(Path),
    Context(Level, Path),
}

impl TypedTarget {
    /// Reads a path from one property and `msg`, `flow` or `global` from another; a missing type means `msg`.
    pub fn parse(cfg: &NodeConfig<'_>, path_property: &str, type_property: &str) -> Result<Self, Diagnostic> {
        Self::of(cfg, path_property, &cfg.text(path_property), &cfg.text(type_property))
    }

    /// From a path and its type; `property` says where they stand.
    pub fn of(cfg: &NodeConfig<'_>, property: &str, path: &str, kind: &str) -> Result<Self, Diagnostic> {
        match kind {
            "" | "msg" => Ok(TypedTarget::Msg(msg_path(cfg, property, path)?)),
            "flow" => Ok(TypedTarget::Context(Level::Flow, context_path(cfg, property, path)?)),
            "global" => Ok(TypedTarget::Context(Level::Global, context_path(cfg, property, path)?)),
            other => Err(cfg
                .problem("invalid-typed-target", property, format!("cannot write to \"{other}\""))
                .expected("msg, flow or global")),
        }
    }

    /// What is there. Fails when a context in the database cannot be read.
    pub fn get(&self, msg: &Msg, cx: &Cx<'_>) -> Result<Value, NodeError> {
        match self {
            TypedTarget::Msg(path) => Ok(msg.get_path(path)),
            TypedTarget::Context(level, path) => cx.context_get(*level, path, msg),
        }
    }

    /// Sets, creating missing parents; `Undefined` deletes. False when a scalar is in the way. Fails when a context in the
    /// database cannot be set.
    pub fn set(&self, msg: &mut Msg, cx: &Cx<'_>, value: Value) -> Result<bool, NodeError> {
        match self {
            TypedTarget::Msg(path) => Ok(msg.set_path(path, value)),
            TypedTarget::Context(level, path) => cx.context_set(*level, path, value, msg),
        }
    }

    pub fn delete(&self, msg: &mut Msg, cx: &Cx<'_>) -> Result<bool, NodeError> {
        self.set(msg, cx, Value::Undefined)
    }
}

/// A path below `msg`; a leading `msg.` is allowed, as in Node-RED.
pub fn msg_path(cfg: &NodeConfig<'_>, property: &str, text: &str) -> Result<Path, Diagnostic> {
    let text = text.strip_prefix("msg.").unwrap_or(text);
    Path::parse(text).map_err(|e| {
        cfg.problem("invalid-path", property, e.to_string()).expected("a property path such as payload.items[0]")
    })
}

/// A context key; `#:(store)::key` names a store. One that is not known means the default store, as in Node-RED.
pub fn context_path(cfg: &NodeConfig<'_>, property: &str, text: &str) -> Result<Path, Diagnostic> {
    let (store, key) = store_and_key(text);
    Path::parse(key).map(|path| path.in_store(store)).map_err(|e| {
        cfg.problem("invalid-path", property, e.to_string()).expected("a context key such as orders.count")
    })
}

fn store_and_key(text: &str) -> (Option<&str>, &str) {
    match text.strip_prefix("#:(").and_then(|rest| rest.split_once(")::")) {
        Some((store, key)) => (Some(store), key),
        None => (None, text),
    }
}

fn bytes_of(value: &Value, text: &str) -> Result<Value, String> {
    let parsed = match value {
        Value::Array(_) => value.clone(),
        _ => Value::from_json(text).map_err(|e| format!("invalid JSON for a buffer: {e}"))?,
    };
    match &parsed {
        Value::String(s) => Ok(Value::Bytes(Arc::new(s.as_bytes().to_vec()))),
        // As `Buffer.from`: each element modulo 256, what is no number is 0.
        Value::Array(items) => Ok(Value::Bytes(Arc::new(
            items.iter().map(|v| v.to_number()).map(|n| (n.trunc() % 256.0) as i64 as u8).collect(),
        ))),
        _ => Err("a buffer is written as a JSON array of bytes or a JSON string".into()),
    }
}

/// `X`, `${X}` or text with `${X}` in it; a missing variable is "".
pub fn env_text(node: &PlanNode, services: &Services, text: &str) -> Value {
    let or_empty = |value: Value| if value.is_undefined() { Value::from("") } else { value };
    if let Some(name) = text.strip_prefix("${").and_then(|t| t.strip_suffix('}'))
        && !name.contains('}')
        && !name.is_empty()
    {
        return or_empty(env_of(node, services, name));
    }
    if !text.contains("${") {
        return or_empty(env_of(node, services, text));
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        match after.split_once('}') {
            Some((name, tail)) if !name.is_empty() => {
                out.push_str(&or_empty(env_of(node, services, name)).to_js_string());
                rest = tail;
            }
            _ => {
                out.push_str("${");
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out.into()
}

/// An environment variable as a node sees it; `Undefined` when nobody sets it.
pub fn env_of(node: &PlanNode, services: &Services, name: &str) -> Value {
    match node.env.get(name) {
        Some(value) => value.clone(),
        None => (services.env)(name).map(Value::from).unwrap_or_default(),
    }
}

/// A node that sets `msg.payload` to its typed input, for the tests of inputs and expressions.
#[cfg(test)]
pub(crate) mod probe {
    use super::*;
    use crate::model::node_spec::NodeSpec;
    use crate::runtime::{Node, NodeType, Step};

    struct Probe(TypedInput);
    impl Node for Probe {
        fn on_msg(&self, mut msg: Msg, cx: &mut Cx<'_>) -> Step {
            match self.0.eval(&msg, cx) {
                Ok(value) => {
                    msg.set("payload", value);
                    cx.emit(0, msg);
                    Step::Done
                }
                Err(error) => Step::fail(msg, error),
            }
        }
    }

    static SPEC: NodeSpec = NodeSpec {
        node_type: "probe",
        category: "test",
        summary: "",
        inputs: 1,
        outputs: Some(1),
        config_node: false,
        properties: &[],
        capabilities: &[],
    };

    pub(crate) const TYPE: NodeType = NodeType {
        spec: &SPEC,
        build: |cfg| {
            TypedInput::parse(cfg, "v", "vt").map(|i| Arc::new(Probe(i)) as Arc<dyn Node>).map_err(|d| vec![d])
        },
    };

    pub(crate) fn bed(value: &str, kind: &str) -> crate::nodes::testbed::Bed {
        let config = serde_json::json!({ "v": value, "vt": kind });
        crate::nodes::testbed::Bed::new(TYPE, &config.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::probe::{TYPE, bed};
    use super::*;
    use crate::nodes::testbed::{NOW_MS, json, problems};

    fn value(text: &str, kind: &str) -> Value {
        let bed = bed(text, kind);
        bed.set_global("g", json(r#"{"k":[1,2]}"#));
        bed.payload(r#"{"a":{"b":"x"},"n":1}"#)
    }

    #[test]
    fn every_type_gives_its_value() {
        for (text, kind, expected) in [
            ("x", "str", json("\"x\"")),
            ("0x10", "num", 16.into()),
            ("True", "bool", true.into()),
            ("yes", "bool", false.into()),
            ("{\"a\":[1]}", "json", json("{\"a\":[1]}")),
            ("[1,256,-1]", "bin", Value::Bytes(Arc::new(vec![1, 0, 255]))),
            ("\"é\"", "bin", Value::Bytes(Arc::new("é".as_bytes().to_vec()))),
            ("msg.a.b", "msg", "x".into()),
            ("a.missing", "msg", Value::Undefined),
            ("g.k[msg.n]", "flow", 2.into()),
            ("#:(memory)::g.k[0]", "global", 1.into()),
            ("HERE", "env", "tab-env".into()),
            ("${PORT}", "env", 1880.into()),
            ("http://${HERE}:${PORT}/${NONE}", "env", "http://tab-env:1880/".into()),
            ("NONE", "env", "".into()),
            ("n + 1", "jsonata", 2.into()),
            ("", "date", NOW_MS.into()),
            ("iso", "date", "2026-03-01T12:04:05.067Z".into()),
            ("object", "date", Value::Date(NOW_MS)),
            ("YYYY/MM/DD [at] HH:mm", "date", "2026/03/01 at 12:04".into()),
            ("", "msg", Value::Undefined),
        ] {
            assert_eq!(value(text, kind), expected, "{kind} {text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_at_deploy() {
        for (text, kind, code) in [
            ("{", "json", "invalid-typed-value"),
            ("{}", "bin", "invalid-typed-value"),
            ("(", "re", "invalid-typed-value"),
            ("a..b", "msg", "invalid-path"),
            ("$sum(", "jsonata", "invalid-jsonata"),
            ("x", "nmu", "invalid-typed-value"),
        ] {
            let config = serde_json::json!({ "v": text, "vt": kind }).to_string();
            let found = problems(&TYPE, &config);
            assert_eq!(found.len(), 1);
            assert_eq!((found[0].code.as_str(), found[0].path.as_str()), (code, "$[0].v"), "{kind} {text}");
        }
    }
}
