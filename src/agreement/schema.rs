//! The JSON Schema of agreements (`agreement.schema.json`), as it is published: for editors, and for `probity check`.
//!
//! It says what shape a document has, nothing of what is in its texts; what `load` accepts it accepts
//! (`tests/authoring.rs`).

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::Value;

use super::document::join;
use crate::model::diagnostic::Diagnostic;

/// The schema's text, JSON Schema 2020-12.
pub const TEXT: &str = include_str!("agreement.schema.json");

/// Problems of one document that are told; a long list helps nobody.
const PROBLEMS_MAX: usize = 100;

static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| {
    let schema = serde_json::from_str(TEXT).expect("the schema in the binary is JSON");
    jsonschema::options().offline().build(&schema).expect("the schema in the binary is one")
});

/// Where a document has not the shape of an agreement or a template.
pub fn problems(document: &Value) -> Vec<Diagnostic> {
    let found = VALIDATOR.iter_errors(document).take(PROBLEMS_MAX);
    found
        .map(|error| {
            let path = path(document, error.instance_path().as_str());
            Diagnostic::error("schema", path, error.to_string())
                .expected("what the schema of agreements says; see /probity/v1/schemas/agreement.json")
        })
        .collect()
}

/// A JSON pointer as the path that diagnostics use.
fn path(document: &Value, pointer: &str) -> String {
    let mut path = "$".to_owned();
    let mut value = Some(document);
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        let inside_list = value.is_some_and(Value::is_array);
        path = if inside_list { format!("{path}[{step}]") } else { join(&path, &step) };
        value = value.and_then(|v| match v {
            Value::Array(items) => items.get(step.parse::<usize>().ok()?),
            Value::Object(map) => map.get(&step),
            _ => None,
        });
    }
    path
}
