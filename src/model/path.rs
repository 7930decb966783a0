//! Property paths as Node-RED writes them: `a.b["c"][0]`, with nested `[msg.x]`.
//!
//! Parsed once, at deploy. Grammar and errors follow `normalisePropertyExpression` of Node-RED's `util.js`.

use std::sync::Arc;

use arcstr::ArcStr;

use super::{Object, Value};

#[derive(Clone, Debug, PartialEq)]
enum Segment {
    Key(ArcStr),
    Index(usize),
    /// `[msg.x]`: the value found there is the key.
    Nested(Path),
}

/// A parsed property path below `msg`, `flow` or `global`. Never empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    segments: Vec<Segment>,
    text: ArcStr,
    /// The context store it is in; `None`: the default one, or no context at all.
    store: Option<ArcStr>,
}

/// Why a text is no property path; `at` counts bytes from 0.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("invalid property expression \"{text}\": {what} at position {at}")]
pub struct PathError {
    pub text: String,
    pub what: String,
    pub at: usize,
}

/// Arrays are not grown beyond this by setting an index past their end.
const ARRAY_LEN_MAX: usize = 1_000_000;

/// A nested `[msg.x]` may hold another; deeper than this is refused.
const DEPTH_MAX: usize = 16;

impl Path {
    /// Parses `a.b["c"][0]`. A leading `msg.` is not removed; callers that accept one strip it.
    pub fn parse(text: &str) -> Result<Path, PathError> {
        parse(text, 0)
    }

    /// A path of one key, taken literally.
    pub fn key(key: impl Into<ArcStr>) -> Path {
        let key = key.into();
        Path { segments: vec![Segment::Key(key.clone())], text: key, store: None }
    }

    /// The same path in a context store of this name.
    pub fn in_store(mut self, store: Option<&str>) -> Path {
        self.store = store.filter(|name| !name.is_empty()).map(ArcStr::from);
        self
    }

    /// The context store it is in; `None`: the default one.
    pub fn store(&self) -> Option<&ArcStr> {
        self.store.as_ref()
    }

    pub fn text(&self) -> &ArcStr {
        &self.text
    }

    /// The first key, which names the message property (or context key) the path starts at.
    pub fn head(&self) -> Option<&ArcStr> {
        match &self.segments[0] {
            Segment::Key(key) => Some(key),
            _ => None,
        }
    }

    /// The name of the property that the path starts at, whatever it is written as. `msg` resolves a nested `[msg.x]`.
    pub fn first(&self, msg: Option<&Object>) -> ArcStr {
        match resolve(&self.segments[0], msg) {
            Key::Name(name) => name,
            Key::Index(n) => ArcStr::from(n.to_string()),
        }
    }

    /// True when the path is a single key.
    pub fn is_single(&self) -> bool {
        self.segments.len() == 1
    }

    /// The path below its first key, `None` for a single key.
    pub fn tail(&self) -> Option<Path> {
        (self.segments.len() > 1).then(|| Path {
            segments: self.segments[1..].to_vec(),
            text: self.text.clone(),
            store: self.store.clone(),
        })
    }

    /// True when the path contains `[msg.x]` and so must be given the message.
    pub fn needs_msg(&self) -> bool {
        self.segments.iter().any(|s| matches!(s, Segment::Nested(_)))
    }

    /// Reads below `root`. `msg` resolves nested `[msg.x]`.
    pub fn get(&self, root: &Object, msg: Option<&Object>) -> Value {
        let mut current: Option<&Value> = None;
        for (i, segment) in self.segments.iter().enumerate() {
            let key;
            let (name, index): (&str, Option<usize>) = match segment {
                Segment::Key(k) => (k.as_str(), None),
                Segment::Index(n) => ("", Some(*n)),
                Segment::Nested(path) => {
                    let Some(m) = msg else { return Value::Undefined };
                    key = path.get(m, msg).to_js_string();
                    (key.as_str(), key.parse().ok())
                }
            };
            let next = match (i, current) {
                (0, _) => match index {
                    Some(n) if name.is_empty() => root.get(&n.to_string()),
                    _ => root.get(name),
                },
                (_, Some(Value::Object(o))) => match index {
                    Some(n) if name.is_empty() => o.get(&n.to_string()),
                    _ => o.get(name),
                },
                (_, Some(Value::Array(a))) if index.is_some() => a.get(index.unwrap_or_default()),
                (_, Some(Value::Array(a))) if name.parse::<usize>().is_ok() => {
                    a.get(name.parse::<usize>().unwrap_or_default())
                }
                // Handles, `length`, errors: computed properties, followed by value.
                (_, Some(other)) => {
                    let text = index.map(|n| n.to_string());
                    return Self::get_computed(
                        other.get(text.as_deref().unwrap_or(name)),
                        &self.segments[i + 1..],
                        msg,
                    );
                }
                (_, None) => return Value::Undefined,
            };
            match next {
                Some(v) => current = Some(v),
                None => return Value::Undefined,
            }
        }
        current.cloned().unwrap_or_default()
    }

