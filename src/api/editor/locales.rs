//! The editor's texts: `/locales/<namespace>?lng=<language>`, as Node-RED's message catalogues give them.

use std::borrow::Cow;

use axum::response::Response;
use serde_json::{Map, Value, json};

use super::files;

/// The language in which every text exists.
const DEFAULT: &str = "en-US";

/// The catalogue of a namespace in a language, with the default's texts where it has none; `{}` when there is none.
pub(super) fn answer(namespace: &str, query: &str) -> Response {
    let namespace = namespace.strip_suffix(".json").unwrap_or(namespace);
    let language = form_urlencoded::parse(query.as_bytes())
        .find_map(|(name, value)| (name == "lng").then_some(value))
        .unwrap_or(Cow::Borrowed(DEFAULT));
    super::json(&catalogue(namespace, &language).unwrap_or_else(|| json!({})))
}

fn catalogue(namespace: &str, language: &str) -> Option<Value> {
    let own = read(namespace, language).or_else(|| read(namespace, language.split_once('-')?.0));
    let mut own = own?;
    if let (true, Some(default)) = (language != DEFAULT, read(namespace, DEFAULT)) {
        complete(&default, &mut own);
    }
    Some(Value::Object(own))
}

fn read(namespace: &str, language: &str) -> Option<Map<String, Value>> {
    if !language.chars().all(|c| c.is_ascii_alphabetic() || c == '-') {
        return None;
    }
    let path = match namespace {
        "editor" | "jsonata" | "infotips" => format!("editor-client/locales/{language}/{namespace}.json"),
        "node-red" => format!("nodes/locales/{language}/messages.json"),
        _ => return None,
    };
    match serde_json::from_str(&files::find(&path)?.text()) {
        Ok(Value::Object(catalogue)) => Some(with_plurals(catalogue)),
        _ => None,
    }
}

/// The files have plurals as i18next 3 writes them, the editor reads them as version 4 does.
fn with_plurals(catalogue: Map<String, Value>) -> Map<String, Value> {
    let mut read: Map<String, Value> = Map::new();
    let mut plurals = Vec::new();
    for (key, value) in catalogue {
        match (value, key.strip_suffix("_plural")) {
            (Value::Object(inner), _) => {
                read.insert(key, Value::Object(with_plurals(inner)));
            }
            (value, Some(word)) => plurals.push((format!("{word}_other"), value)),
            (value, None) => {
                read.insert(key, value);
            }
        }
    }
    for (key, value) in plurals {
        read.entry(key).or_insert(value);
    }
    read
}

/// Puts in what is missing.
fn complete(from: &Map<String, Value>, into: &mut Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(key), value) {
            (Some(Value::Object(into)), Value::Object(from)) => complete(from, into),
            (Some(_), _) => {}
            (None, value) => {
                into.insert(key.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plurals_are_renamed_at_every_depth() {
        let read = with_plurals(
            json!({ "a": { "node": "__count__ node", "node_plural": "__count__ nodes" } })
                .as_object()
                .expect("so")
                .clone(),
        );
        assert_eq!(Value::Object(read), json!({ "a": { "node": "__count__ node", "node_other": "__count__ nodes" } }));
    }

    #[test]
    fn a_language_is_completed_and_an_unknown_one_is_empty() {
        if !super::super::is_there() {
            eprintln!("skipped: this build has no editor");
            return;
        }
        let spanish = catalogue("editor", "es-ES").expect("there is Spanish");
        let english = catalogue("editor", "en-US").expect("there is English");
        assert_ne!(spanish["common"]["label"]["done"], english["common"]["label"]["done"]);
        assert!(english["common"].as_object().expect("texts").keys().all(|key| spanish["common"].get(key).is_some()));
        assert!(catalogue("node-red", "de-AT").is_some(), "German for Austria, too");
        for (namespace, language) in [("editor", "xx"), ("editor", "../en-US"), ("nothing", "en-US"), ("editor", "en")]
        {
            assert_eq!(catalogue(namespace, language), None, "{namespace} {language}");
        }
    }
}
