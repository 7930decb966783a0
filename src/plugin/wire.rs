//! Messages on their way across the sandbox's border, property by property.

use std::sync::Arc;

use arcstr::ArcStr;
use serde::Deserialize;

use super::bindings::probity::plugin::types::{Message, Property, Value as Crossing};
use crate::model::{Msg, Object, Value};

/// What did not fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TooLarge;

/// Members of one object whose places in the text are kept; a larger object is read whole when it comes back.
const MEMBERS_MAX: usize = 1_000;
/// Members that may have been taken out between two that came back.
const NEAR: usize = 4;

/// A message as it crossed. Guests mostly change little of a property: what comes back with the same text is the value
/// that was sent, and is not read again.
pub(super) struct Sent {
    pub(super) message: Arc<Message>,
    /// For each property the members of its object; none for other values.
    members: Vec<Vec<Member>>,
}

impl Default for Sent {
    fn default() -> Sent {
        let message = Message { run: String::new(), caller: false, properties: Vec::new() };
        Sent { message: Arc::new(message), members: Vec::new() }
    }
}

/// A member of an object in a property's text: its name from `start` on, its value from `value_at` to `end`.
struct Member {
    start: usize,
    value_at: usize,
    end: usize,
    name: ArcStr,
    value: Value,
}

/// The properties of a message that a node wants, `None` for all; `res` never crosses.
pub(super) fn message(
    msg: &Msg,
    wants: Option<&[String]>,
    run: String,
    caller: bool,
    bytes_max: u64,
) -> Result<Sent, TooLarge> {
    let mut properties = Vec::new();
    let mut members = Vec::new();
    let mut bytes = 0;
    let mut add = |name: &str, value: &Value| {
        let (value, places) = match value {
            _ if name == "res" => return Ok(()),
            Value::Object(object) if object.len() <= MEMBERS_MAX => written(object),
            other => match crossing(other) {
                Some(value) => (value, Vec::new()),
                None => return Ok(()),
            },
        };
        bytes += match &value {
            Crossing::Json(text) => text.len() as u64,
            Crossing::Bytes(bytes) => bytes.len() as u64,
        };
        properties.push(Property { name: name.to_string(), value });
        members.push(places);
        if bytes > bytes_max { Err(TooLarge) } else { Ok(()) }
    };
    match wants {
        Some(names) => names.iter().try_for_each(|name| msg.get(name).map_or(Ok(()), |value| add(name, value)))?,
        None => msg.object().iter().try_for_each(|(name, value)| add(name, value))?,
    }
    Ok(Sent { message: Arc::new(Message { run, caller, properties }), members })
}

/// A value as it crosses; `None` for undefined and for what is no data.
pub(super) fn crossing(value: &Value) -> Option<Crossing> {
    match value {
        Value::Undefined => None,
        Value::Bytes(bytes) => Some(Crossing::Bytes(bytes.to_vec())),
        Value::Handle(handle) => handle.object().map(|object| Crossing::Json(Value::Object(object).to_json())),
        other => Some(Crossing::Json(other.to_json())),
    }
}

/// An object as it crosses, as its own serialisation writes it, and where its members are.
fn written(object: &Object) -> (Crossing, Vec<Member>) {
    let mut text = Vec::with_capacity(1_024);
    let mut members = Vec::with_capacity(object.len());
    text.push(b'{');
    for (name, value) in object.iter() {
        let absent = match value {
            Value::Undefined => true,
            Value::Handle(handle) => handle.object().is_none(),
            _ => false,
        };
        if absent {
            continue;
        }
        if text.len() > 1 {
            text.push(b',');
        }
        let start = text.len();
        write(&mut text, name.as_str());
        text.push(b':');
        let value_at = text.len();
        write(&mut text, value);
        members.push(Member { start, value_at, end: text.len(), name: name.clone(), value: value.clone() });
    }
    text.push(b'}');
    (Crossing::Json(String::from_utf8(text).expect("JSON is written as UTF-8")), members)
}

fn write(text: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    serde_json::to_writer(text, value).expect("memory takes all bytes, and values write no map without text keys");
}

impl Sent {
    /// Reads what the guest sent for a property.
    pub(super) fn read(&self, name: &str, back: &str) -> Result<Value, serde_json::Error> {
        let property = self.message.properties.iter().position(|p| p.name == name);
        let changed = property.and_then(|i| match &self.message.properties[i].value {
            Crossing::Json(text) if !self.members[i].is_empty() => changed(text, &self.members[i], back),
            _ => None,
        });
        changed.map_or_else(|| Value::from_json(back), Ok)
    }
}

