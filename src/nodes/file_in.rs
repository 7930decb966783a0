//! `file in`: reads a file of the folder that flows may use: whole, by lines, or in pieces.

use std::io::Read as _;
use std::sync::{Arc, Mutex};

use arcstr::ArcStr;

use super::file::{encoding, filename, name_of};
use super::refused::Refused;
use super::text_encoding::{TextEncoding, TextReader};
use super::typed::TypedInput;
use crate::files::{FileError, HOW, of_io};
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::model::value::ErrorValue;
use crate::model::{Diagnostic, Msg, Object, Value};
use crate::runtime::{Cx, Node, NodeConfig, NodeError, NodeType, Step, Then};

/// Bytes of a piece: Node.js' own.
const PIECE: usize = 64 * 1024;

static SPEC: NodeSpec = NodeSpec {
    node_type: "file in",
    category: "storage",
    summary: "Reads a file of the folder that flows may use, whole or in parts.",
    inputs: 1,
    outputs: Some(1),
    config_node: false,
    properties: &[
        Property::new("filename", PropertyKind::Text, "The file; relative ones are below files.dir."),
        Property::new(
            "filenameType",
            PropertyKind::Text,
            "str, msg, env, jsonata, …; without it, empty is msg.filename.",
        ),
        Property::new(
            "format",
            PropertyKind::OneOf(&["", "utf8", "lines", "stream"]),
            "utf8: one text; lines: a message per line; stream: pieces of 64 KiB; else all bytes.",
        ),
        Property::new("encoding", PropertyKind::Text, "none (UTF-8), or an encoding's name."),
        Property::new("allProps", PropertyKind::Boolean, "lines, stream: keep all properties of the message."),
        Property::new("sendError", PropertyKind::Boolean, "Send the message on with msg.error, too; true when absent."),
        Property::new("chunk", PropertyKind::Boolean, "Of older flows; kept, not used."),
    ],
    capabilities: &[],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build };

#[derive(Clone, Copy, PartialEq)]
enum Format {
    Text,
    Bytes,
    Lines,
    Pieces,
}

struct FileIn {
    filename: TypedInput,
    format: Format,
    encoding: TextEncoding,
    all_props: bool,
    send_error: bool,
}

fn build(config: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let filename = filename(config).map_err(|p| problems.push(p)).ok();
    let encoding = encoding(config).map_err(|p| problems.push(p)).ok();
    let (Some(filename), Some(encoding)) = (filename, encoding) else { return Err(problems) };
    if !config.services.files.is_allowed() {
        return Ok(Refused::node(HOW));
    }
    let format = match config.text("format").as_str() {
        "utf8" => Format::Text,
        "lines" => Format::Lines,
        "stream" => Format::Pieces,
        _ => Format::Bytes,
    };
    let send_error = config.get("sendError").is_undefined() || config.flag("sendError");
    Ok(Arc::new(FileIn { filename, format, encoding, all_props: config.flag("allProps"), send_error }))
}

/// A file that is being read in parts.
struct Reading {
    file: Mutex<std::fs::File>,
    name: String,
    /// What each part begins with.
    base: Msg,
    id: Value,
    count: usize,
    format: Format,
    text: TextReader,
    /// Of lines: the one that has not ended.
    rest: String,
    /// Of pieces: the last one was a whole one.
    whole: bool,
    /// What the error message is made of.
    msg: Msg,
    send_error: bool,
}

impl Reading {
    /// The next part's message, without its payload.
    fn part(&mut self, count: bool) -> Msg {
        let mut parts = Object::with_capacity(5);
        let lines = self.format == Format::Lines;
        parts.insert("index", self.count);
        parts.insert("ch", if lines { "\n" } else { "" });
        parts.insert("type", if lines { "string" } else { "buffer" });
        parts.insert("id", self.id.clone());
        self.count += 1;
        if count {
            parts.insert("count", self.count);
        }
        let mut msg = self.base.clone();
        msg.set("parts", parts);
        msg
    }

    /// Emits what these bytes complete; no bytes are the end of the file.
    fn take(&mut self, bytes: &[u8], cx: &mut Cx<'_>) {
        let end = bytes.is_empty();
        if self.format == Format::Pieces {
            if !end {
                self.whole = bytes.len() == PIECE;
                let mut msg = self.part(!self.whole);
                msg.set("payload", Value::Bytes(bytes.to_vec().into()));
                cx.emit(0, msg);
            } else if self.whole {
                // An empty part tells how many there were.
                let mut parts = Object::new();
                parts.insert("index", self.count);
                parts.insert("count", self.count);
                parts.insert("ch", "");
                parts.insert("type", "buffer");
                parts.insert("id", self.id.clone());
                let mut msg = Object::new();
                msg.insert("parts", parts);
                cx.emit(0, Msg::from(msg));
            }
            return;
        }
        self.text.read(bytes, end, &mut self.rest);
        let text = std::mem::take(&mut self.rest);
        let mut lines = text.split('\n').peekable();
        while let Some(line) = lines.next() {
            let last = lines.peek().is_none();
            if last && !end {
                self.rest = line.into();
                return;
            }
            let mut msg = self.part(last);
            msg.set("payload", line);
            cx.emit(0, msg);
        }
    }

