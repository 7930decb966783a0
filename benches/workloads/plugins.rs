//! What a plugin's call costs: thread-CPU time per message through the real engine, epochs and limits on.
//!
//! A run hands one node many messages of 1 KB; what is measured is all of a call: the hop, the message made JSON for
//! the guest, the guest, its answer read back. `plugins/build --fixtures` builds the guests; `plugins/build
//! javascript` the interpreter. Prints one JSON object; `tests/bench/run plugins` calls it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use probity::clock::Clock;
use probity::flow;
use probity::model::node_spec::NodeSpec;
use probity::model::run::Trigger;
use probity::model::{Diagnostic, Msg, Value};
use probity::net::Net;
use probity::plugin::granted::Granted;
use probity::plugin::limits::Limits;
use probity::plugin::manifest::{Instances, Manifest};
use probity::plugin::{Options, Package, Plugins};
use probity::runtime::opening::{Opening, Start};
use probity::runtime::{Catalogue, Cx, Deployed, Engine, Node, NodeType, Services, Step};
use serde_json::{Value as Json, json};

/// Messages of one run.
const MESSAGES: u32 = 20_000;
/// Runs of each kind; the best one counts, since others use the machine, too.
const ROUNDS: u32 = 7;

static SOURCE: NodeSpec = NodeSpec {
    node_type: "bench source",
    category: "bench",
    summary: "Emits the message it is given many times.",
    inputs: 1,
    outputs: Some(1),
    config_node: false,
    properties: &[],
    capabilities: &[],
};

static NATIVE: NodeSpec = NodeSpec {
    node_type: "bench native",
    category: "bench",
    summary: "Sends on what it gets, without a sandbox.",
    inputs: 1,
    outputs: Some(1),
    config_node: false,
    properties: &[],
    capabilities: &[],
};

struct Source;

impl Node for Source {
    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        let times = msg.get("times").and_then(Value::as_f64).unwrap_or(1.0) as u32;
        for _ in 0..times {
            cx.emit(0, msg.clone());
        }
        Step::Done
    }
}

/// Sends on what it gets: what any node costs.
struct Native;

impl Node for Native {
    fn on_msg(&self, msg: Msg, cx: &mut Cx<'_>) -> Step {
        cx.emit(0, msg);
        Step::Done
    }
}

struct Bench {
    plugins: Arc<Plugins>,
    /// Where deployed nodes wait for their instances to grow idle.
    runtime: tokio::runtime::Runtime,
}

impl Bench {
    fn new(cache: PathBuf, limits: Limits) -> Result<Bench> {
        let options = Options {
            limits,
            cache_dirs: vec![cache],
            evaluate_typed: probity::nodes::typed::evaluate,
            read_secret: Arc::new(|_| None),
        };
        let net = Arc::new(Net::default());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Bench { plugins: Plugins::new(options, net, Clock::System), runtime })
    }

    fn deploy(&self, node_type: &str) -> Arc<Deployed> {
        let mut catalogue: Catalogue = probity::nodes::catalogue();
        let source = NodeType { spec: &SOURCE, build: |_| Ok(Arc::new(Source)) };
        let _ = catalogue.add(source.into());
        let native = NodeType { spec: &NATIVE, build: |_| Ok(Arc::new(Native)) };
        let _ = catalogue.add(native.into());
        self.plugins.add_to(&mut catalogue);
        let services = Services::new(Clock::System, Default::default(), Default::default());
        let engine = Engine::new(Arc::new(services), catalogue);
        let entries = vec![
            json!({"id": "tab", "type": "tab", "label": "bench"}),
            json!({"id": "source", "type": "bench source", "z": "tab", "x": 1, "y": 1, "wires": [["n"]]}),
            json!({"id": "n", "type": node_type, "z": "tab", "x": 1, "y": 1, "wires": [[]]}),
        ];
        let (file, _) = flow::load_value(entries, "bench");
        let plan = flow::plan(&file, &|t| engine.catalogue().spec(t), &|_| None);
        let _runtime = self.runtime.enter();
        engine.deploy(plan)
    }
}

