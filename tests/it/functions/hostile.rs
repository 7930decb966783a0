//! Hostile code in function nodes: a sample of what `benches/workloads/functions.rs` makes by the thousand. Each piece ends its own
//! message with an error or sends nothing of the host, and the node next to it goes on.

use std::time::Duration;

use probity::clock::Clock;

use super::{FunctionLimits, Rig, functions};

/// Pieces of code, and whether they must fail.
const CODE: &[(&str, bool)] = &[
    ("while (true) {}", true),
    ("for (;;) { try { throw 1; } catch (e) {} finally { continue; } }", true),
    ("await new Promise((r) => { (function f() { Promise.resolve().then(f); })(); });", true),
    ("(function f() { return f() + 1; })();", true),
    ("const f = () => { try { f(); } finally { f(); } }; f();", true),
    ("const a = []; while (true) a.push(new Array(10000).fill('x'));", true),
    ("let s = 'x'; while (true) s += s;", true),
    ("return {payload: 'x'.repeat(1 << 28)};", true),
    ("return {payload: Buffer.alloc(1 << 30)};", true),
    ("/^(a+)+$/.test('a'.repeat(40) + 'b'); while (true) {}", true),
    ("const b = []; for (let i = 0; i < 1e7; i++) node.send({payload: 'x'.repeat(1000)});", true),
    ("JSON.parse('['.repeat(100000));", true),
    ("let o = {}; for (let i = 0; i < 1e6; i++) o = {o}; return {payload: o};", true),
    ("setTimeout(() => { throw new Error('later'); }, 1); return msg;", false),
    ("setTimeout(() => { while (true) {} }, 1); return msg;", false),
    ("for (let i = 0; i < 1e6; i++) setTimeout(() => {}, 1000);", true),
    ("Promise.reject(new Error('nobody')); return msg;", false),
    ("return new Proxy({}, {ownKeys() { throw new Error('no keys'); }});", true),
    ("const o = {}; o.o = o; return {payload: o};", true),
    ("Object.defineProperty(msg, 'x', {enumerable: true, get() { throw new Error('no'); }}); return msg;", true),
    ("Object.prototype.toJSON = () => { throw new Error('mine'); }; return {payload: {}};", true),
    ("Array.prototype[Symbol.iterator] = function* () { while (true) yield 1; }; return [[msg]];", true),
    ("Date.prototype.getTime = () => { while (true) {} }; return {payload: new Date()};", true),
    ("String.prototype.trim = () => { throw 1; }; return msg;", false),
    ("new Array(2 ** 32 - 1).sort();", true),
    ("node.status({text: 'x'.repeat(1e7)}); for (let i = 0; i < 1e5; i++) node.status({text: i}); return msg;", false),
    ("for (let i = 0; i < 1e5; i++) node.warn('spam'); return msg;", false),
    ("Buffer.constructor('return process')().exit();", true),
    ("(0, eval)('this').constructor.constructor('return require')()('fs');", true),
    ("import('fs').then((fs) => node.send({payload: fs})); ", false),
];

