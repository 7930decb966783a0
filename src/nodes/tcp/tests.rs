//! The nodes against real sockets.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::rig::{Rig, msg, node};
use crate::model::flow::PlanNode;
use crate::runtime::{Event, Limits};

fn rig(nodes: Vec<PlanNode>) -> Rig {
    Rig::with(nodes, Limits::default(), |services| {
        services.nodes_allowed = ["tcp in", "tcp out", "tcp request"].map(String::from).into();
    })
}

/// Waits in real time, for what real sockets do.
async fn until<T>(what: &str, mut there: impl FnMut() -> Option<T>) -> T {
    let patience = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            if let Some(found) = there() {
                return found;
            }
            tokio::task::yield_now().await;
        }
    });
    patience.await.unwrap_or_else(|_| panic!("{what}"))
}

/// The port that a node tells in its status.
async fn port(rig: &Rig, of: &str) -> u16 {
    let told = || {
        rig.events().into_iter().find_map(|event| match event {
            Event::Status { node, status } if node == of => {
                status.text.strip_prefix("listening on port ")?.parse().ok()
            }
            _ => None,
        })
    };
    until("it listens", told).await
}

async fn payloads(rig: &Rig, count: usize) -> Vec<String> {
    until("messages come", || {
        let out = rig.out();
        (out.len() >= count).then(|| out.iter().map(|(_, _, msg)| msg.payload().to_json()).collect())
    })
    .await
}

