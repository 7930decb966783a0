//! Values through serde: how they are written, and how they are read with the property names shared.

use std::fmt;
use std::sync::Arc;

use arcstr::ArcStr;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::{Value, date_to_iso};
use crate::model::Object;

impl Serialize for Value {
    /// `undefined` and handles without data are `null` here; object properties that hold them are left out.
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Undefined | Value::Null => s.serialize_unit(),
            Value::Bool(b) => s.serialize_bool(*b),
            Value::Number(n) if n.fract() == 0.0 && n.abs() < 9.007_199_254_740_992e15 => s.serialize_i64(*n as i64),
            Value::Number(n) if n.is_finite() => s.serialize_f64(*n),
            Value::Number(_) => s.serialize_unit(),
            Value::String(text) => s.serialize_str(text),
            Value::Bytes(bytes) => {
                let mut map = s.serialize_map(Some(2))?;
                map.serialize_entry("type", "Buffer")?;
                map.serialize_entry("data", bytes.as_slice())?;
                map.end()
            }
            Value::Date(ms) if ms.is_finite() => s.serialize_str(&date_to_iso(*ms)),
            Value::Date(_) => s.serialize_unit(),
            Value::Error(e) => {
                let mut map = s.serialize_map(None)?;
                map.serialize_entry("name", e.name.as_str())?;
                map.serialize_entry("message", e.message.as_str())?;
                if let Some(code) = &e.code {
                    map.serialize_entry("code", code.as_str())?;
                }
                map.end()
            }
            Value::Array(items) => {
                let mut seq = s.serialize_seq(Some(items.len()))?;
                for item in items.iter() {
                    seq.serialize_element(item)?;
                }
                seq.end()
            }
            Value::Object(object) => object.serialize(s),
            Value::Handle(h) => match h.object() {
                Some(object) => object.serialize(s),
                None => s.serialize_unit(),
            },
        }
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(None)?;
        for (key, value) in self.iter() {
            let absent = match value {
                Value::Undefined => true,
                Value::Handle(h) => h.object().is_none(),
                _ => false,
            };
            if !absent {
                map.serialize_entry(key.as_str(), value)?;
            }
        }
        map.end()
    }
}

/// Property names met while one text is read: rows of a list have the same ones, which are then shared, not copied.
#[derive(Default)]
struct Names([Option<ArcStr>; 16]);

impl Names {
    fn shared(&mut self, name: &str) -> ArcStr {
        let bytes = name.as_bytes();
        let ends = bytes.first().zip(bytes.last()).map_or(0, |(first, last)| usize::from(first ^ (last >> 1)));
        let place = &mut self.0[(ends + bytes.len()) % 16];
        match place {
            Some(known) if known == name => known.clone(),
            _ => place.insert(ArcStr::from(name)).clone(),
        }
    }
}

/// Reads one value.
struct Reading<'n>(&'n mut Names);

impl<'de> DeserializeSeed<'de> for Reading<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reading<'_> {
    type Value = Value;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        d.deserialize_any(self)
    }
    fn visit_bool<E>(self, b: bool) -> Result<Value, E> {
        Ok(Value::Bool(b))
    }
    fn visit_i64<E>(self, n: i64) -> Result<Value, E> {
        Ok(Value::Number(n as f64))
    }
    fn visit_u64<E>(self, n: u64) -> Result<Value, E> {
        Ok(Value::Number(n as f64))
    }
    fn visit_f64<E>(self, n: f64) -> Result<Value, E> {
        Ok(Value::Number(n))
    }
    fn visit_str<E>(self, s: &str) -> Result<Value, E> {
        Ok(Value::String(s.into()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::with_capacity(seq.size_hint().unwrap_or(0).min(4096));
        while let Some(item) = seq.next_element_seed(Reading(self.0))? {
            items.push(item);
        }
        Ok(Value::array(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Object::new();
        while let Some(name) = map.next_key_seed(Name(self.0))? {
            object.insert(name, map.next_value_seed(Reading(self.0))?);
        }
        Ok(object.into())
    }
}

/// Reads one property name.
struct Name<'n>(&'n mut Names);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = ArcStr;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<ArcStr, D::Error> {
        d.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = ArcStr;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a property name")
    }
    fn visit_str<E>(self, name: &str) -> Result<ArcStr, E> {
        Ok(self.0.shared(name))
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Reading(&mut Names::default()).deserialize(d)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        match Value::deserialize(d)? {
            Value::Object(object) => Ok(Arc::unwrap_or_clone(object)),
            other => Err(serde::de::Error::custom(format_args!("expected an object, found {}", other.type_of()))),
        }
    }
}
