//! `tcp in`, `tcp out` and `tcp request`: connections as messages, where the operator allows it.

mod input;
mod output;
mod pool;
mod reading;
mod request;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::refused::unless_allowed;
use super::tls_config;
use crate::model::node_spec::{Capability, NodeSpec, Property, PropertyKind};
use crate::model::{Diagnostic, Value};
use crate::net::{Encryption, Tls};
use crate::runtime::{Node, NodeConfig, NodeType, Status};

static IN_SPEC: NodeSpec = NodeSpec {
    node_type: "tcp in",
    category: "network",
    summary: "What comes by TCP, as messages. Only where nodes.allow names it.",
    inputs: 0,
    outputs: Some(1),
    config_node: false,
    properties: &[
        Property::new("server", PropertyKind::Text, "server: listens on the port; client: connects to host and port."),
        Property::new("host", PropertyKind::Text, "Host to connect to."),
        Property::new("port", PropertyKind::Text, "Port."),
        Property::new("datamode", PropertyKind::Text, "stream: a message for each piece; single: one when it is over."),
        Property::new("datatype", PropertyKind::Text, "buffer, utf8 or base64."),
        Property::new("newline", PropertyKind::Text, "What separates messages of a utf8 stream; \\n, \\r, \\t."),
        Property::new("trim", PropertyKind::Boolean, "Messages keep what separates them."),
        Property::new("topic", PropertyKind::Text, "msg.topic."),
        Property::new(
            "tls",
            PropertyKind::NodeRef("tls-config"),
            "Id of a tls-config node; to listen, with a certificate.",
        ),
    ],
    capabilities: &[Capability::Net],
};

static OUT_SPEC: NodeSpec = NodeSpec {
    node_type: "tcp out",
    category: "network",
    summary: "Messages to TCP connections. Only where nodes.allow names it.",
    inputs: 1,
    outputs: Some(0),
    config_node: false,
    properties: &[
        Property::new(
            "beserver",
            PropertyKind::Text,
            "server: to all who connect to the port; client: to host and port; reply: to who msg._session names.",
        ),
        Property::new("host", PropertyKind::Text, "Host to connect to."),
        Property::new("port", PropertyKind::Text, "Port."),
        Property::new("base64", PropertyKind::Boolean, "Texts are base64."),
        Property::new("end", PropertyKind::Boolean, "Connections are closed after each message."),
        Property::new(
            "tls",
            PropertyKind::NodeRef("tls-config"),
            "Id of a tls-config node; to listen, with a certificate.",
        ),
    ],
    capabilities: &[Capability::Net],
};

static REQUEST_SPEC: NodeSpec = NodeSpec {
    node_type: "tcp request",
    category: "network",
    summary: "Sends a message to a TCP server and gives its answer. Only where nodes.allow names it.",
    inputs: 1,
    outputs: Some(1),
    config_node: false,
    properties: &[
        Property::new("server", PropertyKind::Text, "Host; msg.host when empty."),
        Property::new("port", PropertyKind::Text, "Port; msg.port when empty."),
        Property::new(
            "out",
            PropertyKind::Text,
            "The answer ends: time, after splitc ms; char, at the character splitc; count, after splitc bytes; sit, \
             never, the connection stays open; immed, there is none.",
        ),
        Property::new("splitc", PropertyKind::Text, "See out."),
        Property::new("ret", PropertyKind::Text, "buffer or string."),
        Property::new("newline", PropertyKind::Text, "What separates messages when the connection stays open."),
        Property::new("trim", PropertyKind::Boolean, "Messages keep what separates them."),
        Property::new("tls", PropertyKind::NodeRef("tls-config"), "Id of a tls-config node."),
    ],
    capabilities: &[Capability::Net],
};

pub const IN: NodeType = NodeType { spec: &IN_SPEC, build: |config| allowed(config, input::build) };
pub const OUT: NodeType = NodeType { spec: &OUT_SPEC, build: |config| allowed(config, output::build) };
pub const REQUEST: NodeType = NodeType { spec: &REQUEST_SPEC, build: |config| allowed(config, request::build) };

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;
type Built = Result<Arc<dyn Node>, Vec<Diagnostic>>;

fn allowed(config: &NodeConfig<'_>, build: fn(&NodeConfig<'_>) -> Built) -> Built {
    match unless_allowed(config, "they connect to, or listen on, ports past the rules of HTTP") {
        Some(refused) => Ok(refused),
        None => build(config),
    }
}

/// A port that is written as a number or a text; an empty one is 0.
pub(super) fn port(config: &NodeConfig<'_>, property: &str) -> Result<u16, Diagnostic> {
    let written = config.get(property);
    let number = written.to_number();
    match written {
        Value::Undefined | Value::Null => Ok(0),
        Value::String(text) if text.trim().is_empty() => Ok(0),
        _ if number.fract() == 0.0 && (0.0..=65535.0).contains(&number) => Ok(number as u16),
        _ => {
            let problem = config.problem("invalid-port", property, format!("{} is no port", written.to_js_string()));
            Err(problem.expected("a number from 1 to 65535"))
        }
    }
}

/// The tls-config that a node names, for connections it makes or takes.
fn tls(config: &NodeConfig<'_>, listens: bool) -> Result<Option<Arc<Tls>>, Diagnostic> {
    let named = tls_config::named(config, "tls")?;
    if listens && named.as_ref().is_some_and(|tls| !tls.can_listen()) {
        let problem = config.problem("unusable-tls", "tls", "the tls-config has no certificate to listen with");
        return Err(problem.expected("a tls-config node with a certificate and its key"));
    }
    Ok(named)
}

fn encryption(tls: &Option<Arc<Tls>>) -> Encryption<'_> {
    tls.as_deref().map_or(Encryption::None, Encryption::With)
}

/// What a payload is on the wire; `None` for none.
pub(super) fn bytes(payload: &Value, base64: bool) -> Option<Vec<u8>> {
    use base64::Engine as _;
    use base64::alphabet::STANDARD;
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    match payload {
        Value::Undefined | Value::Null => None,
        Value::Bytes(bytes) => Some(bytes.to_vec()),
        // What is no base64 sends nothing, as little as Node.js makes of it.
        Value::String(text) if base64 => Some(LENIENT.decode(text.trim()).unwrap_or_default()),
        other => Some(other.to_js_string().as_bytes().to_vec()),
    }
}

/// `\n`, `\r` and `\t` as they are written in forms.
fn unescaped(text: &str) -> String {
    text.replace("\\n", "\n").replace("\\r", "\r").replace("\\t", "\t")
}

/// Waits until the node is told to stop.
pub(super) async fn told(stop: &mut tokio::sync::watch::Receiver<bool>) {
    // A node that is gone has stopped, too.
    let _ = stop.wait_for(|stop| *stop).await.is_ok();
}

pub(super) fn shown(fill: &'static str, shape: &'static str, text: impl Into<arcstr::ArcStr>) -> Status {
    Status { fill: Some(fill.into()), shape: Some(shape.into()), text: text.into() }
}

#[cfg(test)]
mod tests;
