//! The nodes that look whether something is there (`exists-url`, `exists-section-in-doc`, `url-to-doc`), in the real
//! sandbox and over real HTTP on loopback: what is there, what is not, and what nobody can know.

use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use base64::Engine as _;
use probity::model::{Msg, Object, Value};
use probity::plugin::limits::Limits;
use serde_json::{Value as Json, json};

use super::packs::shipped;
use super::rig::{Rig, msg};

const SECRET: &str = "s3cr3t-of-the-operator";
const TEXT: &str = "# Policy\n\n## Scope of\n   the work\n\nAll of it.\n";

/// What the server was asked, line by line, with its authorization.
type Asked = Arc<Mutex<Vec<String>>>;

/// A server whose paths say what it answers: `/status/404/…`, `/cut/…`, `/to/<path>`, `/text`, `/half.pdf`.
async fn server() -> (String, Asked) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let asked = Asked::default();
    let state = (base.clone(), asked.clone());
    let answer = async |State((base, asked)): State<(String, Asked)>, request: Request| {
        let line = request.uri().path_and_query().unwrap().to_string();
        let token = request.headers().get("authorization").map_or("", |v| v.to_str().unwrap());
        asked.lock().unwrap().push(format!("{line} {token}"));
        respond(&base, line.split('?').next().unwrap())
    };
    let app = axum::Router::new().fallback(answer).with_state(state);
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (base, asked)
}

fn respond(base: &str, path: &str) -> Response {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let json = |value: Json| {
        Response::builder().header("content-type", "application/json").body(Body::from(value.to_string())).unwrap()
    };
    let file = |content: &str| json!({ "name": "policy.md", "type": "file", "encoding": "base64", "content": content });
    match parts.as_slice() {
        // Also in the place of a service's base URL.
        ["status", status, ..] => {
            let answer = Response::builder().status(status.parse::<u16>().unwrap()).header("retry-after", "3600");
            answer.body(Body::from("{\"message\":\"no\"}")).unwrap()
        }
        ["cut", ..] => {
            let ends = std::io::Error::other("the connection ends");
            let pieces = [Ok(Bytes::from("[{\"url\":\"https://github.com/octo/repo\"}")), Err(ends)];
            Response::new(Body::from_stream(futures_util::stream::iter(pieces)))
        }
        ["to", more @ ..] => {
            let place = format!("{base}/{}", more.join("/"));
            Response::builder().status(302).header("location", place).body(Body::empty()).unwrap()
        }
        ["text"] => Response::builder().header("content-type", "text/markdown").body(Body::from(TEXT)).unwrap(),
        ["half.pdf"] => Response::new(Body::from("%PDF-1.7\n1 0 obj\n<< /Type /Catalog")),
        ["picture"] => Response::builder().header("content-type", "image/png").body(Body::from("\u{89}PNG")).unwrap(),
        ["1", "cards", "linked", "attachments"] => {
            json(json!([{ "url": "https://x.test/" }, { "url": "https://github.com/octo/repo" }]))
        }
        ["1", "cards", "gone", "attachments"] => json(json!([{ "url": "https://github.com/octo/gone" }])),
        ["1", "cards", "hidden", "attachments"] => json(json!([{ "url": "https://github.com/octo/hidden" }])),
        ["1", "cards", "bare", "attachments"] => json(json!([])),
        ["1", "cards", "odd", "attachments"] => json(json!({ "message": "odd" })),
        ["repos", "octo", "repo"] => json(json!({ "full_name": "octo/repo" })),
        ["repos", "octo", "repo", "contents", "docs", "policy.md"] => {
            let mut entry = file(&base64::prelude::BASE64_STANDARD.encode(TEXT));
            entry["download_url"] = format!("{base}/text").into();
            json(entry)
        }
        ["repos", "octo", "repo", "contents", "docs", "large.md"] => {
            let mut entry = file("");
            entry["encoding"] = "none".into();
            entry["download_url"] = format!("{base}/text").into();
            json(entry)
        }
        ["repos", "octo", "repo", "contents", "docs", "broken.md"] => {
            let mut entry = file("%%%");
            entry["download_url"] = format!("{base}/cut/x.md").into();
            json(entry)
        }
        ["repos", "octo", "repo", "contents", "docs"] => json(json!([{ "type": "file" }])),
        ["repos", "octo", "hidden"] => respond(base, "/status/403"),
        _ => respond(base, "/status/404"),
    }
}

