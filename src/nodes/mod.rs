//! Floor 7: the builtin nodes, one file each. Adding one is its file and its line in `TYPES`.

pub mod catch;
pub mod change;
mod combining;
pub mod comment;
pub mod debug;
pub mod delay;
pub mod evaluate;
pub mod function;
mod http_headers;
pub mod http_in;
pub mod http_request;
pub mod http_response;
pub mod inject;
pub mod join;
pub mod json;
pub mod jsonata;
pub mod jsonpath;
pub mod junction;
pub mod link;
pub mod metric;
pub mod moment;
pub mod mustache;
#[cfg(test)]
mod rig;
pub mod schedule;
pub mod sequence_groups;
pub mod split;
pub mod status;
pub mod subflow;
pub mod switch;
pub mod template;
#[cfg(test)]
pub mod testbed;
pub mod typed;

use crate::runtime::{Catalogue, NodeType};

/// Every builtin node type, in palette order.
const TYPES: &[NodeType] = &[
    // common
    inject::TYPE,
    debug::TYPE,
    link::IN,
    link::OUT,
    link::CALL,
    catch::TYPE,
    status::TYPE,
    comment::TYPE,
    junction::TYPE,
    subflow::TYPE,
    subflow::STATUS_TYPE,
    // function
    change::TYPE,
    switch::TYPE,
    template::TYPE,
    delay::TYPE,
    // network
    http_in::TYPE,
    http_response::TYPE,
    http_request::TYPE,
    // sequence
    split::TYPE,
    join::TYPE,
    // parser
    json::TYPE,
    jsonpath::TYPE,
    // compliance
    schedule::TYPE,
    evaluate::TYPE,
    metric::TYPE,
];

/// The catalogue of builtin nodes.
pub fn catalogue() -> Catalogue {
    Catalogue::new(TYPES)
}
