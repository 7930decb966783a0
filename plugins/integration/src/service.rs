//! Requests to services: asked again when they say so, refused in words that say what to do.

use std::time::Duration;

use probity_sdk::http::{Request, Response};
use probity_sdk::prelude::*;
use status_conventions::value::truthy;

/// The longest time to wait before a request is sent again, seconds.
const WAIT_MAX: u64 = 5;

/// The answer to a GET request, if its status is 200 to 299. A service that is in trouble (5xx) or asks to wait up to
/// 5 s (`Retry-After`) is asked once more. `what` names the thing asked for, in errors.
pub fn ask(request: impl Fn() -> Request, what: &str, cx: &Context) -> Result<Response> {
    let answer = request().send().context(format_args!("{what} could not be read"))?;
    let wait = match (answer.status(), retry_after(&answer)) {
        (429 | 403, Some(seconds)) | (500..=599, Some(seconds)) if seconds <= WAIT_MAX => Duration::from_secs(seconds),
        (500..=599, None) => Duration::from_millis(300),
        _ => return good(answer, what),
    };
    cx.sleep(wait);
    good(request().send().context(format_args!("{what} could not be read"))?, what)
}

fn retry_after(answer: &Response) -> Option<u64> {
    answer.header("retry-after")?.trim().parse().ok()
}

fn good(answer: Response, what: &str) -> Result<Response> {
    let status = answer.status();
    let advice = match status {
        200..=299 => return Ok(answer),
        401 => "the key or token was not accepted; check it".to_owned(),
        403 | 429 => match (answer.header("retry-after"), answer.header("x-ratelimit-remaining")) {
            (Some(after), _) => format!("too many requests; Retry-After says {after}"),
            (None, Some("0")) => "too many requests; none are left for now (x-ratelimit-remaining)".to_owned(),
            _ if status == 429 => "too many requests; try again later".to_owned(),
            _ => "access is not allowed with this key or token".to_owned(),
        },
        404 | 410 => "there is no such thing, or this key or token may not see it".to_owned(),
        500..=599 => "the service is in trouble; try again later".to_owned(),
        _ => "this answer was not expected".to_owned(),
    };
    Err(Error::new(format!("{what} could not be read (status {status}): {advice}")).with_code(format!("http-{status}")))
}

/// The configuration with what the caller sent in its place; what is empty in the body (`""`, 0, false) does not count.
pub fn over<C: Config>(config: &C, msg: &Message) -> Result<C> {
    let mut asked = msg.clone();
    if let Some(Value::Object(body)) = asked.get_mut("req").and_then(|req| req.get_mut("body")) {
        body.retain(|_, value| truthy(value));
    }
    config.over(&asked)
}

/// The text of a property that must be there.
pub fn needed<'t>(text: &'t str, name: &str) -> Result<&'t str> {
    ensure!(
        !text.is_empty(),
        "{name} is missing: write it into the node's properties, or send it as msg.req.body.{name}"
    );
    Ok(text)
}

/// A key or token: the placeholder of a configured `secret:NAME`, else the text itself, which a caller may send. The name
/// of a secret is taken from the configuration only.
pub fn token(msg: &Message, text: &str, name: &str, cx: &Context) -> Result<String> {
    needed(text, name).context("write it as secret:NAME")?;
    match text.strip_prefix("secret:") {
        None => Ok(text.to_owned()),
        Some(_) if msg.param(name).and_then(Value::as_str) == Some(text) => {
            bail!("msg.req.body.{name} names a secret: only the node's own properties may; send the token itself")
        }
        Some(secret) => cx.secret(secret),
    }
}

/// The parts of a path, percent-encoded, without empty ones. `.` and `..` would name another path.
pub fn path(text: &str) -> String {
    text.split('/').filter(|part| !part.is_empty()).map(segment).collect::<Vec<_>>().join("/")
}

/// One part of a path, percent-encoded.
pub fn segment(text: &str) -> String {
    match text {
        "." => return "%2E".to_owned(),
        ".." => return "%2E%2E".to_owned(),
        _ => {}
    }
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Whether a URL is one of GitHub's pages.
pub fn of_github(url: &str) -> bool {
    let rest =
        url.split_once("://").filter(|(scheme, _)| ["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()));
    let host = rest.map_or(url, |(_, rest)| rest).split(['/', '?', '#', ':']).next().unwrap_or_default();
    ["github.com", "www.github.com"].contains(&host.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_github_is_github() {
        for url in ["https://github.com/a/b", "http://WWW.GitHub.com/a", "github.com/a"] {
            assert!(of_github(url), "{url}");
        }
        for url in
            ["https://github.io/a", "https://x.test/github.com", "https://github.com.x.test/a", "https://notgithub.com"]
        {
            assert!(!of_github(url), "{url}");
        }
    }

    #[test]
    fn paths_stay_where_they_are() {
        assert_eq!(path("/docs/my file.md"), "docs/my%20file.md");
        assert_eq!(path("a/../b"), "a/%2E%2E/b");
        assert_eq!(segment("a/b?c"), "a%2Fb%3Fc");
    }
}
