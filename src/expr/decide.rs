//! What decides an objective, and how far it is from holding.

use serde::Serialize;

use super::evaluate::{Operand, decide_branches, difference, exactly_known, is_comparison, number_of, truth_of};
use super::exact::{self, Known};
use super::print::{metrics, print, symbol};
use crate::model::objective::{BinaryOp, Expr, Function, Objective, UnaryOp};

/// Most known metrics for which all subsets are tried; beyond, the result is still one that nothing can be left out of.
const TRIED_METRICS_MAX: usize = 10;

/// The metrics whose values alone decide the objective as it is decided: a smallest set of them, in order of appearance,
/// or, with more than ten known metrics, one from which none can be left out. Everything else may be missing, and the
/// truth stays. Empty when it is undecided, or decided by absence alone.
pub fn deciding<'o>(objective: &'o Objective, lookup: &dyn Fn(&str) -> Operand<'o>) -> Vec<&'o str> {
    let names = metrics(&objective.expr);
    let (truth, _) = truth_of(&objective.expr, lookup);
    if truth.is_none() {
        return Vec::new();
    }
    let has_value = |name: &&str| !matches!(lookup(name), Operand::Missing(_) | Operand::Withheld(_));
    let known: Vec<&str> = names.into_iter().filter(has_value).collect();
    let holds = |kept: &[&str]| {
        let some = |name: &str| if kept.contains(&name) { lookup(name) } else { absent(lookup(name)) };
        truth_of(&objective.expr, &some).0 == truth
    };
    if known.len() > TRIED_METRICS_MAX {
        let mut kept = known;
        let mut i = 0;
        while i < kept.len() {
            let fewer: Vec<&str> = kept.iter().copied().filter(|name| *name != kept[i]).collect();
            if holds(&fewer) {
                kept = fewer;
                // What was needed beside this one may be needed no longer.
                i = 0;
            } else {
                i += 1;
            }
        }
        return kept;
    }
    let pick = |mask: u32| -> Vec<&str> {
        known.iter().enumerate().filter(|(i, _)| mask & (1 << i) != 0).map(|(_, name)| *name).collect()
    };
    let mut masks: Vec<u32> = (0..1u32 << known.len()).collect();
    masks.sort_by_key(|mask| (mask.count_ones(), *mask));
    masks.into_iter().map(pick).find(|kept| holds(kept)).unwrap_or_default()
}

/// A metric without value stays as it is; a known one is left out without a reason.
fn absent(operand: Operand<'_>) -> Operand<'_> {
    match operand {
        Operand::Missing(_) | Operand::Withheld(_) => operand,
        _ => Operand::Missing(""),
    }
}

/// How far an objective is from holding.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Distance {
    /// It holds.
    None,
    /// What is measured must change by at least this much.
    Amount {
        /// What is measured, as the objective has it: `ERRORS / CALLS * 100`.
        measured: String,
        now: f64,
        /// `>=`, `<`, …: what must be so between `measured` and `bound`.
        operator: &'static str,
        bound: f64,
        /// How much is missing, never negative: the number nearest to it where 63 bits hold it exactly, else to 15
        /// significant digits, as comparisons are.
        by: f64,
        /// It must rise (`up`), fall (`down`) or move either way (`away`).
        direction: &'static str,
        /// Exactly the bound is not enough.
        strict: bool,
    },
    /// All of these are missing.
    All { of: Vec<Distance> },
    /// Any of these would do.
    Any { of: Vec<Distance> },
    /// Not known, because these have no value.
    Unknown { condition: String, missing: Vec<String> },
    /// It does not hold, and is no matter of amounts: texts, `exists(…)`, a metric that is true or false.
    Otherwise { condition: String },
}

/// The distance of an objective from being true.
pub fn distance<'o>(objective: &'o Objective, lookup: &dyn Fn(&str) -> Operand<'o>) -> Distance {
    to_reach(&objective.expr, true, lookup)
}

