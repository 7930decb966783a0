//! Plugins in JavaScript on the real interpreter component, in the real sandbox: what it gives, its limits, its errors.
//!
//! `plugins/build javascript` builds it; where it is not built these tests say so and pass, unless
//! `PROBITY_TEST_REQUIRE_PLUGINS` is set, as it is in `tests/all`. What authors find is tested in `plugins/javascript/tests`.

use std::path::Path;

use probity::model::Value;
use probity::plugin::Package;
use probity::plugin::granted::Granted;
use probity::plugin::limits::{CallLimits, Limits};
use serde_json::json;

use super::rig::{Rig, granted, manifest, msg};

#[expect(clippy::disallowed_methods, reason = "tests have no config")]
fn interpreter() -> Option<bytes::Bytes> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/dist/javascript/javascript.wasm");
    if let Ok(wasm) = std::fs::read(&path) {
        return Some(wasm.into());
    }
    let missing = format!("{} is not built; run plugins/build javascript", path.display());
    assert!(std::env::var_os("PROBITY_TEST_REQUIRE_PLUGINS").is_none(), "{missing}");
    eprintln!("SKIPPED: {missing}");
    None
}

/// A rig whose plugins share one compiled interpreter.
struct Bench {
    rig: Rig,
    wasm: bytes::Bytes,
}

