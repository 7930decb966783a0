//! `/probity/v1/sources`: where agreements come from, and how each source is doing.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::routing::get;
use serde_json::{Value, json};

use super::Api;
use super::error::ApiError;
use super::openapi::{BAD_REQUEST, Endpoint, Media, PAGE, ok};
use super::query::Query;

pub(super) const ENDPOINTS: &[Endpoint] = &[Endpoint {
    method: "get",
    path: "/probity/v1/sources",
    tag: "agreements",
    summary: "Where agreements come from, in the order in which they count, and how each source is doing",
    query: PAGE,
    body: None,
    answers: &[ok("a page of them, or all without `limit`", Media::List("Source")), BAD_REQUEST],
    login: true,
    route: || get(list),
}];

async fn list(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Result<Json<Value>, ApiError> {
    let query = Query::read(query.as_deref(), PAGE)?;
    let loaded = (api.agreements)();
    let page = query.cut(loaded.sources.clone())?;
    Ok(Json(json!({ "items": page.items, "next": page.next })))
}
