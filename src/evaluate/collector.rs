//! Governify's collector protocol, as a client: POST the computation, then GET what it names until it is ready.
//!
//! Each HTTP call has a limit of its own, waits for a place at its host, and is made again only when that is safe: a
//! POST when it cannot have been taken (a collector may start real work for it), a GET always.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::Value as Json;
use tokio::sync::Semaphore;
use url::Url;

use super::{Asking, Evaluator};
use crate::net::{NetError, NetRequest, NetResponse};

/// A poll may be answered 404 this often in a row: collectors need a moment to know their own computation.
const NOT_FOUND_MAX: u32 = 3;
/// First pause before a call is made again, milliseconds; doubled each time, and shortened at random by up to a half.
const RETRY_MS: u64 = 100;
/// A collector may ask for a longer pause (`Retry-After`), up to this, milliseconds.
const RETRY_MS_MAX: u64 = 10_000;

/// Places for calls, by host.
#[derive(Debug)]
pub(super) struct Hosts {
    parallel_max: usize,
    places: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Hosts {
    pub(super) fn new(parallel_max: usize) -> Hosts {
        Hosts { parallel_max: parallel_max.clamp(1, Semaphore::MAX_PERMITS), places: Mutex::default() }
    }

    /// The places of a collector's host. Only configured and agreed base URLs come here, so there are few.
    fn of(&self, base: &Base) -> Arc<Semaphore> {
        let mut places = self.places.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        places.entry(base.origin.clone()).or_insert_with(|| Arc::new(Semaphore::new(self.parallel_max))).clone()
    }
}

/// One question to one collector.
pub(super) struct Collecting<'e> {
    evaluator: &'e Evaluator,
    base: Base,
    /// Where computations are posted.
    url: String,
    places: Arc<Semaphore>,
}

impl<'e> Collecting<'e> {
    /// The error says what of the caller's token cannot be sent.
    pub(super) fn new(evaluator: &'e Evaluator, mut base: Base, url: String, asking: &Asking) -> Result<Self, String> {
        if let Some(token) = &asking.access_token {
            base.cookie = Some(cookie(token)?);
        }
        let places = evaluator.hosts.of(&base);
        Ok(Collecting { evaluator, base, url, places })
    }

    /// The final answer to a computation's body.
    pub(super) async fn post_and_poll(&self, body: &Json) -> Result<Json, String> {
        let url = &self.url;
        let body = Bytes::from(serde_json::to_vec(body).expect("JSON prints"));
        let answer = self.call(Method::POST, url, body).await.map_err(|e| format!("collector {url}: {e}"))?;
        let accepted = parse(url, answer.status, &answer.body)?;
        if accepted.get("computations").is_some() || accepted.is_array() {
            return Ok(accepted);
        }
        let Some(computation) = accepted.get("computation").and_then(Json::as_str) else {
            return Err(format!("collector {url}: the answer names no \"computation\" to fetch"));
        };
        let poll = self.base.join(computation);
        let options = &self.evaluator.options;
        let mut pause = Duration::from_millis(options.poll_ms_min.max(1));
        let mut not_found = 0;
        loop {
            // Reasons name the collector, not the computation: its id is new with each evaluation, and a reason that
            // differs is a new revision of the verdict.
            let answer = self.call(Method::GET, &poll, Bytes::new()).await;
            let answer = answer.map_err(|e| format!("collector {url}, its computation: {e}"))?;
            match answer.status {
                202 => not_found = 0,
                404 if not_found < NOT_FOUND_MAX => not_found += 1,
                status => return parse(&format!("{url}, its computation,"), status, &answer.body),
            }
            self.evaluator.engine.services.clock.sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(options.poll_ms_max.max(1)));
        }
    }

    /// One call, made again where that is safe.
    async fn call(&self, method: Method, url: &str, body: Bytes) -> Result<NetResponse, String> {
        let services = &self.evaluator.engine.services;
        let options = &self.evaluator.options;
        let mut headers = self.base.headers(url);
        if method == Method::POST {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let timeout = Some(Duration::from_millis(options.call_ms_max.max(1)));
        let request = NetRequest { headers, body, timeout, ..NetRequest::new(method.clone(), address(url)?) };
        let mut pause_ms = RETRY_MS;
        let mut left = options.retries_max;
        loop {
            let answer = {
                let _place = self.places.acquire().await.expect("never closed");
                services.net.request(request.clone()).await
            };
            let pause_asked = match &answer {
                _ if left == 0 => None,
                Ok(answer) => retry_after(&method, answer),
                Err(error) => may_repeat(&method, error).then_some(0),
            };
            let Some(asked_ms) = pause_asked else { return answer.map_err(|e| e.to_string()) };
            let jittered = pause_ms - fastrand::u64(0..=pause_ms / 2);
            services.clock.sleep(Duration::from_millis(jittered.max(asked_ms))).await;
            pause_ms *= 2;
            left -= 1;
        }
    }
}

