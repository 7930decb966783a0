//! YAML text to a value: the events of the parser put together as js-yaml does.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arcstr::ArcStr;
use base64::Engine as _;
use jiff::Timestamp;
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, Tag};

use super::scalar;
use crate::model::{Object, Value};

/// Collections nested deeper are refused, as by js-yaml.
const DEPTH_MAX: usize = 100;

/// Values that aliases may repeat in all: a few lines of aliases of aliases would else grow without end.
const REPEATED_MAX: usize = 1_000_000;

const CORE: &str = "tag:yaml.org,2002:";

/// A value, how many values it is made of, and whether it is the merge key `<<`.
struct Node {
    value: Value,
    size: usize,
    is_merge: bool,
}

/// A collection that is not whole yet.
struct Open {
    anchor: usize,
    tag: Option<String>,
    contents: Contents,
    size: usize,
}

enum Contents {
    Items(Vec<Value>),
    Entries { object: Object, key: Option<Node>, merged: HashSet<ArcStr> },
}

#[derive(Default)]
struct Loader {
    stack: Vec<Open>,
    anchors: HashMap<usize, (Value, usize)>,
    documents: usize,
    root: Option<Value>,
    repeated: usize,
}

/// The one document of a text; `Undefined` for a text of nothing but blanks.
pub(in crate::nodes) fn load(text: &str) -> Result<Value, String> {
    if text.trim_start_matches(' ').is_empty() {
        return Ok(Value::Undefined);
    }
    let mut loader = Loader::default();
    for step in Parser::new_from_str(text) {
        let (event, span) = step.map_err(|e| located(&e.info(), e.marker().line(), e.marker().col()))?;
        loader.event(event).map_err(|why| located(&why, span.start.line(), span.start.col()))?;
    }
    Ok(loader.root.unwrap_or(Value::Null))
}

/// With the line from 1 and the column, which the parser counts from 0.
fn located(why: &str, line: usize, column: usize) -> String {
    format!("{why} ({line}:{})", column + 1)
}

