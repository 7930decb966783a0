//! The nodes that ask services, in the real sandbox and over real HTTP: each asks a server on loopback that answers as
//! the vendor publishes (`tests/cases/services`), page by page; with 401, 403, 404, 429, 5xx and bodies that are cut off.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use probity::model::{Msg, Object, Value};
use probity::plugin::limits::Limits;
use probity::runtime::Deployed;
use serde_json::{Value as Json, json};

use super::packs::shipped;
use super::rig::{Outcome, Rig};

/// The operator's secret, whatever its name. It must be in the request and nowhere else.
const SECRET: &str = "s3cr3t-of-the-operator";

/// What the server does instead of answering well.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// Every request from exchange `.0` on gets this status, with `Retry-After` if there is one.
    Status(usize, u16, Option<&'static str>),
    /// The first request of exchange `.0` gets this status and is to be sent again at once.
    Once(usize, u16),
    /// The connection ends in the middle of each answer from exchange `.0` on.
    Cut(usize),
    /// Half of the answer, as if it were whole.
    Half(usize),
}

/// A file of `tests/cases/services`, at this base address.
struct Service {
    case: Json,
    base: String,
    fault: Option<Fault>,
    /// Requests so far.
    asked: Vec<String>,
    problems: Vec<String>,
}

impl Service {
    fn exchanges(&self) -> &[Json] {
        self.case["exchanges"].as_array().unwrap()
    }

    /// The text of an answer's body.
    fn body(&self, body: &Json) -> String {
        let expanded = match body["$each"].as_u64() {
            Some(times) => {
                let of = body["of"].to_string();
                let one = |n: u64| serde_json::from_str::<Json>(&of.replace("{{n}}", &n.to_string())).unwrap();
                (0..times).map(one).collect()
            }
            None => body.clone(),
        };
        let text = expanded.as_str().map_or_else(|| expanded.to_string(), str::to_owned);
        text.replace("{{base}}", &self.base)
    }

    fn answer(&mut self, line: &str, headers: &http::HeaderMap, sent: &str) -> Response {
        let exchanges = self.exchanges();
        let filled = |text: &Json| text.as_str().unwrap_or_default().replace("{{secret}}", SECRET);
        let Some(index) = exchanges.iter().position(|exchange| filled(&exchange["ask"]) == line) else {
            self.problems.push(format!("nobody is to ask {line}"));
            return Response::builder().status(418).body(Body::empty()).unwrap();
        };
        let exchange = exchanges[index].clone();
        for (name, expected) in exchange["headers"].as_object().into_iter().flatten() {
            let found = headers.get(name).map(|value| value.to_str().unwrap());
            if found != Some(filled(expected).as_str()) {
                self.problems.push(format!("{line}: {name} is {found:?}"));
            }
        }
        if !sent.contains(&filled(&exchange["holds"])) {
            self.problems.push(format!("{line}: the body is {sent}"));
        }
        self.asked.push(line.to_owned());
        let again = self.asked.iter().filter(|asked| *asked == line).count() > 1;
        match self.fault {
            Some(Fault::Status(from, status, after)) if index >= from => self.refusal(status, after),
            Some(Fault::Once(at, status)) if index == at && !again => self.refusal(status, Some("0")),
            fault => {
                let mut answer = Response::builder().status(exchange["status"].as_u64().unwrap() as u16);
                if !exchange["body"].is_string() {
                    answer = answer.header("content-type", "application/json");
                }
                for (name, value) in exchange["answer"].as_object().into_iter().flatten() {
                    answer = answer.header(name, value.as_str().unwrap().replace("{{base}}", &self.base));
                }
                let body = self.body(&exchange["body"]);
                // Not the last bytes only: blanks at the end of a document mean nothing.
                let half = Bytes::from(body[..body.len() / 2].to_owned());
                let body = match fault {
                    Some(Fault::Cut(from)) if index >= from => {
                        let ends = std::io::Error::other("the connection ends");
                        Body::from_stream(futures_util::stream::iter([Ok(half), Err(ends)]))
                    }
                    Some(Fault::Half(from)) if index >= from => Body::from(half),
                    _ => Body::from(body),
                };
                answer.body(body).unwrap()
            }
        }
    }

    fn refusal(&self, status: u16, after: Option<&str>) -> Response {
        let known = &self.case["errors"][status.to_string()];
        let body = if known.is_null() { self.body(&self.case["errors"]["500"]) } else { self.body(known) };
        let answer = Response::builder().status(status);
        let answer = match after {
            Some(after) => answer.header("retry-after", after),
            None => answer,
        };
        answer.body(Body::from(body)).unwrap()
    }
}

async fn serve(case: Json) -> Arc<Mutex<Service>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let service = Service { case, base, fault: None, asked: Vec::new(), problems: Vec::new() };
    let service = Arc::new(Mutex::new(service));
    let answer = async |State(service): State<Arc<Mutex<Service>>>, request: Request| {
        let (parts, body) = request.into_parts();
        let sent = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let line = format!("{} {}", parts.method, parts.uri.path_and_query().unwrap());
        service.lock().unwrap().answer(&line, &parts.headers, &String::from_utf8_lossy(&sent))
    };
    let app = axum::Router::new().fallback(answer).with_state(service.clone());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    service
}

/// One service, with its node deployed.
struct Trial<'r> {
    rig: &'r Rig,
    flow: Arc<Deployed>,
    service: Arc<Mutex<Service>>,
    msg: Msg,
}

