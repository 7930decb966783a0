//! `/probity/v1/corrections`: what had been said of a closed window and was changed, from what to what, why and when.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::routing::get;

use super::Api;
use super::error::ApiError;
use super::openapi::{AFTER, BAD_REQUEST, Endpoint, Kind, LIMIT, Media, Parameter, ok};
use super::query::Query;
use super::states::VERDICTS;
use crate::model::state::{Correction, StateKind, Verdict};
use crate::store::{Page, StateQuery};

const QUERY: &[Parameter] = &[
    LIMIT,
    AFTER,
    Parameter::new("agreement", Kind::Text, "only of this agreement"),
    Parameter::new("guarantee", Kind::Text, "only of this guarantee"),
    Parameter::new("scope", Kind::Scope, "only in this scope, a JSON object such as {\"team\":\"a\"}"),
    Parameter::new("verdict", Kind::OneOf(VERDICTS), "only with this verdict after the correction"),
    Parameter::new("from", Kind::Instant, "only windows that end after this"),
    Parameter::new("to", Kind::Instant, "only windows that start before this"),
    Parameter::new("as_of", Kind::Instant, "only those known at this instant"),
];

pub(super) const ENDPOINTS: &[Endpoint] = &[Endpoint {
    method: "get",
    path: "/probity/v1/corrections",
    tag: "verdicts",
    summary: "Revisions that changed what had been said of a closed window, latest first",
    query: QUERY,
    body: None,
    answers: &[ok("a page of corrections", Media::List("Correction")), BAD_REQUEST],
    login: true,
    route: || get(list),
}];

async fn list(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Result<Json<Page<Correction>>, ApiError> {
    let query = Query::read(query.as_deref(), QUERY)?;
    let filter = StateQuery {
        agreement: query.owned("agreement"),
        kind: Some(StateKind::Guarantee),
        of: query.owned("guarantee"),
        scope: query.scope("scope")?,
        verdict: query.word("verdict", &VERDICTS.join(", "), Verdict::parse)?,
        from: query.instant("from")?,
        to: query.instant("to")?,
        provisional: None,
        as_of: query.instant("as_of")?,
    };
    Ok(Json(api.store.corrections(&filter, &query.page()?).await?))
}
