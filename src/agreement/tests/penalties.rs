//! Penalties, rewards and bills: by example, and on the published agreements that have them.

use super::super::billing::bill;
use super::super::windows::Calendar;
use super::*;

fn with(over: &str, cases: &[(&str, &str)]) -> Value {
    let of: Vec<Value> =
        cases.iter().map(|(condition, value)| json!({"condition": condition, "value": value})).collect();
    json!([{"over": {over: {"unit": "%"}}, "of": of}])
}

fn judged(guarantee: &Value, answers: Value) -> State {
    let (agreement, problems) = load_value(around(guarantee, "UTC"), "");
    let agreement = agreement.unwrap_or_else(|| panic!("{problems:?}"));
    let plan = plan(&agreement, None, january_12(), january_13()).unwrap();
    let answers = serde_json::from_value(answers).unwrap();
    judge(&agreement, &plan, &answers, february()).0.remove(0)
}

fn guarantee() -> Value {
    json!({"of": [{
        "objective": "A >= 90", "with": {"A": {}, "B": {}}, "window": {"period": "daily"},
        "penalties": with("discount", &[("A < 50", "-10"), ("A < 80 and B > 1", "-5"), ("A < 90", "A - 90")]),
        "rewards": with("bonus", &[("A >= 99", "+1")]),
    }]})
}

#[test]
fn the_first_case_that_holds_gives_the_amount() {
    for (a, b, discount, bonus) in [
        (json!(40), json!(0), Some(-10.0), Some(0.0)),
        (json!(70), json!(2), Some(-5.0), Some(0.0)),
        (json!(89.9), json!(2), Some(-0.1), Some(0.0)),
        (json!(90), json!(2), Some(0.0), Some(0.0)),
        (json!(100), json!(2), Some(0.0), Some(1.0)),
        // An undecided case that stands before one that holds leaves the amount undecided; nothing is taken for zero.
        (json!(70), Value::Null, None, Some(0.0)),
        (Value::Null, json!(2), None, None),
    ] {
        let state = judged(&guarantee(), json!({"A": a, "B": b}));
        assert_eq!((state.penalties["discount"], state.rewards["bonus"]), (discount, bonus), "A {a}, B {b}");
        let told = state.reason.contains("discount cannot be said");
        assert_eq!(told, discount.is_none() && state.verdict == Some(Verdict::Violated), "{}", state.reason);
    }
    // Nothing was there: nothing is owed.
    let nobody = json!({"computations": [{"value": 1, "coverage": {"seen": 0, "expected": 0}}]});
    let state = judged(&guarantee(), json!({"A": nobody, "B": 1}));
    assert_eq!((state.verdict, state.penalties["discount"]), (Some(Verdict::NotApplicable), Some(0.0)));
}

#[test]
fn a_bill_is_grouped_capped_and_says_what_is_not_known() {
    let mut document = around(&guarantee(), "UTC");
    document["terms"]["pricing"] = json!({"billing": {"period": "monthly", "initial": "2026-01-01", "penalties": [
        {"over": {"discount": {"unit": "%"}}, "aggregatedBy": "sum", "groupBy": {"site": {}}, "upTo": -10},
    ], "rewards": [{"over": {"bonus": {}}}]}});
    let (agreement, problems) = load_value(document, "");
    let agreement = agreement.unwrap_or_else(|| panic!("{problems:?}"));
    let billing = agreement.billing.as_ref().unwrap();
    let month = Calendar::of(&agreement, &billing.window).open_at(january_12()).unwrap();
    let state = |site: &str, day: i64, amount: Option<f64>| {
        let at = |n: i64| january_12() + jiff::SignedDuration::from_hours(24 * n);
        let window = crate::model::state::Window {
            from: at(day),
            to: at(day + 1),
            from_local: String::new(),
            to_local: String::new(),
        };
        let scope = Scope([("site".to_string(), site.to_string())].into());
        let mut state =
            State::blank("a", crate::model::state::StateKind::Guarantee, "g", scope, window, RunId::fresh());
        state.penalties = [("discount".to_string(), amount)].into();
        state
    };
    let mut states: Vec<State> = (0..3).map(|day| state("north", day, Some(-0.1))).collect();
    states.extend((0..4).map(|day| state("south", day, Some(-3.0))));
    states.extend([state("west", 0, Some(-1.0)), state("west", 1, None)]);
    // Of other months: the end of the window says where it belongs.
    states.extend([state("north", 40, Some(-9.0)), state("north", -20, Some(-9.0))]);
    let lines = bill(billing, &month, states.iter());
    let told: Vec<_> = lines
        .iter()
        .map(|line| (line.group.0["site"].as_str(), line.sum, line.amount, line.verdicts, line.unknown))
        .collect();
    assert_eq!(
        told,
        [
            ("north", Some(-0.3), Some(-0.3), 3, 0),
            ("south", Some(-12.0), Some(-10.0), 4, 0),
            ("west", None, None, 2, 1)
        ]
    );
    states.reverse();
    assert_eq!(bill(billing, &month, states.iter()), lines);
}

