//! What a source says of members and windows, asked about or not, and that what is stored comes to the same again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use probity::agreement::explain::VerdictId;
use probity::agreement::explain::words::Language;
use probity::agreement::simulate::words::Words;
use probity::api::LoadedAgreements;
use probity::clock::Clock;
use probity::evaluate::explain::explain;
use probity::evaluate::simulate::simulate;
use probity::evaluate::{Evaluation, Evaluator, InProcess, Windows};
use probity::model::agreement::Agreement;
use probity::model::state::{StateKind, StoredState, Verdict};
use probity::store::{StateQuery, Store};
use serde_json::{Value, json};

use super::kept::{Answers, collector, down};
use super::{agreement, at, evaluator, in_process, request};
use crate::harness::server::{Server, Setup};
use crate::store::Fixture;

fn say(answers: &Answers, metric: &str, computations: Value) {
    answers.lock().unwrap().insert(metric.into(), Ok(computations));
}

/// `A >= 1` for every team and hour.
fn teams(member: &str, version: &str) -> Arc<Agreement> {
    let extra = json!({ "version": version, "terms": {
        "metrics": { "A": { "collector": in_process() } },
        "guarantees": [{ "id": "G", "scope": { "team": { "default": "*" } }, "of": [{
            "scope": { "team": member }, "objective": "A >= 1", "with": { "A": {} }, "window": { "period": "hourly" },
        }] }],
    } });
    agreement("sla", in_process(), extra)
}

async fn hour(evaluator: &Evaluator, agreement: &Arc<Agreement>, hour: i8) -> Evaluation {
    let (from, to) = (format!("2026-03-01T{hour:02}:00:00Z"), format!("2026-03-01T{:02}:00:00Z", hour + 1));
    let windows = Windows::Overlapping { from: at(&from), to: at(&to) };
    evaluator.run(request(agreement.clone(), windows)).await.unwrap()
}

async fn stored(store: &Arc<dyn Store>, kind: StateKind) -> Vec<StoredState> {
    store.all_states(&StateQuery { kind: Some(kind), ..StateQuery::default() }).await.unwrap()
}

/// Verdicts by hour and team, and whether they are provisional.
async fn said(store: &Arc<dyn Store>) -> BTreeMap<(String, String), (Verdict, bool)> {
    let verdicts = stored(store, StateKind::Guarantee).await;
    let one = |s: &StoredState| {
        let hour = s.state.window.from.to_string()[11..13].to_owned();
        ((hour, s.state.scope.0["team"].clone()), (s.state.verdict.unwrap(), s.state.provisional))
    };
    verdicts.iter().map(one).collect()
}

fn place(hour: &str, team: &str) -> (String, String) {
    (hour.to_owned(), team.to_owned())
}

/// The stored evidence comes to the stored verdicts.
async fn comes_to_the_same(store: &Arc<dyn Store>, agreement: &Agreement) {
    let now = at("2026-03-02T00:00:00Z");
    let simulation = simulate(store.as_ref(), agreement, agreement, None, None, now).await.unwrap();
    assert!(!simulation.changes_something(), "{simulation:#?}");
}

