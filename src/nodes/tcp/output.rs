//! `tcp out`: to a server it keeps a connection to, to all who connect to its port, or back to who sent something.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, watch};

use super::pool::{self, Order};
use super::{Built, Task, bytes, encryption, port, shown, tls, told};
use crate::model::{Msg, Value};
use crate::net::{Stream, Tls};
use crate::runtime::{Cx, Effect, Node, NodeConfig, Source, Status, Step};

const AGAIN: Duration = Duration::from_secs(10);
const AGAIN_SOON: Duration = Duration::from_millis(20);
/// Messages that may wait for a connection to take them.
const WAITING_MAX: usize = 1000;

enum To {
    Server { host: String, port: u16, tls: Option<Arc<Tls>> },
    Callers { port: u16, tls: Option<Arc<Tls>> },
    Session,
}

struct Output {
    to: To,
    base64: bool,
    ends: bool,
    /// Connections that are open, by their numbers.
    open: Arc<Mutex<HashMap<u64, mpsc::Sender<Order>>>>,
    stop: watch::Sender<bool>,
}

pub(super) fn build(config: &NodeConfig<'_>) -> Built {
    let mode = config.text("beserver");
    let mut problems = Vec::new();
    let port = port(config, "port").map_err(|p| problems.push(p)).unwrap_or_default();
    let tls = tls(config, mode == "server").map_err(|p| problems.push(p)).ok().flatten();
    let host = config.text("host");
    let to = match mode.as_str() {
        "reply" => To::Session,
        "server" => To::Callers { port, tls },
        _ => {
            if (host.is_empty() || port == 0) && problems.is_empty() {
                let problem = config.problem("missing-host", "host", "it has no host and port to connect to");
                problems.push(problem.expected("host and port"));
            }
            To::Server { host: host.to_string(), port, tls }
        }
    };
    if !problems.is_empty() {
        return Err(problems);
    }
    let (base64, ends) = (config.flag("base64"), config.flag("end"));
    Ok(Arc::new(Output { to, base64, ends, open: Arc::default(), stop: watch::channel(false).0 }))
}

/// One open connection: what it is told is written, what it says is not listened to.
async fn write_on(stream: Box<dyn Stream>, mut orders: mpsc::Receiver<Order>) -> bool {
    let (mut read, mut write) = tokio::io::split(stream);
    let mut unheard = vec![0; 4096];
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Write(bytes)) if write.write_all(&bytes).await.is_ok() => {}
                Some(Order::End) => {
                    // The other side may be gone by now.
                    let _ = write.shutdown().await.is_ok();
                    return true;
                }
                _ => return false,
            },
            read = read.read(&mut unheard) => if matches!(read, Ok(0) | Err(_)) {
                return false;
            },
        }
    }
}

/// The connections of one node.
#[derive(Clone)]
struct Connections {
    open: Arc<Mutex<HashMap<u64, mpsc::Sender<Order>>>>,
    source: Source,
}

impl Connections {
    fn enter(&self, number: u64) -> mpsc::Receiver<Order> {
        let (tell, orders) = mpsc::channel(WAITING_MAX);
        self.open.lock().unwrap_or_else(|p| p.into_inner()).insert(number, tell);
        orders
    }

    fn leave(&self, number: u64) {
        self.open.lock().unwrap_or_else(|p| p.into_inner()).remove(&number);
    }

    fn show(&self, status: Status) {
        // Too many open runs are told of elsewhere.
        let _ = self.source.act(|cx| cx.status(status)).is_ok();
    }

    fn count(&self) {
        let count = self.open.lock().unwrap_or_else(|p| p.into_inner()).len();
        self.show(Status { text: format!("{count} connections").into(), ..Status::default() });
    }

