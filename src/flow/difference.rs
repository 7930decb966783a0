//! What a deploy changes: which nodes are new, other, gone or wired differently, and so which of them start anew.
//!
//! Follows `diffConfigs` of Node-RED's `runtime/lib/flows/util.js` and `stop` of `runtime/lib/flows/index.js`.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::{Map, Value as Json};

use super::SUBFLOW_PREFIX;

type Entry = Map<String, Json>;

/// How much of the flows a deploy starts anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deployment {
    /// Everything.
    Full,
    /// What changed and everything that wires connect with it.
    Flows,
    /// What changed.
    Nodes,
}

impl Deployment {
    /// The value of the header `Node-RED-Deployment-Type`; any other is a full deploy, as in Node-RED.
    pub fn of_header(text: &str) -> Deployment {
        match text {
            "flows" => Deployment::Flows,
            "nodes" => Deployment::Nodes,
            _ => Deployment::Full,
        }
    }
}

/// Ids of entries by what a deploy does to them.
#[derive(Debug, Default)]
pub struct Difference {
    added: HashSet<String>,
    changed: HashSet<String>,
    removed: HashSet<String>,
    rewired: HashSet<String>,
    /// Connected by wires with one of the others.
    linked: HashSet<String>,
    /// Tabs whose environment is another.
    flows_changed: HashSet<String>,
    global_config_changed: bool,
}

/// What starts anew with a deploy.
#[derive(Debug)]
pub struct Restarts<'a> {
    difference: &'a Difference,
    deployment: Deployment,
}

impl Restarts<'_> {
    /// Whether the node of this id on this tab starts anew. For a node inside subflow instances ask for each of them,
    /// too: what changes a subflow changes its instances.
    pub fn node(&self, id: &str, tab: &str) -> bool {
        let d = self.difference;
        if self.deployment == Deployment::Full || d.global_config_changed {
            return true;
        }
        let anew = |set: &HashSet<String>| set.contains(tab) || set.contains(id);
        let tab_anew = [&d.flows_changed, &d.added, &d.removed].into_iter().any(anew);
        tab_anew
            || d.changed.contains(id)
            || self.deployment == Deployment::Flows && (d.rewired.contains(id) || d.linked.contains(id))
    }
}

/// Compares two sets of entries. `touched` are ids of entries that count as changed whatever they say: those that came
/// with credentials.
pub fn difference(old: &[Entry], new: &[Entry], touched: &BTreeSet<String>) -> Difference {
    let mut comparing =
        Comparing { old: by_id(old), new: by_id(new), found: Difference::default(), subflows: Vec::new() };
    comparing.tabs();
    comparing.old_entries(old, touched);
    comparing.new_entries(new);
    comparing.references(new);
    comparing.inner_nodes(new);
    comparing.groups(new);
    comparing.instances(new);
    comparing.links(old, new);
    comparing.found
}

impl Difference {
    pub fn restarts(&self, deployment: Deployment) -> Restarts<'_> {
        Restarts { difference: self, deployment }
    }
}

fn by_id(entries: &[Entry]) -> HashMap<&str, &Entry> {
    entries.iter().filter_map(|entry| Some((text(entry, "id")?, entry))).collect()
}

fn text<'a>(entry: &'a Entry, key: &str) -> Option<&'a str> {
    entry.get(key).and_then(Json::as_str)
}

fn is(entry: &Entry, node_type: &str) -> bool {
    text(entry, "type") == Some(node_type)
}

fn flag(entry: &Entry, key: &str) -> bool {
    entry.get(key).and_then(Json::as_bool).unwrap_or(false)
}

fn ids(json: Option<&Json>) -> impl Iterator<Item = &str> {
    json.and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str)
}

fn wired(entry: &Entry) -> impl Iterator<Item = &str> {
    let ports = entry.get("wires").and_then(Json::as_array).into_iter().flatten();
    ports.filter_map(Json::as_array).flatten().filter_map(Json::as_str)
}

