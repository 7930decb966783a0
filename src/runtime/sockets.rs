//! Websockets that callers open: which listener takes up a connection, and the connection as a flow's nodes see it.
//!
//! `api` speaks the protocol and knows no node; a node knows no protocol. Between them stand a [`Door`], by which a
//! connection enters, and two channels of [`Frame`]s.

use std::collections::HashMap;
use std::sync::Arc;

use arcstr::ArcStr;
use bytes::Bytes;
use tokio::sync::mpsc;

/// Largest message, bytes: `ws`'s own limit, that of Node-RED.
pub const MESSAGE_BYTES_MAX: usize = 100 << 20;
/// Messages that may wait to be sent by one connection; one that takes so little is closed.
pub const FRAMES_MAX: usize = 1_024;

/// What travels on a websocket.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    Text(ArcStr),
    Binary(Bytes),
}

/// One open connection, from its server's side.
pub struct Connected {
    /// What the caller sends; ends when the connection is closed.
    pub incoming: mpsc::Receiver<Frame>,
    /// What the caller is sent. Once all of them are dropped the connection is closed.
    pub outgoing: mpsc::Sender<Frame>,
}

/// Where the connections to one path go.
#[derive(Clone)]
pub struct Door(Arc<dyn Fn(Connected) + Send + Sync>);

impl Door {
    pub fn new(enter: impl Fn(Connected) + Send + Sync + 'static) -> Door {
        Door(Arc::new(enter))
    }

    pub fn enter(&self, connected: Connected) {
        (self.0)(connected);
    }
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Door")
    }
}

impl PartialEq for Door {
    fn eq(&self, other: &Door) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
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
