//! A group of messages on its way to become one.

use std::sync::Arc;

use arcstr::{ArcStr, literal};
use tokio::sync::oneshot;

use super::super::combining::{kept_msgs, restored_msgs};
use crate::model::{Msg, Object, Path, Value};

/// What a group becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Array,
    Object,
    Merged,
    String,
    Buffer,
}

impl Kind {
    pub(super) fn parse(name: &str) -> Option<Kind> {
        Some(match name {
            "array" => Kind::Array,
            "object" => Kind::Object,
            "merged" => Kind::Merged,
            "string" => Kind::String,
            "buffer" => Kind::Buffer,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Array => "array",
            Kind::Object => "object",
            Kind::Merged => "merged",
            Kind::String => "string",
            Kind::Buffer => "buffer",
        }
    }
}

pub(super) struct Group {
    pub(super) kind: Kind,
    /// Where the result is put.
    pub(super) property: Path,
    pub(super) joiner: Value,
    /// Elements each part was an array of.
    pub(super) array_len: f64,
    /// Parts that make it whole; 0 or NaN while that is not known.
    pub(super) target: f64,
    count: usize,
    items: Vec<Value>,
    object: Arc<Object>,
    /// The first message with the properties of the later ones.
    msg: Msg,
    /// Messages of the group as they came, where complete nodes want to hear of them.
    pub(super) heard: Vec<Msg>,
    /// Dropping the sender ends the wait.
    pub(super) timer: Option<(u64, oneshot::Sender<()>)>,
}

impl Group {
    pub(super) fn new(kind: Kind, property: Path, joiner: Value) -> Group {
        Group {
            kind,
            property,
            joiner,
            array_len: 0.0,
            target: 0.0,
            count: 0,
            items: Vec::new(),
            object: Arc::default(),
            msg: Msg::from_object(Object::new()),
            heard: Vec::new(),
            timer: None,
        }
    }

    /// What a durable run keeps of it.
    pub(super) fn kept(&self) -> Value {
        let mut kept = Object::with_capacity(10);
        kept.insert("kind", self.kind.name());
        kept.insert("property", self.property.text().clone());
        kept.insert("joiner", self.joiner.clone());
        kept.insert("array_len", self.array_len);
        kept.insert("target", self.target);
        kept.insert("count", self.count);
        kept.insert("items", Value::array(self.items.clone()));
        kept.insert("object", Value::Object(self.object.clone()));
        kept.insert("msg", self.msg.to_value());
        kept.insert("heard", kept_msgs(&self.heard));
        kept.insert("timer", self.timer.as_ref().map_or(Value::Null, |(timer, _)| Value::from(*timer as f64)));
        kept.into()
    }

    /// What [`Group::kept`] kept. A time that was running runs again once the node is told to wait anew.
    pub(super) fn restored(kept: &Value) -> Option<Group> {
        let number = |name: &str| kept.get(name).to_number();
        let property = Path::parse(&kept.get("property").to_js_string()).ok()?;
        let mut group = Group::new(Kind::parse(kept.get("kind").as_str()?)?, property, kept.get("joiner"));
        (group.array_len, group.target, group.count) =
            (number("array_len"), number("target"), number("count") as usize);
        group.items = kept.get("items").as_array()?.to_vec();
        if let Value::Object(object) = kept.get("object") {
            group.object = object;
        }
        group.msg = Msg::from_value(&kept.get("msg"))?;
        group.heard = restored_msgs(&kept.get("heard"));
        group.timer = kept.get("timer").as_f64().map(|timer| (timer as u64, oneshot::channel().0));
        Some(group)
    }

    /// Places it takes up, empty ones included.
    pub(super) fn places(&self) -> usize {
        self.items.len() + self.object.len()
    }

    /// Parts it has so far.
    pub(super) fn parts(&self) -> usize {
        self.count
    }

    /// Adds a part, at `index` or (NaN) at the end; `key` for objects.
    pub(super) fn add(&mut self, key: Option<ArcStr>, index: f64, value: Value) -> Result<(), String> {
        match self.kind {
            Kind::Object => {
                Arc::make_mut(&mut self.object).insert(key.unwrap_or_default(), value);
                self.count = self.object.len();
                return Ok(());
            }
            Kind::Merged => {
                if let Value::Object(given) = &value {
                    let object = Arc::make_mut(&mut self.object);
                    for (k, v) in given.iter().filter(|(k, _)| *k != "_msgid") {
                        object.insert(k.clone(), v.clone());
                    }
                    self.count = self.object.len();
                }
                return Ok(());
            }
            Kind::Buffer if !joins_as_bytes(&value) => {
                return Err(format!("Cannot join {} to buffer", value.type_of()));
            }
            _ => {}
        }
        if index.is_nan() {
            if !value.is_undefined() {
                self.items.push(value);
                self.count += 1;
            }
            return Ok(());
        }
        if index < 0.0 || index.fract() != 0.0 {
            return Err(format!("msg.parts.index {index} is no place in a sequence"));
        }
        let index = index as usize;
        if index >= self.items.len() {
            self.items.resize(index + 1, Value::Undefined);
        }
        if self.items[index].is_nullish() {
            self.count += 1;
        }
        self.items[index] = value;
        Ok(())
    }

