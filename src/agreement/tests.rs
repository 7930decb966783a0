//! Agreements by example (`tests/cases/agreement`), on real documents, and by property.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::evaluate::{guarantee_states, metrics_states};
use super::queries::{Plan, collector_request, plan};
use super::{collected, elsewhere, load, load_value};
use crate::model::RunId;
use crate::model::agreement::Agreement;
use crate::model::diagnostic::Severity;
use crate::model::state::{Sample, Scope, State, Verdict};

mod calendar;
mod evidence;
mod explanation;
mod penalties;
mod real;
mod simulation;
mod templates;
mod unseen;
mod windows;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn cases<C: serde::de::DeserializeOwned>(prefix: &str) -> Vec<(String, C)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root().join("tests/cases/agreement")).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        if file.starts_with(prefix) {
            let text = std::fs::read_to_string(&path).unwrap();
            let cases: Vec<C> = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{file}: {e}"));
            found.extend(cases.into_iter().enumerate().map(|(i, case)| (format!("{file} case {}", i + 1), case)));
        }
    }
    assert!(!found.is_empty(), "no cases called {prefix}*");
    found
}

/// A small agreement around one guarantee: metrics are those of its terms, collected by flows.
fn around(guarantee: &Value, zone: &str) -> Value {
    let of = guarantee["of"].as_array().cloned().unwrap_or_default();
    let metrics: serde_json::Map<String, Value> = of
        .iter()
        .filter_map(|term| term["with"].as_object())
        .flat_map(|with| with.keys())
        .map(|id| (id.clone(), json!({"collector": {"type": "PROBITY-FLOW-V1", "metric": id.to_lowercase()}})))
        .collect();
    let mut guarantee = guarantee.clone();
    guarantee["id"] = "G".into();
    json!({
        "id": "case", "version": "1.0.0", "type": "agreement",
        "context": {"validity": {"initial": "2026-01-01", "timeZone": zone}},
        "terms": {"metrics": metrics, "guarantees": [guarantee]},
    })
}

