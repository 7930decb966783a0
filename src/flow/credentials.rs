//! Credentials of nodes: taken out of what is deployed, merged with those kept, put into nodes, and shown without
//! passwords. As Node-RED's `runtime/lib/nodes/credentials.js`, whose file [`crate::flow::cipher`] reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use crate::model::flow::{EnvEntry, FlowFile};
use crate::model::{Object, Value};

type Entry = Map<String, Json>;

/// Stands for a password that is to stay as it is.
const KEEP: &str = "__PWRD__";

/// Credentials by the id of their node, tab, group, subflow or config node.
#[derive(Clone, Default, PartialEq)]
pub struct Credentials(BTreeMap<String, Entry>);

/// What is kept of a credential is told to nobody.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "credentials of {} nodes", self.0.len())
    }
}

/// The credentials after a deploy, and whose changed.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    pub credentials: Credentials,
    /// Ids whose credentials are others than before.
    pub changed: BTreeSet<String>,
}

/// What a builtin type's credentials are: name, and whether it is a password. `None`: nobody said; all are passwords.
fn definition(node_type: &str) -> Option<&'static [(&'static str, bool)]> {
    Some(match node_type.replace(' ', "-").as_str() {
        "http-request" | "mqtt-broker" => &[("user", false), ("password", true)],
        "http-proxy" => &[("username", false), ("password", true)],
        "tls-config" => {
            &[("certdata", false), ("keydata", false), ("cadata", false), ("p12data", false), ("passphrase", true)]
        }
        _ => return None,
    })
}

impl Credentials {
    /// From what a file held: an object of objects by id. `None` for anything else.
    pub fn of_json(json: Json) -> Option<Credentials> {
        let Json::Object(nodes) = json else { return None };
        let entry = |(id, value): (String, Json)| match value {
            Json::Object(entry) => Some((id, entry)),
            _ => None,
        };
        nodes.into_iter().map(entry).collect::<Option<_>>().map(Credentials)
    }

    pub fn to_json(&self) -> Json {
        Json::Object(self.0.iter().map(|(id, entry)| (id.clone(), Json::Object(entry.clone()))).collect())
    }

    /// How many nodes have some.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Ids whose credentials are others in `those`.
    pub fn others_in(&self, those: &Credentials) -> BTreeSet<String> {
        let all = self.0.keys().chain(those.0.keys());
        all.filter(|id| self.0.get(*id) != those.0.get(*id)).cloned().collect()
    }

    /// Ids of those that have some.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Takes `credentials` out of the entries of a whole flow file and merges them with these. `__PWRD__` keeps what
    /// there is, blank text removes it, and those of entries that are gone are dropped.
    pub fn take_from(&self, entries: &mut [Entry]) -> Taken {
        self.take(entries, true)
    }

    /// As [`Credentials::take_from`], of some entries of a file; what others have stays.
    pub fn take_from_some(&self, entries: &mut [Entry]) -> Taken {
        self.take(entries, false)
    }

    /// These, and in place of what some nodes have what was given for them; `__PWRD__` is what it is in `before`.
    ///
    /// # Errors
    /// The id of a node whose credentials are no object.
    pub fn replaced(mut self, given: Entry, before: &Credentials) -> Result<Credentials, String> {
        for (id, own) in given {
            let Json::Object(mut own) = own else { return Err(id) };
            for (name, value) in &mut own {
                if value.as_str() == Some(KEEP) {
                    *value = before.0.get(&id).and_then(|before| before.get(name)).cloned().unwrap_or_default();
                }
            }
            own.retain(|_, value| !value.is_null());
            if own.is_empty() {
                self.0.remove(&id);
            } else {
                self.0.insert(id, own);
            }
        }
        Ok(self)
    }

    fn take(&self, entries: &mut [Entry], whole: bool) -> Taken {
        let mut after = if whole { BTreeMap::new() } else { self.0.clone() };
        for entry in entries {
            let id = entry.get("id").and_then(Json::as_str).unwrap_or_default().to_owned();
            let given = entry.shift_remove("credentials");
            let mut kept = self.0.get(&id).cloned().unwrap_or_default();
            let node_type = entry.get("type").and_then(Json::as_str).unwrap_or_default();
            if let Some(Json::Object(given)) = given {
                merge(node_type, &mut kept, given);
            }
            if kept.is_empty() {
                after.remove(&id);
            } else {
                after.insert(id, kept);
            }
        }
        let ids = after.keys().chain(self.0.keys());
        let changed = ids.filter(|id| after.get(*id) != self.0.get(*id)).cloned().collect();
        Taken { credentials: Credentials(after), changed }
    }

