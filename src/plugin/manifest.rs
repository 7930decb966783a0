//! `plugin.toml`: what a plugin is called, what it was built for and what it asks for.

use serde::{Deserialize, Serialize};

/// A manifest as its author writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this file's form; 1.
    pub schema: u32,
    /// Lower-case letters, digits and `-`; names the plugin in grants, metrics and logs.
    pub name: String,
    /// MAJOR.MINOR.PATCH.
    pub version: String,
    /// MAJOR.MINOR of the contract (`plugins/wit`) it was built for.
    pub contract: String,
    /// SPDX expression.
    pub license: String,
    #[serde(default)]
    pub description: String,
    /// The component, relative to the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// Instead of a component: the source an interpreter component runs (`.js`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// `sha256:<hex>` of the component or script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// True when the same messages and host answers always give the same result: fuel is counted, host calls are
    /// recorded, a run can be replayed.
    #[serde(default)]
    pub deterministic: bool,
    #[serde(default)]
    pub instances: Instances,
    #[serde(default, rename = "capability")]
    pub capabilities: Vec<Request>,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<Build>,
}

/// How instances are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Instances {
    /// Warm, one per node and worker.
    #[default]
    Warm,
    /// A fresh one for every message.
    Fresh,
    /// One per node; messages are handled one after the other.
    Single,
}

/// One capability a plugin asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// `clock`, `random`, `secret`, `http`, `state`, `evidence`, `typed-input`, `context`, `files`.
    pub name: String,
    /// Why; shown to the operator who grants it.
    pub reason: String,
    /// For `http`: `host`, `host:port`, `*.domain`, or `*` for every public address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// For `secret`: the names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
}

/// Limits a plugin asks for; the engine's defaults where absent, never more than the operator's maxima.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Computing time of one call, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_ms_max: Option<u64>,
    /// Time of one call with its host calls, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_ms_max: Option<u64>,
    /// Linear memory of one instance, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes_max: Option<u64>,
    /// What one call may emit, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_bytes_max: Option<u64>,
    /// `state` of one node, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_bytes_max: Option<u64>,
}

/// How `probity plugin build` makes the component from source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// `rust`, `js`, `c` or another name, for messages.
    pub lang: String,
    /// Run by `sh -c` in the manifest's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// What the command leaves: a component, or a core module that the engine makes one of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<String>,
}
