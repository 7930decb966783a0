//! Nodes that combine messages, asked by several callers at once: by two hundred, and by two whose messages come in
//! turn to one instance.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::HeaderMap;
use probity::clock::Clock;
use probity::model::run::Trigger;
use probity::model::{Msg, Value};
use probity::net::{Net, NetError, NetRequest, NetResponse};
use probity::plugin::limits::Limits;
use probity::runtime::opening::Start;
use serde_json::{Value as Json, json};

use super::packs::{STATUS, shipped};
use super::recorded::with_feed;
use super::rig::{Outcome, Rig, World};

/// status-backend, and Gemini, which says what it was asked last.
fn services(request: &NetRequest, asked: &Mutex<Vec<Json>>) -> Result<NetResponse, NetError> {
    let body: Json = serde_json::from_slice(&request.body).unwrap();
    let last = body["contents"].as_array().and_then(|turns| turns.last()).map_or("", |turn| {
        let text = turn["parts"][0]["text"].as_str().unwrap();
        text.rsplit('\n').next().unwrap()
    });
    let answer = json!({ "candidates": [{ "content": { "parts": [{ "text": format!("heard {last}") }], "role": "model" },
        "finishReason": "STOP" }] });
    asked.lock().unwrap().push(body);
    let (headers, body) = (HeaderMap::new(), answer.to_string().into());
    Ok(NetResponse {
        status: 200,
        headers,
        body,
        url: request.url.clone(),
        redirects: Vec::new(),
        digest_problem: None,
    })
}

/// A node and two callers with two messages each, and what each caller must get at last.
struct Meeting {
    node_type: &'static str,
    config: Json,
    callers: [[Json; 2]; 2],
    answers: [Json; 2],
}

fn meetings() -> Vec<Meeting> {
    let result = |value: Json| json!({ "payload": { "result": value } });
    let bools = |node_type, callers: [[bool; 2]; 2], answers: [bool; 2]| {
        let told = |caller: usize| json!({ "payload": { "result": answers[caller], "evidences": [{ "value": callers[caller] }] } });
        let callers = callers.map(|caller| caller.map(|value| result(value.into())));
        Meeting { node_type, config: json!({ "storeEvidences": true }), callers, answers: [told(0), told(1)] }
    };
    let row = |kind: &str, n: u32| json!({ "payload": { "kind": kind, "n": n }, "len": 3 });
    let stored = |group: &str| {
        let body = json!({ "backendUrl": "http://backend.test/", "computationGroup": group, "from": "a", "to": "b" });
        [true, false].map(|value| {
            json!({ "payload": { "result": value, "scope": { "of": group } }, "size": 2,
                    "req": { "body": body, "headers": { "x-access-token": group } } })
        })
    };
    let question = |text: &str| json!({ "payload": text, "req": { "body": { "apiKey": "k" } } });
    vec![
        bools("and", [[true, true], [true, false]], [true, false]),
        bools("or", [[false, false], [false, true]], [false, true]),
        bools("implies", [[true, false], [false, true]], [false, true]),
        Meeting {
            node_type: "lesser-than",
            config: json!({ "storeEvidences": true }),
            callers: [[1, 2], [20, 10]].map(|[a, b]| {
                [(1, a), (2, b)].map(|(position, n)| json!({ "payload": { "result": n }, "position": position }))
            }),
            answers: [
                json!({ "payload": { "result": true, "evidences": [{ "value": [1, 2] }] } }),
                json!({ "payload": { "result": false, "evidences": [{ "value": [20, 10] }] } }),
            ],
        },
        Meeting {
            node_type: "group-by",
            config: json!({ "property": "kind" }),
            callers: [[row("x", 1), row("y", 2)], [row("x", 3), row("x", 4)]],
            answers: [
                json!({ "payload": { "x": [{ "kind": "x", "n": 1 }], "y": [{ "kind": "y", "n": 2 }] } }),
                json!({ "payload": { "x": [{ "kind": "x", "n": 3 }, { "kind": "x", "n": 4 }] } }),
            ],
        },
        Meeting {
            node_type: "status-storer",
            config: json!({}),
            callers: [stored("one"), stored("two")],
            answers: ["one", "two"].map(|group| json!({ "req": { "body": { "computationGroup": group } } })),
        },
        Meeting {
            node_type: "ai-response",
            config: json!({ "systemPrompt": "" }),
            callers: [[question("a1"), question("a2")], [question("b1"), question("b2")]],
            answers: [json!({ "payload": { "payload": "heard a2" } }), json!({ "payload": { "payload": "heard b2" } })],
        },
    ]
}

