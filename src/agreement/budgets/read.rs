//! `context["x-probity"].budgets` as documents write it.

use jiff::Span;
use serde_json::{Map, Value};

use crate::agreement::document::{Reader, join};
use crate::agreement::load::Validity;
use crate::agreement::window_spec::{Context, days, length_of, reach_of, read_window};
use crate::model::agreement::{Guarantee, Reach};
use crate::model::budget::{Budget, BurnAlert, Counts, EventMetric, Rate, Share};
use crate::model::diagnostic::Diagnostic;

const FIELDS: &[&str] = &["id", "guarantee", "target", "window", "events", "alerts", "description"];
const ALERT_FIELDS: &[&str] = &["id", "severity", "burnRate", "long", "short", "minimum", "description"];
const TARGET: &str = "a share below one: \"99.9%\", 0.999 or \"999/1000\"";
const DURATION: &str = "a duration such as \"PT1H\" or \"P3D\"";

/// Reads the budgets of an agreement whose guarantees are read already.
pub(in crate::agreement) fn read_budgets<'d>(
    reader: &mut Reader<'d>,
    context: &'d Map<String, Value>,
    validity: Option<&Validity>,
    guarantees: &[Guarantee],
) -> Vec<Budget> {
    let Some(ours) = context.get("x-probity").and_then(Value::as_object) else { return Vec::new() };
    let path = "$.context[\"x-probity\"].budgets";
    let list = match reader.field(ours, "budgets", "$.context[\"x-probity\"]") {
        None => return Vec::new(),
        Some(Value::Array(list)) => list,
        Some(other) => {
            reader.wrong_kind(path, other, "a list of budgets, each with guarantee, target and window");
            return Vec::new();
        }
    };
    let mut found: Vec<Budget> = Vec::new();
    for (i, value) in list.iter().enumerate() {
        let path = format!("{path}[{i}]");
        let Some(value) = reader.resolve(value, &path) else { continue };
        let Some(object) = value.as_object() else {
            reader.wrong_kind(&path, value, "an object with guarantee, target and window");
            continue;
        };
        let Some(budget) = read_budget(reader, object, &path, validity, guarantees) else { continue };
        if found.iter().any(|other| other.id == budget.id) {
            reader.report(
                Diagnostic::error(
                    "duplicate-budget",
                    join(&path, "id"),
                    format!("another budget is also called \"{}\"", budget.id),
                )
                .expected("an id that no other budget of the agreement has")
                .hint("without an id, a budget is called like its guarantee"),
            );
        }
        found.push(budget);
    }
    found
}

fn read_budget<'d>(
    reader: &mut Reader<'d>,
    object: &'d Map<String, Value>,
    path: &str,
    validity: Option<&Validity>,
    guarantees: &[Guarantee],
) -> Option<Budget> {
    reader.unknown_keys(object, FIELDS, path);
    for (key, expected) in [("guarantee", "the id of the guarantee it is the budget of"), ("target", TARGET)] {
        if object.get(key).is_none_or(Value::is_null) {
            reader.absent(key, path, expected);
        }
    }
    let guarantee = reader.text(object, "guarantee", path).and_then(|id| named(reader, &id, path, guarantees));
    let target = read_target(reader, object, path);
    let counts = read_counts(reader, object, path, guarantee);
    let window = validity.and_then(|validity| {
        let context = Context { valid_from: validity.from, valid_to: validity.to, calendars: &validity.calendars };
        read_window(reader, object, path, &context)
    });
    if let Some(window) = &window
        && window.business.is_some()
    {
        reader.report(
            Diagnostic::error(
                "budget-calendar",
                join(&join(path, "window"), "x-probity"),
                "a budget's period has no business calendar",
            )
            .expected("a whole period, or a rolling one")
            .hint("the windows of its guarantee may have one: only they are counted"),
        );
        return None;
    }
    let alerts = read_alerts(reader, object, path, guarantee);
    let (guarantee, window) = (guarantee?, window?);
    let every = &guarantee.terms.first()?.window;
    let length = window.reach.or_else(|| length_of(window.period));
    if let (Some(length), Some(every)) = (length, length_of(every.period))
        && days(length) < days(every)
    {
        reader.report(
            Diagnostic::error(
                "budget-too-short",
                join(path, "window"),
                format!("the budget's period is shorter than a window of \"{}\"", guarantee.id),
            )
            .expected("a period of many windows of the guarantee"),
        );
        return None;
    }
    let id = reader.text(object, "id", path).unwrap_or_else(|| guarantee.id.clone());
    Some(Budget { id, guarantee: guarantee.id.clone(), target: target?, counts: counts?, window, alerts: alerts? })
}