/// Whether a call that failed so may be made again.
fn may_repeat(method: &Method, error: &NetError) -> bool {
    match error.code {
        // Nobody was there to take it.
        "ECONNREFUSED" | "ENOTFOUND" => true,
        "ECONNRESET" | "ETIMEDOUT" | "EPROTO" => *method == Method::GET,
        _ => false,
    }
}

/// The pause a collector asks for with an answer that says "not now", milliseconds; `None` for any other answer.
fn retry_after(method: &Method, answer: &NetResponse) -> Option<u64> {
    let not_now = match answer.status {
        429 | 503 => true,
        502 | 504 => *method == Method::GET,
        _ => false,
    };
    let asked = answer.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    not_now.then(|| asked.unwrap_or(0).saturating_mul(1000).min(RETRY_MS_MAX))
}

/// A caller's token as status-backend takes it.
fn cookie(token: &str) -> Result<HeaderValue, String> {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, ';' | ',' | '"' | '\\');
    if token.is_empty() || !token.chars().all(plain) {
        return Err("the caller's x-access-token cannot be sent on: it is no token".into());
    }
    let mut value = HeaderValue::try_from(format!("accessToken={token}")).map_err(|e| e.to_string())?;
    value.set_sensitive(true);
    Ok(value)
}

/// A collector's base URL, its user and password apart: they are sent, but shown nowhere.
pub(super) struct Base {
    /// Without user, password and final slash.
    url: String,
    /// Scheme, host and port.
    origin: String,
    authorization: Option<HeaderValue>,
    /// The caller's token.
    cookie: Option<HeaderValue>,
}

impl Base {
    pub(super) fn of(text: &str) -> Result<Base, String> {
        let mut url = Url::parse(text).map_err(|e| format!("its base URL cannot be read: {e}"))?;
        let decoded = |part: &str| percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned();
        let authorization = match (decoded(url.username()), url.password().map(decoded).unwrap_or_default()) {
            (user, password) if user.is_empty() && password.is_empty() => None,
            (user, password) => {
                let value = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
                let mut value = HeaderValue::try_from(value).map_err(|e| format!("its user or password: {e}"))?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        if authorization.is_some() {
            let bare = url.set_username("").and_then(|()| url.set_password(None));
            bare.map_err(|()| "its base URL has no host".to_string())?;
        }
        let shown = if authorization.is_some() { url.as_str() } else { text };
        let origin = url.origin().ascii_serialization();
        Ok(Base { url: shown.trim_end_matches('/').to_string(), origin, authorization, cookie: None })
    }

    /// `path` below the base, with one slash between them; a whole URL as it is.
    pub(super) fn join(&self, path: &str) -> String {
        if is_url(path) { path.to_owned() } else { format!("{}/{}", self.url, path.trim_start_matches('/')) }
    }

    /// The headers for `url`: authorization and cookie go to the base's own host only, whatever an answer names.
    fn headers(&self, url: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if Url::parse(url).is_ok_and(|url| url.origin().ascii_serialization() == self.origin) {
            headers.extend(self.authorization.clone().map(|value| (header::AUTHORIZATION, value)));
            headers.extend(self.cookie.clone().map(|value| (header::COOKIE, value)));
        }
        headers
    }
}

pub(super) fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

fn address(url: &str) -> Result<Url, String> {
    Url::parse(url).map_err(|e| format!("collector \"{url}\": no URL: {e}"))
}

/// A 2xx answer's JSON; anything else is the reason why there are no samples.
fn parse(url: &str, status: u16, body: &[u8]) -> Result<Json, String> {
    let start = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
    if !(200..300).contains(&status) {
        return Err(format!("collector {url} answered {status}: {start}"));
    }
    // As axios, which the Registry asks with, takes it.
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let read = serde_json::from_slice(body);
    let read = read.or_else(|e| serde_json::from_slice(&without_infinities(body)).map_err(|_| e));
    read.map_err(|e| format!("collector {url} answered {status} without JSON ({e}): {start}"))
}

/// The text with every number in quotes that is none or that is infinite, as Python writes them: `NaN`, `-Infinity`, 1e999.
/// One such value must not take those beside it along; what it is, is said when it is read.
fn without_infinities(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 16);
    let mut rest = body;
    while let Some(&first) = rest.first() {
        let length = match first {
            b'"' => quoted_length(rest),
            b'-' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                let goes_on = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
                rest.iter().position(|b| !goes_on(b)).unwrap_or(rest.len())
            }
            _ => 1,
        };
        let (token, after) = rest.split_at(length);
        let number: Option<f64> = std::str::from_utf8(token).ok().and_then(|token| token.parse().ok());
        if number.is_some_and(|number| !number.is_finite()) {
            out.push(b'"');
            // JavaScript's spelling, whoever wrote it.
            let text = number.map(crate::model::value::number_to_string).unwrap_or_default();
            out.extend_from_slice(text.as_bytes());
            out.push(b'"');
        } else {
            out.extend_from_slice(token);
        }
        rest = after;
    }
    out
}

