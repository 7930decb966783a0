//! A host in the engine's place: it keeps what a source does and gives what a test prepared.

#![allow(dead_code, clippy::unwrap_used, reason = "each test binary uses a part of it, and says by panicking")]

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use probity_javascript::host::{self, ContextLevel, Emission, Host, Level, Request, Response, Scope};
use probity_javascript::interpreter::{Handler, Interpreter, Prepared};
use probity_javascript::{Failure, Message, Property, Value};

#[derive(Default)]
pub struct World {
    pub emitted: Vec<Emission>,
    pub log: Vec<(Level, String)>,
    pub status: Vec<String>,
    pub now: u64,
    pub slept: Vec<u32>,
    pub requests: Vec<Request>,
    pub responses: Vec<Result<Response, Failure>>,
    pub state: HashMap<(bool, String), Vec<u8>>,
    /// Somebody else's change of a state before the next compare-and-set.
    pub meddle: Vec<(String, String)>,
    pub evidence: Vec<(String, String, Option<bool>)>,
    pub context: HashMap<String, String>,
    pub config: String,
    /// What a function node asked.
    pub asked: Vec<String>,
}

#[derive(Clone, Default)]
pub struct Mock(pub Rc<RefCell<World>>);

fn failure(message: &str, code: &str) -> Failure {
    Failure { message: message.into(), code: Some(code.into()) }
}

