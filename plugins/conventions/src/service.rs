//! Requests to services: where they go, when they are sent again, and answers that are not what was asked for, in words
//! that say what to do.

use std::time::Duration;

use probity_sdk::http::{Request, Response};
use probity_sdk::{Context, Error, ErrorContext, Result};

/// The longest time that [`ask`] waits before it sends a request again.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// The wait where a service in trouble names none.
const WAIT: Duration = Duration::from_millis(300);

/// The answer to a GET request, if its status is 200 to 299. A service that is in trouble (5xx) or asks to wait up to
/// 5 s (`Retry-After`) is asked once more. `what` names the thing asked for, in errors. Needs the capability `clock`.
pub fn ask(request: impl Fn() -> Request, what: &str, cx: &Context) -> Result<Response> {
    let send = || request().send().context(format_args!("{what} could not be read"));
    let answer = send()?;
    let wait = match (answer.status(), retry_after(&answer, cx)) {
        (403 | 429 | 500..=599, Some(wait)) if wait <= WAIT_MAX => wait,
        (500..=599, None) => WAIT,
        _ => return good(answer, what),
    };
    cx.sleep(wait);
    good(send()?, what)
}

/// What `Retry-After` asks for, in seconds or as a date (RFC 9110 §10.2.3). A date that is past asks for no wait.
pub fn retry_after(answer: &Response, cx: &Context) -> Option<Duration> {
    let text = answer.header("retry-after")?.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_millisecond();
    let now = i64::try_from(cx.now_ms()).unwrap_or(i64::MAX);
    Some(Duration::from_millis(u64::try_from(date - now).unwrap_or(0)))
}

/// The answer, if its status is 200 to 299; else an error with the code `http-<status>` that says what it means.
/// `what` was asked for, for example `the card of Trello`.
pub fn good(answer: Response, what: &str) -> Result<Response> {
    let status = answer.status();
    let advice = match status {
        200..=299 => return Ok(answer),
        401 => "the key or token was not accepted; check it".to_owned(),
        403 | 429 => match told_to_wait(&answer) {
            Some(wait) => format!("too many requests; {wait}"),
            None if status == 429 => "too many requests; try again later".to_owned(),
            None => "access is not allowed with this key or token".to_owned(),
        },
        404 | 410 => "there is no such thing, or this key or token may not see it".to_owned(),
        500..=599 => "the service is in trouble; try again later".to_owned(),
        _ => "this answer was not expected".to_owned(),
    };
    let message = format!("{what} could not be read (status {status}): {advice}");
    Err(Error::new(message).with_code(format!("http-{status}")))
}

/// How long the service says to wait.
fn told_to_wait(answer: &Response) -> Option<String> {
    if let Some(after) = answer.header("retry-after") {
        let unit = if after.bytes().all(|digit| digit.is_ascii_digit()) { " s" } else { "" };
        return Some(format!("Retry-After says {after}{unit}"));
    }
    // GitHub's own: https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
    if answer.header("x-ratelimit-remaining") == Some("0") {
        let reset = answer.header("x-ratelimit-reset").unwrap_or("an unknown time");
        return Some(format!("none are left before {reset} (x-ratelimit-reset, seconds since 1970)"));
    }
    None
}

/// A path below a base address: its parts percent-encoded, without empty ones.
pub fn path(text: &str) -> String {
    text.split('/').filter(|part| !part.is_empty()).map(segment).collect::<Vec<_>>().join("/")
}

/// One part of a URL's path, percent-encoded.
pub fn segment(text: &str) -> String {
    match text {
        // As they are they would name another path.
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        _ => encoded(text),
    }
}

/// Percent-encoded but for letters, digits and `-._~`.
pub fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_where_they_are() {
        assert_eq!(path("/docs/my file.md"), "docs/my%20file.md");
        assert_eq!(path("a/../b"), "a/%2E%2E/b");
        assert_eq!(segment("a/b?c"), "a%2Fb%3Fc");
        assert_eq!(encoded("."), ".");
    }
}
