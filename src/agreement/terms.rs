//! `terms.guarantees`: scopes, objectives and what they are judged with.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::calendars::Calendars;
use super::coverage::read_min_coverage;
use super::document::{Reader, join};
use super::load::{Validity, refuse_overrides};
use super::penalties::read_compensations;
use super::window_spec::{self, read_window};
use crate::expr;
use crate::model::agreement::{Guarantee, Metric, MinCoverage, Term, WindowSpec};
use crate::model::diagnostic::Diagnostic;
use crate::model::objective::Objective;
use crate::model::state::Scope;
use crate::model::value::number_to_string;

type Metrics = BTreeMap<String, Option<Metric>>;

/// Fields of a term that are read here or by a Registry.
const TERM_FIELDS: &[&str] = &[
    "scope",
    "objective",
    "with",
    "window",
    "evidences",
    "penalties",
    "rewards",
    "comment",
    "overrides",
    "description",
    "notes",
    "x-probity",
];

/// What a term is read against.
#[derive(Clone, Copy)]
struct Context<'a> {
    metrics: &'a Metrics,
    /// The agreement's, where a guarantee has none of its own.
    min_coverage: Option<MinCoverage>,
    windows: window_spec::Context<'a>,
}

pub(super) fn read_guarantees<'d>(
    reader: &mut Reader<'d>,
    terms: &'d Map<String, Value>,
    metrics: &Metrics,
    validity: Option<&Validity>,
    min_coverage: Option<MinCoverage>,
) -> Vec<Guarantee> {
    let expected = "a list of guarantees, each with id, scope and of";
    let list = match reader.field(terms, "guarantees", "$.terms") {
        Some(Value::Array(list)) if !list.is_empty() => list,
        Some(other) if !other.is_array() => {
            reader.wrong_kind("$.terms.guarantees", other, expected);
            return Vec::new();
        }
        _ => {
            reader.absent("guarantees", "$.terms", expected);
            return Vec::new();
        }
    };
    // Without a validity, which is reported already, the rest is still checked.
    let without_validity = Calendars::in_zone(TimeZone::UTC);
    let context = Context {
        metrics,
        min_coverage,
        windows: window_spec::Context {
            valid_from: validity.map_or(Timestamp::UNIX_EPOCH, |v| v.from),
            valid_to: validity.and_then(|v| v.to),
            calendars: validity.map_or(&without_validity, |v| &v.calendars),
        },
    };
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut guarantees = Vec::with_capacity(list.len());
    for (i, value) in list.iter().enumerate() {
        let path = format!("$.terms.guarantees[{i}]");
        let Some(guarantee) = read_guarantee(reader, value, &path, &context) else { continue };
        if let Some(first) = seen.insert(guarantee.id.clone(), i) {
            reader.report(
                Diagnostic::error(
                    "duplicate-guarantee",
                    join(&path, "id"),
                    format!("guarantee {first} is also called \"{}\"", guarantee.id),
                )
                .expected("an id that no other guarantee of the agreement has"),
            );
        }
        guarantees.push(guarantee);
    }
    guarantees
}

fn read_guarantee<'d>(
    reader: &mut Reader<'d>,
    value: &'d Value,
    path: &str,
    context: &Context<'_>,
) -> Option<Guarantee> {
    let value = reader.resolve(value, path)?;
    let Some(guarantee) = value.as_object() else {
        reader.wrong_kind(path, value, "a guarantee: an object with id, scope and of");
        return None;
    };
    refuse_overrides(reader, Some(guarantee), path);
    let id = reader.text(guarantee, "id", path);
    if guarantee.get("id").is_none_or(Value::is_null) {
        reader.absent("id", path, "a name that no other guarantee of the agreement has");
    }
    let description = ["description", "notes"]
        .into_iter()
        .find_map(|key| guarantee.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()))
        .unwrap_or_default()
        .to_owned();
    let scope = read_dimensions(reader, guarantee, path);
    let own = reader.object(guarantee, "x-probity", path).and_then(|ours| {
        let path = join(path, "x-probity");
        reader.unknown_keys(ours, &["minCoverage"], &path);
        read_min_coverage(reader, ours, &path)
    });
    let context = &Context { min_coverage: own.or(context.min_coverage), ..*context };
    let of_path = join(path, "of");
    let terms = match reader.field(guarantee, "of", path) {
        Some(Value::Array(list)) if !list.is_empty() => list
            .iter()
            .enumerate()
            .filter_map(|(i, term)| {
                let path = format!("{of_path}[{i}]");
                Some((i, read_term(reader, term, &path, &scope, context)?))
            })
            .collect(),
        Some(other) if !other.is_array() => {
            reader.wrong_kind(&of_path, other, "a list of terms");
            Vec::new()
        }
        _ => {
            reader.absent("of", path, "a list of terms, each with objective, with and window");
            Vec::new()
        }
    };
    let terms = distinct_terms(reader, terms, &of_path);
    Some(Guarantee { id: id?, description, scope, terms })
}

