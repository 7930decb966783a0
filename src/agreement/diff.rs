//! What changed between two agreements, by meaning: not which lines, but which promises, and which verdicts it may touch.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use crate::model::agreement::{Agreement, Compensation, Guarantee, Metric, Term, WindowSpec};
use crate::model::budget::{Budget, BurnAlert, Counts, EventMetric, Rate};
use crate::model::objective::{BinaryOp, Expr};
use crate::model::state::Scope;

/// One difference.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Where: `guarantee FAST, team=*`, `metric P99_MS`, `agreement`.
    pub at: String,
    /// What: `guarantee-added`, `threshold-changed`, …
    pub kind: &'static str,
    pub old: Value,
    pub new: Value,
    /// Which way it moves verdicts.
    pub effect: Effect,
    /// Guarantees whose verdicts it may touch, or those of whose budgets; empty: none.
    pub affects: Vec<String>,
}

/// What a difference may do to verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// No verdict becomes another.
    None,
    /// Fulfilled ones may become violated, none the other way round.
    Stricter,
    /// Violated ones may become fulfilled, none the other way round.
    Looser,
    /// Verdicts come that were not there, or go.
    Verdicts,
    /// They may change either way.
    Either,
}

impl Effect {
    /// In a sentence.
    pub fn text(self) -> &'static str {
        match self {
            Effect::None => "no verdict changes",
            Effect::Stricter => "fulfilled verdicts may become violated",
            Effect::Looser => "violated verdicts may become fulfilled",
            Effect::Verdicts => "verdicts come or go",
            Effect::Either => "verdicts may change either way",
        }
    }
}

/// What changed from `old` to `new`, in the order of the document. Empty when they promise the same.
pub fn diff(old: &Agreement, new: &Agreement) -> Vec<Difference> {
    let mut found = Differences::default();
    found.agreement(old, new);
    found.metrics(old, new);
    found.guarantees(old, new);
    found.budgets(old, new);
    if found.list.is_empty() && old.hash != new.hash {
        found.push("agreement", "other-fields-changed", json!(old.hash), json!(new.hash), Effect::None, Vec::new());
    }
    found.list
}

#[derive(Default)]
struct Differences {
    list: Vec<Difference>,
}

impl Differences {
    fn push(&mut self, at: &str, kind: &'static str, old: Value, new: Value, effect: Effect, affects: Vec<String>) {
        self.list.push(Difference { at: at.to_owned(), kind, old, new, effect, affects });
    }

    fn unless_equal(
        &mut self,
        at: &str,
        kind: &'static str,
        old: Value,
        new: Value,
        effect: Effect,
        affects: &[String],
    ) {
        if old != new {
            self.push(at, kind, old, new, effect, affects.to_vec());
        }
    }

    fn agreement(&mut self, old: &Agreement, new: &Agreement) {
        let all: Vec<String> = new.guarantees.iter().map(|g| g.id.clone()).collect();
        let at = "agreement";
        self.unless_equal(at, "id-changed", json!(old.id), json!(new.id), Effect::Verdicts, &all);
        self.unless_equal(at, "version-changed", json!(old.version), json!(new.version), Effect::None, &[]);
        let zones = (json!(old.time_zone_name), json!(new.time_zone_name));
        self.unless_equal(at, "time-zone-changed", zones.0, zones.1, Effect::Either, &all);
        let starts = (json!(old.valid_from), json!(new.valid_from));
        self.unless_equal(at, "start-changed", starts.0, starts.1, Effect::Verdicts, &all);
        self.unless_equal(at, "end-changed", json!(old.valid_to), json!(new.valid_to), Effect::Verdicts, &all);
        if old.schedule != new.schedule {
            let text = |a: &Agreement| {
                a.schedule
                    .as_ref()
                    .map_or(Value::Null, |s| json!({"cron": s.cron, "timeZone": s.time_zone, "catchUp": s.catch_up}))
            };
            self.push(at, "schedule-changed", text(old), text(new), Effect::None, Vec::new());
        }
        if old.waivers != new.waivers {
            let ids = |a: &Agreement| json!(a.waivers.iter().map(|w| &w.id).collect::<Vec<_>>());
            self.push(at, "waivers-changed", ids(old), ids(new), Effect::Either, all.clone());
        }
        if old.billing != new.billing {
            let part = |a: &Agreement| a.document.pointer("/terms/pricing/billing").cloned().unwrap_or_default();
            self.push(at, "billing-changed", part(old), part(new), Effect::None, Vec::new());
        }
    }