/// What a collector says of an hour that it was not asked about is no state of that hour, and is seen in the trace.
#[tokio::test]
async fn an_answer_for_another_window_replaces_nothing_there() {
    for fixture in [Fixture::memory().await, Fixture::sqlite().await, Fixture::postgres().await] {
        let (store, answers) = (&fixture.store, Answers::default());
        let clock = Clock::manual(at("2026-03-02T00:00:00Z"));
        let sla = teams("*", "1.0.0");
        let evaluator = evaluator(&clock, store, vec![sla.clone()], collector(&answers), "[]");
        say(&answers, "A", json!([{ "scope": { "team": "a" }, "value": 5 }]));
        hour(&evaluator, &sla, 0).await;
        let before = (stored(store, StateKind::Metric).await, said(store).await);

        // Asked for hour 1, it answers for hour 0, for which a had 5, and for hour 7, of which nothing is known.
        let of = |from: &str, to: &str| json!({ "from": format!("2026-03-01T{from}:00:00Z"), "to": format!("2026-03-01T{to}:00:00Z") });
        say(
            &answers,
            "A",
            json!([
                { "scope": { "team": "a" }, "period": of("00", "01"), "value": 0 },
                { "scope": { "team": "a" }, "period": of("07", "08"), "value": 0 },
                { "scope": { "team": "b" }, "value": 3 },
            ]),
        );
        let evaluation = hour(&evaluator, &sla, 1).await;
        let metrics = stored(store, StateKind::Metric).await;
        let hour_0: Vec<StoredState> =
            metrics.iter().filter(|s| s.state.window.from == at("2026-03-01T00:00:00Z")).cloned().collect();
        assert_eq!(hour_0, before.0, "hour 0 is as it was");
        assert!(metrics.iter().all(|s| s.state.window.from <= at("2026-03-01T01:00:00Z")), "{metrics:#?}");
        let mut expected = before.1;
        expected.insert(place("01", "a"), (Verdict::Unknown, false));
        expected.insert(place("01", "b"), (Verdict::Fulfilled, false));
        assert_eq!(said(store).await, expected);
        let run = store.run(evaluation.run.id).await.unwrap().unwrap();
        let steps: Vec<&str> = run.trace.iter().filter_map(|step| step.note.as_deref()).collect();
        let left_out = "2 of them not asked for and left out, such as that for 2026-03-01T00:00:00+00:00 to \
                        2026-03-01T01:00:00+00:00, {\"team\":\"a\"}";
        assert!(steps.iter().any(|note| note.starts_with("3 samples in ") && note.ends_with(left_out)), "{steps:?}");
        comes_to_the_same(store, &sla).await;
    }
}

/// Asked for one team, it answers for another: that is not what is known of the other one.
#[tokio::test]
async fn an_answer_for_another_member_is_no_state_of_it() {
    let fixture = Fixture::sqlite().await;
    let (store, answers) = (&fixture.store, Answers::default());
    let clock = Clock::manual(at("2026-03-02T00:00:00Z"));
    let (every, one) = (teams("*", "1.0.0"), teams("b", "1.0.0"));
    let evaluator = evaluator(&clock, store, vec![every.clone()], collector(&answers), "[]");
    say(&answers, "A", json!([{ "scope": { "team": "a" }, "value": 5 }]));
    hour(&evaluator, &every, 0).await;
    say(&answers, "A", json!([{ "scope": { "team": "a" }, "value": 0 }]));
    hour(&evaluator, &one, 0).await;
    let metrics: Vec<(String, Option<f64>)> = stored(store, StateKind::Metric)
        .await
        .into_iter()
        .map(|s| (s.state.scope.0["team"].clone(), s.state.value))
        .collect();
    assert!(metrics.contains(&("a".into(), Some(5.0))) && metrics.contains(&("b".into(), None)), "{metrics:?}");
    let found = said(store).await;
    assert_eq!(found[&place("00", "b")], (Verdict::Unknown, false));
    assert_eq!(found[&place("00", "a")], (Verdict::Fulfilled, false));
}

