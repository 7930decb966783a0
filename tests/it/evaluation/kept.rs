//! Asking again in vain: what is known of a window that is over stays known, and it is said that it was kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use probity::api::LoadedAgreements;
use probity::clock::Clock;
use probity::evaluate::{Evaluation, Evaluator, InProcess, Windows};
use probity::model::agreement::Agreement;
use probity::model::run::Trigger;
use probity::model::state::{StateKind, StoredState, Verdict};
use probity::runtime::services::{EvaluateAgreement, EvaluateRequest, NotEvaluated};
use probity::store::{AuditEntry, PageRequest, StateQuery, Store};
use serde_json::{Value, json};

use super::{agreement, at, evaluator, in_process, request, verdicts, waiver};
use crate::harness::server::{Server, Setup};
use crate::store::Fixture;

/// What the collector answers for each metric now: computations, or why it fails.
pub(super) type Answers = Arc<Mutex<HashMap<String, Result<Value, String>>>>;

pub(super) fn collector(answers: &Answers) -> InProcess {
    let answers = answers.clone();
    Arc::new(move |query, _| {
        let answer = answers.lock().unwrap().get(&query.metric).cloned().unwrap_or(Err("never asked".into()));
        async move { answer.map(|list| json!({ "computations": list })) }.boxed()
    })
}

fn now(answers: &Answers, metric: &str, value: Value) {
    answers.lock().unwrap().insert(metric.into(), Ok(json!([{ "value": value, "evidences": [{ "of": metric }] }])));
}

pub(super) fn down(answers: &Answers, metric: &str) {
    answers.lock().unwrap().insert(metric.into(), Err("connection refused".into()));
}

/// `objective` over A and B, in one scope without `*`, in hourly windows.
fn of(objective: &str, version: &str) -> Arc<Agreement> {
    let extra = json!({ "version": version, "terms": {
        "metrics": { "A": { "collector": in_process() }, "B": { "collector": in_process() } },
        "guarantees": [{ "id": "G", "scope": { "team": { "default": "a" } }, "of": [{
            "objective": objective, "with": { "A": {}, "B": {} }, "window": { "period": "hourly" },
        }] }],
    } });
    agreement("sla", in_process(), extra)
}

async fn asked(evaluator: &Evaluator, agreement: &Arc<Agreement>) -> Evaluation {
    let request = request(
        agreement.clone(),
        Windows::Overlapping { from: at("2026-03-01T00:00:00Z"), to: at("2026-03-01T01:00:00Z") },
    );
    evaluator.run(request).await.unwrap()
}

async fn revisions(store: &Arc<dyn Store>, kind: StateKind, of: &str) -> Vec<StoredState> {
    let scope = serde_json::from_value(json!({ "team": "a" })).unwrap();
    let (from, to) = (at("2026-03-01T00:00:00Z"), at("2026-03-01T01:00:00Z"));
    store.revisions("sla", kind, of, &scope, from, to).await.unwrap()
}

async fn audited(store: &Arc<dyn Store>) -> AuditEntry {
    store.audit_entries(&PageRequest { limit: 1, after: None }).await.unwrap().items.remove(0)
}

