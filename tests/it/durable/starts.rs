//! Runs that nodes of a durable tab begin by themselves, or for later: committed before they count, whoever dies.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::SinkExt;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tokio_tungstenite::tungstenite::Message;

use super::{Receiver, post_async, queue, serve};
use crate::harness::mosquitto::Mosquitto;
use crate::harness::postgres;
use crate::io::Flows;
use crate::serve::{Folder, Server, until};

/// A durable tab whose node `send` passes what comes on to the receiver, as every other `http request` does.
struct Bed {
    database: String,
    receiver: Arc<Receiver>,
    folder: Folder,
}

impl Bed {
    async fn new(nodes: &[Value]) -> Bed {
        let (database, receiver, folder) = (postgres::database().await, Receiver::serve().await, Folder::new());
        let mut flows = vec![
            json!({"id": "t", "type": "tab", "label": "durable", "durability": "durable"}),
            json!({"id": "send", "z": "t", "type": "http request", "method": "POST", "ret": "txt", "x": 1, "y": 1,
                "wires": [[]]}),
        ];
        flows.extend_from_slice(nodes);
        for node in flows.iter_mut().filter(|node| node["type"] == "http request") {
            node["url"] = json!(receiver.url);
        }
        folder.write("flows.json", &json!(flows));
        Bed { database, receiver, folder }
    }

    fn start(&self) -> Server {
        Server::start(&mut serve(&self.folder, &self.database))
    }

    /// A life that dies at this place, after `act` was told where it listens, if it came to that.
    async fn dies(&self, place: &str, act: impl AsyncFnOnce(String)) {
        let mut command = serve(&self.folder, &self.database);
        command.env("PROBITY_DURABLE_FAIL_POINTS", place);
        let code = match tokio::task::block_in_place(|| Server::begin(&mut command)) {
            Err((code, _)) => code,
            Ok(server) => {
                act(server.base.clone()).await;
                tokio::task::spawn_blocking(move || server.ended()).await.unwrap().0
            }
        };
        assert_eq!(code, None, "{place}: it was to die by a signal");
    }

    /// Under which keys the receiver was sent this, each of another run.
    fn keys(&self, body: &str) -> BTreeSet<String> {
        self.receiver.got().remove(body).map(|(_, keys)| keys).unwrap_or_default()
    }

    /// Waits until this was sent and nothing is left to do.
    async fn done(&self, server: &Server, body: &str) {
        until("it is sent", async || !self.keys(body).is_empty()).await;
        until("the queue is empty", async || queue(&server.base).await.is_some_and(|items| items.is_empty())).await;
    }

    /// Runs of the tab in the history by how they began.
    async fn runs(&self) -> Vec<(String, i64)> {
        let mut connection = PgConnection::connect(&self.database).await.unwrap();
        let runs = "SELECT trigger_kind, count(*) FROM probity.run WHERE state = 'done' AND subject = 't' \
                    GROUP BY 1 ORDER BY 1";
        sqlx::query_as(runs).fetch_all(&mut connection).await.unwrap()
    }
}