/// A computation that names no team stands beside those that do; it is simulated, kept and explained as it was judged.
#[tokio::test]
async fn a_computation_of_no_member_is_simulated_as_it_was_judged() {
    for fixture in [Fixture::memory().await, Fixture::sqlite().await, Fixture::postgres().await] {
        let (store, answers) = (&fixture.store, Answers::default());
        let clock = Clock::manual(at("2026-03-02T00:00:00Z"));
        let sla = teams("*", "1.0.0");
        let evaluator = evaluator(&clock, store, vec![sla.clone()], collector(&answers), "[]");
        say(&answers, "A", json!([{ "scope": { "team": "a" }, "value": 5 }, { "value": 7 }]));
        hour(&evaluator, &sla, 0).await;
        let expected = BTreeMap::from([
            (place("00", "a"), (Verdict::Fulfilled, false)),
            (place("00", "*"), (Verdict::Unknown, false)),
        ]);
        assert_eq!(said(store).await, expected);
        comes_to_the_same(store, &sla).await;
        // Judged from what is stored, since the source is down.
        down(&answers, "A");
        let again = hour(&evaluator, &sla, 0).await.committed.unwrap();
        assert_eq!((again.inserted, again.revised), (0, 0));
        assert_eq!(said(store).await, expected);
        // The next answer names all teams: what was said of nobody is said no more.
        say(&answers, "A", json!([{ "scope": { "team": "a" }, "value": 5 }]));
        hour(&evaluator, &sla, 0).await;
        assert_eq!(said(store).await[&place("00", "*")], (Verdict::NotApplicable, false));
        comes_to_the_same(store, &sla).await;
        let again = hour(&evaluator, &sla, 0).await.committed.unwrap();
        assert_eq!((again.inserted, again.revised), (0, 0), "said once");
    }
}

/// A source that failed for all teams and answers later leaves nothing behind that is taken for an answer.
#[tokio::test]
async fn a_failure_is_over_when_the_members_come() {
    for fixture in [Fixture::memory().await, Fixture::sqlite().await, Fixture::postgres().await] {
        let (store, answers) = (&fixture.store, Answers::default());
        let clock = Clock::manual(at("2026-03-02T00:00:00Z"));
        let sla = teams("*", "1.0.0");
        let evaluator = evaluator(&clock, store, vec![sla.clone()], collector(&answers), "[]");
        down(&answers, "A");
        hour(&evaluator, &sla, 0).await;
        comes_to_the_same(store, &sla).await;
        assert_eq!(said(store).await[&place("00", "*")], (Verdict::Unknown, false));
        say(&answers, "A", json!([{ "scope": { "team": "a" }, "value": 5 }]));
        hour(&evaluator, &sla, 0).await;
        comes_to_the_same(store, &sla).await;
        let metrics = stored(store, StateKind::Metric).await;
        let whole = metrics.iter().find(|s| s.state.scope.has_wildcard()).unwrap();
        assert_eq!(whole.state.reason, "the members of this scope have come and are judged one by one");
    }
}

/// A team that was known while the hour was open does not stay provisional for ever when the last answer leaves it out,
/// or when there is none.
#[tokio::test]
async fn a_member_that_is_left_out_at_the_end_is_unknown() {
    for fixture in [Fixture::memory().await, Fixture::sqlite().await, Fixture::postgres().await] {
        let (store, answers) = (&fixture.store, Answers::default());
        let clock = Clock::manual(at("2026-03-01T00:30:00Z"));
        let sla = teams("*", "1.0.0");
        let evaluator = evaluator(&clock, store, vec![sla.clone()], collector(&answers), "[]");
        let both = json!([{ "scope": { "team": "a" }, "value": 5 }, { "scope": { "team": "b" }, "value": 5 }]);
        say(&answers, "A", both.clone());
        hour(&evaluator, &sla, 0).await;
        assert_eq!(said(store).await[&place("00", "b")], (Verdict::Fulfilled, true));
        clock.set(at("2026-03-01T01:30:00Z"));
        hour(&evaluator, &sla, 1).await;
        say(&answers, "A", json!([{ "scope": { "team": "a" }, "value": 6 }]));
        hour(&evaluator, &sla, 0).await;
        clock.set(at("2026-03-01T02:30:00Z"));
        down(&answers, "A");
        hour(&evaluator, &sla, 1).await;
        let expected = BTreeMap::from([
            (place("00", "a"), (Verdict::Fulfilled, false)),
            (place("00", "b"), (Verdict::Unknown, false)),
            (place("01", "a"), (Verdict::Unknown, false)),
            (place("01", "b"), (Verdict::Unknown, false)),
        ]);
        assert_eq!(said(store).await, expected);
        let reasons: Vec<String> =
            stored(store, StateKind::Guarantee).await.into_iter().map(|s| s.state.reason).collect();
        assert!(reasons.iter().any(|r| r.contains("no computation for this scope any more")), "{reasons:?}");
        assert_eq!(reasons.iter().filter(|r| r.contains("connection refused")).count(), 2, "{reasons:?}");
        comes_to_the_same(store, &sla).await;
        // The same answers again change nothing, and the team that comes after all is judged.
        let again = hour(&evaluator, &sla, 1).await.committed.unwrap();
        assert_eq!((again.inserted, again.revised), (0, 0));
        say(&answers, "A", both);
        hour(&evaluator, &sla, 0).await;
        assert_eq!(said(store).await[&place("00", "b")], (Verdict::Fulfilled, false));
    }
}

