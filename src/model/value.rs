//! The value every message is made of: JavaScript's data, shared and copied on write.
//!
//! Cloning never copies contents: strings, arrays and objects are reference-counted and copied only when a
//! holder that is not alone changes them. Conversions (`to_js_string`, `to_number`, `loose_eq`, …) follow
//! ECMA-262, because Node-RED's nodes are specified by what JavaScript does.

pub mod kept;
mod serial;

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use arcstr::ArcStr;

use super::Object;

/// Something a message carries that is not data: `msg.req`, `msg.res`. Owned by the layer that made it.
pub trait Handle: Any + Send + Sync {
    /// Short name for logs and traces, for example `request`.
    fn kind(&self) -> &'static str;
    /// The data this handle stands for, made on demand; `None` when it has none.
    fn object(&self) -> Option<Arc<Object>> {
        None
    }
    /// Whether it is left out where messages are shown: a means of the engine, which flows know nothing of.
    fn is_hidden(&self) -> bool {
        false
    }
    /// What is kept of it in a durable run, for whoever knows its kind to make it again; `None` when its data is all
    /// that outlives the process.
    fn kept(&self) -> Option<Object> {
        None
    }
    fn as_any(&self) -> &dyn Any;
}

/// A JavaScript `Error` that travels inside a message.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorValue {
    pub name: ArcStr,
    pub message: ArcStr,
    pub stack: Option<ArcStr>,
    pub code: Option<ArcStr>,
}

#[derive(Clone, Default)]
pub enum Value {
    #[default]
    Undefined,
    Null,
    Bool(bool),
    /// An IEEE double, as in JavaScript; integers above 2^53 lose precision as they do there.
    Number(f64),
    String(ArcStr),
    Bytes(Arc<Vec<u8>>),
    /// Milliseconds since the Unix epoch; NaN is an invalid date.
    Date(f64),
    Error(Arc<ErrorValue>),
    Array(Arc<Vec<Value>>),
    Object(Arc<Object>),
    Handle(Arc<Box<dyn Handle>>),
}

impl Value {
    pub fn string(s: impl Into<ArcStr>) -> Self {
        Value::String(s.into())
    }

    pub fn array(items: Vec<Value>) -> Self {
        Value::Array(Arc::new(items))
    }

    pub fn handle(handle: impl Handle) -> Self {
        Value::Handle(Arc::new(Box::new(handle)))
    }

    pub fn error(message: impl Into<ArcStr>) -> Self {
        Value::Error(Arc::new(ErrorValue {
            name: arcstr::literal!("Error"),
            message: message.into(),
            stack: None,
            code: None,
        }))
    }

    pub fn is_undefined(&self) -> bool {
        matches!(self, Value::Undefined)
    }