    fn metrics(&mut self, old: &Agreement, new: &Agreement) {
        for (id, was) in &old.metrics {
            let at = format!("metric {id}");
            match new.metrics.get(id) {
                None => self.push(&at, "metric-removed", source(was), Value::Null, Effect::None, users(old, id)),
                Some(is) => {
                    if was.collector != is.collector {
                        self.push(&at, "collector-changed", source(was), source(is), Effect::Either, users(new, id));
                    }
                    let (a, b) = (json!(was.measure), json!(is.measure));
                    self.unless_equal(&at, "measure-changed", a, b, Effect::Either, &users(new, id));
                }
            }
        }
        for (id, is) in new.metrics.iter().filter(|(id, _)| !old.metrics.contains_key(*id)) {
            self.push(&format!("metric {id}"), "metric-added", Value::Null, source(is), Effect::None, Vec::new());
        }
    }

    fn guarantees(&mut self, old: &Agreement, new: &Agreement) {
        for was in &old.guarantees {
            match new.guarantees.iter().find(|g| g.id == was.id) {
                Some(is) => self.guarantee(was, is),
                None => {
                    let at = format!("guarantee {}", was.id);
                    self.push(
                        &at,
                        "guarantee-removed",
                        objectives(was),
                        Value::Null,
                        Effect::Verdicts,
                        vec![was.id.clone()],
                    );
                }
            }
        }
        for is in new.guarantees.iter().filter(|g| old.guarantees.iter().all(|o| o.id != g.id)) {
            let at = format!("guarantee {}", is.id);
            self.push(&at, "guarantee-added", Value::Null, objectives(is), Effect::Verdicts, vec![is.id.clone()]);
        }
    }

    fn guarantee(&mut self, old: &Guarantee, new: &Guarantee) {
        let at = format!("guarantee {}", new.id);
        self.unless_equal(
            &at,
            "description-changed",
            json!(old.description),
            json!(new.description),
            Effect::None,
            &[],
        );
        // Terms are told apart by their scope; of those that are left, the first is taken for the first.
        let mut left: Vec<&Term> = new.terms.iter().collect();
        let mut unmatched = Vec::new();
        for was in &old.terms {
            match left.iter().position(|is| is.scope == was.scope) {
                Some(i) => self.term(&new.id, was, left.remove(i)),
                None => unmatched.push(was),
            }
        }
        let mut left = left.into_iter();
        for was in unmatched {
            match left.next() {
                Some(is) => self.term(&new.id, was, is),
                None => {
                    let at = term_name(&new.id, &was.scope);
                    self.push(
                        &at,
                        "term-removed",
                        json!(was.objective.text),
                        Value::Null,
                        Effect::Verdicts,
                        vec![new.id.clone()],
                    );
                }
            }
        }
        for is in left {
            let at = term_name(&new.id, &is.scope);
            self.push(&at, "term-added", Value::Null, json!(is.objective.text), Effect::Verdicts, vec![new.id.clone()]);
        }
    }

    fn term(&mut self, guarantee: &str, old: &Term, new: &Term) {
        let at = term_name(guarantee, &new.scope);
        let affects = vec![guarantee.to_owned()];
        self.unless_equal(&at, "scope-changed", json!(old.scope), json!(new.scope), Effect::Verdicts, &affects);
        if old.objective.expr != new.objective.expr {
            let (kind, effect) = objective_effect(&old.objective.expr, &new.objective.expr);
            let texts = (json!(old.objective.text.trim()), json!(new.objective.text.trim()));
            self.push(&at, kind, texts.0, texts.1, effect, affects.clone());
        }
        let with = |term: &Term| -> BTreeMap<String, Value> {
            term.with.iter().map(|(id, params)| (id.clone(), json!(params))).collect()
        };
        let least = |term: &Term| term.min_coverage.map_or(Value::Null, |least| json!(least.text()));
        self.unless_equal(&at, "coverage-changed", least(old), least(new), Effect::Either, &affects);
        self.unless_equal(&at, "parameters-changed", json!(with(old)), json!(with(new)), Effect::Either, &affects);
        if old.window != new.window {
            self.push(
                &at,
                "window-changed",
                window(&old.window),
                window(&new.window),
                Effect::Verdicts,
                affects.clone(),
            );
        }
        for (kind, was, is) in
            [("penalties-changed", &old.penalties, &new.penalties), ("rewards-changed", &old.rewards, &new.rewards)]
        {
            if was != is {
                self.push(&at, kind, compensations(was), compensations(is), Effect::None, affects.clone());
            }
        }
    }
}

