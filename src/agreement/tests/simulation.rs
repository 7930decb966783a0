//! Simulation against brute force: a candidate judged by the raw samples, and by what is stored of them.

use jiff::ToSpan;
use proptest::prelude::*;

use super::*;
use crate::agreement::simulate::{answers, compare};
use crate::model::state::{StateKind, StoredState};

fn agreement(objective: &str, period: &str, scope: &str) -> Agreement {
    let guarantee = json!({"scope": {"m": scope}, "of": [{
        "scope": {"m": scope}, "objective": objective, "with": {"A": {}, "B": {}}, "window": {"period": period},
    }]});
    let (agreement, problems) = load_value(around(&guarantee, "UTC"), "");
    agreement.unwrap_or_else(|| panic!("{problems:?}"))
}

fn stored(states: &[State]) -> Vec<StoredState> {
    let recorded_at = february();
    states.iter().map(|state| StoredState { state: state.clone(), revision: 1, recorded_at }).collect()
}

/// Answers for some windows and members, among them texts, truth values and failures.
fn raw() -> impl Strategy<Value = BTreeMap<String, Value>> {
    let value = prop_oneof![
        5 => (0i32..5).prop_map(Value::from),
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        1 => prop::sample::select(vec!["up", "it's", "", "2", "NaN"]).prop_map(Value::from),
    ];
    let computation =
        (0usize..4, 0i64..2, value, prop::option::of(0u64..3)).prop_map(|(member, day, value, expected)| {
            let from = january_12_midnight().checked_add((24 * day).hours()).unwrap();
            let to = from.checked_add(24.hours()).unwrap();
            let period = json!({"from": from.to_string(), "to": to.to_string()});
            let mut c = json!({"period": period, "value": value, "evidences": [1]});
            // One in four names nobody.
            if let Some(name) = ["x", "y", "z"].get(member) {
                c["scope"] = json!({"m": name});
            }
            if let Some(expected) = expected {
                c["coverage"] = json!({"seen": expected, "expected": expected});
            }
            c
        });
    let metric = prop_oneof![
        8 => prop::collection::vec(computation, 0..6).prop_map(|c| json!({"computations": c})),
        1 => Just(json!({"fails": "the collector is down"})),
    ];
    (metric.clone(), metric).prop_map(|(a, b)| BTreeMap::from([("A".to_owned(), a), ("B".to_owned(), b)]))
}

fn january_12_midnight() -> Timestamp {
    "2026-01-12T00:00:00Z".parse().unwrap()
}

fn january_14() -> Timestamp {
    "2026-01-14T00:00:00Z".parse().unwrap()
}

type Verdicts = BTreeMap<(Scope, Timestamp), Verdict>;

fn verdicts(states: &[State]) -> Verdicts {
    let verdict = |s: &State| Some(((s.scope.clone(), s.window.from), s.verdict?));
    states.iter().filter_map(verdict).collect()
}

const OBJECTIVES: &[&str] = &[
    "A >= 2",
    "A >= 3",
    "A > B",
    "A >= 2 and B >= 1",
    "A >= 2 or B >= 3",
    "exists(A) and B != 1",
    "A == 'up' or B > 0",
    "A == true",
    "coalesce(A, B) >= 2",
];

proptest! {
    #[test]
    fn what_is_stored_comes_to_what_the_samples_come_to(
        raw in raw(),
        old in prop::sample::select(OBJECTIVES.to_vec()),
        new in prop::sample::select(OBJECTIVES.to_vec()),
    ) {
        let (current, candidate) = (agreement(old, "daily", "*"), agreement(new, "daily", "*"));
        let (from, to) = (january_12_midnight(), january_14());
        let at = |agreement: &Agreement| plan(agreement, None, from, to).unwrap();
        let (guarantees, metrics) = judge(&current, &at(&current), &raw, february());
        let (metrics, guarantees) = (stored(&metrics), stored(&guarantees));
        let simulated = |candidate: &Agreement| {
            let plan = at(candidate);
            let answers = answers(&current, candidate, &plan, &metrics);
            let judged: Vec<State> = plan.judgements.iter().flat_map(|j| {
                let collected = plan.collected(j, &answers);
                guarantee_states(candidate, &candidate.guarantees[j.guarantee], j.term, &j.window, &collected, RunId::fresh(), february())
            }).collect();
            let compared = compare(&current, candidate, (from, to), &guarantees, &judged, &answers);
            (judged, compared)
        };
        // The current agreement again: what is stored.
        let (_, same) = simulated(&current);
        prop_assert!(!same.changes_something(), "{:?}", same);
        prop_assert_eq!(same.same, guarantees.len());
        // The candidate: what the raw samples come to, and the flips are the differences.
        let (brute, _) = judge(&candidate, &at(&candidate), &raw, february());
        let (judged, simulation) = simulated(&candidate);
        prop_assert_eq!(verdicts(&judged), verdicts(&brute));
        let before: Verdicts = guarantees.iter().filter_map(|s| Some(((s.state.scope.clone(), s.state.window.from), s.state.verdict?))).collect();
        let expected: Vec<(Scope, Timestamp)> =
            verdicts(&brute).into_iter().filter(|(k, v)| before.get(k).is_some_and(|b| b != v)).map(|(k, _)| k).collect();
        let mut found: Vec<(Scope, Timestamp)> = simulation.flips.iter().map(|f| (f.scope.clone(), f.window.from)).collect();
        found.sort();
        prop_assert_eq!(found, expected);
        if let (Some(first), Some(smallest)) = (&simulation.first, &simulation.smallest) {
            prop_assert!(simulation.flips.iter().all(|f| f.window.from >= first.window.from));
            let size = |n: &crate::agreement::simulate::Flip| if n.decided_by.is_empty() { n.values.len() } else { n.decided_by.len() };
            prop_assert!(simulation.flips.iter().all(|f| size(f) >= size(smallest)));
        }
    }
}

