//! Where connections and nodes meet: who is connected, who listens, who is told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use arcstr::ArcStr;
use tokio::sync::{mpsc, watch};

use crate::model::{Msg, Object, Value, id};
use crate::runtime::sockets::{Connected, Frame};
use crate::runtime::{Cx, Source, Status};

/// The connections of a listener or client and the nodes that use them.
pub(super) struct Hub {
    /// Messages travel whole, as JSON.
    pub(super) whole_messages: bool,
    is_server: bool,
    state: Mutex<State>,
    /// Whether nodes use it, and `None` once the flows have stopped; a client connects for the first.
    pub(super) used: watch::Sender<Option<bool>>,
}

#[derive(Default)]
struct State {
    connections: BTreeMap<ArcStr, mpsc::Sender<Frame>>,
    users: BTreeMap<u64, (Source, bool)>,
    next: u64,
    closed: bool,
}

/// What nodes are told of a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Told {
    Opened,
    Closed,
    Failed,
}

impl Hub {
    pub(super) fn new(whole_messages: bool, is_server: bool) -> Hub {
        Hub { whole_messages, is_server, state: Mutex::default(), used: watch::channel(Some(false)).0 }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|p| p.into_inner())
    }

    pub(super) fn register(&self, source: Source, listens: bool) -> u64 {
        let mut state = self.state();
        state.next += 1;
        let id = state.next;
        state.users.insert(id, (source, listens));
        drop(state);
        self.used.send_replace(Some(true));
        id
    }

    pub(super) fn leave(&self, id: u64) {
        let mut state = self.state();
        state.users.remove(&id);
        let used = !state.users.is_empty();
        drop(state);
        self.used.send_replace(Some(used));
    }

    /// Ends every connection: what they are sent through is gone.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.connections.clear();
        state.users.clear();
        drop(state);
        self.used.send_replace(None);
    }

    /// A new connection; `None` when the flows have stopped.
    pub(super) fn open(&self, outgoing: mpsc::Sender<Frame>) -> Option<ArcStr> {
        let id: ArcStr = id::hex16();
        let mut state = self.state();
        if state.closed {
            return None;
        }
        state.connections.insert(id.clone(), outgoing);
        drop(state);
        self.tell(Told::Opened, &id);
        Some(id)
    }

    /// A connection that is no more.
    pub(super) fn end(&self, id: &ArcStr) {
        self.state().connections.remove(id);
        self.tell(Told::Closed, id);
    }

    /// To one connection; one that is gone is told nothing.
    pub(super) fn reply(&self, id: &str, frame: Frame) {
        let connection = self.state().connections.get(id).cloned();
        if let Some(connection) = connection {
            self.send(id, &connection, frame);
        }
    }

    /// To all connections. The error says that there is none to send by, for a client.
    pub(super) fn broadcast(&self, frame: &Frame) -> Result<(), &'static str> {
        let all: Vec<_> = self.state().connections.iter().map(|(id, c)| (id.clone(), c.clone())).collect();
        if all.is_empty() && !self.is_server {
            return Err("WebSocket is not open");
        }
        for (id, connection) in all {
            self.send(&id, &connection, frame.clone());
        }
        Ok(())
    }

    fn send(&self, id: &str, connection: &mpsc::Sender<Frame>, frame: Frame) {
        if let Err(mpsc::error::TrySendError::Full(_)) = connection.try_send(frame) {
            tracing::warn!(connection = id, "a websocket that takes too little of what it is sent is closed");
            self.state().connections.remove(id);
        }
    }

    /// Hands a message to every node that listens. A connection whose message a durable flow could not commit is closed:
    /// there is no other way to say so.
    pub(super) async fn received(&self, id: &ArcStr, frame: Frame) {
        let msg = self.message(id, frame);
        let listeners: Vec<Source> =
            self.state().users.values().filter(|(_, listens)| *listens).map(|(source, _)| source.clone()).collect();
        for source in listeners {
            let msg = msg.clone();
            if let Some(durable) = source.durable() {
                if let Err(problem) = durable.event(msg).await {
                    tracing::error!(connection = %id, "a websocket is closed, its message was not accepted: {problem}");
                    self.state().connections.remove(id);
                }
                continue;
            }
            if source.act(|cx| cx.emit(0, msg)).is_err() {
                tracing::error!("a websocket's message was dropped: too many runs are open (runs_max)");
            }
        }
    }

    fn message(&self, id: &ArcStr, frame: Frame) -> Msg {
        let payload = match &frame {
            Frame::Text(text) => Value::String(text.clone()),
            Frame::Binary(bytes) => Value::Bytes(bytes.to_vec().into()),
        };
        let whole = match &frame {
            Frame::Text(text) if self.whole_messages => Value::from_json(text).ok(),
            Frame::Binary(bytes) if self.whole_messages => Value::from_json_slice(bytes).ok(),
            _ => None,
        };
        let mut msg = match whole {
            Some(Value::Object(object)) => Msg::from_object(object),
            Some(other) => of_payload(other),
            None => of_payload(payload),
        };
        msg.set("_session", session(id));
        msg
    }

    pub(super) fn tell(&self, told: Told, id: &ArcStr) {
        let state = self.state();
        let count = state.connections.len();
        let users: Vec<Source> = state.users.values().map(|(source, _)| source.clone()).collect();
        drop(state);
        let shown = if self.is_server { count.to_string() } else { String::new() };
        for source in users {
            // Only told when too many runs are open, which is said elsewhere.
            let _ = source.act(|cx| show(cx, told, id, self.is_server && count > 0, &shown)).is_ok();
        }
    }
}

fn of_payload(payload: Value) -> Msg {
    let mut object = Object::with_capacity(3);
    object.insert("payload", payload);
    Msg::from(object)
}

fn session(id: &ArcStr) -> Object {
    let mut session = Object::with_capacity(2);
    session.insert("type", "websocket");
    session.insert("id", id.clone());
    session
}

fn show(cx: &mut Cx<'_>, told: Told, id: &ArcStr, others: bool, count: &str) {
    let (fill, shape, text, event) = match told {
        Told::Opened => ("green", "dot", format!("connected {count}"), "connect"),
        Told::Closed if others => ("green", "dot", format!("connected {count}"), "disconnect"),
        Told::Closed => ("red", "ring", "disconnected".to_string(), "disconnect"),
        Told::Failed => ("red", "ring", "error".to_string(), "error"),
    };
    let mut more = Object::new();
    more.insert("event", event);
    more.insert("_session", session(id));
    cx.status_with(Status { fill: Some(fill.into()), shape: Some(shape.into()), text: text.into() }, more);
}

/// Takes up a caller's connection until either side ends it.
pub(super) async fn serve(hub: Arc<Hub>, mut connected: Connected) {
    let Some(id) = hub.open(connected.outgoing) else { return };
    while let Some(frame) = connected.incoming.recv().await {
        hub.received(&id, frame).await;
    }
    hub.end(&id);
}