/// A total that is asked about by name is no member that the answer about all members leaves out.
#[tokio::test]
async fn who_is_asked_about_by_name_is_not_missed_among_all() {
    let fixture = Fixture::sqlite().await;
    let store = &fixture.store;
    let clock = Clock::manual(at("2026-03-01T00:30:00Z"));
    let guarantee = |id: &str, team: &str| {
        json!({ "id": id, "scope": { "team": { "default": "*" } }, "of": [{
            "scope": { "team": team }, "objective": "A >= 1", "with": { "A": {} }, "window": { "period": "hourly" },
        }] })
    };
    let extra = json!({ "terms": {
        "metrics": { "A": { "collector": in_process() } },
        "guarantees": [guarantee("EACH", "*"), guarantee("SUM", "total")],
    } });
    let sla = agreement("sla", in_process(), extra);
    let gone = Arc::new(AtomicBool::new(false));
    let collector: InProcess = {
        let gone = gone.clone();
        Arc::new(move |query, _| {
            let team = if query.scope.0["team"] == "*" { "a" } else { "total" };
            let answer = match gone.load(Ordering::SeqCst) {
                true => Err("connection refused".to_owned()),
                false => Ok(json!([{ "scope": { "team": team }, "value": 5 }])),
            };
            async move { answer }.boxed()
        })
    };
    let evaluator = evaluator(&clock, store, vec![sla.clone()], collector, "[]");
    hour(&evaluator, &sla, 0).await;
    clock.set(at("2026-03-01T01:30:00Z"));
    hour(&evaluator, &sla, 0).await;
    let verdicts = stored(store, StateKind::Guarantee).await;
    let said: BTreeMap<(&str, &str), (Option<Verdict>, bool)> = verdicts
        .iter()
        .map(|s| ((s.state.of.as_str(), s.state.scope.0["team"].as_str()), (s.state.verdict, s.state.provisional)))
        .collect();
    let kept = (Some(Verdict::Fulfilled), false);
    assert_eq!(said, BTreeMap::from([(("EACH", "a"), kept), (("SUM", "total"), kept)]));
    comes_to_the_same(store, &sla).await;
    // Nor is it one of them when what is stored stands.
    gone.store(true, Ordering::SeqCst);
    let again = hour(&evaluator, &sla, 0).await;
    assert_eq!(again.kept.len(), 2, "{:#?}", again.kept);
    let committed = again.committed.unwrap();
    assert_eq!((committed.inserted, committed.revised), (0, 0), "{:#?}", again.states);
}

/// `A >= 1` of each team by hour, and of team a, which is asked about by name.
fn each_and_one() -> Arc<Agreement> {
    let guarantee = |id: &str, team: &str| {
        json!({ "id": id, "scope": { "team": { "default": "*" } }, "of": [{
            "scope": { "team": team }, "objective": "A >= 1", "with": { "A": {} }, "window": { "period": "hourly" },
        }] })
    };
    let extra = json!({ "terms": {
        "metrics": { "A": { "collector": in_process() } },
        "guarantees": [guarantee("EACH", "*"), guarantee("ONE", "a")],
    } });
    agreement("sla", in_process(), extra)
}

/// What it answers about all teams and about a by name.
type Two = Arc<Mutex<Result<(Value, Value), String>>>;

