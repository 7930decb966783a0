//! `/probity/v1/flows/{id}/trace`: keeps the messages of a flow's next runs, to see what its nodes are given and send.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Api;
use super::error::ApiError;
use super::openapi::{BAD_REQUEST, Endpoint, Media, NOT_FOUND, ok};

/// More are for the tab's property `trace`.
const RUNS_MAX: u32 = 1_000;

const PATH: &str = "/probity/v1/flows/{id}/trace";

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: "get",
        path: PATH,
        tag: "runs",
        summary: "How many of a flow's next runs on this replica are kept with their messages",
        query: &[],
        body: None,
        answers: &[ok("how many", Media::Json("TraceRequest")), NOT_FOUND],
        login: true,
        route: || get(show),
    },
    Endpoint {
        method: "post",
        path: PATH,
        tag: "runs",
        summary: "Keeps the messages of a flow's next runs on this replica, cut to a size, secrets masked; 0 runs: no more",
        query: &[],
        body: Some("TraceRequest"),
        answers: &[ok("how many", Media::Json("TraceRequest")), BAD_REQUEST, NOT_FOUND],
        login: true,
        route: || post(ask),
    },
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TraceRequest {
    runs: u32,
}

fn known(api: &Api, id: &str) -> Result<(), ApiError> {
    let deployed = api.engine.current();
    match deployed.plan.flows.iter().any(|f| f.id == id) {
        true => Ok(()),
        false => Err(ApiError::not_found(format!("no flow has the id \"{id}\""))),
    }
}

async fn show(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    known(&api, &id)?;
    Ok(Json(json!({ "runs": api.engine.services.capturing.runs_left(&id) })))
}

async fn ask(State(api): State<Arc<Api>>, Path(id): Path<String>, body: Bytes) -> Result<Json<Value>, ApiError> {
    known(&api, &id)?;
    let expected = format!("expected {{\"runs\": 10}}, at most {RUNS_MAX}");
    let asked: TraceRequest = serde_json::from_slice(&body)
        .map_err(|e| ApiError::bad_request(format!("the body is not valid: {e}")).hint(expected.clone()))?;
    if asked.runs > RUNS_MAX {
        return Err(ApiError::bad_request(format!("{} runs are too many", asked.runs))
            .hint(format!("{expected}; to keep the messages of all runs, give the tab the property trace")));
    }
    api.engine.services.capturing.next_runs(&id, asked.runs);
    Ok(Json(json!({ "runs": asked.runs })))
}
