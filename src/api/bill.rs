//! `/probity/v1/agreements/{id}/bill`: penalties and rewards summed up by billing period, as the agreement's
//! `terms.pricing.billing` says.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::routing::get;
use serde_json::{Value, json};

use super::Api;
use super::agreements::find;
use super::error::ApiError;
use super::openapi::{BAD_REQUEST, Endpoint, Kind, Media, NOT_FOUND, Parameter, ok};
use super::query::Query;
use crate::agreement::Calendar;
use crate::agreement::billing::bill;
use crate::model::state::{State as Judged, StateKind};
use crate::store::{PageRequest, StateQuery};

const QUERY: &[Parameter] = &[
    Parameter::new("from", Kind::Instant, "only billing periods that end after this; the one under way when absent"),
    Parameter::new("to", Kind::Instant, "only billing periods that start before this; now when absent"),
    Parameter::new("as_of", Kind::Instant, "from the verdicts as they were known at this instant"),
];

pub(super) const ENDPOINTS: &[Endpoint] = &[Endpoint {
    method: "get",
    path: "/probity/v1/agreements/{id}/bill",
    tag: "agreements",
    summary: "Penalties and rewards by billing period, grouped and capped as the agreement says",
    query: QUERY,
    body: None,
    answers: &[ok("the bills, empty when the agreement has no billing", Media::List("Bill")), BAD_REQUEST, NOT_FOUND],
    login: true,
    route: || get(show),
}];

async fn show(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, ApiError> {
    let query = Query::read(query.as_deref(), QUERY)?;
    let (agreement, _) = find(&api, &id)?;
    let now = api.clock().now();
    let to = query.instant("to")?.unwrap_or(now);
    let from = query.instant("from")?;
    if from.is_some_and(|from| from >= to) {
        return Err(ApiError::bad_request("\"from\" must be before \"to\" (which is now when absent)"));
    }
    let Some(billing) = &agreement.billing else { return Ok(Json(json!({ "items": [], "next": null }))) };
    let calendar = Calendar::of(&agreement, &billing.window);
    let windows = match from {
        Some(from) => calendar.overlapping(from, to).map_err(|e| ApiError::bad_request(e.to_string()))?,
        None => calendar.open_at(to).into_iter().collect(),
    };
    let (Some(first), Some(last)) = (windows.first(), windows.last()) else {
        return Ok(Json(json!({ "items": [], "next": null })));
    };
    let filter = StateQuery {
        agreement: Some(agreement.id.clone()),
        kind: Some(StateKind::Guarantee),
        from: Some(first.from),
        to: Some(last.to),
        as_of: query.instant("as_of")?,
        ..StateQuery::default()
    };
    let mut page = PageRequest { limit: 1000, after: None };
    let mut states: Vec<Judged> = Vec::new();
    loop {
        let stored = api.store.states(&filter, &page).await?;
        let owed = |state: &Judged| !state.penalties.is_empty() || !state.rewards.is_empty();
        states.extend(stored.items.into_iter().map(|stored| stored.state).filter(owed));
        match stored.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    let bills = windows.iter().map(|window| json!({ "window": window, "lines": bill(billing, window, states.iter()) }));
    Ok(Json(json!({ "items": bills.collect::<Vec<_>>(), "next": null })))
}
