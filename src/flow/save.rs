//! A flow file as text, the way Node-RED writes it, with `flowFilePretty` or without.

use std::borrow::Cow;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter, Serializer};
use serde_json::{Map, Value as Json};
use sha2::{Digest, Sha256};

use crate::model::flow::FlowFile;

/// Integers beyond this are no integers in JavaScript any more.
const EXACT_MAX: u64 = 1 << 53;

/// The file's entries with every property in its place, indented by four spaces, numbers as JavaScript writes
/// them, without a final newline.
pub fn save(file: &FlowFile) -> String {
    write(&file.entries, PrettyFormatter::with_indent(b"    "))
}

/// The entries as `JSON.stringify` writes them.
pub fn stringify(entries: &[Map<String, Json>]) -> String {
    write(entries, CompactFormatter)
}

/// What Node-RED calls the revision of flows: SHA-256 of their `JSON.stringify`, hex.
pub fn revision(entries: &[Map<String, Json>]) -> String {
    hex::encode(Sha256::digest(stringify(entries)))
}

fn write(entries: &[Map<String, Json>], layout: impl Formatter) -> String {
    let mut out = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut out, JavaScript(layout));
    let entries: Vec<Cow<'_, Map<String, Json>>> = entries.iter().map(ordered).collect();
    entries.serialize(&mut serializer).expect("JSON values are written to memory");
    String::from_utf8(out).expect("JSON is UTF-8")
}

/// With keys in the order of a JavaScript object: those that are array indices first, by number.
fn ordered(entry: &Map<String, Json>) -> Cow<'_, Map<String, Json>> {
    if !entry.iter().any(|(key, value)| index_of(key).is_some() || has_index(value)) {
        return Cow::Borrowed(entry);
    }
    let mut entry = entry.clone();
    order(&mut entry);
    Cow::Owned(entry)
}

fn has_index(json: &Json) -> bool {
    match json {
        Json::Array(items) => items.iter().any(has_index),
        Json::Object(map) => map.iter().any(|(key, value)| index_of(key).is_some() || has_index(value)),
        _ => false,
    }
}

fn order(map: &mut Map<String, Json>) {
    let mut pairs: Vec<(String, Json)> = std::mem::take(map).into_iter().collect();
    pairs.sort_by_key(|(key, _)| index_of(key).map_or(u64::MAX, u64::from));
    for (_, value) in &mut pairs {
        order_within(value);
    }
    map.extend(pairs);
}

fn order_within(json: &mut Json) {
    match json {
        Json::Array(items) => items.iter_mut().for_each(order_within),
        Json::Object(map) => order(map),
        _ => {}
    }
}

/// `0` to `4294967294`, written without leading zeros.
fn index_of(key: &str) -> Option<u32> {
    let plain = key == "0" || key.starts_with(|c: char| c.is_ascii_digit() && c != '0');
    key.parse().ok().filter(|n| plain && *n != u32::MAX)
}

/// A layout with JavaScript's numbers: `1000`, not `1000.0`.
struct JavaScript<F>(F);

impl<F: Formatter> Formatter for JavaScript<F> {
    fn write_u64<W: ?Sized + Write>(&mut self, writer: &mut W, value: u64) -> io::Result<()> {
        if value > EXACT_MAX { self.write_f64(writer, value as f64) } else { write!(writer, "{value}") }
    }
    fn write_i64<W: ?Sized + Write>(&mut self, writer: &mut W, value: i64) -> io::Result<()> {
        if value.unsigned_abs() > EXACT_MAX { self.write_f64(writer, value as f64) } else { write!(writer, "{value}") }
    }
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(ryu_js::Buffer::new().format(value).as_bytes())
    }
    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }
    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }
    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }
    fn end_array_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }
    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }
    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }
    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }
    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }
    fn end_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::load;

    #[test]
    fn writes_what_node_red_writes() {
        let text = "[\n    {\n        \"id\": \"a\",\n        \"zzz\": [],\n        \"b\": {\n            \"n\": 1.5,\n            \"m\": {}\n        },\n        \"a\": \"ü\\n\",\n        \"k\": null\n    }\n]";
        let (file, diagnostics) = load(text, "");
        assert_eq!(diagnostics.len(), 1, "{diagnostics:?}"); // no type
        assert_eq!(save(&file), text);
        assert_eq!(
            save(&load("[{\"id\":\"\",\"n\":1e3,\"m\":1e21}]", "").0).replace([' ', '\n'], ""),
            "[{\"id\":\"\",\"n\":1000,\"m\":1e+21}]"
        );
        assert_eq!(save(&FlowFile::default()), "[]");
    }

    #[test]
    fn keys_and_numbers_are_written_in_javascripts_way() {
        let (file, _) = load(r#"[{"id":"a","type":"x","b":{"z":1,"10":2,"9":3,"01":9007199254740993}}]"#, "");
        let text = r#"[{"id":"a","type":"x","b":{"9":3,"10":2,"z":1,"01":9007199254740992}}]"#;
        assert_eq!(stringify(&file.entries), text);
        assert_eq!(revision(&file.entries), hex::encode(Sha256::digest(text)));
    }

    /// Every file given is one that Node-RED exported.
    #[test]
    fn real_files_survive_a_round_trip() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/flows");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).expect("the example flows are part of the repository") {
            let path = entry.expect("a readable folder").path();
            let text = std::fs::read_to_string(&path).expect("a readable file");
            if path.extension().is_none_or(|e| e != "json") || path.ends_with("manifest.json") {
                continue;
            }
            let before: Vec<serde_json::Value> = serde_json::from_str(&text).expect("an array");
            let saved = save(&load(&text, "").0);
            let after: Vec<serde_json::Value> = serde_json::from_str(&saved).expect("an array");
            let keys = |v: &[serde_json::Value]| serde_json::to_string(v).expect("JSON");
            assert_eq!(keys(&before), keys(&after), "{}", path.display());
            assert_eq!(save(&load(&saved, "").0), saved, "{}", path.display());
            seen += 1;
        }
        assert!(seen >= 3, "{seen} files");
    }
}
