//! Function nodes on the real JavaScript component, in the real sandbox.
//!
//! `plugins/build javascript` builds it; where it is not built these tests say so and pass, unless
//! `PROBITY_TEST_REQUIRE_PLUGINS` is set, as it is in `tests/all`.

mod cases;
mod checking;
mod hostile;
mod recorded;
mod status;
mod task;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use probity::clock::Clock;
use probity::flow;
use probity::model::run::Trigger;
use probity::model::{Msg, RunId};
use probity::plugin::function::{Functions, Limits as FunctionLimits};
use probity::plugin::limits::Limits as PluginLimits;
use probity::plugin::{Options, Plugins};
use probity::runtime::opening::{Opening, Start};
use probity::runtime::{Catalogue, Engine, Event, Limits, Services};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).into()
}

/// The component, or a word about it that is not there.
#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
pub(crate) fn component() -> Option<bytes::Bytes> {
    let path = root().join("plugins/dist/javascript/javascript.wasm");
    if let Ok(wasm) = std::fs::read(&path) {
        return Some(wasm.into());
    }
    let missing = format!("{} is not built; run plugins/build javascript", path.display());
    assert!(std::env::var_os("PROBITY_TEST_REQUIRE_PLUGINS").is_none(), "{missing}");
    eprintln!("SKIPPED: {missing}");
    None
}

/// What makes function nodes with these limits; compiled code is kept below `target`, so that it is made once.
pub(crate) fn functions(limits: FunctionLimits) -> Option<Arc<Functions>> {
    let wasm = component()?;
    let options = Options {
        limits: PluginLimits::default(),
        cache_dirs: vec![root().join("target/test-plugin-cache")],
        evaluate_typed: probity::nodes::typed::evaluate,
        read_secret: Arc::new(|_| None),
    };
    let plugins = Plugins::new(options, Default::default(), Clock::System);
    Some(plugins.offer_functions(limits, Box::new(move || Ok(wasm.clone()))))
}

/// The builtin nodes and `function`.
fn catalogue(functions: &Arc<Functions>) -> Catalogue {
    let mut catalogue = probity::nodes::catalogue();
    assert!(catalogue.add(probity::nodes::function::known(functions)).is_ok());
    catalogue
}

/// 2026-03-01T12:00:00Z.
const START: &str = "2026-03-01T12:00:00Z";

/// An engine with one flow, a clock moved by hand, and everything that happens.
struct Rig {
    engine: Arc<Engine>,
    clock: Clock,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Rig {
    fn new(functions: &Arc<Functions>, nodes: &serde_json::Value) -> Rig {
        let clock = Clock::manual(START.parse().unwrap());
        let mut services = Services::new(clock.clone(), Limits::default(), Default::default());
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let sink = events.clone();
        services.observer = Some(Arc::new(move |_: RunId, event| sink.lock().unwrap().push(event)));
        services.env = Arc::new(|name| (name == "HOME_TOWN").then(|| "Sevilla".to_string()));
        let catalogue = catalogue(functions);
        let mut entries = vec![serde_json::json!({"id": "tab", "type": "tab", "label": "tab"})];
        entries.extend(nodes.as_array().unwrap().iter().cloned().map(|mut node| {
            node.as_object_mut().unwrap().entry("z").or_insert("tab".into());
            node
        }));
        let text = serde_json::Value::Array(entries).to_string();
        let (file, problems) = flow::load(&text, "test.json");
        assert!(problems.is_empty(), "{problems:?}");
        let plan = flow::plan(&file, &|t| catalogue.spec(t), &|_| None);
        let engine = Engine::new(Arc::new(services), catalogue);
        engine.deploy(plan);
        Rig { engine, clock, events }
    }

    /// One function node with these properties, `f`, and a catch node, `c`.
    fn of(functions: &Arc<Functions>, mut properties: serde_json::Value) -> Rig {
        let node = properties.as_object_mut().unwrap();
        node.insert("id".into(), "f".into());
        node.insert("type".into(), "function".into());
        node.entry("name").or_insert("".into());
        let outputs = node.get("outputs").and_then(serde_json::Value::as_u64).unwrap_or(1);
        node.insert("wires".into(), vec![Vec::<String>::new(); outputs as usize].into());
        let catch = serde_json::json!({"id": "c", "type": "catch", "scope": null, "wires": [[]]});
        Rig::new(functions, &serde_json::json!([properties, catch]))
    }

    fn index(&self, id: &str) -> u32 {
        self.engine.current().plan.nodes.iter().position(|n| n.id == id).unwrap() as u32
    }

    /// Hands a node a message, in a run of its own, which is not waited for.
    fn inject(&self, id: &str, msg: &str) {
        let msg = Msg::from_object(serde_json::from_str::<probity::model::Object>(msg).unwrap());
        let trigger = Trigger::Inject { node: "test".into() };
        let opening = Opening { node: self.index(id), start: Start::Deliver, msg, trigger, reply: None };
        self.engine.current().spawn(opening).unwrap();
    }

    /// Lets everything go as far as it can while time stands still.
    async fn settle(&self) {
        for _ in 0..300 {
            tokio::task::yield_now().await;
        }
    }

    /// Moves the clock, in steps of a millisecond.
    async fn advance(&self, ms: u64) {
        self.settle().await;
        for _ in 0..ms {
            self.clock.advance(Duration::from_millis(1));
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
        self.settle().await;
    }

    /// What happened since it was last asked, a line each: `1: {…}` a message on output 1, `caught: …`, `status: …`,
    /// `warn: …`, `error: …` (no catch node took it).
    fn take(&self) -> Vec<String> {
        let events = std::mem::take(&mut *self.events.lock().unwrap());
        events.into_iter().filter_map(line).collect()
    }
}

fn line(event: Event) -> Option<String> {
    match event {
        Event::Output { node, port, mut msg, .. } => {
            msg.remove("_msgid");
            if node == "c" {
                let error = msg.remove("error").unwrap_or_default();
                msg.remove("_error");
                let code = error.get("code").as_str().map(|c| format!(" [{c}]")).unwrap_or_default();
                return Some(format!(
                    "caught: {}{code} {}",
                    error.get("message").to_js_string(),
                    msg.to_value().to_json()
                ));
            }
            Some(format!("{}: {}", port + 1, msg.to_value().to_json()))
        }
        Event::Status { status, .. } => {
            let of = |part: &Option<arcstr::ArcStr>| part.as_ref().map(|p| format!("{p} ")).unwrap_or_default();
            Some(format!("status: {}{}{}", of(&status.fill), of(&status.shape), status.text))
        }
        Event::Log { level, text, .. } => Some(format!("{}: {text}", level.as_str().to_lowercase())),
        Event::Error { message, .. } => Some(format!("failed: {message}")),
        _ => None,
    }
}
