//! Websockets that callers open: which listener takes up a connection, and the connection as a flow's nodes see it.
//!
//! `api` speaks the protocol and knows no node; a node knows no protocol. Between them stand a [`Door`], by which a
//! connection enters, and two channels of [`Frame`]s.

use std::collections::HashMap;
use std::sync::Arc;

use arcstr::ArcStr;
use bytes::Bytes;
use tokio::sync::mpsc;

/// What travels on a websocket.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    Text(ArcStr),
    Binary(Bytes),
}

/// One open connection, from its server's side.
pub struct Connected {
    /// What the caller sends; ends when the connection is closed. Whoever drops it closes the connection.
    pub incoming: mpsc::Receiver<Frame>,
    /// What the caller is sent.
    pub outgoing: mpsc::UnboundedSender<Frame>,
}

/// Where the connections to one path go.
#[derive(Clone)]
pub struct Door {
    /// The subprotocols this listener speaks, in its order of preference; none when empty.
    pub protocols: Arc<Vec<String>>,
    enter: Arc<dyn Fn(Connected) + Send + Sync>,
}

impl Door {
    pub fn new(protocols: Vec<String>, enter: impl Fn(Connected) + Send + Sync + 'static) -> Door {
        Door { protocols: Arc::new(protocols), enter: Arc::new(enter) }
    }

    pub fn enter(&self, connected: Connected) {
        (self.enter)(connected);
    }
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").field("protocols", &self.protocols).finish_non_exhaustive()
    }
}

impl PartialEq for Door {
    fn eq(&self, other: &Door) -> bool {
        Arc::ptr_eq(&self.enter, &other.enter)
    }
}

/// The listeners of a deployed plan by their paths, which are compared as they are written.
#[derive(Debug, Default)]
pub struct Doors(HashMap<ArcStr, Door>);

impl Doors {
    /// Adds a listener. The error says that its path is taken.
    pub fn add(&mut self, path: ArcStr, door: Door) -> Result<(), String> {
        if self.0.contains_key(&path) {
            return Err(format!("Cannot have two WebSocket listeners on the same path: {path}"));
        }
        self.0.insert(path, door);
        Ok(())
    }

    /// The listener on this path below `httpNodeRoot`.
    pub fn find(&self, path: &str) -> Option<&Door> {
        self.0.get(path)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
