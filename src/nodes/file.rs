//! `file`: writes to a file, appends to it or deletes it, in the folder that flows may use.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::refused::Refused;
use super::text_encoding::TextEncoding;
use super::typed::TypedInput;
use crate::files::{FileError, HOW, of_io};
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::model::{Diagnostic, Msg, Value};
use crate::runtime::{Cx, Effect, Node, NodeConfig, NodeError, NodeType, Step, Then};

static SPEC: NodeSpec = NodeSpec {
    node_type: "file",
    category: "storage",
    summary: "Writes msg.payload to a file of the folder that flows may use, appends it, or deletes the file.",
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
        Property::new("overwriteFile", PropertyKind::Text, "true: replace the file; false: append; delete: remove it."),
        Property::new("appendNewline", PropertyKind::Boolean, "A newline after each text."),
        Property::new("createDir", PropertyKind::Boolean, "Make missing folders."),
        Property::new("encoding", PropertyKind::Text, "none (UTF-8), setbymsg (msg.encoding), or an encoding's name."),
    ],
    capabilities: &[],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build };

#[derive(Clone, Copy, PartialEq)]
enum Action {
    Overwrite,
    Append,
    Delete,
}

struct FileOut {
    filename: TypedInput,
    action: Action,
    newline: bool,
    create_dir: bool,
    /// `None`: the message says.
    encoding: Option<TextEncoding>,
}

/// The filename of `file` and `file in`, which older flows leave without a type.
pub(super) fn filename(config: &NodeConfig<'_>) -> Result<TypedInput, Diagnostic> {
    let name = config.text("filename");
    match config.text("filenameType").as_str() {
        "" if name.is_empty() => TypedInput::of(config, "filename", &Value::from("filename"), "msg"),
        "" => TypedInput::of(config, "filename", &Value::from(name), "str"),
        kind => TypedInput::of(config, "filename", &Value::from(name), kind),
    }
}

/// The encoding of that name; the problem names some that are known.
pub(super) fn encoding(config: &NodeConfig<'_>) -> Result<TextEncoding, Diagnostic> {
    let name = config.text("encoding");
    TextEncoding::of(&name).ok_or_else(|| {
        config.problem("unknown-encoding", "encoding", format!("the encoding \"{name}\" is not known")).expected(
            "none, utf8, utf16le, utf-16, latin1, base64, hex, windows-1250 to -1258, iso-8859-*, koi8-r, \
                       macintosh, shift_jis, euc-jp, gbk, big5, euc-kr and their like",
        )
    })
}

/// The text of a filename: anything but nothing is a name.
pub(super) fn name_of(value: &Value) -> String {
    if value.is_nullish() { String::new() } else { value.to_js_string().to_string() }
}

fn build(config: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let filename = filename(config).map_err(|p| problems.push(p)).ok();
    let encoding = match config.text("encoding").as_str() {
        "setbymsg" => Some(None),
        _ => encoding(config).map(Some).map_err(|p| problems.push(p)).ok(),
    };
    let action = match config.text("overwriteFile").as_str() {
        "true" => Action::Overwrite,
        "delete" => Action::Delete,
        _ => Action::Append,
    };
    let (Some(filename), Some(encoding)) = (filename, encoding) else { return Err(problems) };
    if !config.services.files.is_allowed() {
        return Ok(Refused::node(HOW));
    }
    let (newline, create_dir) = (config.flag("appendNewline"), config.flag("createDir"));
    Ok(Arc::new(FileOut { filename, action, newline, create_dir, encoding }))
}

