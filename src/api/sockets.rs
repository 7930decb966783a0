//! Websockets of flows: from a caller's upgrade to the listener on that path, then frames both ways.

use axum::extract::FromRequestParts;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, header};
use tokio::sync::mpsc;

use crate::runtime::sockets::{Connected, Door, FRAMES_MAX, Frame, MESSAGE_BYTES_MAX};

/// Whether a caller asks for a websocket.
pub(super) fn is_asked_for(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Answers the handshake and takes the connection to its listener.
pub(super) async fn answer(mut head: Parts, door: Door) -> Response {
    // The first that the caller offers is agreed on, as `ws` does without a choice of its own.
    let offered = head.headers.get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok());
    let first = offered.and_then(|all| all.split(',').next()).map(|protocol| protocol.trim().to_string());
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut head, &()).await {
        Ok(upgrade) => upgrade,
        Err(refusal) => return refusal.into_response(),
    };
    upgrade
        .protocols(first)
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        .on_upgrade(move |socket| carry(socket, door))
}

/// Carries frames both ways until either side ends it. A caller whose messages are not taken fast enough waits.
async fn carry(mut socket: WebSocket, door: Door) {
    let (received, incoming) = mpsc::channel(64);
    let (outgoing, mut to_send) = mpsc::channel(FRAMES_MAX);
    door.enter(Connected { incoming, outgoing });
    loop {
        tokio::select! {
            message = socket.recv() => {
                let frame = match message {
                    Some(Ok(Message::Text(text))) => Frame::Text(text.as_str().into()),
                    Some(Ok(Message::Binary(bytes))) => Frame::Binary(bytes),
                    // Pings are answered by the protocol.
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                };
                if received.send(frame).await.is_err() {
                    return;
                }
            }
            frame = to_send.recv() => {
                let message = match frame {
                    Some(Frame::Text(text)) => Message::Text(Utf8Bytes::from(text.as_str())),
                    Some(Frame::Binary(bytes)) => Message::Binary(bytes),
                    None => Message::Close(None),
                };
                let end = matches!(message, Message::Close(_));
                if socket.send(message).await.is_err() || end {
                    return;
                }
            }
        }
    }
}
