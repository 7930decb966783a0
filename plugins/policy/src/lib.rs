//! Decisions by policies of the Open Policy Agent, in its language Rego, evaluated by regorus.

mod compiled;
mod decision;
mod fault;
mod node;
mod sources;
mod time;

pub use node::Policy;

probity_sdk::plugin!(Policy);
