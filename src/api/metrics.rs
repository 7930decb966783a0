//! `/metrics`, in the Prometheus text format.
//!
//! | metric | what |
//! |---|---|
//! | `probity_runs_total{state}` | ended runs |
//! | `probity_runs_open` | runs open now |
//! | `probity_hops_total` | messages delivered to nodes in ended runs |
//! | `probity_http_requests_total{handler,status}` | answers by status class; `handler` is `flow` or `own` |
//! | `probity_http_request_duration_seconds{handler}` | time from call to answer |
//! | `probity_verdicts_stored_total{verdict}` | verdicts stored, revisions included |
//! | `probity_schedule_lag_seconds` | how late the last firing was |
//! | `probity_ticks_total{what}` | due times: `fired` here, of those `late`, `overlapping` and `taken-up`; `missed` ones |
//! | `probity_tick_drift_seconds_total` | how much later than planned they began, in all |
//! | `probity_tick_drift_max_seconds` | the most of that since the start |
//! | `probity_history_dropped_total` | runs lost to the history because the store was too slow |
//! | `probity_history_waiting` | ended runs that wait to be written |
//! | `probity_places_open{of}`, `probity_places_waiting{of}` | runs with a place, and that wait for one, by flow or tenant |
//! | `probity_runs_refused_total` | runs for which there was no place |
//! | `probity_net_calls_open{host}` | outgoing calls that are open or wait, of the busiest hosts |
//! | `probity_otel_told_total`, `probity_otel_dropped_total`, `probity_otel_failures_total` | runs told to the OpenTelemetry collector, dropped; requests that failed |
//! | `probity_history_sampled_out_total` | successful HTTP runs left out of the history on purpose |
//! | `probity_store_commit_failures_total` | evaluations that could not be stored |
//! | `probity_plugin_calls_total{plugin,node_type}` | calls of a plugin's node type |
//! | `probity_plugin_failed_total{plugin,node_type}` | those that gave an error |
//! | `probity_plugin_seconds_total{plugin,node_type}` | their time, host calls included |
//! | `probity_plugin_stops_total{plugin,kind}` | guests stopped: `trap`, `time`, `memory`, `stack`, `refused`, `contract` |
//! | `probity_plugin_refusals_total{plugin}` | capabilities asked for that were not granted |
//! | `probity_plugin_quarantined{plugin}` | node types in quarantine |
//! | `probity_plugin_memory_bytes{plugin,node_type}` | largest memory of an instance |
//! | `probity_budget_slice{agreement,budget,guarantee,scope,outcome}` | what the last closed window counts for |
//! | `probity_budget_remaining{agreement,budget,guarantee,scope}` | share of an error budget that is left |
//! | `probity_budget_used_least{…}`, `probity_budget_used_most{…}` | bounds of the share used up |
//! | `probity_burn_rate{…,alert}` | how many times too fast it is used up |
//! | `probity_burn_alert{…,alert}` | 1 while an alert fires, 0 while it does not |
//! | `probity_expired_total{what}` | removed by retention: `states`, `revisions`, `runs`, `firings` |
//! | `probity_upkeep_failures_total` | rounds of retention that failed |
//! | `probity_delivered_total` | verdicts delivered to status-backend, when that is configured |
//! | `probity_delivery_refused_total` | verdicts that status-backend refuses; the audit log has them |
//! | `probity_delivery_waiting` | verdicts that wait to be delivered |
//! | `probity_notifications_told_total` | notifications of changed verdicts told, when there are channels |
//! | `probity_notifications_failed_total` | tries to tell one that failed |
//! | `probity_notifications_refused_total` | notifications given up; the audit log has them |
//! | `probity_notifications_waiting` | notifications that wait to be told, by channel |
//! | `probity_queue_runs{state}` | durable runs that have not ended: `ready`, `delayed`, `leased`, `overdue` (the lease ran out), `in-doubt`, `dead` |
//! | `probity_queue_oldest_seconds` | how long the run that is ready longest has waited |
//! | `probity_store_snapshot_age_seconds` | Postgres: age of the oldest snapshot that somebody holds; alarm above 600 |
//! | `probity_store_open_transactions` | Postgres: transactions since the oldest that is still open |
//! | `process_resident_memory_bytes` | memory held |
//! | `process_start_time_seconds` | start, seconds since the Unix epoch |

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::error::ApiError;
use super::openapi::{Endpoint, Media, ok};
use super::{Api, Parts, metrics_budgets, metrics_queue};
use crate::model::state::Verdict;
use crate::plugin::Report;
use crate::registry::{Snapshot, SourceState};
use crate::runtime::Engine;
use crate::store::Store;

