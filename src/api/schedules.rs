//! `/probity/v1/schedules`: what fires when.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::routing::get;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::error::ApiError;
use super::openapi::{AFTER, BAD_REQUEST, Endpoint, Kind, LIMIT, Media, PAGE, Parameter, ok};
use super::query::Query;
use super::{Api, ScheduleView};
use crate::store::{Page, Tick};

const TICKS: &[Parameter] = &[
    LIMIT,
    AFTER,
    Parameter::new("schedule", Kind::Text, "the schedule's id, as /probity/v1/schedules has it; must be given"),
];

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: "get",
        path: "/probity/v1/schedules",
        tag: "agreements",
        summary: "The schedules in force, with their next and last firing",
        query: PAGE,
        body: None,
        answers: &[ok("a page of them, or all without `limit`", Media::List("Schedule")), BAD_REQUEST],
        login: true,
        route: || get(list),
    },
    Endpoint {
        method: "get",
        path: "/probity/v1/ticks",
        tag: "agreements",
        summary: "The due times of a schedule, newest first: planned, begun, ended, by whom",
        query: TICKS,
        body: None,
        answers: &[ok("a page of them", Media::List("Tick")), BAD_REQUEST],
        login: true,
        route: || get(ticks),
    },
];

/// A schedule and the newest firing anybody claimed.
#[derive(Serialize)]
pub(super) struct Claimed {
    #[serde(flatten)]
    pub(super) schedule: ScheduleView,
    pub(super) last_claim: Option<Timestamp>,
}

pub(super) async fn with_claims(api: &Api) -> Result<Vec<Claimed>, ApiError> {
    let mut claimed = Vec::new();
    for schedule in (api.schedules)() {
        let last_claim = api.store.last_claim(&schedule.id).await?;
        claimed.push(Claimed { schedule, last_claim });
    }
    Ok(claimed)
}

async fn list(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Result<Json<Value>, ApiError> {
    let query = Query::read(query.as_deref(), PAGE)?;
    let page = query.cut(with_claims(&api).await?)?;
    Ok(Json(json!({ "items": page.items, "next": page.next })))
}

async fn ticks(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Result<Json<Page<Tick>>, ApiError> {
    let query = Query::read(query.as_deref(), TICKS)?;
    let schedule = query.text("schedule").ok_or_else(|| {
        ApiError::bad_request("query parameter \"schedule\" is missing")
            .hint("expected the id of a schedule; /probity/v1/schedules lists them")
    })?;
    Ok(Json(api.store.ticks(schedule, &query.page()?).await?))
}
