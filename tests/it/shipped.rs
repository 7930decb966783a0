//! The shipped flows and agreements, through the program as a user starts it: check, test, evaluate and serve on
//! embedded defaults.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Output;

use serde_json::{Value, json};

use crate::serve::{Folder, Server, get, probity, text, until};

const VERDICT_WORDS: &[&str] = probity::model::state::Verdict::WORDS;

/// Runs in the repository's root, where `flows` and `agreements` are.
fn run(arguments: &[&str]) -> Output {
    probity().current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The verdicts `evaluate` prints as JSON, and its exit code.
fn evaluate(folder: &Folder, arguments: &[&str]) -> (Vec<Value>, Option<i32>) {
    let data = folder.0.display().to_string();
    let mut all = vec!["evaluate"];
    all.extend(arguments);
    all.extend(["--data-dir", data.as_str(), "--format", "json"]);
    let output = run(&all);
    let printed: Value = serde_json::from_str(&stdout(&output)).unwrap_or_else(|e| panic!("{e}: {}", text(&output)));
    (printed["verdicts"].as_array().unwrap().clone(), output.status.code())
}

fn counts(verdicts: &[Value]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for verdict in verdicts {
        *counts.entry(verdict["verdict"].as_str().unwrap().to_string()).or_default() += 1;
    }
    counts
}

fn expected(counts: &[(&str, usize)]) -> BTreeMap<String, usize> {
    counts.iter().map(|(word, n)| ((*word).to_string(), *n)).collect()
}

/// Every text in a value but that of the member `verdict` of a verdict.
fn other_texts(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| other_texts(item, texts)),
        Value::Object(members) => {
            for (name, member) in members {
                texts.push(name.clone());
                if name != "verdict" {
                    other_texts(member, texts);
                }
            }
        }
        _ => {}
    }
}

#[test]
fn what_is_shipped_has_no_problem_and_passes_its_tests() {
    let checked = run(&["check", "flows", "agreements"]);
    assert_eq!(checked.status.code(), Some(0), "{}", stdout(&checked));
    assert!(stdout(&checked).contains("0 errors, 0 warnings"), "{}", stdout(&checked));
    let tested = run(&["test", "flows", "agreements"]);
    assert_eq!(tested.status.code(), Some(0), "{}", stdout(&tested));
    for file in ["service-level", "order-process", "tpa-test-project-with-tpa", "order-log", "event-collector"] {
        assert!(stdout(&tested).contains(&format!("{file}.test.yaml")), "{file} has no tests");
    }
}

#[test]
fn the_order_process_is_evaluated_by_id_over_its_last_week() {
    let folder = Folder::new();
    let (verdicts, code) = evaluate(&folder, &["order-process"]);
    assert_eq!(code, Some(1), "a verdict is violated");
    assert_eq!(counts(&verdicts), expected(&[("fulfilled", 6), ("violated", 3)]));
    let data = folder.0.display().to_string();
    let table = stdout(&run(&["evaluate", "order-process", "--data-dir", &data]));
    for shown in ["APPROVED_BEFORE_PAYMENT", "north", "2026-03-23", "violated", "fulfilled"] {
        assert!(table.contains(shown), "{shown} is missing:\n{table}");
    }
}

#[test]
fn the_order_process_is_evaluated_from_its_file_over_every_week_of_a_range() {
    let folder = Folder::new();
    let file = "agreements/order-process.json";
    let (verdicts, code) = evaluate(&folder, &[file, "--from", "2026-03-02", "--to", "2026-03-16"]);
    assert_eq!(code, Some(1));
    let weeks: BTreeSet<&str> = verdicts.iter().map(|v| v["window"]["from"].as_str().unwrap()).collect();
    assert_eq!(weeks, BTreeSet::from(["2026-03-01T23:00:00Z", "2026-03-08T23:00:00Z"]));
    let (all, _) = evaluate(&folder, &[file, "--from", "2026-01-05", "--to", "2026-03-30"]);
    let every = expected(&[("fulfilled", 86), ("violated", 13), ("unknown", 3), ("not-applicable", 6)]);
    assert_eq!(counts(&all), every);
    // A range that begins inside a week takes it whole.
    let (cut, _) = evaluate(&folder, &[file, "--from", "2026-01-07", "--to", "2026-03-29"]);
    assert_eq!(counts(&cut), every);
}