    /// `null` or `undefined`.
    pub fn is_nullish(&self) -> bool {
        matches!(self, Value::Undefined | Value::Null)
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(s) => Some(s),
            _ => None,
        }
    }

    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Number(n) => Some(*n),
            _ => None,
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(b) => Some(*b),
            _ => None,
        }
    }

    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Value::Array(a) => Some(a),
            _ => None,
        }
    }

    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Value::Object(o) => Some(o),
            _ => None,
        }
    }

    pub fn as_handle<T: Handle>(&self) -> Option<&T> {
        match self {
            Value::Handle(h) => h.as_any().downcast_ref(),
            _ => None,
        }
    }

    /// A property of an object (or of what a handle stands for); `Undefined` when there is none.
    pub fn get(&self, key: &str) -> Value {
        match self {
            Value::Object(o) => o.get(key).cloned().unwrap_or_default(),
            Value::Handle(h) => h.object().and_then(|o| o.get(key).cloned()).unwrap_or_default(),
            Value::Array(a) if key == "length" => Value::Number(a.len() as f64),
            Value::Array(a) => key.parse::<usize>().ok().and_then(|i| a.get(i).cloned()).unwrap_or_default(),
            Value::String(s) if key == "length" => Value::Number(s.encode_utf16().count() as f64),
            Value::Bytes(b) if key == "length" => Value::Number(b.len() as f64),
            Value::String(s) => key.parse().ok().and_then(|i| code_unit(s, i)).map(Value::String).unwrap_or_default(),
            Value::Bytes(b) => key
                .parse::<usize>()
                .ok()
                .and_then(|i| b.get(i))
                .map_or(Value::Undefined, |b| Value::Number(f64::from(*b))),
            Value::Error(e) => match key {
                "message" => Value::String(e.message.clone()),
                "name" => Value::String(e.name.clone()),
                "stack" => e.stack.clone().map(Value::String).unwrap_or_default(),
                "code" => e.code.clone().map(Value::String).unwrap_or_default(),
                _ => Value::Undefined,
            },
            _ => Value::Undefined,
        }
    }

    /// JavaScript's `typeof`.
    pub fn type_of(&self) -> &'static str {
        match self {
            Value::Undefined => "undefined",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            _ => "object",
        }
    }

    /// JavaScript's `Boolean(x)`.
    pub fn is_truthy(&self) -> bool {
        match self {
            Value::Undefined | Value::Null => false,
            Value::Bool(b) => *b,
            Value::Number(n) => *n != 0.0 && !n.is_nan(),
            Value::String(s) => !s.is_empty(),
            _ => true,
        }
    }

    /// JavaScript's `Number(x)`.
    pub fn to_number(&self) -> f64 {
        match self {
            Value::Undefined => f64::NAN,
            Value::Null => 0.0,
            Value::Bool(b) => f64::from(u8::from(*b)),
            Value::Number(n) => *n,
            Value::Date(ms) => *ms,
            Value::String(s) => str_to_number(s),
            Value::Array(_) => str_to_number(&self.to_js_string()),
            _ => f64::NAN,
        }
    }

    /// JavaScript's `String(x)`; objects give `[object Object]`, arrays join with commas.
    pub fn to_js_string(&self) -> ArcStr {
        match self {
            Value::Undefined => arcstr::literal!("undefined"),
            Value::Null => arcstr::literal!("null"),
            Value::Bool(true) => arcstr::literal!("true"),
            Value::Bool(false) => arcstr::literal!("false"),
            Value::Number(n) => number_to_string(*n),
            Value::String(s) => s.clone(),
            Value::Bytes(b) => ArcStr::from(String::from_utf8_lossy(b).as_ref()),
            Value::Date(ms) => date_to_iso(*ms).into(),
            Value::Error(e) if e.message.is_empty() => e.name.clone(),
            Value::Error(e) => arcstr::format!("{}: {}", e.name, e.message),
            Value::Array(items) => {
                let mut out = String::new();
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    if !item.is_nullish() {
                        out.push_str(&item.to_js_string());
                    }
                }
                out.into()
            }
            Value::Object(_) | Value::Handle(_) => arcstr::literal!("[object Object]"),
        }
    }

    /// JavaScript's `===`; objects and arrays are equal only when they are the same one.
    pub fn strict_eq(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Undefined, Value::Undefined) | (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Number(a), Value::Number(b)) => a == b,
            (Value::String(a), Value::String(b)) => a == b,
            (Value::Array(a), Value::Array(b)) => Arc::ptr_eq(a, b),
            (Value::Object(a), Value::Object(b)) => Arc::ptr_eq(a, b),
            (Value::Bytes(a), Value::Bytes(b)) => Arc::ptr_eq(a, b),
            (Value::Error(a), Value::Error(b)) => Arc::ptr_eq(a, b),
            (Value::Handle(a), Value::Handle(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// JavaScript's `==`.
    pub fn loose_eq(&self, other: &Value) -> bool {
        use Value::*;
        match (self, other) {
            (Undefined | Null, Undefined | Null) => true,
            (Undefined | Null, _) | (_, Undefined | Null) => false,
            (Bool(_) | Number(_) | String(_), Bool(_) | Number(_) | String(_)) => {
                if let (String(a), String(b)) = (self, other) { a == b } else { self.to_number() == other.to_number() }
            }
            (Bool(_) | Number(_) | String(_), _) => {
                let primitive = other.to_js_string();
                match self {
                    String(a) => *a == primitive,
                    _ => self.to_number() == str_to_number(&primitive),
                }
            }
            (_, Bool(_) | Number(_) | String(_)) => other.loose_eq(self),
            _ => self.strict_eq(other),
        }
    }

    /// JavaScript's relational comparison; `None` when a side is NaN (every relation is then false).
    pub fn js_cmp(&self, other: &Value) -> Option<std::cmp::Ordering> {
        let as_text = |v: &Value| match v {
            Value::String(s) => Some(s.clone()),
            Value::Array(_) | Value::Object(_) | Value::Bytes(_) | Value::Error(_) => Some(v.to_js_string()),
            _ => None,
        };
        match (as_text(self), as_text(other)) {
            (Some(a), Some(b)) => Some(a.encode_utf16().cmp(b.encode_utf16())),
            (Some(a), None) => str_to_number(&a).partial_cmp(&other.to_number()),
            (None, Some(b)) => self.to_number().partial_cmp(&str_to_number(&b)),
            (None, None) => self.to_number().partial_cmp(&other.to_number()),
        }
    }

    /// Parses JSON; nesting is limited to 128 levels.
    pub fn from_json(text: &str) -> Result<Value, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Parses JSON from bytes; nesting is limited to 128 levels.
    pub fn from_json_slice(bytes: &[u8]) -> Result<Value, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    pub fn to_serde(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or(serde_json::Value::Null)
    }
}

/// The character at a place of a text, counted in JavaScript's units of 16 bits; half of one that takes two is no text.
fn code_unit(text: &str, at: usize) -> Option<ArcStr> {
    if text.is_ascii() {
        return text.get(at..at.checked_add(1)?).map(ArcStr::from);
    }
    let mut passed = 0;
    for c in text.chars() {
        if passed >= at {
            let whole = passed == at && c.len_utf16() == 1;
            return Some(if whole { ArcStr::from(c.encode_utf8(&mut [0; 4])) } else { arcstr::literal!("\u{fffd}") });
        }
        passed += c.len_utf16();
    }
    // The second half of the last one.
    (passed > at).then_some(arcstr::literal!("\u{fffd}"))
}

/// JavaScript's number-to-string: `1e21`, `0.1`, `NaN`, `-0` as `0`.
pub fn number_to_string(n: f64) -> ArcStr {
    if n.fract() == 0.0 && n.abs() < 1e15 {
        let mut buffer = itoa::Buffer::new();
        return ArcStr::from(buffer.format(n as i64));
    }
    ArcStr::from(ryu_js::Buffer::new().format(n))
}

/// At most four decimals, cut and marked, never rounded: 99.99999 must not read as 100.
pub fn short_number(value: f64) -> String {
    let text = number_to_string(value);
    match text.find('.') {
        Some(point) if text.len() > point + 5 && !text.contains('e') => format!("{}…", &text[..point + 5]),
        _ => text.to_string(),
    }
}

/// JavaScript's `Number("…")`: trimmed, empty is 0, hex/octal/binary prefixes, `Infinity`; else NaN.
pub fn str_to_number(s: &str) -> f64 {
    let s = s.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    if s.is_empty() {
        return 0.0;
    }
    for (prefixes, radix) in [(["0x", "0X"], 16), (["0o", "0O"], 8), (["0b", "0B"], 2)] {
        for prefix in prefixes {
            if let Some(digits) = s.strip_prefix(prefix) {
                return u64::from_str_radix(digits, radix).map_or(f64::NAN, |n| n as f64);
            }
        }
    }
    match s {
        "Infinity" | "+Infinity" => f64::INFINITY,
        "-Infinity" => f64::NEG_INFINITY,
        // Rust also reads "inf", "nan" and "infinity"; JavaScript does not.
        _ if s.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-')) => {
            s.parse().unwrap_or(f64::NAN)
        }
        _ => f64::NAN,
    }
}

