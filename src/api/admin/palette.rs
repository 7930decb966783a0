//! The node types as the editor's palette groups them: modules of sets of types. Node-RED's own sets keep their names, so
//! that the editor's files fit; other builtin types and those of plugins are a set each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use serde_json::{Value as Json, json};

use super::NODE_RED_VERSION;
use crate::runtime::Catalogue;

/// Node-RED's module.
const NODE_RED: &str = "node-red";

/// The module of builtin types that Node-RED does not have.
const OWN: &str = "probity";

/// The sets of Node-RED's own module, in its order, and their types.
const SETS: &[(&str, &[&str])] = &[
    ("junction", &["junction"]),
    ("inject", &["inject"]),
    ("debug", &["debug"]),
    ("complete", &["complete"]),
    ("catch", &["catch"]),
    ("status", &["status"]),
    ("link", &["link in", "link out", "link call"]),
    ("comment", &["comment"]),
    ("global-config", &["global-config"]),
    ("unknown", &["unknown"]),
    ("function", &["function"]),
    ("switch", &["switch"]),
    ("change", &["change"]),
    ("range", &["range"]),
    ("template", &["template"]),
    ("delay", &["delay"]),
    ("trigger", &["trigger"]),
    ("exec", &["exec"]),
    ("rbe", &["rbe"]),
    ("tls", &["tls-config"]),
    ("httpproxy", &["http proxy"]),
    ("mqtt", &["mqtt in", "mqtt out", "mqtt-broker"]),
    ("httpin", &["http in", "http response"]),
    ("httprequest", &["http request"]),
    ("websocket", &["websocket in", "websocket out", "websocket-listener", "websocket-client"]),
    ("tcpin", &["tcp in", "tcp out", "tcp request"]),
    ("udp", &["udp in", "udp out"]),
    ("CSV", &["csv"]),
    ("HTML", &["html"]),
    ("JSON", &["json"]),
    ("XML", &["xml"]),
    ("YAML", &["yaml"]),
    ("split", &["split", "join"]),
    ("sort", &["sort"]),
    ("batch", &["batch"]),
    ("file", &["file", "file in"]),
    ("watch", &["watch"]),
];

/// Types without behaviour, which no catalogue needs to know.
const DESCRIPTIVE: [&str; 3] = ["comment", "global-config", "unknown"];

/// A module of the palette.
#[derive(Clone, Debug, PartialEq)]
pub struct Module {
    pub name: String,
    pub version: String,
    pub sets: Vec<Set>,
}

/// Types that are enabled and disabled together.
#[derive(Clone, Debug, PartialEq)]
pub struct Set {
    /// `<module>/<name>`.
    pub id: String,
    pub name: String,
    pub types: Vec<String>,
    pub enabled: bool,
}

/// Which sets are switched off, over restarts.
pub struct Palette {
    disabled: ArcSwap<BTreeSet<String>>,
    /// Where that is kept; `None`: nowhere.
    file: Option<PathBuf>,
    turn: Mutex<()>,
}

impl Palette {
    /// Reads what was switched off before.
    pub fn load(file: Option<PathBuf>) -> Palette {
        let text = file.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
        let disabled = text.map(|text| serde_json::from_str(&text).unwrap_or_default()).unwrap_or_default();
        Palette { disabled: ArcSwap::from_pointee(disabled), file, turn: Mutex::default() }
    }

    /// All modules, Node-RED's first.
    pub fn modules(&self, catalogue: &Catalogue) -> Vec<Module> {
        let disabled = self.disabled.load();
        let set = |module: &str, name: &str, types: Vec<String>| {
            let id = format!("{module}/{name}");
            Set { enabled: !disabled.contains(&id), id, name: name.to_string(), types }
        };
        let known = |t: &&&str| DESCRIPTIVE.contains(*t) || catalogue.spec(t).is_some();
        let core = SETS.iter().filter_map(|(name, types)| {
            let types: Vec<String> = types.iter().filter(known).map(|t| t.to_string()).collect();
            (!types.is_empty()).then(|| set(NODE_RED, name, types))
        });
        let core = Module { name: NODE_RED.into(), version: NODE_RED_VERSION.into(), sets: core.collect() };
        let mut others: BTreeMap<String, Vec<Set>> = BTreeMap::new();
        for node in catalogue.iter() {
            let name = node.spec.node_type;
            let module = match &node.plugin {
                Some(plugin) => plugin.as_str(),
                // A type that no flow names, or one of Node-RED's.
                None if name.ends_with(':') || name == crate::flow::SUBFLOW_STATUS || is_core(name) => continue,
                None => OWN,
            };
            let one = set(module, &name.replace(' ', "-"), vec![name.to_string()]);
            others.entry(module.to_string()).or_default().push(one);
        }
        let version = env!("CARGO_PKG_VERSION");
        let others = others.into_iter().map(|(name, sets)| Module { name, version: version.into(), sets });
        [core].into_iter().chain(others).collect()
    }