/// Budgets and their alerts, told apart by their ids. Their verdicts are touched, those of their guarantees are not.
impl Differences {
    fn budgets(&mut self, old: &Agreement, new: &Agreement) {
        for was in &old.budgets {
            let at = format!("budget {}", was.id);
            match new.budgets.iter().find(|b| b.id == was.id) {
                Some(is) => self.budget(&at, was, is),
                None => {
                    let of = vec![was.guarantee.clone()];
                    self.push(&at, "budget-removed", budget(was), Value::Null, Effect::Verdicts, of);
                }
            }
        }
        for is in new.budgets.iter().filter(|b| old.budgets.iter().all(|o| o.id != b.id)) {
            let of = vec![is.guarantee.clone()];
            let at = format!("budget {}", is.id);
            self.push(&at, "budget-added", Value::Null, budget(is), Effect::Verdicts, of);
        }
    }

    fn budget(&mut self, at: &str, old: &Budget, new: &Budget) {
        let of = vec![new.guarantee.clone()];
        let guarantees = (json!(old.guarantee), json!(new.guarantee));
        self.unless_equal(at, "guarantee-changed", guarantees.0, guarantees.1, Effect::Verdicts, &of);
        let share = |b: &Budget| (u128::from(b.target.numerator()), u128::from(b.target.denominator()));
        let ((was, of_was), (is, of_is)) = (share(old), share(new));
        let effect = if is * of_was > was * of_is { Effect::Stricter } else { Effect::Looser };
        let targets = (json!(old.target.text()), json!(new.target.text()));
        self.unless_equal(at, "target-changed", targets.0, targets.1, effect, &of);
        self.unless_equal(at, "counts-changed", counts(old), counts(new), Effect::Either, &of);
        if old.window != new.window {
            let windows = (window(&old.window), window(&new.window));
            self.push(at, "window-changed", windows.0, windows.1, Effect::Verdicts, of.clone());
        }
        for was in &old.alerts {
            let at = format!("{at}, alert {}", was.id);
            match new.alerts.iter().find(|a| a.id == was.id) {
                Some(is) => {
                    let effect = alert_effect(was, is);
                    self.unless_equal(&at, "alert-changed", alert(was), alert(is), effect, &of);
                }
                None => self.push(&at, "alert-removed", alert(was), Value::Null, Effect::Verdicts, of.clone()),
            }
        }
        for is in new.alerts.iter().filter(|a| old.alerts.iter().all(|o| o.id != a.id)) {
            let at = format!("{at}, alert {}", is.id);
            self.push(&at, "alert-added", Value::Null, alert(is), Effect::Verdicts, of.clone());
        }
    }
}

fn budget(budget: &Budget) -> Value {
    json!({
        "guarantee": budget.guarantee, "target": budget.target.text(), "counts": counts(budget),
        "window": window(&budget.window), "alerts": budget.alerts.iter().map(alert).collect::<Vec<_>>(),
    })
}

fn counts(budget: &Budget) -> Value {
    match &budget.counts {
        Counts::Windows => json!("windows"),
        Counts::Events { events: EventMetric::Good(good), total } => json!({"good": good, "total": total}),
        Counts::Events { events: EventMetric::Bad(bad), total } => json!({"bad": bad, "total": total}),
    }
}

fn alert(alert: &BurnAlert) -> Value {
    json!({
        "id": alert.id, "severity": alert.severity,
        "burnRate": format!("{}/{}", alert.above.numerator, alert.above.denominator),
        "long": alert.long_text, "short": alert.short_text, "minimum": alert.minimum,
    })
}