/// Counters of the floors below, read when somebody asks for them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Observed {
    /// In the order of [`Verdict::ALL`].
    pub verdicts_stored: [u64; Verdict::ALL.len()],
    pub commit_failures: u64,
    /// Of the firings of schedules.
    pub punctuality: crate::schedule::Punctuality,
    /// How late the last firing of a schedule was, seconds; `None` before the first.
    pub schedule_lag_s: Option<f64>,
    /// Removed by retention: states, revisions, runs, completed firings.
    pub expired: [u64; 4],
    pub upkeep_failures: u64,
    /// Of OpenTelemetry: runs told of, runs dropped, requests that failed.
    pub telemetry: [u64; 3],
    /// Verdicts delivered, and refused; `None` when nobody is to be told.
    pub delivered: Option<(u64, u64)>,
    /// Notifications told, tries that failed, notifications given up; `None` when there is no channel.
    pub notified: Option<[u64; 3]>,
}

pub(super) const ENDPOINTS: &[Endpoint] = &[Endpoint {
    method: "get",
    path: "/metrics",
    tag: "service",
    summary: "Counters for Prometheus",
    query: &[],
    body: None,
    answers: &[ok("text exposition format", Media::Metrics)],
    login: true,
    route: || get(show),
}];

/// What the HTTP server counts itself.
pub(super) struct Metrics {
    registry: Registry,
    handlers: [Handler; 2],
    started_at_s: f64,
}

/// One side of the server. Counters are held here, for a family's lookup would cost more than counting.
struct Handler {
    by_class: [Counter; 5],
    duration: Histogram,
}

/// 100 µs to 10 s.
const DURATION_BUCKETS_S: [f64; 12] = [1e-4, 2.5e-4, 1e-3, 2.5e-3, 1e-2, 2.5e-2, 0.1, 0.25, 1.0, 2.5, 5.0, 10.0];

type Labels = Vec<(&'static str, &'static str)>;

impl Metrics {
    pub(super) fn new(parts: &Parts) -> Metrics {
        let mut registry = Registry::default();
        let requests = Family::<Labels, Counter>::default();
        let durations =
            Family::<Labels, Histogram>::new_with_constructor(|| Histogram::new(DURATION_BUCKETS_S.iter().copied()));
        registry.register("probity_http_requests", "Answers by status class", requests.clone());
        let help = "Time from call to answer";
        registry.register_with_unit("probity_http_request_duration", help, Unit::Seconds, durations.clone());
        let handlers = ["flow", "own"].map(|handler| Handler {
            by_class: ["1xx", "2xx", "3xx", "4xx", "5xx"]
                .map(|class| requests.get_or_create(&vec![("handler", handler), ("status", class)]).clone()),
            duration: durations.get_or_create(&vec![("handler", handler)]).clone(),
        });
        let started_at_s = parts.engine.services.clock.now_ms() / 1000.0;
        Metrics { registry, handlers, started_at_s }
    }

    pub(super) fn http(&self, own: bool, status: StatusCode, took: Duration) {
        let handler = &self.handlers[usize::from(own)];
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        handler.by_class[class].inc();
        handler.duration.observe(took.as_secs_f64());
    }
}

async fn show(State(api): State<Arc<Api>>) -> Result<Response, ApiError> {
    let media = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, media)], text(&api).await?).into_response())
}

/// What `/metrics` says.
pub async fn text(api: &Api) -> Result<String, ApiError> {
    let mut text = String::new();
    let observed = (api.observed)();
    let mut rest = snapshot(&api.engine, observed, api.metrics.started_at_s);
    if observed.delivered.is_some() {
        waiting(&mut rest, &*api.store).await;
    }
    if observed.notified.is_some() {
        untold(&mut rest, &*api.store).await;
    }
    metrics_queue::add(&mut rest, &*api.store).await;
    if let Some(acceptor) = &api.acceptor {
        metrics_queue::add_dispatch(&mut rest, acceptor);
    }
    plugins(&mut rest, &api.plugins.report());
    sources(&mut rest, &(api.agreements)());
    metrics_budgets::add(&mut rest, api).await;
    places(&mut rest, &api.engine);
    // Both are whole documents, each ended by "# EOF"; one end is enough.
    encode(&mut text, &rest).map_err(|e| ApiError::internal("writing the metrics", &e))?;
    text.truncate(text.trim_end().trim_end_matches("# EOF").len());
    encode(&mut text, &api.metrics.registry).map_err(|e| ApiError::internal("writing the metrics", &e))?;
    Ok(text)
}

/// Hosts that metrics name: the busiest ones.
const HOSTS_MAX: usize = 50;

