//! The Admin API from outside: a server with the real nodes, flows in a folder of their own, and an editor's websocket.

mod capture;
mod comms;
mod conformance;
mod deploys;
mod replay;
mod status;
mod traffic;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use probity::api::Comms;
use probity::api::admin::{Admin, Forms, Palette};
use probity::api::editor::{self, EditorForms};
use probity::clock::Clock;
use probity::deploy::{Flows, Parts, Place};
use probity::model::flow::FlowFile;
use probity::model::node_spec::NodeSpec;
use probity::model::{Diagnostic, Object, Path, Value};
use probity::plugin::function::Functions;
use probity::plugin::{Options, Plugins};
use probity::runtime::context::{ContextStore, Home, Level};
use probity::runtime::{Catalogue, Cx, Engine, Limits, Node, NodeConfig, NodeType, Services, Status, Step};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::server::{Server, Setup};

/// What a test waits for at most; it passes long before.
const PATIENCE: Duration = Duration::from_secs(30);

/// Stands for the function nodes of the recordings where the real one is not builtin: does what their code says.
struct Recorded {
    name: String,
}

static FUNCTION: NodeSpec = NodeSpec {
    node_type: "function",
    category: "function",
    summary: "Does what the recorded function nodes do.",
    inputs: 1,
    outputs: Some(1),
    config_node: false,
    properties: &[],
    capabilities: &[],
};

impl Node for Recorded {
    fn on_msg(&self, mut msg: probity::model::Msg, cx: &mut Cx<'_>) -> Step {
        if self.name == "boom" {
            return Step::fail(msg, "boom");
        }
        let x: Object = [("x", Value::from(1))].into_iter().collect();
        let list = Value::array(vec![1.into(), 2.into(), 3.into()]);
        cx.context_set(Level::Flow, &Path::key("k"), x.into(), &msg).unwrap();
        cx.context_set(Level::Global, &Path::key("gk"), list, &msg).unwrap();
        cx.context_set(Level::Node, &Path::key("nk"), "v".into(), &msg).unwrap();
        cx.status(Status { fill: Some("green".into()), shape: Some("dot".into()), text: "ok".into() });
        msg.set("buf", Value::Bytes(Arc::new(b"hi".to_vec())));
        cx.emit(0, msg);
        Step::Done
    }
}

fn recorded(config: &NodeConfig<'_>) -> Result<Arc<dyn Node>, Vec<Diagnostic>> {
    Ok(Arc::new(Recorded { name: config.text("name").to_string() }))
}

/// How a server is to be.
pub struct Wanted {
    pub flows: Vec<Json>,
    pub debug_length_max: usize,
    pub runtime_state: bool,
    pub clock: Clock,
    /// Used again by a second server: what was saved is there.
    pub folder: Arc<TempDir>,
    pub node_root: String,
    /// Context stores and where they are.
    pub stores: Vec<(String, Home)>,
    /// What a settings.js says about the editor.
    pub editor: Json,
    /// Real function nodes instead of the double.
    pub functions: Option<Arc<Functions>>,
}

impl Wanted {
    pub fn of(flows: Json) -> Wanted {
        Wanted {
            flows: flows.as_array().unwrap().clone(),
            debug_length_max: 1000,
            runtime_state: true,
            clock: Clock::System,
            folder: Arc::new(tempfile::tempdir().unwrap()),
            node_root: "/".into(),
            stores: vec![("default".into(), Home::Memory)],
            editor: json!({}),
            functions: None,
        }
    }
}

/// A server with an Admin API.
pub struct Rig {
    pub server: Server,
    pub admin: Arc<Admin>,
    pub engine: Arc<Engine>,
    pub file: PathBuf,
    pub clock: Clock,
    _folder: Arc<TempDir>,
}

fn catalogue(functions: Option<&Arc<Functions>>) -> Catalogue {
    let mut catalogue = probity::nodes::catalogue();
    let function = match functions {
        Some(functions) => probity::nodes::function::known(functions),
        None => NodeType { spec: &FUNCTION, build: recorded }.into(),
    };
    assert!(catalogue.add(function).is_ok());
    catalogue
}

/// The editor's files, where the build has them.
fn forms(engine: &Arc<Engine>) -> Option<Box<dyn Forms>> {
    let options = Options {
        limits: Default::default(),
        cache_dirs: Vec::new(),
        evaluate_typed: probity::nodes::typed::evaluate,
        read_secret: Arc::new(|_| None),
    };
    let plugins = Plugins::new(options, Default::default(), Clock::System);
    editor::is_there().then(|| -> Box<dyn Forms> { Box::new(EditorForms { engine: engine.clone(), plugins }) })
}

impl Rig {
    pub async fn new(flows: Json) -> Rig {
        Rig::start(Wanted::of(flows)).await
    }

    pub async fn start(wanted: Wanted) -> Rig {
        let file = wanted.folder.path().join("flows.json");
        if !file.exists() {
            std::fs::write(&file, serde_json::to_string_pretty(&wanted.flows).unwrap()).unwrap();
        }
        Rig::over(wanted, file).await
    }

