//! `/probity/v1/verdicts/explain`: why a verdict is as it is.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::routing::get;
use http::HeaderMap;
use serde::Serialize;
use serde_json::{Value, json};

use super::Api;
use super::error::ApiError;
use super::openapi::{BAD_REQUEST, Endpoint, Kind, Media, NOT_FOUND, Parameter, ok};
use super::query::Query;
use crate::agreement::explain::words::Language;
use crate::agreement::explain::{Explanation, VerdictId};
use crate::evaluate::explain::{ExplainError, LATEST, budget_kind, explain, explain_budget};

const QUERY: &[Parameter] = &[
    Parameter::new(
        "id",
        Kind::Text,
        "agreement/guarantee/scope/window, as `probity explain` takes it; instead of the others",
    ),
    Parameter::new("agreement", Kind::Text, "the agreement's id"),
    Parameter::new("guarantee", Kind::Text, "the guarantee's id"),
    Parameter::new(
        "scope",
        Kind::Scope,
        "the scope, a JSON object such as {\"team\":\"a\"}; absent for one without dimensions",
    ),
    Parameter::new("from", Kind::Text, "the window's start: an instant, or a date in the agreement's zone"),
    Parameter::new("to", Kind::Text, "the window's end; needed for an agreement that is not loaded"),
    Parameter::new("lang", Kind::OneOf(&["en", "es"]), "the language of `text`; else by Accept-Language"),
];

const BUDGET_QUERY: &[Parameter] = &[
    Parameter::new(
        "id",
        Kind::Text,
        "agreement/budget/scope/window, as `probity explain --budget` takes it; instead of the others",
    ),
    Parameter::new("agreement", Kind::Text, "the agreement's id"),
    Parameter::new("budget", Kind::Text, "the budget's id"),
    Parameter::new("alert", Kind::Text, "the id of one of its alerts: then the burn rate is explained"),
    Parameter::new(
        "scope",
        Kind::Scope,
        "the scope, a JSON object such as {\"team\":\"a\"}; absent for one without dimensions",
    ),
    Parameter::new(
        "from",
        Kind::Text,
        "the period's start: an instant, or a date in the agreement's zone; else the latest",
    ),
    Parameter::new("to", Kind::Text, "the period's end; needed where several start at once"),
    Parameter::new("lang", Kind::OneOf(&["en", "es"]), "the language of `text`; else by Accept-Language"),
];

pub(super) const ENDPOINTS: &[Endpoint] = &[
    BUDGET,
    Endpoint {
        method: "get",
        path: "/probity/v1/verdicts/explain",
        tag: "verdicts",
        summary: "Why a verdict is as it is: its objective with values put in, the least evidence that decides it, how far it \
              is from passing, what changed since it last passed",
        query: QUERY,
        body: None,
        answers: &[ok("the explanation", Media::Json("Explanation")), BAD_REQUEST, NOT_FOUND],
        login: true,
        route: || get(one),
    },
];

const BUDGET: Endpoint = Endpoint {
    method: "get",
    path: "/probity/v1/budgets/explain",
    tag: "verdicts",
    summary: "Why a budget or burn rate is as it is: the windows that used it up, each with its share, and how far it is \
              from exhaustion",
    query: BUDGET_QUERY,
    body: None,
    answers: &[ok("the explanation", Media::Json("BudgetExplanation")), BAD_REQUEST, NOT_FOUND],
    login: true,
    route: || get(budget),
};

async fn budget(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let query = Query::read(query.as_deref(), BUDGET_QUERY)?;
    let language = query.word("lang", "en or es", Language::parse)?.unwrap_or_else(|| accepted(&headers));
    let mut id = match query.text("id") {
        Some(text) => VerdictId::parse(text).map_err(ApiError::bad_request)?,
        None => VerdictId {
            agreement: needed(&query, "agreement")?,
            guarantee: needed(&query, "budget")?,
            scope: query.scope("scope")?.unwrap_or_default(),
            from: query.owned("from").unwrap_or_else(|| LATEST.to_owned()),
            to: query.owned("to"),
        },
    };
    if let Some(alert) = query.text("alert") {
        id.guarantee = format!("{}/{alert}", id.guarantee);
    }
    let loaded = (api.agreements)();
    let agreement = loaded.agreements.iter().find(|a| a.id == id.agreement);
    let kind = budget_kind(agreement.map(Arc::as_ref), &id);
    let explained = explain_budget(api.store.as_ref(), agreement.map(Arc::as_ref), &id, kind).await;
    let explanation = explained.map_err(|error| match error {
        ExplainError::BadId(problem) => ApiError::bad_request(problem),
        ExplainError::NotStored { .. } => ApiError::not_found(error.to_string())
            .hint("/probity/v1/budgets and /probity/v1/burn-rates list those that are"),
        ExplainError::Store(error) => error.into(),
    })?;
    answered(&explanation, explanation.lines(language), language)
}

async fn one(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let query = Query::read(query.as_deref(), QUERY)?;
    let language = query.word("lang", "en or es", Language::parse)?.unwrap_or_else(|| accepted(&headers));
    let id = match query.text("id") {
        Some(text) => VerdictId::parse(text).map_err(ApiError::bad_request)?,
        None => VerdictId {
            agreement: needed(&query, "agreement")?,
            guarantee: needed(&query, "guarantee")?,
            scope: query.scope("scope")?.unwrap_or_default(),
            from: needed(&query, "from")?,
            to: query.owned("to"),
        },
    };
    let explanation = explained(&api, &id).await?;
    answered(&explanation, explanation.lines(language), language)
}

/// An explanation, or what a simulation gave, as data and in words.
pub(super) fn answered(
    found: &impl Serialize,
    lines: Vec<String>,
    language: Language,
) -> Result<Json<Value>, ApiError> {
    let mut answer = serde_json::to_value(found).map_err(|e| ApiError::internal("writing an explanation", &e))?;
    answer["language"] = language.tag().into();
    answer["text"] = json!(lines);
    Ok(Json(answer))
}

/// The query's value that must be there.
fn needed(query: &Query, name: &str) -> Result<String, ApiError> {
    query.owned(name).ok_or_else(|| ApiError::bad_request(format!("query parameter \"{name}\" is missing")))
}

/// The language a request asks for.
pub(super) fn accepted(headers: &HeaderMap) -> Language {
    let header = headers.get(http::header::ACCEPT_LANGUAGE).and_then(|h| h.to_str().ok());
    header.map(Language::accepted).unwrap_or_default()
}

/// The explanation of a stored verdict, by the agreement that is loaded now.
pub(super) async fn explained(api: &Api, id: &VerdictId) -> Result<Explanation, ApiError> {
    let loaded = (api.agreements)();
    let agreement = loaded.agreements.iter().find(|a| a.id == id.agreement);
    explain(api.store.as_ref(), agreement.map(Arc::as_ref), id).await.map_err(|error| match error {
        ExplainError::BadId(problem) => ApiError::bad_request(problem),
        ExplainError::NotStored { .. } => ApiError::not_found(error.to_string())
            .hint("/probity/v1/verdicts lists those that are; the scope is the verdict's own, without `*`"),
        ExplainError::Store(error) => error.into(),
    })
}
