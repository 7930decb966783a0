//! One request to a data source, asked again where that helps, and its answer.

use std::time::Duration;

use probity_sdk::http::Response;
use probity_sdk::{Context, Error, Map, Result, Value, bail, json};
use status_conventions::service::{encoded, retry_after};

use crate::asking;

/// Repetitions after the first attempt, and the wait before the first of them: as the library of STATUS has it.
const REPETITIONS: u32 = 2;
const FIRST_WAIT: Duration = Duration::from_millis(300);

/// The longest `Retry-After` that is waited for.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// How long an answer may take unless the source says otherwise.
const TIMEOUT_MS: u64 = 30_000;

/// A request.
#[derive(Clone, Debug)]
pub struct Ask {
    pub method: String,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub timeout: Duration,
    /// An answer with an error status is an answer, too.
    pub any_status: bool,
    /// So is the last one, after those that were asked again for.
    pub last_status: bool,
}

impl Ask {
    /// A GET of this URL.
    pub fn get(url: String) -> Self {
        let timeout = Duration::from_millis(TIMEOUT_MS);
        Self {
            method: "GET".to_owned(),
            url,
            headers: Vec::new(),
            body: Vec::new(),
            timeout,
            any_status: false,
            last_status: false,
        }
    }

    /// Sets a header, whatever it was before.
    pub fn header(&mut self, name: &str, value: impl Into<String>) {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.into()));
    }

    /// Adds `name=value` to the query.
    pub fn query(&mut self, name: &str, value: &str) {
        self.url.push(if self.url.contains('?') { '&' } else { '?' });
        self.url.push_str(&format!("{}={}", encoded(name), encoded(value)));
    }

    /// Sends it. The source's errors have the codes `http-<status>`.
    pub fn send(&self, cx: &Context) -> Result<Response> {
        let repeatable = matches!(self.method.as_str(), "GET" | "HEAD" | "PROPFIND");
        let mut attempt = 0;
        loop {
            let mut request = cx.http().request(&self.method, &self.url).timeout(self.timeout).body(self.body.clone());
            for (name, value) in &self.headers {
                request = request.header(name, value);
            }
            let last = attempt >= REPETITIONS;
            let wait = match request.send() {
                Ok(answer) if self.any_status || (200..300).contains(&answer.status()) => return Ok(answer),
                Ok(answer) => match pause(&answer, repeatable, attempt, cx).filter(|_| !last) {
                    Some(wait) => wait,
                    None if self.last_status => return Ok(answer),
                    None => return Err(self.refused(&answer)),
                },
                Err(error) => {
                    let lost = matches!(error.code(), Some("ECONNRESET" | "ECONNABORTED" | "EPIPE" | "ETIMEDOUT"));
                    if last || !(asking::never_reached(&error) || repeatable && lost) {
                        return Err(error);
                    }
                    asking::backoff(FIRST_WAIT, attempt)
                }
            };
            cx.sleep(wait);
            attempt += 1;
        }
    }

    /// What an error status means, in words that say what to do.
    fn refused(&self, answer: &Response) -> Error {
        let status = answer.status();
        let place = self.url.split(['?', '#']).next().unwrap_or_default();
        let limit = answer.header("x-ratelimit-remaining") == Some("0");
        let what = match status {
            401 => "authentication failed: the key or password was not accepted".to_owned(),
            403 | 429 if limit => {
                let reset = answer.header("x-ratelimit-reset").unwrap_or("an unknown time");
                format!("the limit of requests is reached until {reset} (x-ratelimit-reset, seconds since 1970)")
            }
            403 => "access forbidden: the key may not see this".to_owned(),
            404 => "resource not found, or the key may not see it".to_owned(),
            429 => match answer.header("retry-after") {
                Some(after) => format!("too many requests, Retry-After {after}"),
                None => "too many requests".to_owned(),
            },
            500..=599 => "server error".to_owned(),
            _ => "the request was not accepted".to_owned(),
        };
        Error::new(format!("{place} answered {status}: {what}")).with_code(format!("http-{status}"))
    }
}