    /// Gives the nodes of a file what is theirs: nodes as the property `credentials`, environments as the values of
    /// their entries of type `cred`. The file's entries, which are saved and shown, stay without.
    pub fn attach(&self, file: &mut FlowFile) {
        if self.0.is_empty() {
            return;
        }
        for flow in &mut file.flows {
            self.fill(&flow.id, &mut flow.env);
        }
        for subflow in &mut file.subflows {
            self.fill(&subflow.id, &mut subflow.env);
        }
        for group in &mut file.groups {
            self.fill(&group.id, &mut group.env);
        }
        for node in &mut file.nodes {
            let Some(own) = self.0.get(node.id.as_str()) else { continue };
            let mut config: Object = (*node.config).clone();
            if let Some(env) = config.get("env").and_then(Value::as_array) {
                let secrets = own.get("map").and_then(Json::as_object).unwrap_or(own);
                let filled: Vec<Value> = env.iter().map(|entry| with_secret(entry, secrets)).collect();
                config.insert("env", Value::from(filled));
            }
            config.insert("credentials", Value::from(&Json::Object(own.clone())));
            node.config = Arc::new(config);
        }
    }

    fn fill(&self, id: &str, env: &mut [EnvEntry]) {
        let Some(own) = self.0.get(id) else { return };
        for entry in env.iter_mut().filter(|entry| entry.kind == "cred") {
            if let Some(secret) = own.get(entry.name.as_str()) {
                entry.value = Value::from(secret);
            }
        }
    }

    /// What the editor may see of a node's credentials: texts as they are, passwords as `has_<name>`.
    pub fn shown(&self, node_type: &str, id: &str) -> Map<String, Json> {
        let Some(own) = self.0.get(id) else { return Map::new() };
        let is_there = |secret: Option<&Json>| secret.is_some_and(|s| !s.is_null() && s.as_str() != Some(""));
        let hidden = |name: &str, secret: Option<&Json>| (format!("has_{name}"), Json::Bool(is_there(secret)));
        match definition(node_type) {
            Some(definition) => definition
                .iter()
                .map(|(name, password)| match own.get(*name) {
                    secret if *password => hidden(name, secret),
                    text => ((*name).to_owned(), text.cloned().unwrap_or_else(|| Json::String(String::new()))),
                })
                .collect(),
            None if node_type == "global-config" => {
                let secrets = own.get("map").and_then(Json::as_object).into_iter().flatten();
                let map = secrets.filter(|(name, _)| !name.starts_with("has_"));
                let map: Map<String, Json> = map.map(|(name, secret)| hidden(name, Some(secret))).collect();
                Map::from_iter([("map".to_owned(), Json::Object(map))])
            }
            None => own.iter().map(|(name, secret)| hidden(name, Some(secret))).collect(),
        }
    }
}

/// An entry of an environment with its secret, when it is of type `cred`.
fn with_secret(entry: &Value, secrets: &Map<String, Json>) -> Value {
    let text = |name: &str| entry.get(name).to_js_string();
    let Value::Object(object) = entry else { return entry.clone() };
    match secrets.get(text("name").as_str()) {
        Some(secret) if text("type") == "cred" => {
            let mut filled = Object::clone(object);
            filled.insert("value", Value::from(secret));
            Value::from(filled)
        }
        _ => entry.clone(),
    }
}

/// Puts posted credentials over the kept ones.
fn merge(node_type: &str, kept: &mut Entry, mut given: Entry) {
    if node_type == "global-config" {
        return merge_map(kept, &given);
    }
    if node_type == "subflow" || node_type.starts_with("subflow:") {
        kept.retain(|name, _| given.contains_key(name));
    }
    if let Some(definition) = definition(node_type) {
        given.retain(|name, _| definition.iter().any(|(known, _)| known == name));
    }
    for (name, value) in given {
        match &value {
            Json::String(text) if text == KEEP => {}
            Json::String(text) if text.trim().is_empty() => {
                kept.remove(&name);
            }
            Json::Null => {
                kept.remove(&name);
            }
            _ => {
                kept.insert(name, value);
            }
        }
    }
}

