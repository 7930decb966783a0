//! `/plugins`: the editor's own kind of plugins (themes, languages for its text editor), of which there are none here.
//! Plugins of Probity bring nodes, and are among the nodes.

use axum::response::Response;
use serde_json::json;

use super::answer;
use super::{Ask, Route, route};

pub(super) const ROUTES: &[Route] = &[
    route!(GET "/plugins", "plugins.read", list),
    route!(GET "/plugins/messages", "plugins.read", messages),
    route!(GET "/plugins/*", "plugins.read", one),
];

async fn list(ask: Ask) -> Response {
    if ask.header("accept").is_some_and(|accept| accept.starts_with("application/json")) {
        return answer::json(&json!([]));
    }
    answer::text_of("text/html; charset=utf-8", String::new())
}

async fn messages(_: Ask) -> Response {
    answer::json(&json!({}))
}

async fn one(_: Ask) -> Response {
    answer::not_found("Plugin not found")
}