/// Metric values at and around every bound of the corpus.
const VALUES: [f64; 12] = [0.0, 1.0, 1.5, 2.0, 2.5, 3.0, 5.5, 14.0, 77.5, 82.0, 89.99, 100.0];

/// The penalties of every published agreement that has some, against a reading of their conditions of its own.
#[test]
fn penalties_of_the_published_agreements_compute() {
    let folder = root().join("../shared/data/agreements");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("SKIPPED, as the agreements are not here: {}", folder.display());
        return;
    };
    let mut compared = 0;
    for path in entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "json"))
    {
        let text = std::fs::read_to_string(&path).unwrap();
        let about = ["manifest.json", "histogram.json"];
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !text.contains("\"penalties\"") || about.contains(&name.as_str()) {
            continue;
        }
        let bundle = crate::agreement::bundle::load_all(&text, &path.display().to_string());
        assert!(!bundle.agreements.is_empty(), "{}: {:#?}", path.display(), bundle.problems);
        for agreement in &bundle.agreements {
            compared += compare(agreement);
        }
    }
    assert!(compared > 1000, "{compared} amounts");
}

fn compare(agreement: &Agreement) -> usize {
    let mut compared = 0;
    for guarantee in &agreement.guarantees {
        for (term, of) in guarantee.terms.iter().enumerate().filter(|(_, of)| !of.penalties.is_empty()) {
            let after = of.window.initial + jiff::SignedDuration::from_hours(24 * 200);
            let window = Calendar::of(agreement, &of.window).open_at(after).unwrap();
            for value in VALUES {
                let samples: Vec<Sample> = of
                    .with
                    .iter()
                    .map(|(metric, _)| Sample {
                        metric: metric.clone(),
                        scope: of.scope.clone(),
                        window: window.clone(),
                        value: crate::model::state::SampleValue::Number(value),
                        evidence: Vec::new(),
                        coverage: None,
                        score: None,
                        run: None,
                    })
                    .collect();
                let collected = of
                    .with
                    .iter()
                    .zip(&samples)
                    .map(|((id, _), s)| (id.as_str(), Ok(std::slice::from_ref(s))))
                    .collect();
                let states =
                    guarantee_states(agreement, guarantee, term, &window, &collected, RunId::fresh(), window.to);
                for state in states {
                    for penalty in &of.penalties {
                        let due = state.verdict == Some(Verdict::Violated);
                        let case = penalty.cases.iter().find(|case| due && holds(&case.condition.text, value));
                        let wanted = case.map_or(0.0, |case| case.value.text.parse().unwrap());
                        assert_eq!(state.penalties[&penalty.over], Some(wanted), "{} at {value}", guarantee.id);
                        compared += 1;
                    }
                }
            }
        }
    }
    compared
}

/// A condition of the corpus with `value` for every metric: comparisons with a number, joined by `&&`.
fn holds(condition: &str, value: f64) -> bool {
    condition.split("&&").all(|part| {
        let words: Vec<&str> = part.split_whitespace().collect();
        let left = if words.contains(&"*") { value * value } else { value };
        let bound: f64 = words[words.len() - 1].parse().unwrap();
        match words[words.len() - 2] {
            ">" => left > bound,
            ">=" => left >= bound,
            "<" => left < bound,
            "<=" => left <= bound,
            other => panic!("{other} in {condition}"),
        }
    })
}