/// An object that came back, with what is the same taken from what was sent; `None` when it is to be read whole.
fn changed(sent: &str, members: &[Member], back: &str) -> Option<Value> {
    let mut rest = back.strip_prefix('{')?;
    let mut object = Object::with_capacity(members.len() + 1);
    let mut left = members;
    while rest != "}" {
        let near = &left[..left.len().min(NEAR)];
        let known = near.iter().position(|m| rest.starts_with(&sent[m.start..m.value_at]));
        let (name, value) = match known {
            Some(skipped) => {
                let member = &near[skipped];
                left = &left[skipped + 1..];
                rest = &rest[member.value_at - member.start..];
                let same = rest.strip_prefix(&sent[member.value_at..member.end]);
                match same.filter(|after| after.starts_with([',', '}']) && is_data(&member.value)) {
                    Some(after) => {
                        rest = after;
                        (member.name.clone(), member.value.clone())
                    }
                    None => (member.name.clone(), first(&mut rest)?),
                }
            }
            None => {
                let name: String = first(&mut rest)?;
                rest = rest.strip_prefix(':')?;
                (ArcStr::from(name), first(&mut rest)?)
            }
        };
        object.insert(name, value);
        match rest.strip_prefix(',') {
            // A comma before the end is no JSON.
            Some("}") => return None,
            Some(more) => rest = more,
            None if rest == "}" => {}
            None => return None,
        }
    }
    Some(object.into())
}

/// Reads the value a text begins with, and goes on behind it.
fn first<'t, T: Deserialize<'t>>(text: &mut &'t str) -> Option<T> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter();
    let value = values.next()?.ok()?;
    *text = &text[values.byte_offset()..];
    Some(value)
}

/// Whether a value is what its JSON is read as: dates, buffers, NaN, … are not.
fn is_data(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => true,
        Value::Number(n) => n.is_finite() && !(*n == 0.0 && n.is_sign_negative()),
        Value::Array(items) => items.iter().all(is_data),
        Value::Object(object) => object.iter().all(|(_, value)| is_data(value)),
        Value::Undefined | Value::Bytes(_) | Value::Date(_) | Value::Error(_) | Value::Handle(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value() -> Value {
        let text = r#"{"n":21,"ü\"":"a","items":[{"id":1.5,"ok":true},null,-7e-9],"deep":{"a":{"b":[]}},"last":""}"#;
        Value::from_json(text).unwrap()
    }

    fn sent(payload: Value) -> Sent {
        let mut msg = Msg::from_object(Object::new());
        msg.set("payload", payload);
        message(&msg, None, String::new(), false, 1 << 20).unwrap()
    }

    fn text(sent: &Sent) -> String {
        match &sent.message.properties[0].value {
            Crossing::Json(text) => text.clone(),
            Crossing::Bytes(_) => panic!("an object crosses as JSON"),
        }
    }

    #[test]
    fn what_comes_back_is_what_its_text_says() {
        let sent = sent(value());
        let whole = text(&sent);
        assert_eq!(whole, value().to_json());
        let edits: [(&str, &str); 14] = [
            ("21", "215"),
            ("21", "2"),
            ("\"a\"", "\"\\u0041,}\""),
            ("\"n\":21,", ""),
            ("\"n\":21", "\"m\":21"),
            ("{\"n\"", "{\"new\":[1,2],\"n\""),
            ("\"last\":\"\"", "\"last\":{}"),
            ("\"last\":\"\"", "\"last\":\"\",\"more\":1,\"n\":2"),
            ("-7e-9", "0"),
            ("\"deep\":{\"a\":{\"b\":[]}},", ""),
            ("null", " null "),
            (",\"last\"", " , \"last\""),
            ("\"n\":21,", "\"last\":1,"),
            ("", ""),
        ];
        for (from, to) in edits {
            let back = whole.replacen(from, to, 1);
            let found = sent.read("payload", &back).unwrap();
            assert_eq!(found.to_json(), Value::from_json(&back).unwrap().to_json(), "{back}");
        }
        for length in 0..whole.len() {
            if let Some(part) = whole.get(..length) {
                assert!(sent.read("payload", part).is_err(), "{part}");
            }
        }
        for broken in ["{\"n\":21,}", "{\"n\" 21}", "{\"n\":21}}", "{\"n\":21 \"x\":1}", "{,}", "{\"n\":}", "{n:21}"] {
            assert!(sent.read("payload", broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn what_json_cannot_hold_is_read_as_its_json() {
        let payload = Object::from_iter([
            ("date", Value::Date(0.0)),
            ("none", Value::Undefined),
            ("nan", Value::Number(f64::NAN)),
            ("bytes", Value::Bytes(Arc::new(vec![1]))),
            ("list", Value::array(vec![Value::Undefined, Value::Number(-0.0)])),
        ]);
        let sent = sent(payload.into());
        let whole = text(&sent);
        let found = sent.read("payload", &whole).unwrap();
        assert_eq!(found, Value::from_json(&whole).unwrap());
        assert_eq!(found.get("date"), Value::from("1970-01-01T00:00:00.000Z"));
        assert_eq!(found.get("nan"), Value::Null);
    }

    #[test]
    fn what_is_the_same_is_shared() {
        let sent = sent(value());
        let back = text(&sent).replacen("21", "42", 1);
        let found = sent.read("payload", &back).unwrap();
        let (Value::Array(before), Value::Array(after)) = (&sent.members[0][2].value, found.get("items")) else {
            panic!("items is a list")
        };
        assert!(Arc::ptr_eq(before, &after));
    }
}
