//! Function nodes: a node's own code in Node-RED's sandbox, called for every message, for its timers and at its end.
//!
//! The engine's side is `src/plugin/function`. A call of `process` names in `node-type` what is to be done: `message`,
//! `fire` (timers), `start`, `stop`, `check`, `returned` (a link call is back). What else has to be told once it is over is a
//! report (`script.ask("after", …)`), which most calls have no need of.

use std::cell::Cell;
use std::mem::ManuallyDrop;

use rquickjs::context::EvalOptions;
use rquickjs::function::Func;
use rquickjs::{Context, Ctx, Function as JsFunction, Object, Persistent, Result, Runtime, Value as Js};

use crate::call::{self, Call, Capabilities};
use crate::host::host;
use crate::interpreter::{drain, take_rejected};
use crate::raw::Kept;
use crate::{Failure, Message, Property, Value, failure, json, message, prelude, raw};

/// The file name by which the engine says that the source is a function node's setup.
pub const FILE: &str = "probity:function";

/// The port of errors: an emission there is a message for catch nodes.
pub const ERROR_PORT: u32 = u32::MAX;

thread_local! {
    /// Whether the engine is asked if the time is over: not while a component is built, and not by plugins.
    static TIMED: Cell<bool> = const { Cell::new(false) };
    /// Whether it was, in this call.
    static LATE: Cell<bool> = const { Cell::new(false) };
}

/// Asked by QuickJS every few thousand steps; true ends what runs.
pub fn is_late() -> bool {
    if !TIMED.get() {
        return false;
    }
    let late = matches!(host().ask("late", "null"), Ok(Value::Json(text)) if text == "true");
    if late {
        LATE.set(true);
    }
    late
}

/// An engine with the sandbox in it, waiting for a node's code.
pub struct Prepared {
    context: ManuallyDrop<Context>,
    api: Persistent<Object<'static>>,
}

/// What the sandbox offers this side.
struct Entries {
    start: Kept,
    message: Kept,
    fire: Kept,
    after: Kept,
    failed: Kept,
    unhandled: Kept,
    stop: Kept,
    returned: Kept,
}

/// A function node.
pub struct Function {
    context: ManuallyDrop<Context>,
    entries: Entries,
}

impl Prepared {
    /// Makes one in an engine that is there.
    pub fn new(runtime: &Runtime) -> std::result::Result<Prepared, Failure> {
        let unusable = |e: rquickjs::Error| Failure { message: format!("QuickJS does not start: {e}"), code: None };
        let context = ManuallyDrop::new(Context::full(runtime).map_err(unusable)?);
        let api = context.with(|ctx| {
            let api = prelude::run(&ctx, prelude::For::Function);
            api.map(|api| Persistent::save(&ctx, api)).map_err(|e| failure::from_error(&ctx, e))
        })?;
        Ok(Prepared { context, api })
    }

    /// Compiles a node's code. `setup` is JSON: `{id, name, path, outputs, func, initialize, finalize, libs}`; of a list of
    /// such the code is only parsed, and nothing can be called but `check`.
    pub fn load(self, mut setup: String) -> std::result::Result<Function, Failure> {
        let Prepared { context, api } = self;
        TIMED.set(true);
        begin(0);
        let entries = context.with(|ctx| {
            let load = || -> Result<Entries> {
                let api = api.restore(&ctx)?;
                message::install(&ctx, &api)?;
                let setup = json::read(&ctx, &mut setup)?;
                let load = if setup.is_array() { "check" } else { "load" };
                api.get::<_, JsFunction>(load)?.call::<_, ()>((setup,))?;
                drain(&ctx)?;
                let keep = |key: &str| api.get::<_, Js>(key).map(Kept::new);
                Ok(Entries {
                    start: keep("start")?,
                    message: keep("message")?,
                    fire: keep("fire")?,
                    after: keep("after")?,
                    failed: keep("failed")?,
                    unhandled: keep("unhandled")?,
                    stop: keep("stop")?,
                    returned: keep("linkReturned")?,
                })
            };
            load().map_err(|e| syntax(&ctx, e))
        });
        call::end();
        Ok(Function { context, entries: entries? })
    }
}

