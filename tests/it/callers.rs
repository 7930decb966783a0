//! Callers of one flow at the same time, whose messages arrive at its joins in any order, never share anything there.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use probity::clock::Clock;
use probity::flow;
use probity::model::run::Trigger;
use probity::model::{Msg, Value};
use probity::nodes::catalogue;
use probity::runtime::opening::Start;
use probity::runtime::{Engine, Limits, Services};
use serde_json::{Value as Json, json};

/// Callers at once.
const CALLERS: usize = 50;

/// Each caller sends this many messages to the join.
const PARTS: usize = 4;

/// A tab that splits the payload, delays each message by its own time, and joins.
fn flow(join: &Json, keep_parts: bool) -> Vec<Json> {
    let node = |id: &str, node_type: &str, to: &str, more: &Json| {
        let mut node = json!({ "id": id, "type": node_type, "z": "tab", "name": "", "x": 1, "y": 1, "wires": [[to]] });
        node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        node
    };
    let mut rules = vec![
        json!({ "t": "set", "p": "delay", "pt": "msg", "to": "payload.wait", "tot": "msg" }),
        json!({ "t": "set", "p": "topic", "pt": "msg", "to": "payload.part", "tot": "msg" }),
        json!({ "t": "set", "p": "payload", "pt": "msg", "to": "payload.caller", "tot": "msg" }),
    ];
    if !keep_parts {
        rules.push(json!({ "t": "delete", "p": "parts", "pt": "msg" }));
    }
    vec![
        json!({ "id": "tab", "type": "tab", "label": "callers" }),
        node("in", "http in", "split", &json!({ "url": "/join", "method": "post" })),
        node(
            "split",
            "split",
            "set",
            &json!({ "splt": "\n", "spltType": "str", "arraySplt": 1, "arraySpltType": "len" }),
        ),
        node("set", "change", "wait", &json!({ "rules": rules })),
        node(
            "wait",
            "delay",
            "join",
            &json!({ "pauseType": "delayv", "timeout": "1", "timeoutUnits": "milliseconds" }),
        ),
        node("join", "join", "out", join),
        json!({ "id": "out", "type": "http response", "z": "tab", "x": 1, "y": 1, "wires": [] }),
    ]
}

/// A time from 1 to 97 ms that looks random and is the same in every run of this test.
fn wait_ms(caller: usize, part: usize) -> usize {
    1 + (caller * 31 + part * 53 + caller * part * 7) % 97
}

/// Opens all calls at once, lets time pass, and gives each caller its answer.
async fn answers(join: &Json, keep_parts: bool) -> Vec<(usize, Json)> {
    let clock = Clock::manual("2026-03-01T12:00:00Z".parse().unwrap());
    let services = Services::new(clock.clone(), Limits::default(), Default::default());
    let engine = Engine::new(Arc::new(services), catalogue());
    let (file, problems) = flow::load_value(flow(join, keep_parts), "callers.json");
    assert!(problems.is_empty(), "{problems:?}");
    let deployed = engine.deploy(flow::plan(&file, &|t| engine.catalogue().spec(t), &|_| None));
    assert!(deployed.diagnostics.is_empty(), "{:?}", deployed.diagnostics);
    let entry = deployed.plan.nodes.iter().position(|n| n.id == "in").unwrap() as u32;
    let mut calls: FuturesUnordered<_> = (0..CALLERS)
        .map(|caller| {
            let parts = (0..PARTS)
                .map(|part| json!({ "caller": caller, "part": format!("p{part}"), "wait": wait_ms(caller, part) }));
            let msg = Msg::with_payload(Value::from(&Json::Array(parts.collect())));
            let trigger = Trigger::Http { method: "POST".into(), path: "/join".into() };
            let deployed = deployed.clone();
            async move {
                let called = deployed.call(entry, Start::Emit(0), msg, trigger, Duration::from_secs(60)).await.unwrap();
                let reply = called.reply.expect("answered before its deadline");
                (caller, serde_json::from_slice(&reply.body).unwrap())
            }
        })
        .collect();
    let mut answers = Vec::new();
    while answers.len() < CALLERS {
        tokio::select! {
            biased;
            Some(answer) = calls.next() => answers.push(answer),
            () = tokio::task::yield_now() => clock.advance(Duration::from_millis(1)),
        }
    }
    answers.sort_by_key(|(caller, _)| *caller);
    answers
}

#[tokio::test]
async fn fifty_callers_never_share_join_state() {
    let array = json!({ "mode": "custom", "build": "array", "property": "payload", "propertyType": "msg",
        "key": "topic", "joiner": "", "joinerType": "str", "count": PARTS.to_string(), "timeout": "" });
    let with = |more: Json| {
        let mut join = array.clone();
        join.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        join
    };
    let reduce = with(json!({ "mode": "reduce", "reduceExp": "$A + payload", "reduceInit": "0",
        "reduceInitType": "num", "reduceFixup": "" }));
    for (join, keep_parts) in [
        (with(json!({ "mode": "auto" })), true),
        (array.clone(), true),
        (array.clone(), false),
        (with(json!({ "build": "object" })), false),
        (reduce, true),
    ] {
        for (caller, answer) in answers(&join, keep_parts).await {
            let expected = match (join["mode"].as_str(), join["build"].as_str()) {
                (Some("reduce"), _) => json!(caller * PARTS),
                (Some("custom"), Some("object")) => json!({ "p0": caller, "p1": caller, "p2": caller, "p3": caller }),
                _ => json!(vec![caller; PARTS]),
            };
            assert_eq!(answer, expected, "caller {caller} of {join}, parts kept: {keep_parts}");
        }
    }
}
