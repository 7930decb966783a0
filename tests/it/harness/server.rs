//! A real HTTP server on a free port, over flows given as a Node-RED file, with nodes made for the purpose.

use std::net::SocketAddr;
use std::sync::{Arc, Once};

use async_trait::async_trait;
use probity::api::admin::Admin;
use probity::api::{Api, ApiOptions, LoadedAgreements, Observed, Parts, ScheduleView};
use probity::clock::Clock;
use probity::evaluate::Evaluator;
use probity::model::agreement::CatchUp;
use probity::model::node_spec::NodeSpec;
use probity::model::state::State;
use probity::model::{Diagnostic, Msg, Value};
use probity::plugin::Plugins;
use probity::plugin::desk::Desk;
use probity::runtime::credential_file::CredentialFile;
use probity::runtime::services::{EvaluateAgreement, EvaluateRequest, Evaluated, NotEvaluated};
use probity::runtime::{Catalogue, Cx, Engine, Entry, Limits, Node, NodeConfig, NodeType, Reply, Services, Step, Then};
use probity::store::{Store, StoreOptions};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Makes a flow answer: `method`, `url`, `upload`, `skipBodyParsing` as in Node-RED.
struct HttpIn(Entry);

impl Node for HttpIn {
    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        cx.emit(0, msg);
        Step::Done
    }
    fn entry(&self) -> Option<Entry> {
        Some(self.0.clone())
    }
}

/// Answers with the message as JSON.
struct Echo;
impl Node for Echo {
    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        let headers = vec![("content-type".to_string(), "application/json".to_string())];
        let reply = Reply { status: 200, headers, body: msg.to_value().to_json().into() };
        cx.reply(&msg, reply);
        Step::Done
    }
}

/// Never comes back.
struct Hang;
impl Node for Hang {
    fn on_msg(&self, _msg: Msg, _cx: &mut Cx<'_>) -> Step {
        Step::wait(std::future::pending::<Then>())
    }
}

/// Answers with more than the buffers of a connection hold.
struct Big;
impl Node for Big {
    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        cx.reply(&msg, Reply { status: 200, headers: Vec::new(), body: vec![b'x'; 32 << 20].into() });
        Step::Done
    }
}

/// Swallows the message.
struct Silent;
impl Node for Silent {
    fn on_msg(&self, _msg: Msg, _cx: &mut Cx<'_>) -> Step {
        Step::Done
    }
}

const fn spec(node_type: &'static str, inputs: u8, outputs: u8) -> NodeSpec {
    NodeSpec {
        node_type,
        category: "test",
        summary: "A node for tests.",
        inputs,
        outputs: Some(outputs),
        config_node: false,
        properties: &[],
        capabilities: &[],
    }
}

static HTTP_IN: NodeSpec = spec("http in", 0, 1);
static ECHO: NodeSpec = spec("echo", 1, 0);
static HANG: NodeSpec = spec("hang", 1, 0);
static BIG: NodeSpec = spec("big", 1, 0);
static SILENT: NodeSpec = spec("silent", 1, 0);

type Built = Result<Arc<dyn Node>, Vec<Diagnostic>>;

fn http_in(config: &NodeConfig<'_>) -> Built {
    Ok(Arc::new(HttpIn(Entry::Http {
        method: config.text("method"),
        url: config.text("url"),
        upload: config.flag("upload"),
        skip_body_parsing: config.flag("skipBodyParsing"),
    })))
}

fn catalogue() -> Catalogue {
    Catalogue::new(&[
        NodeType { spec: &HTTP_IN, build: http_in },
        NodeType { spec: &ECHO, build: |_| -> Built { Ok(Arc::new(Echo)) } },
        NodeType { spec: &HANG, build: |_| -> Built { Ok(Arc::new(Hang)) } },
        NodeType { spec: &BIG, build: |_| -> Built { Ok(Arc::new(Big)) } },
        NodeType { spec: &SILENT, build: |_| -> Built { Ok(Arc::new(Silent)) } },
    ])
}

/// A tab with one `http in` that leads to one node of this type.
pub fn tab(id: &str, method: &str, url: &str, node_type: &str) -> Vec<Json> {
    vec![
        json!({ "id": id, "type": "tab", "label": format!("tab {id}"), "disabled": false, "info": "", "env": [] }),
        json!({ "id": format!("{id}in"), "type": "http in", "z": id, "name": "", "url": url, "method": method,
                "x": 1, "y": 1, "wires": [[format!("{id}to")]] }),
        json!({ "id": format!("{id}to"), "type": node_type, "z": id, "name": "", "x": 2, "y": 1, "wires": [] }),
    ]
}

/// Gives back the states it was made with, as if each call had found them.
pub struct Found(pub Vec<State>);

#[async_trait]
impl EvaluateAgreement for Found {
    async fn waivers_changed(&self, _: &str, _: &str) -> Result<u64, String> {
        Ok(0)
    }

