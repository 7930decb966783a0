//! Flow endpoints: from an HTTP call to the `http in` that answers it and back. The hot path: one look into the
//! deployed plan's routes, no router, no copies of headers or body.

use std::sync::Arc;

use arcstr::ArcStr;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use serde_json::json;

use super::body::{self, Parsed};
use super::error::ApiError;
use super::serve::{Incoming, Peer};
use super::{Api, durable, editor, express, guard, pages, sockets};
use crate::model::flow::{NodeIndex, Stopped};
use crate::model::run::Trigger;
use crate::model::{Msg, Object, RunId, Value};
use crate::runtime::opening::Start;
use crate::runtime::routes::{Match, Routes};
use crate::runtime::{Deployed, Reply, Request as FlowRequest};

/// Names the run that answered.
pub(super) const RUN_HEADER: HeaderName = HeaderName::from_static("x-probity-run");

/// Answers a call on a path that is not ours.
pub(super) async fn answer<B: Incoming>(api: &Arc<Api>, peer: &Peer, call: Request<B>) -> Response {
    let deployed = api.engine.current();
    let (mut head, body) = call.into_parts();
    let path = head.uri.path();
    if sockets::is_asked_for(&head.headers)
        && let Some(door) = below_root(&api.node_root, path).and_then(|path| deployed.sockets.find(path))
    {
        return match guard::admit_to_flow(api, peer, &head.headers).await {
            Ok(()) => sockets::answer(head, door.clone()).await,
            Err(refusal) => refusal,
        };
    }
    let found = below_root(&api.node_root, path).and_then(|path| find(&deployed.routes, &head.method, path));
    let Some(Match { route, params }) = found else {
        body::leave_unread(body, &head.headers, api).await;
        // Flows come first: a page of theirs at `/` is what their callers expect there.
        let file =
            api.admin.as_ref().and_then(|admin| editor::answer(&admin.root, &head.method, &head.uri, &head.headers));
        return file.unwrap_or_else(|| no_route(&head.method, path));
    };
    if let Err(refusal) = guard::admit_to_flow(api, peer, &head.headers).await {
        body::leave_unread(body, &head.headers, api).await;
        return refusal;
    }
    if let Some(stopped) = deployed.stopped(route.node) {
        body::leave_unread(body, &head.headers, api).await;
        return does_not_run(&deployed, route.node, stopped);
    }
    let mut durability = durable::asked(api, &deployed, route.node, &head);
    let has_body = !matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
    // Held until the call is answered.
    let mut room = None;
    let parsed = if has_body {
        let room = match body::room(&body, api) {
            Ok(free) => room.insert(free),
            Err(refused) => {
                body::leave_unread(body, &head.headers, api).await;
                return refused.into_response();
            }
        };
        let bytes = match body::read(body, &head.headers, api).await {
            Ok(bytes) => bytes,
            Err(refused) => return refused.into_response(),
        };
        if let Some(durability) = &mut durability {
            durability.read(&bytes);
        }
        room.shrink(bytes.len());
        match body::parse(bytes, &head.headers, route, &api.options).await {
            Ok(parsed) => parsed,
            Err(refused) => return refused.into_response(),
        }
    } else {
        body::leave_unread(body, &head.headers, api).await;
        Parsed::from(Value::Undefined)
    };
    let fresh = Freshness::of(&head.method, &mut head.headers);
    let trigger = Trigger::Http { method: head.method.as_str().to_string(), path: path.to_string() };
    let url = url_text(&head.uri);
    let below = &url[api.node_root.len()..];
    let method = method_text(&head.method);
    let mut request = FlowRequest::new(method, below, head.headers, params, parsed.body, peer.text.clone());
    request.files = parsed.files;
    if !api.node_root.is_empty() {
        request.original_url = Some(url.into());
    }
    let node = route.node;
    let deadline = deployed.reply_deadline(node);
    if let Some(durability) = durability {
        let call = durable::Call { deployed, node, msg: message(request, has_body), trigger, deadline };
        return match durability.answer(api, call).await {
            Ok((reply, run)) => respond(reply, run, fresh),
            Err(response) => *response,
        };
    }
    match deployed.call(node, Start::Emit(0), message(request, has_body), trigger, deadline).await {
        Err(busy) => ApiError::from(busy).into_response(),
        Ok(called) => match called.reply {
            Some(reply) => respond(reply, called.run, fresh),
            None => past_deadline(called.run, deadline.as_millis()),
        },
    }
}

