//! The plugins that come with Probity, as their manifests say it; whether they are built or not.

use std::sync::LazyLock;

use super::manifest::{self, Manifest};
use crate::model::Severity;

// `MANIFESTS: &[(&str, &str)]`: folder below `plugins/`, and the text of its `plugin.toml`.
include!(concat!(env!("OUT_DIR"), "/shipped_plugins.rs"));

/// What builds them, for messages.
pub const BUILD_COMMAND: &str = "plugins/build";

/// A plugin of ours.
#[derive(Debug)]
pub struct Shipped {
    /// Below `plugins/`.
    pub folder: &'static str,
    pub manifest: Manifest,
}

/// All of them, in the order of their folders.
pub fn all() -> &'static [Shipped] {
    static ALL: LazyLock<Vec<Shipped>> = LazyLock::new(|| {
        MANIFESTS
            .iter()
            .map(|(folder, text)| {
                let (manifest, problems) = manifest::read(text);
                let errors: Vec<String> =
                    problems.iter().filter(|d| d.severity == Severity::Error).map(ToString::to_string).collect();
                // What is shipped broken is listed by its folder, and fails the test below.
                let name = if errors.is_empty() { manifest.name.clone() } else { (*folder).to_string() };
                Shipped { folder, manifest: Manifest { name, ..manifest } }
            })
            .collect()
    });
    &ALL
}

/// The plugin of ours with this name.
pub fn named(name: &str) -> Option<&'static Shipped> {
    all().iter().find(|s| s.manifest.name == name)
}

/// The plugin of ours that gives a node type, as far as manifests list them.
pub fn giving(node_type: &str) -> Option<&'static Shipped> {
    all().iter().find(|s| s.manifest.nodes.iter().any(|n| n == node_type))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_manifest_is_right() {
        for (folder, text) in MANIFESTS {
            let (_, problems) = manifest::read(text);
            assert!(problems.is_empty(), "plugins/{folder}: {problems:?}");
        }
    }
}
