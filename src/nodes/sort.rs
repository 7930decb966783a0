//! `sort`: sorts an array in a property, or the messages of a sequence.
//!
//! Behaviour: Node-RED's `18-sort.js`. Sequences of a run with a caller belong to that run alone.

use std::cmp::Ordering;
use std::sync::Arc;

use arcstr::literal;

use super::combining::{Combining, FailedSequence, again, dropped, given_again};
use super::jsonata::{Jsonata, invalid};
use super::sequence_groups::{Groups, Parts};
use super::typed::msg_path;
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::model::path::Path;
use crate::model::{Diagnostic, Msg, Object, Value};
use crate::runtime::context::UNKNOWN;
use crate::runtime::{Cx, Node, NodeConfig, NodeError, NodeType, Step};

static SPEC: NodeSpec = NodeSpec {
    node_type: "sort",
    category: "sequence",
    summary: "Sorts an array of a message, or the messages of a sequence.",
    inputs: 1,
    outputs: Some(1),
    config_node: false,
    properties: &[
        Property::new("order", PropertyKind::OneOf(&["ascending", "descending"]), "ascending when absent."),
        Property::new("as_num", PropertyKind::Boolean, "Compares as numbers."),
        Property::new(
            "targetType",
            PropertyKind::OneOf(&["msg", "seq"]),
            "msg: the array in target; else the sequence.",
        ),
        Property::new("target", PropertyKind::MsgPath, "The array; payload when absent."),
        Property::new(
            "msgKeyType",
            PropertyKind::OneOf(&["elem", "jsonata"]),
            "Array: compare elements, or what msgKey gives.",
        ),
        Property::new("msgKey", PropertyKind::Text, "Array: JSONata, evaluated on each element."),
        Property::new(
            "seqKeyType",
            PropertyKind::OneOf(&["msg", "jsonata"]),
            "Sequence: seqKey is a property, or JSONata.",
        ),
        Property::new("seqKey", PropertyKind::Text, "Sequence: what messages are compared by; payload when absent."),
    ],
    capabilities: &[],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build };

const TOO_MANY: &str = "too many pending messages in sort node";

enum Sorted {
    /// The array in this property; `None` compares its elements.
    Array(Path, Option<Jsonata>),
    Sequence(Key),
}

enum Key {
    Property(Path),
    Expression(Jsonata),
}

struct Sort {
    sorted: Sorted,
    descending: bool,
    as_number: bool,
    groups: Combining<Groups<Msg>>,
}

fn build(cfg: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let path = |name: &str| {
        let text = cfg.text(name);
        msg_path(cfg, name, if text.is_empty() { "payload" } else { &text })
    };
    let expression = |name: &str| {
        let problem = |e| cfg.problem("invalid-jsonata", name, format!("invalid JSONata expression: {e}"));
        Jsonata::compile(&cfg.text(name)).map_err(problem)
    };
    let sorted = if cfg.text("targetType") == "msg" {
        let by = if cfg.text("msgKeyType") == "jsonata" { expression("msgKey").map(Some) } else { Ok(None) };
        path("target").and_then(|target| Ok(Sorted::Array(target, by?)))
    } else if cfg.text("seqKeyType") == "jsonata" {
        expression("seqKey").map(|by| Sorted::Sequence(Key::Expression(by)))
    } else {
        path("seqKey").map(|by| Sorted::Sequence(Key::Property(by)))
    };
    let order = cfg.text("order");
    Ok(Arc::new(Sort {
        sorted: sorted.map_err(|problem| vec![problem])?,
        descending: !matches!(order.as_str(), "" | "ascending"),
        as_number: cfg.get("as_num").is_truthy(),
        groups: Combining::default(),
    }))
}

impl Sort {
    /// What cannot be compared (NaN) stays in the order it came in.
    fn compare(&self, a: &Value, b: &Value) -> Ordering {
        let order = if self.as_number {
            a.to_number().partial_cmp(&b.to_number())
        } else if a.strict_eq(b) {
            None
        } else {
            a.js_cmp(b)
        };
        let order = order.unwrap_or(Ordering::Equal);
        if self.descending { order.reverse() } else { order }
    }

    fn by_key<T>(&self, keyed: Vec<(Value, T)>) -> impl Iterator<Item = T> {
        merge_sorted(keyed, &|(a, _), (b, _)| self.compare(a, b)).into_iter().map(|(_, item)| item)
    }

