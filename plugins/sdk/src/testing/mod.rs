//! The engine for unit tests: node types run natively, with what you say the world answers.
//!
//! It holds what the real host holds: capabilities that a node type does not declare are refused, properties it does
//! not want do not cross, and what it emits is put together with the message that came in.

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::{Map, Value, json};

pub use crate::bindings::probity::plugin::http::{Request, Response};
use crate::bindings::probity::plugin::types;
use crate::{Context, Error, Message, NodeType, Result, config};

pub(crate) mod imports;
mod world;

pub use imports::context::Level as ContextLevel;
use world::World;

thread_local! {
    /// The world of the test that runs on this thread.
    static WORLD: RefCell<Option<Rc<RefCell<World>>>> = const { RefCell::new(None) };
}

/// What a node sent: the output's number and the whole message, bytes as `{"type":"Buffer","data":[…]}`.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    /// Output, counted from 0.
    pub port: u32,
    /// The message as the next node sees it.
    pub msg: Value,
}

/// A fact a node attached.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// Its id.
    pub id: String,
    /// What it is about.
    pub key: String,
    /// What was found.
    pub value: Value,
    /// Whether it speaks for or against.
    pub outcome: Option<bool>,
}

/// The engine of one test. State, clock and logs live as long as it does.
pub struct Host {
    world: Rc<RefCell<World>>,
}

impl Host {
    /// A host with an empty world: run `run-1`, clock at 0 ms, no secrets, files or answers.
    pub fn new() -> Self {
        let world = Rc::new(RefCell::new(World::default()));
        WORLD.with(|current| *current.borrow_mut() = Some(world.clone()));
        Self { world }
    }

    /// Messages from here on belong to this run.
    pub fn run(&self, id: &str) -> &Self {
        self.world.borrow_mut().run = id.to_owned();
        self
    }

    /// Whether somebody waits for the run; true at first.
    pub fn caller(&self, waits: bool) -> &Self {
        self.world.borrow_mut().caller = waits;
        self
    }

    /// Sets the clock, milliseconds since 1970. Only this and `sleep` move it.
    pub fn now_ms(&self, ms: u64) -> &Self {
        self.world.borrow_mut().now_ms = ms;
        self
    }

    /// There is a secret of this name. Its placeholder is `secret:NAME`.
    pub fn secret(&self, name: &str) -> &Self {
        self.world.borrow_mut().secrets.push(name.to_owned());
        self
    }