impl<'r> Trial<'r> {
    async fn of(rig: &'r Rig, path: &Path) -> Trial<'r> {
        let case: Json = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let msg = case["msg"].as_object().cloned().unwrap_or_default();
        let node = case["node"].to_string();
        let service = serve(case).await;
        let mut node: Json = serde_json::from_str(&node.replace("{{base}}", &service.lock().unwrap().base)).unwrap();
        node["id"] = "n".into();
        let flow = rig.deploy(json!([node]));
        let msg: Object = msg.iter().map(|(name, value)| (name.as_str(), Value::from(value))).collect();
        Trial { rig, flow, service, msg: Msg::from(msg) }
    }

    /// Hands the node its message while the service fails so.
    async fn send(&self, fault: Option<Fault>) -> (Outcome, Vec<String>) {
        {
            let mut service = self.service.lock().unwrap();
            service.fault = fault;
            service.asked.clear();
        }
        let outcome = self.rig.send(&self.flow, "n", self.msg.clone()).await;
        let mut service = self.service.lock().unwrap();
        (outcome, std::mem::take(&mut service.asked))
    }

    fn exchanges(&self) -> Vec<String> {
        let service = self.service.lock().unwrap();
        service.exchanges().iter().map(|e| e["ask"].as_str().unwrap().replace("{{secret}}", SECRET)).collect()
    }

    /// What is wrong with an outcome that should be the whole answer of the service.
    fn wrong(&self, outcome: &Outcome) -> Option<String> {
        let service = self.service.lock().unwrap();
        let gives = service.case["gives"].as_array().unwrap();
        if !outcome.errors.is_empty() || outcome.out.len() != gives.len() {
            return Some(format!("{} messages, errors {:?}", outcome.out.len(), outcome.errors));
        }
        for ((_, _, msg), gives) in outcome.out.iter().zip(gives) {
            let found: Json = serde_json::from_str(&Value::from(msg.object().clone()).to_json()).unwrap();
            for (pointer, expected) in gives.as_object().unwrap() {
                if found.pointer(pointer) != Some(expected) {
                    return Some(format!("{pointer} is {:?}", found.pointer(pointer)));
                }
            }
        }
        None
    }

    /// What is wrong with an outcome that should be one error that names the status.
    fn no_error(&self, outcome: &Outcome, status: Option<u16>) -> Option<String> {
        let told = status.map(|status| status.to_string()).unwrap_or_default();
        match (outcome.out.len(), outcome.errors.as_slice()) {
            (0, [error]) if error.contains(&told) => {
                let all = outcome.log.iter().chain([error]);
                all.clone().any(|text| text.contains(SECRET)).then(|| format!("the secret is in {all:?}"))
            }
            _ => Some(format!("{} messages, errors {:?}", outcome.out.len(), outcome.errors)),
        }
    }

    async fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let exchanges = self.exchanges();
        let last = exchanges.len() - 1;
        let (outcome, asked) = self.send(None).await;
        problems.extend(self.wrong(&outcome).map(|wrong| format!("all well: {wrong}")));
        if asked != exchanges {
            problems.push(format!("all well: asked {asked:?}"));
        }
        for at in [0, last] {
            for status in [401, 403, 404, 500, 503] {
                let (outcome, _) = self.send(Some(Fault::Status(at, status, None))).await;
                problems
                    .extend(self.no_error(&outcome, Some(status)).map(|wrong| format!("{status} at {at}: {wrong}")));
            }
            // Longer than anybody waits: asked once.
            let (outcome, asked) = self.send(Some(Fault::Status(at, 429, Some("3600")))).await;
            problems.extend(self.no_error(&outcome, Some(429)).map(|wrong| format!("429 at {at}: {wrong}")));
            if asked.len() != at + 1 {
                problems.push(format!("429 at {at}: asked {asked:?}"));
            }
            for status in [429, 503] {
                let (outcome, asked) = self.send(Some(Fault::Once(at, status))).await;
                problems.extend(self.wrong(&outcome).map(|wrong| format!("{status} once at {at}: {wrong}")));
                if asked.len() != exchanges.len() + 1 {
                    problems.push(format!("{status} once at {at}: asked {asked:?}"));
                }
            }
            for fault in [Fault::Cut(at), Fault::Half(at)] {
                let (outcome, _) = self.send(Some(fault)).await;
                problems.extend(self.no_error(&outcome, None).map(|wrong| format!("{fault:?}: {wrong}")));
            }
        }
        // None of it has left the node out of order.
        let (outcome, _) = self.send(None).await;
        problems.extend(self.wrong(&outcome).map(|wrong| format!("afterwards: {wrong}")));
        problems.append(&mut self.service.lock().unwrap().problems);
        problems
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn services_are_read_whole_or_not_at_all() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/services");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "json")).collect();
    files.sort();
    assert!(files.len() >= 8, "{files:?}");
    let mut trials = Vec::new();
    // One sandbox for all: each takes much address space.
    let rig = Rig::with_secrets(Limits::default(), |_| Some(SECRET.to_owned()));
    for pack in ["ai", "integration", "status"] {
        let Some(package) = shipped(pack, &[]) else { return };
        rig.load(package).await.unwrap();
    }
    for path in &files {
        trials.push((path.file_stem().unwrap().to_string_lossy(), Trial::of(&rig, path).await));
    }
    let problems = trials.iter().map(async |(name, trial)| {
        let problems = trial.problems().await;
        problems.into_iter().map(|problem| format!("{name}: {problem}")).collect::<Vec<_>>()
    });
    let problems: Vec<String> = futures_util::future::join_all(problems).await.into_iter().flatten().collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
