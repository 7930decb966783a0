//! One tab of the flows, as `GET`, `POST`, `PUT` and `DELETE /flow` see it; `global` is what belongs to no tab.
//!
//! Follows `getFlow`, `addFlow`, `updateFlow` and `removeFlow` of Node-RED's `runtime/lib/flows/index.js`.

use std::collections::HashSet;

use serde_json::{Map, Value as Json, json};

use super::Entry;
use crate::flow::SUBFLOW_PREFIX;

fn text<'a>(entry: &'a Entry, key: &str) -> &'a str {
    entry.get(key).and_then(Json::as_str).unwrap_or_default()
}

/// Tabs, subflows and groups are no nodes.
fn is_node(entry: &Entry) -> bool {
    !matches!(text(entry, "type"), "tab" | "subflow" | "group")
}

/// Node-RED takes what has no place in the editor for a config node.
fn is_config(entry: &Entry) -> bool {
    !(entry.contains_key("x") && entry.contains_key("y"))
}

/// Ids of the tabs, among them those made for nodes whose `z` names none.
fn tabs(entries: &[Entry]) -> HashSet<&str> {
    let of_type = |t: &'static str| entries.iter().filter(move |e| text(e, "type") == t).map(|e| text(e, "id"));
    let subflows: HashSet<&str> = of_type("subflow").collect();
    let made = entries.iter().filter(|e| is_node(e)).map(|e| text(e, "z"));
    of_type("tab").chain(made.filter(|z| !z.is_empty() && !subflows.contains(z))).collect()
}

/// An entry as it is shown: without credentials, and a link out without the wires it never has.
fn shown(entry: &Entry) -> Json {
    let mut entry = entry.clone();
    entry.remove("credentials");
    if text(&entry, "type") == "link out" {
        entry.remove("wires");
    }
    if let Some(subflow) = text(&entry, "type").strip_prefix(SUBFLOW_PREFIX).map(str::to_string) {
        entry.insert("subflow".into(), subflow.into());
    }
    // Values of credentials are never shown.
    for env in entry.get_mut("env").and_then(Json::as_array_mut).into_iter().flatten().filter_map(Json::as_object_mut) {
        if text(env, "type") == "cred" {
            env.remove("value");
        }
    }
    Json::Object(entry)
}

fn all<'a>(entries: &'a [Entry], z: &'a str, which: impl Fn(&Entry) -> bool + 'a) -> impl Iterator<Item = Json> + 'a {
    entries.iter().filter(move |e| text(e, "z") == z && which(e)).map(shown)
}

fn is_group(entry: &Entry) -> bool {
    text(entry, "type") == "group"
}

fn is_placed_node(entry: &Entry) -> bool {
    is_node(entry) && !is_config(entry)
}

fn is_config_node(entry: &Entry) -> bool {
    is_node(entry) && is_config(entry)
}

/// A tab with its nodes (groups first) and config nodes; `None` when there is none of this id.
pub(super) fn get(entries: &[Entry], id: &str) -> Option<Json> {
    if id == "global" {
        return Some(global(entries));
    }
    if !tabs(entries).contains(id) {
        return None;
    }
    let tab = entries.iter().find(|e| text(e, "id") == id && text(e, "type") == "tab");
    let mut out = Map::new();
    out.insert("id".into(), id.into());
    for key in ["label", "disabled", "info", "env"] {
        let value = tab.and_then(|tab| tab.get(key)).filter(|value| key != "label" || **value != json!(""));
        out.extend(value.map(|value| (key.to_string(), value.clone())));
    }
    let nodes = all(entries, id, is_group).chain(all(entries, id, is_placed_node));
    out.insert("nodes".into(), nodes.collect());
    let configs: Vec<Json> = all(entries, id, is_config_node).collect();
    if !configs.is_empty() {
        out.insert("configs".into(), configs.into());
    }
    Some(out.into())
}

fn global(entries: &[Entry]) -> Json {
    let containers: HashSet<&str> =
        entries.iter().filter(|e| !is_node(e) && !is_group(e)).map(|e| text(e, "id")).collect();
    let mut out = json!({ "id": "global" });
    let configs = entries.iter().filter(|e| is_config_node(e) && !containers.contains(text(e, "z"))).map(shown);
    let configs: Vec<Json> = configs.collect();
    if !configs.is_empty() {
        out["configs"] = configs.into();
    }
    let subflow = |entry: &Entry| {
        let id = text(entry, "id");
        let mut subflow = shown(entry);
        subflow["configs"] = all(entries, id, is_config_node).collect();
        subflow["nodes"] = all(entries, id, is_placed_node).chain(all(entries, id, is_group)).collect();
        subflow
    };
    let subflows: Vec<Json> = entries.iter().filter(|e| text(e, "type") == "subflow").map(subflow).collect();
    if !subflows.is_empty() {
        out["subflows"] = subflows.into();
    }
    out
}

