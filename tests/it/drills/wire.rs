//! A TCP proxy between one replica and Postgres whose line can be slowed, silenced (what is sent arrives late, as after a
//! partition) and refused.

use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::pause;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Each piece of data takes this long, in both directions.
    Open(Duration),
    /// Nothing arrives and nothing ends; what was sent meanwhile arrives when the line is open again.
    Silent,
    /// Connections are cut, and new ones at once.
    Refused,
}

pub(super) const OPEN: Line = Line::Open(Duration::ZERO);

/// Where the other end is.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Port(u16),
    Socket(PathBuf),
}

pub(super) struct Wire {
    pub(super) port: u16,
    line: watch::Sender<Line>,
    accepting: JoinHandle<()>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Wire {
    pub(super) async fn to(target: Target) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (line, seen) = watch::channel(OPEN);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *seen.borrow() != Line::Refused {
                    tokio::spawn(carry(client, target.clone(), seen.clone()));
                }
            }
        });
        Wire { port, line, accepting }
    }

    pub(super) fn set(&self, line: Line) {
        self.line.send_replace(line);
    }
}

/// One connection, until either side ends it or the line is refused.
async fn carry(client: TcpStream, target: Target, mut line: watch::Receiver<Line>) {
    client.set_nodelay(true).ok();
    let (from_client, to_client) = client.into_split();
    let mut ended = line.clone();
    let refused = async { ended.wait_for(|line| *line == Line::Refused).await.is_ok() };
    let carried = async {
        // A connection that is made while the line is silent is made when it is open again.
        line.wait_for(|line| *line != Line::Silent).await.ok()?;
        match target {
            Target::Port(port) => {
                let (from, to) = TcpStream::connect(("127.0.0.1", port)).await.ok()?.into_split();
                both(pump(from_client, to, line.clone()), pump(from, to_client, line)).await;
            }
            Target::Socket(path) => {
                let (from, to) = UnixStream::connect(path).await.ok()?.into_split();
                both(pump(from_client, to, line.clone()), pump(from, to_client, line)).await;
            }
        }
        Some(())
    };
    tokio::select! {
        _ = refused => {}
        _ = carried => {}
    }
}

/// One side's end is the end of both.
async fn both(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    tokio::select! {
        () = one => {}
        () = other => {}
    }
}

async fn pump(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut line: watch::Receiver<Line>,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = match from.read(&mut buffer).await {
            Ok(read) if read > 0 => read,
            _ => 0,
        };
        let open = line.wait_for(|line| matches!(line, Line::Open(_))).await.map(|line| *line);
        let Ok(Line::Open(delay)) = open else { return };
        if !delay.is_zero() {
            pause(delay).await;
        }
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
