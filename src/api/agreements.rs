//! `/probity/v1/agreements`: what was promised, what is wrong with the documents, and evaluating one now.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::routing::{get, post};
use axum::{Extension, Json};
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Api;
use super::auth::Caller;
use super::error::ApiError;
use super::openapi::{Answer, BAD_REQUEST, Endpoint, Media, NOT_FOUND, PAGE, ok};
use super::query::Query;
use super::verdicts::Verdict;
use crate::model::Diagnostic;
use crate::model::agreement::{Agreement, Collector, FlowEntry, Guarantee, Term};
use crate::model::diagnostic::{Severity, closest};
use crate::model::run::Trigger;
use crate::model::state::Scope;
use crate::runtime::services::{EvaluateRequest, NotEvaluated};

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: "get",
        path: "/probity/v1/agreements",
        tag: "agreements",
        summary: "The loaded agreements",
        query: PAGE,
        body: None,
        answers: &[ok("a page of them, or all without `limit`", Media::List("AgreementSummary")), BAD_REQUEST],
        login: true,
        route: || get(list),
    },
    Endpoint {
        method: "get",
        path: "/probity/v1/agreements/{id}",
        tag: "agreements",
        summary: "One agreement: guarantees, metrics, diagnostics and the document itself",
        query: &[],
        body: None,
        answers: &[ok("the agreement", Media::Json("Agreement")), NOT_FOUND],
        login: true,
        route: || get(one),
    },
    Endpoint {
        method: "get",
        path: "/probity/v1/schemas/agreement.json",
        tag: "agreements",
        summary: "The JSON Schema of agreements, for editors",
        query: &[],
        body: None,
        answers: &[ok("JSON Schema 2020-12", Media::Json("JsonSchema"))],
        // Editors send no login, and there is nothing in it that is not in the documentation.
        login: false,
        route: || get(schema),
    },
    Endpoint {
        method: "post",
        path: "/probity/v1/agreements/{id}/evaluate",
        tag: "agreements",
        summary: "Evaluate every window that overlaps [from, to), or the last closed ones",
        query: &[],
        body: Some("Evaluate"),
        answers: &[
            ok(
                "the verdicts, and which of them stand as they are stored, since a collector could not be asked again",
                Media::Json("Verdicts"),
            ),
            BAD_REQUEST,
            NOT_FOUND,
            Answer { status: 422, help: "it cannot be evaluated; the message says why", media: Media::Json("Error") },
            Answer { status: 503, help: "it could not be stored; ask again later", media: Media::Json("Error") },
        ],
        login: true,
        route: || post(evaluate),
    },
];

/// One line of the list.
#[derive(Serialize)]
struct Summary<'a> {
    id: &'a str,
    version: &'a str,
    hash: &'a str,
    source: &'a str,
    time_zone: &'a str,
    valid_from: Timestamp,
    valid_to: Option<Timestamp>,
    guarantees: Vec<&'a str>,
    metrics: Vec<&'a str>,
    errors: usize,
    warnings: usize,
}

async fn list(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Result<Json<Value>, ApiError> {
    let query = Query::read(query.as_deref(), PAGE)?;
    let loaded = (api.agreements)();
    let items: Vec<Summary<'_>> = loaded
        .agreements
        .iter()
        .map(|a| {
            let count = |severity| of_source(&loaded.diagnostics, a).filter(|d| d.severity == severity).count();
            Summary {
                id: &a.id,
                version: &a.version,
                hash: &a.hash,
                source: &a.source,
                time_zone: &a.time_zone_name,
                valid_from: a.valid_from,
                valid_to: a.valid_to,
                guarantees: a.guarantees.iter().map(|g| g.id.as_str()).collect(),
                metrics: a.metrics.keys().map(String::as_str).collect(),
                errors: count(Severity::Error),
                warnings: count(Severity::Warning),
            }
        })
        .collect();
    // Problems of documents that gave no agreement at all are shown here, for nobody could ask for them by id.
    let orphans: Vec<&Diagnostic> =
        loaded.diagnostics.iter().filter(|d| !loaded.agreements.iter().any(|a| a.source == d.file)).collect();
    let page = query.cut(items)?;
    Ok(Json(json!({ "items": page.items, "next": page.next, "diagnostics": orphans })))
}

/// The problems of an agreement's document.
pub(super) fn of_source<'a>(
    diagnostics: &'a [Diagnostic],
    agreement: &'a Agreement,
) -> impl Iterator<Item = &'a Diagnostic> {
    diagnostics.iter().filter(|d| d.file == agreement.source)
}

/// An agreement by id.
pub(super) fn find(api: &Api, id: &str) -> Result<(Arc<Agreement>, Vec<Diagnostic>), ApiError> {
    let loaded = (api.agreements)();
    let Some(agreement) = loaded.agreements.iter().find(|a| a.id == id) else {
        let error = ApiError::not_found(format!("no agreement has the id \"{id}\""));
        return Err(match closest(id, loaded.agreements.iter().map(|a| a.id.as_str())) {
            Some(best) => error.hint(format!("did you mean \"{best}\"?")),
            None => error.hint("/probity/v1/agreements lists those that are loaded"),
        });
    };
    Ok((agreement.clone(), of_source(&loaded.diagnostics, agreement).cloned().collect()))
}