    /// As [`Path::get`], of a property that cannot be read when what it should be in is not there.
    ///
    /// # Errors
    /// JavaScript's words for it.
    pub fn read(&self, root: &Object, msg: Option<&Object>) -> Result<Value, String> {
        let value = self.get(root, msg);
        if !value.is_undefined() || self.is_single() {
            return Ok(value);
        }
        for at in 1..self.segments.len() {
            let before = Path { segments: self.segments[..at].to_vec(), text: self.text.clone(), store: None };
            let kind = match before.get(root, msg) {
                Value::Undefined => "undefined",
                Value::Null => "null",
                _ => continue,
            };
            let key = match resolve(&self.segments[at], msg) {
                Key::Name(name) => name,
                Key::Index(n) => ArcStr::from(n.to_string()),
            };
            return Err(format!("TypeError: Cannot read properties of {kind} (reading '{key}')"));
        }
        Ok(Value::Undefined)
    }

    fn get_computed(mut value: Value, rest: &[Segment], msg: Option<&Object>) -> Value {
        for segment in rest {
            value = match segment {
                Segment::Key(k) => value.get(k),
                Segment::Index(n) => value.get(&n.to_string()),
                Segment::Nested(path) => match msg {
                    Some(m) => value.get(&path.get(m, msg).to_js_string()),
                    None => Value::Undefined,
                },
            };
        }
        value
    }

    /// Sets below `root`, creating missing parents: an array when the next part is an index, else an object.
    ///
    /// `Undefined` deletes (in an array the later elements move up) and creates nothing. Returns false, with
    /// nothing changed below it, when a scalar is in the way.
    pub fn set(&self, root: &mut Object, value: Value, msg: Option<&Object>) -> bool {
        let key = self.first(msg);
        if self.segments.len() == 1 {
            if value.is_undefined() {
                root.remove(&key);
            } else {
                root.insert(key, value);
            }
            return true;
        }
        if value.is_undefined() && !root.contains_key(&key) {
            return false;
        }
        let is_nowhere = |segment: &Segment| match (segment, msg) {
            (Segment::Nested(path), Some(msg)) => path.get(msg, Some(msg)).is_undefined(),
            _ => false,
        };
        if self.segments.iter().any(is_nowhere) {
            // As in Node-RED, nothing is set in a place that no name is known for.
            return true;
        }
        set_in(root.entry_mut(&key), &self.segments[1..], value, msg)
    }
}

enum Key {
    Name(ArcStr),
    Index(usize),
}

fn resolve(segment: &Segment, msg: Option<&Object>) -> Key {
    match segment {
        Segment::Key(k) => Key::Name(k.clone()),
        Segment::Index(n) => Key::Index(*n),
        Segment::Nested(path) => match msg.map(|m| path.get(m, msg)) {
            Some(Value::Number(n)) if n >= 0.0 && n.fract() == 0.0 => Key::Index(n as usize),
            Some(other) => Key::Name(other.to_js_string()),
            None => Key::Name(arcstr::literal!("undefined")),
        },
    }
}

fn set_in(slot: &mut Value, segments: &[Segment], value: Value, msg: Option<&Object>) -> bool {
    let Some((segment, rest)) = segments.split_first() else {
        *slot = value;
        return true;
    };
    let key = resolve(segment, msg);
    if slot.is_undefined() {
        if value.is_undefined() {
            return false;
        }
        *slot = match key {
            Key::Index(_) => Value::array(Vec::new()),
            Key::Name(_) => Object::new().into(),
        };
    }
    if let Value::Handle(h) = slot {
        // A handle's data becomes an ordinary object once somebody writes into it.
        match h.object() {
            Some(object) => *slot = Value::Object(object),
            None => return false,
        }
    }
    match slot {
        Value::Object(object) => {
            let name = match key {
                Key::Name(k) => k,
                Key::Index(n) => ArcStr::from(n.to_string()),
            };
            let object = Arc::make_mut(object);
            if rest.is_empty() {
                if value.is_undefined() {
                    object.remove(&name);
                } else {
                    object.insert(name, value);
                }
                return true;
            }
            if value.is_undefined() && !object.contains_key(&name) {
                return false;
            }
            set_in(object.entry_mut(&name), rest, value, msg)
        }
        Value::Array(items) => {
            let n = match key {
                Key::Index(n) => n,
                Key::Name(k) => match k.parse::<usize>() {
                    Ok(n) => n,
                    Err(_) => return false,
                },
            };
            if n >= ARRAY_LEN_MAX {
                return false;
            }
            let items = Arc::make_mut(items);
            if value.is_undefined() {
                if n >= items.len() {
                    return true;
                }
                if rest.is_empty() {
                    items.remove(n);
                    return true;
                }
            } else if n >= items.len() {
                items.resize(n + 1, Value::Undefined);
            }
            set_in(&mut items[n], rest, value, msg)
        }
        _ => false,
    }
}