/// A guarantee's dimensions: `{key: {name, default, …}}`, or a bare text, which supplies no default.
fn read_dimensions<'d>(
    reader: &mut Reader<'d>,
    guarantee: &'d Map<String, Value>,
    path: &str,
) -> BTreeMap<String, Option<String>> {
    let Some(scope) = reader.object(guarantee, "scope", path) else { return BTreeMap::new() };
    let path = join(path, "scope");
    let mut dimensions = BTreeMap::new();
    for (key, value) in scope {
        let Some(value) = reader.resolve(value, &join(&path, key)) else { continue };
        let default = value.as_object().and_then(|d| d.get("default")).filter(|d| truthy(d)).and_then(member);
        dimensions.insert(key.clone(), default);
    }
    dimensions
}

/// Empty text, zero, false and null are no defaults, as in the registry.
fn truthy(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Number(number) => number.as_f64() != Some(0.0),
        _ => true,
    }
}

/// A scope member as text; a number as JavaScript writes it, so that 7.0 and 7 are one member.
pub(super) fn member(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(match number.as_f64().filter(|_| number.is_f64()) {
            Some(n) => number_to_string(n).to_string(),
            None => number.to_string(),
        }),
        Value::Bool(b) => Some(b.to_string()),
        _ => None,
    }
}

fn read_term<'d>(
    reader: &mut Reader<'d>,
    value: &'d Value,
    path: &str,
    dimensions: &BTreeMap<String, Option<String>>,
    context: &Context<'_>,
) -> Option<Term> {
    let value = reader.resolve(value, path)?;
    let Some(term) = value.as_object() else {
        reader.wrong_kind(path, value, "a term: an object with objective, with and window");
        return None;
    };
    refuse_overrides(reader, Some(term), path);
    reader.misspelt_keys(term, TERM_FIELDS, path);
    let scope = read_scope(reader, term, path, dimensions);
    let with = read_with(reader, term, path, context.metrics);
    let objective = read_objective(reader, term, path, context.metrics, with.as_deref());
    let window = read_window(reader, term, path, &context.windows);
    let metrics: Vec<&str> = with.iter().flatten().map(|(id, _)| id.as_str()).collect();
    let penalties = read_compensations(reader, term, "penalties", path, &metrics);
    let rewards = read_compensations(reader, term, "rewards", path, &metrics);
    let min_coverage = context.min_coverage;
    Some(Term { scope: scope?, objective: objective?, with: with?, window: window?, min_coverage, penalties, rewards })
}

/// The effective scope: the guarantee's dimensions, each with the term's member, else its default, else left out.
/// Keys that only the term has are dropped, as the registry drops them, but not silently.
fn read_scope<'d>(
    reader: &mut Reader<'d>,
    term: &'d Map<String, Value>,
    path: &str,
    dimensions: &BTreeMap<String, Option<String>>,
) -> Option<Scope> {
    let path = join(path, "scope");
    let given = match term.get("scope") {
        None | Some(Value::Null) => None,
        Some(value) => {
            let value = reader.resolve(value, &path)?;
            if !value.is_object() {
                reader.wrong_kind(&path, value, "an object of dimension and member");
            }
            Some(value.as_object()?)
        }
    };
    let mut scope: BTreeMap<String, String> =
        dimensions.iter().filter_map(|(key, default)| Some((key.clone(), default.clone()?))).collect();
    let mut whole = true;
    for (key, value) in given.into_iter().flatten() {
        let key_path = join(&path, key);
        if !dimensions.contains_key(key) {
            reader.report(
                Diagnostic::warning(
                    "unknown-dimension",
                    &key_path,
                    format!("\"{key}\" is no dimension of the guarantee's scope and is left out"),
                )
                .expected(match dimensions.len() {
                    0 => "no member, as the guarantee has no scope".to_owned(),
                    _ => format!("one of {}", dimensions.keys().cloned().collect::<Vec<_>>().join(", ")),
                })
                .did_you_mean(key, dimensions.keys().map(String::as_str)),
            );
            continue;
        }
        match member(value) {
            Some(text) => {
                scope.insert(key.clone(), text);
            }
            None => {
                reader.wrong_kind(&key_path, value, "a member, or \"*\" for each");
                whole = false;
            }
        }
    }
    whole.then_some(Scope(scope))
}

type With = Vec<(String, Map<String, Value>)>;

fn read_with<'d>(reader: &mut Reader<'d>, term: &'d Map<String, Value>, path: &str, metrics: &Metrics) -> Option<With> {
    let path_with = join(path, "with");
    let list = match reader.field(term, "with", path) {
        Some(Value::Object(map)) if !map.is_empty() => map,
        None | Some(Value::Object(_)) => {
            reader.absent("with", path, "an object of the metrics the objective uses, such as {\"UPTIME\": {}}");
            return None;
        }
        Some(other) => {
            reader.wrong_kind(&path_with, other, "an object of metrics and their parameters");
            return None;
        }
    };
    let mut with = Vec::with_capacity(list.len());
    let mut whole = true;
    for (id, params) in list {
        let path = join(&path_with, id);
        if !metrics.contains_key(id) {
            reader.report(
                Diagnostic::error("unknown-metric", &path, format!("terms.metrics has no \"{id}\""))
                    .expected("a metric of terms.metrics")
                    .did_you_mean(id, metrics.keys().map(String::as_str)),
            );
            whole = false;
        }
        match reader.expand(params, &path) {
            Value::Object(params) => with.push((id.clone(), params)),
            Value::Null => with.push((id.clone(), Map::new())),
            other => {
                reader.wrong_kind(&path, &other, "an object of parameters, such as {}");
                whole = false;
            }
        }
    }
    whole.then_some(with)
}

