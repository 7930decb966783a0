//! `/probity/v1/audit`: who did what.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::routing::get;

use super::Api;
use super::error::ApiError;
use super::openapi::{BAD_REQUEST, Endpoint, Media, PAGE, ok};
use super::query::Query;
use crate::store::{AuditEntry, Page};

pub(super) const ENDPOINTS: &[Endpoint] = &[Endpoint {
    method: "get",
    path: "/probity/v1/audit",
    tag: "service",
    summary: "Who did what, newest first",
    query: PAGE,
    body: None,
    answers: &[ok("a page of entries", Media::List("AuditEntry")), BAD_REQUEST],
    login: true,
    route: || get(list),
}];

async fn list(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Result<Json<Page<AuditEntry>>, ApiError> {
    let query = Query::read(query.as_deref(), PAGE)?;
    Ok(Json(api.store.audit_entries(&query.page()?).await?))
}