/// The secrets of a `global-config` are in one member, `map`, whose own names are those that count.
fn merge_map(kept: &mut Entry, given: &Entry) {
    let empty = Entry::new();
    let given = given.get("map").and_then(Json::as_object).unwrap_or(&empty);
    let before = kept.get("map").and_then(Json::as_object).cloned().unwrap_or_default();
    let mut after = Entry::new();
    for (name, value) in given.iter().filter(|(name, _)| !name.starts_with("has_")) {
        match (value.as_str() == Some(KEEP), before.get(name)) {
            (true, Some(secret)) => after.insert(name.clone(), secret.clone()),
            (true, None) => None,
            (false, _) if value.is_null() || value.as_str() == Some("") => None,
            (false, _) => after.insert(name.clone(), value.clone()),
        };
    }
    kept.clear();
    if !after.is_empty() {
        kept.insert("map".into(), Json::Object(after));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::flow::load_value;

    fn kept(json: Json) -> Credentials {
        Credentials::of_json(json).unwrap()
    }

    fn taken(kept: &Credentials, entry: Json) -> (Json, Json) {
        let mut entries = vec![entry.as_object().unwrap().clone()];
        let taken = kept.take_from(&mut entries);
        (taken.credentials.to_json(), Json::Object(entries.remove(0)))
    }

    #[test]
    fn posted_credentials_are_taken_out_and_merged() {
        let before = kept(json!({ "n": { "user": "bob", "password": "old" }, "gone": { "x": "1" } }));
        let entry = json!({ "id": "n", "type": "http request", "credentials": { "user": "eve", "password": "__PWRD__" }, "z": "t" });
        let (after, left) = taken(&before, entry);
        assert_eq!(after, json!({ "n": { "user": "eve", "password": "old" } }));
        assert_eq!(left.to_string(), r#"{"id":"n","type":"http request","z":"t"}"#, "the order of keys stays");
        let blank =
            json!({ "id": "n", "type": "http request", "credentials": { "user": " ", "password": "", "other": "x" } });
        assert_eq!(taken(&before, blank).0, json!({}));
        let none = json!({ "id": "n", "type": "http request" });
        assert_eq!(taken(&before, none).0, json!({ "n": { "user": "bob", "password": "old" } }));
        let unknown = json!({ "id": "m", "type": "some-plugin", "credentials": { "token": "t", "gone": "__PWRD__" } });
        assert_eq!(taken(&before, unknown).0, json!({ "m": { "token": "t" } }));
        let instance = json!({ "id": "n", "type": "subflow:s", "credentials": { "password": "__PWRD__" } });
        assert_eq!(taken(&before, instance).0, json!({ "n": { "password": "old" } }), "variables that are gone go");
    }

    #[test]
    fn who_changed_is_known() {
        let before = kept(json!({ "a": { "k": "1" }, "b": { "k": "1" }, "c": { "k": "1" } }));
        let mut entries: Vec<Entry> = [
            json!({ "id": "a", "type": "x", "credentials": { "k": "__PWRD__" } }),
            json!({ "id": "b", "type": "x", "credentials": { "k": "2" } }),
        ]
        .into_iter()
        .map(|entry| entry.as_object().unwrap().clone())
        .collect();
        let changed = before.take_from(&mut entries.clone()).changed;
        assert_eq!(changed.into_iter().collect::<Vec<_>>(), ["b", "c"]);
        let some = before.take_from_some(&mut entries);
        assert_eq!(some.changed.into_iter().collect::<Vec<_>>(), ["b"], "of some entries, the others stay");
        assert_eq!(some.credentials.len(), 3);
    }

    #[test]
    fn variables_of_global_config_are_merged_by_name() {
        let before = kept(json!({ "g": { "map": { "A": "1", "B": "2", "has_A": true } } }));
        let entry = json!({ "id": "g", "type": "global-config", "credentials": { "map": { "A": "__PWRD__", "C": "3", "has_C": true } } });
        let after = taken(&before, entry).0;
        assert_eq!(after, json!({ "g": { "map": { "A": "1", "C": "3" } } }));
        assert_eq!(
            Json::Object(kept(after).shown("global-config", "g")),
            json!({ "map": { "has_A": true, "has_C": true } })
        );
    }

    #[test]
    fn passwords_are_shown_only_as_that_they_are_there() {
        let kept = kept(json!({ "n": { "user": "bob", "password": "p", "token": "t", "empty": "" } }));
        let shown = |node_type: &str, id: &str| Json::Object(kept.shown(node_type, id));
        assert_eq!(shown("http-request", "n"), json!({ "user": "bob", "has_password": true }));
        assert_eq!(shown("tls-config", "n")["has_passphrase"], json!(false));
        assert_eq!(
            shown("subflow", "n"),
            json!({ "has_user": true, "has_password": true, "has_token": true, "has_empty": false })
        );
        assert_eq!(shown("http-request", "zz"), json!({}));
        assert!(!format!("{kept:?}").contains("bob"));
    }

    #[test]
    fn nodes_and_environments_are_given_theirs_and_the_entries_are_not() {
        let entries = json!([
            { "id": "t", "type": "tab", "env": [{ "name": "KEY", "type": "cred" }] },
            { "id": "n", "type": "http request", "z": "t", "x": 1, "y": 1, "wires": [] },
            { "id": "i", "type": "subflow:s", "z": "t", "x": 1, "y": 1, "env": [{ "name": "K", "type": "cred" }], "wires": [] },
        ]);
        let (mut file, _) = load_value(entries.as_array().unwrap().clone(), "");
        let given = json!({ "t": { "KEY": "tab" }, "n": { "user": "u", "password": "p" }, "i": { "K": "inner" } });
        kept(given).attach(&mut file);
        assert_eq!(file.flows[0].env[0].value, Value::from("tab"));
        assert_eq!(file.nodes[0].config.get("credentials").unwrap().get("password"), Value::from("p"));
        assert_eq!(
            file.nodes[1].config.get("env").unwrap().to_json(),
            r#"[{"name":"K","type":"cred","value":"inner"}]"#
        );
        let saved = crate::flow::save(&file);
        assert!(!saved.contains("inner") && !saved.contains("password"), "{saved}");
    }
}
