//! `/probity/v1/queue`: durable runs that have not ended, and what people do about them: cancel, replay, decide, and
//! pause and resume flows. Each of these is in the audit log, in the same transaction.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::routing::{get, post};
use axum::{Extension, Json};
use http::StatusCode;
use serde_json::{Value, json};

use super::Api;
use super::auth::Caller;
use super::error::ApiError;
use super::openapi::{AFTER, Answer, BAD_REQUEST, Endpoint, Kind, LIMIT, Media, NOT_FOUND, Parameter, ok};
use super::query::Query;
use crate::model::RunId;
use crate::store::queue::{Cancelled, Decision, QueueQuery, QueueState, QueuedRun, Resume};
use crate::store::{AuditEntry, Page};

pub(super) const STATES: &[&str] = &["queued", "leased", "in-doubt", "dead"];

const QUERY: &[Parameter] = &[
    LIMIT,
    AFTER,
    Parameter::new("flow", Kind::Text, "only of this flow"),
    Parameter::new("state", Kind::OneOf(STATES), "only in this state; dead: the dead letters"),
    Parameter::new("from", Kind::Instant, "only accepted at or after this"),
    Parameter::new("to", Kind::Instant, "only accepted before this"),
    Parameter::new("text", Kind::Text, "only those with this in their message or error, in any case of letters"),
];

const REPLAY: &[Parameter] = &[Parameter::new(
    "from",
    Kind::OneOf(&["point", "start"]),
    "point (as when absent): what failed is given to its nodes again; start: the whole run is made again",
)];

const DECIDE: &[Parameter] = &[Parameter::new(
    "decision",
    Kind::OneOf(&["again", "skip", "fail"]),
    "again: it did not happen, make it; skip: it happened, go on behind it; fail: the run ends as failed",
)];

const CONFLICT: Answer = Answer { status: 409, help: "the run is in no state for that", media: Media::Json("Error") };

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: "get",
        path: "/probity/v1/queue",
        tag: "runs",
        summary: "Durable runs that have not ended, newest first: queued, leased, in doubt, dead letters",
        query: QUERY,
        body: None,
        answers: &[ok("a page of them", Media::List("QueuedRun")), BAD_REQUEST],
        login: true,
        route: || get(list),
    },
    Endpoint {
        method: "post",
        path: "/probity/v1/runs/{id}/cancel",
        tag: "runs",
        summary: "Cancels a durable run: at once, or by who runs it",
        query: &[],
        body: None,
        answers: &[ok("what became of it", Media::Json("RunChange")), BAD_REQUEST, NOT_FOUND, CONFLICT],
        login: true,
        route: || post(cancel),
    },
    Endpoint {
        method: "post",
        path: "/probity/v1/runs/{id}/replay",
        tag: "runs",
        summary: "Queues a dead letter anew, with all its attempts",
        query: REPLAY,
        body: None,
        answers: &[ok("what became of it", Media::Json("RunChange")), BAD_REQUEST, NOT_FOUND, CONFLICT],
        login: true,
        route: || post(replay),
    },
    Endpoint {
        method: "post",
        path: "/probity/v1/runs/{id}/decide",
        tag: "runs",
        summary: "Decides about a run in doubt",
        query: DECIDE,
        body: None,
        answers: &[ok("what became of it", Media::Json("RunChange")), BAD_REQUEST, NOT_FOUND, CONFLICT],
        login: true,
        route: || post(decide),
    },
    Endpoint {
        method: "post",
        path: "/probity/v1/flows/{id}/pause",
        tag: "flows",
        summary: "No more durable runs of a flow are begun; they are accepted and wait",
        query: &[],
        body: None,
        answers: &[ok("whether this changed anything", Media::Json("FlowChange")), NOT_FOUND],
        login: true,
        route: || post(pause),
    },
    Endpoint {
        method: "post",
        path: "/probity/v1/flows/{id}/resume",
        tag: "flows",
        summary: "Ends a pause",
        query: &[],
        body: None,
        answers: &[ok("whether this changed anything", Media::Json("FlowChange")), NOT_FOUND],
        login: true,
        route: || post(resume),
    },
];

