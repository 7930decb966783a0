//! The change node: sets, changes, deletes and moves properties of the message, flow or global context.
//!
//! Behaviour: Node-RED's `15-change.js`. Two of its accidents are not kept: a copied value is never the same
//! object as its source (`dc` therefore changes nothing), and a `change` rule on a context value that does not
//! match passes the message on instead of losing it.

use std::sync::Arc;

use arcstr::ArcStr;

use super::jsonata::invalid;
use super::typed::{TypedInput, TypedTarget};
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::model::value::str_to_number;
use crate::model::{Diagnostic, Msg, Object, Value};
use crate::regexp::{RegExp, replace_literal};
use crate::runtime::{Cx, Node, NodeConfig, NodeError, NodeType, Step};

static SPEC: NodeSpec = NodeSpec {
    node_type: "change",
    category: "function",
    summary: "Sets, changes, deletes or moves properties of a message, flow context or global context.",
    inputs: 1,
    outputs: Some(1),
    config_node: false,
    properties: &[
        Property::new(
            "rules",
            PropertyKind::Json,
            "Rules, applied in order: {t: set|change|delete|move, p, pt: msg|flow|global, to, tot, from, fromt, dc}. \
             `tot` is a typed input: str, num, bool, json, bin, date, msg, flow, global, env, jsonata; `fromt` is \
             str, num, bool, re, msg, flow or global.",
        ),
        Property::new(
            "action",
            PropertyKind::OneOf(&["", "replace", "set", "change", "delete", "move"]),
            "The one rule of old flows that have no `rules`.",
        ),
        Property::new("property", PropertyKind::Text, "Old flows: the property the action is about."),
        Property::new("from", PropertyKind::Text, "Old flows, change: what is replaced."),
        Property::new("to", PropertyKind::Text, "Old flows: the new value, or `msg.…` for another property."),
        Property::new("reg", PropertyKind::Boolean, "Old flows, change: whether `from` is a regular expression."),
    ],
    capabilities: &[],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build };

struct Change {
    rules: Vec<Rule>,
}

enum Rule {
    Set {
        target: TypedTarget,
        to: TypedInput,
        property: ArcStr,
    },
    Change {
        target: TypedTarget,
        from: From,
        to: TypedInput,
        to_bool: bool,
    },
    Delete(TypedTarget),
    /// `to_parent`: the target is set before the source is deleted, as Node-RED does when the source's text
    /// contains the target's (a property moved to its parent) and between message and contexts.
    Move {
        from: TypedTarget,
        to: TypedTarget,
        property: ArcStr,
        to_parent: bool,
    },
}

/// What a change rule looks for.
enum From {
    /// Replaced wherever it occurs in a text; a value that equals it as a whole takes the new value's type.
    Literal {
        text: ArcStr,
        kind: Kind,
    },
    Regex(Box<RegExp>),
    /// Read per message.
    Dynamic(TypedTarget),
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Number,
    Bool,
    /// Another type (`json`, `env`, …): found in texts, never exact.
    Other,
}

fn build(cfg: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let mut rules = Vec::new();
    match cfg.get("rules") {
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                match item {
                    Value::Object(rule) => collect(cfg, rule, &format!("rules[{i}]."), &mut rules, &mut problems),
                    _ => problems.push(
                        cfg.problem("invalid-rule", &format!("rules[{i}]"), "a rule is an object")
                            .expected("{t, p, …}"),
                    ),
                }
            }
        }
        Value::Undefined | Value::Null => collect(cfg, &legacy_rule(cfg), "", &mut rules, &mut problems),
        _ => problems.push(cfg.problem("invalid-rules", "rules", "rules is no list").expected("an array of rules")),
    }
    if problems.is_empty() { Ok(Arc::new(Change { rules })) } else { Err(problems) }
}

fn collect(cfg: &NodeConfig<'_>, rule: &Object, at: &str, rules: &mut Vec<Rule>, problems: &mut Vec<Diagnostic>) {
    match read_rule(cfg, rule, at) {
        Ok(rule) => rules.extend(rule),
        Err(problem) => problems.push(problem),
    }
}

/// The rule of a node from before rules.
fn legacy_rule(cfg: &NodeConfig<'_>) -> Object {
    let action = cfg.text("action");
    let mut rule = Object::new();
    rule.insert("t", if action == "replace" { arcstr::literal!("set") } else { action.clone() });
    rule.insert("p", cfg.text("property"));
    rule.insert("to", cfg.text("to"));
    rule.insert("from", cfg.text("from"));
    // As the original: null means yes.
    rule.insert("re", matches!(cfg.get("reg"), Value::Null) || cfg.get("reg").is_truthy());
    rule
}

