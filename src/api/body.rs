//! Request bodies: read within a size and a time, then understood as Node-RED's `http in` does (`body-parser`
//! for JSON and forms, `multer` for uploads, `raw-body` for the rest).

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::BodyExt;

use super::error::ApiError;
use super::serve::Incoming;
use super::{Api, ApiOptions, uploads};
use crate::model::{Object, Value};
use crate::runtime::exchange::parse_query;
use crate::runtime::routes::Route;

/// Fields of a form, as many as `body-parser` takes.
pub(super) const FORM_FIELDS_MAX: usize = 1_000;

/// Why a body was not taken.
#[derive(Debug)]
pub(super) enum Refused {
    TooLarge { limit: usize },
    TooManyFields,
    TooSlow { ms: u64 },
    Broken { error: String },
    Malformed { what: &'static str, error: String },
    Unsupported { what: String },
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let error = match self {
            Refused::TooLarge { limit } => ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                format!("the body is over {limit} bytes"),
            )
            .hint("the operator can raise http.body_bytes_max"),
            Refused::TooManyFields => ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_many_fields",
                format!("the form has more than {FORM_FIELDS_MAX} fields"),
            )
            .hint("send it as JSON"),
            Refused::TooSlow { ms } => ApiError::new(
                StatusCode::REQUEST_TIMEOUT,
                "body_too_slow",
                format!("the body did not arrive within {ms} ms"),
            ),
            Refused::Broken { error } => ApiError::bad_request(format!("the body broke off: {error}")),
            Refused::Malformed { what, error } => ApiError::new(
                StatusCode::BAD_REQUEST,
                "malformed_body",
                format!("the body is not valid {what}: {error}"),
            ),
            Refused::Unsupported { what } => {
                ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_body", what)
            }
        };
        let cut_off = matches!(error.error, "body_too_large" | "body_too_slow");
        let mut response = error.into_response();
        if cut_off {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// What the bodies that are in memory take together, bytes.
#[derive(Default)]
pub(super) struct Bodies(Arc<AtomicUsize>);

/// Room for one body, until it is dropped.
pub(super) struct Room {
    of: Arc<AtomicUsize>,
    bytes: usize,
}

impl Bodies {
    /// Room for a body of at most so many bytes; `None` when all of them would take more than `bytes_max`.
    fn room(&self, bytes: usize, bytes_max: usize) -> Option<Room> {
        // Counted first: two callers must not both find the last room.
        let before = self.0.fetch_add(bytes, Ordering::AcqRel);
        let room = Room { of: self.0.clone(), bytes };
        (before.saturating_add(bytes) <= bytes_max).then_some(room)
    }
}

impl Room {
    /// The body is here and takes only so much.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let spare = self.bytes.saturating_sub(bytes);
        self.of.fetch_sub(spare, Ordering::AcqRel);
        self.bytes -= spare;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.of.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// Room for a caller's body, as large as it may become.
///
/// # Errors
/// 503 while others take all of `http.bodies_bytes_max`.
pub(super) fn room<B: Incoming>(body: &B, api: &Api) -> Result<Room, ApiError> {
    let (limit, all) = (api.options.body_bytes_max, api.options.bodies_bytes_max);
    let announced = body.size_hint().upper().and_then(|bytes| usize::try_from(bytes).ok());
    api.bodies.room(announced.unwrap_or(limit).min(limit), all).ok_or_else(|| {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "the bodies of calls under way take too much memory")
            .hint("try again in a second; the operator can raise http.bodies_bytes_max")
    })
}

/// Reads a body to its end, undoing `content-encoding`.
pub(super) async fn read<B: Incoming>(body: B, headers: &HeaderMap, api: &Api) -> Result<Bytes, Refused> {
    let limit = api.options.body_bytes_max;
    let reading = collect(body, headers, limit);
    tokio::pin!(reading);
    // Small bodies mostly came with their headers: no timer for them.
    let bytes = match futures_util::poll!(&mut reading) {
        std::task::Poll::Ready(bytes) => bytes?,
        std::task::Poll::Pending => tokio::select! {
            bytes = reading => bytes?,
            () = api.clock().sleep(Duration::from_millis(api.options.body_ms_max)) => {
                return Err(Refused::TooSlow { ms: api.options.body_ms_max });
            }
        },
    };
    match headers.get(header::CONTENT_ENCODING) {
        None => Ok(bytes),
        Some(encoding) => inflate(bytes, encoding, limit),
    }
}

async fn collect<B: Incoming>(mut body: B, headers: &HeaderMap, limit: usize) -> Result<Bytes, Refused> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    if body.size_hint().lower() > limit as u64 {
        if !headers.contains_key(header::EXPECT) {
            discard(body, limit).await;
        }
        return Err(Refused::TooLarge { limit });
    }
    let first = next(&mut body).await?.unwrap_or_default();
    if first.len() > limit {
        return Err(Refused::TooLarge { limit });
    }
    if body.is_end_stream() {
        return Ok(first);
    }
    let expected = usize::try_from(body.size_hint().lower()).unwrap_or(limit).min(limit);
    let mut all = BytesMut::with_capacity(first.len() + expected);
    all.extend_from_slice(&first);
    while let Some(more) = next(&mut body).await? {
        if all.len() + more.len() > limit {
            discard(body, limit).await;
            return Err(Refused::TooLarge { limit });
        }
        all.extend_from_slice(&more);
    }
    Ok(all.freeze())
}

