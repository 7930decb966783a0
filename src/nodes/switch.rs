//! The switch node: routes a message to the outputs whose rules hold for one of its properties.
//!
//! Behaviour: Node-RED's `10-switch.js`, with JavaScript's coercions. Unlike there, a property whose JSONata
//! fails is an error a catch node can take, not a warning and a lost message.

mod rules;

use std::sync::{Arc, Mutex};

use super::combining::{Combining, FailedSequence, Sequences, again, dropped, given_again};
use super::jsonata::invalid;
use super::sequence_groups::{Groups, Parts, TooMany};
use super::typed::TypedInput;
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::model::{Diagnostic, Msg, Value};
use crate::runtime::{Cx, Node, NodeConfig, NodeError, NodeState, NodeType, Step};
use rules::{Compare, Operand, Rule, Test};

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
    groups: Combining<SwitchGroups>,
}

const TOO_MANY: &str = "too many pending messages in switch node";

/// Sequences on their way in (waiting for their length) and on their way out (waiting to be renumbered).
#[derive(Default)]
struct SwitchGroups {
    incoming: Groups<Msg>,
    outgoing: Groups<(Msg, Vec<usize>)>,
}

impl NodeState for SwitchGroups {
    fn kept(&self) -> Option<Value> {
        let routed = |(msg, ports): &(Msg, Vec<usize>)| {
            Value::array(vec![msg.to_value(), Value::array(ports.iter().map(|port| Value::from(*port)).collect())])
        };
        let kept = || Value::array(vec![self.incoming.kept(Msg::to_value), self.outgoing.kept(routed)]);
        (self.incoming.held() + self.outgoing.held() > 0).then(kept)
    }

    fn restored(kept: &Value) -> Option<Self> {
        let routed = |kept: &Value| {
            let ports = kept.get("1");
            let ports = ports.as_array().unwrap_or_default().iter().map(|port| port.to_number() as usize).collect();
            Some((Msg::from_value(&kept.get("0"))?, ports))
        };
        let incoming = Groups::restored(&kept.get("0"), Msg::from_value);
        Some(SwitchGroups { incoming, outgoing: Groups::restored(&kept.get("1"), routed) })
    }
}

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
        match Rule::read(cfg, rule, &format!("rules[{i}]")) {
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
        groups: Combining::default(),
    }))
}

impl Node for Switch {
    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        if let Some(sequences) = given_again(&msg, cx) {
            if cx.has_caller() {
                cx.at_run_end();
            }
            cx.keep();
            return self.all(sequences, true, cx);
        }
        let parts = Parts::of(&msg);
        if let Some(parts) = parts.filter(|_| self.needs_count) {
            if cx.has_caller() {
                cx.at_run_end();
            }
            return self.collect(msg, parts, cx);
        }
        match self.route(msg, cx) {
            Ok(()) => Step::Done,
            Err(Refused::Failed(msg, error)) => Step::fail(msg, error),
            Err(Refused::Dropped(msg)) => dropped(msg, TOO_MANY, cx),
        }
    }

    /// What a caller's run leaves incomplete is gone with it, which must not go unseen.
    fn on_run_end(&self, cx: &mut Cx<'_>) -> Step {
        if !cx.has_caller() {
            return self.hand_over(cx);
        }
        let held = self.groups.with(cx, |groups| groups.incoming.held() + groups.outgoing.held());
        if held > 0 {
            cx.warn(format!("the run ended before all of a sequence came; {held} message(s) were not sent on"));
        }
        Step::Done
    }
}

/// Why a message was not routed.
enum Refused {
    Failed(Msg, NodeError),
    /// All that the node held was dropped.
    Dropped(Msg),
}

/// The messages of a whole sequence, each of which is told how many they are.
fn numbered(mut msgs: Vec<Msg>) -> Vec<Msg> {
    let count = msgs.len();
    msgs.iter_mut().for_each(|msg| set_part(msg, "count", count));
    msgs
}

impl Sequences for SwitchGroups {
    fn holds(&self, id: &str) -> bool {
        self.incoming.holds(id) || self.outgoing.holds(id)
    }
}

impl Switch {
    /// What is not whole at the end of a run nobody waits for is the node's from then on.
    fn hand_over(&self, cx: &mut Cx<'_>) -> Step {
        let limit = cx.services().limits.node_messages_max;
        let whole = self.groups.hand_over(cx, |groups, of_run| {
            Ok::<_, TooMany>((
                groups.incoming.absorb(of_run.incoming, limit)?,
                groups.outgoing.absorb(of_run.outgoing, limit)?,
            ))
        });
        let Ok((incoming, outgoing)) = whole else { return Step::fail(Msg::new(), TOO_MANY) };
        outgoing.into_iter().for_each(|group| self.renumber(group, cx));
        self.all(incoming.into_iter().map(|msgs| (numbered(msgs), Vec::new())).collect(), false, cx)
    }

    /// Holds a message of a sequence back until all of it is here.
    fn collect(&self, msg: Msg, parts: Parts, cx: &mut Cx<'_>) -> Step {
        let limit = cx.services().limits.node_messages_max;
        let last = msg.clone();
        let complete = self.groups.with_sequence(&parts.id, cx, |groups| groups.incoming.add(&parts, msg, limit));
        match complete {
            Err(_) => dropped(last, TOO_MANY, cx),
            Ok(None) => Step::Done,
            Ok(Some(msgs)) => self.all(vec![(numbered(msgs), vec![last])], false, cx),
        }
    }

