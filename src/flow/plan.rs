//! A flow file ready to run: tabs stopped or not, subflows expanded, wires, links and handlers as indices.

use super::Specs;
use super::env::Process;
use super::expand::Expansion;
use super::index::Index;
use super::stops::stops;
use super::{gathered, handlers, links};
use crate::model::Diagnostic;
use crate::model::flow::{FlowFile, NodeIndex, Plan, PlanFlow, Stopped};

/// The tab variable that bounds how long its HTTP callers wait, in milliseconds.
const REPLY_MS_MAX: &str = "PROBITY_REPLY_MS_MAX";

/// The tab variable that says what the tab's property `durability` says, for editors that do not know that.
const DURABILITY: &str = "PROBITY_DURABILITY";

/// Builds the plan of a file. `specs` knows the node types; `process_env` is what `${X}` finds last.
///
/// Never fails: a tab that cannot run is [`Stopped`], and the plan's diagnostics say why.
pub fn plan(file: &FlowFile, specs: Specs<'_>, process_env: Process<'_>) -> Plan {
    let index = Index::new(file);
    let mut stops = stops(&index, specs);
    let mut expansion = Expansion::new(&index, specs, process_env);
    expansion.expand(&stops);
    wire(&mut expansion, &stops.tabs);
    links::connect(&mut expansion, &stops.tabs);
    handlers::connect(&mut expansion);
    let mut diagnostics = std::mem::take(&mut stops.diagnostics);
    diagnostics.append(&mut expansion.diagnostics);
    let flows = flows(&expansion, &stops.tabs, &mut diagnostics);
    gathered::check(&expansion.nodes, &flows, &mut diagnostics);
    let mut seen = std::collections::HashSet::new();
    diagnostics.retain(|d| seen.insert((d.code.clone(), d.path.clone(), d.message.clone())));
    Plan {
        flows,
        nodes: expansion.nodes,
        configs: expansion.configs,
        diagnostics: diagnostics.into_iter().map(|d| d.in_file(file.file.as_str())).collect(),
        version: super::save::revision(&file.entries),
    }
}

fn flows(expansion: &Expansion<'_>, stops: &[Option<Stopped>], diagnostics: &mut Vec<Diagnostic>) -> Vec<PlanFlow> {
    let mut out = Vec::new();
    for (f, flow) in expansion.index.file.flows.iter().enumerate() {
        // The process-wide limit is the configuration's business, so only the file counts here.
        let given = expansion.env_of_flow(f).and_then(|env| env.get(REPLY_MS_MAX));
        let reply_ms_max = given.map(|v| v.to_number()).filter(|ms| *ms >= 1.0 && *ms <= 9e15);
        if given.is_some() && reply_ms_max.is_none() {
            diagnostics.push(
                Diagnostic::warning(
                    "reply-deadline",
                    expansion.index.path_of(&flow.id),
                    format!("{REPLY_MS_MAX} of tab \"{}\" is no number of milliseconds and is ignored", flow.label),
                )
                .expected("a number of at least 1"),
            );
        }
        let durability = match expansion.env_of_flow(f).and_then(|env| env.get(DURABILITY)) {
            Some(value) if flow.durability.is_empty() => value.to_js_string(),
            _ => flow.durability.clone(),
        };
        let durable = match durability.as_str() {
            "durable" => Some(true),
            "fast" => Some(false),
            "" => None,
            other => {
                let problem =
                    format!("the durability \"{other}\" of tab \"{}\" is not known and is ignored", flow.label);
                let path = format!("{}.durability", expansion.index.path_of(&flow.id));
                diagnostics.push(Diagnostic::warning("durability", path, problem).expected("durable or fast"));
                None
            }
        };
        let limits = super::tab::limits(expansion, f, diagnostics);
        out.push(PlanFlow {
            id: flow.id.clone(),
            label: flow.label.clone(),
            stopped: stops[f].clone(),
            reply_ms_max: reply_ms_max.map(|ms| ms as u64),
            durable,
            concurrency: limits.concurrency,
            tenant: limits.tenant,
            trace: limits.trace,
        });
    }
    out
}

/// Resolves every wire. Outer scopes come first, because an instance's outputs become wires of inner nodes.
fn wire(expansion: &mut Expansion<'_>, tabs: &[Option<Stopped>]) {
    for i in 0..expansion.nodes.len() {
        let origin = expansion.origins[i];
        if expansion.nodes[i].node_type == super::SUBFLOW_STATUS {
            continue;
        }
        let mut wires = Vec::with_capacity(origin.def.wires.len());
        for ids in &origin.def.wires {
            let targets = ids.iter().filter_map(|id| expansion.target(i as NodeIndex, id, tabs));
            wires.push(targets.collect::<Vec<_>>());
        }
        expansion.nodes[i].wires = wires;
    }
    for scope in 0..expansion.scopes.len() {
        enter_instance(expansion, scope);
    }
}

/// Moves an instance's wires to the inner nodes behind its outputs, and leads its input inside.
fn enter_instance(expansion: &mut Expansion<'_>, scope: usize) {
    let (Some((_, instance)), Some(subflow)) = (expansion.scopes[scope].outer, expansion.scopes[scope].subflow) else {
        return;
    };
    let def = expansion.index.subflow_def(subflow);
    let outer = std::mem::take(&mut expansion.nodes[instance as usize].wires);
    let member = |expansion: &Expansion<'_>, id: &str| expansion.scopes[scope].members.get(id).copied();
    let mut input: Vec<NodeIndex> = def.input.iter().filter_map(|id| member(expansion, id)).collect();
    let status = expansion.scopes[scope].status_node.map(|node| vec![node]).unwrap_or_default();
    let outputs = def.outputs.iter().zip(&outer).chain(def.status.iter().map(|ends| (ends, &status)));
    for (ends, targets) in outputs {
        for (id, port) in ends {
            if *id == def.id {
                // The input wired straight to an output.
                input.extend(targets);
            } else if let Some(inner) = member(expansion, id) {
                let wires = &mut expansion.nodes[inner as usize].wires;
                if wires.len() <= *port {
                    wires.resize(*port + 1, Vec::new());
                }
                wires[*port].extend(targets);
            }
        }
    }
    expansion.nodes[instance as usize].wires = vec![input];
}

impl Expansion<'_> {
    /// The target of a wire from `from`: inside a subflow only its own nodes, on a tab any node that runs.
    fn target(&self, from: NodeIndex, id: &str, tabs: &[Option<Stopped>]) -> Option<NodeIndex> {
        let scope = self.origins[from as usize].scope;
        if self.scopes[scope].outer.is_some() {
            return self.scopes[scope].members.get(id).copied();
        }
        let found = self.find(scope, id)?;
        let (here, there) = (self.nodes[from as usize].flow, self.nodes[found as usize].flow);
        (here == there || tabs[there as usize].is_none()).then_some(found)
    }
}
