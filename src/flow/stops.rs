//! Which tabs do not run, and why: unknown types, subflows that contain themselves, plans that grow too large.

use std::collections::{BTreeSet, HashMap, HashSet};

use arcstr::ArcStr;
use serde_json::Value as Json;

use super::index::Index;
use super::suggest::hint_for;
use super::{SUBFLOW_PREFIX, Specs, is_descriptive};
use crate::model::Diagnostic;
use crate::model::flow::{NodeDef, Stopped};

/// Subflows nested deeper than this are refused.
pub(super) const SUBFLOW_DEPTH_MAX: usize = 32;

/// A plan holds at most this many nodes per tab once its subflows are expanded.
pub(super) const TAB_NODES_MAX: usize = 100_000;

/// All tabs together hold at most this many.
pub(super) const PLAN_NODES_MAX: usize = 500_000;

/// What a container brings with it, its subflows included.
#[derive(Clone, Default)]
struct Facts {
    unknown: BTreeSet<ArcStr>,
    /// Levels of subflow below and including this one.
    height: usize,
    /// Plan nodes once expanded.
    size: usize,
    invalid: bool,
}

pub(super) struct Stops {
    /// Per tab of the file.
    pub(super) tabs: Vec<Option<Stopped>>,
    /// Tabs whose subflow instances must not be expanded.
    pub(super) unexpandable: Vec<bool>,
    pub(super) diagnostics: Vec<Diagnostic>,
}

pub(super) fn stops(index: &Index<'_>, specs: Specs<'_>) -> Stops {
    let mut diagnostics = unknown_types(index, specs);
    let unusable = unusable_configs(index, specs);
    let own = |container: &str, extra: Option<&Json>| own_facts(index, specs, container, extra, &unusable);
    let subflows = subflow_facts(index, &own, &mut diagnostics);
    let duplicated: HashSet<&str> = index.duplicates.iter().map(|i| index.file.nodes[*i].z.as_str()).collect();
    let mut tabs = Vec::new();
    let mut unexpandable = Vec::new();
    let mut total = 0usize;
    for flow in &index.file.flows {
        let mut facts = own(&flow.id, env_of(index, &flow.id));
        for (_, node) in enabled(index, &flow.id) {
            if let Some(s) = index.subflow_of(node) {
                facts.take_in(&subflows[s]);
            }
        }
        let too_large = facts.size > TAB_NODES_MAX || total.saturating_add(facts.size) > PLAN_NODES_MAX;
        let oversized = !facts.invalid && (too_large || facts.height > SUBFLOW_DEPTH_MAX);
        if oversized {
            diagnostics.push(
                Diagnostic::error(
                    "plan-too-large",
                    index.path_of(&flow.id),
                    format!(
                        "with its subflows, tab \"{}\" has {} nodes nested {} deep",
                        flow.label, facts.size, facts.height
                    ),
                )
                .expected(format!(
                    "at most {TAB_NODES_MAX} nodes per tab, {PLAN_NODES_MAX} in all, {SUBFLOW_DEPTH_MAX} subflow levels"
                ))
                .hint("use fewer subflow instances"),
            );
        }
        let broken = facts.invalid || oversized;
        if !broken {
            total = total.saturating_add(facts.size);
        }
        unexpandable.push(broken);
        tabs.push(if flow.disabled {
            Some(Stopped::Disabled)
        } else if broken || duplicated.contains(flow.id.as_str()) {
            Some(Stopped::Invalid)
        } else if !facts.unknown.is_empty() {
            Some(Stopped::UnknownTypes(facts.unknown.into_iter().collect()))
        } else {
            None
        });
    }
    Stops { tabs, unexpandable, diagnostics }
}

impl Facts {
    /// Adds one instance of a subflow.
    fn take_in(&mut self, subflow: &Facts) {
        self.unknown.extend(subflow.unknown.iter().cloned());
        self.height = self.height.max(subflow.height + 1);
        self.size = self.size.saturating_add(subflow.size);
        self.invalid |= subflow.invalid;
    }
}

fn enabled<'a>(index: &'a Index<'_>, container: &str) -> impl Iterator<Item = (usize, &'a NodeDef)> {
    index.members(container).filter(|(_, node)| !node.disabled)
}

/// The one property of a tab or subflow that can name config nodes.
fn env_of<'a>(index: &Index<'a>, id: &str) -> Option<&'a Json> {
    index.entry(id).and_then(|entry| entry.get("env"))
}

/// One diagnostic per enabled node of unknown type; a node without a type has been told of when it was loaded.
pub(super) fn unknown_types(index: &Index<'_>, specs: Specs<'_>) -> Vec<Diagnostic> {
    let mut hints: HashMap<&str, String> = HashMap::new();
    let unknown =
        index.file.nodes.iter().filter(|n| !n.disabled && !n.node_type.is_empty() && !index.is_known(n, specs));
    unknown
        .map(|node| {
            let path = format!("$[{}].type", node.entry);
            if let Some(id) = node.node_type.strip_prefix(SUBFLOW_PREFIX) {
                return Diagnostic::error("unknown-subflow", path, format!("no subflow has the id \"{id}\""))
                    .expected("the id of a subflow in the same file")
                    .did_you_mean(id, index.file.subflows.iter().map(|s| s.id.as_str()));
            }
            let hint = hints.entry(&node.node_type).or_insert_with(|| hint_for(&node.node_type, specs));
            Diagnostic::error("unknown-type", path, format!("unknown node type \"{}\"", node.node_type))
                .hint(hint.clone())
        })
        .collect()
}

