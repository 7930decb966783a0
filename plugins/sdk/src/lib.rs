//! Write Probity plugins in Rust: nodes for flows that run sandboxed as WASM, with exactly what they declare and the
//! operator grants.
//!
//! # A whole plugin
//!
//! ```
//! use probity_sdk::prelude::*;
//!
//! /// Lets messages pass whose payload is large enough.
//! ///
//! /// The rest leaves by the second output. A caller may send another `limit` in the body of the request.
//! #[derive(Clone, Config)]
//! pub struct Threshold {
//!     /// The smallest number that passes.
//!     #[config(default = 10, min = 0, label = "Limit")]
//!     limit: f64,
//!     /// Keep what was found as evidence.
//!     #[config(name = "storeEvidences", default = false, config_only)]
//!     store_evidences: bool,
//! }
//!
//! #[node(
//!     type = "threshold",
//!     category = "filter",
//!     color = "#7aa2c4",
//!     icon = "fa-filter",
//!     outputs = ["passed", "held back"],
//!     wants = ["payload", "req"],
//!     capabilities = ["evidence"]
//! )]
//! impl Node for Threshold {
//!     fn process(&self, mut msg: Message, cx: &Context) -> Result<()> {
//!         let config = self.over(&msg)?; // msg.req.body.limit, if the caller sent one
//!         let number = msg.payload().as_f64().context("msg.payload is not a number")?;
//!         let passed = number >= config.limit;
//!         if self.store_evidences {
//!             cx.evidence("threshold", msg.payload(), passed)?;
//!         }
//!         msg.set("passed", passed);
//!         cx.emit(if passed { 0 } else { 1 }, msg)
//!     }
//! }
//!
//! probity_sdk::plugin!(Threshold);
//!
//! // In your crate: `#[cfg(test)] mod tests { use super::*; … }` with `#[test]` functions; no WASM is needed.
//! use probity_sdk::testing::Host;
//!
//! let host = Host::new();
//! let sent = host.process::<Threshold>(json!({ "limit": 5 }), json!({ "payload": 7 }))?;
//! assert_eq!(sent[0].port, 0);
//! assert_eq!(sent[0].msg["passed"], true);
//!
//! let caller = json!({ "payload": 7, "req": { "body": { "limit": 8 } } });
//! assert_eq!(host.process::<Threshold>(json!({}), caller)?[0].port, 1);
//!
//! let error = host.process::<Threshold>(json!({}), json!({ "payload": "x" })).unwrap_err();
//! assert_eq!(error.message(), "msg.payload is not a number");
//! # Ok::<(), probity_sdk::Error>(())
//! ```
//!
//! # The parts
//!
//! * A node type is a struct that is its configuration (`#[derive(Clone, Config)]`, [`Config`]), its code
//!   ([`Node`]) and `#[node(…)]`, which says what the palette and the engine must know. [`plugin!`] exports one or
//!   several node types, once per crate. The struct's doc comment is the node's help, its first sentence the summary.
//! * [`Message`]: `payload()`, `get`, `at("payload.items[0].name")`, `payload_as::<T>()`, `set`, `set_at`, `remove`,
//!   `bytes`, `text`, `req()`. Properties are parsed when first looked at; only changes are sent back.
//! * [`Context`]: `emit`, `status`, `log`/`warn`/`error`, and with capabilities `now_ms`, `sleep`, `random`, `uuid`,
//!   `secret`, `http()`, `run_state()`/`node_state()`, `evidence`, `evaluate` (typed inputs), `flow()`/`global()`,
//!   `read_file`.
//! * [`Error`]: `Error::new("…").with_code("…")`, `?` on any `std::error::Error`, [`ErrorContext::context`],
//!   [`bail!`], [`ensure!`]. The flow's catch nodes get it. Panics are for mistakes of the code: the message and your
//!   line go to the log and the instance is dropped.
//! * [`testing::Host`]: the engine for unit tests.
//!
//! # What a node must not do
//!
//! Keep anything in a `static`, `thread_local!` or the like: an instance serves one caller's message after another's,
//! and the engine may drop it at any time. The SDK keeps the parsed configuration, nothing else. Values that belong
//! to a run or to the node go to `cx.run_state()` and `cx.node_state()`.
//!
//! Cargo: `crate-type = ["cdylib", "rlib"]`; build with `probity plugin build`.

// The macros name this crate as authors do.
extern crate self as probity_sdk;

#[allow(unsafe_code, missing_docs, clippy::all)]
#[doc(hidden)]
pub mod bindings;
pub mod config;
mod context;
mod error;
mod host;
pub mod http;
mod message;
#[doc(hidden)]
pub mod node;
mod path;
pub mod state;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
mod text;
pub mod time;

pub use config::{Config, Secret, TypedInput};
pub use context::{Context, ContextStore, Fill, Shape};
pub use error::{Error, ErrorContext, Result};
pub use message::{Message, Req};
pub use node::{Description, Node, NodeType};
pub use probity_sdk_macros::{Config, node};
pub use serde_json::{self, Map, Value, json};

/// Everything a plugin usually names.
pub mod prelude {
    pub use crate::{
        Config, Context, Error, ErrorContext, Fill, Message, Node, Result, Secret, Shape, TypedInput, Value, bail,
        ensure, json, node,
    };
}

/// A number as JSON and JavaScript have it: whole numbers without a fraction, `null` for NaN and infinities.
pub fn number(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0 {
        Value::from(number as i64)
    } else {
        serde_json::Number::from_f64(number).map_or(Value::Null, Value::Number)
    }
}
