//! The functions our own JavaScript (`prelude/`) is given; authors see only what that makes of them.

use rquickjs::function::{Func, Rest};
use rquickjs::{Ctx, Function, Object, Result, Value};

use crate::call::{self, Capability};
use crate::host::{ContextLevel, Level, Scope, host};
use crate::message::{self, buffer, from_json, to_json};
use crate::{Failure, bytes, json, raw, timers, web};

/// An object with all of them.
pub fn object<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let o = Object::new(ctx.clone())?;
    o.set("emit", Func::from(message::emit))?;
    o.set("log", Func::from(log))?;
    o.set("report", Func::from(report))?;
    o.set("status", Func::from(status))?;
    o.set("id", Func::from(|ctx: Ctx<'js>| call::with(&ctx, "node.id", |_| ()).map(|()| host().id())))?;
    o.set("run", Func::from(|ctx: Ctx<'js>| call::with(&ctx, "node.run", |c| c.run.clone())))?;
    o.set("caller", Func::from(|ctx: Ctx<'js>| call::with(&ctx, "node.caller", |c| c.caller)))?;
    o.set("config", Func::from(config))?;
    o.set("now", Func::from(now))?;
    o.set("secret", Func::from(secret))?;
    o.set("stateGet", Func::from(state_get))?;
    o.set("stateSet", Func::from(state_set))?;
    o.set("stateDelete", Func::from(state_delete))?;
    o.set("stateSwap", Func::from(state_swap))?;
    o.set("evidence", Func::from(evidence))?;
    o.set("typedInput", Func::from(typed_input))?;
    o.set("contextGet", Func::from(context_get))?;
    o.set("contextSet", Func::from(context_set))?;
    o.set("read", Func::from(read))?;
    o.set("random", Func::from(|ctx: Ctx<'js>| call::random(&ctx)))?;
    o.set("randomBytes", Func::from(random_bytes))?;
    o.set("jsonRead", Func::from(json_read))?;
    o.set("jsonWrite", Func::from(json_write))?;
    o.set("encode", Func::from(bytes::encode))?;
    o.set("decode", Func::from(bytes::decode))?;
    o.set("urlParse", Func::from(web::parse))?;
    o.set("urlSet", Func::from(web::set))?;
    o.set("formParse", Func::from(web::form_parse))?;
    o.set("formWrite", Func::from(web::form_write))?;
    o.set("http", Func::from(web::send))?;
    o.set("setTimer", Func::from(set_timer))?;
    o.set("clearTimer", Func::from(timers::clear))?;
    o.set("capability", Func::from(|name: String| call::Capabilities::known(&name)))?;
    Ok(o)
}

fn level(number: i32) -> Level {
    match number {
        0 => Level::Debug,
        1 => Level::Info,
        2 => Level::Warn,
        _ => Level::Error,
    }
}

fn log(number: i32, text: Value<'_>) -> Result<()> {
    host().log(level(number), &raw::text(&text)?);
    Ok(())
}

/// `node.error(text, msg)`: the call fails with the first such text once the handler is done.
fn report(text: Value<'_>, code: Option<String>) -> Result<()> {
    let message = raw::text(&text)?;
    call::peek(|c| c.reported.get_or_insert(Failure { message, code }).code.is_some());
    Ok(())
}

fn status<'js>(ctx: Ctx<'js>, fill: Option<String>, shape: Option<String>, text: Value<'js>) -> Result<()> {
    call::with(&ctx, "node.status()", |_| ())?;
    host().status(fill.as_deref(), shape.as_deref(), &raw::text(&text)?);
    Ok(())
}

fn config<'js>(ctx: Ctx<'js>) -> Result<Value<'js>> {
    call::with(&ctx, "node.config", |_| ())?;
    from_json(&ctx, &mut host().config())
}

fn now(ctx: Ctx<'_>, what: String) -> Result<f64> {
    call::need(&ctx, &what, Capability::Clock)?;
    Ok(host().now() as f64)
}

fn secret(ctx: Ctx<'_>, name: String) -> Result<String> {
    call::need(&ctx, "node.secret()", Capability::Secret)?;
    call::host_result(&ctx, host().secret(&name))
}

fn scope(run: bool) -> Scope {
    if run { Scope::Run } else { Scope::Node }
}

/// The value as the JSON text it is kept as; null if there is none.
fn state_get<'js>(ctx: Ctx<'js>, run: bool, key: Value<'js>) -> Result<Option<String>> {
    call::need(&ctx, "node.state", Capability::State)?;
    let value = host().state_get(scope(run), &raw::text(&key)?);
    Ok(value.map(|v| String::from_utf8_lossy(&v).into_owned()))
}

fn state_set<'js>(ctx: Ctx<'js>, run: bool, key: Value<'js>, text: String) -> Result<()> {
    call::need(&ctx, "node.state", Capability::State)?;
    call::host_result(&ctx, host().state_set(scope(run), &raw::text(&key)?, text.as_bytes()))
}

fn state_delete<'js>(ctx: Ctx<'js>, run: bool, key: Value<'js>) -> Result<()> {
    call::need(&ctx, "node.state", Capability::State)?;
    host().state_delete(scope(run), &raw::text(&key)?);
    Ok(())
}

fn state_swap<'js>(
    ctx: Ctx<'js>,
    run: bool,
    key: Value<'js>,
    old: Option<String>,
    new: Option<String>,
) -> Result<bool> {
    call::need(&ctx, "node.state", Capability::State)?;
    let (old, new) = (old.as_deref().map(str::as_bytes), new.as_deref().map(str::as_bytes));
    call::host_result(&ctx, host().state_compare_and_set(scope(run), &raw::text(&key)?, old, new))
}