impl Bench {
    async fn load(&self, name: &str, more: &str, grants: Granted, source: &str) -> Result<(), String> {
        let script = Some(("node.js".to_string(), source.to_string()));
        let package = Package { manifest: manifest(name, more), wasm: self.wasm.clone(), script, granted: grants };
        let loaded = self.rig.load(package).await;
        loaded.map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    /// Loads a node of type `name` with this body and sends it a payload: what it emits as JSON, and its errors.
    async fn ask(&self, name: &str, grants: &[&str], body: &str, payloads: &[serde_json::Value]) -> Vec<String> {
        let capabilities = json!(grants);
        let source = format!(
            "export const node = {{ type: '{name}', capabilities: {capabilities},\nasync process(msg, node) {{ {body} }} }};"
        );
        self.load(name, "", granted(grants), &source).await.unwrap_or_else(|p| panic!("{name}: {p}"));
        let flow = self.rig.deploy(json!([{"id": "n", "type": name}]));
        let mut all = Vec::new();
        for payload in payloads {
            let outcome = self.rig.send(&flow, "n", msg(Value::from_json(&payload.to_string()).unwrap())).await;
            all.extend(outcome.out.iter().map(|(_, _, msg)| msg.payload().to_json()));
            all.extend(outcome.errors);
        }
        all
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_in_javascript_work_and_fail_as_they_should() {
    let Some(wasm) = interpreter() else { return };
    // Time for a slow machine: nothing below is measured, and a loop is stopped all the same.
    let limits = Limits {
        default: CallLimits { compute_ms_max: 2_000, call_ms_max: 60_000, ..Limits::default().default },
        stops_max: u32::MAX,
        emits_max: 1_000,
        ..Limits::default()
    };
    let bench = Bench { rig: Rig::new(limits), wasm };
    messages(&bench).await;
    capabilities(&bench).await;
    limits_hold(&bench).await;
    bombs(&bench).await;
    errors(&bench).await;
}

async fn messages(bench: &Bench) {
    let got = bench.ask("js-greet", &[], "msg.payload = `Hello, ${msg.payload}`; return msg", &[json!("Ada")]).await;
    assert_eq!(got, ["\"Hello, Ada\""]);
    let body = "msg.payload.n *= 2; msg.payload.t += '!'; node.send(msg)";
    let got = bench.ask("js-x2", &[], body, &[json!({"n": 21, "t": "a"}), json!({"n": 1, "t": "ü"})]).await;
    assert_eq!(got, [r#"{"n":42,"t":"a!"}"#, r#"{"n":2,"t":"ü!"}"#]);
    // What never crosses comes out again: a message sent on is the one that came.
    let got =
        bench.ask("js-keep", &[], "return {...msg, payload: Object.keys(msg).includes('res')}", &[json!(1)]).await;
    assert_eq!(got, ["false"]);
}

async fn capabilities(bench: &Bench) {
    let all = ["clock", "random", "state", "evidence", "context", "typed-input"];
    let body = "await new Promise((done) => setTimeout(done, 1));
        const count = node.state.node.update('n', (n = 0) => n + 1); node.flow.set('a', count);
        return { payload: [count, node.flow.get('a'), typeof Date.now(), crypto.randomUUID().length, node.evidence('k', 1, true).length,
            node.typedInput('msg', 'payload'), Math.random() !== Math.random(), new URL('/x', 'http://a.b').href] }";
    let got = bench.ask("js-all", &all, body, &[json!(5), json!(6)]).await;
    let expected = |n: u32, payload: u32| format!(r#"[{n},{n},"number",36,36,{payload},true,"http://a.b/x"]"#);
    assert_eq!(got, [expected(1, 5), expected(2, 6)]);

    // Declared in the source, but not granted by the operator.
    let source = "export const node = { type: 'js-denied', capabilities: ['evidence'], process(msg, node) { node.evidence('a', 1); } };";
    bench.load("js-denied", "", granted(&[]), source).await.unwrap();
    let flow = bench.rig.deploy(json!([{"id": "n", "type": "js-denied"}]));
    let outcome = bench.rig.send(&flow, "n", msg(1.0)).await;
    assert!(outcome.errors[0].contains("probity plugin grant js-denied evidence"), "{outcome:?}");
}

async fn limits_hold(bench: &Bench) {
    let fill = "if (msg.payload) { const all = []; for (;;) all.push('x'.repeat(1000) + all.length); } return { payload: 'fine' }";
    let got = bench.ask("js-memory", &[], fill, &[json!(true), json!(false), json!(true)]).await;
    let told = |text: &str| text.starts_with("out of memory") && text.contains("limits.memory_bytes_max");
    assert!(told(&got[0]) && told(&got[2]) && got[1] == "\"fine\"", "{got:?}");
    let fill = "const all = []; for (;;) all.push(new Uint8Array(1 << 20))";
    let got = bench.ask("js-buffers", &[], fill, &[json!(1)]).await;
    assert!(got[0].contains("memory"), "{got:?}");

    let deep = "if (msg.payload) { const f = () => f() + 1; f(); } return { payload: 'fine' }";
    let got = bench.ask("js-deep", &[], deep, &[json!(true), json!(false)]).await;
    assert!(got[0].starts_with("RangeError: Maximum call stack size exceeded (node.js:2:"), "{got:?}");
    assert_eq!(got[1], "\"fine\"");
    let nested = "let v = []; for (let i = 0; i < 100000; i++) v = [v]; msg.payload = v; return msg";
    let got = bench.ask("js-nested", &[], nested, &[json!(1)]).await;
    assert!(got[0].starts_with("RangeError"), "{}", &got[0][..got[0].len().min(300)]);

    let got = bench
        .ask("js-loop", &[], "if (msg.payload) for (;;); return { payload: 'fine' }", &[json!(true), json!(false)])
        .await;
    assert!(got[0].contains("computed longer than 2000 ms (compute_ms_max)"), "{got:?}");
    assert_eq!(got[1], "\"fine\"");
}

/// What costs little to write and much to do; the node works for the message after it.
async fn bombs(bench: &Bench) {
    let loops = "computed longer than 2000 ms (compute_ms_max)";
    for (name, body, told) in [
        ("js-regex", "msg.payload = /^(a+)+$/.test('a'.repeat(40) + '!')", loops),
        ("js-join", "msg.payload = new Array(2 ** 32 - 1).join('')", ""),
        ("js-sort", "for (;;) Array.from({length: 1000}, Math.sin).sort()", loops),
        ("js-json", "msg.payload = JSON.parse('['.repeat(200000))", ""),
        ("js-getter", "Object.defineProperty(msg, 'payload', { get() { for (;;); } }); node.send(msg)", loops),
        ("js-many", "for (let i = 0; i < 2000; i++) node.send({ payload: i })", "emits at most 1000 messages"),
        ("js-state", "node.state.node.set('k', 'x'.repeat(2 << 20))", "state_bytes_max"),
    ] {
        let capabilities: &[&str] = if name == "js-state" { &["state"] } else { &[] };
        let body = format!("if (msg.payload === 1) {{ {body}; }} return {{ payload: 'fine' }}");
        let got = bench.ask(name, capabilities, &body, &[json!(1), json!(0)]).await;
        let (last, before) = got.split_last().unwrap();
        assert_eq!(last, "\"fine\"", "{name}: {:?}", &got[..got.len().min(4)]);
        let text = before.last().map_or("", String::as_str);
        assert!(text.contains(told), "{name}: {}", &text[..text.floor_char_boundary(300)]);
    }
    // Names in any script, and a configuration of a megabyte.
    let got = bench
        .ask("js-names", &[], "msg['ключ ☃'] = Object.keys(msg.payload); return msg", &[json!({"é\u{1F600}\"": 1})])
        .await;
    assert_eq!(got, ["{\"é\u{1F600}\\\"\":1}"]);
    let source = "export const node = { type: 'js-large', process(msg, node) { return { payload: node.config.text.length }; } };";
    bench.load("js-large", "", granted(&[]), source).await.unwrap();
    let flow = bench.rig.deploy(json!([{"id": "n", "type": "js-large", "text": "ü".repeat(1 << 20)}]));
    let outcome = bench.rig.send(&flow, "n", msg(1.0)).await;
    assert_eq!(outcome.out[0].2.payload().to_json(), (1 << 20).to_string(), "{:?}", outcome.errors);
    // What is sent once the call is over goes nowhere, and is no harm to the next caller.
    let late = "setTimeout(() => node.send({ payload: 'late' }), 5); return { payload: 'fine' }";
    let got = bench.ask("js-late", &["clock"], late, &[json!(1), json!(2)]).await;
    assert!(got.iter().filter(|text| *text == "\"fine\"").count() == 2, "{got:?}");
}

async fn errors(bench: &Bench) {
    let got = bench.ask("js-throws", &[], "\nmsg.payload.x.y", &[json!({})]).await;
    assert!(got[0].starts_with("TypeError: cannot read property 'y' of undefined (node.js:3:"), "{got:?}");
    let got = bench.ask("js-rejects", &[], "Promise.reject(new Error('lost'))", &[json!({})]).await;
    assert!(got[0].starts_with("Error: lost (node.js:2:"), "{got:?}");

    for (source, expected) in [
        ("export const node = {\n  type: 'x',\n  process(msg { }\n};", "SyntaxError"),
        ("import x from 'y';", "cannot import 'y': a plugin is one file; bundle it"),
        (
            "export const node = { type: 'js-wrong', version: '1', process() {} };",
            "`version` must be MAJOR.MINOR.PATCH",
        ),
    ] {
        let refused = bench.load("js-refused", "", granted(&[]), source).await.unwrap_err();
        assert!(refused.contains(expected), "{source}\n{refused}");
        assert!(refused.contains("node.js"), "{refused}");
    }
}
