//! `websocket-client`: connects when the first node uses it, and again three seconds after a connection has ended.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use url::Url;

use super::Task;
use super::hub::{Hub, Told};
use crate::model::{Msg, id};
use crate::net::{Encryption, Stream, Tls};
use crate::runtime::sockets::{FRAMES_MAX, Frame, MESSAGE_BYTES_MAX};
use crate::runtime::{Cx, Node, Services, Step};

/// Until it is tried again.
const AGAIN: Duration = Duration::from_secs(3);

pub(super) struct Client {
    pub(super) url: Url,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) protocols: Vec<String>,
    pub(super) heartbeat: Option<Duration>,
    pub(super) hub: Arc<Hub>,
    pub(super) services: Arc<Services>,
}

type Socket = WebSocketStream<Box<dyn Stream>>;

impl Client {
    async fn connect(&self) -> Result<Socket, String> {
        let host = self.url.host_str().unwrap_or_default();
        let secure = self.url.scheme() == "wss";
        let port = self.url.port_or_known_default().unwrap_or(if secure { 443 } else { 80 });
        let how = match &self.tls {
            _ if !secure => Encryption::None,
            Some(tls) => Encryption::With(tls),
            None => Encryption::System,
        };
        let stream = self.services.net.connect(host, port, how).await.map_err(|e| e.to_string())?;
        let mut url = self.url.clone();
        // Both cannot fail for a URL with a host; the login goes in a header.
        let login = crate::registry::basic_login(&self.url);
        let _ = url.set_username("").and_then(|()| url.set_password(None)).is_ok();
        let mut request = url.as_str().into_client_request().map_err(|e| e.to_string())?;
        let headers = request.headers_mut();
        if let Some(login) = login.and_then(|login| HeaderValue::from_str(&login).ok()) {
            headers.insert("authorization", login);
        }
        headers.extend(self.headers.iter().cloned());
        if !self.protocols.is_empty()
            && let Ok(protocols) = HeaderValue::from_str(&self.protocols.join(","))
        {
            headers.insert("sec-websocket-protocol", protocols);
        }
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let handshake = client_async_with_config(request, stream, Some(config));
        let limit = Duration::from_millis(self.services.net.options().connect_ms_max);
        match tokio::time::timeout(limit, handshake).await {
            Ok(Ok((socket, _))) => Ok(socket),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer to the handshake within {} ms", limit.as_millis())),
        }
    }

    /// Carries frames both ways until the connection ends; true when it broke rather than ended.
    async fn carry(&self, mut socket: Socket, mut outgoing: mpsc::Receiver<Frame>, id: &arcstr::ArcStr) -> bool {
        let clock = self.services.clock.clone();
        let period = self.heartbeat.unwrap_or(Duration::MAX);
        let mut beat = Box::pin(clock.sleep(period));
        let mut waits_for_pong = false;
        loop {
            tokio::select! {
                received = socket.next() => match received {
                    Some(Ok(Message::Text(text))) => self.hub.received(id, Frame::Text(text.as_str().into())).await,
                    Some(Ok(Message::Binary(bytes))) => self.hub.received(id, Frame::Binary(bytes)).await,
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => waits_for_pong = false,
                    Some(Ok(Message::Close(_)) | Err(Error::ConnectionClosed)) | None => return false,
                    // Gone without a goodbye: Node-RED calls that the end, too.
                    Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => return false,
                    Some(Ok(Message::Frame(_))) => {}
                    Some(Err(_)) => return true,
                },
                frame = outgoing.recv() => {
                    let message = match frame {
                        Some(Frame::Text(text)) => Message::Text(Utf8Bytes::from(text.to_string())),
                        Some(Frame::Binary(bytes)) => Message::Binary(bytes),
                        None => {
                            // It is to end, whether or not the other side hears of it.
                            let _ = socket.close(None).await.is_ok();
                            return false;
                        }
                    };
                    if socket.send(message).await.is_err() {
                        return true;
                    }
                }
                () = &mut beat, if self.heartbeat.is_some() => {
                    if waits_for_pong || socket.send(Message::Ping(Default::default())).await.is_err() {
                        return true;
                    }
                    waits_for_pong = true;
                    beat = Box::pin(clock.sleep(period));
                }
            }
        }
    }

    async fn keep_up(self: Arc<Self>) {
        let mut used = self.hub.used.subscribe();
        loop {
            let wanted = used.wait_for(|used| *used != Some(false)).await.is_ok_and(|used| used.is_some());
            if !wanted {
                return;
            }
            match self.connect().await {
                Ok(socket) => {
                    let (sender, outgoing) = mpsc::channel(FRAMES_MAX);
                    let Some(id) = self.hub.open(sender) else { return };
                    let broke = self.carry(socket, outgoing, &id).await;
                    if broke {
                        self.hub.tell(Told::Failed, &id);
                    }
                    self.hub.end(&id);
                }
                Err(problem) => {
                    tracing::warn!(url = %shown(&self.url), "no websocket: {problem}");
                    self.hub.tell(Told::Failed, &id::hex16());
                }
            }
            tokio::select! {
                () = self.services.clock.sleep(AGAIN) => {}
                () = stopped(&mut used) => return,
            }
        }
    }
}

/// Resolves when the flows have stopped.
async fn stopped(used: &mut watch::Receiver<Option<bool>>) {
    // An error means that the node is gone.
    let _ = used.wait_for(Option::is_none).await.is_ok();
}

/// The address without login and query.
fn shown(url: &Url) -> String {
    format!("{}://{}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

impl Node for Client {
    fn on_msg(&self, _msg: Msg, _cx: &mut Cx<'_>) -> Step {
        Step::Done
    }

    fn shared(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        Some(self.hub.clone())
    }

    fn keep(&self) -> Option<Task> {
        let this = Arc::new(Client {
            url: self.url.clone(),
            tls: self.tls.clone(),
            headers: self.headers.clone(),
            protocols: self.protocols.clone(),
            heartbeat: self.heartbeat,
            hub: self.hub.clone(),
            services: self.services.clone(),
        });
        // On a task of its own, which closes the connection when the flows stop.
        tokio::spawn(this.keep_up());
        None
    }

    fn close(&self) -> Option<Task> {
        self.hub.close();
        None
    }
}
