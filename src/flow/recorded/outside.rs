//! What came from outside in a run, as a test stands in for it: answers to HTTP requests in the order in which they were
//! made, and what other nodes made of their messages.

use serde_json::{Map, Value as Json, json};

use super::{Entries, plain, text};
use crate::model::run::MASK;

/// Nodes that ask the world by other ways than HTTP, or change it: they are mocked as a whole.
const OUTSIDE: [&str; 11] = [
    "sql",
    "mongodb",
    "exec",
    "file",
    "file in",
    "mqtt out",
    "tcp out",
    "tcp request",
    "udp out",
    "websocket out",
    "evaluate",
];

/// Headers that say how and when an answer came.
const ANSWERS_HEADERS: [&str; 11] = [
    "age",
    "alt-svc",
    "connection",
    "content-encoding",
    "content-length",
    "date",
    "keep-alive",
    "server",
    "strict-transport-security",
    "transfer-encoding",
    "via",
];

/// What a test file says in place of the world.
pub(super) struct Outside {
    pub(super) http: Vec<Json>,
    pub(super) mocks: Vec<Json>,
}

/// One message that a node took to the world, and what came of it.
struct Asked<'a> {
    node: &'a str,
    is_http: bool,
    msg: &'a Json,
    /// Messages it sent, each with its port.
    sent: Vec<&'a Json>,
}

/// The mocks of what came from outside.
pub(super) fn answers(run: &Json, steps: &[Json], of: &Entries<'_>) -> Outside {
    let mut outside = Outside { http: Vec::new(), mocks: Vec::new() };
    for asked in asked(steps) {
        let why = asked.sent.is_empty().then(|| failure(run, steps, &asked)).flatten();
        if !asked.is_http {
            outside.mocks.push(mock(&asked, why));
        } else if let Some(rule) = request(&asked, why, of) {
            outside.http.push(rule);
        }
    }
    outside
}

/// What was taken to the world, in that order, each with what came back. What a node sends after a wait goes with the
/// message of that id, or else with the first that still waits.
fn asked(steps: &[Json]) -> Vec<Asked<'_>> {
    let mut all: Vec<Asked<'_>> = Vec::new();
    for step in steps {
        let (node, node_type) = (text(step, "node"), text(step, "node_type"));
        let is_http = node_type == "http request";
        if !is_http && !OUTSIDE.contains(&node_type) {
            continue;
        }
        let input = &step["input"]["msg"];
        if input.is_object() {
            all.push(Asked { node, is_http, msg: input, sent: Vec::new() });
        }
        for sent in step["sent"].as_array().into_iter().flatten() {
            let id = &sent["msg"]["_msgid"];
            let at = match input.is_object() {
                true => all.len().checked_sub(1),
                false => all
                    .iter()
                    .position(|a| a.node == node && !id.is_null() && a.msg["_msgid"] == *id && a.sent.is_empty())
                    .or_else(|| all.iter().rposition(|a| a.node == node && !id.is_null() && a.msg["_msgid"] == *id))
                    .or_else(|| all.iter().position(|a| a.node == node && a.sent.is_empty())),
            };
            if let Some(at) = at {
                all[at].sent.push(sent);
            }
        }
    }
    all
}

/// Why a node sent nothing on: what a catch node was told, or what the run failed of.
fn failure(run: &Json, steps: &[Json], asked: &Asked<'_>) -> Option<String> {
    let told = steps.iter().map(|step| &step["input"]["msg"]).find(|msg| {
        let error = &msg["error"];
        error["source"]["id"] == asked.node && msg["_msgid"] == asked.msg["_msgid"] && error["message"].is_string()
    });
    let caught = told.and_then(|msg| msg["error"]["message"].as_str());
    let uncaught = || run["error"]["message"].as_str().filter(|_| run["error"]["node"] == asked.node);
    let why = caught.or_else(uncaught)?;
    Some(why.strip_prefix("RequestError: ").unwrap_or(why).to_string())
}

