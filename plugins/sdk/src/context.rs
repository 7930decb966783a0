//! What a node may do beyond its message: everything of the contract's imports, as methods of [`Context`].

use std::fmt::Display;
use std::time::Duration;

use serde_core::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::bindings::probity::plugin::types;
use crate::config::{Secret, TypedInput};
use crate::host;
use crate::http::Http;
use crate::message::{buffer, parse};
use crate::state::{Scope, State};
use crate::{ErrorContext, Message, Result};

/// The way to the engine during one call.
///
/// `emit`, `status`, the log, `id` and `config` are always granted. Every other method needs the capability its
/// documentation names, in the node type's `capabilities` and in `plugin.toml`, granted by the operator; without it
/// the call fails and names what is missing.
pub struct Context {
    _made_by_the_sdk: (),
}

/// Colour of a node's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    Red,
    Green,
    Yellow,
    Blue,
    Grey,
}

/// Form of a node's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Ring,
    Dot,
}

impl Context {
    #[doc(hidden)]
    pub fn of_this_call() -> Self {
        Self { _made_by_the_sdk: () }
    }

    /// Sends a message to the wires of output `port`, counted from 0. Of the message being handled only the changes
    /// cross. To send it several times, clone it.
    pub fn emit(&self, port: u32, message: Message) -> Result<()> {
        host::ok(host::node::emit(&message.into_emission(port)?))
    }

    /// Sets the small text under the node.
    pub fn status(&self, fill: Fill, shape: Shape, text: impl AsRef<str>) {
        let fill = match fill {
            Fill::Red => "red",
            Fill::Green => "green",
            Fill::Yellow => "yellow",
            Fill::Blue => "blue",
            Fill::Grey => "grey",
        };
        let shape = match shape {
            Shape::Ring => "ring",
            Shape::Dot => "dot",
        };
        host::node::status(Some(fill), Some(shape), text.as_ref());
    }

    /// Takes the node's status away.
    pub fn clear_status(&self) {
        host::node::status(None, None, "");
    }

    /// Writes to the log, level debug.
    pub fn debug(&self, text: impl Display) {
        host::node::log(host::node::Level::Debug, &text.to_string());
    }

    /// Writes to the log, level info.
    pub fn log(&self, text: impl Display) {
        host::node::log(host::node::Level::Info, &text.to_string());
    }

    /// Writes to the log, level warn.
    pub fn warn(&self, text: impl Display) {
        host::node::log(host::node::Level::Warn, &text.to_string());
    }

    /// Writes to the log, level error. The message goes on; to fail it, return an [`Error`](crate::Error).
    pub fn error(&self, text: impl Display) {
        host::node::log(host::node::Level::Error, &text.to_string());
    }

    /// This node's id in its flow.
    pub fn id(&self) -> String {
        host::node::id()
    }

    /// The node's properties as the flow has them, defaults filled in. Usually `&self` is what you want.
    pub fn config(&self) -> Result<Value> {
        parse(&host::node::config()).context("the node's properties")
    }

    /// Milliseconds since 1970-01-01T00:00Z. Capability `clock`.
    pub fn now_ms(&self) -> u64 {
        host::clock::now()
    }

    /// The time as text, `2026-03-01T12:00:00.000Z`. Capability `clock`.
    pub fn now_iso(&self) -> String {
        crate::time::iso(self.now_ms())
    }

    /// Waits; other runs go on. Counts against the time limit of the call. Capability `clock`.
    pub fn sleep(&self, time: Duration) {
        host::clock::sleep(u32::try_from(time.as_millis()).unwrap_or(u32::MAX));
    }

    /// Random bytes, at most 65,536. Capability `random`.
    pub fn random(&self, len: u32) -> Vec<u8> {
        host::random::bytes(len)
    }

    /// A random UUID (version 4). Capability `random`.
    pub fn uuid(&self) -> String {
        let mut bytes = self.random(16);
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let mut text = String::with_capacity(36);
        for (at, byte) in bytes.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
            }
        }
        text
    }

    /// A placeholder for a secret, good for this call: put it into the URL, a header or the body of a request, as it
    /// is (not Base64), and the engine replaces it there. The secret itself is never seen here. The node's
    /// configuration must name it (`secret:NAME`, see [`Secret`]); of one that a caller sent this is the secret.
    /// Capability `secret`.
    pub fn secret(&self, secret: impl Into<Secret>) -> Result<String> {
        secret.into().text(|name| host::ok(host::secrets::placeholder(name)))
    }

    /// HTTP requests: `cx.http().get(url).header("accept", "text/csv").send()?`. Capability `http`.
    pub fn http(&self) -> Http {
        Http::new()
    }

    /// Values kept for this run and node, gone with the run. Capability `state`.
    pub fn run_state(&self) -> State {
        State::new(Scope::Run)
    }

    /// Values kept for this node across runs, until the engine stops. Capability `state`.
    pub fn node_state(&self) -> State {
        State::new(Scope::Node)
    }

    /// Attaches a fact the verdict rests on: what it is about, the value found, and whether it speaks for (`true`)
    /// or against (`false`) or neither (`None`). Gives the evidence's id. Capability `evidence`.
    pub fn evidence<T: Serialize + ?Sized>(
        &self,
        key: impl AsRef<str>,
        value: &T,
        outcome: impl Into<Option<bool>>,
    ) -> Result<String> {
        let value = serde_json::to_string(value)?;
        host::ok(host::evidence::attach(key.as_ref(), &value, outcome.into()))
    }

    /// What a typed input stands for, given the message being handled as it came; `None` is undefined. Kinds: msg,
    /// flow, global, env, str, num, bool, json, bin, re, date, jsonata. Capability `typed-input`.
    pub fn evaluate(&self, input: &TypedInput) -> Result<Option<Value>> {
        match host::ok(host::typed_input::evaluate(&input.kind, &input.text))? {
            None => Ok(None),
            Some(types::Value::Json(text)) => Ok(Some(parse(&text)?)),
            Some(types::Value::Bytes(bytes)) => Ok(Some(buffer(&bytes))),
        }
    }

    /// The flow's context. Capability `context`.
    pub fn flow(&self) -> ContextStore {
        ContextStore(host::context::Level::Flow)
    }

    /// The global context. Capability `context`.
    pub fn global(&self) -> ContextStore {
        ContextStore(host::context::Level::Global)
    }

    /// This node's context, as other nodes' code sees it. Capability `context`.
    pub fn node(&self) -> ContextStore {
        ContextStore(host::context::Level::Node)
    }

    /// Reads a file below a folder the operator named. Capability `files`.
    pub fn read_file(&self, path: impl AsRef<str>) -> Result<Vec<u8>> {
        host::ok(host::files::read(path.as_ref()))
    }
}

/// Node-RED's context of a flow, of everything, or of this node.
#[derive(Clone, Copy)]
pub struct ContextStore(host::context::Level);

impl ContextStore {
    /// The value at a path such as `totals.open`; `None` is undefined.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>> {
        let Some(text) = host::ok(host::context::get(self.0, path))? else { return Ok(None) };
        parse(&text).map(Some).context(format_args!("context value `{path}`"))
    }

    /// Sets the value at a path.
    pub fn set<T: Serialize + ?Sized>(&self, path: &str, value: &T) -> Result<()> {
        host::ok(host::context::set(self.0, path, Some(&serde_json::to_string(value)?)))
    }

    /// Takes the value at a path away.
    pub fn delete(&self, path: &str) -> Result<()> {
        host::ok(host::context::set(self.0, path, None))
    }
}
