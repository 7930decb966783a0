//! Floor 6: plugins, nodes from outside that run in a WASM sandbox with the capabilities they declare and the operator granted.

pub mod manifest;
