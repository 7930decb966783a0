//! OpenTelemetry against a receiver that takes nothing but OTLP as the specification writes it in JSON.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::{asking, serve, site};
use crate::harness::server::client;
use crate::serve::{Folder, Server, until};

/// `opentelemetry/proto/collector/trace/v1`, `…/metrics/v1`: every field by its JSON name; others are refused.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Traces {
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ResourceSpans {
    resource: Resource,
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ScopeSpans {
    #[expect(dead_code, reason = "must be there")]
    scope: Scope,
    spans: Vec<Span>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resource {
    attributes: Vec<KeyValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "must be there")]
struct Scope {
    name: String,
    version: String,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyValue {
    key: String,
    value: AnyValue,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AnyValue {
    string_value: String,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Span {
    trace_id: String,
    span_id: String,
    parent_span_id: String,
    name: String,
    kind: u8,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    #[serde(default)]
    attributes: Vec<KeyValue>,
    #[serde(default)]
    status: Option<Status>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Status {
    code: u8,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Metrics {
    resource_metrics: Vec<ResourceMetrics>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ResourceMetrics {
    resource: Resource,
    scope_metrics: Vec<ScopeMetrics>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScopeMetrics {
    #[expect(dead_code, reason = "must be there")]
    scope: Scope,
    metrics: Vec<Metric>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metric {
    name: String,
    #[expect(dead_code, reason = "must be a text")]
    description: String,
    #[expect(dead_code, reason = "must be a text")]
    unit: String,
    #[serde(default)]
    sum: Option<Sum>,
    #[serde(default)]
    gauge: Option<Gauge>,
    #[serde(default)]
    histogram: Option<Histogram>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Sum {
    aggregation_temporality: u8,
    is_monotonic: bool,
    data_points: Vec<NumberPoint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Gauge {
    data_points: Vec<NumberPoint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NumberPoint {
    attributes: Vec<KeyValue>,
    #[serde(default)]
    start_time_unix_nano: Option<String>,
    time_unix_nano: String,
    as_double: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Histogram {
    aggregation_temporality: u8,
    data_points: Vec<HistogramPoint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct HistogramPoint {
    #[expect(dead_code, reason = "must be a list")]
    attributes: Vec<KeyValue>,
    #[expect(dead_code, reason = "must be a text")]
    start_time_unix_nano: String,
    #[expect(dead_code, reason = "must be a text")]
    time_unix_nano: String,
    count: String,
    #[expect(dead_code, reason = "must be a number")]
    sum: f64,
    bucket_counts: Vec<String>,
    explicit_bounds: Vec<f64>,
}

/// What came.
#[derive(Default)]
struct Received {
    spans: Vec<Span>,
    metrics: Vec<Metric>,
    services: Vec<String>,
    keys: Vec<String>,
    problems: Vec<String>,
    /// Refuses so many requests first, as one that is overloaded.
    busy: u32,
}

impl Received {
    fn service(&mut self, resource: &Resource) {
        let name = resource.attributes.iter().find(|a| a.key == "service.name");
        self.services.extend(name.map(|a| a.value.string_value.clone()));
    }

    fn take(&mut self, what: &str, headers: &HeaderMap, body: &Bytes) -> StatusCode {
        if self.busy > 0 {
            self.busy -= 1;
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        if headers["content-type"] != "application/json" {
            self.problems.push(format!("content type {:?}", headers["content-type"]));
        }
        self.keys.push(headers["x-key"].to_str().unwrap().to_string());
        let problem = match what {
            "traces" => serde_json::from_slice::<Traces>(body).map(|all| {
                for resource in all.resource_spans {
                    self.service(&resource.resource);
                    self.spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
                }
            }),
            _ => serde_json::from_slice::<Metrics>(body).map(|all| {
                for resource in all.resource_metrics {
                    self.service(&resource.resource);
                    self.metrics.extend(resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics));
                }
            }),
        };
        if let Err(problem) = problem {
            self.problems.push(format!("{what}: {problem}: {}", String::from_utf8_lossy(body)));
            return StatusCode::BAD_REQUEST;
        }
        StatusCode::OK
    }
}

async fn receiver(received: &Arc<Mutex<Received>>) -> String {
    let endpoint = |what: &'static str| {
        let received = received.clone();
        post(move |headers: HeaderMap, body: Bytes| async move {
            (received.lock().unwrap().take(what, &headers, &body), "{}")
        })
    };
    site(Router::new().route("/v1/traces", endpoint("traces")).route("/v1/metrics", endpoint("metrics"))).await
}

fn attribute<'s>(span: &'s Span, key: &str) -> &'s str {
    span.attributes.iter().find(|a| a.key == key).map_or("", |a| a.value.string_value.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callers_trace_goes_through_us_to_whom_we_call() {
    let received = Arc::new(Mutex::new(Received { busy: 1, ..Received::default() }));
    let collector = receiver(&received).await;
    let called: Arc<Mutex<Vec<HeaderMap>>> = Arc::default();
    let other = {
        let called = called.clone();
        site(Router::new().route(
            "/",
            post(move |headers: HeaderMap| async move {
                called.lock().unwrap().push(headers);
                "answer"
            }),
        ))
        .await
    };
    let folder = Folder::new();
    let flows = folder.write("flows.json", &asking(json!({}), "/traced", &other));
    let mut command = serve(&folder, &flows);
    command.env("PROBITY_OTEL_ENDPOINT", &collector).env("PROBITY_OTEL_HEADERS", "x-key=k1");
    command.env("PROBITY_OTEL_SERVICE", "governance").env("PROBITY_OTEL_TRACES_MS", "1");
    let server = Server::start(&mut command);
    let call = async |parent: Option<&str>| {
        let mut call = client().post(format!("{}/traced", server.base)).body("x").header("tracestate", "vendor=1");
        if let Some(parent) = parent {
            call = call.header("traceparent", parent);
        }
        let answer = call.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.headers()["x-probity-run"].to_str().unwrap().to_owned()
    };
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let sampled = call(Some(&format!("00-{trace}-00f067aa0ba902b7-01"))).await;
    let unsampled = call(Some(&format!("00-{trace}-00f067aa0ba902b7-00"))).await;
    let own = call(None).await;
    until("the last run has come", async || {
        received.lock().unwrap().spans.iter().any(|s| attribute(s, "probity.run.id") == own)
    })
    .await;
    server.terminate();
    assert_eq!(server.ended().0, Some(0));

    let received = received.lock().unwrap();
    assert!(received.problems.is_empty(), "{:?}", received.problems);
    assert!(received.services.iter().all(|s| s == "governance") && received.keys.iter().all(|k| k == "k1"));
    let of = |run: &str| -> Vec<Span> {
        received.spans.iter().filter(|s| attribute(s, "probity.run.id") == run).cloned().collect()
    };
    let spans = of(&sampled);
    let root =
        spans.iter().find(|s| s.parent_span_id == "00f067aa0ba902b7").expect("the run's span is the caller's child");
    assert_eq!((root.trace_id.as_str(), root.name.as_str(), root.kind), (trace, "POST /traced", 2));
    assert!(root.status.is_none() && attribute(root, "http.request.method") == "POST");
    let nanos = |text: &str| text.parse::<u64>().unwrap();
    for span in &spans {
        assert_eq!((span.trace_id.as_str(), span.span_id.len()), (trace, 16));
        assert!(nanos(&span.start_time_unix_nano) <= nanos(&span.end_time_unix_nano));
        assert!(span.span_id == root.span_id || span.parent_span_id == root.span_id);
    }
    // Whom we called is a child of the step that called.
    let called = called.lock().unwrap();
    let parent = called[0]["traceparent"].to_str().unwrap();
    let step = spans.iter().find(|s| parent == format!("00-{trace}-{}-01", s.span_id)).expect("a step of the run");
    assert_eq!((attribute(step, "probity.node.type"), step.kind), ("http request", 3));
    assert_eq!(called[0]["tracestate"], "vendor=1");
    // Who began the trace does not keep it: neither do we, and we say so to others.
    assert!(of(&unsampled).is_empty());
    assert!(called[1]["traceparent"].to_str().unwrap().ends_with("-00"));
    // One that we begin has the run's id.
    let own_trace = own.replace('-', "");
    assert!(of(&own).iter().all(|s| s.trace_id == own_trace));
    assert!(called[2]["traceparent"].to_str().unwrap().starts_with(&format!("00-{own_trace}-")));
    assert!(!called[2].contains_key("tracestate"), "without a trace there is no state of it");

    // Sent a last time at the end.
    let metric = |name: &str| received.metrics.iter().rfind(|m| m.name == name).unwrap_or_else(|| panic!("no {name}"));
    let runs = metric("probity_runs").sum.as_ref().expect("a counter");
    assert!(runs.aggregation_temporality == 2 && runs.is_monotonic);
    let done = runs.data_points.iter().find(|p| p.attributes[0].value.string_value == "done").unwrap();
    assert_eq!(done.as_double, 3.0);
    assert!(nanos(done.start_time_unix_nano.as_ref().unwrap()) <= nanos(&done.time_unix_nano));
    assert!(metric("probity_runs_open").gauge.as_ref().is_some_and(|g| g.data_points.len() == 1));
    let took = metric("probity_http_request_duration_seconds").histogram.as_ref().expect("a histogram");
    assert_eq!(took.aggregation_temporality, 2);
    for point in &took.data_points {
        let counts: Vec<u64> = point.bucket_counts.iter().map(|n| n.parse().unwrap()).collect();
        assert_eq!(counts.iter().sum::<u64>(), point.count.parse::<u64>().unwrap());
        assert_eq!(counts.len(), point.explicit_bounds.len() + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_runs_are_told_however_few_others_are_and_without_a_collector_nothing_is_passed_on() {
    let received: Arc<Mutex<Received>> = Arc::default();
    let collector = receiver(&received).await;
    let folder = Folder::new();
    // A port that nobody listens on.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let flows = folder.write("flows.json", &asking(json!({}), "/fails", &format!("http://{closed}/")));
    let mut command = serve(&folder, &flows);
    command.env("PROBITY_OTEL_ENDPOINT", &collector).env("PROBITY_OTEL_HEADERS", "x-key=k1");
    command.env("PROBITY_OTEL_SAMPLE_PERCENT", "0").env("PROBITY_OTEL_TRACES_MS", "1");
    let server = Server::start(&mut command);
    let url = format!("{}/fails", server.base);
    client().post(&url).body("x").send().await.unwrap();
    until("the failed run has come", async || !received.lock().unwrap().spans.is_empty()).await;
    let root = received.lock().unwrap().spans[0].clone();
    let status = root.status.expect("it failed");
    assert!(status.code == 2 && status.message.contains("ECONNREFUSED"), "{}", status.message);
    drop(server);

    let called: Arc<Mutex<Vec<HeaderMap>>> = Arc::default();
    let other = {
        let called = called.clone();
        site(
            Router::new()
                .route("/", post(move |headers: HeaderMap| async move { called.lock().unwrap().push(headers) })),
        )
        .await
    };
    let folder = Folder::new();
    let flows = folder.write("flows.json", &asking(json!({}), "/plain", &other));
    let server = Server::start(&mut serve(&folder, &flows));
    let url = format!("{}/plain", server.base);
    client().post(&url).body("x").send().await.unwrap();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    client().post(&url).body("x").header("traceparent", parent).send().await.unwrap();
    let called = called.lock().unwrap();
    assert!(!called[0].contains_key("traceparent"), "as Node-RED");
    assert!(called[1]["traceparent"].to_str().unwrap().starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
}