/// The guarantee a budget is of, if its windows can be counted.
fn named<'g>(reader: &mut Reader<'_>, id: &str, path: &str, guarantees: &'g [Guarantee]) -> Option<&'g Guarantee> {
    let path = join(path, "guarantee");
    let Some(found) = guarantees.iter().find(|g| g.id == id) else {
        // A guarantee that could not be read has its own diagnostics.
        reader.report(
            Diagnostic::error("unknown-guarantee", path, format!("no guarantee is called \"{id}\""))
                .expected("the id of a guarantee of this agreement")
                .did_you_mean(id, guarantees.iter().map(|g| g.id.as_str())),
        );
        return None;
    };
    let first = &found.terms.first()?.window;
    if found.terms.iter().any(|term| term.window != *first) {
        reader.report(
            Diagnostic::error("budget-of-mixed-windows", path, format!("the terms of \"{id}\" have different windows"))
                .expected("a guarantee whose terms have one window, for each counts as one")
                .hint("split the guarantee, one for each window"),
        );
        return None;
    }
    if first.reach.is_some() {
        reader.report(
            Diagnostic::error(
                "budget-of-rolling-windows",
                path,
                format!("the windows of \"{id}\" overlap: what is bad once would be counted often"),
            )
            .expected("a guarantee with windows of type \"static\"; the budget's own window may roll"),
        );
        return None;
    }
    Some(found)
}

fn read_target(reader: &mut Reader<'_>, object: &Map<String, Value>, path: &str) -> Option<Share> {
    let path = join(path, "target");
    let text = match object.get("target")? {
        Value::Null => return None,
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        other => {
            reader.wrong_kind(&path, other, TARGET);
            return None;
        }
    };
    let share = share(&text);
    if share.is_none() {
        let mut problem =
            Diagnostic::error("bad-target", &path, format!("{text} is not a share that must be good")).expected(TARGET);
        if decimal(&text).is_some_and(|rate| rate.numerator > rate.denominator) {
            problem = problem.hint(format!("write \"{text}%\" if it is a percentage"));
        } else if decimal(text.trim_end_matches('%').trim()).is_some() {
            problem = problem.hint("a target of all leaves no budget: that is what the guarantee itself says");
        }
        reader.report(problem);
    }
    share
}

fn share(text: &str) -> Option<Share> {
    let (numerator, denominator) = fraction(text)?;
    Share::new(numerator, denominator)
}

/// `99.9%`, `0.999` or `999/1000`, exactly; not zero.
pub(in crate::agreement) fn fraction(text: &str) -> Option<(u64, u64)> {
    if let Some(percent) = text.strip_suffix('%') {
        let rate = decimal(percent.trim())?;
        return Some((rate.numerator, rate.denominator.checked_mul(100)?));
    }
    if let Some((numerator, denominator)) = text.split_once('/') {
        return Some((numerator.trim().parse().ok()?, denominator.trim().parse().ok()?));
    }
    decimal(text).map(|rate| (rate.numerator, rate.denominator))
}

/// A positive decimal number of at most nine places, exactly.
fn decimal(text: &str) -> Option<Rate> {
    let (whole, places) = text.split_once('.').unwrap_or((text, ""));
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    let written = digits(whole) && digits(places) && !(whole.is_empty() && places.is_empty());
    if !written || whole.len() > 9 || places.len() > 9 {
        return None;
    }
    let denominator = 10u64.pow(u32::try_from(places.len()).ok()?);
    let numerator = format!("{whole}{places}").parse::<u64>().ok()?;
    if numerator == 0 {
        return None;
    }
    let reduced = crate::model::budget::Ratio::new(numerator.into(), denominator.into())?.reduced();
    Some(Rate { numerator: reduced.numerator.try_into().ok()?, denominator: reduced.denominator.try_into().ok()? })
}

/// Reads `events`: what two metrics of the guarantee count; each window counts once without it.
fn read_counts<'d>(
    reader: &mut Reader<'d>,
    object: &'d Map<String, Value>,
    path: &str,
    guarantee: Option<&Guarantee>,
) -> Option<Counts> {
    let Some(events) = reader.field(object, "events", path) else { return Some(Counts::Windows) };
    let path = &join(path, "events");
    let Some(events) = events.as_object() else {
        reader.wrong_kind(path, events, "an object with total, and good or bad, each the name of a metric");
        return None;
    };
    reader.unknown_keys(events, &["total", "good", "bad"], path);
    if events.get("total").is_none_or(Value::is_null) {
        reader.absent("total", path, "the metric that counts all events of a window");
    }
    let total = reader.text(events, "total", path);
    let (good, bad) = (reader.text(events, "good", path), reader.text(events, "bad", path));
    let metric = match (good, bad) {
        (Some(good), None) => Some(EventMetric::Good(good)),
        (None, Some(bad)) => Some(EventMetric::Bad(bad)),
        (both, _) => {
            let message = if both.is_some() { "both good and bad are given" } else { "neither good nor bad is given" };
            reader.report(
                Diagnostic::error("bad-events", path, message).expected(
                    "\"good\" or \"bad\": the metric that counts the good events of a window, or the bad ones",
                ),
            );
            None
        }
    };
    let (total, events) = (total?, metric?);
    let (key, name) = match &events {
        EventMetric::Good(name) => ("good", name),
        EventMetric::Bad(name) => ("bad", name),
    };
    let mut whole = true;
    for (key, name) in [("total", &total), (key, name)] {
        let terms = guarantee.map(|g| g.terms.as_slice()).unwrap_or_default();
        if let Some(term) = terms.iter().find(|term| term.with.iter().all(|(metric, _)| metric != name)) {
            whole = false;
            reader.report(
                Diagnostic::error(
                    "unknown-metric",
                    join(path, key),
                    format!("\"{name}\" is not collected for every term of the guarantee"),
                )
                .expected("a metric in the `with` of each of its terms")
                .did_you_mean(name, term.with.iter().map(|(metric, _)| metric.as_str())),
            );
        }
    }
    whole.then_some(Counts::Events { events, total })
}

