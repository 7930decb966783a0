//! Answers in the Registry's forms: JSON with JavaScript's numbers, its error bodies, Express' page for what is not
//! routed.

use std::io;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Request, StatusCode, header};
use serde::Serialize;
use serde_json::{Value, json};

/// Numbers as JavaScript writes them: `1e+21`, `100` and not `100.0`.
struct JavaScript;

impl serde_json::ser::Formatter for JavaScript {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(ryu_js::Buffer::new().format_finite(value).as_bytes())
    }
}

/// JSON text, its numbers as JavaScript writes them.
pub(super) fn print(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, JavaScript);
    value.serialize(&mut serializer).expect("maps with text keys are JSON");
    out
}

/// A JSON answer as Express sends it.
pub(super) fn json_answer(status: StatusCode, value: &impl Serialize) -> Response {
    with_type(status, "application/json; charset=utf-8", print(value).into())
}

/// A text answer.
pub(super) fn text(status: StatusCode, text: &'static str) -> Response {
    with_type(status, "text/plain; charset=utf-8", text.into())
}

pub(super) fn with_type(status: StatusCode, media: &'static str, body: Body) -> Response {
    let mut response = (status, body).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

/// A refusal: `{"code":…,"message":…}`, as the Registry's model has it.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    body: Value,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Refusal {
        Refusal { status, body: json!({ "code": status.as_u16(), "message": message.into() }) }
    }

    /// `{"message":…}`, as the Registry's controllers of states have it.
    pub(super) fn message_only(status: StatusCode, message: impl Into<String>) -> Refusal {
        Refusal { status, body: json!({ "message": message.into() }) }
    }

    /// With a further field that says more.
    pub(super) fn with(mut self, key: &str, value: Value) -> Refusal {
        self.body[key] = value;
        self
    }

    /// Something of ours broke: the log gets the details.
    pub(super) fn failed(what: &str, error: &dyn std::fmt::Display) -> Refusal {
        tracing::error!(%error, "{what}");
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, format!("{what}; the server's log says why"))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        json_answer(self.status, &self.body)
    }
}

/// Express' own page.
pub(super) async fn unrouted(call: Request<Body>) -> Response {
    let path = percent_encoding::percent_decode_str(call.uri().path()).decode_utf8_lossy().into_owned();
    let path = path.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    let page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Error</title>\n</head>\n<body>\n\
         <pre>Cannot {} {path}</pre>\n</body>\n</html>\n",
        call.method()
    );
    let mut response = with_type(StatusCode::NOT_FOUND, "text/html; charset=utf-8", page.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// 24 hexadecimal digits that stay the same for the same thing, where the Registry shows a key of its database.
pub(super) fn object_id(parts: &[&str]) -> String {
    use sha2::{Digest, Sha256};
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(Sha256::digest(part));
    }
    hex::encode(&digest.finalize()[..12])
}
