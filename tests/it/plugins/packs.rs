//! The shipped node packs, as `plugins/build` leaves them.

use std::path::Path;

use probity::plugin::Package;
use probity::plugin::granted::Granted;
use probity::plugin::manifest::Manifest;

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
