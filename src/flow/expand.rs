//! Tabs and subflow instances as scopes, and their nodes as plan nodes, before anything is wired.

use std::collections::HashMap;
use std::sync::Arc;

use arcstr::ArcStr;

use super::env::{self, Process};
use super::index::Index;
use super::stops::{SUBFLOW_DEPTH_MAX, Stops};
use super::{SUBFLOW_PREFIX, SUBFLOW_STATUS, Specs, is_descriptive, load};
use crate::model::flow::{Env, EnvEntry, GLOBAL_FLOW, NodeDef, NodeIndex, PlanNode};
use crate::model::{Diagnostic, Object, Value};

/// A tab, or one instance of a subflow.
pub(super) struct Scope<'a> {
    /// Tab id, or the instance's id in the plan: what `flow` context and inner ids hang on.
    pub(super) context: ArcStr,
    /// Id of the tab or subflow definition that its nodes have as `z`.
    pub(super) container: &'a str,
    pub(super) flow: u32,
    /// For an instance: the scope it stands in and its node there.
    pub(super) outer: Option<(usize, NodeIndex)>,
    /// For an instance: its subflow's index.
    pub(super) subflow: Option<usize>,
    /// For an instance of a subflow with a status output: the node that output leads to.
    pub(super) status_node: Option<NodeIndex>,
    /// Plan nodes by the id in the definition.
    pub(super) members: HashMap<&'a str, NodeIndex>,
    pub(super) catches: Vec<NodeIndex>,
    pub(super) statuses: Vec<NodeIndex>,
    pub(super) completes: Vec<NodeIndex>,
    parents: Arc<Vec<ArcStr>>,
    env: Arc<Env>,
    groups: HashMap<&'a str, Arc<Env>>,
    /// `NR_NODE_PATH` up to here.
    path: String,
}

/// Where a plan node comes from.
#[derive(Clone, Copy)]
pub(super) struct Origin<'a> {
    pub(super) scope: usize,
    pub(super) def: &'a NodeDef,
    /// For an instance: the scope inside it.
    pub(super) inner: Option<usize>,
}

