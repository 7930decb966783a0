//! Floor 9: OpenTelemetry: traces of runs and what `/metrics` says, over OTLP/HTTP with JSON, to a collector that the
//! operator names. Nobody waits for it: what the collector does not take in time is dropped and counted.
//!
//! Our own exporter instead of the `opentelemetry` crates: those bring a second HTTP client and a span machinery that
//! every step would go through, and a run's trace is known whole when it ends.

mod openmetrics;
mod otlp;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde_json::Value as Json;
use tokio::sync::mpsc;
use url::Url;

use crate::clock::Clock;
use crate::model::run::{RunRecord, RunState};
use crate::net::{Net, NetOptions, NetRequest};
use crate::runtime::run::EndedRun;
use crate::runtime::services::Watch;
use otlp::Told;

/// Runs that wait to be told of; later ones are dropped.
const QUEUE_MAX: usize = 4_096;
/// Runs in one request.
const BATCH_MAX: usize = 256;
/// How often a request is made that fails for a while.
const ATTEMPTS_MAX: u32 = 5;

/// Where to, and how much.
#[derive(Clone, Debug)]
pub struct Options {
    /// Base address of the collector, such as `http://collector:4318`; `/v1/traces` and `/v1/metrics` are appended.
    pub endpoint: String,
    /// Sent with every request, for example an API key.
    pub headers: BTreeMap<String, String>,
    /// Attributes `service.name` and `service.instance.id`.
    pub service: String,
    pub instance: String,
    /// Of runs that nobody decided about before, so many percent are told of; failed ones always.
    pub sample_percent: f64,
    /// Spans are sent this often at the latest.
    pub traces_every: Duration,
    /// Metrics are sent this often; `None`: never.
    pub metrics_every: Option<Duration>,
    /// One request may take this long.
    pub request: Duration,
}

/// What is wrong with the options, one line each.
pub fn problems(options: &Options) -> Vec<String> {
    let mut problems = Vec::new();
    if !Url::parse(&options.endpoint).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
        problems.push("otel.endpoint: expected an address such as http://collector:4318".to_string());
    }
    if headers(&options.headers).is_none() {
        problems.push("otel.headers: expected names and values that HTTP headers can have".to_string());
    }
    if !(0.0..=100.0).contains(&options.sample_percent) {
        problems.push(format!("otel.sample_percent: expected 0 to 100, found {}", options.sample_percent));
    }
    problems
}

fn headers(given: &BTreeMap<String, String>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let mut value = HeaderValue::from_str(value).ok()?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_bytes(name.as_bytes()).ok()?, value);
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Some(headers)
}

/// A run on its way out.
enum Outgoing {
    Run(Arc<EndedRun>),
    Evaluation(Box<RunRecord>),
}

/// Tells a collector. Give it to [`crate::runtime::Services::watch`], and let [`Telemetry::run`] go on.
pub struct Telemetry {
    options: Options,
    headers: HeaderMap,
    resource: Json,
    net: Net,
    clock: Clock,
    sender: mpsc::Sender<Outgoing>,
    receiver: std::sync::Mutex<Option<mpsc::Receiver<Outgoing>>>,
    /// Runs told of.
    pub told: AtomicU64,
    /// Runs not told of because the collector was too slow, away or refused them.
    pub dropped: AtomicU64,
    /// Requests that failed for good.
    pub failed: AtomicU64,
}

/// The text of `/metrics`.
pub type Metrics = Arc<dyn Fn() -> BoxFuture<'static, Option<String>> + Send + Sync>;

impl Telemetry {
    /// # Errors
    /// What [`problems`] says.
    pub fn new(options: Options, clock: Clock) -> Result<Arc<Telemetry>, Vec<String>> {
        let wrong = problems(&options);
        let (Some(headers), true) = (headers(&options.headers), wrong.is_empty()) else { return Err(wrong) };
        // The operator named the host: what flows may call does not matter here.
        let host = Url::parse(&options.endpoint).ok().and_then(|url| url.host_str().map(str::to_string));
        let allow = host.into_iter().map(|host| host.trim_matches(['[', ']']).to_string()).collect();
        let net = Net::new(NetOptions { allow, redirects_max: 0, ..NetOptions::default() })
            .map_err(|problems| problems.iter().map(|p| format!("otel.endpoint: {p}")).collect::<Vec<_>>())?;
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let resource = otlp::resource(&options.service, &options.instance);
        Ok(Arc::new(Telemetry {
            options,
            headers,
            resource,
            net,
            clock,
            sender,
            receiver: std::sync::Mutex::new(Some(receiver)),
            told: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }))
    }

