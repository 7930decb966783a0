//! The switch node: routes a message to the outputs whose rules hold for one of its properties.
//!
//! Behaviour: Node-RED's `10-switch.js`, with JavaScript's coercions. Unlike there, a property whose JSONata
//! fails is an error a catch node can take, not a warning and a lost message.

use std::cmp::Ordering;
use std::sync::{Arc, Mutex};

use super::sequence_groups::{Groups, Parts};
use super::typed::TypedInput;
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::model::{Diagnostic, Msg, Object, Value};
use crate::regexp::RegExp;
use crate::runtime::{Cx, Node, NodeConfig, NodeError, NodeType, Step};

static SPEC: NodeSpec = NodeSpec {
    node_type: "switch",
    category: "function",
    summary: "Routes messages by the value of a property or their place in a sequence.",
    inputs: 1,
    outputs: None,
    config_node: false,
    properties: &[
        Property::new("property", PropertyKind::Text, "What is tested; read as `propertyType` says."),
        Property::new(
            "propertyType",
            PropertyKind::OneOf(&["msg", "flow", "global", "env", "jsonata"]),
            "How `property` is read; default msg.",
        ),
        Property::new(
            "rules",
            PropertyKind::Json,
            "One output per rule: {t, v, vt, v2, v2t, case}. `t`: eq, neq, lt, lte, gt, gte, hask, btwn, cont, \
             regex (case true: ignore case), true, false, null, nnull, empty, nempty, istype, head, tail, index, \
             jsonata_exp, else. `vt`: str, num, msg, flow, global, env, jsonata, prev (the property of the message \
             before).",
        ),
        Property::new(
            "checkall",
            PropertyKind::OneOf(&["true", "false"]),
            "\"false\" stops at the first rule that holds; default \"true\".",
        ),
        Property::new(
            "repair",
            PropertyKind::Boolean,
            "Collects whole sequences and gives each output a sequence of its own.",
        ),
        Property::new("outputs", PropertyKind::Number, "Number of outputs: one per rule."),
    ],
    capabilities: &[],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build };

struct Switch {
    property: TypedInput,
    rules: Vec<Rule>,
    first_only: bool,
    repair: bool,
    /// Whether rules need the length of a sequence, so that it is collected first.
    needs_count: bool,
    /// The property of the message before.
    previous: Mutex<Value>,
    groups: Mutex<SwitchGroups>,
}

/// Sequences on their way in (waiting for their length) and on their way out (waiting to be renumbered).
#[derive(Default)]
struct SwitchGroups {
    incoming: Groups<Msg>,
    outgoing: Groups<(Msg, Vec<usize>)>,
}

struct Rule {
    test: Test,
    v: Operand,
    v2: Operand,
}

