//! `probity doctor` names the runs and firings that need somebody.

use probity::model::run::{RunError, Trigger};
use probity::store::queue::{Held, LeaseWanted, NewRun, Outcome, Settlement};
use probity::store::{AuditEntry, ClaimKey, Due, Holder, How, StoreOptions, open};
use serde_json::{Value, json};

use crate::serve::{Folder, probity};

fn new_run(flow: &str) -> NewRun {
    let trigger = Trigger::Manual { by: "ana".into() };
    NewRun { node: "n".into(), flow_version: "v".into(), ..NewRun::new(flow, trigger, "{}") }
}

fn findings(folder: &Folder, arguments: &[&str]) -> (Option<i32>, Vec<String>) {
    let output = probity()
        .args(["doctor", "--format", "json", "--data-dir"])
        .arg(folder.0.join("data"))
        .args(arguments)
        .output()
        .unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    let list = found["findings"].as_array().unwrap();
    let list = list.iter().map(|f| {
        format!(
            "{} {}: {}",
            f["severity"].as_str().unwrap(),
            f["about"].as_str().unwrap(),
            f["message"].as_str().unwrap()
        )
    });
    (output.status.code(), list.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn doubts_dead_letters_stuck_leases_pauses_and_orphaned_ticks_are_named() {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.0.join("data")).unwrap();
    let url = format!("sqlite:{}", folder.0.join("data/probity.db").display());
    let store = open(&url, &StoreOptions::default()).await.unwrap();
    store.migrate().await.unwrap();
    let of_runs = |all: &[String]| -> Vec<String> {
        let about = |f: &&String| [" runs: ", " schedules: "].iter().any(|a| f.contains(a));
        all.iter().filter(about).cloned().collect()
    };
    assert_eq!(of_runs(&findings(&folder, &["--older-s", "0"]).1), [] as [String; 0]);
    let runs = ["doubtful", "dead", "stuck", "waiting"].map(new_run);
    store.accept_runs("a", &runs).await.unwrap();
    let leased = store
        .lease_runs(
            "a",
            &LeaseWanted { max: 9, flow_caps: [("waiting".to_string(), 0)].into(), ..LeaseWanted::default() },
        )
        .await
        .unwrap();
    assert_eq!(leased.len(), 3);
    let error =
        |message: &str| RunError { node: "n".into(), node_type: "http request".into(), message: message.into() };
    let held = |n: usize| Held { id: runs[n].id, epoch: 1 };
    let settled = [
        Settlement { held: held(0), outcome: Outcome::Doubt { what: error("was it sent?") } },
        Settlement { held: held(1), outcome: Outcome::Dead { error: error("again and again") } },
    ];
    assert_eq!(store.settle_runs(&settled).await.unwrap(), [true, true]);
    let at = "2026-01-01T00:00:00Z".parse().unwrap();
    let audit =
        AuditEntry { at, actor: "ana".into(), action: "pause".into(), subject: "quiet".into(), detail: json!({}) };
    store.pause_flow("quiet", &audit).await.unwrap();
    let key = ClaimKey { schedule: "agreement/sla".into(), due_at: at };
    let due = Due { key, how: How::Live, at };
    assert!(store.claim(&due, Holder { owner: "gone", lease_ms: 0 }).await.unwrap().is_some());
    let (code, found) = findings(&folder, &["--older-s", "0"]);
    assert_eq!(code, Some(1), "{found:#?}");
    let found = of_runs(&found);
    let has = |parts: &[&str]| found.iter().any(|f| parts.iter().all(|part| f.contains(part)));
    let ids: Vec<String> = runs.iter().map(|r| r.id.to_string()).collect();
    assert!(has(&["error", "1 runs are in doubt", &ids[0], "flow doubtful"]), "{found:#?}");
    assert!(has(&["warning", "used up their attempts", &ids[1]]), "{found:#?}");
    assert!(has(&["error", "leases ran out", &ids[2], "role worker"]), "{found:#?}");
    assert!(has(&["warning", "1 runs are ready"]), "{found:#?}");
    assert!(has(&["warning", "flow quiet is paused by ana"]), "{found:#?}");
    assert!(has(&["warning", "agreement/sla at 2026-01-01T00:00:00Z"]), "{found:#?}");
    // What is on its way is nobody's business yet; what needs a person is, always.
    let later = of_runs(&findings(&folder, &[]).1);
    assert!(!later.iter().any(|f| f.contains("leases ran out") || f.contains("are ready")), "{later:#?}");
    assert!(later.iter().any(|f| f.contains("in doubt")), "{later:#?}");
}

/// The program as it is installed by somebody who built no guests: the same file, elsewhere, with an empty folder for
/// plugins beside it.
fn without_guests() -> tempfile::TempDir {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    std::fs::hard_link(env!("CARGO_BIN_EXE_probity"), folder.path().join("probity")).unwrap();
    std::fs::create_dir(folder.path().join("plugins")).unwrap();
    folder
}

#[test]
fn guests_that_flows_need_and_nobody_built_are_named_with_what_builds_them() {
    let (folder, installed) = (Folder::new(), without_guests());
    let shipped = probity::plugin::shipped::all().iter().find(|plugin| !plugin.manifest.nodes.is_empty()).unwrap();
    let node =
        |id: &str, node_type: &str| json!({ "id": id, "type": node_type, "z": "t", "x": 1, "y": 1, "wires": [] });
    let flows = json!([
        { "id": "t", "type": "tab", "label": "t" },
        node("f", "function"), node("p", &shipped.manifest.nodes[0]),
    ]);
    let doctor = |flows: &Value, arguments: &[&std::ffi::OsStr]| {
        let flows = folder.write("flows.json", flows);
        let mut command = std::process::Command::new(installed.path().join("probity"));
        command.current_dir(installed.path()).args(["doctor", "--format", "json", "--data-dir"]);
        command.arg(folder.0.join("data")).arg("--flows").arg(flows).args(arguments);
        let found: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
        let of_plugins = |f: &&Value| f["about"] == "plugins" && f["severity"] == "error";
        let list = found["findings"].as_array().unwrap().iter().filter(of_plugins);
        list.map(|f| f["message"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    let found = doctor(&flows, &[]);
    let has = |found: &[String], parts: &[&str]| found.iter().any(|f| parts.iter().all(|part| f.contains(part)));
    assert!(has(&found, &["function nodes", "not built", "run plugins/build javascript"]), "{found:#?}");
    assert!(has(&found, &[&shipped.manifest.name, "not built", "run plugins/build"]), "{found:#?}");
    // One that lies elsewhere is not taken for ours, and it is said why.
    let elsewhere = folder.0.join("elsewhere/javascript");
    std::fs::create_dir_all(&elsewhere).unwrap();
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/plugins/javascript/plugin.toml");
    std::fs::copy(manifest, elsewhere.join("plugin.toml")).unwrap();
    let found = doctor(&flows, &["--plugins-dir".as_ref(), folder.0.join("elsewhere").as_os_str()]);
    assert!(has(&found, &["only the one that comes with Probity", "elsewhere/javascript"]), "{found:#?}");
    assert_eq!(doctor(&json!([{ "id": "t", "type": "tab", "label": "t" }]), &[]), [] as [String; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_store_that_nobody_configured_is_named() {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.0.join("data")).unwrap();
    let rule =
        |store: &str| json!({"t": "set", "p": "payload", "pt": "msg", "to": format!("#:({store})::a"), "tot": "flow"});
    let flows = json!([
        {"id": "tab", "type": "tab", "label": "tab"},
        {"id": "n", "type": "change", "z": "tab", "rules": [rule("shared"), rule("memory"), rule("memory")], "wires": [[]]},
    ]);
    std::fs::write(folder.0.join("data/flows.json"), flows.to_string()).unwrap();
    let settings = "module.exports = { contextStorage: { shared: { module: 'database' } } }";
    std::fs::write(folder.0.join("data/settings.js"), settings).unwrap();
    let (_, found) = findings(&folder, &[]);
    let found: Vec<&String> = found.iter().filter(|finding| finding.contains(" contexts: ")).collect();
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains("\"memory\", which is not configured, and use \"shared\""), "{found:#?}");
}