fn problems(found: Vec<Diagnostic>) -> anyhow::Error {
    anyhow::anyhow!(found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

/// A message of about 1 KB of JSON.
fn message(times: u32) -> Msg {
    let items: Vec<Json> =
        (0..10).map(|i| json!({"id": i, "name": format!("item number {i}"), "done": i % 2 == 0})).collect();
    let mut payload = json!({"number": 21.5, "text": "what was promised", "items": items, "filler": ""});
    let missing = 1_000 - payload.to_string().len();
    payload["filler"] = "x".repeat(missing).into();
    let mut msg = Msg::with_payload(Value::from_json(&payload.to_string()).expect("JSON was printed"));
    msg.set("times", f64::from(times));
    msg
}

/// Nanoseconds this thread has been on a CPU.
fn thread_cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// Runs `messages` messages in one run on this thread; CPU nanoseconds.
fn sent(deployed: &Arc<Deployed>, messages: u32) -> Result<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let opening = || Opening {
        node: deployed.plan.nodes.iter().position(|n| n.id == "source").expect("it is deployed") as u32,
        start: Start::Deliver,
        msg: message(messages),
        trigger: Trigger::Manual { by: "bench".into() },
        reply: None,
    };
    runtime.block_on(async {
        let (_, run) = deployed.open(opening())?;
        let before = thread_cpu_ns();
        let ended = run.await;
        let spent = thread_cpu_ns() - before;
        ensure!(ended.error.is_none(), "the run failed: {:?}", ended.error);
        Ok(spent)
    })
}

/// Best CPU microseconds per message.
fn best_us(deployed: &Arc<Deployed>, messages: u32) -> Result<f64> {
    sent(deployed, messages / 10 + 1)?;
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        best = best.min(sent(deployed, messages)? as f64 / 1_000.0 / f64::from(messages));
    }
    Ok(best)
}

/// Messages per second on this many threads, wall time, best round.
fn throughput(deployed: &Arc<Deployed>, threads: usize) -> Result<f64> {
    let mut best: f64 = 0.0;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(|| sent(deployed, MESSAGES))).collect();
            running.into_iter().try_for_each(|t| t.join().expect("a bench thread ends").map(|_| ()))
        })?;
        best = best.max(f64::from(MESSAGES) * threads as f64 / began.elapsed().as_secs_f64());
    }
    Ok(best)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).into()
}

fn fixture(name: &str) -> Result<Package> {
    package(&root().join("plugins/target/fixtures").join(name), "plugins/build --fixtures")
}

fn package(dir: &Path, build: &str) -> Result<Package> {
    let text = std::fs::read_to_string(dir.join("plugin.toml"))
        .with_context(|| format!("{} is not built; run {build}", dir.display()))?;
    let manifest: Manifest = toml::from_str(&text)?;
    let component = manifest.component.clone().context("the manifest names no component")?;
    let wasm = std::fs::read(dir.join(component))?.into();
    Ok(Package { manifest, wasm, script: None, granted: Granted::default() })
}

/// The interpreter with a source of its own.
fn script(name: &str, source: &str) -> Result<Package> {
    let mut package = package(&root().join("plugins/dist/javascript"), "plugins/build javascript")?;
    package.manifest.name = name.into();
    package.script = Some((format!("{name}.js"), source.to_string()));
    Ok(package)
}

fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
}

const X2_JS: &str = r#"export const node = {
  type: "bench-js", category: "bench", summary: "x2", inputs: 1, outputs: ["out"], wants: ["payload"],
  process(msg, node) {
    msg.payload.number *= 2;
    msg.payload.text += "!";
    node.send(msg);
  },
};
"#;

pub fn run() -> Result<()> {
    let mut arguments = std::env::args_os().skip(2);
    if arguments.next().is_some_and(|argument| argument == "--fifty") {
        let cache = arguments.next().context("--fifty takes a folder")?;
        println!("{}", load_fifty(Path::new(&cache))?);
        return Ok(());
    }
    let cache = std::env::temp_dir().join(format!("probity-bench-plugins-{}", std::process::id()));
    let result = measure(&cache);
    let _ = std::fs::remove_dir_all(&cache);
    println!("{}", result?);
    Ok(())
}

