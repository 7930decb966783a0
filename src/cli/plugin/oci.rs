//! Plugins out of an OCI image layout: a folder with `oci-layout`, `index.json` and `blobs/sha256`, as registries'
//! tools write it (`oras copy --to-oci-layout`, `skopeo copy … oci:DIR`).

use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::plugin::conformance::COMPONENT_BYTES_MAX;

/// A plugin's code.
const WASM: &str = "application/wasm";
/// Indexes and manifests are small, bytes.
const JSON_BYTES_MAX: u64 = 4 << 20;
/// Indexes may point to indexes, this deep.
const DEPTH_MAX: usize = 4;

/// What a layout holds.
#[derive(Debug, PartialEq)]
pub(super) struct Artifact {
    pub wasm: Vec<u8>,
    /// The text of the signature that lies beside it.
    pub signature: Option<String>,
}

#[derive(Deserialize)]
struct Layout {
    #[serde(rename = "imageLayoutVersion")]
    version: String,
}

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Descriptor>,
    /// Of an image manifest instead.
    #[serde(default)]
    layers: Vec<Descriptor>,
}

#[derive(Clone, Deserialize)]
struct Descriptor {
    #[serde(rename = "mediaType", default)]
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

impl Descriptor {
    fn title(&self) -> &str {
        self.annotations.get("org.opencontainers.image.title").map_or("", String::as_str)
    }

    fn reference(&self) -> &str {
        self.annotations.get("org.opencontainers.image.ref.name").map_or("", String::as_str)
    }
}

/// Whether a folder is such a layout.
pub(super) fn is_layout(folder: &Path) -> bool {
    folder.join("oci-layout").is_file()
}

/// The plugin in a layout: of several the one that `reference` names. Every digest and size is checked.
pub(super) fn read(folder: &Path, reference: Option<&str>) -> Result<Artifact, String> {
    let layout: Layout = json(&small(&folder.join("oci-layout"))?, "oci-layout")?;
    if !layout.version.starts_with("1.") {
        return Err(format!("the layout is of version {}; expected 1.x", layout.version));
    }
    let index: Index = json(&small(&folder.join("index.json"))?, "index.json")?;
    let chosen = choose(&index.manifests, reference)?;
    let mut manifest: Index = json(&blob(folder, chosen, JSON_BYTES_MAX)?, "the manifest")?;
    for _ in 0..DEPTH_MAX {
        if manifest.manifests.is_empty() {
            break;
        }
        let chosen = choose(&manifest.manifests, None)?;
        manifest = json(&blob(folder, chosen, JSON_BYTES_MAX)?, "the manifest")?;
    }
    let is_signature = |layer: &&Descriptor| layer.title().ends_with(".minisig");
    let code: Vec<&Descriptor> = manifest.layers.iter().filter(|l| l.media_type == WASM && !is_signature(l)).collect();
    let code = match code.as_slice() {
        [one] => *one,
        [] => return Err(format!("the image has no layer of type {WASM}")),
        more => return Err(format!("the image has {} layers of type {WASM}; expected one", more.len())),
    };
    let wasm = blob(folder, code, 2 * COMPONENT_BYTES_MAX as u64)?;
    let signature = match manifest.layers.iter().find(is_signature) {
        Some(layer) => Some(
            String::from_utf8(blob(folder, layer, JSON_BYTES_MAX)?)
                .map_err(|_| "the signature is no text".to_string())?,
        ),
        None => None,
    };
    Ok(Artifact { wasm, signature })
}

fn choose<'d>(manifests: &'d [Descriptor], reference: Option<&str>) -> Result<&'d Descriptor, String> {
    let names = || {
        let names: Vec<&str> = manifests.iter().map(Descriptor::reference).filter(|n| !n.is_empty()).collect();
        if names.is_empty() { "none of them has a name".into() } else { names.join(", ") }
    };
    match (manifests, reference) {
        ([], _) => Err("the layout holds no image".into()),
        ([one], None) => Ok(one),
        (all, Some(wanted)) => all
            .iter()
            .find(|d| d.reference() == wanted || d.digest == wanted)
            .ok_or_else(|| format!("the layout has no image \"{wanted}\"; it has {}", names())),
        (all, None) => Err(format!("the layout has {} images; choose one with --ref: {}", all.len(), names())),
    }
}

fn json<T: serde::de::DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|e| format!("{what} is not as OCI writes it: {e}"))
}

fn small(path: &Path) -> Result<Vec<u8>, String> {
    let named = |e: std::io::Error| format!("{}: {e}", path.display());
    let size = std::fs::metadata(path).map_err(named)?.len();
    if size > JSON_BYTES_MAX {
        return Err(format!("{} has {size} bytes; at most {JSON_BYTES_MAX}", path.display()));
    }
    std::fs::read(path).map_err(named)
}

