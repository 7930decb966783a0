//! Listener and client against real sockets.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;

use super::super::rig::{Rig, msg};
use super::*;
use crate::runtime::Event;
use crate::runtime::sockets::Connected;

/// The client's other side: echoes in capitals, and says what it was offered.
async fn echo() -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
                while let Some(Ok(message)) = socket.next().await {
                    match message {
                        Message::Text(text) if text.as_str() == "end" => return,
                        Message::Text(text) => {
                            socket.send(Message::text(text.as_str().to_uppercase())).await.unwrap();
                        }
                        Message::Binary(bytes) => socket.send(Message::Binary(bytes)).await.unwrap(),
                        _ => {}
                    }
                }
            });
        }
    });
    address
}

/// Waits in real time, for what real sockets do.
async fn until(what: &str, mut there: impl FnMut() -> bool) {
    let patience = tokio::time::timeout(Duration::from_secs(20), async {
        while !there() {
            tokio::task::yield_now().await;
        }
    });
    assert!(patience.await.is_ok(), "{what}");
}

fn statuses(rig: &Rig, of: &str) -> Vec<String> {
    let all = rig.events().into_iter().filter_map(|event| match event {
        Event::Status { node, status } if node == of => Some(status.text.to_string()),
        _ => None,
    });
    all.collect()
}

fn flow(config: &str, user: &str) -> String {
    format!(
        r#"[{{"id":"t","type":"tab","label":"t"}},{config},
            {{"id":"i","z":"t","type":"websocket in",{user},"x":1,"y":1,"wires":[[]]}},
            {{"id":"o","z":"t","type":"websocket out",{user},"x":1,"y":1,"wires":[]}}]"#
    )
}

