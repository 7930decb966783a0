//! A term's window as documents write it.

use jiff::{Span, Timestamp};
use serde_json::{Map, Value};

use super::calendars::Calendars;
use super::document::{Reader, join};
use super::rules;
use super::time::read_instant;
use crate::model::agreement::{Period, Reach, WindowSpec};
use crate::model::diagnostic::Diagnostic;

/// Names of periods, with the ones other tools use for them; any case of letters will do.
pub(super) const PERIODS: &[(&str, Period)] = &[
    ("fiveMinutes", Period::FiveMinutes),
    ("hourly", Period::Hourly),
    ("daily", Period::Daily),
    ("weekly", Period::Weekly),
    ("isoWeekly", Period::IsoWeekly),
    ("biweekly", Period::Biweekly),
    ("monthly", Period::Monthly),
    ("bimonthly", Period::Bimonthly),
    ("quarterly", Period::Quarterly),
    ("fiscalQuarterly", Period::FiscalQuarterly),
    ("yearly", Period::Yearly),
    ("annually", Period::Yearly),
    ("isoYearly", Period::IsoYearly),
    ("fiscalYearly", Period::FiscalYearly),
    ("customRules", Period::Rules),
    ("customRuleDaily", Period::Rules),
];

/// Longest time a rolling window reaches back, in days.
const REACH_DAYS_MAX: i64 = 3660;

/// What the rest of the agreement says about its windows.
#[derive(Clone, Copy)]
pub(super) struct Context<'c> {
    pub(super) valid_from: Timestamp,
    pub(super) valid_to: Option<Timestamp>,
    pub(super) calendars: &'c Calendars,
}

/// Reads a term's window.
pub(super) fn read_window<'d>(
    reader: &mut Reader<'d>,
    term: &'d Map<String, Value>,
    path: &str,
    context: &Context<'_>,
) -> Option<WindowSpec> {
    let Some(window) = reader.object(term, "window", path) else {
        if term.get("window").is_none_or(Value::is_null) {
            reader.absent("window", path, "a window such as {\"type\": \"static\", \"period\": \"monthly\"}");
        }
        return None;
    };
    let path = &join(path, "window");
    let rolling = read_type(reader, window, path);
    let before = reader.problems.len();
    let zone = &context.calendars.zone;
    let initial = read_instant(reader, window, "initial", path, zone);
    let end = read_instant(reader, window, "end", path, zone);
    let dates_hold = reader.problems.len() == before;
    let initial = initial.unwrap_or(context.valid_from);
    if end.is_some_and(|end| end <= initial) {
        reader.report(
            Diagnostic::error("empty-window-range", join(path, "end"), "the windows end before they begin")
                .expected("an end after window.initial; it is exclusive"),
        );
    }
    let kind = reader.text(window, "type", path).unwrap_or_else(|| "static".into());
    let mut spec = WindowSpec { end, kind, ..WindowSpec::counted(Period::Monthly, "monthly", initial) };
    spec.fiscal_month = context.calendars.fiscal_month;
    let read = if rolling {
        read_rolling(reader, window, path, &mut spec)
    } else {
        read_period(reader, window, path, &mut spec)
    };
    let business = read_business(reader, window, path, context.calendars, rolling);
    read?;
    if spec.period == Period::Rules {
        let until = [context.valid_to, end].into_iter().flatten().min();
        spec.listed = rules::read(reader, window, path, &spec, context.calendars, until)?;
    }
    spec.business = business?;
    dates_hold.then_some(spec)
}

/// Reads `window.type`: whether the windows roll.
fn read_type<'d>(reader: &mut Reader<'d>, window: &'d Map<String, Value>, path: &str) -> bool {
    const TYPES: [&str; 3] = ["static", "rolling", "dynamic"];
    match reader.text(window, "type", path).as_deref() {
        None | Some("static") => false,
        Some("rolling" | "dynamic") => true,
        Some(other) => {
            reader.report(
                Diagnostic::error(
                    "unknown-window-type",
                    join(path, "type"),
                    format!("windows of type \"{other}\" are not supported"),
                )
                .expected(
                    "\"static\": calendar windows, one after the other; or \"rolling\": each reaches back from its end",
                )
                .did_you_mean(other, TYPES),
            );
            false
        }
    }
}