fn measure(cache: &Path) -> Result<Json> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let load = |bench: &Bench, package: Package| runtime.block_on(bench.plugins.load(package)).map_err(problems);
    let bench = Bench::new(cache.into(), Limits::default())?;
    let (mut noop, mut x2, mut fresh) = (fixture("fixture-noop")?, fixture("fixture-x2")?, fixture("fixture-x2")?);
    noop.manifest.instances = Instances::Warm;
    x2.manifest.instances = Instances::Warm;
    load(&bench, noop)?;
    load(&bench, x2)?;
    let noop = bench.deploy("fixture-noop");
    let x2 = bench.deploy("fixture-x2");
    let tree = bench.deploy("fixture-x2-tree");
    // For a profiler: one figure and nothing else.
    if std::env::args().any(|argument| argument == "--only-warm-noop") {
        return Ok(json!({ "warm_noop_us": best_us(&noop, 20 * MESSAGES)? }));
    }
    if std::env::args().any(|argument| argument == "--only-fresh") {
        let mut fresh = fresh;
        let other = Bench::new(cache.into(), Limits::default())?;
        fresh.manifest.instances = Instances::Fresh;
        load(&other, fresh)?;
        return Ok(json!({ "fresh_x2_us": best_us(&other.deploy("fixture-x2"), 20_000)? }));
    }
    if std::env::args().any(|argument| argument == "--only-warm-x2") {
        return Ok(json!({ "warm_x2_us": best_us(&x2, 10 * MESSAGES)? }));
    }
    let mut figures = json!({
        "native_node_us": best_us(&bench.deploy("bench native"), MESSAGES)?,
        "warm_noop_us": best_us(&noop, MESSAGES)?,
        "warm_x2_us": best_us(&x2, MESSAGES)?,
        "warm_x2_tree_us": best_us(&tree, MESSAGES)?,
        "two_threads_ratio": throughput(&x2, 2)? / throughput(&x2, 1)?,
    });
    let other = Bench::new(cache.into(), Limits::default())?;
    fresh.manifest.instances = Instances::Fresh;
    load(&other, fresh)?;
    figures["fresh_x2_us"] = best_us(&other.deploy("fixture-x2"), 2_000)?.into();
    // A process of its own would find the cache as this one does.
    let third = Bench::new(cache.into(), Limits::default())?;
    let again = fixture("fixture-x2")?;
    let began = Instant::now();
    load(&third, again)?;
    figures["cached_ready_ms"] = (began.elapsed().as_secs_f64() * 1_000.0).into();
    match script("bench-js", X2_JS) {
        Ok(package) => {
            load(&bench, package)?;
            figures["warm_js_x2_us"] = best_us(&bench.deploy("bench-js"), MESSAGES)?.into();
        }
        Err(missing) => eprintln!("JavaScript is not measured: {missing}"),
    }
    // Once to compile them, and once as a server finds them at every later start.
    fifty(cache)?;
    figures["fifty_plugins_mb"] = fifty(cache)?.into();
    Ok(figures)
}

/// What fifty plugins add to the memory of a process of their own, MB.
fn fifty(cache: &Path) -> Result<f64> {
    let said = std::process::Command::new(std::env::current_exe()?).args(["plugins", "--fifty"]).arg(cache).output()?;
    ensure!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    Ok(String::from_utf8(said.stdout)?.trim().parse()?)
}

fn load_fifty(cache: &Path) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let fifty = Bench::new(cache.into(), Limits::default())?;
    let before = resident_kb();
    for n in 0..50 {
        let mut package = fixture("fixture-x2")?;
        package.manifest.name = format!("copy-{n}");
        let renamed = package.wasm.to_vec();
        package.wasm = renamed_type(renamed, n).into();
        runtime.block_on(fifty.plugins.load(package)).map_err(problems)?;
    }
    Ok(resident_kb().saturating_sub(before) as f64 / 1_024.0)
}

/// The same guest with another node type of the same length, so that it is other code.
fn renamed_type(mut wasm: Vec<u8>, n: usize) -> Vec<u8> {
    let (from, to) = (b"fixture-x2", format!("copy-num{n:02}").into_bytes());
    for at in 0..wasm.len().saturating_sub(from.len()) {
        if &wasm[at..at + from.len()] == from {
            wasm[at..at + from.len()].copy_from_slice(&to);
        }
    }
    wasm
}