fn two(answers: &Two) -> InProcess {
    let answers = answers.clone();
    Arc::new(move |query, _| {
        let answer = answers.lock().unwrap().clone();
        let of_all = query.scope.0["team"] == "*";
        let computations =
            answer.map(|(all, one)| if of_all { all } else { json!([{ "scope": query.scope, "value": one }]) });
        async move { computations.map(|list| json!({ "computations": list })) }.boxed()
    })
}

async fn said_of_each(store: &Arc<dyn Store>) -> BTreeMap<(String, String), (Option<Verdict>, bool)> {
    let verdicts = stored(store, StateKind::Guarantee).await;
    let one = |s: &StoredState| {
        ((s.state.of.clone(), s.state.scope.0["team"].clone()), (s.state.verdict, s.state.provisional))
    };
    verdicts.iter().map(one).collect()
}

/// Of a team that is asked about by name, too, only one of two answers is stored: the other verdict is no other for that,
/// neither when nobody answers any more nor when it is simulated.
#[tokio::test]
async fn who_is_asked_about_twice_is_judged_by_each_answer() {
    for fixture in [Fixture::memory().await, Fixture::sqlite().await, Fixture::postgres().await] {
        let store = &fixture.store;
        let clock = Clock::manual(at("2026-03-02T00:00:00Z"));
        let sla = each_and_one();
        let all = json!([{ "scope": { "team": "a" }, "value": 7 }, { "scope": { "team": "b" }, "value": 5 }]);
        let answers: Two = Arc::new(Mutex::new(Ok((all, json!(0)))));
        let evaluator = evaluator(&clock, store, vec![sla.clone()], two(&answers), "[]");
        hour(&evaluator, &sla, 0).await;
        let key = |of: &str, team: &str| (of.to_owned(), team.to_owned());
        let expected = BTreeMap::from([
            (key("EACH", "a"), (Some(Verdict::Fulfilled), false)),
            (key("EACH", "b"), (Some(Verdict::Fulfilled), false)),
            (key("ONE", "a"), (Some(Verdict::Violated), false)),
        ]);
        assert_eq!(said_of_each(store).await, expected);
        comes_to_the_same(store, &sla).await;
        *answers.lock().unwrap() = Err("connection refused".into());
        let again = hour(&evaluator, &sla, 0).await;
        let committed = again.committed.unwrap();
        assert_eq!((committed.inserted, committed.revised), (0, 0), "{:#?}", again.states);
        assert_eq!(again.kept.len(), 3, "{:#?}", again.kept);
        assert_eq!(said_of_each(store).await, expected);
        // A candidate judges each by its own answer.
        let mut stricter = sla.document.clone();
        for guarantee in 0..2 {
            stricter["terms"]["guarantees"][guarantee]["of"][0]["objective"] = "A >= 6".into();
        }
        let (stricter, _) = probity::agreement::load(&stricter.to_string(), "test");
        let stricter = stricter.unwrap();
        let simulation = simulate(store.as_ref(), &sla, &stricter, None, None, clock.now()).await.unwrap();
        let flips: Vec<(&str, &str)> =
            simulation.flips.iter().map(|f| (f.guarantee.as_str(), f.scope.0["team"].as_str())).collect();
        assert_eq!((flips, simulation.same), (vec![("EACH", "b")], 2), "{simulation:#?}");
    }
}

