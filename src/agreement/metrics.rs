//! `terms.metrics`: what is measured, and who is asked for it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::document::{Reader, join};
use crate::expr;
use crate::model::agreement::{Collector, FlowEntry, Metric};
use crate::model::diagnostic::Diagnostic;

/// Types of collectors, as documents name them.
const TYPES: &[&str] = &["POST-GET-V1", "PROBITY-FLOW-V1"];
/// The type under which status-backend is asked.
const STATUS: &str = "POST-GET-V1-STATUS";
/// Types that Governify has, or had, and nobody here can ask.
const UNSUPPORTED: &[&str] = &["PPINOT-V1", "GET-V1"];

/// Every metric of the document; `None` for one that cannot be used, so that guarantees can tell it from one that
/// does not exist.
pub(super) fn read_metrics<'d>(
    reader: &mut Reader<'d>,
    terms: &'d Map<String, Value>,
) -> BTreeMap<String, Option<Metric>> {
    let Some(metrics) = reader.object(terms, "metrics", "$.terms") else {
        if terms.get("metrics").is_none_or(Value::is_null) {
            reader.absent("metrics", "$.terms", "an object with the metrics that the guarantees use");
        }
        return BTreeMap::new();
    };
    metrics.iter().map(|(id, value)| (id.clone(), read_metric(reader, id, value))).collect()
}

/// A name that could stand in an objective, made of one that cannot.
fn identifier_like(id: &str) -> String {
    let signs = id.chars().map(|c| if c.is_alphanumeric() || c == '_' || c == '$' { c } else { '_' });
    let name: String = signs.take(60).collect();
    if expr::is_identifier(&name) { name } else { format!("M_{name}") }
}

fn read_metric<'d>(reader: &mut Reader<'d>, id: &str, value: &'d Value) -> Option<Metric> {
    let path = &join("$.terms.metrics", id);
    if !expr::is_identifier(id) {
        reader.report(
            Diagnostic::error("bad-metric-name", path, format!("\"{id}\" cannot be named in an objective"))
                .expected(
                    "letters, digits, `_` and `$`, not starting with a digit, and no word of the objective language",
                )
                .hint(format!("name it otherwise, here and where it is used, such as \"{}\"", identifier_like(id))),
        );
    }
    let value = reader.resolve(value, path)?;
    let Some(metric) = value.as_object() else {
        reader.wrong_kind(path, value, "an object with collector and measure");
        return None;
    };
    let measure = match reader.field(metric, "measure", path) {
        None => Map::new(),
        Some(Value::Object(measure)) => {
            let expanded = reader.expand(&Value::Object(measure.clone()), &join(path, "measure"));
            expanded.as_object().cloned().unwrap_or_default()
        }
        Some(other) => {
            reader.wrong_kind(&join(path, "measure"), other, "an object");
            return None;
        }
    };
    let collector = match reader.object(metric, "collector", path) {
        Some(collector) => read_collector(reader, collector, &join(path, "collector"))?,
        None if metric.get("collector").is_none_or(Value::is_null) => no_collector(reader, metric, path)?,
        None => return None,
    };
    Some(Metric { id: id.to_owned(), collector, measure })
}

/// What stands for a missing `collector`: the `computer` of iAgree v2 to v5, a URL or an object with one. The document is
/// right as it is, but nobody serves that protocol any more: its metric has no value, for that reason.
fn no_collector<'d>(reader: &mut Reader<'d>, metric: &'d Map<String, Value>, path: &str) -> Option<Collector> {
    let expected =
        "a collector of iAgree v6: {\"infrastructurePath\", \"endpoint\", \"type\": \"POST-GET-V1\", \"config\"}";
    let Some(computer) = reader.field(metric, "computer", path) else {
        reader.absent("collector", path, expected);
        return None;
    };
    let path = &join(path, "computer");
    let address = match computer {
        Value::String(url) => url.trim(),
        Value::Object(computer) => computer.get("url").and_then(Value::as_str).unwrap_or("without url"),
        other => {
            reader.wrong_kind(path, other, "a URL, or an object with url, apiVersion, name and config");
            return None;
        }
    };
    reader.report(
        Diagnostic::warning(
            "old-computer",
            path,
            "`computer` is the form of iAgree v2 to v5, which nobody answers any more: the metric has no value",
        )
        .expected(expected)
        .hint("replace it by a `collector` with the same URL and config"),
    );
    let reason = format!("its computer {address} is of iAgree v2 to v5, a protocol that is not spoken here");
    Some(Collector::Unsupported { reason })
}

