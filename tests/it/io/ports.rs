//! Ports that flows listen on: TCP with TLS, and groups of UDP, where the operator allowed the nodes.

use probity::net::NetOptions;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Flows;

fn pem(name: &str) -> String {
    std::fs::read_to_string(format!("{}/tests/cases/tls/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn deploy(nodes: &serde_json::Value) -> Flows {
    Flows::with(&nodes.to_string(), NetOptions::default(), |services| {
        let allowed = ["tcp in", "tcp out", "tcp request", "udp in", "udp out"];
        services.nodes_allowed = allowed.map(String::from).into();
    })
}

/// The port that a node tells in its status.
async fn port(flows: &Flows, node: &str) -> u16 {
    let told = |flows: &Flows| {
        let statuses = flows.statuses(node);
        statuses.iter().find_map(|text| text.strip_prefix("listening on port ")?.parse::<u16>().ok())
    };
    flows.until("it listens", |flows| told(flows).is_some()).await;
    told(flows).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_encrypted_is_read_and_answered_and_takes_nothing_else() {
    let own = json!({ "id": "own", "type": "tls-config",
                      "credentials": { "certdata": pem("server.pem"), "keydata": pem("server.key") } });
    let trust = json!({ "id": "trust", "type": "tls-config", "verifyservercert": true,
                        "credentials": { "cadata": pem("ca.pem") } });
    let node = |id: &str, node_type: &str, more: serde_json::Value, wires: serde_json::Value| {
        let mut node = json!({ "id": id, "type": node_type, "z": "t", "x": 1, "y": 1, "wires": wires });
        node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        node
    };
    let listens = json!({ "server": "server", "port": "0", "datamode": "stream", "datatype": "utf8", "newline": "\\n",
                          "trim": true, "tls": "own" });
    let asks = json!({ "server": "localhost", "out": "char", "splitc": "\\n", "ret": "string", "tls": "trust" });
    let heard = json!({ "server": "localhost", "out": "count", "splitc": "3", "ret": "string", "tls": "trust" });
    let flows = deploy(&json!([
        { "id": "t", "type": "tab", "label": "t" }, own, trust,
        node("in", "tcp in", listens, json!([["back", "seen"]])),
        node("back", "tcp out", json!({ "beserver": "reply" }), json!([])),
        node("seen", "junction", json!({}), json!([[]])),
        node("ask", "tcp request", asks, json!([[]])),
        node("all", "tcp out", json!({ "beserver": "server", "port": "0", "tls": "own" }), json!([])),
        node("hear", "tcp request", heard, json!([[]])),
    ]));
    let at = port(&flows, "in").await;
    assert_eq!(flows.send("ask", &json!({ "payload": "secret\n", "port": at }).to_string()).await, None);
    assert_eq!(flows.payloads("ask"), [json!("secret\n").to_string()]);
    assert_eq!(flows.payloads("seen"), [json!("secret\n").to_string()]);

    // Who does not speak TLS is not listened to, and does not keep others from it.
    let mut plain = TcpStream::connect(("127.0.0.1", at)).await.unwrap();
    plain.write_all(b"in clear\n").await.unwrap();
    let mut all = Vec::new();
    // What comes is at most TLS's own refusal; then the connection is over.
    let _ = plain.read_to_end(&mut all).await.is_ok();
    assert!(!String::from_utf8_lossy(&all).contains("clear"));
    assert_eq!(flows.send("ask", &json!({ "payload": "again\n", "port": at }).to_string()).await, None);
    assert_eq!(flows.payloads("seen").len(), 2, "{:?}", flows.payloads("seen"));

    // The other way round: all who connect, encrypted, are sent what comes.
    let at = port(&flows, "all").await;
    let heard = {
        let flows = &flows;
        async move { flows.send("hear", &json!({ "payload": "x", "port": at }).to_string()).await }
    };
    let told = async {
        flows.until_status("all", "1 connections").await;
        flows.send("all", r#"{"payload":"yes"}"#).await
    };
    assert_eq!(tokio::join!(heard, told), (None, None));
    assert_eq!(flows.payloads("hear"), [json!("yes").to_string()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datagrams_of_a_group_come_to_those_who_joined_it() {
    let node = |id: &str, node_type: &str, more: serde_json::Value| {
        let mut node = json!({ "id": id, "type": node_type, "z": "t", "x": 1, "y": 1, "wires": [[]] });
        node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        node
    };
    let group = "239.255.77.21";
    let flows = deploy(&json!([
        { "id": "t", "type": "tab", "label": "t" },
        node("in", "udp in", json!({ "port": "0", "datatype": "utf8", "multicast": "true", "group": group,
                                     "iface": "127.0.0.1" })),
        node("out", "udp out", json!({ "addr": group, "multicast": "multi", "iface": "127.0.0.1" })),
        node("strange", "udp out", json!({ "addr": "239.255.77.22", "multicast": "multi", "iface": "127.0.0.1" })),
    ]));
    let at = port(&flows, "in").await;
    let say = |payload: &str| json!({ "payload": payload, "port": at }).to_string();
    // Sent on the same way before, so that it would be there before.
    assert_eq!(flows.send("strange", &say("to another group")).await, None);
    assert_eq!(flows.send("out", &say("to all of you")).await, None);
    flows.until("it comes", |flows| !flows.out("in").is_empty()).await;
    assert_eq!(flows.payloads("in"), [json!("to all of you").to_string()]);
}