impl Host for Mock {
    fn emit(&self, what: Emission) -> Result<(), Failure> {
        if what.port > 7 {
            return Err(failure("no such output", "EINVAL"));
        }
        self.0.borrow_mut().emitted.push(what);
        Ok(())
    }
    fn status(&self, fill: Option<&str>, shape: Option<&str>, text: &str) {
        self.0.borrow_mut().status.push(format!("{fill:?} {shape:?} {text}"));
    }
    fn log(&self, level: Level, text: &str) {
        self.0.borrow_mut().log.push((level, text.into()));
    }
    fn id(&self) -> String {
        "node-1".into()
    }
    fn config(&self) -> String {
        let config = self.0.borrow().config.clone();
        if config.is_empty() { "{}".into() } else { config }
    }
    fn now(&self) -> u64 {
        self.0.borrow().now
    }
    fn sleep(&self, ms: u32) {
        let mut world = self.0.borrow_mut();
        world.now += u64::from(ms);
        world.slept.push(ms);
    }
    fn random(&self, len: u32) -> Vec<u8> {
        (0..len).map(|i| (i * 37 + 11) as u8).collect()
    }
    fn secret(&self, name: &str) -> Result<String, Failure> {
        Ok(format!("{{{{secret:{name}}}}}"))
    }
    fn send(&self, what: &Request) -> Result<Response, Failure> {
        let mut world = self.0.borrow_mut();
        world.requests.push(what.clone());
        world.responses.remove(0)
    }
    fn state_get(&self, scope: Scope, key: &str) -> Option<Vec<u8>> {
        self.0.borrow().state.get(&(scope == Scope::Run, key.into())).cloned()
    }
    fn state_set(&self, scope: Scope, key: &str, value: &[u8]) -> Result<(), Failure> {
        self.0.borrow_mut().state.insert((scope == Scope::Run, key.into()), value.into());
        Ok(())
    }
    fn state_delete(&self, scope: Scope, key: &str) {
        self.0.borrow_mut().state.remove(&(scope == Scope::Run, key.into()));
    }
    fn state_compare_and_set(
        &self,
        scope: Scope,
        key: &str,
        old: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool, Failure> {
        let mut world = self.0.borrow_mut();
        let place = (scope == Scope::Run, key.to_owned());
        if let Some(at) = world.meddle.iter().position(|(k, _)| k == key) {
            let (_, value) = world.meddle.remove(at);
            world.state.insert(place.clone(), value.into_bytes());
        }
        if world.state.get(&place).map(Vec::as_slice) != old {
            return Ok(false);
        }
        match new {
            Some(new) => world.state.insert(place, new.into()),
            None => world.state.remove(&place),
        };
        Ok(true)
    }
    fn attach(&self, key: &str, value: &str, outcome: Option<bool>) -> Result<String, Failure> {
        let mut world = self.0.borrow_mut();
        world.evidence.push((key.into(), value.into(), outcome));
        Ok(format!("evidence-{}", world.evidence.len()))
    }
    fn evaluate(&self, kind: &str, text: &str) -> Result<Option<Value>, Failure> {
        match kind {
            "num" => Ok(Some(Value::Json(text.into()))),
            "bin" => Ok(Some(Value::Bytes(vec![1, 2, 3]))),
            "msg" => Ok(None),
            _ => Err(failure(&format!("unknown kind {kind}"), "EINVAL")),
        }
    }
    fn context_get(&self, level: ContextLevel, path: &str) -> Result<Option<String>, Failure> {
        Ok(self.0.borrow().context.get(&format!("{level:?}.{path}")).cloned())
    }
    fn context_set(&self, level: ContextLevel, path: &str, value: Option<&str>) -> Result<(), Failure> {
        let mut world = self.0.borrow_mut();
        let path = format!("{level:?}.{path}");
        match value {
            Some(value) => world.context.insert(path, value.into()),
            None => world.context.remove(&path),
        };
        Ok(())
    }
    fn ask(&self, what: &str, given: &str) -> Result<Value, Failure> {
        self.0.borrow_mut().asked.push(format!("{what} {given}"));
        Ok(Value::Json(match what {
            "late" => "false".into(),
            "env" => "\"here\"".into(),
            _ => "@u".into(),
        }))
    }
    fn read(&self, path: &str) -> Result<Vec<u8>, Failure> {
        if path == "data/a.txt" { Ok("Grüße".into()) } else { Err(failure(&format!("{path}: not found"), "ENOENT")) }
    }
}

/// A loaded source with its host.
pub struct Loaded {
    pub interpreter: Interpreter,
    pub world: Rc<RefCell<World>>,
}

/// Loads a source as `node.js`.
pub fn load(source: &str) -> Result<Loaded, Failure> {
    let mock = Mock::default();
    host::install(Rc::new(mock.clone()));
    Ok(Loaded { interpreter: Prepared::new()?.load("node.js", source)?, world: mock.0 })
}

/// A node type `t` that declares everything, with this as the body of its handler.
pub fn node(body: &str) -> Loaded {
    let source = format!(
        "export const node = {{ type: 't', capabilities: ['clock', 'random', 'secret', 'http', 'state', 'evidence', \
         'typed-input', 'context', 'files'],\nasync process(msg, node) {{ {body} }} }};"
    );
    load(&source).unwrap()
}

/// A message of these properties, given as JSON.
pub fn message(properties: &[(&str, &str)]) -> Message {
    let properties = properties.iter().map(|(n, v)| Property { name: (*n).into(), value: Value::Json((*v).into()) });
    Message { run: "run-1".into(), caller: true, properties: properties.collect() }
}

impl Loaded {
    pub fn process(&mut self, properties: &[(&str, &str)]) -> Result<(), Failure> {
        self.interpreter.handle(Handler::Process, "t", message(properties))
    }

    /// What one message makes the node emit: `port keep set… -delete…`.
    pub fn emits(&mut self, properties: &[(&str, &str)]) -> Vec<String> {
        self.process(properties).unwrap();
        self.emitted()
    }

    pub fn emitted(&mut self) -> Vec<String> {
        std::mem::take(&mut self.world.borrow_mut().emitted).iter().map(shown).collect()
    }

    /// The value of an expression in the handler, as JSON.
    pub fn value(&mut self) -> String {
        let emitted = self.emits(&[]);
        emitted[0].strip_prefix("0 new v=").unwrap_or(&emitted[0]).to_owned()
    }
}

fn shown(emission: &Emission) -> String {
    let mut text = format!("{} {}", emission.port, if emission.keep { "keep" } else { "new" });
    for property in &emission.set {
        let value = match &property.value {
            Value::Json(json) => json.clone(),
            Value::Bytes(bytes) => format!("{bytes:?}"),
        };
        text += &format!(" {}={value}", property.name);
    }
    for name in &emission.delete {
        text += &format!(" -{name}");
    }
    text
}

/// The JSON of what an expression gives within a handler that may do everything.
pub fn evaluate(expression: &str) -> String {
    node(&format!("return {{ v: await ({expression}) }};")).value()
}