fn read_objective<'d>(
    reader: &mut Reader<'d>,
    term: &'d Map<String, Value>,
    path: &str,
    metrics: &Metrics,
    with: Option<&[(String, Map<String, Value>)]>,
) -> Option<Objective> {
    let at = join(path, "objective");
    let Some(text) = reader.text(term, "objective", path) else {
        if term.get("objective").is_none_or(Value::is_null) {
            reader.absent("objective", path, "a condition such as \"UPTIME >= 99.5\"");
        }
        return None;
    };
    let objective = match expr::parse(&text) {
        Ok(objective) => objective,
        Err(error) => {
            let mut problem = Diagnostic::error("bad-objective", &at, format!("\"{text}\" cannot be read: {error}"))
                .expected(error.expected);
            problem.hint = error.hint;
            reader.report(problem);
            return None;
        }
    };
    if !expr::may_be_condition(&objective.expr) {
        reader.report(
            Diagnostic::error("not-a-condition", &at, format!("\"{text}\" is never true or false"))
                .expected("a comparison such as \"UPTIME >= 99.5\""),
        );
    }
    if expr::compares_null(&objective.expr) {
        reader.report(
            Diagnostic::warning(
                "compares-null",
                &at,
                format!("\"{text}\" can never be decided: nothing compares with null"),
            )
            .expected("exists(METRIC), to ask whether there is a value"),
        );
    }
    for metric in expr::metrics(&objective.expr) {
        let problem = if !metrics.contains_key(metric) {
            Diagnostic::error(
                "unknown-metric",
                &at,
                format!("the objective uses \"{metric}\", which terms.metrics does not have"),
            )
            .expected("a metric of terms.metrics")
            .did_you_mean(metric, metrics.keys().map(String::as_str))
        } else if with.is_some_and(|with| with.iter().all(|(id, _)| id != metric)) {
            Diagnostic::error(
                "metric-not-with",
                &at,
                format!("the objective uses \"{metric}\", which `with` does not list"),
            )
            .expected("every metric of the objective in the term's `with`")
            .hint(format!("add \"{metric}\": {{}} to `with`"))
        } else {
            continue;
        };
        reader.report(problem);
    }
    Some(objective)
}

/// Two terms that judge one scope in one window give one verdict: equal ones are one, others must both hold where they
/// meet, which is said.
fn distinct_terms(reader: &mut Reader<'_>, terms: Vec<(usize, Term)>, path: &str) -> Vec<Term> {
    let mut kept: Vec<(usize, Term)> = Vec::with_capacity(terms.len());
    for (i, term) in terms {
        let at = format!("{path}[{i}]");
        // Of all before it: judged twice, it would be penalized twice.
        if let Some((j, _)) = kept.iter().find(|(_, k)| says_the_same(k, &term)) {
            let message = format!("it says the same as of[{j}] and is judged once");
            reader.report(Diagnostic::warning("repeated-term", at, message));
            continue;
        }
        if let Some((j, k)) = kept.iter().find(|(_, k)| meet(&k.scope, &term.scope) && same_windows(k, &term)) {
            let message = format!(
                "it and of[{j}] both judge the scopes that {} and {} have in common",
                k.scope.canonical(),
                term.scope.canonical()
            );
            reader.report(
                Diagnostic::warning("overlapping-terms", at, message)
                    .hint("both must hold there; put one of them into a guarantee of its own to tell them apart"),
            );
        }
        kept.push((i, term));
    }
    kept.into_iter().map(|(_, term)| term).collect()
}

fn says_the_same(a: &Term, b: &Term) -> bool {
    let judged = a.scope == b.scope && a.objective.expr == b.objective.expr && a.with == b.with;
    judged && a.window == b.window && a.penalties == b.penalties && a.rewards == b.rewards
}

/// Whether windows of both have the same bounds, as far as their definitions tell; when they end does not count.
fn same_windows(a: &Term, b: &Term) -> bool {
    let (a, b) = (&a.window, &b.window);
    let cut = |w: &WindowSpec| (w.period, w.initial, w.fiscal_month, w.reach);
    cut(a) == cut(b) && a.business == b.business && a.listed == b.listed
}

/// Whether some concrete scope belongs to both.
fn meet(a: &Scope, b: &Scope) -> bool {
    a.0.len() == b.0.len() && a.0.iter().all(|(key, m)| b.0.get(key).is_some_and(|o| m == o || m == "*" || o == "*"))
}
