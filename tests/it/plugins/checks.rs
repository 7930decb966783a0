//! The packs `control-flow`, `logic` and `validation` in the real sandbox, each of their nodes in a flow.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use probity::model::run::Trigger;
use probity::model::{Msg, Value};
use probity::plugin::granted::Granted;
use probity::plugin::limits::Limits;
use probity::runtime::Deployed;
use probity::runtime::opening::Start;
use serde_json::{Value as Json, json};

use super::packs::dist;
use super::rig::Rig;

async fn with(pack: &str, nodes: Json) -> Option<(Rig, Arc<Deployed>)> {
    let granted = Granted {
        names: ["http", "secret", "state", "evidence"].map(str::to_owned).into(),
        hosts: vec!["127.0.0.1".into()],
        ..Granted::default()
    };
    let package = dist(pack, granted)?;
    let rig = Rig::new(Limits::default());
    rig.load(package).await.unwrap_or_else(|problems| panic!("{problems:#?}"));
    let deployed = rig.deploy(nodes);
    Some((rig, deployed))
}

/// The payload a node sends on, or its error.
async fn ask(rig: &Rig, deployed: &Arc<Deployed>, node: &str, payload: Json) -> Result<Json, String> {
    let outcome = rig.send(deployed, node, Msg::with_payload(Value::from(&payload))).await;
    match outcome.errors.first() {
        Some(error) => Err(error.clone()),
        None => Ok(serde_json::from_str(&outcome.out[0].2.payload().to_json()).unwrap()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn constraints_over_traces_are_judged_in_the_sandbox() {
    let names =
        |id: &str| json!({ "id": id, "type": id, "eventAName": "A", "eventBName": "B", "storeEvidences": true });
    let declare = json!({ "id": "declare", "type": "declare", "template": "not-chain-succession", "activity": "A",
        "otherActivity": "B" });
    let nodes = json!([
        declare,
        names("response"),
        names("coexistence"),
        names("responded-existence"),
        names("chain-response")
    ]);
    let Some((rig, deployed)) = with("control-flow", nodes).await else { return };
    for (node, trace, result) in [
        ("declare", json!(["A", "B"]), false),
        ("declare", json!(["A", "C", "B"]), true),
        ("response", json!(["A", "B", "A"]), false),
        ("response", json!(["A", "A", "B"]), true),
        ("coexistence", json!(["A"]), false),
        ("coexistence", json!(["B", "A"]), true),
        ("responded-existence", json!(["A"]), false),
        ("responded-existence", json!(["B"]), true),
        ("chain-response", json!(["A", "C", "B"]), false),
        ("chain-response", json!(["A", "B"]), true),
    ] {
        let payload = ask(&rig, &deployed, node, json!({ "events": trace })).await.unwrap();
        assert_eq!(payload["result"], result, "{node} {trace}: {payload}");
        if node != "declare" {
            assert_eq!(payload["evidences"][0]["id"].as_str().map(str::len), Some(36), "{payload}");
        }
    }
    let error = ask(&rig, &deployed, "response", json!({ "events": [null] })).await.unwrap_err();
    assert!(error.starts_with("event 0 is null"), "{error}");
}

/// Two operands of one call that reach `node` by two ways, each with a delay of its own.
async fn combining(node: &str) -> Option<(Rig, Arc<Deployed>)> {
    let way = |id: &str, position: usize| {
        let set = |p: &str, to: &str| json!({ "t": "set", "p": p, "pt": "msg", "to": to, "tot": "msg" });
        let position = json!({ "t": "set", "p": "position", "pt": "msg", "to": position.to_string(), "tot": "num" });
        let rules = json!([
            set("delay", &format!("payload.wait{id}")),
            set("payload.result", &format!("payload.{id}")),
            position
        ]);
        [
            json!({ "id": format!("set-{id}"), "type": "change", "rules": rules, "wires": [[format!("wait-{id}")]] }),
            json!({ "id": format!("wait-{id}"), "type": "delay", "pauseType": "delayv", "timeout": "0",
                "timeoutUnits": "milliseconds", "wires": [["both"]] }),
        ]
    };
    let mut nodes = vec![
        json!({ "id": "in", "type": "http in", "url": "/check", "method": "post", "wires": [["set-a", "set-b"]] }),
        json!({ "id": "both", "type": node, "storeEvidences": true, "wires": [["if"]] }),
        json!({ "id": "if", "type": "if-else", "wires": [["out"], ["out"]] }),
        json!({ "id": "out", "type": "http response", "wires": [] }),
    ];
    nodes.extend(way("a", 1));
    nodes.extend(way("b", 2));
    with("logic", Json::Array(nodes)).await
}

async fn call(deployed: &Arc<Deployed>, payload: Json) -> (u16, Json) {
    let entry = deployed.plan.nodes.iter().position(|n| n.id == "in").unwrap() as u32;
    let trigger = Trigger::Http { method: "POST".into(), path: "/check".into() };
    let msg = Msg::with_payload(Value::from(&payload));
    let called = deployed.call(entry, Start::Emit(0), msg, trigger, Duration::from_secs(60)).await.unwrap();
    let reply = called.reply.expect("answered before its deadline");
    (reply.status, serde_json::from_slice(&reply.body).unwrap_or_default())
}

/// Two hundred callers at once, their operands on the way for different times; what each got.
async fn two_hundred(deployed: &Arc<Deployed>, operands: fn(usize) -> [Json; 2]) -> Vec<Json> {
    let calls = (0..200).map(|caller: usize| {
        let deployed = deployed.clone();
        let [a, b] = operands(caller);
        let (first, second) = (caller * 7 % 23, 40 + caller * 11 % 19);
        let payload = json!({ "a": a, "b": b, "caller": caller, "waita": first, "waitb": second });
        tokio::spawn(async move { call(&deployed, payload).await })
    });
    let mut payloads = Vec::new();
    for (caller, answered) in futures_util::future::join_all(calls.collect::<Vec<_>>()).await.into_iter().enumerate() {
        let (status, payload) = answered.unwrap();
        assert_eq!((status, &payload["caller"]), (200, &json!(caller)), "{payload}");
        payloads.push(payload);
    }
    payloads
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_callers_of_and_or_and_implies_never_mix() {
    for (node, combine) in
        [("and", (|a, b| a && b) as fn(bool, bool) -> bool), ("or", |a, b| a || b), ("implies", |a, b| !a || b)]
    {
        let Some((_rig, deployed)) = combining(node).await else { return };
        let got = two_hundred(&deployed, |caller| [json!(caller % 2 == 0), json!(caller % 3 == 0)]).await;
        for (caller, payload) in got.iter().enumerate() {
            let (a, b) = (caller % 2 == 0, caller % 3 == 0);
            assert_eq!(payload["result"], combine(a, b), "{node}, caller {caller}");
            assert_eq!(payload["evidences"][0]["value"], json!([a, b]), "{node}, caller {caller}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_callers_of_lesser_than_never_mix() {
    let Some((_rig, deployed)) = combining("lesser-than").await else { return };
    let got = two_hundred(&deployed, |caller| [json!(caller), json!(200 - caller)]).await;
    for (caller, payload) in got.iter().enumerate() {
        assert_eq!(payload["result"], caller < 200 - caller, "caller {caller}");
        assert_eq!(payload["evidences"][0]["value"], json!([caller, 200 - caller]), "caller {caller}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_whose_second_operand_never_comes_hears_of_it() {
    let nodes = json!([
        { "id": "in", "type": "http in", "url": "/check", "method": "post", "wires": [["and"]] },
        { "id": "and", "type": "and", "wires": [["out"]] },
        { "id": "catch", "type": "catch", "wires": [["say"]] },
        { "id": "say", "type": "change", "rules": [{ "t": "set", "p": "payload", "pt": "msg", "to": "error.message",
          "tot": "msg" }, { "t": "set", "p": "statusCode", "pt": "msg", "to": "422", "tot": "num" }], "wires": [["out"]] },
        { "id": "out", "type": "http response", "wires": [] }
    ]);
    let Some((_rig, deployed)) = with("logic", nodes).await else { return };
    let entry = deployed.plan.nodes.iter().position(|n| n.id == "in").unwrap() as u32;
    let trigger = Trigger::Http { method: "POST".into(), path: "/check".into() };
    let msg = Msg::with_payload(Value::from(&json!({ "result": true })));
    let called = deployed.call(entry, Start::Emit(0), msg, trigger, Duration::from_secs(60)).await.unwrap();
    let reply = called.reply.expect("answered before its deadline");
    let text = String::from_utf8(reply.body.to_vec()).unwrap();
    assert_eq!(reply.status, 422, "{text}");
    assert!(text.starts_with("the run ended while 1 operand waited for a second one"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn properties_activities_and_addresses_are_checked_in_the_sandbox() {
    let nodes = json!([
        { "id": "property", "type": "check-property", "propertyToCheck": "n", "expectedValue": "1" },
        { "id": "count", "type": "exists-pipe", "count": "2" },
        { "id": "activity", "type": "has-activity", "conceptName": "A", "attribute": "name" },
        { "id": "address", "type": "is-valid-url", "property": "u" }
    ]);
    let Some((rig, deployed)) = with("validation", nodes).await else { return };
    for (node, payload, result) in [
        ("property", json!({ "n": 1 }), true),
        ("property", json!({ "n": 2 }), false),
        ("count", json!({ "events": [1, 2] }), true),
        ("count", json!({ "events": [] }), false),
        ("activity", json!({ "events": [{ "name": "A" }] }), true),
        ("activity", json!({ "events": [{ "name": "AB" }] }), false),
        ("address", json!({ "u": "https://münchen.example" }), true),
        ("address", json!({ "u": "javascript:alert(1)" }), false),
    ] {
        let got = ask(&rig, &deployed, node, payload.clone()).await.unwrap();
        assert_eq!(got["result"], result, "{node} {payload}: {got}");
    }
    assert!(ask(&rig, &deployed, "property", json!({})).await.unwrap_err().contains("is not there"));
}

/// Trello, GitHub and a server of documents, all in one.
async fn services() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let own = base.clone();
    let answer = move |uri: axum::http::Uri| {
        let own = own.clone();
        async move {
            let file = |name: &str| {
                let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/plugins/documents/tests/files/");
                (StatusCode::OK, std::fs::read(format!("{dir}{name}")).unwrap())
            };
            match uri.path() {
                "/1/cards/c/attachments" => (StatusCode::OK, br#"[{"url": "https://github.com/o/r"}]"#.to_vec()),
                "/repos/o/r" => (StatusCode::OK, b"{}".to_vec()),
                "/repos/o/r/contents/docs/policy.pdf" => {
                    (StatusCode::OK, format!(r#"{{"download_url": "{own}/reportlab.pdf"}}"#).into_bytes())
                }
                "/busy" => (StatusCode::SERVICE_UNAVAILABLE, Vec::new()),
                path if path.ends_with(".pdf") => file(path.trim_start_matches('/')),
                _ => (StatusCode::NOT_FOUND, Vec::new()),
            }
        }
    };
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(answer)).await.unwrap() });
    base
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_and_documents_are_asked_for_in_the_sandbox() {
    let base = services().await;
    let section = |id: &str, more: Json| {
        let mut node = json!({ "id": id, "type": "exists-section-in-doc", "section": "2 Access control" });
        node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        node
    };
    let web = |id: &str, file: &str| section(id, json!({ "valueType": "URL", "url": format!("{base}/{file}.pdf") }));
    let nodes = json!([
        { "id": "url", "type": "exists-url" },
        { "id": "card", "type": "exists-url", "urlType": "config", "cardId": "c", "trelloApiUrl": base,
          "githubApiUrl": base },
        web("chromium", "chromium"), web("fpdf2", "fpdf2"), web("matplotlib", "matplotlib"),
        web("reportlab", "reportlab"), web("typst", "typst"), web("restricted", "restricted"),
        web("partly", "partly-scanned"), web("encrypted", "encrypted"), web("scanned", "scanned"),
        section("hub", json!({ "user": "o", "repo": "r", "path": "docs", "docName": "policy", "githubApiUrl": base })),
    ]);
    let Some((rig, deployed)) = with("validation", nodes).await else { return };
    let url = |path: &str| json!(format!("{base}{path}"));
    for (node, payload, result) in [
        ("url", url("/chromium.pdf"), true),
        ("url", url("/nothing"), false),
        ("card", json!({}), true),
        ("chromium", json!({}), true),
        ("fpdf2", json!({}), true),
        ("matplotlib", json!({}), true),
        ("reportlab", json!({}), true),
        ("typst", json!({}), true),
        ("restricted", json!({}), true),
        ("hub", json!({}), true),
    ] {
        let got = ask(&rig, &deployed, node, payload).await;
        assert_eq!(got.as_ref().map(|payload| &payload["result"]), Ok(&json!(result)), "{node}: {got:?}");
    }
    assert!(ask(&rig, &deployed, "url", url("/busy")).await.unwrap_err().contains("status 503"));
    assert!(ask(&rig, &deployed, "encrypted", json!({})).await.unwrap_err().contains("the PDF is encrypted"));
    assert!(ask(&rig, &deployed, "scanned", json!({})).await.unwrap_err().contains("scanned images"));
}