#[tokio::test]
async fn a_final_verdict_outlives_a_collector_that_is_down() {
    for fixture in [Fixture::memory().await, Fixture::sqlite().await, Fixture::postgres().await] {
        let answers = Answers::default();
        let (store, clock) = (&fixture.store, Clock::manual(at("2026-03-02T00:00:00Z")));
        let sla = of("A >= 1 and B >= 1", "1.0.0");
        let evaluator = evaluator(&clock, store, vec![sla.clone()], collector(&answers), "[]");
        now(&answers, "A", json!(5));
        now(&answers, "B", json!("5"));
        assert_eq!(asked(&evaluator, &sla).await.kept, []);
        let before = verdicts(store).await;
        assert_eq!(before[0].state.verdict, Some(Verdict::Fulfilled));
        assert_eq!(audited(store).await.detail.get("kept"), None);

        down(&answers, "A");
        down(&answers, "B");
        let again = asked(&evaluator, &sla).await;
        assert_eq!(again.verdicts().map(|s| s.verdict).collect::<Vec<_>>(), [Some(Verdict::Fulfilled)]);
        let committed = again.committed.unwrap();
        assert_eq!((committed.inserted, committed.revised), (0, 0), "{:#?}", again.states);
        assert_eq!(verdicts(store).await, before, "the stored verdict is the one there was");
        for (kind, of) in [(StateKind::Guarantee, "G"), (StateKind::Metric, "A"), (StateKind::Metric, "B")] {
            assert_eq!(revisions(store, kind, of).await.len(), 1, "{of} has no other revision");
        }
        // It is said: in the answer, the run and the audit trail.
        let [kept] = &again.kept[..] else { panic!("{:?}", again.kept) };
        assert_eq!((kept.guarantee.as_str(), &kept.window), ("G", &before[0].state.window));
        assert!(kept.reason.contains("A was asked for again and not given: connection refused"), "{}", kept.reason);
        let run = store.run(again.run.id).await.unwrap().unwrap();
        assert_eq!(run.error.unwrap().message, "connection refused");
        let steps: Vec<&str> = run.trace.iter().filter_map(|step| step.note.as_deref()).collect();
        assert!(steps.iter().any(|note| note.starts_with("1 verdicts stand as they are stored")), "{steps:?}");
        assert_eq!(audited(store).await.detail["kept"]["verdicts"], 1);

        // It is asked again in earnest once the collector is back.
        now(&answers, "A", json!(0));
        now(&answers, "B", json!(5));
        let corrected = asked(&evaluator, &sla).await;
        assert_eq!(corrected.kept, []);
        let last = revisions(store, StateKind::Guarantee, "G").await;
        assert_eq!(
            last.iter().map(|r| r.state.verdict.unwrap()).collect::<Vec<_>>(),
            [Verdict::Fulfilled, Verdict::Violated]
        );
    }
}

/// One metric answers anew, the other cannot be asked: the verdict is of the new value and the stored one.
#[tokio::test]
async fn new_evidence_of_one_metric_meets_what_is_stored_of_the_other() {
    let fixture = Fixture::sqlite().await;
    let answers = Answers::default();
    let (store, clock) = (&fixture.store, Clock::manual(at("2026-03-02T00:00:00Z")));
    let sla = of("A >= B", "1.0.0");
    let evaluator = evaluator(&clock, store, vec![sla.clone()], collector(&answers), "[]");
    now(&answers, "A", json!(6));
    now(&answers, "B", json!(5));
    asked(&evaluator, &sla).await;
    now(&answers, "A", json!(3));
    down(&answers, "B");
    let again = asked(&evaluator, &sla).await;
    assert_eq!(again.kept.len(), 1);
    let found = verdicts(store).await.remove(0).state;
    assert_eq!((found.verdict, found.value), (Some(Verdict::Violated), Some(3.0)), "{}", found.reason);
    assert_eq!(found.values["B"], Some(5.0));
    // What is stored comes to the same.
    let simulated =
        probity::evaluate::simulate::simulate(store.as_ref(), &sla, &sla, None, None, clock.now()).await.unwrap();
    assert!(!simulated.changes_something() && simulated.same == 1, "{simulated:?}");
}

#[tokio::test]
async fn members_outlive_it_too() {
    let fixture = Fixture::sqlite().await;
    let answers = Answers::default();
    let (store, clock) = (&fixture.store, Clock::manual(at("2026-03-02T00:00:00Z")));
    let sla = agreement("sla", in_process(), Value::Null);
    let evaluator = evaluator(&clock, store, vec![sla.clone()], collector(&answers), "[]");
    let members = json!([
        { "scope": { "team": "a" }, "value": 95 }, { "scope": { "team": "b" }, "value": 80 },
        { "scope": { "team": "c" }, "value": null }, { "scope": { "team": "d" }, "value": null, "coverage": { "seen": 0, "expected": 0 } },
    ]);
    answers.lock().unwrap().insert("RATE".into(), Ok(members));
    asked(&evaluator, &sla).await;
    let before = verdicts(store).await;
    assert_eq!(before.len(), 4);
    down(&answers, "RATE");
    let again = asked(&evaluator, &sla).await;
    assert_eq!(verdicts(store).await, before, "nothing is said of the scope as a whole");
    assert_eq!(again.kept.len(), 4);
    let states = store.states(&StateQuery::default(), &PageRequest { limit: 100, after: None }).await.unwrap().items;
    assert!(states.iter().all(|s| !s.state.scope.has_wildcard() && s.revision == 1), "{states:#?}");
}

