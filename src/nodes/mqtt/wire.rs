//! Bytes to and from a broker: over TCP, TLS, or in a websocket's messages.

use bytes::BytesMut;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::settings::Settings;
use crate::net::{Encryption, Net, Stream};

pub(super) enum Wire {
    Plain(Box<dyn Stream>),
    Socket(Box<WebSocketStream<Box<dyn Stream>>>),
}

impl Wire {
    pub(super) async fn connect(net: &Net, settings: &Settings) -> Result<Wire, String> {
        let how = match &settings.tls {
            _ if !settings.is_secure() => Encryption::None,
            Some(tls) => Encryption::With(tls),
            None => Encryption::System,
        };
        let host = settings.url.host_str().unwrap_or_default();
        let stream = net.connect(host, settings.port(), how).await.map_err(|e| e.to_string())?;
        if !matches!(settings.url.scheme(), "ws" | "wss") {
            return Ok(Wire::Plain(stream));
        }
        let mut url = settings.url.clone();
        // Both cannot fail for a URL with a host.
        let _ = url.set_username("").and_then(|()| url.set_password(None)).is_ok();
        let mut request = url.as_str().into_client_request().map_err(|e| e.to_string())?;
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("mqtt"));
        let (socket, _) = client_async(request, stream).await.map_err(|e| e.to_string())?;
        Ok(Wire::Socket(Box::new(socket)))
    }

    /// What comes next; an error, or the end of the connection.
    pub(super) async fn read(&mut self) -> Result<BytesMut, String> {
        match self {
            Wire::Plain(stream) => {
                let mut bytes = BytesMut::with_capacity(16 * 1024);
                match stream.read_buf(&mut bytes).await {
                    Ok(0) => Err("the broker closed the connection".into()),
                    Ok(_) => Ok(bytes),
                    Err(error) => Err(error.to_string()),
                }
            }
            Wire::Socket(socket) => loop {
                match socket.next().await {
                    Some(Ok(Message::Binary(bytes))) => return Ok(BytesMut::from(bytes.as_ref())),
                    Some(Ok(Message::Close(_))) | None => return Err("the broker closed the connection".into()),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(error.to_string()),
                }
            },
        }
    }

    pub(super) async fn write(&mut self, bytes: Vec<u8>) -> Result<(), String> {
        match self {
            Wire::Plain(stream) => {
                stream.write_all(&bytes).await.map_err(|e| e.to_string())?;
                stream.flush().await.map_err(|e| e.to_string())
            }
            Wire::Socket(socket) => socket.send(Message::Binary(bytes.into())).await.map_err(|e| e.to_string()),
        }
    }

    pub(super) async fn close(mut self) {
        // It is over, whether or not the other side hears of it.
        let _ = match &mut self {
            Wire::Plain(stream) => stream.shutdown().await.is_ok(),
            Wire::Socket(socket) => socket.close().await.is_ok(),
        };
    }
}
