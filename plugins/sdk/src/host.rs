//! The engine as the SDK calls it: the contract's imports in WASM, the host of `testing` elsewhere.

use crate::bindings::probity::plugin::types::Failure;
use crate::{Error, Result};

#[cfg(target_family = "wasm")]
pub(crate) use crate::bindings::probity::plugin::{
    clock, context, evidence, files, http, node, random, secrets, state, typed_input,
};
#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::testing::imports::{
    clock, context, evidence, files, http, node, random, secrets, state, typed_input,
};

/// The node asked its message for a property that its type does not want: undefined, whatever the message has.
#[cfg(target_family = "wasm")]
pub(crate) fn not_wanted(name: &str, wants: &[&str]) {
    node::log(node::Level::Warn, &not_wanted_text(name, wants));
}

/// In a test of the author's that is a failure.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn not_wanted(name: &str, wants: &[&str]) {
    panic!("{}", not_wanted_text(name, wants));
}

fn not_wanted_text(name: &str, wants: &[&str]) -> String {
    format!("msg.{name} is read but does not cross: add \"{name}\" to `wants = {wants:?}` of #[node(…)]")
}

/// A host call's answer with the SDK's error, code and all.
pub(crate) fn ok<T>(answer: std::result::Result<T, Failure>) -> Result<T> {
    answer.map_err(Error::from_host)
}