/// JavaScript's `parseFloat`: the longest decimal number a text begins with, `Infinity`, else NaN.
pub fn parse_float(s: &str) -> f64 {
    let s = s.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    let unsigned = s.strip_prefix(['+', '-']).unwrap_or(s);
    if unsigned.starts_with("Infinity") {
        return if s.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let whole = digits(unsigned);
    let fraction = unsigned[whole..].strip_prefix('.').map_or(0, |rest| 1 + digits(rest));
    if whole == 0 && fraction <= 1 {
        return f64::NAN;
    }
    let mut end = whole + fraction;
    if let Some(exponent) = unsigned[end..].strip_prefix(['e', 'E']) {
        let sign = usize::from(exponent.starts_with(['+', '-']));
        let n = digits(&exponent[sign..]);
        end += if n > 0 { 1 + sign + n } else { 0 };
    }
    s[..s.len() - unsigned.len() + end].parse().unwrap_or(f64::NAN)
}

/// `2026-11-21T22:45:14.000Z`, or `Invalid Date`.
pub fn date_to_iso(ms: f64) -> String {
    if !ms.is_finite() {
        return "Invalid Date".into();
    }
    match jiff::Timestamp::from_millisecond(ms as i64) {
        Ok(t) => t.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        Err(_) => "Invalid Date".into(),
    }
}

impl PartialEq for Value {
    /// Equal by content (unlike [`Value::strict_eq`]); NaN equals NaN.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Value::Number(a), Value::Number(b)) => a == b || (a.is_nan() && b.is_nan()),
            (Value::Date(a), Value::Date(b)) => a == b || (a.is_nan() && b.is_nan()),
            (Value::Bytes(a), Value::Bytes(b)) => a == b,
            (Value::Error(a), Value::Error(b)) => a == b,
            (Value::Array(a), Value::Array(b)) => a == b,
            (Value::Object(a), Value::Object(b)) => a == b,
            _ => self.strict_eq(other),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Undefined => f.write_str("undefined"),
            Value::Handle(h) => write!(f, "[{}]", h.kind()),
            Value::Bytes(b) => write!(f, "Buffer[{}]", b.len()),
            Value::Number(n) => f.write_str(&number_to_string(*n)),
            other => f.write_str(&other.to_json()),
        }
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Value::Bool(b)
    }
}
impl From<f64> for Value {
    fn from(n: f64) -> Self {
        Value::Number(n)
    }
}
impl From<i32> for Value {
    fn from(n: i32) -> Self {
        Value::Number(f64::from(n))
    }
}
impl From<usize> for Value {
    fn from(n: usize) -> Self {
        Value::Number(n as f64)
    }
}
impl From<i64> for Value {
    fn from(n: i64) -> Self {
        Value::Number(n as f64)
    }
}
impl From<&str> for Value {
    fn from(s: &str) -> Self {
        Value::String(s.into())
    }
}
impl From<String> for Value {
    fn from(s: String) -> Self {
        Value::String(s.into())
    }
}
impl From<ArcStr> for Value {
    fn from(s: ArcStr) -> Self {
        Value::String(s)
    }
}
impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Self {
        Value::Array(Arc::new(items))
    }
}
impl From<Object> for Value {
    fn from(object: Object) -> Self {
        Value::Object(Arc::new(object))
    }
}
impl From<Arc<Object>> for Value {
    fn from(object: Arc<Object>) -> Self {
        Value::Object(object)
    }
}
impl From<serde_json::Value> for Value {
    fn from(json: serde_json::Value) -> Self {
        Value::from(&json)
    }
}
impl From<&serde_json::Value> for Value {
    fn from(json: &serde_json::Value) -> Self {
        use serde_json::Value as J;
        match json {
            J::Null => Value::Null,
            J::Bool(b) => Value::Bool(*b),
            J::Number(n) => Value::Number(n.as_f64().unwrap_or(f64::NAN)),
            J::String(s) => Value::from(s.as_str()),
            J::Array(items) => Value::array(items.iter().map(Value::from).collect()),
            J::Object(map) => map.iter().map(|(k, v)| (k.as_str(), Value::from(v))).collect::<Object>().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_round_trip_keeps_order_and_integers() {
        let text = r#"{"b":1,"a":[1.5,null,true,"x"],"c":{"d":-3}}"#;
        assert_eq!(Value::from_json(text).unwrap().to_json(), text);
    }

    #[test]
    fn parse_float_reads_what_a_text_begins_with() {
        for (text, expected) in [
            (" 12.5px", 12.5),
            ("-.5e3x", -500.0),
            ("1e+", 1.0),
            ("+3.", 3.0),
            ("1.2.3", 1.2),
            ("-Infinity!", f64::NEG_INFINITY),
        ] {
            assert_eq!(parse_float(text), expected, "{text}");
        }
        for text in ["", ".", "e5", "-", "x1", "infinity"] {
            assert!(parse_float(text).is_nan(), "{text}");
        }
    }

    #[test]
    fn conversions_are_javascripts() {
        assert_eq!(Value::from("0x10").to_number(), 16.0);
        assert!(Value::from("1x").to_number().is_nan());
        assert_eq!(Value::from("").to_number(), 0.0);
        assert!(Value::from("5").loose_eq(&Value::from(5.0)));
        assert!(!Value::Null.loose_eq(&Value::from(0.0)));
        assert!(Value::Null.loose_eq(&Value::Undefined));
        assert_eq!(Value::from(1e21).to_js_string(), "1e+21");
        assert_eq!(Value::from(0.1).to_js_string(), "0.1");
        assert_eq!(Value::array(vec![1.into(), Value::Null, "x".into()]).to_js_string(), "1,,x");
    }

    #[test]
    fn deep_json_is_refused_not_overflowed() {
        let deep = "[".repeat(100_000);
        assert!(Value::from_json(&deep).is_err());
    }

    #[test]
    fn numbers_are_cut_and_never_rounded_up() {
        assert_eq!(short_number(200.0 / 3.0), "66.6666…");
        assert_eq!(short_number(99.999_999), "99.9999…");
        assert_eq!((short_number(99.5), short_number(100.0)), ("99.5".into(), "100".into()));
    }

    #[test]
    fn a_value_is_two_words() {
        assert_eq!(std::mem::size_of::<Value>(), 16);
    }
}
