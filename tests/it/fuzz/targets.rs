//! The parsers under fire, and what must hold whatever they are given.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use probity::config::settings_js;
use probity::cron::Cron;
use probity::expr::{self, Operand};
use probity::flow::cipher;
use probity::model::Value;
use probity::model::state::Verdict;
use probity::nodes::moment::{self, Arg, Around};
use probity::nodes::mustache::{Outside, Template, View};
use probity::{agreement, flow};
use proptest::prelude::*;
use proptest::sample::select;

use super::fuzz;
use super::input::{changed_json, changed_text, corpus, heap_of};

fn at(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

#[test]
fn flow_files() {
    let files = corpus(&["flows", "tests/bench/flows", "tests/cases/flow"], ".json");
    let input = prop_oneof![5 => changed_json(files.clone()), 2 => changed_text(files), 1 => "\\PC{0,50}"];
    let catalogue = probity::nodes::catalogue();
    let specs = |name: &str| catalogue.spec(name);
    fuzz("flow files", input, |text| {
        let (file, _) = flow::load(text, "fuzz.json");
        let _ = flow::check(&file, &specs, &|_| Vec::new());
        let _ = flow::plan(&file, &specs, &|_| None);
        // What was written back is read as the same.
        let saved = flow::save(&file);
        let (again, _) = flow::load(&saved, "fuzz.json");
        assert_eq!(flow::save(&again), saved);
    });
}

#[test]
fn settings_js() {
    const WORDS: &[&str] = &[
        "module.exports",
        "=",
        "{",
        "}",
        "[",
        "]",
        "(",
        ")",
        ",",
        ":",
        ";",
        "adminAuth",
        "users",
        "username",
        "password",
        "type",
        "'credentials'",
        "httpNodeAuth",
        "uiPort",
        "process.env.PORT",
        "||",
        "??",
        "?",
        "1880",
        "`a${1}`",
        "function",
        "=>",
        "require('x')",
        "const a =",
        "...",
        "//",
        "/*",
        "*/",
        "\n",
        "/[/]/",
        "true",
        "null",
        "-",
        "+",
        "!",
        "\"",
        "`",
    ];
    let files = corpus(&["tests/cases/settings_js"], ".js");
    let input = prop_oneof![5 => changed_text(files), 3 => heap_of(WORDS), 1 => "\\PC{0,50}"];
    fuzz("settings.js", input, |text| {
        let read = || settings_js::read("settings.js", text, Path::new("/data"), &|name| Some(name.to_lowercase()));
        let Ok(settings) = read() else { return };
        assert_eq!(read().map(|again| (again.keys, again.notes)), Ok((settings.keys.clone(), settings.notes.clone())));
        // What protects is there, or somebody is named who cannot log in.
        let auth = |key: &str| settings.keys.get("auth").and_then(|auth| auth.get(key));
        let hash = |hash: &toml::Value| hash.as_str().is_some_and(probity::api::password::is_hash);
        for table in ["users", "flow_logins"].into_iter().filter_map(|key| auth(key)?.as_table()) {
            assert!(!table.is_empty() && table.values().all(hash), "{table:?}");
        }
        let lines = text.matches('\n').count() + 1;
        let line = |note: &str| note.split("line ").nth(1)?.split(':').next()?.parse::<usize>().ok();
        assert!(settings.notes.iter().all(|note| line(note).is_some_and(|line| (1..=lines).contains(&line))));
    });
}

#[test]
fn credential_files() {
    let files = corpus(&["tests/cases/credentials"], ".json");
    let input = prop_oneof![5 => changed_json(files.clone()), 2 => changed_text(files), 1 => "\\PC{0,50}"];
    let key = cipher::Key::of_secret("test");
    fuzz("files of credentials", input, |text| {
        let Ok(file) = serde_json::from_str(text) else { return };
        let Ok(credentials) = cipher::read(&file, Some(&key)) else { return };
        for form in [cipher::Form::Compatible, cipher::Form::Sealed] {
            let written = cipher::write(&credentials, form, &key, [3; 16]);
            assert_eq!(cipher::read(&written, Some(&key)).as_ref(), Ok(&credentials));
        }
    });
}

#[test]
fn agreements() {
    let files = corpus(&["agreements", "tests/cases/agreement"], ".json");
    let input = prop_oneof![5 => changed_json(files.clone()), 2 => changed_text(files), 1 => "\\PC{0,50}"];
    let (from, to) = (at("2026-03-01T00:00:00Z"), at("2026-04-01T00:00:00Z"));
    fuzz("agreements", input, |text| {
        let (Some(agreement), _) = agreement::load(text, "fuzz.json") else { return };
        let Ok(plan) = agreement::queries::plan(&agreement, None, from, to) else { return };
        for judgement in plan.judgements.iter().take(50) {
            assert!(judgement.window.from < judgement.window.to, "an empty window: {:?}", judgement.window);
            assert!(
                judgement.window.to > from && judgement.window.from < to,
                "beside the range: {:?}",
                judgement.window
            );
        }
    });
}

#[test]
fn objectives() {
    const WORDS: &[&str] = &[
        "A",
        "B",
        "UPTIME",
        "99",
        "0",
        "0.1",
        "1e9",
        "-1",
        "'x'",
        "\"y\"",
        "true",
        "false",
        "null",
        "==",
        "!=",
        "===",
        "!==",
        "<",
        "<=",
        ">",
        ">=",
        "+",
        "-",
        "*",
        "/",
        "%",
        "and",
        "or",
        "not",
        "&&",
        "||",
        "!",
        "(",
        ")",
        ",",
        "min(",
        "max(",
        "abs(",
        "round(",
        "floor(",
        "ceil(",
        "sum(",
        "avg(",
        "count(",
        "exists(",
        "coalesce(",
        "if(",
        "'",
        "\\",
        "NaN",
    ];
    let values = prop::collection::vec(prop_oneof![3 => any::<f64>().prop_map(Some), 1 => Just(None)], 3);
    fuzz("objectives", (heap_of(WORDS), values), |(text, values)| {
        let Ok(objective) = expr::parse(text) else { return };
        let known: BTreeMap<&str, Option<f64>> = ["A", "B", "UPTIME"].into_iter().zip(values.iter().copied()).collect();
        let lookup = |name: &str| match known.get(name) {
            Some(Some(n)) => Operand::Number(*n),
            _ => Operand::Missing("it was not collected"),
        };
        let outcome = expr::evaluate(&objective, &lookup);
        if outcome.truth.is_none() {
            assert!(!outcome.missing.is_empty(), "undecided without a reason");
        }
        // What is printed means the same.
        let printed = expr::parse(&expr::print(&objective.expr)).expect("what was printed can be parsed");
        assert_eq!(expr::evaluate(&printed, &lookup).truth, outcome.truth);
        // Knowing less never turns a verdict around.
        let nothing = expr::evaluate(&objective, &|_| Operand::Missing("nothing is known"));
        let asks_for_absence = ["exists", "count", "coalesce", "null"].iter().any(|word| text.contains(word));
        if let (Some(before), false) = (nothing.truth, asks_for_absence) {
            assert_eq!(outcome.truth, Some(before), "decided without knowledge, then otherwise");
        }
        let _ = Verdict::parse(text);
    });
}

#[test]
fn cron() {
    const WORDS: &[&str] = &[
        "*",
        "*/5",
        "*/0",
        "0",
        "59",
        "60",
        "7",
        "1-5",
        "5-1",
        "1,2",
        ",",
        "-",
        "/",
        "1/2",
        "MON",
        "sun",
        "MON-FRI",
        "JAN",
        "DEC-FEB",
        "L",
        "LW",
        "5L",
        "1#2",
        "15W",
        "?",
        "@daily",
        "@hourly",
        "@reboot",
        "31",
        "30",
        "2",
        "0 0 30 2 *",
        "* * * * *",
        "\t",
    ];
    let zones = select(vec![
        "UTC",
        "Europe/Madrid",
        "America/St_Johns",
        "Australia/Lord_Howe",
        "Asia/Kathmandu",
        "Africa/Cairo",
    ]);
    let starts = select(vec![
        "2026-03-29T00:59:59Z",
        "2026-10-25T00:30:00Z",
        "2026-12-31T23:59:59.999Z",
        "2024-02-28T12:00:00Z",
    ]);
    fuzz("cron", (heap_of(WORDS), zones, starts), |(text, zone, start)| {
        let Ok(cron) = Cron::parse(text) else { return };
        let zone = TimeZone::get(zone).expect("a bundled zone");
        let mut last = at(start);
        for _ in 0..4 {
            let Some(next) = cron.next_after(last, &zone) else { break };
            assert!(next > last, "{next} after {last}");
            last = next;
        }
    });
}

#[test]
fn mustache() {
    const WORDS: &[&str] = &[
        "{{",
        "}}",
        "{{{",
        "}}}",
        "{{#",
        "{{^",
        "{{/",
        "{{>",
        "{{!",
        "{{&",
        "{{=",
        "=}}",
        "{{=<% %>=}}",
        "<%",
        "%>",
        "a",
        "b",
        "list",
        ".",
        "a.b",
        "deep.deep.deep",
        "{{#list}}",
        "{{/list}}",
        "{{^list}}",
        "{{a}}",
        "{{.}}",
        "flow.x",
        "{{flow.x}}",
        "global[memory].y",
        "env.HOME",
        "{{env.X}}",
        "\n",
        "\r\n",
        "  ",
        "&<>\"'`=/",
        "|",
    ];
    let data = serde_json::json!({
        "a": "1 < 2 & \"x\"", "b": false, "list": [1, {"a": {"b": "c"}}, [], null, "s"], "deep": {"deep": {"deep": {"a": 0}}},
    });
    let root = Value::from(&data);
    let outside = |_: &Outside| Ok(Value::from("outside {{a}}"));
    fuzz("mustache", heap_of(WORDS), |text| {
        let Ok(template) = Template::parse(text) else { return };
        for escape_json in [false, true] {
            let view = View { root: root.clone(), outside: &outside, escape_json };
            let rendered = template.render(&view);
            if !text.contains("{{") {
                assert_eq!(rendered.as_deref(), Ok(text.as_str()), "a text without tags is itself");
            }
            // What is put in is not read as a template again.
            assert_eq!(template.render(&view), rendered, "the same twice");
        }
    });
}

#[test]
fn moments() {
    const WORDS: &[&str] = &[
        "2026", "-03", "-29", "T", "02:30", ":05.123", "Z", "+02:00", "Mar", "Sunday", "1", "12", "60", "pm", "GMT",
        "W53", "BC", "+275760", "-271821", "Y", "YYYY", "MM", "MMM", "DD", "DDDD", "Do", "w", "E", "gggg", "HH", "hmm",
        "A", "ss", "SSS", "ZZ", "X", "x", "N", "LLLL", "[", "]", "\\", "-", ":", "/",
    ];
    let units = select(vec!["year", "quarter", "month", "isoWeek", "day", "hour", "weekYear", "+99:99", "P1M", "none"]);
    let around = Around { now: 1.7e12, local: TimeZone::get("Europe/Madrid").expect("a bundled zone") };
    let read = |text: &str, format: Arg| {
        moment::create(&around, &Arg::Text(text.to_string()), &format, &Arg::Undefined, &Arg::Undefined)
    };
    let input = (heap_of(WORDS), heap_of(WORDS), select(moment::METHODS), any::<f64>(), units);
    fuzz("moments", input, |(text, format, method, number, unit)| {
        let Ok(mut moment) = read(text, Arg::Text(format.clone())) else { return };
        let (number, unit) = (Arg::Number(*number), Arg::Text(unit.to_string()));
        for args in [[number.clone(), unit.clone()], [unit, number]] {
            let _ = moment::call(&around, &mut moment, method, &args);
        }
        let _ = moment.format(format);
        // What is written is read as the same.
        let Some(iso) = moment.to_iso() else { return };
        assert_eq!(read(&iso, Arg::Undefined).expect("no format").to_iso(), Some(iso));
    });
}
