//! `/probity/v1/waivers`: who accepts for how long, and why, that a guarantee is not shown to be kept.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::routing::{delete, get, post};
use axum::{Extension, Json};
use http::StatusCode;
use serde_json::{Value, json};

use super::Api;
use super::agreements::find;
use super::auth::Caller;
use super::error::ApiError;
use super::openapi::{AFTER, Answer, BAD_REQUEST, Endpoint, Kind, LIMIT, Media, NOT_FOUND, Parameter, ok};
use super::query::Query;
use crate::agreement::waivers::Draft;
use crate::model::waiver::Waiver;
use crate::store::{AuditEntry, Page};

const PATH: &str = "/probity/v1/waivers";
const QUERY: &[Parameter] = &[
    LIMIT,
    AFTER,
    Parameter::new("agreement", Kind::Text, "only of this agreement"),
    Parameter::new("in_force", Kind::Flag, "only those in force now (or, false, those that are not)"),
];

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: "get",
        path: PATH,
        tag: "verdicts",
        summary: "The waivers of the loaded agreements' documents and the stored ones, ended and expired ones too",
        query: QUERY,
        body: None,
        answers: &[ok("a page of them, or all without `limit`", Media::List("Waiver")), BAD_REQUEST],
        login: true,
        route: || get(list),
    },
    Endpoint {
        method: "post",
        path: PATH,
        tag: "verdicts",
        summary: "Accepts what is violated or unknown, with reason, owner and expiry; the verdicts change at once",
        query: &[],
        body: Some("WaiverDraft"),
        answers: &[
            Answer { status: 201, help: "the waiver, and how many verdicts changed", media: Media::Json("WaiverMade") },
            BAD_REQUEST,
            NOT_FOUND,
            Answer { status: 409, help: "the agreement has a waiver of this id", media: Media::Json("Error") },
        ],
        login: true,
        route: || post(make),
    },
    Endpoint {
        method: "delete",
        path: "/probity/v1/waivers/{agreement}/{id}",
        tag: "verdicts",
        summary: "Ends a stored waiver now; it stays to be seen, and the verdicts change at once",
        query: &[],
        body: None,
        answers: &[
            ok("the waiver, and how many verdicts changed", Media::Json("WaiverMade")),
            NOT_FOUND,
            Answer { status: 409, help: "it is over, or it stands in the document", media: Media::Json("Error") },
        ],
        login: true,
        route: || delete(end),
    },
];

async fn list(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Result<Json<Page<Value>>, ApiError> {
    let query = Query::read(query.as_deref(), QUERY)?;
    let wanted = query.text("agreement");
    let now = api.clock().now();
    let mut waivers: Vec<Waiver> =
        (api.agreements)().agreements.iter().flat_map(|agreement| agreement.waivers.clone()).collect();
    waivers.extend(api.store.waivers(wanted).await?);
    let in_force = query.tristate("in_force")?;
    waivers.retain(|waiver| {
        wanted.is_none_or(|id| waiver.agreement == id) && in_force.is_none_or(|wanted| waiver.in_force(now) == wanted)
    });
    waivers.sort_by(|a, b| (&a.agreement, &a.id).cmp(&(&b.agreement, &b.id)));
    let items = waivers.iter().map(|waiver| view(waiver, waiver.in_force(now))).collect();
    Ok(Json(query.cut(items)?))
}

fn view(waiver: &Waiver, in_force: bool) -> Value {
    let mut view = json!(waiver);
    view["in_force"] = json!(in_force);
    view
}

async fn make(
    State(api): State<Arc<Api>>,
    caller: Option<Extension<Caller>>,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let expected = "expected {\"agreement\":…, \"reason\":…, \"owner\":…, \"expires\":…} and, if wanted, id, guarantee, \
                    scope, from and to; instants such as 2026-07-01T00:00:00Z, or dates in the agreement's zone";
    let draft: Draft = serde_json::from_slice(&body)
        .map_err(|e| ApiError::bad_request(format!("the body is not valid: {e}")).hint(expected))?;
    let (agreement, _) = find(&api, &draft.agreement)?;
    let (by, now) = (name(caller), api.clock().now());
    let waiver = draft.waiver(&agreement, &by, now).map_err(|problems| {
        let all: Vec<String> = problems.iter().map(|(field, problem)| format!("{field}: {problem}")).collect();
        ApiError::bad_request(all.join("; ")).hint(expected)
    })?;
    let taken = || {
        ApiError::new(
            StatusCode::CONFLICT,
            "conflict",
            format!("agreement \"{}\" has a waiver \"{}\"", waiver.agreement, waiver.id),
        )
        .hint("give another id, or none to be given one")
    };
    if agreement.waivers.iter().any(|other| other.id == waiver.id) {
        return Err(taken());
    }
    let audit = entry("waive", &waiver, &by, now);
    if !api.store.add_waiver(&waiver, &audit).await? {
        return Err(taken());
    }
    let changed = changed(&api, &waiver.agreement, &by).await?;
    let body = json!({ "waiver": view(&waiver, waiver.in_force(now)), "changed": changed });
    Ok((StatusCode::CREATED, Json(body)))
}

async fn end(
    State(api): State<Arc<Api>>,
    Path((agreement, id)): Path<(String, String)>,
    caller: Option<Extension<Caller>>,
) -> Result<Json<Value>, ApiError> {
    let (by, now) = (name(caller), api.clock().now());
    let conflict = |message: String| ApiError::new(StatusCode::CONFLICT, "conflict", message);
    let loaded = (api.agreements)();
    let of_document = loaded.agreements.iter().flat_map(|a| &a.waivers).any(|w| w.agreement == agreement && w.id == id);
    if of_document {
        return Err(conflict(format!("waiver \"{id}\" stands in the agreement's document"))
            .hint("end it there: context.x-probity.waivers"));
    }
    let stored = api.store.waivers(Some(&agreement)).await?;
    let Some(waiver) = stored.into_iter().find(|waiver| waiver.id == id) else {
        return Err(ApiError::not_found(format!("agreement \"{agreement}\" has no waiver \"{id}\""))
            .hint("/probity/v1/waivers lists them"));
    };
    if !api.store.end_waiver(&agreement, &id, now, &entry("end waiver", &waiver, &by, now)).await? {
        return Err(conflict(format!("waiver \"{id}\" ended at {}", waiver.ends())));
    }
    let changed = changed(&api, &agreement, &by).await?;
    let ended = Waiver { ended_at: Some(now), ..waiver };
    Ok(Json(json!({ "waiver": view(&ended, false), "changed": changed })))
}

fn name(caller: Option<Extension<Caller>>) -> String {
    caller.map_or_else(|| "anonymous".to_string(), |caller| caller.name.clone())
}

fn entry(action: &str, waiver: &Waiver, by: &str, now: jiff::Timestamp) -> AuditEntry {
    AuditEntry {
        at: now,
        actor: by.to_owned(),
        action: action.to_owned(),
        subject: waiver.agreement.clone(),
        detail: json!(waiver),
    }
}

/// Brings the stored verdicts under the waivers as they are now.
async fn changed(api: &Api, agreement: &str, by: &str) -> Result<u64, ApiError> {
    let reviewed = api.evaluate.waivers_changed(agreement, by).await;
    reviewed.map_err(|e| ApiError::internal("applying waivers", &e))
}
