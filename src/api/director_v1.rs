//! The API of a Governify Director (version 1), so that one can be retired, and what a Director elsewhere needs of us: the
//! script it fetches, the callback, and the Reporter's endpoint that existing tasks call.
//!
//! It is served on an address of its own ([`super::serve_apart`]), never beside flows. `docs/director.md` says where it
//! differs and why.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router, middleware};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value, json};

use super::auth::Caller;
use crate::director::client::{CALLBACK_PATH, SCRIPT, SIGNATURE_HEADER, Signer};
use crate::director::{Director, DirectorError, Points, SCRIPT_PATH, Task};

/// What stands behind the API.
pub struct DirectorV1 {
    pub director: Arc<Director>,
    pub points: Arc<Points>,
    pub signer: Signer,
}

type Shared = State<Arc<DirectorV1>>;
type Who = Option<Extension<Caller>>;

/// Every path of the API.
pub fn router(director: Arc<DirectorV1>) -> Router {
    Router::new()
        .route("/info", get(info))
        .route("/api/v1/tasks", get(list).post(add))
        .route("/api/v1/tasks/test", post(test))
        .route("/api/v1/tasks/{id}", get(one).put(put).delete(remove))
        .route("/api/v1/tasks/{id}/status", get(status))
        .route("/api/v1/tasks/{id}/status/{action}", post(switch))
        .route("/api/v1/tasks/{id}/badge", get(badge))
        .route("/api/v1/tasks/{id}/run", post(run))
        .route(SCRIPT_PATH, get(async || ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], SCRIPT)))
        .route(CALLBACK_PATH, post(callback))
        .route("/api/v4/contracts/{id}/createPointsFromPeriods", post(points))
        .layer(middleware::from_fn(super::cross_origin::allow))
        .with_state(director)
}

async fn info() -> Json<Value> {
    Json(json!({ "info": "Probity serves the Director's API", "name": "Task list" }))
}

fn say(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "code": status.as_u16(), "message": message }))).into_response()
}

impl IntoResponse for DirectorError {
    fn into_response(self) -> Response {
        let status = match &self {
            DirectorError::NotFound => StatusCode::NOT_FOUND,
            DirectorError::Refused(_) => StatusCode::BAD_REQUEST,
            DirectorError::NotOurs(_) => StatusCode::NOT_IMPLEMENTED,
            DirectorError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
            DirectorError::Store(error) => {
                tracing::error!(%error, "a call of the Director's API failed");
                return say(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the store cannot be reached or refuses; the log says why",
                );
            }
        };
        say(status, &self.to_string())
    }
}

fn by(who: Who) -> String {
    who.map_or_else(|| "anonymous".into(), |Extension(caller)| caller.name)
}

/// A task in a body; without one an empty task.
fn given(body: &Bytes) -> Result<Map<String, Value>, Box<Response>> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    let refuse = |message: String| Box::new(say(StatusCode::BAD_REQUEST, &message));
    match serde_json::from_slice(body) {
        Ok(Value::Object(task)) => Ok(task),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err(refuse("expected a task: {id, script, running, config, init, end, interval}".into())),
        Err(error) => Err(refuse(format!("the body is not JSON: {error}"))),
    }
}

fn shown(task: Task) -> Json<Value> {
    Json(Value::Object(task.document))
}

async fn list(director: Shared, RawQuery(query): RawQuery) -> Result<Json<Value>, DirectorError> {
    let fields: Vec<(String, String)> =
        form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
    let wanted = |task: &Task| {
        fields.iter().all(|(key, value)| task.document.get(key).and_then(Value::as_str) == Some(value.as_str()))
    };
    let tasks = director.director.tasks().await?.into_iter().filter(wanted);
    Ok(Json(Value::Array(tasks.map(|task| Value::Object(task.document)).collect())))
}

async fn add(director: Shared, who: Who, body: Bytes) -> Result<Response, DirectorError> {
    match given(&body) {
        Ok(task) => Ok(shown(director.director.add(task, &by(who)).await?).into_response()),
        Err(refusal) => Ok(*refusal),
    }
}