/// `None`: a rule that does nothing (no property, unknown action), which Node-RED passes over.
fn read_rule(cfg: &NodeConfig<'_>, rule: &Object, at: &str) -> Result<Option<Rule>, Diagnostic> {
    let text = |key: &str| match rule.get(key) {
        None | Some(Value::Undefined | Value::Null) => ArcStr::new(),
        Some(value) => value.to_js_string(),
    };
    let (property, action) = (text("p"), text("t"));
    if property.is_empty() {
        return Ok(None);
    }
    let target = TypedTarget::of(cfg, &format!("{at}p"), &property, &text("pt"))?;
    let mut kind = text("tot");
    let mut to = rule.get("to").cloned().unwrap_or_default();
    if kind.is_empty() {
        kind = arcstr::literal!("str");
        if action == "set"
            && let Some(path) = to.as_str().and_then(|t| t.strip_prefix("msg."))
        {
            (to, kind) = (path.into(), arcstr::literal!("msg"));
        }
    }
    let no_path = matches!(kind.as_str(), "msg" | "flow" | "global") && to.to_js_string().is_empty();
    Ok(Some(match action.as_str() {
        "delete" => Rule::Delete(target),
        "set" | "change" | "move" if no_path || (action == "move" && to.is_nullish()) => return Ok(None),
        "set" => Rule::Set { target, to: TypedInput::of(cfg, &format!("{at}to"), &to, &kind)?, property },
        "move" => {
            let (kind, path) = (kind_of_move(&kind, rule), to.to_js_string());
            let from_kind = if text("pt").is_empty() { arcstr::literal!("msg") } else { text("pt") };
            let to_parent = kind != from_kind || (property.contains(path.as_str()) && property != path);
            let to = TypedTarget::of(cfg, &format!("{at}to"), &path, &kind)?;
            Rule::Move { from: target, to, property: path, to_parent }
        }
        "change" => {
            let from = read_from(cfg, rule, at, &text("from"), &text("fromt"))?;
            let to = TypedInput::of(cfg, &format!("{at}to"), &to, &kind)?;
            Rule::Change { target, from, to, to_bool: kind == "bool" }
        }
        _ => return Ok(None),
    }))
}

/// Old move rules have no `tot`; they move within the message.
fn kind_of_move(kind: &str, rule: &Object) -> ArcStr {
    if rule.get("tot").is_none_or(|t| !t.is_truthy()) { arcstr::literal!("msg") } else { kind.into() }
}

fn read_from(cfg: &NodeConfig<'_>, rule: &Object, at: &str, from: &str, kind: &str) -> Result<From, Diagnostic> {
    let place = format!("{at}from");
    let legacy_regex = rule.get("re").is_some_and(Value::is_truthy);
    let literal = |kind| Ok(From::Literal { text: from.into(), kind });
    match kind {
        _ if legacy_regex || kind == "re" => {
            RegExp::new(from, false).map(|regex| From::Regex(Box::new(regex))).map_err(|e| {
                cfg.problem("invalid-regex", &place, format!("invalid 'from' property: {e}"))
                    .expected("a JavaScript regular expression")
            })
        }
        "" | "str" => literal(Kind::Text),
        "num" => literal(Kind::Number),
        "bool" => literal(Kind::Bool),
        "msg" | "flow" | "global" => Ok(From::Dynamic(TypedTarget::of(cfg, &place, from, kind)?)),
        _ => literal(Kind::Other),
    }
}

impl Node for Change {
    fn on_msg(&self, mut msg: Msg, cx: &mut Cx<'_>) -> Step {
        for rule in &self.rules {
            if let Err(error) = rule.apply(&mut msg, cx) {
                return Step::fail(msg, error);
            }
        }
        cx.emit(0, msg);
        Step::Done
    }
}

impl Rule {
    fn apply(&self, msg: &mut Msg, cx: &mut Cx<'_>) -> Result<(), NodeError> {
        match self {
            Rule::Set { target, to, property } => {
                let value = value_of(to, msg, cx)?;
                set(target, msg, cx, value, property)?;
            }
            Rule::Delete(target) => {
                target.delete(msg, cx)?;
            }
            Rule::Move { from, to, property, to_parent: true } => {
                let value = from.get(msg, cx)?;
                set(to, msg, cx, value, property)?;
                from.delete(msg, cx)?;
            }
            Rule::Move { from, to, property, to_parent: false } => {
                let value = from.get(msg, cx)?;
                from.delete(msg, cx)?;
                if let Err(error) = set(to, msg, cx, value.clone(), property) {
                    // What cannot be kept in the other place stays in this one, unless that cannot be reached either.
                    let _ = from.set(msg, cx, value);
                    return Err(error);
                }
            }
            Rule::Change { target, from, to, to_bool } => {
                let to = value_of(to, msg, cx)?;
                let current = target.get(msg, cx)?;
                let changed = match from {
                    From::Literal { text, kind } => change_literal(&current, text, *kind, &to, *to_bool),
                    From::Regex(regex) => match current.as_str() {
                        None => None,
                        Some(current) => match regex.replace_all(current, &to.to_js_string()) {
                            Ok(changed) => Some(as_bool(changed, &to, *to_bool)),
                            Err(error) => return Err(NodeError::new(error.to_string())),
                        },
                    },
                    From::Dynamic(place) => match change_found(&current, &place.get(msg, cx)?, &to, *to_bool) {
                        Ok(changed) => changed,
                        // Node-RED reports this and goes on with the message as it is.
                        Err(error) => {
                            cx.error(msg.clone(), error);
                            None
                        }
                    },
                };
                if let Some(changed) = changed {
                    target.set(msg, cx, changed)?;
                }
            }
        }
        Ok(())
    }
}

