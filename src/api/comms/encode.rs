//! Values as the editor's debug and context views read them: `encodeObject` of Node-RED's `util/lib/util.js`.

use arcstr::ArcStr;
use jiff::Timestamp;
use serde_json::Value as Json;

use crate::model::value::ErrorValue;
use crate::model::{Object, Value};

/// An encoded value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Encoded {
    /// Text to show; JSON text for objects and arrays.
    pub(crate) msg: String,
    /// What it is: `string[3]`, `array[2]`, `Object`, `number`, …
    pub(crate) format: String,
}

/// Nested deeper than this a value is cut off.
const DEPTH_MAX: usize = 100;

/// What one encoded value may take, bytes.
const BYTES_MAX: usize = 4 << 20;

/// Encodes a value; texts and lists longer than `length_max` are cut off.
pub(crate) fn encode(value: &Value, length_max: usize) -> Encoded {
    let of = |format: &str, msg: &str| Encoded { msg: msg.into(), format: format.into() };
    match value {
        Value::Undefined => of("undefined", "(undefined)"),
        Value::Null => of("null", "(undefined)"),
        Value::Bool(_) => of("boolean", &value.to_js_string()),
        Value::Number(_) => of("number", &value.to_js_string()),
        Value::String(text) => {
            Encoded { format: format!("string[{}]", units(text)), msg: shortened(text, length_max, "...").into_owned() }
        }
        Value::Bytes(bytes) => {
            let shown = &bytes[..bytes.len().min(length_max.div_ceil(2))];
            let mut msg = hex::encode(shown);
            msg.truncate(length_max);
            Encoded { msg, format: format!("buffer[{}]", bytes.len()) }
        }
        Value::Date(ms) => of("Date", &date_text(*ms)),
        Value::Error(error) => Encoded { msg: error_json(error).to_string(), format: "error".into() },
        Value::Array(items) => json(value, format!("array[{}]", items.len()), length_max),
        Value::Object(_) | Value::Handle(_) => json(value, "Object".into(), length_max),
    }
}

fn json(value: &Value, format: String, length_max: usize) -> Encoded {
    let mut writer = Writer { out: String::new(), length_max };
    writer.value(value, 0);
    if writer.out.len() > BYTES_MAX {
        let message = format!("the value is too large to be shown here (over {BYTES_MAX} bytes)");
        let error = ErrorValue { name: "Error".into(), message: message.into(), stack: None, code: None };
        return Encoded { msg: error_json(&error).to_string(), format: "error".into() };
    }
    Encoded { msg: writer.out, format }
}

/// Length as JavaScript counts it.
fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// The first `max` UTF-16 units of a text, with `mark` when that is not all.
fn shortened<'a>(text: &'a str, max: usize, mark: &str) -> std::borrow::Cow<'a, str> {
    // No text has more units than bytes.
    if text.len() <= max {
        return text.into();
    }
    let mut left = max;
    let cut = text.char_indices().find(|(_, c)| match left.checked_sub(c.len_utf16()) {
        Some(rest) => {
            left = rest;
            false
        }
        None => true,
    });
    cut.map_or(text.into(), |(at, _)| format!("{}{mark}", &text[..at]).into())
}

/// `Sat Nov 21 2026 20:59:06 GMT+0000 (Coordinated Universal Time)`.
fn date_text(ms: f64) -> String {
    let at = if ms.is_finite() { Timestamp::from_millisecond(ms as i64).ok() } else { None };
    at.map_or_else(
        || "Invalid Date".into(),
        |at| at.strftime("%a %b %d %Y %H:%M:%S GMT+0000 (Coordinated Universal Time)").to_string(),
    )
}

pub(super) fn error_json(error: &ErrorValue) -> Json {
    let mut data = serde_json::json!({ "name": error.name.as_str(), "message": error.message.as_str() });
    if let Some(code) = &error.code {
        data["code"] = code.as_str().into();
    }
    data["stack"] = error
        .stack
        .as_ref()
        .map_or_else(|| format!("{}: {}", error.name, error.message).into(), |stack| Json::from(stack.as_str()));
    serde_json::json!({ "__enc__": true, "type": "error", "data": data })
}

/// Writes JSON with what JSON cannot say marked by `__enc__`.
struct Writer {
    out: String,
    length_max: usize,
}

impl Writer {
    fn text(&mut self, text: &str) {
        // A text is always JSON.
        self.out.push_str(&serde_json::to_string(text).unwrap_or_default());
    }

