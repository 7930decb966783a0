//! Flows as the file says them (`FlowFile`) and as they run (`Plan`): data only; `flow` fills them in.

use std::sync::Arc;

use arcstr::ArcStr;

use super::{Diagnostic, Object};

/// A flow file, taken apart. `entries` keeps every object of the file verbatim, in its order, for writing back.
#[derive(Clone, Debug, Default)]
pub struct FlowFile {
    /// Where it came from; empty when it was posted.
    pub file: String,
    pub entries: Vec<serde_json::Map<String, serde_json::Value>>,
    pub flows: Vec<Flow>,
    pub subflows: Vec<Subflow>,
    pub groups: Vec<Group>,
    /// Every node of every tab and subflow, and the config nodes, in file order.
    pub nodes: Vec<NodeDef>,
}

/// A tab.
#[derive(Clone, Debug)]
pub struct Flow {
    pub id: ArcStr,
    pub label: ArcStr,
    pub disabled: bool,
    pub info: String,
    pub env: Vec<EnvEntry>,
    /// False for the tab made for nodes whose `z` names none.
    pub declared: bool,
    /// `durable`, `fast`, or nothing; as written.
    pub durability: ArcStr,
    /// Index into [`FlowFile::entries`], for properties that only we know; `None` when it is not declared.
    pub entry: Option<usize>,
}

#[derive(Clone, Debug)]
pub struct Subflow {
    pub id: ArcStr,
    pub name: ArcStr,
    pub env: Vec<EnvEntry>,
    /// Targets of the input: inner node ids.
    pub input: Vec<ArcStr>,
    /// Per output: `(inner node id or the subflow's own id, port)`.
    pub outputs: Vec<Vec<(ArcStr, usize)>>,
    /// Sources of the status output; `None` when the subflow has none.
    pub status: Option<Vec<(ArcStr, usize)>>,
}

#[derive(Clone, Debug)]
pub struct Group {
    pub id: ArcStr,
    pub z: ArcStr,
    pub g: Option<ArcStr>,
    pub name: ArcStr,
    pub env: Vec<EnvEntry>,
    pub nodes: Vec<ArcStr>,
}

/// One `env` entry of a tab, group, subflow or instance, not yet evaluated.
#[derive(Clone, Debug, PartialEq)]
pub struct EnvEntry {
    pub name: ArcStr,
    pub value: super::Value,
    /// `str`, `num`, `bool`, `json`, `env`, `jsonata`, `bin`, `date`, `cred`, …
    pub kind: ArcStr,
}

/// A node as the file defines it.
#[derive(Clone, Debug)]
pub struct NodeDef {
    pub id: ArcStr,
    pub node_type: ArcStr,
    pub name: ArcStr,
    pub z: ArcStr,
    pub g: Option<ArcStr>,
    pub disabled: bool,
    pub wires: Vec<Vec<ArcStr>>,
    /// All properties, `id` to `wires` included.
    pub config: Arc<Object>,
    /// Index into [`FlowFile::entries`], which gives JSON paths like `$[12].rules[0]`.
    pub entry: usize,
}

/// A node of a plan, addressed by its index.
pub type NodeIndex = u32;

/// [`PlanNode::flow`] of config nodes that belong to no tab.
pub const GLOBAL_FLOW: u32 = u32::MAX;

/// Flows ready to run: subflows expanded, wires and handlers resolved to indices. Built whole, never patched.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub nodes: Vec<PlanNode>,
    /// Config nodes: no wires, no place in the message path; found by the id that other nodes' properties hold.
    pub configs: Vec<PlanNode>,
    pub flows: Vec<PlanFlow>,
    /// Everything worth telling the user about this set of flows.
    pub diagnostics: Vec<Diagnostic>,
    /// SHA-256 of the flow file's entries, hex: the flow version recorded with every run.
    pub version: String,
}

impl Plan {
    /// The flow and the tenant that a run is kept under which begins at this node; empty where there is none.
    pub fn owner(&self, node: NodeIndex) -> (String, String) {
        let flow = self.nodes.get(node as usize).and_then(|at| self.flows.get(at.flow as usize));
        let id = flow.map(|flow| flow.id.to_string()).unwrap_or_default();
        let tenant = flow.and_then(|flow| flow.tenant.as_ref()).map(ArcStr::to_string).unwrap_or_default();
        (id, tenant)
    }

    /// Whose tab a node is on; empty when that names no tenant.
    pub fn tenant(&self, node: &PlanNode) -> &str {
        let flow = self.flows.get(node.flow as usize);
        flow.and_then(|flow| flow.tenant.as_deref()).unwrap_or_default()
    }
}

