//! `/probity/v1/flow-revisions`: the flows as they were deployed, what changed between two of them, and going back.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::routing::{get, post};
use axum::{Extension, Json};
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::Api;
use super::auth::Caller;
use super::error::ApiError;
use super::openapi::{AFTER, Answer, BAD_REQUEST, Endpoint, Kind, LIMIT, Media, NOT_FOUND, Parameter, ok};
use super::query::Query;
use crate::deploy::Refused;
use crate::store::{FlowRevision, FlowRevisionAbout, Page};

const PAGE: &[Parameter] = &[LIMIT, AFTER];
const DIFF: &[Parameter] =
    &[Parameter::new("from", Kind::Text, "the revision to compare with; the one before when absent")];
const STALE: Answer = Answer { status: 409, help: "another revision is the newest one", media: Media::Json("Error") };

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: "get",
        path: "/probity/v1/flow-revisions",
        tag: "flows",
        summary: "The revisions of the flows, newest first, without the flows themselves",
        query: PAGE,
        body: None,
        answers: &[ok("a page of them", Media::List("FlowRevision")), BAD_REQUEST],
        login: true,
        route: || get(list),
    },
    Endpoint {
        method: "get",
        path: "/probity/v1/flow-revisions/{number}",
        tag: "flows",
        summary: "A revision with its flows, without credentials",
        query: &[],
        body: None,
        answers: &[ok("the revision", Media::Json("FlowRevisionWhole")), BAD_REQUEST, NOT_FOUND],
        login: true,
        route: || get(one),
    },
    Endpoint {
        method: "get",
        path: "/probity/v1/flow-revisions/{number}/diff",
        tag: "flows",
        summary: "What a revision changed",
        query: DIFF,
        body: None,
        answers: &[ok("entries added, removed and changed", Media::Json("FlowDiff")), BAD_REQUEST, NOT_FOUND],
        login: true,
        route: || get(diff),
    },
    Endpoint {
        method: "post",
        path: "/probity/v1/flow-revisions/{number}/rollback",
        tag: "flows",
        summary: "Deploys an earlier revision again, as a new one, on all replicas",
        query: &[],
        body: Some("RollBack"),
        answers: &[ok("the new revision", Media::Json("RolledBack")), BAD_REQUEST, NOT_FOUND, STALE],
        login: true,
        route: || post(roll_back),
    },
];

async fn list(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Json<Page<FlowRevisionAbout>>, ApiError> {
    let query = Query::read(query.as_deref(), PAGE)?;
    Ok(Json(api.store.flow_revisions(&query.page()?).await?))
}

fn number(text: &str) -> Result<i64, ApiError> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| {
        ApiError::bad_request(format!("\"{text}\" is no revision of the flows")).hint("expected a number from 1 on")
    })
}

async fn find(api: &Api, number: i64) -> Result<FlowRevision, ApiError> {
    api.store.flow_revision(number).await?.ok_or_else(|| {
        ApiError::not_found(format!("there is no revision {number} of the flows"))
            .hint("/probity/v1/flow-revisions lists them; old ones go by retention.flow_revisions_max")
    })
}

fn entries(revision: &FlowRevision) -> Result<Vec<Map<String, Value>>, ApiError> {
    serde_json::from_str(&revision.revision.flows).map_err(|e| ApiError::internal("reading a revision", &e))
}

/// Refuses who may not do this with flows.
fn permitted(caller: Option<&Extension<Caller>>, permission: &str) -> Result<(), ApiError> {
    match caller {
        Some(caller) if !caller.permissions.allow(permission) => Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            format!("the permission {permission} is needed for that"),
        )),
        _ => Ok(()),
    }
}

async fn one(
    State(api): State<Arc<Api>>,
    caller: Option<Extension<Caller>>,
    Path(text): Path<String>,
) -> Result<Json<Value>, ApiError> {
    permitted(caller.as_ref(), "flows.read")?;
    let revision = find(&api, number(&text)?).await?;
    let flows = entries(&revision)?;
    let about = &revision.revision;
    Ok(Json(json!({
        "number": revision.number, "hash": about.hash, "author": about.author, "action": about.action,
        "at": about.at, "bytes": about.flows.len(), "flows": flows,
    })))
}

async fn diff(
    State(api): State<Arc<Api>>,
    caller: Option<Extension<Caller>>,
    Path(text): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, ApiError> {
    permitted(caller.as_ref(), "flows.read")?;
    let query = Query::read(query.as_deref(), DIFF)?;
    let to = number(&text)?;
    let from = query.text("from").map_or(Ok(to - 1), number)?;
    let after = entries(&find(&api, to).await?)?;
    let before = if from == 0 { Vec::new() } else { entries(&find(&api, from).await?)? };
    let mut changes = crate::flow::changes(&before, &after);
    (changes["from"], changes["to"]) = (from.into(), to.into());
    Ok(Json(changes))
}

async fn roll_back(
    State(api): State<Arc<Api>>,
    caller: Option<Extension<Caller>>,
    Path(text): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    permitted(caller.as_ref(), "flows.write")?;
    let by = caller.map_or_else(|| "anonymous".to_owned(), |caller| caller.name.clone());
    let to = number(&text)?;
    let admin = api.admin.clone().ok_or_else(|| ApiError::not_found("there are no flows here that can be deployed"))?;
    let body: Value = match body.is_empty() {
        true => json!({}),
        false => {
            serde_json::from_slice(&body).map_err(|e| ApiError::bad_request(format!("the body is not JSON: {e}")))?
        }
    };
    let expected = match body.get("expected") {
        None | Some(Value::Null) => None,
        Some(given) => Some(given.as_i64().ok_or_else(|| {
            ApiError::bad_request("expected: expected the number of the newest revision, or nothing")
        })?),
    };
    let before = admin.flows.current();
    let new = admin.flows.roll_back(to, expected, &by).await.map_err(refused)?;
    let after = admin.flows.current();
    let mut detail = crate::flow::changes(&before.file.entries, &after.file.entries);
    (detail["revision"], detail["to"]) = (after.revision.as_str().into(), to.into());
    let (at, actor) = (api.clock().now(), by.clone());
    let entry = crate::store::AuditEntry { at, actor, action: "rollback".into(), subject: "flows".into(), detail };
    if let Err(error) = api.store.audit(&entry).await {
        tracing::error!(%error, user = by, revision = new, "a rollback is not in the audit log");
    }
    Ok(Json(json!({ "number": new, "hash": after.revision })))
}

fn refused(refused: Refused) -> ApiError {
    match refused {
        Refused::Stale => {
            ApiError::new(StatusCode::CONFLICT, "conflict", "another revision of the flows is the newest one")
                .hint("look at /probity/v1/flow-revisions, then decide anew")
        }
        Refused::NotFound => ApiError::not_found("there is no such revision of the flows"),
        Refused::Unusable(problem) | Refused::Unchangeable(problem) | Refused::Sealed(problem) => {
            ApiError::bad_request(problem)
        }
        Refused::Invalid(problems) => {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            ApiError::bad_request(format!("nothing was deployed: {}", lines.join("; ")))
        }
        Refused::Unsaved(problem) => ApiError::internal("deploying a revision", &problem),
    }
}
