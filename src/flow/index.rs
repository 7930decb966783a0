//! Lookups over a flow file: what an id names, who is on which tab, what is a config node.

use std::collections::{HashMap, HashSet};

use super::{SUBFLOW_PREFIX, Specs};
use crate::model::flow::{FlowFile, Group, NodeDef, Subflow};
use crate::model::node_spec::NodeSpec;

/// Groups nested deeper than this are taken for damage.
const GROUP_DEPTH_MAX: usize = 64;

pub(super) struct Index<'a> {
    pub(super) file: &'a FlowFile,
    /// Nodes by id; of duplicates the first.
    nodes: HashMap<&'a str, usize>,
    tabs: HashMap<&'a str, usize>,
    subflows: HashMap<&'a str, usize>,
    groups: HashMap<&'a str, usize>,
    /// Nodes by container (`z`), in file order, without later duplicates.
    members: HashMap<&'a str, Vec<usize>>,
    /// Ids that some wire leads to.
    wired_to: HashSet<&'a str>,
    /// Entries by id; of duplicates the first.
    entries: HashMap<&'a str, usize>,
    /// Nodes whose id was taken already.
    pub(super) duplicates: Vec<usize>,
}

impl<'a> Index<'a> {
    pub(super) fn new(file: &'a FlowFile) -> Self {
        let mut index = Index {
            file,
            nodes: HashMap::with_capacity(file.nodes.len()),
            tabs: HashMap::new(),
            subflows: HashMap::new(),
            groups: HashMap::new(),
            members: HashMap::new(),
            wired_to: HashSet::new(),
            entries: HashMap::with_capacity(file.entries.len()),
            duplicates: Vec::new(),
        };
        for (i, entry) in file.entries.iter().enumerate() {
            if let Some(id) = entry.get("id").and_then(|id| id.as_str()) {
                index.entries.entry(id).or_insert(i);
            }
        }
        for (i, flow) in file.flows.iter().enumerate() {
            index.tabs.entry(&flow.id).or_insert(i);
        }
        for (i, subflow) in file.subflows.iter().enumerate() {
            if !index.tabs.contains_key(subflow.id.as_str()) {
                index.subflows.entry(&subflow.id).or_insert(i);
            }
            index.wired_to.extend(subflow.input.iter().map(|id| id.as_str()));
        }
        for (i, group) in file.groups.iter().enumerate() {
            index.groups.entry(&group.id).or_insert(i);
        }
        for (i, node) in file.nodes.iter().enumerate() {
            index.add_node(i, node);
        }
        index
    }

    fn add_node(&mut self, i: usize, node: &'a NodeDef) {
        let id = node.id.as_str();
        let taken = [&self.nodes, &self.tabs, &self.subflows, &self.groups].iter().any(|map| map.contains_key(id));
        if taken {
            self.duplicates.push(i);
            return;
        }
        self.nodes.insert(id, i);
        self.members.entry(&node.z).or_default().push(i);
        self.wired_to.extend(node.wires.iter().flatten().map(|id| id.as_str()));
    }

    pub(super) fn node(&self, id: &str) -> Option<&'a NodeDef> {
        self.nodes.get(id).map(|i| &self.file.nodes[*i])
    }

    pub(super) fn tab(&self, id: &str) -> Option<usize> {
        self.tabs.get(id).copied()
    }

    pub(super) fn subflow(&self, id: &str) -> Option<usize> {
        self.subflows.get(id).copied()
    }

    /// The definition behind an instance's type `subflow:<id>`.
    pub(super) fn subflow_of(&self, node: &NodeDef) -> Option<usize> {
        self.subflow(node.node_type.strip_prefix(SUBFLOW_PREFIX)?)
    }

    pub(super) fn subflow_def(&self, i: usize) -> &'a Subflow {
        &self.file.subflows[i]
    }

    /// The group `id` if it belongs to this container.
    pub(super) fn group_in(&self, id: &str, container: &str) -> Option<&'a Group> {
        self.groups.get(id).map(|i| &self.file.groups[*i]).filter(|g| g.z == container)
    }

    /// The groups around a node or group, innermost first, within its container.
    pub(super) fn groups_around(&self, g: Option<&str>, container: &str) -> Vec<&'a Group> {
        let mut out: Vec<&Group> = Vec::new();
        let mut next = g.and_then(|g| self.group_in(g, container));
        while let Some(group) = next {
            if out.len() == GROUP_DEPTH_MAX || out.iter().any(|seen| seen.id == group.id) {
                break;
            }
            out.push(group);
            next = group.g.as_ref().and_then(|g| self.group_in(g, container));
        }
        out
    }

    /// Nodes of a tab or subflow, or with `""` of none, in file order.
    pub(super) fn members(&self, container: &str) -> impl Iterator<Item = (usize, &'a NodeDef)> + '_ {
        self.members.get(container).into_iter().flatten().map(|i| (*i, &self.file.nodes[*i]))
    }

    /// True for a node that only others refer to.
    ///
    /// Node-RED goes by `x` and `y` alone; here a known type decides for itself, and a node of unknown type
    /// without a place is an ordinary node when it has wires or is wired to.
    pub(super) fn is_config(&self, node: &NodeDef, spec: Option<&NodeSpec>) -> bool {
        match spec {
            Some(spec) => spec.config_node,
            None => {
                let placed = node.config.contains_key("x") && node.config.contains_key("y");
                let wired = !node.wires.is_empty() || self.wired_to.contains(node.id.as_str());
                !placed && !wired && !node.node_type.starts_with(SUBFLOW_PREFIX)
            }
        }
    }

    pub(super) fn is_known(&self, node: &NodeDef, specs: Specs<'_>) -> bool {
        match node.node_type.strip_prefix(SUBFLOW_PREFIX) {
            Some(id) => self.subflow(id).is_some(),
            None => super::is_descriptive(&node.node_type) || specs(&node.node_type).is_some(),
        }
    }

    /// The entry with this id.
    pub(super) fn entry(&self, id: &str) -> Option<&'a serde_json::Map<String, serde_json::Value>> {
        self.entries.get(id).map(|i| &self.file.entries[*i])
    }

    /// JSON path of the entry with this id.
    pub(super) fn path_of(&self, id: &str) -> String {
        self.entries.get(id).map_or_else(|| "$".into(), |i| format!("$[{i}]"))
    }
}
