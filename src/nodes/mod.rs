//! Floor 7: the builtin nodes, one file each. Adding one is its file and its line in `TYPES`.

pub mod batch;
pub mod catch;
pub mod change;
mod combining;
pub mod comment;
pub mod complete;
pub mod csv;
pub mod debug;
pub mod delay;
pub mod evaluate;
mod exec;
mod file;
mod file_in;
pub mod function;
pub mod html;
mod http_headers;
pub mod http_in;
mod http_proxy;
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
mod mongodb;
mod mqtt;
pub mod mustache;
pub mod range;
pub mod rbe;
mod refused;
#[cfg(test)]
mod rig;
mod rows;
pub mod schedule;
pub mod sequence_groups;
pub mod sort;
pub mod split;
mod sql;
pub mod status;
pub mod subflow;
pub mod switch;
mod tcp;
pub mod template;
#[cfg(test)]
pub mod testbed;
mod text_encoding;
mod tls_config;
pub mod trigger;
pub mod typed;
mod udp;
pub mod unknown;
mod watch;
mod websocket;
pub mod xml;
pub mod yaml;

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
    complete::TYPE,
    status::TYPE,
    comment::TYPE,
    junction::TYPE,
    unknown::TYPE,
    subflow::TYPE,
    subflow::STATUS_TYPE,
    // function
    change::TYPE,
    switch::TYPE,
    template::TYPE,
    range::TYPE,
    rbe::TYPE,
    delay::TYPE,
    trigger::TYPE,
    exec::TYPE,
    // network
    http_in::TYPE,
    http_response::TYPE,
    http_request::TYPE,
    http_proxy::TYPE,
    tls_config::TYPE,
    websocket::IN,
    websocket::OUT,
    websocket::LISTENER,
    websocket::CLIENT,
    mqtt::IN,
    mqtt::OUT,
    mqtt::BROKER,
    tcp::IN,
    tcp::OUT,
    tcp::REQUEST,
    udp::IN,
    udp::OUT,
    // sequence
    split::TYPE,
    join::TYPE,
    sort::TYPE,
    batch::TYPE,
    // storage
    file::TYPE,
    file_in::TYPE,
    watch::TYPE,
    // parser
    csv::TYPE,
    html::TYPE,
    json::TYPE,
    xml::TYPE,
    yaml::TYPE,
    jsonpath::TYPE,
    // compliance
    schedule::TYPE,
    evaluate::TYPE,
    metric::TYPE,
    sql::TYPE,
    mongodb::TYPE,
];

/// The catalogue of builtin nodes.
pub fn catalogue() -> Catalogue {
    Catalogue::new(TYPES)
}
