//! Nodes on durable tabs that gather over several runs: what they hold is in the memory of one process, which the tab's
//! promise does not cover, so it is said when the flow is checked and deployed, not when it is lost.

use crate::model::flow::{PlanFlow, PlanNode};
use crate::model::value::parse_float;
use crate::model::{Diagnostic, Object, Value};

/// Warns of each such node on a tab that says to be durable.
pub(super) fn check(nodes: &[PlanNode], flows: &[PlanFlow], out: &mut Vec<Diagnostic>) {
    for node in nodes {
        let Some(flow) = flows.get(node.flow as usize) else { continue };
        if flow.durable != Some(true) || flow.stopped.is_some() {
            continue;
        }
        let Some((what, instead)) = held(node) else { continue };
        let label = if node.name.is_empty() { &node.id } else { &node.name };
        let message = format!(
            "tab \"{}\" is durable, but {what} {} node \"{label}\" is in memory only when nobody waits for the run that \
             brought it: a process that is killed loses it",
            if flow.label.is_empty() { &flow.id } else { &flow.label },
            node.node_type
        );
        out.push(Diagnostic::warning("gathers-in-memory", format!("$[{}]", node.entry), message).hint(instead));
    }
}

/// What the node holds across runs, and what to do where that must not be lost; `None` when nothing.
fn held(node: &PlanNode) -> Option<(&'static str, &'static str)> {
    match node.node_type.as_str() {
        "join" if joins_without_parts(&node.config) => Some((
            "what waits in",
            "let each part have msg.parts with id, index and count, and leave the join's count empty: such a sequence is kept \
             with its run; what several runs bring is to be gathered in a database",
        )),
        "batch" => Some(("what waits in", "gather in a database what must not be lost")),
        "trigger" if sends_then(&node.config) => {
            Some(("the second message of", "a message that waits in a delay node is kept with its run"))
        }
        _ => None,
    }
}

/// A join by hand whose groups are not made by `msg.parts` alone.
fn joins_without_parts(config: &Object) -> bool {
    let is = |name: &str, text: &str| config.get(name).and_then(Value::as_str) == Some(text);
    let uses_parts = config.get("useparts").is_none_or(|given| given.is_undefined() || given.is_truthy());
    is("mode", "custom") && !(is("count", "") && uses_parts)
}

/// A trigger that has something to send when its time is over; one that waits to be reset, or repeats, has not.
fn sends_then(config: &Object) -> bool {
    let duration = config.get("duration").map_or(f64::NAN, |given| parse_float(&given.to_js_string()));
    let by_msg = config.get("overrideDelay").is_some_and(Value::is_truthy);
    (duration.is_nan() || duration > 0.0 || by_msg && duration == 0.0)
        && config.get("op2type").and_then(Value::as_str) != Some("nul")
}
