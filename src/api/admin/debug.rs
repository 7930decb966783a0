//! `POST /debug`: turns the output of debug nodes on and off until they are deployed anew.

use axum::response::Response;
use http::StatusCode;
use serde_json::Value as Json;

use super::answer::words;
use super::inject::running;
use super::{Ask, Route, route};

pub(super) const ROUTES: &[Route] =
    &[route!(POST "/debug/:state", "debug.write", several), route!(POST "/debug/:id/:state", "debug.write", one)];

/// On or off, with the status that Node-RED answers.
fn state(text: &str) -> Option<(bool, StatusCode)> {
    match text {
        "enable" => Some((true, StatusCode::OK)),
        "disable" => Some((false, StatusCode::CREATED)),
        _ => None,
    }
}

async fn one(ask: Ask) -> Response {
    let deployed = ask.api.engine.current();
    let Some((on, status)) = state(ask.param(1)) else { return words(StatusCode::NOT_FOUND) };
    let Some(node) = running(&deployed, ask.param(0)) else { return words(StatusCode::NOT_FOUND) };
    deployed.show(node, on);
    words(status)
}

async fn several(ask: Ask) -> Response {
    let body = match ask.json() {
        Ok(body) => body,
        Err(refusal) => return *refusal,
    };
    let Some((on, status)) = state(ask.param(0)) else { return words(StatusCode::NOT_FOUND) };
    let Some(ids) = body.get("nodes").and_then(Json::as_array) else { return words(StatusCode::BAD_REQUEST) };
    let deployed = ask.api.engine.current();
    for node in ids.iter().filter_map(Json::as_str).filter_map(|id| running(&deployed, id)) {
        deployed.show(node, on);
    }
    words(status)
}