fn value_of(to: &TypedInput, msg: &Msg, cx: &Cx<'_>) -> Result<Value, NodeError> {
    to.eval(msg, cx).map_err(|e| match to {
        TypedInput::Jsonata(_) => invalid(e),
        _ => e,
    })
}

fn set(target: &TypedTarget, msg: &mut Msg, cx: &mut Cx<'_>, value: Value, property: &str) -> Result<(), NodeError> {
    if !target.set(msg, cx, value)? {
        cx.warn(format!("Cannot set property of non-object type: {property}"));
    }
    Ok(())
}

/// The new value, `None` when the rule does not apply.
fn change_literal(current: &Value, from: &str, kind: Kind, to: &Value, to_bool: bool) -> Option<Value> {
    match current {
        Value::String(text) if kind != Kind::Other && text == from => Some(to.clone()),
        Value::String(text) => {
            if !from.is_empty() && !text.contains(from) {
                return None;
            }
            Some(as_bool(replace_literal(text, from, &to.to_js_string()), to, to_bool))
        }
        Value::Number(n) if kind == Kind::Number => (*n == str_to_number(from)).then(|| to.clone()),
        Value::Bool(b) if kind == Kind::Bool => (b.to_string() == from).then(|| to.clone()),
        _ => None,
    }
}

/// A change whose `from` was read from the message or a context.
fn change_found(current: &Value, from: &Value, to: &Value, to_bool: bool) -> Result<Option<Value>, NodeError> {
    match from {
        Value::String(from) => Ok(change_literal(current, from, Kind::Text, to, to_bool)),
        Value::Number(from) => Ok(matches!(current, Value::Number(n) if n == from).then(|| to.clone())),
        Value::Bool(_) => Ok(None),
        other => Err(NodeError::new(format!("Invalid 'from' property: unsupported type: {}", other.type_of()))),
    }
}

