//! `websocket in`, `websocket out` and what they share: `websocket-listener` (a path that callers connect to) and
//! `websocket-client` (a connection that is kept up).

mod client;
mod hub;

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use arcstr::ArcStr;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use url::Url;

use super::tls_config;
use super::typed::env_text;
use crate::model::node_spec::{Capability, NodeSpec, Property, PropertyKind};
use crate::model::{Diagnostic, Msg, Value};
use crate::runtime::sockets::{Door, Frame};
use crate::runtime::{Cx, Entry, Node, NodeConfig, NodeType, Source, Step};
use client::Client;
use hub::Hub;

static LISTENER_SPEC: NodeSpec = NodeSpec {
    node_type: "websocket-listener",
    category: "config",
    summary: "A path below httpNodeRoot that websocket clients connect to.",
    inputs: 0,
    outputs: Some(0),
    config_node: true,
    properties: &[
        Property::required("path", PropertyKind::Text, "The path, for example /ws/orders; matched as it is written."),
        Property::new("wholemsg", PropertyKind::Text, "true: whole messages as JSON; else the payload."),
    ],
    capabilities: &[],
};

static CLIENT_SPEC: NodeSpec = NodeSpec {
    node_type: "websocket-client",
    category: "config",
    summary: "A connection to a websocket server, made again when it breaks.",
    inputs: 0,
    outputs: Some(0),
    config_node: true,
    properties: &[
        Property::required("path", PropertyKind::Text, "ws:// or wss:// address."),
        Property::new("tls", PropertyKind::NodeRef("tls-config"), "Id of a tls-config node."),
        Property::new("wholemsg", PropertyKind::Text, "true: whole messages as JSON; else the payload."),
        Property::new(
            "hb",
            PropertyKind::Text,
            "Seconds between pings; a connection without answer is given up. 0: none.",
        ),
        Property::new("subprotocol", PropertyKind::Text, "Subprotocols to offer, separated by commas."),
        Property::new(
            "headers",
            PropertyKind::Json,
            "[{keyType, keyValue, valueType, valueValue}] sent when connecting.",
        ),
    ],
    capabilities: &[Capability::Net],
};

static IN_SPEC: NodeSpec = NodeSpec {
    node_type: "websocket in",
    category: "network",
    summary: "Opens a run for each message that comes by a websocket; msg._session says from whom.",
    inputs: 0,
    outputs: Some(1),
    config_node: false,
    properties: &[
        Property::new("server", PropertyKind::Text, "Id of a websocket-listener node."),
        Property::new("client", PropertyKind::Text, "Id of a websocket-client node; wins over server."),
    ],
    capabilities: &[],
};

static OUT_SPEC: NodeSpec = NodeSpec {
    node_type: "websocket out",
    category: "network",
    summary: "Sends messages by a websocket: to who msg._session names, else to all.",
    inputs: 1,
    outputs: Some(0),
    config_node: false,
    properties: &[
        Property::new("server", PropertyKind::Text, "Id of a websocket-listener node."),
        Property::new("client", PropertyKind::Text, "Id of a websocket-client node; wins over server."),
    ],
    capabilities: &[],
};

pub const LISTENER: NodeType = NodeType { spec: &LISTENER_SPEC, build: build_listener };
pub const CLIENT: NodeType = NodeType { spec: &CLIENT_SPEC, build: build_client };
pub const IN: NodeType = NodeType { spec: &IN_SPEC, build: |config| build_user(config, true) };
pub const OUT: NodeType = NodeType { spec: &OUT_SPEC, build: |config| build_user(config, false) };

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Listener {
    path: ArcStr,
    hub: Arc<Hub>,
}

fn build_listener(config: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let path = config.text("path");
    if path.is_empty() {
        let problem = config.problem("missing-path", "path", "it has no path, so nobody can connect to it");
        return Err(vec![problem.expected("a path such as /ws/orders")]);
    }
    let path = if path.starts_with('/') { path } else { arcstr::format!("/{path}") };
    Ok(Arc::new(Listener { path, hub: Arc::new(Hub::new(config.flag("wholemsg"), true)) }))
}

impl Node for Listener {
    fn on_msg(&self, _msg: Msg, _cx: &mut Cx<'_>) -> Step {
        Step::Done
    }

    fn shared(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        Some(self.hub.clone())
    }

    fn entry(&self) -> Option<Entry> {
        let hub = Arc::downgrade(&self.hub);
        let door = Door::new(move |connected| {
            if let Some(hub) = hub.upgrade() {
                tokio::spawn(hub::serve(hub, connected));
            }
        });
        Some(Entry::Websocket { path: self.path.clone(), door })
    }

