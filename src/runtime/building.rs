//! From a plan to its nodes: config nodes in the order in which they need each other, nodes of the current plan that stay as
//! they are, and what the world reaches them by: routes, metrics, schedules, sockets.

use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arcstr::ArcStr;

use super::catalogue::Configs;
use super::engine::Active;
use super::instance::{self, Instance};
use super::routes::{Route, Routes};
use super::sockets::Doors;
use super::{Catalogue, Cx, Deployed, Effect, Entry, Node, NodeConfig, Services, Step};
use crate::model::flow::{NodeIndex, Plan, PlanNode, Stopped};
use crate::model::{Diagnostic, Msg, Value};

/// Stands for a node that cannot be built: says so to every message.
struct Broken {
    problem: String,
}

impl Node for Broken {
    fn on_msg(&self, msg: Msg, _cx: &mut Cx<'_>) -> Step {
        Step::fail(msg, self.problem.as_str())
    }
}

fn duplicate_metric(entry: usize, name: &str) -> Diagnostic {
    let message = format!("another node already answers for metric \"{name}\"");
    Diagnostic::error("duplicate-metric", format!("$[{entry}].metric"), message).expected("one entry for each metric")
}

/// Nodes that other nodes lead to: catch, status and link nodes among them, which have no input port.
fn reached(plan: &Plan) -> HashSet<NodeIndex> {
    let targets = plan.nodes.iter().flat_map(|node| {
        let caught = node.catch.iter().map(|t| t.node);
        let linked = node.links.iter().map(|t| t.node);
        caught.chain(linked).chain(node.status.iter().copied()).chain(node.wires.iter().flatten().copied())
    });
    targets.collect()
}

/// What a new plan takes over from the current one, by id.
#[derive(Default)]
pub(super) struct Kept {
    nodes: HashMap<ArcStr, Arc<Instance>>,
    configs: HashMap<ArcStr, Arc<Instance>>,
}

impl Kept {
    pub(super) fn of(
        old: &Deployed,
        new: &Plan,
        catalogue: &Arc<Catalogue>,
        keeps: &dyn Fn(&PlanNode) -> bool,
    ) -> Kept {
        let mut kept = Kept::default();
        let fits = |before: &PlanNode, now: &PlanNode, configs: &HashMap<ArcStr, Arc<Instance>>| {
            keeps(now)
                && runs(&old.plan, before)
                && runs(new, now)
                && same_type(&old.catalogue, catalogue, &now.node_type)
                && instance::same((&old.plan, before), (new, now), &|id| configs.contains_key(id))
        };
        let places: HashMap<&str, usize> = by_id(&new.configs);
        // Each after those it names: they must be kept for it to be kept.
        for (at, config) in &old.configs {
            let before = &old.plan.configs[*at];
            let now = places.get(before.id.as_str()).map(|at| &new.configs[*at]);
            if now.is_some_and(|now| fits(before, now, &kept.configs)) {
                kept.configs.insert(before.id.clone(), config.clone());
            }
        }
        let places: HashMap<&str, usize> = by_id(&new.nodes);
        for (before, instance) in old.plan.nodes.iter().zip(&old.instances).filter(|(_, instance)| instance.works) {
            let now = places.get(before.id.as_str()).map(|at| &new.nodes[*at]);
            if now.is_some_and(|now| fits(before, now, &kept.configs)) {
                kept.nodes.insert(before.id.clone(), instance.clone());
            }
        }
        kept
    }
}

fn by_id(nodes: &[PlanNode]) -> HashMap<&str, usize> {
    nodes.iter().enumerate().map(|(at, node)| (node.id.as_str(), at)).collect()
}

/// Whether the flow of a node runs.
fn runs(plan: &Plan, node: &PlanNode) -> bool {
    plan.flows.get(node.flow as usize).is_none_or(|flow| flow.stopped.is_none())
}

/// Whether two catalogues make the same of a type.
fn same_type(a: &Arc<Catalogue>, b: &Arc<Catalogue>, node_type: &str) -> bool {
    Arc::ptr_eq(a, b)
        || match (a.get(node_type), b.get(node_type)) {
            (Some(a), Some(b)) => std::ptr::eq(a.spec, b.spec) && a.plugin == b.plugin,
            _ => false,
        }
}

