//! Values as they are kept to be gone on with: JSON that loses nothing, unlike the JSON that others are told.
//!
//! What JSON has no word for is an object whose first property is [`MARK`]: `{"~":"date","of":0}`. An object that has
//! such a property itself is written as a list of its properties. What lies deeper than [`DEPTH_MAX`] is a text that
//! holds JSON, so that reading it never meets the reader's limit of nesting.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{Error as _, Serialize, SerializeMap, SerializeSeq, Serializer};

use super::{ErrorValue, Value};
use crate::model::{Msg, Object};

/// The property that says what an object stands for.
const MARK: &str = "~";

/// Levels written before the rest goes into a text of its own.
const DEPTH_MAX: usize = 60;

/// A value to be written so that [`read`] gives it back.
pub struct Kept<'a>(pub &'a Value);

/// A message to be written so that [`read_msg`] gives it back.
pub struct KeptMsg<'a>(pub &'a Msg);

/// Why a text gives no value.
pub type NotKept = serde_json::Error;

/// Makes a handle of what [`super::Handle::kept`] gave: its kind and data. `None` leaves the data as it is.
pub type Remake<'a> = &'a dyn Fn(&str, &Object) -> Option<Value>;

impl Serialize for Kept<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        At(self.0, 0).serialize(s)
    }
}

impl Serialize for KeptMsg<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        of_object(self.0.object(), 0, s)
    }
}

/// A value at a depth.
struct At<'a>(&'a Value, usize);

/// `{"~": kind, "of": of}`.
fn marked<S: Serializer, T: Serialize + ?Sized>(s: S, kind: &str, of: &T) -> Result<S::Ok, S::Error> {
    let mut map = s.serialize_map(Some(2))?;
    map.serialize_entry(MARK, kind)?;
    map.serialize_entry("of", of)?;
    map.end()
}

fn of_object<S: Serializer>(object: &Object, depth: usize, s: S) -> Result<S::Ok, S::Error> {
    if object.contains_key(MARK) {
        let pairs: Vec<(&str, At<'_>)> = object.iter().map(|(k, v)| (k.as_str(), At(v, depth + 3))).collect();
        return marked(s, "object", &pairs);
    }
    let mut map = s.serialize_map(Some(object.len()))?;
    for (key, value) in object.iter() {
        map.serialize_entry(key.as_str(), &At(value, depth + 1))?;
    }
    map.end()
}

impl Serialize for At<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let At(value, depth) = self;
        let deep = *depth > DEPTH_MAX && matches!(value, Value::Array(_) | Value::Object(_) | Value::Handle(_));
        if deep {
            return marked(s, "json", &serde_json::to_string(&At(value, 0)).map_err(S::Error::custom)?);
        }
        match value {
            Value::Undefined => {
                let mut map = s.serialize_map(Some(1))?;
                map.serialize_entry(MARK, "undefined")?;
                map.end()
            }
            Value::Null => s.serialize_unit(),
            Value::Bool(b) => s.serialize_bool(*b),
            Value::Number(n) if *n == 0.0 && n.is_sign_negative() => marked(s, "number", "-0"),
            Value::Number(n) if !n.is_finite() => marked(s, "number", super::number_to_string(*n).as_str()),
            Value::Number(n) if n.fract() == 0.0 && n.abs() < 9.007_199_254_740_992e15 => s.serialize_i64(*n as i64),
            Value::Number(n) => s.serialize_f64(*n),
            Value::String(text) => s.serialize_str(text),
            Value::Bytes(bytes) => marked(s, "bytes", &STANDARD.encode(bytes.as_slice())),
            Value::Date(ms) if ms.is_finite() => marked(s, "date", ms),
            Value::Date(_) => marked(s, "date", &()),
            Value::Error(e) => {
                let parts = (&*e.name, &*e.message, e.stack.as_deref(), e.code.as_deref());
                marked(s, "error", &parts)
            }
            Value::Array(items) => {
                let mut seq = s.serialize_seq(Some(items.len()))?;
                for item in items.iter() {
                    seq.serialize_element(&At(item, depth + 1))?;
                }
                seq.end()
            }
            Value::Object(object) => of_object(object, *depth, s),
            Value::Handle(handle) => match (handle.kept(), handle.object()) {
                (Some(object), _) => {
                    let mut map = s.serialize_map(Some(3))?;
                    map.serialize_entry(MARK, "handle")?;
                    map.serialize_entry("kind", handle.kind())?;
                    map.serialize_entry("of", &At(&Value::from(object), depth + 1))?;
                    map.end()
                }
                // Data outlives what stood behind it.
                (None, Some(object)) => of_object(&object, *depth, s),
                (None, None) => At(&Value::Undefined, *depth).serialize(s),
            },
        }
    }
}

/// Reads what [`Kept`] wrote.
///
/// # Errors
/// When the text is no JSON.
pub fn read(text: &str, remake: Remake<'_>) -> Result<Value, NotKept> {
    let mut value = Value::from_json(text)?;
    restore(&mut value, remake)?;
    Ok(value)
}

