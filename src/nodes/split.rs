//! `split`: makes one message of each part of a string, buffer, array or object, linked by `msg.parts`.
//!
//! Parts share all they have in common with the message they come from; a part costs its own property, its
//! `parts` and its `_msgid`.

mod text;

use std::cell::RefCell;
use std::sync::Arc;

use arcstr::{ArcStr, literal};

use super::combining::{Combining, kept_msgs, restored_msgs};
use super::typed::msg_path;
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::model::{Diagnostic, Msg, Object, Path, Value, id};
use crate::runtime::{Cx, Node, NodeConfig, NodeState, NodeType, Step};

static SPEC: NodeSpec = NodeSpec {
    node_type: "split",
    category: "sequence",
    summary: "Splits a string, buffer, array or object into a sequence of messages.",
    inputs: 1,
    outputs: Some(1),
    config_node: false,
    properties: &[
        Property::new("property", PropertyKind::MsgPath, "What to split; payload when absent."),
        Property::new("splt", PropertyKind::Text, "Strings and buffers: the separator (\\n when absent), or a length."),
        Property::new(
            "spltType",
            PropertyKind::OneOf(&["str", "bin", "len"]),
            "Type of splt: text, JSON array of bytes, or a length from 1.",
        ),
        Property::new("arraySplt", PropertyKind::Number, "Arrays: elements per message, from 1; 1 when absent."),
        Property::new("arraySpltType", PropertyKind::OneOf(&["len"]), "Always len."),
        Property::new("stream", PropertyKind::Boolean, "Treat messages as a stream: the rest waits for the next one."),
        Property::new("addname", PropertyKind::MsgPath, "Objects: where to put the key of each property."),
    ],
    capabilities: &[],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build };

/// How strings and buffers are cut.
enum Cut {
    /// The separator as bytes and as it is told in `parts.ch`.
    At {
        separator: Vec<u8>,
        ch: Value,
    },
    Every(usize),
}

struct Split {
    property: Path,
    cut: Cut,
    array_len: usize,
    stream: bool,
    addname: Option<Path>,
    rest: Combining<Rest>,
}

/// What is left of a stream, and its next index.
#[derive(Default)]
struct Rest {
    text: String,
    bytes: Vec<u8>,
    next: usize,
    /// Messages of which nothing has been sent yet, where complete nodes want to hear of them.
    heard: Vec<Msg>,
}

impl NodeState for Rest {
    fn kept(&self) -> Option<Value> {
        if self.text.is_empty() && self.bytes.is_empty() && self.next == 0 && self.heard.is_empty() {
            return None;
        }
        let (text, bytes) = (Value::from(self.text.as_str()), Value::Bytes(Arc::new(self.bytes.clone())));
        Some(Value::array(vec![text, bytes, Value::from(self.next), kept_msgs(&self.heard)]))
    }

    fn restored(kept: &Value) -> Option<Self> {
        let bytes = match kept.get("1") {
            Value::Bytes(bytes) => bytes.to_vec(),
            _ => Vec::new(),
        };
        let (text, next) = (kept.get("0").to_js_string().to_string(), kept.get("2").to_number() as usize);
        Some(Rest { text, bytes, next, heard: restored_msgs(&kept.get("3")) })
    }
}

fn build(config: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let mut path = |name: &str, text: &str| {
        msg_path(config, name, text).map_err(|p| problems.push(p)).unwrap_or_else(|()| Path::key(literal!("payload")))
    };
    let property = config.text("property");
    let property = path("property", if property.is_empty() { "payload" } else { &property });
    let addname = config.text("addname");
    let addname = (!addname.is_empty()).then(|| path("addname", &addname));
    let cut = cut(config).map_err(|p| problems.push(p));
    let array_len = match config.get("arraySplt") {
        Value::Undefined => 1.0,
        value => value.to_number().trunc(),
    };
    if array_len.is_nan() || array_len < 1.0 {
        problems.push(
            config
                .problem("invalid-length", "arraySplt", format!("{} is no length", config.text("arraySplt")))
                .expected("a whole number from 1"),
        );
    }
    match cut {
        Ok(cut) if problems.is_empty() => {
            let (stream, array_len) = (config.flag("stream"), array_len as usize);
            Ok(Arc::new(Split { property, cut, array_len, stream, addname, rest: Combining::default() }))
        }
        _ => Err(problems),
    }
}

