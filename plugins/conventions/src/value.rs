//! Values as JavaScript sees them, for flows that were written against it.

use probity_sdk::Value;

/// Whether JavaScript takes the value for true: all but `false`, `0`, `""` and `null`.
pub fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

/// What kind of value it is, for messages.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The value as JSON, cut after 80 characters, for messages.
pub fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use probity_sdk::json;

    use super::*;

    #[test]
    fn truth_is_that_of_javascript() {
        for value in [json!(true), json!(1), json!("0"), json!([]), json!({})] {
            assert!(truthy(&value), "{value}");
        }
        for value in [json!(false), json!(0), json!(-0.0), json!(""), json!(null)] {
            assert!(!truthy(&value), "{value}");
        }
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        assert_eq!(shown(&json!("é".repeat(90))).chars().count(), 81);
        assert_eq!(shown(&json!([1])), "[1]");
    }
}