/// A text that became `true` or `false` by a rule whose new value is that boolean is a boolean.
fn as_bool(text: String, to: &Value, to_bool: bool) -> Value {
    if to_bool && text == to.to_js_string().as_str() { to.clone() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::testbed::{Bed, CAUGHT, json, problems};

    fn rules(rules: &str) -> Bed {
        Bed::new(TYPE, &format!("{{\"rules\":{rules}}}"))
    }

    fn changed(rule: &str, msg: &str) -> String {
        let out = rules(&format!("[{rule}]")).send(&[msg]);
        assert_eq!(out.len(), 1, "{out:?}");
        let mut msg = out[0].1.clone();
        msg.remove("_msgid");
        msg.to_value().to_json()
    }

    #[test]
    fn moves_within_and_across() {
        for (rule, msg, expected) in [
            (r#"{"t":"move","p":"a","to":"b","tot":"msg"}"#, r#"{"a":1}"#, r#"{"b":1}"#),
            (r#"{"t":"move","p":"a","to":"a.b","tot":"msg"}"#, r#"{"a":1}"#, r#"{"a":{"b":1}}"#),
            (r#"{"t":"move","p":"a.b","to":"a","tot":"msg"}"#, r#"{"a":{"b":1}}"#, r#"{"a":1}"#),
            (r#"{"t":"move","p":"a","to":"a","tot":"msg"}"#, r#"{"a":1}"#, r#"{"a":1}"#),
            (r#"{"t":"move","p":"no","to":"a","tot":"msg"}"#, r#"{"a":1}"#, r#"{}"#),
            (r#"{"t":"move","p":"a","to":"b"}"#, r#"{"a":1}"#, r#"{"b":1}"#),
        ] {
            assert_eq!(changed(rule, msg), expected, "{rule}");
        }
        let bed = rules(
            r#"[{"t":"move","p":"a","pt":"msg","to":"x.y","tot":"flow"},{"t":"set","p":"back","to":"x.y","tot":"flow"},
                {"t":"delete","p":"x.y","pt":"flow"},{"t":"set","p":"gone","to":"x","tot":"flow"}]"#,
        );
        let out = bed.send(&[r#"{"a":[1]}"#]);
        assert_eq!(out[0].1.get("back"), Some(&json("[1]")));
        assert_eq!((out[0].1.get("gone"), out[0].1.get("a")), (Some(&json("{}")), None));
    }

    #[test]
    fn changing_respects_types() {
        let rule = |from: &str, fromt: &str, to: &str, tot: &str| {
            format!(r#"{{"t":"change","p":"p","from":{from:?},"fromt":"{fromt}","to":{to:?},"tot":"{tot}"}}"#)
        };
        for (rule, msg, expected) in [
            (rule("1", "num", "2", "num"), r#"{"p":1}"#, r#"{"p":2}"#),
            (rule("1", "num", "2", "num"), r#"{"p":"1"}"#, r#"{"p":2}"#),
            (rule("1", "num", "2", "num"), r#"{"p":"11"}"#, r#"{"p":"22"}"#),
            (rule("1", "str", "2", "num"), r#"{"p":1}"#, r#"{"p":1}"#),
            (rule("true", "bool", "x", "str"), r#"{"p":true}"#, r#"{"p":"x"}"#),
            (rule("o(n|ff)", "re", "$1", "str"), r#"{"p":"on off"}"#, r#"{"p":"n ff"}"#),
            (rule("^on$", "re", "true", "bool"), r#"{"p":"on"}"#, r#"{"p":true}"#),
            (rule("q", "msg", "x", "str"), r#"{"p":"a.a","q":"."}"#, r#"{"p":"axa","q":"."}"#),
            (rule("q", "msg", "x", "str"), r#"{"p":7,"q":7}"#, r#"{"p":"x","q":7}"#),
            (rule("a", "str", "b", "str"), r#"{"p":["a"]}"#, r#"{"p":["a"]}"#),
        ] {
            assert_eq!(changed(&rule, msg), expected, "{rule}");
        }
        let out = rules(&format!("[{}]", rule("q", "msg", "x", "str"))).send(&[r#"{"p":"a","q":{}}"#]);
        assert_eq!(out.iter().map(|o| o.0).collect::<Vec<_>>(), [0, CAUGHT]);
    }

    #[test]
    fn setting_reports_what_it_cannot_do() {
        let bed = rules(r#"[{"t":"set","p":"p.x","to":"1","tot":"num"}]"#);
        assert_eq!(bed.payload(r#"{"p":"text","payload":1}"#), 1.into());
        assert_eq!(*bed.warnings.lock().unwrap(), ["Cannot set property of non-object type: p.x"]);
        let bed = rules(r#"[{"t":"set","p":"p","to":"$error('no')","tot":"jsonata"}]"#);
        assert!(bed.error("{}").starts_with("Invalid JSONata expression: "));
    }

    #[test]
    fn each_message_gets_its_own_copy_of_a_constant() {
        let bed =
            rules(r#"[{"t":"set","p":"p","to":"{\"a\":0}","tot":"json"},{"t":"set","p":"p.a","to":"n","tot":"msg"}]"#);
        let out = bed.send(&[r#"{"n":1}"#, r#"{}"#]);
        assert_eq!(out[0].1.get("p"), Some(&json(r#"{"a":1}"#)));
        assert_eq!(out[1].1.get("p"), Some(&json("{}")));
    }

    #[test]
    fn old_flows_have_one_rule_in_properties() {
        let one = |config: &str, msg: &str| {
            let mut msg = Bed::new(TYPE, config).send(&[msg])[0].1.clone();
            msg.remove("_msgid");
            msg.to_value().to_json()
        };
        let config = r#"{"action":"replace","property":"p","to":"msg.q"}"#;
        assert_eq!(one(config, r#"{"q":1}"#), r#"{"q":1,"p":1}"#);
        let config = r#"{"action":"change","property":"p","from":"a.","to":"-","reg":true}"#;
        assert_eq!(one(config, r#"{"p":"abac"}"#), r#"{"p":"--"}"#);
    }

    #[test]
    fn every_broken_rule_is_reported() {
        let found = problems(
            &TYPE,
            r#"{"rules":[{"t":"set","p":"a..b"},{"t":"change","p":"p","from":"(","fromt":"re"},7,
                {"t":"set","p":"p","to":"{","tot":"json"}]}"#,
        );
        let paths: Vec<_> = found.iter().map(|d| d.path.as_str()).collect();
        assert_eq!(paths, ["$[0].rules[0].p", "$[0].rules[1].from", "$[0].rules[2]", "$[0].rules[3].to"]);
    }
}