fn cut(config: &NodeConfig<'_>) -> Result<Cut, Diagnostic> {
    let text = config.text("splt");
    match config.text("spltType").as_str() {
        "" | "str" => {
            let separator = unescape(if text.is_empty() { "\\n" } else { &text });
            Ok(Cut::At { ch: Value::from(separator.as_str()), separator: separator.into_bytes() })
        }
        "bin" => match Value::from_json(&text) {
            Ok(Value::Array(items)) => {
                let separator = items.iter().map(|v| v.to_number() as i64 as u8).collect();
                Ok(Cut::At { separator, ch: Value::Array(items) })
            }
            _ => Err(config
                .problem("invalid-separator", "splt", format!("{text} is no buffer"))
                .expected("a JSON array of bytes such as [13,10]")),
        },
        "len" => match config.get("splt").to_number().trunc() {
            n if n >= 1.0 => Ok(Cut::Every(n as usize)),
            _ => Err(config
                .problem("invalid-length", "splt", format!("{text} is no length"))
                .expected("a whole number from 1")),
        },
        other => Err(config
            .problem("unknown-option", "spltType", format!("\"{other}\" is no way to split"))
            .expected("str, bin or len")
            .did_you_mean(other, ["str", "bin", "len"])),
    }
}

/// The escapes Node-RED knows in separators; `\e` is a plain `e` there.
pub(super) fn unescape(text: &str) -> String {
    let mut text = text.to_string();
    for (escape, meant) in [("\\n", "\n"), ("\\r", "\r"), ("\\t", "\t"), ("\\e", "e"), ("\\f", "\u{c}"), ("\\0", "\0")]
    {
        text = text.replace(escape, meant);
    }
    text
}

/// Makes the messages of one sequence.
struct Sequence<'a> {
    split: &'a Split,
    /// The message without what its parts have of their own.
    base: Object,
    /// Entries of `parts` that all parts share, in order.
    parts: Object,
    /// The part sent last, where complete nodes want to hear of it.
    last: RefCell<Option<Msg>>,
}

