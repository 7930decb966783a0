//! From a message to the call to make: URL, method, headers, cookies, body.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use percent_encoding::utf8_percent_encode;
use url::Url;

use super::super::http_headers::{COMPONENT, MARK, is_untouched};
use super::super::mustache::View;
use super::{Auth, HttpRequest, Part, Payload, body};
use crate::model::{Msg, Object, Value};
use crate::net::{Agent, Credentials, NetRequest, Redirect, Tls, TlsOptions};
use crate::runtime::{Cx, NodeError, Request};

/// Builds the call; `msg` loses headers that are an earlier answer's.
pub(super) fn prepare(node: &HttpRequest, msg: &mut Msg, cx: &mut Cx<'_>) -> Result<NetRequest, NodeError> {
    if let Some(Value::Object(given)) = msg.get("headers")
        && is_untouched(given)
    {
        msg.remove("headers");
    }
    let method = method(node, msg, cx)?;
    let mut url = url(node, msg, cx)?;
    let mut headers = headers(node, msg)?;
    let user = if node.user.is_empty() { decoded(url.username()) } else { node.user.to_string() };
    let password = match node.password.as_str() {
        "" => decoded(url.password().unwrap_or_default()),
        given => given.to_string(),
    };
    match node.auth {
        Auth::Basic if !user.is_empty() || !password.is_empty() => {
            set(&mut headers, "authorization", &format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))?;
        }
        Auth::Bearer if !user.is_empty() || !password.is_empty() => {
            set(&mut headers, "authorization", &format!("Bearer {password}"))?;
        }
        _ => {}
    }
    let digest = matches!(node.auth, Auth::Digest) && (!user.is_empty() || !password.is_empty());
    if let Some(value) = headers.get_mut(AUTHORIZATION) {
        value.set_sensitive(true);
    }
    if let Some(key) = cx.idempotency_key().filter(|_| !headers.contains_key("idempotency-key")) {
        set(&mut headers, "idempotency-key", &key)?;
    }
    // A flow that sets its own knows better.
    if let Some(parent) = cx.trace_parent().filter(|_| !headers.contains_key("traceparent")) {
        set(&mut headers, "traceparent", &parent.to_string())?;
        if let Some(state) = trace_state(msg) {
            headers.entry("tracestate").or_insert(state);
        }
    }
    let cookies = cookies(&mut headers, msg)?;
    let body = body::of(node.payload, &method, msg, &mut headers)?;
    if method == Method::GET
        && node.payload == Payload::Query
        && let Some(payload) = msg.get("payload").filter(|p| !p.is_undefined())
    {
        let Some(more) = body::query(payload) else { return Err("Invalid payload".into()) };
        let query = match url.query() {
            Some(query) if !query.is_empty() => format!("{query}&{more}"),
            _ => more,
        };
        url.set_query(Some(&query).filter(|q| !q.is_empty()).map(String::as_str));
    }
    let mut request = NetRequest::new(method, url);
    request.headers = headers;
    request.body = body;
    request.cookies = cookies;
    request.digest = digest.then_some(Credentials { user, password });
    request.keeps_method = true;
    let has_payload = msg.get("payload").is_some_and(|payload| !payload.is_undefined());
    request.sends_empty_body = announces_empty_body(&request.method, has_payload);
    request.timeout = timeout(msg, cx);
    if msg.get("followRedirects").is_some_and(|f| !f.is_truthy()) {
        request.redirects_max = Some(0);
    }
    request.agent = node.agent.clone();
    if !node.has_tls && is_unverified(msg, cx) {
        request.agent = Some(unverified(node)?);
    }
    Ok(request)
}

/// Whether a body without a byte is announced. Node.js does so for every method that usually has a body; for the others
/// a payload has to be there, however empty.
fn announces_empty_body(method: &Method, has_payload: bool) -> bool {
    let never = [Method::GET, Method::HEAD];
    let usually_none = [Method::DELETE, Method::OPTIONS, Method::TRACE, Method::CONNECT];
    !never.contains(method) && (has_payload || !usually_none.contains(method))
}

/// What others keep of the trace that the caller named; passed on as it came.
fn trace_state(msg: &Msg) -> Option<HeaderValue> {
    let request = msg.get("req")?.as_handle::<Request>()?;
    request.headers.get("traceparent").and_then(|_| request.headers.get("tracestate")).cloned()
}