/// How long to wait before asking again; `None` where that helps nothing or could do something twice.
fn pause(answer: &Response, repeatable: bool, attempt: u32, cx: &Context) -> Option<Duration> {
    let after = retry_after(answer, cx);
    match answer.status() {
        429 => after.or_else(|| Some(asking::backoff(FIRST_WAIT, attempt))),
        // GitHub's secondary limit: 403 with Retry-After.
        403 => after,
        503 if after.is_some() => after,
        500..=599 if repeatable => Some(asking::backoff(FIRST_WAIT, attempt)),
        _ => None,
    }
    .filter(|wait| *wait <= WAIT_MAX)
}

/// The body as JSON; `null` where there is none. What is no JSON is an error: a page in the place of data is no data.
pub fn data(answer: &Response) -> Result<Value> {
    if answer.status() == 204 || answer.bytes().is_empty() {
        return Ok(Value::Null);
    }
    match answer.json() {
        Ok(data) => Ok(data),
        Err(error) => bail!(
            "the answer is no JSON: {} (content type {})",
            error,
            answer.header("content-type").unwrap_or("unknown")
        ),
    }
}

/// Status, headers and time of an answer, as the library of STATUS reports them.
pub fn metadata(answer: &Response, source: &str, cx: &Context) -> Map<String, Value> {
    let mut headers = Map::new();
    for (name, value) in answer.headers() {
        // A session is nothing a message should carry on.
        if name.eq_ignore_ascii_case("set-cookie") {
            continue;
        }
        let joined = match headers.get(&name.to_ascii_lowercase()).and_then(Value::as_str) {
            Some(before) => format!("{before}, {value}"),
            None => value.to_owned(),
        };
        headers.insert(name.to_ascii_lowercase(), Value::from(joined));
    }
    let status = answer.status();
    let all = json!({ "timestamp": cx.now_ms(), "source": source, "status": status, "headers": headers });
    all.as_object().cloned().unwrap_or_default()
}

/// The address of the next page: RFC 8288's `Link: <…>; rel="next"`.
pub fn next_link(answer: &Response) -> Option<String> {
    answer.headers().filter(|(name, _)| name.eq_ignore_ascii_case("link")).find_map(|(_, value)| {
        value.split(',').find_map(|link| {
            let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
            let next = parameters.split(';').any(|p| matches!(p.trim(), "rel=\"next\"" | "rel=next"));
            next.then(|| target.to_owned())
        })
    })
}

/// Scheme, host and port as they are written.
pub fn origin(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find(['/', '?', '#', '\\']).map_or(url.len(), |at| start + at);
    &url[..end]
}

/// The base address with an endpoint behind its path. An endpoint that names another server is refused, for the
/// source's key would go there; one of the same server is taken as it is.
pub fn joined(base: &str, endpoint: &str) -> Result<String> {
    let good =
        ["http://", "https://"].iter().any(|scheme| base.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
    if !good {
        bail!("baseUrl is \"{base}\": an address with http:// or https:// was expected");
    }
    if endpoint.contains("://") && endpoint.split(['/', '?']).next().is_some_and(|scheme| scheme.ends_with(':')) {
        if origin(endpoint) != origin(base) {
            bail!("the endpoint names another server than baseUrl ({})", origin(base));
        }
        return Ok(endpoint.to_owned());
    }
    if endpoint.split(['/', '?', '\\']).any(|part| part == "..") {
        bail!("the endpoint has \"..\": it must stay below baseUrl");
    }
    let (base, query) = base.split_once('?').map_or((base, None), |(base, query)| (base, Some(query)));
    let base = base.trim_end_matches('/');
    let mut url = match endpoint.trim_start_matches('/') {
        "" => base.to_owned(),
        query if query.starts_with('?') => format!("{base}{query}"),
        path => format!("{base}/{path}"),
    };
    if let Some(query) = query {
        url.push(if url.contains('?') { '&' } else { '?' });
        url.push_str(query);
    }
    Ok(url)
}
