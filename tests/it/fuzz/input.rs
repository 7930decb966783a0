//! Strange input: real documents with pieces changed, deleted and repeated, and heaps of a language's own words.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

/// The texts of all files with this ending below a folder of the repository; never empty.
pub fn corpus(folders: &[&str], ending: &str) -> Vec<String> {
    fn walk(folder: &Path, ending: &str, found: &mut Vec<String>) {
        for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()) {
            if path.is_dir() {
                walk(&path, ending, found);
            } else if path.to_string_lossy().ends_with(ending) {
                found.extend(fs::read_to_string(&path).ok().filter(|t| t.len() < 200_000));
            }
        }
    }
    let mut found = Vec::new();
    for folder in folders {
        walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), ending, &mut found);
    }
    // Sorted by content: the order of a folder is not the same everywhere, and a seed must mean the same.
    found.sort();
    assert!(!found.is_empty(), "no {ending} below {folders:?}");
    found
}

/// Texts made of these words, of any characters, or both.
pub fn heap_of(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    let word = prop_oneof![
        8 => select(words).prop_map(str::to_string),
        1 => "[0-9]{1,25}(\\.[0-9]{1,25})?",
        1 => "\\PC{0,6}",
        1 => any::<char>().prop_map(String::from),
    ];
    let separator = prop_oneof![3 => Just(" "), 2 => Just("")];
    prop::collection::vec((word, separator), 0..40)
        .prop_map(|pieces| pieces.iter().map(|(w, s)| format!("{w}{s}")).collect())
}

/// A document of the corpus, changed as a text.
pub fn changed_text(corpus: Vec<String>) -> impl Strategy<Value = String> {
    let change = (any::<Index>(), any::<Index>(), 0..4_u8, "\\PC{0,5}");
    (select(corpus), prop::collection::vec(change, 1..6)).prop_map(|(text, changes)| {
        let mut characters: Vec<char> = text.chars().collect();
        for (from, to, kind, new) in changes {
            if characters.is_empty() {
                break;
            }
            let (from, to) = (from.index(characters.len()), to.index(characters.len()));
            let (from, to) = (from.min(to), from.max(to));
            match kind {
                // Keep a piece deleted short, so that something is left.
                0 => drop(characters.drain(from..to.min(from + 200))),
                1 => characters.truncate(to),
                2 => drop(characters.splice(from..from, new.chars())),
                _ => {
                    let piece = characters[from..to.min(from + 500)].to_vec();
                    drop(characters.splice(to..to, piece));
                }
            }
        }
        characters.into_iter().collect()
    })
}

/// A JSON document of the corpus with values replaced by strange ones, or by others of the document.
pub fn changed_json(corpus: Vec<String>) -> impl Strategy<Value = String> {
    let documents: Vec<Value> = corpus.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
    let change = (any::<Index>(), any::<Index>(), prop_oneof![3 => strange().prop_map(Some), 1 => Just(None)]);
    (select(documents), prop::collection::vec(change, 1..8)).prop_map(|(mut document, changes)| {
        for (at, other, new) in changes {
            let size = count(&document);
            let new = new
                .unwrap_or_else(|| nth(&mut document, &mut other.index(size)).map(|v| v.clone()).unwrap_or_default());
            if let Some(place) = nth(&mut document, &mut at.index(size)) {
                *place = new;
            }
        }
        document.to_string()
    })
}

fn strange() -> impl Strategy<Value = Value> {
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    prop_oneof![
        select(vec![
            json!(null),
            json!(true),
            json!(""),
            json!("*"),
            json!(0),
            json!(-1),
            json!(1e308),
            json!(-0.0),
            json!(0.1),
            json!(u64::MAX),
            json!(i64::MIN),
            json!([]),
            json!({}),
            json!([[]]),
            json!([null]),
            json!({"": ""}),
            json!("0"),
            json!("NaN"),
            json!("__proto__"),
            json!("${X}"),
            json!("../../etc/passwd"),
            json!("\u{0}"),
            json!("2026-13-45"),
            json!("2026-03-29T02:30:00"),
            json!("-9999-01-01T00:00:00Z"),
            json!("9999-12-31T23:59:59Z"),
            json!("Europe/Madrid"),
            json!("Mars/Olympus"),
            json!("a".repeat(5000)),
            deep,
        ]),
        "\\PC{0,12}".prop_map(Value::from),
        any::<f64>().prop_map(|n| json!(n)),
        any::<i64>().prop_map(|n| json!(n)),
    ]
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum::<usize>(),
        Value::Object(members) => members.values().map(count).sum(),
        _ => 0,
    }
}

/// The `n`th value of a document, counted from the top down.
fn nth<'v>(value: &'v mut Value, n: &mut usize) -> Option<&'v mut Value> {
    if *n == 0 {
        return Some(value);
    }
    *n -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|v| nth(v, n)),
        Value::Object(members) => members.values_mut().find_map(|v| nth(v, n)),
        _ => None,
    }
}
