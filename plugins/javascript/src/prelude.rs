//! Our own JavaScript: the globals authors find, and the `node` object, made from the natives.

use rquickjs::{Ctx, Function, Object, Result, context::EvalOptions};

use crate::{function, natives};

type File = (&'static str, &'static str);

/// What plugins and function nodes both have. In this order; each file is a function of `(host, api)` that adds to `api`
/// or to the globals.
const COMMON: [File; 4] = [
    ("core", include_str!("prelude/core.js")),
    ("console", include_str!("prelude/console.js")),
    ("buffer", include_str!("prelude/buffer.js")),
    ("url", include_str!("prelude/url.js")),
];
const PLUGIN: [File; 3] = [
    ("fetch", include_str!("prelude/fetch.js")),
    ("node", include_str!("prelude/node.js")),
    ("freeze", include_str!("prelude/freeze.js")),
];
const FUNCTION: [File; 2] =
    [("red", include_str!("prelude/red.js")), ("function", include_str!("prelude/function.js"))];

/// For whom a context is made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum For {
    Plugin,
    Function,
}

/// Runs all of it; what it gives the interpreter.
pub fn run<'js>(ctx: &Ctx<'js>, whom: For) -> Result<Object<'js>> {
    let natives = natives::object(ctx)?;
    let own: &[File] = match whom {
        For::Plugin => &PLUGIN,
        For::Function => {
            function::add_natives(&natives)?;
            &FUNCTION
        }
    };
    let api = Object::new(ctx.clone())?;
    for (name, source) in COMMON.iter().chain(own) {
        let mut options = EvalOptions::default();
        options.filename = Some(format!("{}{name}.js", crate::failure::OWN));
        let file: Function = ctx.eval_with_options(*source, options)?;
        file.call::<_, ()>((natives.clone(), api.clone()))?;
    }
    Ok(api)
}
