//! The connections that nodes have open, by the ids that `msg._session` carries from one node to another.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard};

use arcstr::ArcStr;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;

use crate::model::{Object, id};
use crate::net::Stream;

/// What may wait to be written to a connection; one that takes too little is closed.
const WAITING_MAX: usize = 1000;

/// What a connection is told.
pub(super) enum Order {
    Write(Vec<u8>),
    /// Closed once everything is written.
    End,
}

/// All connections of `tcp in`: any `tcp out` may answer by them.
static OPEN: LazyLock<Mutex<HashMap<ArcStr, mpsc::Sender<Order>>>> = LazyLock::new(Mutex::default);

fn open() -> MutexGuard<'static, HashMap<ArcStr, mpsc::Sender<Order>>> {
    OPEN.lock().unwrap_or_else(|p| p.into_inner())
}

/// A connection in the pool for as long as this lives.
pub(super) struct Session {
    pub(super) id: ArcStr,
    orders: mpsc::Receiver<Order>,
}

impl Session {
    pub(super) fn open() -> Session {
        let (tell, orders) = mpsc::channel(WAITING_MAX);
        let id: ArcStr = id::hex16();
        open().insert(id.clone(), tell);
        Session { id, orders }
    }

    /// What `msg._session` is.
    pub(super) fn object(&self) -> Object {
        let mut object = Object::with_capacity(2);
        object.insert("type", "tcp");
        object.insert("id", self.id.clone());
        object
    }

    /// Carries bytes both ways until either side ends it; what comes is handed to `received`.
    pub(super) async fn carry(&mut self, stream: Box<dyn Stream>, mut received: impl FnMut(&[u8])) {
        let (read, write) = tokio::io::split(stream);
        carry(read, write, &mut self.orders, &mut received).await;
    }
}

async fn carry(
    mut read: ReadHalf<Box<dyn Stream>>,
    mut write: WriteHalf<Box<dyn Stream>>,
    orders: &mut mpsc::Receiver<Order>,
    received: &mut impl FnMut(&[u8]),
) {
    let mut buffer = vec![0; 65_536];
    loop {
        tokio::select! {
            read = read.read(&mut buffer) => match read {
                Ok(0) | Err(_) => break,
                Ok(n) => received(&buffer[..n]),
            },
            order = orders.recv() => match order {
                Some(Order::Write(bytes)) if write.write_all(&bytes).await.is_ok() => {}
                _ => break,
            },
        }
    }
    // What was to be said before the end is said; the other side may have gone.
    while let Ok(Order::Write(bytes)) = orders.try_recv() {
        if write.write_all(&bytes).await.is_err() {
            break;
        }
    }
    let _ = write.shutdown().await.is_ok();
}

impl Drop for Session {
    fn drop(&mut self) {
        open().remove(&self.id);
    }
}

fn tell(id: &str, connection: &mpsc::Sender<Order>, order: Order) {
    if let Err(mpsc::error::TrySendError::Full(_)) = connection.try_send(order) {
        tracing::warn!(connection = id, "a TCP connection that takes too little of what it is sent is closed");
        open().remove(id);
    }
}

/// To one connection; one that is gone is told nothing.
pub(super) fn to(id: &str, order: Order) {
    let connection = open().get(id).cloned();
    if let Some(connection) = connection {
        tell(id, &connection, order);
    }
}

/// To every connection there is.
pub(super) fn to_all(order: impl Fn() -> Order) {
    let all: Vec<_> = open().iter().map(|(id, connection)| (id.clone(), connection.clone())).collect();
    for (id, connection) in all {
        tell(&id, &connection, order());
    }
}
