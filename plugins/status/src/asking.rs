//! When to ask a service again, and how long to wait before.

use std::time::Duration;

use probity_sdk::Error;

/// Errors that come before anything was sent: the service cannot have done anything.
pub fn never_reached(error: &Error) -> bool {
    matches!(error.code(), Some("ECONNREFUSED" | "EHOSTUNREACH" | "ENETUNREACH" | "ENOTFOUND"))
}

/// The wait before attempt `attempt` (the first repetition is 0): `base`, doubled each time.
pub fn backoff(base: Duration, attempt: u32) -> Duration {
    base.saturating_mul(1 << attempt.min(16))
}
