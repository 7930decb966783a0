//! The Admin API as Node-RED's editor, STATUS and scripts call it: one table of routes with the permission each needs,
//! and how calls and answers look in Express' way. Admin routes come before flows of the same path, as in Node-RED.

mod answer;
mod context;
mod debug;
mod diagnostics;
mod flow;
mod flows;
mod inject;
mod library;
mod nodes;
mod palette;
mod plugins;

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequestParts, Query};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::request::Parts as Head;
use http::{HeaderMap, Method, Request, header};
use serde_json::Value as Json;

use super::auth::Caller;
use super::comms::{self, Comms};
use super::serve::{Incoming, Peer};
use super::{Api, body, express, guard};
use crate::deploy::Flows;
use crate::model::Value;
use crate::runtime::exchange::parse_query;

pub use nodes::Forms;
pub use palette::{Module, Palette, Set};

pub use super::people::NODE_RED_VERSION;

/// What the Admin API works on.
pub struct Admin {
    /// It is served below this path (`httpAdminRoot`).
    pub root: String,
    pub flows: Arc<Flows>,
    pub comms: Arc<Comms>,
    pub palette: Arc<Palette>,
    /// The editor's half of the nodes, when its files are there.
    pub forms: Option<Box<dyn Forms>>,
    /// Has every installed plugin loaded, so that a palette can offer its nodes.
    pub offer_all: Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>,
    /// Where the library of flows and functions is kept.
    pub lib_dir: PathBuf,
    /// Whether flows can be stopped and started from the editor (`runtimeState.enabled`).
    pub runtime_state: bool,
}

/// One call of the Admin API.
pub(super) struct Ask {
    pub(super) api: Arc<Api>,
    pub(super) admin: Arc<Admin>,
    pub(super) caller: Caller,
    pub(super) head: Head,
    pub(super) body: Bytes,
    /// What the pattern's placeholders stand for, percent-decoded, in order.
    pub(super) params: Vec<String>,
}

impl Ask {
    /// Writes down who changed the flows and what became other. `before` is what they were.
    pub(super) async fn write_down(&self, action: &str, subject: &str, before: &Arc<crate::deploy::Current>) {
        let after = self.admin.flows.current();
        let mut detail = crate::flow::changes(&before.file.entries, &after.file.entries);
        detail["revision"] = after.revision.as_str().into();
        let (at, actor) = (self.api.clock().now(), self.caller.name.clone());
        let (action, subject) = (action.to_owned(), subject.to_owned());
        let entry = crate::store::AuditEntry { at, actor, action, subject, detail };
        if let Err(error) = self.api.store.audit(&entry).await {
            // The flows run already; the log has at least who it was.
            tracing::error!(%error, user = self.caller.name, revision = after.revision, "a deploy is not in the audit log");
        }
    }
}

/// What a handler does with a call.
pub(super) type Answering = Pin<Box<dyn Future<Output = Response> + Send>>;

/// One route.
pub(super) struct Route {
    pub(super) method: Method,
    /// `:x` stands for one segment, `*` at the end for all that follow, even none.
    pub(super) pattern: &'static str,
    /// In Node-RED's words, for example `flows.read`; empty: whoever is logged in.
    pub(super) permission: &'static str,
    pub(super) answer: fn(Ask) -> Answering,
}

/// Makes a route of an async function.
macro_rules! route {
    ($method:ident $pattern:literal, $permission:expr, $answer:path) => {
        $crate::api::admin::Route {
            method: http::Method::$method,
            pattern: $pattern,
            permission: $permission,
            answer: |ask| Box::pin($answer(ask)),
        }
    };
}
pub(super) use route;

/// All routes; the first that fits answers. Plain paths stand before patterns.
fn routes() -> impl Iterator<Item = &'static Route> {
    [
        flows::ROUTES,
        flow::ROUTES,
        nodes::ROUTES,
        plugins::ROUTES,
        context::ROUTES,
        inject::ROUTES,
        debug::ROUTES,
        library::ROUTES,
        diagnostics::ROUTES,
    ]
    .into_iter()
    .flatten()
}

/// A route that answers a call, and what its placeholders stand for.
pub(super) struct Found {
    route: &'static Route,
    params: Vec<String>,
}

/// The route of the Admin API for this call; `None`: it is for flows.
pub(super) fn find(api: &Api, method: &Method, path: &str) -> Option<Found> {
    let admin = api.admin.as_ref()?;
    let path = below(&admin.root, path)?;
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let first = path.split('/').next().unwrap_or_default();
    routes().filter(|route| route.method == *method).find_map(|route| {
        let name = route.pattern.split('/').nth(1).unwrap_or_default();
        // Most calls are for flows: one comparison each.
        if !name.eq_ignore_ascii_case(first) {
            return None;
        }
        Some(Found { route, params: fit(&route.pattern[1..], path)? })
    })
}

/// Whether this call opens the editors' websocket.
pub(super) fn is_comms<B>(api: &Api, call: &Request<B>) -> bool {
    call.headers().contains_key(header::UPGRADE)
        && api.admin.as_ref().is_some_and(|admin| below(&admin.root, call.uri().path()) == Some("comms"))
}

/// The path below a root, without its leading slash.
fn below<'a>(root: &str, path: &'a str) -> Option<&'a str> {
    path.strip_prefix(root.trim_end_matches('/'))?.strip_prefix('/')
}

