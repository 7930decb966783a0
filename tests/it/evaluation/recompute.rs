//! Judging again: the same inputs give the same bytes, and the order in which evidence came is seen in revisions only.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use jiff::Timestamp;
use probity::clock::Clock;
use probity::evaluate::{Evaluator, InProcess, Windows};
use probity::model::RunId;
use probity::model::state::{State, StateKind, StoredState};
use probity::store::{PageRequest, StateQuery, Store};
use serde_json::{Value, json};

use super::{agreement, at, evaluator, in_process, request};
use crate::store::Fixture;

/// What a collector answers with now.
type Answer = Arc<Mutex<Vec<Value>>>;

fn collector(answer: &Answer) -> InProcess {
    let answer = answer.clone();
    Arc::new(move |query, _| {
        let period = json!({ "from": query.window.from.to_string(), "to": query.window.to.to_string() });
        let mut computations = answer.lock().unwrap().clone();
        computations.iter_mut().for_each(|computation| computation["period"] = period.clone());
        async move { Ok(json!({ "computations": computations })) }.boxed()
    })
}

async fn judge(evaluator: &Evaluator, id: &str) {
    let request = request(
        evaluator.agreement(id).unwrap(),
        Windows::Overlapping { from: at("2026-03-01T00:00:00Z"), to: at("2026-03-01T03:00:00Z") },
    );
    evaluator.run(request).await.unwrap();
}

/// Every state as stored, in canonical JSON, without what names the run and its instants.
async fn bytes(store: &dyn Store) -> BTreeMap<String, u32> {
    let page = PageRequest { limit: 1000, after: None };
    let found = store.states(&StateQuery::default(), &page).await.unwrap().items;
    let plain = |stored: StoredState| {
        let mut state: State = stored.state;
        state.run = RunId(uuid::Uuid::nil());
        state.evidence.iter_mut().for_each(|piece| piece.collected_at = Timestamp::UNIX_EPOCH);
        (serde_json::to_string(&state).unwrap(), stored.revision)
    };
    found.into_iter().map(plain).collect()
}

fn computation(team: &str, value: Value) -> Value {
    json!({ "scope": { "team": team }, "value": value, "evidences": [{ "of": team, "n": [1, 2.5] }], "coverage": { "seen": 3, "expected": 4 } })
}

#[tokio::test]
async fn a_recompute_of_a_period_gives_the_same_bytes() {
    let answer: Answer = Arc::new(Mutex::new(vec![
        computation("a", json!(95)),
        computation("b", json!(80)),
        computation("c", Value::Null),
        json!({ "scope": { "team": "d" }, "score": { "numerator": 199, "denominator": 200 }, "evidences": [] }),
    ]));
    let mut seen = Vec::new();
    // Another store, another day, another order of keys.
    for (fixture, now) in [
        (Fixture::memory().await, "2026-03-02T00:00:00Z"),
        (Fixture::sqlite().await, "2026-03-09T00:00:00Z"),
        (Fixture::postgres().await, "2027-03-09T12:34:56Z"),
    ] {
        let clock = Clock::manual(at(now));
        let evaluator = evaluator(
            &clock,
            &fixture.store,
            vec![agreement("sla", in_process(), Value::Null)],
            collector(&answer),
            "[]",
        );
        judge(&evaluator, "sla").await;
        let first = bytes(&*fixture.store).await;
        judge(&evaluator, "sla").await;
        assert_eq!(bytes(&*fixture.store).await, first, "again in the same store");
        assert!(first.keys().all(|state| state.contains("\"inputs\":\"") && state.contains("\"engine\":\"0.")));
        seen.push(first);
    }
    assert_eq!(seen[0].len(), 24, "3 windows of 4 teams, each with its metric");
    assert!(seen[0].keys().any(|state| state.contains(r#""score":{"numerator":199,"denominator":200}"#)));
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], seen[2]);
}

/// Every order in which three pieces of evidence may come, one after the other.
#[tokio::test]
async fn the_order_of_arrival_changes_nothing_but_the_revisions() {
    let pieces = [computation("a", json!(95)), computation("b", json!(80)), computation("a", json!(12))];
    let mut ends = Vec::new();
    let mut logs = Vec::new();
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let fixture = Fixture::memory().await;
        let clock = Clock::manual(at("2026-03-02T00:00:00Z"));
        let answer = Answer::default();
        let agreements = vec![agreement("sla", in_process(), Value::Null)];
        let evaluator = evaluator(&clock, &fixture.store, agreements, collector(&answer), "[]");
        for piece in order {
            answer.lock().unwrap().push(pieces[piece].clone());
            judge(&evaluator, "sla").await;
        }
        let (scope, hour) = (serde_json::from_value(json!({ "team": "a" })).unwrap(), at("2026-03-01T01:00:00Z"));
        let of_a =
            fixture.store.revisions("sla", StateKind::Guarantee, "ENOUGH", &scope, at("2026-03-01T00:00:00Z"), hour);
        logs.push(of_a.await.unwrap().iter().map(|stored| stored.state.value).collect::<Vec<_>>());
        ends.push(bytes(&*fixture.store).await.into_keys().collect::<Vec<_>>());
    }
    assert!(ends.iter().all(|end| *end == ends[0]), "{ends:#?}");
    assert!(
        logs.contains(&vec![Some(95.0), None]) && logs.contains(&vec![Some(12.0), None]),
        "revisions tell: {logs:?}"
    );
}