/// The list of this name in a posted tab. The error says that it is none.
fn list(body: &mut Entry, key: &str) -> Result<Option<Vec<Entry>>, String> {
    let items = match body.remove(key) {
        None | Some(Json::Null) => return Ok(None),
        Some(Json::Array(items)) => items,
        Some(_) => return Err(format!("{key} must be an array")),
    };
    let objects = items.into_iter().enumerate().map(|(i, item)| match item {
        Json::Object(entry) => Ok(entry),
        _ => Err(format!("{key}[{i}] must be an object")),
    });
    objects.collect::<Result<Vec<Entry>, String>>().map(Some)
}

fn body_of(body: Json) -> Result<Entry, String> {
    match body {
        Json::Object(body) => Ok(body),
        _ => Err("a flow must be an object".into()),
    }
}

/// The `tab` entry of a posted tab.
fn tab_entry(body: &Entry, id: &str, keys: &[&str]) -> Entry {
    let mut tab = Map::new();
    tab.insert("type".into(), "tab".into());
    tab.extend(body.get("label").map(|label| ("label".to_string(), label.clone())));
    tab.insert("id".into(), id.into());
    for key in keys {
        tab.extend(body.get(*key).map(|value| (key.to_string(), value.clone())));
    }
    tab
}

fn with_z(mut entry: Entry, z: &str) -> Entry {
    entry.insert("z".into(), z.into());
    entry
}

fn to_json(entries: impl IntoIterator<Item = Entry>) -> Vec<Json> {
    entries.into_iter().map(Json::Object).collect()
}

/// All entries with a new tab at the end. The error is Node-RED's.
pub(super) fn add(entries: &[Entry], body: Json, id: &str) -> Result<Vec<Json>, String> {
    let mut body = body_of(body)?;
    let nodes = list(&mut body, "nodes")?.ok_or("missing nodes property")?;
    let configs = list(&mut body, "configs")?.unwrap_or_default();
    let mut ids: HashSet<String> = entries.iter().map(|e| text(e, "id").to_string()).collect();
    let mut out = entries.to_vec();
    out.push(tab_entry(&body, id, &["info", "disabled", "env"]));
    for node in nodes.into_iter().chain(configs) {
        let given = text(&node, "id");
        if !given.is_empty() && !ids.insert(given.to_string()) {
            return Err("duplicate id".into());
        }
        if matches!(text(&node, "type"), "tab" | "subflow") {
            return Err(format!("invalid node type: {}", text(&node, "type")));
        }
        out.push(with_z(node, id));
    }
    Ok(to_json(out))
}

/// All entries with this tab replaced; `None` when there is none of this id.
pub(super) fn set(entries: &[Entry], id: &str, body: Json) -> Result<Option<Vec<Json>>, String> {
    let mut body = body_of(body)?;
    let tabs = tabs(entries);
    if id == "global" {
        return set_global(entries, &tabs, &mut body).map(Some);
    }
    if !tabs.contains(id) {
        return Ok(None);
    }
    let mut out: Vec<Entry> = entries.iter().filter(|e| text(e, "z") != id && text(e, "id") != id).cloned().collect();
    let nodes = list(&mut body, "nodes")?.unwrap_or_default();
    let configs = list(&mut body, "configs")?.unwrap_or_default();
    out.push(tab_entry(&body, id, &["info", "disabled", "env", "credentials"]));
    for node in nodes.into_iter().chain(configs) {
        if text(&node, "type") != "tab" {
            out.push(with_z(node, id));
        } else if !out.iter().any(|entry| text(entry, "id") == text(&node, "id")) {
            // Some clients send the tab along; another tab than this is added, as Node-RED does, but only once.
            out.push(node);
        }
    }
    Ok(Some(to_json(out)))
}

fn set_global(entries: &[Entry], tabs: &HashSet<&str>, body: &mut Entry) -> Result<Vec<Json>, String> {
    let stays = |e: &&Entry| text(e, "type") == "tab" || tabs.contains(text(e, "z"));
    let mut out: Vec<Entry> = entries.iter().filter(stays).cloned().collect();
    out.extend(list(body, "configs")?.unwrap_or_default());
    for mut subflow in list(body, "subflows")?.unwrap_or_default() {
        out.extend(list(&mut subflow, "nodes")?.unwrap_or_default());
        out.extend(list(&mut subflow, "configs")?.unwrap_or_default());
        out.push(subflow);
    }
    Ok(to_json(out))
}

