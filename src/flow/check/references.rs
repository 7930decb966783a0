//! What points to nothing: wires, links, scopes, groups, subflow ends; and routes that two nodes claim.

use std::collections::HashMap;

use super::super::index::Index;
use super::super::{Specs, links};
use crate::model::flow::NodeDef;
use crate::model::{Diagnostic, Value};

pub(super) fn check_node(index: &Index<'_>, node: &NodeDef, specs: Specs<'_>, out: &mut Vec<Diagnostic>) {
    check_wires(index, node, specs, out);
    if let Some(g) = &node.g
        && index.group_in(g, &node.z).is_none()
    {
        out.push(
            Diagnostic::warning(
                "unknown-group",
                format!("$[{}].g", node.entry),
                format!("\"{g}\" is no group of the node's tab"),
            )
            .hint("remove `g`, or draw the group again"),
        );
    }
    match node.node_type.as_str() {
        "link in" => check_links(index, node, &["link out", "link call"], out),
        "link out" => check_links(index, node, &["link in"], out),
        "link call" => check_link_call(index, node, out),
        "catch" | "status" | "complete" => check_scope(index, node, out),
        _ => {}
    }
}

fn check_wires(index: &Index<'_>, node: &NodeDef, specs: Specs<'_>, out: &mut Vec<Diagnostic>) {
    for (port, targets) in node.wires.iter().enumerate() {
        for (k, id) in targets.iter().enumerate() {
            let path = format!("$[{}].wires[{port}][{k}]", node.entry);
            let inside_subflow = index.subflow(&node.z).is_some();
            match index.node(id) {
                None => out.push(
                    Diagnostic::warning(
                        "dangling-wire",
                        path,
                        format!("the wire leads to \"{id}\", which does not exist"),
                    )
                    .expected("the id of a node in the file")
                    .hint("remove it, or wire the node again"),
                ),
                Some(target) if inside_subflow && target.z != node.z => out.push(
                    Diagnostic::warning(
                        "wire-leaves-subflow",
                        path,
                        format!("the wire leads to \"{id}\", which is outside the subflow"),
                    )
                    .hint("lead it through an output of the subflow"),
                ),
                Some(target) => {
                    let source = specs(&target.node_type).is_some_and(|s| s.inputs == 0);
                    if source {
                        let message =
                            format!("the wire leads to \"{id}\", a {} node, which has no input", target.node_type);
                        out.push(Diagnostic::warning("wire-into-source", path, message).hint("remove the wire"));
                    }
                }
            }
        }
    }
    if let Some(outputs) = specs(&node.node_type).and_then(|s| s.outputs) {
        for port in usize::from(outputs)..node.wires.len() {
            if !node.wires[port].is_empty() && node.node_type != "link out" {
                let message =
                    format!("a {} node has {outputs} output(s), so nothing leaves by this one", node.node_type);
                let path = format!("$[{}].wires[{port}]", node.entry);
                out.push(Diagnostic::warning("wire-without-output", path, message).hint("remove the wires"));
            }
        }
    }
}

fn check_links(index: &Index<'_>, node: &NodeDef, wanted: &[&str], out: &mut Vec<Diagnostic>) {
    if node.config.get("mode").and_then(Value::as_str) == Some("return") {
        return;
    }
    for (k, id) in links::links_of(node).iter().enumerate() {
        let path = format!("$[{}].links[{k}]", node.entry);
        let found = index.node(id).map(|n| n.node_type.as_str());
        if !found.is_some_and(|t| wanted.contains(&t)) {
            let message = match found {
                None => format!("the link leads to \"{id}\", which does not exist"),
                Some(other) => format!("the link leads to \"{id}\", which is a {other} node"),
            };
            out.push(
                Diagnostic::warning("dangling-link", path, message).expected(format!("a {} node", wanted.join(" or "))),
            );
        }
    }
}

