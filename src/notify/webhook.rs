//! Webhooks: signed as Standard Webhooks has it (`webhook-id`, `webhook-timestamp`, `webhook-signature`), and Slack's.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use jiff::Timestamp;
use sha2::Sha256;
use url::Url;

use super::{Failure, Message};
use crate::net::{Net, NetRequest};

/// What is signed with; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    key: Vec<u8>,
    /// One that was replaced counts until then.
    until: Option<Timestamp>,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// `whsec_` and Base64, as Standard Webhooks writes them, or any text.
    pub fn of(text: &str) -> Secret {
        let coded = text.strip_prefix("whsec_").and_then(|coded| STANDARD.decode(coded).ok());
        Secret { key: coded.unwrap_or_else(|| text.as_bytes().to_vec()), until: None }
    }

    /// Whether it is the same secret.
    pub(super) fn is(&self, other: &Secret) -> bool {
        self.key == other.key
    }

    pub(super) fn counts(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// The same, which counts until then at most.
    pub(super) fn until(mut self, until: Timestamp) -> Secret {
        self.until = Some(self.until.map_or(until, |known| known.min(until)));
        self
    }
}

/// The signature header of a body: HMAC-SHA256 of `id.timestamp.body`, Base64, once for each secret.
pub fn signature(secrets: &[Secret], id: &str, timestamp: i64, body: &[u8]) -> String {
    let sign = |secret: &Secret| {
        let mut mac = Hmac::<Sha256>::new_from_slice(&secret.key).expect("HMAC takes keys of any length");
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    };
    secrets.iter().map(sign).collect::<Vec<_>>().join(" ")
}

/// Posts a message as JSON. The instant is that of this try, so that a receiver can refuse what was recorded and sent again
/// by somebody else.
pub(super) async fn post(
    net: &Net,
    url: &Url,
    message: &Message,
    secrets: &[Secret],
    now: Timestamp,
    limit: Duration,
) -> Result<(), Failure> {
    let body = message.json().to_string();
    let (id, second) = (message.id.to_string(), now.as_second());
    let mut headers = HeaderMap::new();
    let mut set = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    set("webhook-id", id.clone());
    set("webhook-timestamp", second.to_string());
    let secrets: Vec<Secret> = secrets.iter().filter(|secret| secret.counts(now)).cloned().collect();
    if !secrets.is_empty() {
        set("webhook-signature", signature(&secrets, &id, second, body.as_bytes()));
    }
    send(net, url, headers, body, limit).await
}

/// Posts a message as Slack takes it. The address is the secret.
pub(super) async fn post_slack(net: &Net, url: &Url, message: &Message, limit: Duration) -> Result<(), Failure> {
    send(net, url, HeaderMap::new(), message.slack().to_string(), limit).await
}

async fn send(net: &Net, url: &Url, headers: HeaderMap, body: String, limit: Duration) -> Result<(), Failure> {
    let mut request = NetRequest::new(Method::POST, url.clone());
    request.headers = headers;
    request.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    request.body = Bytes::from(body);
    request.timeout = Some(limit);
    // To follow one would show the body, and its signature, to whoever it names.
    request.redirects_max = Some(0);
    request.response_bytes_max = Some(64 << 10);
    let answer = net.request(request).await.map_err(|error| Failure::new(error.message))?;
    if (200..300).contains(&answer.status) {
        return Ok(());
    }
    let said: String = String::from_utf8_lossy(&answer.body).chars().take(200).collect();
    let after = answer.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    Err(Failure {
        problem: format!("{} answered {}: {said}", url.host_str().unwrap_or("it"), answer.status),
        retry_after: after.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification (standard-webhooks/spec, "Signature scheme").
    #[test]
    fn signatures_are_those_of_standard_webhooks() {
        let secret = Secret::of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let body = br#"{"test": 2432232314}"#;
        let signed = signature(std::slice::from_ref(&secret), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let both = signature(&[secret.clone(), Secret::of("plain")], "a", 1, b"");
        assert_eq!(both.split(' ').count(), 2);
        assert_eq!(format!("{secret:?}"), "Secret");
    }
}