/// The distance of a condition from being `wanted`.
fn to_reach<'o>(expr: &'o Expr, wanted: bool, lookup: &dyn Fn(&str) -> Operand<'o>) -> Distance {
    let (truth, missing) = truth_of(expr, lookup);
    if truth == Some(wanted) {
        return Distance::None;
    }
    match expr {
        Expr::Unary(UnaryOp::Not, inner) => to_reach(inner, !wanted, lookup),
        Expr::Binary(op @ (BinaryOp::And | BinaryOp::Or), left, right) => {
            let sides = [left, right].into_iter().map(|side| to_reach(side, wanted, lookup));
            let mut open: Vec<Distance> = sides.filter(|distance| *distance != Distance::None).collect();
            // "a and b" is to hold, or "a or b" is not to: what is open on both sides is needed.
            let all = (*op == BinaryOp::And) == wanted;
            flatten(&mut open, all);
            match (open.len(), all) {
                (1, _) => open.remove(0),
                (_, true) => Distance::All { of: open },
                (_, false) => Distance::Any { of: open },
            }
        }
        Expr::Call(Function::If, arguments) => match arguments.as_slice() {
            [condition, then, otherwise] => match truth_of(condition, lookup).0 {
                Some(true) => to_reach(then, wanted, lookup),
                Some(false) => to_reach(otherwise, wanted, lookup),
                None => Distance::Unknown { condition: print(expr), missing },
            },
            _ => Distance::Otherwise { condition: print(expr) },
        },
        _ if truth.is_none() => Distance::Unknown { condition: print(expr), missing },
        Expr::Binary(op, left, right) if is_comparison(*op) => amount(*op, left, right, wanted, lookup)
            .unwrap_or_else(|| Distance::Otherwise { condition: wanted_text(expr, wanted) }),
        _ => Distance::Otherwise { condition: wanted_text(expr, wanted) },
    }
}

fn wanted_text(expr: &Expr, wanted: bool) -> String {
    if wanted { print(expr) } else { format!("not ({})", print(expr)) }
}

/// `(a and b) and c` is one list of three.
fn flatten(list: &mut Vec<Distance>, all: bool) {
    let inner = std::mem::take(list);
    for distance in inner {
        match distance {
            Distance::All { of } if all => list.extend(of),
            Distance::Any { of } if !all => list.extend(of),
            other => list.push(other),
        }
    }
}

fn amount<'o>(
    op: BinaryOp,
    left: &'o Expr,
    right: &'o Expr,
    wanted: bool,
    lookup: &dyn Fn(&str) -> Operand<'o>,
) -> Option<Distance> {
    let (mut op, mut measured, mut bound) = (op, left, right);
    // `95 <= A` speaks of A.
    if metrics(left).is_empty() && !metrics(right).is_empty() {
        (op, measured, bound) = (mirrored(op), right, left);
    }
    if !wanted {
        op = opposite(op);
    }
    let (now, limit) = (number_of(measured, lookup)?, number_of(bound, lookup)?);
    let (direction, strict) = match op {
        BinaryOp::Less => ("down", true),
        BinaryOp::LessOrEqual => ("down", false),
        BinaryOp::Greater => ("up", true),
        BinaryOp::GreaterOrEqual => ("up", false),
        BinaryOp::NotEqual => ("away", true),
        _ if now > limit => ("down", false),
        _ => ("up", false),
    };
    let found: Vec<_> = [measured, bound].into_iter().flat_map(|side| decide_branches(side, lookup)).collect();
    let branch = |arguments: &[Expr]| exact::branch(&found, arguments);
    let known = Known { metric: &|name| exactly_known(lookup(name)), branch: &branch };
    let exactly = exact::difference(measured, bound, known);
    Some(Distance::Amount {
        measured: print(measured),
        now,
        operator: symbol(op),
        bound: limit,
        by: exactly.unwrap_or_else(|| difference(now, limit).abs()),
        direction,
        strict,
    })
}

fn mirrored(op: BinaryOp) -> BinaryOp {
    match op {
        BinaryOp::Less => BinaryOp::Greater,
        BinaryOp::LessOrEqual => BinaryOp::GreaterOrEqual,
        BinaryOp::Greater => BinaryOp::Less,
        BinaryOp::GreaterOrEqual => BinaryOp::LessOrEqual,
        other => other,
    }
}