/// Who has a place, and who waits for one.
fn places(registry: &mut Registry, engine: &Engine) {
    let open = Family::<OwnedLabels, Gauge>::default();
    let waiting = Family::<OwnedLabels, Gauge>::default();
    for (gate, runs, wait) in engine.services.places.report() {
        let labels = vec![("of", gate.to_string())];
        open.get_or_create(&labels).set(i64::try_from(runs).unwrap_or(i64::MAX));
        waiting.get_or_create(&labels).set(i64::try_from(wait).unwrap_or(i64::MAX));
    }
    registry.register("probity_places_open", "Runs that have a place where places are limited", open);
    registry.register("probity_places_waiting", "Runs that wait for one", waiting);
    let calls = Family::<OwnedLabels, Gauge>::default();
    for (host, n) in engine.services.net.open_calls(HOSTS_MAX) {
        calls.get_or_create(&vec![("host", host)]).set(i64::try_from(n).unwrap_or(i64::MAX));
    }
    registry.register("probity_net_calls_open", "Outgoing calls that are open or wait, by host", calls);
}

/// The numbers others keep, as they stand now.
fn snapshot(engine: &Engine, observed: Observed, started_at_s: f64) -> Registry {
    let mut registry = Registry::default();
    let history = &engine.services.history;
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    labelled(
        &mut registry,
        ("probity_runs", "Ended runs", "state"),
        &[("done", read(&history.done)), ("failed", read(&history.failed)), ("stopped", read(&history.stopped))],
    );
    labelled(
        &mut registry,
        ("probity_verdicts_stored", "Verdicts stored, revisions included", "verdict"),
        &Verdict::ALL.map(|verdict| (verdict.as_str(), observed.verdicts_stored[verdict as usize])),
    );
    labelled(
        &mut registry,
        ("probity_expired", "Removed by retention", "what"),
        &std::array::from_fn::<_, 4, _>(|at| (["states", "revisions", "runs", "firings"][at], observed.expired[at])),
    );
    let ticks = observed.punctuality;
    labelled(
        &mut registry,
        ("probity_ticks", "Due times of schedules", "what"),
        &[
            ("fired", ticks.fired),
            ("late", ticks.late),
            ("missed", ticks.missed),
            ("overlapping", ticks.overlapping),
            ("taken-up", ticks.taken_up),
        ],
    );
    let drift = Counter::<f64, AtomicU64>::default();
    drift.inc_by(ticks.drift_ms_sum as f64 / 1000.0);
    registry.register("probity_tick_drift_seconds", "How much later than planned firings began, in all", drift);
    let delivered = observed.delivered.into_iter().flat_map(|(delivered, refused)| {
        [
            ("probity_delivered", "Verdicts delivered to status-backend", delivered),
            ("probity_delivery_refused", "Verdicts that status-backend refuses", refused),
        ]
    });
    let notified = observed.notified.into_iter().flat_map(|[told, failed, refused]| {
        [
            ("probity_notifications_told", "Notifications told", told),
            ("probity_notifications_failed", "Tries to tell a notification that failed", failed),
            ("probity_notifications_refused", "Notifications given up", refused),
        ]
    });
    for (name, help, value) in delivered.chain(notified) {
        let counter = Counter::<u64>::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    }
    for (name, help, value) in [
        ("probity_hops", "Messages delivered to nodes in ended runs", read(&history.hops)),
        ("probity_history_dropped", "Runs lost to the history because the store was too slow", read(&history.dropped)),
        ("probity_history_sampled_out", "Successful HTTP runs left out of the history", read(&history.sampled_out)),
        ("probity_runs_refused", "Runs for which there was no place", engine.services.places.refused()),
        ("probity_otel_told", "Runs told to the OpenTelemetry collector", observed.telemetry[0]),
        ("probity_otel_dropped", "Runs it was not told of: too slow, away, or it refused them", observed.telemetry[1]),
        ("probity_otel_failures", "Requests to it that failed for good", observed.telemetry[2]),
        ("probity_store_commit_failures", "Evaluations that could not be stored", observed.commit_failures),
        ("probity_upkeep_failures", "Rounds of retention that failed", observed.upkeep_failures),
    ] {
        let counter = Counter::<u64>::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    }
    let mut gauge = |name: &str, help: &str, value: f64| {
        let gauge = Gauge::<f64, AtomicU64>::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    };
    gauge("probity_runs_open", "Runs open now", engine.open_runs() as f64);
    let drift_max = observed.punctuality.drift_ms_max as f64 / 1000.0;
    gauge("probity_tick_drift_max_seconds", "The most a firing began later than planned", drift_max);
    gauge("probity_history_waiting", "Ended runs that wait to be written", history.waiting() as f64);
    if let Some(lag) = observed.schedule_lag_s {
        gauge("probity_schedule_lag_seconds", "How late the last firing was", lag);
    }
    if let Some(bytes) = resident_bytes() {
        gauge("process_resident_memory_bytes", "Memory held", bytes as f64);
    }
    gauge("process_start_time_seconds", "Start, seconds since the Unix epoch", started_at_s);
    registry
}