    async fn evaluate(&self, request: EvaluateRequest) -> Result<Evaluated, NotEvaluated> {
        match request.range {
            Some((from, _)) if from < jiff::Timestamp::UNIX_EPOCH => {
                Err(NotEvaluated::Refused("the range starts before 1970".into()))
            }
            _ => Ok(Evaluated { states: self.0.clone(), ..Evaluated::default() }),
        }
    }
}

/// What a server is made of; the rest is as it is by default.
#[derive(Default)]
pub struct Setup {
    pub flows: Vec<Json>,
    pub limits: Limits,
    pub options: ApiOptions,
    pub store: Option<Arc<dyn Store>>,
    pub agreements: LoadedAgreements,
    pub found: Vec<State>,
    /// Without any when absent.
    pub plugins: Option<Arc<Plugins>>,
    pub desk: Desk,
    pub credentials: Arc<CredentialFile>,
    /// Where its files are, kept as long as the server.
    pub folder: Option<TempDir>,
    /// Evaluates for real, with its engine and clock, instead of giving back `found`; `flows` are not deployed then.
    pub evaluator: Option<Arc<Evaluator>>,
    /// An Admin API with its engine; `flows` are not deployed then.
    pub admin: Option<(Arc<Engine>, Arc<Admin>)>,
}

/// A running server.
pub struct Server {
    pub address: SocketAddr,
    pub engine: Arc<Engine>,
    pub store: Arc<dyn Store>,
    pub client: reqwest::Client,
    _folder: Option<TempDir>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    pub async fn start(setup: Setup) -> Server {
        let store = match setup.store {
            Some(store) => store,
            None => {
                let store = probity::store::open("memory:", &StoreOptions::default()).await.unwrap();
                store.migrate().await.unwrap();
                store
            }
        };
        let admin = setup.admin;
        let (engine, evaluate): (_, Arc<dyn EvaluateAgreement>) = match (setup.evaluator, &admin) {
            (Some(evaluator), _) => (evaluator.engine.clone(), evaluator),
            (None, Some((engine, _))) => (engine.clone(), Arc::new(Found(setup.found))),
            (None, None) => (deployed(setup.limits, &store, setup.flows), Arc::new(Found(setup.found))),
        };
        let schedule = ScheduleView {
            id: "agreement/orders".into(),
            kind: "agreement",
            subject: "orders".into(),
            cron: "window ends".into(),
            time_zone: "Europe/Madrid".into(),
            catch_up: CatchUp::Last,
            next_due: Some("2026-03-30T22:00:00Z".parse().unwrap()),
            punctuality: Default::default(),
        };
        let schedules = if setup.agreements.agreements.is_empty() { vec![] } else { vec![schedule] };
        let agreements = Arc::new(setup.agreements);
        let api = Api::new(Parts {
            acceptor: None,
            engine: engine.clone(),
            store: store.clone(),
            evaluate,
            agreements: Box::new(move || agreements.clone()),
            schedules: Box::new(move || schedules.clone()),
            observed: Box::new(Observed::default),
            plugins: setup.plugins.unwrap_or_else(crate::plugins::rig::none),
            desk: setup.desk,
            admin: admin.map(|(_, admin)| admin),
            credentials: setup.credentials,
            options: setup.options,
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(probity::api::serve(listener, api, async {
            // Dropped or told: both mean stop.
            let _ = stopped.await.is_ok();
        }));
        Server { address, engine, store, client: client(), _folder: setup.folder, stop: Some(stop), task }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub async fn get(&self, path: &str) -> reqwest::Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    /// Status and JSON body.
    pub async fn json(&self, path: &str) -> (u16, Json) {
        read(self.get(path).await).await
    }

    /// Tells the server to stop.
    pub fn stop(&mut self) {
        self.stop.take();
    }

    /// Waits until it has stopped.
    pub async fn stopped(mut self) {
        self.stop();
        self.task.await.unwrap();
    }
}

/// An engine that runs these flows.
fn deployed(limits: Limits, store: &Arc<dyn Store>, flows: Vec<Json>) -> Arc<Engine> {
    let mut services = Services::new(Clock::System, limits, Default::default());
    services.store = Some(store.clone());
    let engine = Engine::new(Arc::new(services), catalogue());
    let (file, problems) = probity::flow::load_value(flows, "test.json");
    assert!(problems.is_empty(), "{problems:?}");
    let specs = |name: &str| engine.catalogue().spec(name);
    engine.deploy(probity::flow::plan(&file, &specs, &|_| None));
    engine
}

/// Status and JSON body of an answer.
pub async fn read(response: reqwest::Response) -> (u16, Json) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or_else(|e| panic!("{status}: {e}: {text}")))
}

/// What reqwest needs before it makes a client.
pub fn with_crypto() {
    static CRYPTO: Once = Once::new();
    CRYPTO.call_once(|| {
        rustls::crypto::ring::default_provider().install_default().ok();
    });
}

/// An HTTP client that follows no redirects.
#[expect(clippy::disallowed_methods, reason = "tests call their own server from outside")]
pub fn client() -> reqwest::Client {
    with_crypto();
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap()
}

/// A value as JSON text, for bodies.
pub fn text(value: &Json) -> String {
    Value::from(value).to_json()
}