impl FileOut {
    /// What is written of a message; `None` when it has nothing.
    fn bytes(&self, msg: &Msg) -> Result<Option<Vec<u8>>, NodeError> {
        let encoding = match self.encoding {
            Some(encoding) => encoding,
            None => {
                let name = msg.get("encoding").filter(|e| e.is_truthy()).map(Value::to_js_string).unwrap_or_default();
                TextEncoding::of(&name)
                    .ok_or_else(|| NodeError::new(format!("msg.encoding: the encoding \"{name}\" is not known")))?
            }
        };
        let mut text = match msg.payload() {
            Value::Undefined => return Ok(None),
            Value::Bytes(bytes) => return Ok(Some(bytes.to_vec())),
            data @ (Value::Object(_) | Value::Array(_) | Value::Null | Value::Date(_) | Value::Error(_)) => {
                data.to_json()
            }
            other => other.to_js_string().to_string(),
        };
        if self.newline && !is_last_part(msg) {
            text.push('\n');
        }
        Ok(Some(encoding.encode(&text)))
    }

    fn prefix(&self) -> &'static str {
        match self.action {
            Action::Overwrite => "failed to write to file",
            Action::Append => "failed to append to file",
            Action::Delete => "failed to delete file",
        }
    }
}

/// The last part of a text that was split into lines: it gets no newline that it did not have.
fn is_last_part(msg: &Msg) -> bool {
    let parts = msg.get("parts").cloned().unwrap_or_default();
    let (count, index) = (parts.get("count").as_f64(), parts.get("index").as_f64());
    parts.get("type").as_str() == Some("string") && count.is_some_and(|count| Some(count) == index.map(|i| i + 1.0))
}

impl Node for FileOut {
    fn effect(&self) -> Effect {
        match self.action {
            Action::Append => Effect::Once,
            Action::Overwrite | Action::Delete => Effect::Repeatable,
        }
    }

    fn on_msg(&self, mut msg: Msg, cx: &mut Cx<'_>) -> Step {
        let name = match self.filename.eval(&msg, cx) {
            Ok(value) => name_of(&value),
            Err(error) => return Step::fail(msg, error),
        };
        msg.set("filename", name.as_str());
        if name.is_empty() {
            cx.warn("No filename specified");
            return Step::Done;
        }
        let bytes = match self.action {
            Action::Delete => None,
            _ => match self.bytes(&msg) {
                Ok(Some(bytes)) => Some(bytes),
                Ok(None) => return Step::Done,
                Err(error) => return Step::fail(msg, error),
            },
        };
        let prefix = self.prefix();
        let failed = move |msg: Msg, error: FileError| {
            Step::fail(msg, NodeError::with_code(format!("{prefix}: Error: {}", error.message), error.code))
        };
        let files = cx.services().files.clone();
        let path = match files.find(&name, self.action != Action::Delete) {
            Ok(path) => path,
            Err(error) => return failed(msg, error),
        };
        let (line, action, create_dir) = (files.line(&path), self.action, self.create_dir);
        Step::wait(async move {
            // Taken in the order of the messages: the future is polled once before the next one is made.
            let _turn = line.lock().await;
            let work = tokio::task::spawn_blocking(move || change(&path, &name, action, create_dir, bytes)).await;
            let done = work.unwrap_or_else(|e| Err(FileError { code: "EIO", message: e.to_string() }));
            Box::new(move |cx: &mut Cx<'_>| match done {
                Ok(()) => {
                    cx.emit(0, msg);
                    Step::Done
                }
                Err(error) => failed(msg, error),
            }) as Then
        })
    }
}

fn change(path: &Path, name: &str, action: Action, create_dir: bool, bytes: Option<Vec<u8>>) -> Result<(), FileError> {
    let Some(bytes) = bytes else {
        return std::fs::remove_file(path).map_err(|e| of_io(&e, "unlink", name));
    };
    if create_dir && let Some(folder) = path.parent() {
        make_folders(folder).map_err(|e| of_io(&e, "mkdir", name))?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.create(true).write(true);
    match action {
        Action::Append => options.append(true),
        _ => options.truncate(true),
    };
    let written = options.open(path).and_then(|mut file| file.write_all(&bytes));
    written.map_err(|e| of_io(&e, "open", name))
}

fn make_folders(folder: &Path) -> std::io::Result<()> {
    let folder: PathBuf = folder.into();
    std::fs::create_dir_all(folder)
}

#[cfg(test)]
pub(super) mod tests;
