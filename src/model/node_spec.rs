//! What a node type is: the catalogue entry that feeds checks, the editor form, JSON schema and docs.

use serde::Serialize;

/// A node type. Builtin specs are `static`.
#[derive(Clone, Debug, Serialize)]
pub struct NodeSpec {
    /// As flow files write it, for example `http in`.
    pub node_type: &'static str,
    /// Palette category: `common`, `function`, `network`, `sequence`, `parser`, `compliance`.
    pub category: &'static str,
    /// One sentence for the catalogue.
    pub summary: &'static str,
    pub inputs: u8,
    /// Number of outputs; `None` when the definition says (`outputs`, or one per rule).
    pub outputs: Option<u8>,
    /// True for nodes that other nodes refer to and that have no wires.
    pub config_node: bool,
    pub properties: &'static [Property],
    pub capabilities: &'static [Capability],
}

/// One property of a node definition.
#[derive(Clone, Debug, Serialize)]
pub struct Property {
    pub name: &'static str,
    pub kind: PropertyKind,
    pub required: bool,
    /// What it means, with units and range.
    pub help: &'static str,
}

impl Property {
    pub const fn new(name: &'static str, kind: PropertyKind, help: &'static str) -> Self {
        Property { name, kind, required: false, help }
    }

    pub const fn required(name: &'static str, kind: PropertyKind, help: &'static str) -> Self {
        Property { name, kind, required: true, help }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PropertyKind {
    Text,
    /// A secret by its name, `secret:NAME`; what else stands there is the secret itself, for all who see the flow.
    Secret,
    /// Number or numeric string, as the editor exports.
    Number,
    Boolean,
    OneOf(&'static [&'static str]),
    /// One of these words, in capitals or not.
    OneOfAnyCase(&'static [&'static str]),
    /// A property path below `msg`.
    MsgPath,
    /// Id of another node of this type.
    NodeRef(&'static str),
    /// Any JSON: arrays, rules, headers.
    Json,
    /// Any JSON with secrets in it, as [`PropertyKind::Secret`]. Each is a path of member names; `*` is every item of a
    /// list or every member of an object.
    JsonWithSecrets(&'static [&'static [&'static str]]),
}

/// What a node may use beyond its message; a node gets only what its spec names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Capability {
    Net,
    Store,
    Secret,
    Evaluate,
}