/// A tab of a plan.
#[derive(Clone, Debug, Default)]
pub struct PlanFlow {
    pub id: ArcStr,
    pub label: ArcStr,
    /// Why this flow does not run: `None` when it does.
    pub stopped: Option<Stopped>,
    /// Answer deadline of its HTTP callers in milliseconds, when its environment sets `PROBITY_REPLY_MS_MAX`.
    pub reply_ms_max: Option<u64>,
    /// Whether its runs are durable: committed before they are acknowledged. `None`: the configuration says.
    pub durable: Option<bool>,
    /// Runs of it that are open at once: the tab's `concurrency`; 0 for no limit.
    pub concurrency: Option<usize>,
    /// Whose it is: the tab's `tenant`.
    pub tenant: Option<ArcStr>,
    /// Whether what its steps are given and send is kept: the tab's `trace`.
    pub trace: Option<bool>,
}

/// Why a flow of a plan does not run.
#[derive(Clone, Debug, PartialEq)]
pub enum Stopped {
    Disabled,
    /// These node types are not known; the flow's HTTP endpoints answer 501 naming them.
    UnknownTypes(Vec<ArcStr>),
    /// The flow's definition has errors (see the plan's diagnostics).
    Invalid,
}

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Stopped::Disabled => f.write_str("its tab is disabled"),
            Stopped::UnknownTypes(types) => {
                let types: Vec<String> = types.iter().map(|t| format!("\"{t}\"")).collect();
                write!(f, "it has nodes of unknown type: {}", types.join(", "))
            }
            Stopped::Invalid => f.write_str("it has errors; `probity check` lists them"),
        }
    }
}

/// A node of a plan. Nodes of stopped flows are present too, so that their endpoints can say why.
#[derive(Clone, Debug)]
pub struct PlanNode {
    /// The definition's id; inside a subflow instance `<instance id>-<inner id>`, nested likewise.
    pub id: ArcStr,
    pub node_type: ArcStr,
    pub name: ArcStr,
    /// Index into [`Plan::flows`]; [`GLOBAL_FLOW`] for a config node that belongs to no tab.
    pub flow: u32,
    /// The subflow instance node around this one; `None` directly on a tab. A `subflow-status` node sets the
    /// status of this instance, not its own.
    pub instance: Option<NodeIndex>,
    /// The container whose `flow` context the node sees: tab id or subflow instance id.
    pub context: ArcStr,
    /// Contexts of the enclosing flows, nearest first, for `$parent.`.
    pub parents: Arc<Vec<ArcStr>>,
    /// All properties with `${X}` replaced by the environment.
    pub config: Arc<Object>,
    pub env: Arc<Env>,
    /// Per port, the targets in wire order.
    pub wires: Vec<Vec<NodeIndex>>,
    /// Where an error of this node goes: exactly the catch nodes that receive it, in order (the nearest flow
    /// with one that takes it; `uncaught` ones are in only when they are due). Empty: nothing catches it.
    pub catch: Vec<CatchTarget>,
    /// Status nodes that hear this node, in order.
    pub status: Vec<NodeIndex>,
    /// Complete nodes that are told when this node is done with a message, in order.
    pub complete: Vec<NodeIndex>,
    /// For a `link call`: its static target, or every `link in` a dynamic call may reach. A dynamic target is
    /// looked up by id, then by name where `same_flow`, then by name anywhere; a name must fit exactly one.
    pub links: Vec<LinkTarget>,
    /// Position of the definition in the file, for diagnostics.
    pub entry: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct CatchTarget {
    pub node: NodeIndex,
    /// The catch node takes only errors that no other has taken (which is so here).
    pub uncaught_only: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LinkTarget {
    pub id: ArcStr,
    /// The name it may be called by: its id when it has none, or when it is inside another subflow instance.
    pub name: ArcStr,
    pub node: NodeIndex,
    /// In the same flow as the node that holds this list.
    pub same_flow: bool,
}

/// A resolved environment: names looked up in here first, then in `parent`, then in the process (by `config`).
#[derive(Debug, Default)]
pub struct Env {
    pub values: Vec<(ArcStr, super::Value)>,
    pub parent: Option<Arc<Env>>,
    /// A node's own names (`NR_NODE_…`): no level of its own, so `$parent.` does not count it.
    pub of_node: bool,
}

impl Env {
    /// The nearest value of `name`; a `$parent.` prefix skips one level (tab, group or subflow instance).
    pub fn get(&self, name: &str) -> Option<&super::Value> {
        let mut name = name;
        let mut level = self;
        loop {
            match name.strip_prefix("$parent.") {
                Some(rest) if !level.of_node => name = rest,
                Some(_) => {}
                None => {
                    if let Some((_, value)) = level.values.iter().rev().find(|(k, _)| k == name) {
                        return Some(value);
                    }
                }
            }
            level = level.parent.as_ref()?;
        }
    }
}
