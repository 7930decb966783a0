//! Answers of services that are not what was asked for, in words that say what to do.

use probity_sdk::http::Response;
use probity_sdk::{Error, Result};

/// The answer, if its status is 200 to 299; else an error with the code `http-<status>` that says what it means.
/// `what` was asked for, for example `the card of Trello`.
pub fn good(answer: Response, what: &str) -> Result<Response> {
    let status = answer.status();
    let advice = match status {
        200..=299 => return Ok(answer),
        401 => "the key or token was not accepted; check it".to_owned(),
        403 | 429 => match wait(&answer) {
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
fn wait(answer: &Response) -> Option<String> {
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

/// One part of a URL's path, percent-encoded.
pub fn segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    // As they are they would name another path.
    match encoded.as_str() {
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        _ => encoded,
    }
}
