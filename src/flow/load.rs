//! Node-RED flow JSON to a [`FlowFile`], as leniently as real exports need.

use std::collections::HashMap;
use std::sync::Arc;

use arcstr::ArcStr;
use serde_json::{Map, Value as Json};
use sha2::{Digest, Sha256};

use crate::model::flow::{EnvEntry, Flow, FlowFile, Group, NodeDef, Subflow};
use crate::model::{Diagnostic, Object, Value};

/// Deeper JSON is refused; `serde_json` holds the same limit for text.
const DEPTH_MAX: usize = 128;

/// An output beyond this is taken for damage.
const PORTS_MAX: usize = 1024;

type Entry = Map<String, Json>;

/// Reads a flow file: an array of entries, or the Admin API's `{"flows": […]}`.
///
/// Whatever can be kept is kept; the diagnostics say what could not, with errors for what the file cannot mean.
pub fn load(text: &str, file: &str) -> (FlowFile, Vec<Diagnostic>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let refused = |d: Diagnostic| (FlowFile { file: file.into(), ..FlowFile::default() }, vec![d.in_file(file)]);
    if text.trim().is_empty() {
        return refused(Diagnostic::empty_file());
    }
    match serde_json::from_str::<Json>(text) {
        Ok(Json::Array(entries)) => load_value(entries, file),
        Ok(Json::Object(mut body)) => match body.remove("flows") {
            Some(Json::Array(entries)) => load_value(entries, file),
            _ => refused(not_flows("an object without a `flows` array")),
        },
        Ok(other) => refused(not_flows(kind_of(&other))),
        Err(error) => refused(
            Diagnostic::error("broken-json", "$", format!("not JSON: {error}"))
                .expected("a JSON array of flow entries, nested at most 128 deep")
                .hint(format!("look at line {}, column {}", error.line(), error.column())),
        ),
    }
}

fn not_flows(found: &str) -> Diagnostic {
    Diagnostic::error("not-flows", "$", format!("a flow file cannot be {found}"))
        .expected("a JSON array of tabs and nodes, or {\"flows\": […]}")
        .hint("export the flows from the editor as JSON")
}

fn kind_of(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    }
}

/// Takes apart entries that were parsed already (an Admin API body).
pub fn load_value(entries: Vec<Json>, file: &str) -> (FlowFile, Vec<Diagnostic>) {
    let mut loader = Loader::default();
    for (i, json) in entries.into_iter().enumerate() {
        loader.add(i, json);
    }
    loader.read();
    loader.find_duplicates();
    loader.add_implicit_flows();
    loader.file.file = file.into();
    let diagnostics = loader.diagnostics.into_iter().map(|d| d.in_file(file)).collect();
    (loader.file, diagnostics)
}

/// True when arrays and objects nest beyond the limit; walks without recursion.
fn too_deep(json: &Json) -> bool {
    let mut open = vec![(json, 1)];
    while let Some((json, depth)) = open.pop() {
        if depth > DEPTH_MAX {
            return true;
        }
        match json {
            Json::Array(items) => open.extend(items.iter().map(|v| (v, depth + 1))),
            Json::Object(map) => open.extend(map.values().map(|v| (v, depth + 1))),
            _ => {}
        }
    }
    false
}

#[derive(Default)]
struct Loader {
    file: FlowFile,
    diagnostics: Vec<Diagnostic>,
    /// Per kept entry its id, given or generated.
    ids: Vec<ArcStr>,
}

impl Loader {
    fn add(&mut self, at: usize, json: Json) {
        match json {
            Json::Object(_) if too_deep(&json) => self.diagnostics.push(
                Diagnostic::error("too-deep", format!("$[{at}]"), "the entry is nested too deeply")
                    .expected(format!("at most {DEPTH_MAX} levels")),
            ),
            Json::Object(map) => self.file.entries.push(map),
            other => self.diagnostics.push(
                Diagnostic::error(
                    "entry-not-object",
                    format!("$[{at}]"),
                    format!("{} is no flow entry", kind_of(&other)),
                )
                .expected("an object with `id` and `type`")
                .hint("remove it"),
            ),
        }
    }

    fn read(&mut self) {
        let entries = std::mem::take(&mut self.file.entries);
        for (i, entry) in entries.iter().enumerate() {
            let id = self.id_of(i, entry);
            self.ids.push(id.clone());
            match text(entry, "type").as_str() {
                "tab" => {
                    let flow = self.flow(i, id, entry);
                    self.file.flows.push(flow);
                }
                "subflow" => {
                    let subflow = self.subflow(i, id, entry);
                    self.file.subflows.push(subflow);
                }
                "group" => {
                    let group = self.group(i, id, entry);
                    self.file.groups.push(group);
                }
                _ => {
                    let node = self.node(i, id, entry);
                    self.file.nodes.push(node);
                }
            }
        }
        self.file.entries = entries;
    }

