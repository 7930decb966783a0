//! The packages of nodes that a Node-RED user folder has installed, and which of their types the flows have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;
use serde_json::Value as Json;

use super::Type;

/// An installed package.
#[derive(Serialize)]
pub(super) struct Package {
    pub name: String,
    pub version: String,
    /// Node types it has, as far as the folder says.
    pub types: BTreeSet<String>,
    /// Those of them that the flows have and that run here.
    pub replaced: Vec<String>,
    /// Those of them that the flows have and that nothing here stands in for.
    pub missing: Vec<String>,
}

/// More than this of a script is not looked at, bytes.
const SCRIPT_BYTES_MAX: u64 = 2_000_000;

/// What package.json names, what Node-RED's own list (`.config.nodes.json`) has, and what their scripts register.
pub(super) fn found(dir: &Path, used: &[Type]) -> Vec<Package> {
    let read = |path: &Path| -> Json {
        serde_json::from_str(&std::fs::read_to_string(path).unwrap_or_default()).unwrap_or_default()
    };
    let mut packages: BTreeMap<String, (String, BTreeSet<String>)> = BTreeMap::new();
    for (name, version) in object(&read(&dir.join("package.json"))["dependencies"]) {
        packages.insert(name.clone(), (version.as_str().unwrap_or_default().to_owned(), BTreeSet::new()));
    }
    for (name, module) in object(&read(&dir.join(".config.nodes.json"))).filter(|(name, _)| *name != "node-red") {
        let package = packages.entry(name.clone()).or_default();
        if let Some(version) = module["version"].as_str() {
            package.0 = version.to_owned();
        }
        for (_, set) in object(&module["nodes"]) {
            let types = set["types"].as_array().into_iter().flatten();
            package.1.extend(types.filter_map(Json::as_str).map(str::to_owned));
        }
    }
    for (name, (version, types)) in &mut packages {
        // A name that leads elsewhere is no package.
        if name.split('/').any(|part| part.is_empty() || part == "." || part == "..") || name.contains('\\') {
            continue;
        }
        let folder = dir.join("node_modules").join(name);
        let manifest = read(&folder.join("package.json"));
        if let Some(installed) = manifest["version"].as_str() {
            *version = installed.to_owned();
        }
        for (_, script) in object(&manifest["node-red"]["nodes"]) {
            let Some(script) = script.as_str().filter(|s| !s.contains("..")) else { continue };
            types.extend(registered(&folder.join(script)));
        }
    }
    let state = |here: bool, types: &BTreeSet<String>| -> Vec<String> {
        let used = used.iter().filter(|u| u.here.is_some() == here && types.contains(&u.node_type));
        used.map(|u| u.node_type.clone()).collect()
    };
    packages
        .into_iter()
        .map(|(name, (version, types))| {
            let (replaced, missing) = (state(true, &types), state(false, &types));
            Package { name, version, types, replaced, missing }
        })
        .collect()
}

fn object(json: &Json) -> impl Iterator<Item = (&String, &Json)> {
    json.as_object().into_iter().flatten()
}

/// The types that a script registers by a literal name.
fn registered(script: &Path) -> Vec<String> {
    let short = script.metadata().is_ok_and(|about| about.len() <= SCRIPT_BYTES_MAX);
    let text = if short { std::fs::read_to_string(script).unwrap_or_default() } else { String::new() };
    text.split("registerType(")
        .skip(1)
        .filter_map(|after| {
            let after = after.trim_start();
            let quote = after.chars().next().filter(|c| matches!(c, '"' | '\'' | '`'))?;
            after[1..].split_once(quote).map(|(name, _)| name.to_owned())
        })
        .collect()
}
