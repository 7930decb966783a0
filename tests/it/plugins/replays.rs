//! Calls of deterministic plugins: recorded with their run, made again from the record alone, and told apart when
//! record and plugin do not belong together.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use probity::model::call::{CallRecord, Outcome};
use probity::model::run::{RunRecord, Trigger};
use probity::model::{Msg, RunId, Value};
use probity::net::{Net, NetOptions};
use probity::plugin::Package;
use probity::plugin::granted::{CAPABILITIES, Granted};
use probity::plugin::limits::{CallLimits, Limits};
use probity::plugin::replay::Replayer;
use probity::runtime::Deployed;
use serde_json::json;

use super::rig::{Rig, Upstream, built, component, granted, manifest, msg, package, server};

const DETERMINISTIC: &str = "deterministic = true\n";

/// The fixture that asks for everything, calling this server.
fn asking(upstream: &Upstream) -> Package {
    let url = upstream.url("/there");
    let wasm = component("deterministic", |text| text.replace("\"URL\\00\"", &format!("\"{url}\\00\"")));
    let granted = Granted { hosts: vec!["127.0.0.1".into()], ..granted(&["clock", "random", "state", "http"]) };
    Package { manifest: manifest("deterministic", DETERMINISTIC), wasm, script: None, granted }
}

/// What is kept of a message's run, as it would come out of a store.
async fn record_of(rig: &Rig, flow: &Arc<Deployed>, message: Msg) -> RunRecord {
    let (run, _) = rig.run(flow, "n", message, Trigger::Manual { by: "test".into() }).await;
    stored(rig, run)
}

fn stored(rig: &Rig, run: RunId) -> RunRecord {
    let record = rig.engine.services.history.find(run).expect("an ended run is in memory");
    serde_json::from_str(&serde_json::to_string(&record).unwrap()).unwrap()
}

fn calls(run: &RunRecord) -> Vec<CallRecord> {
    run.trace.iter().flat_map(|step| step.calls.clone()).collect()
}

fn replayer() -> Replayer {
    Replayer::new(Limits::default(), Vec::new(), &Net::new(NetOptions::default()).unwrap()).unwrap()
}

