//! One source in one QuickJS: loaded once, then called for every message.

use std::cell::RefCell;
use std::mem::ManuallyDrop;

use rquickjs::promise::PromiseState;
use rquickjs::{Context, Ctx, Function, Module, Object, Persistent, Promise, Result, Runtime, Value};

use crate::call::{self, Call, Capabilities};
use crate::raw::Kept;
use crate::{Description, Failure, Message, failure, function, json, message, prelude, raw, timers};

/// Stack of JavaScript calls, bytes: deeper recursion (some 700 calls) is a RangeError. With more, the frames of wasm
/// would first be at the end of the 512 KiB the engine gives them, and the call would be broken off.
const STACK_BYTES_MAX: usize = 192 * 1024;

/// Garbage of cycles is collected when this much was allocated since the last time, bytes. Everything else is freed at
/// once, by reference counts.
const COLLECT_AFTER_BYTES: usize = 1024 * 1024;

/// Which handler of a node type to call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Handler {
    Process,
    RunEnd,
}

struct NodeType {
    name: String,
    capabilities: Capabilities,
    definition: Kept,
    process: Kept,
    run_end: Option<Kept>,
}

/// A loaded source.
pub struct Interpreter {
    types: Vec<NodeType>,
    descriptions: Vec<Description>,
    node: Kept,
    send: Kept,
    send_later: Kept,
    calls: u32,
    context: ManuallyDrop<Context>,
}

pub(crate) type Rejection = (Persistent<Value<'static>>, Persistent<Value<'static>>);

thread_local! {
    /// Rejected promises nobody handles (yet), with their reasons.
    static REJECTED: RefCell<Vec<Rejection>> = const { RefCell::new(Vec::new()) };
}

/// An engine with our own JavaScript in it, waiting for a source.
pub struct Prepared {
    /// Never taken apart: an instance ends with its memory, and until then keeps values of QuickJS everywhere.
    context: ManuallyDrop<Context>,
    api: Persistent<Object<'static>>,
}

impl Prepared {
    /// Makes one. A host must be installed.
    pub fn new() -> std::result::Result<Prepared, Failure> {
        let unusable = |e: rquickjs::Error| Failure { message: format!("QuickJS does not start: {e}"), code: None };
        let runtime = Runtime::new().map_err(unusable)?;
        runtime.set_max_stack_size(STACK_BYTES_MAX);
        runtime.set_gc_threshold(COLLECT_AFTER_BYTES);
        runtime.set_host_promise_rejection_tracker(Some(Box::new(track)));
        runtime.set_interrupt_handler(Some(Box::new(function::is_late)));
        let context = ManuallyDrop::new(Context::full(&runtime).map_err(unusable)?);
        let api = context.with(|ctx| {
            let prepared = prepare(&ctx);
            prepared.map_err(|e| failure::from_error(&ctx, e))
        })?;
        Ok(Prepared { context, api })
    }

    /// The engine itself.
    pub fn runtime(&self) -> &Runtime {
        self.context.runtime()
    }

    /// Loads an author's source; `file` is its name in messages.
    pub fn load(self, file: &str, source: &str) -> std::result::Result<Interpreter, Failure> {
        let Prepared { context, api } = self;
        let loaded = context.with(|ctx| {
            let api = api.restore(&ctx).map_err(|e| failure::from_error(&ctx, e))?;
            message::install(&ctx, &api).map_err(|e| failure::from_error(&ctx, e))?;
            load(&ctx, &api, file, source)
        })?;
        let (types, descriptions, [node, send, send_later]) = loaded;
        Ok(Interpreter { types, descriptions, node, send, send_later, calls: 0, context })
    }
}

