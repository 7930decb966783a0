//! An engine with plugins and one flow, and what comes out of it.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use probity::clock::Clock;
use probity::flow;
use probity::model::flow::Plan;
use probity::model::run::Trigger;
use probity::model::{Diagnostic, Msg, RunId, Severity, Value};
use probity::net::{Net, NetOptions};
use probity::plugin::granted::Granted;
use probity::plugin::limits::Limits;
use probity::plugin::manifest::Manifest;
use probity::plugin::{Options, Package, Plugins, ReadSecret};
use probity::runtime::opening::{Opening, Start};
use probity::runtime::services::ReadEnv;
use probity::runtime::{Catalogue, Deployed, Engine, Event, Services};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).into()
}

/// The component of a guest in `plugins/fixtures/NAME.wat`, after `edit` changed its text.
pub fn component(name: &str, edit: impl FnOnce(String) -> String) -> bytes::Bytes {
    of_text(&edit(fixture(name)))
}

/// As [`component`], of a fixture whose text is that of a component.
pub fn whole(name: &str, edit: impl FnOnce(String) -> String) -> bytes::Bytes {
    wat::parse_str(edit(fixture(name))).unwrap().into()
}

fn fixture(name: &str) -> String {
    let path = root().join(format!("plugins/fixtures/{name}.wat"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The component of a core module in text form, with the contract as its type.
pub fn of_text(text: &str) -> bytes::Bytes {
    let mut module = wat::parse_str(text).unwrap();
    let mut resolve = wit_parser::Resolve::default();
    let (package, _) = resolve.push_dir(root().join("plugins/wit")).unwrap();
    let world = resolve.select_world(&[package], Some("plugin")).unwrap();
    wit_component::embed_component_metadata(&mut module, &resolve, world, wit_component::StringEncoding::UTF8).unwrap();
    probity::plugin::component::encode(&module).unwrap().into()
}

/// A manifest with this name that asks for nothing; `more` is TOML put after it.
pub fn manifest(name: &str, more: &str) -> Manifest {
    let text = format!(
        "schema = 1\nname = \"{name}\"\nversion = \"1.0.0\"\ncontract = \"1.1\"\nlicense = \"Apache-2.0\"\n{more}"
    );
    toml::from_str(&text).unwrap()
}

/// Grants capabilities by name.
pub fn granted(names: &[&str]) -> Granted {
    Granted { names: names.iter().map(ToString::to_string).collect(), ..Granted::default() }
}

/// A fixture as a package, with what is granted.
pub fn package(name: &str, more: &str, grants: Granted) -> Package {
    Package { manifest: manifest(name, more), wasm: component(name, |t| t), script: None, granted: grants }
}

/// Says that a test is skipped for what is missing; a failure where plugins must be there (`tests/all`).
#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
pub fn skipped<T>(missing: &str) -> Option<T> {
    assert!(std::env::var_os("PROBITY_TEST_REQUIRE_PLUGINS").is_none(), "{missing}");
    eprintln!("SKIPPED: {missing}");
    None
}

/// A guest that `plugins/build --fixtures` built, with what is granted; `None`, with a word about it, when it is not
/// there.
pub fn built(name: &str, granted: Granted) -> Option<Package> {
    let dir = root().join("plugins/target/fixtures").join(name);
    let Ok(text) = std::fs::read_to_string(dir.join("plugin.toml")) else {
        return skipped(&format!("{name} is not built; run plugins/build --fixtures"));
    };
    let manifest: Manifest = toml::from_str(&text).unwrap();
    let wasm = std::fs::read(dir.join(manifest.component.as_ref().unwrap())).unwrap().into();
    Some(Package { manifest, wasm, script: None, granted })
}

/// An HTTP server on loopback that answers with what it was sent, and remembers it.
pub struct Upstream {
    address: std::net::SocketAddr,
    heard: Arc<Mutex<String>>,
}

impl Upstream {
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How many calls it had.
    pub fn calls(&self) -> usize {
        self.heard.lock().unwrap().matches("host: ").count()
    }

    pub fn heard(&self, text: &str) -> bool {
        self.heard.lock().unwrap().contains(text)
    }
}

pub async fn server() -> Upstream {
    use axum::extract::State;
    let heard: Arc<Mutex<String>> = Arc::default();
    let echo = async |State(heard): State<Arc<Mutex<String>>>, headers: axum::http::HeaderMap, body: String| {
        let lines: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        heard.lock().unwrap().push_str(&lines.join("\n"));
        axum::Json(serde_json::json!({ "headers": lines, "body": body }))
    };
    let app = axum::Router::new().fallback(echo).with_state(heard.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    Upstream { address, heard }
}

/// How plugins run in tests: no secrets; what one test compiled, the others load.
pub fn options(limits: Limits) -> Options {
    // Every instance that there may be reserves gigabytes of addresses, of which a process has 128 TiB, and what has
    // run stays until the tests of this process are over.
    let limits = Limits { instances_max: limits.instances_max.min(16), ..limits };
    let evaluate_typed = probity::nodes::typed::evaluate;
    let cache_dirs = vec![Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-cache")];
    Options { limits, cache_dirs, evaluate_typed, read_secret: Arc::new(|_| None) }
}

/// What is around the engine of a test.
pub struct World {
    pub limits: Limits,
    pub net: Arc<Net>,
    /// A manual clock is moved for what waits on it.
    pub clock: Clock,
    pub env: ReadEnv,
    pub secrets: ReadSecret,
}

impl Default for World {
    fn default() -> World {
        World {
            limits: Limits::default(),
            net: Arc::new(Net::new(NetOptions::default()).unwrap()),
            clock: Clock::System,
            env: Arc::new(|_| None),
            secrets: Arc::new(|_| None),
        }
    }
}

/// A process without plugins.
pub fn none() -> Arc<Plugins> {
    Plugins::new(options(Limits::default()), Arc::new(Net::new(NetOptions::default()).unwrap()), Clock::System)
}

pub struct Rig {
    pub plugins: Arc<Plugins>,
    pub engine: Arc<Engine>,
    seen: Arc<Mutex<Vec<(RunId, Event)>>>,
    deployed: Mutex<Vec<Arc<Engine>>>,
}

impl Drop for Rig {
    /// Tasks of nodes would keep the sandbox, with its address space, until the runtime ends.
    fn drop(&mut self) {
        for engine in self.deployed.get_mut().unwrap().drain(..) {
            engine.deploy_idle(Plan::default());
        }
    }
}

/// What one message came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What left the flow, in order: node id, port, message.
    pub out: Vec<(String, usize, Msg)>,
    pub errors: Vec<String>,
    pub log: Vec<String>,
    /// What debug nodes showed: node id, property, value.
    pub debug: Vec<(String, String, Value)>,
}

impl Outcome {
    fn note(&mut self, event: &Event) {
        match event {
            Event::Output { node, port, msg, .. } => self.out.push((node.to_string(), *port, msg.clone())),
            Event::Error { message, .. } => self.errors.push(message.clone()),
            Event::Log { text, .. } => self.log.push(text.clone()),
            Event::Debug { node, property, value, .. } => {
                self.debug.push((node.to_string(), property.to_string(), value.clone()));
            }
            Event::Status { .. } | Event::Reply { .. } => {}
        }
    }
}

impl Rig {
    pub fn new(limits: Limits) -> Rig {
        Rig::with_secrets(limits, |_| None)
    }

    pub fn with_secrets(limits: Limits, secrets: fn(&str) -> Option<String>) -> Rig {
        Rig::around(World { limits, secrets: Arc::new(secrets), ..World::default() })
    }

    pub fn around(World { limits, net, clock, env, secrets }: World) -> Rig {
        let seen: Arc<Mutex<Vec<(RunId, Event)>>> = Arc::default();
        let observed = seen.clone();
        let mut services = Services::new(clock.clone(), Default::default(), net.clone());
        services.observer = Some(Arc::new(move |run, event| observed.lock().unwrap().push((run, event))));
        services.env = env;
        let plugins = Plugins::new(Options { read_secret: secrets, ..options(limits) }, net, clock);
        let engine = Engine::new(Arc::new(services), probity::nodes::catalogue());
        Rig { plugins, engine, seen, deployed: Mutex::default() }
    }

    pub async fn load(&self, package: Package) -> Result<(), Vec<Diagnostic>> {
        self.plugins.load(package).await
    }

    /// Deploys nodes on one tab; each entry is a node without `z`.
    pub fn deploy(&self, nodes: serde_json::Value) -> Arc<Deployed> {
        self.deploy_with(nodes, |_| ())
    }

    /// As [`deploy`](Rig::deploy), with more node types.
    pub fn deploy_with(&self, nodes: serde_json::Value, add: fn(&mut Catalogue)) -> Arc<Deployed> {
        let mut entries = vec![serde_json::json!({"id": "tab", "type": "tab", "label": "test"})];
        for mut node in nodes.as_array().unwrap().clone() {
            node["z"] = "tab".into();
            node["x"] = 1.into();
            node["y"] = 1.into();
            if node.get("wires").is_none() {
                node["wires"] = serde_json::json!([[]]);
            }
            entries.push(node);
        }
        let deployed = self.deploy_file(entries, add).1;
        assert!(deployed.diagnostics.is_empty(), "{:#?}", deployed.diagnostics);
        deployed
    }

    /// Deploys a flow file, with more node types.
    pub fn deploy_file(
        &self,
        entries: Vec<serde_json::Value>,
        add: fn(&mut Catalogue),
    ) -> (Arc<Engine>, Arc<Deployed>) {
        let mut catalogue = probity::nodes::catalogue();
        assert!(self.plugins.add_to(&mut catalogue).is_empty());
        add(&mut catalogue);
        let engine = Engine::new(self.engine.services.clone(), catalogue);
        let (file, problems) = flow::load_value(entries, "test.json");
        assert!(problems.iter().all(|problem| problem.severity != Severity::Error), "{problems:#?}");
        let plan = flow::plan(&file, &|t| engine.catalogue().spec(t), &|_| None);
        let deployed = engine.deploy(plan);
        self.deployed.lock().unwrap().push(engine.clone());
        (engine, deployed)
    }

    /// Hands a message to a node as if a caller waited, and waits for the run's end.
    pub async fn send(&self, deployed: &Arc<Deployed>, node: &str, msg: Msg) -> Outcome {
        self.run(deployed, node, msg, Trigger::Manual { by: "test".into() }).await.1
    }

    /// The run's id and what came of it.
    pub async fn run(&self, deployed: &Arc<Deployed>, node: &str, msg: Msg, trigger: Trigger) -> (RunId, Outcome) {
        let index = deployed.plan.nodes.iter().position(|n| n.id == node).unwrap() as u32;
        let opening = Opening { node: index, start: Start::Deliver, msg, trigger, reply: None };
        let (id, run) = deployed.open(opening).unwrap();
        self.to_its_end(run).await;
        let mut outcome = Outcome::default();
        self.seen.lock().unwrap().retain(|(run, event)| {
            if *run != id {
                return true;
            }
            outcome.note(event);
            false
        });
        (id, outcome)
    }
}

/// Polls without progress after which a manual clock is moved.
const QUIET_POLLS: usize = 200;

impl Rig {
    /// Waits for something; a manual clock is moved when nothing else moves.
    pub async fn to_its_end<T>(&self, happens: impl Future<Output = T>) -> T {
        let clock = &self.engine.services.clock;
        if matches!(clock, Clock::System) {
            return tokio::time::timeout(Duration::from_secs(60), happens).await.expect("a run ends");
        }
        tokio::pin!(happens);
        for _ in 0..10_000 {
            for _ in 0..QUIET_POLLS {
                if let Poll::Ready(happened) = futures_util::poll!(&mut happens) {
                    return happened;
                }
                tokio::task::yield_now().await;
            }
            clock.advance(Duration::from_millis(100));
        }
        panic!("a run ends");
    }

    /// Waits until no run of an engine is open; what all of them came to since it was asked last.
    pub async fn settled(&self, engine: &Engine) -> Outcome {
        let idle = async {
            while engine.open_runs() > 0 {
                tokio::task::yield_now().await;
            }
        };
        self.to_its_end(idle).await;
        let mut outcome = Outcome::default();
        for (_, event) in self.seen.lock().unwrap().drain(..) {
            outcome.note(&event);
        }
        outcome
    }
}

/// A message with this payload.
pub fn msg(payload: impl Into<Value>) -> Msg {
    Msg::with_payload(payload)
}