/// Whether two entries differ in more than where they stand in the editor and what they are wired to.
fn differs(old: &Entry, new: &Entry) -> bool {
    let group = is(old, "group");
    let counts =
        |key: &str| !(matches!(key, "x" | "y" | "wires") || group && matches!(key, "nodes" | "style" | "w" | "h"));
    let size = |entry: &Entry| entry.keys().filter(|key| counts(key)).count();
    size(old) != size(new) || new.iter().any(|(key, value)| counts(key) && old.get(key) != Some(value))
}

struct Comparing<'a> {
    old: HashMap<&'a str, &'a Entry>,
    new: HashMap<&'a str, &'a Entry>,
    found: Difference,
    /// Subflows whose definition changed, to be carried to their instances.
    subflows: Vec<String>,
}

impl<'a> Comparing<'a> {
    /// Tabs that are gone, disabled or enabled.
    fn tabs(&mut self) {
        for (id, old) in self.old.iter().filter(|(_, entry)| is(entry, "tab")) {
            match self.new.get(id).filter(|entry| is(entry, "tab")) {
                None => drop(self.found.removed.insert(id.to_string())),
                Some(new) => match (flag(old, "disabled"), flag(new, "disabled")) {
                    (true, false) => drop(self.found.added.insert(id.to_string())),
                    (false, true) => drop(self.found.removed.insert(id.to_string())),
                    _ => {}
                },
            }
        }
    }

    /// Marks the container of an entry as changed; true when it is a subflow.
    fn container_changed(&mut self, entry: &Entry) -> bool {
        let Some(container) = text(entry, "z").and_then(|z| self.new.get(z).copied()) else { return false };
        let id = text(container, "id").unwrap_or_default().to_string();
        let subflow = is(container, "subflow");
        if subflow {
            self.subflows.push(id.clone());
        }
        self.found.changed.insert(id);
        subflow
    }

    fn old_entries(&mut self, entries: &'a [Entry], touched: &BTreeSet<String>) {
        for old in entries {
            let Some(id) = text(old, "id") else { continue };
            let container_gone = text(old, "z").is_some_and(|z| self.found.removed.contains(z));
            let new = self.new.get(id).copied();
            if is(old, "tab") {
                if let Some(new) =
                    new.filter(|new| !self.found.removed.contains(id) && old.get("env") != new.get("env"))
                {
                    self.found.flows_changed.extend(text(new, "id").map(str::to_string));
                }
                continue;
            }
            let Some(new) = new.filter(|_| !container_gone) else {
                self.found.removed.insert(id.to_string());
                if !container_gone {
                    self.container_changed(old);
                }
                continue;
            };
            if text(old, "z").is_some_and(|z| self.found.added.contains(z)) {
                self.found.added.insert(id.to_string());
                continue;
            }
            self.compare(id, old, new, touched.contains(id));
        }
    }

    fn compare(&mut self, id: &str, old: &Entry, new: &Entry, touched: bool) {
        if !flag(old, "d") && flag(new, "d") {
            self.found.removed.insert(id.to_string());
        }
        if touched || differs(old, new) {
            self.found.global_config_changed |= is(new, "global-config");
            if is(new, "subflow") {
                self.subflows.push(id.to_string());
            }
            if !self.container_changed(new) {
                self.found.changed.insert(id.to_string());
            }
        }
        if old.get("wires") != new.get("wires") && !self.container_changed(new) {
            self.found.rewired.insert(id.to_string());
        }
    }

    fn new_entries(&mut self, entries: &[Entry]) {
        for new in entries {
            let Some(id) = text(new, "id") else { continue };
            if is(new, "group") && self.found.changed.contains(id) {
                self.found.changed.extend(ids(new.get("nodes")).map(str::to_string));
            }
            if !self.old.contains_key(id) && !self.container_changed(new) {
                self.found.added.insert(id.to_string());
            }
        }
    }