pub(super) struct Expansion<'a> {
    pub(super) index: &'a Index<'a>,
    specs: Specs<'a>,
    process: Process<'a>,
    root: Arc<Env>,
    pub(super) scopes: Vec<Scope<'a>>,
    pub(super) nodes: Vec<PlanNode>,
    /// Parallel to `nodes`; the `subflow-status` nodes have their instance's.
    pub(super) origins: Vec<Origin<'a>>,
    pub(super) configs: Vec<PlanNode>,
    /// Parallel to `configs`: the scope they stand in (`None` for global ones) and the definition.
    pub(super) config_origins: Vec<(Option<usize>, &'a NodeDef)>,
    /// The scope of each tab of the file; `None` for a tab whose id was taken.
    tab_scopes: Vec<Option<usize>>,
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl<'a> Expansion<'a> {
    pub(super) fn new(index: &'a Index<'a>, specs: Specs<'a>, process: Process<'a>) -> Self {
        let mut diagnostics = Vec::new();
        let root = root_env(index, process, &mut diagnostics);
        Expansion {
            index,
            specs,
            process,
            root,
            scopes: Vec::new(),
            nodes: Vec::new(),
            origins: Vec::new(),
            configs: Vec::new(),
            config_origins: Vec::new(),
            tab_scopes: Vec::new(),
            diagnostics,
        }
    }

    /// Expands every tab and adds the global config nodes.
    pub(super) fn expand(&mut self, stops: &Stops) {
        self.add_global_configs();
        for (f, flow) in self.index.file.flows.iter().enumerate() {
            // A later tab with a taken id has no nodes of its own.
            if self.index.tab(&flow.id) != Some(f) {
                self.tab_scopes.push(None);
                continue;
            }
            let own = vec![named("NR_FLOW_NAME", &flow.label), named("NR_FLOW_ID", &flow.id)];
            let path = self.index.path_of(&flow.id);
            let env = self.level(&flow.env, own, self.root.clone(), &path);
            let scope = self.scopes.len();
            self.tab_scopes.push(Some(scope));
            self.scopes.push(Scope {
                context: flow.id.clone(),
                container: &flow.id,
                flow: f as u32,
                outer: None,
                subflow: None,
                status_node: None,
                members: HashMap::new(),
                catches: Vec::new(),
                statuses: Vec::new(),
                completes: Vec::new(),
                parents: Arc::default(),
                env,
                groups: HashMap::new(),
                path: flow.id.to_string(),
            });
            self.fill(scope, !stops.unexpandable[f], 0);
        }
    }

    /// The environment of a tab.
    pub(super) fn env_of_flow(&self, flow: usize) -> Option<&Env> {
        self.tab_scopes[flow].map(|scope| &*self.scopes[scope].env)
    }

    /// The node an id names inside a scope, else the one on a tab; nodes inside instances are private.
    pub(super) fn find(&self, scope: usize, id: &str) -> Option<NodeIndex> {
        if let Some(found) = self.scopes[scope].members.get(id) {
            return Some(*found);
        }
        let tab = self.tab_scopes[self.index.tab(&self.index.node(id)?.z)?]?;
        self.scopes[tab].members.get(id).copied()
    }

    fn level(&mut self, entries: &[EnvEntry], own: Vec<(ArcStr, Value)>, parent: Arc<Env>, path: &str) -> Arc<Env> {
        env::level(entries, own, Some(parent), self.process, path, &mut self.diagnostics)
    }

    fn fill(&mut self, scope: usize, expand: bool, depth: usize) {
        let container = self.scopes[scope].container;
        let members: Vec<&'a NodeDef> = self.index.members(container).map(|(_, node)| node).collect();
        // Config nodes first: instances inside may name them.
        for def in members.iter().copied() {
            if !def.disabled && self.is_config(def) {
                let node = self.plan_node(scope, def);
                self.configs.push(node);
                self.config_origins.push((Some(scope), def));
            }
        }
        for def in members {
            if def.disabled || is_descriptive(&def.node_type) || self.is_config(def) {
                continue;
            }
            self.add_member(scope, def, expand, depth);
        }
    }

    fn is_config(&self, def: &NodeDef) -> bool {
        !is_descriptive(&def.node_type) && self.index.is_config(def, (self.specs)(&def.node_type))
    }

    fn add_member(&mut self, scope: usize, def: &'a NodeDef, expand: bool, depth: usize) {
        let node = self.plan_node(scope, def);
        let at = self.nodes.len() as NodeIndex;
        match def.node_type.as_str() {
            "catch" => self.scopes[scope].catches.push(at),
            "status" => self.scopes[scope].statuses.push(at),
            "complete" => self.scopes[scope].completes.push(at),
            _ => {}
        }
        self.scopes[scope].members.insert(&def.id, at);
        self.nodes.push(node);
        self.origins.push(Origin { scope, def, inner: None });
        if let Some(subflow) = self.index.subflow_of(def).filter(|_| expand && depth < SUBFLOW_DEPTH_MAX) {
            self.add_instance(scope, at, def, subflow, depth);
        }
    }

    fn add_instance(&mut self, outer: usize, at: NodeIndex, def: &'a NodeDef, subflow: usize, depth: usize) {
        let template = self.index.subflow_def(subflow);
        let id = self.nodes[at as usize].id.clone();
        let path = format!("{}/{}", self.scopes[outer].path, def.id);
        let own = vec![
            named("NR_NODE_NAME", &def.name),
            named("NR_SUBFLOW_NAME", &def.name),
            named("NR_NODE_ID", &id),
            named("NR_SUBFLOW_ID", &id),
            named("NR_NODE_PATH", &path),
            named("NR_SUBFLOW_PATH", &path),
        ];
        let around = self.env_around(outer, def);
        let entries = merged_env(template.env.clone(), def, self.index);
        let env = self.level(&entries, own, around, &format!("$[{}]", def.entry));
        let parents =
            std::iter::once(self.scopes[outer].context.clone()).chain(self.scopes[outer].parents.iter().cloned());
        let scope = self.scopes.len();
        self.scopes.push(Scope {
            context: id,
            container: &template.id,
            flow: self.scopes[outer].flow,
            outer: Some((outer, at)),
            subflow: Some(subflow),
            status_node: None,
            members: HashMap::new(),
            catches: Vec::new(),
            statuses: Vec::new(),
            completes: Vec::new(),
            parents: Arc::new(parents.collect()),
            env,
            groups: HashMap::new(),
            path,
        });
        self.origins[at as usize].inner = Some(scope);
        self.fill(scope, true, depth + 1);
        if template.status.is_some() {
            self.add_status_node(scope, outer, at, def);
        }
    }

    /// What the subflow's status output leads to; its errors and statuses are the instance's.
    fn add_status_node(&mut self, scope: usize, outer: usize, instance: NodeIndex, def: &'a NodeDef) {
        let of = &self.nodes[instance as usize];
        let id = arcstr::format!("{}:status", of.id);
        let mut config = Object::new();
        config.insert("id", id.clone());
        config.insert("type", SUBFLOW_STATUS);
        config.insert("z", of.id.clone());
        let node = PlanNode {
            id,
            node_type: SUBFLOW_STATUS.into(),
            name: ArcStr::new(),
            config: Arc::new(config),
            instance: Some(instance),
            ..of.clone()
        };
        self.scopes[scope].status_node = Some(self.nodes.len() as NodeIndex);
        self.nodes.push(node);
        self.origins.push(Origin { scope: outer, def, inner: None });
    }

    /// A definition as it runs in this scope, not yet wired.
    fn plan_node(&mut self, scope: usize, def: &'a NodeDef) -> PlanNode {
        let around = self.env_around(scope, def);
        let at = &self.scopes[scope];
        let inside = at.outer.is_some();
        let id = if inside { inner_id(&at.context, &def.id) } else { def.id.clone() };
        let mut config = def.config.clone();
        if inside {
            self.move_inside(scope, &id, def, &mut config);
        }
        let at = &self.scopes[scope];
        let env = node_env(def, &id, &format!("{}/{}", at.path, def.id), around);
        // An instance keeps its `env` as written; the entries were evaluated for its own level.
        if !def.node_type.starts_with(SUBFLOW_PREFIX) {
            env::substitute(&mut config, &env, self.process);
        }
        PlanNode {
            id,
            node_type: def.node_type.clone(),
            name: def.name.clone(),
            flow: at.flow,
            instance: at.outer.map(|(_, instance)| instance),
            context: at.context.clone(),
            parents: at.parents.clone(),
            config,
            env,
            wires: Vec::new(),
            catch: Vec::new(),
            status: Vec::new(),
            complete: Vec::new(),
            links: Vec::new(),
            entry: def.entry,
        }
    }

    /// Gives a copy inside an instance its own id, and ids of inner nodes wherever a property names one.
    fn move_inside(&self, scope: usize, id: &ArcStr, def: &NodeDef, config: &mut Arc<Object>) {
        let at = &self.scopes[scope];
        let inner = |text: &str| {
            let member = self.index.node(text).is_some_and(|n| n.z == at.container);
            (member || self.index.group_in(text, at.container).is_some()).then(|| inner_id(&at.context, text))
        };
        let scoped = matches!(def.node_type.as_str(), "catch" | "status" | "complete");
        let config = Arc::make_mut(config);
        for (key, value) in config.values_mut() {
            match (key.as_str(), &mut *value) {
                ("id" | "type" | "wires", _) => {}
                ("z", _) => *value = Value::String(at.context.clone()),
                ("scope", Value::Array(ids)) if scoped => {
                    for id in Arc::make_mut(ids) {
                        *id = Value::String(id.as_str().and_then(inner).unwrap_or_default());
                    }
                }
                // As JavaScript does, which takes an array of one id for that id.
                (_, Value::Array(ids)) => {
                    if let [Value::String(only)] = ids.as_slice()
                        && let Some(new) = inner(only)
                    {
                        *value = Value::array(vec![Value::String(new)]);
                    }
                }
                (_, Value::String(text)) => {
                    if let Some(new) = inner(text) {
                        *value = Value::String(new);
                    }
                }
                _ => {}
            }
        }
        config.insert("id", id.clone());
    }

    /// The environment of the innermost group around a node, or of its scope.
    fn env_around(&mut self, scope: usize, def: &NodeDef) -> Arc<Env> {
        let index = self.index;
        let container = self.scopes[scope].container;
        let groups = index.groups_around(def.g.as_deref(), container);
        let Some(innermost) = groups.first() else { return self.scopes[scope].env.clone() };
        if let Some(env) = self.scopes[scope].groups.get(innermost.id.as_str()) {
            return env.clone();
        }
        let mut env = self.scopes[scope].env.clone();
        for group in groups.into_iter().rev() {
            env = match self.scopes[scope].groups.get(group.id.as_str()) {
                Some(made) => made.clone(),
                None => {
                    let inside = self.scopes[scope].outer.is_some();
                    let id = if inside { inner_id(&self.scopes[scope].context, &group.id) } else { group.id.clone() };
                    let own = vec![named("NR_GROUP_NAME", &group.name), named("NR_GROUP_ID", &id)];
                    let path = index.path_of(&group.id);
                    let made = self.level(&group.env, own, env, &path);
                    self.scopes[scope].groups.insert(&group.id, made.clone());
                    made
                }
            };
        }
        env
    }

    /// Config nodes without a tab. Nodes without a tab that are no config nodes run nowhere, as in Node-RED.
    fn add_global_configs(&mut self) {
        let defs: Vec<&'a NodeDef> = self.index.members("").map(|(_, node)| node).collect();
        for def in defs {
            if def.disabled || is_descriptive(&def.node_type) {
                continue;
            }
            if !self.is_config(def) {
                self.diagnostics.push(
                    Diagnostic::warning(
                        "node-without-tab",
                        format!("$[{}].z", def.entry),
                        format!("node \"{}\" of type {} is on no tab and does not run", def.id, def.node_type),
                    )
                    .expected("`z` with the id of a tab"),
                );
                continue;
            }
            let env = node_env(def, &def.id, &format!("global/{}", def.id), self.root.clone());
            let mut config = def.config.clone();
            env::substitute(&mut config, &env, self.process);
            self.configs.push(PlanNode {
                id: def.id.clone(),
                node_type: def.node_type.clone(),
                name: def.name.clone(),
                flow: GLOBAL_FLOW,
                instance: None,
                context: ArcStr::from("global"),
                parents: Arc::default(),
                config,
                env,
                wires: Vec::new(),
                catch: Vec::new(),
                status: Vec::new(),
                complete: Vec::new(),
                links: Vec::new(),
                entry: def.entry,
            });
            self.config_origins.push((None, def));
        }
    }
}

fn named(name: &str, value: &str) -> (ArcStr, Value) {
    (ArcStr::from(name), Value::from(value))
}

pub(super) fn inner_id(instance: &str, id: &str) -> ArcStr {
    arcstr::format!("{instance}-{id}")
}

fn node_env(def: &NodeDef, id: &ArcStr, path: &str, around: Arc<Env>) -> Arc<Env> {
    let values = vec![
        (arcstr::literal!("NR_NODE_NAME"), Value::String(def.name.clone())),
        (arcstr::literal!("NR_NODE_ID"), Value::String(id.clone())),
        (arcstr::literal!("NR_NODE_PATH"), Value::from(path)),
    ];
    Arc::new(Env { values, parent: Some(around), of_node: true })
}

/// The template's entries with the instance's in their place, then the instance's own.
fn merged_env(mut entries: Vec<EnvEntry>, def: &NodeDef, index: &Index<'_>) -> Vec<EnvEntry> {
    let given = index.file.entries[def.entry].get("env").and_then(|env| env.as_array());
    for entry in given.into_iter().flatten().filter_map(load::env_entry) {
        match entries.iter_mut().find(|e| e.name == entry.name) {
            Some(old) => *old = entry,
            None => entries.push(entry),
        }
    }
    entries
}

/// The level above all tabs: the entries of the first `global-config` node.
fn root_env(index: &Index<'_>, process: Process<'_>, diagnostics: &mut Vec<Diagnostic>) -> Arc<Env> {
    let config = index.file.nodes.iter().find(|n| n.node_type == "global-config" && !n.disabled);
    let entries: Vec<EnvEntry> = config
        .and_then(|n| index.file.entries[n.entry].get("env")?.as_array())
        .into_iter()
        .flatten()
        .filter_map(load::env_entry)
        .collect();
    let path = config.map_or_else(|| "$".into(), |n| format!("$[{}]", n.entry));
    env::level(&entries, Vec::new(), None, process, &path, diagnostics)
}