/// An alert that fires above a greater rate is looser; one that needs more samples may be unknown instead of firing.
fn alert_effect(old: &BurnAlert, new: &BurnAlert) -> Effect {
    if (old.long, old.short, old.minimum) != (new.long, new.short, new.minimum) {
        return Effect::Either;
    }
    let of = |rate: Rate| (u128::from(rate.numerator), u128::from(rate.denominator));
    let ((was, of_was), (is, of_is)) = (of(old.above), of(new.above));
    match (is * of_was).cmp(&(was * of_is)) {
        std::cmp::Ordering::Less => Effect::Stricter,
        std::cmp::Ordering::Equal => Effect::None,
        std::cmp::Ordering::Greater => Effect::Looser,
    }
}

fn term_name(guarantee: &str, scope: &Scope) -> String {
    let members: Vec<String> = scope.0.iter().map(|(key, member)| format!("{key}={member}")).collect();
    if members.is_empty() {
        format!("guarantee {guarantee}")
    } else {
        format!("guarantee {guarantee}, {}", members.join(" "))
    }
}

fn users(agreement: &Agreement, metric: &str) -> Vec<String> {
    let uses = |g: &&Guarantee| g.terms.iter().any(|t| t.with.iter().any(|(id, _)| id == metric));
    agreement.guarantees.iter().filter(uses).map(|g| g.id.clone()).collect()
}

fn source(metric: &Metric) -> Value {
    use crate::model::agreement::{Collector, FlowEntry};
    match &metric.collector {
        Collector::Flow { entry: FlowEntry::Http { path }, config } => json!({"flow": path, "config": config}),
        Collector::Flow { entry: FlowEntry::Metric { name }, config } => json!({"metric": name, "config": config}),
        Collector::PostGet { infrastructure_path, endpoint, config, .. } => {
            json!({"infrastructurePath": infrastructure_path, "endpoint": endpoint, "config": config})
        }
        Collector::Unsupported { reason } => json!({"unsupported": reason}),
    }
}

fn objectives(guarantee: &Guarantee) -> Value {
    let distinct: BTreeSet<&str> = guarantee.terms.iter().map(|t| t.objective.text.trim()).collect();
    json!(distinct)
}

fn window(spec: &WindowSpec) -> Value {
    let mut shown = json!({"type": spec.kind, "period": spec.period_name, "initial": spec.initial, "end": spec.end});
    if let Some(reach) = &spec.reach {
        shown["reach"] = json!({"months": reach.months, "days": reach.days, "seconds": reach.seconds});
    }
    if spec.business.is_some() {
        shown["calendar"] = json!("business hours");
    }
    if !spec.listed.is_empty() {
        shown["windows"] = json!(spec.listed.len());
    }
    shown
}

fn compensations(list: &[Compensation]) -> Value {
    let one = |c: &Compensation| {
        let cases: Vec<Value> =
            c.cases.iter().map(|case| json!({"condition": case.condition.text, "value": case.value.text})).collect();
        json!({"over": c.over, "of": cases})
    };
    list.iter().map(one).collect()
}

/// Whether only a bound was moved, and which way that goes.
fn objective_effect(old: &Expr, new: &Expr) -> (&'static str, Effect) {
    if without_numbers(old) != without_numbers(new) {
        return ("objective-changed", Effect::Either);
    }
    let effect = match (old, new) {
        (Expr::Binary(op, left, bound), Expr::Binary(_, new_left, new_bound)) if left == new_left => {
            moved(*op, number(bound), number(new_bound))
        }
        (Expr::Binary(op, bound, right), Expr::Binary(_, new_bound, new_right)) if right == new_right => {
            moved(mirrored(*op), number(bound), number(new_bound))
        }
        _ => Effect::Either,
    };
    ("threshold-changed", effect)
}