/// Reads `period` of windows that follow each other.
fn read_period<'d>(
    reader: &mut Reader<'d>,
    window: &'d Map<String, Value>,
    path: &str,
    spec: &mut WindowSpec,
) -> Option<()> {
    for key in ["length", "step"] {
        if window.contains_key(key) {
            let problem =
                Diagnostic::warning("unused-field", join(path, key), format!("{key} is for rolling windows only"));
            reader.report(problem.hint("write \"type\": \"rolling\" if each window reaches back from its end"));
        }
    }
    if window.get("period").is_none_or(Value::is_null) {
        reader.report(
            Diagnostic::warning("missing-period", join(path, "period"), "no period is given; monthly is taken")
                .expected(names()),
        );
        return Some(());
    }
    let (name, period) = named(reader, window, "period", path)?;
    (spec.period, spec.period_name) = (period, name.to_owned());
    Some(())
}

/// Reads `length` (or the period as a length) and `step` of rolling windows.
fn read_rolling<'d>(
    reader: &mut Reader<'d>,
    window: &'d Map<String, Value>,
    path: &str,
    spec: &mut WindowSpec,
) -> Option<()> {
    let is_given = |key: &str| window.get(key).is_some_and(|value| !value.is_null());
    let reach = if is_given("length") {
        read_length(reader, window, path)?
    } else if is_given("period") {
        let (name, period) = named(reader, window, "period", path)?;
        spec.period_name = name.to_owned();
        let Some(reach) = length_of(period) else {
            reader.report(
                Diagnostic::error("not-a-length", join(path, "period"), format!("{name} windows differ in length"))
                    .expected("a period counted in hours, days or months, or \"length\": a duration such as \"P30D\""),
            );
            return None;
        };
        reach
    } else {
        reader.absent("length", path, "how far a window reaches back, such as \"P30D\", or a period such as monthly");
        return None;
    };
    if !is_given("period") {
        spec.period_name = "rolling".into();
    }
    let short = reach.months == 0 && reach.days <= 1;
    spec.period = if short { Period::Hourly } else { Period::Daily };
    if is_given("step") {
        let (name, step) = named(reader, window, "step", path)?;
        if step == Period::Rules {
            reader.report(
                Diagnostic::error("not-a-step", join(path, "step"), format!("{name} is no step of rolling windows"))
                    .expected("a period such as hourly or daily"),
            );
            return None;
        }
        spec.period = step;
    }
    if length_of(spec.period).is_none_or(|step| days(step) > days(reach)) {
        reader.report(
            Diagnostic::warning(
                "window-gaps",
                join(path, "step"),
                "windows shorter than their step leave time that nobody judges",
            )
            .expected("a step of at most the length"),
        );
    }
    spec.reach = Some(reach);
    Some(())
}

/// A period's name and what it is; reports one that is none.
fn named<'d>(
    reader: &mut Reader<'d>,
    window: &'d Map<String, Value>,
    key: &str,
    path: &str,
) -> Option<(&'static str, Period)> {
    let written = reader.text(window, key, path)?;
    let found = PERIODS.iter().find(|(name, _)| name.eq_ignore_ascii_case(&written));
    if found.is_none() {
        reader.report(
            Diagnostic::error("unknown-period", join(path, key), format!("\"{written}\" is not a period"))
                .expected(format!("one of {}", names()))
                .did_you_mean(&written, PERIODS.iter().map(|p| p.0)),
        );
    }
    found.copied()
}

fn names() -> String {
    PERIODS.iter().map(|p| p.0).collect::<Vec<_>>().join(", ")
}

