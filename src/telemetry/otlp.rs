//! OTLP as JSON (<https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>): ids are hex, 64-bit integers are
//! texts, enums are numbers.

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::model::RunId;
use crate::model::run::{RunRecord, RunState, TraceStep, Trigger};
use crate::model::trace_context::TraceParent;

/// Kinds of spans, as OTLP numbers them.
const INTERNAL: u8 = 1;
const SERVER: u8 = 2;
const CLIENT: u8 = 3;
const CONSUMER: u8 = 5;

/// Who says it: what makes these spans and metrics.
pub(super) fn scope() -> Json {
    json!({ "name": "probity", "version": env!("CARGO_PKG_VERSION") })
}

/// The process as a resource.
pub(super) fn resource(service: &str, instance: &str) -> Json {
    let all = [
        ("service.name", service.to_string()),
        ("service.instance.id", instance.to_string()),
        ("service.version", env!("CARGO_PKG_VERSION").to_string()),
        ("telemetry.sdk.name", "probity".to_string()),
        ("telemetry.sdk.language", "rust".to_string()),
    ];
    json!({ "attributes": attributes(all.into_iter().filter(|(_, v)| !v.is_empty())) })
}

pub(super) fn attributes<'a>(all: impl Iterator<Item = (&'a str, String)>) -> Json {
    all.map(|(key, value)| json!({ "key": key, "value": { "stringValue": value } })).collect()
}

/// A run to be told of.
pub(super) struct Told {
    pub(super) run: RunRecord,
    pub(super) parent: Option<TraceParent>,
    /// What people call the flow or agreement.
    pub(super) name: String,
}

/// The body of an export request.
pub(super) fn request(runs: &[Told], resource: &Json) -> Json {
    let spans: Vec<Json> = runs.iter().flat_map(spans).collect();
    json!({ "resourceSpans": [{ "resource": resource, "scopeSpans": [{ "scope": scope(), "spans": spans }] }] })
}

/// Trace and parent of a run's span.
fn place(told: &Told) -> (u128, Option<u64>) {
    match (&told.parent, &told.run.trigger) {
        (Some(parent), _) => (parent.trace, Some(parent.span)),
        // Part of the trace of what it happened for.
        (None, Trigger::Metric { evaluation }) => (evaluation.trace(), Some(evaluation.span())),
        (None, Trigger::Linked { run, .. }) => (run.trace(), Some(run.span())),
        (None, _) => (told.run.id.trace(), None),
    }
}

/// The span of a run, and those of its steps.
fn spans(told: &Told) -> Vec<Json> {
    let run = &told.run;
    let (trace, parent) = place(told);
    let end = run.ended_at.unwrap_or(run.started_at);
    let (kind, name) = match &run.trigger {
        Trigger::Http { method, path } => (SERVER, format!("{method} {path}")),
        Trigger::Cron { .. } | Trigger::Event { .. } => (CONSUMER, told.name.clone()),
        _ => (INTERNAL, told.name.clone()),
    };
    let mut about = vec![
        ("probity.run.id", run.id.to_string()),
        ("probity.subject", run.subject.clone()),
        ("probity.name", told.name.clone()),
        ("probity.trigger", crate::store::trigger_kind(&run.trigger).to_string()),
        ("probity.state", run.state.as_str().to_string()),
        ("probity.version", run.version.clone()),
    ];
    if let Trigger::Http { method, path } = &run.trigger {
        about.extend([("http.request.method", method.clone()), ("url.path", path.clone())]);
    }
    let mut root = span(trace, run.id.span(), parent, &name, kind, (run.started_at, end));
    root["attributes"] = attributes(about.into_iter());
    if run.state != RunState::Done {
        let message = run.error.as_ref().map_or(run.state.as_str(), |e| e.message.as_str());
        root["status"] = json!({ "code": 2, "message": message });
    }
    let mut spans = vec![root];
    spans.extend(run.trace.iter().enumerate().map(|(at, step)| step_span(run, trace, at, step)));
    spans
}

fn step_span(run: &RunRecord, trace: u128, at: usize, step: &TraceStep) -> Json {
    let begin = later(run.started_at, step.at_us);
    let end = later(begin, step.took_us.unwrap_or(0));
    let name = if step.name.is_empty() { step.node_type.as_str() } else { step.name.as_str() };
    let kind = if step.node_type == "http request" { CLIENT } else { INTERNAL };
    let mut span = span(trace, run.id.step_span(at), Some(run.id.span()), name, kind, (begin, end));
    let about = [
        ("probity.run.id", run.id.to_string()),
        ("probity.node.id", step.node.to_string()),
        ("probity.node.type", step.node_type.to_string()),
    ];
    span["attributes"] = attributes(about.into_iter());
    if step.note.as_deref() == Some("failed") {
        span["status"] = json!({ "code": 2 });
    }
    span
}

fn span(trace: u128, id: u64, parent: Option<u64>, name: &str, kind: u8, (from, to): (Timestamp, Timestamp)) -> Json {
    json!({
        "traceId": format!("{trace:032x}"),
        "spanId": format!("{id:016x}"),
        "parentSpanId": parent.map(|id| format!("{id:016x}")).unwrap_or_default(),
        "name": name,
        "kind": kind,
        "startTimeUnixNano": from.as_nanosecond().max(0).to_string(),
        "endTimeUnixNano": to.max(from).as_nanosecond().max(0).to_string(),
    })
}

fn later(at: Timestamp, us: u64) -> Timestamp {
    at.checked_add(jiff::SignedDuration::from_micros(i64::try_from(us).unwrap_or(i64::MAX))).unwrap_or(at)
}

/// The trace that a run is part of as far as is known from itself: for who must decide whether to tell of it.
pub(super) fn trace_of(run: RunId, trigger: &Trigger, parent: Option<&TraceParent>) -> u128 {
    match (parent, trigger) {
        (Some(parent), _) => parent.trace,
        (None, Trigger::Metric { evaluation }) => evaluation.trace(),
        (None, Trigger::Linked { run, .. }) => run.trace(),
        (None, _) => run.trace(),
    }
}