impl Loader {
    fn event(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err("expected a single document in the stream, but found more".into());
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let node = scalar_node(&text, style, tag.as_deref())?;
                self.finish(node, anchor)?;
            }
            Event::SequenceStart(_, anchor, tag) => self.open(anchor, tag.as_deref(), Contents::Items(Vec::new()))?,
            Event::MappingStart(_, anchor, tag) => {
                let contents = Contents::Entries { object: Object::new(), key: None, merged: HashSet::new() };
                self.open(anchor, tag.as_deref(), contents)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close()?,
            Event::Alias(anchor) => {
                let (value, size) = self.anchors.get(&anchor).cloned().ok_or("unidentified alias")?;
                self.repeated = self.repeated.saturating_add(size);
                if self.repeated > REPEATED_MAX {
                    return Err(format!("aliases repeat more than {REPEATED_MAX} values"));
                }
                self.finish(Node { value, size, is_merge: false }, 0)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, anchor: usize, tag: Option<&Tag>, contents: Contents) -> Result<(), String> {
        if self.stack.len() >= DEPTH_MAX {
            return Err(format!("nesting exceeded maxDepth ({DEPTH_MAX})"));
        }
        self.stack.push(Open { anchor, tag: tag.map(name_of), contents, size: 1 });
        Ok(())
    }

    fn close(&mut self) -> Result<(), String> {
        let Some(Open { anchor, tag, contents, size }) = self.stack.pop() else { return Ok(()) };
        let value = match contents {
            Contents::Items(items) => sequence(items, tag.as_deref())?,
            Contents::Entries { object, .. } => mapping(object, tag.as_deref())?,
        };
        self.finish(Node { value, size, is_merge: false }, anchor)
    }

    /// Puts a finished node where it belongs.
    fn finish(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        if anchor != 0 {
            self.anchors.insert(anchor, (node.value.clone(), node.size));
        }
        let Some(open) = self.stack.last_mut() else {
            self.root = Some(node.value);
            return Ok(());
        };
        open.size = open.size.saturating_add(node.size);
        match &mut open.contents {
            Contents::Items(items) => items.push(node.value),
            Contents::Entries { object, key, merged } => match key.take() {
                None => *key = Some(node),
                Some(key) if key.is_merge => merge(object, merged, &node.value)?,
                Some(key) => {
                    let name = key_text(&key.value)?;
                    if object.contains_key(&name) && !merged.remove(&name) {
                        return Err(format!("duplicated mapping key \"{name}\""));
                    }
                    object.insert(name, node.value);
                }
            },
        }
        Ok(())
    }
}

fn name_of(tag: &Tag) -> String {
    let (handle, suffix) = tag.parts();
    format!("{handle}{suffix}")
}

/// A property name, as JavaScript makes one of a key.
fn key_text(key: &Value) -> Result<ArcStr, String> {
    Ok(match key {
        Value::Array(items) if items.iter().any(|item| matches!(item, Value::Array(_))) => {
            return Err("nested arrays are not supported inside keys".into());
        }
        Value::Date(ms) => match Timestamp::from_millisecond(*ms as i64) {
            Ok(t) => t.strftime("%a %b %d %Y %H:%M:%S GMT+0000 (Coordinated Universal Time)").to_string().into(),
            Err(_) => arcstr::literal!("Invalid Date"),
        },
        other => other.to_js_string(),
    })
}

/// `<<`: takes over the entries of a mapping, or of each of a list, that are not there yet.
fn merge(into: &mut Object, merged: &mut HashSet<ArcStr>, from: &Value) -> Result<(), String> {
    let sources = match from {
        Value::Array(items) if items.len() > 100 => return Err("abnormal merge sequence size".into()),
        Value::Array(items) => items.as_slice(),
        one => std::slice::from_ref(one),
    };
    for source in sources {
        let Value::Object(source) = source else {
            return Err("cannot merge mappings; the provided source object is unacceptable".into());
        };
        for (key, value) in source.iter() {
            if !into.contains_key(key) {
                into.insert(key.clone(), value.clone());
                merged.insert(key.clone());
            }
        }
    }
    Ok(())
}

fn scalar_node(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Node, String> {
    let is_plain = matches!(style, ScalarStyle::Plain);
    let tag = tag.map(name_of);
    let value = match tag.as_deref() {
        None if is_plain => scalar::resolve(text).unwrap_or_else(|| text.into()),
        None | Some("!") => text.into(),
        Some(tag) => tagged(text, is_plain, tag)?,
    };
    Ok(Node { value, size: 1, is_merge: is_plain && tag.is_none() && text == "<<" })
}

fn tagged(text: &str, is_plain: bool, tag: &str) -> Result<Value, String> {
    let is_absent = is_plain && text.is_empty();
    let value = match tag.strip_prefix(CORE) {
        Some("str") if is_absent => Some("".into()),
        Some("str") => Some(text.into()),
        Some("null") => (is_absent || (scalar::is_null(text) && !text.is_empty())).then_some(Value::Null),
        Some("bool") => scalar::bool_of(text).map(Value::Bool),
        Some("int") => scalar::int(text).map(Value::Number),
        Some("float") => scalar::float(text).map(Value::Number),
        Some("timestamp") => scalar::timestamp(text).map(Value::Date),
        Some("binary") => binary(text),
        Some("seq" | "omap" | "pairs") if is_absent => Some(Value::array(Vec::new())),
        Some("map" | "set") if is_absent => Some(Object::new().into()),
        Some("seq" | "omap" | "pairs" | "map" | "set") => {
            return Err(format!("unacceptable node kind for !<{tag}> tag; found a scalar"));
        }
        _ => return Err(format!("unknown tag !<{tag}>")),
    };
    value.ok_or_else(|| format!("cannot resolve a node with !<{tag}> explicit tag"))
}

fn binary(text: &str) -> Option<Value> {
    let text: String = text.chars().filter(|c| !matches!(c, '\r' | '\n' | '=')).collect();
    let bytes = base64::engine::general_purpose::STANDARD_NO_PAD.decode(text).ok()?;
    Some(Value::Bytes(Arc::new(bytes)))
}

fn sequence(items: Vec<Value>, tag: Option<&str>) -> Result<Value, String> {
    let Some(tag) = tag.filter(|tag| *tag != "!") else { return Ok(Value::array(items)) };
    let failed = || format!("cannot resolve a node with !<{tag}> explicit tag");
    let pair = |item: &Value| match item {
        Value::Object(object) if object.len() == 1 => object.iter().next().map(|(k, v)| (k.clone(), v.clone())),
        _ => None,
    };
    match tag.strip_prefix(CORE) {
        Some("seq") => Ok(Value::array(items)),
        Some("pairs") => {
            let pairs = items.iter().map(|i| pair(i).map(|(k, v)| Value::array(vec![Value::String(k), v])));
            pairs.collect::<Option<Vec<_>>>().map(Value::array).ok_or_else(failed)
        }
        Some("omap") => {
            let mut seen = HashSet::new();
            let fine = items.iter().all(|item| pair(item).is_some_and(|(key, _)| seen.insert(key)));
            if fine { Ok(Value::array(items)) } else { Err(failed()) }
        }
        Some("str" | "null" | "bool" | "int" | "float" | "timestamp" | "binary" | "map" | "set") => {
            Err(format!("unacceptable node kind for !<{tag}> tag; found a sequence"))
        }
        _ => Err(format!("unknown tag !<{tag}>")),
    }
}

fn mapping(object: Object, tag: Option<&str>) -> Result<Value, String> {
    let Some(tag) = tag.filter(|tag| *tag != "!") else { return Ok(object.into()) };
    match tag.strip_prefix(CORE) {
        Some("map") => Ok(object.into()),
        Some("set") if object.iter().all(|(_, v)| *v == Value::Null) => Ok(object.into()),
        Some("set") => Err(format!("cannot resolve a node with !<{tag}> explicit tag")),
        Some("str" | "null" | "bool" | "int" | "float" | "timestamp" | "binary" | "seq" | "omap" | "pairs") => {
            Err(format!("unacceptable node kind for !<{tag}> tag; found a mapping"))
        }
        _ => Err(format!("unknown tag !<{tag}>")),
    }
}
