//! Flows as one file per tab: which entry belongs into which file, and what the files are called. Entries keep their
//! order within a file, so that a change of one tab changes one file, and there only what changed.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value as Json};

type Entry = Map<String, Json>;

/// The file of what belongs to no tab: config nodes, the environment of all.
const GLOBAL: &str = "global";
/// Longer names are cut, characters.
const NAME_CHARS_MAX: usize = 60;

/// A file of flows.
#[derive(Clone, Debug, PartialEq)]
pub struct TabFile {
    /// With `.json`.
    pub name: String,
    pub entries: Vec<Entry>,
}

/// One file for each tab and subflow, in their order, and one for what belongs to none. Read in this order they are the
/// same flows.
pub fn by_tab(entries: &[Entry]) -> Vec<TabFile> {
    let mut files: Vec<TabFile> = Vec::new();
    let mut homes: HashMap<&str, usize> = HashMap::new();
    let mut taken: BTreeMap<String, usize> = BTreeMap::from([(GLOBAL.to_owned(), 0)]);
    for entry in entries {
        let (id, prefix, label) = match text(entry, "type") {
            "tab" => (text(entry, "id"), "", text(entry, "label")),
            "subflow" => (text(entry, "id"), "subflow-", text(entry, "name")),
            _ => continue,
        };
        let mut name = format!("{prefix}{}", slug(label));
        if taken.contains_key(&name) {
            name = format!("{name}-{}", slug(id));
        }
        // Two of one label and one id; the loader names them.
        let times = taken.entry(name.clone()).or_default();
        *times += 1;
        if *times > 1 {
            name = format!("{name}-{times}");
        }
        homes.entry(id).or_insert(files.len());
        files.push(TabFile { name: format!("{name}.json"), entries: vec![entry.clone()] });
    }
    let mut global = Vec::new();
    for entry in entries.iter().filter(|entry| !matches!(text(entry, "type"), "tab" | "subflow")) {
        match homes.get(text(entry, "z")) {
            Some(home) => files[*home].entries.push(entry.clone()),
            None => global.push(entry.clone()),
        }
    }
    if !global.is_empty() {
        files.push(TabFile { name: format!("{GLOBAL}.json"), entries: global });
    }
    files
}

fn text<'a>(entry: &'a Entry, key: &str) -> &'a str {
    entry.get(key).and_then(Json::as_str).unwrap_or_default()
}

/// A label as a file name: lower-case letters and digits with `-` between.
fn slug(label: &str) -> String {
    let mut out = String::new();
    for c in label.chars().flat_map(char::to_lowercase) {
        match c {
            c if c.is_alphanumeric() => out.push(c),
            _ if !out.is_empty() && !out.ends_with('-') => out.push('-'),
            _ => {}
        }
    }
    let cut: String = out.chars().take(NAME_CHARS_MAX).collect();
    let cut = cut.trim_matches('-');
    if cut.is_empty() { "tab".into() } else { cut.into() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entries(json: Json) -> Vec<Entry> {
        json.as_array().unwrap().iter().map(|entry| entry.as_object().unwrap().clone()).collect()
    }

    fn names(json: Json) -> Vec<String> {
        by_tab(&entries(json)).into_iter().map(|file| file.name).collect()
    }

    #[test]
    fn each_entry_lies_in_the_file_of_its_tab() {
        let flows = entries(json!([
            { "id": "t1", "type": "tab", "label": "Orders & Returns" },
            { "id": "t2", "type": "tab", "label": "orders/returns" },
            { "id": "s", "type": "subflow", "name": "Ask" },
            { "id": "c", "type": "mqtt-broker", "z": "" },
            { "id": "b", "type": "debug", "z": "t1" },
            { "id": "a", "type": "inject", "z": "t1" },
            { "id": "i", "type": "change", "z": "s" },
            { "id": "o", "type": "debug", "z": "gone" },
        ]));
        let files = by_tab(&flows);
        let shown: Vec<(&str, Vec<&str>)> = files
            .iter()
            .map(|file| (file.name.as_str(), file.entries.iter().map(|e| text(e, "id")).collect()))
            .collect();
        assert_eq!(
            shown,
            [
                ("orders-returns.json", vec!["t1", "b", "a"]),
                ("orders-returns-t2.json", vec!["t2"]),
                ("subflow-ask.json", vec!["s", "i"]),
                ("global.json", vec!["c", "o"]),
            ]
        );
        let joined: Vec<Entry> = files.into_iter().flat_map(|file| file.entries).collect();
        assert_eq!(joined.len(), flows.len());
        assert_eq!(by_tab(&joined), by_tab(&flows), "split again they are the same files");
    }

    #[test]
    fn strange_labels_give_names_of_files() {
        let tab = |id: &str, label: &str| json!({ "id": id, "type": "tab", "label": label });
        let long = "x".repeat(300);
        let labels = json!([
            tab("1", "../../etc/passwd"),
            tab("2", ""),
            tab("3", "Ünïcode Ü"),
            tab("4", "global"),
            tab("5", &long)
        ]);
        assert_eq!(
            names(labels),
            ["etc-passwd.json", "tab.json", "ünïcode-ü.json", "global-4.json", &format!("{}.json", &long[..60])]
        );
        assert_eq!(names(json!([tab("1", "a"), tab("1", "a"), tab("1", "a")])), ["a.json", "a-1.json", "a-1-2.json"]);
        assert_eq!(names(json!([])), Vec::<String>::new());
    }
}