/// What the placeholders of a pattern stand for in a path. As in Express, one slash at the end makes no difference.
fn fit(pattern: &str, path: &str) -> Option<Vec<String>> {
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let mut params = Vec::new();
    let mut rest = Some(path);
    for want in pattern.split('/') {
        if want == "*" {
            params.push(decoded(rest.unwrap_or_default()));
            return Some(params);
        }
        let (segment, after) = match rest?.split_once('/') {
            Some((segment, after)) => (segment, Some(after)),
            None => (rest?, None),
        };
        match want.strip_prefix(':') {
            Some(_) if segment.is_empty() => return None,
            Some(_) => params.push(decoded(segment)),
            None if want.eq_ignore_ascii_case(segment) => {}
            None => return None,
        }
        rest = after;
    }
    rest.is_none_or(str::is_empty).then_some(params)
}

/// Answers a call that [`find`] found a route for.
pub(super) async fn answer<B: Incoming>(api: &Arc<Api>, peer: Peer, call: Request<B>, found: Found) -> Response {
    let Some(admin) = api.admin.clone() else { return express::cannot(call.method(), call.uri().path()) };
    let caller = match guard::require(api, &peer, &call, found.route.permission).await {
        Ok(caller) => caller,
        Err(refusal) => {
            body::leave_unread_of(call, api).await;
            return refusal;
        }
    };
    let (head, body) = call.into_parts();
    let body = match body::read(body, &head.headers, api).await {
        Ok(body) => body,
        Err(refused) => return refused.into_response(),
    };
    let known = head.headers.get(header::IF_NONE_MATCH).cloned();
    let tagged = matches!(head.method, Method::GET | Method::HEAD);
    let ask = Ask { api: api.clone(), admin, caller, head, body, params: found.params };
    let response = (found.route.answer)(ask).await;
    answer::tagged(response, tagged, known).await
}

/// Answers a call on the editors' websocket.
pub(super) async fn answer_comms<B: Incoming>(api: &Arc<Api>, peer: Peer, call: Request<B>) -> Response {
    let Some(admin) = api.admin.clone() else { return express::cannot(call.method(), call.uri().path()) };
    let (mut head, _) = call.into_parts();
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut head, &()).await {
        Ok(upgrade) => upgrade,
        Err(_) => return express::cannot(&head.method, head.uri.path()),
    };
    if let Err(refusal) = guard::admit_socket(api, &head.headers) {
        return *refusal;
    }
    let (api, comms) = (api.clone(), admin.comms.clone());
    let upgrade = upgrade.max_message_size(comms::socket::MESSAGE_BYTES_MAX);
    upgrade.on_upgrade(move |socket| comms::socket::serve(api, comms, peer, socket))
}

impl Ask {
    /// A placeholder's text.
    pub(super) fn param(&self, at: usize) -> &str {
        self.params.get(at).map_or("", String::as_str)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The query string as name and value.
    pub(super) fn query(&self, name: &str) -> Option<String> {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(&self.head.uri).ok()?;
        pairs.0.into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Whether the caller wants JSON, as Express' handlers of nodes and plugins ask: exactly that.
    pub(super) fn wants_json(&self) -> bool {
        self.header("accept").is_some_and(|accept| accept == "application/json")
    }

    /// The body as `body-parser` reads it: JSON or a form; anything else is an empty object. The error is the answer.
    pub(super) fn json(&self) -> Result<Json, Box<Response>> {
        read_json(&self.head.headers, &self.body)
    }
}

fn read_json(headers: &HeaderMap, body: &[u8]) -> Result<Json, Box<Response>> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let empty = || Json::Object(serde_json::Map::new());
    if body.is_empty() {
        return Ok(empty());
    }
    match kind.as_str() {
        "application/json" => {
            let problem = |text: &str| Box::new(express::not_understood(&format!("SyntaxError: {text}")));
            let text = std::str::from_utf8(body).map_err(|e| problem(&e.to_string()))?;
            match serde_json::from_str(text.trim_start_matches('\u{feff}')) {
                Ok(json @ (Json::Object(_) | Json::Array(_))) => Ok(json),
                Ok(_) => Err(problem("the body must be a JSON object or array")),
                Err(error) => Err(problem(&error.to_string())),
            }
        }
        "application/x-www-form-urlencoded" => {
            let form: Value = parse_query(&String::from_utf8_lossy(body));
            Ok(serde_json::from_str(&form.to_json()).unwrap_or_else(|_| empty()))
        }
        _ => Ok(empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_in_express() {
        let fits = |pattern: &str, path: &str| fit(pattern, path).map(|p| p.join("|"));
        assert_eq!(fits("flow/:id", "flow/a%20b"), Some("a b".into()));
        assert_eq!(fits("flow/:id", "flow/a/"), Some("a".into()));
        assert_eq!(fits("flow/:id", "flow"), None);
        assert_eq!(fits("flow/:id", "flow/"), None);
        assert_eq!(fits("flow/:id", "flow/a/b"), None);
        assert_eq!(fits("flows", "FLOWS"), Some(String::new()));
        assert_eq!(fits("library/:lib/:type/*", "library/local/flows"), Some("local|flows|".into()));
        assert_eq!(fits("library/:lib/:type/*", "library/local/flows/a/b.json"), Some("local|flows|a/b.json".into()));
        assert_eq!(fits("context/node/:id/*", "context/node/n/k%2Fx"), Some("n|k/x".into()));
    }

    #[test]
    fn every_route_names_its_permission() {
        for route in routes() {
            assert!(route.pattern.starts_with('/'), "{}", route.pattern);
            let named = route.permission.contains('.') || route.permission.is_empty();
            assert!(named, "{} {}", route.method, route.pattern);
        }
    }
}