/// Nor when one of the metrics it was judged from is answered and the other one is not.
#[tokio::test]
async fn who_is_asked_about_twice_is_judged_by_each_answer_when_some_come() {
    let fixture = Fixture::sqlite().await;
    let store = &fixture.store;
    let clock = Clock::manual(at("2026-03-02T00:00:00Z"));
    let mut document = each_and_one().document.clone();
    let one = &mut document["terms"]["guarantees"][1]["of"][0];
    one["objective"] = "A >= 1 and C >= 1".into();
    one["with"] = json!({ "A": {}, "C": {} });
    document["terms"]["metrics"]["C"] = json!({ "collector": in_process() });
    let (sla, problems) = probity::agreement::load(&document.to_string(), "test");
    let sla = Arc::new(sla.unwrap_or_else(|| panic!("{problems:?}")));
    let is_down = Arc::new(AtomicBool::new(false));
    let collector: InProcess = {
        let is_down = is_down.clone();
        Arc::new(move |query, _| {
            let of_all = query.scope.0["team"] == "*";
            let value = match (query.metric.as_str(), of_all) {
                ("C", _) => 5,
                (_, true) => 7,
                (_, false) => 0,
            };
            let answer = match query.metric == "A" && is_down.load(Ordering::SeqCst) {
                true => Err("connection refused".to_owned()),
                false => Ok(json!({ "computations": [{ "scope": { "team": "a" }, "value": value }] })),
            };
            async move { answer }.boxed()
        })
    };
    let evaluator = evaluator(&clock, store, vec![sla.clone()], collector, "[]");
    hour(&evaluator, &sla, 0).await;
    let before = said_of_each(store).await;
    assert_eq!(before[&("ONE".to_owned(), "a".to_owned())], (Some(Verdict::Violated), false));
    is_down.store(true, Ordering::SeqCst);
    let again = hour(&evaluator, &sla, 0).await;
    let committed = again.committed.unwrap();
    assert_eq!((committed.inserted, committed.revised), (0, 0), "{:#?}", again.states);
    assert_eq!(said_of_each(store).await, before);
}

/// That a team is asked about by name does not keep it from being missed among all.
#[tokio::test]
async fn who_is_asked_about_by_name_and_left_out_of_all_is_unknown_among_them() {
    for fixture in [Fixture::memory().await, Fixture::sqlite().await, Fixture::postgres().await] {
        let store = &fixture.store;
        let clock = Clock::manual(at("2026-03-01T00:30:00Z"));
        let sla = each_and_one();
        let both = json!([{ "scope": { "team": "a" }, "value": 5 }, { "scope": { "team": "b" }, "value": 5 }]);
        let answers: Two = Arc::new(Mutex::new(Ok((both.clone(), json!(5)))));
        let evaluator = evaluator(&clock, store, vec![sla.clone()], two(&answers), "[]");
        hour(&evaluator, &sla, 0).await;
        clock.set(at("2026-03-01T01:30:00Z"));
        *answers.lock().unwrap() = Ok((json!([{ "scope": { "team": "b" }, "value": 5 }]), json!(5)));
        hour(&evaluator, &sla, 0).await;
        let key = |of: &str, team: &str| (of.to_owned(), team.to_owned());
        let expected = BTreeMap::from([
            (key("EACH", "a"), (Some(Verdict::Unknown), false)),
            (key("EACH", "b"), (Some(Verdict::Fulfilled), false)),
            (key("ONE", "a"), (Some(Verdict::Fulfilled), false)),
        ]);
        assert_eq!(said_of_each(store).await, expected);
        comes_to_the_same(store, &sla).await;
        *answers.lock().unwrap() = Err("connection refused".into());
        let again = hour(&evaluator, &sla, 0).await;
        let committed = again.committed.unwrap();
        assert_eq!((committed.inserted, committed.revised), (0, 0), "{:#?}", again.states);
        assert_eq!(said_of_each(store).await, expected);
        *answers.lock().unwrap() = Ok((both, json!(5)));
        hour(&evaluator, &sla, 0).await;
        assert_eq!(said_of_each(store).await[&key("EACH", "a")], (Some(Verdict::Fulfilled), false));
        comes_to_the_same(store, &sla).await;
    }
}

