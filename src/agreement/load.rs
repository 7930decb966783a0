//! A Governify/iAgree v6 document to an [`Agreement`], with every problem it has.
//!
//! A document with an error gives no agreement at all: half an agreement would judge half of what was promised and
//! look whole. Warnings do not stop it. Fields nobody reads stay in [`Agreement::document`].

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::billing::read_billing;
use super::budgets::read_budgets;
use super::bundle::{Bundle, load_all};
use super::calendars::{Calendars, read_calendars};
use super::collector::canonical;
use super::coverage::read_min_coverage;
use super::document::{Reader, join};
use super::terms::read_guarantees;
use super::time::{read_instant, read_zone, zone};
use super::waivers::read_waivers;
use super::{document, metrics};
use crate::cron::Cron;
use crate::model::agreement::{Agreement, Billing, CatchUp, ScheduleOverride};
use crate::model::budget::Budget;
use crate::model::diagnostic::{Diagnostic, Severity};
use crate::model::waiver::Waiver;

/// Longest document, in bytes.
pub const BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longest id of an agreement, in bytes: results are found by it, and Postgres indexes no text much longer.
const ID_BYTES_MAX: usize = 1000;

/// Loads the one agreement of a JSON or YAML text. `source` says where it came from and becomes the diagnostics' file.
/// A template is no agreement; a text with several of either is refused: [`super::load_all`] reads those.
pub fn load(text: &str, source: &str) -> (Option<Agreement>, Vec<Diagnostic>) {
    let Bundle { mut agreements, templates, mut problems } = load_all(text, source);
    if let Some(template) = templates.first() {
        let message = format!("\"{}\" is a template, which names no parties and cannot be judged", template.id);
        problems.insert(
            0,
            Diagnostic::error("template", "$.type", message)
                .expected("\"agreement\"")
                .hint("make an agreement from it: `probity agreement render FILE --set id=…`")
                .in_file(source),
        );
    }
    if agreements.len() + templates.len() > 1 {
        let message = format!("the text holds {} documents", agreements.len() + templates.len());
        problems.push(Diagnostic::error("several-documents", "$", message).expected("one agreement").in_file(source));
    }
    super::source::locate(text, &mut problems);
    let failed = problems.iter().any(|p| p.severity == Severity::Error);
    (agreements.pop().filter(|_| !failed), problems)
}

/// Loads an agreement from a document that is parsed already.
pub fn load_value(document: Value, source: &str) -> (Option<Agreement>, Vec<Diagnostic>) {
    let mut reader = Reader::new(&document);
    let parts = read(&mut reader, &document);
    for problem in super::template::unfilled(&document) {
        reader.report(problem);
    }
    let failed = reader.has_errors();
    let problems = reader.problems.into_iter().map(|p| p.in_file(source)).collect();
    let agreement = parts.filter(|_| !failed).map(|parts| Agreement {
        hash: hex::encode(Sha256::digest(canonical(&document))),
        id: parts.id,
        version: parts.version,
        source: source.to_owned(),
        time_zone: parts.validity.zone,
        time_zone_name: parts.validity.zone_name,
        valid_from: parts.validity.from,
        valid_to: parts.validity.to,
        metrics: parts.metrics,
        guarantees: parts.guarantees,
        schedule: parts.schedule,
        waivers: parts.waivers,
        billing: parts.billing,
        budgets: parts.budgets,
        document: document.clone(),
    });
    (agreement, problems)
}

/// A document with its local references replaced by what they stand for; as it is when one of them stands for nothing.
pub fn resolved(document: &Value) -> Value {
    let mut reader = Reader::new(document);
    let expanded = reader.expand(document, "$");
    if reader.has_errors() { document.clone() } else { expanded }
}

/// Whether a document claims to be an agreement (or a template of one), rather than some other JSON or YAML.
pub fn looks_like_agreement(document: &Value) -> bool {
    document.get("terms").is_some() && document.get("context").is_some()
}

struct Parts {
    id: String,
    version: String,
    validity: Validity,
    metrics: BTreeMap<String, crate::model::agreement::Metric>,
    guarantees: Vec<crate::model::agreement::Guarantee>,
    schedule: Option<ScheduleOverride>,
    waivers: Vec<Waiver>,
    billing: Option<Billing>,
    budgets: Vec<Budget>,
}