    fn array(&self, mut msg: Msg, target: &Path, by: Option<&Jsonata>, cx: &mut Cx<'_>) -> Step {
        // What is no array is dropped, as in Node-RED.
        let items = match msg.read_path(target) {
            Ok(Value::Array(items)) => items,
            Ok(_) => return Step::Done,
            Err(why) => return Step::fail(msg, why),
        };
        let sorted: Vec<Value> = match by {
            None => merge_sorted(items.to_vec(), &|a, b| self.compare(a, b)),
            Some(expression) => {
                let key = |item: &Value| expression.eval_on(item, cx.place(), &[]);
                let keyed: Result<Vec<_>, NodeError> =
                    items.iter().map(|item| Ok((key(item)?, item.clone()))).collect();
                match keyed {
                    Ok(keyed) => self.by_key(keyed).collect(),
                    Err(error) => return Step::fail(msg, invalid(error)),
                }
            }
        };
        msg.set_path(target, Value::array(sorted));
        cx.emit(0, msg);
        Step::Done
    }

    /// As in Node-RED the last message fails and the node is done with the others; but when a context could not be read,
    /// which may be otherwise the next time, all fail, so that whoever catches them has the whole sequence.
    fn failed(mut group: Vec<Msg>, error: NodeError, cx: &mut Cx<'_>) -> Step {
        let last = group.pop().unwrap_or_default();
        for msg in group {
            match error.code.as_deref() {
                Some(UNKNOWN) => cx.error(msg, error.clone()),
                _ => cx.done(&msg),
            }
        }
        Step::fail(last, error)
    }

    fn sequence(&self, msg: Msg, key: &Key, cx: &mut Cx<'_>) -> Step {
        if let Some(sequences) = given_again(&msg, cx) {
            cx.keep();
            return self.all(sequences.into_iter().map(|(group, _)| group).collect(), key, cx);
        }
        let Some(parts) = Parts::of(&msg) else { return Step::Done };
        let limit = cx.services().limits.node_messages_max;
        let last = msg.clone();
        cx.keep();
        match self.groups.with_sequence(&parts.id, cx, |groups| groups.add(&parts, msg, limit)) {
            Err(_) => dropped(last, TOO_MANY, cx),
            Ok(None) => Step::Done,
            Ok(Some(group)) => self.all(vec![group], key, cx),
        }
    }

    /// What is not whole at the end of a run nobody waits for is the node's from then on.
    fn hand_over(&self, cx: &mut Cx<'_>) -> Step {
        let limit = cx.services().limits.node_messages_max;
        let whole = self.groups.hand_over(cx, |groups, of_run| groups.absorb(of_run, limit));
        let (Ok(whole), Sorted::Sequence(key)) = (whole, &self.sorted) else {
            return Step::fail(Msg::new(), TOO_MANY);
        };
        self.all(whole, key, cx)
    }

    /// Sorts whole sequences. Those that fail are tried again together where failures are.
    fn all(&self, groups: Vec<Vec<Msg>>, key: &Key, cx: &mut Cx<'_>) -> Step {
        let mut failed = Vec::new();
        for group in groups {
            failed.extend(self.whole(group, key, cx).err());
        }
        if failed.is_empty() || cx.is_tried_again() {
            return again(failed, cx);
        }
        let mut step = Step::Done;
        for FailedSequence { msgs, error, .. } in failed {
            if let Step::Fail(before) = std::mem::replace(&mut step, Self::failed(msgs, error, cx)) {
                cx.error(before.msg, before.error);
            }
        }
        step
    }

    fn whole(&self, group: Vec<Msg>, key: &Key, cx: &mut Cx<'_>) -> Result<(), FailedSequence> {
        let of = |msg: &Msg| match key {
            Key::Property(path) => Ok(msg.get_path(path)),
            Key::Expression(expression) => expression.eval(msg, cx),
        };
        let keys: Result<Vec<Value>, NodeError> = group.iter().map(of).collect();
        let keyed = match keys {
            Ok(keys) => keys.into_iter().zip(group).collect(),
            Err(error) => {
                return Err(FailedSequence { msgs: group, untold: Vec::new(), error: invalid(error) });
            }
        };
        for (index, mut msg) in self.by_key(keyed).enumerate() {
            if let Some(Value::Object(parts)) = msg.object_mut().get_mut("parts") {
                Arc::<Object>::make_mut(parts).insert(literal!("index"), index);
            }
            cx.done(&msg);
            cx.emit(0, msg);
        }
        Ok(())
    }
}

