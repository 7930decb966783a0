//! A proxy through the SDK's host.

#![allow(clippy::unwrap_used)]

use ledger::AndBlockchain;
use probity_sdk::testing::Host;
use probity_sdk::{NodeType, Value, json};

const UP: &str = "http://ledger:80/chaincode/up/statuscompliance-logic/and/node-1";
const RUN: &str = "http://ledger:80/chaincode/transaction/statuscompliance-logic/and/node-1";

#[test]
fn a_node_is_started_once_and_each_message_is_a_transaction() {
    let host = Host::new();
    host.env("STATUS_LEDGER_ENDPOINT", "ledger:80").answer("POST", UP, 226, json!({}));
    host.answer("POST", RUN, 200, json!({ "payload": { "result": true }, "new": 1 }));
    for _ in 0..2 {
        let msg = json!({ "payload": 1, "gone": 2, "req": { "body": {} } });
        let sent = host.process::<AndBlockchain>(json!({}), msg).unwrap();
        assert_eq!(sent[0].msg, json!({ "payload": { "result": true }, "req": { "body": {} }, "new": 1 }));
    }
    let urls: Vec<String> = host.requests().iter().map(|request| request.url.clone()).collect();
    assert_eq!(urls, [UP, RUN, RUN]);
    let body: Value = probity_sdk::serde_json::from_slice(&host.requests()[1].body).unwrap();
    assert_eq!(body, json!({ "payload": 1, "gone": 2 }));
}

#[test]
fn failures_are_errors() {
    let host = Host::new();
    let error = host.process::<AndBlockchain>(json!({}), json!({ "payload": 1 })).unwrap_err();
    assert!(error.message().starts_with("there is no ledger"), "{error}");
    host.env("STATUS_LEDGER_ENDPOINT", "ledger:80").answer("POST", UP, 404, json!({}));
    assert_eq!(host.process::<AndBlockchain>(json!({}), json!({})).unwrap_err().code(), Some("http-404"));
    let host = Host::new();
    host.env("STATUS_LEDGER_ENDPOINT", "ledger:80").answer("POST", UP, 200, json!({}));
    host.answer("POST", RUN, 500, json!("x"));
    let error = host.process::<AndBlockchain>(json!({}), json!({ "payload": 1 })).unwrap_err();
    assert!(error.message().starts_with("the ledger did not process the message: "), "{error}");
    assert_eq!(error.code(), Some("http-500"));
}

#[test]
fn every_proxy_is_described_as_its_own_type() {
    let described = [ledger::GroupByBlockchain::description(), ledger::IsValidUrlBlockchain::description()];
    assert_eq!(described.map(|d| d.node_type), ["group-by-blockchain", "is-valid-url-blockchain"]);
    assert!(ledger::IsValidUrlBlockchain::description().help.contains("STATUS_LEDGER_ENDPOINT"));
}
