//! Components that were not built for today's contract: of an older one, of a newer one, and those that bring WASI.

use probity::model::Value;
use probity::plugin::Package;
use probity::plugin::granted::Granted;
use probity::plugin::limits::Limits;
use serde_json::json;

use super::rig::{Outcome, Rig, granted, manifest, msg, server, whole};

/// A fixture that is a component already.
fn package(name: &str, contract: &str, granted: Granted, edit: impl FnOnce(String) -> String) -> Package {
    let mut manifest = manifest("elsewhere", "");
    manifest.contract = contract.into();
    Package { manifest, wasm: whole(name, edit), script: None, granted }
}

fn payload(outcome: &Outcome) -> Vec<u8> {
    match outcome.out.first().map(|(_, _, msg)| msg.payload().clone()) {
        Some(Value::Bytes(bytes)) => bytes.to_vec(),
        _ => panic!("{outcome:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_of_contract_1_0_runs_as_it_always_did() {
    let upstream = server().await;
    let url = upstream.url("/there");
    let granted = Granted { hosts: vec!["127.0.0.1".into()], ..granted(&["clock", "random", "state", "http"]) };
    let old = package("contract-1.0", "1.0", granted, |text| text.replace("\"URL\\00\"", &format!("\"{url}\\00\"")));
    let rig = Rig::new(Limits::default());
    rig.load(old).await.unwrap_or_else(|p| panic!("{p:#?}"));
    let flow = rig.deploy(json!([{"id": "n", "type": "guest-contract-v1.0"}]));
    let first = rig.send(&flow, "n", msg("x")).await;
    let second = rig.send(&flow, "n", msg("x")).await;
    let millis = |bytes: &[u8]| u64::from_le_bytes(bytes[8..16].try_into().unwrap());
    let (first_payload, second_payload) = (payload(&first), payload(&second));
    assert!(millis(&first_payload) > 1_700_000_000_000, "the time");
    assert_ne!(first_payload[16..24], second_payload[16..24], "random bytes");
    assert_eq!(second.out[0].2.get("before"), Some(&Value::Bytes(first_payload.into())), "its state");
    let answer = match second.out[0].2.get("answer") {
        Some(Value::Bytes(bytes)) => String::from_utf8(bytes.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    };
    assert!(answer.contains("\"headers\""), "the answer of a request: {answer}");
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_of_a_newer_contract_is_refused_by_name() {
    for (version, short) in [("1.2.0", "1.2"), ("2.0.0", "2.0")] {
        let newer =
            package("contract-1.0", "1.1", granted(&["clock"]), |text| text.replace("@1.0.0", &format!("@{version}")));
        let problems = Rig::new(Limits::default()).load(newer).await.unwrap_err();
        assert_eq!(problems[0].code, "plugin-newer-contract", "{problems:#?}");
        let message = &problems[0].message;
        assert!(message.starts_with(&format!("needs contract {short} (")), "{message}");
        assert!(message.contains("this engine has 1.1; use a newer Probity, or build the plugin against contract 1.1"));
    }
    let none = package("contract-1.0", "1.1", granted(&[]), |text| {
        text.replace("probity:plugin/node@1.0.0", "probity:plugin/mode@1.0.0")
    });
    let problems = Rig::new(Limits::default()).load(none).await.unwrap_err();
    assert_eq!(problems[0].code, "plugin-code", "{problems:#?}");
    assert!(problems[0].message.contains("probity:plugin/mode@1.0.0"), "{problems:#?}");
}

/// What `wasi.wat` comes to when it tries this.
async fn tried(what: char, granted: Granted) -> Outcome {
    let guest = package("wasi", "1.1", granted, |text| text.replace("\"-what?-\"", &format!("\"{what}what?-\"")));
    let rig = Rig::new(Limits::default());
    rig.load(guest).await.unwrap_or_else(|p| panic!("{p:#?}"));
    let flow = rig.deploy(json!([{"id": "n", "type": "guest-wasi"}]));
    let first = rig.send(&flow, "n", msg("x")).await;
    if !first.errors.is_empty() {
        return first;
    }
    // The same instance again: what one call left half printed is not part of the next.
    let again = rig.send(&flow, "n", msg("x")).await;
    assert_eq!(again.log, first.log);
    again
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_with_wasi_reaches_nothing_and_prints_to_the_log() {
    let outcome = tried('-', granted(&[])).await;
    assert_eq!(payload(&outcome), [0; 24], "no environment, arguments, folders, current folder");
    assert_eq!(outcome.log, ["hello from std", "half a line"], "what was printed");
    assert!(outcome.errors.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wasis_clocks_and_random_numbers_need_the_capability_of_that_name() {
    for (what, capability) in [('W', "clock"), ('M', "clock"), ('R', "random")] {
        let refused = tried(what, granted(&[])).await;
        let line = format!("{capability} is not granted. To allow it: probity plugin grant elsewhere {capability}");
        assert!(refused.errors[0].contains(&line), "{what}: {refused:?}");
        let given = payload(&tried(what, granted(&[capability])).await);
        let value = u64::from_le_bytes(given[16..24].try_into().unwrap());
        let expected = match what {
            'W' => value > 1_700_000_000 && value < 10_000_000_000,
            'M' => value > 1_700_000_000_000_000_000,
            _ => value != 0,
        };
        assert!(expected, "{what}: {value}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anything_else_of_wasi_ends_the_guest_and_says_what_it_called() {
    let everything = || granted(&["clock", "random", "http", "files", "state"]);
    for (what, text) in [
        ('X', "called exit of wasi:cli/exit, which plugins are not given; use the imports of probity:plugin instead"),
        ('N', "called instance-network of wasi:sockets/instance-network, which plugins are not given"),
    ] {
        let outcome = tried(what, everything()).await;
        assert!(outcome.errors.first().is_some_and(|e| e.contains(text)), "{what}: {outcome:?}");
        assert!(outcome.out.is_empty());
    }
}