/// Guarantees with windows of different lengths, of which one reaches further than anybody has judged the other.
#[tokio::test]
async fn what_nobody_judged_is_no_change() {
    let fixture = Fixture::sqlite().await;
    let (store, answers) = (&fixture.store, Answers::default());
    let clock = Clock::manual(at("2026-03-02T00:00:00Z"));
    let document = |limit: u8, version: &str| {
        let guarantee = |id: &str, window: Value| json!({ "id": id, "of": [{ "objective": format!("A >= {limit}"), "with": { "A": {} }, "window": window }] });
        let extra = json!({ "version": version, "terms": { "metrics": { "A": { "collector": in_process() } }, "guarantees": [
            guarantee("HOUR", json!({ "period": "hourly" })),
            guarantee("MONTH", json!({ "period": "monthly" })),
            guarantee("ROLLING", json!({ "type": "rolling", "length": "P3D", "step": "daily" })),
        ] } });
        agreement("sla", in_process(), extra)
    };
    let (sla, stricter) = (document(1, "1.0.0"), document(9, "1.1.0"));
    let evaluator = evaluator(&clock, store, vec![sla.clone()], collector(&answers), "[]");
    say(&answers, "A", json!([{ "value": 5 }]));
    hour(&evaluator, &sla, 0).await;
    assert_eq!(stored(store, StateKind::Guarantee).await.len(), 3);
    comes_to_the_same(store, &sla).await;
    let now = clock.now();
    let changed = simulate(store.as_ref(), &sla, &stricter, None, None, now).await.unwrap();
    assert_eq!((changed.flips.len(), changed.added.len(), changed.removed.len()), (3, 0, 0), "{changed:#?}");
    assert_eq!(changed.other_versions, 0);
    // Who asks about a range is told what of it is not stored.
    let (from, to) = (Some(at("2026-03-01T00:00:00Z")), Some(at("2026-03-01T05:00:00Z")));
    let within = simulate(store.as_ref(), &sla, &stricter, from, to, now).await.unwrap();
    assert_eq!((within.flips.len(), within.added.len(), within.removed.len()), (3, 0, 0), "{within:#?}");
    assert_eq!(within.not_stored["it is not stored for this window"], 4);
    // What an earlier version judged in windows of its own is nobody's change either.
    let other = document(1, "2.0.0");
    let mut other = Arc::unwrap_or_clone(other);
    other.guarantees.retain(|g| g.id != "MONTH");
    let simulation = simulate(store.as_ref(), &other, &other, None, None, now).await.unwrap();
    assert!(!simulation.changes_something(), "{simulation:#?}");
    // That the other two were judged by that version is said.
    assert_eq!(simulation.other_versions, 2);
    let said = |language: Language| Words(language).lines(&simulation).join("\n");
    let (english, spanish) = (said(Language::English), said(Language::Spanish));
    assert!(
        english.contains("stored verdicts of other versions of the agreement") && english.contains(": 2\n"),
        "{english}"
    );
    assert!(spanish.contains("veredictos guardados de otras versiones del acuerdo"), "{spanish}");
}

/// Two terms whose windows start at one time: days, and rolling ones that reach back; a verdict of each is explained.
#[tokio::test]
async fn of_windows_that_start_together_the_one_with_a_verdict_is_explained() {
    let fixture = Fixture::sqlite().await;
    let (store, answers) = (&fixture.store, Answers::default());
    let clock = Clock::manual(at("2026-03-10T00:00:00Z"));
    let term =
        |objective: &str, window: Value| json!({ "objective": objective, "with": { "A": {} }, "window": window });
    let extra = json!({ "terms": { "metrics": { "A": { "collector": in_process() } }, "guarantees": [{ "id": "G", "of": [
        term("A >= 1", json!({ "period": "daily" })),
        term("A >= 9", json!({ "type": "rolling", "length": "P3D", "step": "daily" })),
    ] }] } });
    let sla = agreement("sla", in_process(), extra);
    assert_eq!(sla.guarantees[0].terms.len(), 2);
    let evaluator = evaluator(&clock, store, vec![sla.clone()], collector(&answers), "[]");
    say(&answers, "A", json!([{ "value": 5 }]));
    let windows = Windows::Overlapping { from: at("2026-03-03T00:00:00Z"), to: at("2026-03-04T00:00:00Z") };
    evaluator.run(request(sla.clone(), windows)).await.unwrap();
    for (from, to, verdict) in
        [("2026-03-03", "2026-03-04", Verdict::Fulfilled), ("2026-03-01", "2026-03-04", Verdict::Violated)]
    {
        let id = VerdictId::parse(&format!("sla/G/-/{from}")).unwrap();
        let explained = explain(store.as_ref(), Some(&sla), &id).await.unwrap();
        assert_eq!((explained.verdict, explained.window.to), (verdict, at(&format!("{to}T00:00:00Z"))));
        assert!(explained.objectives.iter().all(|o| !o.differs), "{explained:#?}");
    }
    let id = VerdictId::parse("sla/G/-/2026-03-02").unwrap();
    let said = explain(store.as_ref(), Some(&sla), &id).await.unwrap_err().to_string();
    assert!(said.contains("2026-03-02 → 2026-03-03 UTC or 2026-03-02 → 2026-03-05 UTC"), "{said}");
}

