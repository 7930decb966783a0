//! Which defects of the Registry, put back one by one into the real windows, give the Registry's answer.
//!
//! An explanation is the smallest set that does; so a table of them cannot name a defect that has no part in it.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use serde_json::{Value, json};

use super::super::{RegistryPeriod, day_after, milliseconds, shifted};
use super::{at, written};
use crate::agreement::recurrence::Recurrence;
use crate::agreement::{Calendar, instant};
use crate::model::agreement::{Period, WindowSpec};

/// Facts of `domain.md` §0; `C4` is `governify.md` §10 number 4: names of periods the Registry does not know.
const DEFECTS: [&str; 5] = ["U7", "U8", "U9", "U10", "C4"];

/// The Registry's defects put back.
#[derive(Clone, Copy)]
struct Defects {
    whole_hours_of_utc: bool,
    short_months_skipped: bool,
    closed_before_the_end: bool,
    one_snapped_range: bool,
    unknown_names: bool,
}

type Pairs = Vec<(Timestamp, Timestamp)>;

/// The smallest set of defects that turns our answer into the recorded one; empty when they are equal.
pub(super) fn explanation(function: &str, case: &Value) -> Option<Vec<&'static str>> {
    let mut sets: Vec<u32> = (0..1 << DEFECTS.len()).collect();
    sets.sort_by_key(|set| set.count_ones());
    let set = sets.into_iter().find(|set| answer(function, case, defects(*set)) == case["result"])?;
    Some(DEFECTS.iter().enumerate().filter(|(i, _)| set >> i & 1 == 1).map(|(_, name)| *name).collect())
}

fn defects(set: u32) -> Defects {
    let has = |name| DEFECTS.iter().position(|d| *d == name).is_some_and(|i| set >> i & 1 == 1);
    Defects {
        whole_hours_of_utc: has("U7"),
        short_months_skipped: has("U8"),
        closed_before_the_end: has("U9"),
        one_snapped_range: has("U10"),
        unknown_names: has("C4"),
    }
}

fn answer(function: &str, case: &Value, defects: Defects) -> Value {
    let name = case["window"]["period"].as_str().unwrap_or("monthly");
    let known = ["hourly", "daily", "weekly", "monthly", "yearly", "customRules"].contains(&name);
    if defects.unknown_names && !known {
        let read = if function == "getLastPeriod" { "length" } else { "sort" };
        return json!({"error": format!("Cannot read properties of undefined (reading '{read}')")});
    }
    let now = at(&case["now"]);
    let zone = TimeZone::get(case["timeZone"].as_str().unwrap_or("UTC")).unwrap();
    let cut = if defects.whole_hours_of_utc { TimeZone::UTC } else { zone.clone() };
    let moved = |at| if defects.whole_hours_of_utc { shifted(at, &zone).unwrap() } else { at };
    if function == "getLastPeriod" {
        // The real window is the one that is open; what of it is over ends now.
        let found = pairs(case, name, &cut, defects, now, now);
        let Some((start, _)) = found.into_iter().rfind(|pair| pair.0 <= now) else { return Value::Null };
        let from = moved(start);
        let to = if now < from { day_after(now, from).unwrap() } else { now };
        return written(&RegistryPeriod { from, to: milliseconds(to) });
    }
    let (from, to) = (at(&case["window"]["from"]), at(&case["window"]["end"]));
    let mut found = pairs(case, name, &cut, defects, from, to);
    if function == "getPeriods_v38plus" {
        if defects.one_snapped_range {
            return json!([written(&snap(&found, name, from, to, now))]);
        }
        found.retain(|pair| pair.1 > from && pair.0 < to.min(now));
        return found.into_iter().map(|(from, to)| written(&RegistryPeriod { from, to })).collect();
    }
    // Whole windows in a range whose end is in it, as far as they are over; those of rules need not be.
    let tick = SignedDuration::from_millis(1);
    found.retain(|pair| pair.1 <= now || name == "customRules");
    let periods = found.into_iter().map(|(start, end)| {
        let end = if defects.closed_before_the_end { end.checked_sub(tick).unwrap() } else { end };
        RegistryPeriod { from: moved(start), to: moved(end) }
    });
    let end = if defects.closed_before_the_end { to } else { to.checked_add(tick).unwrap() };
    periods.filter(|p| p.to > from && p.to <= end).map(|p| written(&p)).collect()
}