async fn list(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Result<Json<Page<QueuedRun>>, ApiError> {
    let query = Query::read(query.as_deref(), QUERY)?;
    let wanted = QueueQuery {
        flow: query.owned("flow"),
        state: query.word("state", &STATES.join(", "), QueueState::parse)?,
        tenant: None,
        from: query.instant("from")?,
        to: query.instant("to")?,
        text: query.owned("text"),
        overdue_ms: None,
    };
    Ok(Json(api.store.queued_runs(&wanted, &query.page()?).await?))
}

/// As `/probity/v1/runs/{id}` shows a run that has not ended.
pub(super) fn view(run: &QueuedRun) -> Value {
    let mut view = json!({
        "id": run.id,
        "subject": run.flow,
        "trigger": run.trigger,
        "state": run.state,
        "started_at": run.accepted_at,
        "version": run.flow_version,
        "hops": 0,
        "trace": [],
        "trace_dropped": 0,
        "queue": {
            "attempt": run.attempt,
            "ready_at": run.ready_at,
            "owner": run.owner,
            "priority": run.priority,
            "decision": run.decision,
            "cancel_wanted": run.cancel_wanted,
        },
    });
    if let Some(error) = &run.error {
        view["error"] = json!(error);
    }
    view
}

fn run_id(id: &str) -> Result<RunId, ApiError> {
    id.parse().map_err(|_| ApiError::bad_request(format!("\"{id}\" is no run id")).hint("a run id is a UUID"))
}

fn audit(api: &Api, caller: Option<Extension<Caller>>, action: &str, subject: &str, detail: Value) -> AuditEntry {
    AuditEntry {
        at: api.clock().now(),
        actor: caller.map_or_else(|| "anonymous".to_string(), |caller| caller.name.clone()),
        action: action.into(),
        subject: subject.into(),
        detail,
    }
}

/// Why something cannot be done to a run.
async fn refused(api: &Api, id: RunId, expected: &str) -> ApiError {
    let state = match api.store.queued_run(id).await {
        Ok(Some(run)) => run.state.as_str(),
        Ok(None) => match super::runs::find(api, &id.to_string()).await {
            Ok(run) => run.state.as_str(),
            Err(error) => return error,
        },
        Err(error) => return error.into(),
    };
    ApiError::new(StatusCode::CONFLICT, "conflict", format!("run {id} is {state}"))
        .hint(format!("only a run that is {expected} can be"))
}

async fn cancel(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    caller: Option<Extension<Caller>>,
) -> Result<Json<Value>, ApiError> {
    let id = run_id(&id)?;
    let entry = audit(&api, caller, "cancel run", &id.to_string(), json!({}));
    let became = match api.store.cancel_run(id, &entry).await? {
        Cancelled::Ended => "stopped",
        Cancelled::Wanted => "cancelling",
        Cancelled::Unknown => return Err(refused(&api, id, "queued, leased, in doubt or dead").await),
    };
    Ok(Json(json!({ "run": id, "became": became })))
}

async fn replay(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    caller: Option<Extension<Caller>>,
) -> Result<Json<Value>, ApiError> {
    let (id, query) = (run_id(&id)?, Query::read(query.as_deref(), REPLAY)?);
    let parse = |word: &str| match word {
        "point" => Some(Resume::Point),
        "start" => Some(Resume::Start),
        _ => None,
    };
    let from = query.word("from", "point or start", parse)?.unwrap_or(Resume::Point);
    let entry = audit(&api, caller, "replay run", &id.to_string(), json!({ "from": from }));
    if !api.store.replay_run(id, from, &entry).await? {
        return Err(refused(&api, id, "dead").await);
    }
    Ok(Json(json!({ "run": id, "became": "queued" })))
}

async fn decide(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    caller: Option<Extension<Caller>>,
) -> Result<Json<Value>, ApiError> {
    let (id, query) = (run_id(&id)?, Query::read(query.as_deref(), DECIDE)?);
    let decision = query.word("decision", "again, skip or fail", Decision::parse)?;
    let decision = decision.ok_or_else(|| {
        ApiError::bad_request("the query parameter decision is missing").hint("expected again, skip or fail")
    })?;
    let entry = audit(&api, caller, "decide run", &id.to_string(), json!({ "decision": decision }));
    if !api.store.decide_run(id, decision, &entry).await? {
        return Err(refused(&api, id, "in doubt").await);
    }
    let became = if decision == Decision::Fail { "failed" } else { "queued" };
    Ok(Json(json!({ "run": id, "became": became })))
}

/// A flow of the deployed ones, or one that is paused.
async fn known_flow(api: &Api, id: &str) -> Result<(), ApiError> {
    let deployed = api.engine.current().plan.flows.iter().any(|flow| flow.id == id);
    if deployed || api.store.paused_flows().await?.iter().any(|paused| paused.flow == id) {
        return Ok(());
    }
    Err(ApiError::not_found(format!("no flow has the id \"{id}\"")).hint("/probity/v1/flows lists them"))
}

async fn pause(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    caller: Option<Extension<Caller>>,
) -> Result<Json<Value>, ApiError> {
    known_flow(&api, &id).await?;
    let entry = audit(&api, caller, "pause flow", &id, json!({}));
    let changed = api.store.pause_flow(&id, &entry).await?;
    Ok(Json(json!({ "flow": id, "paused": true, "changed": changed })))
}

async fn resume(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    caller: Option<Extension<Caller>>,
) -> Result<Json<Value>, ApiError> {
    known_flow(&api, &id).await?;
    let entry = audit(&api, caller, "resume flow", &id, json!({}));
    let changed = api.store.resume_flow(&id, &entry).await?;
    Ok(Json(json!({ "flow": id, "paused": false, "changed": changed })))
}
