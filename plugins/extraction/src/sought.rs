//! The value `find-object` looks for: read as its type says, and compared as its type says.

use probity_sdk::prelude::*;
use probity_sdk::{Map, TypedInput, number, serde_json};
use status_conventions::date;
use status_conventions::value::{kind, shown};

/// What is looked for.
#[derive(Debug, PartialEq)]
pub enum Sought {
    Value(Value),
    /// A point in time, milliseconds since 1970, and how it was given.
    Date(i64),
}

/// The types a caller may choose: they read nothing but what the caller sent.
const OF_CALLERS: [&str; 6] = ["str", "num", "bool", "json", "msg", "date"];

impl Sought {
    /// The configured value, or what the caller sent in its place.
    pub fn of(input: &TypedInput, msg: &Message, cx: &Context) -> Result<Self> {
        let kind = match msg.param("keyValueType").and_then(Value::as_str) {
            Some(sent) if sent != input.kind => {
                ensure!(
                    OF_CALLERS.contains(&sent),
                    "msg.req.body.keyValueType is {sent}: a caller may choose {}",
                    OF_CALLERS.join(", ")
                );
                sent
            }
            _ => input.kind.as_str(),
        };
        match msg.param("keyValue") {
            Some(sent) => Self::read(kind, sent, cx),
            None => Self::read(kind, &Value::from(input.text.as_str()), cx),
        }
    }

    fn read(kind: &str, given: &Value, cx: &Context) -> Result<Self> {
        let text = || given.as_str().map_or_else(|| given.to_string(), str::to_owned);
        Ok(Self::Value(match kind {
            "" | "str" => Value::from(text()),
            "num" => numeric(given)?,
            "bool" => boolean(given)?,
            "json" => match given {
                Value::String(text) => {
                    serde_json::from_str(text).map_err(|error| invalid("KeyValue is not valid JSON", given, error))?
                }
                other => other.clone(),
            },
            "date" => return Self::date(given),
            "msg" | "flow" | "global" | "env" | "jsonata" => {
                let input = TypedInput::new(kind, &text());
                let found =
                    cx.evaluate(&input).context(format_args!("Error processing keyValue ({kind} {})", text()))?;
                // What is undefined would be equal to every object that lacks the key.
                // An environment variable that is not set is an empty text to Node-RED.
                let found = found.filter(|found| kind != "env" || found != "");
                found.context(format_args!("KeyValue must be defined: {kind} `{}` is undefined", text()))?
            }
            _ => given.clone(),
        }))
    }

    fn date(given: &Value) -> Result<Self> {
        let read = match given {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => date::milliseconds(text),
            _ => None,
        };
        let what = || format!("KeyValue is not a valid date: {}; a date such as 2024-03-01T10:00:00Z is", shown(given));
        read.map(Self::Date).context(what())
    }

    /// Whether a property's value is what is looked for.
    pub fn is(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Value(sought), value) => same(sought, value),
            (Self::Date(sought), Value::String(text)) => date::milliseconds(text) == Some(*sought),
            (Self::Date(sought), Value::Number(number)) => number.as_f64() == Some(*sought as f64),
            (Self::Date(_), _) => false,
        }
    }
}

fn invalid(what: &str, given: &Value, error: impl std::fmt::Display) -> Error {
    Error::new(format!("{what}: {} ({error})", shown(given)))
}

fn boolean(given: &Value) -> Result<Value> {
    Ok(Value::from(match given {
        Value::Bool(flag) => *flag,
        Value::String(text) if text.trim().eq_ignore_ascii_case("true") || text.trim() == "1" => true,
        Value::String(text) if text.trim().eq_ignore_ascii_case("false") || text.trim() == "0" => false,
        Value::Number(number) => number.as_f64() != Some(0.0),
        other => bail!("KeyValue is not a valid boolean: {}; true or false is", shown(other)),
    }))
}

/// A number as JavaScript writes it, whatever form a text has.
fn numeric(given: &Value) -> Result<Value> {
    let read = match given {
        Value::Number(_) => return Ok(given.clone()),
        Value::String(text) => javascript(text.trim()),
        _ => None,
    };
    let what = || format!("KeyValue is not a valid number: {} is {}", shown(given), kind(given));
    read.filter(|read| read.is_finite()).map(number).context(what())
}

fn javascript(text: &str) -> Option<f64> {
    for (prefix, radix) in [("0x", 16), ("0X", 16), ("0b", 2), ("0B", 2), ("0o", 8), ("0O", 8)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            return u64::from_str_radix(digits, radix).ok().map(|whole| whole as f64);
        }
    }
    text.parse().ok()
}

/// Whether two values are the same JSON; 1 and 1.0 are, and the order of keys does not count.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => a.len() == b.len() && a.iter().all(|(name, a)| has(b, name, a)),
        _ => a == b,
    }
}

fn has(object: &Map<String, Value>, name: &str, value: &Value) -> bool {
    object.get(name).is_some_and(|found| same(found, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_javascript_reads_them() {
        for (text, expected) in
            [("5", 5.0), (" 5.5 ", 5.5), ("1e3", 1000.0), ("0x10", 16.0), ("0b11", 3.0), ("-0", 0.0)]
        {
            assert_eq!(numeric(&json!(text)).unwrap().as_f64(), Some(expected), "{text}");
        }
        for text in ["", "five", "0x", "1,5", "Infinity", "NaN"] {
            assert!(numeric(&json!(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn dates_are_equal_as_points_in_time() {
        let sought = Sought::date(&json!("2024-03-01T10:00:00Z")).unwrap();
        assert!(sought.is(&json!("2024-03-01T11:00:00+01:00")));
        assert!(sought.is(&json!(1_709_287_200_000_i64)));
        assert!(!sought.is(&json!("2024-03-01")));
        assert!(!sought.is(&json!(null)));
        assert!(Sought::date(&json!("soon")).is_err());
    }

    #[test]
    fn objects_are_equal_whatever_the_order_of_their_keys() {
        assert!(same(&json!({ "a": 1, "b": [1.0] }), &json!({ "b": [1], "a": 1 })));
        assert!(!same(&json!({ "a": 1 }), &json!({ "a": 1, "b": null })));
        assert!(!same(&json!("1"), &json!(1)));
    }
}