/// A period as a length, when all of it are equally long on the clock on the wall.
pub(super) fn length_of(period: Period) -> Option<Reach> {
    let (months, days, seconds) = match period {
        Period::FiveMinutes => (0, 0, 300),
        Period::Hourly => (0, 0, 3600),
        Period::Daily => (0, 1, 0),
        Period::Weekly | Period::IsoWeekly => (0, 7, 0),
        Period::Biweekly => (0, 14, 0),
        Period::Monthly => (1, 0, 0),
        Period::Bimonthly => (2, 0, 0),
        Period::Quarterly | Period::FiscalQuarterly => (3, 0, 0),
        Period::Yearly | Period::FiscalYearly => (12, 0, 0),
        Period::IsoYearly | Period::Rules => return None,
    };
    Some(Reach { months, days, seconds })
}

/// A length in days, near enough to compare.
pub(super) fn days(reach: Reach) -> f64 {
    f64::from(reach.months) * 30.5 + f64::from(reach.days) + reach.seconds as f64 / 86_400.0
}

/// A positive duration of at most [`REACH_DAYS_MAX`] days as a length of civil time.
pub(super) fn reach_of(span: &Span) -> Option<Reach> {
    let reach = Some(span).filter(|span| span.is_positive()).and_then(|span| {
        Some(Reach {
            months: i32::try_from(i64::from(span.get_years()) * 12 + i64::from(span.get_months())).ok()?,
            days: span.get_weeks().checked_mul(7)?.checked_add(span.get_days())?,
            seconds: i64::from(span.get_hours()) * 3600 + span.get_minutes() * 60 + span.get_seconds(),
        })
    });
    reach.filter(|reach| *reach != Reach::default() && days(*reach) <= REACH_DAYS_MAX as f64)
}

fn read_length<'d>(reader: &mut Reader<'d>, window: &'d Map<String, Value>, path: &str) -> Option<Reach> {
    let text = reader.text(window, "length", path)?;
    let reach = text.parse::<Span>().ok().and_then(|span| reach_of(&span));
    if reach.is_none() {
        reader.report(
            Diagnostic::error("bad-length", join(path, "length"), format!("\"{text}\" is not a length of a window"))
                .expected(format!(
                    "a duration such as \"P30D\", \"P1M\" or \"PT6H\", of at most {REACH_DAYS_MAX} days"
                )),
        );
    }
    reach
}

/// Reads `x-probity.calendar`; the outer `None` when it cannot be used.
#[allow(clippy::option_option, reason = "unusable, none given, given")]
fn read_business<'d>(
    reader: &mut Reader<'d>,
    window: &'d Map<String, Value>,
    path: &str,
    calendars: &Calendars,
    rolling: bool,
) -> Option<Option<std::sync::Arc<crate::model::agreement::BusinessCalendar>>> {
    let Some(ours) = window.get("x-probity").filter(|v| !v.is_null()) else { return Some(None) };
    let path = join(path, "x-probity");
    let Some(ours) = ours.as_object() else {
        reader.wrong_kind(&path, ours, "an object");
        return None;
    };
    reader.unknown_keys(ours, &["calendar"], &path);
    let Some(written) = ours.get("calendar").filter(|v| !v.is_null()) else { return Some(None) };
    let path = join(&path, "calendar");
    let Some(name) = written.as_str() else {
        reader.wrong_kind(&path, written, "the name of a calendar");
        return None;
    };
    let problem = match calendars.business.get(name) {
        Some(_) if rolling => Diagnostic::error("rolling-calendar", path, "a rolling window has no business calendar")
            .expected("windows of type \"static\"")
            .hint("let the collector count open hours only"),
        Some(calendar) => return calendar.clone().map(Some),
        None => Diagnostic::error("unknown-calendar", path, format!("\"{name}\" is not a calendar of this agreement"))
            .expected("the name of one under context[\"x-probity\"].calendars")
            .did_you_mean(name, calendars.business.keys().map(String::as_str)),
    };
    reader.report(problem);
    None
}
