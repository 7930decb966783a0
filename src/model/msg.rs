//! A message: an object whose clones share everything until one of them is changed.

use std::fmt;
use std::sync::Arc;

use arcstr::ArcStr;

use super::{Object, Path, Value, id};

/// What travels along wires. Cloning costs a pointer.
#[derive(Clone, Default, PartialEq)]
pub struct Msg(Arc<Object>);

impl Msg {
    /// An empty message with a fresh `_msgid`.
    pub fn new() -> Self {
        let mut object = Object::with_capacity(8);
        object.insert(arcstr::literal!("_msgid"), id::hex16());
        Msg(Arc::new(object))
    }

    /// A message with a fresh `_msgid` and this payload.
    pub fn with_payload(payload: impl Into<Value>) -> Self {
        let mut msg = Msg::new();
        msg.set(arcstr::literal!("payload"), payload);
        msg
    }

    /// Takes an object as it is; nothing is added.
    pub fn from_object(object: impl Into<Arc<Object>>) -> Self {
        Msg(object.into())
    }

    /// The message that [`Msg::to_value`] gave; `None` for what is no object.
    pub fn from_value(value: &Value) -> Option<Msg> {
        match value {
            Value::Object(object) => Some(Msg(object.clone())),
            _ => None,
        }
    }

    /// Adds a `_msgid` when there is none.
    pub fn ensure_id(&mut self) {
        if !self.0.contains_key("_msgid") {
            self.set(arcstr::literal!("_msgid"), id::hex16());
        }
    }

    pub fn object(&self) -> &Object {
        &self.0
    }

    pub fn object_mut(&mut self) -> &mut Object {
        Arc::make_mut(&mut self.0)
    }

    /// True for a message a node sends to itself: it holds one handle and nothing else.
    pub fn is_signal(&self) -> bool {
        self.0.len() == 1 && self.0.iter().all(|(_, value)| matches!(value, Value::Handle(_)))
    }

    /// The message itself as a value (`msg` as a whole).
    pub fn to_value(&self) -> Value {
        Value::Object(self.0.clone())
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    pub fn payload(&self) -> &Value {
        self.0.get("payload").unwrap_or(&Value::Undefined)
    }

    pub fn set(&mut self, key: impl Into<ArcStr> + AsRef<str>, value: impl Into<Value>) {
        self.object_mut().insert(key, value);
    }

    pub fn remove(&mut self, key: &str) -> Option<Value> {
        if !self.0.contains_key(key) {
            return None;
        }
        self.object_mut().remove(key)
    }

    /// The value at a property path; `Undefined` when any part of it is missing.
    pub fn get_path(&self, path: &Path) -> Value {
        path.get(&self.0, Some(&self.0))
    }

    /// Sets the value at a path, creating missing parents (see [`Path::set`]). False when a scalar is in the way.
    /// As [`Msg::get_path`], of a property that cannot be read when what it should be in is not there.
    ///
    /// # Errors
    /// JavaScript's words for it.
    pub fn read_path(&self, path: &Path) -> Result<Value, String> {
        path.read(self.object(), Some(self.object()))
    }

    pub fn set_path(&mut self, path: &Path, value: Value) -> bool {
        if path.needs_msg() {
            let msg = self.0.clone();
            path.set(self.object_mut(), value, Some(&msg))
        } else {
            path.set(self.object_mut(), value, None)
        }
    }

    /// Deletes the property at a path; in an array the later elements move up.
    pub fn delete_path(&mut self, path: &Path) -> bool {
        self.set_path(path, Value::Undefined)
    }
}

impl fmt::Debug for Msg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_value().fmt(f)
    }
}

impl From<Object> for Msg {
    fn from(object: Object) -> Self {
        Msg(Arc::new(object))
    }
}