/// The path below `httpNodeRoot`, with its leading slash.
fn below_root<'a>(root: &str, path: &'a str) -> Option<&'a str> {
    match path.strip_prefix(root)? {
        "" => Some("/"),
        rest if rest.starts_with('/') => Some(rest),
        _ => None,
    }
}

/// Express answers HEAD with the GET route when there is none of its own.
fn find<'a>(routes: &'a Routes, method: &Method, path: &str) -> Option<Match<'a>> {
    let found = routes.find(method.as_str(), path);
    if found.is_none() && method == Method::HEAD { routes.find("GET", path) } else { found }
}

fn url_text(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", |p| p.as_str())
}

fn method_text(method: &Method) -> ArcStr {
    match *method {
        Method::GET => arcstr::literal!("GET"),
        Method::POST => arcstr::literal!("POST"),
        Method::PUT => arcstr::literal!("PUT"),
        Method::PATCH => arcstr::literal!("PATCH"),
        Method::DELETE => arcstr::literal!("DELETE"),
        _ => ArcStr::from(method.as_str()),
    }
}

/// The message in Node-RED's order of properties; `res` is put in its place when the run opens.
fn message(request: FlowRequest, has_body: bool) -> Msg {
    let payload = if has_body { request.body.clone() } else { request.query() };
    let mut object = Object::with_capacity(8);
    object.insert(arcstr::literal!("_msgid"), crate::model::id::hex16());
    object.insert(arcstr::literal!("req"), Value::handle(request));
    object.insert(arcstr::literal!("res"), Value::Undefined);
    object.insert(arcstr::literal!("payload"), payload);
    Msg::from_object(object)
}

/// Whether the caller may be told that what it has is still good, as Express does for GET and HEAD.
struct Freshness {
    tagged: bool,
    known: Option<HeaderValue>,
}

impl Freshness {
    fn of(method: &Method, headers: &mut HeaderMap) -> Freshness {
        let tagged = matches!(*method, Method::GET | Method::HEAD);
        Freshness { tagged, known: if tagged { headers.get(header::IF_NONE_MATCH).cloned() } else { None } }
    }

    fn matches(&self, etag: &HeaderValue) -> bool {
        self.known.as_ref().is_some_and(|known| has(known, etag))
    }
}

/// Whether an `If-None-Match` header names this tag.
pub(super) fn has(known: &HeaderValue, etag: &HeaderValue) -> bool {
    let bare = |t: &str| t.trim().trim_start_matches("W/").to_string();
    match (known.to_str(), etag.to_str()) {
        (Ok("*"), _) => true,
        (Ok(known), Ok(etag)) => known.split(',').any(|k| bare(k) == bare(etag)),
        _ => false,
    }
}

/// A flow's reply as the caller gets it.
fn respond(reply: Reply, run: RunId, fresh: Freshness) -> Response {
    let mut response = Response::new(Body::empty());
    let status = StatusCode::from_u16(reply.status).ok().filter(|s| !s.is_informational());
    *response.status_mut() = status.unwrap_or_else(|| {
        tracing::warn!(%run, status = reply.status, "a flow answered with a status that HTTP does not have");
        StatusCode::INTERNAL_SERVER_ERROR
    });
    let headers = response.headers_mut();
    headers.reserve(reply.headers.len() + 4);
    for (name, value) in &reply.headers {
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes())) {
            (Ok(name), _) if is_connections_own(&name) => {}
            (Ok(name), Ok(value)) => {
                headers.append(name, value);
            }
            _ => tracing::warn!(%run, header = %name, "a flow set a header that HTTP cannot carry"),
        }
    }
    let mut id = uuid::Uuid::encode_buffer();
    if let Ok(value) = HeaderValue::from_str(run.0.hyphenated().encode_lower(&mut id)) {
        headers.insert(RUN_HEADER, value);
    }
    if fresh.tagged && status.is_some_and(|s| s.is_success()) {
        if !headers.contains_key(header::ETAG) && !reply.body.is_empty() {
            headers.insert(header::ETAG, express::etag(&reply.body));
        }
        if headers.get(header::ETAG).is_some_and(|etag| fresh.matches(etag)) {
            headers.remove(header::CONTENT_TYPE);
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
    }
    *response.body_mut() = Body::from(reply.body);
    response
}