    /// Sets an environment variable for typed inputs.
    pub fn env(&self, name: &str, value: &str) -> &Self {
        self.world.borrow_mut().env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// What a JSONata expression gives.
    pub fn jsonata(&self, expression: &str, result: Value) -> &Self {
        self.world.borrow_mut().jsonata.insert(expression.to_owned(), result);
        self
    }

    /// Sets a value of the flow, global or node context.
    pub fn context(&self, level: ContextLevel, path: &str, value: Value) -> &Self {
        self.world.borrow_mut().set_context(level, path, Some(value)).expect("a path that can be set");
        self
    }

    /// A value of the flow, global or node context.
    pub fn context_value(&self, level: ContextLevel, path: &str) -> Option<Value> {
        self.world.borrow().context_value(level, path)
    }

    /// There is a file of this path.
    pub fn file(&self, path: &str, content: impl Into<Vec<u8>>) -> &Self {
        self.world.borrow_mut().files.insert(path.to_owned(), content.into());
        self
    }

    /// The next request of this method and URL (query and all) gets this answer: a JSON text's value as its text,
    /// anything else as JSON. Answers to the same request are given one after the other, the last one for good.
    pub fn answer(&self, method: &str, url: &str, status: u16, body: Value) -> &Self {
        let (body, kind) = match body {
            Value::String(text) => (text.into_bytes(), "text/plain"),
            other => (other.to_string().into_bytes(), "application/json"),
        };
        let headers = vec![("content-type".to_owned(), kind.to_owned())];
        self.answer_with(method, url, Response { status, headers, body })
    }

    /// As [`answer`](Self::answer), with headers and bytes.
    pub fn answer_with(&self, method: &str, url: &str, response: Response) -> &Self {
        self.world.borrow_mut().answers.push((method.to_owned(), url.to_owned(), Ok(response)));
        self
    }

    /// As [`answer`](Self::answer), but the request fails (no connection, time out, not allowed).
    pub fn fail(&self, method: &str, url: &str, error: Error) -> &Self {
        self.world.borrow_mut().answers.push((method.to_owned(), url.to_owned(), Err(error)));
        self
    }

    /// Hands the node a message and gives what it sent. `config` gets the schema's defaults. A property that is
    /// `{"type":"Buffer","data":[…]}` crosses as bytes.
    pub fn process<N: NodeType>(&self, config: Value, msg: Value) -> Result<Vec<Sent>> {
        self.call::<N>(config, msg, N::process)
    }

    /// Tells the node that the run has nothing else to do; `last` is the last message it had.
    pub fn run_end<N: NodeType>(&self, config: Value, last: Value) -> Result<Vec<Sent>> {
        self.call::<N>(config, last, N::run_end)
    }

    fn call<N: NodeType>(
        &self,
        config: Value,
        msg: Value,
        handle: fn(&N, Message, &Context) -> Result<()>,
    ) -> Result<Vec<Sent>> {
        let Value::Object(properties) = msg else {
            return Err(Error::new("a message is a JSON object: json!({ \"payload\": … })"));
        };
        WORLD.with(|current| *current.borrow_mut() = Some(self.world.clone()));
        let description = N::description();
        let config = with_defaults(&config, &description.config)?;
        let node: N = config::read(&config)?;
        let input = {
            let mut world = self.world.borrow_mut();
            world.begin(N::TYPE, N::CAPABILITIES, description.outputs.len(), config, properties.clone());
            let wanted =
                properties.into_iter().filter(|(name, _)| N::WANTS.is_none_or(|wants| wants.contains(&name.as_str())));
            let properties = wanted.filter(|(name, _)| name != "res").map(property).collect();
            types::Message { run: world.run.clone(), caller: world.caller, properties }
        };
        let result = handle(&node, Message::incoming(input, N::WANTS), &Context::of_this_call());
        let sent = std::mem::take(&mut self.world.borrow_mut().sent);
        result.map(|()| sent)
    }

    /// The lines logged, each as `level: text`.
    pub fn logs(&self) -> Vec<String> {
        self.world.borrow().logs.clone()
    }

    /// The node's last status as `fill shape text`; `None` when it has none.
    pub fn status(&self) -> Option<String> {
        self.world.borrow().status.clone()
    }

    /// The evidence attached.
    pub fn evidence(&self) -> Vec<Evidence> {
        self.world.borrow().evidence.clone()
    }

    /// The requests sent.
    pub fn requests(&self) -> Vec<Request> {
        self.world.borrow().requests.clone()
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

/// As the engine does before it hands a configuration to a node.
fn with_defaults(config: &Value, schema: &str) -> Result<Value> {
    let schema: Value = serde_json::from_str(schema)?;
    let Value::Object(given) = config else {
        return Err(Error::new("a configuration is a JSON object"));
    };
    let mut whole = given.clone();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        if let (false, Some(default)) = (whole.contains_key(name), property.get("default")) {
            whole.insert(name.clone(), default.clone());
        }
    }
    Ok(Value::Object(whole))
}

fn property((name, value): (String, Value)) -> types::Property {
    let value = match bytes(&value) {
        Some(bytes) => types::Value::Bytes(bytes),
        None => types::Value::Json(value.to_string()),
    };
    types::Property { name, value }
}

/// The bytes of `{"type":"Buffer","data":[…]}`.
fn bytes(value: &Value) -> Option<Vec<u8>> {
    let object =
        value.as_object().filter(|object| object.len() == 2 && object.get("type") == Some(&json!("Buffer")))?;
    let data = object.get("data")?.as_array()?;
    data.iter().map(|byte| byte.as_u64().and_then(|byte| u8::try_from(byte).ok())).collect()
}

/// The object behind a message, for what the mock puts together.
type Properties = Map<String, Value>;