/// Config nodes of unknown type, and those that refer to one: id → the unknown types behind it.
fn unusable_configs(index: &Index<'_>, specs: Specs<'_>) -> HashMap<ArcStr, BTreeSet<ArcStr>> {
    let mut unusable: HashMap<ArcStr, BTreeSet<ArcStr>> = HashMap::new();
    let mut usable = Vec::new();
    for node in index.file.nodes.iter().filter(|n| !n.disabled) {
        let spec = specs(&node.node_type);
        if is_descriptive(&node.node_type) || !index.is_config(node, spec) {
            continue;
        }
        match spec {
            None => drop(unusable.insert(node.id.clone(), BTreeSet::from([node.node_type.clone()]))),
            Some(_) => usable.push(node),
        }
    }
    while !unusable.is_empty() {
        let before = usable.len();
        usable.retain(|node| {
            let mut types = BTreeSet::new();
            index.file.entries[node.entry].values().for_each(|v| referred(v, &unusable, &mut types));
            if types.is_empty() {
                return true;
            }
            unusable.insert(node.id.clone(), types);
            false
        });
        if usable.len() == before {
            break;
        }
    }
    unusable
}

/// Collects the unknown types behind every config id that occurs as a string in `json`.
fn referred(json: &Json, unusable: &HashMap<ArcStr, BTreeSet<ArcStr>>, types: &mut BTreeSet<ArcStr>) {
    match json {
        Json::String(s) => types.extend(unusable.get(s.as_str()).into_iter().flatten().cloned()),
        Json::Array(items) => items.iter().for_each(|v| referred(v, unusable, types)),
        Json::Object(map) => map.values().for_each(|v| referred(v, unusable, types)),
        _ => {}
    }
}

/// What a container holds directly.
fn own_facts(
    index: &Index<'_>,
    specs: Specs<'_>,
    container: &str,
    env: Option<&Json>,
    unusable: &HashMap<ArcStr, BTreeSet<ArcStr>>,
) -> Facts {
    let mut facts = Facts::default();
    if let Some(env) = env.filter(|_| !unusable.is_empty()) {
        referred(env, unusable, &mut facts.unknown);
    }
    for (_, node) in enabled(index, container) {
        facts.size += 1;
        if unusable.contains_key(&node.id) {
            continue;
        }
        if !index.is_known(node, specs) {
            facts.unknown.insert(node.node_type.clone());
        }
        if !unusable.is_empty() {
            for (key, value) in &index.file.entries[node.entry] {
                if key != "id" && key != "wires" {
                    referred(value, unusable, &mut facts.unknown);
                }
            }
        }
    }
    facts
}

/// Facts of every subflow, leaves first; those never reached contain themselves, or one that does.
fn subflow_facts(
    index: &Index<'_>,
    own: &dyn Fn(&str, Option<&Json>) -> Facts,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Facts> {
    let defs = &index.file.subflows;
    let uses: Vec<Vec<usize>> =
        defs.iter().map(|def| enabled(index, &def.id).filter_map(|(_, n)| index.subflow_of(n)).collect()).collect();
    let mut users = vec![Vec::new(); defs.len()];
    for (user, used) in uses.iter().enumerate() {
        used.iter().for_each(|u| users[*u].push(user));
    }
    let mut pending: Vec<usize> = uses.iter().map(Vec::len).collect();
    let mut ready: Vec<usize> = (0..defs.len()).filter(|s| pending[*s] == 0).collect();
    let mut facts: Vec<Option<Facts>> = vec![None; defs.len()];
    while let Some(s) = ready.pop() {
        let mut f = own(&defs[s].id, env_of(index, &defs[s].id));
        f.size += usize::from(defs[s].status.is_some());
        uses[s].iter().filter_map(|u| facts[*u].as_ref()).for_each(|used| f.take_in(used));
        facts[s] = Some(f);
        for user in &users[s] {
            pending[*user] -= 1;
            if pending[*user] == 0 {
                ready.push(*user);
            }
        }
    }
    report_recursion(index, &facts, &uses, &users, diagnostics);
    facts.into_iter().map(|f| f.unwrap_or(Facts { invalid: true, ..Facts::default() })).collect()
}

/// Peels off the subflows that only use a recursive one; what is left is recursive itself.
fn report_recursion(
    index: &Index<'_>,
    facts: &[Option<Facts>],
    uses: &[Vec<usize>],
    users: &[Vec<usize>],
    diagnostics: &mut Vec<Diagnostic>,
) {
    let mut left: Vec<bool> = facts.iter().map(Option::is_none).collect();
    let mut used_by: Vec<usize> = users.iter().map(|u| u.iter().filter(|u| left[**u]).count()).collect();
    let mut free: Vec<usize> = (0..left.len()).filter(|s| left[*s] && used_by[*s] == 0).collect();
    while let Some(s) = free.pop() {
        left[s] = false;
        for used in uses[s].iter().filter(|u| facts[**u].is_none()) {
            used_by[*used] -= 1;
            if used_by[*used] == 0 && left[*used] {
                free.push(*used);
            }
        }
    }
    for s in (0..left.len()).filter(|s| left[*s]) {
        let def = index.subflow_def(s);
        diagnostics.push(
            Diagnostic::error(
                "subflow-recursion",
                index.path_of(&def.id),
                format!("subflow \"{}\" contains itself, directly or through others", def.name),
            )
            .expected("subflows that do not contain themselves")
            .hint("call it with a link call instead; tabs that use it do not run"),
        );
    }
}