/// All entries without this tab and its nodes; `None` when there is none of this id.
pub(super) fn remove(entries: &[Entry], id: &str) -> Option<Vec<Json>> {
    tabs(entries)
        .contains(id)
        .then(|| to_json(entries.iter().filter(|e| text(e, "z") != id && text(e, "id") != id).cloned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(json: Json) -> Vec<Entry> {
        json.as_array().unwrap().iter().map(|e| e.as_object().unwrap().clone()).collect()
    }

    fn flows() -> Vec<Entry> {
        entries(json!([
            { "id": "t", "type": "tab", "label": "T", "info": "", "locked": true },
            { "id": "g", "type": "group", "z": "t", "nodes": ["n"] },
            { "id": "n", "type": "subflow:s", "z": "t", "x": 1, "y": 1, "wires": [["m"]], "params": { "a": "num" } },
            { "id": "l", "type": "link out", "z": "t", "x": 1, "y": 1, "wires": [], "credentials": { "p": 1 } },
            { "id": "c", "type": "tls-config", "z": "t" },
            { "id": "s", "type": "subflow", "name": "S", "env": [{ "name": "K", "type": "cred", "value": "x" }] },
            { "id": "i", "type": "change", "z": "s", "x": 1, "y": 1, "wires": [[]] },
            { "id": "k", "type": "mqtt-broker" },
            { "id": "o", "type": "debug", "z": "lost", "x": 1, "y": 1, "wires": [] }
        ]))
    }

    #[test]
    fn a_tab_is_shown_with_its_groups_nodes_and_config_nodes() {
        let shown = json!({
            "id": "t", "label": "T", "info": "",
            "nodes": [
                { "id": "g", "type": "group", "z": "t", "nodes": ["n"] },
                { "id": "n", "type": "subflow:s", "z": "t", "x": 1, "y": 1, "wires": [["m"]],
                  "params": { "a": "num" }, "subflow": "s" },
                { "id": "l", "type": "link out", "z": "t", "x": 1, "y": 1 }
            ],
            "configs": [{ "id": "c", "type": "tls-config", "z": "t" }]
        });
        assert_eq!(get(&flows(), "t"), Some(shown));
        let made = json!({ "id": "lost", "nodes": [
            { "id": "o", "type": "debug", "z": "lost", "x": 1, "y": 1, "wires": [] }] });
        assert_eq!(get(&flows(), "lost"), Some(made));
        let global = json!({
            "id": "global", "configs": [{ "id": "k", "type": "mqtt-broker" }],
            "subflows": [{ "id": "s", "type": "subflow", "name": "S", "env": [{ "name": "K", "type": "cred" }],
                           "configs": [], "nodes": [
                { "id": "i", "type": "change", "z": "s", "x": 1, "y": 1, "wires": [[]] }] }]
        });
        assert_eq!(get(&flows(), "global"), Some(global));
        assert_eq!(get(&flows(), "s"), None);
        assert_eq!(get(&flows(), ""), None);
    }

    #[test]
    fn a_tab_is_added_with_an_id_of_ours_and_no_id_twice() {
        let body =
            json!({ "id": "mine", "label": "L", "env": [], "nodes": [{ "id": "x", "type": "debug", "z": "y" }] });
        let added = add(&flows(), body, "new").unwrap();
        let tail = json!([{ "type": "tab", "label": "L", "id": "new", "env": [] },
                          { "id": "x", "type": "debug", "z": "new" }]);
        assert_eq!(Json::from(added[9..].to_vec()), tail);
        for (body, problem) in [
            (json!({ "nodes": [{ "id": "n", "type": "debug" }] }), "duplicate id"),
            (json!({ "nodes": [{ "id": "x" }, { "id": "x" }] }), "duplicate id"),
            (json!({ "nodes": [], "configs": [{ "id": "k" }] }), "duplicate id"),
            (json!({ "nodes": [{ "id": "x", "type": "subflow" }] }), "invalid node type: subflow"),
            (json!({ "label": "L" }), "missing nodes property"),
            (json!({ "nodes": 1 }), "nodes must be an array"),
            (json!({ "nodes": [1] }), "nodes[0] must be an object"),
            (json!([]), "a flow must be an object"),
        ] {
            assert_eq!(add(&flows(), body.clone(), "new").unwrap_err(), problem, "{body}");
        }
    }

    #[test]
    fn a_tab_is_replaced_whatever_ids_the_body_names() {
        let body = json!({ "id": "other", "label": "L", "nodes": [
            { "id": "t", "type": "tab" }, { "id": "u", "type": "tab" }, { "id": "n", "type": "debug", "z": "u" }] });
        let mut now = set(&flows(), "t", body.clone()).unwrap().unwrap();
        for _ in 0..2 {
            let ids: Vec<&str> = now.iter().map(|e| e["id"].as_str().unwrap()).collect();
            assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len(), "{ids:?}");
            assert!(ids.contains(&"u") && !ids.contains(&"l") && !ids.contains(&"other"));
            let node = now.iter().find(|e| e["id"] == "n").unwrap();
            assert_eq!(node["z"], "t");
            now = set(&entries(now.into()), "t", body.clone()).unwrap().unwrap();
        }
        assert_eq!(set(&flows(), "zzz", json!({})).unwrap(), None);
        assert_eq!(remove(&flows(), "zzz"), None);
        assert_eq!(remove(&flows(), "t").unwrap().len(), 4);
        assert_eq!(remove(&flows(), "lost").unwrap().len(), 8);
    }

    #[test]
    fn global_replaces_subflows_and_config_nodes_only() {
        let body = json!({ "configs": [{ "id": "k2", "type": "mqtt-broker" }],
                           "subflows": [{ "id": "s", "type": "subflow", "nodes": [{ "id": "i2", "z": "s" }] }] });
        let now = set(&flows(), "global", body).unwrap().unwrap();
        let ids: Vec<&str> = now.iter().map(|e| e["id"].as_str().unwrap()).collect();
        assert_eq!(ids, ["t", "g", "n", "l", "c", "o", "k2", "i2", "s"]);
    }
}
