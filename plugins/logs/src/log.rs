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

/// As [`read`], as JSON text: of an XES log no more than one trace is held beside it, of JSON nothing.
pub fn read_text(bytes: &[u8], name: &str, options: &Options<'_>) -> Result<String, Unreadable> {
    let bytes = gzip::inflate(bytes, options.bytes_max)?;
    let label = charset::of_xml(&bytes);
    let text = charset::decode(&bytes, label.as_deref())?;
    let start = text.trim_start();
    if start.starts_with('<') {
        return text_of_xml(start, options);
    }
    if is_csv(name) || !options.object_type.is_empty() || start.is_empty() {
        return written(&of_text(&text, name, options)?);
    }
    match serde_json::from_str::<serde_core::de::IgnoredAny>(start) {
        Ok(_) => Ok(start.to_owned()),
        Err(error) => Err(Unreadable::new(format!("Failed to parse JSON: {error}"))),
    }
}

fn text_of_xml(text: &str, options: &Options<'_>) -> Result<String, Unreadable> {
    // Its JSON is about as long as the log.
    let mut traces = String::with_capacity(text.len() + text.len() / 4);
    let mut take = |found: Value| {
        traces.push_str(if traces.is_empty() { "[" } else { "," });
        traces.push_str(&written(&xes::trace(found))?);
        Ok(())
    };
    let (name, root) = xml::parse_apart(text, Some("trace"), &mut take)?;
    check_root(&name)?;
    if ocel::is_ocel_xml(&root) {
        return written(&json!({ "log": ocel::flatten(&ocel::of_xml(&root), options.object_type)? }));
    }
    // The list comes last, where `xes::log` has it too, in the place of an empty one.
    let mut rest = written(&json!({ "log": xes::log(root) }))?;
    rest.truncate(rest.len() - "[]}}".len());
    traces.push_str(if traces.is_empty() { "[]}}" } else { "]}}" });
    traces.insert_str(0, &rest);
    Ok(traces)
}

fn written(value: &Value) -> Result<String, Unreadable> {
    serde_json::to_string(value).map_err(|error| Unreadable::new(format!("it cannot be written as JSON: {error}")))
}

fn is_csv(name: &str) -> bool {
    let path = name.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    path.trim_end_matches(".gz").ends_with(".csv")
}

fn check_root(name: &str) -> Result<(), Unreadable> {
    if name == "log" {
        return Ok(());
    }
    Err(Unreadable::new(format!("its root element is <{name}>: <log> was expected, of XES or OCEL 2.0")))
}

/// Reads XES, OCEL 2.0 (XML or JSON), JSON as it is, or CSV (if `name` ends in `.csv` or `.csv.gz`); all of them in gzip,
/// too. JSON that is an OCEL log is one of traces only if an object type is named.
pub fn read(bytes: &[u8], name: &str, options: &Options<'_>) -> Result<Value, Unreadable> {
    let bytes = gzip::inflate(bytes, options.bytes_max)?;
    let label = charset::of_xml(&bytes);
    let text = charset::decode(&bytes, label.as_deref())?;
    of_text(&text, name, options)
}

fn of_text(text: &str, name: &str, options: &Options<'_>) -> Result<Value, Unreadable> {
    let start = text.trim_start();
    if start.is_empty() {
        return Err(Unreadable::new("the log is empty"));
    }
    if start.starts_with('<') {
        return of_xml(start, options);
    }
    if is_csv(name) {
        return Ok(json!({ "log": csv_log::log(&csv_log::rows(text, b',')?, &options.columns)? }));
    }
    let value: Value =
        serde_json::from_str(text).map_err(|error| Unreadable::new(format!("Failed to parse JSON: {error}")))?;
    if ocel::is_ocel(&value) && !options.object_type.is_empty() {
        return Ok(json!({ "log": ocel::flatten(&value, options.object_type)? }));
    }
    Ok(value)
}

fn of_xml(text: &str, options: &Options<'_>) -> Result<Value, Unreadable> {
    let (name, root) = xml::parse(text)?;
    check_root(&name)?;
    if ocel::is_ocel_xml(&root) {
        return Ok(json!({ "log": ocel::flatten(&ocel::of_xml(&root), options.object_type)? }));
    }
    Ok(json!({ "log": xes::log(root) }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_text_is_that_of_what_is_read() {
        let columns = Columns { case: "c", activity: "a", timestamp: "t" };
        let options = Options { object_type: "", columns, bytes_max: 1 << 20 };
        let trace = "<trace><string key='concept:name' value='&lt;1&gt;'/><event/></trace>";
        for (name, text) in [
            ("l.xes", "<log/>".to_owned()),
            ("l.xes", "<?xml version=\"1.0\"?>\n<log a='b'><extension name='x'/></log>".to_owned()),
            ("l.xes", format!("<log>{trace}<trace/><global><trace/></global>{trace}</log>")),
            ("l.json", " {\"b\": [1.0, null], \"a\": {}} ".to_owned()),
            ("l.csv", "c,a,t\n1,x,2025-01-01\n".to_owned()),
        ] {
            let read = read(text.as_bytes(), name, &options).unwrap();
            let text = read_text(text.as_bytes(), name, &options).unwrap();
            assert_eq!(text.trim().replace(": ", ":").replace(", ", ","), read.to_string(), "{name}");
        }
        for (name, text) in [("l.xes", ""), ("l.xes", "<logs/>"), ("l.xes", "<log><trace></log>"), ("l.json", "{]")] {
            let wrong = read(text.as_bytes(), name, &options).unwrap_err();
            assert_eq!(read_text(text.as_bytes(), name, &options).unwrap_err(), wrong, "{text}");
        }
    }
}
