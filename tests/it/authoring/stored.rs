//! The commands on an agreement that no file here holds: it was put by the API, or is a Registry's, or a MongoDB's.

use axum::Json;
use axum::routing::get;
use jiff::Timestamp;
use probity::store::{AuditEntry, DocumentKind, PutDocument, StoreOptions, StoredDocument};
use serde_json::{Value, json};

use super::commands::{Folder, probity, stdout};
use crate::harness::mongo::{Mode, Mongo};

const RANGE: [&str; 4] = ["--from", "2026-03-01", "--to", "2026-03-02"];

/// A promise about each hour of a day that a flow answers with a hundred times the hour, and its budget of six bad hours.
fn document(objective: &str) -> Value {
    json!({
        "id": "hours", "version": "1.0.0", "type": "agreement",
        "context": {
            "validity": { "initial": "2026-01-01", "timeZone": "UTC" },
            "x-probity": { "budgets": [{ "id": "day", "guarantee": "LOW", "target": "75%", "window": { "period": "daily" },
                "alerts": [{ "id": "fast", "burnRate": 3, "long": "PT4H", "short": "PT1H" }] }] },
        },
        "terms": {
            "metrics": { "V": { "collector": { "type": "PROBITY-FLOW-V1", "metric": "v" } } },
            "guarantees": [{ "id": "LOW", "scope": { "team": { "default": "blue" } }, "of": [
                { "objective": objective, "with": { "V": {} }, "window": { "period": "hourly" } },
            ] }],
        },
    })
}

/// Answers metric `name`.
fn flow(name: &str) -> String {
    let value = "$number($substring(metric.window.from, 11, 2)) * 100";
    json!([
        { "id": "t", "type": "tab", "label": "values" },
        { "id": "in", "type": "metric", "z": "t", "mode": "in", "metric": name, "wires": [["set"]] },
        { "id": "set", "type": "change", "z": "t", "wires": [["out"]],
          "rules": [{ "t": "set", "p": "payload", "pt": "msg", "to": value, "tot": "jsonata" }] },
        { "id": "out", "type": "metric", "z": "t", "mode": "answer", "metric": "", "wires": [[]] },
    ])
    .to_string()
}

