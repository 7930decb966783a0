//! What the interpreter asks of the engine: the imports of the world `interpreter`, as a trait.

use std::cell::RefCell;
use std::rc::Rc;

pub use crate::bindings::probity::plugin::context::Level as ContextLevel;
pub use crate::bindings::probity::plugin::http::{Request, Response};
pub use crate::bindings::probity::plugin::node::{Emission, Level};
pub use crate::bindings::probity::plugin::state::Scope;
use crate::{Failure, Value};

/// The engine's side. Every method stands for the function of the same name in `plugins/wit/plugin.wit`.
pub trait Host {
    fn emit(&self, what: Emission) -> Result<(), Failure>;
    fn status(&self, fill: Option<&str>, shape: Option<&str>, text: &str);
    fn log(&self, level: Level, text: &str);
    fn id(&self) -> String;
    fn config(&self) -> String;
    fn now(&self) -> u64;
    fn sleep(&self, ms: u32);
    fn random(&self, len: u32) -> Vec<u8>;
    fn secret(&self, name: &str) -> Result<String, Failure>;
    fn send(&self, what: &Request) -> Result<Response, Failure>;
    fn state_get(&self, scope: Scope, key: &str) -> Option<Vec<u8>>;
    fn state_set(&self, scope: Scope, key: &str, value: &[u8]) -> Result<(), Failure>;
    fn state_delete(&self, scope: Scope, key: &str);
    fn state_compare_and_set(
        &self,
        scope: Scope,
        key: &str,
        old: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool, Failure>;
    fn attach(&self, key: &str, value: &str, outcome: Option<bool>) -> Result<String, Failure>;
    fn evaluate(&self, kind: &str, text: &str) -> Result<Option<Value>, Failure>;
    fn context_get(&self, level: ContextLevel, path: &str) -> Result<Option<String>, Failure>;
    fn context_set(&self, level: ContextLevel, path: &str, value: Option<&str>) -> Result<(), Failure>;
    fn read(&self, path: &str) -> Result<Vec<u8>, Failure>;
    /// Only for function nodes.
    fn ask(&self, what: &str, given: &str) -> Result<Value, Failure>;
}

thread_local! {
    static HOST: RefCell<Option<Rc<dyn Host>>> = const { RefCell::new(None) };
}

/// Sets this thread's host; before anything else.
pub fn install(host: Rc<dyn Host>) {
    HOST.with(|h| *h.borrow_mut() = Some(host));
}

/// This thread's host.
pub(crate) fn host() -> Rc<dyn Host> {
    HOST.with(|h| h.borrow().clone()).expect("a host is installed before a source is loaded")
}
