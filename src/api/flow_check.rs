//! `/probity/v1/flows/check`: what would be wrong with flows if they were deployed; for editors, while somebody works.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use super::Api;
use super::error::ApiError;
use super::openapi::{BAD_REQUEST, Endpoint, Media, NOT_FOUND, ok};
use crate::deploy::entry_of;
use crate::model::Diagnostic;

pub(super) const ENDPOINTS: &[Endpoint] = &[Endpoint {
    method: "post",
    path: "/probity/v1/flows/check",
    tag: "flows",
    summary: "Checks flows as a deploy would, without deploying them",
    query: &[],
    body: Some("FlowsDraft"),
    answers: &[ok("every problem, with the node it is about", Media::Json("FlowProblems")), BAD_REQUEST, NOT_FOUND],
    login: true,
    route: || post(check),
}];

/// A problem and whose it is.
#[derive(Serialize)]
struct Found {
    /// Id of the entry it is about; absent when it is about the whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(flatten)]
    problem: Diagnostic,
}

async fn check(State(api): State<Arc<Api>>, body: Bytes) -> Result<Json<Value>, ApiError> {
    let admin = api.admin.clone().ok_or_else(|| ApiError::not_found("this server has no flows to change"))?;
    let expected = "expected {\"flows\": […]}, the entries as a deploy has them";
    let body: Value = serde_json::from_slice(&body)
        .map_err(|e| ApiError::bad_request(format!("the body is not valid: {e}")).hint(expected))?;
    let Some(flows) = body.get("flows").and_then(Value::as_array) else {
        return Err(ApiError::bad_request("the body has no list \"flows\"").hint(expected));
    };
    let ids: Vec<Option<String>> = flows.iter().map(|e| e.get("id")?.as_str().map(str::to_owned)).collect();
    let flows = flows.clone();
    // Every node is built, which takes its time where there are thousands.
    let problems = tokio::task::spawn_blocking(move || admin.flows.check(flows)).await;
    let problems = problems.map_err(|e| {
        tracing::error!(%e, "flows were not checked");
        ApiError::new(http::StatusCode::INTERNAL_SERVER_ERROR, "internal", "the flows could not be checked")
    })?;
    let found = problems.into_iter().map(|mut problem| {
        problem.file.clear();
        Found { node: entry_of(&problem).and_then(|at| ids.get(at)?.clone()), problem }
    });
    Ok(Json(json!({ "problems": found.collect::<Vec<_>>() })))
}
