//! Losing evidence never improves a verdict; collectors' answers never panic.

use proptest::prelude::*;

use super::*;

/// Objectives that do not look at absence itself.
const OBJECTIVES: &[&str] = &[
    "A >= 2",
    "A - B > 0",
    "A / B >= 1",
    "A >= 2 and B <= 2",
    "A >= 2 or B <= 2",
    "not (A >= 2) or B == 1",
    "min(A, B) >= 1",
    "if(A > 1, B > 1, B < 1)",
    "avg(A, B) != 2",
];

fn rank(verdict: Option<Verdict>) -> u8 {
    match verdict {
        Some(Verdict::Fulfilled) => 2,
        Some(Verdict::Violated) => 1,
        _ => 0,
    }
}

fn computation() -> impl Strategy<Value = Value> {
    let value = prop_oneof![
        4 => (0i32..4).prop_map(Value::from),
        1 => Just(Value::Null),
        1 => Just(json!("NaN")),
    ];
    let coverage = prop::option::of((0u64..3, 0u64..3));
    (0usize..3, value, coverage).prop_map(|(member, value, coverage)| {
        let name = ["x", "y", "z"][member];
        let mut c = json!({"scope": {"m": name}, "value": value, "evidences": [1]});
        if let Some((seen, more)) = coverage {
            c["coverage"] = json!({"seen": seen, "expected": seen + more});
        }
        c
    })
}

proptest! {
    #[test]
    fn losing_samples_never_improves_a_verdict(
        objective in prop::sample::select(OBJECTIVES.to_vec()),
        a in prop::collection::vec(computation(), 0..4),
        b in prop::collection::vec(computation(), 0..4),
        lose in any::<prop::sample::Index>(),
        how in 0..4,
    ) {
        let guarantee = json!({"scope": {"m": "*"}, "of": [{
            "scope": {"m": "*"}, "objective": objective, "with": {"A": {}, "B": {}}, "window": {"period": "daily"},
        }]});
        let (agreement, problems) = load_value(around(&guarantee, "UTC"), "");
        let agreement = agreement.unwrap_or_else(|| panic!("{problems:?}"));
        let plan = plan(&agreement, None, january_12(), january_13()).unwrap();
        let judged = |a: Value, b: Value| {
            let answers = BTreeMap::from([("A".to_owned(), a), ("B".to_owned(), b)]);
            judge(&agreement, &plan, &answers, february()).0
        };
        let whole = judged(json!(a), json!(b));
        // Of a scope with several computations none counts, so losing one may decide it: not what is meant here.
        let several = |list: &[Value], scope: &Scope| list.iter().filter(|c| c["scope"] == json!(scope)).count() > 1;
        let mut fewer = a.clone();
        let less = match how {
            0 if !a.is_empty() => {
                fewer.remove(lose.index(a.len()));
                json!(fewer)
            }
            1 if !a.is_empty() => {
                fewer[lose.index(a.len())]["value"] = Value::Null;
                json!(fewer)
            }
            2 => json!([]),
            _ => json!({"fails": "down"}),
        };
        for state in judged(less, json!(b)) {
            if several(&a, &state.scope) || several(&b, &state.scope) || state.scope.has_wildcard() {
                continue;
            }
            let before = whole.iter().find(|s| s.scope == state.scope).map(|s| s.verdict);
            prop_assert!(before.is_some(), "{:?} appeared", state.scope);
            if rank(state.verdict) > 0 {
                prop_assert_eq!(Some(state.verdict), before, "{}", state.reason);
            }
        }
    }

    #[test]
    fn any_answer_is_read_or_refused(answer in json_value()) {
        let (agreement, _) = load_value(good(), "");
        let agreement = agreement.unwrap();
        let plan = plan(&agreement, None, january_12(), january_13()).unwrap();
        let answers = BTreeMap::from([("PASS_RATE".to_owned(), answer.clone()), ("UPTIME".to_owned(), answer)]);
        let (states, metrics) = judge(&agreement, &plan, &answers, february());
        prop_assert!(states.len() >= 2 && !metrics.is_empty());
        let mut identities: Vec<_> = states.iter().map(|s| (&s.of, &s.scope, &s.window)).collect();
        identities.sort();
        identities.dedup();
        prop_assert_eq!(identities.len(), states.len());
        for state in &states {
            prop_assert!(state.value.is_none_or(f64::is_finite) && !state.reason.is_empty());
        }
    }

    #[test]
    fn any_change_of_a_document_is_read_or_refused(
        pointer in prop::sample::select(pointers()),
        value in json_value(),
    ) {
        let mut document = good();
        if let Some(place) = document.pointer_mut(&pointer) {
            *place = value;
        }
        let (agreement, problems) = load_value(document, "x");
        let errors = problems.iter().any(|p| p.severity == Severity::Error);
        prop_assert_eq!(agreement.is_none(), errors, "{:?}", problems);
        prop_assert!(problems.iter().all(|p| p.path.starts_with('$') && p.expected.is_some() | p.hint.is_some() | (p.severity == Severity::Warning)));
    }

    #[test]
    fn any_text_is_loaded_or_refused(text in "\\PC{0,80}") {
        let (agreement, problems) = load(&text, "x");
        prop_assert!(agreement.is_none() && !problems.is_empty());
    }
}

/// Values of the shapes collectors and documents have, and of others.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(|n| json!(n)),
        (-9i64..9).prop_map(Value::from),
        prop::sample::select(vec![
            "",
            "NaN",
            "5",
            "*",
            "ana",
            "2026-01-12",
            "2026-01-12T00:00:00Z",
            "UPTIME > 1",
            "#/terms"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let keys = prop::sample::select(vec![
            "computations",
            "scope",
            "period",
            "from",
            "to",
            "value",
            "evidences",
            "coverage",
            "seen",
            "expected",
            "member",
            "$ref",
            "type",
            "default",
            "UPTIME",
            "objective",
            "window",
            "with",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((keys, inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}

/// Every place of the good document.
fn pointers() -> Vec<String> {
    fn walk(value: &Value, path: &str, found: &mut Vec<String>) {
        found.push(path.to_owned());
        match value {
            Value::Object(map) => map.iter().for_each(|(k, v)| walk(v, &format!("{path}/{k}"), found)),
            Value::Array(list) => list.iter().enumerate().for_each(|(i, v)| walk(v, &format!("{path}/{i}"), found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(&good(), "", &mut found);
    found
}
