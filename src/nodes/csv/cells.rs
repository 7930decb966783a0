//! Cells: when one is a number, how one is quoted, and what the entries of a row are.

use std::sync::Arc;

use arcstr::ArcStr;

use crate::model::Value;
use crate::model::value::{parse_float, str_to_number};

/// The older way: `/^[-]?(?!E)(?!0\d)\d*\.?\d*(E-?\+?)?\d+$/i` of the trimmed text, then `parseFloat`.
pub(super) fn legacy_number(text: &str) -> Option<f64> {
    let text = text.trim();
    let unsigned = text.strip_prefix('-').unwrap_or(text).as_bytes();
    let digits = |bytes: &[u8]| bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    if unsigned.first() == Some(&b'0') && unsigned.get(1).is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let mut at = digits(unsigned);
    if unsigned.get(at) == Some(&b'.') {
        at += 1 + digits(&unsigned[at + 1..]);
    }
    if at > 0 && matches!(unsigned.get(at), Some(b'e' | b'E')) {
        at += 1;
        at += usize::from(unsigned.get(at) == Some(&b'-'));
        at += usize::from(unsigned.get(at) == Some(&b'+'));
        at += digits(&unsigned[at..]);
    }
    let ends_in_digit = unsigned.last().is_some_and(u8::is_ascii_digit);
    (at == unsigned.len() && ends_in_digit).then(|| parse_float(text))
}

/// By RFC: what `Number` reads, unless it begins with a plus or a zero before another digit.
pub(super) fn rfc_number(text: &str) -> Option<f64> {
    let bare = text.trim_start_matches(' ').as_bytes();
    let zeros = |b: &[u8]| b.first() == Some(&b'0') && b.get(1).is_some_and(u8::is_ascii_digit);
    if text.is_empty()
        || bare.first() == Some(&b'+')
        || zeros(bare)
        || (bare.first() == Some(&b'-') && zeros(&bare[1..]))
    {
        return None;
    }
    Some(str_to_number(text)).filter(|n| !n.is_nan())
}

/// Quoted when it holds the quote or one of these; quotes inside are doubled.
pub(super) fn quoted(cell: &str, separator: &str) -> String {
    let needs = cell.contains(['"', '\r', '\n']) || (!separator.is_empty() && cell.contains(separator));
    if needs { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_string() }
}

/// Node-RED's `ensureString`.
pub(super) fn text_of(value: &Value) -> ArcStr {
    match value {
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).as_ref().into(),
        other if other.type_of() == "object" => other.to_json().into(),
        other => other.to_js_string(),
    }
}

/// JavaScript's own entries of an object, in order.
pub(super) fn entries(value: &Value) -> Vec<(ArcStr, Value)> {
    let numbered =
        |items: &[Value]| items.iter().enumerate().map(|(i, v)| (arcstr::format!("{i}"), v.clone())).collect();
    match value {
        Value::Object(object) => object.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
        Value::Handle(handle) => handle.object().map_or(Vec::new(), |o| entries(&Value::Object(o))),
        Value::Array(items) => numbered(items),
        Value::Bytes(bytes) => numbered(&bytes.iter().map(|b| Value::from(i32::from(*b))).collect::<Vec<_>>()),
        Value::String(text) => numbered(&text.chars().map(|c| Value::from(c.to_string())).collect::<Vec<_>>()),
        _ => Vec::new(),
    }
}

/// An own property; `None` when there is none.
pub(super) fn own(value: &Value, key: &str) -> Option<Value> {
    match value {
        Value::Object(object) => object.get(key).cloned(),
        Value::Handle(handle) => handle.object().and_then(|o| o.get(key).cloned()),
        other => Some(other.get(key)).filter(|v| !v.is_undefined()),
    }
}

/// The payload as rows: an object alone is one.
pub(super) fn rows_of(payload: &Value) -> Arc<Vec<Value>> {
    match payload {
        Value::Array(rows) => rows.clone(),
        other => Arc::new(vec![other.clone()]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_from_texts() {
        for (text, legacy, rfc) in [
            ("1", Some(1.0), Some(1.0)),
            (" -1.5 ", Some(-1.5), Some(-1.5)),
            (".5", Some(0.5), Some(0.5)),
            ("1e3", Some(1000.0), Some(1000.0)),
            ("1E-2", Some(0.01), Some(0.01)),
            ("0", Some(0.0), Some(0.0)),
            ("0.1", Some(0.1), Some(0.1)),
            ("007", None, None),
            ("-01", None, None),
            ("+1", None, None),
            ("1.", None, Some(1.0)),
            ("0x10", None, Some(16.0)),
            ("e5", None, None),
            ("1 2", None, None),
            ("", None, None),
            ("-", None, None),
            ("1.2.3", None, None),
        ] {
            assert_eq!((legacy_number(text), rfc_number(text)), (legacy, rfc), "{text:?}");
        }
    }
}
