//! How the API says that it cannot: one JSON shape, a stable code, what to do; never what broke inside.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;

use crate::model::RunId;
use crate::runtime::places::Busy;
use crate::store::StoreError;

/// An answer that is not what was asked for. `{"error": code, "message": …, "hint": …, "id": …}`.
#[derive(Debug)]
pub struct ApiError {
    pub status: StatusCode,
    /// Stable snake-case code that programs may test.
    pub error: &'static str,
    pub message: String,
    pub hint: Option<String>,
    /// Names the log line of an internal failure.
    pub id: Option<RunId>,
    /// When it is worth trying again, seconds: `Retry-After`. Every 503 has one.
    pub retry_s: Option<u32>,
}

impl ApiError {
    pub fn new(status: StatusCode, error: &'static str, message: impl Into<String>) -> Self {
        ApiError { status, error, message: message.into(), hint: None, id: None, retry_s: None }
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The database is away: asking again later may help, asking otherwise does not.
    pub fn store_unavailable() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", "the database does not answer")
            .hint("start it again or mend the way to it; /health/ready says when it is back. Flows go on meanwhile")
    }

    /// Something of ours broke: the log gets the details, the caller an id to find them by.
    pub fn internal(what: &str, error: &dyn std::fmt::Display) -> Self {
        let id = RunId::fresh();
        tracing::error!(%id, %error, "{what}");
        let mut answer = Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", format!("{what} failed"))
            .hint(format!("the server's log has the details under id {id}"));
        answer.id = Some(id);
        answer
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Cursor { .. } => ApiError::bad_request("query parameter \"after\" is no cursor of this list")
                .hint("give `next` of an earlier answer of the same list, or leave it out"),
            error if error.is_unreachable() => {
                tracing::error!(%error, "the store does not answer");
                ApiError::store_unavailable()
            }
            StoreError::Database { .. }
            | StoreError::Disk { .. }
            | StoreError::Unusable { .. }
            | StoreError::Late { .. }
            | StoreError::Corrupt { .. } => ApiError::internal("reading from the store", &error),
        }
    }
}

impl From<Busy> for ApiError {
    fn from(busy: Busy) -> Self {
        let (retry_s, text) = (busy.retry_s(), busy.to_string());
        let error = match busy.is_callers_own() {
            true => ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_runs", text),
            false => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", text),
        };
        ApiError { retry_s: Some(retry_s), ..error.hint(format!("try again in {retry_s} s")) }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut body = json!({ "error": self.error, "message": self.message });
        if let Some(hint) = self.hint {
            body["hint"] = hint.into();
        }
        if let Some(id) = self.id {
            body["id"] = id.to_string().into();
        }
        let mut response = (self.status, Json(body)).into_response();
        let unavailable = self.status == StatusCode::SERVICE_UNAVAILABLE;
        if let Some(retry_s) = self.retry_s.or(unavailable.then_some(1)) {
            response.headers_mut().insert(http::header::RETRY_AFTER, http::HeaderValue::from(retry_s));
        }
        response
    }
}
