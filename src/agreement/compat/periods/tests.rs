//! The golden file of the Registry's own periods, and why the real windows differ from them.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::PathBuf;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::*;

mod strict;

/// The three functions of the Registry that were recorded.
pub(super) const FUNCTIONS: [&str; 3] = ["getPeriods_v38plus", "getLastPeriod", "getPeriods_v34to37"];

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases/governify").join(name)
}

pub(super) fn golden() -> Value {
    let packed = std::fs::File::open(file("periods-golden.json.gz")).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn at(value: &Value) -> Timestamp {
    date(value.as_str().unwrap()).unwrap()
}

fn written(period: &RegistryPeriod) -> Value {
    json!({"from": period.from_text(), "to": period.to_text()})
}

/// What we make of a recorded call, in the form of the recording.
fn ours(function: &str, case: &Value) -> Value {
    let (window, now, zone) = (&case["window"], at(&case["now"]), case["timeZone"].as_str().unwrap_or("UTC"));
    let range = || (at(&window["from"]), at(&window["end"]));
    let found = match function {
        "getPeriods_v38plus" => {
            let (from, to) = range();
            snapped(window, None, from, to, now).map(|period| json!([written(&period)]))
        }
        "getLastPeriod" => last(window, None, zone, now).map(|period| written(&period)),
        _ => {
            let (from, to) = range();
            enumerated(window, None, zone, from, to, now).map(|found| found.iter().map(written).collect())
        }
    };
    found.unwrap_or_else(|error| json!({"error": error.message}))
}

#[test]
fn every_recorded_period_is_reproduced() {
    let golden = golden();
    let mut count = 0;
    for function in FUNCTIONS {
        for (index, case) in golden[function].as_array().unwrap().iter().enumerate() {
            assert_eq!(ours(function, case), case["result"], "{function} {index}: {case}");
            count += 1;
        }
    }
    assert_eq!(count, 2225);
}

/// The file is made anew in the folder for temporary files when it is not right.
#[test]
fn every_difference_of_the_real_windows_is_explained() {
    let golden = golden();
    let mut table = "# function\tcase\tdefects that make the Registry's answer of ours\n".to_owned();
    for function in FUNCTIONS {
        for (index, case) in golden[function].as_array().unwrap().iter().enumerate() {
            let defects = strict::explanation(function, case);
            let defects = defects.unwrap_or_else(|| panic!("nothing explains {function} {index}: {case}"));
            writeln!(table, "{function}\t{index}\t{}", defects.join(" ")).unwrap();
        }
    }
    let committed = std::fs::read_to_string(file("periods-strict.tsv")).unwrap_or_default();
    if table != committed {
        let path = std::env::temp_dir().join("periods-strict.tsv");
        std::fs::write(&path, &table).unwrap();
        panic!("periods-strict.tsv is not what we do; what we do is in {}", path.display());
    }
}

#[test]
fn queries_as_callers_put_them() {
    let validity = json!({"initial": "2022-01-01", "timeZone": "America/Los_Angeles"});
    let guarantee = |window: Value| json!({"id": "G1", "of": [{"window": window}]});
    let daily = guarantee(json!({"type": "static", "period": "daily"}));
    let now = at(&json!("2026-03-15T21:14:00Z"));
    let ask = |guarantee: &Value, query: Query<'_>| {
        of_guarantee(guarantee, &validity, &query, now)
            .map(|found| {
                found.iter().map(|p| format!("{} {}", p.from_text(), p.to_text())).collect::<Vec<_>>().join(" | ")
            })
            .unwrap_or_else(|error| error.message)
    };
    let dates = |from, to, split| Query {
        from: Some(from),
        to: Some(to),
        new_periods_from_guarantees: split,
        ..Query::default()
    };
    let march = dates("2024-03-01T00:00:00.000Z", "2024-03-02T23:59:59.999Z", true);
    assert_eq!(ask(&daily, march), "2024-02-29T23:59:59.000Z 2024-03-03T00:00:00.000Z");
    // Raw: as given, even backwards, even for a period nobody knows.
    let backwards = dates("2024-03-05T00:00:00.000Z", "2024-03-02", false);
    assert_eq!(ask(&daily, backwards), "2024-03-05T00:00:00.000Z 2024-03-02T00:00:00.000Z");
    let annually = guarantee(json!({"period": "annually"}));
    assert_eq!(
        ask(&annually, dates("2024-03", "2024-03-02", false)),
        "2024-03-01T00:00:00.000Z 2024-03-02T00:00:00.000Z"
    );
    assert_eq!(ask(&annually, march), "Cannot read properties of undefined (reading 'sort')");
    assert_eq!(ask(&annually, Query::default()), "Cannot read properties of undefined (reading 'length')");
    assert_eq!(ask(&daily, dates("garbage", "2024-03-02", true)), "Invalid time value");
    // One date alone counts for nothing.
    let half = Query { from: Some("2024-03-01"), ..Query::default() };
    assert_eq!(ask(&daily, half), "2026-03-15T07:00:00.000Z 2026-03-15T21:14:00.000Z");
    let hourly = guarantee(json!({"period": "hourly"}));
    assert_eq!(ask(&hourly, Query::default()), "2026-03-16T04:00:00.000Z 2026-03-17T21:14:00.000Z");
    let off = Query { last_period: false, ..Query::default() };
    assert_eq!(ask(&daily, off), "Cannot create property 'guarantee' on string 'G1'");
    let bare = json!({"id": "G1", "of": [{}]});
    assert_eq!(ask(&bare, march), "Cannot set properties of undefined (setting 'from')");
    assert_eq!(ask(&json!({"id": "G1", "of": []}), march), "Cannot read properties of undefined (reading 'window')");
}

/// What a document may hold neither panics nor hangs.
#[test]
fn odd_documents_are_answered() {
    let validity = json!({});
    let now = at(&json!("2026-03-15T21:14:00Z"));
    for initial in ["0001-01-01", "-009999-01-01T00:00:00Z", "9999-12-31", "2030-01-01", "x", ""] {
        for period in [json!("hourly"), json!("monthly"), json!("yearly"), json!(7), json!("customRules"), Value::Null]
        {
            for (from, to) in [("0001-01-01", "9999-12-30"), ("2024-01-31", "2024-01-01")] {
                let window = json!({"initial": initial, "period": period, "rules": "FREQ=DAILY---DTSTART:x"});
                let guarantee = json!({"of": [{"window": window}]});
                let query = Query { from: Some(from), to: Some(to), ..Query::default() };
                let _ = of_guarantee(&guarantee, &validity, &query, now);
                let _ = of_guarantee(&guarantee, &validity, &Query::default(), now);
                let (from, to) = (date(from).unwrap(), date(to).unwrap());
                let _ = enumerated(&window, None, "Asia/Kolkata", from, to, now);
            }
        }
    }
}

#[test]
fn a_timestamp_is_written_with_its_milliseconds() {
    let period = RegistryPeriod { from: at(&json!("2024-03-01")), to: date("2024-03-01T00:00:00.1239Z").unwrap() };
    assert_eq!(period.to_text(), "2024-03-01T00:00:00.123Z");
    assert_eq!(period.from.until(period.to).unwrap().get_milliseconds(), 123);
    assert!(SignedDuration::from_millis(123) == period.to.duration_since(period.from));
    assert_eq!(TimeZone::UTC.to_datetime(period.from).to_string(), "2024-03-01T00:00:00");
}