    async fn keep_up(self, host: String, port: u16, tls: Option<Arc<Tls>>, mut stop: watch::Receiver<bool>) {
        let services = self.source.services().clone();
        loop {
            self.show(shown("grey", "dot", "connecting"));
            let ended = match services.net.connect(&host, port, encryption(&tls)).await {
                Ok(stream) => {
                    let orders = self.enter(0);
                    self.show(shown("green", "dot", "connected"));
                    let ended = tokio::select! {
                        ended = write_on(stream, orders) => ended,
                        () = told(&mut stop) => return,
                    };
                    self.leave(0);
                    ended
                }
                Err(error) => {
                    tracing::info!("tcp out: {error}");
                    false
                }
            };
            self.show(shown("red", "ring", "disconnected"));
            tokio::select! {
                () = services.clock.sleep(if ended { AGAIN_SOON } else { AGAIN }) => {}
                () = told(&mut stop) => return,
            }
        }
    }

    async fn listen(self, port: u16, tls: Option<Arc<Tls>>, mut stop: watch::Receiver<bool>) {
        let listener = match self.source.services().net.listen_tcp(port).await {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!("tcp out: {error}");
                return self.show(shown("red", "ring", "error"));
            }
        };
        let at = listener.local_addr().map_or(port, |address| address.port());
        self.show(Status { text: format!("listening on port {at}").into(), ..Status::default() });
        let mut open = tokio::task::JoinSet::new();
        for number in 1_u64.. {
            let (stream, peer) = loop {
                tokio::select! {
                    accepted = listener.accept() => if let Ok(accepted) = accepted {
                        break accepted;
                    },
                    Some(_) = open.join_next() => self.count(),
                    () = told(&mut stop) => return,
                }
            };
            let (connections, tls) = (self.clone(), tls.clone());
            open.spawn(async move {
                let services = connections.source.services().clone();
                match services.net.accepted(stream, peer, tls.as_deref()).await {
                    Ok(stream) => {
                        let orders = connections.enter(number);
                        connections.count();
                        write_on(stream, orders).await;
                        connections.leave(number);
                    }
                    Err(error) => tracing::info!("tcp out: {error}"),
                }
            });
        }
    }
}

impl Output {
    fn answer(&self, msg: &Msg) {
        let resets = msg.get("reset") == Some(&Value::Bool(true));
        let Some(bytes) = bytes(msg.payload(), self.base64).or(resets.then(Vec::new)) else { return };
        let order = || if resets { Order::End } else { Order::Write(bytes.clone()) };
        let session = msg.get("_session").cloned().unwrap_or_default();
        if session.get("type").as_str() == Some("tcp") {
            pool::to(&session.get("id").to_js_string(), order());
        } else {
            pool::to_all(order);
        }
    }

    fn send(&self, bytes: &[u8]) {
        let mut open = self.open.lock().unwrap_or_else(|p| p.into_inner());
        open.retain(|_, connection| {
            let sent = connection.try_send(Order::Write(bytes.to_vec())).is_ok();
            // One that takes too little is closed.
            sent && (!self.ends || connection.try_send(Order::End).is_ok())
        });
    }
}

impl Node for Output {
    fn effect(&self) -> Effect {
        Effect::Once
    }

    fn on_msg(&self, msg: Msg, _cx: &mut Cx<'_>) -> Step {
        match &self.to {
            To::Session => self.answer(&msg),
            _ => {
                if let Some(bytes) = bytes(msg.payload(), self.base64) {
                    self.send(&bytes);
                }
            }
        }
        Step::Done
    }

    fn start(&self, source: Source) -> Option<Task> {
        let connections = Connections { open: self.open.clone(), source };
        let stop = self.stop.subscribe();
        match &self.to {
            To::Session => None,
            To::Callers { port, tls } => Some(Box::pin(connections.listen(*port, tls.clone(), stop))),
            To::Server { host, port, tls } => {
                Some(Box::pin(connections.keep_up(host.clone(), *port, tls.clone(), stop)))
            }
        }
    }

    fn close(&self) -> Option<Task> {
        self.stop.send_replace(true);
        self.open.lock().unwrap_or_else(|p| p.into_inner()).clear();
        None
    }
}