fn opposite(op: BinaryOp) -> BinaryOp {
    match op {
        BinaryOp::Less => BinaryOp::GreaterOrEqual,
        BinaryOp::LessOrEqual => BinaryOp::Greater,
        BinaryOp::Greater => BinaryOp::LessOrEqual,
        BinaryOp::GreaterOrEqual => BinaryOp::Less,
        BinaryOp::Equal => BinaryOp::NotEqual,
        BinaryOp::NotEqual => BinaryOp::Equal,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::expr::{evaluate, parse};

    type Values = BTreeMap<&'static str, f64>;

    fn look<'o>(values: &Values) -> impl Fn(&str) -> Operand<'o> {
        |name| values.get(name).map_or(Operand::Missing("it was not collected"), |n| Operand::Number(*n))
    }

    fn decided(text: &str, values: &[(&'static str, f64)]) -> Vec<String> {
        let objective = parse(text).unwrap();
        let values: Values = values.iter().copied().collect();
        deciding(&objective, &look(&values)).into_iter().map(String::from).collect()
    }

    #[test]
    fn only_what_decides_is_named() {
        assert_eq!(decided("A >= 95 and B <= 3", &[("A", 90.0), ("B", 1.0)]), ["A"]);
        assert_eq!(decided("A >= 95 and B <= 3", &[("A", 99.0), ("B", 1.0)]), ["A", "B"]);
        assert_eq!(decided("A >= 95 or B <= 3", &[("A", 90.0), ("B", 1.0)]), ["B"]);
        assert_eq!(decided("A / B > 1", &[("A", 4.0), ("B", 1.0)]), ["A", "B"]);
        assert_eq!(decided("A > 1", &[]), Vec::<String>::new());
        // That A is missing is what decides here.
        assert_eq!(decided("exists(A) and B > 1", &[("B", 5.0)]), Vec::<String>::new());
        assert_eq!(decided("coalesce(A, B) > 1", &[("A", 5.0), ("B", 5.0)]), ["A"]);
        assert_eq!(decided("coalesce(A, B) > 1", &[("B", 5.0)]), ["B"]);
    }

    fn far(text: &str, values: &[(&'static str, f64)]) -> Distance {
        let objective = parse(text).unwrap();
        let values: Values = values.iter().copied().collect();
        distance(&objective, &look(&values))
    }

    fn by(distance: &Distance) -> (f64, &'static str, bool) {
        match distance {
            Distance::Amount { by, direction, strict, .. } => (*by, direction, *strict),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn distances_are_exact() {
        assert_eq!(by(&far("A >= 95", &[("A", 91.5)])), (3.5, "up", false));
        assert_eq!(by(&far("A <= 99.9", &[("A", 100.1)])), (0.2, "down", false));
        assert_eq!(by(&far("95 < A", &[("A", 95.0)])), (0.0, "up", true));
        assert_eq!(by(&far("not (A < 5)", &[("A", 3.0)])), (2.0, "up", false));
        assert_eq!(by(&far("E / C * 100 <= 1", &[("E", 57.0), ("C", 100.0)])), (56.0, "down", false));
        assert_eq!(by(&far("A == 3", &[("A", 5.0)])), (2.0, "down", false));
        let quotients = [("A", 1500000003.0), ("B", 3000000006.0), ("C", 300000021.0), ("D", 1500000105.0)];
        assert_eq!(by(&far("A / B - C / D <= 0", &quotients)), (0.3, "down", false));
        assert_eq!(
            by(&far("E / C == 1", &[("E", 8999999999999998.0), ("C", 8999999999999999.0)])).0,
            1.0 / 8999999999999999.0
        );
        assert_eq!(by(&far("A != 3", &[("A", 3.0)])), (0.0, "away", true));
        assert_eq!(far("A >= 95", &[("A", 95.0)]), Distance::None);
        let Distance::All { of } = far("A >= 95 and B <= 3 and C > 0", &[("A", 90.0), ("B", 9.0), ("C", 1.0)]) else {
            panic!("all are needed")
        };
        assert_eq!(of.iter().map(by).collect::<Vec<_>>(), [(5.0, "up", false), (6.0, "down", false)]);
        let Distance::Any { of } = far("A >= 95 or B <= 3", &[("A", 90.0), ("B", 9.0)]) else { panic!("one will do") };
        assert_eq!(of.len(), 2);
        // De Morgan: neither may be.
        assert!(matches!(far("not (A > 1 or B > 1)", &[("A", 5.0), ("B", 5.0)]), Distance::All { .. }));
        assert!(matches!(far("A >= 95", &[]), Distance::Unknown { .. }));
        assert!(matches!(far("exists(A)", &[]), Distance::Otherwise { .. }));
        assert!(
            matches!(far("if(A > 1, B > 5, B > 9)", &[("A", 2.0), ("B", 3.0)]), Distance::Amount { bound, .. } if bound == 5.0)
        );
    }

    fn objective() -> impl Strategy<Value = String> {
        let leaf = (
            prop::sample::select(vec!["A", "B", "C", "D"]),
            prop::sample::select(vec!["<", "<=", ">", ">=", "==", "!="]),
            0..4,
        )
            .prop_map(|(m, op, n)| format!("{m} {op} {n}"));
        let odd = prop::sample::select(vec![
            "A + B > 3",
            "min(A, C) >= 1",
            "if(A > 1, B > 1, C > 1)",
            "A / B >= 1",
            "coalesce(A, B) > 1",
            "exists(C)",
        ]);
        let leaf = prop_oneof![4 => leaf, 1 => odd.prop_map(String::from)];
        leaf.prop_recursive(4, 12, 2, |inner| {
            prop_oneof![
                (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} and {b})")),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} or {b})")),
                inner.prop_map(|a| format!("not ({a})")),
            ]
        })
    }

    proptest! {
        /// By brute force: the cited values alone decide, no smaller set does, and without any one of them the verdict is
        /// another or none.
        #[test]
        fn what_is_cited_is_enough_and_all_of_it_is_needed(
            text in objective(),
            values in prop::collection::btree_map(prop::sample::select(vec!["A", "B", "C", "D"]), (0..4).prop_map(f64::from), 0..5),
        ) {
            let objective = parse(&text).unwrap();
            let truth = |values: &Values| evaluate(&objective, &look(values)).truth;
            let whole = truth(&values);
            let cited = deciding(&objective, &look(&values));
            if whole.is_some() {
                let only = |keep: &[&str]| -> Values { values.iter().filter(|(k, _)| keep.contains(k)).map(|(k, v)| (*k, *v)).collect() };
                prop_assert_eq!(truth(&only(&cited)), whole, "{} is not enough for {}", cited.join(" "), text);
                for left_out in &cited {
                    let rest: Vec<&str> = cited.iter().copied().filter(|n| n != left_out).collect();
                    prop_assert_ne!(truth(&only(&rest)), whole, "{} is not needed for {}", left_out, text);
                }
                let names: Vec<&str> = values.keys().copied().collect();
                for mask in 0..1u32 << names.len() {
                    let keep: Vec<&str> = names.iter().enumerate().filter(|(i, _)| mask & (1 << i) != 0).map(|(_, n)| *n).collect();
                    prop_assert!(keep.len() >= cited.len() || truth(&only(&keep)) != whole, "{:?} is smaller for {}", keep, text);
                }
            } else {
                prop_assert!(cited.is_empty());
            }
            let far = distance(&objective, &look(&values));
            prop_assert_eq!(far == Distance::None, whole == Some(true), "{}: {:?}", text, far);
        }

        /// A value moved by the distance (and, where the bound is not enough, a little more) makes the objective hold.
        #[test]
        fn a_value_moved_by_the_distance_passes(
            op in prop::sample::select(vec!["<", "<=", ">", ">=", "==", "!="]),
            value in -1000i32..1000,
            bound in -1000i32..1000,
        ) {
            let objective = parse(&format!("A {op} {}", f64::from(bound) / 10.0)).unwrap();
            let mut values = Values::from([("A", f64::from(value) / 10.0)]);
            let far = distance(&objective, &look(&values));
            if let Distance::Amount { now, by, direction, strict, bound, .. } = far {
                let sign = if direction == "down" { -1.0 } else { 1.0 };
                // What the explanation says, in decimals: now ± by is the bound.
                prop_assert_eq!(format!("{:.6}", now + sign * by), format!("{:.6}", bound));
                values.insert("A", if strict { bound + sign * 1e-6 } else { bound });
            }
            prop_assert_eq!(evaluate(&objective, &look(&values)).truth, Some(true));
        }
    }
}
