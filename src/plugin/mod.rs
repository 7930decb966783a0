//! Floor 6: plugins, nodes from outside that run in a WASM sandbox with the capabilities they declare and the operator granted.

mod bindings;
mod cache;
pub mod component;
pub mod granted;
mod host;
mod instance;
pub mod limits;
pub mod manifest;
mod node;
pub mod plugins;
pub mod sandbox;
mod slot;
mod spec;
mod ticker;
mod wasi;
mod wire;

pub use host::{EvaluateTyped, ReadSecret};
pub use plugins::{Package, Plugins, Report};
pub use sandbox::Options;
pub use slot::Noted;