enum Operand {
    Input(TypedInput),
    Previous,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Compare {
    Lt,
    Lte,
    Gt,
    Gte,
}

enum Test {
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

fn build(cfg: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let kind = cfg.text("propertyType");
    let kind = if kind.is_empty() { "msg" } else { kind.as_str() };
    let property = TypedInput::of(cfg, "property", cfg.get("property"), kind).map_err(|d| problems.push(d)).ok();
    let mut rules = Vec::new();
    let mut tail = false;
    for (i, item) in cfg.get("rules").as_array().unwrap_or_default().iter().enumerate() {
        let Value::Object(rule) = item else {
            problems.push(cfg.problem("invalid-rule", &format!("rules[{i}]"), "a rule is an object"));
            continue;
        };
        match read_rule(cfg, rule, &format!("rules[{i}]")) {
            Ok(rule) => {
                tail |= matches!(rule.test, Test::Tail);
                rules.push(rule);
            }
            Err(problem) => problems.push(problem),
        }
    }
    let Some(property) = property.filter(|_| problems.is_empty()) else { return Err(problems) };
    let repair = cfg.get("repair").is_truthy();
    Ok(Arc::new(Switch {
        property,
        rules,
        first_only: cfg.get("checkall").as_str() == Some("false"),
        repair,
        needs_count: repair || tail,
        previous: Mutex::new(Value::Null),
        groups: Mutex::default(),
    }))
}

fn read_rule(cfg: &NodeConfig<'_>, rule: &Object, at: &str) -> Result<Rule, Diagnostic> {
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

fn compile(pattern: &str, ignore_case: bool) -> Result<Box<RegExp>, NodeError> {
    RegExp::new(pattern, ignore_case)
        .map(Box::new)
        .map_err(|e| NodeError::new(format!("SyntaxError: Invalid regular expression: /{pattern}/: {e}")))
}

fn matches(regex: &RegExp, value: &Value) -> Result<bool, NodeError> {
    regex.is_match(&value.to_js_string()).map_err(|e| NodeError::new(e.to_string()))
}

impl Node for Switch {
    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        let parts = Parts::of(&msg);
        if let Some(parts) = parts.filter(|_| self.needs_count) {
            if cx.has_caller() {
                cx.at_run_end();
            }
            return self.collect(msg, parts, cx);
        }
        self.route(msg, cx)
    }

    /// What a caller's run leaves incomplete is gone with it, which must not go unseen.
    fn on_run_end(&self, cx: &mut Cx<'_>) -> Step {
        let held = self.with_groups(cx, |groups| groups.incoming.held() + groups.outgoing.held());
        if held > 0 {
            cx.warn(format!("the run ended before all of a sequence came; {held} message(s) were not sent on"));
        }
        Step::Done
    }
}

impl Switch {
    /// Holds a message of a sequence back until all of it is here.
    fn collect(&self, msg: Msg, parts: Parts, cx: &mut Cx<'_>) -> Step {
        let limit = cx.services().limits.node_messages_max;
        let last = msg.clone();
        let complete = self.with_groups(cx, |groups| groups.incoming.add(&parts, msg, limit));
        match complete {
            Err(_) => Step::fail(last, "too many pending messages in switch node"),
            Ok(None) => Step::Done,
            Ok(Some(msgs)) => {
                for mut msg in msgs {
                    set_part(&mut msg, "count", parts.count.unwrap_or_default());
                    if let Step::Fail(failure) = self.route(msg, cx) {
                        cx.error(failure.msg, failure.error);
                    }
                }
                Step::Done
            }
        }
    }

    /// State of sequences: the run's when somebody waits for it, so that callers never meet; else the node's.
    fn with_groups<R>(&self, cx: &mut Cx<'_>, f: impl FnOnce(&mut SwitchGroups) -> R) -> R {
        if cx.has_caller() {
            f(cx.run_state::<SwitchGroups>())
        } else {
            f(&mut self.groups.lock().unwrap_or_else(|p| p.into_inner()))
        }
    }

    fn route(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        let property = match self.property.eval(&msg, cx) {
            Ok(property) => property,
            Err(error) => return Step::fail(msg, in_jsonata(error)),
        };
        let ports = match self.ports(&property, &msg, cx) {
            Ok(ports) => ports,
            Err(error) => return Step::fail(msg, error),
        };
        *self.previous.lock().unwrap_or_else(|p| p.into_inner()) = property;
        if self.repair
            && let Some(parts) = Parts::of(&msg)
        {
            return self.send_in_order(msg, parts, ports.to_vec(), cx);
        }
        let Some((last, others)) = ports.split_last() else { return Step::Done };
        for port in others {
            cx.emit(*port, msg.clone());
        }
        cx.emit(*last, msg);
        Step::Done
    }

    /// The outputs whose rules hold.
    fn ports(&self, property: &Value, msg: &Msg, cx: &Cx<'_>) -> Result<smallvec::SmallVec<[usize; 4]>, NodeError> {
        let mut ports = smallvec::SmallVec::new();
        let mut nothing_yet = true;
        for (port, rule) in self.rules.iter().enumerate() {
            let holds = match rule.test {
                Test::Else => std::mem::replace(&mut nothing_yet, true),
                _ => self.holds(rule, property, msg, cx)?,
            };
            if holds {
                ports.push(port);
                nothing_yet = false;
                if self.first_only {
                    break;
                }
            }
        }
        Ok(ports)
    }

    fn operand(&self, operand: &Operand, msg: &Msg, cx: &Cx<'_>) -> Result<Value, NodeError> {
        match operand {
            Operand::Input(input) => input.eval(msg, cx).map_err(in_jsonata),
            Operand::Previous => Ok(self.previous.lock().unwrap_or_else(|p| p.into_inner()).clone()),
        }
    }