fn read_collector<'d>(reader: &mut Reader<'d>, collector: &'d Map<String, Value>, path: &str) -> Option<Collector> {
    let config = match collector.get("config") {
        None | Some(Value::Null) => Value::Object(Map::new()),
        Some(config) => reader.expand(config, &join(path, "config")),
    };
    let Some(kind) = reader.text(collector, "type", path) else {
        if collector.get("type").is_none_or(Value::is_null) {
            reader.absent("type", path, "\"POST-GET-V1\" or \"PROBITY-FLOW-V1\"");
        }
        return None;
    };
    if kind == "PROBITY-FLOW-V1" {
        reader.unknown_keys(collector, &["type", "endpoint", "metric", "config"], path);
        return Some(Collector::Flow { entry: read_entry(reader, collector, path)?, config });
    }
    // STATUS sends POST-GET-V1-STATUS; the registry takes every type that starts so.
    if kind.starts_with("POST-GET-V1") {
        for key in ["infrastructurePath", "endpoint"] {
            if collector.get(key).is_none_or(Value::is_null) {
                let expected = match key {
                    "endpoint" => "the path of the computations, such as \"/api/v2/computations\"",
                    _ => "a configured service such as \"internal.collector.events\", or a base URL",
                };
                reader.absent(key, path, expected);
            }
        }
        let infrastructure_path = reader.text(collector, "infrastructurePath", path);
        let endpoint = reader.text(collector, "endpoint", path);
        let (infrastructure_path, endpoint) = (infrastructure_path?, endpoint?);
        return Some(Collector::PostGet { infrastructure_path, endpoint, config, rounds: kind == STATUS });
    }
    if UNSUPPORTED.contains(&kind.as_str()) {
        let message = format!("collectors of type \"{kind}\" cannot be asked: the metric has no value");
        reader.report(
            Diagnostic::warning("unsupported-collector", join(path, "type"), message)
                .expected(format!("one of {}", TYPES.join(", "))),
        );
        let reason = format!("its collector is of type {kind}, a protocol that is not spoken here");
        return Some(Collector::Unsupported { reason });
    }
    let problem = Diagnostic::error(
        "unknown-collector",
        join(path, "type"),
        format!("collectors of type \"{kind}\" are not supported"),
    )
    .expected(format!("one of {}", TYPES.join(", ")))
    .did_you_mean(&kind, TYPES.iter().copied());
    reader.report(problem);
    None
}

fn read_entry<'d>(reader: &mut Reader<'d>, collector: &'d Map<String, Value>, path: &str) -> Option<FlowEntry> {
    let endpoint = reader.text(collector, "endpoint", path);
    let metric = reader.text(collector, "metric", path);
    let expected = "`endpoint`, the URL of an http in node, or `metric`, the name of a metric node";
    match (endpoint, metric) {
        (Some(path), None) => {
            Some(FlowEntry::Http { path: if path.starts_with('/') { path } else { format!("/{path}") } })
        }
        (None, Some(name)) => Some(FlowEntry::Metric { name }),
        (Some(_), Some(_)) => {
            reader.report(
                Diagnostic::error("two-entries", path, "the collector names both an endpoint and a metric node")
                    .expected(format!("one of {expected}")),
            );
            None
        }
        (None, None) => {
            reader.report(Diagnostic::error("no-entry", path, "the collector names no flow").expected(expected));
            None
        }
    }
}
