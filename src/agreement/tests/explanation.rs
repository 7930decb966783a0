//! Explanations of verdicts as they are stored.

use super::*;
use crate::agreement::explain::words::Language;
use crate::agreement::explain::{Explanation, Facts, VerdictId, explain, questions, verdict_id, windows_before};
use crate::expr::Distance;
use crate::model::state::{StoredState, Window};

fn stored(state: State, revision: u32, at: &str) -> StoredState {
    StoredState { state, revision, recorded_at: at.parse().unwrap() }
}

fn guarantee() -> Value {
    json!({"scope": {"m": "*"}, "of": [{
        "scope": {"m": "*"}, "objective": "A >= 95 and B <= 300", "with": {"A": {}, "B": {}},
        "window": {"period": "daily"},
    }]})
}

/// Judges one window of member x and explains it; `earlier` are values of the day before.
fn explained(now: (f64, Value), earlier: (f64, f64)) -> (Agreement, Explanation) {
    let (agreement, problems) = load_value(around(&guarantee(), "Europe/Madrid"), "");
    let agreement = agreement.unwrap_or_else(|| panic!("{problems:?}"));
    let judged = |day: &str, next: &str, a: Value, b: Value| {
        let (from, to): (Timestamp, Timestamp) = (day.parse().unwrap(), next.parse().unwrap());
        let computation =
            |value: Value| json!([{"scope": {"m": "x"}, "value": value, "evidences": [{"n": value}, "raw"]}]);
        let answers = BTreeMap::from([("A".to_owned(), computation(a)), ("B".to_owned(), computation(b))]);
        judge(&agreement, &plan(&agreement, None, from, to).unwrap(), &answers, february())
    };
    let (today, metrics) = judged("2026-01-12T08:00:00Z", "2026-01-12T09:00:00Z", json!(now.0), now.1);
    let (before, _) = judged("2026-01-11T08:00:00Z", "2026-01-11T09:00:00Z", json!(earlier.0), json!(earlier.1));
    let verdict = today[0].clone();
    let window: Window = verdict.window.clone();
    let asked = questions(&agreement, "G", &verdict.scope, &window);
    assert_eq!(asked.iter().map(|q| q.name.as_str()).collect::<Vec<_>>(), ["A", "B"]);
    assert_eq!(asked[0].scopes.len(), 2, "the member's, then that of all");
    assert_eq!(windows_before(&agreement, "G", &verdict.scope, &window)[0], before[0].window);
    let metrics = metrics.into_iter().map(|m| (m.of.clone(), stored(m, 1, "2026-01-13T00:00:00Z"))).collect();
    let revisions = [stored(verdict, 1, "2026-01-13T00:00:00Z")];
    let earlier = [stored(before[0].clone(), 1, "2026-01-12T00:00:00Z")];
    let facts = Facts { agreement: Some(&agreement), revisions: &revisions, metrics, earlier: &earlier };
    let explanation = explain(&facts).unwrap();
    (agreement, explanation)
}

#[test]
fn a_violated_verdict_names_what_decides_it_and_what_changed() {
    let (_, explanation) = explained((91.5, json!(200)), (99.0, 200.0));
    assert_eq!(explanation.verdict, Verdict::Violated);
    let objective = &explanation.objectives[0];
    assert_eq!(
        (objective.substituted.as_str(), objective.holds, objective.differs),
        ("91.5 >= 95 and 200 <= 300", Some(false), false)
    );
    let deciders: Vec<&str> = objective.decided_by.iter().map(|d| d.metric.as_str()).collect();
    assert_eq!(deciders, ["A"], "B holds and decides nothing");
    let pieces = &objective.decided_by[0].evidence;
    assert_eq!(pieces.len(), 2);
    // Of `"raw"` with its quotes, as canonical JSON has it.
    assert_eq!(pieces[1].sha256, sha("\"raw\""));
    assert!(matches!(&objective.distance, Distance::Amount { by, measured, .. } if *by == 3.5 && measured == "A"));
    let change = explanation.since_last_pass.as_ref().unwrap();
    assert_eq!((change.kind, change.values.len(), change.values[0].metric.as_str()), ("window", 1, "A"));
    assert_eq!((change.values[0].then, change.values[0].now), (Some(99.0), Some(91.5)));
    let english = explanation.lines(Language::English).join("\n");
    for part in ["A must rise by 3.5, from 91.5 to 95", "A went from 99 to 91.5", "Decided by A = 91.5", "SHA-256"] {
        assert!(english.contains(part), "{part}: {english}");
    }
    let spanish = explanation.lines(Language::Spanish).join("\n");
    for part in ["A debe subir 3.5, de 91.5 a 95", "A pasó de 99 a 91.5", "Lo decide A = 91.5", "incumplida"] {
        assert!(spanish.contains(part), "{part}: {spanish}");
    }
}

fn sha(text: &str) -> String {
    use sha2::Digest;
    hex::encode(sha2::Sha256::digest(text))
}

#[test]
fn an_unknown_verdict_says_what_is_missing() {
    let (_, explanation) = explained((99.0, Value::Null), (90.0, 200.0));
    assert_eq!(explanation.verdict, Verdict::Unknown);
    let objective = &explanation.objectives[0];
    assert!(objective.decided_by.is_empty() && objective.missing[0].starts_with("B has no value"));
    assert!(matches!(&objective.distance, Distance::Unknown { condition, .. } if condition == "B <= 300"));
    assert!(explanation.since_last_pass.is_none(), "it never passed");
    assert!(explanation.lines(Language::English).iter().any(|l| l == "No pass among the 1 windows before."));
}

