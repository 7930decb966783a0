//! One value within JSON text, found and replaced without reading the rest of it.
//!
//! Only for text the engine wrote: names are compared as they stand there, where nothing is escaped that need not be.

use crate::path::Step;

/// Where in the text something is.
pub(crate) type Span = std::ops::Range<usize>;

/// What became of a search.
#[derive(Debug, PartialEq)]
pub(crate) enum Found {
    /// The value the steps lead to.
    Value(Span),
    /// Everything but the last step is there: an object without that name. Holds the object.
    In(Span),
    /// Nothing is there.
    Nothing,
    /// This text, or this path, is to be read whole.
    Unknown,
}

/// Follows steps through JSON text.
pub(crate) fn find(text: &str, steps: &[Step<'_>]) -> Found {
    let bytes = text.as_bytes();
    let mut at = blanks(bytes, 0);
    for (number, step) in steps.iter().enumerate() {
        let next = match (bytes.get(at), step) {
            (Some(b'{'), Step::Name(name)) => {
                if name.bytes().any(|b| b < 0x20 || matches!(b, b'"' | b'\\')) {
                    return Found::Unknown;
                }
                member(bytes, at, name.as_bytes())
            }
            (Some(b'['), Step::Index(index)) => item(bytes, at, *index),
            (Some(b'['), Step::Name(name)) => match name.parse() {
                Ok(index) => item(bytes, at, index),
                Err(_) => Some(None),
            },
            (Some(_), _) => Some(None),
            (None, _) => None,
        };
        at = match next {
            Some(Some(next)) => next,
            Some(None) if number + 1 == steps.len() && bytes[at] == b'{' && step.name().is_some() => {
                return end(bytes, at).map_or(Found::Unknown, |end| Found::In(at..end));
            }
            Some(None) => return Found::Nothing,
            None => return Found::Unknown,
        };
    }
    end(bytes, at).map_or(Found::Unknown, |end| Found::Value(at..end))
}

/// Where the value of a member begins; `Some(None)` when the object has no such member, `None` when this is no JSON.
fn member(bytes: &[u8], object: usize, name: &[u8]) -> Option<Option<usize>> {
    let mut at = blanks(bytes, object + 1);
    if bytes.get(at) == Some(&b'}') {
        return Some(None);
    }
    loop {
        let after = string_end(bytes, at)?;
        let found = &bytes[at + 1..after - 1] == name;
        at = blanks(bytes, after);
        if bytes.get(at) != Some(&b':') {
            return None;
        }
        at = blanks(bytes, at + 1);
        if found {
            return Some(Some(at));
        }
        at = blanks(bytes, end(bytes, at)?);
        match bytes.get(at)? {
            b',' => at = blanks(bytes, at + 1),
            b'}' => return Some(None),
            _ => return None,
        }
    }
}

/// Where an item of an array begins, as [`member`].
fn item(bytes: &[u8], array: usize, index: usize) -> Option<Option<usize>> {
    let mut at = blanks(bytes, array + 1);
    if bytes.get(at) == Some(&b']') {
        return Some(None);
    }
    for _ in 0..index {
        at = blanks(bytes, end(bytes, at)?);
        match bytes.get(at)? {
            b',' => at = blanks(bytes, at + 1),
            b']' => return Some(None),
            _ => return None,
        }
    }
    Some(Some(at))
}

/// The first byte after the value that begins at `at`.
fn end(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' => string_end(bytes, at),
        b'{' | b'[' => {
            let (mut depth, mut at) = (0_usize, at);
            loop {
                match bytes.get(at)? {
                    b'"' => {
                        at = string_end(bytes, at)?;
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => {
                        depth -= 1;
                        if depth == 0 {
                            return Some(at + 1);
                        }
                    }
                    _ => {}
                }
                at += 1;
            }
        }
        b',' | b'}' | b']' | b':' => None,
        _ => {
            let word = bytes[at..].iter().position(|b| matches!(b, b',' | b'}' | b']' | b' ' | b'\n' | b'\t' | b'\r'));
            Some(word.map_or(bytes.len(), |length| at + length))
        }
    }
}

/// The first byte after the string that begins at `at`.
fn string_end(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at) != Some(&b'"') {
        return None;
    }
    let mut at = at + 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn blanks(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\n' | b'\t' | b'\r')) {
        at += 1;
    }
    at
}

/// Puts a member with this name and JSON at the end of the object.
pub(crate) fn add(text: &mut String, object: &Span, name: &str, json: &str) -> serde_json::Result<()> {
    let empty = text[object.start + 1..object.end - 1].trim().is_empty();
    let name = serde_json::to_string(name)?;
    let comma = if empty { "" } else { "," };
    text.insert_str(object.end - 1, &format!("{comma}{name}:{json}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::path;

    fn steps(path: &str) -> Vec<Step<'_>> {
        path::steps(path).collect()
    }

    #[test]
    fn finds_what_the_whole_value_holds() {
        let value = json!({
            "a": { "b": [1, { "c": "x,\"}]\\" }, [], {}, null], "": 7 }, "é": -0.5e-7, "t": "\u{1}", "last": true, "0": [[2]]
        });
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            for path in [
                "a",
                "a.b",
                "a.b[0]",
                "a.b[1].c",
                "a.b.1.c",
                "a.b[2]",
                "a.b[3]",
                "a.b[4]",
                "é",
                "t",
                "last",
                "0[0][0]",
                "a.b[5]",
                "a.b[1].d.e",
                "a.b.x",
                "last.x",
                "é[0]",
                "x.y",
                "a[0]",
                "a.b[2][0]",
            ] {
                let whole = path::follow(&value, path::steps(path));
                let found = match find(&text, &steps(path)) {
                    Found::Value(span) => Some(serde_json::from_str::<Value>(&text[span]).unwrap()),
                    Found::In(_) | Found::Nothing => None,
                    Found::Unknown => panic!("{path}"),
                };
                assert_eq!(found.as_ref(), whole, "{path}");
            }
        }
        assert_eq!(find("{}", &[Step::Name("a\"")]), Found::Unknown);
    }

    #[test]
    fn no_text_is_read_beyond_its_end() {
        let text = json!({ "a": { "b": [1, "x\\", { "c": null }] } }).to_string();
        for length in 0..text.len() {
            for path in ["a.b[2].c", "a.b[1]", "z", "a.b.c"] {
                let _ = find(&text[..length], &steps(path));
            }
        }
        for broken in ["{\"a\"1}", "{a:1}", "{\"a\":}", "[,]", "{\"a\":1 2}", "}", "\"\\"] {
            let _ = (find(broken, &steps("a")), find(broken, &steps("b")), find(broken, &[Step::Index(1)]));
        }
    }

    #[test]
    fn a_member_is_added_at_the_end() {
        for (text, expected) in [("{}", r#"{"n\"":1}"#), (r#"{"a":{}}"#, r#"{"a":{},"n\"":1}"#)] {
            let mut text = text.to_owned();
            let object = 0..text.len();
            add(&mut text, &object, "n\"", "1").unwrap();
            assert_eq!(text, expected);
        }
    }
}
