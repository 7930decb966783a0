//! `/probity/v1/simulate`: a changed agreement over what is stored, and which verdicts would be others.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::routing::post;
use http::HeaderMap;
use serde_json::Value;

use super::Api;
use super::error::ApiError;
use super::explain::{accepted, answered};
use super::openapi::{BAD_REQUEST, Endpoint, Kind, Media, NOT_FOUND, Parameter, ok};
use super::query::Query;
use crate::agreement::explain::words::Language;
use crate::agreement::simulate::words::Words;
use crate::evaluate::simulate::{SimulateError, simulate};
use crate::model::diagnostic::Severity;

const QUERY: &[Parameter] = &[
    Parameter::new(
        "against",
        Kind::Text,
        "the agreement whose stored evidence is used; the document's own id when absent",
    ),
    Parameter::new("from", Kind::Instant, "windows that end after this; everything stored when absent"),
    Parameter::new("to", Kind::Instant, "windows that start before this"),
    Parameter::new("lang", Kind::OneOf(&["en", "es"]), "the language of `text`; else by Accept-Language"),
];

pub(super) const ENDPOINTS: &[Endpoint] = &[Endpoint {
    method: "post",
    path: "/probity/v1/simulate",
    tag: "verdicts",
    summary: "What a changed agreement (JSON or YAML) would make of what is stored: which verdicts and budgets would be others, \
              under the waivers in force now. Nothing is asked of a collector, and nothing is written",
    query: QUERY,
    body: Some("AgreementDocument"),
    answers: &[
        ok("the verdicts and budgets that would be others, new or gone", Media::Json("Simulation")),
        BAD_REQUEST,
        NOT_FOUND,
    ],
    login: true,
    route: || post(one),
}];

async fn one(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let query = Query::read(query.as_deref(), QUERY)?;
    let language = query.word("lang", "en or es", Language::parse)?.unwrap_or_else(|| accepted(&headers));
    let text = std::str::from_utf8(&body).map_err(|_| ApiError::bad_request("the body is not UTF-8"))?;
    let (candidate, problems) = crate::agreement::load(text, "the document");
    let Some(candidate) = candidate else {
        let problems: Vec<String> =
            problems.iter().filter(|p| p.severity == Severity::Error).map(ToString::to_string).collect();
        return Err(ApiError::bad_request(format!("the document cannot be used: {}", problems.join("; "))));
    };
    let against = query.text("against").unwrap_or(&candidate.id);
    let loaded = (api.agreements)();
    let current = loaded.agreements.iter().find(|a| a.id == against).ok_or_else(|| {
        ApiError::not_found(format!("no agreement \"{against}\" is loaded"))
            .hint("name the one to compare with in `against`; /probity/v1/agreements lists them")
    })?;
    let (from, to) = (query.instant("from")?, query.instant("to")?);
    let simulated = simulate(api.store.as_ref(), current, &candidate, from, to, api.clock().now()).await;
    let simulation = simulated.map_err(|error| match error {
        SimulateError::NothingStored(_) => ApiError::not_found(error.to_string()),
        SimulateError::TooManyWindows(problem) => ApiError::bad_request(problem),
        SimulateError::Store(error) => error.into(),
    })?;
    answered(&simulation, Words(language).lines(&simulation), language)
}