    fn warn(&mut self, code: &str, path: String, message: String, hint: &str) {
        self.diagnostics.push(Diagnostic::warning(code, path, message).hint(hint));
    }

    fn id_of(&mut self, i: usize, entry: &Entry) -> ArcStr {
        let id = text(entry, "id");
        if !id.is_empty() {
            return id;
        }
        let id = generated_id(i, entry);
        self.warn(
            "empty-id",
            format!("$[{i}].id"),
            format!("the entry has no id; it runs as \"{id}\", and nothing can refer to it"),
            "give it an id of 16 hex digits",
        );
        id
    }

    fn flow(&mut self, i: usize, id: ArcStr, entry: &Entry) -> Flow {
        Flow {
            id,
            label: text(entry, "label"),
            disabled: flag(entry, "disabled"),
            info: text(entry, "info").to_string(),
            env: self.env(i, entry),
            declared: true,
            durability: text(entry, "durability"),
            entry: Some(i),
        }
    }

    fn group(&mut self, i: usize, id: ArcStr, entry: &Entry) -> Group {
        Group {
            id,
            z: text(entry, "z"),
            g: optional(entry, "g"),
            name: text(entry, "name"),
            env: self.env(i, entry),
            nodes: items(entry.get("nodes")).filter_map(scalar_text).collect(),
        }
    }

    fn subflow(&mut self, i: usize, id: ArcStr, entry: &Entry) -> Subflow {
        let first = items(entry.get("in")).next();
        let input = first.map(|port| wire_ends(port).map(|(id, _)| id).collect()).unwrap_or_default();
        let mut outputs = Vec::new();
        for (k, port) in items(entry.get("out")).enumerate() {
            let ends = self.ends_within(wire_ends(port), || format!("$[{i}].out[{k}].wires"));
            outputs.push(ends);
        }
        outputs.truncate(PORTS_MAX);
        let status = match entry.get("status") {
            Some(port @ Json::Object(_)) => Some(self.ends_within(wire_ends(port), || format!("$[{i}].status.wires"))),
            _ => None,
        };
        Subflow { id, name: text(entry, "name"), env: self.env(i, entry), input, outputs, status }
    }

    fn ends_within(
        &mut self,
        ends: impl Iterator<Item = (ArcStr, usize)>,
        path: impl Fn() -> String,
    ) -> Vec<(ArcStr, usize)> {
        let (good, bad): (Vec<_>, Vec<_>) = ends.partition(|(_, port)| *port < PORTS_MAX);
        for (id, port) in bad {
            self.warn(
                "no-such-port",
                path(),
                format!("output {port} of \"{id}\" cannot exist; the wire is left out"),
                "wire it again in the editor",
            );
        }
        good
    }

    fn node(&mut self, i: usize, id: ArcStr, entry: &Entry) -> NodeDef {
        let node_type = text(entry, "type");
        if node_type.is_empty() {
            self.diagnostics.push(
                Diagnostic::error("missing-type", format!("$[{i}].type"), "the entry has no type")
                    .expected("the name of a node type, for example \"change\""),
            );
        }
        let mut config: Object = entry.iter().map(|(k, v)| (k.as_str(), Value::from(v))).collect();
        config.insert("id", Value::String(id.clone()));
        NodeDef {
            id,
            node_type,
            name: text(entry, "name"),
            z: text(entry, "z"),
            g: optional(entry, "g"),
            disabled: flag(entry, "d"),
            wires: self.wires(i, entry),
            config: Arc::new(config),
            entry: i,
        }
    }

    fn wires(&mut self, i: usize, entry: &Entry) -> Vec<Vec<ArcStr>> {
        let ports = match entry.get("wires") {
            None | Some(Json::Null) => return Vec::new(),
            Some(Json::Array(ports)) => ports,
            Some(other) => {
                self.warn(
                    "wires-not-array",
                    format!("$[{i}].wires"),
                    format!("wires cannot be {}; the node runs unwired", kind_of(other)),
                    "write one array of node ids per output",
                );
                return Vec::new();
            }
        };
        if ports.len() > PORTS_MAX {
            self.warn(
                "too-many-outputs",
                format!("$[{i}].wires"),
                format!("{} outputs; only the first {PORTS_MAX} are wired", ports.len()),
                "split the node",
            );
        }
        let port = |port: &Json| match port {
            Json::Array(ids) => ids.iter().filter_map(scalar_text).collect(),
            other => scalar_text(other).into_iter().collect(),
        };
        ports.iter().take(PORTS_MAX).map(port).collect()
    }

