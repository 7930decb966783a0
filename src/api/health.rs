//! Whether this process lives and whether it can do its work, for orchestrators. No login.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use serde_json::json;

use super::Api;
use super::openapi::{Answer, Endpoint, Media, ok};
use crate::registry::SourceState;

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: "get",
        path: "/health/live",
        tag: "service",
        summary: "Whether the process answers",
        query: &[],
        body: None,
        answers: &[ok("it does", Media::Json("Alive"))],
        login: false,
        route: || get(async || Json(json!({ "status": "ok" }))),
    },
    Endpoint {
        method: "get",
        path: "/health/ready",
        tag: "service",
        summary: "Whether everything it depends on answers too",
        query: &[],
        body: None,
        answers: &[
            ok("ready", Media::Json("Health")),
            Answer { status: 503, help: "not ready; `failed` names why", media: Media::Json("Health") },
        ],
        login: false,
        route: || get(ready),
    },
];

async fn ready(State(api): State<Arc<Api>>) -> Response {
    let limit = Duration::from_millis(api.options.ready_ms_max);
    let store = tokio::select! {
        pinged = api.store.ping() => pinged.map_err(|error| tracing::error!(%error, "the store does not answer")).is_ok(),
        () = api.clock().sleep(limit) => {
            tracing::error!("the store did not answer within ready_ms_max");
            false
        }
    };
    // New calls are refused at runs_max: another replica should get them.
    let runs = api.engine.open_runs() < api.engine.services.limits.runs_max;
    let what = format!("{} of {} runs are open", api.engine.open_runs(), api.engine.services.limits.runs_max);
    let stays = !api.is_leaving();
    let what_stays = if stays { "it goes on" } else { "it is about to stop" };
    let checks =
        [("store", store, api.store.describe()), ("runs", runs, what), ("process", stays, what_stays.to_owned())];
    // A source that is away is no reason to stop: its agreements go on as they were.
    let sources = (api.agreements)();
    let away = sources.sources.iter().filter(|s| s.state == SourceState::Away).count();
    let what_sources = format!("{away} of {} sources of agreements are away", sources.sources.len());
    // Slower without, and complete: no reason to stop either.
    let dispatch = api.acceptor.as_ref().map(|acceptor| acceptor.dispatcher().standing());
    let dispatch = dispatch.map(|standing| {
        let what = match &standing.fallback {
            None => format!("runs are dispatched by {}", standing.by),
            Some(why) => format!("{} is away ({why}): workers ask the database", standing.by),
        };
        ("dispatch".to_string(), json!({ "status": "ok", "what": what }))
    });
    let word = |good: bool| if good { "ok" } else { "failed" };
    let failed: Vec<&str> = checks.iter().filter(|(_, good, _)| !good).map(|(name, ..)| *name).collect();
    let dependencies: serde_json::Map<String, serde_json::Value> = checks
        .iter()
        .map(|(name, good, what)| (name.to_string(), json!({ "status": word(*good), "what": what })))
        .chain([("sources".into(), json!({ "status": "ok", "what": what_sources }))])
        .chain(dispatch)
        .collect();
    let status = if failed.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({ "status": word(failed.is_empty()), "failed": failed, "dependencies": dependencies });
    (status, Json(body)).into_response()
}