    /// Carries a change on to what refers to it: config nodes to their users, link ins to their link outs.
    fn references(&mut self, entries: &[Entry]) {
        loop {
            let mut more = Vec::new();
            for entry in entries {
                let Some(id) = text(entry, "id").filter(|id| !self.found.changed.contains(*id)) else { continue };
                let refers = entry.iter().filter(|(key, _)| !matches!(key.as_str(), "z" | "id" | "wires"));
                let refers = refers.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)));
                let mut touched =
                    refers.filter(|(_, to)| self.found.changed.contains(*to) || self.found.removed.contains(*to));
                if touched.any(|(key, to)| !self.same_group(entry, id, key, to)) {
                    more.push(entry);
                }
            }
            if more.is_empty() {
                return;
            }
            for entry in more {
                self.found.changed.extend(text(entry, "id").map(str::to_string));
                self.container_changed(entry);
            }
        }
    }

    /// True when a node is in the same, changed group as before: that says nothing about the node.
    fn same_group(&self, entry: &Entry, id: &str, key: &str, to: &str) -> bool {
        key == "g"
            && self.found.changed.contains(to)
            && self.new.get(to).is_some_and(|group| is(group, "group"))
            && self.old.get(id).is_some_and(|old| old.get("g") == entry.get("g"))
    }

    /// Inside a subflow single nodes do not count: its instances start anew as a whole.
    fn inner_nodes(&mut self, entries: &[Entry]) {
        for entry in entries {
            let container = text(entry, "z").and_then(|z| self.new.get(z));
            if let Some(id) = text(entry, "id").filter(|_| container.is_some_and(|c| is(c, "subflow"))) {
                self.found.changed.remove(id);
                self.found.added.remove(id);
            }
        }
    }

    /// Carries a changed group on to the groups and nodes in it.
    fn groups(&mut self, entries: &[Entry]) {
        let nested: Vec<&Entry> =
            entries.iter().filter(|entry| is(entry, "group") && entry.contains_key("g")).collect();
        loop {
            let before = self.found.changed.len();
            for group in &nested {
                let id = text(group, "id").unwrap_or_default();
                if text(group, "g").is_some_and(|g| self.found.changed.contains(g)) {
                    self.found.changed.insert(id.to_string());
                }
                if self.found.changed.contains(id) {
                    self.found.changed.extend(ids(group.get("nodes")).map(str::to_string));
                }
            }
            if self.found.changed.len() == before {
                return;
            }
        }
    }

    /// Carries a changed subflow on to its instances, and to the subflows around those.
    fn instances(&mut self, entries: &[Entry]) {
        let mut done: HashSet<String> = HashSet::new();
        while let Some(subflow) = self.subflows.pop() {
            if !done.insert(subflow.clone()) {
                continue;
            }
            let node_type = format!("{SUBFLOW_PREFIX}{subflow}");
            for entry in entries.iter().filter(|entry| is(entry, &node_type)) {
                // The stack grows by the subflow around it.
                if !self.container_changed(entry) {
                    self.found.changed.extend(text(entry, "id").map(str::to_string));
                }
            }
        }
    }

    /// Everything that old or new wires connect with a change.
    fn links(&mut self, old: &[Entry], new: &[Entry]) {
        let mut neighbours: HashMap<&str, Vec<&str>> = HashMap::new();
        for entry in old.iter().filter(|entry| !is(entry, "tab")).chain(new) {
            let Some(id) = text(entry, "id") else { continue };
            for other in wired(entry) {
                neighbours.entry(id).or_default().push(other);
                neighbours.entry(other).or_default().push(id);
            }
        }
        let found = &self.found;
        let direct = [&found.added, &found.changed, &found.removed, &found.rewired];
        let mut open: Vec<&str> = direct.iter().flat_map(|set| set.iter().map(String::as_str)).collect();
        let mut visited: HashSet<&str> = HashSet::new();
        let mut linked = HashSet::new();
        while let Some(id) = open.pop() {
            if !visited.insert(id) {
                continue;
            }
            if !direct.iter().any(|set| set.contains(id)) {
                linked.insert(id.to_string());
            }
            open.extend(neighbours.get(id).into_iter().flatten());
        }
        self.found.linked = linked;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(json: &Json) -> Vec<Entry> {
        json.as_array().unwrap().iter().map(|e| e.as_object().unwrap().clone()).collect()
    }

    /// Two tabs: a → b → c and d alone; e uses the config node k; s is an instance of the subflow f with the node g.
    fn flows() -> Json {
        serde_json::json!([
            { "id": "t1", "type": "tab", "env": [] },
            { "id": "t2", "type": "tab" },
            { "id": "f", "type": "subflow" },
            { "id": "g", "type": "change", "z": "f", "to": "1", "x": 1, "y": 1, "wires": [[]] },
            { "id": "k", "type": "mqtt-broker", "host": "h" },
            { "id": "a", "type": "inject", "z": "t1", "x": 1, "y": 1, "wires": [["b"]] },
            { "id": "b", "type": "change", "z": "t1", "to": "1", "x": 1, "y": 1, "wires": [["c"]] },
            { "id": "c", "type": "debug", "z": "t1", "x": 1, "y": 1, "wires": [] },
            { "id": "d", "type": "debug", "z": "t1", "x": 1, "y": 1, "wires": [] },
            { "id": "e", "type": "mqtt in", "z": "t2", "broker": "k", "x": 1, "y": 1, "wires": [[]] },
            { "id": "s", "type": "subflow:f", "z": "t2", "x": 1, "y": 1, "wires": [[]] }
        ])
    }

    /// Which nodes start anew when `change` was made, by type of deploy.
    fn anew(deployment: Deployment, change: impl Fn(&mut Vec<Json>)) -> String {
        let (old, mut new) = (flows(), flows());
        change(new.as_array_mut().unwrap());
        let (old, new) = (entries(&old), entries(&new));
        let found = difference(&old, &new, &BTreeSet::new());
        let restarts = found.restarts(deployment);
        let nodes = new.iter().filter(|e| e.contains_key("x"));
        let nodes = nodes.filter(|e| restarts.node(text(e, "id").unwrap(), text(e, "z").unwrap()));
        nodes.map(|e| text(e, "id").unwrap()).collect()
    }

    fn set(id: &'static str, key: &'static str, value: Json) -> impl Fn(&mut Vec<Json>) {
        move |flows| flows.iter_mut().find(|e| e["id"] == id).unwrap()[key] = value.clone()
    }

    #[test]
    fn only_what_a_change_reaches_starts_anew() {
        use Deployment::{Flows, Full, Nodes};
        assert_eq!(anew(Full, |_| {}), "gabcdes");
        assert_eq!(anew(Nodes, |_| {}), "");
        for (id, key, value, nodes, flows) in [
            ("b", "x", 7.into(), "", ""),
            ("b", "to", "2".into(), "b", "abc"),
            ("a", "wires", serde_json::json!([["d"]]), "", "abcd"),
            ("k", "host", "other".into(), "e", "e"),
            ("g", "to", "2".into(), "s", "s"),
            ("t1", "env", serde_json::json!([{ "name": "X", "value": "1" }]), "abcd", "abcd"),
            ("t1", "label", "other".into(), "", ""),
            ("b", "d", true.into(), "b", "abc"),
            ("t2", "disabled", true.into(), "es", "es"),
        ] {
            assert_eq!(anew(Nodes, set(id, key, value.clone())), nodes, "nodes: {id}.{key}");
            assert_eq!(anew(Flows, set(id, key, value)), flows, "flows: {id}.{key}");
        }
        let without_b = |flows: &mut Vec<Json>| flows.retain(|e| e["id"] != "b");
        assert_eq!(anew(Nodes, without_b), "");
        assert_eq!(anew(Flows, without_b), "ac");
    }

    #[test]
    fn what_came_with_credentials_counts_as_changed() {
        let flows = entries(&flows());
        let found = difference(&flows, &flows, &BTreeSet::from(["k".to_string()]));
        assert!(found.restarts(Deployment::Nodes).node("e", "t2"));
        assert!(!found.restarts(Deployment::Nodes).node("s", "t2"));
    }
}
