//! `udp in` and `udp out`: datagrams as messages, where the operator allows it.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::net::UdpSocket;
use tokio::sync::{OnceCell, watch};

use super::refused::unless_allowed;
use super::tcp::{bytes, port, shown, told};
use crate::model::node_spec::{Capability, NodeSpec, Property, PropertyKind};
use crate::model::{Diagnostic, Msg, Value};
use crate::net::NetError;
use crate::runtime::{Cx, Effect, Node, NodeConfig, NodeError, NodeType, Services, Source, Status, Step, Then};

static IN_SPEC: NodeSpec = NodeSpec {
    node_type: "udp in",
    category: "network",
    summary: "UDP datagrams as messages. Only where nodes.allow names it.",
    inputs: 0,
    outputs: Some(1),
    config_node: false,
    properties: &[
        Property::new("port", PropertyKind::Text, "Port."),
        Property::new("ipv", PropertyKind::Text, "udp4 or udp6."),
        Property::new("datatype", PropertyKind::Text, "buffer, utf8 or base64."),
        Property::new("multicast", PropertyKind::Text, "true: joins the group."),
        Property::new("group", PropertyKind::Text, "Address of the multicast group."),
        Property::new("iface", PropertyKind::Text, "Address of the interface to join by."),
    ],
    capabilities: &[Capability::Net],
};

static OUT_SPEC: NodeSpec = NodeSpec {
    node_type: "udp out",
    category: "network",
    summary: "Messages as UDP datagrams. Only where nodes.allow names it.",
    inputs: 1,
    outputs: Some(0),
    config_node: false,
    properties: &[
        Property::new("addr", PropertyKind::Text, "Host to send to; msg.ip when empty."),
        Property::new("port", PropertyKind::Text, "Port; msg.port when empty."),
        Property::new("outport", PropertyKind::Text, "Port to send from; any when empty."),
        Property::new("ipv", PropertyKind::Text, "udp4 or udp6."),
        Property::new("base64", PropertyKind::Boolean, "Texts are base64."),
        Property::new("multicast", PropertyKind::Text, "false: one host; board: broadcast; multi: a group."),
        Property::new("iface", PropertyKind::Text, "multi: address of the interface to send by."),
    ],
    capabilities: &[Capability::Net],
};

pub const IN: NodeType = NodeType { spec: &IN_SPEC, build: build_in };
pub const OUT: NodeType = NodeType { spec: &OUT_SPEC, build: build_out };

const WHAT: &str = "they send to, or listen on, ports past the rules of HTTP";
/// No datagram is longer.
const DATAGRAM_MAX: usize = 65_536;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Input {
    port: u16,
    ipv6: bool,
    datatype: String,
    group: Option<IpAddr>,
    interface: Option<IpAddr>,
    stop: watch::Sender<bool>,
}

fn address(config: &NodeConfig<'_>, property: &str) -> Result<Option<IpAddr>, Diagnostic> {
    let text = config.text(property);
    if text.is_empty() {
        return Ok(None);
    }
    let problem = || config.problem("invalid-address", property, format!("\"{text}\" is no IP address"));
    text.parse().map(Some).map_err(|_| problem().expected("an IP address"))
}

