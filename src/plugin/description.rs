//! What a plugin says of its node types, and whether that can be so.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::bindings::exports::probity::plugin::handler as bindings;
use super::capability::Capability;
use super::config_schema;
use super::manifest::Manifest;
use crate::model::Diagnostic;

/// One node type, as `describe` of the contract gives it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Description {
    /// As flows write it, for example `check-property`.
    pub node_type: String,
    /// MAJOR.MINOR.PATCH.
    #[serde(default)]
    pub version: String,
    /// Palette category.
    #[serde(default)]
    pub category: String,
    /// `#rrggbb`.
    #[serde(default)]
    pub color: String,
    /// Font Awesome 4 name, for example `fa-filter`.
    #[serde(default)]
    pub icon: String,
    /// One sentence.
    #[serde(default)]
    pub summary: String,
    /// Help text, Markdown.
    #[serde(default)]
    pub help: String,
    /// 0 or 1.
    #[serde(default)]
    pub inputs: u32,
    /// A label per output.
    #[serde(default)]
    pub outputs: Vec<String>,
    /// JSON Schema 2020-12 of an object: the node's properties.
    #[serde(default)]
    pub config: String,
    /// Message properties that cross; `None` for all.
    #[serde(default)]
    pub wants: Option<Vec<String>>,
    /// Names of the capabilities this node type uses.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// Whether `run-end` shall be called.
    #[serde(default)]
    pub at_run_end: bool,
}

impl From<&bindings::Description> for Description {
    fn from(of: &bindings::Description) -> Description {
        let of = of.clone();
        Description {
            node_type: of.node_type,
            version: of.version,
            category: of.category,
            color: of.color,
            icon: of.icon,
            summary: of.summary,
            help: of.help,
            inputs: of.inputs,
            outputs: of.outputs,
            config: of.config,
            wants: of.wants,
            capabilities: of.capabilities,
            at_run_end: of.at_run_end,
        }
    }
}

/// Properties every node has, whatever its type, and those the editor keeps beside them (`internalProperties` of its
/// registry, as are all single letters): a config cannot define them anew.
const OWN_PROPERTIES: &[&str] = &[
    "changed",
    "dirty",
    "id",
    "inputLabels",
    "moved",
    "outputLabels",
    "selected",
    "type",
    "users",
    "valid",
    "validationErrors",
    "wires",
];

fn is_own(property: &str) -> bool {
    OWN_PROPERTIES.contains(&property) || matches!(property.as_bytes(), [letter] if letter.is_ascii_lowercase())
}

/// Most a plugin may describe, so that a loop in `describe` does not fill memory.
pub const NODE_TYPES_MAX: usize = 256;
const HELP_BYTES_MAX: usize = 256 << 10;
const OUTPUTS_MAX: usize = 256;

/// Every problem of what a plugin describes. `taken` says which node types there already are: type → by whom (a
/// plugin's name, or `the engine`). Paths are `$.describe[0].color`.
pub fn check(descriptions: &[Description], manifest: &Manifest, taken: &BTreeMap<String, String>) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    if descriptions.is_empty() {
        let problem = Diagnostic::error("no-nodes", "$.describe", "the plugin describes no node type");
        problems.push(problem.hint("return at least one description from `describe`"));
    }
    if descriptions.len() > NODE_TYPES_MAX {
        let message = format!("the plugin describes {} node types", descriptions.len());
        problems
            .push(Diagnostic::error("too-large", "$.describe", message).expected(format!("at most {NODE_TYPES_MAX}")));
    }
    let mut own: BTreeMap<&str, usize> = BTreeMap::new();
    for (i, description) in descriptions.iter().enumerate().take(NODE_TYPES_MAX) {
        let at = format!("$.describe[{i}]");
        if let Some(first) = own.insert(&description.node_type, i) {
            let message =
                format!("the node type \"{}\" is described twice, first as $.describe[{first}]", description.node_type);
            problems.push(Diagnostic::error("repeated-node", format!("{at}.node-type"), message));
        }
        one(description, &at, manifest, taken, &mut problems);
    }
    problems.extend(promised(descriptions, manifest));
    problems
}

