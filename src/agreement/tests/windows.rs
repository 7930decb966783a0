//! Windows by example (`tests/cases/agreement/windows.yaml`), the ones of the handbook, and what holds for all of them.

use jiff::{Timestamp, ToSpan};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::window_spec::PERIODS;
use super::super::{Calendar, instant, load_value, schema, tz_database_version};
use super::{around, cases, root};
use crate::model::agreement::Agreement;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default = "madrid")]
    zone: String,
    #[serde(default = "new_year")]
    initial: String,
    end: Option<String>,
    #[serde(default)]
    ours: Value,
    window: Map<String, Value>,
    from: String,
    to: String,
    /// `from to`, as RFC 3339.
    #[serde(default)]
    windows: Vec<String>,
    /// The same for whole days.
    #[serde(default)]
    days: Vec<String>,
}

fn madrid() -> String {
    "Europe/Madrid".into()
}

fn new_year() -> String {
    "2026-01-01".into()
}

/// An agreement with this window.
fn agreement(zone: &str, initial: &str, end: Option<&str>, ours: &Value, window: &Value) -> Agreement {
    let guarantee = json!({"scope": {}, "of": [{"objective": "A > 1", "with": {"A": {}}, "window": window}]});
    let mut document = around(&guarantee, zone);
    document["context"]["validity"]["initial"] = initial.into();
    document["context"]["validity"]["end"] = end.into();
    document["context"]["x-probity"] = ours.clone();
    assert_eq!(schema::problems(&document), [], "{window}");
    let (agreement, problems) = load_value(document, "case");
    agreement.unwrap_or_else(|| panic!("{window}: {problems:#?}"))
}

#[test]
fn windows_by_example() {
    for (at, case) in cases::<Case>("windows") {
        let window = Value::from(case.window);
        let agreement = agreement(&case.zone, &case.initial, case.end.as_deref(), &case.ours, &window);
        let calendar = Calendar::of(&agreement, &agreement.guarantees[0].terms[0].window);
        let bound = |text: &str| instant(text, &agreement.time_zone).unwrap();
        let (from, to) = (bound(&case.from), bound(&case.to));
        let found = calendar.overlapping(from, to).unwrap();
        let (found, expected): (Vec<String>, Vec<String>) = if case.days.is_empty() {
            (found.iter().map(|w| format!("{} {}", w.from_local, w.to_local)).collect(), case.windows)
        } else {
            let midnights = found
                .iter()
                .all(|w| w.from_local[10..].starts_with("T00:00:00") && w.to_local[10..].starts_with("T00:00:00"));
            assert!(midnights, "{at}, {}: {found:?}", case.name);
            (found.iter().map(|w| format!("{} {}", &w.from_local[..10], &w.to_local[..10])).collect(), case.days)
        };
        assert_eq!(found, expected, "{at}, {}", case.name);
        agrees_with_itself(&calendar, from, to, &case.name);
    }
}

/// Whatever a window is: asking for it by its range, as the open one, as the one that closed and as the next to close
/// gives the same.
fn agrees_with_itself(calendar: &Calendar<'_>, from: Timestamp, to: Timestamp, name: &str) {
    let windows = calendar.overlapping(from, to).unwrap();
    for (index, window) in windows.iter().enumerate() {
        assert!(window.from < window.to, "{name}: {window:?}");
        let first = windows.iter().find(|other| other.from == window.from);
        let starting = calendar.starting_at(window.from).unwrap();
        let is_first = first.is_some_and(|first| first.to >= starting.to) && starting.from == window.from;
        assert!(is_first, "{name}: {window:?} starts as {starting:?}");
        let inside = window.to.checked_sub(1.nanosecond()).unwrap();
        assert_eq!(calendar.open_at(inside).as_ref(), Some(window), "{name}: open");
        assert_eq!(calendar.next_close_after(inside), Some(window.to), "{name}: next close");
        assert_eq!(calendar.last_closed(window.to, 1).first(), Some(window), "{name}: closed");
        if let Some(next) = windows.get(index + 1) {
            assert_eq!(calendar.next_close_after(window.to), Some(next.to), "{name}: the close after");
            assert!(window.to < next.to && window.from <= next.from, "{name}: order");
        }
    }
    assert_eq!(
        calendar.last_closed(to, windows.len() + 1).iter().filter(|w| w.to > from).count(),
        windows.iter().filter(|w| w.to <= to).count(),
        "{name}"
    );
}

/// The part of the handbook about windows: every example is read, every period has its row.
#[test]
fn the_handbook_is_right() {
    let text = std::fs::read_to_string(root().join("docs/agreements.md")).unwrap();
    let section = text.split("\n## ").find(|part| part.starts_with("Windows\n")).expect("a section about windows");
    for (name, _) in PERIODS {
        assert!(section.contains(&format!("`{name}`")), "{name} has no row");
    }
    let mut examples = 0;
    for block in section.split("```json\n").skip(1) {
        let example: Value = serde_json::from_str(block.split("```").next().unwrap()).unwrap();
        let window = &example["window"];
        let agreement = agreement("Europe/Madrid", "2026-01-01", None, &example["x-probity"], window);
        let calendar = Calendar::of(&agreement, &agreement.guarantees[0].terms[0].window);
        let bound = |text: &str| instant(text, &agreement.time_zone).unwrap();
        let (from, to) = (bound("2026-03-01"), bound("2026-06-01"));
        assert!(!calendar.overlapping(from, to).unwrap().is_empty(), "{window}");
        agrees_with_itself(&calendar, from, to, &window.to_string());
        examples += 1;
    }
    assert!(examples >= 5, "{examples} examples");
}

#[test]
fn the_tz_database_has_a_version() {
    let version = tz_database_version();
    assert!(version.len() == 5 && version[..4].parse::<u16>().is_ok_and(|year| year >= 2026), "{version}");
}

/// A year of rules is listed to the horizon, and no further.
#[test]
fn rules_without_end_are_followed_for_thirty_years() {
    let window = json!({"period": "customRuleDaily", "rule": "FREQ=YEARLY;BYMONTH=5;BYMONTHDAY=1"});
    let agreement = agreement("Europe/Madrid", "2026-01-01", None, &Value::Null, &window);
    let spec = &agreement.guarantees[0].terms[0].window;
    assert_eq!(spec.listed.len(), 30);
    let calendar = Calendar::of(&agreement, spec);
    let last = calendar.last_closed(Timestamp::MAX, 1);
    assert_eq!(last[0].from_local, "2055-05-01T00:00:00+02:00");
    assert_eq!(calendar.next_close_after(last[0].to), None);
}
