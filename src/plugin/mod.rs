//! Floor 6: plugins, nodes from outside that run in a WASM sandbox with the capabilities they declare and the operator granted.

pub mod admission;
mod bindings;
mod cache;
pub mod capability;
pub mod component;
mod config_schema;
pub mod conformance;
pub mod contract;
pub mod description;
pub mod desk;
pub mod discover;
pub mod function;
pub mod granted;
pub mod grants;
mod host;
pub mod hosts;
mod instance;
pub mod limits;
pub mod manifest;
mod node;
pub mod package;
pub mod plugins;
mod recording;
pub mod replay;
pub mod sandbox;
pub mod shipped;
pub mod signature;
mod slot;
mod spec;
mod ticker;
mod wasi;
mod wire;

#[cfg(test)]
mod tests;

pub use host::{EvaluateTyped, ReadSecret};
pub use plugins::{Package, Plugins, Report};
pub use sandbox::Options;
pub use slot::Noted;
