//! The recorded calls of Node-RED 5.0.7 replayed: status, type and body are alike but for what is listed here.

use std::collections::BTreeSet;

use probity::api::AuthOptions;
use serde_json::Value as Json;

use super::{server, user};
use crate::harness::server::Server;

#[derive(serde::Deserialize)]
struct Call {
    name: String,
    method: String,
    path: String,
    headers: std::collections::BTreeMap<String, String>,
    body: String,
    status: u16,
    content_type: String,
    answer: String,
}

/// Bodies of which only the names of the members are compared, with the reason.
const SHAPE_ONLY: &[(&str, &str)] = &[
    ("settings", "what the editor may offer differs: no npm packages, our own stores, no tours"),
    ("login-good GET /settings", "as above"),
    ("login-good POST /auth/token", "tokens are random"),
    ("auth token", "the text tells of Node-RED's internals"),
    ("ssh keys", "the text tells of Node-RED's internals"),
];

async fn replay(server: &Server, calls: &str) {
    let calls: Vec<Call> = serde_json::from_str(calls).unwrap();
    let (mut token, mut differences, mut compared) = (String::new(), Vec::new(), 0);
    for call in calls {
        let put_in = |text: &str| text.replace("TOKEN", &token);
        let mut request = server.client.request(call.method.parse().unwrap(), server.url(&call.path));
        for (name, value) in &call.headers {
            request = request.header(name, put_in(value));
        }
        let in_form = call.body.replace("TOKEN", &token.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D"));
        let answer = request.body(in_form).send().await.unwrap();
        let status = answer.status().as_u16();
        let kind = answer.headers().get("content-type").map_or("", |kind| kind.to_str().unwrap()).to_owned();
        let text = answer.text().await.unwrap();
        let mut expect = |what: &str, found: &str, expected: &str| {
            if found != expected {
                differences.push(format!("{}: {what}: {found} instead of {expected}", call.name));
            }
        };
        expect("status", &status.to_string(), &call.status.to_string());
        if !call.content_type.is_empty() {
            expect("content-type", &kind, &call.content_type);
        }
        match (serde_json::from_str::<Json>(&text), serde_json::from_str::<Json>(&call.answer)) {
            (Ok(found), Ok(expected)) if SHAPE_ONLY.iter().any(|(name, _)| *name == call.name) => {
                let keys = |json: &Json| json.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
                expect("members", &format!("{:?}", keys(&found)), &format!("{:?}", keys(&expected)));
                if let Some(given) = found["access_token"].as_str() {
                    expect("length of the token", &given.len().to_string(), "172");
                    token = given.to_owned();
                }
            }
            (Ok(found), Ok(expected)) => expect("body", &found.to_string(), &expected.to_string()),
            // Without a login the recording has only the length.
            _ if call.answer.is_empty() && status == 401 => expect("body", &text, "Unauthorized"),
            _ => expect("body", &text.replace('\n', ""), &call.answer.replace('\n', "")),
        }
        compared += 1;
    }
    assert!(compared >= 10, "only {compared} calls");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[tokio::test]
async fn calls_without_users_are_answered_as_node_red_does() {
    let server = server(AuthOptions::default()).await;
    replay(&server, include_str!("../../cases/people/open.json")).await;
}

#[tokio::test]
async fn a_login_of_the_stock_editor_is_answered_as_node_red_does() {
    let server = server(AuthOptions { users: [user("admin", "secret")].into(), ..AuthOptions::default() }).await;
    replay(&server, include_str!("../../cases/people/login.json")).await;
}