fn one(
    description: &Description,
    at: &str,
    manifest: &Manifest,
    taken: &BTreeMap<String, String>,
    problems: &mut Vec<Diagnostic>,
) {
    let Description { node_type, .. } = description;
    if !is_node_type(node_type) {
        let message = format!("\"{node_type}\" is no node type");
        let expected = "letters, digits, \"-\", \"_\", \".\", \"/\" and single spaces, at most 64";
        problems.push(Diagnostic::error("bad-node-type", format!("{at}.node-type"), message).expected(expected));
    } else if let Some(by) = taken.get(node_type) {
        let message = format!("the node type \"{node_type}\" is already given by {by}");
        let problem = Diagnostic::error("taken-node-type", format!("{at}.node-type"), message);
        problems.push(problem.hint("rename it, or leave one of the plugins out"));
    }
    let mut wrong = |key: &str, code: &str, message: String, expected: &str| {
        problems
            .push(Diagnostic::error(code, format!("{at}.{key}"), format!("{node_type}: {message}")).expected(expected));
    };
    if semver::Version::parse(&description.version).is_err() {
        let message = format!("\"{}\" is no version", description.version);
        wrong("version", "bad-version", message, "MAJOR.MINOR.PATCH, for example \"1.0.0\"");
    }
    if description.category.trim().is_empty() {
        wrong("category", "empty", "the category is empty".into(), "the palette's category, for example \"logic\"");
    }
    if !is_color(&description.color) {
        wrong("color", "bad-color", format!("\"{}\" is no colour", description.color), "\"#rrggbb\"");
    }
    if !is_icon(&description.icon) {
        let message = format!("\"{}\" is no icon", description.icon);
        wrong("icon", "bad-icon", message, "a Font Awesome 4 name, for example \"fa-filter\"");
    }
    if description.summary.trim().is_empty() || description.summary.contains('\n') {
        wrong("summary", "bad-summary", "the summary is not one sentence".into(), "one line of text");
    }
    if description.help.len() > HELP_BYTES_MAX {
        wrong("help", "too-large", format!("the help has {} bytes", description.help.len()), "at most 256 KiB");
    }
    if description.inputs > 1 {
        wrong("inputs", "bad-inputs", format!("{} inputs", description.inputs), "0 or 1");
    }
    if description.outputs.len() > OUTPUTS_MAX {
        wrong("outputs", "too-large", format!("{} outputs", description.outputs.len()), "at most 256");
    }
    capabilities(description, at, manifest, problems);
    let schema = config_schema::check(&description.config, &format!("{at}.config"));
    problems.extend(schema.into_iter().map(|d| Diagnostic { message: format!("{node_type}: {}", d.message), ..d }));
    for property in config_schema::properties(&description.config) {
        if is_own(&property) {
            let message = format!("{node_type}: every node has \"{property}\" already");
            let path = format!("{at}.config.properties.{property}");
            problems.push(Diagnostic::error("taken-property", path, message).hint("give the property another name"));
        }
    }
}

/// A node type may use only what the manifest asks for.
fn capabilities(description: &Description, at: &str, manifest: &Manifest, problems: &mut Vec<Diagnostic>) {
    for (i, name) in description.capabilities.iter().enumerate() {
        let path = format!("{at}.capabilities[{i}]");
        let node_type = &description.node_type;
        match Capability::parse(name) {
            None => {
                let message = format!("{node_type}: \"{name}\" is no capability");
                let problem = Diagnostic::error("unknown-capability", path, message)
                    .expected(format!("one of {}", Capability::list()));
                problems.push(problem.did_you_mean(name, Capability::ALL.map(Capability::as_str)));
            }
            Some(capability) if manifest.request(capability).is_none() => {
                let message = format!("{node_type} uses \"{name}\", which the manifest does not ask for");
                let problem = Diagnostic::error("undeclared-capability", path, message);
                problems.push(problem.hint(format!("add [[capability]] with name = \"{name}\" and a reason")));
            }
            Some(_) => {}
        }
    }
}

/// The manifest's `nodes`, where given, are what is described.
pub(super) fn promised(descriptions: &[Description], manifest: &Manifest) -> Vec<Diagnostic> {
    if manifest.nodes.is_empty() {
        return Vec::new();
    }
    let described: Vec<&str> = descriptions.iter().map(|d| d.node_type.as_str()).collect();
    let mut problems = Vec::new();
    for (i, node) in manifest.nodes.iter().enumerate().filter(|(_, n)| !described.contains(&n.as_str())) {
        let message = format!("the plugin does not describe the node type \"{node}\"");
        let problem = Diagnostic::error("missing-node", format!("$.nodes[{i}]"), message);
        problems.push(problem.did_you_mean(node, described.iter().copied()));
    }
    for node in described.iter().filter(|n| !manifest.nodes.iter().any(|m| m == **n)) {
        let message = format!("the plugin describes the node type \"{node}\", which \"nodes\" does not list");
        problems.push(Diagnostic::error("unlisted-node", "$.nodes", message).hint(format!("add \"{node}\" to it")));
    }
    problems
}

fn is_node_type(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ' ');
    !text.is_empty()
        && text.len() <= 64
        && text.trim() == text
        && !text.contains("  ")
        && text.chars().all(legal)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text != "tab"
        && text != "group"
        && text != "subflow"
}

fn is_color(text: &str) -> bool {
    text.len() == 7 && text.starts_with('#') && text[1..].bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_icon(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    text.len() > 3 && text.starts_with("fa-") && text.bytes().all(legal)
}
