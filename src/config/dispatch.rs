//! `[dispatch]`: who tells workers which durable runs are ready.

use std::path::PathBuf;

use serde::Deserialize;

use super::Config;
use crate::dispatch::JetStreamOptions;

#[derive(Clone, Deserialize)]
pub struct Dispatch {
    pub nats_url: String,
    pub nats_user: String,
    pub nats_password: String,
    pub nats_credentials: String,
    pub nats_authority: String,
    pub nats_stream: String,
    pub nats_replicas: usize,
    pub nats_ack_ms: u64,
    pub sweep_ms: u64,
}

impl std::fmt::Debug for Dispatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dispatch").field("nats_stream", &self.nats_stream).finish_non_exhaustive()
    }
}

impl Dispatch {
    /// Where NATS is and how it is used; none: the database dispatches.
    pub fn options(&self) -> Option<JetStreamOptions> {
        let file = |path: &str| Some(PathBuf::from(path)).filter(|_| !path.is_empty());
        (!self.nats_url.is_empty()).then(|| JetStreamOptions {
            url: self.nats_url.clone(),
            user: self.nats_user.clone(),
            password: self.nats_password.clone(),
            credentials: file(&self.nats_credentials),
            authority: file(&self.nats_authority),
            stream: self.nats_stream.clone(),
            replicas: self.nats_replicas,
            ack_ms: self.nats_ack_ms,
            sweep_ms: self.sweep_ms,
        })
    }

    /// Whether all of the addresses are encrypted or this machine's own.
    pub fn is_guarded(&self) -> bool {
        self.addresses().all(|address| {
            let local = |url: &url::Url| matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
            url::Url::parse(address).is_ok_and(|url| url.scheme() == "tls" || local(&url))
        })
    }

    fn addresses(&self) -> impl Iterator<Item = &str> {
        self.nats_url.split(',').map(str::trim).filter(|address| !address.is_empty())
    }
}

/// What is wrong with it. No address is shown: it may hold a password.
pub(super) fn problems(config: &Config) -> Vec<String> {
    let dispatch = &config.dispatch;
    let mut problems = Vec::new();
    let usable = |address: &str| {
        url::Url::parse(address).is_ok_and(|url| matches!(url.scheme(), "nats" | "tls") && url.has_host())
    };
    if !dispatch.nats_url.is_empty() && (dispatch.addresses().count() == 0 || !dispatch.addresses().all(usable)) {
        problems.push(
            "dispatch.nats_url: expected addresses such as nats://nats:4222 or tls://nats:4222, with commas between several"
                .into(),
        );
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if dispatch.nats_stream.is_empty() || !dispatch.nats_stream.chars().all(plain) {
        let found = &dispatch.nats_stream;
        problems.push(format!("dispatch.nats_stream: expected letters, digits, - and _, found \"{found}\""));
    }
    if !(1..=5).contains(&dispatch.nats_replicas) {
        problems.push(format!("dispatch.nats_replicas: expected 1 to 5, found {}", dispatch.nats_replicas));
    }
    if !dispatch.nats_credentials.is_empty() && !dispatch.nats_user.is_empty() {
        problems.push("dispatch.nats_credentials and dispatch.nats_user: expected one of them".into());
    }
    if dispatch.nats_ack_ms < 100 {
        problems.push(format!("dispatch.nats_ack_ms: expected at least 100, found {}", dispatch.nats_ack_ms));
    }
    if dispatch.sweep_ms == 0 {
        problems.push("dispatch.sweep_ms: expected at least 1, found 0".into());
    }
    problems
}
