//! Floor 7: the builtin nodes, one file each. Adding one is its file and its line in `TYPES`.

pub mod jsonata;
pub mod moment;
#[cfg(test)]
pub mod testbed;
pub mod typed;

use crate::runtime::{Catalogue, NodeType};

/// Every builtin node type, in palette order.
const TYPES: &[NodeType] = &[
    // common
    // function
    // network
    // sequence
    // parser
    // compliance
];

/// The catalogue of builtin nodes.
pub fn catalogue() -> Catalogue {
    Catalogue::new(TYPES)
}
