//! A flow file as text, the way Node-RED writes it with `flowFilePretty`.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

use crate::model::flow::FlowFile;

/// The file's entries with every property in its place, indented by four spaces, numbers as JavaScript writes
/// them, without a final newline.
pub fn save(file: &FlowFile) -> String {
    let mut out = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut out, JavaScript(PrettyFormatter::with_indent(b"    ")));
    file.entries.serialize(&mut serializer).expect("JSON values are written to memory");
    String::from_utf8(out).expect("JSON is UTF-8")
}

/// Pretty JSON with JavaScript's numbers: `1000`, not `1000.0`.
struct JavaScript<'a>(PrettyFormatter<'a>);

impl Formatter for JavaScript<'_> {
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