/// `msg.rejectUnauthorized`, where the node has no TLS settings of its own.
fn is_unverified(msg: &Msg, cx: &mut Cx<'_>) -> bool {
    match msg.get("rejectUnauthorized") {
        None => false,
        Some(Value::Bool(reject)) => !reject,
        Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => false,
        Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => true,
        Some(_) => {
            cx.warn("msg.rejectUnauthorized should be a boolean");
            false
        }
    }
}

fn unverified(node: &HttpRequest) -> Result<Arc<Agent>, NodeError> {
    if let Some(agent) = node.unverified.get() {
        return Ok(agent.clone());
    }
    let tls = Tls::new(&TlsOptions { unverified: true, ..TlsOptions::default() }).map_err(NodeError::new)?;
    let agent = Arc::new(Agent::new(Some(Arc::new(tls)), node.proxy.clone()));
    Ok(node.unverified.get_or_init(|| agent).clone())
}

fn method(node: &HttpRequest, msg: &Msg, cx: &mut Cx<'_>) -> Result<Method, NodeError> {
    let given = msg.get("method").filter(|m| m.is_truthy()).map(Value::to_js_string);
    let name = match (&node.method, given) {
        (Some(name), Some(_)) => {
            cx.warn("Warning: msg properties can no longer override set node properties (msg.method)");
            name.to_string()
        }
        (Some(name), None) => name.to_string(),
        (None, given) => given.map_or_else(|| "GET".into(), |m| m.to_uppercase()),
    };
    Method::from_bytes(name.as_bytes()).map_err(|_| NodeError::new(format!("msg.method \"{name}\" is no HTTP method")))
}

fn url(node: &HttpRequest, msg: &Msg, cx: &mut Cx<'_>) -> Result<Url, NodeError> {
    let given = msg.get("url").filter(|u| u.is_truthy()).map(Value::to_js_string).unwrap_or_default();
    if !given.is_empty() && !node.url.is_empty() && given != node.url {
        cx.warn("Warning: msg properties can no longer override set node properties (msg.url)");
    }
    let text = match &node.template {
        Some(template) => {
            let view = View { root: msg.to_value(), outside: &|_| Ok(Value::Undefined), escape_json: false };
            template.render(&view).map_err(NodeError::new)?
        }
        None if node.url.is_empty() => given.to_string(),
        None => node.url.to_string(),
    };
    if text.is_empty() {
        return Err("No url specified".into());
    }
    if text.contains("://") && !text.starts_with("http") {
        return Err("non-http transport requested".into());
    }
    let text = match text.starts_with("http://") || text.starts_with("https://") {
        true => text,
        false if node.has_tls => format!("https://{text}"),
        false => format!("http://{text}"),
    };
    Url::parse(&escaped_query(&text)).map_err(|e| NodeError::with_code(format!("Invalid URL: {e}"), "ERR_INVALID_URL"))
}

/// A `%` in the query that begins no escape is a percent sign.
fn escaped_query(url: &str) -> String {
    let Some((path, query)) = url.split_once('?') else { return url.into() };
    let mut out = format!("{path}?");
    for (i, c) in query.char_indices() {
        out.push(c);
        let next = query.as_bytes().get(i + 1..i + 3);
        if c == '%' && !next.is_some_and(|n| n.iter().all(u8::is_ascii_hexdigit)) {
            out.push_str("25");
        }
    }
    out
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Sets a header; an empty value removes it, as in Node-RED.
fn set(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), NodeError> {
    let bad = |what: &str| NodeError::with_code(format!("header \"{name}\": {what}"), "ERR_INVALID_CHAR");
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad("this is no header name"))?;
    if value.is_empty() {
        headers.remove(name);
        return Ok(());
    }
    let value = HeaderValue::from_str(value).map_err(|_| bad("the value has a character that headers cannot carry"))?;
    headers.insert(name, value);
    Ok(())
}

