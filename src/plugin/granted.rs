//! What one plugin may do: the capabilities its manifest declares and the operator granted, ready to be asked.

use std::collections::BTreeSet;
use std::path::PathBuf;

/// The names a manifest and a description may use.
pub const CAPABILITIES: &[&str] =
    &["clock", "random", "secret", "http", "state", "evidence", "typed-input", "context", "files"];

/// Granted capabilities. The default grants nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Granted {
    /// Of [`CAPABILITIES`].
    pub names: BTreeSet<String>,
    /// For `http`: `host`, `host:port`, `*.domain`, an address, or `*` for every public address.
    pub hosts: Vec<String>,
    /// For `secret`: names, or `*` for every one that a node's configuration names.
    pub secrets: BTreeSet<String>,
    /// For `files`.
    pub folders: Vec<PathBuf>,
}

impl Granted {
    pub fn allows(&self, capability: &str) -> bool {
        self.names.contains(capability)
    }

    pub fn allows_secret(&self, name: &str) -> bool {
        self.allows("secret") && (self.secrets.contains(name) || self.secrets.contains("*"))
    }
}
