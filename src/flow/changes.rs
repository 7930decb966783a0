//! What changed between two sets of flows, for the log of who changed what.

use std::collections::HashMap;

use serde_json::{Map, Value as Json, json};

type Entry = Map<String, Json>;

/// Entries named one by one; of more only the number is told.
const NAMED_MAX: usize = 200;
/// Longer values are cut, characters.
const VALUE_CHARS_MAX: usize = 200;
/// Where an entry stands in the editor says nothing of what it does.
const LOOKS: &[&str] = &["x", "y", "w", "h", "l", "g", "style"];
/// Properties with such a word in their name may hold secrets: that they changed is told, not into what.
const SECRET: &[&str] = &["pass", "secret", "token", "key", "credential", "auth"];

/// The entries that were added, removed and changed, and of those which properties, before and after. Entries that were
/// only moved are counted.
pub fn changes(before: &[Entry], after: &[Entry]) -> Json {
    let by_id = |entries: &[Entry]| -> HashMap<String, usize> {
        entries.iter().enumerate().map(|(i, entry)| (text(entry, "id").to_owned(), i)).collect()
    };
    let (old, new) = (by_id(before), by_id(after));
    let (mut added, mut removed, mut changed, mut moved) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for entry in after {
        match old.get(text(entry, "id")).map(|i| &before[*i]) {
            None => added.push(named(entry)),
            Some(was) if was == entry => {}
            Some(was) => match properties(was, entry) {
                properties if properties.is_empty() => moved += 1,
                properties => {
                    let mut named = named(entry);
                    named["properties"] = Json::Object(properties);
                    changed.push(named);
                }
            },
        }
    }
    removed.extend(before.iter().filter(|entry| !new.contains_key(text(entry, "id"))).map(named));
    let listed = |list: &mut Vec<Json>| {
        let count = list.len();
        list.truncate(NAMED_MAX);
        json!({ "count": count, "entries": list })
    };
    json!({
        "added": listed(&mut added),
        "removed": listed(&mut removed),
        "changed": listed(&mut changed),
        "moved": moved,
    })
}

fn text<'a>(entry: &'a Entry, key: &str) -> &'a str {
    entry.get(key).and_then(Json::as_str).unwrap_or_default()
}

fn named(entry: &Entry) -> Json {
    let name = [text(entry, "name"), text(entry, "label")].into_iter().find(|name| !name.is_empty());
    json!({ "id": text(entry, "id"), "type": text(entry, "type"), "name": name.unwrap_or_default() })
}

fn properties(before: &Entry, after: &Entry) -> Entry {
    let names = after.keys().chain(before.keys().filter(|name| !after.contains_key(*name)));
    let differing = names.filter(|name| !LOOKS.contains(&name.as_str()) && before.get(*name) != after.get(*name));
    differing
        .map(|name| {
            let lower = name.to_lowercase();
            let secret = SECRET.iter().any(|word| lower.contains(word));
            let shown = |value: Option<&Json>| match value {
                None => Json::Null,
                Some(_) if secret => json!("…"),
                Some(value) => short(value),
            };
            (name.clone(), json!({ "before": shown(before.get(name)), "after": shown(after.get(name)) }))
        })
        .collect()
}

/// A value as it is, or the beginning of its text.
fn short(value: &Json) -> Json {
    let text = match value {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        None => value.clone(),
        Some((at, _)) => json!(format!("{}…", &text[..at])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(json: Json) -> Vec<Entry> {
        json.as_array().unwrap().iter().map(|entry| entry.as_object().unwrap().clone()).collect()
    }

    #[test]
    fn what_was_done_is_told_and_secrets_are_not() {
        let before = entries(json!([
            { "id": "t", "type": "tab", "label": "A" },
            { "id": "n", "type": "http request", "name": "ask", "url": "http://a", "apiKey": "old", "x": 1, "gone": 1 },
            { "id": "m", "type": "debug", "x": 1 },
            { "id": "r", "type": "debug" },
        ]));
        let after = entries(json!([
            { "id": "t", "type": "tab", "label": "A" },
            { "id": "n", "type": "http request", "name": "ask", "url": "x".repeat(300), "apiKey": "new", "x": 9 },
            { "id": "m", "type": "debug", "x": 2 },
            { "id": "a", "type": "inject" },
        ]));
        let told = changes(&before, &after);
        assert_eq!(told["added"], json!({ "count": 1, "entries": [{ "id": "a", "type": "inject", "name": "" }] }));
        assert_eq!(told["removed"]["entries"][0]["id"], "r");
        assert_eq!(told["moved"], 1);
        let properties = &told["changed"]["entries"][0]["properties"];
        assert_eq!(properties["url"]["before"], "http://a");
        assert_eq!(properties["url"]["after"].as_str().unwrap().chars().count(), VALUE_CHARS_MAX + 1);
        assert_eq!(properties["apiKey"], json!({ "before": "…", "after": "…" }));
        assert_eq!(properties["gone"], json!({ "before": 1, "after": null }));
        assert!(properties.get("x").is_none() && !told.to_string().contains("old"));
        assert_eq!(changes(&before, &before)["changed"]["count"], 0);
    }

    #[test]
    fn many_changes_are_counted() {
        let many: Vec<Entry> =
            (0..500).map(|i| json!({ "id": i.to_string(), "type": "debug" }).as_object().unwrap().clone()).collect();
        let told = changes(&[], &many);
        assert_eq!(told["added"]["count"], 500);
        assert_eq!(told["added"]["entries"].as_array().unwrap().len(), NAMED_MAX);
    }
}
