//! Nodes of STATUS: results go to its backend, messages pass by its scopes, data comes from its sources.

mod asking;
mod backend;
mod databinder;
mod fetching;
mod filter_scope;
mod gathering;
mod linker;
mod source;
mod status_storer;

pub use databinder::Databinder;
pub use filter_scope::FilterScope;
pub use status_storer::StatusStorer;

probity_sdk::plugin!(StatusStorer, FilterScope, Databinder);
