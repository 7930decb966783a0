//! What hostile code in function nodes costs everybody else: a thousand bodies that loop, allocate, recurse, throw in
//! timers, reject promises and walk prototypes; how late each is stopped, what they leave behind, and how a neighbour
//! fares meanwhile. And what a plain function costs. `cargo bench --bench workloads -- functions` prints one JSON object;
//! `tests/bench/run functions` calls it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use probity::clock::Clock;
use probity::flow;
use probity::model::run::Trigger;
use probity::model::{Msg, Object};
use probity::plugin::function::{Functions, Limits as FunctionLimits};
use probity::plugin::limits::Limits as PluginLimits;
use probity::plugin::{Options, Plugins};
use probity::runtime::opening::{Opening, Start};
use probity::runtime::run::EndedRun;
use probity::runtime::{Engine, Limits, Services};
use serde_json::json;

/// Computing time of a hostile body, milliseconds.
const LIMIT_MS: u64 = 50;
/// Bodies that are made.
const BODIES: u64 = 1_000;
/// Calls of the neighbour, and of the plain function.
const CALLS: usize = 20_000;

/// What a body does; `%` is a number that differs from body to body.
const KINDS: &[(&str, &str)] = &[
    ("loop", "let i = %; while (true) i++;"),
    ("loop", "for (;;) { try { throw %; } catch (e) {} finally { continue; } }"),
    ("loop", "const o = {n: %}; do { o.n = Math.sqrt(o.n + 1); } while (o);"),
    ("jobs", "await new Promise(() => { let n = %; (function f() { n++; Promise.resolve().then(f); })(); });"),
    ("recursion", "let n = %; (function f() { n++; return f() + 1; })();"),
    ("recursion", "const f = (n) => { try { return f(n + 1); } finally { f(n); } }; f(%);"),
    ("memory", "const a = [%]; while (true) a.push(new Array(10000).fill(a.length));"),
    ("memory", "const m = new Map(); let i = %; while (true) m.set(i++, {i, s: 'x'.repeat(100)});"),
    ("text", "let s = 'x%'; while (true) s += s;"),
    ("text", "return {payload: 'x%'.repeat(1 << 27)};"),
    ("regexp", "const t = 'a'.repeat(30 + % % 10) + 'b'; while (true) /^(a+)+$/.test(t);"),
    ("sort", "while (true) new Array(100000).fill(%).map((_, i) => -i).sort((a, b) => a - b);"),
    ("output", "for (let i = %; ; i++) node.send({payload: i, text: 'x'.repeat(1000)});"),
    ("output", "let o = {n: %}; for (let i = 0; i < 1e6; i++) o = {o}; return {payload: o};"),
    ("log", "for (let i = %; ; i++) node.warn('spam ' + i);"),
    ("timer", "setTimeout(() => { throw new Error('%'); }, 1); return msg;"),
    ("timer", "setTimeout(() => { let i = %; while (true) i++; }, 1); return msg;"),
    ("timer", "for (let i = %; ; i++) setTimeout(() => {}, 100000);"),
    ("rejection", "Promise.reject(new Error('%')); return msg;"),
    ("rejection", "await Promise.all([1, 2, 3].map(async (n) => { throw new Error(n + '%'); }));"),
    ("walk", "Buffer.constructor('return process')().exit(%);"),
    (
        "walk",
        "node.send.constructor.constructor('return this.constructor.constructor(\"return process\")()')().exit(%);",
    ),
    (
        "walk",
        "let p = msg; while (p) { p = Object.getPrototypeOf(p); } globalThis.constructor.constructor('return require')()('fs%');",
    ),
    ("prototype", "Object.prototype.toJSON = () => { while (true); }; return {payload: {n: %}};"),
    ("prototype", "Array.prototype[Symbol.iterator] = function* () { while (true) yield %; }; return [[msg]];"),
];

fn functions(limits: FunctionLimits) -> Result<Arc<Functions>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("plugins/dist/javascript/javascript.wasm");
    let wasm = bytes::Bytes::from(std::fs::read(path).context("run plugins/build javascript")?);
    let options = Options {
        limits: PluginLimits::default(),
        cache_dirs: vec![root.join("target/bench-plugin-cache")],
        evaluate_typed: probity::nodes::typed::evaluate,
        read_secret: Arc::new(|_| None),
    };
    let plugins = Plugins::new(options, Default::default(), Clock::System);
    Ok(plugins.offer_functions(limits, Box::new(move || Ok(wasm.clone()))))
}

fn engine(functions: &Arc<Functions>, nodes: &[(&str, &str)]) -> Arc<Engine> {
    let mut catalogue = probity::nodes::catalogue();
    assert!(catalogue.add(probity::nodes::function::known(functions)).is_ok(), "there is one type of this name");
    let mut entries = vec![json!({"id": "tab", "type": "tab", "label": "tab"})];
    let node =
        |(id, func): &(&str, &str)| json!({"id": id, "type": "function", "z": "tab", "func": func, "wires": [[]]});
    entries.extend(nodes.iter().map(node));
    let (file, _) = flow::load(&serde_json::Value::Array(entries).to_string(), "bench.json");
    let plan = flow::plan(&file, &|t| catalogue.spec(t), &|_| None);
    let services = Services::new(Clock::System, Limits::default(), Default::default());
    let engine = Engine::new(Arc::new(services), catalogue);
    engine.deploy(plan);
    engine
}

