//! The bodies of calls about people: forms and JSON, as objects.

use axum::response::Response;
use http::{HeaderMap, header};
use serde_json::{Map, Value as Json};

use crate::api::express;

/// The fields of a form or of a JSON object; none of any other body. The error is the answer.
pub(super) fn fields(headers: &HeaderMap, bytes: &[u8]) -> Result<Map<String, Json>, Response> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if kind == "application/x-www-form-urlencoded" {
        let pairs = form_urlencoded::parse(bytes).into_owned();
        return Ok(pairs.map(|(name, value)| (name, Json::String(value))).collect());
    }
    if kind != "application/json" || bytes.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(bytes) {
        Ok(Json::Object(fields)) => Ok(fields),
        // A list is an object in JavaScript, and has none of the fields.
        Ok(Json::Array(_)) => Ok(Map::new()),
        Ok(_) => Err(express::not_understood("SyntaxError: expected an object or an array in JSON")),
        Err(error) => Err(express::not_understood(&format!("SyntaxError: {error}"))),
    }
}

/// A field's text; `None` when it is absent, empty or no text.
pub(super) fn text<'a>(fields: &'a Map<String, Json>, name: &str) -> Option<&'a str> {
    fields.get(name).and_then(Json::as_str).filter(|text| !text.is_empty())
}
