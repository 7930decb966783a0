//! The rules of a switch: how they are read, and what they ask of values.

use std::cmp::Ordering;

use crate::model::{Diagnostic, Object, Value};
use crate::nodes::typed::TypedInput;
use crate::regexp::RegExp;
use crate::runtime::{NodeConfig, NodeError};

pub(super) struct Rule {
    pub(super) test: Test,
    pub(super) v: Operand,
    pub(super) v2: Operand,
}

pub(super) enum Operand {
    Input(TypedInput),
    Previous,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Compare {
    Lt,
    Lte,
    Gt,
    Gte,
}

pub(super) enum Test {
    Eq,
    Neq,
    Compare(Compare),
    Between,
    HasKey,
    Contains,
    /// The expression is compiled at deploy when the rule's value is the same for every message.
    Regex {
        compiled: Option<Box<RegExp>>,
        ignore_case: bool,
    },
    Is(bool),
    Nullish(bool),
    Empty(bool),
    IsType,
    Head,
    Tail,
    Index,
    JsonataTrue,
    Else,
}

const OPERATORS: &[&str] = &[
    "eq",
    "neq",
    "lt",
    "lte",
    "gt",
    "gte",
    "hask",
    "btwn",
    "cont",
    "regex",
    "true",
    "false",
    "null",
    "nnull",
    "empty",
    "nempty",
    "istype",
    "head",
    "tail",
    "index",
    "jsonata_exp",
    "else",
];

impl Rule {
    /// The rule at `at` of the node's properties.
    pub(super) fn read(cfg: &NodeConfig<'_>, rule: &Object, at: &str) -> Result<Rule, Diagnostic> {
        let value = |key: &str| rule.get(key).cloned().unwrap_or_default();
        let v = read_operand(cfg, &format!("{at}.v"), &value("v"), value("vt").as_str().unwrap_or_default())?;
        let v2 = match value("v2") {
            Value::Undefined => Operand::Input(TypedInput::Constant(Value::Undefined)),
            v2 => read_operand(cfg, &format!("{at}.v2"), &v2, value("v2t").as_str().unwrap_or_default())?,
        };
        let operator = value("t").to_js_string();
        let test = match operator.as_str() {
            "eq" => Test::Eq,
            "neq" => Test::Neq,
            "lt" => Test::Compare(Compare::Lt),
            "lte" => Test::Compare(Compare::Lte),
            "gt" => Test::Compare(Compare::Gt),
            "gte" => Test::Compare(Compare::Gte),
            "btwn" => Test::Between,
            "hask" => Test::HasKey,
            "cont" => Test::Contains,
            "regex" => {
                let ignore_case = value("case").is_truthy();
                let compiled = match &v {
                    Operand::Input(TypedInput::Constant(pattern)) => {
                        Some(compile(&pattern.to_js_string(), ignore_case).map_err(|e| {
                            cfg.problem("invalid-regex", &format!("{at}.v"), e.message)
                                .expected("a JavaScript regular expression")
                        })?)
                    }
                    _ => None,
                };
                Test::Regex { compiled, ignore_case }
            }
            "true" => Test::Is(true),
            "false" => Test::Is(false),
            "null" => Test::Nullish(true),
            "nnull" => Test::Nullish(false),
            "empty" => Test::Empty(true),
            "nempty" => Test::Empty(false),
            "istype" => Test::IsType,
            "head" => Test::Head,
            "tail" => Test::Tail,
            "index" => Test::Index,
            "jsonata_exp" => Test::JsonataTrue,
            "else" => Test::Else,
            other => {
                return Err(cfg
                    .problem("unknown-rule", &format!("{at}.t"), format!("unknown rule \"{other}\""))
                    .expected(format!("one of {}", OPERATORS.join(", ")))
                    .did_you_mean(other, OPERATORS.iter().copied()));
            }
        };
        Ok(Rule { test, v, v2 })
    }
}

/// A rule's value. Without a type it is a number when it reads as one. `json` and `null` are the words
/// themselves, and so is any type `istype` names, as in the original.
fn read_operand(cfg: &NodeConfig<'_>, at: &str, value: &Value, kind: &str) -> Result<Operand, Diagnostic> {
    let kind = match kind {
        "" if value.to_number().is_nan() => "str",
        "" => "num",
        kind => kind,
    };
    Ok(Operand::Input(match kind {
        "prev" => return Ok(Operand::Previous),
        "json" | "null" => TypedInput::Constant(kind.into()),
        "str" => TypedInput::Constant(value.to_js_string().into()),
        "num" | "bool" | "re" | "date" | "bin" | "msg" | "flow" | "global" | "env" | "jsonata" => {
            TypedInput::of(cfg, at, value, kind)?
        }
        _ => TypedInput::Constant(value.clone()),
    }))
}

pub(super) fn compile(pattern: &str, ignore_case: bool) -> Result<Box<RegExp>, NodeError> {
    RegExp::new(pattern, ignore_case)
        .map(Box::new)
        .map_err(|e| NodeError::new(format!("SyntaxError: Invalid regular expression: /{pattern}/: {e}")))
}

pub(super) fn matches(regex: &RegExp, value: &Value) -> Result<bool, NodeError> {
    regex.is_match(&value.to_js_string()).map_err(|e| NodeError::new(e.to_string()))
}

pub(super) fn compares(a: &Value, compare: Compare, b: &Value) -> bool {
    match (a.js_cmp(b), compare) {
        (None, _) => false,
        (Some(order), Compare::Lt) => order == Ordering::Less,
        (Some(order), Compare::Lte) => order != Ordering::Greater,
        (Some(order), Compare::Gt) => order == Ordering::Greater,
        (Some(order), Compare::Gte) => order != Ordering::Less,
    }
}

/// JavaScript's `a.hasOwnProperty(b + "")`; false when `b` is an object.
pub(super) fn has_key(a: &Value, b: &Value) -> bool {
    if b.type_of() == "object" {
        return false;
    }
    let key = b.to_js_string();
    let at = |length: usize| key == "length" || key.parse::<usize>().is_ok_and(|i| i < length && i.to_string() == key);
    match a {
        Value::Object(object) => object.contains_key(&key),
        Value::Handle(handle) => handle.object().is_some_and(|o| o.contains_key(&key)),
        Value::Array(items) => at(items.len()),
        Value::String(text) => at(text.encode_utf16().count()),
        Value::Bytes(bytes) => key != "length" && at(bytes.len()),
        Value::Error(_) => matches!(key.as_str(), "message" | "stack"),
        _ => false,
    }
}

/// What `empty` counts; `None` for what is neither empty nor not empty.
pub(super) fn length(value: &Value) -> Option<usize> {
    match value {
        Value::String(text) => Some(text.len()),
        Value::Array(items) => Some(items.len()),
        Value::Bytes(bytes) => Some(bytes.len()),
        Value::Object(object) => Some(object.len()),
        Value::Handle(handle) => Some(handle.object().map_or(0, |o| o.len())),
        Value::Date(_) | Value::Error(_) => Some(0),
        Value::Undefined | Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

pub(super) fn is_type(value: &Value, name: &str) -> bool {
    match name {
        "array" => matches!(value, Value::Array(_)),
        "buffer" => matches!(value, Value::Bytes(_)),
        "json" => Value::from_json(&value.to_js_string()).is_ok(),
        "null" => matches!(value, Value::Null),
        "number" => value.as_f64().is_some_and(|n| !n.is_nan()),
        _ => value.type_of() == name && !matches!(value, Value::Array(_) | Value::Bytes(_) | Value::Null),
    }
}
