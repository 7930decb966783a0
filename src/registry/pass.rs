//! Documents that are put here and kept by a Registry elsewhere: what this API is told is passed on to it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method};
use serde_json::Value;
use url::Url;

use super::live::{Agreements, Snapshot};
use super::shown::{basic, scrubbed, shown};
use crate::net::{Net, NetRequest};

/// What was passed on is waited for this long to come back through its source.
const SEEN_MAX: Duration = Duration::from_secs(2);

/// A Registry that keeps what is put.
pub struct PassThrough {
    /// As configured, with its secrets.
    address: String,
    base: Url,
    net: Arc<Net>,
    request: Duration,
}

/// What the Registry answered.
#[derive(Debug)]
pub struct Passed {
    pub status: u16,
    pub media: Option<HeaderValue>,
    pub body: Bytes,
}

impl PassThrough {
    /// # Errors
    /// What is wrong with the address, without its secrets.
    pub fn new(address: &str, net: Arc<Net>, request: Duration) -> Result<PassThrough, String> {
        let base = Url::parse(address).map_err(|e| format!("{} is no address: {e}", shown(address)))?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none_or(str::is_empty) {
            return Err(format!(
                "{} is no address of a Registry; expected such as http://registry:5400",
                shown(address)
            ));
        }
        Ok(PassThrough { address: address.into(), base, net, request })
    }

    /// Its address, without secrets.
    pub fn name(&self) -> String {
        shown(&self.address)
    }

    /// One call of its API: `segments` below `/api/v6`.
    ///
    /// # Errors
    /// Why there is no answer, without secrets.
    pub async fn send(&self, method: Method, segments: &[&str], body: Option<&Value>) -> Result<Passed, String> {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["api", "v6"]).extend(segments);
        }
        let what = format!("{method} {}", shown(url.as_str()));
        let mut request = NetRequest::new(method, url);
        request.timeout = Some(self.request);
        if let Some(login) = basic(&self.base).and_then(|login| HeaderValue::from_str(&login).ok()) {
            request.headers.insert(AUTHORIZATION, login);
        }
        if let Some(body) = body {
            request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            request.body = body.to_string().into();
        }
        let answer = self.net.request(request).await;
        let answer = answer.map_err(|e| format!("{what}: {}", scrubbed(&e.to_string(), &self.address)))?;
        Ok(Passed { status: answer.status, media: answer.headers.get(CONTENT_TYPE).cloned(), body: answer.body })
    }
}

impl Agreements {
    /// Reads every source anew, and waits a moment until the set is as wanted. False when it is not: the Registry that
    /// something was passed on to is no source, or is slow.
    pub async fn look_again(&self, wanted: impl Fn(&Snapshot) -> bool) -> bool {
        self.again.send_modify(|times| *times += 1);
        let mut current = self.subscribe();
        tokio::select! {
            // The sender lives in `self`.
            _ = current.wait_for(|snapshot| wanted(snapshot)) => true,
            () = self.clock.sleep(SEEN_MAX) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_none_is_refused_without_its_secrets() {
        let refused = |address: &str| PassThrough::new(address, Arc::default(), SEEN_MAX).err().unwrap();
        for address in ["mongodb://ana:s3cret-word@a/registry", "ana:s3cret-word@a", "http://"] {
            let why = refused(address);
            assert!(!why.contains("s3cret"), "{why}");
        }
    }
}
