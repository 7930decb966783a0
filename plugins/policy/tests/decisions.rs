//! Policies as data (`cases/decisions.json`): what each decides on which input, and what is an error.

#![allow(clippy::unwrap_used)]

use policy::Policy;
use probity_sdk::testing::Host;
use probity_sdk::{Value, json, serde_json};

fn cases() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/decisions.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn config(policy: &Value) -> Value {
    let mut config = json!({ "policy": policy["policy"] });
    if let Some(more) = policy["config"].as_object() {
        config.as_object_mut().unwrap().extend(more.clone());
    }
    config
}

/// What is wrong with a case, if anything.
fn wrong(host: &Host, policy: &Value, case: &Value) -> Option<String> {
    let sent = host.process::<Policy>(config(policy), json!({ "payload": case["input"] }));
    let found = match (sent, case["error"].as_str()) {
        (Err(error), Some(expected)) => {
            return (!error.message().contains(expected)).then(|| format!("error {}", error.message()));
        }
        (Err(error), None) => return Some(format!("error {}", error.message())),
        (Ok(sent), _) => sent,
    };
    let decided = &found[0].msg["policy"];
    let port = ["allowed", "denied", "undefined"].iter().position(|word| decided["decision"] == *word);
    let right = found.len() == 1
        && port == Some(found[0].port as usize)
        && decided["decision"] == case["decision"]
        && ["value", "messages"].iter().all(|name| case[*name].is_null() || decided[*name] == case[*name]);
    (!right).then(|| format!("{found:?}"))
}

#[test]
fn policies_decide_as_their_cases_say() {
    let mut problems = Vec::new();
    for policy in cases() {
        let host = Host::new();
        if let Some(now) = policy["now"].as_str() {
            let now: jiff::Timestamp = now.parse().unwrap();
            host.now_ms(now.as_millisecond() as u64);
        }
        for case in policy["cases"].as_array().unwrap() {
            if let Some(found) = wrong(&host, &policy, case) {
                problems.push(format!("{}, input {}: {found}", policy["title"], case["input"]));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