fn check_link_call(index: &Index<'_>, node: &NodeDef, out: &mut Vec<Diagnostic>) {
    if node.config.get("linkType").and_then(Value::as_str) == Some("dynamic") {
        return;
    }
    if links::links_of(node).is_empty() {
        out.push(
            Diagnostic::error("missing-link", format!("$[{}].links", node.entry), "the link call has no target")
                .expected("the id of a link in node")
                .hint("choose one, or set `linkType` to \"dynamic\""),
        );
    }
    check_links(index, node, &["link in"], out);
}

fn check_scope(index: &Index<'_>, node: &NodeDef, out: &mut Vec<Diagnostic>) {
    let path = |rest: &str| format!("$[{}].scope{rest}", node.entry);
    match node.config.get("scope") {
        Some(Value::Array(ids)) => {
            for (k, id) in ids.iter().enumerate() {
                let id = id.to_js_string();
                if index.node(&id).is_none_or(|n| n.z != node.z) {
                    let message = format!("the scope names \"{id}\", which is not on the node's tab");
                    let d = Diagnostic::warning("dangling-scope", path(&format!("[{k}]")), message);
                    out.push(d.expected("ids of nodes on the same tab").hint("remove it"));
                }
            }
        }
        Some(Value::String(s)) if s == "group" && node.g.is_none() => out.push(
            Diagnostic::warning("scope-without-group", path(""), "the node listens to its group but is in none")
                .hint("move it into a group; until then it listens to the whole tab"),
        ),
        _ => {}
    }
}

/// Inputs and outputs of subflows that lead to nothing inside.
pub(super) fn check_subflows(index: &Index<'_>, out: &mut Vec<Diagnostic>) {
    for subflow in &index.file.subflows {
        let path = index.path_of(&subflow.id);
        let ends = subflow.outputs.iter().flatten().chain(subflow.status.iter().flatten()).map(|(id, _)| id);
        let mut bad: Vec<_> = subflow.input.iter().chain(ends.filter(|id| **id != subflow.id)).collect();
        bad.retain(|id| index.node(id).is_none_or(|n| n.z != subflow.id));
        for id in bad {
            out.push(
                Diagnostic::warning(
                    "dangling-wire",
                    path.clone(),
                    format!("subflow \"{}\" is wired to \"{id}\", which is not inside it", subflow.name),
                )
                .hint("wire its input or output again"),
            );
        }
    }
}

/// Routes without address, and routes that two running nodes claim (the first one answers).
pub(super) fn check_routes(index: &Index<'_>, out: &mut Vec<Diagnostic>) {
    let mut routes: HashMap<(String, String), usize> = HashMap::new();
    for node in index.file.nodes.iter().filter(|n| n.node_type == "http in" && !super::is_off(index, n)) {
        let path = format!("$[{}].url", node.entry);
        let url = node.config.get("url").map(Value::to_js_string).unwrap_or_default();
        if url.is_empty() {
            if !out.iter().any(|d| d.path == path) {
                out.push(
                    Diagnostic::error("missing-property", path, "an http in node needs `url`")
                        .expected("the path it answers, for example \"/orders/:id\""),
                );
            }
            continue;
        }
        if index.subflow(&node.z).is_some() {
            // Each instance has its own; which ones exist is the plan's to say.
            continue;
        }
        let method = node.config.get("method").map(Value::to_js_string).unwrap_or_default();
        let method = if method.is_empty() { "get".into() } else { method.to_lowercase() };
        let route = (method, normal(&url));
        if let Some(first) = routes.get(&route) {
            let message = format!("{} {url} is answered by $[{first}] already; this node gets no calls", route.0);
            out.push(Diagnostic::warning("duplicate-route", path, message).hint("give it another url or method"));
        } else {
            routes.insert(route, node.entry);
        }
    }
}

/// The same for routes that match the same paths: without parameter names, outer slashes or letter case.
fn normal(url: &str) -> String {
    let parts = url.trim_matches('/').split('/');
    let parts: Vec<String> = parts.map(|p| if p.starts_with(':') { ":".into() } else { p.to_lowercase() }).collect();
    parts.join("/")
}
