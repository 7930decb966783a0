//! The shipped node packs, as `plugins/build` leaves them.

use std::path::Path;

use probity::plugin::Package;
use probity::plugin::granted::{CAPABILITIES, Granted};
use probity::plugin::manifest::Manifest;

/// The packs with node-red-status' 33 node types.
pub const STATUS: [(&str, &[&str]); 8] = [
    ("ai", &["ai-response"]),
    ("control-flow", &["chain-response", "coexistence", "responded-existence", "response"]),
    ("extraction", &["find-object", "get-kv-property", "get-property-value", "last-timestamp"]),
    ("filtering", &["filter-by", "filter-by-date", "group-by"]),
    (
        "integration",
        &[
            "csv-reader",
            "github-collector",
            "log-getter",
            "log-trace",
            "project-to-url",
            "trello-collector",
            "url-to-doc",
        ],
    ),
    ("logic", &["and", "if-else", "implies", "lesser-than", "or"]),
    ("status", &["databinder", "filter-scope", "status-storer"]),
    (
        "validation",
        &["check-property", "exists-pipe", "exists-section-in-doc", "exists-url", "has-activity", "is-valid-url"],
    ),
];

/// A pack that `plugins/build` built, with what is granted; `None`, with a word about it, when it is not there.
pub fn dist(name: &str, granted: Granted) -> Option<Package> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/dist").join(name);
    let Ok(text) = std::fs::read_to_string(dir.join("plugin.toml")) else {
        return super::rig::skipped(&format!("{name} is not built; run plugins/build {name}"));
    };
    let manifest: Manifest = toml::from_str(&text).unwrap();
    let wasm = std::fs::read(dir.join(manifest.component.as_ref().unwrap())).unwrap().into();
    Some(Package { manifest, wasm, script: None, granted })
}

/// As [`dist`], with everything granted that there is, and these folders.
pub fn shipped(name: &str, folders: &[&Path]) -> Option<Package> {
    let granted = Granted {
        names: CAPABILITIES.iter().map(ToString::to_string).collect(),
        hosts: vec!["*".into(), "127.0.0.1".into()],
        secrets: ["*".to_string()].into(),
        folders: folders.iter().map(|path| path.canonicalize().unwrap()).collect(),
    };
    dist(name, granted)
}
