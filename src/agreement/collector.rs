//! What all collectors have in common, and canonical JSON, by which documents and parameters are told apart.

use serde_json::Value;

use crate::model::agreement::Collector;

impl Collector {
    /// The document's `collector.config`, sent along with every request.
    pub fn config(&self) -> &Value {
        match self {
            Collector::Flow { config, .. } | Collector::PostGet { config, .. } => config,
            Collector::Unsupported { .. } => &Value::Null,
        }
    }
}

/// JSON with sorted keys and no blanks: equal documents are equal texts, whatever order they were written in.
pub fn canonical(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<_> = map.iter().collect();
            keys.sort_by_key(|(key, _)| *key);
            out.push('{');
            for (i, (key, value)) in keys.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}
