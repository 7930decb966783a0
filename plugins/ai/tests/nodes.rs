//! `ai-response` through the SDK's host, and the originals' recorded cases where they were right.

#![allow(clippy::unwrap_used)]

use ai::AiResponse;
use probity_sdk::testing::{Host, Response};
use probity_sdk::{Value, json};

const URL: &str = "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:generateContent";

fn said(text: &str) -> Value {
    json!({ "candidates": [{ "content": { "role": "model", "parts": [{ "text": text }] }, "finishReason": "STOP" }] })
}

fn ask(host: &Host, body: Value) -> probity_sdk::Result<String> {
    let msg = json!({ "payload": {}, "req": { "body": body } });
    let sent = host.process::<AiResponse>(json!({ "apiKey": "k" }), msg)?;
    Ok(sent[0].msg["payload"]["payload"].as_str().unwrap().to_owned())
}

fn contents(host: &Host, request: usize) -> Vec<(String, String)> {
    let body: Value = probity_sdk::serde_json::from_slice(&host.requests()[request].body).unwrap();
    let turn = |c: &Value| (c["role"].as_str().unwrap().to_owned(), c["parts"][0]["text"].as_str().unwrap().to_owned());
    body["contents"].as_array().unwrap().iter().map(turn).collect()
}

#[test]
fn as_recorded() {
    // gemini-pro, the original's model where none is configured, no longer exists.
    recorded::compare::<AiResponse>(&json!({}), |_| ());
}

#[test]
fn callers_share_nothing_and_a_conversation_its_turns() {
    let host = Host::new();
    host.answer("POST", URL, 200, said("One."));
    ask(&host, json!({ "userInput": "mine", "conversationId": "a" })).unwrap();
    ask(host.run("run-2"), json!({ "userInput": "theirs" })).unwrap();
    assert_eq!(contents(&host, 1).len(), 1);
    ask(host.run("run-3"), json!({ "userInput": "again", "conversationId": "a" })).unwrap();
    let roles: Vec<String> = contents(&host, 2).into_iter().map(|(role, _)| role).collect();
    assert_eq!(roles, ["user", "user", "model", "user"]);
    assert_eq!(contents(&host, 2)[1].1, "mine");
}

#[test]
fn a_short_history_begins_with_a_question_and_failures_leave_none() {
    let host = Host::new();
    host.answer("POST", URL, 500, json!({ "error": { "message": "x" } }));
    host.answer("POST", URL, 200, said("One."));
    assert_eq!(ask(&host, json!({ "userInput": "0?" })).unwrap_err().code(), Some("http-500"));
    for question in ["1?", "2?", "3?"] {
        ask(&host, json!({ "userInput": question, "maxHistory": 1 })).unwrap();
    }
    assert_eq!(contents(&host, 1).len(), 1);
    let last: Vec<String> = contents(&host, 3).into_iter().map(|(_, text)| text).collect();
    assert_eq!(last[1..], ["2?", "One.", "3?"]);
}

#[test]
fn failures_are_errors_and_too_many_requests_wait() {
    for (status, body, code) in [
        (401, json!({}), "http-401"),
        (403, json!({ "error": { "message": "no" } }), "http-403"),
        (404, json!({}), "http-404"),
        (200, json!({ "promptFeedback": { "blockReason": "SAFETY" } }), "blocked"),
        (200, json!({ "candidates": [{ "finishReason": "SAFETY" }] }), "blocked"),
    ] {
        let host = Host::new();
        host.answer("POST", URL, status, body);
        assert_eq!(ask(&host, json!({ "userInput": "?" })).unwrap_err().code(), Some(code));
    }
    let host = Host::new();
    let headers = vec![("retry-after".to_owned(), "3".to_owned())];
    host.answer_with("POST", URL, Response { status: 429, headers, body: Vec::new() });
    host.answer("POST", URL, 200, said("Yes."));
    assert_eq!(ask(&host, json!({ "userInput": "?" })).unwrap(), "Yes.");
    assert_eq!(host.requests().len(), 2);
    // A cut body.
    let host = Host::new();
    host.answer("POST", URL, 200, json!("{\"candidates\": ["));
    assert!(ask(&host, json!({ "userInput": "?" })).is_err());
}

#[test]
fn keys_are_by_name_and_missing_questions_are_told() {
    let host = Host::new();
    host.secret("GEMINI").answer("POST", URL, 200, said("Yes."));
    let msg = json!({ "payload": { "evidences": [1], "scope": { "a": 1 } } });
    let config = json!({ "apiKey": "secret:GEMINI", "userInput": "?" });
    let sent = host.process::<AiResponse>(config, msg.clone()).unwrap();
    assert!(host.requests()[0].headers.contains(&("x-goog-api-key".to_owned(), "secret:GEMINI".to_owned())));
    assert_eq!(sent[0].msg["payload"], json!({ "payload": "Yes.", "evidences": [1], "scope": { "a": 1 } }));
    assert_eq!(host.evidence()[0].value["model"], "gemini-2.5-flash");
    assert!(ask(&host, json!({ "userInput": "?", "apiKey": "secret:GEMINI" })).is_err());
    let error = host.process::<AiResponse>(json!({ "userInput": "?" }), msg).unwrap_err();
    assert!(error.message().starts_with("apiKey is missing: write secret:NAME"), "{error}");
    assert!(host.logs().is_empty());
    host.process::<AiResponse>(json!({ "userInput": "?", "apiKey": "the key" }), json!({})).unwrap();
    assert!(host.logs()[0].contains("the property apiKey of this node holds the secret itself"), "{:?}", host.logs());
    assert!(!host.logs()[0].contains("the key"), "{:?}", host.logs());
    let missing = json!({ "userInput": "payload.nothing", "aiPayloadType": "property" });
    assert!(ask(&host, missing).unwrap_err().message().contains("msg.payload.nothing is undefined"));
}
