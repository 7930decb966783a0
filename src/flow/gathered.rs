//! Nodes that gather over several runs, and durable runs that lead to them: what such a node holds is in the memory of one
//! process, which the promise of a durable run does not cover, so it is said when the flow is checked and deployed, not when
//! it is lost. What a call brings belongs to the call's run, asynchronous ones included, and is kept with it.

use crate::model::flow::{PlanFlow, PlanNode};
use crate::model::{Diagnostic, Object, Value};

/// Nodes whose runs have no caller and can be durable (docs/durable-runs.md).
const STARTS: &[&str] = &["inject", "mqtt in", "schedule", "websocket in"];

/// Warns of each node that gathers and that a durable run without a caller comes to.
pub(super) fn check(nodes: &[PlanNode], flows: &[PlanFlow], out: &mut Vec<Diagnostic>) {
    let gathers: Vec<Option<&str>> = nodes.iter().map(instead).collect();
    if gathers.iter().all(Option::is_none) {
        return;
    }
    let mut seen = vec![false; nodes.len()];
    for start in nodes.iter().enumerate().filter(|(_, node)| is_durable_start(node, flows)) {
        let mut next = vec![start.0];
        while let Some(at) = next.pop() {
            if std::mem::replace(&mut seen[at], true) {
                continue;
            }
            let node = &nodes[at];
            if let Some(hint) = gathers[at] {
                out.push(lost(node, start.1, hint));
            }
            let caught = node.catch.iter().map(|target| target.node);
            let linked = node.links.iter().map(|target| target.node);
            let told = node.status.iter().chain(&node.complete).chain(node.wires.iter().flatten()).copied();
            next.extend(caught.chain(linked).chain(told).map(|to| to as usize));
        }
    }
}

fn is_durable_start(node: &PlanNode, flows: &[PlanFlow]) -> bool {
    let Some(flow) = flows.get(node.flow as usize).filter(|flow| flow.stopped.is_none()) else { return false };
    // Firings of schedules are durable unless the tab says otherwise.
    let durable = flow.durable.unwrap_or(node.node_type == "schedule");
    durable && STARTS.contains(&node.node_type.as_str())
}

fn lost(node: &PlanNode, start: &PlanNode, hint: &str) -> Diagnostic {
    let label = |node: &PlanNode| if node.name.is_empty() { node.id.clone() } else { node.name.clone() };
    let message = format!(
        "{} node \"{}\" holds in memory only what durable runs of {} node \"{}\" bring: a process that is killed loses it",
        node.node_type,
        label(node),
        start.node_type,
        label(start)
    );
    Diagnostic::warning("gathers-in-memory", format!("$[{}]", node.entry), message).hint(hint)
}

/// For a node that gathers across runs: what to do where that must not be lost.
fn instead(node: &PlanNode) -> Option<&'static str> {
    match node.node_type.as_str() {
        "join" if joins_without_parts(&node.config) => Some(
            "let each part have msg.parts with id, index and count, and leave the join's count empty: such a sequence is kept \
             with its run; what several runs bring is to be gathered in a database",
        ),
        "batch" => Some("gather in a database what must not be lost"),
        _ => None,
    }
}

/// A join by hand whose groups are not made by `msg.parts` alone.
fn joins_without_parts(config: &Object) -> bool {
    let is = |name: &str, text: &str| config.get(name).and_then(Value::as_str) == Some(text);
    let uses_parts = config.get("useparts").is_none_or(|given| given.is_undefined() || given.is_truthy());
    is("mode", "custom") && !(is("count", "") && uses_parts)
}