    /// Takes over the properties of a message of the group.
    pub(super) fn merge(&mut self, msg: Msg, count: Option<&Value>) {
        if (self.target.is_nan() || self.target == 0.0)
            && let Some(count) = count
        {
            self.target = count.to_number();
        }
        let same_keys = self.msg.object().len() == msg.object().len()
            && self.msg.object().keys().zip(msg.object().keys()).all(|(a, b)| a == b);
        if same_keys || self.msg.object().is_empty() {
            self.msg = msg;
            return;
        }
        let merged = self.msg.object_mut();
        for (key, value) in msg.object().iter() {
            merged.insert(key.clone(), value.clone());
        }
    }

    /// Takes over the parts of a group of the same sequence; those of a sequence with places stand where they stood.
    pub(super) fn absorb(&mut self, other: Group, has_places: bool) -> Result<(), String> {
        for (index, value) in other.items.into_iter().enumerate().filter(|(_, value)| !value.is_undefined()) {
            self.add(None, if has_places { index as f64 } else { f64::NAN }, value)?;
        }
        if self.kind == Kind::Merged {
            self.add(None, f64::NAN, Value::Object(other.object))?;
        } else {
            for (key, value) in other.object.iter() {
                self.add(Some(key.clone()), f64::NAN, value.clone())?;
            }
        }
        if self.target.is_nan() || self.target == 0.0 {
            self.target = other.target;
        }
        self.heard.extend(other.heard);
        self.merge(other.msg, None);
        Ok(())
    }

    pub(super) fn is_full(&self) -> bool {
        self.target > 0.0 && self.count as f64 >= self.target
    }

    pub(super) fn says_complete(&self) -> bool {
        self.msg.object().contains_key("complete")
    }

    /// The message of a finished group.
    pub(super) fn into_msg(mut self) -> Msg {
        let items = std::mem::take(&mut self.items);
        let object = std::mem::take(&mut self.object);
        let payload = self.payload(items, object);
        let mut msg = unwrapped(self.msg);
        msg.set_path(&self.property, payload);
        msg
    }

    /// The message of a group that goes on.
    pub(super) fn clone_msg(&mut self) -> Msg {
        let payload = self.payload(self.items.clone(), self.object.clone());
        self.msg = unwrapped(std::mem::take(&mut self.msg));
        let mut msg = self.msg.clone();
        msg.set_path(&self.property, payload);
        msg
    }

    fn payload(&self, items: Vec<Value>, object: Arc<Object>) -> Value {
        match self.kind {
            Kind::Object | Kind::Merged => Value::Object(object),
            Kind::Array if self.array_len > 1.0 => {
                let mut flat = Vec::new();
                for item in items {
                    match item {
                        Value::Array(inner) => flat.extend(inner.iter().cloned()),
                        other => flat.push(other),
                    }
                }
                Value::array(flat)
            }
            Kind::Array => Value::array(items),
            Kind::String => {
                let joiner = match &self.joiner {
                    Value::Undefined => ",".into(),
                    // A separator given as bytes, from a split by a buffer.
                    bytes @ (Value::Bytes(_) | Value::Array(_)) => {
                        String::from_utf8_lossy(&as_bytes(bytes)).into_owned()
                    }
                    text => text.to_js_string().to_string(),
                };
                let text = |v: &Value| if v.is_nullish() { ArcStr::new() } else { v.to_js_string() };
                let texts: Vec<ArcStr> = items.iter().map(text).collect();
                let texts: Vec<&str> = texts.iter().map(ArcStr::as_str).collect();
                Value::from(texts.join(&joiner))
            }
            Kind::Buffer => {
                let joiner = as_bytes(&self.joiner);
                let pieces: Vec<Vec<u8>> = items.iter().map(as_bytes).collect();
                Value::Bytes(Arc::new(pieces.join(joiner.as_slice())))
            }
        }
    }
}

/// Without what belonged to the group: the innermost `parts`, and `complete`.
fn unwrapped(mut msg: Msg) -> Msg {
    match msg.get("parts").map(|p| p.get("parts")) {
        Some(Value::Undefined) => drop(msg.remove("parts")),
        Some(outer) => msg.set(literal!("parts"), outer),
        None => {}
    }
    msg.remove("complete");
    msg
}

fn joins_as_bytes(value: &Value) -> bool {
    matches!(value, Value::Undefined | Value::Bytes(_) | Value::String(_) | Value::Array(_))
}

/// `Buffer.from(x)`; nothing for what is neither text nor bytes.
fn as_bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::Bytes(bytes) => bytes.to_vec(),
        Value::String(text) => text.as_bytes().to_vec(),
        Value::Array(items) => items.iter().map(|v| v.to_number() as i64 as u8).collect(),
        _ => Vec::new(),
    }
}
