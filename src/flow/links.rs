//! Link nodes: the wires of `link out`, and what a `link call` may reach.

use std::collections::HashMap;

use arcstr::ArcStr;

use super::expand::Expansion;
use crate::model::Value;
use crate::model::flow::{LinkTarget, NodeDef, NodeIndex, Stopped};

/// The ids in a node's `links`: an array, or one id as older files have it.
pub(super) fn links_of(def: &NodeDef) -> Vec<ArcStr> {
    match def.config.get("links") {
        Some(Value::Array(ids)) => ids.iter().filter_map(|v| v.as_str()).map(ArcStr::from).collect(),
        Some(Value::String(id)) if !id.is_empty() => vec![id.clone()],
        _ => Vec::new(),
    }
}

/// Definition id of each `link out` → definition ids of its `link in`s: what either side lists.
fn pairs(expansion: &Expansion<'_>) -> HashMap<ArcStr, Vec<ArcStr>> {
    let mut out: HashMap<ArcStr, Vec<ArcStr>> = HashMap::new();
    let mut add = |from: &ArcStr, to: &ArcStr| {
        let targets = out.entry(from.clone()).or_default();
        if !targets.contains(to) {
            targets.push(to.clone());
        }
    };
    for def in &expansion.index.file.nodes {
        match def.node_type.as_str() {
            "link in" => links_of(def).iter().for_each(|from| add(from, &def.id)),
            "link out" => links_of(def).iter().for_each(|to| add(&def.id, to)),
            _ => {}
        }
    }
    out
}

/// Wires every `link out` and lists the targets of every `link call`. `tabs` says which tabs are stopped.
pub(super) fn connect(expansion: &mut Expansion<'_>, tabs: &[Option<Stopped>]) {
    let pairs = pairs(expansion);
    let ins: Vec<NodeIndex> = of_type(expansion, "link in");
    let mut wires = Vec::new();
    for at in of_type(expansion, "link out") {
        // In `return` mode the message goes back to its link call.
        if expansion.nodes[at as usize].config.get("mode").and_then(Value::as_str) == Some("return") {
            continue;
        }
        let def = expansion.origins[at as usize].def;
        let ids = pairs.get(&def.id).map(Vec::as_slice).unwrap_or_default();
        let targets: Vec<NodeIndex> = ids.iter().filter_map(|id| link_in(expansion, at, id, tabs)).collect();
        wires.push((at, vec![targets]));
    }
    for (at, wires) in wires {
        expansion.nodes[at as usize].wires = wires;
    }
    // A function node may call any `link in` by `node.linkcall()`.
    let calls = |at: &NodeIndex| {
        let func = expansion.nodes[*at as usize].config.get("func");
        func.and_then(Value::as_str).is_some_and(|code| code.contains("linkcall"))
    };
    let functions: Vec<NodeIndex> = of_type(expansion, "function").into_iter().filter(calls).collect();
    for at in of_type(expansion, "link call").into_iter().chain(functions) {
        let node = &expansion.nodes[at as usize];
        let links =
            if node.node_type == "function" || node.config.get("linkType").and_then(Value::as_str) == Some("dynamic") {
                let reachable = ins.iter().filter(|target| reaches(expansion, at, **target, tabs));
                reachable.map(|target| link_target(expansion, at, *target)).collect()
            } else {
                let target = links_of(expansion.origins[at as usize].def).first().cloned();
                let target = target.and_then(|id| link_in(expansion, at, &id, tabs));
                target.map(|target| link_target(expansion, at, target)).into_iter().collect()
            };
        expansion.nodes[at as usize].links = links;
    }
}

fn of_type(expansion: &Expansion<'_>, node_type: &str) -> Vec<NodeIndex> {
    let nodes = expansion.nodes.iter().enumerate().filter(|(_, n)| n.node_type == node_type);
    nodes.map(|(i, _)| i as NodeIndex).collect()
}

/// The running `link in` that this id names for `from`: in the same tab or instance, else on a tab.
fn link_in(expansion: &Expansion<'_>, from: NodeIndex, id: &str, tabs: &[Option<Stopped>]) -> Option<NodeIndex> {
    let target = expansion.find(expansion.origins[from as usize].scope, id)?;
    let is_in = expansion.nodes[target as usize].node_type == "link in";
    (is_in && reaches(expansion, from, target, tabs)).then_some(target)
}

fn reaches(expansion: &Expansion<'_>, from: NodeIndex, to: NodeIndex, tabs: &[Option<Stopped>]) -> bool {
    let (from, to) = (expansion.nodes[from as usize].flow, expansion.nodes[to as usize].flow);
    from == to || tabs[to as usize].is_none()
}

fn link_target(expansion: &Expansion<'_>, from: NodeIndex, to: NodeIndex) -> LinkTarget {
    let here = expansion.origins[from as usize].scope;
    let there = expansion.origins[to as usize].scope;
    let node = &expansion.nodes[to as usize];
    // Inside another subflow instance a link in answers to its id only.
    let hidden = here != there && expansion.scopes[there].outer.is_some();
    let name = if node.name.is_empty() || hidden { node.id.clone() } else { node.name.clone() };
    LinkTarget { id: node.id.clone(), name, node: to, same_flow: here == there }
}
