//! Guests that do what they should not: each is stopped within its limit, its neighbours and the engine live on.

use std::sync::Arc;

use probity::plugin::limits::{CallLimits, Limits};
use serde_json::json;

use super::rig::{Rig, component, granted, manifest, msg, package};
use probity::plugin::Package;
use probity::plugin::granted::Granted;

/// Limits small enough that thousands of stops fit in a test.
fn limits() -> Limits {
    let small = CallLimits {
        compute_ms_max: 5,
        call_ms_max: 20,
        memory_bytes_max: 1 << 20,
        output_bytes_max: 1 << 20,
        state_bytes_max: 64 << 10,
    };
    Limits {
        default: small.clone(),
        max: CallLimits { memory_bytes_max: 8 << 20, ..small },
        stops_max: u32::MAX,
        ..Limits::default()
    }
}

/// Each fixture, what it may, and what its message says when it is stopped.
fn cases() -> Vec<(&'static str, &'static [&'static str], &'static str)> {
    vec![
        ("loop", &[], "computed longer than 5 ms (compute_ms_max)"),
        ("memory", &[], "asked for more than 1048576 bytes of memory (memory_bytes_max)"),
        ("table", &[], "it panicked"),
        ("stack", &[], "nested too deep (stack overflow)"),
        ("output", &[], "computed longer than 5 ms"),
        ("log", &[], "was stopped while handling a message"),
        ("bad-result", &[], "was stopped while handling a message"),
        ("bad-pointer", &[], "was stopped while handling a message"),
        ("bad-length", &[], "was stopped while handling a message"),
        ("bad-text", &[], "was stopped while handling a message"),
        ("bad-json", &[], "msg.payload was sent as JSON that cannot be read"),
        ("clock", &[], "clock is not granted. To allow it: probity plugin grant clock clock"),
        ("sleep", &["clock"], "took longer than 20 ms (call_ms_max)"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hostile_guest_is_stopped_and_says_why() {
    for (name, grants, expected) in cases() {
        let rig = Rig::new(limits());
        rig.load(package(name, "", granted(grants))).await.unwrap_or_else(|p| panic!("{name}: {p:#?}"));
        rig.load(package("pass", "", granted(&[]))).await.unwrap();
        let flow = rig.deploy(json!([
            {"id": "bad", "type": format!("guest-{name}")},
            {"id": "good", "type": "guest-pass"},
        ]));
        for _ in 0..3 {
            let outcome = rig.send(&flow, "bad", msg("x")).await;
            assert_eq!(outcome.errors.len(), 1, "{name}: {outcome:?}");
            assert!(outcome.errors[0].contains(expected), "{name}: {}", outcome.errors[0]);
            assert!(outcome.out.is_empty(), "{name}: nothing of a broken call goes out");
            let neighbour = rig.send(&flow, "good", msg("y")).await;
            assert_eq!(neighbour.out.len(), 1, "{name}: {neighbour:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_breaks_off_at_the_start_is_not_loaded() {
    for (name, expected) in [("start", "it panicked"), ("start-loop", "computed longer than 5 ms")] {
        let rig = Rig::new(limits());
        let problems = rig.load(package(name, "", granted(&[]))).await.unwrap_err();
        assert!(problems[0].message.contains(expected), "{name}: {problems:#?}");
    }
}

/// In a process of its own: what others take meanwhile is not ours.
#[test]
fn thousands_of_stops_leave_nothing_behind() {
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "plugins::hostile::stop_by_the_thousand", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&child.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by thousands_of_stops_leave_nothing_behind"]
async fn stop_by_the_thousand() {
    let rig = Rig::new(limits());
    for name in ["loop", "memory", "stack"] {
        rig.load(package(name, "", granted(&[]))).await.unwrap();
    }
    let flow = rig.deploy(json!([
        {"id": "loop", "type": "guest-loop"},
        {"id": "memory", "type": "guest-memory"},
        {"id": "stack", "type": "guest-stack"},
    ]));
    let stop = async |name: &str, times: u32| {
        for _ in 0..times {
            assert_eq!(rig.send(&flow, name, msg("x")).await.errors.len(), 1);
        }
    };
    stop("stack", 50).await;
    stop("memory", 50).await;
    let before = resident_bytes();
    stop("stack", 300).await;
    stop("memory", 300).await;
    stop("loop", 60).await;
    let after = resident_bytes();
    // One more instance's memory would already be 1 MiB each: 660 of them are far beyond this.
    assert!(after < before + (64 << 20), "{before} bytes before, {after} after");
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_repeated_stops_comes_a_quarantine_with_a_way_back() {
    let rig = Rig::new(Limits { stops_max: 3, ..limits() });
    rig.load(package("stack", "", granted(&[]))).await.unwrap();
    let flow = rig.deploy(json!([{"id": "bad", "type": "guest-stack"}]));
    for _ in 0..3 {
        assert!(rig.send(&flow, "bad", msg("x")).await.errors[0].contains("stack overflow"));
    }
    let refused = rig.send(&flow, "bad", msg("x")).await;
    assert!(refused.errors[0].contains("is in quarantine until"), "{refused:?}");
    assert!(refused.errors[0].contains("To let it out now: probity plugin release stack"), "{refused:?}");
    let report = &rig.plugins.report()[0];
    assert_eq!((report.quarantine.len(), report.stops["stack"]), (1, 3));
    assert_eq!(rig.plugins.release("stack"), Some(true));
    assert!(rig.send(&flow, "bad", msg("x")).await.errors[0].contains("stack overflow"), "tried again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_state_of_a_node_is_nobody_elses() {
    let rig = Rig::new(limits());
    let state = |name: &str| {
        let wasm = component("state", |text| text.replace("\"guest-state\"", &format!("\"guest-stat{name}\"")));
        Package { manifest: manifest(&format!("state-{name}"), ""), wasm, script: None, granted: granted(&["state"]) }
    };
    rig.load(state("a")).await.unwrap();
    rig.load(state("b")).await.unwrap();
    let flow = rig.deploy(json!([
        {"id": "a1", "type": "guest-stata"},
        {"id": "a2", "type": "guest-stata"},
        {"id": "b1", "type": "guest-statb"},
    ]));
    for node in ["a1", "a2", "b1"] {
        let found = rig.send(&flow, node, msg("x")).await;
        assert_eq!(found.out[0].2.payload().to_js_string(), "nothing", "{node} finds nobody else's state");
    }
    for node in ["a1", "a2", "b1"] {
        let found = rig.send(&flow, node, msg("x")).await;
        assert_eq!(found.out[0].2.payload().to_js_string(), "mine", "{node} finds its own");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forbidden_hosts_are_not_reached() {
    let target = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    target.set_nonblocking(true).unwrap();
    let port = target.local_addr().unwrap().port();
    let (loopback, named) = (format!("http://127.0.0.1:{port}/"), format!("http://localhost:{port}/"));
    for (hosts, url, expected) in [
        (&["*"][..], loopback.as_str(), "To allow it: probity plugin grant http http --host 127.0.0.1"),
        (&["*"], &named, "the address is not a public one"),
        (&["*"], "http://169.254.169.254/latest/meta-data/", "it is a link-local or metadata address"),
        (&["*"], "http://[::ffff:169.254.169.254]/", "it is a link-local or metadata address"),
        (&["*"], "http://0x7f000001/", "it was not granted"),
        (&["*"], "http://10.0.0.1/", "it was not granted"),
        (&[], "http://93.184.216.34/", "it was not granted"),
        (&["api.example.org"], "http://api.example.com/", "--host api.example.com"),
        (&["169.254.169.254"], "http://169.254.169.254/", "it is a link-local or metadata address"),
        (&["*"], "file:///etc/passwd", "names no host"),
        (&["*"], "gopher://a.example/", "gopher"),
        (&["*"], "no url", "is no URL"),
    ] {
        let rig = Rig::new(limits());
        let wasm = component("http", |text| text.replace("\"URL\\00\"", &format!("\"{url}\\00\"")));
        let granted = Granted { hosts: hosts.iter().map(ToString::to_string).collect(), ..granted(&["http"]) };
        rig.load(Package { manifest: manifest("http", ""), wasm, script: None, granted }).await.unwrap();
        let flow = rig.deploy(json!([{"id": "n", "type": "guest-http"}]));
        let outcome = rig.send(&flow, "n", msg("x")).await;
        assert!(outcome.errors.iter().any(|e| e.contains(expected)), "{hosts:?} {url}: {outcome:?}");
    }
    assert!(target.accept().is_err(), "no connection was made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_capability_nothing_is_called() {
    let rig = Rig::new(limits());
    rig.load(package("http", "", granted(&[]))).await.unwrap();
    let flow = rig.deploy(json!([{"id": "n", "type": "guest-http"}]));
    let outcome = rig.send(&flow, "n", msg("x")).await;
    assert!(
        outcome.errors[0].contains("http is not granted. To allow it: probity plugin grant http http"),
        "{outcome:?}"
    );
    let report = &rig.plugins.report()[0];
    assert_eq!((report.refusals, report.last_refusals.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_loop_does_not_hold_up_its_neighbours() {
    let rig = Rig::new(Limits { stops_max: u32::MAX, ..Limits::default() });
    rig.load(package("loop", "", granted(&[]))).await.unwrap();
    rig.load(package("pass", "", granted(&[]))).await.unwrap();
    let flow = rig.deploy(json!([
        {"id": "bad", "type": "guest-loop"},
        {"id": "good", "type": "guest-pass"},
    ]));
    // More loops than workers: only guests that let others on leave room for the neighbour.
    let rig = Arc::new(rig);
    let loops: Vec<_> = (0..8)
        .map(|_| {
            let (rig, flow) = (rig.clone(), flow.clone());
            tokio::spawn(async move { rig.send(&flow, "bad", msg("x")).await.errors.len() })
        })
        .collect();
    let mut through = 0;
    while !loops.iter().all(|l| l.is_finished()) {
        through += rig.send(&flow, "good", msg("y")).await.out.len();
    }
    for stopped in loops {
        assert_eq!(stopped.await.unwrap(), 1);
    }
    assert!(through > 1, "{through} messages of the neighbour went through");
}

/// What is larger than any instance may be is refused when it is loaded, and harms nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_module_of_too_many_or_too_large_parts_is_not_loaded() {
    let rig = Rig::new(limits());
    let memories = "(memory $m1 1) (memory $m2 1) (memory $m3 1)";
    let many: String = (0..20).map(|n| format!("(table $t{n} 1 funcref)")).collect();
    for (what, more) in [
        ("memories", memories.to_string()),
        ("a huge table", "(table $huge 4000000 funcref)".to_string()),
        ("tables", many),
        ("a huge memory", "(memory $m1 65536)".to_string()),
    ] {
        let mut package = package("pass", "", granted(&[]));
        package.wasm = super::rig::component("pass", |text| {
            let end = text.rfind(')').expect("a module ends");
            format!("{}{more})", &text[..end])
        });
        let refused = rig.load(package).await.expect_err(what);
        assert!(refused.iter().all(|d| !d.message.is_empty()), "{what}: {refused:?}");
    }
    rig.load(package("pass", "", granted(&[]))).await.unwrap();
    let flow = rig.deploy(json!([{"id": "n", "type": "guest-pass"}]));
    assert_eq!(rig.send(&flow, "n", msg("x")).await.out.len(), 1);
}