fn of(call: &CallRecord) -> Vec<&str> {
    call.calls.iter().map(|c| c.of.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_recorded_is_the_same_when_made_again() {
    let upstream = server().await;
    let plugin = asking(&upstream);
    let rig = Rig::new(Limits::default());
    rig.load(plugin.clone()).await.unwrap_or_else(|p| panic!("{p:#?}"));
    let flow = rig.deploy(json!([{"id": "n", "type": "guest-deterministic"}]));
    let first = record_of(&rig, &flow, msg("a")).await;
    let second = record_of(&rig, &flow, msg("b")).await;
    let (first, second) = (calls(&first), calls(&second));
    assert_eq!((first.len(), second.len()), (1, 1));
    let (first, second) = (&first[0], &second[0]);
    assert_eq!(of(first), ["clock.now", "random.bytes", "state.get", "state.set", "http.send", "node.emit"]);
    assert_eq!(first.outcome, Outcome::Done);
    assert_eq!(first.calls[2].answer, json!(null), "nothing was kept before");
    assert_eq!(second.calls[2].answer, first.calls[3].given["value"], "what the first kept, the second finds");
    assert!(first.calls[4].answer["ok"]["body"]["text"].as_str().unwrap().contains("headers"));
    assert!(first.fuel > 0);

    let asked = upstream.calls();
    let mut replayer = replayer();
    for call in [first, second] {
        assert_eq!(replayer.replay(&plugin, call).await, Ok(None));
    }
    assert_eq!(upstream.calls(), asked, "a replay calls nobody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tampered_record_and_another_plugin_are_told() {
    let upstream = server().await;
    let plugin = asking(&upstream);
    let rig = Rig::new(Limits::default());
    rig.load(plugin.clone()).await.unwrap();
    let flow = rig.deploy(json!([{"id": "n", "type": "guest-deterministic"}]));
    let record = calls(&record_of(&rig, &flow, msg("a")).await).remove(0);
    let mut replayer = replayer();
    let mut differs = async |change: &dyn Fn(&mut CallRecord)| {
        let mut changed = record.clone();
        change(&mut changed);
        replayer.replay(&plugin, &changed).await
    };
    let told = differs(&|r| r.calls[0].answer = json!(1)).await.unwrap().unwrap();
    assert!(told.starts_with("host call 4, state.set: now given"), "{told}");
    let told = differs(&|r| r.calls[4].answer["ok"]["body"]["text"] = json!("forged")).await.unwrap().unwrap();
    assert!(told.starts_with("host call 6, node.emit: now given"), "{told}");
    let told = differs(&|r| r.calls[5].given["port"] = json!(1)).await.unwrap().unwrap();
    assert!(told.starts_with("host call 6, node.emit: now given"), "{told}");
    let told = differs(&|r| drop(r.calls.pop())).await.unwrap().unwrap();
    assert!(told.starts_with("host call 6: now node.emit"), "{told}");
    let told = differs(&|r| drop(r.calls.remove(1))).await.unwrap().unwrap();
    assert_eq!(told, "host call 2: now random.bytes, recorded state.get");
    let told = differs(&|r| r.calls.push(r.calls[0].clone())).await.unwrap().unwrap();
    assert_eq!(told, "host call 7: recorded clock.now, now the guest ended before it (done)");
    let told = differs(&|r| r.outcome = Outcome::Failed { message: "x".into(), code: None }).await.unwrap().unwrap();
    assert_eq!(told, "result: now done, recorded failed: x");
    let told = differs(&|r| r.fuel += 1).await.unwrap().unwrap();
    assert!(told.starts_with("fuel: now "), "{told}");
    let told = differs(&|r| r.calls[1].answer = json!("no bytes")).await.unwrap().unwrap();
    assert_eq!(told, "host call 2, random.bytes: the recorded answer \"no bytes\" is none");
    let told = differs(&|r| r.input = json!({})).await.unwrap_err();
    assert_eq!(told, "the record's input cannot be read");

    let other = Package { wasm: component("pass", |t| t), ..plugin.clone() };
    let told = replayer.replay(&other, &record).await.unwrap_err();
    assert!(told.contains("plugin deterministic is another one now: it was 1.0.0 with sha256:"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_deterministic_plugins_are_recorded_and_each_message_gets_a_fresh_instance() {
    let upstream = server().await;
    let counts = |outcome: &super::rig::Outcome| match outcome.out[0].2.payload() {
        Value::Bytes(bytes) => bytes[0],
        other => panic!("{other:?}"),
    };
    for (more, expected) in [(DETERMINISTIC, [1, 1]), ("", [1, 2])] {
        let plugin = Package { manifest: manifest("deterministic", more), ..asking(&upstream) };
        let rig = Rig::new(Limits::default());
        rig.load(plugin).await.unwrap();
        let flow = rig.deploy(json!([{"id": "n", "type": "guest-deterministic"}]));
        let mut counted = Vec::new();
        for _ in 0..2 {
            let (run, outcome) = rig.run(&flow, "n", msg("a"), Trigger::Manual { by: "test".into() }).await;
            counted.push(counts(&outcome));
            assert_eq!(calls(&stored(&rig, run)).len(), usize::from(!more.is_empty()));
        }
        assert_eq!(counted, expected, "{more:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_stops_and_refusals_are_recorded_and_replayed() {
    let slow = CallLimits { compute_ms_max: 20, memory_bytes_max: 1 << 20, ..Limits::default().default };
    let limits = Limits { default: slow, stops_max: u32::MAX, ..Limits::default() };
    for (name, kind, text) in [
        ("loop", "stopped", "computed more than 20 ms of fuel (compute_ms_max)"),
        ("memory", "stopped", "asked for more than 1048576 bytes of memory"),
        ("stack", "stopped", "stack overflow"),
        ("clock", "stopped", "probity plugin grant clock clock"),
        ("bad-json", "failed", "sent as JSON that cannot be read"),
        ("http", "failed", "probity plugin grant http http"),
    ] {
        // An endless loop that burns its fuel long before the clock would end it, however busy the machine is.
        let burning = "(drop (i32.const 1))".repeat(200) + "(br $again)";
        let wasm = component(name, |text| text.replace("(br $again)", &burning));
        let plugin = Package { wasm, ..package(name, DETERMINISTIC, granted(&[])) };
        let rig = Rig::new(limits.clone());
        rig.load(plugin.clone()).await.unwrap_or_else(|p| panic!("{name}: {p:#?}"));
        let flow = rig.deploy(json!([{"id": "n", "type": format!("guest-{name}")}]));
        let record = calls(&record_of(&rig, &flow, msg("x")).await).remove(0);
        let outcome = serde_json::to_value(&record.outcome).unwrap();
        assert_eq!(outcome["kind"], kind, "{name}: {outcome}");
        assert!(outcome["message"].as_str().unwrap().contains(text), "{name}: {outcome}");
        assert_eq!(replayer().replay(&plugin, &record).await, Ok(None), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_cut_and_says_so() {
    let upstream = server().await;
    let plugin = asking(&upstream);
    for (limits, cut) in [
        (Limits { record_bytes_max: 1_000, ..Limits::default() }, "more than 1000 bytes (plugins.record_bytes_max)"),
        (Limits { run_record_bytes_max: 1_000, ..Limits::default() }, ""),
        (Limits { record_bytes_max: 0, ..Limits::default() }, "nothing"),
    ] {
        let rig = Rig::new(limits);
        rig.load(plugin.clone()).await.unwrap();
        let flow = rig.deploy(json!([{"id": "n", "type": "guest-deterministic"}]));
        let run = record_of(&rig, &flow, msg("a")).await;
        let unrecorded: u64 = run.trace.iter().map(|s| s.calls_cut).sum();
        match cut {
            "nothing" => assert_eq!((calls(&run).len(), unrecorded), (0, 0)),
            "" => assert_eq!((calls(&run).len(), unrecorded), (0, 1)),
            why => {
                let record = &calls(&run)[0];
                assert!(record.cut.as_ref().unwrap().contains(why), "{record:?}");
                assert!(record.calls.is_empty() && record.input.is_null());
                let told = replayer().replay(&plugin, record).await.unwrap_err();
                assert!(told.starts_with("the record is not whole"), "{told}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_capability_replays_and_no_secret_is_in_a_record() {
    let everything = Granted {
        names: CAPABILITIES.iter().map(ToString::to_string).collect(),
        hosts: vec!["127.0.0.1".into()],
        secrets: ["TOKEN".to_string()].into(),
        folders: vec![env!("CARGO_MANIFEST_DIR").into()],
    };
    let Some(mut plugin) = built("fixture-capabilities", everything) else { return };
    plugin.manifest.deterministic = true;
    let upstream = server().await;
    let rig = Rig::with_secrets(Limits::default(), |name| (name == "TOKEN").then(|| "s3cret-value".to_string()));
    rig.load(plugin.clone()).await.unwrap_or_else(|p| panic!("{p:#?}"));
    let node =
        json!({"id": "n", "type": "fixture-capabilities", "baseUrl": upstream.url("/hello"), "token": "secret:TOKEN"});
    let flow = rig.deploy(json!([node]));
    let mut replayer = replayer();
    for what in [
        json!({"do": "now"}),
        json!({"do": "sleep", "value": 1}),
        json!({"do": "random"}),
        json!({"do": "uuid"}),
        json!({"do": "secret"}),
        json!({"do": "get"}),
        json!({"do": "post", "value": {"a": [1, 2]}}),
        json!({"do": "count-run"}),
        json!({"do": "count-node"}),
        json!({"do": "forget"}),
        json!({"do": "evidence", "value": true}),
        json!({"do": "evaluate"}),
        json!({"do": "context", "value": 7}),
        json!({"do": "file", "key": "LICENSE"}),
        json!({"do": "file", "key": "/etc/passwd"}),
        json!({"do": "always"}),
        json!({"do": "nothing it knows"}),
    ] {
        let mut message = msg(Value::from_json(&what.to_string()).unwrap());
        message.set("topic", "t");
        // What a caller logs in with, and a secret that another node put into the message.
        let req = json!({"headers": {"authorization": "Basic YW5hOnBhc3N3b3JkMQ==", "cookie": "sid=abcdef0123456789"},
            "cookies": {"sid": "abcdef0123456789"}});
        message.set("req", Value::from_json(&req.to_string()).unwrap());
        message.set("note", "s3cret-value and password1");
        let run = record_of(&rig, &flow, message).await;
        let found = calls(&run);
        assert_eq!(found.len(), 2, "{what}: the message and the run's end");
        let text = serde_json::to_string(&run).unwrap();
        for secret in ["s3cret-value", "YW5hOnBhc3N3b3JkMQ==", "password1", "abcdef0123456789"] {
            assert!(!text.contains(secret), "{what}: {secret} is in {text}");
        }
        for call in &found {
            assert!(call.masked);
            assert_eq!(replayer.replay(&plugin, call).await, Ok(None), "{what}: {call:#?}");
        }
    }
    assert!(upstream.heard("authorization: Bearer s3cret-value"));
}

fn probity(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_probity"));
    command.current_dir(folder).arg("plugin").args(arguments).env("PROBITY_DATA_DIR", folder.join("data"));
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    (status.code().unwrap(), text)
}

/// A plugin's folder.
fn put(folder: &Path, plugin: &Package) {
    std::fs::create_dir_all(folder).unwrap();
    let manifest = "schema = 1\nname = \"deterministic\"\nversion = \"1.0.0\"\ncontract = \"1.1\"\n\
        license = \"Apache-2.0\"\ndeterministic = true\ncomponent = \"plugin.wasm\"\n";
    std::fs::write(folder.join("plugin.toml"), manifest).unwrap();
    std::fs::write(folder.join("plugin.wasm"), &plugin.wasm).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_replays_a_run_of_the_store() {
    let upstream = server().await;
    let plugin = asking(&upstream);
    let rig = Rig::new(Limits::default());
    rig.load(plugin.clone()).await.unwrap();
    rig.load(package("pass", "", granted(&[]))).await.unwrap();
    let flow = rig.deploy(json!([
        {"id": "n", "type": "guest-deterministic", "wires": [["m"]]},
        {"id": "m", "type": "guest-deterministic", "wires": [["o"]]},
        {"id": "o", "type": "guest-pass"},
    ]));
    let run = record_of(&rig, &flow, msg("a")).await;
    let (plain, _) = rig.run(&flow, "o", msg("a"), Trigger::Manual { by: "test".into() }).await;
    let desk = tempfile::tempdir().unwrap();
    let (folder, id) = (desk.path(), run.id.to_string());
    std::fs::create_dir_all(folder.join("data")).unwrap();
    let url = format!("sqlite:{}", folder.join("data/probity.db").display());
    let store = probity::store::open(&url, &Default::default()).await.unwrap();
    store.migrate().await.unwrap();
    let mut forged = run.clone();
    forged.id = RunId::fresh();
    for step in &mut forged.trace {
        step.calls.iter_mut().filter(|c| c.node == "m").for_each(|c| c.calls[0].answer = json!(1));
    }
    store.record_runs(&[run.clone(), forged.clone(), stored(&rig, plain)]).await.unwrap();
    drop(store);

    put(&folder.join("mine"), &plugin);
    let with = |more: &[&'static str]| [&["replay", "--plugins-dir", "mine"], more].concat();
    let (code, text) = probity(folder, &[&with(&[])[..], &[&id]].concat());
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("same       n guest-deterministic process: 6 host calls,"), "{text}");
    assert!(text.ends_with("2 of 2 recorded calls are the same\n"), "{text}");
    let (code, text) = probity(folder, &[&with(&["--node", "m"])[..], &[&id]].concat());
    assert_eq!((code, text.lines().count()), (0, 2), "{text}");
    let (code, text) = probity(folder, &[&with(&["--node", "x"])[..], &[&id]].concat());
    assert!(code == 1 && text.contains("has no recorded call of node x"), "{text}");
    let (code, text) = probity(folder, &[&with(&[])[..], &[&forged.id.to_string()]].concat());
    assert!(code == 1 && text.contains("DIFFERENT  m guest-deterministic process: host call 4, state.set"), "{text}");
    assert!(text.contains("1 of 2 recorded calls are the same"), "{text}");
    let (code, text) = probity(folder, &[&with(&[])[..], &[&plain.to_string()]].concat());
    assert!(code == 1 && text.contains("has no recorded call; only calls of plugins whose manifest says"), "{text}");
    let (code, text) = probity(folder, &[&with(&[])[..], &[&RunId::fresh().to_string()]].concat());
    assert!(code == 1 && text.contains("no run "), "{text}");
    assert_eq!(probity(folder, &with(&["x"])).0, 2);

    // Another build in its place is refused; with the old one installed, the run is replayed.
    let changed = Package { wasm: component("pass", |t| t), ..plugin.clone() };
    put(&folder.join("mine"), &changed);
    let (code, text) = probity(folder, &[&with(&[])[..], &[&id]].concat());
    assert!(code == 1 && text.contains("put that version where plugins are looked for"), "{text}");
    put(&folder.join("data/plugins/old"), &plugin);
    let (code, text) = probity(folder, &[&with(&[])[..], &[&id]].concat());
    assert_eq!(code, 0, "{text}");
}
