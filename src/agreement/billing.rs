//! `terms.pricing.billing`: penalties and rewards summed up for a bill.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::document::{Reader, join};
use super::load::{Validity, has_content, not_computed};
use super::penalties::read_over;
use super::window_spec::{Context, read_window};
use crate::expr;
use crate::model::agreement::{Billing, BillingPenalty, WindowSpec};
use crate::model::diagnostic::Diagnostic;
use crate::model::state::{Scope, State, StateKind, Window};

/// Reads `pricing.billing`. What else stands in `pricing` is said not to be computed.
pub(super) fn read_billing<'d>(
    reader: &mut Reader<'d>,
    terms: &'d Map<String, Value>,
    validity: Option<&Validity>,
) -> Option<Billing> {
    let path = "$.terms.pricing";
    let pricing = reader.object(terms, "pricing", "$.terms")?;
    for (key, _) in pricing.iter().filter(|(key, value)| *key != "billing" && has_content(value)) {
        reader.report(not_computed(&join(path, key), key));
    }
    let billing = reader.object(pricing, "billing", path)?;
    let path = &join(path, "billing");
    reader.unknown_keys(billing, &["period", "initial", "end", "penalties", "rewards"], path);
    let mut lines = read_lines(reader, billing, "penalties", path);
    lines.extend(read_lines(reader, billing, "rewards", path));
    // The period stands in `billing` itself, where a term has a window.
    let window = window_of(reader, billing, path, validity)?;
    Some(Billing { window, penalties: lines })
}

fn window_of(
    reader: &mut Reader<'_>,
    billing: &Map<String, Value>,
    path: &str,
    validity: Option<&Validity>,
) -> Option<WindowSpec> {
    let validity = validity?;
    let context = Context { valid_from: validity.from, valid_to: validity.to, calendars: &validity.calendars };
    let of_window = |(key, _): &(&String, &Value)| ["period", "initial", "end"].contains(&key.as_str());
    let fields: Map<String, Value> =
        billing.iter().filter(of_window).map(|(key, value)| (key.clone(), value.clone())).collect();
    let term = json!({ "window": fields });
    let mut inner = Reader::new(&term);
    let window = read_window(&mut inner, term.as_object()?, path, &context);
    for mut problem in inner.problems {
        problem.path = problem.path.replacen(&join(path, "window"), path, 1);
        reader.report(problem);
    }
    window
}

fn read_lines(reader: &mut Reader<'_>, billing: &Map<String, Value>, key: &str, path: &str) -> Vec<BillingPenalty> {
    let path = join(path, key);
    let list = match billing.get(key) {
        None | Some(Value::Null) => return Vec::new(),
        Some(Value::Array(list)) => list,
        Some(other) => {
            reader.wrong_kind(&path, other, "a list, each with over, groupBy and upTo");
            return Vec::new();
        }
    };
    let mut lines = Vec::new();
    for (i, line) in list.iter().enumerate() {
        let path = format!("{path}[{i}]");
        let Some(line) = line.as_object() else {
            reader.wrong_kind(&path, line, "an object with over, groupBy and upTo");
            continue;
        };
        reader.unknown_keys(line, &["over", "aggregatedBy", "groupBy", "upTo", "comment"], &path);
        match line.get("aggregatedBy").map(|a| a.as_str().unwrap_or_default()) {
            None | Some("sum") => {}
            Some(other) => reader.report(
                Diagnostic::error(
                    "unknown-aggregation",
                    join(&path, "aggregatedBy"),
                    format!("\"{other}\" is no way to aggregate"),
                )
                .expected("\"sum\""),
            ),
        }
        let up_to = match line.get("upTo") {
            None | Some(Value::Null) => None,
            Some(value) => {
                let number = value.as_f64().or_else(|| value.as_str().and_then(expr::numeric));
                if number.is_none() {
                    reader.wrong_kind(&join(&path, "upTo"), value, "a number such as -10");
                }
                number
            }
        };
        let group_by = match line.get("groupBy") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Object(dimensions)) => dimensions.keys().cloned().collect(),
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Some(Value::String(name)) => vec![name.clone()],
            Some(other) => {
                reader.wrong_kind(&join(&path, "groupBy"), other, "an object of dimensions, or a list of their names");
                Vec::new()
            }
        };
        for (over, unit) in read_over(reader, line, &path) {
            lines.push(BillingPenalty { over, unit, group_by: group_by.clone(), up_to });
        }
    }
    lines
}

/// One line of a bill.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BillLine {
    /// What is owed or earned.
    pub over: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Members of the dimensions it is grouped by.
    pub group: Scope,
    /// Sum of all amounts; `None` while one of them cannot be said.
    pub sum: Option<f64>,
    /// The sum, no further from zero than `up_to` allows.
    pub amount: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up_to: Option<f64>,
    /// Verdicts it was summed over, and how many of them have no amount.
    pub verdicts: u64,
    pub unknown: u64,
}

/// The bill of a window: states of guarantees whose windows end in it. The order of `states` does not matter.
pub fn bill<'s>(billing: &Billing, window: &Window, states: impl Iterator<Item = &'s State> + Clone) -> Vec<BillLine> {
    let of_window =
        |s: &&State| s.kind == StateKind::Guarantee && s.window.to > window.from && s.window.to <= window.to;
    let mut lines = Vec::new();
    for line in &billing.penalties {
        let mut groups: BTreeMap<Scope, Vec<Option<f64>>> = BTreeMap::new();
        for state in states.clone().filter(of_window) {
            let Some(amount) = state.penalties.get(&line.over).or_else(|| state.rewards.get(&line.over)) else {
                continue;
            };
            let group = line.group_by.iter().filter_map(|key| Some((key.clone(), state.scope.0.get(key)?.clone())));
            groups.entry(Scope(group.collect())).or_default().push(*amount);
        }
        lines.extend(groups.into_iter().map(|(group, amounts)| bill_line(line, group, &amounts)));
    }
    lines
}

fn bill_line(line: &BillingPenalty, group: Scope, amounts: &[Option<f64>]) -> BillLine {
    let unknown = amounts.iter().filter(|amount| amount.is_none()).count();
    let known = || expr::decimal_sum(amounts.iter().copied().flatten());
    let sum = if unknown == 0 { known() } else { None };
    let capped = |sum: f64| match line.up_to {
        Some(limit) if limit < 0.0 => sum.max(limit),
        Some(limit) => sum.min(limit),
        None => sum,
    };
    BillLine {
        over: line.over.clone(),
        unit: line.unit.clone(),
        group,
        sum,
        amount: sum.map(capped),
        up_to: line.up_to,
        verdicts: amounts.len() as u64,
        unknown: unknown as u64,
    }
}
