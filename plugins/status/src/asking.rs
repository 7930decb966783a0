//! When to ask a service again, and how long to wait before.

use std::time::Duration;

use probity_sdk::http::Response;
use probity_sdk::{Context, Error};

/// Errors that come before anything was sent: the service cannot have done anything.
pub fn never_reached(error: &Error) -> bool {
    matches!(error.code(), Some("ECONNREFUSED" | "EHOSTUNREACH" | "ENETUNREACH" | "ENOTFOUND"))
}

/// The wait before attempt `attempt` (the first repetition is 0): `base`, doubled each time.
pub fn backoff(base: Duration, attempt: u32) -> Duration {
    base.saturating_mul(1 << attempt.min(16))
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