/// Builds a plan's nodes, but for those that are kept.
pub(super) fn build(
    plan: Plan,
    catalogue: &Arc<Catalogue>,
    services: &Arc<Services>,
    active: &Arc<Active>,
    kept: &Kept,
) -> Deployed {
    let mut instances: Vec<Arc<Instance>> = Vec::with_capacity(plan.nodes.len());
    let mut diagnostics = Vec::new();
    let mut routes = Routes::default();
    let mut metrics = HashMap::new();
    let mut schedules = Vec::new();
    let mut entries = Vec::with_capacity(plan.nodes.len());
    let mut effects = Vec::with_capacity(plan.nodes.len());
    let mut asks_contexts = Vec::with_capacity(plan.nodes.len());
    let mut sockets = Doors::default();
    let (configs, by_id) = build_configs(&plan, catalogue, services, kept, &mut sockets, &mut diagnostics);
    let reached = reached(&plan);
    for known in catalogue.iter() {
        let Some(prepare) = &known.prepare else { continue };
        let new = plan.nodes.iter().filter(|n| n.node_type == known.spec.node_type && !kept.nodes.contains_key(&n.id));
        let new: Vec<_> = new.map(|node| NodeConfig { node, plan: &plan, services, configs: &by_id }).collect();
        prepare(&new);
    }
    for (index, node) in plan.nodes.iter().enumerate() {
        let index = index as NodeIndex;
        let make = || {
            let built = match catalogue.get(&node.node_type) {
                Some(node_type) => (node_type.build)(&NodeConfig { node, plan: &plan, services, configs: &by_id }),
                // Its flow does not run; the plan's diagnostics say why.
                None => Err(Vec::new()),
            };
            match built {
                Ok(built) => Instance::new(built, true),
                Err(problems) => {
                    let text: Vec<String> = problems.iter().map(|d| d.message.clone()).collect();
                    diagnostics.extend(problems);
                    Instance::new(Arc::new(Broken { problem: text.join("; ") }), false)
                }
            }
        };
        let instance = kept.nodes.get(&node.id).cloned().unwrap_or_else(make);
        let built = &instance.node;
        let stopped = plan.flows.get(node.flow as usize).and_then(|f| f.stopped.as_ref());
        match built.entry() {
            _ if stopped == Some(&Stopped::Disabled) => {}
            Some(Entry::Http { method, url, upload, skip_body_parsing }) => {
                let route = Route { method, url, node: index, upload, skip_body_parsing };
                if let Err(problem) = routes.add(route) {
                    diagnostics.push(Diagnostic::error("invalid-route", format!("$[{}].url", node.entry), problem));
                }
            }
            Some(Entry::Metric { name }) if stopped.is_none() => match metrics.entry(name) {
                // As with routes, the first answers.
                Occupied(first) => diagnostics.push(duplicate_metric(node.entry, first.key())),
                Vacant(place) => drop(place.insert(index)),
            },
            Some(schedule @ Entry::Schedule { .. }) if stopped.is_none() => schedules.push((index, schedule)),
            _ => {}
        }
        let source = catalogue.get(&node.node_type).is_some_and(|t| t.spec.inputs == 0 && t.spec.outputs != Some(0));
        entries.push(built.entry().is_some() || source && !reached.contains(&index));
        effects.push(effect(node, &**built));
        asks_contexts.push(services.context.is_in_database() && built.asks_contexts(&node.config));
        instances.push(instance);
    }
    Deployed {
        plan: Arc::new(plan),
        nodes: instances.iter().map(|instance| instance.node.clone()).collect(),
        instances,
        configs,
        catalogue: catalogue.clone(),
        routes,
        sockets,
        metrics,
        schedules,
        entries,
        effects,
        asks_contexts,
        diagnostics,
        services: services.clone(),
        active: active.clone(),
        stopped: AtomicBool::new(false),
        secrets: Default::default(),
    }
}

/// What a node does outside, as its flow says it: `retry: "never"` makes one that may be repeated one that must not.
fn effect(node: &PlanNode, built: &dyn Node) -> Effect {
    match built.effect() {
        Effect::Repeatable if node.config.get("retry").and_then(Value::as_str) == Some("never") => Effect::Once,
        effect => effect,
    }
}

/// Builds the config nodes, each after those it names. One that cannot be built is absent, and its problems are told.
fn build_configs(
    plan: &Plan,
    catalogue: &Catalogue,
    services: &Arc<Services>,
    kept: &Kept,
    sockets: &mut Doors,
    diagnostics: &mut Vec<Diagnostic>,
) -> (Vec<(usize, Arc<Instance>)>, Configs) {
    let mut built = Vec::new();
    let mut by_id = Configs::new();
    for at in config_order(plan) {
        let node = &plan.configs[at];
        let stopped = plan.flows.get(node.flow as usize).is_some_and(|f| f.stopped.is_some());
        let Some(known) = catalogue.get(&node.node_type).filter(|_| !stopped) else { continue };
        let config = match kept.configs.get(&node.id) {
            Some(config) => Ok(config.clone()),
            None => {
                (known.build)(&NodeConfig { node, plan, services, configs: &by_id }).map(|c| Instance::new(c, true))
            }
        };
        match config {
            Ok(config) => {
                if let Some(Entry::Websocket { path, door }) = config.node.entry()
                    && let Err(problem) = sockets.add(path, door)
                {
                    diagnostics.push(Diagnostic::error("duplicate-path", format!("$[{}].path", node.entry), problem));
                }
                by_id.insert(node.id.clone(), config.node.clone());
                built.push((at, config));
            }
            Err(problems) => diagnostics.extend(problems),
        }
    }
    (built, by_id)
}

/// The places of the config nodes, those that are named by others first; among equals, and in a circle, in the order of
/// the file.
fn config_order(plan: &Plan) -> Vec<usize> {
    let ids: HashMap<&str, usize> = plan.configs.iter().enumerate().map(|(at, node)| (node.id.as_str(), at)).collect();
    let mut order = Vec::with_capacity(plan.configs.len());
    let mut seen = vec![false; plan.configs.len()];
    for first in 0..plan.configs.len() {
        let mut path = vec![(first, false)];
        while let Some((at, done)) = path.pop() {
            if done {
                order.push(at);
                continue;
            }
            if std::mem::replace(&mut seen[at], true) {
                continue;
            }
            path.push((at, true));
            let texts =
                plan.configs[at].config.iter().filter(|(name, _)| *name != "id").filter_map(|(_, v)| v.as_str());
            path.extend(
                texts.filter_map(|text| ids.get(text)).filter(|named| !seen[**named]).map(|named| (*named, false)),
            );
        }
    }
    order
}