impl<'a> Sequence<'a> {
    fn new(split: &'a Split, msg: Msg, kind: ArcStr) -> Sequence<'a> {
        let mut base = msg.object().clone();
        // Each part gets its own id; a place for it is kept.
        base.insert(literal!("_msgid"), Value::Undefined);
        let mut parts = Object::with_capacity(8);
        if let Some(outer) = base.remove("parts") {
            parts.insert(literal!("parts"), outer);
        }
        parts.insert(literal!("id"), id::hex16());
        if split.property.text() != "payload" {
            parts.insert(literal!("property"), split.property.text().clone());
        }
        parts.insert(literal!("type"), kind);
        base.insert(literal!("parts"), Value::Undefined);
        if split.property.is_single() {
            base.insert(split.property.text().clone(), Value::Undefined);
        }
        Sequence { split, base, parts, last: RefCell::default() }
    }

    fn shared(&mut self, key: ArcStr, value: impl Into<Value>) {
        self.parts.insert(key, value);
    }

    fn emit(&self, cx: &mut Cx<'_>, index: usize, key: Option<&ArcStr>, value: Value) {
        let mut parts = Object::with_capacity(self.parts.len() + 2);
        for (k, v) in self.parts.iter() {
            parts.insert(k.clone(), v.clone());
        }
        if let Some(key) = key {
            parts.insert(literal!("key"), key.clone());
        }
        parts.insert(literal!("index"), index);
        let mut object = self.base.clone();
        object.insert(literal!("_msgid"), id::hex16());
        object.insert(literal!("parts"), parts);
        let property = &self.split.property;
        let msg = if property.is_single() {
            object.insert(property.text().clone(), value);
            self.named(object, key)
        } else {
            let mut msg = self.named(object, key);
            msg.set_path(property, value);
            msg
        };
        if cx.is_heard() {
            self.last.replace(Some(msg.clone()));
        }
        cx.emit(0, msg);
    }

    /// The message that was split, as complete nodes are told of it when no part stands for it.
    fn whole(&self, value: Value) -> Msg {
        let mut object = self.base.clone();
        object.insert(literal!("_msgid"), id::hex16());
        object.insert(literal!("parts"), self.parts.clone());
        let mut msg = Msg::from(object);
        msg.set_path(&self.split.property, value);
        msg
    }

    /// Tells complete nodes of the part sent last, which stands for the message, as in Node-RED.
    fn done(&self, cx: &mut Cx<'_>, value: impl FnOnce() -> Value) {
        if cx.is_heard() {
            cx.keep();
            let last = self.last.take();
            cx.done(&last.unwrap_or_else(|| self.whole(value())));
        }
    }

    fn named(&self, object: Object, key: Option<&ArcStr>) -> Msg {
        let mut msg = Msg::from(object);
        if let (Some(key), Some(path)) = (key, &self.split.addname) {
            msg.set_path(path, Value::String(key.clone()));
        }
        msg
    }
}

impl Split {
    fn array(&self, msg: Msg, items: &Arc<Vec<Value>>, cx: &mut Cx<'_>) {
        let mut sequence = Sequence::new(self, msg, literal!("array"));
        sequence.shared(literal!("count"), items.len().div_ceil(self.array_len));
        sequence.shared(literal!("len"), self.array_len);
        if self.array_len == 1 {
            for (i, item) in items.iter().enumerate() {
                sequence.emit(cx, i, None, item.clone());
            }
        } else {
            for (i, chunk) in items.chunks(self.array_len).enumerate() {
                sequence.emit(cx, i, None, Value::array(chunk.to_vec()));
            }
        }
        sequence.last.take();
        sequence.done(cx, || Value::Array(items.clone()));
    }

    fn object(&self, msg: Msg, object: &Arc<Object>, cx: &mut Cx<'_>) {
        let mut sequence = Sequence::new(self, msg, literal!("object"));
        sequence.shared(literal!("count"), object.len());
        for (i, (key, value)) in object.iter().enumerate() {
            sequence.emit(cx, i, Some(key), value.clone());
        }
        sequence.done(cx, || Value::Object(object.clone()));
    }

    fn string(&self, msg: Msg, text: &ArcStr, cx: &mut Cx<'_>) {
        let given = Value::String(text.clone());
        let mut sequence = Sequence::new(self, msg, literal!("string"));
        let whole =
            |rest: &mut Rest| if self.stream { std::mem::take(&mut rest.text) + text } else { text.to_string() };
        match &self.cut {
            Cut::Every(len) => {
                sequence.shared(literal!("ch"), "");
                sequence.shared(literal!("len"), *len);
                let whole = self.rest.with(cx, whole);
                let pieces = text::every(&whole, *len);
                self.sequence(
                    &mut sequence,
                    pieces,
                    &given,
                    cx,
                    |piece| text::units(piece) == *len,
                    |rest, last| rest.text = last,
                )
            }
            Cut::At { separator, ch } => {
                sequence.shared(literal!("ch"), ch.clone());
                let whole = self.rest.with(cx, whole);
                let pieces = text::at(&whole, &String::from_utf8_lossy(separator));
                self.sequence(&mut sequence, pieces, &given, cx, |_| false, |rest, last| rest.text = last)
            }
        }
    }

