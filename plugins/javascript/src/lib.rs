//! QuickJS as a Probity component: runs plugins that are JavaScript source.
//!
//! The engine hands over the source (`script.source`), this component evaluates it once per instance and calls its
//! `process` for every message. How authors write such a source is in `docs/plugins/javascript.md`. Everything but
//! `component` also builds natively, where tests put a host of their own in the engine's place.

#[allow(warnings)]
#[rustfmt::skip]
pub mod bindings;
mod bytes;
mod call;
#[cfg(target_arch = "wasm32")]
mod component;
mod failure;
pub mod host;
pub mod interpreter;
mod message;
mod natives;
mod prelude;
mod raw;
mod timers;
mod web;

pub use bindings::exports::probity::plugin::handler::Description;
pub use bindings::probity::plugin::types::{Failure, Message, Property, Value};