#[test]
fn a_verdict_says_what_it_is_about_and_its_word_stands_nowhere_else() {
    let folder = Folder::new();
    let range = ["order-process", "--from", "2026-01-05", "--to", "2026-03-30"];
    let (verdicts, _) = evaluate(&folder, &range);
    let members =
        ["agreement", "guarantee", "scope", "window", "value", "verdict", "reason", "coverage", "evidence", "run"];
    for verdict in &verdicts {
        let found: BTreeSet<&str> = verdict.as_object().unwrap().keys().map(String::as_str).collect();
        assert!(members.iter().all(|m| found.contains(m)), "{verdict}");
        let mut texts = Vec::new();
        other_texts(verdict, &mut texts);
        for word in VERDICT_WORDS {
            assert!(!texts.iter().any(|t| t.contains(word)), "{word} stands beside the verdict: {verdict}");
        }
        assert_ne!(verdict["reason"], json!(""), "{verdict}");
    }
    let of = |guarantee: &str, region: &str, from: &str| {
        let found = verdicts
            .iter()
            .find(|v| v["guarantee"] == guarantee && v["scope"]["region"] == region && v["window"]["from"] == from);
        found.unwrap_or_else(|| panic!("no verdict {guarantee} {region} {from}"))
    };
    let spring = of("APPROVED_BEFORE_PAYMENT", "north", "2026-03-22T23:00:00Z");
    assert_eq!(spring["window"]["to"], "2026-03-29T22:00:00Z", "this week has 167 hours");
    assert!(spring["evidence"].to_string().contains("O-091"), "{spring}");
    assert_eq!(spring["verdict"], "violated");
    // The log of this week never came: not 0, not wrong, but not known either.
    let lost = of("APPROVED_BEFORE_PAYMENT", "islands", "2026-02-15T23:00:00Z");
    assert_eq!((&lost["verdict"], &lost["value"]), (&json!("unknown"), &json!(null)));
    assert_eq!(lost["coverage"], json!({"seen": 0, "expected": 2}));
    let quiet = of("APPROVED_BEFORE_PAYMENT", "islands", "2026-01-04T23:00:00Z");
    assert_eq!(quiet["verdict"], "not-applicable");
}

#[tokio::test(flavor = "multi_thread")]
async fn served_on_defaults_all_agreements_have_verdicts_soon() {
    let folder = Folder::new();
    let mut command = probity();
    command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.0.join("data"));
    let server = Server::start(&mut command);
    let list = async |path: &str| -> Vec<Value> {
        let mut items = Vec::new();
        let mut next = String::new();
        loop {
            let (status, body) = get(&format!("{}{path}&limit=500{next}", server.base)).await;
            assert_eq!(status, 200, "{body}");
            let page: Value = serde_json::from_str(&body).unwrap();
            items.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["next"].as_str() {
                Some(cursor) => next = format!("&after={cursor}"),
                None => return items,
            }
        }
    };
    let orders = "/probity/v1/verdicts?agreement=order-process";
    until("the twelve weeks of orders are judged", async || list(orders).await.len() == 108).await;
    let every = expected(&[("fulfilled", 86), ("violated", 13), ("unknown", 3), ("not-applicable", 6)]);
    assert_eq!(counts(&list(orders).await), every);

    let events = "/probity/v1/verdicts?agreement=tpa-test-project-with-tpa";
    until("the collector flow has answered for twelve weeks and the open one", async || {
        list(events).await.len() >= 13 * 4
    })
    .await;
    let verdicts = list(events).await;
    let members: BTreeSet<&str> = verdicts.iter().map(|v| v["scope"]["member"].as_str().unwrap()).collect();
    assert_eq!(members, BTreeSet::from(["ana", "bruno", "carla", "dmitri"]));
    let found = counts(&verdicts);
    for word in ["fulfilled", "violated", "unknown"] {
        assert!(found.contains_key(word), "{found:?}");
    }
    assert!(verdicts.iter().filter(|v| v["verdict"] != "unknown").all(|v| v["value"].is_number()));

    // The first probes are made right after the start, and the open hour is judged by them.
    let service = "/probity/v1/verdicts?agreement=service-level";
    let measured =
        async || -> Vec<Value> { list(service).await.into_iter().filter(|v| v["value"].is_number()).collect() };
    until("both endpoints were found to answer", async || {
        let pairs: BTreeSet<String> =
            measured().await.iter().map(|v| format!("{} {}", v["guarantee"], v["scope"])).collect();
        pairs.len() == 4
    })
    .await;
    for verdict in measured().await.iter().filter(|v| v["guarantee"] == "AVAILABLE") {
        assert_eq!((&verdict["verdict"], &verdict["value"]), (&json!("fulfilled"), &json!(100.0)), "{verdict}");
        assert!(verdict["evidence"].to_string().contains(" 200 in "), "{verdict}");
    }
    let (status, greeting) = get(&format!("{}/hello", server.base)).await;
    assert_eq!((status, greeting.as_str()), (200, r#"{"hello":"world"}"#));
    let (status, log) = get(&format!("{}/order-log?from=2026-03-23&to=2026-03-30", server.base)).await;
    assert_eq!(status, 200);
    assert!(log.contains("O-091"), "{log}");

    server.terminate();
    let (code, log) = server.ended();
    assert_eq!(code, Some(0));
    let bad: Vec<&String> = log.iter().filter(|l| l.contains("ERROR") || l.contains("WARN")).collect();
    assert!(bad.is_empty(), "{bad:#?}");
}