/// A server that answers each line in capitals, and ends the connection at `end`.
async fn shouting() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 1024];
                while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                    let text = String::from_utf8_lossy(&buffer[..n]).to_uppercase();
                    if text.contains("END") || stream.write_all(text.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn nobody_is_connected_unless_the_operator_says_so() {
    for node_type in ["tcp in", "tcp out", "tcp request"] {
        let rig = Rig::new(vec![node("n", node_type, r#"{"server":"server","port":"0"}"#, &[])]);
        rig.inject(0, msg(r#"{"payload":"x"}"#)).await;
        let told = rig.complaints().join("\n");
        assert!(told.contains(&format!("nodes.allow = [\"{node_type}\"]")), "{told}");
    }
}

#[tokio::test]
async fn what_comes_is_cut_into_messages_and_answered_by_its_session() {
    let lines = r#"{"server":"server","port":"0","datamode":"stream","datatype":"utf8","newline":"\\n","topic":"t"}"#;
    let rig = rig(vec![node("in", "tcp in", lines, &[&[1]]), node("back", "tcp out", r#"{"beserver":"reply"}"#, &[])]);
    let mut caller = TcpStream::connect(("127.0.0.1", port(&rig, "in").await)).await.unwrap();
    caller.write_all(b"one\ntw").await.unwrap();
    let mut answer = [0; 3];
    caller.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"one");
    caller.write_all(b"o\n").await.unwrap();
    caller.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"two");
    // With the flow its connections end.
    rig.engine.deploy(Default::default());
    assert_eq!(caller.read(&mut answer).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_message_says_from_whom_it_is_and_one_may_come_at_the_end() {
    let whole = r#"{"server":"server","port":"0","datamode":"single","datatype":"base64","topic":"t"}"#;
    let rig = rig(vec![node("in", "tcp in", whole, &[])]);
    let mut caller = TcpStream::connect(("127.0.0.1", port(&rig, "in").await)).await.unwrap();
    let own = caller.local_addr().unwrap().port();
    caller.write_all(&[1, 2]).await.unwrap();
    caller.shutdown().await.unwrap();
    assert_eq!(payloads(&rig, 1).await, ["\"AQI=\""]);
    let (_, _, msg) = rig.out().remove(0);
    assert_eq!(msg.get("ip").unwrap().as_str(), Some("127.0.0.1"));
    assert_eq!(msg.get("port").unwrap().as_f64(), Some(f64::from(own)));
    assert_eq!(msg.get("topic").unwrap().as_str(), Some("t"));
    assert_eq!(msg.get("_session").unwrap().get("type").as_str(), Some("tcp"));
}

#[tokio::test]
async fn a_client_gets_what_its_server_says_and_sends_what_it_is_given() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().port();
    let client = format!(r#"{{"server":"client","host":"127.0.0.1","port":"{at}","datatype":"utf8"}}"#);
    let sender = format!(r#"{{"beserver":"client","host":"127.0.0.1","port":"{at}","base64":true}}"#);
    let rig = rig(vec![node("in", "tcp in", &client, &[]), node("out", "tcp out", &sender, &[])]);
    let (mut one, _) = listener.accept().await.unwrap();
    let (mut other, _) = listener.accept().await.unwrap();
    let connected = || {
        let count = |event: &Event| matches!(event, Event::Status { status, .. } if status.text == "connected");
        (rig.events().iter().filter(|event| count(event)).count() == 2).then_some(())
    };
    until("both are connected", connected).await;
    rig.inject(1, msg(r#"{"payload":"aGk="}"#)).await;
    // Which of them is the sender's is not known.
    let (mut first, mut second) = ([0; 2], [0; 2]);
    let sent = tokio::select! {
        read = one.read_exact(&mut first) => read.map(|_| first),
        read = other.read_exact(&mut second) => read.map(|_| second),
    };
    assert_eq!(&sent.unwrap(), b"hi");
    for stream in [&mut one, &mut other] {
        stream.write_all(b"yo").await.unwrap();
    }
    assert_eq!(payloads(&rig, 1).await, ["\"yo\""]);
}

#[tokio::test]
async fn everybody_who_connects_is_sent_what_comes() {
    let rig = rig(vec![node("out", "tcp out", r#"{"beserver":"server","port":"0","end":true}"#, &[])]);
    let port = port(&rig, "out").await;
    let mut callers = [
        TcpStream::connect(("127.0.0.1", port)).await.unwrap(),
        TcpStream::connect(("127.0.0.1", port)).await.unwrap(),
    ];
    let both = || {
        let two = |event: &Event| matches!(event, Event::Status { status, .. } if status.text == "2 connections");
        rig.events().iter().any(two).then_some(())
    };
    until("both are counted", both).await;
    rig.inject(0, msg(r#"{"payload":{"a":1}}"#)).await;
    for caller in &mut callers {
        let mut all = String::new();
        caller.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "[object Object]", "as Node.js writes an object");
    }
}

#[tokio::test]
async fn an_answer_ends_where_the_node_says() {
    let at = shouting().await;
    let ask = async |rest: &str, payload: &str| {
        let config = format!(r#"{{"server":"127.0.0.1","port":"{at}",{rest}}}"#);
        let rig = rig(vec![node("ask", "tcp request", &config, &[])]);
        let run = rig.inject(0, msg(&format!(r#"{{"payload":{payload},"k":1}}"#)));
        tokio::pin!(run);
        // A pause after the first byte is over when the clock says so.
        loop {
            tokio::select! {
                _ = &mut run => break,
                () = tokio::task::yield_now() => rig.clock.advance(Duration::from_millis(1)),
            }
        }
        (rig.take(), rig.complaints())
    };
    let said = |text: &str| (vec![text.to_string()], Vec::<String>::new());
    assert_eq!(
        ask(r#""out":"char","splitc":"\\n","ret":"string""#, r#""a\nb""#).await,
        said(r#"{"payload":"A\n","k":1}"#)
    );
    assert_eq!(
        ask(r#""out":"count","splitc":"2","ret":"string""#, r#""abc""#).await,
        said(r#"{"payload":"AB","k":1}"#)
    );
    assert_eq!(
        ask(r#""out":"time","splitc":"10","ret":"string""#, r#""abc""#).await,
        said(r#"{"payload":"ABC","k":1}"#)
    );
    assert_eq!(ask(r#""out":"immed""#, r#""abc""#).await, (vec![], vec![]));
    let (out, told) = ask(r#""out":"char","splitc":"x""#, r#""end""#).await;
    assert!(out.is_empty() && told[0].contains("ended before its answer"), "{told:?}");
}

#[tokio::test]
async fn a_connection_may_stay_open_and_is_closed_when_told() {
    let at = shouting().await;
    let config = r#"{"out":"sit","ret":"string","newline":"\\n"}"#;
    let rig = rig(vec![node("ask", "tcp request", config, &[])]);
    let to = format!(r#""host":"127.0.0.1","port":{at}"#);
    rig.inject(0, msg(&format!(r#"{{"payload":"a\n",{to}}}"#))).await;
    assert_eq!(payloads(&rig, 1).await, ["\"A\""]);
    rig.inject(0, msg(&format!(r#"{{"payload":"b\nc\n",{to}}}"#))).await;
    assert_eq!(payloads(&rig, 3).await, ["\"A\"", "\"B\"", "\"C\""]);
    rig.inject(0, msg(r#"{"reset":true}"#)).await;
    let closed = || {
        let none = |event: &Event| matches!(event, Event::Status { status, .. } if status.text == "0 connections");
        rig.events().iter().any(none).then_some(())
    };
    until("it says so", closed).await;
}

#[tokio::test]
async fn hosts_that_may_not_be_reached_are_refused() {
    let config = r#"{"server":"169.254.169.254","port":"80","out":"time","splitc":"0"}"#;
    let rig = rig(vec![node("ask", "tcp request", config, &[])]);
    rig.inject(0, msg(r#"{"payload":"x"}"#)).await;
    assert!(rig.complaints()[0].contains("net.allow"), "{:?}", rig.complaints());
}
