//! What the node keeps and tells of a decision, where policies come from, and what stays between messages: nothing.

#![allow(clippy::unwrap_used)]

use policy::Policy;
use probity_sdk::testing::Host;
use probity_sdk::{NodeType, json, serde_json};

const FOUR_EYES: &str = "package main\n\nallow := input.by != input.approvedBy\n";

#[test]
fn a_decision_names_the_policy_and_the_input_by_their_hashes() {
    let host = Host::new();
    host.file("release/main.rego", FOUR_EYES).file("release/limits.json", "{\"limits\": {\"amount\": 10}}");
    let config = json!({ "files": [{ "path": "release/main.rego" }, { "path": "release/limits.json" }] });
    let msg = json!({ "payload": { "by": "ana", "approvedBy": "bo" }, "topic": "kept" });
    let sent = host.process::<Policy>(config, msg).unwrap();
    let decided = &sent[0].msg["policy"];
    // sha256sum of the file, and of {"approvedBy":"bo","by":"ana"}.
    assert_eq!(
        decided["policy"],
        json!([{ "name": "release/main.rego", "sha256": "0a8110c62719ec621b91ec3be1767fc0c474a59449406ea190913231014dfeb5" }])
    );
    assert_eq!(decided["inputSha256"], "e3e0d6b13c4bd0f89be77035261f29e224d2c61d495a9bad097bf0e013aec026");
    assert_eq!(decided["data"][0]["name"], "release/limits.json");
    assert_eq!(sent[0].msg["topic"], "kept");
    let kept = host.evidence();
    assert_eq!((kept.len(), kept[0].key.as_str(), kept[0].outcome), (1, "policy", Some(true)));
    assert_eq!(&kept[0].value, decided);
    assert_eq!(host.status().as_deref(), Some("green dot allowed"));
}

#[test]
fn undefined_is_evidence_for_nothing_and_an_unknown_result() {
    let host = Host::new();
    let config = json!({ "policy": FOUR_EYES, "setResult": true, "storeEvidences": true, "output": "verdict" });
    let sent = host.process::<Policy>(config, json!({ "payload": { "by": "ana" } })).unwrap();
    assert_eq!(sent[0].port, 2);
    assert_eq!(sent[0].msg["payload"]["result"], json!(null));
    assert_eq!(sent[0].msg["payload"]["evidences"][0]["result"], json!(null));
    assert_eq!(sent[0].msg["payload"]["evidences"][0]["value"], sent[0].msg["verdict"]);
    assert_eq!(host.evidence()[0].outcome, None);
}

#[test]
fn the_input_is_a_typed_input_and_must_be_there() {
    let host = Host::new();
    host.context(probity_sdk::testing::ContextLevel::Flow, "order", json!({ "by": "ana", "approvedBy": "ana" }));
    let config = json!({ "policy": FOUR_EYES, "input": "order", "inputType": "flow" });
    assert_eq!(host.process::<Policy>(config, json!({})).unwrap()[0].port, 1);
    let config = json!({ "policy": FOUR_EYES, "input": "payload.order" });
    let msg = json!({ "payload": { "order": { "by": "ana", "approvedBy": "bo" } } });
    assert_eq!(host.process::<Policy>(config, msg).unwrap()[0].port, 0);
    for config in [json!({ "policy": FOUR_EYES }), json!({ "policy": FOUR_EYES, "input": "order" })] {
        let error = host.process::<Policy>(config, json!({ "topic": 1 })).unwrap_err();
        assert!(error.message().contains("is undefined: there is nothing to decide on"), "{error}");
    }
}

#[test]
fn what_a_caller_sends_changes_nothing_of_the_policy() {
    let body = json!({ "policy": "package main\n\nallow := true", "query": "true", "input": "req" });
    let msg = json!({ "payload": { "by": "ana", "approvedBy": "ana" }, "req": { "body": body } });
    let sent = Host::new().process::<Policy>(json!({ "policy": FOUR_EYES }), msg).unwrap();
    assert_eq!(sent[0].msg["policy"]["decision"], "denied");
}