/// Headers that say how bytes go over this connection: the server's business, not the flow's.
fn is_connections_own(name: &HeaderName) -> bool {
    [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION, header::UPGRADE].contains(name)
}

pub(super) fn past_deadline(run: RunId, deadline_ms: u128) -> Response {
    let body = json!({ "error": "deadline", "run": run, "deadline_ms": deadline_ms });
    let mut response = (StatusCode::GATEWAY_TIMEOUT, axum::Json(body)).into_response();
    if let Ok(id) = HeaderValue::from_str(&run.to_string()) {
        response.headers_mut().insert(RUN_HEADER, id);
    }
    response
}

/// 501: the route exists, its flow does not run.
fn does_not_run(deployed: &Deployed, node: NodeIndex, stopped: &Stopped) -> Response {
    let flow = &deployed.plan.flows[deployed.plan.nodes[node as usize].flow as usize];
    let body = match stopped {
        Stopped::UnknownTypes(types) => json!({
            "error": "unknown_node_type",
            "types": types.iter().map(ArcStr::as_str).collect::<Vec<_>>(),
            "flow": flow.label.as_str(),
            "hint": "replace these nodes or delete them; the other flows run without them",
        }),
        Stopped::Invalid | Stopped::Disabled => json!({
            "error": "invalid_flow",
            "flow": flow.label.as_str(),
            "hint": "the flow has errors; /probity/flows lists them, and so does `probity check`",
        }),
    };
    (StatusCode::NOT_IMPLEMENTED, axum::Json(body)).into_response()
}

fn no_route(method: &Method, path: &str) -> Response {
    if path == "/" && matches!(*method, Method::GET | Method::HEAD) {
        return pages::front();
    }
    express::cannot(method, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_cut_at_a_segment() {
        assert_eq!(below_root("", "/a"), Some("/a"));
        assert_eq!(below_root("/api/v1", "/api/v1/a"), Some("/a"));
        assert_eq!(below_root("/api/v1", "/api/v1"), Some("/"));
        assert_eq!(below_root("/api/v1", "/api/v1x"), None);
        assert_eq!(below_root("/api/v1", "/"), None);
    }

    #[test]
    fn what_the_caller_has_is_not_sent_again() {
        let reply = |body: &'static str| Reply { status: 200, headers: vec![], body: body.into() };
        let get = |known: Option<HeaderValue>| Freshness { tagged: true, known };
        let first = respond(reply("x"), RunId::fresh(), get(None));
        let tag = first.headers()[header::ETAG].clone();
        assert_eq!(respond(reply("x"), RunId::fresh(), get(Some(tag.clone()))).status(), 304);
        assert_eq!(respond(reply("y"), RunId::fresh(), get(Some(tag))).status(), 200);
    }

    #[test]
    fn impossible_replies_become_possible_ones() {
        let headers = vec![
            ("content-length".to_string(), "999".to_string()),
            ("bad name".to_string(), "x".to_string()),
            ("x-ok".to_string(), "bad\nvalue".to_string()),
            ("set-cookie".to_string(), "a=1".to_string()),
            ("set-cookie".to_string(), "b=2".to_string()),
        ];
        let reply = Reply { status: 100, headers, body: "x".into() };
        let response = respond(reply, RunId::fresh(), Freshness { tagged: false, known: None });
        assert_eq!(response.status(), 500);
        assert!(!response.headers().contains_key(header::CONTENT_LENGTH) && !response.headers().contains_key("x-ok"));
        assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
    }
}
