//! Answers as Express and Node-RED's handlers give them: JSON, bare status words, errors with `code` and `message`, pages.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value as Json, json};

use crate::api::{express, hooks};
use crate::deploy::Refused;
use crate::model::Diagnostic;

/// `res.json(…)`.
pub(super) fn json(value: &Json) -> Response {
    express::json(value)
}

/// JSON text that is ready.
pub(super) fn json_text(text: String) -> Response {
    text_of("application/json; charset=utf-8", text)
}

pub(super) fn text_of(kind: &'static str, text: String) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], text).into_response()
}

/// `res.status(204).end()`.
pub(super) fn nothing() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// `res.sendStatus(…)`: the status' own words as text.
pub(super) fn words(status: StatusCode) -> Response {
    let mut response = text_of("text/plain; charset=utf-8", status.canonical_reason().unwrap_or_default().to_string());
    *response.status_mut() = status;
    response
}

/// An error of a handler: `{"code", "message"}`.
pub(super) fn error(status: StatusCode, code: &str, message: &str) -> Response {
    express::rejected(status, code, message)
}

pub(super) fn unexpected(message: &str) -> Response {
    error(StatusCode::BAD_REQUEST, "unexpected_error", message)
}

pub(super) fn not_found(message: &str) -> Response {
    error(StatusCode::NOT_FOUND, "not_found", message)
}

/// Why flows were not changed, as the editor shows it.
pub(super) fn refused(refused: Refused) -> Response {
    match refused {
        Refused::Stale => error(StatusCode::CONFLICT, "version_mismatch", "Error"),
        Refused::NotFound => not_found("Error"),
        Refused::Unusable(message) => unexpected(&message),
        Refused::Unchangeable(message) => error(StatusCode::BAD_REQUEST, "flows_read_only", &message),
        Refused::Sealed(message) => error(StatusCode::BAD_REQUEST, "credentials_load_failed", &message),
        Refused::Unsaved(message) => {
            tracing::error!("flows were not deployed: {message}");
            error(StatusCode::INTERNAL_SERVER_ERROR, "flows_not_saved", &message)
        }
        Refused::Invalid(problems) => invalid(&problems),
    }
}

/// Everything that is wrong with posted flows, once as text for people and once as data.
fn invalid(problems: &[Diagnostic]) -> Response {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let body = json!({
        "code": "invalid_flows",
        "message": format!("nothing was deployed; {} problem(s): {}", problems.len(), lines.join("; ")),
        "problems": problems,
    });
    express::json_with(StatusCode::BAD_REQUEST, &body)
}

/// With Express' `ETag`, and 304 for who has it already.
pub(super) async fn tagged(response: Response, tagged: bool, known: Option<HeaderValue>) -> Response {
    let body_follows = response.status() != StatusCode::NO_CONTENT && !response.status().is_informational();
    if !body_follows {
        return response;
    }
    let (mut head, body) = response.into_parts();
    // Bodies of ours are in memory; one that streams is left as it is by its ETag.
    let Ok(bytes) = axum::body::to_bytes(body, usize::MAX).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    if !bytes.is_empty() {
        let etag = express::etag(&bytes);
        let fresh = tagged && head.status.is_success() && known.as_ref().is_some_and(|known| hooks::has(known, &etag));
        head.headers.insert(header::ETAG, etag);
        if fresh {
            head.status = StatusCode::NOT_MODIFIED;
            head.headers.remove(header::CONTENT_TYPE);
            return Response::from_parts(head, Body::empty());
        }
    }
    Response::from_parts(head, Body::from(bytes))
}