async fn nothing(_: String) {}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_mqtt_is_acknowledged_when_its_run_is_committed() {
    let Some(broker) = Mosquitto::start().await else { return };
    let address = json!({"id": "b", "type": "mqtt-broker", "broker": "127.0.0.1", "port": broker.port.to_string(),
        "clientid": "durable", "cleansession": false, "protocolVersion": "4"});
    let input = json!({"id": "in", "z": "t", "type": "mqtt in", "broker": "b", "topic": "orders", "qos": "1",
        "datatype": "utf8", "x": 1, "y": 1, "wires": [["send"]]});
    let bed = Bed::new(&[address, input]).await;
    let publisher = Flows::deploy(&format!(
        r#"[{{"id":"t","type":"tab","label":"t"}},
            {{"id":"b","type":"mqtt-broker","broker":"127.0.0.1","port":"{}","protocolVersion":"4"}},
            {{"id":"o","z":"t","type":"mqtt out","broker":"b","topic":"orders","qos":"1","x":1,"y":1,"wires":[]}}]"#,
        broker.port
    ));
    publisher.until_status("o", "connected").await;
    let publish = async |body: &str| {
        let message = json!({"payload": body}).to_string();
        assert_eq!(publisher.send("o", &message).await, None);
    };
    // From its first connection on the broker keeps messages for this client.
    let server = bed.start();
    until("it is subscribed", async || {
        publish("hello").await;
        // Not at once again: a broker drops what comes faster than it is taken.
        probity::clock::Clock::System.sleep(Duration::from_millis(200)).await;
        !bed.keys("hello").is_empty()
    })
    .await;
    until("the queue is empty", async || queue(&server.base).await.is_some_and(|items| items.is_empty())).await;
    drop(server);
    for (place, body) in [
        ("accept.before_commit:1", "before"),
        ("accept.after_commit:1", "after"),
        ("dispatch.leased:1", "leased"),
        ("settle.before_commit:1", "settled"),
    ] {
        publish(body).await;
        bed.dies(place, nothing).await;
        let server = bed.start();
        bed.done(&server, body).await;
        if place == "accept.before_commit:1" {
            assert_eq!(bed.keys(body).len(), 1, "what was not committed is no run");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websockets_message_outlives_the_process() {
    let listener = json!({"id": "l", "type": "websocket-listener", "path": "/ws/orders", "wholemsg": "false"});
    let input = json!({"id": "in", "z": "t", "type": "websocket in", "server": "l", "client": "", "x": 1, "y": 1,
        "wires": [["send"]]});
    let bed = Bed::new(&[listener, input]).await;
    bed.dies("dispatch.leased:1", async |base| {
        let host = base.trim_start_matches("http://");
        let stream = tokio::net::TcpStream::connect(host).await.unwrap();
        let (mut socket, _) = tokio_tungstenite::client_async(format!("ws://{host}/ws/orders"), stream).await.unwrap();
        socket.send(Message::text("w")).await.unwrap();
    })
    .await;
    assert!(bed.keys("w").is_empty());
    let server = bed.start();
    bed.done(&server, "w").await;
    assert_eq!(bed.runs().await, [("event".to_owned(), 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_injection_outlives_the_process() {
    let inject = json!({"id": "in", "z": "t", "type": "inject", "once": true, "onceDelay": "0.1", "repeat": "",
        "crontab": "", "props": [{"p": "payload"}], "payload": "i", "payloadType": "str", "x": 1, "y": 1,
        "wires": [["send"]]});
    let bed = Bed::new(&[inject]).await;
    bed.dies("dispatch.leased:1", nothing).await;
    assert!(bed.keys("i").is_empty());
    let server = bed.start();
    // That of the first life, and this one's own.
    until("both are sent", async || bed.keys("i").len() == 2).await;
    bed.done(&server, "i").await;
    assert_eq!(bed.runs().await, [("inject".to_owned(), 2)]);
}

/// What its run had put together of a sequence is not lost either, though nobody waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sequence_of_an_injection_outlives_the_process() {
    let inject = json!({"id": "in", "z": "t", "type": "inject", "once": true, "onceDelay": "0.1", "repeat": "",
        "crontab": "", "props": [{"p": "payload"}], "payload": "[1,2,3]", "payloadType": "json", "x": 1, "y": 1,
        "wires": [["split"]]});
    let split = json!({"id": "split", "z": "t", "type": "split", "x": 1, "y": 1, "wires": [["slow"]]});
    let slow = json!({"id": "slow", "z": "t", "type": "delay", "pauseType": "rate", "rate": "1", "nbRateUnits": "0.2",
        "rateUnits": "second", "drop": false, "x": 1, "y": 1, "wires": [["part"]]});
    let join = json!({"id": "join", "z": "t", "type": "join", "x": 1, "y": 1, "wires": [["send"]]});
    let part = json!({"id": "part", "z": "t", "type": "http request", "method": "POST", "ret": "txt", "x": 1, "y": 1,
        "wires": [["join"]]});
    let bed = Bed::new(&[inject, split, slow, part, join]).await;
    let joined = r#"["taken","taken","taken"]"#;
    // The first part is in the join, the second one's answer is on its way there.
    bed.dies("effect.sent:2", nothing).await;
    assert_eq!((bed.keys("1").len(), bed.keys("2").len(), bed.keys(joined).len()), (1, 1, 0));
    let server = bed.start();
    // That of the first life, and this one's own.
    until("both are sent", async || bed.keys(joined).len() == 2).await;
    bed.done(&server, joined).await;
    assert_eq!((bed.keys("1").len(), bed.keys("2").len(), bed.keys("3").len()), (2, 2, 2));
    assert_eq!(bed.runs().await, [("inject".to_owned(), 2)]);
}

/// Messages that say in `msg.parts` what they are part of are joined in the run, as docs/durable-runs.md advises.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_with_parts_are_joined_though_the_process_dies_between_them() {
    let entry = json!({"id": "in", "z": "t", "type": "http in", "url": "/ask", "method": "post", "x": 1, "y": 1,
        "wires": [["set1"]]});
    let join = json!({"id": "join", "z": "t", "type": "join", "mode": "custom", "build": "array", "property": "payload",
        "propertyType": "msg", "count": "", "useparts": true, "x": 1, "y": 1, "wires": [["send"]]});
    let mut nodes = vec![entry, join];
    for n in 1..=3 {
        let rule =
            |to: &str, what: String, kind: &str| json!({"t": "set", "p": to, "pt": "msg", "to": what, "tot": kind});
        let parts = json!({"index": n - 1, "count": 3}).to_string();
        let set = json!({"id": format!("set{n}"), "z": "t", "type": "change", "x": 1, "y": 1, "wires": [[format!("ask{n}")]],
            "rules": [rule("payload", n.to_string(), "str"), rule("parts", parts, "json"),
                rule("parts.id", "_msgid".to_owned(), "msg")]});
        // An answer is in the join before the next is asked for.
        let to = if n < 3 { json!([["join", format!("set{}", n + 1)]]) } else { json!([["join"]]) };
        let ask = json!({"id": format!("ask{n}"), "z": "t", "type": "http request", "method": "POST", "ret": "txt", "x": 1,
            "y": 1, "wires": to});
        nodes.extend([set, ask]);
    }
    let bed = Bed::new(&nodes).await;
    let joined = r#"["taken","taken","taken"]"#;
    bed.dies("effect.sent:2", async |base| {
        assert_eq!(post_async(&base, "/ask", "k", "").await.unwrap().0, 202);
    })
    .await;
    let sent = |body: &str| bed.receiver.got().get(body).map_or(0, |(times, _)| *times);
    assert_eq!((sent("1"), sent("2"), sent("3"), sent(joined)), (1, 1, 0, 0));
    let server = bed.start();
    until("it is joined", async || sent(joined) == 1).await;
    bed.done(&server, joined).await;
    // What the join had is not asked for again; what was on its way there is, under its key.
    assert_eq!((sent("1"), sent("2"), sent("3"), sent(joined)), (1, 2, 1, 1));
    assert_eq!((bed.keys("2").len(), bed.keys(joined).len()), (1, 1));
    assert_eq!(bed.runs().await, [("http".to_owned(), 1)]);
}

/// What the warning `gathers-in-memory` says is so: an injection's run, killed between two answers, loses the first one.
/// When this fails because both are joined, the warning and docs/durable-runs.md are to be changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_by_count_of_an_injection_is_in_memory_only() {
    let inject = json!({"id": "in", "z": "t", "type": "inject", "once": true, "onceDelay": "0.1", "repeat": "",
        "crontab": "", "props": [{"p": "payload"}], "payload": "first", "payloadType": "str", "x": 1, "y": 1,
        "wires": [["ask1"]]});
    let ask = |id: &str, to: Value| json!({"id": id, "z": "t", "type": "http request", "method": "POST", "ret": "txt", "x": 1, "y": 1, "wires": to});
    let join = json!({"id": "join", "z": "t", "type": "join", "mode": "custom", "build": "array", "property": "payload",
        "propertyType": "msg", "count": "2", "x": 1, "y": 1, "wires": [["send"]]});
    let bed = Bed::new(&[inject, ask("ask1", json!([["join", "ask2"]])), ask("ask2", json!([["join"]])), join]).await;
    bed.dies("effect.sent:2", nothing).await;
    let server = bed.start();
    let joined = r#"["taken","taken"]"#;
    until("both runs have ended", async || bed.runs().await == [("inject".to_owned(), 2)]).await;
    // Three answers came to this life's join: two of its own injection, and one of the first life's.
    bed.done(&server, joined).await;
    assert_eq!(bed.keys(joined).len(), 1);
}

/// A trigger's first message is sent once, and its second one is not lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trigger_that_waits_goes_on_waiting() {
    let entry = json!({"id": "in", "z": "t", "type": "http in", "url": "/both", "method": "post", "x": 1, "y": 1,
        "wires": [["trigger"]]});
    let trigger = json!({"id": "trigger", "z": "t", "type": "trigger", "op1": "one", "op1type": "str", "op2": "",
        "op2type": "pay", "duration": "1", "units": "s", "x": 1, "y": 1, "wires": [["send"]]});
    let bed = Bed::new(&[entry, trigger]).await;
    bed.dies("effect.sent:1", async |base| {
        assert_eq!(post_async(&base, "/both", "k", "two").await.unwrap().0, 202);
    })
    .await;
    assert_eq!((bed.keys("one").len(), bed.keys("two").len()), (1, 0));
    let server = bed.start();
    until("the second is sent", async || bed.keys("two").len() == 1).await;
    bed.done(&server, "two").await;
    assert_eq!((bed.keys("one").len(), bed.keys("two").len()), (1, 1));
    assert_eq!(bed.runs().await, [("http".to_owned(), 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delay_longer_than_a_run_may_last_is_committed_once() {
    let entry = json!({"id": "in", "z": "t", "type": "http in", "url": "/later", "method": "post", "x": 1, "y": 1,
        "wires": [["wait"]]});
    let delay = json!({"id": "wait", "z": "t", "type": "delay", "pauseType": "delay", "timeout": "25",
        "timeoutUnits": "hours", "x": 1, "y": 1, "wires": [["send"]]});
    let bed = Bed::new(&[entry, delay]).await;
    // The later run is committed, and the first one's end is not.
    bed.dies("settle.before_commit:1", async |base| {
        assert_eq!(post_async(&base, "/later", "k", "late").await.unwrap().0, 202);
    })
    .await;
    let server = bed.start();
    until("the first run has ended", async || bed.runs().await == [("http".to_owned(), 1)]).await;
    let waiting = queue(&server.base).await.unwrap();
    assert_eq!(waiting.len(), 1, "one run waits for its time: {waiting:?}");
    assert!(bed.keys("late").is_empty());
    // A day and an hour later.
    let mut connection = PgConnection::connect(&bed.database).await.unwrap();
    sqlx::query("UPDATE probity.queue SET ready_at = now()").execute(&mut connection).await.unwrap();
    bed.done(&server, "late").await;
    assert_eq!(bed.keys("late").len(), 1);
    assert_eq!(bed.runs().await, [("http".to_owned(), 1), ("linked".to_owned(), 1)]);
}