/// Under another document the stored evidence may answer another question; the verdict stands under the document it was
/// given by, unless a metric that did answer says something new.
#[tokio::test]
async fn under_another_document_the_stored_verdict_stands_as_it_was_given() {
    let fixture = Fixture::sqlite().await;
    let answers = Answers::default();
    let (store, clock) = (&fixture.store, Clock::manual(at("2026-03-02T00:00:00Z")));
    let (old, new) = (of("A >= 1 and B >= 1", "1.0.0"), of("A >= 1 and B >= 7", "1.1.0"));
    let evaluator = evaluator(&clock, store, vec![new.clone()], collector(&answers), "[]");
    now(&answers, "A", json!(5));
    now(&answers, "B", json!(5));
    asked(&evaluator, &old).await;
    down(&answers, "A");
    down(&answers, "B");
    let again = asked(&evaluator, &new).await;
    assert_eq!(again.kept.len(), 1);
    let found = verdicts(store).await.remove(0);
    assert_eq!((found.state.verdict, found.revision), (Some(Verdict::Fulfilled), 1));
    assert_eq!(found.state.agreement_version, old.hash);
    assert_eq!(revisions(store, StateKind::Metric, "B").await.len(), 1, "what is known of it is not forgotten");
    // The same again: nothing piles up.
    assert_eq!(asked(&evaluator, &new).await.committed.unwrap().revised, 0);
    // A answers as before: still nothing new is known.
    now(&answers, "A", json!(5));
    assert_eq!(asked(&evaluator, &new).await.kept.len(), 1);
    assert_eq!(verdicts(store).await[0].state.verdict, Some(Verdict::Fulfilled));
    // A answers something else: the stored verdict is of another time, and the new one not known.
    now(&answers, "A", json!(6));
    assert_eq!(asked(&evaluator, &new).await.kept, []);
    let found = verdicts(store).await.remove(0).state;
    assert_eq!(found.verdict, Some(Verdict::Unknown));
    assert!(found.reason.contains("B has no value: connection refused"), "{}", found.reason);
    // And a new value that decides by itself decides.
    now(&answers, "A", json!(0));
    asked(&evaluator, &new).await;
    assert_eq!(verdicts(store).await[0].state.verdict, Some(Verdict::Violated));
}

#[tokio::test]
async fn what_was_never_known_for_good_is_unknown() {
    let fixture = Fixture::sqlite().await;
    let answers = Answers::default();
    let (store, clock) = (&fixture.store, Clock::manual(at("2026-03-01T00:30:00Z")));
    let sla = of("A >= 1 and B >= 1", "1.0.0");
    let evaluator = evaluator(&clock, store, vec![sla.clone()], collector(&answers), "[]");
    now(&answers, "A", json!(5));
    now(&answers, "B", json!(5));
    asked(&evaluator, &sla).await;
    let found = verdicts(store).await.remove(0).state;
    assert_eq!((found.verdict, found.provisional), (Some(Verdict::Fulfilled), true));
    // The window has closed, and nobody knows how it ended.
    clock.set(at("2026-03-01T02:00:00Z"));
    down(&answers, "A");
    down(&answers, "B");
    for _ in 0..2 {
        assert_eq!(asked(&evaluator, &sla).await.kept, []);
        let found = verdicts(store).await.remove(0).state;
        assert_eq!((found.verdict, found.provisional), (Some(Verdict::Unknown), false));
        assert!(found.reason.contains("connection refused"), "{}", found.reason);
    }
}

