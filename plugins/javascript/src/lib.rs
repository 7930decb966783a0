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
pub mod function;
#[cfg(any(target_arch = "wasm32", test))]
mod heap;
pub mod host;
pub mod interpreter;
mod json;
mod message;
mod natives;
mod prelude;
mod raw;
mod timers;
mod web;

pub use bindings::exports::probity::plugin::handler::Description;
pub use bindings::probity::plugin::types::{Failure, Message, Property, Value};

/// Natively the tests' own allocator is the better one: they have threads.
#[cfg(target_arch = "wasm32")]
#[global_allocator]
static HEAP: heap::Heap = heap::Heap::new();