    fn bytes(&self, msg: Msg, bytes: &Arc<Vec<u8>>, cx: &mut Cx<'_>) {
        let given = Value::Bytes(bytes.clone());
        let mut sequence = Sequence::new(self, msg, literal!("buffer"));
        let whole = self.rest.with(cx, |rest| {
            let mut whole = if self.stream { std::mem::take(&mut rest.bytes) } else { Vec::new() };
            whole.extend_from_slice(bytes);
            whole
        });
        let keep = |rest: &mut Rest, last: Vec<u8>| rest.bytes = last;
        match &self.cut {
            Cut::Every(len) => {
                sequence.shared(literal!("len"), *len);
                let pieces: Vec<Vec<u8>> = whole.chunks(*len).map(<[u8]>::to_vec).collect();
                self.sequence(&mut sequence, pieces, &given, cx, |piece| piece.len() == *len, keep)
            }
            Cut::At { separator, ch } => {
                sequence.shared(literal!("ch"), ch.clone());
                let mut pieces = text::bytes_at(&whole, separator);
                // A buffer that ends with the separator has no empty last part, unlike a string.
                if !self.stream && pieces.len() > 1 && pieces.last().is_some_and(Vec::is_empty) {
                    pieces.pop();
                }
                self.sequence(&mut sequence, pieces, &given, cx, |_| false, keep)
            }
        }
    }

    /// Emits the pieces; in a stream the last one waits, unless it is complete.
    fn sequence<P: Piece>(
        &self,
        sequence: &mut Sequence<'_>,
        mut pieces: Vec<P>,
        given: &Value,
        cx: &mut Cx<'_>,
        is_complete: impl Fn(&P) -> bool,
        keep: impl FnOnce(&mut Rest, P),
    ) {
        if !self.stream {
            sequence.shared(literal!("count"), pieces.len());
            for (i, piece) in pieces.into_iter().enumerate() {
                sequence.emit(cx, i, None, piece.into_value());
            }
            return sequence.done(cx, || given.clone());
        }
        let last = pieces.pop_if(|last| !is_complete(last));
        let first = self.rest.with(cx, |rest| {
            let first = rest.next;
            rest.next += pieces.len();
            if let Some(last) = last {
                keep(rest, last);
            }
            first
        });
        for (i, piece) in pieces.into_iter().enumerate() {
            sequence.emit(cx, first + i, None, piece.into_value());
        }
        if cx.is_heard() {
            self.done_in_stream(sequence, given, cx);
        }
    }

    /// A message is done once something has been sent after it came.
    fn done_in_stream(&self, sequence: &Sequence<'_>, given: &Value, cx: &mut Cx<'_>) {
        if sequence.last.borrow().is_none() {
            cx.keep();
            let max = cx.services().limits.node_messages_max;
            let whole = sequence.whole(given.clone());
            return self.rest.with(cx, |rest| {
                if rest.heard.len() < max {
                    rest.heard.push(whole);
                }
            });
        }
        let heard = self.rest.with(cx, |rest| std::mem::take(&mut rest.heard));
        heard.iter().for_each(|msg| cx.done(msg));
        sequence.done(cx, || given.clone());
    }
}

/// A part of a string or buffer.
trait Piece {
    fn into_value(self) -> Value;
}

impl Piece for String {
    fn into_value(self) -> Value {
        Value::from(self)
    }
}

impl Piece for Vec<u8> {
    fn into_value(self) -> Value {
        Value::Bytes(Arc::new(self))
    }
}

impl Node for Split {
    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        let value = match msg.read_path(&self.property) {
            Ok(value) => value,
            Err(why) => return Step::fail(msg, why),
        };
        match value {
            Value::String(text) => self.string(msg, &text, cx),
            Value::Bytes(bytes) => self.bytes(msg, &bytes, cx),
            Value::Array(items) => self.array(msg, &items, cx),
            Value::Object(object) => self.object(msg, &object, cx),
            Value::Handle(handle) => {
                if let Some(object) = handle.object() {
                    self.object(msg, &object, cx);
                }
            }
            Value::Null => return Step::fail(msg, "TypeError: Cannot convert undefined or null to object"),
            // Numbers, booleans and dates have no parts: nothing comes out, as in Node-RED.
            Value::Undefined | Value::Bool(_) | Value::Number(_) | Value::Date(_) | Value::Error(_) => {}
        }
        Step::Done
    }
}

#[cfg(test)]
mod tests;
