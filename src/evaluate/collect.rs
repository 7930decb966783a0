//! Asking a metric's source: a flow of ours, a Governify collector over HTTP, or a function in this process.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::Value as Json;
use url::Url;

use super::Evaluator;
use crate::agreement::collected;
use crate::agreement::queries::{Query, collector_request};
use crate::model::agreement::{Agreement, Collector, FlowEntry, Metric};
use crate::model::run::Trigger;
use crate::model::state::Sample;
use crate::model::{Msg, Object, RunId, Value};
use crate::net::NetRequest;
use crate::runtime::Request;
use crate::runtime::engine::Start;

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

/// A poll may be answered 404 this often in a row: collectors need a moment to know their own computation.
const NOT_FOUND_MAX: u32 = 3;

impl Evaluator {
    /// The samples that answer a query, or why there are none.
    pub(super) async fn ask(&self, agreement: &Agreement, query: &Query, run: RunId) -> Result<Vec<Sample>, String> {
        let metric = agreement
            .metrics
            .get(&query.metric)
            .ok_or_else(|| format!("metric \"{}\" is not defined in the agreement", query.metric))?;
        let body = collector_request(query, metric);
        let deadline = Duration::from_millis(self.options.collect_ms_max);
        let clock = self.engine.services.clock.clone();
        let asked = self.ask_source(query, metric, body, run);
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
        }
        Ok(samples)
    }

    /// Source's name, the flow run that computed it if one did, and the answer.
    async fn ask_source(
        &self,
        query: &Query,
        metric: &Metric,
        body: Json,
        run: RunId,
    ) -> Result<(String, Option<RunId>, Json), String> {
        match &metric.collector {
            Collector::Unsupported { reason } => Err(reason.clone()),
            Collector::Flow { entry, .. } => self.ask_flow(entry, metric, query, body, run).await,
            Collector::PostGet { infrastructure_path, endpoint, .. } => match self.service(infrastructure_path)? {
                Service::Url(base) => {
                    // Not by its path, which may be the URL, with a password.
                    let base = Base::of(&base).map_err(|e| format!("the collector of {}: {e}", metric.id))?;
                    let url = base.join(endpoint);
                    let answer = self.post_and_poll(&base, &url, &body).await?;
                    Ok((url, None, answer))
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

    /// Governify's protocol: POST the computation, then GET what it names until it is ready.
    async fn post_and_poll(&self, base: &Base, url: &str, body: &Json) -> Result<Json, String> {
        let net = &self.engine.services.net;
        let mut headers = base.headers(url);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = Bytes::from(serde_json::to_vec(body).expect("JSON prints"));
        let request = NetRequest { headers, body, ..NetRequest::new(Method::POST, address(url)?) };
        let answer = net.request(request).await.map_err(|e| format!("collector {url}: {e}"))?;
        let accepted = parse(url, answer.status, &answer.body)?;
        if accepted.get("computations").is_some() || accepted.is_array() {
            return Ok(accepted);
        }
        let Some(computation) = accepted.get("computation").and_then(Json::as_str) else {
            return Err(format!("collector {url}: the answer names no \"computation\" to fetch"));
        };
        let poll = base.join(computation);
        let mut pause = Duration::from_millis(self.options.poll_ms_min.max(1));
        let mut not_found = 0;
        loop {
            let request = NetRequest { headers: base.headers(&poll), ..NetRequest::new(Method::GET, address(&poll)?) };
            // Reasons name the collector, not the computation: its id is new with each evaluation, and a reason that
            // differs is a new revision of the verdict.
            let answer = net.request(request).await.map_err(|e| format!("collector {url}, its computation: {e}"))?;
            match answer.status {
                202 => not_found = 0,
                404 if not_found < NOT_FOUND_MAX => not_found += 1,
                status => return parse(&format!("{url}, its computation,"), status, &answer.body),
            }
            self.engine.services.clock.sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(self.options.poll_ms_max.max(1)));
        }
    }
}

/// A collector's base URL, its user and password apart: they are sent, but shown nowhere.
struct Base {
    /// Without user, password and final slash.
    url: String,
    authorization: Option<HeaderValue>,
}

impl Base {
    fn of(text: &str) -> Result<Base, String> {
        let mut url = Url::parse(text).map_err(|e| format!("its base URL cannot be read: {e}"))?;
        let decoded = |part: &str| percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned();
        let authorization = match (decoded(url.username()), url.password().map(decoded).unwrap_or_default()) {
            (user, password) if user.is_empty() && password.is_empty() => None,
            (user, password) => {
                let value = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
                let mut value = HeaderValue::try_from(value).map_err(|e| format!("its user or password: {e}"))?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        if authorization.is_some() {
            let bare = url.set_username("").and_then(|()| url.set_password(None));
            bare.map_err(|()| "its base URL has no host".to_string())?;
        }
        let shown = if authorization.is_some() { url.as_str() } else { text };
        Ok(Base { url: shown.trim_end_matches('/').to_string(), authorization })
    }

    /// `path` below the base, with one slash between them; a whole URL as it is.
    fn join(&self, path: &str) -> String {
        if is_url(path) { path.to_owned() } else { format!("{}/{}", self.url, path.trim_start_matches('/')) }
    }

    /// The headers for `url`: the authorization goes to the base's own host only, whatever an answer names.
    fn headers(&self, url: &str) -> HeaderMap {
        let origin = |text: &str| Url::parse(text).ok().map(|url| url.origin());
        let mut headers = HeaderMap::new();
        if let Some(value) = &self.authorization
            && origin(url) == origin(&self.url)
        {
            headers.insert(header::AUTHORIZATION, value.clone());
        }
        headers
    }
}

fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

fn address(url: &str) -> Result<Url, String> {
    Url::parse(url).map_err(|e| format!("collector \"{url}\": no URL: {e}"))
}

/// A 2xx answer's JSON; anything else is the reason why there are no samples.
fn parse(url: &str, status: u16, body: &[u8]) -> Result<Json, String> {
    let start = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
    if !(200..300).contains(&status) {
        return Err(format!("collector {url} answered {status}: {start}"));
    }
    serde_json::from_slice(body).map_err(|e| format!("collector {url} answered {status} without JSON ({e}): {start}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_sent_to_the_collector_and_shown_nowhere() {
        let base = Base::of("http://ana:s%40cret@collector:5500/base/").unwrap();
        assert_eq!(base.url, "http://collector:5500/base");
        let sent = |url: &str| base.headers(url).get(header::AUTHORIZATION).cloned();
        assert_eq!(sent("http://collector:5500/x").unwrap(), format!("Basic {}", STANDARD.encode("ana:s@cret")));
        assert_eq!(sent("http://elsewhere:5500/x"), None);
        let plain = Base::of("http://collector:5500/").unwrap();
        assert_eq!(plain.url, "http://collector:5500");
        assert!(plain.authorization.is_none());
        let problem = Base::of("http://ana:s@cret@[/").map(|b| b.url).unwrap_err();
        assert!(!problem.contains("cret"), "{problem}");
    }

    #[test]
    fn paths_are_joined_with_one_slash() {
        for (base, path) in [("http://c:1", "/x"), ("http://c:1/", "/x"), ("http://c:1", "x"), ("http://c:1/", "x")] {
            assert_eq!(Base::of(base).unwrap().join(path), "http://c:1/x", "{base} and {path}");
        }
        assert_eq!(Base::of("http://c:1/b/").unwrap().join("x/7"), "http://c:1/b/x/7");
        assert_eq!(Base::of("http://c:1").unwrap().join("https://d/x/7"), "https://d/x/7");
    }
}
