//! What was not seen is never a pass: empty populations, failed sources, values that are none; in any order.

use proptest::prelude::*;

use super::*;

fn answer() -> impl Strategy<Value = Value> {
    let value = prop_oneof![
        3 => (0i32..4).prop_map(Value::from),
        1 => Just(Value::Null),
        1 => Just(json!("NaN")),
        1 => Just(json!("")),
    ];
    let coverage = prop_oneof![Just((0u64, 0u64)), Just((0, 3)), Just((2, 3)), Just((3, 3))];
    let score = prop::option::of((0i64..4, -1i64..4));
    (0usize..3, value, prop::option::of(coverage), score).prop_map(|(member, value, coverage, score)| {
        let name = ["x", "y", "z"][member];
        let mut one = json!({"scope": {"m": name}, "value": value, "evidences": [member]});
        if let Some((seen, expected)) = coverage {
            one["coverage"] = json!({"seen": seen, "expected": expected});
        }
        if let Some((numerator, denominator)) = score {
            one["value"] = Value::Null;
            one["score"] = json!({"numerator": numerator, "denominator": denominator});
        }
        one
    })
}

fn states(objective: &str, a: &Value, b: &Value) -> Vec<State> {
    let guarantee = json!({"scope": {"m": "*"}, "of": [{
        "scope": {"m": "*"}, "objective": objective, "with": {"A": {}, "B": {}}, "window": {"period": "daily"},
    }]});
    let (agreement, problems) = load_value(around(&guarantee, "UTC"), "");
    let agreement = agreement.unwrap_or_else(|| panic!("{problems:?}"));
    let plan = plan(&agreement, None, january_12(), january_13()).unwrap();
    let answers = BTreeMap::from([("A".to_owned(), a.clone()), ("B".to_owned(), b.clone())]);
    let (mut states, metrics) = judge(&agreement, &plan, &answers, february());
    states.extend(metrics);
    for state in &mut states {
        state.run = RunId(uuid::Uuid::nil());
    }
    states.sort_by(|a, b| (a.kind, &a.of, &a.scope).cmp(&(b.kind, &b.of, &b.scope)));
    states
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Objectives that hold for any value that can come: whatever is not seen must still not pass.
    #[test]
    fn nothing_passes_that_was_not_seen(
        objective in prop::sample::select(vec!["A >= 0", "A >= 0 and B >= 0", "A + B >= 0", "min(A, B) >= 0", "not (A < 0)"]),
        a in prop::collection::vec(answer(), 0..5),
        b in prop::collection::vec(answer(), 0..5),
    ) {
        for state in states(objective, &json!(a), &json!(b)).iter().filter(|s| s.verdict == Some(Verdict::Fulfilled)) {
            let of_scope = |list: &[Value]| list.iter().filter(|c| c["scope"] == json!(state.scope)).cloned().collect::<Vec<_>>();
            for (metric, list) in [("A", of_scope(&a)), ("B", of_scope(&b))] {
                if !objective.contains(metric) {
                    continue;
                }
                prop_assert_eq!(list.len(), 1, "{} was seen {} times: {}", metric, list.len(), &state.reason);
                prop_assert!(list[0]["coverage"]["seen"] != 0, "nobody was seen: {}", &state.reason);
                let valued = list[0]["value"].is_number() || list[0]["score"]["denominator"].as_i64() > Some(0);
                prop_assert!(valued, "{} had no value: {}", metric, &state.reason);
            }
        }
    }

    #[test]
    fn every_unknown_says_why(a in prop::collection::vec(answer(), 0..5), fails in any::<bool>()) {
        let a = if fails { json!({"fails": "the collector gave no answer within 10 ms"}) } else { json!(a) };
        for state in states("A >= 2 and B <= 2", &a, &json!({"fails": "down"})) {
            if state.verdict == Some(Verdict::Unknown) {
                prop_assert!(state.reason.contains("cannot be decided: "), "{}", &state.reason);
            }
        }
    }

    /// Permuting what one answer holds changes nothing, several computations for one scope included.
    #[test]
    fn the_order_of_an_answer_does_not_matter(
        (a, shuffled) in prop::collection::vec(answer(), 0..6).prop_flat_map(|a| (Just(a.clone()), Just(a).prop_shuffle())),
        b in prop::collection::vec(answer(), 0..4),
    ) {
        let (one, other) = (states("A >= 2 or B <= 2", &json!(a), &json!(b)), states("A >= 2 or B <= 2", &json!(shuffled), &json!(b)));
        prop_assert_eq!(one, other);
    }
}

/// 199 of 200 is not all of them, however it comes (the Registry's peers round it to 100).
#[test]
fn nearly_all_is_not_all() {
    let counted = json!({"scope": {"m": "x"}, "score": {"numerator": 19900, "denominator": 200}});
    for (objective, a, b, score) in [
        ("A / B * 100 >= 100", json!(199), json!(200), "19900/200"),
        ("A / B >= 1", json!(995), json!(1000), "995/1000"),
        ("A >= 100", counted, json!(0), "19900/200"),
    ] {
        let state = states(objective, &in_x(a), &in_x(b)).remove(0);
        assert_eq!(state.verdict, Some(Verdict::Violated), "{}", state.reason);
        assert_eq!(state.score.unwrap().text(), score);
    }
    for score in
        [json!({"numerator": 0, "denominator": 0}), json!({"numerator": 1, "denominator": -1}), json!({}), json!(1)]
    {
        let state = states("A >= 0", &json!([{"scope": {"m": "x"}, "score": score}]), &json!([])).remove(0);
        assert_eq!(state.verdict, Some(Verdict::Unknown), "{}", state.reason);
    }
    let contradiction = json!([{"scope": {"m": "x"}, "value": 100, "score": {"numerator": 19900, "denominator": 200}}]);
    let state = states("A >= 100", &contradiction, &json!([])).remove(0);
    assert_eq!(state.verdict, Some(Verdict::Unknown));
    assert!(state.reason.contains("its value 100 is not its score 19900/200"), "{}", state.reason);
}

fn in_x(value: Value) -> Value {
    if value.is_object() { json!([value]) } else { json!([{"scope": {"m": "x"}, "value": value}]) }
}
