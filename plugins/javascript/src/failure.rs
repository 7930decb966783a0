//! From a JavaScript exception to the failure the engine reports: with the author's file, line and column.

use rquickjs::{CaughtError, Ctx, Error, Object, Value};

use crate::host::{Level, host};
use crate::{Failure, raw};

/// File names of our own JavaScript begin with this; its frames are left out.
pub const OWN: &str = "probity:";

/// A failure of what a call of rquickjs gave.
pub fn from_error(ctx: &Ctx<'_>, error: Error) -> Failure {
    match CaughtError::from_error(ctx, error) {
        CaughtError::Exception(e) => from_thrown(ctx, e.into_object().as_value()),
        CaughtError::Value(v) => from_thrown(ctx, &v),
        CaughtError::Error(e) => Failure { message: e.to_string(), code: None },
    }
}

/// A failure of a thrown value. A stack of several frames goes to the log.
pub fn from_thrown(ctx: &Ctx<'_>, thrown: &Value<'_>) -> Failure {
    let Some(error) = thrown.as_object().filter(|o| o.is_error()) else {
        return Failure { message: format!("thrown: {}", shown(ctx, thrown)), code: code(thrown.as_object()) };
    };
    let message = named(error);
    if message == "InternalError: out of memory" {
        return out_of_memory();
    }
    let stack = text(error, "stack").unwrap_or_default();
    let frames: Vec<&str> = stack.lines().map(str::trim).filter(|l| is_authors(l)).collect();
    let at = frames.first().and_then(|f| place(f)).map(|p| format!(" ({p})")).unwrap_or_default();
    if frames.len() > 1 {
        host().log(Level::Error, &format!("{message}\n    {}", frames.join("\n    ")));
    }
    Failure { message: format!("{message}{at}{}", causes(ctx, error)), code: code(Some(error)) }
}

/// `Name: message`, and a hint where QuickJS's own text leaves the author alone.
fn named(error: &Object<'_>) -> String {
    let name = text(error, "name").unwrap_or_else(|| "Error".to_owned());
    let message = text(error, "message").unwrap_or_default();
    if let Some(module) = message.strip_prefix("could not load module ") {
        return format!(
            "cannot import {module}: a plugin is one file; bundle it with what it imports, for example \
             `npx esbuild node.js --bundle --format=esm --outfile=bundle.js`"
        );
    }
    match message.as_str() {
        "" => name,
        _ => format!("{name}: {message}"),
    }
}

fn causes(ctx: &Ctx<'_>, error: &Object<'_>) -> String {
    let mut out = String::new();
    let mut next: Option<Value> = error.get("cause").ok();
    // An error may be its own cause.
    for _ in 0..4 {
        let Some(cause) = next.take().filter(|c| !c.is_undefined() && !c.is_null()) else { break };
        let said = cause.as_object().filter(|o| o.is_error()).map_or_else(|| shown(ctx, &cause), named);
        out.push_str(&format!("; caused by {said}"));
        next = cause.as_object().and_then(|o| o.get("cause").ok());
    }
    let _ = ctx.catch();
    out
}

fn code(error: Option<&Object<'_>>) -> Option<String> {
    let code: Value = error?.get("code").ok()?;
    if code.is_string() || code.is_number() { raw::text(&code).ok() } else { None }
}

fn text(object: &Object<'_>, key: &str) -> Option<String> {
    match object.get::<_, Value>(key) {
        Ok(value) if !value.is_undefined() && !value.is_null() => raw::text(&value).ok(),
        Ok(_) => None,
        // A getter of the author's threw.
        Err(_) => {
            let _ = object.ctx().catch();
            None
        }
    }
}

fn shown(ctx: &Ctx<'_>, value: &Value<'_>) -> String {
    let json = if value.is_object() { raw::stringify(ctx, value).ok().flatten() } else { None };
    json.or_else(|| raw::text(value).ok()).unwrap_or_else(|| {
        let _ = ctx.catch();
        "a value without a text".to_owned()
    })
}

/// `at name (file:line:column)` or `at file:line:column`, not native and not ours.
fn is_authors(frame: &str) -> bool {
    frame.starts_with("at ") && !frame.contains("(native)") && !frame.contains(OWN)
}

fn place(frame: &str) -> Option<&str> {
    let inner = match frame.rfind('(') {
        Some(open) => frame[open + 1..].strip_suffix(')')?,
        None => frame.strip_prefix("at ")?,
    };
    inner.contains(':').then_some(inner)
}

/// Says how much memory there was. JavaScript's own allocations fail without harm: the instance goes on.
fn out_of_memory() -> Failure {
    #[cfg(target_arch = "wasm32")]
    let held = format!("the engine gives this plugin no more than {} MiB", core::arch::wasm32::memory_size::<0>() / 16);
    #[cfg(not(target_arch = "wasm32"))]
    let held = "the limit is reached".to_owned();
    Failure {
        message: format!("out of memory: {held} (limits.memory_bytes_max in plugin.toml)"),
        code: Some("memory".to_owned()),
    }
}
