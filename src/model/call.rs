//! A call of a deterministic plugin as it was recorded: what the guest was given, what it asked the host for and was
//! answered, what it gave. With this and the plugin's code the call can be made again, byte for byte.

use arcstr::ArcStr;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// One call of a plugin's guest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallRecord {
    pub plugin: ArcStr,
    pub version: ArcStr,
    /// `sha256:<hex>` of its component or script.
    pub digest: ArcStr,
    /// For scripts: `sha256:<hex>` of the component that ran it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<ArcStr>,
    /// MAJOR.MINOR of the contract its manifest names.
    pub contract: String,
    /// Version of the engine that ran it. Fuel is counted alike by one version only.
    pub engine: String,
    /// Id of the node in its flow.
    pub node: ArcStr,
    pub node_type: String,
    /// What was called.
    pub export: Export,
    /// The message as it crossed: `{run, caller, properties: [{name, json | bytes}]}`. Null when the record was cut.
    pub input: Json,
    /// The node's configuration, JSON text; empty when the record was cut.
    pub config: String,
    pub bounds: Bounds,
    /// Host calls in their order, emits among them. Empty when the record was cut.
    pub calls: Vec<HostCall>,
    pub outcome: Outcome,
    /// Fuel the guest used.
    pub fuel: u64,
    /// Credentials were replaced by asterisks. A guest that looked into them gives something else when replayed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub masked: bool,
    /// Why the record is not whole and cannot be replayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<String>,
}

/// What of a guest was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Export {
    Process,
    RunEnd,
}

/// The limits a call had that decide what a guest does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Computing time in milliseconds, which is so much fuel.
    pub compute_ms_max: u64,
    pub memory_bytes_max: u64,
}

/// A call of the guest to its host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostCall {
    /// Interface and function of the contract: `clock.now`.
    pub of: String,
    /// What it was given, by the names of the contract.
    pub given: Json,
    /// What it answered. Bytes are `{"text": …}` where they are UTF-8, else `{"base64": …}`; `{"ended": why}` when the
    /// call ended the guest.
    pub answer: Json,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Outcome {
    Done,
    /// The guest said that the message failed.
    Failed {
        message: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<String>,
    },
    /// The guest broke off or was stopped.
    Stopped {
        why: String,
        message: String,
    },
}