fn build_in(config: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    if let Some(refused) = unless_allowed(config, WHAT) {
        return Ok(refused);
    }
    let mut problems = Vec::new();
    let port = port(config, "port").map_err(|p| problems.push(p)).unwrap_or_default();
    let (mut group, mut interface) = (None, None);
    if config.flag("multicast") {
        group = address(config, "group").map_err(|p| problems.push(p)).ok().flatten();
        interface = address(config, "iface").map_err(|p| problems.push(p)).ok().flatten();
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let ipv6 = config.text("ipv") == "udp6";
    let datatype = config.text("datatype").to_string();
    Ok(Arc::new(Input { port, ipv6, datatype, group, interface, stop: watch::channel(false).0 }))
}

fn join(socket: &UdpSocket, group: Option<IpAddr>, interface: Option<IpAddr>) -> std::io::Result<()> {
    match (group, interface) {
        (None, _) => Ok(()),
        (Some(IpAddr::V4(group)), Some(IpAddr::V4(interface))) => socket.join_multicast_v4(group, interface),
        (Some(IpAddr::V4(group)), _) => socket.join_multicast_v4(group, std::net::Ipv4Addr::UNSPECIFIED),
        (Some(IpAddr::V6(group)), _) => socket.join_multicast_v6(&group, 0),
    }
}

impl Node for Input {
    fn on_msg(&self, _msg: Msg, _cx: &mut Cx<'_>) -> Step {
        Step::Done
    }

    fn start(&self, source: Source) -> Option<Task> {
        let (port, ipv6, datatype) = (self.port, self.ipv6, self.datatype.clone());
        let (group, interface, mut stop) = (self.group, self.interface, self.stop.subscribe());
        Some(Box::pin(async move {
            let bound = source.services().net.listen_udp(port, ipv6).await;
            let socket = bound.map_err(|e| e.to_string()).and_then(|socket| {
                join(&socket, group, interface).map_err(|e| format!("cannot join the multicast group: {e}"))?;
                Ok(socket)
            });
            let socket = match socket {
                Ok(socket) => socket,
                Err(error) => {
                    tracing::error!("udp in: {error}");
                    // Too many open runs are told of elsewhere.
                    let _ = source.act(|cx| cx.status(shown("red", "ring", "error"))).is_ok();
                    return;
                }
            };
            let at = socket.local_addr().map_or(port, |address| address.port());
            let listening = Status { text: format!("listening on port {at}").into(), ..Status::default() };
            let _ = source.act(|cx| cx.status(listening)).is_ok();
            let mut buffer = vec![0; DATAGRAM_MAX];
            loop {
                let received = tokio::select! {
                    received = socket.recv_from(&mut buffer) => received,
                    () = told(&mut stop) => return,
                };
                // One that was refused elsewhere is told of here; the next may come.
                let Ok((length, peer)) = received else { continue };
                let payload = match datatype.as_str() {
                    "base64" => STANDARD.encode(&buffer[..length]).into(),
                    "utf8" => String::from_utf8_lossy(&buffer[..length]).into_owned().into(),
                    _ => Value::Bytes(buffer[..length].to_vec().into()),
                };
                let mut msg = Msg::new();
                msg.set("payload", payload);
                msg.set("fromip", format!("{}:{}", peer.ip(), peer.port()));
                msg.set("ip", peer.ip().to_string());
                msg.set("port", f64::from(peer.port()));
                if source.act(|cx| cx.emit(0, msg)).is_err() {
                    tracing::error!("a UDP datagram was dropped: too many runs are open (runs_max)");
                }
            }
        }))
    }

    fn close(&self) -> Option<Task> {
        self.stop.send_replace(true);
        None
    }
}

struct Output {
    host: String,
    port: u16,
    from: u16,
    ipv6: bool,
    base64: bool,
    reach: Reach,
    socket: Arc<OnceCell<UdpSocket>>,
}

/// Whom a datagram is for.
#[derive(Clone, Copy)]
enum Reach {
    Host,
    /// All of a network.
    All,
    /// Those who joined a group, by this interface.
    Group(Option<IpAddr>),
}

/// Networks that a datagram for a group passes at most, as Node-RED sets it.
const GROUP_HOPS_MAX: u32 = 128;

impl Reach {
    fn prepare(self, socket: &UdpSocket, ipv6: bool) -> std::io::Result<()> {
        let options = socket2::SockRef::from(socket);
        match self {
            Reach::Host => Ok(()),
            Reach::All => options.set_broadcast(true),
            Reach::Group(interface) => {
                if let Some(IpAddr::V4(interface)) = interface
                    && !ipv6
                {
                    options.set_multicast_if_v4(&interface)?;
                }
                match ipv6 {
                    true => options.set_multicast_hops_v6(GROUP_HOPS_MAX),
                    false => options.set_multicast_ttl_v4(GROUP_HOPS_MAX),
                }
            }
        }
    }
}

fn build_out(config: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    if let Some(refused) = unless_allowed(config, WHAT) {
        return Ok(refused);
    }
    let mut problems = Vec::new();
    let to = port(config, "port").map_err(|p| problems.push(p)).unwrap_or_default();
    let from = port(config, "outport").map_err(|p| problems.push(p)).unwrap_or_default();
    let reach = match config.text("multicast").as_str() {
        "board" => Reach::All,
        "multi" => Reach::Group(address(config, "iface").map_err(|p| problems.push(p)).ok().flatten()),
        _ => Reach::Host,
    };
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Arc::new(Output {
        host: config.text("addr").to_string(),
        port: to,
        from,
        ipv6: config.text("ipv") == "udp6",
        base64: config.flag("base64"),
        reach,
        socket: Arc::default(),
    }))
}

/// Where a message goes and what it is.
struct Datagram {
    host: String,
    port: u16,
    bytes: Vec<u8>,
}

async fn send(
    services: Arc<Services>,
    socket: Arc<OnceCell<UdpSocket>>,
    (from, ipv6, reach): (u16, bool, Reach),
    datagram: Datagram,
) -> Result<(), NetError> {
    let of_io = |error: std::io::Error| NetError::new("EIO", format!("udp : {error}"));
    let prepared = || async {
        let socket = services.net.listen_udp(from, ipv6).await?;
        reach.prepare(&socket, ipv6).map_err(of_io)?;
        Ok::<_, NetError>(socket)
    };
    let socket = socket.get_or_try_init(prepared).await?;
    let addresses = services.net.addresses(&datagram.host, datagram.port).await?;
    let Some(address) = addresses.into_iter().find(|address| address.is_ipv6() == ipv6) else {
        let family = if ipv6 { "IPv6" } else { "IPv4" };
        return Err(NetError::new("ENOTFOUND", format!("udp : {} has no {family} address", datagram.host)));
    };
    socket.send_to(&datagram.bytes, address).await.map(drop).map_err(of_io)
}

impl Node for Output {
    fn effect(&self) -> Effect {
        Effect::Once
    }

    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        if msg.get("payload").is_none() {
            return Step::Done;
        }
        let text = |name: &str| msg.get(name).map(|v| v.to_js_string().to_string()).unwrap_or_default();
        let host = if self.host.is_empty() { text("ip") } else { self.host.clone() };
        let port = if self.port == 0 { text("port") } else { self.port.to_string() };
        if host.is_empty() {
            cx.warn("udp: ip address not set");
            return Step::Done;
        }
        let port = match port.as_str() {
            "" | "0" => {
                cx.warn("udp: port not set");
                return Step::Done;
            }
            port => match port.parse() {
                Ok(port) => port,
                Err(_) => {
                    cx.warn("udp: port number not valid");
                    return Step::Done;
                }
            },
        };
        let bytes =
            bytes(msg.payload(), self.base64).unwrap_or_else(|| msg.payload().to_js_string().as_bytes().to_vec());
        let sending = send(
            cx.services().clone(),
            self.socket.clone(),
            (self.from, self.ipv6, self.reach),
            Datagram { host, port, bytes },
        );
        Step::wait(async move {
            let sent = sending.await;
            let then: Then = Box::new(move |_| match sent {
                Ok(()) => Step::Done,
                Err(error) => Step::fail(msg, NodeError::with_code(error.to_string(), error.code)),
            });
            then
        })
    }
}

#[cfg(test)]
mod tests;