/// What is to come of a message.
enum Comes {
    /// `msg.payload.result`.
    Result(bool),
    /// `msg.payload`, a text.
    Text(&'static str),
    /// One error that holds this text.
    Error(&'static str),
}
use Comes::{Error, Result, Text};

/// Nodes with the payload they get and what comes of it; `{{base}}` is the server.
fn cases() -> Vec<(Json, Json, Comes)> {
    let mut cases = Vec::new();
    let url = |path: &str| json!(format!("{{{{base}}}}{path}"));
    let address = json!({ "type": "exists-url", "urlType": "payload" });
    for (path, comes) in [
        ("/text", Result(true)),
        ("/status/204", Result(true)),
        ("/to/to/text", Result(true)),
        ("/to/status/404", Result(false)),
        ("/status/404", Result(false)),
        ("/status/410", Result(false)),
        ("/status/401", Error("(status 401)")),
        ("/status/403", Error("(status 403)")),
        ("/status/429", Error("Retry-After says 3600 s")),
        ("/status/500", Error("(status 500)")),
        ("/status/503", Error("(status 503)")),
        ("/cut/x", Error("whether the address exists is unknown")),
    ] {
        cases.push((address.clone(), url(path), comes));
    }
    cases.push((address.clone(), json!({ "url": "no address" }), Result(false)));
    cases.push((address, json!("http://127.0.0.1:1/"), Error("whether the address exists is unknown")));

    for (card, trello, github, comes) in [
        ("linked", "", "", Result(true)),
        ("gone", "", "", Result(false)),
        ("bare", "", "", Result(false)),
        ("hidden", "", "", Error("(status 403)")),
        ("odd", "", "", Error("a list of attachments was expected")),
        ("missing", "", "", Error("(status 404)")),
        ("linked", "/status/401", "", Error("(status 401)")),
        ("linked", "/status/429", "", Error("(status 429)")),
        ("linked", "/status/500", "", Error("(status 500)")),
        ("linked", "/cut", "", Error("Error fetching Trello attachments")),
        ("linked", "", "/status/401", Error("(status 401)")),
        ("linked", "", "/status/503", Error("(status 503)")),
        ("linked", "", "/cut", Error("Error fetching GitHub repository")),
    ] {
        let node = json!({
            "type": "exists-url", "urlType": "config", "cardId": card, "apiKey": "secret:KEY",
            "trelloToken": "secret:TOKEN", "githubToken": "secret:TOKEN",
            "trelloApiUrl": url(trello), "githubApiUrl": url(github)
        });
        cases.push((node, json!({}), comes));
    }

    let of_github = |kind: &str, base: &str, path: &str, name: &str| {
        json!({
            "type": kind, "section": "Scope of the work", "valueType": "GithubUrl", "user": "octo", "repo": "repo",
            "path": path, "docName": name, "githubToken": "secret:TOKEN", "githubApiUrl": url(base), "apiUrl": url(base)
        })
    };
    let section = "exists-section-in-doc";
    for (node, comes) in [
        (json!({ "section": "Scope of the work", "url": url("/text") }), Result(true)),
        (json!({ "section": "Scope of the work", "url": url("/to/text") }), Result(true)),
        (json!({ "section": "Scope of the play", "url": url("/text") }), Result(false)),
        (json!({ "section": "", "url": url("/text") }), Error("section is empty")),
        (json!({ "section": "x", "url": url("/status/404") }), Error("(status 404)")),
        (json!({ "section": "x", "url": url("/status/401") }), Error("(status 401)")),
        (json!({ "section": "x", "url": url("/status/500") }), Error("(status 500)")),
        (json!({ "section": "x", "url": url("/cut/x.md") }), Error("Error fetching the document")),
        (json!({ "section": "x", "url": url("/half.pdf") }), Error("")),
    ] {
        let mut node = node;
        node["type"] = section.into();
        node["valueType"] = "URL".into();
        cases.push((node, json!({}), comes));
    }
    for (path, name, base, comes) in [
        ("docs", "policy.md", "", Result(true)),
        ("/docs/", "large.md", "", Result(true)),
        ("docs", "missing.md", "", Error("(status 404)")),
        ("docs", "broken.md", "", Error("not Base64")),
        ("docs", "policy.md", "/status/403", Error("(status 403)")),
        ("docs", "policy.md", "/cut", Error("")),
    ] {
        cases.push((of_github(section, base, path, name), json!({}), comes));
    }

    let doc = "url-to-doc";
    for (path, comes) in [
        ("/text", Text(TEXT)),
        ("/to/text", Text(TEXT)),
        ("/picture", Error("Unsupported file type")),
        ("/half.pdf", Error("the document cannot be read")),
        ("/status/404", Error("(status 404)")),
        ("/status/401", Error("(status 401)")),
        ("/status/429", Error("(status 429)")),
        ("/cut/x.md", Error("the document could not be read")),
    ] {
        cases.push((json!({ "type": doc, "valueType": "URL", "url": url(path) }), json!({}), comes));
    }
    for (path, name, base, comes) in [
        ("docs", "policy.md", "", Text(TEXT)),
        ("docs", "large.md", "", Text(TEXT)),
        ("docs", "broken.md", "", Error("the document's content could not be read")),
        ("docs", "missing.txt", "", Error("(status 404)")),
        ("docs", "policy.md", "/status/403", Error("(status 403)")),
        ("docs", "policy.md", "/cut", Error("the document in GitHub")),
    ] {
        cases.push((of_github(doc, base, path, name), json!({}), comes));
    }
    cases
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_what_is_not_and_what_nobody_can_know() {
    let rig = Rig::with_secrets(Limits::default(), |_| Some(SECRET.to_owned()));
    for pack in ["integration", "validation"] {
        let Some(package) = shipped(pack, &[]) else { return };
        rig.load(package).await.unwrap();
    }
    let (base, asked) = server().await;
    let mut problems = Vec::new();
    for (node, payload, comes) in cases() {
        let filled =
            |value: &Json| serde_json::from_str::<Json>(&value.to_string().replace("{{base}}", &base)).unwrap();
        let (mut node, payload) = (filled(&node), filled(&payload));
        let title = format!("{node} {payload}").replace(&base, "");
        node["id"] = "n".into();
        let flow = rig.deploy(json!([node]));
        let outcome = rig.send(&flow, "n", msg(Value::from_json(&payload.to_string()).unwrap())).await;
        let found = outcome.out.first().map(|(_, _, msg)| msg.payload().clone()).unwrap_or_default();
        let fine = match (&comes, outcome.errors.as_slice()) {
            (Result(expected), []) => found.get("result") == Value::Bool(*expected),
            (Text(expected), []) => found.as_str() == Some(expected),
            (Error(part), [error]) => error.contains(part) && outcome.out.is_empty(),
            _ => false,
        };
        if !fine {
            problems.push(format!("{title}: {found:?} {:?}", outcome.errors));
        }
        if outcome.log.iter().chain(&outcome.errors).any(|text| text.contains(SECRET)) {
            problems.push(format!("{title}: tells the secret"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    // The token goes to the API, and nowhere it points to.
    let asked = asked.lock().unwrap();
    let with_token = |path: &str| asked.iter().filter(|line| line.starts_with(path)).all(|l| l.ends_with(SECRET));
    assert!(with_token("/repos/octo/repo/contents"), "{asked:?}");
    assert!(asked.iter().filter(|line| line.starts_with("/text")).all(|line| !line.contains(SECRET)), "{asked:?}");
}

/// A request of a caller that names the address of a service cannot send the operator's token there.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_cannot_turn_a_token_elsewhere() {
    let rig = Rig::with_secrets(Limits::default(), |_| Some(SECRET.to_owned()));
    let Some(package) = shipped("validation", &[]) else { return };
    rig.load(package).await.unwrap();
    let (base, asked) = server().await;
    let flow = rig.deploy(json!([{
        "id": "n", "type": "exists-url", "urlType": "config", "cardId": "linked", "githubToken": "secret:TOKEN",
        "trelloApiUrl": base, "githubApiUrl": format!("{base}/status/404")
    }]));
    let mut sent = msg(Value::from(Object::new()));
    let body = json!({ "body": { "githubApiUrl": format!("{base}/evil"), "trelloApiUrl": format!("{base}/evil") } });
    sent.set("req", Value::from_json(&body.to_string()).unwrap());
    let outcome = rig.send(&flow, "n", Msg::clone(&sent)).await;
    assert!(outcome.errors.is_empty(), "{:?}", outcome.errors);
    assert!(asked.lock().unwrap().iter().all(|line| !line.starts_with("/evil")));
}
