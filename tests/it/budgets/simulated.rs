//! What `simulate` says of budgets is what evaluating under the changed agreement makes of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use probity::agreement::budgets::compare::BudgetChange;
use probity::clock::Clock;
use probity::evaluate::simulate::simulate;
use probity::model::agreement::Agreement;
use probity::model::state::{State, StateKind};
use probity::store::{StateQuery, Store};
use serde_json::{Value, json};

use super::path::{Rates, collector, hours, with_budget};
use crate::evaluation::{at, evaluator, request};
use crate::store::Fixture;

/// The agreement with some parts replaced, by JSON pointer.
fn changed(changes: &[(&str, Value)]) -> Arc<Agreement> {
    let mut document = with_budget().document.clone();
    for (pointer, value) in changes {
        *document.pointer_mut(pointer).unwrap() = value.clone();
    }
    let (agreement, problems) = probity::agreement::load_value(document, "changed");
    Arc::new(agreement.unwrap_or_else(|| panic!("{problems:?}")))
}

/// Its budgets, with the promise of another.
fn with_objective_of(promised: &Agreement, budgets: &Agreement) -> Arc<Agreement> {
    let mut document = budgets.document.clone();
    *document.pointer_mut(OBJECTIVE).unwrap() = promised.document.pointer(OBJECTIVE).unwrap().clone();
    let (agreement, problems) = probity::agreement::load_value(document, "mixed");
    Arc::new(agreement.unwrap_or_else(|| panic!("{problems:?}")))
}

const OBJECTIVE: &str = "/terms/guarantees/0/of/0/objective";

type Place = (String, Timestamp, Timestamp);

async fn budgets(store: &dyn Store) -> BTreeMap<Place, State> {
    let found = store.all_states(&StateQuery::default()).await.unwrap().into_iter().map(|stored| stored.state);
    let found = found.filter(|s| matches!(s.kind, StateKind::Budget | StateKind::BurnRate));
    found.map(|s| ((s.of.clone(), s.window.from, s.window.to), s)).collect()
}

/// A store in which these hours were judged under these agreements, one after the other.
async fn judged(rates: &Rates, parts: &[(&Arc<Agreement>, i64, i64)]) -> Fixture {
    let fixture = Fixture::memory().await;
    let clock = Clock::manual(at("2026-03-01T12:00:00Z"));
    for (agreement, from, to) in parts {
        let evaluator = evaluator(&clock, &fixture.store, vec![(*agreement).clone()], collector(rates), "[]");
        evaluator.run(request((*agreement).clone(), hours(*from, *to))).await.unwrap();
    }
    fixture
}

#[tokio::test]
async fn what_is_said_of_budgets_is_what_evaluating_makes_of_them() {
    let mut values: Vec<Value> = [99, 92, 10, 99, 91, 94, 99, 60, 93, 99, 92, 40].map(|n| json!(n)).into();
    values[5] = Value::Null;
    let rates = Rates::new(Mutex::new(values));
    let current = with_budget();
    let now = at("2026-03-01T12:00:00Z");
    let hour = |h: i64| at("2026-03-01T00:00:00Z") + jiff::SignedDuration::from_hours(h);
    let budget = "/context/x-probity/budgets/0";
    let own = |key: &str| format!("{budget}/{key}");
    let candidates = [
        changed(&[]),
        changed(&[(OBJECTIVE, json!("RATE >= 93"))]),
        changed(&[(OBJECTIVE, json!("RATE >= 50"))]),
        changed(&[(&own("target"), json!("50%"))]),
        changed(&[(&own("alerts/0/burnRate"), json!(1))]),
        changed(&[(&own("alerts/0/id"), json!("other"))]),
        changed(&[("/context/x-probity/budgets", json!([]))]),
        changed(&[(&own("window"), json!({"period": "daily"})), (OBJECTIVE, json!("RATE >= 95"))]),
    ];
    let before = judged(&rates, &[(&current, 0, 12)]).await;
    for (i, candidate) in candidates.iter().enumerate() {
        for first in [0, 6] {
            let (from, to) = if first == 0 { (None, None) } else { (Some(hour(first)), Some(hour(12))) };
            let simulated = simulate(&*before.store, &current, candidate, from, to, now).await.unwrap();
            // The hours before the range stay as they were judged.
            let after = match first {
                0 => judged(&rates, &[(candidate, 0, 12)]).await,
                _ => {
                    judged(&rates, &[(&with_objective_of(&current, candidate), 0, first), (candidate, first, 12)]).await
                }
            };
            let (old, new) = (budgets(&*before.store).await, budgets(&*after.store).await);
            let mut expected: Vec<Place> = Vec::new();
            for place in old.keys().chain(new.keys().filter(|place| !old.contains_key(*place))) {
                let same = match (old.get(place), new.get(place)) {
                    (Some(a), Some(b)) if a.kind == StateKind::BurnRate => a.verdict == b.verdict,
                    (Some(a), Some(b)) => a.verdict == b.verdict && a.score == b.score && a.values == b.values,
                    _ => false,
                };
                if !same {
                    expected.push(place.clone());
                }
            }
            expected.sort();
            let place = |c: &BudgetChange| (c.of.clone(), c.window.from, c.window.to);
            let mut found: Vec<Place> = simulated.budgets.iter().map(place).collect();
            found.sort();
            // Of a range, what its verdicts count in is looked at, and what is said now; not what a changed budget says of
            // earlier times.
            if first > 0 {
                expected.retain(|place| place.2 > hour(first) || found.contains(place));
            }
            assert_eq!(found, expected, "candidate {i} from hour {first}");
            for change in &simulated.budgets {
                let place = (change.of.clone(), change.window.from, change.window.to);
                assert_eq!(change.before, old.get(&place).and_then(|s| s.verdict), "candidate {i}: {change:?}");
                assert_eq!(change.after, new.get(&place).and_then(|s| s.verdict), "candidate {i}: {change:?}");
                assert_eq!(change.value_after, new.get(&place).and_then(|s| s.value), "candidate {i}: {change:?}");
            }
            assert_eq!(simulated.changes_something(), i > 0, "candidate {i}");
        }
    }
}