async fn one(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let (agreement, diagnostics) = find(&api, &id)?;
    let metrics = agreement.metrics.values();
    Ok(Json(json!({
        "id": agreement.id,
        "version": agreement.version,
        "hash": agreement.hash,
        "source": agreement.source,
        "time_zone": agreement.time_zone_name,
        "valid_from": agreement.valid_from,
        "valid_to": agreement.valid_to,
        "guarantees": agreement.guarantees.iter().map(GuaranteeView::of).collect::<Vec<_>>(),
        "metrics": metrics.map(|m| json!({ "id": m.id, "collector": collector(&m.collector) })).collect::<Vec<_>>(),
        "schedule": agreement.schedule.as_ref().map(|s| {
            json!({ "cron": s.cron, "time_zone": s.time_zone, "catch_up": s.catch_up })
        }),
        "diagnostics": diagnostics,
        "document": agreement.document,
    })))
}

async fn schema() -> ([(http::HeaderName, &'static str); 1], &'static str) {
    ([(http::header::CONTENT_TYPE, "application/json")], crate::agreement::schema::TEXT)
}

#[derive(Serialize)]
struct GuaranteeView<'a> {
    id: &'a str,
    description: &'a str,
    scope: &'a BTreeMap<String, Option<String>>,
    terms: Vec<TermView<'a>>,
}

#[derive(Serialize)]
struct TermView<'a> {
    scope: &'a Scope,
    objective: &'a str,
    metrics: Vec<&'a str>,
    period: &'a str,
    initial: Timestamp,
    end: Option<Timestamp>,
}

impl GuaranteeView<'_> {
    fn of(guarantee: &Guarantee) -> GuaranteeView<'_> {
        GuaranteeView {
            id: &guarantee.id,
            description: &guarantee.description,
            scope: &guarantee.scope,
            terms: guarantee.terms.iter().map(TermView::of).collect(),
        }
    }
}

impl TermView<'_> {
    fn of(term: &Term) -> TermView<'_> {
        TermView {
            scope: &term.scope,
            objective: &term.objective.text,
            metrics: term.with.iter().map(|(id, _)| id.as_str()).collect(),
            period: &term.window.period_name,
            initial: term.window.initial,
            end: term.window.end,
        }
    }
}

/// Where a metric's samples come from, in a few words.
pub(super) fn collector(collector: &Collector) -> String {
    match collector {
        Collector::Flow { entry: FlowEntry::Http { path }, .. } => format!("flow at {path}"),
        Collector::Flow { entry: FlowEntry::Metric { name }, .. } => format!("flow metric {name}"),
        Collector::PostGet { infrastructure_path, endpoint, .. } => format!("{infrastructure_path} {endpoint}"),
        Collector::Unsupported { reason } => format!("nobody: {reason}"),
    }
}

/// The body of an evaluation call; all of it may be absent.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Evaluate {
    /// Instants, or dates in the agreement's zone.
    from: Option<String>,
    to: Option<String>,
    guarantee: Option<String>,
    store: Option<bool>,
}

async fn evaluate(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    caller: Option<Extension<Caller>>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let wanted: Evaluate = if body.is_empty() {
        Evaluate::default()
    } else {
        serde_json::from_slice(&body).map_err(|e| {
            ApiError::bad_request(format!("the body is not valid: {e}"))
                .hint("expected {\"from\":…, \"to\":…, \"guarantee\":…, \"store\":…}, each of which may be absent; from and to are instants such as 2026-03-29T00:00:00Z")
        })?
    };
    let (agreement, _) = find(&api, &id)?;
    check_guarantee(&agreement, wanted.guarantee.as_deref())?;
    let bound = |name: &str, text: Option<&str>| match text
        .map(|t| (t, crate::agreement::instant(t, &agreement.time_zone)))
    {
        Some((text, None)) => Err(ApiError::bad_request(format!(
            "\"{name}\" is \"{text}\"; expected an instant such as 2026-03-01T00:00:00Z or a date such as 2026-03-01"
        ))),
        found => Ok(found.and_then(|(_, at)| at)),
    };
    let range = match (bound("from", wanted.from.as_deref())?, bound("to", wanted.to.as_deref())?) {
        (None, None) => None,
        (Some(from), to) => {
            let to = to.unwrap_or_else(|| api.clock().now());
            if from >= to {
                return Err(ApiError::bad_request("\"from\" must be before \"to\" (which is now when absent)"));
            }
            Some((from, to))
        }
        (None, Some(_)) => return Err(ApiError::bad_request("\"to\" needs a \"from\"")),
    };
    let by = caller.map_or("anonymous".to_string(), |c| c.name.clone());
    let request = EvaluateRequest {
        agreement: agreement.id.clone(),
        range,
        guarantee: wanted.guarantee,
        trigger: Trigger::Manual { by },
        store: wanted.store.unwrap_or(true),
    };
    let found = api.evaluate.evaluate(request).await.map_err(|problem| match problem {
        NotEvaluated::Refused(why) => ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "not_evaluated", why),
        NotEvaluated::NotStored(why) => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "not_stored", why)
            .hint("ask again later; /health/ready says whether the database is back"),
    })?;
    let verdicts: Vec<Verdict> = found.states.into_iter().map(Verdict::from).collect();
    let mut answer = json!({ "verdicts": verdicts, "kept": found.kept });
    if let Some(why) = found.nothing {
        answer["reason"] = why.into();
    }
    Ok(Json(answer))
}

fn check_guarantee(agreement: &Agreement, wanted: Option<&str>) -> Result<(), ApiError> {
    let ids = || agreement.guarantees.iter().map(|g| g.id.as_str());
    match wanted {
        Some(id) if !ids().any(|known| known == id) => {
            let error = ApiError::bad_request(format!("agreement \"{}\" has no guarantee \"{id}\"", agreement.id));
            Err(match closest(id, ids()) {
                Some(best) => error.hint(format!("did you mean \"{best}\"?")),
                None => error.hint(format!("it has {}", ids().collect::<Vec<_>>().join(", "))),
            })
        }
        _ => Ok(()),
    }
}
