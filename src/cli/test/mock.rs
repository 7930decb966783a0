//! The world outside, as a test file tells it: mocked HTTP answers, and what was asked.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};

use super::matching::differences;
use crate::net::{Net, NetError, NetRequest, NetResponse};

/// `when` a request matches, it is answered so. Each rule answers as often as `times` says, else always.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::cli) struct Rule {
    /// Any of `method`, `url`, `headers`, `body` (JSON if it is JSON, else text).
    #[serde(default)]
    when: Value,
    #[serde(default)]
    answer: Option<Answer>,
    /// Instead of an answer: the connection fails with this text.
    #[serde(default)]
    fail: Option<Failure>,
    #[serde(default)]
    times: Option<usize>,
}

/// Why a connection fails: a text, for one that is refused; or with another code.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Failure {
    Refused(String),
    Other { code: Code, message: String },
}

/// The codes of failed calls that a test may name.
const CODES: [&str; 16] = [
    "CERT_HAS_EXPIRED",
    "EACCES",
    "EAGAIN",
    "ECONNABORTED",
    "ECONNREFUSED",
    "ECONNRESET",
    "EHOSTUNREACH",
    "EMSGSIZE",
    "ENETUNREACH",
    "ENOTFOUND",
    "EPIPE",
    "EPROTO",
    "ERR_TLS_CERT_ALTNAME_INVALID",
    "ERR_TOO_MANY_REDIRECTS",
    "ETIMEDOUT",
    "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
];

/// The place of one in [`CODES`].
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
struct Code(usize);

impl TryFrom<String> for Code {
    type Error = String;

    fn try_from(text: String) -> Result<Code, String> {
        let known = CODES.iter().position(|code| *code == text);
        known.map(Code).ok_or_else(|| format!("\"{text}\" is no code of a failed call"))
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    #[serde(default = "ok")]
    status: u16,
    #[serde(default)]
    headers: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    body: Value,
}

fn ok() -> u16 {
    200
}

/// A net that only knows the mocked answers, and the list it writes every request into.
pub(in crate::cli) fn net(rules: &[Rule]) -> (Arc<Net>, Arc<Mutex<Vec<Value>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let rules = Mutex::new(rules.iter().map(|r| (r.clone(), 0usize)).collect::<Vec<_>>());
    let log = asked.clone();
    let net = Net::answering(Arc::new(move |request: &NetRequest| {
        let seen = describe(request);
        log.lock().unwrap_or_else(|p| p.into_inner()).push(seen.clone());
        let mut rules = rules.lock().unwrap_or_else(|p| p.into_inner());
        for (rule, used) in rules.iter_mut() {
            if rule.times.is_none_or(|max| *used < max)
                && (rule.when.is_null() || differences(&rule.when, &seen, "$").is_empty())
            {
                *used += 1;
                return reply(rule, request);
            }
        }
        let message = format!("the test mocks no answer to {} {}", request.method, request.url);
        Err(NetError::new("ECONNREFUSED", message))
    }));
    (Arc::new(net), asked)
}

fn describe(request: &NetRequest) -> Value {
    let headers: serde_json::Map<String, Value> = request
        .headers
        .iter()
        .map(|(k, v)| (k.to_string(), Value::String(String::from_utf8_lossy(v.as_bytes()).into_owned())))
        .collect();
    let body = &*request.body;
    let body =
        serde_json::from_slice(body).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned()));
    json!({"method": request.method.as_str(), "url": request.url.as_str(), "headers": headers, "body": body})
}

fn reply(rule: &Rule, request: &NetRequest) -> Result<NetResponse, NetError> {
    match &rule.fail {
        Some(Failure::Refused(problem)) => return Err(NetError::new("ECONNREFUSED", problem.clone())),
        Some(Failure::Other { code, message }) => return Err(NetError::new(CODES[code.0], message.clone())),
        None => {}
    }
    let answer = rule.answer.clone().unwrap_or(Answer { status: 200, headers: Default::default(), body: Value::Null });
    let mut headers = HeaderMap::new();
    let body = match (&answer.body, super::buffer(&answer.body)) {
        (_, Some(bytes)) => Bytes::from(bytes),
        (Value::Null, _) => Bytes::new(),
        (Value::String(text), _) => Bytes::from(text.clone()),
        (json, None) => {
            headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            Bytes::from(json.to_string())
        }
    };
    for (name, value) in &answer.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    Ok(NetResponse {
        status: answer.status,
        headers,
        body,
        url: request.url.clone(),
        redirects: Vec::new(),
        digest_problem: None,
    })
}