fn parse(text: &str, depth: usize) -> Result<Path, PathError> {
    let fail = |what: &str, at: usize| PathError { text: text.into(), what: what.into(), at };
    let bytes = text.as_bytes();
    if bytes.is_empty() {
        return Err(fail("empty path", 0));
    }
    if depth > DEPTH_MAX {
        return Err(fail("nested too deeply", 0));
    }
    let mut segments = Vec::new();
    let mut i = 0;
    loop {
        match bytes.get(i) {
            Some(b'[') => i = parse_bracket(text, i, depth, &mut segments)?,
            Some(b'.') => return Err(fail("unexpected .", i)),
            Some(_) => {
                let start = i;
                while let Some(c) = text[i..].chars().next() {
                    match c {
                        '.' | '[' => break,
                        ']' | '"' | '\'' => return Err(fail(&format!("unexpected {c}"), i)),
                        c if c.is_whitespace() => return Err(fail("unexpected space", i)),
                        c => i += c.len_utf8(),
                    }
                }
                let name = &text[start..i];
                segments.push(match name.parse::<usize>() {
                    Ok(n) if !segments.is_empty() && n.to_string() == name => Segment::Index(n),
                    _ => Segment::Key(name.into()),
                });
            }
            None => return Err(fail("unexpected end", i)),
        }
        match bytes.get(i) {
            None => break,
            Some(b'.') => {
                i += 1;
                if matches!(bytes.get(i), None | Some(b'.') | Some(b'[')) {
                    return Err(fail("unterminated expression", i));
                }
            }
            Some(b'[') => {}
            Some(_) => return Err(fail("expected . or [", i)),
        }
    }
    Ok(Path { segments, text: text.into(), store: None })
}

