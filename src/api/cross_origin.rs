//! What Governify's services send besides their answers: leave for pages of other sites to read them, and gzip for who
//! asks for it.

use std::io::Write;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use hyper::body::Body as _;

/// Methods that a page may try, as the Registry lists them. Writes are let in by token or user all the same.
const METHODS: &str = "GET,HEAD,PUT,PATCH,POST,DELETE";
/// Below this many bytes gzip saves nothing.
const ZIPPED_MIN: u64 = 1024;

/// Answers the question a browser asks before a call, and lets any page read the answer. Nobody's cookies are sent to a
/// `*`, and a page cannot write without a token ([`super::guard`]).
pub(super) async fn allow(call: Request, next: Next) -> Response {
    let mut answer = if call.method() == Method::OPTIONS {
        let mut answer = StatusCode::NO_CONTENT.into_response();
        let headers = answer.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        headers.insert(header::VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
        if let Some(asked) = call.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
        answer
    } else {
        next.run(call).await
    };
    answer.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    answer
}

/// Compresses texts and JSON as they are written, for callers that take gzip.
pub(super) async fn zipped(call: Request, next: Next) -> Response {
    let takes = takes_gzip(call.headers());
    let answer = next.run(call).await;
    let is_text = answer.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).is_some_and(|media| {
        media.starts_with("text/") || media.starts_with("application/json") || media.starts_with("image/svg")
    });
    if !is_text || answer.body().size_hint().exact().is_some_and(|bytes| bytes < ZIPPED_MIN) {
        return answer;
    }
    let (mut head, body) = answer.into_parts();
    head.headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if !takes {
        return Response::from_parts(head, body);
    }
    head.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    head.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(head, Body::from_stream(zip(body)))
}

/// Whether `Accept-Encoding` names gzip, or anything, without forbidding it.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let all: Vec<&str> = headers.get_all(header::ACCEPT_ENCODING).into_iter().filter_map(|v| v.to_str().ok()).collect();
    let quality = |wanted: &str| {
        all.iter().flat_map(|list| list.split(',')).find_map(|item| {
            let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
            let q = parameters.trim().strip_prefix("q=").map_or(Some(1.0), |q| q.trim().parse::<f64>().ok());
            name.trim().eq_ignore_ascii_case(wanted).then_some(q.unwrap_or(0.0))
        })
    };
    quality("gzip").or_else(|| quality("*")).is_some_and(|q| q > 0.0)
}

type Chunk = Result<Bytes, std::io::Error>;

/// Every piece is flushed, so that what was written can be read before the next one comes. An answer that is broken off
/// stays broken off.
fn zip(body: Body) -> impl futures_util::Stream<Item = Chunk> {
    let state = Some((body.into_data_stream(), GzEncoder::new(Vec::new(), Compression::fast())));
    stream::unfold(state, async |state| {
        let (mut pieces, mut encoder) = state?;
        let written = match pieces.next().await {
            Some(Ok(piece)) => encoder.write_all(&piece).and_then(|()| encoder.flush()),
            Some(Err(error)) => return Some((Err(std::io::Error::other(error)), None)),
            None => return Some((encoder.finish().map(Bytes::from), None)),
        };
        Some(match written {
            Ok(()) => (Ok(Bytes::from(std::mem::take(encoder.get_mut()))), Some((pieces, encoder))),
            Err(error) => (Err(error), None),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_to_who_takes_it() {
        let takes = |text: &str| {
            let headers: HeaderMap = [(header::ACCEPT_ENCODING, text.parse().unwrap())].into_iter().collect();
            takes_gzip(&headers)
        };
        for text in ["gzip", "deflate, gzip;q=0.5", "GZIP", "*", "br, *;q=0.1"] {
            assert!(takes(text), "{text}");
        }
        for text in ["br", "gzip;q=0", "identity", "gzip;q=0, *", ""] {
            assert!(!takes(text), "{text}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