/// A value that rests on too small a part decides nothing here either.
#[test]
fn what_was_hardly_seen_is_explained_as_it_was_judged() {
    let guarantee = json!({"x-probity": {"minCoverage": "90%"}, "of": [{
        "objective": "coalesce(A, 100) >= 95 and B <= 300", "with": {"A": {}, "B": {}}, "window": {"period": "daily"},
    }]});
    let (agreement, problems) = load_value(around(&guarantee, "Europe/Madrid"), "");
    let agreement = agreement.unwrap_or_else(|| panic!("{problems:?}"));
    let answers = BTreeMap::from([
        ("A".to_owned(), json!({"value": 99, "coverage": {"seen": 1, "expected": 10}})),
        ("B".to_owned(), json!({"value": 200})),
    ]);
    let at = plan(&agreement, None, january_12(), january_13()).unwrap();
    let (states, metrics) = judge(&agreement, &at, &answers, february());
    let revisions = [stored(states[0].clone(), 1, "2026-01-13T00:00:00Z")];
    let metrics = metrics.into_iter().map(|m| (m.of.clone(), stored(m, 1, "2026-01-13T00:00:00Z"))).collect();
    let facts = Facts { agreement: Some(&agreement), revisions: &revisions, metrics, earlier: &[] };
    let explanation = explain(&facts).unwrap();
    assert_eq!(explanation.verdict, Verdict::Unknown);
    let objective = &explanation.objectives[0];
    assert!(!objective.differs && objective.holds.is_none() && objective.decided_by.is_empty());
    assert_eq!(objective.missing, ["A rests on 1 of 10 expected, less than the 90% to be seen"]);
    assert!(matches!(objective.distance, Distance::Unknown { .. }), "{:?}", objective.distance);
}

/// What was judged under another document is not explained by this one.
#[test]
fn an_agreement_that_changed_is_said_to_have_changed() {
    let (mut agreement, explanation) = explained((91.5, json!(200)), (99.0, 200.0));
    agreement.guarantees[0].terms[0].objective = crate::expr::parse("A >= 90 and B <= 300").unwrap();
    agreement.hash = "another".into();
    let (from, to) = (january_12(), january_13());
    let answers = BTreeMap::from([
        ("A".to_owned(), json!([{"scope": {"m": "x"}, "value": 91.5}])),
        ("B".to_owned(), json!([{"scope": {"m": "x"}, "value": 200}])),
    ]);
    let (old, _) = load_value(around(&guarantee(), "Europe/Madrid"), "");
    let old = old.unwrap();
    let (states, metrics) = judge(&old, &plan(&old, None, from, to).unwrap(), &answers, february());
    let revisions = [stored(states[0].clone(), 1, "2026-01-13T00:00:00Z")];
    let metrics = metrics.into_iter().map(|m| (m.of.clone(), stored(m, 1, "2026-01-13T00:00:00Z"))).collect();
    let facts = Facts { agreement: Some(&agreement), revisions: &revisions, metrics, earlier: &[] };
    let now = explain(&facts).unwrap();
    assert!(now.agreement_changed && now.objectives[0].differs);
    assert_eq!(now.verdict, Verdict::Violated, "what was said stays said");
    let text = now.lines(Language::English).join("\n");
    assert!(text.contains("another version") && text.contains(&explanation.reason[..20]), "{text}");
    // And without any agreement the reason that is stored is all there is.
    let facts = Facts { agreement: None, revisions: &revisions, metrics: BTreeMap::new(), earlier: &[] };
    let bare = explain(&facts).unwrap();
    assert!(bare.objectives.is_empty() && bare.lines(Language::Spanish).iter().any(|l| l.contains("Lo que se dijo")));
}

#[test]
fn verdicts_have_names_that_lead_back() {
    let scope = Scope([("team".to_owned(), "blue/red, a=b".to_owned()), ("x y".to_owned(), "50%".to_owned())].into());
    let name = verdict_id("my shop", "F/1", &scope, january_12());
    assert_eq!(name, "my%20shop/F%2F1/team=blue%2Fred%2C%20a%3Db,x%20y=50%25/2026-01-12T08:00:00Z");
    let id = VerdictId::parse(&name).unwrap();
    assert_eq!((id.agreement.as_str(), id.guarantee.as_str(), &id.scope), ("my shop", "F/1", &scope));
    assert_eq!((id.from.as_str(), id.to), ("2026-01-12T08:00:00Z", None));
    let id = VerdictId::parse("shop/FAST/-/2026-03-01..2026-03-02").unwrap();
    assert_eq!((id.scope, id.to.as_deref()), (Scope::default(), Some("2026-03-02")));
    let url = "http://127.0.0.1:1880/probity/verdict?agreement=shop&guarantee=FAST&scope=%7B%22team%22%3A%22a%22%7D&from=2026-03-01T00:00:00Z&to=2026-03-02T00:00:00Z#why";
    let id = VerdictId::parse(url).unwrap();
    assert_eq!((id.agreement.as_str(), id.scope.canonical().as_str()), ("shop", "{\"team\":\"a\"}"));
    assert_eq!(id.to.as_deref(), Some("2026-03-02T00:00:00Z"));
    for bad in ["", "shop", "a/b/c", "a/b/team/2026-03-01", "http://x/?agreement=a", "a/b/c=d/e/f"] {
        assert!(VerdictId::parse(bad).is_err(), "{bad}");
    }
}