/// Reads `[0]`, `["key"]`, `['key']` or `[msg.x]` at `start`; returns where it ends.
fn parse_bracket(text: &str, start: usize, depth: usize, segments: &mut Vec<Segment>) -> Result<usize, PathError> {
    let fail = |what: &str, at: usize| PathError { text: text.into(), what: what.into(), at };
    let inner = &text[start + 1..];
    match inner.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            let mut name = String::new();
            let mut chars = inner[1..].char_indices();
            while let Some((at, c)) = chars.next() {
                if c == '\\' {
                    match chars.next() {
                        Some((_, escaped)) => name.push(escaped),
                        None => break,
                    }
                } else if c == quote {
                    let end = start + 2 + at + 1;
                    if text.as_bytes().get(end) != Some(&b']') {
                        return Err(fail("expected ]", end));
                    }
                    if name.is_empty() {
                        return Err(fail("empty key", start));
                    }
                    segments.push(Segment::Key(name.into()));
                    return Ok(end + 1);
                } else {
                    name.push(c);
                }
            }
            Err(fail("unterminated string", start))
        }
        Some('0'..='9') => {
            let digits = inner.len() - inner.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let end = start + 1 + digits;
            if text.as_bytes().get(end) != Some(&b']') {
                return Err(fail("expected ]", end));
            }
            let n = text[start + 1..end].parse().map_err(|_| fail("index too large", start + 1))?;
            segments.push(Segment::Index(n));
            Ok(end + 1)
        }
        Some(_) if inner.starts_with("msg.") || inner.starts_with("msg[") => {
            let mut open = 1usize;
            for (at, c) in inner.char_indices() {
                match c {
                    '[' => open += 1,
                    ']' => open -= 1,
                    _ => {}
                }
                if open == 0 {
                    let nested = inner[..at].trim_start_matches("msg").trim_start_matches('.');
                    let path = parse(nested, depth + 1).map_err(|e| fail(&e.what, start + 1))?;
                    segments.push(Segment::Nested(path));
                    return Ok(start + 1 + at + 1);
                }
            }
            Err(fail("missing ]", start))
        }
        _ => Err(fail("expected an index, a quoted key or msg.…", start + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Msg;

    fn msg(json: &str) -> Msg {
        match Value::from_json(json).unwrap() {
            Value::Object(o) => Msg::from_object(o),
            _ => panic!("not an object"),
        }
    }

    fn at(json: &str, path: &str) -> Value {
        msg(json).get_path(&Path::parse(path).unwrap())
    }

    #[test]
    fn reads_keys_indices_quotes_and_nested_paths() {
        let m = r#"{"a":{"b c":[1,{"d":2}]},"k":"b c","n":1}"#;
        assert_eq!(at(m, "a[\"b c\"][1].d"), 2.into());
        assert_eq!(at(m, "a['b c'][0]"), 1.into());
        assert_eq!(at(m, "a[msg.k][msg.n].d"), 2.into());
        assert_eq!(at(m, "a['b c'].length"), 2.into());
        assert_eq!(at(m, "a.x.y"), Value::Undefined);
    }

    #[test]
    fn setting_creates_parents_and_stops_at_scalars() {
        let mut m = msg(r#"{"s":"text"}"#);
        assert!(m.set_path(&Path::parse("a.b[2].c").unwrap(), 1.into()));
        assert_eq!(m.to_value().to_json(), r#"{"s":"text","a":{"b":[null,null,{"c":1}]}}"#);
        assert!(!m.set_path(&Path::parse("s.x").unwrap(), 1.into()));
    }

    #[test]
    fn nothing_is_set_in_null_nor_where_no_name_is_known() {
        let mut m = msg(r#"{"n":null,"p":{}}"#);
        assert!(!m.set_path(&Path::parse("n.x").unwrap(), 1.into()));
        assert!(m.set_path(&Path::parse("p[msg.none]").unwrap(), 1.into()));
        assert_eq!(m.to_value().to_json(), r#"{"n":null,"p":{}}"#);
    }

    #[test]
    fn reading_where_there_is_nothing_says_what_is_missing() {
        let read = |path: &str| msg(r#"{"a":{"b":null},"s":"text"}"#).read_path(&Path::parse(path).unwrap());
        assert_eq!(read("a.none"), Ok(Value::Undefined));
        assert_eq!(read("none"), Ok(Value::Undefined));
        assert_eq!(read("s.none"), Ok(Value::Undefined));
        let missing =
            |kind: &str, key: &str| Err(format!("TypeError: Cannot read properties of {kind} (reading '{key}')"));
        assert_eq!(read("none.x.y"), missing("undefined", "x"));
        assert_eq!(read("a.none[2]"), missing("undefined", "2"));
        assert_eq!(read("a.b.c"), missing("null", "c"));
    }

    #[test]
    fn texts_and_buffers_have_places() {
        let mut m = msg(r#"{"s":"aé😀"}"#);
        m.set("b", Value::Bytes(std::sync::Arc::new(vec![7, 8])));
        let at = |path: &str| m.get_path(&Path::parse(path).unwrap());
        assert_eq!((at("s[0]"), at("s[1]"), at("s[9]")), ("a".into(), "é".into(), Value::Undefined));
        assert_eq!((at("s[2]"), at("s[3]")), ("\u{fffd}".into(), "\u{fffd}".into()), "halves of one character");
        assert_eq!((at("b[1]"), at("b[2]")), (8.into(), Value::Undefined));
    }

    #[test]
    fn deleting_splices_arrays_and_creates_nothing() {
        let mut m = msg(r#"{"a":[1,2,3]}"#);
        m.delete_path(&Path::parse("a[1]").unwrap());
        m.delete_path(&Path::parse("b.c").unwrap());
        assert_eq!(m.to_value().to_json(), r#"{"a":[1,3]}"#);
    }

    #[test]
    fn a_shared_message_is_copied_before_it_changes() {
        let mut a = msg(r#"{"p":{"x":1}}"#);
        let b = a.clone();
        a.set_path(&Path::parse("p.x").unwrap(), 2.into());
        assert_eq!(b.get_path(&Path::parse("p.x").unwrap()), 1.into());
    }

    #[test]
    fn broken_paths_are_refused() {
        for bad in ["", "a.", ".a", "a..b", "a[", "a[]", "a[\"x\"", "a[x]", "a b", "a[0", "a.[0]", "a[0]b"] {
            assert!(Path::parse(bad).is_err(), "{bad}");
        }
    }
}
