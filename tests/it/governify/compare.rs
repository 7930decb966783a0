//! `probity compare`: transcripts and a Registry that answers, with exit codes and the defects that explain.

use std::process::{Command, Output};

use probity::api::registry_v6::Mode;
use probity::clock::Clock;
use serde_json::{Value, json};

use super::{Behind, Collector, Computed, Front, Posted, call};

fn compare(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_probity"));
    command.arg("compare").args(arguments).args(["--format", "json"]).output().unwrap()
}

fn report(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

fn transcript(name: &str) -> String {
    format!("{}/tests/cases/governify/{name}.jsonl", env!("CARGO_MANIFEST_DIR"))
}

/// The numbers of the defects behind the differences, each with how often.
fn defects(report: &Value) -> Vec<(String, usize)> {
    let mut found = std::collections::BTreeMap::<String, usize>::new();
    for difference in report["comparison"]["differences"].as_array().unwrap() {
        *found.entry(difference["defect"]["number"].as_str().unwrap_or("unexplained").into()).or_default() += 1;
    }
    found.into_iter().collect()
}

#[test]
fn what_was_recorded_differs_by_known_defects_only() {
    for (name, same) in [("01-agreements-and-states", 10), ("02-values-and-errors", 10), ("07-status-flow", 10)] {
        let output = compare(&["--against", &transcript(name)]);
        let report = report(&output);
        assert_eq!(output.status.code(), Some(0), "{name}: {:?}", defects(&report));
        assert!(report["comparison"]["same"].as_u64().unwrap() >= same, "{name}: {}", report["comparison"]["same"]);
    }
    let values = report(&compare(&["--against", &transcript("02-values-and-errors")]));
    let found = defects(&values);
    assert!(found.iter().any(|(number, _)| number.starts_with("10.3")), "{found:?}");
    assert!(found.iter().any(|(number, _)| number.starts_with("10.1")), "{found:?}");
}

#[test]
fn a_verdict_that_nothing_explains_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let lines = std::fs::read_to_string(transcript("07-status-flow")).unwrap();
    let lie = lines.replacen(
        "\"value\":true,\"metrics\":{\"AUDIT_TRAIL_METRIC\":85}",
        "\"value\":false,\"metrics\":{\"AUDIT_TRAIL_METRIC\":85}",
        1,
    );
    assert_ne!(lie, lines);
    let path = folder.path().join("lie.jsonl");
    std::fs::write(&path, lie).unwrap();
    let output = compare(&["--against", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(defects(&report(&output)).iter().filter(|(number, _)| number == "unexplained").count(), 1);
    assert_eq!(compare(&["--against", "nowhere.jsonl"]).status.code(), Some(2));
}

/// Ours in `compat` stands for the Registry: its verdicts are the Registry's.
#[tokio::test]
async fn a_registry_is_asked_and_its_collectors_too() {
    let answering = |posted: &Posted| {
        let metric = &posted.body["metric"];
        let period = json!({"from": metric["window"]["initial"], "to": metric["window"]["end"]});
        let members = if metric["what"] == "few" { vec!["a"] } else { vec!["a", "b", "c"] };
        let of = |member: &str| {
            let value = if member == "c" { Value::Null } else { json!(5) };
            json!({"scope": {"member": member}, "period": period, "value": value, "evidences": []})
        };
        let computations: Vec<Value> = members.into_iter().map(of).collect();
        Computed { post: 200, polls: 0, get: 200, body: json!({ "code": 200, "computations": computations }) }
    };
    let (url, _collector) = Collector::start(std::sync::Arc::new(answering)).await;
    let behind = Behind::new().await;
    let service = url.clone();
    let front = Front::start(&behind, Clock::System, Mode::Compat, |config| {
        config.collectors.services.insert("internal.collector.events".into(), service);
    })
    .await;
    let metric = |what: &str| {
        json!({"collector": {"infrastructurePath": "internal.collector.events", "endpoint": "/api/v2/computations",
               "type": "POST-GET-V1", "config": {}}, "measure": {"what": what}})
    };
    let document = json!({"id": "a", "version": "1", "type": "agreement",
        "context": {"validity": {"initial": "2024-01-01", "timeZone": "UTC"}},
        "terms": {"metrics": {"M1": metric("all"), "M2": metric("few")},
                  "guarantees": [{"id": "G", "scope": {"member": {"default": "*"}}, "of": [{
                      "scope": {"member": "*"}, "objective": "M1 - M2 <= 0", "with": {"M1": {}, "M2": {}},
                      "window": {"type": "static", "period": "daily", "initial": "2024-01-01"}}]}]}});
    assert_eq!(call(front.address, "POST", "/api/v6/agreements", Some(&document), None).await.status(), 200);
    let base = format!("http://{}", front.address);
    let variable = format!("internal.collector.events={url}");
    let output = tokio::task::spawn_blocking(move || {
        Command::new(env!("CARGO_BIN_EXE_probity"))
            .args(["compare", "--against", &base, "--from", "2024-03-01", "--to", "2024-03-02", "--format", "json"])
            .env("PROBITY_COLLECTORS_SERVICES", variable)
            .output()
            .unwrap()
    })
    .await
    .unwrap();
    let report = report(&output);
    // b has no M2 and c has null: the Registry takes both for 0; a is judged alike.
    assert_eq!((output.status.code(), report["comparison"]["same"].as_u64()), (Some(0), Some(1)), "{report}");
    assert_eq!(defects(&report), [("10.3 (U2)".to_string(), 2)]);
}
