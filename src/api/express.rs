//! Answers in the shapes Node-RED's web server (Express) gives them: error pages, `Unauthorized`, JSON with an ETag.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

/// 404 for a path nothing is at.
pub(super) fn cannot(method: &Method, path: &str) -> Response {
    page(StatusCode::NOT_FOUND, &format!("Cannot {method} {path}"))
}

/// 400 for a body that is not what its type says.
pub(super) fn not_understood(error: &str) -> Response {
    page(StatusCode::BAD_REQUEST, error)
}

fn page(status: StatusCode, text: &str) -> Response {
    let page = maud::html! {
        (maud::DOCTYPE)
        html lang="en" {
            head { meta charset="utf-8"; title { "Error" } }
            body { pre { (text) } }
        }
    };
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, page.into_string()).into_response()
}

/// 401 with the text `Unauthorized` and a challenge.
pub(super) fn unauthorized(challenge: Option<&'static str>) -> Response {
    let mut response = (StatusCode::UNAUTHORIZED, "Unauthorized").into_response();
    if let Some(challenge) = challenge {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    response
}

/// What an API handler of Node-RED's says when it cannot: `{"code": …, "message": …}`.
pub(super) fn rejected(status: StatusCode, code: &str, message: &str) -> Response {
    json_with(status, &serde_json::json!({ "code": code, "message": message }))
}

/// 200 with JSON.
pub(super) fn json(body: &Json) -> Response {
    json_with(StatusCode::OK, body)
}

/// JSON with its type and a weak ETag, as `res.json` sends it.
pub(super) fn json_with(status: StatusCode, body: &Json) -> Response {
    let body = Bytes::from(body.to_string());
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert(header::ETAG, etag(&body));
    *response.body_mut() = Body::from(body);
    response
}

/// A weak tag of length and hash, in Express' form.
pub(super) fn etag(body: &Bytes) -> HeaderValue {
    let hash = STANDARD_NO_PAD.encode(&Sha256::digest(body)[..20]);
    HeaderValue::from_str(&format!("W/\"{:x}-{hash}\"", body.len())).expect("hexadecimal and base64 are header text")
}