/// Answers every query of the plan and judges; `answers` by metric, `{"fails": why}` for a failed collector.
fn judge(
    agreement: &Agreement,
    plan: &Plan,
    answers: &BTreeMap<String, Value>,
    now: Timestamp,
) -> (Vec<State>, Vec<State>) {
    let run = RunId::fresh();
    let read = |query: &super::queries::Query| -> Result<Vec<Sample>, String> {
        match answers.get(&query.metric) {
            None => Err("it was not collected".into()),
            Some(answer) => match answer.get("fails").and_then(Value::as_str) {
                Some(reason) => Err(reason.into()),
                None => collected::samples(answer, query, "the source", now),
            },
        }
    };
    let mut answers: Vec<_> = plan.queries.iter().map(read).collect();
    elsewhere::add(plan, &mut answers);
    let guarantees = plan
        .judgements
        .iter()
        .flat_map(|j| {
            let collected = plan.collected(j, &answers);
            guarantee_states(agreement, &agreement.guarantees[j.guarantee], j.term, &j.window, &collected, run, now)
        })
        .collect();
    (guarantees, metrics_states(agreement, plan, &answers, run, now))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JudgeCase {
    name: String,
    guarantee: Value,
    #[serde(default = "madrid")]
    zone: String,
    #[serde(default = "january_12")]
    from: Timestamp,
    #[serde(default = "january_13")]
    to: Timestamp,
    #[serde(default = "february")]
    now: Timestamp,
    answers: BTreeMap<String, Value>,
    verdicts: Vec<Expected>,
}

fn madrid() -> String {
    "Europe/Madrid".into()
}
fn january_12() -> Timestamp {
    "2026-01-12T08:00:00Z".parse().unwrap()
}
fn january_13() -> Timestamp {
    "2026-01-12T09:00:00Z".parse().unwrap()
}
fn february() -> Timestamp {
    "2026-02-01T00:00:00Z".parse().unwrap()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    #[serde(default)]
    scope: Scope,
    from: Option<Timestamp>,
    verdict: Verdict,
    /// Given: it must be so. `null` is "no value".
    #[serde(default, deserialize_with = "given")]
    value: Option<Option<f64>>,
    values: Option<BTreeMap<String, Option<f64>>>,
    coverage: Option<(u64, u64)>,
    evidence: Option<usize>,
    provisional: Option<bool>,
    #[serde(default)]
    says: Vec<String>,
}

fn given<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<Option<f64>>, D::Error> {
    Option::deserialize(d).map(Some)
}

#[test]
fn verdicts() {
    for (at, case) in cases::<JudgeCase>("verdicts") {
        let at = format!("{at}, {}", case.name);
        let (agreement, problems) = load_value(around(&case.guarantee, &case.zone), "");
        let agreement = agreement.unwrap_or_else(|| panic!("{at}: {problems:?}"));
        let plan = plan(&agreement, None, case.from, case.to).unwrap();
        let (states, metrics) = judge(&agreement, &plan, &case.answers, case.now);
        let said: Vec<_> = states.iter().map(|s| (&s.scope, &s.window.from_local, s.verdict, &s.reason)).collect();
        assert_eq!(states.len(), case.verdicts.len(), "{at}: {said:#?}");
        for expected in &case.verdicts {
            let of_scope = |s: &&State| s.scope == expected.scope && expected.from.is_none_or(|f| f == s.window.from);
            let state = states.iter().find(of_scope).unwrap_or_else(|| panic!("{at}: none in {expected:?}: {said:#?}"));
            compare(&at, state, expected);
        }
        assert!(!metrics.is_empty() && metrics.iter().all(|m| m.verdict.is_none() && !m.reason.is_empty()), "{at}");
    }
}

impl std::fmt::Debug for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.scope.canonical(), self.from)
    }
}

