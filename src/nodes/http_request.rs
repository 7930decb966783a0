//! `http request`: calls a URL and goes on with the answer.

mod body;
mod call;

use std::sync::{Arc, OnceLock};

use arcstr::{ArcStr, literal};

use super::http_headers::mark;
use super::mustache::Template;
use super::tls_config;
use super::typed::msg_path;
use crate::model::node_spec::{Capability, NodeSpec, Property, PropertyKind};
use crate::model::{Diagnostic, Msg, Object, Path, Value};
use crate::net::{Agent, NetError, NetResponse, Proxy};
use crate::runtime::{Cx, Effect, Node, NodeConfig, NodeError, NodeType, Status, Step, Then};

const METHODS: &[&str] = &["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "use"];

static SPEC: NodeSpec = NodeSpec {
    node_type: "http request",
    category: "network",
    summary: "Calls a URL; emits msg.payload, statusCode, headers, responseUrl, responseCookies and redirectList.",
    inputs: 1,
    outputs: Some(1),
    config_node: false,
    properties: &[
        Property::new("method", PropertyKind::OneOfAnyCase(METHODS), "GET when absent; use: msg.method says it."),
        Property::new(
            "url",
            PropertyKind::Text,
            "Where to call, a Mustache template over msg ({{{x}}} inserts without escaping); msg.url when empty.",
        ),
        Property::new(
            "ret",
            PropertyKind::OneOf(&["txt", "bin", "obj"]),
            "What payload becomes: text, bytes, parsed JSON.",
        ),
        Property::new(
            "paytoqs",
            PropertyKind::Json,
            "GET: what becomes of msg.payload: ignore, query (also true) or body.",
        ),
        Property::new("headers", PropertyKind::Json, "[{keyType, keyValue, valueType, valueValue}]; over msg.headers."),
        Property::new("authType", PropertyKind::OneOf(&["", "basic", "bearer", "digest"]), "basic when empty."),
        Property::new("credentials", PropertyKind::Json, "{user, password}; for bearer, password is the token."),
        Property::new("senderr", PropertyKind::Boolean, "Errors only go to catch nodes, not to the output too."),
        Property::new("persist", PropertyKind::Boolean, "Connections are always kept open; kept for the editor."),
        Property::new(
            "tls",
            PropertyKind::NodeRef("tls-config"),
            "Id of a tls-config node; URLs without scheme are https then.",
        ),
        Property::new("proxy", PropertyKind::NodeRef("http proxy"), "Id of an http proxy node."),
        Property::new(
            "retry",
            PropertyKind::OneOf(&["", "never"]),
            "In durable runs: never sends nothing again; a call cut off by a crash is then in doubt. Else it is sent \
             again with the same Idempotency-Key.",
        ),
    ],
    capabilities: &[Capability::Net],
};

pub const TYPE: NodeType = NodeType { spec: &SPEC, build };

#[derive(Clone, Copy, Debug, PartialEq)]
enum Return {
    Text,
    Bytes,
    Json,
}

/// What becomes of the payload of a GET.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Payload {
    Ignore,
    Query,
    Body,
}

enum Auth {
    Basic,
    Bearer,
    Digest,
}

/// A header name or value: fixed, or found in the message.
enum Part {
    Fixed(ArcStr),
    Msg(Path),
}

struct HttpRequest {
    /// `None`: `msg.method`.
    method: Option<ArcStr>,
    /// The text decides about warnings and is empty when `msg.url` counts.
    url: ArcStr,
    template: Option<Template>,
    ret: Return,
    payload: Payload,
    headers: Vec<(Part, Part)>,
    auth: Auth,
    user: ArcStr,
    password: ArcStr,
    errors_to_catch_only: bool,
    has_tls: bool,
    /// With own TLS settings or a proxy.
    agent: Option<Arc<Agent>>,
    proxy: Option<Proxy>,
    /// For messages with `rejectUnauthorized: false`.
    unverified: OnceLock<Arc<Agent>>,
}