/// How a node that is mocked answered.
fn mock(asked: &Asked<'_>, why: Option<String>) -> Json {
    let answer = |sent: &Json| {
        let port = sent["port"].as_u64().unwrap_or(0);
        json!({ "port": port, "answer": changed(asked.msg, &sent["msg"]) })
    };
    let mut mock = match (asked.sent.as_slice(), why) {
        ([], Some(why)) => json!({ "fail": why }),
        // It took the message and sent nothing.
        ([], None) => json!({}),
        ([one], _) => answer(one),
        (several, _) => json!({ "answers": several.iter().copied().map(answer).collect::<Vec<_>>() }),
    };
    mock["node"] = asked.node.into();
    mock["times"] = 1.into();
    mock
}

/// The rule that answers a request; `None` when it never came to one.
fn request(asked: &Asked<'_>, why: Option<String>, of: &Entries<'_>) -> Option<Json> {
    let Some(sent) = asked.sent.first() else {
        return why.map(|why| json!({ "when": when(asked, None, of), "fail": why, "times": 1 }));
    };
    let got = &sent["msg"];
    // In place of a status it says why there was no answer.
    if let Some(code) = got["statusCode"].as_str() {
        let message = text(got, "payload");
        let message = message.split_once(": ").map_or(message, |(_, rest)| rest);
        let message = message.rsplit_once(" : ").map_or(message, |(message, _)| message);
        let fail = json!({ "code": code, "message": message });
        return Some(json!({ "when": when(asked, None, of), "fail": fail, "times": 1 }));
    }
    let mut answer = json!({ "status": got["statusCode"].as_u64().unwrap_or(200), "body": got["payload"] });
    let headers: Map<String, Json> = got["headers"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, value)| {
            let lasts = !ANSWERS_HEADERS.contains(&name.as_str()) && !name.starts_with("x-node-red");
            lasts && value.as_str().is_some_and(|text| !text.contains(MASK))
        })
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if !headers.is_empty() {
        answer["headers"] = headers.into();
    }
    Some(json!({ "when": when(asked, Some(got), of), "answer": answer, "times": 1 }))
}

/// What tells this request from others.
fn when(asked: &Asked<'_>, got: Option<&Json>, of: &Entries<'_>) -> Json {
    let mut when = Map::new();
    if let Some(url) = url(asked, got, of) {
        when.insert("url".into(), url.into());
    }
    let method = match of.text(asked.node, "method").as_str() {
        "use" => text(asked.msg, "method").to_uppercase(),
        method => method.to_uppercase(),
    };
    if !method.is_empty() {
        when.insert("method".into(), method.into());
    }
    Json::Object(when)
}

/// Where it went, as far as it is known: where the answer came from, unless it was led there from elsewhere; else what
/// the node or the message says, unless that was another text when it was sent.
fn url(asked: &Asked<'_>, got: Option<&Json>, of: &Entries<'_>) -> Option<String> {
    let redirected = got.is_some_and(|got| got["redirectList"].as_array().is_some_and(|list| !list.is_empty()));
    let came_from = got.and_then(|got| got["responseUrl"].as_str()).filter(|_| !redirected);
    let own = of.text(asked.node, "url");
    let wanted = if own.is_empty() { text(asked.msg, "url").to_string() } else { own };
    let has_query =
        matches!(of.get(asked.node, "paytoqs"), Some(Json::Bool(true))) || of.text(asked.node, "paytoqs") == "query";
    let as_written = wanted.contains("://") && !wanted.contains(['{', '$']) && !has_query;
    let url = came_from.map(str::to_string).or_else(|| as_written.then_some(wanted))?;
    if url.contains(MASK) || url.ends_with('…') {
        return None;
    }
    url::Url::parse(&url).ok().map(String::from)
}

/// The properties that came or changed.
fn changed(before: &Json, after: &Json) -> Json {
    let after = plain(after);
    let kept = after.as_object().into_iter().flatten().filter(|(key, value)| before.get(key.as_str()) != Some(value));
    Json::Object(kept.map(|(key, value)| (key.clone(), value.clone())).collect())
}