    fn holds(&self, rule: &Rule, a: &Value, msg: &Msg, cx: &Cx<'_>) -> Result<bool, NodeError> {
        let b = match &rule.v {
            Operand::Input(TypedInput::Jsonata(expression)) if matches!(rule.test, Test::JsonataTrue) => {
                let parts = msg.get("parts").filter(|_| Parts::of(msg).is_some());
                let variables = parts.map(|p| [("I", p.get("index")), ("N", p.get("count"))]);
                expression.eval_with(msg, cx.place(), variables.as_ref().map_or(&[], |v| v)).map_err(in_jsonata)?
            }
            operand => self.operand(operand, msg, cx)?,
        };
        let place = |key: &str| match msg.get("parts") {
            None | Some(Value::Undefined | Value::Null) => {
                Err(NodeError::new(format!("TypeError: the message has no parts.{key}: it is not part of a sequence")))
            }
            Some(parts) => Ok(parts.get(key).to_number()),
        };
        Ok(match &rule.test {
            Test::Eq => a.loose_eq(&b),
            Test::Neq => !a.loose_eq(&b),
            Test::Compare(compare) => compares(a, *compare, &b),
            Test::Between => {
                let c = self.operand(&rule.v2, msg, cx)?;
                let within =
                    |low: &Value, high: &Value| compares(a, Compare::Gte, low) && compares(a, Compare::Lte, high);
                within(&b, &c) || within(&c, &b)
            }
            Test::HasKey => has_key(a, &b),
            Test::Contains => a.to_js_string().contains(b.to_js_string().as_str()),
            Test::Regex { compiled: Some(regex), .. } => matches(regex, a)?,
            Test::Regex { compiled: None, ignore_case } => matches(&*compile(&b.to_js_string(), *ignore_case)?, a)?,
            Test::Is(expected) => a.as_bool() == Some(*expected),
            Test::Nullish(expected) => a.is_nullish() == *expected,
            Test::Empty(expected) => length(a).is_some_and(|n| (n == 0) == *expected),
            Test::IsType => is_type(a, b.as_str().unwrap_or_default()),
            Test::Head => place("index")? < b.to_number(),
            Test::Tail => place("count")? - b.to_number() <= place("index")?,
            Test::Index => {
                let c = self.operand(&rule.v2, msg, cx)?;
                let index = place("index")?;
                b.to_number() <= index && index <= c.to_number()
            }
            Test::JsonataTrue => b.as_bool() == Some(true),
            Test::Else => false,
        })
    }