/// A stable sort that takes any comparison: JavaScript's is no total order ("10" > 9 > "a" > "10"), of which the
/// library's sort may panic.
fn merge_sorted<T>(mut items: Vec<T>, compare: &impl Fn(&T, &T) -> Ordering) -> Vec<T> {
    if items.len() < 2 {
        return items;
    }
    let right = items.split_off(items.len() / 2);
    let mut merged = Vec::with_capacity(items.len() + right.len());
    let mut left = merge_sorted(items, compare).into_iter().peekable();
    let mut right = merge_sorted(right, compare).into_iter().peekable();
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let next = if compare(a, b) == Ordering::Greater { right.next() } else { left.next() };
        merged.extend(next);
    }
    merged.extend(left);
    merged.extend(right);
    merged
}

impl Node for Sort {
    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        match &self.sorted {
            Sorted::Array(target, by) => self.array(msg, target, by.as_ref(), cx),
            Sorted::Sequence(key) => {
                if cx.has_caller() {
                    cx.at_run_end();
                }
                self.sequence(msg, key, cx)
            }
        }
    }

    /// What a caller's run leaves incomplete is gone with it, which must not go unseen.
    fn on_run_end(&self, cx: &mut Cx<'_>) -> Step {
        if !cx.has_caller() {
            return self.hand_over(cx);
        }
        let held = self.groups.with(cx, |groups| groups.held());
        if held > 0 {
            cx.warn(format!("the run ended before all of a sequence came; {held} message(s) were not sorted"));
        }
        Step::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::testbed::Bed;

    fn sorted(config: &str, payload: &str) -> String {
        Bed::new(TYPE, config).payload(&format!(r#"{{"payload":{payload}}}"#)).to_json()
    }

    #[test]
    fn arrays_are_sorted_by_element_or_expression() {
        for (config, payload, expected) in [
            (r#"{"targetType":"msg"}"#, r#"["10","9",null,"1"]"#, r#"[null,"1","10","9"]"#),
            (r#"{"targetType":"msg","as_num":true}"#, r#"["10","9","1"]"#, r#"["1","9","10"]"#),
            (r#"{"targetType":"msg","order":"descending"}"#, "[1,3,2]", "[3,2,1]"),
            (
                r#"{"targetType":"msg","msgKeyType":"jsonata","msgKey":"a"}"#,
                r#"[{"a":2},{"a":1}]"#,
                r#"[{"a":1},{"a":2}]"#,
            ),
            (r#"{"targetType":"msg","msgKeyType":"jsonata","msgKey":"-$"}"#, "[1,3,2]", "[3,2,1]"),
        ] {
            assert_eq!(sorted(config, payload), expected, "{config}");
        }
        assert!(Bed::new(TYPE, r#"{"targetType":"msg"}"#).send(&[r#"{"payload":"x"}"#]).is_empty());
    }

    #[test]
    fn sequences_are_sorted_and_renumbered() {
        let msgs: Vec<String> = [3, 1, 2]
            .iter()
            .enumerate()
            .map(|(i, n)| format!(r#"{{"payload":{n},"parts":{{"id":"s","index":{i},"count":3}}}}"#))
            .collect();
        let msgs: Vec<&str> = msgs.iter().map(String::as_str).collect();
        for config in ["{}", r#"{"seqKeyType":"jsonata","seqKey":"payload"}"#] {
            let out = Bed::new(TYPE, config).send(&msgs);
            let shown: Vec<String> = out
                .iter()
                .map(|(_, m)| format!("{}@{}", m.payload().to_json(), m.get("parts").unwrap().get("index").to_json()))
                .collect();
            assert_eq!(shown, ["1@0", "2@1", "3@2"], "{config}");
        }
        assert!(Bed::new(TYPE, "{}").send(&[r#"{"payload":1}"#]).is_empty());
    }

    #[test]
    fn an_expression_that_fails_is_an_error() {
        let bed = Bed::new(TYPE, r#"{"targetType":"msg","msgKeyType":"jsonata","msgKey":"$length(1)"}"#);
        assert!(bed.error(r#"{"payload":[1,2]}"#).starts_with("Invalid JSONata expression"));
    }
}