/// What waits to be delivered, if the store says so soon: without it the other numbers must still be there.
async fn waiting(registry: &mut Registry, store: &dyn Store) {
    if let Ok(Ok(waiting)) = tokio::time::timeout(Duration::from_secs(1), store.deliveries_waiting()).await {
        let gauge = Gauge::<f64, AtomicU64>::default();
        gauge.set(waiting as f64);
        registry.register("probity_delivery_waiting", "Verdicts that wait to be delivered to status-backend", gauge);
    }
}

/// Notifications that wait, by channel, if the store says so soon.
async fn untold(registry: &mut Registry, store: &dyn Store) {
    if let Ok(Ok(waiting)) = tokio::time::timeout(Duration::from_secs(1), store.notifications_waiting()).await {
        let family = Family::<OwnedLabels, Gauge<f64, AtomicU64>>::default();
        for (channel, count) in waiting {
            family.get_or_create(&vec![("channel", channel)]).set(count as f64);
        }
        registry.register("probity_notifications_waiting", "Notifications that wait to be told", family);
    }
}

type OwnedLabels = Vec<(&'static str, String)>;

fn plugins(registry: &mut Registry, reports: &[Report]) {
    let calls = Family::<OwnedLabels, Counter>::default();
    let failed = Family::<OwnedLabels, Counter>::default();
    let seconds = Family::<OwnedLabels, Counter<f64, AtomicU64>>::default();
    let stops = Family::<OwnedLabels, Counter>::default();
    let refusals = Family::<OwnedLabels, Counter>::default();
    let quarantined = Family::<OwnedLabels, Gauge>::default();
    let memory = Family::<OwnedLabels, Gauge>::default();
    for plugin in reports {
        let own = || vec![("plugin", plugin.name.clone())];
        for t in &plugin.node_types {
            let labels = vec![("plugin", plugin.name.clone()), ("node_type", t.node_type.clone())];
            calls.get_or_create(&labels).inc_by(t.calls);
            failed.get_or_create(&labels).inc_by(t.failed);
            seconds.get_or_create(&labels).inc_by(t.mean_us * t.calls as f64 / 1e6);
            memory.get_or_create(&labels).set(i64::try_from(t.memory_bytes).unwrap_or(i64::MAX));
        }
        for (kind, n) in &plugin.stops {
            stops.get_or_create(&vec![("plugin", plugin.name.clone()), ("kind", kind.to_string())]).inc_by(*n);
        }
        refusals.get_or_create(&own()).inc_by(plugin.refusals);
        quarantined.get_or_create(&own()).set(plugin.quarantine.len() as i64);
    }
    registry.register("probity_plugin_calls", "Calls of a plugin's node type", calls);
    registry.register("probity_plugin_failed", "Calls that gave an error", failed);
    registry.register_with_unit("probity_plugin", "Time of calls, host calls included", Unit::Seconds, seconds);
    registry.register("probity_plugin_stops", "Guests that were stopped, by kind", stops);
    registry.register("probity_plugin_refusals", "Capabilities asked for that were not granted", refusals);
    registry.register("probity_plugin_quarantined", "Node types in quarantine", quarantined);
    registry.register("probity_plugin_memory_bytes", "Largest memory of an instance", memory);
}

fn sources(registry: &mut Registry, loaded: &Snapshot) {
    let up = Family::<OwnedLabels, Gauge>::default();
    let agreements = Family::<OwnedLabels, Gauge>::default();
    let broken = Family::<OwnedLabels, Gauge>::default();
    for source in &loaded.sources {
        let labels = vec![("source", source.name.clone()), ("kind", source.kind.to_string())];
        up.get_or_create(&labels).set(i64::from(source.state == SourceState::Ok));
        agreements.get_or_create(&labels).set(i64::try_from(source.agreements).unwrap_or(i64::MAX));
        broken.get_or_create(&labels).set(i64::try_from(source.broken).unwrap_or(i64::MAX));
    }
    registry.register("probity_source_up", "1 when a source of agreements answers, 0 when it is away", up);
    registry.register("probity_source_agreements", "Agreements in force from a source", agreements);
    registry.register("probity_source_broken", "Documents of a source that are broken", broken);
}

fn labelled(registry: &mut Registry, (name, help, label): (&str, &str, &'static str), values: &[(&'static str, u64)]) {
    let family = Family::<Labels, Counter>::default();
    for (value, count) in values {
        family.get_or_create(&vec![(label, *value)]).inc_by(*count);
    }
    registry.register(name, help, family);
}

/// Resident memory of this process; `None` where the system has no `/proc`.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kb| kb * 1024)
}
