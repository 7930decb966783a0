//! Does what came match what was expected? Objects may have more than was asked for; everything else is exact.

use serde_json::Value;

use crate::regexp::RegExp;

/// Differences, each with its JSON path. `{"$matches": "regex"}` matches text, `{"$exists": bool}` presence, and
/// `{"$near": [number, tolerance]}` numbers.
pub(in crate::cli) fn differences(expected: &Value, found: &Value, path: &str) -> Vec<String> {
    if let Some(result) = operator(expected, found, path) {
        return result;
    }
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => expected
            .iter()
            .flat_map(|(key, value)| {
                let path = format!("{path}.{key}");
                match found.get(key) {
                    Some(found) => differences(value, found, &path),
                    None if value.get("$exists") == Some(&Value::Bool(false)) => Vec::new(),
                    None => vec![format!("{path}: expected {value}, found nothing")],
                }
            })
            .collect(),
        (Value::Array(expected), Value::Array(found)) => {
            let mut all: Vec<String> = expected
                .iter()
                .zip(found)
                .enumerate()
                .flat_map(|(i, (expected, found))| differences(expected, found, &format!("{path}[{i}]")))
                .collect();
            if expected.len() != found.len() {
                all.push(format!("{path}: expected {} entries, found {}", expected.len(), found.len()));
            }
            all
        }
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => Vec::new(),
        _ if expected == found => Vec::new(),
        _ => vec![format!("{path}: expected {expected}, found {}", shortened(found))],
    }
}

fn operator(expected: &Value, found: &Value, path: &str) -> Option<Vec<String>> {
    let object = expected.as_object().filter(|o| o.len() == 1)?;
    let (name, argument) = object.iter().next()?;
    let holds = match (name.as_str(), argument) {
        ("$exists", Value::Bool(wanted)) => *wanted,
        ("$matches", Value::String(pattern)) => {
            let regex = match RegExp::new(pattern, false) {
                Ok(regex) => regex,
                Err(e) => return Some(vec![format!("{path}: $matches: {e}")]),
            };
            let text = found.as_str().map_or_else(|| found.to_string(), str::to_string);
            match regex.is_match(&text) {
                Ok(matched) => matched,
                Err(e) => return Some(vec![format!("{path}: $matches: {e}")]),
            }
        }
        ("$near", Value::Array(pair)) => match (pair.first()?.as_f64(), pair.get(1)?.as_f64(), found.as_f64()) {
            (Some(wanted), Some(tolerance), Some(found)) => (found - wanted).abs() <= tolerance,
            _ => false,
        },
        _ => return None,
    };
    Some(if holds { Vec::new() } else { vec![format!("{path}: expected {expected}, found {}", shortened(found))] })
}

fn shortened(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(300) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_match_partly_and_arrays_whole() {
        let found = json!({"a": 1, "b": [1, {"c": "x", "d": 2}]});
        assert!(differences(&json!({"b": [1.0, {"c": "x"}]}), &found, "$").is_empty());
        assert_eq!(differences(&json!({"b": [1]}), &found, "$"), ["$.b: expected 1 entries, found 2"]);
        assert_eq!(differences(&json!({"z": 1}), &found, "$"), ["$.z: expected 1, found nothing"]);
        assert!(differences(&json!({"z": {"$exists": false}, "a": {"$exists": true}}), &found, "$").is_empty());
        assert!(
            differences(&json!({"b": [{"$near": [1.1, 0.2]}, {"c": {"$matches": "^x$"}}]}), &found, "$").is_empty()
        );
        assert_eq!(differences(&json!({"a": {"$exists": false}}), &found, "$").len(), 1);
    }
}