/// Whether everything expected is there, with as many entries in each list.
fn has(found: &Json, expected: &Json) -> bool {
    match (found, expected) {
        (Json::Object(found), Json::Object(expected)) => {
            expected.iter().all(|(name, value)| found.get(name).is_some_and(|found| has(found, value)))
        }
        (Json::Array(found), Json::Array(expected)) => {
            found.len() == expected.len() && found.iter().zip(expected).all(|(found, value)| has(found, value))
        }
        (Json::Number(found), Json::Number(expected)) => found.as_f64() == expected.as_f64(),
        _ => found == expected,
    }
}

#[tokio::test]
async fn two_callers_in_turn_on_one_instance_never_mix() {
    let asked: Arc<Mutex<Vec<Json>>> = Arc::default();
    let heard = asked.clone();
    let rig = Rig::around(World {
        net: Arc::new(Net::answering(Arc::new(move |request| services(request, &heard)))),
        clock: Clock::manual("2026-01-01T00:00:00Z".parse().unwrap()),
        ..World::default()
    });
    for (pack, _) in STATUS {
        let Some(package) = shipped(pack, &[]) else { return };
        rig.load(package).await.unwrap_or_else(|problems| panic!("{problems:#?}"));
    }
    for Meeting { node_type, config, callers, answers } in meetings() {
        let mut node = config;
        node["id"] = "node".into();
        node["type"] = node_type.into();
        let nodes = json!([
            { "id": "in", "type": "test feed", "wires": [["wait"]] },
            { "id": "wait", "type": "delay", "pauseType": "delayv", "timeout": "0", "timeoutUnits": "milliseconds",
              "wires": [["node"]] },
            node
        ]);
        let deployed = rig.deploy_with(nodes, with_feed);
        // The first messages of both come before the second ones.
        let run = async |caller: usize| -> Outcome {
            let messages = callers[caller].iter().enumerate().map(|(i, msg)| {
                let mut msg = msg.clone();
                msg["delay"] = (2_000 * i + 1_000 * caller).into();
                Value::from(&msg)
            });
            let mut all = Msg::new();
            all.set("messages", Value::array(messages.collect()));
            let trigger = Trigger::Http { method: "POST".into(), path: "/check".into() };
            rig.run(&deployed, "in", all, trigger).await.1
        };
        asked.lock().unwrap().clear();
        let got = tokio::join!(run(0), run(1));
        for (caller, (found, expected)) in [got.0, got.1].iter().zip(&answers).enumerate() {
            assert_eq!(found.errors, Vec::<String>::new(), "{node_type}, caller {caller}");
            let last = found.out.last().unwrap_or_else(|| panic!("{node_type}: caller {caller} got nothing"));
            let last = last.2.to_value().to_serde();
            assert!(has(&last, expected), "{node_type}, caller {caller}: {last} instead of {expected}");
            let often = if node_type == "ai-response" { 2 } else { 1 };
            assert_eq!(found.out.len(), often, "{node_type}, caller {caller}");
        }
        mixed_nothing(node_type, &asked.lock().unwrap());
        let report = rig.plugins.report();
        let of = report.iter().flat_map(|plugin| &plugin.node_types).find(|of| of.node_type == node_type).unwrap();
        assert!(of.calls >= 4 && of.instances == 1, "{node_type}: {of:?}");
    }
}

