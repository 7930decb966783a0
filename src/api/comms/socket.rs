//! One editor's websocket: who it is, what it subscribes to, frames every 50 ms, a heartbeat.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use serde_json::Value as Json;

use super::listener::Listener;
use super::{Comms, frame};
use crate::api::serve::Peer;
use crate::api::{Api, guard};

/// Frames are this far apart at least.
const FRAME_EVERY: Duration = Duration::from_millis(50);

/// `webSocketKeepAliveTime`.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);

/// A client that has not said who it is by then is sent away.
const AUTH_WITHIN: Duration = Duration::from_secs(30);

/// The longest message a client may send, bytes: it only subscribes.
pub(in crate::api) const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// Serves one editor until it leaves or the server stops.
pub(in crate::api) async fn serve(api: Arc<Api>, comms: Arc<Comms>, peer: Peer, mut socket: WebSocket) {
    let clock = comms.clock.clone();
    let mut stopping = api.stopping.subscribe();
    let mut editor = Editor { comms: comms.clone(), api, peer, listener: None };
    if editor.api.options.auth.is_open() {
        editor.listener = Some(comms.listen());
    }
    let mut heartbeat = Box::pin(clock.sleep(HEARTBEAT_EVERY));
    let mut patience = Box::pin(clock.sleep(AUTH_WITHIN));
    loop {
        let listener = editor.listener.clone();
        let next = async {
            match &listener {
                Some(listener) => {
                    listener.something().await;
                    clock.sleep(FRAME_EVERY).await;
                }
                None => std::future::pending().await,
            }
        };
        let step = tokio::select! {
            biased;
            // An error means that the server is gone.
            _ = async { stopping.wait_for(|stop| *stop).await.is_ok() } => ControlFlow::Break(()),
            received = socket.recv() => match received {
                Some(Ok(message)) => editor.hear(message, &mut socket).await,
                _ => ControlFlow::Break(()),
            },
            () = &mut heartbeat => {
                heartbeat = Box::pin(clock.sleep(HEARTBEAT_EVERY));
                if let Some(listener) = &listener {
                    listener.tell(frame("hb", &clock.now().as_millisecond().to_string()), false);
                }
                ControlFlow::Continue(())
            }
            () = &mut patience, if listener.is_none() => ControlFlow::Break(()),
            () = next => match listener.as_ref().and_then(|l| l.take(clock.now().as_millisecond())) {
                Some(frame) => sent(socket.send(Message::text(frame)).await),
                None => ControlFlow::Break(()),
            },
        };
        if step.is_break() {
            break;
        }
    }
    // A client that is gone cannot be told so.
    let _ = socket.send(Message::Close(None)).await.is_ok();
}

fn sent(result: Result<(), axum::Error>) -> ControlFlow<()> {
    if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

/// The client of one websocket.
struct Editor {
    api: Arc<Api>,
    comms: Arc<Comms>,
    peer: Peer,
    /// `None` until it has said who it is.
    listener: Option<Arc<Listener>>,
}

impl Editor {
    async fn hear(&mut self, message: Message, socket: &mut WebSocket) -> ControlFlow<()> {
        let text = match &message {
            Message::Text(text) => text.as_str(),
            Message::Close(_) => return ControlFlow::Break(()),
            _ => return ControlFlow::Continue(()),
        };
        // What is no JSON is ignored, as Node-RED does.
        let Ok(packet) = serde_json::from_str::<Json>(text) else { return ControlFlow::Continue(()) };
        if let Some(token) = packet.get("auth").and_then(Json::as_str).filter(|token| !token.is_empty()) {
            let known = guard::admit_comms(&self.api, &self.peer, Some(token)).await;
            return self.admitted(known, true, socket).await;
        }
        if self.listener.is_none() {
            let known = guard::admit_comms(&self.api, &self.peer, None).await;
            if self.admitted(known, false, socket).await.is_break() {
                return ControlFlow::Break(());
            }
        }
        if let (Some(pattern), Some(listener)) = (packet.get("subscribe").and_then(Json::as_str), &self.listener) {
            self.comms.replay(pattern, listener);
        }
        ControlFlow::Continue(())
    }

    async fn admitted(&mut self, known: bool, answered: bool, socket: &mut WebSocket) -> ControlFlow<()> {
        if !known {
            let _ = socket.send(Message::text(r#"{"auth":"fail"}"#)).await.is_ok();
            return ControlFlow::Break(());
        }
        if self.listener.is_none() {
            self.listener = Some(self.comms.listen());
        }
        if answered { sent(socket.send(Message::text(r#"{"auth":"ok"}"#)).await) } else { ControlFlow::Continue(()) }
    }
}