    /// Sends until `stop` resolves, and then what is left. Call once.
    pub async fn run(self: Arc<Self>, metrics: Metrics, stop: impl Future<Output = ()>) {
        let receiver = self.receiver.lock().unwrap_or_else(|p| p.into_inner()).take();
        let Some(mut receiver) = receiver else { return };
        let measuring = self.clone().measure(metrics.clone());
        tokio::pin!(stop, measuring);
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                () = &mut measuring => {}
                () = self.next_batch(&mut receiver, &mut batch) => self.tell(&mut batch).await,
            }
        }
        receiver.close();
        while receiver.recv_many(&mut batch, BATCH_MAX).await > 0 {
            self.tell(&mut batch).await;
        }
        if self.options.metrics_every.is_some() {
            self.send_metrics(&metrics).await;
        }
    }

    /// Waits for runs, and then for more of them, as long as is allowed or until a request is full. What has come is in
    /// `batch` when this is dropped before.
    async fn next_batch(&self, receiver: &mut mpsc::Receiver<Outgoing>, batch: &mut Vec<Outgoing>) {
        if batch.is_empty() && receiver.recv_many(batch, BATCH_MAX).await == 0 {
            return std::future::pending().await;
        }
        let patience = self.clock.sleep(self.options.traces_every);
        tokio::pin!(patience);
        while batch.len() < BATCH_MAX {
            let room = BATCH_MAX - batch.len();
            tokio::select! {
                biased;
                more = receiver.recv_many(batch, room) => if more == 0 { return },
                () = &mut patience => return,
            }
        }
    }

    async fn measure(self: Arc<Self>, metrics: Metrics) {
        let Some(every) = self.options.metrics_every else { return std::future::pending().await };
        loop {
            self.clock.sleep(every).await;
            self.send_metrics(&metrics).await;
        }
    }

    async fn send_metrics(&self, metrics: &Metrics) {
        if let Some(text) = metrics().await {
            let body = openmetrics::request(&text, &self.resource, self.clock.now().as_nanosecond());
            self.send("metrics", &body).await;
        }
    }

    async fn tell(&self, batch: &mut Vec<Outgoing>) {
        let told: Vec<Told> = batch
            .drain(..)
            .map(|outgoing| match outgoing {
                Outgoing::Run(run) => Told { parent: run.parent, name: run.flow_label(), run: run.to_record() },
                Outgoing::Evaluation(run) => Told { parent: None, name: run.subject.clone(), run: *run },
            })
            .collect();
        let count =
            if self.send("traces", &otlp::request(&told, &self.resource)).await { &self.told } else { &self.dropped };
        count.fetch_add(told.len() as u64, Ordering::Relaxed);
    }

    /// Makes a request, again when it fails for a while; false when it failed for good.
    async fn send(&self, what: &str, body: &Json) -> bool {
        let url = format!("{}/v1/{what}", self.options.endpoint.trim_end_matches('/'));
        let Ok(url) = Url::parse(&url) else { return false };
        let mut request = NetRequest::new(Method::POST, url);
        request.headers = self.headers.clone();
        request.body = body.to_string().into();
        request.timeout = Some(self.options.request);
        let mut pause = Duration::from_millis(500);
        let mut why = String::new();
        for attempt in 1..=ATTEMPTS_MAX {
            let mut wait = pause;
            match self.net.request(request.clone()).await {
                Ok(answer) if (200..300).contains(&answer.status) => return true,
                Ok(answer) => {
                    why = format!("it answered {}", answer.status);
                    // As the specification says, nothing else is worth trying again.
                    if !matches!(answer.status, 429 | 502 | 503 | 504) {
                        break;
                    }
                    let after = answer.headers.get(header::RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok());
                    wait = after.map_or(pause, Duration::from_secs).min(Duration::from_secs(30));
                }
                Err(error) => why = error.to_string(),
            }
            if attempt < ATTEMPTS_MAX {
                self.clock.sleep(wait).await;
                pause *= 2;
            }
        }
        if self.failed.fetch_add(1, Ordering::Relaxed).is_power_of_two() {
            tracing::warn!("the OpenTelemetry collector did not take {what}: {why} (otel.endpoint)");
        }
        false
    }

    /// Whether a run is told of.
    fn is_wanted(&self, trace: u128, failed: bool) -> bool {
        // By the trace's id, so that all replicas decide alike for all runs of a trace.
        let share = (trace as u64 % 10_000) as f64 / 100.0;
        failed || share < self.options.sample_percent
    }

    fn take(&self, outgoing: Outgoing) {
        if self.sender.try_send(outgoing).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Watch for Telemetry {
    fn ended(&self, run: &Arc<EndedRun>) {
        let wanted = match &run.parent {
            // Who began the trace has decided.
            Some(parent) => parent.sampled,
            None => {
                let trace = otlp::trace_of(run.id, &run.trigger, None);
                self.is_wanted(trace, run.state != RunState::Done)
            }
        };
        if wanted {
            self.take(Outgoing::Run(run.clone()));
        }
    }

    fn evaluated(&self, run: &RunRecord) {
        if self.is_wanted(run.id.trace(), run.state != RunState::Done) {
            self.take(Outgoing::Evaluation(Box::new(run.clone())));
        }
    }
}