    fn close(&self) -> Option<Task> {
        self.hub.close();
        None
    }
}

fn build_client(config: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let url = Url::parse(&config.text("path")).ok().filter(|u| matches!(u.scheme(), "ws" | "wss") && u.has_host());
    if url.is_none() {
        let problem = config.problem("invalid-url", "path", "this is no address of a websocket");
        problems.push(problem.expected("ws://host:port/path or wss://host:port/path"));
    }
    let tls = tls_config::named(config, "tls").map_err(|p| problems.push(p)).ok().flatten();
    let mut headers = Vec::new();
    for (at, row) in config.get("headers").as_array().unwrap_or_default().iter().enumerate() {
        let text = |name: &str| match row.get(name) {
            Value::Undefined | Value::Null => ArcStr::new(),
            other => other.to_js_string(),
        };
        let name = if text("keyType") == "other" { text("keyValue") } else { text("keyType") };
        let value = match text("valueType").as_str() {
            "other" => text("valueValue"),
            "env" => env_text(config.node, config.services, &text("valueValue")).to_js_string(),
            fixed => fixed.into(),
        };
        if name.is_empty() || value.is_empty() {
            continue;
        }
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value)) {
            (Ok(name), Ok(value)) => headers.push((name, value)),
            _ => problems.push(config.problem(
                "invalid-header",
                &format!("headers[{at}]"),
                format!("\"{name}\" with its value is no header that HTTP can carry"),
            )),
        }
    }
    let Some(url) = url.filter(|_| problems.is_empty()) else { return Err(problems) };
    let protocols = config.text("subprotocol");
    let protocols = protocols.split(',').map(str::trim).filter(|p| !p.is_empty()).map(str::to_string).collect();
    let heartbeat = config.number("hb").map(f64::trunc).filter(|seconds| *seconds > 0.0);
    let heartbeat = heartbeat.and_then(|seconds| std::time::Duration::try_from_secs_f64(seconds).ok());
    let hub = Arc::new(Hub::new(config.flag("wholemsg"), false));
    let services = config.services.clone();
    Ok(Arc::new(Client { url, tls, headers, protocols, heartbeat, hub, services }))
}

/// `websocket in` or `websocket out`.
struct User {
    hub: Arc<Hub>,
    listens: bool,
    registered: Mutex<Option<u64>>,
}

fn build_user(config: &NodeConfig<'_>, listens: bool) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let property = if config.text("client").is_empty() { "server" } else { "client" };
    match config.shared::<Hub>(property) {
        Some(hub) => Ok(Arc::new(User { hub, listens, registered: Mutex::default() })),
        None => {
            let problem = config.problem("unusable-reference", property, "Missing server configuration");
            Err(vec![problem.expected("the id of a websocket-listener or websocket-client node without problems")])
        }
    }
}

impl User {
    /// What a message is on the wire; `None` when there is nothing to send.
    fn frame(&self, msg: &Msg) -> Option<Frame> {
        if self.hub.whole_messages {
            let mut msg = msg.clone();
            msg.remove("_session");
            return Some(Frame::Text(msg.to_value().to_json().into()));
        }
        match msg.payload() {
            Value::Undefined => None,
            Value::Bytes(bytes) => Some(Frame::Binary(bytes.to_vec().into())),
            data @ (Value::Object(_) | Value::Array(_) | Value::Null | Value::Error(_)) => {
                Some(Frame::Text(data.to_json().into()))
            }
            other => Some(Frame::Text(other.to_js_string())).filter(|frame| *frame != Frame::Text(ArcStr::new())),
        }
    }
}

impl Node for User {
    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        let Some(frame) = self.frame(&msg) else { return Step::Done };
        let session = msg.get("_session").cloned().unwrap_or_default();
        if session.get("type").as_str() == Some("websocket") {
            self.hub.reply(&session.get("id").to_js_string(), frame);
        } else if let Err(problem) = self.hub.broadcast(&frame) {
            cx.warn(format!("An error occurred while sending: {problem}"));
        }
        Step::Done
    }

    fn start(&self, source: Source) -> Option<Task> {
        let id = self.hub.register(source, self.listens);
        *self.registered.lock().unwrap_or_else(|p| p.into_inner()) = Some(id);
        None
    }

    fn close(&self) -> Option<Task> {
        if let Some(id) = self.registered.lock().unwrap_or_else(|p| p.into_inner()).take() {
            self.hub.leave(id);
        }
        None
    }
}

#[cfg(test)]
mod tests;