/// As [`read`], of a value that was read with the JSON around it.
///
/// # Errors
/// When a text inside, that held what was nested deeply, is no JSON.
pub fn restored(mut value: Value, remake: Remake<'_>) -> Result<Value, NotKept> {
    restore(&mut value, remake)?;
    Ok(value)
}

/// Reads what [`KeptMsg`] wrote.
///
/// # Errors
/// When the text is no JSON object.
pub fn read_msg(text: &str, remake: Remake<'_>) -> Result<Msg, NotKept> {
    match read(text, remake)? {
        Value::Object(object) => Ok(Msg::from_object(object)),
        other => Err(serde::de::Error::custom(format_args!("expected a message, found {}", other.type_of()))),
    }
}

fn restore(value: &mut Value, remake: Remake<'_>) -> Result<(), NotKept> {
    match value {
        Value::Array(items) => Arc::make_mut(items).iter_mut().try_for_each(|item| restore(item, remake)),
        Value::Object(object) => {
            let kind = object.get(MARK).and_then(Value::as_str).map(str::to_owned);
            match kind {
                Some(kind) => *value = unmarked(&kind, object, remake)?,
                None => {
                    for (_, value) in Arc::make_mut(object).values_mut() {
                        restore(value, remake)?;
                    }
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn unmarked(kind: &str, object: &Object, remake: Remake<'_>) -> Result<Value, NotKept> {
    let mut of = object.get("of").cloned().unwrap_or_default();
    Ok(match kind {
        "number" => match of.as_str() {
            Some("-0") => Value::Number(-0.0),
            Some("Infinity") => Value::Number(f64::INFINITY),
            Some("-Infinity") => Value::Number(f64::NEG_INFINITY),
            _ => Value::Number(f64::NAN),
        },
        "bytes" => {
            let bytes = STANDARD.decode(of.as_str().unwrap_or_default());
            Value::Bytes(Arc::new(bytes.map_err(serde::de::Error::custom)?))
        }
        "date" => Value::Date(of.as_f64().unwrap_or(f64::NAN)),
        "error" => {
            let part = |at: &str| of.get(at).as_str().map(arcstr::ArcStr::from);
            Value::Error(Arc::new(ErrorValue {
                name: part("0").unwrap_or_default(),
                message: part("1").unwrap_or_default(),
                stack: part("2"),
                code: part("3"),
            }))
        }
        "json" => read(of.as_str().unwrap_or_default(), remake)?,
        "object" => {
            let mut object = Object::new();
            for pair in of.as_array().unwrap_or_default() {
                let mut value = pair.get("1");
                restore(&mut value, remake)?;
                object.insert(pair.get("0").to_js_string(), value);
            }
            object.into()
        }
        "handle" => {
            restore(&mut of, remake)?;
            let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
            of.as_object().and_then(|data| remake(kind, data)).unwrap_or(of)
        }
        _ => Value::Undefined,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(value: &Value) -> Value {
        read(&serde_json::to_string(&Kept(value)).unwrap(), &|_, _| None).unwrap()
    }

    #[test]
    fn nothing_is_lost() {
        let marks: Object = [("~", Value::from("date")), ("of", Value::Undefined)].into_iter().collect();
        let values = [
            Value::Undefined,
            Value::Null,
            Value::Bool(true),
            Value::Number(0.1),
            Value::Number(-0.0),
            Value::Number(1e300),
            Value::Number(f64::INFINITY),
            Value::Number(f64::NEG_INFINITY),
            Value::from("~"),
            Value::Bytes(Arc::new(vec![0, 255])),
            Value::Date(1.5),
            Value::Error(Arc::new(ErrorValue {
                name: "TypeError".into(),
                message: "m".into(),
                stack: None,
                code: Some("E".into()),
            })),
            marks.into(),
        ];
        for value in &values {
            assert_eq!(format!("{:?}", back(value)), format!("{value:?}"));
        }
        assert!(back(&Value::Number(f64::NAN)).to_number().is_nan());
        assert!(matches!(back(&Value::Number(-0.0)), Value::Number(n) if n.is_sign_negative()));
        assert!(matches!(back(&Value::Date(f64::NAN)), Value::Date(ms) if ms.is_nan()));
        let all: Object = values.iter().enumerate().map(|(i, v)| (arcstr::format!("k{i}"), v.clone())).collect();
        let all = Value::from(all);
        assert_eq!(format!("{:?}", back(&all)), format!("{all:?}"));
    }

    #[test]
    fn what_is_nested_deeply_is_read_back() {
        let mut deep = Value::from("bottom");
        for level in 0..500 {
            deep = match level % 2 {
                0 => Value::array(vec![deep]),
                _ => Value::from([("a", deep)].into_iter().collect::<Object>()),
            };
        }
        assert_eq!(back(&deep).to_json(), deep.to_json());
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        for text in ["", "[1]", "{\"~\":\"bytes\",\"of\":\"?\"}", "{\"~\":\"json\",\"of\":\"{\"}"] {
            assert!(read_msg(text, &|_, _| None).is_err(), "{text}");
        }
    }
}