fn compare(at: &str, state: &State, expected: &Expected) {
    let reason = &state.reason;
    assert_eq!(state.verdict, Some(expected.verdict), "{at}: {reason}");
    for word in Verdict::WORDS {
        assert!(!reason.contains(word), "{at}: a verdict word in the reason: {reason}");
    }
    for part in &expected.says {
        assert!(reason.contains(part), "{at}: {reason:?} does not say {part:?}");
    }
    if let Some(value) = expected.value {
        assert_eq!(state.value, value, "{at}: {reason}");
    }
    if let Some(values) = &expected.values {
        assert_eq!(&state.values, values, "{at}");
    }
    if let Some(coverage) = expected.coverage {
        assert_eq!(state.coverage.map(|c| (c.seen, c.expected)), Some(coverage), "{at}");
    }
    if let Some(evidence) = expected.evidence {
        assert_eq!(state.evidence.len(), evidence, "{at}: {:?}", state.evidence);
    }
    if let Some(provisional) = expected.provisional {
        assert_eq!(state.provisional, provisional, "{at}");
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoadCase {
    name: String,
    /// Replaces parts of a good agreement: JSON pointer → value; a null removes.
    change: BTreeMap<String, Value>,
    /// What is reported, in any order; nothing else may be.
    #[serde(default)]
    problems: Vec<Problem>,
    /// Scope of the first term, when the agreement loads.
    scope: Option<Scope>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Problem {
    code: String,
    path: String,
    #[serde(default)]
    warning: bool,
    #[serde(default)]
    says: String,
}

fn good() -> Value {
    let text = std::fs::read_to_string(root().join("tests/cases/agreement/good.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn change(document: &mut Value, pointer: &str, value: &Value) {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    let parent = document.pointer_mut(parent).unwrap_or_else(|| panic!("nothing at {parent}"));
    match parent {
        Value::Object(map) if value.is_null() => drop(map.remove(key)),
        Value::Object(map) => drop(map.insert(key.into(), value.clone())),
        Value::Array(list) if key == "-" => list.push(value.clone()),
        Value::Array(list) => list[key.parse::<usize>().unwrap()] = value.clone(),
        _ => panic!("{pointer} is in a scalar"),
    }
}

#[test]
fn documents() {
    let (agreement, problems) = load_value(good(), "good.json");
    assert!(agreement.is_some() && problems.is_empty(), "{problems:?}");
    for (at, case) in cases::<LoadCase>("documents") {
        let at = format!("{at}, {}", case.name);
        let mut document = good();
        for (pointer, value) in &case.change {
            change(&mut document, pointer, value);
        }
        let (agreement, problems) = load_value(document, "case.json");
        let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), case.problems.len(), "{at}: {said:#?}");
        for expected in &case.problems {
            let severity = if expected.warning { Severity::Warning } else { Severity::Error };
            let found = problems.iter().any(|p| {
                p.code == expected.code
                    && p.path == expected.path
                    && p.severity == severity
                    && p.to_string().contains(&expected.says)
            });
            assert!(found, "{at}: no {} at {} that says {:?}: {said:#?}", expected.code, expected.path, expected.says);
        }
        let errors = problems.iter().any(|p| p.severity == Severity::Error);
        assert_eq!(agreement.is_some(), !errors, "{at}: {said:#?}");
        if let (Some(scope), Some(agreement)) = (&case.scope, &agreement) {
            assert_eq!(&agreement.guarantees[0].terms[0].scope, scope, "{at}");
        }
    }
}

#[test]
fn json_and_yaml_are_one_document() {
    let (json, _) = load(&good().to_string(), "a.json");
    let yaml = serde_saphyr::to_string(&good()).unwrap();
    let (yaml, problems) = load(&yaml, "a.yaml");
    assert_eq!(json.unwrap().hash, yaml.unwrap_or_else(|| panic!("{problems:?}")).hash);
}

#[test]
fn texts_that_are_no_documents() {
    for text in ["", "{", "[]", "null", "42", "a: [", "{\"id\": 1}", "\u{feff}{}", "- a", "%YAML", "*x"] {
        let (agreement, problems) = load(text, "bad");
        assert!(agreement.is_none() && problems.iter().any(|p| p.severity == Severity::Error), "{text}");
        assert!(problems.iter().all(|p| p.file == "bad" && p.path.starts_with('$')), "{text}");
    }
    for open in ["[", "{\"a\":", "- ", "a: {b: "] {
        let (agreement, problems) = load(&open.repeat(50_000), "deep");
        assert!(agreement.is_none() && !problems.is_empty());
    }
}

#[test]
fn the_body_for_a_collector() {
    let (agreement, problems) = load_value(good(), "");
    let agreement = agreement.unwrap_or_else(|| panic!("{problems:?}"));
    let plan = plan(&agreement, Some("G1"), january_12(), january_13()).unwrap();
    assert_eq!(plan.queries.len(), 1);
    let body = collector_request(&plan.queries[0], &agreement.metrics["PASS_RATE"]);
    assert_eq!(
        body.to_string(),
        json!({
            "config": {"scopeManager": "http://scopes.test/api"},
            "metric": {
                "computing": "actual",
                "params": {"branch": "main", "limit": 5},
                "scope": {"class": "2026", "member": "*", "project": "p1"},
                "window": {
                    "type": "static", "period": "daily",
                    "initial": "2026-01-11T23:00:00.000Z", "from": "2026-01-11T23:00:00.000Z",
                    "end": "2026-01-12T23:00:00.000Z", "timeZone": "Europe/Madrid",
                },
            },
        })
        .to_string()
    );
    let mut bare = plan.queries[0].clone();
    bare.scope = Scope::default();
    assert!(collector_request(&bare, &agreement.metrics["PASS_RATE"])["metric"].get("scope").is_none());
}
