//! Python's zoneinfo and dateutil as oracle: `oracle.py` makes the windows of a document on its own.
//!
//! `tests/all` installs what it needs into target/tools. Elsewhere, without it, the test says so and passes.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use probity::agreement::{Calendar, tz_database_version};
use serde_json::{Value, json};

use super::{agreement, at, full, in_each, seed, setting, spec, zones};

/// The interpreter with the packages, and none of the machine's own time zones.
fn python() -> Option<Command> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin/python3");
    let python = |path: &Path| {
        let mut command = Command::new(path);
        command.env("PYTHONTZPATH", "");
        command
    };
    for path in [tools.as_path(), Path::new("python3")] {
        let version = python(path).args(["-c", "import dateutil, tzdata; print(tzdata.IANA_VERSION)"]).output();
        let Ok(version) = version else { continue };
        if version.status.success() && String::from_utf8_lossy(&version.stdout).trim() == tz_database_version() {
            return Some(python(path));
        }
    }
    let missing = format!("no Python with dateutil and tzdata {}; tests/all installs them", tz_database_version());
    assert!(setting("PROBITY_TEST_REQUIRE_ORACLES").is_none(), "{missing}");
    eprintln!("SKIPPED: {missing}");
    None
}

/// Documents to compare: what is merged into `{"initial": …}`, and whether it is looked at for few years only.
fn documents(rng: &mut fastrand::Rng) -> Vec<(Value, Value, bool)> {
    let fiscal = json!({"fiscalYear": {"firstMonth": rng.u8(1..=12)}});
    let holidays = json!(["2021-05-03", "FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=25", "FREQ=YEARLY;BYMONTH=11;BYDAY=4TH"]);
    let office = json!({"calendars": {"office": {"hours": "02:15-17:30", "days": ["MO", "TU", "WE", "FR"], "holidays": holidays}}});
    let mut documents: Vec<(Value, Value, bool)> = [
        "monthly",
        "bimonthly",
        "quarterly",
        "fiscalQuarterly",
        "yearly",
        "isoYearly",
        "fiscalYearly",
        "isoWeekly",
        "biweekly",
    ]
    .iter()
    .map(|period| (fiscal.clone(), json!({"period": period}), false))
    .collect();
    for period in ["hourly", "daily", "weekly"] {
        documents.push((Value::Null, json!({"period": period}), true));
    }
    let rules = [
        "DTSTART:20000103T000000Z\nRRULE:FREQ=WEEKLY;BYDAY=MO---DTSTART:20000109T235959Z\nRRULE:FREQ=WEEKLY;BYDAY=SU",
        "DTSTART:20000101T023000Z\nRRULE:FREQ=MONTHLY;BYMONTHDAY=-1---DTSTART:20000201T013000Z\nRRULE:FREQ=MONTHLY;BYMONTHDAY=1",
        "FREQ=MONTHLY;BYDAY=2TU;BYHOUR=2;BYMINUTE=15;BYSECOND=0---FREQ=MONTHLY;BYDAY=2TU;BYHOUR=17;BYMINUTE=0;BYSECOND=59",
    ];
    documents.extend(rules.map(|rules| (Value::Null, json!({"period": "customRules", "rules": rules}), false)));
    documents.push((
        Value::Null,
        json!({"period": "customRuleDaily", "rule": "FREQ=YEARLY;BYWEEKNO=1,20,53;BYDAY=FR"}),
        false,
    ));
    for period in ["daily", "monthly"] {
        documents.push((office.clone(), json!({"period": period, "x-probity": {"calendar": "office"}}), true));
    }
    documents.push((Value::Null, json!({"type": "rolling", "length": "P1M1D", "step": "daily"}), true));
    documents.push((Value::Null, json!({"type": "rolling", "length": "PT36H", "step": "hourly"}), true));
    documents
}

#[test]
fn python_makes_the_same_windows() {
    let Some(mut python) = python() else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/windows/oracle.py");
    let mut oracle = python.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("Python starts");
    let questions = Mutex::new(oracle.stdin.take().expect("its standard input"));
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let answers = std::thread::scope(|scope| {
        // It is read while it is written to, or both would wait.
        let answers = scope.spawn(|| oracle.wait_with_output().expect("Python ends"));
        in_each(&zones(2), |zone| {
            let mut rng = fastrand::Rng::with_seed(seed() ^ zone.len() as u64);
            for (ours, mut window, few) in documents(&mut rng) {
                window["initial"] = ["2000-01-01", "2000-01-31", "2000-08-30T02:30:00"][rng.usize(0..3)].into();
                let question = question(zone, &ours, &window, few, &mut rng);
                writeln!(questions.lock().expect("no panic before"), "{question}").expect("Python reads");
                asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        });
        drop(questions);
        answers.join().expect("no panic")
    });
    let said = String::from_utf8_lossy(&answers.stdout);
    assert!(answers.status.success(), "{said}");
    let last: Value = serde_json::from_str(said.trim()).unwrap_or_else(|e| panic!("{e}: {said}"));
    assert_eq!(last["documents"], asked.into_inner(), "{said}");
    println!("Python agrees: {said}");
}

/// A document, the range asked for, and the windows we make of it, in seconds of the Unix time.
fn question(zone: &str, ours: &Value, window: &Value, few: bool, rng: &mut fastrand::Rng) -> Value {
    let agreement = agreement(zone, ours, window);
    let hourly = window["period"] == "hourly" || window["step"] == "hourly";
    let (from, to) = match (hourly, few && !full()) {
        // A month of hours and some days of a leap year are enough: hours do not know the calendar.
        (true, _) => {
            let (year, month) = (rng.u16(2001..2039), rng.u8(1..=12));
            (format!("{year}-{month:02}-01"), format!("{year}-{month:02}-28"))
        }
        (false, true) => {
            let year = rng.u16(2001..2036);
            (format!("{year}-01-01"), format!("{}-01-01", year + 3))
        }
        (false, false) => ("2000-01-01".to_owned(), "2040-01-01".to_owned()),
    };
    let bound = |text: &str| at(text, &agreement.time_zone);
    let (from, to) = (bound(&from), bound(&to));
    let windows = Calendar::of(&agreement, spec(&agreement)).overlapping(from, to).expect("not too many");
    let windows: Vec<_> = windows.iter().map(|w| [w.from.as_second(), w.to.as_second()]).collect();
    json!({"zone": zone, "ours": ours, "window": window, "from": from.as_second(), "to": to.as_second(), "windows": windows})
}
