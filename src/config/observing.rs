//! `[trace]` and `[otel]`: what is kept of runs' messages, and who is told of runs and metrics.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
pub struct Trace {
    pub messages: crate::runtime::capture::Which,
    pub message_bytes_max: usize,
    pub run_bytes_max: usize,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Otel {
    pub endpoint: String,
    pub headers: BTreeMap<String, String>,
    pub service: String,
    pub instance: String,
    pub sample_percent: u32,
    pub traces_ms: u64,
    pub metrics_ms: u64,
    pub request_ms_max: u64,
}

impl Otel {
    /// As the exporter takes it; `None` when nobody is to be told.
    pub fn options(&self) -> Option<crate::telemetry::Options> {
        let ms = std::time::Duration::from_millis;
        (!self.endpoint.is_empty()).then(|| crate::telemetry::Options {
            endpoint: self.endpoint.clone(),
            headers: self.headers.clone(),
            service: self.service.clone(),
            instance: self.instance.clone(),
            sample_percent: f64::from(self.sample_percent),
            traces_every: ms(self.traces_ms),
            metrics_every: (self.metrics_ms > 0).then(|| ms(self.metrics_ms)),
            request: ms(self.request_ms_max),
        })
    }
}

#[derive(Clone, Debug, Deserialize)]
pub struct Durable {
    pub flows: String,
    pub accept_ms_max: u64,
    pub accept_batch_max: usize,
    pub lease_ms: u64,
    pub lease_batch_max: usize,
    pub parallel_max: usize,
    pub poll_ms_min: u64,
    pub poll_ms_max: u64,
    pub attempts_max: u32,
    pub retry_ms_min: u64,
    pub retry_ms_max: u64,
    pub run_ms_max: u64,
    pub key_ms: u64,
    pub fail_points: Vec<String>,
}