    /// Holds the outcome for a message of a sequence until the whole sequence is decided, then sends each
    /// output a sequence of its own.
    fn send_in_order(&self, msg: Msg, parts: Parts, ports: Vec<usize>, cx: &mut Cx<'_>) -> Step {
        let limit = cx.services().limits.node_messages_max;
        let last = msg.clone();
        let complete = self.with_groups(cx, |groups| groups.outgoing.add(&parts, (msg, ports), limit));
        let group = match complete {
            Err(_) => return Step::fail(last, "too many pending messages in switch node"),
            Ok(None) => return Step::Done,
            Ok(Some(group)) => group,
        };
        let ids: Vec<_> = self.rules.iter().map(|_| crate::model::id::hex16()).collect();
        let mut counts = vec![0usize; self.rules.len()];
        for port in group.iter().flat_map(|(_, ports)| ports) {
            counts[*port] += 1;
        }
        let mut sent = vec![0usize; self.rules.len()];
        for (msg, ports) in group {
            for port in ports {
                let mut msg = msg.clone();
                set_part(&mut msg, "id", ids[port].clone());
                set_part(&mut msg, "index", sent[port]);
                set_part(&mut msg, "count", counts[port]);
                sent[port] += 1;
                cx.emit(port, msg);
            }
        }
        Step::Done
    }
}

fn in_jsonata(error: NodeError) -> NodeError {
    NodeError { message: format!("Invalid JSONata expression: {}", error.message), ..error }
}

fn set_part(msg: &mut Msg, key: &'static str, value: impl Into<Value>) {
    if let Some(Value::Object(parts)) = msg.object_mut().get_mut("parts") {
        Arc::make_mut(parts).insert(key, value);
    }
}

fn compares(a: &Value, compare: Compare, b: &Value) -> bool {
    match (a.js_cmp(b), compare) {
        (None, _) => false,
        (Some(order), Compare::Lt) => order == Ordering::Less,
        (Some(order), Compare::Lte) => order != Ordering::Greater,
        (Some(order), Compare::Gt) => order == Ordering::Greater,
        (Some(order), Compare::Gte) => order != Ordering::Less,
    }
}

/// JavaScript's `a.hasOwnProperty(b + "")`; false when `b` is an object.
fn has_key(a: &Value, b: &Value) -> bool {
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
fn length(value: &Value) -> Option<usize> {
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

fn is_type(value: &Value, name: &str) -> bool {
    match name {
        "array" => matches!(value, Value::Array(_)),
        "buffer" => matches!(value, Value::Bytes(_)),
        "json" => Value::from_json(&value.to_js_string()).is_ok(),
        "null" => matches!(value, Value::Null),
        "number" => value.as_f64().is_some_and(|n| !n.is_nan()),
        _ => value.type_of() == name && !matches!(value, Value::Array(_) | Value::Bytes(_) | Value::Null),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::testbed::{Bed, CAUGHT, problems};

    fn ports(config: &str, msg: &str) -> Vec<usize> {
        Bed::new(TYPE, config).send(&[msg]).iter().map(|(port, _)| *port).collect()
    }

    fn holds(rule: &str, payload: &str) -> bool {
        let config = format!(r#"{{"property":"payload","rules":[{rule}]}}"#);
        ports(&config, &format!(r#"{{"payload":{payload}}}"#)) == [0]
    }

    #[test]
    fn operators_coerce_as_javascript() {
        for (rule, payload, expected) in [
            (r#"{"t":"eq","v":"5","vt":"num"}"#, "\"5\"", true),
            (r#"{"t":"eq","v":"5","vt":"str"}"#, "5", true),
            (r#"{"t":"eq","v":"","vt":"str"}"#, "0", true),
            (r#"{"t":"eq","v":"0"}"#, "null", false),
            (r#"{"t":"neq","v":"1"}"#, "true", false),
            (r#"{"t":"lt","v":"10","vt":"str"}"#, "\"9\"", false),
            (r#"{"t":"lt","v":"10","vt":"num"}"#, "\"9\"", true),
            (r#"{"t":"gte","v":"0","vt":"num"}"#, "null", true),
            (r#"{"t":"lte","v":"1","vt":"num"}"#, "{}", false),
            (r#"{"t":"btwn","v":"8","vt":"num","v2":"7","v2t":"num"}"#, "7.5", true),
            (r#"{"t":"cont","v":"b","vt":"str"}"#, "[\"a\",\"b\"]", true),
            (r#"{"t":"regex","v":"^LOW$","vt":"str","case":true}"#, "\"low\"", true),
            (r#"{"t":"regex","v":"^LOW$","vt":"str"}"#, "\"low\"", false),
            (r#"{"t":"regex","v":"payload","vt":"msg"}"#, "\"a\"", true),
            (r#"{"t":"true"}"#, "1", false),
            (r#"{"t":"empty"}"#, "{}", true),
            (r#"{"t":"empty"}"#, "0", false),
            (r#"{"t":"nempty"}"#, "0", false),
            (r#"{"t":"nempty"}"#, "[0]", true),
            (r#"{"t":"hask","v":"a","vt":"str"}"#, "{\"a\":null}", true),
            (r#"{"t":"hask","v":"1","vt":"num"}"#, "[0]", false),
            (r#"{"t":"istype","v":"json","vt":"json"}"#, "\"{}\"", true),
            (r#"{"t":"istype","v":"object","vt":"object"}"#, "[]", false),
            (r#"{"t":"istype","v":"null","vt":"null"}"#, "null", true),
            (r#"{"t":"nnull"}"#, "false", true),
            (r#"{"t":"jsonata_exp","v":"payload > 1","vt":"jsonata"}"#, "2", true),
            (r#"{"t":"else"}"#, "2", true),
        ] {
            assert_eq!(holds(rule, payload), expected, "{rule} on {payload}");
        }
    }

    #[test]
    fn else_means_nothing_before_held_since_the_last_else() {
        let rules = r#"[{"t":"gt","v":"5"},{"t":"else"},{"t":"gt","v":"7"},{"t":"else"}]"#;
        let config = |checkall: &str| format!(r#"{{"property":"p","rules":{rules},"checkall":"{checkall}"}}"#);
        assert_eq!(ports(&config("true"), r#"{"p":6}"#), [0, 3]);
        assert_eq!(ports(&config("true"), r#"{"p":1}"#), [1]);
        assert_eq!(ports(&config("true"), r#"{"p":8}"#), [0, 2]);
        assert_eq!(ports(&config("false"), r#"{"p":8}"#), [0]);
    }

    #[test]
    fn previous_is_the_property_of_the_message_before() {
        let bed = Bed::new(TYPE, r#"{"property":"p","rules":[{"t":"gt","v":"","vt":"prev"}]}"#);
        let out = bed.send(&[r#"{"p":1}"#, r#"{"p":3}"#, r#"{"p":2}"#, r#"{"p":4}"#]);
        let seen: Vec<_> = out.iter().map(|(_, m)| m.get("p").unwrap().to_number()).collect();
        assert_eq!(seen, [1.0, 3.0, 4.0]);
    }

    #[test]
    fn a_broken_expression_reaches_the_catch_node() {
        let bed = Bed::new(TYPE, r#"{"property":"$error('x')","propertyType":"jsonata","rules":[{"t":"else"}]}"#);
        assert!(bed.error("{}").starts_with("Invalid JSONata expression: "));
        let bed = Bed::new(TYPE, r#"{"property":"p","rules":[{"t":"regex","v":"q","vt":"msg"}]}"#);
        assert!(bed.error(r#"{"p":"a","q":"("}"#).starts_with("SyntaxError: Invalid regular expression: /(/: "));
        let bed = Bed::new(TYPE, r#"{"property":"p","rules":[{"t":"head","v":"1"}]}"#);
        assert_eq!(bed.send(&[r#"{"p":1}"#])[0].0, CAUGHT);
    }

    #[test]
    fn repaired_sequences_are_renumbered_per_output() {
        let rules = r#"[{"t":"gte","v":"2","vt":"num"},{"t":"tail","v":"1","vt":"num"}]"#;
        let bed = Bed::new(TYPE, &format!(r#"{{"property":"p","repair":true,"rules":{rules}}}"#));
        let msg =
            |p: u8, id: &str, more: &str| format!(r#"{{"p":{p},"parts":{{"id":"{id}","index":{}{more}}}}}"#, p - 1);
        let (a, b, c) = (msg(1, "x", ""), msg(2, "x", ""), msg(3, "x", ",\"count\":3"));
        let other = msg(9, "y", ",\"count\":10");
        let out = bed.send(&[&a, &other, &b, &c]);
        let got: Vec<_> = out
            .iter()
            .map(|(port, m)| {
                let parts = m.get("parts").unwrap();
                (*port, m.get("p").unwrap().to_number(), parts.get("index").to_number(), parts.get("count").to_number())
            })
            .collect();
        assert_eq!(got, [(0, 2.0, 0.0, 2.0), (0, 3.0, 1.0, 2.0), (1, 3.0, 0.0, 1.0)]);
        assert_ne!(out[0].1.get("parts").unwrap().get("id"), out[2].1.get("parts").unwrap().get("id"));
    }

    #[tokio::test]
    async fn what_a_caller_leaves_incomplete_does_not_go_unseen() {
        use crate::nodes::rig::{Rig, msg, node};
        let config = r#"{"property":"p","repair":true,"rules":[{"t":"else"}]}"#;
        let rig = Rig::new(vec![node("s", "switch", config, &[])]);
        rig.run(0, msg(r#"{"p":1,"parts":{"id":"x","index":0,"count":2}}"#)).await;
        assert_eq!(rig.complaints(), ["the run ended before all of a sequence came; 1 message(s) were not sent on"]);
    }

    #[test]
    fn unknown_rules_are_refused_with_a_hint() {
        let found = problems(&TYPE, r#"{"property":"p","rules":[{"t":"lts"},{"t":"regex","v":"("}]}"#);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].hint.as_deref(), Some("did you mean \"lt\"?"));
        assert_eq!(found[1].path, "$[0].rules[1].v");
    }
}
