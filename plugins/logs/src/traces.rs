//! A log as JSON text, `{"log": {…, "trace": [...]}}`, made trace by trace: never more than one of them is held as values.

use serde_json::{Map, Value, json};

use crate::Unreadable;

/// A list in the making, as JSON text.
pub struct List(String);

impl List {
    /// With room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        List(String::with_capacity(bytes))
    }

    /// Adds an item, which is JSON text.
    pub fn push(&mut self, item: &str) {
        self.0.push_str(if self.0.is_empty() { "[" } else { "," });
        self.0.push_str(item);
    }

    /// `of` as JSON text, with this list as its last property, `name`.
    pub fn in_object(self, mut of: Map<String, Value>, name: &str) -> Result<String, Unreadable> {
        of.shift_remove(name);
        of.insert(name.to_owned(), json!([]));
        let rest = written(&Value::Object(of))?;
        let mut text = self.0;
        text.push_str(if text.is_empty() { "[]}" } else { "]}" });
        text.insert_str(0, rest.strip_suffix("[]}").unwrap_or(&rest));
        Ok(text)
    }

    /// The log whose traces these are, with what else it has.
    pub fn in_log(self, rest: Map<String, Value>) -> Result<String, Unreadable> {
        let mut text = self.in_object(rest, "trace")?;
        text.insert_str(0, "{\"log\":");
        text.push('}');
        Ok(text)
    }
}

/// A value as JSON text.
pub fn written(value: &Value) -> Result<String, Unreadable> {
    serde_json::to_string(value).map_err(|error| Unreadable::new(format!("it cannot be written as JSON: {error}")))
}
