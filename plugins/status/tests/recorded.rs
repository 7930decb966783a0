//! The originals' recorded cases, where they were right. The backend's address stands in them for a server that took
//! what it got.

#![allow(clippy::unwrap_used)]

use probity_sdk::testing::Host;
use probity_sdk::{NodeType, Value, json};
use recorded::{Case, cases};
use status::{Databinder, FilterScope, StatusStorer};

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
    recorded::compare::<FilterScope>(&json!({}), |_| ());
}

/// The headers of the recorded answers are those of Node.js' `fetch`, which adds a content type of its own.
fn without_headers(msg: &mut Value) {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(object) => {
                object.shift_remove("headers");
                object.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    strip(&mut msg["payload"]);
}

#[test]
fn databinder_is_as_recorded() {
    recorded::compare::<Databinder>(&json!({}), without_headers);
}

#[test]
fn databinder_asks_what_the_original_asked() {
    let mut compared = 0;
    for case in cases(Databinder::TYPE).into_iter().filter(|case| case.right) {
        let (host, _) = case.replay_in::<Databinder>(&json!({}));
        let ours: Vec<(String, String)> = host.requests().iter().map(|r| (r.method.clone(), r.url.clone())).collect();
        let text = |request: &Value, name: &str| request[name].as_str().unwrap().to_owned();
        let theirs: Vec<(String, String)> =
            case.requests().iter().map(|request| (text(request, "method"), text(request, "url"))).collect();
        assert_eq!(ours, theirs, "{}", case.title);
        for (ours, theirs) in host.requests().iter().zip(case.requests()) {
            for (name, value) in theirs["headers"].as_object().unwrap() {
                let sent = ours.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
                // Node.js' own `accept` is none of the node's.
                if name != "accept" {
                    assert_eq!(sent, value.as_str(), "{}: {name}", case.title);
                }
            }
            compared += 1;
        }
    }
    assert!(compared > 30, "{compared}");
}