fn build(config: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let tls = tls_config::named(config, "tls").map_err(|p| problems.push(p)).ok().flatten();
    let proxy = match config.text("proxy") {
        id if id.is_empty() => None,
        id => {
            let proxy = config.shared::<Proxy>("proxy");
            if proxy.is_none() {
                let what = format!("\"{id}\" is no http proxy node that can be used");
                let problem = config.problem("unusable-reference", "proxy", what);
                problems.push(problem.expected("the id of an http proxy node without problems"));
            }
            proxy
        }
    };
    let auth = match config.text("authType").as_str() {
        "bearer" => Auth::Bearer,
        "digest" => Auth::Digest,
        "" | "basic" => Auth::Basic,
        other => {
            problems.push(
                config
                    .problem("unknown-option", "authType", format!("\"{other}\" is no way to authenticate"))
                    .expected("basic, digest or bearer")
                    .did_you_mean(other, ["basic", "digest", "bearer"]),
            );
            Auth::Basic
        }
    };
    let method = match config.text("method").as_str() {
        "" => Some(literal!("GET")),
        "use" => None,
        method => Some(ArcStr::from(method.to_uppercase())),
    };
    if let Some(method) = method.as_ref().filter(|m| http::Method::from_bytes(m.as_bytes()).is_err()) {
        problems.push(
            config
                .problem("unknown-method", "method", format!("\"{method}\" is no HTTP method"))
                .expected(METHODS.join(", "))
                .did_you_mean(method, METHODS.iter().copied()),
        );
    }
    let url = config.text("url");
    let template = if url.contains("{{") {
        Template::parse(&url).map_err(|e| problems.push(config.problem("invalid-template", "url", e))).ok()
    } else {
        None
    };
    let headers = headers(config, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let proxy = proxy.map(|proxy| (*proxy).clone());
    let agent = (tls.is_some() || proxy.is_some()).then(|| Arc::new(Agent::new(tls.clone(), proxy.clone())));
    Ok(Arc::new(HttpRequest {
        method,
        url,
        template,
        ret: match config.text("ret").as_str() {
            "bin" => Return::Bytes,
            "obj" => Return::Json,
            _ => Return::Text,
        },
        payload: match config.text("paytoqs").as_str() {
            "true" | "query" => Payload::Query,
            "body" => Payload::Body,
            _ => Payload::Ignore,
        },
        headers,
        auth,
        user: config.credential("user"),
        password: config.credential("password"),
        errors_to_catch_only: config.flag("senderr"),
        has_tls: tls.is_some(),
        agent,
        proxy,
        unverified: OnceLock::new(),
    }))
}

/// The editor's rows: `keyType` is the name itself, or `other`/`msg` with the name in `keyValue`; values alike.
fn headers(config: &NodeConfig<'_>, problems: &mut Vec<Diagnostic>) -> Vec<(Part, Part)> {
    let rows = config.get("headers").as_array().unwrap_or_default();
    let mut parts = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        let mut part = |kind: &str, value: &str| {
            let text = |name: &str| match row.get(name) {
                Value::Undefined | Value::Null => ArcStr::new(),
                other => other.to_js_string(),
            };
            match text(kind).as_str() {
                "other" => Some(Part::Fixed(text(value))),
                "msg" => {
                    let at = format!("headers[{i}].{value}");
                    msg_path(config, &at, &text(value)).map(Part::Msg).map_err(|p| problems.push(p)).ok()
                }
                _ => Some(Part::Fixed(text(kind))),
            }
        };
        if let (Some(name), Some(value)) = (part("keyType", "keyValue"), part("valueType", "valueValue")) {
            parts.push((name, value));
        }
    }
    parts
}