    /// Routes the messages of whole sequences, each with those that complete nodes have not been told of: the message at hand
    /// is told of by itself, when the sequence is not given again. Each message that fails does so for itself; a durable run
    /// that tries that again gives these again, and no others.
    fn all(&self, sequences: Vec<(Vec<Msg>, Vec<Msg>)>, is_again: bool, cx: &mut Cx<'_>) -> Step {
        let mut failed = Vec::new();
        for (msgs, untold) in sequences {
            let mut again = Vec::new();
            let mut why = None;
            for msg in msgs {
                match self.route(msg, cx) {
                    Ok(()) => {}
                    Err(Refused::Dropped(msg)) => return dropped(msg, TOO_MANY, cx),
                    Err(Refused::Failed(msg, error)) if cx.is_tried_again() => {
                        again.push(msg);
                        why = Some(error);
                    }
                    Err(Refused::Failed(msg, error)) => cx.error(msg, error),
                }
            }
            match why {
                Some(error) => failed.push(FailedSequence { msgs: again, untold, error }),
                None if is_again => untold.iter().for_each(|msg| cx.done(msg)),
                None => {}
            }
        }
        again(failed, cx)
    }

    fn route(&self, msg: Msg, cx: &mut Cx<'_>) -> Result<(), Refused> {
        let property = match self.property.eval(&msg, cx) {
            Ok(property) => property,
            Err(error) => return Err(Refused::Failed(msg, invalid(error))),
        };
        let ports = match self.ports(&property, &msg, cx) {
            Ok(ports) => ports,
            Err(error) => return Err(Refused::Failed(msg, error)),
        };
        *self.previous.lock().unwrap_or_else(|p| p.into_inner()) = property;
        if self.repair
            && let Some(parts) = Parts::of(&msg)
        {
            return self.send_in_order(msg, parts, ports.to_vec(), cx);
        }
        let Some((last, others)) = ports.split_last() else { return Ok(()) };
        for port in others {
            cx.emit(*port, msg.clone());
        }
        cx.emit(*last, msg);
        Ok(())
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
            Operand::Input(input) => input.eval(msg, cx).map_err(invalid),
            Operand::Previous => Ok(self.previous.lock().unwrap_or_else(|p| p.into_inner()).clone()),
        }
    }

    fn holds(&self, rule: &Rule, a: &Value, msg: &Msg, cx: &Cx<'_>) -> Result<bool, NodeError> {
        let b = match &rule.v {
            Operand::Input(TypedInput::Jsonata(expression)) if matches!(rule.test, Test::JsonataTrue) => {
                let parts = msg.get("parts").filter(|_| Parts::of(msg).is_some());
                let variables = parts.map(|p| [("I", p.get("index")), ("N", p.get("count"))]);
                expression.eval_with(msg, cx.place(), variables.as_ref().map_or(&[], |v| v)).map_err(invalid)?
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
            Test::Compare(compare) => rules::compares(a, *compare, &b),
            Test::Between => {
                let c = self.operand(&rule.v2, msg, cx)?;
                let within = |low: &Value, high: &Value| {
                    rules::compares(a, Compare::Gte, low) && rules::compares(a, Compare::Lte, high)
                };
                within(&b, &c) || within(&c, &b)
            }
            Test::HasKey => rules::has_key(a, &b),
            Test::Contains => a.to_js_string().contains(b.to_js_string().as_str()),
            Test::Regex { compiled: Some(regex), .. } => rules::matches(regex, a)?,
            Test::Regex { compiled: None, ignore_case } => {
                rules::matches(&*rules::compile(&b.to_js_string(), *ignore_case)?, a)?
            }
            Test::Is(expected) => a.as_bool() == Some(*expected),
            Test::Nullish(expected) => a.is_nullish() == *expected,
            Test::Empty(expected) => rules::length(a).is_some_and(|n| (n == 0) == *expected),
            Test::IsType => rules::is_type(a, b.as_str().unwrap_or_default()),
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
    fn send_in_order(&self, msg: Msg, parts: Parts, ports: Vec<usize>, cx: &mut Cx<'_>) -> Result<(), Refused> {
        let limit = cx.services().limits.node_messages_max;
        let last = msg.clone();
        let complete =
            self.groups.with_sequence(&parts.id, cx, |groups| groups.outgoing.add(&parts, (msg, ports), limit));
        let group = match complete {
            Err(_) => return Err(Refused::Dropped(last)),
            Ok(None) => return Ok(()),
            Ok(Some(group)) => group,
        };
        self.renumber(group, cx);
        Ok(())
    }

    /// Sends each output its part of a sequence, as a sequence of its own.
    fn renumber(&self, group: Vec<(Msg, Vec<usize>)>, cx: &mut Cx<'_>) {
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
    }
}

fn set_part(msg: &mut Msg, key: &'static str, value: impl Into<Value>) {
    if let Some(Value::Object(parts)) = msg.object_mut().get_mut("parts") {
        Arc::make_mut(parts).insert(key, value);
    }
}

#[cfg(test)]
mod tests;