async fn next<B: Incoming>(body: &mut B) -> Result<Option<Bytes>, Refused> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(error)) => return Err(Refused::Broken { error: error.to_string() }),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// Lets a caller finish sending (up to four times the limit): one that is cut off in the middle sees a broken
/// connection instead of the answer.
async fn discard<B: Incoming>(mut body: B, limit: usize) {
    let mut left = limit.saturating_mul(4);
    while let Ok(Some(data)) = next(&mut body).await {
        match left.checked_sub(data.len()) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

/// As [`leave_unread`], of a whole call.
pub(super) async fn leave_unread_of<B: Incoming>(call: http::Request<B>, api: &Api) {
    let (head, body) = call.into_parts();
    leave_unread(body, &head.headers, api).await;
}

/// Takes what a caller sends along with a call that is answered without its body: left unread it would break the
/// connection under the answer.
pub(super) async fn leave_unread<B: Incoming>(body: B, headers: &HeaderMap, api: &Api) {
    if body.is_end_stream() || headers.contains_key(header::EXPECT) {
        return;
    }
    tokio::select! {
        () = discard(body, api.options.body_bytes_max) => {}
        () = api.clock().sleep(Duration::from_millis(api.options.body_ms_max)) => {}
    }
}

fn inflate(bytes: Bytes, encoding: &HeaderValue, limit: usize) -> Result<Bytes, Refused> {
    let encoding = encoding.to_str().unwrap_or_default().trim().to_ascii_lowercase();
    let mut out = Vec::new();
    let most = limit as u64 + 1;
    let inflated = match encoding.as_str() {
        "" | "identity" => return Ok(bytes),
        "gzip" | "x-gzip" => flate2::read::MultiGzDecoder::new(&bytes[..]).take(most).read_to_end(&mut out),
        "deflate" => flate2::read::ZlibDecoder::new(&bytes[..]).take(most).read_to_end(&mut out),
        other => {
            let what = format!("content-encoding {other} is not understood; expected gzip, deflate or identity");
            return Err(Refused::Unsupported { what });
        }
    };
    match inflated {
        Err(error) => Err(Refused::Malformed { what: "compressed data", error: error.to_string() }),
        Ok(n) if n > limit => Err(Refused::TooLarge { limit }),
        Ok(_) => Ok(out.into()),
    }
}

/// A body as a flow gets it: `msg.req.body` and, for uploads, `msg.req.files`.
#[derive(Debug, PartialEq)]
pub(super) struct Parsed {
    pub(super) body: Value,
    pub(super) files: Value,
}

impl From<Value> for Parsed {
    fn from(body: Value) -> Self {
        Parsed { body, files: Value::Undefined }
    }
}

/// Understands a body by its content type.
pub(super) async fn parse(
    bytes: Bytes,
    headers: &HeaderMap,
    route: &Route,
    options: &ApiOptions,
) -> Result<Parsed, Refused> {
    if route.skip_body_parsing {
        return Ok(Value::Bytes(bytes.to_vec().into()).into());
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let media = content_type.split(';').next().unwrap_or_default().trim();
    // A caller that announces a body, even an empty one, has it parsed; `body-parser` looks at these two.
    let announced = headers.contains_key(header::CONTENT_LENGTH) || headers.contains_key(header::TRANSFER_ENCODING);
    if announced && media.eq_ignore_ascii_case("application/json") {
        return json(&bytes).map(Parsed::from);
    }
    if announced && media.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return form(&bytes).map(Parsed::from);
    }
    if route.upload && route.method == "post" {
        // What takes uploads takes JSON and forms, and nothing else.
        return match media.eq_ignore_ascii_case("multipart/form-data") {
            true => uploads::read(bytes, content_type, options).await,
            false => Ok(Value::from(Object::new()).into()),
        };
    }
    Ok(raw(bytes, media).into())
}

/// JSON as `body-parser` takes it in its strict mode: an object or an array; nothing is `{}`.
fn json(bytes: &[u8]) -> Result<Value, Refused> {
    let malformed = |error: String| Refused::Malformed { what: "JSON", error };
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match bytes.iter().find(|b| !b" \t\r\n".contains(b)) {
        Some(b'{' | b'[') => Value::from_json_slice(bytes).map_err(|e| malformed(e.to_string())),
        None if bytes.is_empty() => Ok(Object::new().into()),
        _ => Err(malformed("expected an object or an array".into())),
    }
}

/// A form with more fields than are read is refused: a part of it would be taken for the whole.
fn form(bytes: &[u8]) -> Result<Value, Refused> {
    if bytes.iter().filter(|b| **b == b'&').count() >= FORM_FIELDS_MAX {
        return Err(Refused::TooManyFields);
    }
    Ok(parse_query(&String::from_utf8_lossy(bytes)))
}

/// Everything else: text for what is text, bytes for what is not, by Node-RED's rules.
fn raw(bytes: Bytes, media: &str) -> Value {
    let media = media.to_ascii_lowercase();
    let (kind, subtype) = media.split_once('/').unwrap_or(("text", ""));
    let is_text = match kind {
        "text" => true,
        _ if subtype == "xml" || subtype.ends_with("+xml") => true,
        "application" => !["octet-stream", "cbor", "x-protobuf"].contains(&subtype),
        _ => false,
    };
    if is_text { Value::from(String::from_utf8_lossy(&bytes).as_ref()) } else { Value::Bytes(bytes.to_vec().into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(upload: bool, skip_body_parsing: bool) -> Route {
        Route { method: "post".into(), url: "/x".into(), node: 0, upload, skip_body_parsing }
    }

    async fn parsed(content_type: Option<&str>, body: &[u8], route: &Route) -> Result<Parsed, Refused> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_LENGTH, body.len().into());
        if let Some(text) = content_type {
            headers.insert(header::CONTENT_TYPE, text.parse().unwrap());
        }
        parse(Bytes::copy_from_slice(body), &headers, route, &ApiOptions::default()).await
    }

    #[tokio::test]
    async fn bodies_are_read_by_type() {
        let bytes = |b: &[u8]| Value::Bytes(b.to_vec().into());
        for (content_type, body, expected) in [
            (Some("application/json"), &b"{\"a\":1}"[..], Value::from_json("{\"a\":1}").unwrap()),
            (Some("Application/JSON; charset=utf-8"), b" [1]", Value::from_json("[1]").unwrap()),
            (Some("application/json"), b"", Object::new().into()),
            (
                Some("application/x-www-form-urlencoded"),
                b"a=1&b=x+y",
                Value::from_json(r#"{"a":"1","b":"x y"}"#).unwrap(),
            ),
            (Some("text/csv"), b"a,b", Value::from("a,b")),
            (Some("application/vnd.api+json"), b"{}", Value::from("{}")),
            (Some("image/svg+xml"), b"<svg/>", Value::from("<svg/>")),
            (Some("application/octet-stream"), b"\xff\x00", bytes(b"\xff\x00")),
            (Some("image/png"), b"png", bytes(b"png")),
            (Some("application/cbor"), b"c", bytes(b"c")),
            (None, b"hello", Value::from("hello")),
            (None, b"", Value::from("")),
        ] {
            let got = parsed(content_type, body, &route(false, false)).await.unwrap();
            assert_eq!(got, expected.into(), "{content_type:?}");
        }
        let raw = parsed(Some("application/json"), b"{}", &route(false, true)).await.unwrap();
        assert_eq!(raw, bytes(b"{}").into());
    }

    #[tokio::test]
    async fn json_that_is_no_document_or_too_deep_is_refused() {
        let deep = "[".repeat(100_000);
        for body in ["1", "\"x\"", "{", "  ", deep.as_str()] {
            let refused = parsed(Some("application/json"), body.as_bytes(), &route(false, false)).await.unwrap_err();
            assert_eq!(refused.into_response().status(), 400, "{}", &body[..body.len().min(9)]);
        }
    }

    #[tokio::test]
    async fn a_form_with_more_fields_than_are_read_is_refused_not_cut() {
        let form = |n: usize| vec!["a=1"; n].join("&");
        let parse = async |n: usize| {
            let body = form(n);
            parsed(Some("application/x-www-form-urlencoded"), body.as_bytes(), &route(false, false)).await
        };
        assert_eq!(parse(FORM_FIELDS_MAX).await.unwrap().body.get("a").as_array().map(<[Value]>::len), Some(1000));
        assert_eq!(parse(FORM_FIELDS_MAX + 1).await.unwrap_err().into_response().status(), 413);
    }

    #[tokio::test]
    async fn uploads_give_fields_and_files() {
        let body = "--X\r\nContent-Disposition: form-data; name=\"team\"\r\n\r\na\r\n\
            --X\r\nContent-Disposition: form-data; name=\"f\"; filename=\"r.csv\"\r\nContent-Type: text/csv\r\n\r\n1,2\r\n--X--\r\n";
        let got = parsed(Some("multipart/form-data; boundary=X"), body.as_bytes(), &route(true, false)).await.unwrap();
        assert_eq!(got.body.to_json(), r#"{"team":"a"}"#);
        let file = got.files.get("0");
        assert_eq!(file.get("originalname"), Value::from("r.csv"));
        assert_eq!(file.get("mimetype"), Value::from("text/csv"));
        assert_eq!(file.get("buffer"), Value::Bytes(b"1,2".to_vec().into()));
    }

    #[test]
    fn compressed_bodies_are_inflated_within_the_limit() {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(&[b'a'; 1000]).unwrap();
        let zipped = Bytes::from(encoder.finish().unwrap());
        let gzip = HeaderValue::from_static("gzip");
        assert_eq!(inflate(zipped.clone(), &gzip, 1000).unwrap().len(), 1000);
        assert!(matches!(inflate(zipped.clone(), &gzip, 999), Err(Refused::TooLarge { .. })));
        assert!(matches!(inflate(zipped, &HeaderValue::from_static("br"), 999), Err(Refused::Unsupported { .. })));
    }
}