/// Windows around a range, cut in a zone.
fn pairs(case: &Value, name: &str, zone: &TimeZone, defects: Defects, from: Timestamp, to: Timestamp) -> Pairs {
    let initial = instant(case["window"]["initial"].as_str().unwrap(), zone).unwrap();
    let period = match name {
        "hourly" => Period::Hourly,
        "daily" => Period::Daily,
        "weekly" => Period::Weekly,
        "biweekly" => Period::Biweekly,
        "yearly" | "annually" => Period::Yearly,
        "customRules" => return rules(case, zone, to.checked_add((60 * 24).hours()).unwrap()),
        _ => Period::Monthly,
    };
    let civil = zone.to_datetime(initial);
    if period == Period::Monthly && defects.short_months_skipped && civil.day() > 28 {
        return skipping(civil, zone);
    }
    let spec = WindowSpec::counted(period, name, initial);
    let wide = if period == Period::Hourly { 3 * 24 } else { 500 * 24 };
    // Marks are those until now, wherever the range is.
    let from = from.min(at(&case["now"]));
    let (from, to) = (from.checked_sub(wide.hours()).unwrap(), to.max(initial).checked_add(wide.hours()).unwrap());
    let found = Calendar::new(&spec, zone, initial, None).overlapping(from, to).unwrap();
    found.into_iter().map(|window| (window.from, window.to)).collect()
}

/// Months until 2030 without those that have no such day.
fn skipping(first: DateTime, zone: &TimeZone) -> Pairs {
    let starts = (0..12 * 15).map(|count| first.checked_add(count.months()).unwrap());
    let starts = starts.filter(|start| start.day() == first.day());
    let starts: Vec<Timestamp> = starts.map(|start| zone.to_ambiguous_timestamp(start).compatible().unwrap()).collect();
    starts.windows(2).map(|pair| (pair[0], pair[1])).collect()
}

fn rules(case: &Value, zone: &TimeZone, until: Timestamp) -> Pairs {
    let (starts, ends) = case["window"]["rules"].as_str().unwrap().split_once("---").unwrap();
    let until = zone.to_datetime(until);
    let found = |rule: &str| Recurrence::parse(rule, None).unwrap().until(until, 1000).unwrap();
    let instant = |at: DateTime| zone.to_ambiguous_timestamp(at).compatible().unwrap();
    // An end on the last second of a minute has that second in it.
    let end = |at: DateTime| instant(at.checked_add(1.second()).unwrap());
    found(starts).into_iter().map(instant).zip(found(ends).into_iter().map(end)).collect()
}

/// The Registry's one range, from boundaries and the marks one second before them.
fn snap(found: &Pairs, name: &str, from: Timestamp, to: Timestamp, now: Timestamp) -> RegistryPeriod {
    let before = |at: Timestamp| at.checked_sub(1.second()).unwrap();
    let mut marks: Vec<Timestamp> = found.iter().flat_map(|pair| [pair.0, before(pair.1)]).collect();
    if name == "customRules" {
        // The Registry ends its rules where the range ends.
        marks.retain(|mark| *mark <= to);
    } else {
        marks.extend(found.iter().map(|pair| pair.1));
        marks.retain(|mark| *mark <= now);
    }
    marks.sort();
    RegistryPeriod {
        from: marks.iter().rfind(|mark| **mark < from).copied().unwrap_or(from),
        to: marks.iter().find(|mark| **mark > to).copied().unwrap_or(to),
    }
}
