//! `/probity/v1/nodes`: the node types flows may use.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::routing::get;
use serde::Serialize;
use serde_json::{Value, json};

use super::Api;
use super::error::ApiError;
use super::openapi::{BAD_REQUEST, Endpoint, Media, PAGE, ok};
use super::query::Query;
use crate::model::node_spec::NodeSpec;

pub(super) const ENDPOINTS: &[Endpoint] = &[Endpoint {
    method: "get",
    path: "/probity/v1/nodes",
    tag: "flows",
    summary: "The node types this server knows, with their properties",
    query: PAGE,
    body: None,
    answers: &[ok("a page of them, or all without `limit`", Media::List("NodeType")), BAD_REQUEST],
    login: true,
    route: || get(list),
}];

/// A node type and where it comes from.
#[derive(Serialize)]
struct Listed<'a> {
    #[serde(flatten)]
    spec: &'static NodeSpec,
    /// The plugin's name; absent for builtin types.
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin: Option<&'a str>,
}

async fn list(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Result<Json<Value>, ApiError> {
    let query = Query::read(query.as_deref(), PAGE)?;
    let catalogue = api.engine.catalogue();
    let items = catalogue.iter().map(|t| Listed { spec: t.spec, plugin: t.plugin.as_deref() });
    let page = query.cut(items.collect())?;
    Ok(Json(json!({ "items": page.items, "next": page.next })))
}