/// What went out was one caller's each time.
fn mixed_nothing(node_type: &str, asked: &[Json]) {
    match node_type {
        "status-storer" => {
            let groups: Vec<Vec<&str>> = asked
                .iter()
                .map(|body| {
                    let rows = body["computations"].as_array().unwrap().iter();
                    rows.flat_map(|row| {
                        [row["computationGroup"].as_str().unwrap(), row["scope"]["of"].as_str().unwrap()]
                    })
                    .collect()
                })
                .collect();
            assert_eq!(groups, [["one"; 4], ["two"; 4]]);
        }
        "ai-response" => {
            assert_eq!(asked.len(), 4);
            for body in asked {
                let text = body["contents"].to_string();
                assert!(!(text.contains("a1") && text.contains("b1")), "{text}");
            }
            // Each caller hears its own first question and answer again.
            for (body, turns) in asked.iter().zip([1, 1, 3, 3]) {
                assert_eq!(body["contents"].as_array().unwrap().len(), turns, "{body}");
            }
        }
        _ => assert!(asked.is_empty(), "{node_type}: {asked:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_callers_of_group_by_never_mix() {
    let Some(package) = shipped("filtering", &[]) else { return };
    let rig = Rig::new(Limits::default());
    rig.load(package).await.unwrap();
    let rules = json!([{ "t": "set", "p": "delay", "pt": "msg", "to": "payload.wait", "tot": "msg" }]);
    let deployed = rig.deploy(json!([
        { "id": "in", "type": "http in", "url": "/group", "method": "post", "wires": [["split"]] },
        { "id": "split", "type": "split", "splt": "\n", "spltType": "str", "arraySplt": 1, "arraySpltType": "len",
          "wires": [["set"]] },
        { "id": "set", "type": "change", "rules": rules, "wires": [["wait"]] },
        { "id": "wait", "type": "delay", "pauseType": "delayv", "timeout": "0", "timeoutUnits": "milliseconds",
          "wires": [["group"]] },
        { "id": "group", "type": "group-by", "property": "kind", "wires": [["out"]] },
        { "id": "out", "type": "http response", "wires": [] }
    ]));
    let entry = deployed.plan.nodes.iter().position(|n| n.id == "in").unwrap() as u32;
    let rows = |caller: usize| {
        let row = move |i: usize| json!({ "kind": format!("k{}", (i + caller) % 3), "caller": caller, "i": i, "wait": i * 7 % 5 });
        (0..2 + caller % 7).map(row).collect::<Vec<Json>>()
    };
    let calls = (0..200).map(|caller| {
        let (deployed, msg) = (deployed.clone(), Msg::with_payload(Value::from(&Json::from(rows(caller)))));
        let trigger = Trigger::Http { method: "POST".into(), path: "/group".into() };
        tokio::spawn(async move { deployed.call(entry, Start::Emit(0), msg, trigger, Duration::from_secs(60)).await })
    });
    for (caller, called) in futures_util::future::join_all(calls.collect::<Vec<_>>()).await.into_iter().enumerate() {
        let reply = called.unwrap().unwrap().reply.expect("answered before its deadline");
        let groups: Json = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(reply.status, 200, "caller {caller}: {groups}");
        let mut expected = rows(caller);
        let mut found: Vec<Json> = Vec::new();
        for (kind, group) in groups.as_object().unwrap() {
            let group = group.as_array().unwrap();
            assert!(group.iter().all(|row| row["kind"] == **kind), "caller {caller}: {groups}");
            found.extend(group.iter().cloned());
        }
        let order = |row: &Json| row["i"].as_u64();
        found.sort_by_key(order);
        expected.sort_by_key(order);
        assert_eq!(found, expected, "caller {caller}");
    }
}