    fn env(&mut self, i: usize, entry: &Entry) -> Vec<EnvEntry> {
        let mut out = Vec::new();
        for (k, item) in items(entry.get("env")).enumerate() {
            match env_entry(item) {
                Some(env) => out.push(env),
                None => self.warn(
                    "env-without-name",
                    format!("$[{i}].env[{k}]"),
                    "an environment entry without name is left out".into(),
                    "write {\"name\":…,\"value\":…,\"type\":\"str\"}",
                ),
            }
        }
        out
    }

    fn find_duplicates(&mut self) {
        let mut first: HashMap<&ArcStr, usize> = HashMap::new();
        for (i, id) in self.ids.iter().enumerate() {
            if let Some(before) = first.get(id) {
                self.diagnostics.push(
                    Diagnostic::error(
                        "duplicate-id",
                        format!("$[{i}].id"),
                        format!(
                            "\"{id}\" is also the id of $[{before}]; this entry is left out and its tab does not run"
                        ),
                    )
                    .expected("an id that no other entry has")
                    .hint("give one of them a new id and mend the wires to it"),
                );
            } else {
                first.insert(id, i);
            }
        }
    }

    /// A node whose `z` names no container runs all the same, on a tab made for it, as in Node-RED.
    fn add_implicit_flows(&mut self) {
        let known: std::collections::HashSet<ArcStr> =
            self.file.flows.iter().map(|f| &f.id).chain(self.file.subflows.iter().map(|s| &s.id)).cloned().collect();
        let mut made: HashMap<ArcStr, usize> = HashMap::new();
        for node in &self.file.nodes {
            if node.z.is_empty() || known.contains(&node.z) || made.contains_key(&node.z) {
                continue;
            }
            made.insert(node.z.clone(), node.entry);
            self.file.flows.push(Flow {
                id: node.z.clone(),
                label: node.z.clone(),
                disabled: false,
                info: String::new(),
                env: Vec::new(),
                declared: false,
                durability: ArcStr::new(),
                entry: None,
            });
            self.diagnostics.push(
                Diagnostic::warning(
                    "implicit-tab",
                    format!("$[{}].z", node.entry),
                    format!("no tab has the id \"{}\"; its nodes run on a tab made for them", node.z),
                )
                .hint("add {\"id\":…,\"type\":\"tab\",\"label\":…}"),
            );
        }
    }
}

/// One `env` entry as tabs, groups, subflows and instances write it; `None` without a name.
pub(super) fn env_entry(item: &Json) -> Option<EnvEntry> {
    let map = item.as_object()?;
    let name = text(map, "name");
    (!name.is_empty()).then(|| EnvEntry {
        name,
        value: map.get("value").map(Value::from).unwrap_or_default(),
        kind: text(map, "type"),
    })
}

/// The same id each time for the same entry at the same place, so that state and traces find it again.
fn generated_id(i: usize, entry: &Entry) -> ArcStr {
    let mut hash = Sha256::new();
    hash.update((i as u64).to_le_bytes());
    hash.update(serde_json::to_vec(entry).unwrap_or_default());
    ArcStr::from(hex::encode(&hash.finalize()[..8]))
}

/// A text property; numbers and booleans as JavaScript would write them, anything else is empty.
fn text(entry: &Entry, key: &str) -> ArcStr {
    entry.get(key).and_then(scalar_text).unwrap_or_default()
}

fn scalar_text(json: &Json) -> Option<ArcStr> {
    match json {
        Json::String(s) => Some(ArcStr::from(s.as_str())),
        Json::Number(_) | Json::Bool(_) => Some(Value::from(json).to_js_string()),
        _ => None,
    }
}

fn optional(entry: &Entry, key: &str) -> Option<ArcStr> {
    Some(text(entry, key)).filter(|t| !t.is_empty())
}

fn flag(entry: &Entry, key: &str) -> bool {
    matches!(entry.get(key), Some(Json::Bool(true))) || text(entry, key).as_str() == "true"
}

fn items(json: Option<&Json>) -> impl Iterator<Item = &Json> {
    json.and_then(Json::as_array).into_iter().flatten()
}

/// `(id, port)` of `{"wires": [{"id":…, "port":…}]}`; a port may be a numeric string and defaults to 0.
fn wire_ends(port: &Json) -> impl Iterator<Item = (ArcStr, usize)> + '_ {
    items(port.get("wires")).filter_map(|wire| {
        let id = scalar_text(wire.get("id")?)?;
        let port = match wire.get("port") {
            None | Some(Json::Null) => 0,
            Some(p) => {
                let n = Value::from(p).to_number();
                if n >= 0.0 && n.fract() == 0.0 { n as usize } else { usize::MAX }
            }
        };
        Some((id, port))
    })
}
