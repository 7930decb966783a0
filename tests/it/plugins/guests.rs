//! Guests written with the Rust SDK, in the real sandbox: every capability, granted and not; panics; run ends.
//!
//! They are built by `plugins/build --fixtures`; where they are not, these tests say so and pass, unless
//! `PROBITY_TEST_REQUIRE_PLUGINS` is set, as it is in `tests/all`.

use std::sync::Arc;

use probity::model::run::Trigger;
use probity::model::{Msg, Value};
use probity::plugin::granted::{CAPABILITIES, Granted};
use probity::plugin::limits::Limits;
use serde_json::json;

use super::rig::{Rig, built, msg, server};

fn value(json: serde_json::Value) -> Value {
    Value::from_json(&json.to_string()).unwrap()
}

fn everything() -> Granted {
    Granted {
        names: CAPABILITIES.iter().map(ToString::to_string).collect(),
        hosts: vec!["127.0.0.1".into()],
        secrets: ["TOKEN".to_string()].into(),
        folders: vec![env!("CARGO_MANIFEST_DIR").into()],
    }
}

/// Asks the fixture to do something; the payload it sends on, or its error.
async fn ask(rig: &Rig, flow: &Arc<probity::runtime::Deployed>, what: serde_json::Value) -> Result<Value, String> {
    let outcome = rig.send(flow, "n", msg(value(what))).await;
    match outcome.errors.first() {
        Some(error) => Err(error.clone()),
        None => Ok(outcome.out[0].2.payload().clone()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_capability_works_when_granted_and_says_what_to_do_when_not() {
    let Some(package) = built("fixture-capabilities", everything()) else { return };
    let upstream = server().await;
    let node =
        json!({"id": "n", "type": "fixture-capabilities", "baseUrl": upstream.url("/hello"), "token": "secret:TOKEN"});
    let rig = Rig::with_secrets(Limits::default(), |name| (name == "TOKEN").then(|| "s3cret-value".to_string()));
    rig.load(package.clone()).await.unwrap_or_else(|p| panic!("{p:#?}"));
    let flow = rig.deploy(json!([node]));
    let got = |what| ask(&rig, &flow, what);

    assert!(got(json!({"do": "now"})).await.unwrap().as_f64().unwrap() > 1.7e12);
    assert_eq!(got(json!({"do": "random"})).await.unwrap().as_array().unwrap().len(), 8);
    assert_eq!(got(json!({"do": "uuid"})).await.unwrap().to_js_string().len(), 36);
    let placeholder = got(json!({"do": "secret"})).await.unwrap().to_js_string();
    assert!(placeholder.starts_with("probity-secret-"), "the guest never sees the secret: {placeholder}");
    let answer = got(json!({"do": "get"})).await.unwrap();
    assert_eq!(answer.get("status").to_number(), 200.0);
    // The server echoes what it was sent: the secret went out, and comes back hidden.
    let echoed = answer.get("text").to_js_string();
    assert!(echoed.contains("[secret TOKEN]") && !echoed.contains("s3cret-value"), "{echoed}");
    assert!(upstream.heard("authorization: Bearer s3cret-value"), "the placeholder was replaced on the way out");
    assert_eq!(
        got(json!({"do": "post", "value": {"a": [1, 2]}})).await.unwrap().get("body").to_js_string(),
        r#"{"a":[1,2]}"#
    );
    assert_eq!(got(json!({"do": "count-node"})).await.unwrap().to_number(), 1.0);
    assert_eq!(got(json!({"do": "count-node"})).await.unwrap().to_number(), 2.0);
    assert_eq!(got(json!({"do": "count-run"})).await.unwrap().to_number(), 1.0);
    assert_eq!(got(json!({"do": "count-run"})).await.unwrap().to_number(), 1.0, "another run, another count");
    assert_eq!(got(json!({"do": "evidence", "value": true})).await.unwrap().to_js_string().len(), 36);
    // It deletes what it set in the context of the node.
    assert_eq!(got(json!({"do": "context", "value": 7})).await.unwrap().to_json(), "[7,7,null]");
    let file = got(json!({"do": "file", "key": "LICENSE"})).await.unwrap();
    assert!(file.to_js_string().contains("Apache License"));
    let outside = got(json!({"do": "file", "key": "/etc/passwd"})).await.unwrap_err();
    assert!(outside.contains("in none of the granted folders"), "{outside}");
    let climbing = got(json!({"do": "file", "key": "../../../../../../etc/passwd"})).await.unwrap_err();
    assert!(climbing.contains("in none of the granted folders"), "{climbing}");
    let always = got(json!({"do": "always"})).await.unwrap();
    assert_eq!(always.get("id").to_js_string(), "n");

    let rig = Rig::new(Limits::default());
    rig.load(probity::plugin::Package { granted: Granted::default(), ..package }).await.unwrap();
    let flow = rig.deploy(json!([node]));
    for (what, capability) in [
        ("now", "clock"),
        ("random", "random"),
        ("secret", "secret"),
        ("count-node", "state"),
        ("evidence", "evidence"),
        ("evaluate", "typed-input"),
        ("context", "context"),
        ("file", "files"),
    ] {
        let error = ask(&rig, &flow, json!({"do": what, "value": 1})).await.unwrap_err();
        let line = format!("probity plugin grant fixture-capabilities {capability}");
        assert!(error.contains(&line), "{what}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_end_is_called_once_and_its_message_goes_on() {
    let Some(package) = built("fixture-capabilities", everything()) else { return };
    let rig = Rig::new(Limits::default());
    rig.load(package).await.unwrap();
    let flow = rig.deploy(json!([{"id": "n", "type": "fixture-capabilities"}]));
    let outcome = rig.send(&flow, "n", msg(value(json!({"do": "always"})))).await;
    assert_eq!(outcome.out.len(), 2, "{outcome:?}");
    assert_eq!(outcome.out[1].2.get("topic").unwrap().to_js_string(), "run-end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evidence_stays_with_the_run_and_names_its_plugin() {
    let Some(package) = built("fixture-capabilities", everything()) else { return };
    let rig = Rig::new(Limits::default());
    rig.load(package).await.unwrap();
    let flow = rig.deploy(json!([{"id": "n", "type": "fixture-capabilities"}]));
    let (run, _) =
        rig.run(&flow, "n", msg(value(json!({"do": "evidence", "key": "review", "value": true}))), manual()).await;
    let record = rig.engine.services.history.find(run).unwrap();
    let kept: Vec<_> = record.trace.iter().flat_map(|step| &step.evidence).collect();
    assert_eq!(kept.len(), 1, "{record:?}");
    assert_eq!((kept[0].key.as_str(), kept[0].outcome), ("review", Some(true)));
    assert!(kept[0].plugin.starts_with("fixture-capabilities@"), "{}", kept[0].plugin);
    assert!(kept[0].digest.starts_with("sha256:"));
}

fn manual() -> Trigger {
    Trigger::Manual { by: "test".into() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_names_the_authors_file_and_line() {
    let Some(package) = built("fixture-panics", Granted::default()) else { return };
    let rig = Rig::new(Limits::default());
    rig.load(package).await.unwrap();
    let flow = rig.deploy(json!([{"id": "n", "type": "fixture-panics"}]));
    let outcome = rig.send(&flow, "n", msg("panic")).await;
    assert_eq!(outcome.errors.len(), 1, "{outcome:?}");
    assert!(outcome.errors[0].contains("src/lib.rs:"), "{}", outcome.errors[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_does_not_touch_is_kept_as_it_was() {
    let Some(package) = built("fixture-x2", Granted::default()) else { return };
    let rig = Rig::new(Limits::default());
    rig.load(package).await.unwrap();
    let flow = rig.deploy(json!([{"id": "n", "type": "fixture-x2"}]));
    let mut sent = Msg::with_payload(value(json!({"number": 21, "text": "a"})));
    sent.set("when", Value::Date(1e12));
    sent.set("bytes", Value::Bytes(Arc::new(vec![1, 2, 255])));
    let outcome = rig.send(&flow, "n", sent).await;
    let got = &outcome.out[0].2;
    assert_eq!(got.payload().to_json(), r#"{"number":42,"text":"a!"}"#);
    assert_eq!(got.get("when"), Some(&Value::Date(1e12)));
    assert_eq!(got.get("bytes"), Some(&Value::Bytes(Arc::new(vec![1, 2, 255]))));
}

/// A guest's globals survive between callers, so a value of one must never show in the answer to another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interleaved_callers_never_mix() {
    let Some(package) = built("fixture-capabilities", everything()) else { return };
    let rig = Arc::new(Rig::new(Limits::default()));
    rig.load(package).await.unwrap();
    let flow = rig.deploy(json!([{"id": "n", "type": "fixture-capabilities"}]));
    let callers: Vec<_> = (0..200)
        .map(|_| {
            let (rig, flow) = (rig.clone(), flow.clone());
            tokio::spawn(async move { ask(&rig, &flow, json!({"do": "count-run"})).await })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap().to_number(), 1.0);
    }
}
