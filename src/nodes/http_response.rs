//! `http response`: answers the HTTP call whose `res` the message carries.
//!
//! Status, headers and body as Node-RED with Express sends them. The ETag, which only GET and HEAD need, is made where
//! the answer leaves (`api/hooks.rs`).

mod cookies;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::http_headers::is_untouched;
use crate::model::node_spec::{NodeSpec, Property, PropertyKind};
use crate::model::{Diagnostic, Msg, Object, Value};
use crate::runtime::{Cx, Node, NodeConfig, NodeError, NodeType, Reply, ReplyHandle, Request, Step};

static SPEC: NodeSpec = NodeSpec {
    node_type: "http response",
    category: "network",
    summary: "Answers an HTTP call: msg.payload as body, msg.statusCode, msg.headers, msg.cookies.",
    inputs: 1,
    outputs: Some(0),
    config_node: false,
    properties: &[
        Property::new(
            "statusCode",
            PropertyKind::Number,
            "Status, 200 to 999; when empty msg.statusCode counts, else 200.",
        ),
        Property::new("headers", PropertyKind::Json, "Header name to value; these win over msg.headers."),
    ],
    capabilities: &[],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build };

struct HttpResponse {
    /// 0: the message says.
    status: u16,
    /// Names as written (the comparison with `msg.headers` is by the written name, as in Node-RED).
    headers: Object,
    /// The same, checked and completed, for messages that bring no headers.
    ready: Vec<(String, String)>,
}

fn build(config: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let status = parse_int(config.get("statusCode")).unwrap_or(0.0);
    if status != 0.0 && !is_status(status) {
        problems.push(
            config
                .problem("invalid-status", "statusCode", format!("{status} is no final HTTP status"))
                .expected("a number from 200 to 999, or nothing"),
        );
    }
    let headers = config.get("headers").as_object().cloned().unwrap_or_default();
    let mut ready = Vec::new();
    for (name, value) in headers.iter() {
        if let Err(problem) = set_header(&mut ready, name, value) {
            problems.push(config.problem("invalid-header", &format!("headers[\"{name}\"]"), problem.message));
        }
    }
    if problems.is_empty() {
        Ok(Arc::new(HttpResponse { status: status as u16, headers, ready }))
    } else {
        Err(problems)
    }
}

/// 1xx statuses are not final: a caller would go on waiting.
fn is_status(status: f64) -> bool {
    (200.0..=999.0).contains(&status)
}

/// JavaScript's `parseInt(x)`; `None` for NaN.
fn parse_int(value: &Value) -> Option<f64> {
    match value {
        Value::Number(n) if n.is_finite() => Some(n.trunc()),
        Value::String(text) => {
            let text = text.trim_start();
            let (sign, digits) = match text.strip_prefix('-') {
                Some(rest) => (-1.0, rest),
                None => (1.0, text.strip_prefix('+').unwrap_or(text)),
            };
            let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
            digits[..end].parse::<f64>().ok().map(|n| sign * n)
        }
        _ => None,
    }
}

/// Sets a header as Express' `res.set` does: text media types get their charset, an array gives repeated headers,
/// a name that is there (in any case) is replaced.
fn set_header(headers: &mut Vec<(String, String)>, name: &str, value: &Value) -> Result<(), NodeError> {
    let lower = name.to_ascii_lowercase();
    if HeaderName::from_bytes(lower.as_bytes()).is_err() {
        return Err(NodeError::with_code(format!("\"{name}\" is no header name"), "ERR_INVALID_HTTP_TOKEN"));
    }
    // The length and the framing are ours to say.
    if matches!(lower.as_str(), "content-length" | "transfer-encoding" | "connection" | "keep-alive") {
        return Ok(());
    }
    headers.retain(|(n, _)| *n != lower);
    let values = match value {
        Value::Array(values) => values.as_slice(),
        one => std::slice::from_ref(one),
    };
    for value in values {
        let mut text = value.to_js_string().to_string();
        if HeaderValue::from_str(&text).is_err() {
            let message = format!("the value of header \"{name}\" has a character that headers cannot carry");
            return Err(NodeError::with_code(message, "ERR_INVALID_CHAR"));
        }
        if lower == "content-type" && !has_charset(&text) && is_texty(&text) {
            text.push_str("; charset=utf-8");
        }
        headers.push((lower.clone(), text));
    }
    Ok(())
}

/// A media type that says UTF-8, whichever charset it named.
fn in_utf8(content_type: &str) -> String {
    let is_charset = |p: &&str| p.trim_start().get(..8).is_some_and(|p| p.eq_ignore_ascii_case("charset="));
    if content_type.split(';').skip(1).any(|p| is_charset(&p) && p.trim()[8..].eq_ignore_ascii_case("utf-8")) {
        return content_type.into();
    }
    let others: Vec<&str> = content_type.split(';').filter(|p| !is_charset(p)).collect();
    format!("{}; charset=utf-8", others.join(";"))
}

fn has_charset(content_type: &str) -> bool {
    content_type.split(';').skip(1).any(|p| p.trim_start().get(..8).is_some_and(|p| p.eq_ignore_ascii_case("charset=")))
}

