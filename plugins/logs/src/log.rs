//! A process log of any known format, as `{"log": {"trace": [...]}}`.

use serde_json::{Value, json};

use crate::csv_log::{self, Columns};
use crate::{Unreadable, charset, gzip, ocel, xes, xml};

/// What is needed to read logs that do not say it themselves.
pub struct Options<'o> {
    /// The object type whose objects are the traces of an OCEL log; empty for the only one.
    pub object_type: &'o str,
    pub columns: Columns<'o>,
    /// Size of the log, unpacked, bytes.
    pub bytes_max: u64,
}

/// Reads XES, OCEL 2.0 (XML or JSON), JSON as it is, or CSV (if `name` ends in `.csv` or `.csv.gz`); all of them in gzip,
/// too. JSON that is an OCEL log is one of traces only if an object type is named.
pub fn read(bytes: &[u8], name: &str, options: &Options<'_>) -> Result<Value, Unreadable> {
    let bytes = gzip::inflate(bytes, options.bytes_max)?;
    let label = charset::of_xml(&bytes);
    let text = charset::decode(&bytes, label.as_deref())?;
    let start = text.trim_start();
    if start.is_empty() {
        return Err(Unreadable::new("the log is empty"));
    }
    let path = name.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    if start.starts_with('<') {
        return of_xml(start, options);
    }
    if path.trim_end_matches(".gz").ends_with(".csv") {
        return Ok(json!({ "log": csv_log::log(&csv_log::rows(&text, b',')?, &options.columns)? }));
    }
    let value: Value =
        serde_json::from_str(&text).map_err(|error| Unreadable::new(format!("Failed to parse JSON: {error}")))?;
    if ocel::is_ocel(&value) && !options.object_type.is_empty() {
        return Ok(json!({ "log": ocel::flatten(&value, options.object_type)? }));
    }
    Ok(value)
}

fn of_xml(text: &str, options: &Options<'_>) -> Result<Value, Unreadable> {
    let (name, root) = xml::parse(text)?;
    if name != "log" {
        return Err(Unreadable::new(format!("its root element is <{name}>: <log> was expected, of XES or OCEL 2.0")));
    }
    if ocel::is_ocel_xml(&root) {
        return Ok(json!({ "log": ocel::flatten(&ocel::of_xml(&root), options.object_type)? }));
    }
    Ok(json!({ "log": xes::log(root) }))
}