/// A source that failed at the end of the window and fails again says nothing new of the members it once named.
#[tokio::test]
async fn members_of_whom_nothing_is_known_stay_when_nobody_answers_again() {
    for fixture in [Fixture::memory().await, Fixture::sqlite().await, Fixture::postgres().await] {
        let (store, answers) = (&fixture.store, Answers::default());
        let clock = Clock::manual(at("2026-03-02T00:00:00Z"));
        let (old, new) = (teams("*", "1.0.0"), teams("*", "1.1.0"));
        let evaluator = evaluator(&clock, store, vec![old.clone()], collector(&answers), "[]");
        say(&answers, "A", json!([{ "scope": { "team": "a" }, "value": null }]));
        hour(&evaluator, &old, 0).await;
        down(&answers, "A");
        for version in [&old, &new] {
            let again = hour(&evaluator, version, 0).await;
            let committed = again.committed.unwrap();
            assert_eq!((committed.inserted, committed.revised), (0, 0), "{:#?}", again.states);
            assert_eq!(again.kept.len(), 1, "it is said that it stands");
        }
        assert_eq!(said(store).await, BTreeMap::from([(place("00", "a"), (Verdict::Unknown, false))]));
    }
}

/// In words, too, as an explanation is.
#[tokio::test]
async fn the_api_says_a_simulation_in_the_language_asked_for() {
    let fixture = Fixture::sqlite().await;
    let answers = Answers::default();
    let clock = Clock::manual(at("2026-03-02T00:00:00Z"));
    let sla = teams("*", "1.0.0");
    let evaluator = evaluator(&clock, &fixture.store, vec![sla.clone()], collector(&answers), "[]");
    say(&answers, "A", json!([{ "scope": { "team": "a" }, "value": 5 }]));
    hour(&evaluator, &sla, 0).await;
    let mut stricter = sla.document.clone();
    stricter["terms"]["guarantees"][0]["of"][0]["objective"] = "A >= 9".into();
    let agreements = LoadedAgreements { agreements: vec![sla], ..Default::default() };
    let setup =
        Setup { store: Some(fixture.store.clone()), agreements, evaluator: Some(evaluator), ..Setup::default() };
    let server = Server::start(setup).await;
    let ask = async |query: &str, accepted: &str| {
        let call = server.client.post(server.url(&format!("/probity/v1/simulate{query}")));
        let call = call.header("accept-language", accepted).body(stricter.to_string());
        let answer = call.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        serde_json::from_str::<Value>(&answer.text().await.unwrap()).unwrap()
    };
    for (query, accepted, language, first) in [
        ("", "de", "en", "1 verdict would be others:"),
        ("", "es-MX", "es", "1 veredicto sería otro:"),
        ("?lang=en", "es", "en", "1 verdict would be others:"),
    ] {
        let answer = ask(query, accepted).await;
        assert_eq!((&answer["language"], &answer["text"][0]), (&json!(language), &json!(first)));
        assert_eq!(answer["flips"][0]["after"], "violated");
    }
}
