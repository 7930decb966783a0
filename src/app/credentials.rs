//! What lies beside the flow file: the credentials of its nodes, and what Node-RED kept for its users.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use serde_json::{Map, Value as Json};

use crate::config::Config;
use crate::runtime::credential_file::{CredentialFile, Secret};

/// Where Node-RED keeps what its editor stores for users.
const USERS_FILE: &str = ".config.users.json";

/// Where the credentials of the configured flows are: beside the flow file, with `_cred` in its name, as Node-RED has
/// it; within a folder of flow files.
pub fn path(config: &Config) -> PathBuf {
    match config.flows.as_str() {
        "" => config.data_dir.join("flows_cred.json"),
        flows => beside(Path::new(flows)),
    }
}

/// Where the credentials of a flow file, or of a folder of them, are.
pub fn beside(flows: &Path) -> PathBuf {
    if flows.is_dir() {
        // Not .json: every .json of the folder is a flow file.
        return flows.join("flows.cred");
    }
    let stem = flows.file_stem().unwrap_or_default().to_string_lossy();
    let ending = flows.extension().map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default();
    flows.with_file_name(format!("{stem}_cred{ending}"))
}

/// The secret the configuration gives.
pub fn secret(config: &Config) -> Secret {
    match (config.credentials.encrypt, config.credentials.secret.as_str()) {
        (false, _) => Secret::Off,
        (true, "") => Secret::Generated,
        (true, secret) => Secret::Given(secret.to_owned()),
    }
}

/// The credentials of the configured flows. What cannot be decrypted is said in the log.
pub fn open(config: &Config) -> Result<Arc<CredentialFile>> {
    let path = path(config);
    let file = CredentialFile::open(&path, &config.data_dir, secret(config), config.credentials.node_red_cipher)
        .with_context(|| format!("cannot read the credentials {}", path.display()))?;
    if let Some(problem) = file.problem() {
        tracing::error!("{problem}");
    }
    Ok(Arc::new(file))
}

/// What Node-RED kept for its users.
pub fn user_settings(config: &Config) -> Map<String, Json> {
    let text = std::fs::read_to_string(config.data_dir.join(USERS_FILE)).unwrap_or_default();
    let kept: Json = serde_json::from_str(&text).unwrap_or_default();
    kept.as_object().cloned().unwrap_or_default()
}