/// What is wrong with the code, with the line of it: `setup` and `cleanup` name the other two parts.
fn syntax(ctx: &Ctx<'_>, error: rquickjs::Error) -> Failure {
    let thrown = ctx.has_exception().then(|| ctx.catch());
    let Some(thrown) = thrown else { return failure::from_error(ctx, error) };
    let mut failure = Failure { message: raw::text(&thrown).unwrap_or_default(), code: None };
    let stack = thrown.as_object().and_then(|o| o.get::<_, String>("stack").ok()).unwrap_or_default();
    let place = stack.lines().find_map(|line| {
        let (at, part) = ["body", "setup", "cleanup"].iter().find_map(|p| Some((line.find(&format!("{p}:"))?, *p)))?;
        let mut numbers = line[at + part.len() + 1..].split(|c: char| !c.is_ascii_digit());
        let row: u32 = numbers.next()?.parse().ok()?;
        let column: u32 = numbers.next()?.parse().ok()?;
        Some((part, row.saturating_sub(1).max(1), column))
    });
    if let Some((part, row, column)) = place {
        let part_said = if part == "body" { String::new() } else { format!("{part} ") };
        failure.message.push_str(&format!(" ({part_said}line {row}, col {column})"));
        failure.code = Some(format!("{part}:{row}:{column}"));
    }
    failure
}

fn begin(id: u32) {
    LATE.set(false);
    call::begin(Call {
        id,
        node_type: "function".to_owned(),
        run: String::new(),
        caller: false,
        incoming: Vec::new(),
        capabilities: Capabilities::of_functions(),
        random: None,
        reported: None,
        open: true,
        origin: id,
    });
}

impl Function {
    /// Does what `what` names. Whatever the code does wrong becomes an error of its message; a failure that is given
    /// back is one the instance does not get over.
    pub fn handle(&mut self, what: &str, input: Message) -> std::result::Result<(), Failure> {
        let number = input.run.parse().unwrap_or(0);
        // What comes back from a link call is no message of this node; the highest number stands for it.
        let id = match what {
            "message" => number,
            "returned" => u32::MAX,
            _ => 0,
        };
        begin(id);
        let done = self.context.with(|ctx| {
            let mut given = None;
            let mut done = self.run(&ctx, what, number, input.properties, &mut given);
            // Twice: the error of what went wrong may itself be too much.
            for _ in 0..2 {
                let Err(error) = done else { break };
                done = self.failed(&ctx, error, given, if what == "message" { number } else { 0 });
            }
            let done = done.and(message::release(&ctx, given));
            done.map_err(|e| failure::from_error(&ctx, e))
        });
        call::end();
        done?;
        if LATE.get() {
            // Jobs that were cut off may be left; where that is so, the instance is given up.
            let left = self.context.with(|ctx| raw::has_job(&ctx));
            if left {
                return Err(Failure { message: "the code ran longer than it may".into(), code: Some("late".into()) });
            }
        }
        Ok(())
    }

    fn run(
        &self,
        ctx: &Ctx<'_>,
        what: &str,
        id: u32,
        properties: Vec<Property>,
        given: &mut Option<Kept>,
    ) -> Result<()> {
        let entries = &self.entries;
        match what {
            "message" => {
                let message = message::build(ctx, id, properties)?;
                let object = message.into_value();
                *given = Some(Kept::new(object.clone()));
                JsFunction::from_value(entries.message.get(ctx))?.call::<_, ()>((id, object))?;
            }
            "fire" => {
                let now = host().now() as f64;
                let fire = JsFunction::from_value(entries.fire.get(ctx))?;
                while fire.call::<_, bool>((now,))? {
                    self.settle(ctx)?;
                }
            }
            "start" => JsFunction::from_value(entries.start.get(ctx))?.call::<_, ()>(())?,
            "stop" => JsFunction::from_value(entries.stop.get(ctx))?.call::<_, ()>(())?,
            "returned" => self.returned(ctx, id, properties)?,
            // `check`: it was compiled.
            _ => return Ok(()),
        }
        self.settle(ctx)?;
        let report: Option<String> = JsFunction::from_value(entries.after.get(ctx))?.call(())?;
        if let Some(report) = report {
            call::host_result(ctx, host().ask("after", &report))?;
        }
        Ok(())
    }

    /// A message that came back from a link call, or why none did.
    fn returned(&self, ctx: &Ctx<'_>, id: u32, mut properties: Vec<Property>) -> Result<()> {
        let error = properties.iter().position(|p| p.name.is_empty()).map(|at| properties.remove(at).value);
        let error = match error {
            Some(Value::Json(held)) if held == "@" => Some(call::host_result(ctx, host().ask("property", ""))?),
            other => other,
        };
        let error = error.map(|mut text| message::read(ctx, &mut text)).transpose()?;
        let back = message::build(ctx, u32::MAX, properties)?;
        message::read_all(ctx, &back)?;
        let returned = JsFunction::from_value(self.entries.returned.get(ctx))?;
        returned.call((id, back, error))
    }