#[tokio::test]
async fn a_waived_verdict_stays_waived() {
    let fixture = Fixture::sqlite().await;
    let answers = Answers::default();
    let (store, clock) = (&fixture.store, Clock::manual(at("2026-03-02T00:00:00Z")));
    let (old, new) = (of("A >= 1 and B >= 1", "1.0.0"), of("A >= 1 and B >= 1", "1.1.0"));
    let evaluator = evaluator(&clock, store, vec![old.clone()], collector(&answers), "[]");
    now(&answers, "A", json!(0));
    now(&answers, "B", json!(5));
    let waiver = waiver("move", "it moves");
    let audit = AuditEntry {
        at: clock.now(),
        actor: "ana".into(),
        action: "waive".into(),
        subject: "sla".into(),
        detail: Value::Null,
    };
    assert!(store.add_waiver(&waiver, &audit).await.unwrap());
    asked(&evaluator, &old).await;
    down(&answers, "A");
    down(&answers, "B");
    for agreement in [&old, &new] {
        assert_eq!(asked(&evaluator, agreement).await.kept.len(), 1);
        let found = verdicts(store).await.remove(0);
        assert_eq!((found.state.verdict, found.revision), (Some(Verdict::Waived), 1));
        assert_eq!(found.state.unwaived(), Some(Verdict::Violated));
    }
}

/// What the caller of the API is told.
#[tokio::test]
async fn the_answer_of_the_api_says_what_was_kept_and_why() {
    let fixture = Fixture::sqlite().await;
    let answers = Answers::default();
    let clock = Clock::manual(at("2026-03-02T00:00:00Z"));
    let sla = of("A >= 1 and B >= 1", "1.0.0");
    let evaluator = evaluator(&clock, &fixture.store, vec![sla.clone()], collector(&answers), "[]");
    let agreements = LoadedAgreements { agreements: vec![sla], ..Default::default() };
    let setup =
        Setup { store: Some(fixture.store.clone()), agreements, evaluator: Some(evaluator), ..Setup::default() };
    let server = Server::start(setup).await;
    let evaluate = async || {
        let body = json!({ "from": "2026-03-01T00:00:00Z", "to": "2026-03-01T01:00:00Z" });
        let call = server.client.post(server.url("/probity/v1/agreements/sla/evaluate"));
        let answer = call.body(body.to_string()).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        serde_json::from_str::<Value>(&answer.text().await.unwrap()).unwrap()
    };
    now(&answers, "A", json!(5));
    now(&answers, "B", json!(5));
    assert_eq!(evaluate().await["kept"], json!([]));
    down(&answers, "B");
    let answer = evaluate().await;
    assert_eq!(answer["verdicts"][0]["verdict"], "fulfilled");
    let kept = &answer["kept"][0];
    assert_eq!((&kept["guarantee"], &kept["scope"]), (&json!("G"), &json!({ "team": "a" })));
    assert_eq!(kept["window"]["from"], "2026-03-01T00:00:00Z");
    let why = "B was asked for again and not given: connection refused; what is stored of this window stands";
    assert_eq!(kept["reason"], why);
    assert_eq!(revisions(&fixture.store, StateKind::Guarantee, "G").await.len(), 1);
}

#[tokio::test]
async fn who_asks_for_what_has_no_window_is_told_why() {
    let fixture = Fixture::memory().await;
    let (answers, clock) = (Answers::default(), Clock::manual(at("2026-03-02T00:00:00Z")));
    let sla = of("A >= 1", "1.0.0");
    let evaluator = evaluator(&clock, &fixture.store, vec![sla], collector(&answers), "[]");
    let asked = |agreement: &str| EvaluateRequest {
        agreement: agreement.into(),
        range: Some((at("2025-03-01T00:00:00Z"), at("2025-03-02T00:00:00Z"))),
        guarantee: None,
        trigger: Trigger::Manual { by: "test".into() },
        store: true,
    };
    let found = evaluator.evaluate(asked("sla")).await.unwrap();
    assert!(found.states.is_empty());
    let why = found.nothing.unwrap();
    assert!(why.contains("is before the agreement begins; it is valid from 2026-01-01T00:00:00"), "{why}");
    let refused = evaluator.evaluate(asked("sal")).await.unwrap_err();
    assert_eq!(refused, NotEvaluated::Refused("no agreement \"sal\"; did you mean \"sla\"?".into()));
}