/// The bytes a descriptor names. Its digest becomes a file name, so it is held to its form first.
fn blob(folder: &Path, descriptor: &Descriptor, bytes_max: u64) -> Result<Vec<u8>, String> {
    let Descriptor { digest, size, .. } = descriptor;
    let hexadecimal = |h: &&str| h.len() == 64 && h.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let Some(name) = digest.strip_prefix("sha256:").filter(hexadecimal) else {
        return Err(format!("\"{digest}\" is no digest; expected sha256: and 64 hexadecimal digits"));
    };
    if *size > bytes_max {
        return Err(format!("blob {digest} has {size} bytes; at most {bytes_max}"));
    }
    let path = folder.join("blobs").join("sha256").join(name);
    let named = |e: std::io::Error| format!("{}: {e}", path.display());
    let found = std::fs::metadata(&path).map_err(named)?.len();
    if found != *size {
        return Err(format!("blob {digest} has {found} bytes; the layout says {size}"));
    }
    let bytes = std::fs::read(&path).map_err(named)?;
    let real = hex::encode(Sha256::digest(&bytes));
    if real != name {
        return Err(format!("blob {digest} is not what its name says, but sha256:{real}; it was changed"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A layout that grows blob by blob.
    struct Rig(tempfile::TempDir);

    impl Rig {
        fn new() -> Rig {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(folder.path().join("blobs/sha256")).unwrap();
            std::fs::write(folder.path().join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
            Rig(folder)
        }

        fn blob(&self, media_type: &str, bytes: &[u8], annotations: serde_json::Value) -> serde_json::Value {
            let digest = hex::encode(Sha256::digest(bytes));
            std::fs::write(self.0.path().join("blobs/sha256").join(&digest), bytes).unwrap();
            json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len(), "annotations": annotations})
        }

        fn image(&self, name: &str, layers: &[serde_json::Value]) -> serde_json::Value {
            let manifest = json!({"schemaVersion": 2, "layers": layers}).to_string();
            let names = json!({"org.opencontainers.image.ref.name": name});
            self.blob("application/vnd.oci.image.manifest.v1+json", manifest.as_bytes(), names)
        }

        fn index(&self, images: &[serde_json::Value]) {
            let index = json!({"schemaVersion": 2, "manifests": images}).to_string();
            std::fs::write(self.0.path().join("index.json"), index).unwrap();
        }

        fn read(&self, reference: Option<&str>) -> Result<Artifact, String> {
            read(self.0.path(), reference)
        }
    }

    #[test]
    fn the_wasm_layer_and_its_signature_are_found() {
        let rig = Rig::new();
        let code = rig.blob(WASM, b"code", json!({}));
        let signature = rig.blob("text/plain", b"signed", json!({"org.opencontainers.image.title": "x.wasm.minisig"}));
        rig.index(&[rig.image("1.0.0", &[code, signature])]);
        let wanted = Artifact { wasm: b"code".to_vec(), signature: Some("signed".into()) };
        assert_eq!(rig.read(None), Ok(wanted));
    }

    #[test]
    fn of_several_images_one_is_named() {
        let rig = Rig::new();
        let image = |name: &str| rig.image(name, &[rig.blob(WASM, name.as_bytes(), json!({}))]);
        rig.index(&[image("1.0.0"), image("2.0.0")]);
        assert_eq!(rig.read(None).unwrap_err(), "the layout has 2 images; choose one with --ref: 1.0.0, 2.0.0");
        assert_eq!(rig.read(Some("2.0.0")).unwrap().wasm, b"2.0.0");
        assert!(rig.read(Some("3.0.0")).unwrap_err().contains("no image \"3.0.0\""));
    }

    #[test]
    fn what_was_changed_or_leads_out_of_the_layout_is_refused() {
        let rig = Rig::new();
        let code = rig.blob(WASM, b"code", json!({}));
        let name = code["digest"].as_str().unwrap()["sha256:".len()..].to_string();
        rig.index(&[rig.image("1", std::slice::from_ref(&code))]);
        std::fs::write(rig.0.path().join("blobs/sha256").join(&name), b"evil").unwrap();
        assert!(rig.read(None).unwrap_err().contains("it was changed"));
        std::fs::write(rig.0.path().join("blobs/sha256").join(&name), b"longer").unwrap();
        assert!(rig.read(None).unwrap_err().contains("has 6 bytes; the layout says 4"));
        let mut out = code.clone();
        out["digest"] = json!("sha256:../../../../etc/passwd");
        rig.index(&[rig.image("1", &[out])]);
        assert!(rig.read(None).unwrap_err().contains("is no digest"));
        let mut large = code;
        large["size"] = json!(1_u64 << 40);
        rig.index(&[rig.image("1", &[large])]);
        assert!(rig.read(None).unwrap_err().contains("at most"));
        rig.index(&[rig.image("1", &[])]);
        assert!(rig.read(None).unwrap_err().contains("no layer of type application/wasm"));
    }
}