fn prepare(ctx: &Ctx<'_>) -> Result<Persistent<Object<'static>>> {
    let api = prelude::run(ctx, prelude::For::Plugin)?;
    api.get::<_, Function>("freeze")?.call::<_, ()>(())?;
    Ok(Persistent::save(ctx, api))
}

type Loaded = (Vec<NodeType>, Vec<Description>, [Kept; 3]);

fn load<'js>(ctx: &Ctx<'js>, api: &Object<'js>, file: &str, source: &str) -> std::result::Result<Loaded, Failure> {
    let failed = |e| failure::from_error(ctx, e);
    let declared = Module::declare(ctx.clone(), file, raw::without_nul(source).as_bytes()).map_err(failed)?;
    let (module, evaluated) = declared.eval().map_err(failed)?;
    drain(ctx).map_err(failed)?;
    match evaluated.state() {
        PromiseState::Pending => {
            return Err(Failure {
                message: format!("{file} waits while it is loaded: `await` belongs into process()"),
                code: None,
            });
        }
        _ => evaluated.finish::<Value>().map(drop).map_err(failed)?,
    }
    if let Some(reason) = unhandled(ctx) {
        return Err(reason);
    }
    let read = || -> Result<Loaded> {
        let exports = module.namespace()?;
        let list: Vec<Object> = api.get::<_, Function>("definitions")?.call((exports,))?;
        let mut types = Vec::with_capacity(list.len());
        let mut descriptions = Vec::with_capacity(list.len());
        for entry in &list {
            let (node_type, description) = node_type(entry)?;
            types.push(node_type);
            descriptions.push(description);
        }
        api.get::<_, Function>("seal")?.call::<_, ()>(())?;
        let keep = |key: &str| api.get::<_, Value>(key).map(Kept::new);
        Ok((types, descriptions, [keep("node")?, keep("send")?, keep("sendLater")?]))
    };
    read().map_err(|e| {
        let mut failure = failure::from_error(ctx, e);
        if let Some(text) = failure.message.strip_prefix("Error: ") {
            failure.message = format!("{file}: {text}");
        }
        failure
    })
}

fn node_type(entry: &Object<'_>) -> Result<(NodeType, Description)> {
    let capabilities: Vec<String> = entry.get("capabilities")?;
    let run_end: Value = entry.get("runEnd")?;
    let run_end = run_end.is_function().then(|| Kept::new(run_end));
    let description = Description {
        node_type: entry.get("type")?,
        version: entry.get("version")?,
        category: entry.get("category")?,
        color: entry.get("color")?,
        icon: entry.get("icon")?,
        summary: entry.get("summary")?,
        help: entry.get("help")?,
        inputs: entry.get("inputs")?,
        outputs: entry.get("outputs")?,
        config: entry.get("config")?,
        wants: entry.get("wants")?,
        capabilities: capabilities.clone(),
        at_run_end: run_end.is_some(),
    };
    let node_type = NodeType {
        name: description.node_type.clone(),
        capabilities: Capabilities::of(&capabilities),
        definition: Kept::new(entry.get("self")?),
        process: Kept::new(entry.get("process")?),
        run_end,
    };
    Ok((node_type, description))
}

impl Interpreter {
    /// The node types of the source.
    pub fn describe(&self) -> &[Description] {
        &self.descriptions
    }

    /// Handles one message.
    pub fn handle(&mut self, handler: Handler, node_type: &str, input: Message) -> std::result::Result<(), Failure> {
        let Some(found) = self.types.iter().find(|t| t.name == node_type) else {
            return Err(Failure { message: format!("this source has no node type {node_type}"), code: None });
        };
        let function = match handler {
            Handler::Process => found.process,
            Handler::RunEnd => match found.run_end {
                Some(function) => function,
                None => return Ok(()),
            },
        };
        // Wraps after four thousand million calls; only a message kept from exactly then could be taken for this one.
        self.calls = self.calls.wrapping_add(1);
        call::begin(Call {
            id: self.calls,
            node_type: node_type.to_owned(),
            run: input.run,
            caller: input.caller,
            incoming: Vec::new(),
            capabilities: found.capabilities,
            random: None,
            reported: None,
            open: true,
            origin: 0,
        });
        let done = self.context.with(|ctx| {
            let done = self.run(&ctx, found.definition, function, input.properties);
            let done = done.map_err(|e| failure::from_error(&ctx, e)).and_then(|pending| match pending {
                Some(promise) => self.settle(&ctx, &promise),
                None => Ok(()),
            });
            let done = done.and_then(|()| unhandled(&ctx).map_or(Ok(()), Err));
            if done.is_err() {
                self.give_up(&ctx);
            }
            done
        });
        let reported = call::end().and_then(|c| c.reported);
        done.and_then(|()| reported.map_or(Ok(()), Err))
    }

