//! Knowing less, and knowing it in another order, over whole agreements: verdicts, budgets and burn rates.

use std::collections::BTreeMap;
use std::sync::Arc;

use probity::clock::Clock;
use probity::model::RunId;
use probity::model::state::{State, Verdict};
use probity::store::{PageRequest, StateQuery, Store};
use serde_json::Value;

use super::generated::{Case, afterwards, cases, evaluator, judge, numbered};
use super::{full, seed};
use crate::store::Fixture;

type Key = (String, String, String, i64, i64);

/// Every state by its identity, without what names the run and its instants.
async fn stored(store: &dyn Store) -> BTreeMap<Key, (State, u32)> {
    let mut found = BTreeMap::new();
    let mut page = PageRequest { limit: 1000, after: None };
    loop {
        let items = store.states(&StateQuery::default(), &page).await.unwrap();
        for stored in items.items {
            let mut s = stored.state;
            s.run = RunId(uuid::Uuid::nil());
            s.evidence.iter_mut().for_each(|e| e.collected_at = jiff::Timestamp::UNIX_EPOCH);
            let key = (
                format!("{} {}", s.kind.as_str(), s.agreement),
                s.of.clone(),
                s.scope.canonical(),
                s.window.from.as_second(),
                s.window.to.as_second(),
            );
            found.insert(key, (s, stored.revision));
        }
        match items.next {
            Some(next) => page.after = Some(next),
            None => return found,
        }
    }
}

/// Evaluates each case in a store of its own, window by window in this order.
async fn judged(cases: &Arc<Vec<Case>>, order: impl Fn(usize) -> Vec<usize>) -> BTreeMap<Key, (State, u32)> {
    let mut found = BTreeMap::new();
    let clock = Clock::manual(cases.iter().map(afterwards).max().unwrap());
    for (i, case) in cases.iter().enumerate() {
        let fixture = Fixture::memory().await;
        let evaluator = evaluator(cases, &clock, &fixture.store, i..i + 1);
        for window in order(case.windows) {
            let from = window as i64 * case.every;
            judge(&evaluator, &format!("c{i}"), from, from + case.every).await;
        }
        found.extend(stored(&*fixture.store).await);
    }
    found
}

fn number() -> usize {
    if full() { 500 } else { 12 }
}

/// Windows that are judged as they close, backwards, or the odd ones first end in the same states, byte by byte.
#[tokio::test]
async fn the_order_of_arrival_changes_nothing_but_the_revisions() {
    let cases = numbered(cases(number(), seed() + 1));
    let forwards = judged(&cases, |windows| (0..windows).collect()).await;
    let backwards = judged(&cases, |windows| (0..windows).rev().collect()).await;
    let odd_first = judged(&cases, |windows| {
        (0..windows).filter(|w| w % 2 == 1).chain((0..windows).filter(|w| w % 2 == 0)).collect()
    })
    .await;
    for other in [&backwards, &odd_first] {
        assert!(forwards.keys().eq(other.keys()));
        for (key, (state, _)) in &forwards {
            assert_eq!(serde_json::to_string(state).unwrap(), serde_json::to_string(&other[key].0).unwrap(), "{key:?}");
        }
    }
    let revisions =
        |found: &BTreeMap<Key, (State, u32)>| found.values().map(|(_, revision)| *revision).collect::<Vec<_>>();
    assert_ne!(revisions(&forwards), revisions(&backwards), "the log of revisions tells the order");
}

/// Evidence that is taken away moves a verdict, a budget and an alert to unknown, or not at all.
#[tokio::test]
async fn samples_that_go_missing_only_make_unknown() {
    let complete = cases(number(), seed() + 2);
    let less: Vec<Case> = complete
        .iter()
        .enumerate()
        .map(|(i, case)| {
            let mut case = case.clone();
            for (w, teams) in case.answers.iter_mut().enumerate() {
                for (team, good, all) in teams {
                    match (i + w * 3 + *team) % 4 {
                        0 => *good = Value::Null,
                        1 => *all = Value::Null,
                        _ => {}
                    }
                }
            }
            case
        })
        .collect();
    let all_at_once = |windows: usize| (0..windows).collect();
    let before = judged(&numbered(complete), all_at_once).await;
    let after = judged(&numbered(less), all_at_once).await;
    let mut moved = 0;
    for (key, (state, _)) in &before {
        let Some(now) = &after.get(key) else { panic!("{key:?} is gone") };
        let (was, is) = (state.verdict, now.0.verdict);
        // What is waived is a verdict that counts as it is: what it would be without moves likewise.
        let (was, is) = if was == Some(Verdict::Waived) { (state.unwaived(), now.0.unwaived()) } else { (was, is) };
        assert!(
            is == was
                || is == Some(Verdict::Unknown)
                || (is == Some(Verdict::Waived) && now.0.unwaived() == Some(Verdict::Unknown)),
            "{key:?}: {was:?} became {is:?}: {}",
            now.0.reason
        );
        moved += usize::from(is != was);
    }
    assert!(moved > number(), "only {moved} moved");
}
