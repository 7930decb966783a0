//! The pack `policy` in the real sandbox: its example flow over its three outputs, callers at once, and what stops it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use probity::model::run::Trigger;
use probity::model::{Msg, Value};
use probity::plugin::granted::Granted;
use probity::plugin::limits::Limits;
use probity::runtime::Deployed;
use probity::runtime::opening::Start;
use serde_json::{Value as Json, json};

use super::packs::dist;
use super::rig::Rig;

fn grants() -> Granted {
    let names = ["typed-input", "evidence", "files", "clock"].map(str::to_owned);
    Granted { names: names.into(), ..Granted::default() }
}

async fn rig() -> Option<Rig> {
    let package = dist("policy", grants())?;
    let rig = Rig::new(Limits::default());
    rig.load(package).await.unwrap();
    Some(rig)
}

/// Compiling a guest of this size takes seconds, so it is loaded once for all of this.
#[tokio::test(flavor = "multi_thread")]
async fn policies_decide_in_the_sandbox() {
    let Some(rig) = rig().await else { return };
    the_example_allows_denies_and_says_when_it_cannot(&rig).await;
    the_run_keeps_what_was_decided_by_which_policy(&rig).await;
    an_error_of_the_policy_names_its_line(&rig).await;
    callers_at_once_get_their_own_decisions(&rig).await;
    a_policy_that_takes_too_long_is_stopped_and_the_next_message_is_decided(&rig).await;
}

/// The nodes of the pack's example.
fn example() -> Json {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/policy/flows/four-eyes.json");
    let entries: Vec<Json> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    entries.into_iter().filter(|entry| entry["type"] != "tab").collect()
}

async fn call(deployed: &Arc<Deployed>, payload: Json) -> (u16, Json) {
    let entry = deployed.plan.nodes.iter().position(|n| n.id == "in").unwrap() as u32;
    let trigger = Trigger::Http { method: "POST".into(), path: "/release".into() };
    let msg = Msg::with_payload(Value::from(&payload));
    let called = deployed.call(entry, Start::Emit(0), msg, trigger, Duration::from_secs(60)).await.unwrap();
    let reply = called.reply.expect("answered before its deadline");
    let text = String::from_utf8(reply.body.to_vec()).unwrap();
    (reply.status, serde_json::from_str(&text).unwrap_or(Json::String(text)))
}

async fn the_example_allows_denies_and_says_when_it_cannot(rig: &Rig) {
    let deployed = rig.deploy(example());
    for (input, status, decision, messages) in [
        (json!({ "author": "ana", "releasedBy": "bo", "failed": 0, "severity": "minor" }), 200, "allowed", json!([])),
        (
            json!({ "author": "ana", "releasedBy": "ana", "failed": 2, "severity": "major" }),
            403,
            "denied",
            json!(["2 tests failed", "the author released the change"]),
        ),
        (
            json!({ "author": "ana", "releasedBy": "bo", "failed": 0, "severity": "critical" }),
            403,
            "denied",
            json!(["severity critical is above major"]),
        ),
        (json!({ "severity": "minor", "releasedBy": "bo", "failed": 0 }), 403, "denied", json!(["author is missing"])),
        (json!({ "author": "ana", "releasedBy": "bo", "failed": 0 }), 422, "undefined", json!([])),
    ] {
        let (answered, body) = call(&deployed, input.clone()).await;
        assert_eq!((answered, &body["decision"], &body["messages"]), (status, &json!(decision), &messages), "{input}");
        assert_eq!(body["policy"][0]["name"], "Policy");
        assert_eq!(body["inputSha256"].as_str().unwrap().len(), 64);
    }
}

async fn the_run_keeps_what_was_decided_by_which_policy(rig: &Rig) {
    let deployed = rig.deploy(json!([{ "id": "n", "type": "policy", "wires": [[], [], []],
        "policy": "package main\n\nallow if input.ok\n" }]));
    for (payload, port, outcome) in [(json!({ "ok": true }), 0, Some(true)), (json!({}), 2, None)] {
        let msg = Msg::with_payload(Value::from(&payload));
        let (run, found) = rig.run(&deployed, "n", msg, Trigger::Manual { by: "test".into() }).await;
        assert_eq!(found.errors, Vec::<String>::new());
        assert_eq!(found.out[0].1, port);
        let record = rig.engine.services.history.find(run).unwrap();
        let kept: Vec<_> = record.trace.iter().flat_map(|step| &step.evidence).collect();
        assert_eq!((kept.len(), kept[0].key.as_str(), kept[0].outcome), (1, "policy", outcome));
        assert!(kept[0].plugin.starts_with("policy@"), "{}", kept[0].plugin);
    }
}

async fn an_error_of_the_policy_names_its_line(rig: &Rig) {
    let deployed = rig.deploy(json!([{ "id": "n", "type": "policy", "wires": [[], [], []],
        "policy": "package main\n\nallow if to_number(input.n) > 1\n" }]));
    let outcome = rig.send(&deployed, "n", Msg::with_payload(Value::from(&json!({ "n": "many" })))).await;
    assert_eq!((outcome.out.len(), outcome.errors.len()), (0, 1), "{outcome:?}");
    assert!(outcome.errors[0].contains("Policy:3:"), "{outcome:?}");
}

/// One instance serves all of them, and keeps its policy compiled.
async fn callers_at_once_get_their_own_decisions(rig: &Rig) {
    let deployed = rig.deploy(example());
    let calls: Vec<_> = (0..200)
        .map(|n| {
            let deployed = deployed.clone();
            let input =
                json!({ "author": "ana", "releasedBy": if n % 2 == 0 { "bo" } else { "ana" }, "failed": n, "severity": "minor" });
            tokio::spawn(async move { (n, call(&deployed, input).await) })
        })
        .collect();
    for called in calls {
        let (n, (status, body)) = called.await.unwrap();
        let mut expected = Vec::new();
        expected.extend((n > 0).then(|| format!("{n} tests failed")));
        expected.extend((n % 2 == 1).then(|| "the author released the change".to_owned()));
        assert_eq!((status, &body["messages"]), (if n == 0 { 200 } else { 403 }, &json!(expected)), "{n}");
    }
}

/// Rego always ends, but not soon: three loops over the input, each within the other.
async fn a_policy_that_takes_too_long_is_stopped_and_the_next_message_is_decided(rig: &Rig) {
    let policy =
        "package main\n\nallow := count([1 | some a in input; some b in input; some c in input; a + b == c]) >= 0\n";
    let deployed = rig.deploy(json!([{ "id": "n", "type": "policy", "wires": [[], [], []], "policy": policy }]));
    let numbers = |n: u32| Msg::with_payload(Value::from(&Json::from((0..n).collect::<Vec<_>>())));
    let stopped = rig.send(&deployed, "n", numbers(2_000)).await;
    assert_eq!((stopped.out.len(), stopped.errors.len()), (0, 1), "{stopped:?}");
    let decided = rig.send(&deployed, "n", numbers(3)).await;
    assert_eq!(decided.out.len(), 1, "{decided:?}");
}
