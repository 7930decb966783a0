//! The originals' recorded cases, where they were right. The backend's address stands in them for a server that took
//! what it got.

#![allow(clippy::unwrap_used)]

use probity_sdk::testing::Host;
use probity_sdk::{NodeType, Value, json};
use recorded::{Case, cases};
use status::{FilterScope, StatusStorer};

const BACKEND: &str = "http://backend.test";

fn replaced(value: &Value) -> Value {
    let text = value.to_string().replace("{{backend}}", BACKEND);
    probity_sdk::serde_json::from_str(&text).unwrap()
}

fn with_backend() -> Host {
    let host = Host::new();
    for path in ["/api/v1/computations/bulk", "/configured"] {
        host.answer("POST", &format!("{BACKEND}{path}"), 201, json!({ "code": 201 }));
    }
    host
}

/// The rows the original sent, in order: numbers of controls as numbers, as the backend's column has them.
fn rows(case: &Case) -> Vec<Value> {
    let bodies = case.requests().into_iter().map(|request| request["body"].clone());
    let mut rows: Vec<Value> = bodies.flat_map(|body| body["computations"].as_array().unwrap().clone()).collect();
    for row in &mut rows {
        let control = row.get("controlId").and_then(Value::as_str).and_then(|text| text.parse::<i64>().ok());
        if let Some(control) = control {
            row["controlId"] = control.into();
        }
    }
    rows
}

#[test]
fn status_storer_stores_the_rows_of_the_original_and_says_done_once() {
    let right: Vec<Case> = cases(StatusStorer::TYPE).into_iter().filter(|case| case.right).collect();
    assert!(right.len() > 15, "{}", right.len());
    for case in right {
        let host = with_backend();
        let config = replaced(&Value::Object(case.config.clone()));
        let mut sent = Vec::new();
        let mut last = Value::Null;
        for msg in case.inputs() {
            last = replaced(&msg);
            sent.extend(host.process::<StatusStorer>(config.clone(), last.clone()).unwrap());
        }
        let title = &case.title;
        let bodies: Vec<Value> =
            host.requests().iter().map(|r| probity_sdk::serde_json::from_slice(&r.body).unwrap()).collect();
        if title.ends_with("size too large") {
            // The original waits for ever; here the run's end tells.
            assert!(sent.is_empty() && bodies.is_empty(), "{title}");
            let error = host.run_end::<StatusStorer>(config, last).unwrap_err();
            assert!(error.message().contains("2 of 5 results"), "{title}: {error}");
            continue;
        }
        let ours: Vec<Value> =
            bodies.iter().flat_map(|body| body["computations"].as_array().unwrap().clone()).collect();
        let theirs = rows(&case);
        assert!(
            recorded::same(&Value::Array(theirs.clone()), &Value::Array(ours.clone())),
            "{title}:\n{theirs:?}\n{ours:?}"
        );
        let done: Vec<bool> = bodies.iter().map(|body| body["done"] == true).collect();
        assert_eq!(done.iter().filter(|done| **done).count(), 1, "{title}");
        assert_eq!(done.last(), Some(&true), "{title}");
        let requests = case.requests();
        let header = |name: &str| {
            let request = &host.requests()[0];
            request.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        };
        let token = requests[0]["headers"]["x-access-token"].as_str();
        assert_eq!(header("x-access-token").as_deref(), token, "{title}");
        assert_eq!(host.requests()[0].url, requests[0]["url"].as_str().unwrap().replace("{{backend}}", BACKEND));
        let expected: Vec<Value> = case.expected().iter().map(|(_, msg)| replaced(msg)).collect();
        assert_eq!(sent.len(), expected.len(), "{title}");
        for (ours, theirs) in sent.iter().zip(&expected) {
            assert!(recorded::same(theirs, &ours.msg), "{title}: {} instead of {theirs}", ours.msg);
        }
    }
}

#[test]
fn filter_scope_is_as_recorded() {
    recorded::compare::<FilterScope>(&json!({}), &[], |_| ());
}