/// Everything a user does with an agreement by its id: plan, evaluate, explain, evaluate again, try another objective.
fn by_its_id(folder: &Folder, agreements: &[&str]) {
    folder.write("flows.json", &flow("v"));
    folder.write("silent.json", &flow("another"));
    let with = |flows: &'static str, words: &[&str]| {
        let words = [words, &["--flows", flows], agreements].concat();
        let output = probity(&folder.0, &words);
        let said = format!("{words:?}: {}{}", stdout(&output), String::from_utf8_lossy(&output.stderr));
        (output.status.code(), stdout(&output), said)
    };
    let run = |words: &[&str]| with("flows.json", words);
    let read = |words: &[&str]| -> Value {
        let (_, out, said) = run(words);
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {said}"))
    };
    let revisions = || -> Vec<(u64, String)> {
        let listed = read(&["verdicts", "hours", "--format", "json"]);
        let items = listed["verdicts"].as_array().unwrap().iter();
        items.map(|v| (v["revision"].as_u64().unwrap(), v["verdict"].as_str().unwrap().to_owned())).collect()
    };

    let plan = read(&[&["evaluate", "hours", "--dry-run", "--format", "json"][..], &RANGE].concat());
    assert_eq!(plan["asks"].as_array().map(Vec::len), Some(24), "{plan:#}");
    let (code, _, said) = run(&[&["evaluate", "hours", "--store"][..], &RANGE].concat());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("24 verdicts: 19 fulfilled, 5 violated"), "{said}");
    let why = read(&["explain", "hours/LOW/team=blue/2026-03-01T19:00", "--format", "json"]);
    assert_eq!((&why["verdict"], &why["agreement_changed"]), (&json!("violated"), &json!(false)));
    assert_eq!(why["objectives"][0]["substituted"], "1900 <= 1800");
    let budget = read(&["explain", "--budget", "hours/day/team=blue/2026-03-01", "--format", "json"]);
    assert_eq!(budget["verdict"], "fulfilled", "{budget:#}");

    // Again, with the same evidence, and then with nobody to give any: what is stored stands.
    let before = revisions();
    assert_eq!(before.len(), 24);
    assert!(before.iter().all(|(revision, _)| *revision == 1));
    run(&[&["evaluate", "hours", "--store"][..], &RANGE].concat());
    assert_eq!(revisions(), before);
    let (code, out, said) = with("silent.json", &[&["evaluate", "hours", "--store"][..], &RANGE].concat());
    assert_eq!(code, Some(1), "{said}");
    assert!(out.contains("24 verdicts: 19 fulfilled, 5 violated"), "{said}");
    let kept: Vec<&str> = out.lines().filter(|line| line.starts_with("kept: LOW team=blue 2026-03-01 ")).collect();
    assert_eq!(kept.len(), 24, "{said}");
    assert!(kept[0].contains("V was asked for again and not given: no running flow answers"), "{said}");
    assert_eq!(revisions(), before);

    // The same document changes nothing; a stricter one flips hours 17 and 18, and exhausts the budget.
    let file = |name: &str, objective: &str| folder.write(name, &document(objective).to_string());
    file("same.json", "V <= 1800");
    let (code, out, said) = run(&["simulate", "same.json"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(out.contains("24 the same, 0 others, 0 new, 0 gone\n"), "{said}");
    assert!(out.contains(" the same, 0 others, new or gone\n"), "{said}");
    file("stricter.json", "V < 1700");
    let (code, out, said) = run(&["simulate", "stricter.json"]);
    assert_eq!(code, Some(1), "{said}");
    for part in [
        "2 verdicts would be others:",
        "day team=blue 2026-03-01 → 2026-03-02 UTC: fulfilled (0.1666… left) → violated (-0.1666… left): ",
        "day/fast team=blue ",
    ] {
        assert!(out.contains(part), "{part}: {said}");
    }
    let simulated = read(&["simulate", "stricter.json", "--format", "json"]);
    let budgets = simulated["budgets"].as_array().unwrap();
    let of_kind = |kind: &str| budgets.iter().filter(|b| b["kind"] == kind).collect::<Vec<_>>();
    let [day] = of_kind("budget")[..] else { panic!("{budgets:#?}") };
    assert_eq!((&day["before"], &day["after"]), (&json!("fulfilled"), &json!("violated")));
    // All of the last four hours are bad two hours earlier.
    let fast: Vec<&str> = of_kind("burn-rate").iter().map(|b| b["window"]["to"].as_str().unwrap()).collect();
    assert_eq!(fast, ["2026-03-01T21:00:00Z", "2026-03-01T22:00:00Z"], "{budgets:#?}");
    let sarif = read(&["simulate", "stricter.json", "--format", "sarif"]);
    let rules: Vec<&Value> = sarif["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap().iter().collect();
    assert_eq!(rules, [&json!({"id": "budget-changes"}), &json!({"id": "verdict-changes"})]);
    let junit = run(&["simulate", "stricter.json", "--format", "junit"]).1;
    assert!(junit.contains("<testsuite name=\"budget day\" tests=\"1\" failures=\"1\">"), "{junit}");

    // Nothing of that was written, and whose id is wrong is told which there are.
    assert_eq!(revisions(), before);
    let (code, _, said) = run(&["evaluate", "hour"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("did you mean \"hours\"?"), "{said}");
}

async fn in_the_background(work: impl FnOnce() + Send + 'static) {
    tokio::task::spawn_blocking(work).await.unwrap();
}

#[tokio::test]
async fn an_agreement_put_by_the_api_is_used_by_its_id() {
    let folder = Folder::new("stored");
    let data = folder.0.join("data");
    std::fs::create_dir_all(&data).unwrap();
    let url = format!("sqlite:{}", data.join("probity.db").display());
    let store = probity::store::open(&url, &StoreOptions::default()).await.unwrap();
    store.migrate().await.unwrap();
    let at: Timestamp = "2026-02-01T00:00:00Z".parse().unwrap();
    let put = StoredDocument { id: "hours".into(), document: document("V <= 1800"), put_at: at, put_by: "ana".into() };
    let audit = AuditEntry {
        at,
        actor: "ana".into(),
        action: "put agreement".into(),
        subject: "hours".into(),
        detail: Value::Null,
    };
    assert_eq!(store.put_document(DocumentKind::Agreement, &put, true, &audit).await.unwrap(), PutDocument::Added);
    drop(store);
    in_the_background(move || by_its_id(&folder, &[])).await;
}

#[tokio::test]
async fn an_agreement_of_a_registry_is_used_by_its_id() {
    let folder = Folder::new("registry");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let agreements = || async { Json(json!([document("V <= 1800")])) };
    let templates = || async { Json(json!([])) };
    let router =
        axum::Router::new().route("/api/v6/agreements", get(agreements)).route("/api/v6/templates", get(templates));
    let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    in_the_background(move || by_its_id(&folder, &["--agreements", &url])).await;
    server.abort();
}

#[tokio::test]
async fn an_agreement_of_a_mongodb_is_used_by_its_id() {
    let Some(mongo) = Mongo::start(Mode { replica_set: false, authentication: false }).await else { return };
    let folder = Folder::new("mongo");
    let stored = mongodb::bson::serialize_to_document(&document("V <= 1800")).unwrap();
    mongo.database().await.collection("agreementmodels").insert_one(stored).await.unwrap();
    let url = mongo.url();
    in_the_background(move || by_its_id(&folder, &["--agreements", &url])).await;
}