pub(super) struct Validity {
    pub(super) zone: TimeZone,
    zone_name: String,
    pub(super) from: Timestamp,
    pub(super) to: Option<Timestamp>,
    pub(super) calendars: Calendars,
}

fn read<'d>(reader: &mut Reader<'d>, document: &'d Value) -> Option<Parts> {
    let Some(root) = document.as_object() else {
        reader.report(
            Diagnostic::error("not-an-agreement", "$", format!("{} stands here", document::kind(document)))
                .expected("an agreement: an object with id, version, type, context and terms"),
        );
        return None;
    };
    read_type(reader, root);
    let id = reader.text(root, "id", "$");
    if root.get("id").is_none_or(Value::is_null) {
        reader.absent("id", "$", "a name that no other agreement has");
    }
    if let Some(id) = id.as_ref().filter(|id| id.len() > ID_BYTES_MAX) {
        reader.report(
            Diagnostic::error("too-long", "$.id", format!("the id has {} bytes", id.len()))
                .expected(format!("at most {ID_BYTES_MAX}")),
        );
    }
    let version = reader.text(root, "version", "$").unwrap_or_default();
    let context = required(reader, root, "context", "an object with validity and definitions");
    let validity = context.and_then(|context| read_validity(reader, context));
    let schedule = context.and_then(|context| read_schedule(reader, context));
    let terms = required(reader, root, "terms", "an object with metrics and guarantees")?;
    unsupported_terms(reader, terms);
    for (holder, path) in [(Some(root), "$"), (context, "$.context"), (Some(terms), "$.terms")] {
        refuse_overrides(reader, holder, path);
    }
    let metrics = metrics::read_metrics(reader, terms);
    let min_coverage = context.and_then(|context| {
        let ours = reader.field(context, "x-probity", "$.context").and_then(Value::as_object)?;
        read_min_coverage(reader, ours, "$.context[\"x-probity\"]")
    });
    let guarantees = read_guarantees(reader, terms, &metrics, validity.as_ref(), min_coverage);
    let waivers = context.map_or_else(Vec::new, |context| {
        read_waivers(reader, context, id.as_deref().unwrap_or_default(), validity.as_ref(), &guarantees)
    });
    let billing = read_billing(reader, terms, validity.as_ref());
    let budgets =
        context.map_or_else(Vec::new, |context| read_budgets(reader, context, validity.as_ref(), &guarantees));
    Some(Parts {
        id: id?,
        version,
        validity: validity?,
        metrics: metrics.into_iter().filter_map(|(id, metric)| Some((id, metric?))).collect(),
        guarantees,
        schedule,
        waivers,
        billing,
        budgets,
    })
}

fn required<'d>(
    reader: &mut Reader<'d>,
    root: &'d Map<String, Value>,
    key: &str,
    expected: &str,
) -> Option<&'d Map<String, Value>> {
    if root.get(key).is_none_or(Value::is_null) {
        reader.absent(key, "$", expected);
        return None;
    }
    reader.object(root, key, "$")
}

fn read_type<'d>(reader: &mut Reader<'d>, root: &'d Map<String, Value>) {
    match reader.text(root, "type", "$").as_deref() {
        Some("agreement") => {}
        Some("template") => reader.report(
            Diagnostic::error("template", "$.type", "this is a template, which names no parties and cannot be judged")
                .expected("\"agreement\"")
                .hint("make an agreement from it: fill in its placeholders, give it an id of its own and \"type\": \"agreement\""),
        ),
        Some(other) => reader.report(
            Diagnostic::error("unknown-type", "$.type", format!("\"{other}\" is not a type of document"))
                .expected("\"agreement\"")
                .did_you_mean(other, ["agreement"]),
        ),
        None if root.get("type").is_none_or(Value::is_null) => reader.report(
            Diagnostic::warning("missing-type", "$.type", "no type is given; \"agreement\" is taken")
                .expected("\"agreement\""),
        ),
        None => {}
    }
}

