//! A process log of more than 5 MB through the nodes that read, split and judge it, within their packs' own limits.

use std::fmt::Write;
use std::sync::Arc;

use http::HeaderMap;
use probity::model::Msg;
use probity::net::{Net, NetResponse};
use serde_json::json;

use super::packs::shipped;
use super::rig::{Rig, World};

const TRACES: usize = 1_500;
const ACTIVITIES: [&str; 5] = ["Declare", "Approve", "Reject", "Pay", "Archive"];

/// The activities of a trace: the same each time, between 10 and 29 of them.
fn activities(trace: usize) -> Vec<&'static str> {
    let mut state = trace as u64 * 2_654_435_761 + 1;
    let mut next = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let many = 10 + next(20);
    // Rejections in some traces only.
    let kinds = if next(4) == 0 { 5 } else { 2 };
    (0..many).map(|_| ACTIVITIES[next(kinds) as usize]).collect()
}

/// The log as XES.
fn xes() -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<log xes.version=\"1.0\">\n");
    for trace in 0..TRACES {
        writeln!(text, "<trace><string key=\"concept:name\" value=\"case {trace}\"/>").unwrap();
        for (i, activity) in activities(trace).iter().enumerate() {
            writeln!(
                text,
                "<event><string key=\"concept:name\" value=\"{activity}\"/><string key=\"org:resource\" value=\"clerk {}\"/>\
                 <date key=\"time:timestamp\" value=\"2025-03-{:02}T{:02}:{:02}:00.000+01:00\"/>\
                 <int key=\"cost\" value=\"{}\"/></event>",
                (trace + i) % 17,
                1 + trace % 28,
                i % 24,
                trace % 60,
                trace * i
            )
            .unwrap();
        }
        text.push_str("</trace>\n");
    }
    text.push_str("</log>\n");
    text
}

#[tokio::test]
async fn a_log_of_more_than_5_mb_is_judged_trace_by_trace() {
    let log = bytes::Bytes::from(xes());
    assert!(log.len() > 5 << 20, "{}", log.len());
    let served = log.clone();
    let answer = move |request: &probity::net::NetRequest| {
        let (url, body) = (request.url.clone(), served.clone());
        Ok(NetResponse {
            status: 200,
            headers: HeaderMap::new(),
            body,
            url,
            redirects: Vec::new(),
            digest_problem: None,
        })
    };
    let rig = Rig::around(World { net: Arc::new(Net::answering(Arc::new(answer))), ..World::default() });
    for pack in ["integration", "control-flow", "validation"] {
        let Some(package) = shipped(pack, &[]) else { return };
        rig.load(package).await.unwrap_or_else(|problems| panic!("{problems:#?}"));
    }
    let declare = json!({ "template": "response", "activity": "Declare", "otherActivity": "Approve" });
    let mut nodes = vec![
        json!({ "id": "get", "type": "log-getter", "logUrl": "https://logs.test/log.xes", "wires": [["traces", "payload"]] }),
        json!({ "id": "payload", "type": "change", "rules": [{ "t": "move", "p": "log", "pt": "msg", "to": "payload", "tot": "msg" }],
                "wires": [["whole"]] }),
        json!({ "id": "traces", "type": "log-trace", "wires": [["rejected", "each"]] }),
        json!({ "id": "rejected", "type": "has-activity", "conceptName": "Reject", "attribute": "concept:name",
                "value": "value" }),
    ];
    for id in ["each", "whole"] {
        let mut node = declare.clone();
        node["id"] = id.into();
        node["type"] = "declare".into();
        nodes.push(node);
    }
    let deployed = rig.deploy(nodes.into());
    let outcome = rig.send(&deployed, "get", Msg::new()).await;
    assert_eq!(outcome.errors, Vec::<String>::new());

    let (mut rejected, mut answered) = (vec![None; TRACES], vec![None; TRACES]);
    let mut whole = None;
    for (node, _, msg) in &outcome.out {
        let payload = msg.payload();
        if node == "whole" {
            whole = Some(payload.to_serde());
            continue;
        }
        let index = payload.get("index").as_f64().unwrap() as usize;
        let result = payload.get("result").as_bool();
        assert_eq!(msg.get("logSize").and_then(|size| size.as_f64()), Some(TRACES as f64));
        let seen = if node == "rejected" { &mut rejected } else { &mut answered };
        assert_eq!(seen[index].replace(result.unwrap()), None, "trace {index} came twice");
    }
    let response = |trace: usize| {
        let events = activities(trace);
        let last = |name: &str| events.iter().rposition(|event| *event == name);
        last("Declare").is_none_or(|declared| last("Approve").is_some_and(|approved| approved > declared))
    };
    let fulfilled = (0..TRACES).filter(|trace| response(*trace)).count();
    for trace in 0..TRACES {
        assert_eq!(rejected[trace], Some(activities(trace).contains(&"Reject")), "trace {trace}");
        assert_eq!(answered[trace], Some(response(trace)), "trace {trace}");
    }
    assert!((100..TRACES - 100).contains(&fulfilled), "{fulfilled}: both verdicts are there");
    let whole = whole.expect("the whole log is judged at once, too");
    assert_eq!(whole["result"], false, "{whole}");
}
