//! Who hears of a node: `catch` nodes of its errors, `status` nodes of its statuses, `complete` nodes when it is done
//! with a message; resolved once.
//!
//! Follows `handleError`, `handleStatus` and `handleComplete` of Node-RED's `runtime/lib/flows/Flow.js` and `Subflow.js`. Which
//! catch nodes receive an error depends on the definitions only, so the answer is a list per node.

use std::collections::HashMap;

use arcstr::ArcStr;

use super::expand::Expansion;
use crate::model::Value;
use crate::model::flow::{CatchTarget, NodeDef, NodeIndex};

/// What a catch or status node listens to.
enum Listens {
    WholeFlow,
    Group,
    Nodes(Vec<ArcStr>),
}

struct Listener<'a> {
    node: NodeIndex,
    g: Option<&'a str>,
    listens: Listens,
    uncaught: bool,
}

fn listener<'a>(node: NodeIndex, def: &'a NodeDef) -> Listener<'a> {
    let listens = match def.config.get("scope") {
        Some(Value::Array(ids)) => Listens::Nodes(ids.iter().map(Value::to_js_string).collect()),
        Some(Value::String(s)) if s == "group" => Listens::Group,
        _ => Listens::WholeFlow,
    };
    let uncaught = def.config.get("uncaught").is_some_and(|v| v.is_truthy() && v.as_str() != Some("false"));
    Listener { node, g: def.g.as_deref(), listens, uncaught }
}

impl Listener<'_> {
    /// 0 with a scope, 1 for the whole flow, 2 for what nobody else caught.
    fn rank(&self) -> u8 {
        match (&self.listens, self.uncaught) {
            (Listens::Nodes(_) | Listens::Group, _) => 0,
            (Listens::WholeFlow, false) => 1,
            (Listens::WholeFlow, true) => 2,
        }
    }

    /// How many groups outwards from the reporting node it stands; `None` when it does not listen to it.
    fn distance(&self, reporting: &NodeDef, groups: &[&str]) -> Option<usize> {
        let own_group_only = matches!(self.listens, Listens::Group) && self.g.is_some();
        if let Listens::Nodes(ids) = &self.listens
            && !ids.contains(&reporting.id)
        {
            return None;
        }
        match groups.iter().position(|g| Some(*g) == self.g) {
            Some(distance) => Some(distance),
            None if own_group_only => None,
            None => Some(groups.len()),
        }
    }
}

/// Listeners of one scope that hear `reporting`, nearest group first.
fn heard<'l, 'a>(
    expansion: &Expansion<'_>,
    scope: usize,
    listeners: &'l [Listener<'a>],
    reporting: &NodeDef,
) -> Vec<&'l Listener<'a>> {
    if listeners.is_empty() {
        return Vec::new();
    }
    let groups = expansion.index.groups_around(reporting.g.as_deref(), expansion.scopes[scope].container);
    let groups: Vec<&str> = groups.iter().map(|g| g.id.as_str()).collect();
    let mut found: Vec<(usize, &Listener)> =
        listeners.iter().filter_map(|l| Some((l.distance(reporting, &groups)?, l))).collect();
    found.sort_by_key(|(distance, _)| *distance);
    found.into_iter().map(|(_, l)| l).collect()
}

/// The catch nodes that receive an error: `uncaught` ones only when nothing before them took it.
fn receivers(candidates: Vec<&Listener<'_>>) -> Vec<CatchTarget> {
    let mut out: Vec<CatchTarget> = Vec::new();
    let mut left_to_uncaught = false;
    for l in candidates {
        if l.uncaught && !left_to_uncaught {
            if !out.is_empty() {
                continue;
            }
            left_to_uncaught = true;
        }
        out.push(CatchTarget { node: l.node, uncaught_only: l.uncaught });
    }
    out
}

/// What `catch` and `status` of a plan node hold.
type Heard = (Vec<CatchTarget>, Vec<NodeIndex>);

