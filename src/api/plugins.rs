//! `/probity/v1/plugins`: what is installed, what it may do, how it is doing, and the way out of quarantine.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::Api;
use super::error::ApiError;
use super::openapi::{BAD_REQUEST, Endpoint, Media, NOT_FOUND, PAGE, ok};
use super::query::Query;
use crate::plugin::Report;

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: "get",
        path: "/probity/v1/plugins",
        tag: "plugins",
        summary: "Plugins with their versions, grants, calls, stops, time and memory per node type, last refusals",
        query: PAGE,
        body: None,
        answers: &[ok("a page of them, or all without `limit`", Media::List("Plugin")), BAD_REQUEST],
        login: true,
        route: || get(list),
    },
    Endpoint {
        method: "get",
        path: "/probity/v1/plugins/{name}",
        tag: "plugins",
        summary: "One plugin",
        query: &[],
        body: None,
        answers: &[ok("the plugin", Media::Json("Plugin")), NOT_FOUND],
        login: true,
        route: || get(show),
    },
    Endpoint {
        method: "post",
        path: "/probity/v1/plugins/{name}/release",
        tag: "plugins",
        summary: "Lets a plugin's node types out of quarantine",
        query: &[],
        body: None,
        answers: &[ok("whether any was in quarantine", Media::Json("PluginRelease")), NOT_FOUND],
        login: true,
        route: || post(release),
    },
];

async fn list(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Result<Json<Value>, ApiError> {
    let query = Query::read(query.as_deref(), PAGE)?;
    let page = query.cut(api.plugins.report())?;
    Ok(Json(json!({ "items": page.items, "next": page.next })))
}

async fn show(State(api): State<Arc<Api>>, Path(name): Path<String>) -> Result<Json<Report>, ApiError> {
    let found = api.plugins.report().into_iter().find(|plugin| plugin.name == name);
    found.map(Json).ok_or_else(|| unknown(&name))
}

async fn release(State(api): State<Arc<Api>>, Path(name): Path<String>) -> Result<Json<Value>, ApiError> {
    let released = api.plugins.release(&name).ok_or_else(|| unknown(&name))?;
    tracing::info!(plugin = name, released, "let out of quarantine by the API");
    Ok(Json(json!({ "released": released })))
}

fn unknown(name: &str) -> ApiError {
    ApiError::not_found(format!("there is no plugin \"{name}\"")).hint("GET /probity/v1/plugins lists them")
}
