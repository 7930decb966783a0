//! Floor 5: runs plans. Knows what a node may do and how a run goes; names no node type.

pub mod begin;
mod building;
pub mod capture;
pub mod catalogue;
pub mod context;
pub mod credential_file;
mod current;
pub mod cx;
pub mod deployed;
pub mod durable;
pub mod engine;
pub mod exchange;
pub mod history;
mod instance;
pub mod node;
mod node_place;
pub mod opening;
pub mod places;
pub mod routes;
pub mod run;
pub mod services;
pub mod snapshot;
pub mod sockets;
pub mod source;
mod starting;
pub mod work;

pub use catalogue::{Catalogue, NodeConfig, NodeType};
pub use current::current_run;
pub use cx::Cx;
pub use deployed::Deployed;
pub use durable::Effect;
pub use engine::Engine;
pub use exchange::{Reply, ReplyHandle, ReplyTo, Request};
pub use node::{Entry, Failure, Node, NodeError, Status, Step, Then, Wait};
pub use node_place::Place;
pub use services::{Event, Feed, Limits, Services};
pub use snapshot::NodeState;
pub use source::Source;

#[cfg(test)]
pub(crate) mod tests;