#[tokio::test]
async fn a_client_sends_receives_and_connects_again() {
    let address = echo().await;
    let config = format!(r#"{{"id":"c","type":"websocket-client","path":"ws://{address}/x","hb":"0"}}"#);
    let rig = Rig::of_flow(&flow(&config, r#""client":"c""#));
    assert_eq!(rig.problems(), []);
    until("it connects", || !statuses(&rig, "i").is_empty()).await;
    assert_eq!(statuses(&rig, "i"), ["connected "]);
    let out = rig.index("o");
    rig.inject(out, msg(r#"{"payload":"hello"}"#)).await;
    until("it is answered", || !rig.out().is_empty()).await;
    let (_, _, answer) = rig.out().remove(0);
    assert_eq!(answer.payload(), &"HELLO".into());
    assert_eq!(answer.get("_session").unwrap().get("type"), "websocket".into());
    // The other side ends it: it is told, and three seconds later there is another connection.
    rig.inject(out, msg(r#"{"payload":"end"}"#)).await;
    until("the end is told", || statuses(&rig, "i").last().is_some_and(|s| s == "disconnected")).await;
    let told = rig.inject(out, msg(r#"{"payload":"x"}"#)).await;
    assert!(told.error.is_none() && rig.complaints().iter().any(|c| c.contains("WebSocket is not open")));
    rig.settle().await;
    rig.clock.advance(Duration::from_secs(3));
    until("it connects again", || statuses(&rig, "i") == ["connected ", "disconnected", "connected "]).await;
}

#[tokio::test]
async fn a_client_without_a_pong_is_given_up() {
    // Takes the connection and the handshake, and then says nothing.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        std::future::pending::<()>().await;
        drop(socket);
    });
    let config = format!(r#"{{"id":"c","type":"websocket-client","path":"ws://{address}/","hb":"5"}}"#);
    let rig = Rig::of_flow(&flow(&config, r#""client":"c""#));
    until("it connects", || !statuses(&rig, "i").is_empty()).await;
    for _ in 0..2 {
        rig.advance(Duration::from_secs(5)).await;
    }
    until("it is given up", || statuses(&rig, "i").contains(&"error".to_string())).await;
}

/// A caller of the listener, past `api`.
fn call(rig: &Rig, path: &str) -> (tokio::sync::mpsc::Sender<Frame>, tokio::sync::mpsc::Receiver<Frame>) {
    let (send, incoming) = tokio::sync::mpsc::channel(8);
    let (outgoing, receive) = tokio::sync::mpsc::channel(8);
    rig.engine.current().sockets.find(path).unwrap().enter(Connected { incoming, outgoing });
    (send, receive)
}

#[tokio::test]
async fn a_listener_replies_to_one_and_tells_all() {
    let config = r#"{"id":"s","type":"websocket-listener","path":"/ws","wholemsg":"false"}"#;
    let rig = Rig::of_flow(&flow(config, r#""server":"s""#));
    let ((first, mut to_first), (second, mut to_second)) = (call(&rig, "/ws"), call(&rig, "/ws"));
    until("both are counted", || statuses(&rig, "o").len() == 2).await;
    assert_eq!(statuses(&rig, "o"), ["connected 1", "connected 2"]);
    first.send(Frame::Text("from the first".into())).await.unwrap();
    until("it is received", || !rig.out().is_empty()).await;
    let (_, _, received) = rig.out().remove(0);
    let out = rig.index("o");
    let mut reply = received.clone();
    reply.set("payload", Value::Bytes(vec![1, 2].into()));
    rig.inject(out, reply).await;
    assert_eq!(to_first.recv().await, Some(Frame::Binary(vec![1, 2].into())));
    rig.inject(out, msg(r#"{"payload":{"a":1}}"#)).await;
    assert_eq!(to_first.recv().await, Some(Frame::Text(r#"{"a":1}"#.into())));
    assert_eq!(to_second.recv().await, Some(Frame::Text(r#"{"a":1}"#.into())));
    // Nothing and the empty text are not sent.
    rig.inject(out, msg(r#"{"payload":""}"#)).await;
    rig.inject(out, msg("{}")).await;
    assert!(to_first.try_recv().is_err());
    drop(second);
    until("the end is told", || statuses(&rig, "o").len() == 3).await;
    assert_eq!(statuses(&rig, "o")[2], "connected 1");
    // With the flows the connections end.
    rig.engine.deploy_idle(Default::default());
    assert_eq!(to_first.recv().await, None);
}

#[tokio::test]
async fn whole_messages_travel_as_json() {
    let config = r#"{"id":"s","type":"websocket-listener","path":"ws","wholemsg":"true"}"#;
    let rig = Rig::of_flow(&flow(config, r#""server":"s""#));
    let (send, mut receive) = call(&rig, "/ws");
    for (sent, payload) in
        [(r#"{"payload":1,"x":2}"#, "1"), ("[1]", "[1]"), ("null", "null"), ("no json", "\"no json\"")]
    {
        let before = rig.out().len();
        send.send(Frame::Text(sent.into())).await.unwrap();
        until(sent, || rig.out().len() > before).await;
        assert_eq!(rig.out()[before].2.payload().to_json(), payload);
    }
    assert_eq!(rig.out()[0].2.get("x"), Some(&2.into()));
    rig.inject(rig.index("o"), msg(r#"{"payload":1,"_msgid":"m","topic":"t"}"#)).await;
    assert_eq!(receive.recv().await, Some(Frame::Text(r#"{"payload":1,"_msgid":"m","topic":"t"}"#.into())));
}

#[tokio::test]
async fn what_cannot_be_used_is_told() {
    let rig = Rig::of_flow(&flow(r#"{"id":"c","type":"websocket-client","path":"http://x"}"#, r#""client":"c""#));
    let codes: Vec<String> = rig.problems().iter().map(|d| d.code.clone()).collect();
    assert_eq!(codes, ["invalid-url", "unusable-reference", "unusable-reference"]);
    let two = r#"{"id":"a","type":"websocket-listener","path":"/a"},{"id":"b","type":"websocket-listener","path":"a"}"#;
    let rig = Rig::of_flow(&flow(two, r#""server":"a""#));
    assert!(rig.problems()[0].message.contains("Cannot have two WebSocket listeners on the same path: /a"));
}
