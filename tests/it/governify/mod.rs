//! Standing in for the Governify Registry: its API, its collectors, and what was recorded of it.

mod calls;
mod command;
mod compare;
mod passing;
mod protocol;
mod replay;
mod status_backend;
mod streams;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State as Shared};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use probity::api::registry_v6::{self, Mode};
use probity::api::{self, Api, ApiOptions, Observed, Parts};
use probity::app::{self, Surroundings};
use probity::clock::Clock;
use probity::config::Config;
use probity::registry::{Agreements, StoredSource};
use probity::store::Store;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::harness::server::client;

/// Answers one computation that was posted.
#[derive(Clone, Debug)]
pub struct Computed {
    /// Status of the POST; 0: it is never answered.
    pub post: u16,
    /// How often a GET is answered 202.
    pub polls: u32,
    /// Status and body of the final answer.
    pub get: u16,
    pub body: Value,
}

/// What a collector was asked.
#[derive(Clone, Debug)]
pub struct Posted {
    pub url: String,
    pub cookie: Option<String>,
    pub body: Value,
}

type Answering = Arc<dyn Fn(&Posted) -> Computed + Send + Sync>;

/// A collector over real HTTP: POST computations, GET each result once.
pub struct Collector {
    answering: Mutex<Answering>,
    pub posted: Mutex<Vec<Posted>>,
    /// Cookies of the GETs.
    pub fetched: Mutex<Vec<Option<String>>>,
    waiting: Mutex<HashMap<String, Computed>>,
}

impl Collector {
    pub async fn start(answering: Answering) -> (String, Arc<Collector>) {
        let collector = Arc::new(Collector {
            answering: Mutex::new(answering),
            posted: Mutex::default(),
            fetched: Mutex::default(),
            waiting: Mutex::default(),
        });
        let app = Router::new()
            .route("/api/{version}/computations", post(posted))
            .route("/api/{version}/computations/{id}", get(fetched))
            .with_state(collector.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (url, collector)
    }

    /// Every computation is ready now.
    pub fn ready(&self) {
        self.waiting.lock().unwrap().values_mut().for_each(|computed| computed.polls = 0);
    }

    pub fn answer_with(&self, answering: Answering) {
        *self.answering.lock().unwrap() = answering;
        self.posted.lock().unwrap().clear();
        self.fetched.lock().unwrap().clear();
    }
}

fn cookie(headers: &HeaderMap) -> Option<String> {
    headers.get("cookie").map(|v| v.to_str().unwrap().to_owned())
}

fn answer(status: u16, body: &Value) -> Response {
    (StatusCode::from_u16(status).unwrap(), [("content-type", "application/json")], body.to_string()).into_response()
}

async fn posted(
    Shared(collector): Shared<Arc<Collector>>,
    Path(version): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let url = format!("/api/{version}/computations");
    let asked = Posted { url: url.clone(), cookie: cookie(&headers), body: serde_json::from_slice(&body).unwrap() };
    let answering = collector.answering.lock().unwrap().clone();
    let computed = answering(&asked);
    if computed.post == 0 {
        collector.posted.lock().unwrap().push(asked);
        return std::future::pending().await;
    }
    collector.posted.lock().unwrap().push(asked);
    if computed.post >= 300 {
        return answer(computed.post, &json!({ "code": computed.post, "message": "no", "computations": [] }));
    }
    let id = uuid::Uuid::new_v4().simple().to_string();
    let place = format!("{url}/{id}");
    collector.waiting.lock().unwrap().insert(id, computed.clone());
    answer(computed.post, &json!({ "code": computed.post, "message": "OK", "computation": place }))
}

async fn fetched(
    Shared(collector): Shared<Arc<Collector>>,
    Path((_, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    collector.fetched.lock().unwrap().push(cookie(&headers));
    let mut waiting = collector.waiting.lock().unwrap();
    match waiting.get_mut(&id) {
        None => answer(404, &json!({ "code": 404, "message": "no such computation" })),
        Some(computed) if computed.polls > 0 => {
            computed.polls -= 1;
            answer(202, &json!({ "code": 202, "message": "not ready" }))
        }
        Some(_) => {
            let computed = waiting.remove(&id).unwrap();
            answer(computed.get, &computed.body)
        }
    }
}

/// Documents and verdicts that several fronts share.
pub struct Behind {
    pub store: Arc<dyn Store>,
    pub agreements: Arc<Agreements>,
}

impl Behind {
    pub async fn new() -> Behind {
        let store = probity::store::open("memory:", &Default::default()).await.unwrap();
        store.migrate().await.unwrap();
        Behind::over(store).await
    }

    pub async fn over(store: Arc<dyn Store>) -> Behind {
        let agreements = Agreements::new(Clock::System, Some(store.clone()));
        let source = StoredSource::new(&agreements, store.clone(), Duration::from_secs(3600));
        tokio::spawn(probity::registry::follow(&agreements, vec![Box::new(source)]).run());
        agreements.started(Duration::from_secs(60)).await;
        Behind { store, agreements }
    }
}

/// The Registry API on an address of its own.
pub struct Front {
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl Front {
    /// `change` alters the default configuration.
    pub async fn start(behind: &Behind, clock: Clock, mode: Mode, change: impl FnOnce(&mut Config)) -> Front {
        let mut config = Config::defaults();
        change(&mut config);
        let net = app::net(&config).unwrap();
        let surroundings = Surroundings { clock: clock.clone(), net, store: behind.store.clone(), observer: None };
        let plugins = app::plugins::none(&config, &surroundings.net, &surroundings.clock);
        let engine = app::engine(&config, surroundings, &plugins);
        let evaluator = app::evaluator(&config, &engine, &behind.store, behind.agreements.clone(), HashMap::default());
        let agreements = behind.agreements.clone();
        let api = Api::new(Parts {
            acceptor: None,
            engine,
            store: behind.store.clone(),
            evaluate: evaluator.clone(),
            agreements: Box::new(move || agreements.snapshot()),
            schedules: Box::new(Vec::new),
            plugins,
            desk: Default::default(),
            observed: Box::new(Observed::default),
            credentials: Default::default(),
            admin: None,
            options: ApiOptions { auth: config.auth_options(), ..ApiOptions::default() },
        });
        config.registry.mode = mode;
        let registry = app::registry_api(&config, &evaluator, &behind.agreements);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(api::serve_apart(listener, api, registry_v6::router(registry), async {
            let _ = stopped.await.is_ok();
        }));
        Front { address, _stop }
    }

    pub async fn get(&self, path: &str) -> reqwest::Response {
        call(self.address, "GET", path, None, None).await
    }
}

/// Calls a server.
pub async fn call(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: Option<&Value>,
    token: Option<&str>,
) -> reqwest::Response {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let mut call = client().request(method, format!("http://{address}{path}"));
    if let Some(token) = token {
        call = call.header("x-access-token", token);
    }
    if let Some(body) = body {
        call = call.header("content-type", "application/json").body(body.to_string());
    }
    call.send().await.unwrap()
}