    /// Calls the handler and sends what it returns. A promise that is left is given back.
    fn run<'js>(
        &self,
        ctx: &Ctx<'js>,
        definition: Kept,
        function: Kept,
        properties: Vec<crate::Property>,
    ) -> Result<Option<Promise<'js>>> {
        let message = message::build(ctx, self.calls, properties)?;
        let function = Function::from_value(function.get(ctx))?;
        let this = rquickjs::function::This(definition.get(ctx));
        let result: Value = function.call((this, message, self.node.get(ctx)))?;
        let promise = match result.as_object() {
            None if result.is_undefined() || result.is_null() => None,
            Some(object) if object.is_promise() || object.get::<_, Value>("then")?.is_function() => {
                let later = Function::from_value(self.send_later.get(ctx))?;
                Some(later.call((result,))?)
            }
            _ => {
                Function::from_value(self.send.get(ctx))?.call::<_, ()>((result,))?;
                None
            }
        };
        self.drive(ctx)?;
        Ok(promise)
    }

    /// Runs jobs and timers until none is left.
    fn drive(&self, ctx: &Ctx<'_>) -> Result<()> {
        drain(ctx)?;
        while timers::waiting() {
            timers::run_next(ctx)?;
            drain(ctx)?;
        }
        Ok(())
    }

    fn settle(&self, ctx: &Ctx<'_>, promise: &Promise<'_>) -> std::result::Result<(), Failure> {
        match promise.result::<Value>() {
            Some(Ok(_)) => Ok(()),
            Some(Err(e)) => Err(failure::from_error(ctx, e)),
            None => Err(Failure {
                message: "process() awaits a promise that nothing can settle any more: no timer and no job is left"
                    .to_owned(),
                code: Some("never_settled".to_owned()),
            }),
        }
    }

    /// After a failure: what the call has left behind runs out without reaching the host, so that it is not there in
    /// the next call.
    fn give_up(&self, ctx: &Ctx<'_>) {
        call::peek(|c| c.open = false);
        loop {
            timers::clear_all();
            match raw::run_job(ctx) {
                Ok(false) => break,
                Ok(true) => {}
                Err(_) => drop(ctx.catch()),
            }
        }
        REJECTED.with(|r| r.borrow_mut().clear());
    }
}

impl Drop for Interpreter {
    fn drop(&mut self) {
        timers::clear_all();
        REJECTED.with(|r| r.borrow_mut().clear());
        message::uninstall();
        json::forget();
    }
}

/// Runs the jobs of promises until none is left.
pub(crate) fn drain(ctx: &Ctx<'_>) -> Result<()> {
    while raw::run_job(ctx)? {}
    Ok(())
}

fn track<'js>(ctx: Ctx<'js>, promise: Value<'js>, reason: Value<'js>, handled: bool) {
    let saved = Persistent::save(&ctx, promise);
    REJECTED.with(|r| {
        let mut r = r.borrow_mut();
        if handled {
            r.retain(|(p, _)| *p != saved);
        } else {
            r.push((saved, Persistent::save(&ctx, reason)));
        }
    });
}

/// The reasons of rejected promises nobody handled, which are forgotten.
pub(crate) fn take_rejected() -> Vec<Rejection> {
    REJECTED.with(|r| std::mem::take(&mut *r.borrow_mut()))
}

/// The failure of the first rejected promise nobody handled; all are forgotten.
fn unhandled(ctx: &Ctx<'_>) -> Option<Failure> {
    let (_, reason) = take_rejected().into_iter().next()?;
    let reason = reason.restore(ctx).ok()?;
    let mut failure = failure::from_thrown(ctx, &reason);
    failure.message.push_str(" (in a promise nobody awaits)");
    Some(failure)
}