impl HttpRequest {
    /// Puts the answer into the message.
    fn answered(ret: Return, mut msg: Msg, answer: NetResponse, cx: &mut Cx<'_>) -> Step {
        let mut headers = Object::with_capacity(answer.headers.len());
        let mut cookies = Object::new();
        for name in answer.headers.keys() {
            let values: Vec<String> = answer
                .headers
                .get_all(name)
                .iter()
                .map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned())
                .collect();
            if name == http::header::SET_COOKIE {
                values.iter().for_each(|line| call::read_cookie(line, &mut cookies));
                headers.insert(name.as_str(), values.into_iter().map(Value::from).collect::<Vec<_>>());
            } else {
                headers.insert(name.as_str(), values.join(", "));
            }
        }
        mark(&mut headers);
        if let Some(problem) = &answer.digest_problem {
            cx.warn(format!("Digest authentication failed: {problem}"));
        }
        let redirects: Vec<Value> = answer.redirects.iter().map(call::redirect_info).collect();
        let text = || String::from_utf8_lossy(&answer.body).into_owned();
        let payload = match ret {
            Return::Bytes => Value::Bytes(Arc::new(answer.body.to_vec())),
            Return::Text => Value::from(text()),
            Return::Json if answer.status == 204 => Object::new().into(),
            Return::Json => match Value::from_json_slice(&answer.body) {
                Ok(value) => value,
                Err(e) => {
                    cx.warn(format!("JSON parse error: {e}; payload is the text"));
                    Value::from(text())
                }
            },
        };
        msg.set(literal!("statusCode"), f64::from(answer.status));
        msg.set(literal!("headers"), headers);
        msg.set(literal!("responseUrl"), answer.url.as_str());
        msg.set(literal!("payload"), payload);
        msg.set(literal!("redirectList"), redirects);
        msg.set(literal!("retry"), 0.0);
        if !cookies.is_empty() {
            msg.set(literal!("responseCookies"), cookies);
        }
        cx.status(Status::default());
        cx.emit(0, msg);
        Step::Done
    }

    /// The error goes to catch nodes, and (unless only there) on as the payload.
    fn failed(errors_to_catch_only: bool, mut msg: Msg, error: NetError, url: &str, cx: &mut Cx<'_>) -> Step {
        let timed_out = error.code == "ETIMEDOUT";
        if cx.is_tried_again() && cx.is_unanswered() {
            let unsettled = !error.was_not_sent();
            return Step::fail(msg, NodeError::with_code(error.to_string(), error.code).unsettled(unsettled));
        }
        let name = match error.code {
            "ETIMEDOUT" => "TimeoutError",
            "ERR_TOO_MANY_REDIRECTS" => "MaxRedirectsError",
            _ => "RequestError",
        };
        let told = if timed_out { format!("no response from server: {error}") } else { format!("{name}: {error}") };
        let text = if timed_out { "no response from server".into() } else { error.code.into() };
        cx.status(Status { fill: Some("red".into()), shape: Some("ring".into()), text });
        let failed = msg.clone();
        cx.error(failed, NodeError::with_code(told, error.code));
        if !errors_to_catch_only {
            msg.set(literal!("payload"), format!("{name}: {error} : {url}"));
            msg.set(literal!("statusCode"), error.code);
            cx.emit(0, msg);
        }
        Step::Done
    }
}

impl Node for HttpRequest {
    fn effect(&self) -> Effect {
        Effect::Repeatable
    }

    fn on_msg(&self, mut msg: Msg, cx: &mut Cx<'_>) -> Step {
        let request = match call::prepare(self, &mut msg, cx) {
            Ok(request) => request,
            Err(error) => {
                cx.status(Status {
                    fill: Some("red".into()),
                    shape: Some("ring".into()),
                    text: error.message.clone().into(),
                });
                return Step::fail(msg, error);
            }
        };
        cx.status(Status { fill: Some("blue".into()), shape: Some("dot".into()), text: "requesting".into() });
        let mut shown = request.url.clone();
        // Both fail for URLs that cannot have a password.
        let _ = shown.set_username("").and_then(|()| shown.set_password(None));
        let net = cx.services().net.clone();
        let (ret, errors_to_catch_only) = (self.ret, self.errors_to_catch_only);
        Step::wait(async move {
            let answer = net.request(request).await;
            Box::new(move |cx: &mut Cx<'_>| match answer {
                Ok(answer) => Self::answered(ret, msg, answer, cx),
                Err(error) => Self::failed(errors_to_catch_only, msg, error, shown.as_str(), cx),
            }) as Then
        })
    }
}

#[cfg(test)]
mod tests;