    fn value(&mut self, value: &Value, depth: usize) {
        if self.out.len() > BYTES_MAX {
            return self.out.push_str("null");
        }
        if depth > DEPTH_MAX {
            return self.out.push_str(r#""[too deep]""#);
        }
        match value {
            Value::Undefined => self.out.push_str(r#"{"__enc__":true,"type":"undefined"}"#),
            Value::Null => self.out.push_str("null"),
            Value::Number(n) if !n.is_finite() => {
                self.out.push_str(&format!(r#"{{"__enc__":true,"type":"number","data":"{}"}}"#, value.to_js_string()));
            }
            Value::Bool(_) | Value::Number(_) => self.out.push_str(&value.to_js_string()),
            Value::String(text) => self.text(&shortened(text, self.length_max, "...")),
            Value::Date(_) => self.out.push_str(&value.to_json()),
            Value::Error(error) => self.out.push_str(&error_json(error).to_string()),
            Value::Bytes(bytes) => self.bytes(bytes),
            Value::Array(items) => self.array(items, depth),
            Value::Object(object) => self.object(object, depth),
            Value::Handle(handle) => match handle.object() {
                Some(object) => self.object(&object, depth),
                None => self.out.push_str(r#"{"_res":{"__enc__":true,"type":"internal"}}"#),
            },
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let data: Vec<String> = bytes.iter().take(self.length_max).map(u8::to_string).collect();
        self.out.push_str(&format!(
            r#"{{"type":"Buffer","data":[{}],"__enc__":true,"length":{}}}"#,
            data.join(","),
            bytes.len()
        ));
    }

    fn array(&mut self, items: &[Value], depth: usize) {
        let cut = items.len() > self.length_max;
        if cut {
            self.out.push_str(r#"{"__enc__":true,"type":"array","data":"#);
        }
        self.out.push('[');
        for (i, item) in items.iter().take(self.length_max).enumerate() {
            if i > 0 {
                self.out.push(',');
            }
            self.value(item, depth + 1);
        }
        self.out.push(']');
        if cut {
            self.out.push_str(&format!(r#","length":{}}}"#, items.len()));
        }
    }

    fn object(&mut self, object: &Object, depth: usize) {
        self.out.push('{');
        let shown = object.iter().filter(|(_, value)| !matches!(value, Value::Handle(handle) if handle.is_hidden()));
        for (i, (key, value)) in shown.enumerate() {
            if i > 0 {
                self.out.push(',');
            }
            self.text(key);
            self.out.push(':');
            match (key.as_str(), value) {
                ("_req" | "_res", _) => self.out.push_str(r#"{"__enc__":true,"type":"internal"}"#),
                _ => self.value(value, depth + 1),
            }
        }
        self.out.push('}');
    }
}

/// As [`encode`] gives it, for JSON answers: `{"msg": …, "format": …}`.
pub(crate) fn encoded_json(value: &Value, length_max: usize) -> Json {
    let Encoded { msg, format } = encode(value, length_max);
    serde_json::json!({ "msg": msg, "format": format })
}

/// A text as a flow's message would carry it.
pub(super) fn of_text(text: &str, length_max: usize) -> Encoded {
    encode(&Value::String(ArcStr::from(text)), length_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_encoded_as_node_red_encodes_them() {
        let json = |text: &str| Value::from_json(text).unwrap();
        let object = |pairs: Vec<(&str, Value)>| Value::from(pairs.into_iter().collect::<Object>());
        let bytes = |n: usize| Value::Bytes(std::sync::Arc::new(vec![7; n]));
        for (value, msg, format) in [
            (Value::Undefined, "(undefined)", "undefined"),
            (Value::Null, "(undefined)", "null"),
            (true.into(), "true", "boolean"),
            (1.5.into(), "1.5", "number"),
            (f64::NAN.into(), "NaN", "number"),
            ("aü€😀".into(), "aü€😀", "string[5]"),
            ("0123456789x".into(), "0123456789...", "string[11]"),
            ("01234567😀x".into(), "01234567😀...", "string[11]"),
            (bytes(2), "0707", "buffer[2]"),
            (bytes(9), "0707070707", "buffer[9]"),
            (Value::Date(0.0), "Thu Jan 01 1970 00:00:00 GMT+0000 (Coordinated Universal Time)", "Date"),
            (json("[1,\"a\"]"), "[1,\"a\"]", "array[2]"),
            (
                json("[1,2,3,4,5,6,7,8,9,10,11]"),
                r#"{"__enc__":true,"type":"array","data":[1,2,3,4,5,6,7,8,9,10],"length":11}"#,
                "array[11]",
            ),
            (json(r#"{"a":{"b":null}}"#), r#"{"a":{"b":null}}"#, "Object"),
            (
                object(vec![
                    ("u", Value::Undefined),
                    ("n", f64::INFINITY.into()),
                    ("d", Value::Date(0.0)),
                    ("b", bytes(1)),
                    ("s", "0123456789x".into()),
                    ("_req", 1.into()),
                ]),
                concat!(
                    r#"{"u":{"__enc__":true,"type":"undefined"},"n":{"__enc__":true,"type":"number","data":"Infinity"},"#,
                    r#""d":"1970-01-01T00:00:00.000Z","b":{"type":"Buffer","data":[7],"__enc__":true,"length":1},"#,
                    r#""s":"0123456789...","_req":{"__enc__":true,"type":"internal"}}"#
                ),
                "Object",
            ),
            (
                Value::error("boom"),
                r#"{"__enc__":true,"type":"error","data":{"name":"Error","message":"boom","stack":"Error: boom"}}"#,
                "error",
            ),
        ] {
            assert_eq!(encode(&value, 10), Encoded { msg: msg.into(), format: format.into() });
        }
    }

    #[test]
    fn what_is_too_large_or_too_deep_says_so() {
        let wide: Object = (0..300_000).map(|i| (format!("key number {i}"), Value::from(1))).collect();
        let shown = encode(&wide.into(), 1000);
        assert_eq!(shown.format, "error");
        assert!(shown.msg.contains("too large"), "{}", shown.msg);
        let deep = (0..1000).fold(Value::Null, |inner, _| Value::array(vec![inner]));
        assert!(encode(&deep, 1000).msg.contains("[too deep]"));
    }
}