async fn send(engine: &Engine, node: u32, text: &str) -> Result<Arc<EndedRun>> {
    let msg = Msg::from_object(serde_json::from_str::<Object>(text)?);
    let trigger = Trigger::Manual { by: "bench".into() };
    let opening = Opening { node, start: Start::Deliver, msg, trigger, reply: None };
    Ok(engine.current().open(opening)?.1.await)
}

fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0) / 1_024.0
}

/// The body with this number.
fn body(number: u64) -> (&'static str, String) {
    let (kind, text) = KINDS[number as usize % KINDS.len()];
    (kind, text.replace('%', &number.to_string()))
}

struct Hostile {
    late_ms_max: f64,
    latest: &'static str,
    late: usize,
    before_mb: f64,
    after_mb: f64,
}

/// Every body once, each in a node of its own, beside nothing else.
async fn hostile() -> Result<Hostile> {
    let functions = functions(FunctionLimits { compute_ms_default: LIMIT_MS, ..FunctionLimits::default() })?;
    let mut found = Hostile { late_ms_max: 0.0, latest: "", late: 0, before_mb: 0.0, after_mb: 0.0 };
    for number in 0..BODIES {
        // Warm: the sandbox, the allocator, the kernel's lists.
        if number == BODIES / 10 {
            found.before_mb = resident_mb();
        }
        let (kind, text) = body(number);
        let engine = engine(&functions, &[("f", &text)]);
        let began = Instant::now();
        send(&engine, 0, r#"{"payload":1}"#).await?;
        // The limit counts once for the message and, where a timer follows, once for that.
        let limits = if kind == "timer" { 2 } else { 1 };
        let late = began.elapsed().as_secs_f64() * 1_000.0 - (limits * LIMIT_MS) as f64;
        found.late += usize::from(late > 50.0);
        if late > found.late_ms_max {
            (found.late_ms_max, found.latest) = (late, kind);
        }
        engine.deploy(Default::default());
    }
    found.after_mb = resident_mb();
    Ok(found)
}

/// p99 of a neighbour's messages, microseconds.
async fn neighbour(engine: &Engine) -> Result<f64> {
    let mut took = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let began = Instant::now();
        let ended = send(engine, 0, r#"{"payload":1}"#).await?;
        took.push(began.elapsed());
        ensure!(ended.error.is_none(), "the neighbour failed: {:?}", ended.error);
        // A pause, so that waking up is part of it, as for a caller from outside.
        Clock::System.sleep(Duration::from_micros(100)).await;
    }
    took.sort();
    Ok(took[CALLS * 99 / 100].as_secs_f64() * 1e6)
}

async fn beside() -> Result<(f64, f64)> {
    let functions = functions(FunctionLimits { compute_ms_default: LIMIT_MS, ..FunctionLimits::default() })?;
    let engine = engine(&functions, &[("good", "msg.payload++; return msg;"), ("bad", "while (true) {}")]);
    let of = |engine: &Arc<Engine>| {
        let engine = engine.clone();
        tokio::spawn(async move { neighbour(&engine).await })
    };
    of(&engine).await??;
    let alone = of(&engine).await??;
    let over = Arc::new(AtomicBool::new(false));
    let looping = {
        let (engine, over) = (engine.clone(), over.clone());
        tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                let _ = send(&engine, 1, "{}").await;
            }
        })
    };
    let beside = of(&engine).await??;
    over.store(true, Ordering::Relaxed);
    looping.await?;
    Ok((alone, beside))
}

/// Microseconds of a run with one function that sets five fields; parsing the message and opening the run are in it.
async fn plain() -> Result<(f64, f64)> {
    let functions = functions(FunctionLimits::default())?;
    let code = "msg.payload = {a: msg.payload, b: 'x', c: [1, 2, 3], d: true, e: null}; return msg;";
    let engine = engine(&functions, &[("f", code), ("none", "return null;")]);
    let mut best = [f64::MAX; 2];
    for _ in 0..20 {
        for (node, best) in best.iter_mut().enumerate() {
            let began = Instant::now();
            for _ in 0..1_000 {
                send(&engine, node as u32, r#"{"payload":{"n":1,"text":"a text of a few words"}}"#).await?;
            }
            *best = best.min(began.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok((best[0], best[1]))
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
pub async fn run() -> Result<()> {
    let (plain_us, nothing_us) = tokio::spawn(plain()).await??;
    let hostile = tokio::spawn(hostile()).await??;
    let (alone_us, beside_us) = beside().await?;
    println!(
        "{}",
        json!({
            "plain_us": plain_us, "nothing_us": nothing_us, "bodies": BODIES, "limit_ms": LIMIT_MS,
            "late_ms_max": hostile.late_ms_max, "latest": hostile.latest, "over_50_ms": hostile.late,
            "rss_before_mb": hostile.before_mb, "rss_after_mb": hostile.after_mb,
            "neighbour_p99_alone_us": alone_us, "neighbour_p99_beside_us": beside_us,
        })
    );
    Ok(())
}
