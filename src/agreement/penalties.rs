//! Penalties and rewards of a term: what a document says of them, and what they come to.
//!
//! The rule of iAgree: when the objective is not met, each penalty is the value of its first case whose condition is
//! true, and zero when none is; rewards likewise, when it is met. Conditions and values are expressions of the objective
//! language, never code, and what is undecided is not zero.

use serde_json::{Map, Value};

use super::document::{Reader, join};
use crate::expr::{self, Operand};
use crate::model::agreement::{Case, Compensation};
use crate::model::diagnostic::Diagnostic;
use crate::model::objective::Objective;
use crate::model::state::Amounts;

/// Reads `penalties` or `rewards` of a term. `with` are the metrics of the term.
pub(super) fn read_compensations<'d>(
    reader: &mut Reader<'d>,
    term: &'d Map<String, Value>,
    key: &str,
    path: &str,
    with: &[&str],
) -> Vec<Compensation> {
    let path = join(path, key);
    let list = match term.get(key) {
        None | Some(Value::Null) => return Vec::new(),
        Some(Value::Array(list)) => list,
        Some(other) => {
            reader.wrong_kind(&path, other, "a list, each with over and of");
            return Vec::new();
        }
    };
    let mut found: Vec<Compensation> = Vec::new();
    for (i, value) in list.iter().enumerate() {
        let path = format!("{path}[{i}]");
        let Some(value) = reader.resolve(value, &path) else { continue };
        let Some(entry) = value.as_object() else {
            reader.wrong_kind(&path, value, "an object with over and of");
            continue;
        };
        reader.unknown_keys(entry, &["over", "of", "comment", "description"], &path);
        let cases = read_cases(reader, entry, &path, with);
        for (over, unit) in read_over(reader, entry, &path) {
            if found.iter().any(|other| other.over == over) {
                let message = format!("\"{over}\" stands twice in {key} of one term");
                let problem = Diagnostic::error("duplicate-penalty", join(&path, "over"), message);
                reader.report(problem.expected("each name once; its cases in one `of`, the first that holds counts"));
                continue;
            }
            found.push(Compensation { over, unit, cases: cases.clone() });
        }
    }
    found
}

/// The names under `over`, each with the unit of its schema. A schema that cannot be found is not missed: only its name
/// is needed.
pub(super) fn read_over(
    reader: &mut Reader<'_>,
    entry: &Map<String, Value>,
    path: &str,
) -> Vec<(String, Option<String>)> {
    match entry.get("over") {
        Some(Value::Object(names)) if !names.is_empty() => names
            .iter()
            .map(|(name, schema)| {
                let schema = reader.peek(schema);
                let unit = schema.and_then(|s| s.get("unit")).and_then(Value::as_str).map(str::to_owned);
                (name.clone(), unit)
            })
            .collect(),
        Some(Value::String(name)) if !name.trim().is_empty() => vec![(name.trim().to_owned(), None)],
        Some(Value::Object(_) | Value::Null) | None => {
            reader.absent("over", path, "an object that names what is owed, such as {\"discount\": {\"unit\": \"%\"}}");
            Vec::new()
        }
        Some(other) => {
            reader.wrong_kind(&join(path, "over"), other, "an object that names what is owed");
            Vec::new()
        }
    }
}

fn read_cases(reader: &mut Reader<'_>, entry: &Map<String, Value>, path: &str, with: &[&str]) -> Vec<Case> {
    let path = join(path, "of");
    let list = match entry.get("of") {
        Some(Value::Array(list)) => list,
        None | Some(Value::Null) => {
            reader.absent("of", path.trim_end_matches(".of"), "a list of cases, each with condition and value");
            return Vec::new();
        }
        Some(other) => {
            reader.wrong_kind(&path, other, "a list of cases, each with condition and value");
            return Vec::new();
        }
    };
    let mut cases = Vec::with_capacity(list.len());
    for (i, case) in list.iter().enumerate() {
        let path = format!("{path}[{i}]");
        let Some(case) = case.as_object() else {
            reader.wrong_kind(&path, case, "an object with condition and value");
            continue;
        };
        reader.unknown_keys(case, &["condition", "value", "comment", "description"], &path);
        let condition = read_expression(reader, case, "condition", &path, with);
        let value = read_expression(reader, case, "value", &path, with);
        if let Some(condition) = &condition
            && !expr::may_be_condition(&condition.expr)
        {
            let message = format!("\"{}\" is never true or false", condition.text);
            reader.report(
                Diagnostic::error("not-a-condition", join(&path, "condition"), message)
                    .expected("a comparison such as \"UPTIME < 99\""),
            );
        }
        if let (Some(condition), Some(value)) = (condition, value) {
            cases.push(Case { condition, value });
        }
    }
    cases
}

