//! Objectives by example (`tests/cases/expr`) and by property.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::model::objective::{BinaryOp, Expr, Function, Objective, UnaryOp};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    objective: String,
    #[serde(default)]
    given: BTreeMap<String, serde_json::Value>,
    /// `holds`, `fails`, `undecided` or `refused`.
    expect: String,
    value: Option<f64>,
    /// Part of the sentence (or of the error and its hint).
    says: Option<String>,
    #[serde(default)]
    position: Option<usize>,
}

fn operand(value: Option<&serde_json::Value>) -> Operand<'_> {
    match value {
        None | Some(serde_json::Value::Null) => Operand::Missing(""),
        Some(serde_json::Value::Bool(b)) => Operand::Bool(*b),
        Some(serde_json::Value::Number(n)) => Operand::Number(n.as_f64().unwrap_or(f64::NAN)),
        Some(serde_json::Value::String(s)) if s == "<NaN>" => Operand::Number(f64::NAN),
        Some(serde_json::Value::String(s)) if s == "<Infinity>" => Operand::Number(f64::INFINITY),
        Some(serde_json::Value::String(s)) => Operand::Text(s),
        Some(other) => panic!("a case gives a metric the value {other}"),
    }
}

fn check(file: &str, number: usize, case: &Case) {
    let at = format!("{file} case {number}: {}", case.objective);
    let parsed = match parse(&case.objective) {
        Ok(objective) => objective,
        Err(error) => {
            assert_eq!(case.expect, "refused", "{at}: {error}");
            let text = format!("{error}; expected {}; {}", error.expected, error.hint.clone().unwrap_or_default());
            if let Some(says) = &case.says {
                assert!(text.contains(says.as_str()), "{at}: {text}");
            }
            if let Some(position) = case.position {
                assert_eq!(error.position, position, "{at}: {text}");
            }
            return;
        }
    };
    let outcome = evaluate(&parsed, &|name| operand(case.given.get(name)));
    let found = match outcome.truth {
        Some(true) => "holds",
        Some(false) => "fails",
        None => "undecided",
    };
    let sentence = outcome.sentence(&parsed);
    assert_eq!(found, case.expect, "{at}: {sentence}");
    if outcome.truth.is_none() {
        assert!(!outcome.missing.is_empty(), "{at}: undecided without a reason");
    }
    if let Some(value) = case.value {
        assert_eq!(outcome.value, Some(value), "{at}");
    }
    if let Some(says) = &case.says {
        assert!(sentence.contains(says.as_str()), "{at}: {sentence}");
    }
    let again = parse(&print(&parsed.expr)).expect("printed objectives parse");
    assert_eq!(again.expr, parsed.expr, "{at}");
}

#[test]
fn cases() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/expr");
    let mut ran = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let cases: Vec<Case> =
            serde_saphyr::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap_or_else(|e| panic!("{file}: {e}"));
        for (i, case) in cases.iter().enumerate() {
            check(&file, i + 1, case);
            ran += 1;
        }
    }
    assert!(ran > 100, "only {ran} cases found");
}

#[test]
fn limits_hold() {
    let long_sum = vec!["A"; DEPTH_MAX].join("+");
    assert!(parse(&long_sum).is_ok());
    assert!(parse(&format!("{long_sum}+A")).unwrap_err().message.contains("deep"));
    for opening in ["(", "!", "-", "not ", "abs(", "A+(", "1 < (", "not (", "A and (A or "] {
        let text = opening.repeat(LENGTH_MAX / opening.len());
        assert!(parse(&text).is_err(), "{opening}");
    }
    assert!(parse(&" ".repeat(LENGTH_MAX + 1)).unwrap_err().expected.contains("4096"));
}

/// It lies exactly between two shortest notations, ….62 and ….63.
#[test]
fn a_number_is_what_it_is_printed_as() {
    let half = 184_181_134_982_613.0 + 0.625;
    let number = Expr::Number(half);
    let text = print(&number);
    assert_eq!((text.as_str(), parse(&text).map(|o| o.expr)), ("184181134982613.62", Ok(number)));
    let objective = parse(&format!("M == {text}")).unwrap();
    assert_eq!(evaluate(&objective, &|_| Operand::Number(half)).truth, Some(true));
}

#[test]
fn names_of_metrics() {
    assert!(is_identifier("COUNT_PR") && is_identifier("$x_1") && is_identifier("año"));
    assert!(!is_identifier("M-1") && !is_identifier("1M") && !is_identifier("") && !is_identifier("and"));
    let objective = parse("A / B * 100 >= A + min(C, 1)").unwrap();
    assert_eq!(metrics(&objective.expr), ["A", "B", "C"]);
}

