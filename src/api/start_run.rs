//! `POST /probity/v1/runs`: opens a run at a node with a message, for example one that an earlier run was seen to give it;
//! and that run as a test file.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Extension, Json};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value as Json_, json};

use super::Api;
use super::auth::Caller;
use super::error::ApiError;
use super::openapi::{Answer, BAD_REQUEST, Endpoint, Media, NOT_FOUND, ok};
use super::runs;
use crate::flow;
use crate::model::flow::NodeIndex;
use crate::model::run::Trigger;
use crate::model::{Msg, RunId, Value};
use crate::runtime::opening::{Opening, Start};
use crate::store::AuditEntry;

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: "post",
        path: "/probity/v1/runs",
        tag: "runs",
        summary: "Opens a run at a node with a message: a replay of an earlier one, or a trial",
        query: &[],
        body: Some("RunDraft"),
        answers: &[
            Answer { status: 202, help: "the run that was opened", media: Media::Json("RunOpened") },
            BAD_REQUEST,
            NOT_FOUND,
        ],
        login: true,
        route: || post(open),
    },
    Endpoint {
        method: "get",
        path: "/probity/v1/runs/{id}/test",
        tag: "runs",
        summary: "A run whose messages were kept as a test file for `probity test`",
        query: &[],
        body: None,
        answers: &[ok("the test file, and what to look at in it", Media::Json("RunTest")), BAD_REQUEST, NOT_FOUND],
        login: true,
        route: || get(test),
    },
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Draft {
    /// The node's id; inside a subflow as traces have it.
    node: String,
    #[serde(default)]
    msg: Map<String, Json_>,
    /// The run that is replayed.
    #[serde(default)]
    of: Option<RunId>,
}

async fn open(
    State(api): State<Arc<Api>>,
    caller: Option<Extension<Caller>>,
    body: Bytes,
) -> Result<(StatusCode, Json<Json_>), ApiError> {
    let draft: Draft = serde_json::from_slice(&body).map_err(|e| {
        ApiError::bad_request(format!("the body is not valid: {e}"))
            .hint("expected {\"node\": \"…\", \"msg\": {…}} and, for a replay, \"of\": the run's id")
    })?;
    let deployed = api.engine.current();
    let node = deployed.plan.nodes.iter().position(|node| node.id == draft.node);
    let node = node.ok_or_else(|| {
        ApiError::not_found(format!("no node that is deployed has the id \"{}\"", draft.node))
            .hint("deploy the flow first; a node in a subflow is called <instance>-<node>")
    })? as NodeIndex;
    if let Some(why) = deployed.stopped(node) {
        return Err(ApiError::bad_request(format!("the node's flow does not run: {why}")));
    }
    let by = caller.map_or_else(|| "anonymous".to_string(), |caller| caller.name.clone());
    let value = Value::from(&Json_::Object(draft.msg));
    let mut msg = Msg::from_object(value.as_object().cloned().unwrap_or_default());
    msg.ensure_id();
    let manual = draft.of.map_or_else(|| by.clone(), |of| format!("{by}, replaying {of}"));
    let opening = Opening { node, start: Start::Deliver, msg, trigger: Trigger::Manual { by: manual }, reply: None };
    let detail = json!({ "of": draft.of });
    let entry =
        AuditEntry { at: api.clock().now(), actor: by, action: "run".into(), subject: draft.node.clone(), detail };
    // What cannot be written down is not done.
    api.store.audit(&entry).await?;
    let run = deployed.spawn(opening)?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "run": run }))))
}

async fn test(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Result<Json<Json_>, ApiError> {
    let run = runs::find(&api, &id).await?;
    let at = run.started_at.strftime("%Y-%m-%dT%H%M%SZ");
    let run = serde_json::to_value(&run).map_err(|e| ApiError::internal("writing a run", &e))?;
    let (entries, flow) = match &api.admin {
        Some(admin) => (admin.flows.current().file.entries.clone(), admin.flows.name_beside()),
        None => (Vec::new(), "flows.json".to_string()),
    };
    let stem = flow.strip_suffix(".json").filter(|stem| !stem.is_empty()).unwrap_or("flows");
    let file = format!("{stem}.{at}.test.yaml");
    let recorded = flow::recorded(&run, &entries, &flow).map_err(|problem| {
        ApiError::bad_request(problem)
            .hint("messages are kept as `trace.messages` says, or of the next runs of a flow on demand")
    })?;
    Ok(Json(json!({ "yaml": recorded.yaml, "note": recorded.note, "file": file })))
}
