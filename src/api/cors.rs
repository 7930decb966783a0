//! Calls from other sites' pages: which origins are named in `Access-Control-Allow-Origin`, and what OPTIONS is told.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};

/// What Node-RED's Admin API lets other sites' pages do.
const METHODS: &str = "GET,PUT,POST,DELETE";

/// Whether pages of this origin may call.
pub(super) fn allows(origins: &[String], origin: &str) -> bool {
    origins.iter().any(|allowed| allowed == "*" || allowed.trim_end_matches('/').eq_ignore_ascii_case(origin))
}

/// The answer to OPTIONS on any path, which needs no login.
pub(super) fn preflight(asked: &HeaderMap) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    headers.append(header::VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
    if let Some(names) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    response
}

/// Names the caller's origin in an answer, when it is one of those allowed. With `*` among them every answer names `*`,
/// as Node-RED's do.
pub(super) fn mark(lists: [&[String]; 2], origin: Option<&HeaderValue>, response: &mut Response) {
    let headers = response.headers_mut();
    // A flow that says itself who may read its answers is left alone.
    if headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        return;
    }
    if lists.iter().any(|list| list.iter().any(|allowed| allowed == "*")) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        return;
    }
    let Some(origin) = origin else { return };
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if origin.to_str().is_ok_and(|text| lists.iter().any(|list| allows(list, text))) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(origins: &[&str], origin: Option<&str>) -> Option<String> {
        let origins: Vec<String> = origins.iter().map(|o| o.to_string()).collect();
        let origin = origin.map(|o| HeaderValue::from_str(o).unwrap());
        let mut response = Response::new(Body::empty());
        mark([&origins, &[]], origin.as_ref(), &mut response);
        response.headers().get("access-control-allow-origin").map(|v| v.to_str().unwrap().to_owned())
    }

    #[test]
    fn only_allowed_origins_are_named() {
        let page = Some("http://localhost:3000");
        assert_eq!(marked(&["http://localhost:3000"], page).as_deref(), page);
        assert_eq!(marked(&["http://localhost:3000/"], page).as_deref(), page);
        assert_eq!(marked(&["http://localhost:3000"], Some("http://localhost:30001")), None);
        assert_eq!(marked(&["http://localhost:3000"], Some("null")), None);
        assert_eq!(marked(&["http://localhost:3000"], None), None);
        assert_eq!(marked(&[], page), None);
        assert_eq!(marked(&["*"], None).as_deref(), Some("*"));
    }
}