    /// The sets that are there now and were not before, as the editor is told of them.
    pub fn added_since(&self, before: &[Module], catalogue: &Catalogue) -> Json {
        let known: BTreeSet<&str> = before.iter().flat_map(|m| &m.sets).map(|set| set.id.as_str()).collect();
        let modules = self.modules(catalogue);
        let sets = modules.iter().flat_map(|module| module.sets.iter().map(move |set| (module, set)));
        sets.filter(|(_, set)| !known.contains(set.id.as_str())).map(|(module, set)| set.to_json(module)).collect()
    }

    /// Whether a node type is switched off.
    pub fn is_disabled(&self, catalogue: &Catalogue, node_type: &str) -> bool {
        !self.disabled.load().is_empty()
            && self
                .modules(catalogue)
                .iter()
                .flat_map(|m| &m.sets)
                .any(|s| !s.enabled && s.types.iter().any(|t| t == node_type))
    }

    /// Switches a set on or off. The error says why that could not be kept.
    pub(super) fn enable(&self, set: &str, on: bool) -> Result<(), String> {
        let _turn = self.turn.lock().unwrap_or_else(|p| p.into_inner());
        let mut disabled = BTreeSet::clone(&self.disabled.load());
        let changed = if on { disabled.remove(set) } else { disabled.insert(set.to_string()) };
        if !changed {
            return Ok(());
        }
        if let Some(file) = &self.file {
            let text = json!(disabled).to_string();
            let temporary = file.with_extension("new");
            let written = std::fs::write(&temporary, text).and_then(|()| std::fs::rename(&temporary, file));
            written.map_err(|e| format!("cannot write {}: {e}", file.display()))?;
        }
        self.disabled.store(Arc::new(disabled));
        Ok(())
    }
}

fn is_core(node_type: &str) -> bool {
    SETS.iter().any(|(_, types)| types.contains(&node_type))
}

impl Module {
    pub(super) fn to_json(&self) -> Json {
        let sets: Vec<Json> = self.sets.iter().map(|set| set.to_json(self)).collect();
        json!({ "name": self.name, "version": self.version, "nodes": sets, "plugins": [] })
    }
}

impl Set {
    pub(super) fn to_json(&self, module: &Module) -> Json {
        let mut json = json!({
            "id": self.id, "name": self.name, "types": self.types, "enabled": self.enabled, "local": false,
            "user": false, "module": module.name,
        });
        // As in Node-RED, what is switched off has no version.
        if self.enabled {
            json["version"] = module.version.as_str().into();
        }
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_reds_sets_keep_their_names_and_ours_are_a_module() {
        let catalogue = crate::nodes::catalogue();
        let palette = Palette::load(None);
        let modules = palette.modules(&catalogue);
        assert_eq!(modules[0].name, "node-red");
        let link = modules[0].sets.iter().find(|set| set.id == "node-red/link").unwrap();
        assert_eq!(link.types, ["link in", "link out", "link call"]);
        let own = modules.iter().find(|module| module.name == "probity").unwrap();
        assert!(own.sets.iter().any(|set| set.types == ["metric"]), "{own:?}");
        let all: Vec<&String> = modules.iter().flat_map(|m| &m.sets).flat_map(|s| &s.types).collect();
        assert_eq!(all.len(), all.iter().collect::<BTreeSet<_>>().len(), "each type stands once");
    }

    #[test]
    fn a_set_stays_switched_off_over_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("disabled");
        let catalogue = crate::nodes::catalogue();
        let palette = Palette::load(Some(file.clone()));
        palette.enable("node-red/link", false).unwrap();
        let again = Palette::load(Some(file.clone()));
        assert!(again.is_disabled(&catalogue, "link call") && !again.is_disabled(&catalogue, "switch"));
        again.enable("node-red/link", true).unwrap();
        assert!(!Palette::load(Some(file)).is_disabled(&catalogue, "link call"));
    }
}