/// y was answered about for the day before only: it is there, and unknown, in what is judged and in what is simulated.
#[test]
fn a_member_of_another_time_is_simulated_as_it_was_judged() {
    let current = agreement("A >= 2", "daily", "*");
    let (from, to) = (january_12_midnight().checked_add(24.hours()).unwrap(), january_14());
    let before = json!({"from": january_12_midnight().to_string(), "to": from.to_string()});
    let answer = json!([{"scope": {"m": "x"}, "value": 5}, {"scope": {"m": "y"}, "period": before, "value": 5}]);
    let raw = BTreeMap::from([("A".to_owned(), answer.clone()), ("B".to_owned(), answer)]);
    let at = plan(&current, None, from, to).unwrap();
    let (guarantees, metrics) = judge(&current, &at, &raw, february());
    let said: Vec<_> = guarantees.iter().map(|s| (s.scope.0["m"].as_str(), s.verdict.unwrap())).collect();
    assert_eq!(said, [("x", Verdict::Fulfilled), ("y", Verdict::Unknown)]);
    assert!(guarantees[1].reason.contains("for the period 2026-01-12T00:00:00+00:00 to 2026-01-13T00:00:00+00:00"));
    // What was said of the day before is no state of it, for nobody asked.
    let kept = |m: &str, day: Timestamp| {
        let found = metrics.iter().find(|s| s.of == "A" && s.scope.0["m"] == m && s.window.from == day);
        found.map(|state| state.value)
    };
    assert_eq!(kept("y", january_12_midnight()), None);
    assert_eq!(kept("y", from), Some(None));
    let (guarantees, metrics) = (stored(&guarantees), stored(&metrics));
    let judged_as = |objective: &str| {
        let candidate = agreement(objective, "daily", "*");
        let answers = answers(&current, &candidate, &at, &metrics);
        let judged: Vec<State> = at
            .judgements
            .iter()
            .flat_map(|j| {
                let collected = at.collected(j, &answers);
                guarantee_states(
                    &candidate,
                    &candidate.guarantees[0],
                    j.term,
                    &j.window,
                    &collected,
                    RunId::fresh(),
                    february(),
                )
            })
            .collect();
        let compared = compare(&current, &candidate, (from, to), &guarantees, &judged, &answers);
        (judged, compared)
    };
    let (judged, same) = judged_as("A >= 2");
    assert!(!same.changes_something() && same.same == 2, "{same:?}");
    assert_eq!(judged[1].reason, guarantees[1].state.reason);
    let (judged, stricter) = judged_as("A >= 6");
    assert_eq!(stricter.flips.len(), 1, "only x is known: {stricter:?}");
    assert_eq!(judged[1].verdict, Some(Verdict::Unknown));
}

#[test]
fn what_was_never_asked_is_not_made_up() {
    let current = agreement("A >= 2", "daily", "*");
    let raw = BTreeMap::from([
        ("A".to_owned(), json!({"computations": [{"scope": {"m": "x"}, "value": 5}]})),
        ("B".to_owned(), json!({"computations": [{"scope": {"m": "x"}, "value": 5}]})),
    ]);
    let (from, to) = (january_12(), january_13());
    let (_, metrics) = judge(&current, &plan(&current, None, from, to).unwrap(), &raw, february());
    let metrics = stored(&metrics);
    assert!(metrics.iter().all(|m| m.state.kind == StateKind::Metric));
    let why = |candidate: &Agreement| -> Vec<String> {
        let plan = plan(candidate, None, from, to).unwrap();
        let answers = answers(&current, candidate, &plan, &metrics);
        let mut reasons: Vec<String> = answers.into_iter().filter_map(Result::err).collect();
        reasons.dedup();
        reasons
    };
    assert_eq!(why(&current), Vec::<String>::new());
    assert_eq!(why(&agreement("A >= 2", "hourly", "*")), ["it is not stored for this window"]);
    assert_eq!(why(&agreement("A >= 2", "daily", "w")), ["it is not stored for this scope"]);
    assert_eq!(why(&agreement("A >= 2", "daily", "x")), Vec::<String>::new());
    let mut other = current.clone();
    other.metrics.get_mut("A").unwrap().measure.insert("computing".into(), "actual".into());
    assert!(why(&other)[0].contains("its collector or its measure is another"), "{:?}", why(&other));
    let mut other = current.clone();
    other.guarantees[0].terms[0].with[0].1.insert("limit".into(), 5.into());
    assert!(why(&other)[0].contains("never asks for it with these parameters"), "{:?}", why(&other));
}