    /// A server whose flows are kept at a path, a folder perhaps.
    pub async fn over(wanted: Wanted, file: PathBuf) -> Rig {
        let mut services = Services::new(wanted.clock.clone(), Limits::default(), Default::default());
        services.http_root = wanted.node_root.clone();
        services.context = ContextStore::open(wanted.stores, None);
        let engine = Engine::new(Arc::new(services), catalogue(wanted.functions.as_ref()));
        let comms = Comms::new(wanted.clock.clone(), wanted.debug_length_max);
        assert!(engine.services.feed.set(comms.clone()).is_ok());
        let read = {
            let file = file.clone();
            move || {
                let content = probity::app::read_flows(&file).map_err(|e| format!("{e:#}"))?;
                Ok((content.loaded, content.diagnostics))
            }
        };
        let loaded: FlowFile = read().map(|(loaded, _): (FlowFile, Vec<Diagnostic>)| loaded).unwrap();
        let setup = Setup::default();
        let parts = Parts {
            engine: engine.clone(),
            place: Place { path: file.clone(), pretty: true, read: Box::new(read) },
            plan: {
                let engine = engine.clone();
                Box::new(move |file| probity::app::plan(&engine, file))
            },
            needed: Box::new(|_| Box::pin(async {})),
            credentials: setup.credentials.clone(),
            notices: comms.clone(),
            report: |_| {},
            revisions: None,
            stopped_mark: Some(wanted.folder.path().join("flows.stopped")),
        };
        let admin = Arc::new(Admin {
            root: "/".into(),
            flows: Flows::start(parts, loaded).await,
            comms,
            palette: Arc::new(Palette::load(Some(wanted.folder.path().join("disabled.json")))),
            forms: forms(&engine),
            offer_all: Box::new(|| Box::pin(async {})),
            lib_dir: wanted.folder.path().join("lib"),
            runtime_state: wanted.runtime_state,
        });
        let mut setup = Setup { admin: Some((engine.clone(), admin.clone())), ..setup };
        setup.options.node_root = wanted.node_root;
        setup.options.editor = wanted.editor.as_object().unwrap().clone();
        let server = Server::start(setup).await;
        Rig { server, admin, engine, file, clock: wanted.clock, _folder: wanted.folder }
    }

    /// Calls with these headers and this body; gives status, headers and text.
    pub async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: String) -> Answer {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut call = self.server.client.request(method, self.server.url(path)).body(body);
        for (name, value) in headers {
            call = call.header(*name, *value);
        }
        let answer = call.send().await.unwrap();
        let kind = answer.headers().get("content-type").map(|v| v.to_str().unwrap().to_string());
        Answer { status: answer.status().as_u16(), kind, text: answer.text().await.unwrap() }
    }

    /// GET of a path exactly as it is written.
    pub async fn raw(&self, path: &str) -> Answer {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = TcpStream::connect(self.server.address).await.unwrap();
        let call = format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.server.address);
        stream.write_all(call.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let kind = head.lines().find_map(|line| line.strip_prefix("content-type: ")).map(str::to_string);
        Answer { status: head[9..12].parse().unwrap(), kind, text: body.to_string() }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[("accept", "application/json")], String::new()).await
    }

    pub async fn send(&self, method: &str, path: &str, body: &Json) -> Answer {
        self.call(method, path, &[("content-type", "application/json")], body.to_string()).await
    }

    /// Deploys over the Admin API, version 2; gives the answer.
    pub async fn deploy(&self, kind: &str, flows: Json, revision: Option<&str>) -> Answer {
        let mut body = json!({ "flows": flows });
        if let Some(revision) = revision {
            body["rev"] = revision.into();
        }
        let headers =
            [("content-type", "application/json"), ("node-red-api-version", "v2"), ("node-red-deployment-type", kind)];
        self.call("POST", "/flows", &headers, body.to_string()).await
    }

    pub async fn editor(&self) -> Editor {
        Editor::connect(&self.server).await
    }
}

/// An answer of the Admin API.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub kind: Option<String>,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Json {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// A client of `/comms`.
pub struct Editor {
    socket: WebSocketStream<TcpStream>,
    /// What was received and not asked for yet.
    seen: Vec<Json>,
}

impl Editor {
    pub async fn connect(server: &Server) -> Editor {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let url = format!("ws://{}/comms", server.address);
        let (socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
        Editor { socket, seen: Vec::new() }
    }

    pub async fn send(&mut self, packet: Json) {
        self.socket.send(Message::text(packet.to_string())).await.unwrap();
    }

    /// Sends what need not be JSON.
    pub async fn text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// Subscribes to everything, as the stock editor does.
    pub async fn subscribe(&mut self) {
        for topic in ["debug", "notification/#", "status/#"] {
            self.send(json!({ "subscribe": topic })).await;
        }
    }

    /// The next frame; `None` when the connection has ended.
    pub async fn frame(&mut self) -> Option<Json> {
        loop {
            match tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("the server says something")? {
                Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Takes what has arrived already; waits for nothing that is still under way.
    pub async fn arrived(&mut self) -> Vec<Json> {
        while let Ok(Some(Ok(message))) = tokio::time::timeout(Duration::from_millis(1), self.socket.next()).await {
            if let Message::Text(text) = message {
                let frame: Json = serde_json::from_str(&text).unwrap();
                self.seen.extend(frame.as_array().cloned().unwrap_or_default());
            }
        }
        self.take()
    }

    /// Waits for a message on this topic that fits; what came before it is kept for other questions.
    pub async fn wait_for(&mut self, topic: &str, fits: impl Fn(&Json) -> bool) -> Json {
        loop {
            if let Some(at) = self.seen.iter().position(|m| m["topic"] == topic && fits(&m["data"])) {
                return self.seen.remove(at)["data"].take();
            }
            let frame = self.frame().await.expect("the connection stays open");
            self.seen.extend(frame.as_array().cloned().unwrap_or_default());
        }
    }

    /// Waits until a deploy of this revision is told of.
    pub async fn deployed(&mut self, revision: &str) {
        self.wait_for("notification/runtime-deploy", |data| data["revision"] == revision).await;
    }

    /// Everything received so far that nobody asked for.
    pub fn take(&mut self) -> Vec<Json> {
        std::mem::take(&mut self.seen)
    }
}

/// A recorded file.
pub fn recording(name: &str) -> Json {
    let path = format!("{}/tests/cases/node-red/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}
