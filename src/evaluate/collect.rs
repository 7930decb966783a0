//! Asking a metric's source: a flow of ours, a Governify collector over HTTP, or a function in this process.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, header};
use serde_json::Value as Json;

use super::collector::{Base, Collecting, is_url};
use super::{Asking, Evaluator};
use crate::agreement::queries::{Query, collector_request};
use crate::agreement::{collected, rounded};
use crate::model::agreement::{Agreement, Collector, FlowEntry, Metric};
use crate::model::run::Trigger;
use crate::model::state::Sample;
use crate::model::{Msg, Object, RunId, Value};
use crate::runtime::Request;
use crate::runtime::opening::Start;

/// A collector in this process, behind the same question and answer as one over HTTP: takes the body of the POST,
/// gives the body of the final answer.
pub type InProcess = Arc<dyn Fn(&Query, Json) -> BoxFuture<'static, Result<Json, String>> + Send + Sync>;

/// What an infrastructure path leads to.
#[derive(Clone)]
pub enum Service {
    /// Base URL; the metric's endpoint is appended.
    Url(String),
    InProcess(InProcess),
}

impl Evaluator {
    /// The samples that answer a query, and the answer as it came if it is kept; or why there are none.
    pub(super) async fn ask(
        &self,
        agreement: &Agreement,
        query: &Query,
        run: RunId,
        asking: &Asking,
    ) -> Result<(Vec<Sample>, Json), String> {
        let metric = agreement
            .metrics
            .get(&query.metric)
            .ok_or_else(|| format!("metric \"{}\" is not defined in the agreement", query.metric))?;
        let body = collector_request(query, metric);
        let deadline = Duration::from_millis(self.options.collect_ms_max);
        let clock = self.engine.services.clock.clone();
        let asked = self.ask_source(query, metric, body, run, asking);
        let (source, computed_by, answer) = tokio::select! {
            answer = asked => answer?,
            () = clock.sleep(deadline) => {
                return Err(format!(
                    "the collector of {} gave no answer within {} ms (collectors.collect_ms_max)",
                    query.metric, self.options.collect_ms_max
                ));
            }
        };
        let mut samples = collected::samples(&answer, query, &source, clock.now())?;
        for sample in &mut samples {
            sample.run = computed_by;
            if let Collector::PostGet { rounds: true, .. } = &metric.collector {
                rounded::unround(sample);
            }
        }
        Ok((samples, if asking.keep { answer } else { Json::Null }))
    }

    /// Source's name, the flow run that computed it if one did, and the answer.
    async fn ask_source(
        &self,
        query: &Query,
        metric: &Metric,
        body: Json,
        run: RunId,
        asking: &Asking,
    ) -> Result<(String, Option<RunId>, Json), String> {
        match &metric.collector {
            Collector::Unsupported { reason } => Err(reason.clone()),
            Collector::Flow { entry, .. } => self.ask_flow(entry, metric, query, body, run).await,
            Collector::PostGet { infrastructure_path, endpoint, .. } => match self.service(infrastructure_path)? {
                Service::Url(base) => {
                    // Not by its path, which may be the URL, with a password.
                    let base = Base::of(&base).map_err(|e| format!("the collector of {}: {e}", metric.id))?;
                    let url = base.join(endpoint);
                    let collector = Collecting::new(self, base, url.clone(), asking)?;
                    Ok((url, None, collector.post_and_poll(&body).await?))
                }
                Service::InProcess(collector) => Ok((infrastructure_path.clone(), None, collector(query, body).await?)),
            },
        }
    }

    fn service(&self, infrastructure_path: &str) -> Result<Service, String> {
        if let Some(service) = self.services.get(infrastructure_path) {
            return Ok(service.clone());
        }
        if is_url(infrastructure_path) {
            return Ok(Service::Url(infrastructure_path.into()));
        }
        Err(format!(
            "no service is configured for the collector path \"{infrastructure_path}\"; add to the configuration: \
             [collectors.services] \"{infrastructure_path}\" = \"http://host:port\""
        ))
    }

    async fn ask_flow(
        &self,
        entry: &FlowEntry,
        metric: &Metric,
        query: &Query,
        body: Json,
        run: RunId,
    ) -> Result<(String, Option<RunId>, Json), String> {
        let deployed = self.engine.current();
        let (node, msg, source) = match entry {
            FlowEntry::Metric { name } => {
                let node = deployed.metrics.get(name.as_str()).copied().ok_or_else(|| {
                    let known = deployed.metrics.keys().map(|k| k.as_str());
                    format!("no running flow answers for metric \"{name}\"{}", super::did_you_mean(name, known))
                })?;
                let mut msg = Msg::with_payload(Value::from(&body));
                let mut about = Object::new();
                about.insert("name", name.as_str());
                about.insert("scope", Value::from(&body["metric"]["scope"]));
                about.insert("window", Value::from(&body["metric"]["window"]));
                msg.set("metric", about);
                (node, msg, format!("flow metric {name}"))
            }
            FlowEntry::Http { path } => {
                let found = deployed.routes.find("POST", path).or_else(|| deployed.routes.find("GET", path));
                let found =
                    found.ok_or_else(|| format!("no running flow answers at {path} (metric {})", query.metric))?;
                let mut headers = HeaderMap::new();
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                let payload = Value::from(&body);
                let request = Request::new("POST", path.as_str(), headers, found.params, payload.clone(), "127.0.0.1");
                let mut msg = Msg::with_payload(payload);
                msg.set("req", Value::handle(request));
                (found.route.node, msg, format!("flow {path}"))
            }
        };
        if let Some(stopped) = deployed.stopped(node) {
            return Err(format!("the flow that computes {} does not run: {stopped}", metric.id));
        }
        let trigger = Trigger::Metric { evaluation: run };
        let deadline = Duration::from_millis(self.options.collect_ms_max);
        let called = deployed.call(node, Start::Emit(0), msg, trigger, deadline).await.map_err(|e| e.to_string())?;
        let reply = called.reply.ok_or_else(|| format!("{source}: run {} gave no answer in time", called.run))?;
        let text = || String::from_utf8_lossy(&reply.body[..reply.body.len().min(200)]).into_owned();
        if !(200..300).contains(&reply.status) {
            return Err(format!("{source}: run {} answered {}: {}", called.run, reply.status, text()));
        }
        let answer = serde_json::from_slice(&reply.body)
            .map_err(|e| format!("{source}: run {} answered no JSON ({e}): {}", called.run, text()))?;
        Ok((source, Some(called.run), answer))
    }
}
