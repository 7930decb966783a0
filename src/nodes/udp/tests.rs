//! The nodes against real sockets.

use std::time::Duration;

use super::super::rig::{Rig, msg, node};
use crate::runtime::{Event, Limits};

fn rig(nodes: Vec<crate::model::flow::PlanNode>) -> Rig {
    Rig::with(nodes, Limits::default(), |services| {
        services.nodes_allowed = ["udp in", "udp out"].map(String::from).into();
    })
}

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

#[tokio::test]
async fn datagrams_go_out_and_come_in() {
    let rig = rig(vec![
        node("in", "udp in", r#"{"port":"0","datatype":"utf8"}"#, &[]),
        node("out", "udp out", r#"{"addr":"127.0.0.1","multicast":"false"}"#, &[]),
    ]);
    let told = || {
        rig.events().into_iter().find_map(|event| match event {
            Event::Status { status, .. } => status.text.strip_prefix("listening on port ")?.parse::<u16>().ok(),
            _ => None,
        })
    };
    let port = until("it listens", told).await;
    rig.inject(1, msg(&format!(r#"{{"payload":"über","port":{port}}}"#))).await;
    until("it comes", || (!rig.out().is_empty()).then_some(())).await;
    let (_, _, msg) = rig.out().remove(0);
    assert_eq!(msg.payload().as_str(), Some("über"));
    assert_eq!(msg.get("ip").unwrap().as_str(), Some("127.0.0.1"));
    let from = format!("127.0.0.1:{}", msg.get("port").unwrap().to_js_string());
    assert_eq!(msg.get("fromip").unwrap().as_str(), Some(from.as_str()));
}

#[tokio::test]
async fn what_cannot_be_sent_is_said() {
    let plain = rig(vec![node("out", "udp out", "{}", &[])]);
    for (given, said) in [
        (r#"{"payload":1}"#, "ip address not set"),
        (r#"{"payload":1,"ip":"127.0.0.1"}"#, "port not set"),
        (r#"{"payload":1,"ip":"127.0.0.1","port":"70000"}"#, "port number not valid"),
        (r#"{"payload":1,"ip":"169.254.169.254","port":9}"#, "net.allow"),
    ] {
        plain.inject(0, msg(given)).await;
        let told = plain.complaints();
        assert!(told.last().is_some_and(|text| text.contains(said)), "{said}: {told:?}");
    }
    let refused = Rig::new(vec![node("in", "udp in", r#"{"port":"0"}"#, &[])]);
    refused.settle().await;
    assert!(refused.complaints()[0].contains("nodes.allow = [\"udp in\"]"), "{:?}", refused.complaints());
}
