//! `mqtt in`, `mqtt out` and `mqtt-broker` against mosquitto.

use std::time::Duration;

use probity::net::NetOptions;

use super::Flows;
use crate::harness::mosquitto::Mosquitto;

/// A tab with a broker of these properties and these nodes, which name it `b`.
fn flow(port: u16, broker: &str, nodes: &str) -> String {
    format!(
        r#"[{{"id":"t","type":"tab","label":"t"}},
            {{"id":"b","type":"mqtt-broker","broker":"127.0.0.1","port":"{port}"{broker}}},{nodes}]"#
    )
}

fn node(id: &str, node_type: &str, rest: &str) -> String {
    let wires = if node_type == "mqtt in" { "[[]]" } else { "[]" };
    format!(r#"{{"id":"{id}","z":"t","type":"{node_type}","broker":"b","x":1,"y":1,"wires":{wires}{rest}}}"#)
}

const VERSIONS: [&str; 2] = [r#","protocolVersion":"4""#, r#","protocolVersion":"5""#];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_go_through_at_every_quality_in_both_versions() {
    let Some(broker) = Mosquitto::start().await else { return };
    for version in VERSIONS {
        let nodes = [
            node("i", "mqtt in", r#","topic":"q/+","qos":"2","datatype":"auto-detect""#),
            node("s", "mqtt in", r##","topic":"$share/g/q/#","qos":"1","datatype":"utf8""##),
            node("o", "mqtt out", ""),
        ];
        let flows = Flows::deploy(&flow(broker.port, version, &nodes.join(",")));
        for id in ["i", "s", "o"] {
            flows.until_status(id, "connected").await;
        }
        // Subscriptions are told in order before messages: the same connection carries both.
        for qos in 0..3 {
            let message = format!(r#"{{"topic":"q/{qos}","qos":{qos},"payload":{{"n":{qos}}}}}"#);
            assert_eq!(flows.send("o", &message).await, None);
        }
        flows.until("all came", |f| f.out("i").len() >= 3 && f.out("s").len() >= 3).await;
        let mut topics: Vec<String> =
            flows.out("i").iter().map(|m| m.get("topic").unwrap().to_js_string().to_string()).collect();
        topics.sort();
        assert_eq!(topics, ["q/0", "q/1", "q/2"], "{version}");
        let first = flows.out("i").into_iter().find(|m| m.get("topic") == Some(&"q/2".into())).unwrap();
        assert_eq!(
            first.to_value().to_json(),
            r#"{"topic":"q/2","payload":{"n":2},"qos":2,"retain":false,"_topic":"q/2"}"#
        );
        let bad = flows.send("o", r#"{"topic":"q/#","payload":1}"#).await;
        assert_eq!((bad, flows.out("i").len()), (None, 3));
        flows.engine.drain(Duration::from_secs(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn properties_of_version_5_arrive() {
    let Some(broker) = Mosquitto::start().await else { return };
    let out = r#","topic":"p","qos":"1","contentType":"application/json","respTopic":"r","expiry":"60","userProps":"{\"a\":\"b\"}""#;
    let nodes = [
        node("i", "mqtt in", r#","topic":"p","qos":"1","datatype":"auto-detect","rap":true"#),
        node("o", "mqtt out", out),
    ];
    let flows = Flows::deploy(&flow(broker.port, VERSIONS[1], &nodes.join(",")));
    flows.until_status("o", "connected").await;
    let message = r#"{"payload":"[1]","correlationData":"c","payloadFormatIndicator":true}"#;
    assert_eq!(flows.send("o", message).await, None);
    flows.until("it came", |f| f.out("i").len() == 1).await;
    let came = flows.out("i").remove(0).to_value();
    for (name, value) in [
        ("payload", "[1]"),
        ("contentType", r#""application/json""#),
        ("responseTopic", r#""r""#),
        ("userProperties", r#"{"a":"b"}"#),
        ("payloadFormatIndicator", "true"),
        ("correlationData", r#"{"type":"Buffer","data":[99]}"#),
    ] {
        assert_eq!(came.get(name).to_json(), value, "{name}");
    }
    assert!(came.get("messageExpiryInterval").as_f64().is_some_and(|left| left > 0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn birth_close_and_will_are_published_and_retained_messages_kept() {
    let Some(broker) = Mosquitto::start().await else { return };
    let watcher = Flows::deploy(&flow(broker.port, "", &node("w", "mqtt in", r#","topic":"life/#""#)));
    watcher.until_status("w", "connected").await;
    // What is retained comes to whoever subscribes later.
    let notices = r#","birthTopic":"life/birth","birthPayload":"born","birthRetain":"true","closeTopic":"life/close",
        "closePayload":"closed","closeQos":"1","willTopic":"life/will","willPayload":"died","willQos":"1""#;
    let flows = Flows::deploy(&flow(broker.port, notices, &node("o", "mqtt out", r#","topic":"x""#)));
    watcher.until("it is born", |w| w.payloads("w") == [r#""born""#]).await;
    flows.engine.drain(Duration::from_secs(5)).await;
    watcher.until("it is closed, and did not die", |w| w.payloads("w") == [r#""born""#, r#""closed""#]).await;
    let late = Flows::deploy(&flow(broker.port, "", &node("l", "mqtt in", r##","topic":"#""##)));
    late.until("what is retained comes", |l| l.payloads("l") == [r#""born""#]).await;
    assert_eq!(late.out("l")[0].get("retain"), Some(&true.into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_come_and_go_by_messages() {
    let Some(broker) = Mosquitto::start().await else { return };
    let nodes = [node("d", "mqtt in", r#","inputs":1,"topic":"""#), node("o", "mqtt out", "")];
    let settings = r#","autoConnect":"false""#;
    let flows = Flows::deploy(&flow(broker.port, settings, &nodes.join(",")));
    flows.until_status("o", "disconnected").await;
    let refused = flows.send("o", r#"{"topic":"a","payload":1}"#).await.unwrap();
    assert!(refused.contains("no connection to the broker"), "{refused}");
    assert_eq!(flows.send("o", r#"{"action":"connect"}"#).await, None);
    flows.until_status("d", "connected").await;
    let twice = flows.send("d", r#"{"action":"connect","broker":{"clientid":"x"}}"#).await.unwrap();
    assert_eq!(twice, "Disconnect from broker before connecting");
    flows.send("d", r#"{"action":"subscribe","topic":["a",{"topic":"b/+","qos":1,"datatype":"json"}]}"#).await;
    flows.send("d", r#"{"action":"getSubscriptions"}"#).await;
    assert_eq!(
        flows.out("d")[0].payload().to_json(),
        r#"[{"topic":"a","qos":2},{"topic":"b/+","qos":1,"datatype":"json"}]"#
    );
    flows.send("o", r#"{"topic":"b/1","payload":"[1]","qos":1}"#).await;
    flows.until("it came", |f| f.payloads("d").contains(&"[1]".to_string())).await;
    flows.send("d", r#"{"action":"unsubscribe","topic":true}"#).await;
    flows.send("d", r#"{"action":"subscribe","topic":"end"}"#).await;
    flows.send("o", r#"{"topic":"b/1","payload":"[2]","qos":1}"#).await;
    flows.send("o", r#"{"topic":"end","payload":"e","qos":1}"#).await;
    flows.until("the end came", |f| f.payloads("d").contains(&r#""e""#.to_string())).await;
    assert!(!flows.payloads("d").contains(&"[2]".to_string()));
    for (message, problem) in [
        (r#"{"action":"subscribe"}"#, "msg.topic is missing or invalid"),
        (r#"{"action":"subscribe","topic":"a#"}"#, "Invalid topic specified"),
        (r#"{"action":"fly"}"#, "Invalid action specified"),
    ] {
        assert_eq!(flows.send("d", message).await.as_deref(), Some(problem));
    }
    assert_eq!(flows.send("d", r#"{"action":"disconnect"}"#).await, None);
    flows.until_status("o", "disconnected").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_connection_is_made_again_with_its_subscriptions() {
    let Some(mut broker) = Mosquitto::start().await else { return };
    let nodes = [node("i", "mqtt in", r#","topic":"a","qos":"1""#), node("o", "mqtt out", r#","topic":"a","qos":"1""#)];
    let clock = probity::clock::Clock::manual("2026-03-01T12:00:00Z".parse().unwrap());
    let hand = clock.clone();
    let text = flow(broker.port, VERSIONS[1], &nodes.join(","));
    let flows = Flows::with(&text, NetOptions::default(), |services| services.clock = clock);
    flows.until_status("o", "connected").await;
    broker.kill();
    flows.until("it is noticed", |f| f.statuses("o").iter().any(|s| s == "disconnected")).await;
    assert!(flows.send("o", r#"{"payload":1}"#).await.is_some());
    broker.restart().await;
    // Time moves until the next attempt is due, in steps small enough that the broker can answer it in time.
    flows
        .until("it connects again", |f| {
            hand.advance(Duration::from_micros(500));
            f.statuses("o").last().is_some_and(|shown| shown == "connected")
        })
        .await;
    assert_eq!(flows.send("o", r#"{"payload":"again"}"#).await, None);
    flows.until("it came", |f| f.payloads("i") == [r#""again""#]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn encrypted_and_in_websockets() {
    let Some(broker) = Mosquitto::start().await else { return };
    let authority = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/tls/ca.pem")).unwrap();
    let tls = format!(
        r#"{{"id":"tls","type":"tls-config","verifyservercert":true,"servername":"broker.example","credentials":{{"cadata":{}}}}}"#,
        serde_json::Value::from(authority)
    );
    let both = [node("i", "mqtt in", r#","topic":"a""#), node("o", "mqtt out", r#","topic":"a""#)].join(",");
    let encrypted = flow(broker.tls_port, r#","usetls":true,"tls":"tls""#, &format!("{tls},{both}"));
    let ws = flow(0, "", &both)
        .replace(r#""127.0.0.1","port":"0""#, &format!(r#""ws://127.0.0.1:{}/mqtt""#, broker.ws_port));
    for text in [encrypted, ws] {
        let flows = Flows::deploy(&text);
        flows.until_status("i", "connected").await;
        assert_eq!(flows.send("o", r#"{"payload":"x"}"#).await, None);
        flows.until("it came", |f| f.payloads("i") == [r#""x""#]).await;
    }
}