fn read_alerts<'d>(
    reader: &mut Reader<'d>,
    object: &'d Map<String, Value>,
    path: &str,
    guarantee: Option<&Guarantee>,
) -> Option<Vec<BurnAlert>> {
    let found = reader.field(object, "alerts", path);
    let path = &join(path, "alerts");
    let list = match found {
        None => return Some(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(other) => {
            reader.wrong_kind(path, other, "a list of alerts, each with burnRate, long and short");
            return None;
        }
    };
    let mut found: Vec<BurnAlert> = Vec::new();
    let mut whole = true;
    for (i, value) in list.iter().enumerate() {
        let path = &format!("{path}[{i}]");
        let Some(object) = value.as_object() else {
            reader.wrong_kind(path, value, "an object with burnRate, long and short");
            whole = false;
            continue;
        };
        let Some(alert) = read_alert(reader, object, path, guarantee) else {
            whole = false;
            continue;
        };
        if found.iter().any(|other| other.id == alert.id) {
            reader.report(
                Diagnostic::error(
                    "duplicate-alert",
                    join(path, "id"),
                    format!("another alert is also called \"{}\"", alert.id),
                )
                .expected("an id that no other alert of the budget has"),
            );
        }
        found.push(alert);
    }
    whole.then_some(found)
}

fn read_alert<'d>(
    reader: &mut Reader<'d>,
    object: &'d Map<String, Value>,
    path: &str,
    guarantee: Option<&Guarantee>,
) -> Option<BurnAlert> {
    reader.unknown_keys(object, ALERT_FIELDS, path);
    let above = "how many times too fast the budget is used up, such as 14.4";
    for (key, expected) in [("burnRate", above), ("long", DURATION), ("short", DURATION)] {
        if object.get(key).is_none_or(Value::is_null) {
            reader.absent(key, path, expected);
        }
    }
    let rate = reader.text(object, "burnRate", path).and_then(|text| {
        let rate = decimal(&text);
        if rate.is_none() {
            reader.report(
                Diagnostic::error("bad-burn-rate", join(path, "burnRate"), format!("\"{text}\" is not a burn rate"))
                    .expected(above),
            );
        }
        rate
    });
    let long = read_duration(reader, object, "long", path, guarantee);
    let short = read_duration(reader, object, "short", path, guarantee);
    let minimum = match object.get("minimum") {
        None | Some(Value::Null) => Some(1),
        Some(value) => {
            let minimum = value.as_u64().filter(|n| *n > 0);
            if minimum.is_none() {
                reader.wrong_kind(&join(path, "minimum"), value, "a whole number from 1: fewer seen never alert");
            }
            minimum
        }
    };
    let (long, short) = (long?, short?);
    if days(short.0) >= days(long.0) {
        reader.report(
            Diagnostic::error("alert-windows", join(path, "short"), "the short time is not shorter than the long one")
                .expected("a twelfth of the long one, as the Site Reliability Workbook advises"),
        );
        return None;
    }
    Some(BurnAlert {
        id: reader.text(object, "id", path).unwrap_or_else(|| long.1.clone()),
        severity: reader.text(object, "severity", path).unwrap_or_else(|| "page".into()),
        above: rate?,
        long: long.0,
        short: short.0,
        long_text: long.1,
        short_text: short.1,
        minimum: minimum?,
    })
}

fn read_duration<'d>(
    reader: &mut Reader<'d>,
    object: &'d Map<String, Value>,
    key: &str,
    path: &str,
    guarantee: Option<&Guarantee>,
) -> Option<(Reach, String)> {
    let text = reader.text(object, key, path)?;
    let Some(reach) = text.parse::<Span>().ok().and_then(|span| reach_of(&span)) else {
        reader.report(
            Diagnostic::error("bad-length", join(path, key), format!("\"{text}\" is not a length of time"))
                .expected(DURATION),
        );
        return None;
    };
    let every = guarantee.and_then(|g| length_of(g.terms.first()?.window.period));
    if let Some(every) = every
        && days(reach) < days(every)
    {
        reader.report(
            Diagnostic::error(
                "alert-too-short",
                join(path, key),
                format!("{text} is shorter than a window of the guarantee: nothing could be seen in it"),
            )
            .expected("at least one window of the guarantee")
            .hint("shorten the guarantee's windows, down to fiveMinutes, or give a longer time"),
        );
        return None;
    }
    Some((reach, text))
}