fn moved(op: BinaryOp, old: Option<f64>, new: Option<f64>) -> Effect {
    let (Some(old), Some(new)) = (old, new) else { return Effect::Either };
    match op {
        BinaryOp::Greater | BinaryOp::GreaterOrEqual if new > old => Effect::Stricter,
        BinaryOp::Greater | BinaryOp::GreaterOrEqual if new < old => Effect::Looser,
        BinaryOp::Less | BinaryOp::LessOrEqual if new < old => Effect::Stricter,
        BinaryOp::Less | BinaryOp::LessOrEqual if new > old => Effect::Looser,
        // Also of bounds that are one as binary numbers, such as 100 and 99.9999999999999999.
        _ => Effect::Either,
    }
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

/// A bound: a number, also a negative one.
fn number(expr: &Expr) -> Option<f64> {
    match expr {
        Expr::Number(n) => Some(*n),
        Expr::Exact(score) => Some(score.value()),
        Expr::Unary(crate::model::objective::UnaryOp::Negate, inner) => Some(-number(inner)?),
        _ => None,
    }
}

fn without_numbers(expr: &Expr) -> Expr {
    match expr {
        Expr::Number(_) | Expr::Exact(_) => Expr::Number(0.0),
        Expr::Unary(op, inner) => match number(expr) {
            Some(_) => Expr::Number(0.0),
            None => Expr::Unary(*op, Box::new(without_numbers(inner))),
        },
        Expr::Binary(op, left, right) => {
            Expr::Binary(*op, Box::new(without_numbers(left)), Box::new(without_numbers(right)))
        }
        Expr::Call(function, arguments) => Expr::Call(*function, arguments.iter().map(without_numbers).collect()),
        other => other.clone(),
    }
}

/// A difference in one line.
impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let side = |value: &Value| match value {
            Value::Null => "nothing".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        write!(f, "{}: {}: {} → {}; {}", self.at, self.kind, side(&self.old), side(&self.new), self.effect.text())?;
        if !self.affects.is_empty() && self.effect != Effect::None {
            write!(f, " ({})", self.affects.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::{self, parse};

    fn effect(old: &str, new: &str) -> (&'static str, Effect) {
        objective_effect(&parse(old).unwrap().expr, &parse(new).unwrap().expr)
    }

    #[test]
    fn a_moved_bound_says_which_way() {
        assert_eq!(effect("A >= 95", "A >= 99"), ("threshold-changed", Effect::Stricter));
        assert_eq!(effect("A >= 95", "A >= 90"), ("threshold-changed", Effect::Looser));
        assert_eq!(effect("A < 5", "A < 3"), ("threshold-changed", Effect::Stricter));
        assert_eq!(effect("95 <= A", "99 <= A"), ("threshold-changed", Effect::Stricter));
        assert_eq!(effect("A > -1", "A > 0"), ("threshold-changed", Effect::Stricter));
        assert_eq!(effect("A == 1", "A == 2"), ("threshold-changed", Effect::Either));
        assert_eq!(effect("A >= 99.9999999999999999", "A >= 100"), ("threshold-changed", Effect::Either));
        assert_eq!(effect("A > 1 and B > 1", "A > 1 and B > 2"), ("threshold-changed", Effect::Either));
        assert_eq!(effect("A * 2 > 1", "A * 3 > 1"), ("threshold-changed", Effect::Either));
        assert_eq!(effect("A > 1", "A >= 1"), ("objective-changed", Effect::Either));
        assert_eq!(effect("A > 1", "B > 1"), ("objective-changed", Effect::Either));
    }

    #[test]
    fn budgets_are_compared_by_what_they_promise() {
        let with = |budgets: Value| {
            let document = json!({
                "id": "a", "type": "agreement",
                "context": {"validity": {"initial": "2026-01-01", "timeZone": "UTC"}, "x-probity": {"budgets": budgets}},
                "terms": {
                    "metrics": {"A": {"collector": {"type": "PROBITY-FLOW-V1", "metric": "a"}}},
                    "guarantees": [{"id": "G", "of": [
                        {"objective": "A > 1", "with": {"A": {}}, "window": {"type": "static", "period": "hourly"}},
                    ]}],
                },
            });
            let (agreement, problems) = crate::agreement::load_value(document, "test");
            agreement.unwrap_or_else(|| panic!("{problems:?}"))
        };
        let budget = |id: &str, target: &str, rate: &str| {
            json!({"id": id, "guarantee": "G", "target": target, "window": {"type": "rolling", "length": "P30D", "step": "hourly"},
                "alerts": [{"id": "page", "burnRate": rate, "long": "P1D", "short": "PT2H"}]})
        };
        let kinds = |old: Value, new: Value| -> Vec<(String, &'static str, Effect)> {
            diff(&with(old), &with(new)).into_iter().map(|d| (d.at, d.kind, d.effect)).collect()
        };
        let was = || json!([budget("b", "99%", "2")]);
        assert_eq!(kinds(was(), was()), []);
        let at = |at: &str| at.to_owned();
        assert_eq!(
            kinds(was(), json!([budget("b", "99.5%", "3")])),
            [
                (at("budget b"), "target-changed", Effect::Stricter),
                (at("budget b, alert page"), "alert-changed", Effect::Looser),
            ]
        );
        assert_eq!(
            kinds(was(), json!([budget("c", "99%", "2")])),
            [(at("budget b"), "budget-removed", Effect::Verdicts), (at("budget c"), "budget-added", Effect::Verdicts)]
        );
        let mut calendar = budget("b", "99%", "2");
        calendar["window"] = json!({"period": "monthly"});
        calendar["alerts"] = json!([]);
        assert_eq!(
            kinds(was(), json!([calendar])),
            [
                (at("budget b"), "window-changed", Effect::Verdicts),
                (at("budget b, alert page"), "alert-removed", Effect::Verdicts),
            ]
        );
        // The same share written otherwise is the same.
        assert!(kinds(was(), json!([budget("b", "99/100", "2")])).iter().all(|d| d.2 == Effect::None));
    }

    #[test]
    fn another_least_coverage_is_said_of_every_guarantee_it_holds_for() {
        let with = |context: Value, own: Value| {
            let mut document = json!({
                "id": "a", "type": "agreement", "context": {"validity": {"initial": "2026-01-01", "timeZone": "UTC"}},
                "terms": {"metrics": {"A": {"collector": {"type": "PROBITY-FLOW-V1", "metric": "a"}}}, "guarantees": []},
            });
            document["context"]["x-probity"] = context;
            for (id, ours) in [("G", &Value::Null), ("H", &own)] {
                let guarantee = json!({"id": id, "x-probity": ours, "of": [
                    {"objective": "A > 1", "with": {"A": {}}, "window": {"type": "static", "period": "hourly"}},
                ]});
                document["terms"]["guarantees"].as_array_mut().unwrap().push(guarantee);
            }
            let (agreement, problems) = crate::agreement::load_value(document, "test");
            agreement.unwrap_or_else(|| panic!("{problems:?}"))
        };
        let own = json!({"minCoverage": "50%"});
        let (old, new) = (with(Value::Null, own.clone()), with(json!({"minCoverage": 0.9}), own));
        let found: Vec<_> = diff(&old, &new).into_iter().map(|d| (d.at, d.kind, d.old, d.new)).collect();
        assert_eq!(found, [("guarantee G".to_owned(), "coverage-changed", Value::Null, json!("90%"))]);
    }

    /// By brute force: what is called stricter never turns a violated verdict into a fulfilled one.
    #[test]
    fn effects_hold_for_every_value() {
        for op in ["<", "<=", ">", ">="] {
            for (a, b) in [(0, 1), (1, 0), (-1, 2)] {
                for turned in [false, true] {
                    let write = |n: i32| if turned { format!("{n} {op} A") } else { format!("A {op} {n}") };
                    let (old, new) = (parse(&write(a)).unwrap(), parse(&write(b)).unwrap());
                    let (_, effect) = objective_effect(&old.expr, &new.expr);
                    for value in -3..4 {
                        let truth = |o| expr::evaluate(o, &|_| expr::Operand::Number(f64::from(value))).truth.unwrap();
                        match effect {
                            Effect::Stricter => assert!(truth(&old) || !truth(&new), "{} {value}", write(b)),
                            Effect::Looser => assert!(!truth(&old) || truth(&new), "{} {value}", write(b)),
                            other => panic!("{other:?}"),
                        }
                    }
                }
            }
        }
    }
}