fn read_expression(
    reader: &mut Reader<'_>,
    case: &Map<String, Value>,
    key: &str,
    path: &str,
    with: &[&str],
) -> Option<Objective> {
    let at = join(path, key);
    let expected = match key {
        "value" => "a number such as -2, or an expression that gives one",
        _ => "a condition such as \"UPTIME < 99\"",
    };
    let text = match case.get(key) {
        Some(Value::String(text)) if !text.trim().is_empty() => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Bool(b)) if key == "condition" => b.to_string(),
        None | Some(Value::Null) | Some(Value::String(_)) => {
            reader.absent(key, path, expected);
            return None;
        }
        Some(other) => {
            reader.wrong_kind(&at, other, expected);
            return None;
        }
    };
    let parsed = match expr::parse(&text) {
        Ok(parsed) => parsed,
        Err(error) => {
            let message = format!("\"{text}\" cannot be read: {error}");
            let mut problem = Diagnostic::error(&format!("bad-{key}"), &at, message).expected(error.expected);
            problem.hint = error.hint;
            reader.report(problem);
            return None;
        }
    };
    let mut whole = true;
    for metric in expr::metrics(&parsed.expr).into_iter().filter(|metric| !with.contains(metric)) {
        let message = format!("\"{metric}\" is not in the term's `with`");
        reader.report(
            Diagnostic::error("metric-not-with", &at, message)
                .expected("a metric of the term's `with`")
                .did_you_mean(metric, with.iter().copied()),
        );
        whole = false;
    }
    whole.then_some(parsed)
}

/// What penalties (or rewards) come to. `due`: whether the objective was not met (met, for rewards); `None` when that is
/// undecided, and then an amount is known only if it is zero either way. Reasons for what cannot be said go to `missing`.
pub(super) fn amounts<'a>(
    compensations: &'a [Compensation],
    due: Option<bool>,
    lookup: &dyn Fn(&str) -> Operand<'a>,
    missing: &mut Vec<String>,
) -> Amounts {
    let one = |compensation: &'a Compensation, missing: &mut Vec<String>| match due {
        Some(false) => Some(0.0),
        Some(true) => amount(&compensation.cases, lookup)
            .map_err(|reasons| {
                missing.push(format!("{} cannot be said: {}", compensation.over, reasons.join("; ")));
            })
            .ok(),
        None => amount(&compensation.cases, lookup).ok().filter(|amount| *amount == 0.0),
    };
    compensations.iter().map(|compensation| (compensation.over.clone(), one(compensation, missing))).collect()
}

/// The value of the first case that holds; an earlier one that is undecided leaves it undecided.
fn amount<'a>(cases: &'a [Case], lookup: &dyn Fn(&str) -> Operand<'a>) -> Result<f64, Vec<String>> {
    for case in cases {
        let condition = expr::evaluate(&case.condition, lookup);
        match condition.truth {
            Some(false) => {}
            None => return Err(condition.missing),
            Some(true) => {
                let value = expr::evaluate(&case.value, lookup);
                return value.value.filter(|n| n.is_finite()).ok_or_else(|| match value.missing.is_empty() {
                    true => vec![format!("{} is no number", case.value.text)],
                    false => value.missing,
                });
            }
        }
    }
    Ok(0.0)
}

/// Both terms' amounts: added up name by name, unknown where either is.
pub(crate) fn add(into: &mut Amounts, other: Amounts) {
    for (name, amount) in other {
        match into.entry(name) {
            std::collections::btree_map::Entry::Vacant(place) => drop(place.insert(amount)),
            std::collections::btree_map::Entry::Occupied(mut place) => {
                let sum = place.get().zip(amount).and_then(|(a, b)| expr::decimal_sum([a, b]));
                place.insert(sum);
            }
        }
    }
}
