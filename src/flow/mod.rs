//! Floor 2: Node-RED flow files: [`load`], [`check`] against node specs, [`plan`] for running, [`save`]. Pure.
//!
//! The structural types of the format (`tab`, `subflow`, `group`, `comment`, `junction`, links, `catch`,
//! `status`, `global-config`) are known by name here; every other type only through the specs it is given.
//!
//! A plan keeps a subflow instance as a node of its own type `subflow:<id>` that passes its message on to the
//! subflow's input targets, so that the breadth-first order is Node-RED's; inner nodes have ids
//! `<instance>-<inner>`, and the subflow's outputs are wires from inner nodes straight to the instance's
//! targets. A subflow with a `status` output adds a node of type [`SUBFLOW_STATUS`] with id
//! `<instance>:status`: what reaches it sets the status of its [`crate::model::flow::PlanNode::instance`].

mod changes;
mod check;
pub mod cipher;
pub mod credentials;
mod difference;
mod env;
mod expand;
mod gathered;
mod handlers;
mod index;
mod links;
mod load;
mod plan;
mod recorded;
mod save;
mod stops;
mod suggest;
mod tab;
pub mod tabs;

pub use changes::changes;
pub use check::{NodeCheck, check, problems};
pub use difference::{Deployment, Difference, Restarts, difference};
pub use load::{load, load_value};
pub use plan::plan;
pub use recorded::{Recorded, recorded};
pub use save::{revision, save, stringify};

/// Type prefix of subflow instances: `subflow:<subflow id>`.
pub const SUBFLOW_PREFIX: &str = "subflow:";

/// Type of the plan node that a subflow's `status` output leads to.
pub const SUBFLOW_STATUS: &str = "subflow-status";

/// Looks up the spec of a node type; the catalogue gives it.
pub type Specs<'a> = &'a dyn Fn(&str) -> Option<&'static crate::model::node_spec::NodeSpec>;

/// Types that only describe and never run.
fn is_descriptive(node_type: &str) -> bool {
    matches!(node_type, "comment" | "global-config" | "group" | "tab" | "subflow")
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