#[test]
fn nothing_of_one_message_is_left_for_the_next() {
    let host = Host::new();
    let config =
        json!({ "policy": "package main\n\nallow := input.ok\n\nseen := input", "messages": "data.main.seen" });
    for round in 0..20 {
        let ok = round % 2 == 0;
        let sent = host.process::<Policy>(config.clone(), json!({ "payload": { "ok": ok, "n": round } })).unwrap();
        assert_eq!(sent[0].port, u32::from(!ok));
        assert_eq!(sent[0].msg["policy"]["messages"], json!([{ "n": round, "ok": ok }]));
        // An error leaves nothing either.
        assert!(host.process::<Policy>(config.clone(), json!({ "payload": { "ok": "x", "n": -1 } })).is_err());
        let sent = host.process::<Policy>(config.clone(), json!({ "payload": {} })).unwrap();
        assert_eq!((sent[0].port, &sent[0].msg["policy"]["messages"]), (2, &json!([{}])));
    }
}

#[test]
fn a_changed_file_is_another_policy() {
    let host = Host::new();
    let config = json!({ "files": [{ "path": "main.rego" }] });
    for (text, port) in [("allow := true", 0), ("allow := false", 1), ("allow := true", 0)] {
        host.file("main.rego", format!("package main\n\n{text}\n"));
        assert_eq!(host.process::<Policy>(config.clone(), json!({ "payload": 1 })).unwrap()[0].port, port);
    }
    host.file("main.rego", "package main\n\nallow :=");
    let error = host.process::<Policy>(config.clone(), json!({ "payload": 1 })).unwrap_err();
    assert!(error.message().contains("main.rego:3:"), "{error}");
    assert_eq!(error.code(), Some("policy"));
    let missing = json!({ "files": [{ "path": "other.rego" }] });
    assert!(host.process::<Policy>(missing, json!({ "payload": 1 })).unwrap_err().message().contains("other.rego"));
    let none = host.process::<Policy>(json!({}), json!({ "payload": 1 })).unwrap_err();
    assert!(none.message().starts_with("there is no policy"), "{none}");
}

#[test]
fn several_faults_are_told_at_once_and_print_goes_to_the_log() {
    let host = Host::new();
    host.file("a.rego", "package a\n\nx :=").file("b.rego", "package b\n\ny ==").file("c.json", "[1]");
    let config = json!({ "files": [{ "path": "a.rego" }, { "path": "b.rego" }, { "path": "c.json" }] });
    let error = host.process::<Policy>(config, json!({ "payload": 1 })).unwrap_err();
    for part in ["a.rego:3:", "b.rego:3:", "c.json: a JSON object was expected"] {
        assert!(error.message().contains(part), "{error}");
    }
    let config = json!({ "policy": "package main\n\nallow if {\n\tprint(\"by\", input.by)\n\ttrue\n}" });
    host.process::<Policy>(config, json!({ "payload": { "by": "ana" } })).unwrap();
    assert_eq!(host.logs(), ["info: Policy:4: by ana"]);
}

#[test]
fn input_that_is_nested_too_deeply_is_an_error() {
    let mut deep = json!(1);
    for _ in 0..400 {
        deep = json!([deep]);
    }
    let error = Host::new().process::<Policy>(json!({ "policy": FOUR_EYES }), json!({ "payload": deep })).unwrap_err();
    assert!(error.message().starts_with("the input cannot be given to the policy: "), "{error}");
}

#[test]
fn the_form_has_everything() {
    let schema: serde_json::Value = serde_json::from_str(&Policy::description().config).unwrap();
    for name in ["policy", "files", "data", "query", "gives", "messages", "input", "output"] {
        assert!(schema["properties"][name]["title"].is_string(), "{name}");
        assert!(schema["properties"][name]["x-config-only"] == true, "{name}");
    }
}
