//! The component: its exports, and the engine's imports as a `Host`.

use std::cell::RefCell;
use std::rc::Rc;

use crate::bindings::exports::probity::plugin::handler::{Description, Guest};
use crate::bindings::probity::plugin as engine;
use crate::function::{self, Function};
use crate::host::{ContextLevel, Emission, Host, Level, Request, Response, Scope};
use crate::interpreter::{Handler, Interpreter, Prepared};
use crate::{Failure, Message, Value};

struct Component;

struct Engine;

impl Host for Engine {
    fn emit(&self, what: Emission) -> Result<(), Failure> {
        engine::node::emit(&what)
    }
    fn status(&self, fill: Option<&str>, shape: Option<&str>, text: &str) {
        engine::node::status(fill, shape, text);
    }
    fn log(&self, level: Level, text: &str) {
        engine::node::log(level, text);
    }
    fn id(&self) -> String {
        engine::node::id()
    }
    fn config(&self) -> String {
        engine::node::config()
    }
    fn now(&self) -> u64 {
        engine::clock::now()
    }
    fn sleep(&self, ms: u32) {
        engine::clock::sleep(ms);
    }
    fn random(&self, len: u32) -> Vec<u8> {
        engine::random::bytes(len)
    }
    fn secret(&self, name: &str) -> Result<String, Failure> {
        engine::secrets::placeholder(name)
    }
    fn send(&self, what: &Request) -> Result<Response, Failure> {
        engine::http::send(what)
    }
    fn state_get(&self, scope: Scope, key: &str) -> Option<Vec<u8>> {
        engine::state::get(scope, key)
    }
    fn state_set(&self, scope: Scope, key: &str, value: &[u8]) -> Result<(), Failure> {
        engine::state::set(scope, key, value)
    }
    fn state_delete(&self, scope: Scope, key: &str) {
        engine::state::delete(scope, key);
    }
    fn state_compare_and_set(
        &self,
        scope: Scope,
        key: &str,
        old: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool, Failure> {
        engine::state::compare_and_set(scope, key, old, new)
    }
    fn attach(&self, key: &str, value: &str, outcome: Option<bool>) -> Result<String, Failure> {
        engine::evidence::attach(key, value, outcome)
    }
    fn evaluate(&self, kind: &str, text: &str) -> Result<Option<Value>, Failure> {
        engine::typed_input::evaluate(kind, text)
    }
    fn context_get(&self, level: ContextLevel, path: &str) -> Result<Option<String>, Failure> {
        engine::context::get(level, path)
    }
    fn context_set(&self, level: ContextLevel, path: &str, value: Option<&str>) -> Result<(), Failure> {
        engine::context::set(level, path, value)
    }
    fn read(&self, path: &str) -> Result<Vec<u8>, Failure> {
        engine::files::read(path)
    }
    fn ask(&self, what: &str, given: &str) -> Result<Value, Failure> {
        engine::script::ask(what, given)
    }
}

/// What an instance has become by its first call.
enum Loaded {
    Plugin(Interpreter),
    Function(Function),
}

/// Waiting for a source, one of both kinds.
struct Both {
    plugin: Prepared,
    function: function::Prepared,
}

thread_local! {
    static LOADED: RefCell<Option<Result<Loaded, Failure>>> = const { RefCell::new(None) };
    /// Made when the component was built, and in the memory that every instance begins with.
    static PREPARED: RefCell<Option<Result<Both, Failure>>> = const { RefCell::new(None) };
}

fn prepare() -> Result<Both, Failure> {
    crate::host::install(Rc::new(Engine));
    let plugin = Prepared::new()?;
    let function = function::Prepared::new(plugin.runtime())?;
    Ok(Both { plugin, function })
}

/// Called by `snapshot/` at build time.
#[unsafe(export_name = "probity-prepare")]
pub extern "C" fn initialize() {
    let prepared = prepare();
    if let Err(failure) = &prepared {
        panic!("{}", failure.message);
    }
    PREPARED.with(|p| *p.borrow_mut() = Some(prepared));
}

fn load() -> Result<Loaded, Failure> {
    let both = PREPARED.with(|p| p.borrow_mut().take()).unwrap_or_else(prepare)?;
    let (file, text) = engine::script::source();
    // The other kind is left as it is: memory that is never taken apart.
    if file == function::FILE {
        std::mem::forget(both.plugin);
        both.function.load(text).map(Loaded::Function)
    } else {
        std::mem::forget(both.function);
        both.plugin.load(&file, &text).map(Loaded::Plugin)
    }
}

/// Uses the loaded source, which is loaded first if this is the instance's first call.
fn loaded<T>(use_it: impl FnOnce(&mut Loaded) -> Result<T, Failure>) -> Result<T, Failure> {
    LOADED.with(|l| {
        let mut l = l.borrow_mut();
        match l.get_or_insert_with(load) {
            Ok(loaded) => use_it(loaded),
            Err(failure) => Err(failure.clone()),
        }
    })
}

impl Guest for Component {
    fn describe() -> Vec<Description> {
        let described = loaded(|l| match l {
            Loaded::Plugin(i) => Ok(i.describe().to_vec()),
            Loaded::Function(_) => Ok(Vec::new()),
        });
        match described {
            Ok(descriptions) => descriptions,
            // The contract's `describe` cannot fail, so the reason goes to the log before the call ends here.
            Err(failure) => {
                engine::node::log(Level::Error, &failure.message);
                core::arch::wasm32::unreachable()
            }
        }
    }

    fn process(node_type: String, input: Message) -> Result<(), Failure> {
        loaded(|l| match l {
            Loaded::Plugin(i) => i.handle(Handler::Process, &node_type, input),
            Loaded::Function(f) => f.handle(&node_type, input),
        })
    }

    fn run_end(node_type: String, last: Message) -> Result<(), Failure> {
        loaded(|l| match l {
            Loaded::Plugin(i) => i.handle(Handler::RunEnd, &node_type, last),
            Loaded::Function(_) => Ok(()),
        })
    }
}

crate::bindings::export_plugin!(Component);

/// QuickJS's own clock: nothing of ours uses it, so it stands still. `Date` asks the engine where the node may.
#[unsafe(no_mangle)]
pub extern "C" fn __rquickjs_host_now_us() -> f64 {
    0.0
}