/// Bytes of the text that begins with a quote, both quotes included; all that there is when it is not closed.
fn quoted_length(text: &[u8]) -> usize {
    let mut escaped = false;
    let end = text.iter().skip(1).position(|&b| {
        let closes = b == b'"' && !escaped;
        escaped = b == b'\\' && !escaped;
        closes
    });
    end.map_or(text.len(), |end| end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_none_takes_nothing_along() {
        let body = br#"{"a": [NaN, -Infinity, 1e999, 5, "NaN \" 1e999"], "b": Infinity, "c": null, "d": true}"#;
        let read = parse("http://c.test", 200, body).unwrap();
        let expected = serde_json::json!({
            "a": ["NaN", "-Infinity", "Infinity", 5, "NaN \" 1e999"], "b": "Infinity", "c": null, "d": true,
        });
        assert_eq!(read, expected);
        assert_eq!(parse("http://c.test", 200, b"\xef\xbb\xbf[1]").unwrap(), serde_json::json!([1]));
        for broken in [&b"{"[..], b"\"", b"[NaN", b"nonsense", b"", b"[1,]", b"{\"a\":\"\\"] {
            let said = parse("http://c.test", 200, broken).unwrap_err();
            assert!(said.contains("without JSON"), "{said}");
        }
    }

    #[test]
    fn credentials_are_sent_to_the_collector_and_shown_nowhere() {
        let base = Base::of("http://ana:s%40cret@collector:5500/base/").unwrap();
        assert_eq!(base.url, "http://collector:5500/base");
        let sent = |url: &str| base.headers(url).get(header::AUTHORIZATION).cloned();
        assert_eq!(sent("http://collector:5500/x").unwrap(), format!("Basic {}", STANDARD.encode("ana:s@cret")));
        assert_eq!(sent("http://elsewhere:5500/x"), None);
        let mut base = base;
        base.cookie = Some(cookie("a.b-c").unwrap());
        let cookies = |url: &str| base.headers(url).get(header::COOKIE).cloned();
        assert_eq!(cookies("http://collector:5500/x").unwrap(), "accessToken=a.b-c");
        assert_eq!(cookies("http://collector:5501/x"), None);
        assert!(cookie("a; admin=1").is_err());
        let plain = Base::of("http://collector:5500/").unwrap();
        assert_eq!(plain.url, "http://collector:5500");
        assert!(plain.authorization.is_none());
        let problem = Base::of("http://ana:s@cret@[/").map(|b| b.url).unwrap_err();
        assert!(!problem.contains("cret"), "{problem}");
    }

    #[test]
    fn paths_are_joined_with_one_slash() {
        for (base, path) in [("http://c:1", "/x"), ("http://c:1/", "/x"), ("http://c:1", "x"), ("http://c:1/", "x")] {
            assert_eq!(Base::of(base).unwrap().join(path), "http://c:1/x", "{base} and {path}");
        }
        assert_eq!(Base::of("http://c:1/b/").unwrap().join("x/7"), "http://c:1/b/x/7");
        assert_eq!(Base::of("http://c:1").unwrap().join("https://d/x/7"), "https://d/x/7");
    }

    #[test]
    fn only_what_cannot_have_been_taken_is_posted_again() {
        let (post, get) = (Method::POST, Method::GET);
        let may = |method: &Method, code| may_repeat(method, &NetError::new(code, "x"));
        assert!(may(&post, "ECONNREFUSED") && may(&get, "ECONNREFUSED"));
        assert!(!may(&post, "ECONNRESET") && may(&get, "ECONNRESET"));
        assert!(!may(&post, "ETIMEDOUT") && may(&get, "ETIMEDOUT"));
        assert!(!may(&post, "EACCES") && !may(&get, "EACCES"));
        let answer = |status, after: Option<&'static str>| NetResponse {
            status,
            headers: after.map(|s| (header::RETRY_AFTER, HeaderValue::from_static(s))).into_iter().collect(),
            body: Bytes::new(),
            url: Url::parse("http://c/").unwrap(),
            redirects: Vec::new(),
            digest_problem: None,
        };
        assert_eq!(retry_after(&post, &answer(503, Some("2"))), Some(2_000));
        assert_eq!(retry_after(&post, &answer(429, Some("86400"))), Some(RETRY_MS_MAX));
        assert_eq!(retry_after(&post, &answer(502, None)), None);
        assert_eq!(retry_after(&get, &answer(502, None)), Some(0));
        assert_eq!(retry_after(&get, &answer(500, None)), None);
        assert_eq!(retry_after(&post, &answer(200, None)), None);
    }
}
