//! Results on their way to STATUS's backend: in as few requests as it takes, one after the other, the last with
//! `done`.
//!
//! The backend (`POST /api/v1/computations/bulk`) knows no idempotency key: a request is only repeated when it surely
//! was not processed.

use std::time::Duration;

use probity_sdk::{Context, Error, Result};
use status_conventions::service::retry_after;

use crate::asking;

/// Largest request unless the node says otherwise, bytes: Express' `express.json()` takes 100 kB.
pub const REQUEST_BYTES: u32 = 100_000;

/// What stands around the results in a request.
const HEAD: &str = "{\"computations\":[";
const TAIL: &str = "],\"done\":false}";

/// How often a request is repeated.
const REPETITIONS: u32 = 4;

/// The wait before the first repetition; 1.5 s in all, for STATUS itself waits 3 s for an answer.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The longest `Retry-After` that is waited for.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// How long the backend may take for one request.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Where the results go.
pub struct Destination {
    pub url: String,
    /// For the header `x-access-token`; empty without one.
    pub token: String,
    /// Largest request, bytes.
    pub bytes_max: usize,
    /// Most results in one request.
    pub items_max: usize,
}

impl Destination {
    /// Whether a result of this size fits into a request of its own.
    pub fn fits(bytes: usize, bytes_max: usize) -> bool {
        HEAD.len() + bytes + TAIL.len() <= bytes_max
    }

    /// Sends results 0 to `count - 1`, each as `item` gives it: JSON that fits. Each request is answered before the
    /// next one goes out; the error says how many results had been taken.
    pub fn deliver(&self, cx: &Context, count: usize, mut item: impl FnMut(usize) -> Result<String>) -> Result<()> {
        let (mut body, mut first, mut next) = (HEAD.to_owned(), 0, 0);
        while next < count {
            let text = item(next)?;
            let full = next - first >= self.items_max || body.len() + 1 + text.len() + TAIL.len() > self.bytes_max;
            if next > first && full {
                body.push_str(TAIL);
                self.post(cx, body).map_err(|error| self.stopped(error, first, count))?;
                (body, first) = (HEAD.to_owned(), next);
            }
            if next > first {
                body.push(',');
            }
            body.push_str(&text);
            next += 1;
        }
        body.push_str("],\"done\":true}");
        self.post(cx, body).map_err(|error| self.stopped(error, first, count))
    }

    fn stopped(&self, error: Error, taken: usize, count: usize) -> Error {
        let code = error.code().unwrap_or("status-backend").to_owned();
        let what = match taken {
            0 => format!("none of the {count} results was stored by STATUS"),
            _ => format!("only {taken} of the {count} results were stored by STATUS, and it was not told that all are"),
        };
        error.context(what).with_code(code)
    }

    fn post(&self, cx: &Context, body: String) -> Result<()> {
        let mut attempt = 0;
        loop {
            let request = cx.http().post(&self.url).header("content-type", "application/json");
            let request = request.header("x-access-token", &self.token).timeout(TIMEOUT);
            let wait = match request.body(body.clone()).send() {
                Ok(answer) if (200..300).contains(&answer.status()) => return Ok(()),
                Ok(answer) if matches!(answer.status(), 429 | 503) && attempt < REPETITIONS => {
                    // Refused before it was looked at, says who asks for another try later; nobody else does.
                    match retry_after(&answer, cx).filter(|wait| *wait <= WAIT_MAX) {
                        Some(wait) => wait,
                        None => return answer.ok().map(drop),
                    }
                }
                Ok(answer) => return answer.ok().map(drop),
                Err(error) if asking::never_reached(&error) && attempt < REPETITIONS => {
                    asking::backoff(FIRST_WAIT, attempt)
                }
                Err(error) => return Err(error),
            };
            cx.sleep(wait);
            attempt += 1;
        }
    }
}