/// Each level is evaluated once: 2^90 times the innermost one would take for ever.
#[test]
fn deep_objectives_are_evaluated_in_no_time() {
    let withheld = |name: &str| if name == "W" { Operand::Withheld("is of too few") } else { Operand::Number(1.0) };
    let nested = |open: &str, close: &str| format!("{}A{} >= 0", open.repeat(60), close.repeat(60));
    for text in [
        nested("count(coalesce(", ", W))"),
        nested("coalesce(exists(", "), W)"),
        nested("if(", " >= 1, 1, W)"),
        nested("(1 + coalesce(", ", W))"),
    ] {
        let objective = parse(&text).unwrap();
        assert_eq!(evaluate(&objective, &|name| withheld(name)).truth, Some(true), "{text}");
        score(&objective, &|name| withheld(name));
        distance(&objective, &|name| withheld(name));
    }
}

/// Trees with the functions of numbers, and, if asked for, those that look at the absence of values itself.
fn trees(with_absence: bool) -> impl Strategy<Value = Expr> {
    let leaf = prop_oneof![
        (0u32..1000).prop_map(|n| Expr::Number(f64::from(n) / 8.0)),
        any::<f64>().prop_map(|n| Expr::Number(if n.is_finite() { n.abs() } else { 0.0 })),
        "[a-z'\\\\\" ñ]{0,5}".prop_map(Expr::Text),
        any::<bool>().prop_map(Expr::Bool),
        Just(Expr::Null),
        "[A-Z_$][A-Z0-9_]{0,3}".prop_map(Expr::Metric),
    ];
    leaf.prop_recursive(6, 48, 3, move |inner| {
        use BinaryOp::*;
        let operators = prop::sample::select(vec![
            Or,
            And,
            Equal,
            NotEqual,
            Less,
            LessOrEqual,
            Greater,
            GreaterOrEqual,
            Add,
            Subtract,
            Multiply,
            Divide,
            Remainder,
        ]);
        let mut functions = vec![Function::Min, Function::Max, Function::Sum, Function::Avg];
        if with_absence {
            functions.extend([Function::Count, Function::Coalesce]);
        }
        let functions = prop::sample::select(functions);
        prop_oneof![
            (operators, inner.clone(), inner.clone()).prop_map(|(op, l, r)| Expr::Binary(op, Box::new(l), Box::new(r))),
            (prop::bool::ANY, inner.clone())
                .prop_map(|(not, e)| { Expr::Unary(if not { UnaryOp::Not } else { UnaryOp::Negate }, Box::new(e)) }),
            (functions, prop::collection::vec(inner.clone(), 1..4)).prop_map(|(f, a)| Expr::Call(f, a)),
            prop::collection::vec(inner, 3).prop_map(|a| Expr::Call(Function::If, a)),
        ]
    })
}

proptest! {
    #[test]
    fn printed_trees_parse_back(tree in trees(true)) {
        let text = print(&tree);
        prop_assert_eq!(parse(&text).map(|o| o.expr), Ok(tree), "{}", text);
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "\\PC{0,60}") {
        if let Err(error) = parse(&text) {
            prop_assert!(error.position >= 1 && !error.expected.is_empty() && !error.to_string().is_empty());
        }
    }

    #[test]
    fn almost_objectives_are_parsed_or_refused(
        parts in prop::collection::vec(prop::sample::select(vec![
            "A", "B1", "(", ")", ",", "min(", "if(", "exists(", "and", "or", "not", "!", "&&", "||", ">=", "<", "==",
            "===", "+", "-", "*", "/", "%", "95", "0", ".5", "1e3", "'x'", "\"y\"", "null", "true", "é", "=", "?",
        ]), 0..24),
        a in prop::option::of(any::<f64>()),
    ) {
        let text = parts.join(" ");
        if let Ok(objective) = parse(&text) {
            let outcome = evaluate(&objective, &|name| match a {
                Some(a) if name == "A" => Operand::Number(a),
                _ => Operand::Missing("it is not given"),
            });
            prop_assert_eq!(outcome.truth.is_none() && outcome.missing.is_empty(), false, "{}", text);
            prop_assert!(outcome.value.is_none_or(f64::is_finite));
        }
    }

    #[test]
    fn losing_a_value_decides_nothing(
        tree in trees(false),
        values in prop::collection::btree_map("[A-Z_$][A-Z0-9_]{0,3}", -5i32..5, 0..4),
    ) {
        let objective = Objective { text: print(&tree), expr: tree };
        let names: Vec<String> = metrics(&objective.expr).into_iter().map(str::to_owned).collect();
        let known = |name: &str| f64::from(values.get(name).copied().unwrap_or(name.len() as i32));
        let whole = evaluate(&objective, &|name| Operand::Number(known(name)));
        for lost in &names {
            let less = evaluate(&objective, &|name| {
                if name == lost { Operand::Missing("lost") } else { Operand::Number(known(name)) }
            });
            prop_assert!(less.truth.is_none() || less.truth == whole.truth, "{} without {lost}", objective.text);
        }
    }
}