fn evidence<'js>(ctx: Ctx<'js>, key: Value<'js>, value: Value<'js>, outcome: Option<bool>) -> Result<String> {
    call::need(&ctx, "node.evidence()", Capability::Evidence)?;
    let value = to_json(&ctx, "the value of node.evidence()", &value)?;
    call::host_result(&ctx, host().attach(&raw::text(&key)?, &value, outcome))
}

fn typed_input<'js>(ctx: Ctx<'js>, kind: String, text: Value<'js>) -> Result<Value<'js>> {
    call::need(&ctx, "node.typedInput()", Capability::TypedInput)?;
    match call::host_result(&ctx, host().evaluate(&kind, &raw::text(&text)?))? {
        None => Ok(Value::new_undefined(ctx)),
        Some(crate::Value::Bytes(bytes)) => buffer(&ctx, &bytes),
        Some(crate::Value::Json(mut text)) => from_json(&ctx, &mut text),
    }
}

fn context_level(number: i32) -> ContextLevel {
    match number {
        0 => ContextLevel::Node,
        1 => ContextLevel::Flow,
        _ => ContextLevel::Global,
    }
}

fn context_get<'js>(ctx: Ctx<'js>, level: i32, path: Value<'js>) -> Result<Value<'js>> {
    call::need(&ctx, "context", Capability::Context)?;
    match call::host_result(&ctx, host().context_get(context_level(level), &raw::text(&path)?))? {
        None => Ok(Value::new_undefined(ctx)),
        Some(mut text) => from_json(&ctx, &mut text),
    }
}

fn context_set<'js>(ctx: Ctx<'js>, level: i32, path: Value<'js>, value: Value<'js>) -> Result<()> {
    call::need(&ctx, "context", Capability::Context)?;
    let text = if value.is_undefined() { None } else { Some(to_json(&ctx, "the value of context.set()", &value)?) };
    call::host_result(&ctx, host().context_set(context_level(level), &raw::text(&path)?, text.as_deref()))
}

fn read<'js>(ctx: Ctx<'js>, path: Value<'js>) -> Result<Value<'js>> {
    call::need(&ctx, "node.files.read()", Capability::Files)?;
    let bytes = call::host_result(&ctx, host().read(&raw::text(&path)?))?;
    buffer(&ctx, &bytes)
}

fn random_bytes<'js>(ctx: Ctx<'js>, what: String, len: u32) -> Result<Value<'js>> {
    call::need(&ctx, &what, Capability::Random)?;
    raw::uint8_array(&ctx, &host().random(len))
}

fn set_timer<'js>(
    ctx: Ctx<'js>,
    name: String,
    repeat: bool,
    function: Function<'js>,
    delay: f64,
    arguments: Rest<Value<'js>>,
) -> Result<u32> {
    timers::set(&ctx, &name, function, delay, repeat, arguments)
}

/// `JSON.parse(text)`; undefined for a text that has no UTF-8 form, which QuickJS shall read.
fn json_read<'js>(ctx: Ctx<'js>, text: Value<'js>) -> Result<Value<'js>> {
    match raw::whole_text(&text)? {
        Some(mut text) => json::read(&ctx, &mut text),
        None => Ok(Value::new_undefined(ctx)),
    }
}

/// `JSON.stringify(value)`.
fn json_write<'js>(ctx: Ctx<'js>, value: Value<'js>) -> Result<Option<String>> {
    json::write(&ctx, &value)
}