fn read_validity<'d>(reader: &mut Reader<'d>, context: &'d Map<String, Value>) -> Option<Validity> {
    let path = "$.context.validity";
    let Some(validity) = reader.object(context, "validity", "$.context") else {
        if context.get("validity").is_none_or(Value::is_null) {
            reader.absent("validity", "$.context", "an object with initial and timeZone");
        }
        return None;
    };
    let (zone, zone_name) = read_zone(reader, validity, path);
    let from = read_instant(reader, validity, "initial", path, &zone);
    if validity.get("initial").is_none_or(Value::is_null) {
        reader.absent("initial", path, "the date the agreement starts, such as 2026-01-01");
    }
    let to = read_instant(reader, validity, "end", path, &zone);
    if let (Some(from), Some(to)) = (from, to)
        && to <= from
    {
        reader.report(
            Diagnostic::error("empty-validity", join(path, "end"), "the agreement ends before it starts")
                .expected("an end after validity.initial; it is exclusive")
                .hint("leave out \"end\" for an agreement without end"),
        );
    }
    let from = from?;
    // Whether it is an object at all is said where the schedule is read.
    let ours = reader.field(context, "x-probity", "$.context").and_then(Value::as_object);
    let calendars = match ours {
        Some(ours) => read_calendars(reader, ours, "$.context[\"x-probity\"]", &zone, from),
        None => Calendars::in_zone(zone.clone()),
    };
    Some(Validity { zone, zone_name, from, to, calendars })
}

/// Parts of an agreement that change what is owed but are not computed here: said, not skipped.
fn unsupported_terms(reader: &mut Reader<'_>, terms: &Map<String, Value>) {
    for key in ["quotas", "rates"] {
        if terms.get(key).is_some_and(has_content) {
            reader.report(not_computed(&join("$.terms", key), key));
        }
    }
}

/// Wherever they stand. An override takes evidence out of a computation that was made elsewhere, which no verdict can be computed from; and it
/// names neither who answers for it nor an end.
pub(super) fn refuse_overrides(reader: &mut Reader<'_>, holder: Option<&Map<String, Value>>, path: &str) {
    if !holder.and_then(|holder| holder.get("overrides")).is_some_and(has_content) {
        return;
    }
    let message = "overrides cannot be applied: the evidence they take out was counted by the collector";
    reader.report(
        Diagnostic::error("override", join(path, "overrides"), message)
            .expected("none; what is to be accepted is a waiver, with reason, owner and expiry")
            .hint("move it to context.x-probity.waivers, or make it with `probity waiver add`; or correct the collector's evidence"),
    );
}

pub(super) fn not_computed(path: &str, what: &str) -> Diagnostic {
    Diagnostic::warning("not-computed", path, format!("{what} are not computed in this release; verdicts are"))
}

pub(super) fn has_content(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    }
}

fn read_schedule<'d>(reader: &mut Reader<'d>, context: &'d Map<String, Value>) -> Option<ScheduleOverride> {
    let ours = reader.object(context, "x-probity", "$.context")?;
    let path = "$.context[\"x-probity\"]";
    reader.unknown_keys(ours, &["schedule", "calendars", "fiscalYear", "waivers", "budgets", "minCoverage"], path);
    let schedule = reader.object(ours, "schedule", path)?;
    let path = &join(path, "schedule");
    reader.unknown_keys(schedule, &["cron", "timeZone", "catchUp"], path);
    let time_zone = reader.text(schedule, "timeZone", path);
    if let Some(name) = &time_zone
        && zone(name).is_none()
    {
        reader.report(
            Diagnostic::error("unknown-time-zone", join(path, "timeZone"), format!("\"{name}\" is not a time zone"))
                .expected("an IANA name such as Europe/Madrid"),
        );
    }
    let catch_up = match reader.text(schedule, "catchUp", path).as_deref() {
        None => CatchUp::default(),
        Some("skip") => CatchUp::Skip,
        Some("last") => CatchUp::Last,
        Some("all") => CatchUp::All,
        Some(other) => {
            reader.report(
                Diagnostic::error(
                    "unknown-catch-up",
                    join(path, "catchUp"),
                    format!("\"{other}\" is not a way to catch up"),
                )
                .expected("one of skip, last, all")
                .did_you_mean(other, ["skip", "last", "all"]),
            );
            CatchUp::default()
        }
    };
    let cron = reader.text(schedule, "cron", path);
    if schedule.get("cron").is_none_or(Value::is_null) {
        reader.absent("cron", path, "a cron expression such as \"0 * * * *\"");
    }
    if let Some(Err(error)) = cron.as_deref().map(Cron::parse) {
        let problem =
            Diagnostic::error("bad-cron", join(path, "cron"), format!("{}: {}", error.pattern, error.problem));
        let problem = problem.expected(error.expected);
        reader.report(match error.hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        });
    }
    Some(ScheduleOverride { cron: cron?, time_zone, catch_up })
}