async fn one(director: Shared, Path(id): Path<String>) -> Result<Json<Value>, DirectorError> {
    Ok(shown(director.director.task(&id).await?))
}

async fn put(director: Shared, who: Who, Path(id): Path<String>, body: Bytes) -> Result<Response, DirectorError> {
    match given(&body) {
        Ok(task) => {
            director.director.replace(&id, task, &by(who)).await?;
            // The Director answers 200 and says 201.
            Ok(Json(json!({ "code": 201, "message": "Updated" })).into_response())
        }
        Err(refusal) => Ok(*refusal),
    }
}

async fn remove(director: Shared, who: Who, Path(id): Path<String>) -> Result<Response, DirectorError> {
    director.director.remove(&id, &by(who)).await?;
    Ok(say(StatusCode::ACCEPTED, "Deleted"))
}

async fn status(director: Shared, Path(id): Path<String>) -> Result<Json<Value>, DirectorError> {
    Ok(Json(director.director.status(&id).await?))
}

async fn switch(
    director: Shared,
    who: Who,
    Path((id, action)): Path<(String, String)>,
) -> Result<Json<Value>, DirectorError> {
    Ok(shown(director.director.switch(&id, &action, &by(who)).await?))
}

async fn badge(director: Shared, Path(id): Path<String>) -> Result<Response, DirectorError> {
    let running = director.director.task(&id).await?.running();
    let (word, colour) = if running { ("Running", "#4c1") } else { ("Stopped", "#e05d44") };
    let svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"127\" height=\"20\" role=\"img\" aria-label=\"Director: {word}\">\
         <title>Director: {word}</title><rect width=\"57\" height=\"20\" fill=\"#555\"/>\
         <rect x=\"57\" width=\"70\" height=\"20\" fill=\"{colour}\"/>\
         <g fill=\"#fff\" text-anchor=\"middle\" font-family=\"sans-serif\" font-size=\"11\">\
         <text x=\"28\" y=\"14\">Director</text><text x=\"92\" y=\"14\">{word}</text></g></svg>"
    );
    Ok(([(header::CONTENT_TYPE, "image/svg+xml")], svg).into_response())
}

async fn run(director: Shared, who: Who, Path(id): Path<String>) -> Result<Json<Value>, DirectorError> {
    Ok(Json(director.director.run_now(&id, &by(who)).await?))
}

async fn test() -> Response {
    let message = "scripts of others are not run; a task whose script is Probity's own runs an evaluation";
    say(StatusCode::NOT_IMPLEMENTED, message)
}

/// What our script calls: the order is taken, or refused when it is not signed.
async fn callback(director: Shared, headers: HeaderMap, body: Bytes) -> Response {
    let agreement = serde_json::from_slice::<Value>(&body).ok();
    let agreement = agreement.as_ref().and_then(|b| b.get("agreementId")?.as_str());
    let signature = headers.get(SIGNATURE_HEADER).and_then(|s| s.to_str().ok()).unwrap_or_default();
    let Some(agreement) = agreement.filter(|agreement| director.signer.signed(agreement, signature)) else {
        return say(StatusCode::UNAUTHORIZED, "the call is not signed, or not for this agreement");
    };
    match director.points.order(agreement, None, "director") {
        Ok(()) => say(StatusCode::ACCEPTED, "Accepted"),
        Err(problem) => say(StatusCode::NOT_FOUND, &problem),
    }
}

/// The Reporter's endpoint: the periods are judged in the background.
async fn points(director: Shared, who: Who, Path(id): Path<String>, body: Bytes) -> Response {
    let asked: Map<String, Value> = match given(&body) {
        Ok(asked) => asked,
        Err(refusal) => return *refusal,
    };
    let periods = asked.get("periods").and_then(Value::as_array);
    match director.points.order(&id, periods.map(Vec::as_slice), &by(who)) {
        Ok(()) => say(StatusCode::OK, "OK"),
        Err(problem) if problem.starts_with("no agreement") => say(StatusCode::NOT_FOUND, &problem),
        Err(problem) => say(StatusCode::BAD_REQUEST, &problem),
    }
}
