//! Our own JavaScript: the globals authors find, and the `node` object, made from the natives.

use rquickjs::{Ctx, Function, Object, Result, context::EvalOptions};

use crate::natives;

/// In this order; each file is a function of `(host, api)` that adds to `api` or to the globals.
const FILES: [(&str, &str); 7] = [
    ("core", include_str!("prelude/core.js")),
    ("console", include_str!("prelude/console.js")),
    ("buffer", include_str!("prelude/buffer.js")),
    ("url", include_str!("prelude/url.js")),
    ("fetch", include_str!("prelude/fetch.js")),
    ("node", include_str!("prelude/node.js")),
    ("freeze", include_str!("prelude/freeze.js")),
];

/// Runs all of it; what it gives the interpreter.
pub fn run<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let natives = natives::object(ctx)?;
    let api = Object::new(ctx.clone())?;
    for (name, source) in FILES {
        let mut options = EvalOptions::default();
        options.filename = Some(format!("{}{name}.js", crate::failure::OWN));
        let file: Function = ctx.eval_with_options(source, options)?;
        file.call::<_, ()>((natives.clone(), api.clone()))?;
    }
    Ok(api)
}
