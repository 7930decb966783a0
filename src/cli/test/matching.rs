//! Does what came match what was expected? Objects may have more than was asked for; everything else is exact.

use serde_json::Value;

use crate::regexp::RegExp;

/// What may differ in the comparisons of a case.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::cli) struct Tolerance {
    /// Numbers may be so far apart.
    #[serde(default)]
    absolute: f64,
    /// Numbers may be so far apart, percent of what is expected.
    #[serde(default)]
    percent: f64,
    /// JSON paths that are not compared, as differences name them; `[*]` stands for every place of a list.
    #[serde(default)]
    ignore: Vec<String>,
}

impl Tolerance {
    /// Differences, each with its JSON path.
    pub(in crate::cli) fn differences(&self, expected: &Value, found: &Value, path: &str) -> Vec<String> {
        compare(expected, found, path, self)
    }

    fn ignores(&self, path: &str) -> bool {
        self.ignore.iter().any(|ignored| ignored == path) || {
            let anywhere = places(path);
            self.ignore.contains(&anywhere)
        }
    }

    fn allows(&self, expected: f64, found: f64) -> bool {
        let apart = (expected - found).abs();
        apart <= self.absolute || apart <= expected.abs() * self.percent / 100.0
    }
}

/// A path with `[*]` for every place of a list.
fn places(path: &str) -> String {
    let mut parts = path.split('[');
    let mut out = parts.next().unwrap_or_default().to_string();
    for part in parts {
        out.push_str("[*]");
        out.push_str(part.split_once(']').map_or("", |(_, rest)| rest));
    }
    out
}

/// Differences, each with its JSON path. `{"$matches": "regex"}` matches text, `{"$exists": bool}` presence, and
/// `{"$near": [number, tolerance]}` numbers.
pub(in crate::cli) fn differences(expected: &Value, found: &Value, path: &str) -> Vec<String> {
    compare(expected, found, path, &Tolerance::default())
}

fn compare(expected: &Value, found: &Value, path: &str, tolerance: &Tolerance) -> Vec<String> {
    if tolerance.ignores(path) {
        return Vec::new();
    }
    if let Some(result) = operator(expected, found, path) {
        return result;
    }
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => expected
            .iter()
            .flat_map(|(key, value)| {
                let path = format!("{path}.{key}");
                match found.get(key) {
                    Some(found) => compare(value, found, &path, tolerance),
                    None if value.get("$exists") == Some(&Value::Bool(false)) => Vec::new(),
                    None if tolerance.ignores(&path) => Vec::new(),
                    None => vec![format!("{path}: expected {value}, found nothing")],
                }
            })
            .collect(),
        (Value::Array(expected), Value::Array(found)) => {
            let mut all: Vec<String> = expected
                .iter()
                .zip(found)
                .enumerate()
                .flat_map(|(i, (expected, found))| compare(expected, found, &format!("{path}[{i}]"), tolerance))
                .collect();
            if expected.len() != found.len() {
                all.push(format!("{path}: expected {} entries, found {}", expected.len(), found.len()));
            }
            all
        }
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => Vec::new(),
        (Value::Number(a), Value::Number(b))
            if a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| tolerance.allows(a, b)) =>
        {
            Vec::new()
        }
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

    #[test]
    fn numbers_may_be_apart_and_paths_left_out() {
        let found = json!({"a": 104.0, "list": [{"at": 1, "n": 2}, {"at": 5, "n": 3}]});
        let expected = json!({"a": 100, "list": [{"at": 9, "n": 2}, {"at": 9, "n": 3}]});
        let tolerance = |json: Value| serde_json::from_value::<Tolerance>(json).unwrap();
        let left = |json: Value| tolerance(json).differences(&expected, &found, "expect").len();
        assert_eq!(left(json!({})), 3);
        assert_eq!(left(json!({"percent": 4, "ignore": ["expect.list[*].at"]})), 0);
        assert_eq!(left(json!({"percent": 3.9, "ignore": ["expect.list[0].at"]})), 2);
        assert_eq!(left(json!({"absolute": 8})), 0);
    }
}
