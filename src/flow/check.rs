//! Everything that is wrong with a flow file, against the specs of its node types.

mod properties;
mod references;

use super::index::Index;
use super::{Specs, stops};
use crate::model::flow::{FlowFile, NodeDef};
use crate::model::{Diagnostic, Severity};

/// What a node implementation finds in a definition of its type. Paths that do not start with `$[` are taken to
/// lie inside the node: `rules[0].v`.
pub type NodeCheck<'a> = &'a dyn Fn(&NodeDef) -> Vec<Diagnostic>;

/// All problems at once. Those of disabled nodes and tabs are warnings, because nothing fails by them.
pub fn check(file: &FlowFile, specs: Specs<'_>, node_check: NodeCheck<'_>) -> Vec<Diagnostic> {
    let index = Index::new(file);
    let mut out = stops::unknown_types(&index, specs);
    for node in &file.nodes {
        let at = out.len();
        properties::check(&index, node, specs, &mut out);
        references::check_node(&index, node, specs, &mut out);
        out.extend(node_check(node).into_iter().map(|d| inside(node, d)));
        if is_off(&index, node) {
            out[at..].iter_mut().for_each(|d| d.severity = Severity::Warning);
        }
    }
    references::check_subflows(&index, &mut out);
    references::check_routes(&index, &mut out);
    out.into_iter().map(|d| if d.file.is_empty() { d.in_file(file.file.as_str()) } else { d }).collect()
}

/// [`super::load`], [`check`] and [`super::plan`] in one go, each problem once, in the order of the file.
pub fn problems(
    text: &str,
    file: &str,
    specs: Specs<'_>,
    process_env: &dyn Fn(&str) -> Option<String>,
    node_check: NodeCheck<'_>,
) -> Vec<Diagnostic> {
    let (flows, mut all) = super::load(text, file);
    all.extend(check(&flows, specs, node_check));
    all.extend(super::plan(&flows, specs, process_env).diagnostics);
    let mut seen = std::collections::HashSet::new();
    all.retain(|d| seen.insert((d.code.clone(), d.path.clone(), d.message.clone())));
    let entry = |d: &Diagnostic| -> usize {
        d.path.strip_prefix("$[").and_then(|p| p.split(']').next()?.parse().ok()).unwrap_or(0)
    };
    all.sort_by_key(entry);
    all
}

fn is_off(index: &Index<'_>, node: &NodeDef) -> bool {
    node.disabled || index.tab(&node.z).is_some_and(|tab| index.file.flows[tab].disabled)
}

fn inside(node: &NodeDef, mut d: Diagnostic) -> Diagnostic {
    if !d.path.starts_with("$[") {
        let rest = d.path.trim_start_matches('$').trim_start_matches('.');
        let dot = if rest.is_empty() || rest.starts_with('[') { "" } else { "." };
        d.path = format!("$[{}]{dot}{rest}", node.entry);
    }
    d
}
