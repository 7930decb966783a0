//! `plugin.toml`: what a plugin is called, what it was built for and what it asks for.

mod read;
mod values;

use serde::{Deserialize, Serialize};

use super::capability::Capability;
pub use super::component::CONTRACT;
use super::hosts::HostPattern;
use crate::model::{Diagnostic, Severity};
pub(super) use read::read;
pub use values::is_name;
pub(super) use values::{two_numbers, unserved};

/// Version of the manifest's form.
pub const SCHEMA: u32 = 1;

/// A longer manifest is refused, bytes.
pub const MANIFEST_BYTES_MAX: usize = 256 << 10;

/// The manifest's file name.
pub const FILE: &str = "plugin.toml";

/// A manifest as its author writes it. (`Deserialize` stops at the first problem; [`parse`] names all.)
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The node types it gives. May be left out; where given, it is held to what the plugin describes, and names
    /// what a plugin that is not built would give.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
    /// The component, relative to the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// Instead of a component: the source an interpreter component runs (`.js`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// For the engine's own interpreters alone: endings of the scripts it runs (`.js`). It describes nothing by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interprets: Vec<String>,
    /// `sha256:<hex>` of the component or script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// True when the same messages and host answers always give the same result: fuel is counted, host calls are
    /// recorded, a run can be replayed.
    #[serde(default)]
    pub deterministic: bool,
    #[serde(default)]
    pub instances: Instances,
    #[serde(default, rename = "capability", skip_serializing_if = "Vec::is_empty")]
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
    pub name: Capability,
    /// Why; shown to the operator who grants it.
    pub reason: String,
    /// For `http`: the hosts, as [`HostPattern`] says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostPattern>,
    /// For `secret`: the names; `*` for every one that a node's configuration names.
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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

/// What a plugin's code is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code<'a> {
    /// Path of a component, relative to the manifest.
    Component(&'a str),
    /// Path of a script, relative to the manifest.
    Script(&'a str),
}

/// Reads a manifest's text; every error at once. Warnings come beside it.
pub fn parse(text: &str) -> Result<(Manifest, Vec<Diagnostic>), Vec<Diagnostic>> {
    let (manifest, problems) = read(text);
    match problems.iter().any(|d| d.severity == Severity::Error) {
        false => Ok((manifest, problems)),
        true => Err(problems),
    }
}

impl Manifest {
    /// The capability as it is asked for; `None` when it is not.
    pub fn request(&self, capability: Capability) -> Option<&Request> {
        self.capabilities.iter().find(|r| r.name == capability)
    }

    /// The file with the plugin's code. `None` only in a manifest with errors.
    pub fn code(&self) -> Option<Code<'_>> {
        match (&self.component, &self.script) {
            (Some(path), None) => Some(Code::Component(path)),
            (None, Some(path)) => Some(Code::Script(path)),
            _ => None,
        }
    }

    /// As [`Display`](std::fmt::Display) of a name and version: `status-logic 1.0.0`.
    pub fn title(&self) -> String {
        format!("{} {}", self.name, self.version)
    }
}
