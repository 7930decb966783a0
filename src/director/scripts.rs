//! Scripts of others, run for the tasks that name them: fetched only from addresses that the operator lists, and run as
//! `main(config)` in the sandbox of plugins, where they may call the hosts that the operator lists, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::header::{HeaderValue, USER_AGENT};
use serde_json::Value;
use url::Url;

use super::Task;
use crate::net::{Net, NetRequest};
use crate::plugin::function::{self, Functions};
use crate::runtime::Deployed;

/// The largest script.
const BYTES_MAX: usize = 1 << 20;
/// Fetching one.
const FETCH_MAX: Duration = Duration::from_secs(10);

/// What may be fetched and run, and within which bounds.
pub struct Scripts {
    /// The sandbox, where this build has one.
    pub sandbox: Box<dyn Fn() -> Option<Arc<Functions>> + Send + Sync>,
    pub net: Arc<Net>,
    /// Addresses: of one script, or, with a slash at the end, of all below it.
    pub allow: Vec<Url>,
    /// Hosts that scripts may call, as grants write them.
    pub calls: Vec<String>,
    /// Computing time of one run, and its time in all, milliseconds.
    pub compute_ms_max: u64,
    pub run_ms_max: u64,
}

impl Scripts {
    /// The address of a task's script, if it may be fetched.
    pub(super) fn allowed(&self, task: &Task) -> Option<Url> {
        let script = Url::parse(task.script()?).ok()?;
        let plain = script.username().is_empty() && script.password().is_none() && script.fragment().is_none();
        let below = |allowed: &Url| {
            let same = allowed.origin() == script.origin() && matches!(script.scheme(), "http" | "https");
            same && match allowed.path().ends_with('/') {
                true => script.path().starts_with(allowed.path()),
                false => script.path() == allowed.path(),
            }
        };
        (plain && self.allow.iter().any(below)).then_some(script)
    }

    /// Fetches the script and runs its `main(config)`.
    ///
    /// # Errors
    /// Why it could not be fetched, or what it failed with, with the script's own line.
    pub(super) async fn run(&self, task: &Task, script: Url, deployed: Arc<Deployed>) -> Result<Value, String> {
        let functions = (self.sandbox)().ok_or("this build has no JavaScript sandbox to run it in")?;
        let source = self.fetch(&script).await?;
        let name = script.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or("script").to_owned();
        let done = functions.run_task(
            function::Task {
                name,
                source,
                config: task.document.get("config").cloned().unwrap_or(Value::Null),
                hosts: self.calls.clone(),
                compute_ms_max: self.compute_ms_max,
                run_ms_max: self.run_ms_max,
            },
            deployed,
        );
        let done = done.await;
        for (level, line) in done.log {
            match level {
                tracing::Level::ERROR => tracing::error!(task = task.id, "{line}"),
                tracing::Level::WARN => tracing::warn!(task = task.id, "{line}"),
                tracing::Level::INFO => tracing::info!(task = task.id, "{line}"),
                _ => tracing::debug!(task = task.id, "{line}"),
            }
        }
        done.result
    }

    async fn fetch(&self, script: &Url) -> Result<String, String> {
        let shown = script.as_str().split('?').next().unwrap_or_default().to_owned();
        let mut request = NetRequest::new(Method::GET, script.clone());
        request.headers.insert(USER_AGENT, HeaderValue::from_static("request"));
        (request.timeout, request.response_bytes_max) = (Some(FETCH_MAX), Some(BYTES_MAX));
        // Where it would be sent on to is not what was allowed.
        request.redirects_max = Some(0);
        let answer =
            self.net.request(request).await.map_err(|e| format!("its script {shown} cannot be fetched: {e}"))?;
        if answer.status != 200 {
            return Err(format!("its script {shown} was answered with {}; expected 200", answer.status));
        }
        String::from_utf8(answer.body.to_vec()).map_err(|_| format!("its script {shown} is not UTF-8"))
    }
}
