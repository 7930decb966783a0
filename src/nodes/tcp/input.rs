//! `tcp in`: listens on a port, or connects to a server and again when the connection has ended.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;

use super::pool::Session;
use super::reading::{Cutting, Kind, Reading};
use super::{Built, Task, encryption, port, shown, tls, told, unescaped};
use crate::model::{Msg, Object, Value};
use crate::net::{Stream, Tls};
use crate::runtime::{Cx, Node, NodeConfig, Source, Status, Step};

/// Until it is tried again, and after a connection by which something came.
const AGAIN: Duration = Duration::from_secs(10);
const AGAIN_SOON: Duration = Duration::from_millis(20);

struct Input {
    server: bool,
    host: String,
    port: u16,
    topic: Value,
    how: Cutting,
    tls: Option<Arc<Tls>>,
    stop: watch::Sender<bool>,
}

pub(super) fn build(config: &NodeConfig<'_>) -> Built {
    let server = config.text("server") == "server" || config.flag("server");
    let kind = match config.text("datatype").as_str() {
        "" | "buffer" => Kind::Buffer,
        "base64" => Kind::Base64,
        _ => Kind::Text,
    };
    let mut problems = Vec::new();
    let port = port(config, "port").map_err(|p| problems.push(p)).unwrap_or_default();
    let tls = tls(config, server).map_err(|p| problems.push(p)).ok().flatten();
    let host = config.text("host");
    if !server && (host.is_empty() || port == 0) && problems.is_empty() {
        let problem = config.problem("missing-host", "host", "it has no host and port to connect to");
        problems.push(problem.expected("host and port, or server = \"server\" to listen"));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let how = Cutting {
        kind,
        stream: matches!(config.text("datamode").as_str(), "" | "stream"),
        newline: unescaped(&config.text("newline")),
        keeps_newline: config.flag("trim"),
    };
    let topic = config.get("topic").clone();
    let stop = watch::channel(false).0;
    Ok(Arc::new(Input { server, host: host.to_string(), port, topic, how, tls, stop }))
}

/// What a connection needs of its node.
#[derive(Clone)]
struct Receiver {
    source: Source,
    how: Cutting,
    topic: Value,
    peer: Option<SocketAddr>,
}

impl Receiver {
    /// Carries a connection to its end; true when something came by it.
    async fn receive(&self, stream: Box<dyn Stream>) -> bool {
        let mut session = Session::open();
        let told = session.object();
        let mut reading = Reading::new(self.how.clone());
        let mut came = false;
        session
            .carry(stream, |bytes| {
                came = true;
                match reading.take(bytes) {
                    Ok(payloads) => payloads.into_iter().for_each(|payload| self.send(payload, &told)),
                    Err(_) => self.say(|cx| cx.warn("more came without an end than is kept (64 MB); it is dropped")),
                }
            })
            .await;
        if let Some(payload) = reading.end() {
            self.send(payload, &told);
        }
        came
    }

    fn send(&self, payload: Value, session: &Object) {
        let mut msg = Msg::new();
        msg.set("topic", self.topic.clone());
        msg.set("payload", payload);
        if let Some(peer) = self.peer {
            msg.set("ip", peer.ip().to_canonical().to_string());
            msg.set("port", f64::from(peer.port()));
        }
        msg.set("_session", session.clone());
        if self.source.act(|cx| cx.emit(0, msg)).is_err() {
            tracing::error!("a TCP message was dropped: too many runs are open (runs_max)");
        }
    }

    fn say(&self, act: impl FnOnce(&mut Cx<'_>)) {
        // Too many open runs are told of elsewhere.
        let _ = self.source.act(act).is_ok();
    }

    fn count(&self, count: usize) {
        let text = format!("{count} connections");
        self.say(|cx| cx.status(Status { text: text.into(), ..Status::default() }));
    }
}

impl Input {
    fn listen(&self, receiver: Receiver, mut stop: watch::Receiver<bool>) -> Task {
        let (port, tls) = (self.port, self.tls.clone());
        Box::pin(async move {
            let listener = match receiver.source.services().net.listen_tcp(port).await {
                Ok(listener) => listener,
                Err(error) => {
                    receiver.say(|cx| cx.log(tracing::Level::ERROR, error.to_string()));
                    return receiver.say(|cx| cx.status(shown("red", "ring", "error")));
                }
            };
            let at = listener.local_addr().map_or(port, |address| address.port());
            receiver
                .say(|cx| cx.status(Status { text: format!("listening on port {at}").into(), ..Status::default() }));
            let mut open = tokio::task::JoinSet::new();
            loop {
                let (stream, peer): (TcpStream, SocketAddr) = tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok(accepted) => accepted,
                        // This caller is gone; the next may come.
                        Err(_) => continue,
                    },
                    Some(_) = open.join_next() => {
                        receiver.count(open.len());
                        continue;
                    }
                    () = told(&mut stop) => return,
                };
                let connection = Receiver { peer: Some(peer), ..receiver.clone() };
                let tls = tls.clone();
                open.spawn(async move {
                    let services = connection.source.services().clone();
                    match services.net.accepted(stream, peer, tls.as_deref()).await {
                        Ok(stream) => {
                            connection.receive(stream).await;
                        }
                        Err(error) => tracing::info!("tcp in: {error}"),
                    }
                });
                receiver.count(open.len());
            }
        })
    }

    fn connect(&self, receiver: Receiver, mut stop: watch::Receiver<bool>) -> Task {
        let (host, port, tls) = (self.host.clone(), self.port, self.tls.clone());
        Box::pin(async move {
            loop {
                receiver.say(|cx| cx.status(shown("grey", "dot", "connecting")));
                let services = receiver.source.services().clone();
                let came = match services.net.connect(&host, port, encryption(&tls)).await {
                    Ok(stream) => {
                        receiver.say(|cx| cx.status(shown("green", "dot", "connected")));
                        tokio::select! {
                            came = receiver.receive(stream) => came,
                            () = told(&mut stop) => return,
                        }
                    }
                    Err(error) => {
                        tracing::info!("tcp in: {error}");
                        false
                    }
                };
                receiver.say(|cx| cx.status(shown("red", "ring", "disconnected")));
                tokio::select! {
                    () = services.clock.sleep(if came { AGAIN_SOON } else { AGAIN }) => {}
                    () = told(&mut stop) => return,
                }
            }
        })
    }
}

impl Node for Input {
    fn on_msg(&self, _msg: Msg, _cx: &mut Cx<'_>) -> Step {
        Step::Done
    }

    fn start(&self, source: Source) -> Option<Task> {
        let receiver = Receiver { source, how: self.how.clone(), topic: self.topic.clone(), peer: None };
        let stop = self.stop.subscribe();
        Some(if self.server { self.listen(receiver, stop) } else { self.connect(receiver, stop) })
    }

    fn close(&self) -> Option<Task> {
        self.stop.send_replace(true);
        None
    }
}