#[tokio::test]
async fn hostile_code_ends_its_own_message_and_nothing_else() {
    let limits = FunctionLimits { compute_ms_default: 100, ..FunctionLimits::default() };
    let Some(functions) = functions(limits) else { return };
    for (code, fails) in CODE {
        let nodes = serde_json::json!([
            {"id": "f", "type": "function", "func": code, "outputs": 1, "wires": [[]]},
            {"id": "good", "type": "function", "func": "n = (typeof n === 'undefined' ? 0 : n) + 1; return {payload: n};", "wires": [[]]},
            {"id": "c", "type": "catch", "scope": ["f"], "wires": [[]]},
        ]);
        let rig = Rig::new(&functions, &nodes);
        rig.inject("good", "{}");
        rig.settle().await;
        assert_eq!(rig.take(), [r#"1: {"payload":1}"#], "{code}");
        for _ in 0..2 {
            rig.inject("f", r#"{"payload":1}"#);
            rig.settle().await;
            rig.advance(5).await;
            let said = rig.take();
            let failed = said.iter().any(|line| line.starts_with("caught: "));
            assert!(!fails || failed, "{code}: {said:?}");
            let long = |line: &&String| line.len() > 100_000;
            assert!(said.iter().find(long).is_none(), "{code}");
        }
        rig.inject("good", "{}");
        rig.settle().await;
        assert_eq!(rig.take(), [r#"1: {"payload":2}"#], "{code}");
        // Timers it has set are over, too, and so are the runs that waited for them.
        rig.advance(2_000).await;
        until_none_is_open(&rig).await;
    }
}

/// A call is cut off wherever it stands, also while the sandbox itself takes a timer out of its list.
#[tokio::test]
async fn a_call_that_is_cut_off_loses_no_other_messages_timers() {
    let limits = FunctionLimits { compute_ms_default: 2, ..FunctionLimits::default() };
    let Some(functions) = functions(limits) else { return };
    let code = "for (let i = 0; i < 100; i++) setTimeout(() => {}, 1000); return msg;";
    let nodes = serde_json::json!([
        {"id": "f", "type": "function", "func": code, "timeout": 0, "outputs": 1, "wires": [[]]},
        {"id": "c", "type": "catch", "scope": ["f"], "wires": [[]]},
    ]);
    let rig = Rig::new(&functions, &nodes);
    for _ in 0..90 {
        rig.inject("f", "{}");
        rig.settle().await;
    }
    rig.take();
    // All are due at once: calling them takes many calls, and each but the last is cut off.
    rig.clock.advance(Duration::from_secs(2));
    until_none_is_open(&rig).await;
    let cut = rig.take().iter().filter(|line| line.contains("longer than 2 ms")).count();
    assert!(cut >= 3, "{cut}: no call was cut off, so that nothing was shown");
}

/// What came back of a link call is no message of its own: what it sets going belongs to the one that called.
#[tokio::test]
async fn a_call_that_is_cut_off_after_a_link_call_ends_the_message_that_made_it() {
    let limits = FunctionLimits { compute_ms_default: 20, ..FunctionLimits::default() };
    let Some(functions) = functions(limits) else { return };
    let called = "await node.linkcall('x', {}); while (true) {}";
    let flow = |func: &str, initialize: &str| {
        serde_json::json!([
            {"id": "f", "type": "function", "func": func, "initialize": initialize, "outputs": 1, "wires": [[]]},
            {"id": "c", "type": "catch", "scope": ["f"], "wires": [[]]},
            {"id": "x", "type": "link in", "name": "x", "links": [], "wires": [["back"]]},
            {"id": "back", "type": "link out", "mode": "return", "links": [], "wires": []},
        ])
    };
    // The interval goes on, so that the node is never without something that could happen.
    let rig = Rig::new(&functions, &flow(called, "setInterval(() => {}, 1e6);"));
    rig.inject("f", r#"{"payload":7}"#);
    rig.settle().await;
    until_none_is_open(&rig).await;
    let said = rig.take();
    assert!(said.iter().any(|line| line.starts_with("caught: the code ran longer than 20 ms")), "{said:?}");
    // A start that is cut off has failed: messages are not kept waiting for it.
    let rig = Rig::new(&functions, &flow("return msg;", called));
    rig.inject("f", r#"{"payload":7}"#);
    rig.settle().await;
    until_none_is_open(&rig).await;
    let said = rig.take();
    assert!(said.iter().any(|line| line.starts_with("caught: the code of \"On Start\" failed")), "{said:?}");
}

/// Real time passes meanwhile; a run that stays open for a minute stays so for ever.
async fn until_none_is_open(rig: &Rig) {
    let began = std::time::Instant::now();
    while rig.engine.open_runs() > 0 {
        assert!(began.elapsed() < Duration::from_secs(60), "{} runs stay open", rig.engine.open_runs());
        Clock::System.sleep(Duration::from_millis(1)).await;
    }
}