    /// Reads on; the parts of one piece are worked through before the next is read.
    fn next(mut self: Box<Self>) -> Step {
        Step::wait(async move {
            let read = tokio::task::spawn_blocking(move || {
                let mut bytes = Vec::new();
                let file = self.file.get_mut().unwrap_or_else(|p| p.into_inner());
                let read = file.take(PIECE as u64).read_to_end(&mut bytes);
                (self, read.map(|_| bytes))
            });
            let read = read.await;
            Box::new(move |cx: &mut Cx<'_>| match read {
                Ok((mut reading, Ok(bytes))) => {
                    reading.take(&bytes, cx);
                    // A piece that is not whole is the last, as Node.js takes it.
                    let over = bytes.is_empty() || (reading.format == Format::Pieces && bytes.len() < PIECE);
                    if over { Step::Done } else { reading.next() }
                }
                Ok((reading, Err(error))) => {
                    let error = of_io(&error, "read", &reading.name);
                    failed(reading.msg, error, reading.send_error, cx)
                }
                Err(panic) => Step::fail(Msg::new(), panic.to_string()),
            }) as Then
        })
    }
}

/// The error goes to catch nodes and, if wanted, on in the message.
fn failed(mut msg: Msg, error: FileError, send_error: bool, cx: &mut Cx<'_>) -> Step {
    cx.error(msg.clone(), NodeError::with_code(format!("Error: {}", error.message), error.code));
    if send_error {
        msg.remove("payload");
        let (name, code) = (arcstr::literal!("Error"), Some(ArcStr::from(error.code)));
        msg.set("error", Value::Error(Arc::new(ErrorValue { name, message: error.message.into(), stack: None, code })));
        cx.emit(0, msg);
    }
    Step::Done
}

impl Node for FileIn {
    fn on_msg(&self, mut msg: Msg, cx: &mut Cx<'_>) -> Step {
        let name = match self.filename.eval(&msg, cx) {
            Ok(value) => name_of(&value).replace(['\t', '\r', '\n'], ""),
            Err(error) => return Step::fail(msg, error),
        };
        if name.is_empty() {
            cx.warn("No filename specified");
            return Step::Done;
        }
        msg.set("filename", name.as_str());
        msg.ensure_id();
        let (files, bytes_max) = (cx.services().files.clone(), cx.services().files.bytes_max());
        let (format, encoding, all_props, send_error) = (self.format, self.encoding, self.all_props, self.send_error);
        Step::wait(async move {
            let whole = matches!(format, Format::Text | Format::Bytes);
            let opening = tokio::task::spawn_blocking(move || {
                let opened = files.find(&name, true).and_then(|path| open(&path, &name, whole, bytes_max));
                (name, opened)
            });
            let opened = opening.await;
            Box::new(move |cx: &mut Cx<'_>| match opened {
                Ok((_, Ok(Opened::Whole(bytes)))) => {
                    let payload = match format {
                        Format::Text => Value::from(encoding.decode(&bytes)),
                        _ => Value::Bytes(bytes.into()),
                    };
                    msg.set("payload", payload);
                    cx.emit(0, msg);
                    Step::Done
                }
                Ok((name, Ok(Opened::File(file)))) => {
                    let base = if all_props { msg.clone() } else { few(&msg) };
                    let id = msg.get("_msgid").cloned().unwrap_or_default();
                    let (text, file) = (encoding.reader(), Mutex::new(file));
                    let (count, rest, whole) = (0, String::new(), false);
                    Box::new(Reading { file, name, base, id, count, format, text, rest, whole, msg, send_error }).next()
                }
                Ok((_, Err(error))) => failed(msg, error, send_error, cx),
                Err(panic) => Step::fail(msg, panic.to_string()),
            }) as Then
        })
    }
}

/// Topic and filename only.
fn few(msg: &Msg) -> Msg {
    let mut object = Object::new();
    for name in ["topic", "filename"] {
        if let Some(value) = msg.get(name) {
            object.insert(name, value.clone());
        }
    }
    Msg::from(object)
}

enum Opened {
    Whole(Vec<u8>),
    File(std::fs::File),
}

fn open(path: &std::path::Path, name: &str, whole: bool, bytes_max: u64) -> Result<Opened, FileError> {
    let file = std::fs::File::open(path).map_err(|e| of_io(&e, "open", name))?;
    // Opening a folder works; reading it does not.
    if file.metadata().is_ok_and(|meta| meta.is_dir()) {
        return Err(FileError { code: "EISDIR", message: "EISDIR: illegal operation on a directory, read".into() });
    }
    if !whole {
        return Ok(Opened::File(file));
    }
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(|e| of_io(&e, "read", name))?;
    if bytes.len() as u64 > bytes_max {
        let text =
            format!("'{name}' is larger than {bytes_max} bytes (files.bytes_max); read it by lines or as a stream");
        return Err(FileError { code: "EMSGSIZE", message: text });
    }
    Ok(Opened::Whole(bytes))
}

#[cfg(test)]
mod tests;
