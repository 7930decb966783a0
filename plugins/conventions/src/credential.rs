//! Keys and tokens of nodes whose originals have them in the flow: by reference to a secret, by the caller's request, or,
//! as there, as they are.

use std::cell::RefCell;
use std::collections::BTreeSet;

use probity_sdk::{Context, Message, Result, Value, bail, ensure};

/// What goes to the service for the property `name` with this `text` (the caller's in the body, else the node's): the
/// placeholder of a configured `secret:NAME`, else the text itself. Only the node's own properties may name secrets; a
/// token that stands in them is used, and warned about.
pub fn credential(msg: &Message, text: &str, name: &str, cx: &Context) -> Result<String> {
    ensure!(
        !text.is_empty(),
        "{name} is missing: write secret:NAME into the node's properties, or send the key or token as msg.req.body.{name}"
    );
    let sent = msg.param(name).and_then(Value::as_str) == Some(text);
    match text.strip_prefix("secret:") {
        Some(_) if sent => {
            bail!("msg.req.body.{name} names a secret: only the node's own properties may; send the token itself")
        }
        Some(secret) => cx.secret(secret),
        None => {
            if !sent {
                warn_of_literal(name, cx);
            }
            Ok(text.to_owned())
        }
    }
}

thread_local! {
    /// Properties that were warned about: once for an instance, which serves one node, is often enough.
    static WARNED: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
}

/// Warns that a property of the node holds a secret, which everybody sees who sees the flow.
pub fn warn_of_literal(name: &str, cx: &Context) {
    if WARNED.with_borrow_mut(|warned| warned.insert(name.to_owned())) {
        cx.warn(format_args!(
            "the property {name} of this node holds the secret itself, for everybody who sees the flow: give the secret \
             to the engine as PROBITY_SECRET_<NAME>, and write secret:<NAME> here"
        ));
    }
}

/// The text of a property that must be there.
pub fn needed<'t>(text: &'t str, name: &str) -> Result<&'t str> {
    ensure!(
        !text.is_empty(),
        "{name} is missing: write it into the node's properties, or send it as msg.req.body.{name}"
    );
    Ok(text)
}