    /// Runs jobs until none is left; what was rejected and nobody awaits is an error.
    fn settle(&self, ctx: &Ctx<'_>) -> Result<()> {
        drain(ctx)?;
        for (_, reason) in take_rejected() {
            let reason = reason.restore(ctx)?;
            JsFunction::from_value(self.entries.unhandled.get(ctx))?.call::<_, ()>((reason,))?;
            drain(ctx)?;
        }
        Ok(())
    }

    /// Tells what went wrong in a call, as an error of its message.
    fn failed(&self, ctx: &Ctx<'_>, error: rquickjs::Error, given: Option<Kept>, id: u32) -> Result<()> {
        let thrown = if error.is_exception() { ctx.catch() } else { raw::string(ctx, &error.to_string())? };
        let message = given.map(|m| m.get(ctx)).unwrap_or_else(|| Js::new_undefined(ctx.clone()));
        // The time is over, but not for saying so.
        TIMED.set(false);
        let told = || -> Result<()> {
            JsFunction::from_value(self.entries.failed.get(ctx))?.call::<_, ()>((thrown, message, id))?;
            let report: Option<String> = JsFunction::from_value(self.entries.after.get(ctx))?.call(())?;
            if let Some(report) = report {
                call::host_result(ctx, host().ask("after", &report))?;
            }
            Ok(())
        };
        let told = told();
        TIMED.set(true);
        take_rejected();
        told
    }
}

/// Adds what only function nodes' own JavaScript is given.
pub fn add_natives<'js>(o: &Object<'js>) -> Result<()> {
    o.set("compile", Func::from(compile))?;
    o.set("parse", Func::from(parse))?;
    o.set("origin", Func::from(origin))?;
    o.set("emitError", Func::from(emit_error))?;
    o.set("linkCall", Func::from(link_call))?;
    o.set("startFailed", Func::from(start_failed))?;
    o.set("contextKeys", Func::from(context_keys))?;
    o.set("env", Func::from(env))?;
    o.set("jsonata", Func::from(jsonata))?;
    Ok(())
}

/// The function an expression gives; `name` stands for its file in stacks.
fn compile<'js>(ctx: Ctx<'js>, text: String, name: String) -> Result<Js<'js>> {
    let mut options = EvalOptions::default();
    options.strict = false;
    options.filename = Some(name);
    ctx.eval_with_options(raw::without_nul(&text).as_bytes(), options)
}

/// Whether [`compile`] would find an expression there, which is not evaluated.
fn parse(ctx: Ctx<'_>, text: String, name: String) -> Result<()> {
    raw::parse(&ctx, &text, &name)
}

/// Says to which message the emissions that follow belong.
fn origin<'js>(ctx: Ctx<'js>, id: u32) -> Result<()> {
    let told = call::with(&ctx, "node.send()", |c| std::mem::replace(&mut c.origin, id))?;
    if told != id {
        call::host_result(&ctx, host().ask("origin", &id.to_string()))?;
    }
    Ok(())
}

fn emit_error<'js>(ctx: Ctx<'js>, text: String, code: Option<String>, given: Js<'js>) -> Result<()> {
    let mut list = vec![text];
    list.extend(code);
    message::emit_with(ctx, ERROR_PORT, given, Some(("", json_list(&list))))
}

fn link_call<'js>(ctx: Ctx<'js>, id: String, target: String, timeout_ms: f64, given: Js<'js>) -> Result<()> {
    let list = vec![id, target, timeout_ms.to_string()];
    message::emit_with(ctx, ERROR_PORT - 1, given, Some(("", json_list(&list))))
}

/// A list of texts as JSON.
fn json_list(list: &[String]) -> Value {
    let quoted: Vec<String> = list.iter().map(|text| quote(text)).collect();
    Value::Json(format!("[{}]", quoted.join(",")))
}

/// A text as JSON.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn start_failed<'js>(ctx: Ctx<'js>, text: String) -> Result<()> {
    call::host_result(&ctx, host().ask("start-failed", &quote(&text))).map(drop)
}

fn asked<'js>(ctx: &Ctx<'js>, what: &str, given: &str) -> Result<Js<'js>> {
    let mut answer = call::host_result(ctx, host().ask(what, given))?;
    message::read(ctx, &mut answer)
}

fn context_keys<'js>(ctx: Ctx<'js>, level: String) -> Result<Js<'js>> {
    asked(&ctx, "context-keys", &level)
}

fn env<'js>(ctx: Ctx<'js>, name: String) -> Result<Js<'js>> {
    asked(&ctx, "env", &quote(&name))
}

fn jsonata<'js>(ctx: Ctx<'js>, expression: String, given: Js<'js>) -> Result<Js<'js>> {
    let given = message::to_json(&ctx, "the message", &given)?;
    asked(&ctx, "jsonata", &format!("[{},{given}]", quote(&expression)))
}