fn headers(node: &HttpRequest, msg: &Msg) -> Result<HeaderMap, NodeError> {
    let mut headers = HeaderMap::new();
    if let Some(Value::Object(given)) = msg.get("headers") {
        for (name, value) in given.iter().filter(|(name, _)| *name != MARK) {
            let text = if value.is_nullish() { Default::default() } else { value.to_js_string() };
            set(&mut headers, name, &text)?;
        }
    }
    let text = |part: &Part| match part {
        Part::Fixed(text) => text.clone(),
        Part::Msg(path) => match msg.get_path(path) {
            value if value.is_nullish() => Default::default(),
            value => value.to_js_string(),
        },
    };
    for (name, value) in &node.headers {
        let name = text(name);
        if !name.is_empty() {
            set(&mut headers, &name, &text(value))?;
        }
    }
    Ok(headers)
}

/// The cookies of the `cookie` header and of `msg.cookies`, as `name=value`.
fn cookies(headers: &mut HeaderMap, msg: &Msg) -> Result<Vec<String>, NodeError> {
    let mut cookies = Vec::new();
    if let Some(header) = headers.remove(COOKIE) {
        let header = String::from_utf8_lossy(header.as_bytes()).into_owned();
        let mut names = HashSet::new();
        for (name, value) in header.split(';').filter_map(|pair| pair.split_once('=')) {
            // The first of equal names counts.
            if names.insert(name.trim()) {
                cookies.push(format!("{}={}", name.trim(), unquoted(value)));
            }
        }
    }
    if let Some(Value::Object(given)) = msg.get("cookies") {
        for (name, cookie) in given.iter() {
            let (value, encode) = match cookie {
                Value::Object(o) => {
                    (o.get("value").cloned().unwrap_or_default(), o.get("encode") != Some(&Value::Bool(false)))
                }
                value => (value.clone(), true),
            };
            // This clears a cookie for http response; here there is nothing to clear.
            if value.is_nullish() {
                continue;
            }
            let text = value.to_js_string();
            let text = if encode { utf8_percent_encode(&text, COMPONENT).to_string() } else { text.to_string() };
            let bad = |what: &str| NodeError::new(format!("msg.cookies: \"{name}\" {what}"));
            if HeaderName::from_bytes(name.as_bytes()).is_err() {
                return Err(bad("is no name of a cookie"));
            }
            if !is_cookie_value(&text) {
                return Err(bad("has a character that cookies cannot carry; encode it"));
            }
            cookies.push(format!("{name}={text}"));
        }
    }
    Ok(cookies)
}

/// Whether a cookie can carry this (RFC 6265): `x; Domain=…` would say more than a value does.
fn is_cookie_value(text: &str) -> bool {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    inner.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b',' | b';' | b'\\'))
}

fn unquoted(value: &str) -> &str {
    let value = value.trim();
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

fn timeout(msg: &Msg, cx: &mut Cx<'_>) -> Option<Duration> {
    let ms = msg.get("requestTimeout").filter(|t| !t.is_undefined())?.to_number();
    if ms.is_nan() {
        cx.warn("Timeout value is not a valid number, ignoring it");
        return None;
    }
    if ms < 1.0 {
        cx.warn("Timeout value is negative or zero, ignoring it");
        return None;
    }
    Some(Duration::try_from_secs_f64(ms / 1000.0).unwrap_or(Duration::MAX))
}

/// Reads a `set-cookie` line into `{name: {value, Path, …}}`.
pub(super) fn read_cookie(line: &str, into: &mut Object) {
    let mut parts = line.split(';');
    let Some((name, value)) = parts.next().and_then(|p| p.split_once('=')) else { return };
    if name.trim().is_empty() {
        return;
    }
    let mut cookie = Object::new();
    for (key, value) in parts.filter_map(|p| p.split_once('=')) {
        cookie.insert(key.trim(), value.trim());
    }
    let value = unquoted(value);
    // What is no text once it is decoded stays as it came.
    let text = percent_encoding::percent_decode_str(value).decode_utf8();
    cookie.insert("value", text.as_deref().unwrap_or(value));
    into.insert(name.trim(), cookie);
}

/// `{location, cookies}` for `msg.redirectList`.
pub(super) fn redirect_info(redirect: &Redirect) -> Value {
    let mut info = Object::new();
    info.insert("location", redirect.location.as_str());
    if !redirect.set_cookies.is_empty() {
        let mut cookies = Object::new();
        redirect.set_cookies.iter().for_each(|line| read_cookie(line, &mut cookies));
        info.insert("cookies", cookies);
    }
    info.into()
}