fn is_texty(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    kind.starts_with("text/") || kind == "application/json" || kind == "application/javascript"
}

impl HttpResponse {
    fn status(&self, msg: &Msg) -> Result<u16, NodeError> {
        if self.status != 0 {
            return Ok(self.status);
        }
        match msg.get("statusCode").and_then(parse_int).filter(|n| *n != 0.0) {
            None => Ok(200),
            Some(status) if is_status(status) => Ok(status as u16),
            Some(status) => {
                let message = format!("msg.statusCode {status} is no final HTTP status; expected 200 to 999");
                Err(NodeError::with_code(message, "ERR_HTTP_INVALID_STATUS_CODE"))
            }
        }
    }

    fn headers(&self, msg: &Msg) -> Result<Vec<(String, String)>, NodeError> {
        let mut headers = self.ready.clone();
        if let Some(Value::Object(given)) = msg.get("headers")
            && !is_untouched(given)
        {
            for (name, value) in given.iter() {
                if !self.headers.contains_key(name) && name != super::http_headers::MARK {
                    set_header(&mut headers, name, value)?;
                }
            }
        }
        Ok(headers)
    }

    fn reply(&self, msg: &Msg, cx: &Cx<'_>) -> Result<Reply, NodeError> {
        let mut headers = self.headers(msg)?;
        if let Some(Value::Object(given)) = msg.get("cookies") {
            cookies::set(&mut headers, given, cx.now())?;
        }
        let status = self.status(msg)?;
        let body = body(&mut headers, msg);
        if status == 204 || status == 304 {
            headers.retain(|(name, _)| name != "content-type");
            return Ok(Reply { status, headers, body: Bytes::new() });
        }
        Ok(Reply { status, headers, body: if status == 205 { Bytes::new() } else { body } })
    }
}

fn position(headers: &[(String, String)], name: &str) -> Option<usize> {
    headers.iter().position(|(n, _)| n == name)
}

/// The body and its content type, as Express' `send` and `jsonp` decide.
fn body(headers: &mut Vec<(String, String)>, msg: &Msg) -> Bytes {
    let content_type = position(headers, "content-type");
    match msg.payload() {
        Value::Undefined => Bytes::new(),
        Value::Bytes(bytes) => {
            if content_type.is_none() {
                headers.push(("content-type".into(), "application/octet-stream".into()));
            }
            Bytes::copy_from_slice(bytes)
        }
        text @ (Value::String(_) | Value::Number(_)) => {
            match content_type {
                None => headers.push(("content-type".into(), "text/html; charset=utf-8".into())),
                // Express sends strings as UTF-8 whatever was asked for.
                Some(at) => headers[at].1 = in_utf8(&headers[at].1),
            }
            Bytes::copy_from_slice(text.to_js_string().as_bytes())
        }
        data => {
            // Express' `jsonp` forbids guessing the type whenever it says the type itself.
            if content_type.is_none() {
                headers.push(("content-type".into(), "application/json; charset=utf-8".into()));
                headers.push(("x-content-type-options".into(), "nosniff".into()));
            }
            let json = serde_json::to_vec(data).unwrap_or_else(|_| b"null".to_vec());
            match callback(msg) {
                None => json.into(),
                Some(callback) => script(headers, &callback, &json).into(),
            }
        }
    }
}

/// The name in `?callback=`, as far as it is one.
fn callback(msg: &Msg) -> Option<String> {
    let request = msg.get("req")?.as_handle::<Request>()?;
    if !request.url.contains("callback") {
        return None;
    }
    let query = request.query();
    let name = match query.get("callback") {
        Value::Array(names) => names.first().cloned().unwrap_or_default(),
        name => name,
    };
    let name = name.as_str().filter(|n| !n.is_empty())?.to_string();
    Some(name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '.' | '[' | ']')).collect())
}

fn script(headers: &mut Vec<(String, String)>, callback: &str, json: &[u8]) -> String {
    headers.retain(|(name, _)| name != "content-type" && name != "x-content-type-options");
    headers.push(("x-content-type-options".into(), "nosniff".into()));
    headers.push(("content-type".into(), "text/javascript; charset=utf-8".into()));
    let json = String::from_utf8_lossy(json).replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
    format!("/**/ typeof {callback} === 'function' && {callback}({json});")
}

impl Node for HttpResponse {
    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        if cx.is_unanswered() {
            // Its caller was told that the run was accepted, and waits no more.
            return Step::Done;
        }
        if msg.get("res").and_then(|r| r.as_handle::<ReplyHandle>()).is_none() {
            cx.warn("No response object: msg.res must come from the http in node of this flow");
            return Step::Done;
        }
        match self.reply(&msg, cx) {
            Ok(reply) => {
                if !cx.reply(&msg, reply) {
                    cx.warn("the caller was answered before, or has gone; this answer is ignored");
                }
                Step::Done
            }
            Err(error) => Step::fail(msg, error),
        }
    }
}

#[cfg(test)]
mod tests;