/// Fills `catch`, `status` and `complete` of every plan node and config node.
pub(super) fn connect(expansion: &mut Expansion<'_>) {
    let of = |nodes: &[NodeIndex]| -> Vec<Listener<'_>> {
        nodes.iter().map(|n| listener(*n, expansion.origins[*n as usize].def)).collect()
    };
    let mut catches: Vec<Vec<Listener>> = expansion.scopes.iter().map(|s| of(&s.catches)).collect();
    catches.iter_mut().for_each(|listeners| listeners.sort_by_key(Listener::rank));
    let mut statuses: Vec<Vec<Listener>> = expansion.scopes.iter().map(|s| of(&s.statuses)).collect();
    for listener in statuses.iter_mut().flatten() {
        without_own_targets(expansion, listener);
    }
    let catch = |scope, def| catch_of(expansion, &catches, scope, def);
    let status = |scope, def| status_of(expansion, &statuses, scope, def);
    let nodes: Vec<Heard> = expansion.origins.iter().map(|o| (catch(o.scope, o.def), status(o.scope, o.def))).collect();
    let users = users_of_configs(expansion);
    let mut configs: Vec<Heard> = Vec::new();
    for (config, (scope, def)) in expansion.configs.iter().zip(&expansion.config_origins) {
        configs.push(match scope {
            Some(scope) => (catch(*scope, def), status(*scope, def)),
            None => by_users(users.get(&config.id).into_iter().flatten().map(|user| &nodes[*user as usize])),
        });
    }
    for (node, (catch, status)) in expansion.nodes.iter_mut().zip(nodes) {
        (node.catch, node.status) = (catch, status);
    }
    for (node, (catch, status)) in expansion.configs.iter_mut().zip(configs) {
        (node.catch, node.status) = (catch, status);
    }
    connect_completes(expansion);
}

/// A complete node hears exactly the nodes of its scope that its own wires do not lead to.
fn connect_completes(expansion: &mut Expansion<'_>) {
    for scope in 0..expansion.scopes.len() {
        for at in expansion.scopes[scope].completes.clone() {
            let mut listener = listener(at, expansion.origins[at as usize].def);
            without_own_targets(expansion, &mut listener);
            let Listens::Nodes(ids) = listener.listens else { continue };
            for id in ids {
                let Some(heard) = expansion.scopes[scope].members.get(id.as_str()) else { continue };
                // What a subflow's nodes finish is theirs; its instance never finishes, as in Node-RED.
                if !expansion.origins[*heard as usize].def.node_type.starts_with("subflow:") {
                    expansion.nodes[*heard as usize].complete.push(at);
                }
            }
        }
    }
}

/// A global config node's errors and statuses go where those of its users go.
fn by_users<'h>(users: impl Iterator<Item = &'h Heard>) -> Heard {
    let mut all = Heard::default();
    for (catches, statuses) in users {
        for catch in catches {
            if !all.0.contains(catch) {
                all.0.push(catch.clone());
            }
        }
        for status in statuses {
            if !all.1.contains(status) {
                all.1.push(*status);
            }
        }
    }
    all
}

/// A status node does not listen to nodes it is wired to, or they would call each other for ever.
fn without_own_targets(expansion: &Expansion<'_>, listener: &mut Listener<'_>) {
    let wired = &expansion.origins[listener.node as usize].def.wires;
    if let Listens::Nodes(ids) = &mut listener.listens {
        ids.retain(|id| !wired.iter().flatten().any(|w| w == id));
    }
}

/// The receivers at the nearest level that has any: this scope, then the one its instance stands in, …
fn catch_of(expansion: &Expansion<'_>, catches: &[Vec<Listener>], scope: usize, def: &NodeDef) -> Vec<CatchTarget> {
    let (mut scope, mut reporting) = (scope, def);
    loop {
        let found = receivers(heard(expansion, scope, &catches[scope], reporting));
        match expansion.scopes[scope].outer {
            Some((outer, instance)) if found.is_empty() => {
                (scope, reporting) = (outer, expansion.origins[instance as usize].def);
            }
            _ => return found,
        }
    }
}

/// Likewise for a status, which stays inside a subflow that has a status output of its own.
fn status_of(expansion: &Expansion<'_>, statuses: &[Vec<Listener>], scope: usize, def: &NodeDef) -> Vec<NodeIndex> {
    let (mut scope, mut reporting) = (scope, def);
    loop {
        let found: Vec<NodeIndex> =
            heard(expansion, scope, &statuses[scope], reporting).iter().map(|l| l.node).collect();
        let at = &expansion.scopes[scope];
        match at.outer {
            Some((outer, instance)) if found.is_empty() && at.status_node.is_none() => {
                (scope, reporting) = (outer, expansion.origins[instance as usize].def);
            }
            _ => return found,
        }
    }
}

/// Plan nodes that name a config node in one of their properties, by the config node's id.
fn users_of_configs(expansion: &Expansion<'_>) -> HashMap<ArcStr, Vec<NodeIndex>> {
    let mut users: HashMap<ArcStr, Vec<NodeIndex>> =
        expansion.configs.iter().map(|c| (c.id.clone(), Vec::new())).collect();
    if users.is_empty() {
        return users;
    }
    for (i, node) in expansion.nodes.iter().enumerate() {
        for (_, value) in node.config.iter().filter(|(k, _)| !matches!(k.as_str(), "id" | "type" | "z" | "g")) {
            if let Some(found) = value.as_str().and_then(|s| users.get_mut(s)) {
                found.push(i as NodeIndex);
            }
        }
    }
    users
}
