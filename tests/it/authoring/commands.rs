//! The commands, as a user runs them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A folder of this test's own, gone when it ends.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("probity-authoring-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) fn probity(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_probity"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("PROBITY_DATA_DIR", folder.join("data"))
        .output()
        .unwrap()
}

pub(super) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// An agreement as people write it: comments, an anchor, and a slip.
const SLIP: &str = "\
# What we promise
id: shop
type: agreement
context:
  validity: {initial: 2026-01-01, timeZone: Europe/Madrid}
terms:
  metrics:
    P99_MS: {collector: {type: PROBITY-FLOW-V1, metric: p99}}   # of all calls
  guarantees:
    - id: FAST
      of:
        - objective: P99_MSS <= 300
          with: &with {P99_MS: {}}
          window: {period: hourly}
        - objective: P99_MS <= 900
          with: *with
          window: {period: dayly}
";

#[test]
fn check_says_line_and_column_in_every_form() {
    let folder = Folder::new("check");
    folder.write("shop.yaml", SLIP);
    let output = probity(&folder.0, &["check", "shop.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    assert!(text.contains("shop.yaml:12:22: $.terms.guarantees[0].of[0].objective: error[unknown-metric]"), "{text}");
    assert!(text.contains("did you mean \"P99_MS\"?"), "{text}");
    assert!(
        text.contains("shop.yaml:17:28: $.terms.guarantees[0].of[1].window.period: error[unknown-period]"),
        "{text}"
    );
    let json: Value =
        serde_json::from_str(&stdout(&probity(&folder.0, &["check", "shop.yaml", "--format", "json"]))).unwrap();
    assert!(json["diagnostics"].as_array().unwrap().iter().any(|d| d["line"] == 12 && d["column"] == 22));
    let sarif: Value =
        serde_json::from_str(&stdout(&probity(&folder.0, &["check", "shop.yaml", "--format", "sarif"]))).unwrap();
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    let region = |code: &str| {
        let found = results.iter().find(|r| r["ruleId"] == code).unwrap();
        found["locations"][0]["physicalLocation"]["region"].clone()
    };
    assert_eq!(region("unknown-period"), serde_json::json!({"startLine": 17, "startColumn": 28}));
}

/// A block of a document, by the comment in its first line.
fn block(document: &str, language: &str, first: &str) -> String {
    let text = std::fs::read_to_string(super::root().join(document)).unwrap();
    let start = format!("```{language}\n");
    let mut blocks = text.split(start.as_str()).skip(1).filter_map(|rest| Some(rest.split_once("\n```")?.0));
    blocks
        .find(|b| b.starts_with(first))
        .unwrap_or_else(|| panic!("{document} has no block that starts with {first}"))
        .to_owned()
        + "\n"
}

#[test]
fn the_template_of_the_documents_makes_what_they_say() {
    let folder = Folder::new("template");
    folder.write("latency.template.yaml", &block("docs/agreements.md", "yaml", "# latency.template.yaml"));
    let checked = probity(&folder.0, &["check", "latency.template.yaml"]);
    assert!(checked.status.success(), "{}", stdout(&checked));
    let command = block("docs/agreements.md", "sh", "probity agreement render");
    let words: Vec<&str> = command.split_whitespace().skip(1).collect();
    let rendered = probity(&folder.0, &words);
    let text = stdout(&rendered);
    assert!(rendered.status.success(), "{}", String::from_utf8_lossy(&rendered.stderr));
    let document: Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!((&document["id"], &document["type"]), (&"shop-latency".into(), &"agreement".into()));
    assert_eq!(document["templateId"], "template-latency-v1.0.0");
    assert_eq!(document["terms"]["guarantees"][0]["of"][0]["objective"], "P99_MS <= 250");
    assert_eq!(document["terms"]["metrics"]["P99_MS"]["collector"]["metric"], "shop-p99");
    assert!(document.get("parameters").is_none());
    let path = folder.write("shop.yaml", &text);
    assert!(probity(&folder.0, &["check", path.to_str().unwrap()]).status.success());
}

#[test]
fn wrong_values_of_a_template_are_all_named() {
    let folder = Folder::new("values");
    folder.write("t.yaml", &block("docs/agreements.md", "yaml", "# latency.template.yaml"));
    let output = probity(
        &folder.0,
        &[
            "agreement",
            "render",
            "t.yaml",
            "--set",
            "service=No Such",
            "--set",
            "limit_ms=fast",
            "--set",
            "perod=daily",
        ],
    );
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    for part in ["$.parameters.service", "$.parameters.limit_ms", "did you mean \"period\"?", "--set id=…"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn governify_templates_are_filled_in_by_their_placeholders() {
    let folder = Folder::new("governify");
    let template = super::root().join("tests/data/agreements/tpa-manager-template.json");
    let output = probity(
        &folder.0,
        &[
            "agreement",
            "render",
            template.to_str().unwrap(),
            "--set",
            "id=tpa-mine",
            "--set",
            "$_[infrastructure.internal.assets.default]=http://assets.test",
            "--set",
            "$_[infrastructure.internal.scopes.default]=http://scopes.test",
        ],
    );
    let text = stdout(&output);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("http://assets.test") && !text.contains("$_["), "{text}");
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&document["id"], &document["type"]), (&"tpa-mine".into(), &"agreement".into()));
    // Of several in one file one must be named.
    let several = super::root().join("tests/data/agreements/tpa-manager-all-templates.json");
    let output = probity(&folder.0, &["agreement", "render", several.to_str().unwrap(), "--set", "id=x"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("give --id"));
}

#[test]
fn a_new_agreement_loads_and_is_not_written_over() {
    let folder = Folder::new("new");
    let new = || {
        probity(
            &folder.0,
            &["agreement", "new", "--set", "id=shop", "--set", "timeZone=Asia/Kolkata", "--out", "shop.yaml"],
        )
    };
    assert!(new().status.success());
    let text = std::fs::read_to_string(folder.0.join("shop.yaml")).unwrap();
    assert!(text.contains("# `probity check FILE`") && text.contains("id: \"shop\""), "{text}");
    let checked = probity(&folder.0, &["check", "shop.yaml"]);
    assert_eq!(stdout(&checked), "1 file checked: 0 errors, 0 warnings\n");
    assert_eq!(new().status.code(), Some(1));
    assert_eq!(probity(&folder.0, &["agreement", "new", "--set", "tmeZone=UTC"]).status.code(), Some(2));
}

#[test]
fn a_difference_says_what_it_may_touch() {
    let folder = Folder::new("diff");
    let old = block("docs/agreements.md", "json", "{\n  \"id\": \"shop\"");
    folder.write("old.json", &old);
    let new = old.replace("P99_MS <= 300", "P99_MS <= 250").replace("\"hourly\"", "\"daily\"");
    folder.write("new.json", &new);
    let same = probity(&folder.0, &["agreement", "diff", "old.json", "old.json"]);
    assert_eq!((same.status.code(), stdout(&same)), (Some(0), "0 differences\n".to_owned()));
    let output = probity(&folder.0, &["agreement", "diff", "old.json", "new.json"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(1));
    let line = "guarantee FAST, team=*: threshold-changed: P99_MS <= 300 → P99_MS <= 250; fulfilled verdicts may become violated (FAST)";
    assert!(text.contains(line), "{text}");
    assert!(text.contains("window-changed"), "{text}");
    let json: Value = serde_json::from_str(&stdout(&probity(
        &folder.0,
        &["agreement", "diff", "old.json", "new.json", "--format", "json"],
    )))
    .unwrap();
    let effects: Vec<&Value> = json["differences"].as_array().unwrap().iter().map(|d| &d["effect"]).collect();
    assert_eq!(effects, ["stricter", "verdicts"]);
}

#[test]
fn a_dry_run_asks_nobody() {
    let folder = Folder::new("dry");
    let file = folder.write("shop.json", &block("docs/agreements.md", "json", "{\n  \"id\": \"shop\""));
    let range = ["--from", "2026-03-01T00:00:00Z", "--to", "2026-03-01T02:00:00Z"];
    let run = |more: &[&str]| {
        let mut words = vec!["evaluate", file.to_str().unwrap(), "--dry-run"];
        words.extend(range);
        words.extend(more);
        probity(&folder.0, &words)
    };
    let text = stdout(&run(&[]));
    assert!(
        text.contains("flow metric p99") && text.contains("2 would be asked, 2 judged; nobody was asked"),
        "{text}"
    );
    let json: Value = serde_json::from_str(&stdout(&run(&["--format", "json"]))).unwrap();
    assert_eq!(json["asks"][0]["body"]["metric"]["window"]["period"], "hourly");
    assert!(!folder.0.join("data").exists(), "a dry run leaves no trace");
}

#[test]
fn a_range_without_windows_says_why() {
    let folder = Folder::new("nothing");
    folder.write(
        "year.yaml",
        "id: year\ntype: agreement\ncontext: {validity: {initial: 2026-01-01, end: 2027-01-01, timeZone: Europe/Madrid}}\nterms:\n  metrics:\n    \
         V: {collector: {type: PROBITY-FLOW-V1, metric: v}}\n  guarantees:\n    - id: LOW\n      \
         of: [{objective: V <= 1, with: {V: {}}, window: {period: daily, initial: 2026-06-01}}]\n",
    );
    let valid = "it is valid from 2026-01-01T00:00:00+01:00, until 2027-01-01T00:00:00+01:00";
    for (from, to, why) in [
        ("2025-01-01", "2025-07-01", "the range 2025-01-01T00:00:00+01:00 to 2025-07-01T00:00:00+02:00 is before the"),
        ("2027-01-01", "2027-02-01", "the range 2027-01-01T00:00:00+01:00 to 2027-02-01T00:00:00+01:00 is after the"),
        ("2026-02-01", "2026-03-01", "no window of a guarantee lies in the range 2026-02-01T00:00:00+01:00 to"),
    ] {
        let (really, dry): (&[&str], &[&str]) = (&[], &["--dry-run"]);
        for how in [really, dry] {
            let run = |more: &[&str]| {
                let words = [&["evaluate", "year.yaml", "--from", from, "--to", to][..], how, more].concat();
                let output = probity(&folder.0, &words);
                assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
                stdout(&output)
            };
            let text = run(&[]);
            assert!(text.contains(&format!("nothing to judge: {why}")) && text.contains(valid), "{text}");
            let json: Value = serde_json::from_str(&run(&["--format", "json"])).unwrap();
            assert!(json["reason"].as_str().unwrap().starts_with(why), "{json}");
        }
    }
}

/// What a user does: evaluate, see a violated verdict, ask why, try another objective.
#[test]
fn a_stored_verdict_is_explained_and_simulated() {
    let folder = Folder::new("explain");
    let shipped = super::root().join("agreements/service-level.json");
    let id: Value = serde_json::from_str(&std::fs::read_to_string(&shipped).unwrap()).unwrap();
    let id = id["id"].as_str().unwrap().to_owned();
    let range = ["--from", "2026-03-01T00:00:00Z", "--to", "2026-03-01T03:00:00Z"];
    let with_range = |words: &[&str]| -> Vec<String> { words.iter().chain(&range).map(|w| (*w).to_owned()).collect() };
    let words = with_range(&["evaluate", &id, "--store", "--format", "json"]);
    let output = probity(&folder.0, &words.iter().map(String::as_str).collect::<Vec<_>>());
    let verdicts: Value = serde_json::from_str(&stdout(&output))
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
    let first = &verdicts["verdicts"][0];
    let scope: Vec<String> =
        first["scope"].as_object().unwrap().iter().map(|(k, v)| format!("{k}={}", v.as_str().unwrap())).collect();
    let scope = if scope.is_empty() { "-".to_owned() } else { scope.join(",") };
    let name =
        format!("{id}/{}/{scope}/{}", first["guarantee"].as_str().unwrap(), first["window"]["from"].as_str().unwrap());
    let explained = probity(&folder.0, &["explain", &name, "--format", "json"]);
    let json: Value = serde_json::from_str(&stdout(&explained))
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&explained.stderr)));
    assert_eq!((&json["verdict"], &json["reason"]), (&first["verdict"], &first["reason"]));
    assert_eq!(json["agreement_changed"], false);
    assert_eq!(json["objectives"][0]["differs"], false, "{json:#}");
    let spanish = stdout(&probity(&folder.0, &["explain", &name, "--lang", "es"]));
    assert!(spanish.contains("Objetivo: ") && spanish.contains("Veredicto: "), "{spanish}");
    assert_eq!(probity(&folder.0, &["explain", &name.replace(":00Z", ":01Z")]).status.code(), Some(2));
    assert_eq!(probity(&folder.0, &["explain", "nonsense"]).status.code(), Some(2));
    // The same agreement again changes nothing; one that nothing can pass changes all that passed.
    let current = probity(&folder.0, &["simulate", shipped.to_str().unwrap()]);
    assert_eq!(current.status.code(), Some(0), "{}{}", stdout(&current), String::from_utf8_lossy(&current.stderr));
}

/// A flow that answers with 100 for each hour of the day, an agreement about it, and what a stricter one would change.
#[test]
fn a_stricter_agreement_says_what_it_would_flip() {
    let folder = Folder::new("simulate");
    let value = "$number($substring(metric.window.from, 11, 2)) * 100";
    let flow = serde_json::json!([
        {"id": "t", "type": "tab", "label": "values"},
        {"id": "in", "type": "metric", "z": "t", "mode": "in", "metric": "v", "wires": [["set"]]},
        {"id": "set", "type": "change", "z": "t", "wires": [["out"]],
         "rules": [{"t": "set", "p": "payload", "pt": "msg", "to": value, "tot": "jsonata"}]},
        {"id": "out", "type": "metric", "z": "t", "mode": "answer", "metric": "", "wires": [[]]},
    ]);
    folder.write("flows.json", &flow.to_string());
    let text = |objective: &str| {
        format!(
            "id: hours\ntype: agreement\ncontext: {{validity: {{initial: 2026-01-01, timeZone: UTC}}}}\nterms:\n  metrics:\n    \
             V: {{collector: {{type: PROBITY-FLOW-V1, metric: v}}}}\n  guarantees:\n    - id: LOW\n      scope: {{team: {{default: blue}}}}\n      \
             of: [{{objective: {objective}, with: {{V: {{}}}}, window: {{period: hourly}}}}]\n"
        )
    };
    folder.write("hours.yaml", &text("V <= 100"));
    folder.write("stricter.yaml", &text("V < 100"));
    let run = |words: &[&str]| {
        let mut words = words.to_vec();
        words.extend(["--flows", "flows.json", "--agreements", "hours.yaml"]);
        probity(&folder.0, &words)
    };
    let range = ["--from", "2026-03-01T00:00:00Z", "--to", "2026-03-01T04:00:00Z"];
    let stored = run(&[&["evaluate", "hours", "--store"][..], &range].concat());
    assert!(
        stdout(&stored).contains("2 fulfilled, 2 violated"),
        "{}{}",
        stdout(&stored),
        String::from_utf8_lossy(&stored.stderr)
    );
    let same = run(&["simulate", "hours.yaml"]);
    assert!(stdout(&same).ends_with("4 the same, 0 others, 0 new, 0 gone\n"), "{}", stdout(&same));
    let output = run(&["simulate", "stricter.yaml"]);
    let said = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in [
        "LOW team=blue 2026-03-01 01:00 → 2026-03-01 02:00 UTC: fulfilled → violated: V < 100: 100 < 100 is false",
        "smallest counter-example, decided by V: LOW",
        "stored: 2 fulfilled, 2 violated\nsimulated: 1 fulfilled, 3 violated\n3 the same, 1 others, 0 new, 0 gone\n",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let json: Value = serde_json::from_str(&stdout(&run(&["simulate", "stricter.yaml", "--format", "json"]))).unwrap();
    assert_eq!(json["flips"].as_array().unwrap().len(), 1);
    assert_eq!((&json["first"]["before"], &json["first"]["after"]), (&"fulfilled".into(), &"violated".into()));
    let sarif: Value =
        serde_json::from_str(&stdout(&run(&["simulate", "stricter.yaml", "--format", "sarif"]))).unwrap();
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!((&result["ruleId"], &result["level"]), (&"verdict-changes".into(), &"error".into()));
    assert_eq!(result["locations"][0]["physicalLocation"]["region"]["startLine"], 8, "{sarif:#}");
    let junit = stdout(&run(&["simulate", "stricter.yaml", "--format", "junit"]));
    assert!(junit.contains("<testsuites name=\"hours\" tests=\"4\" failures=\"1\">"), "{junit}");
    assert!(junit.contains("V &lt; 100"), "{junit}");
    // In Spanish, as `explain` speaks it; what was stored is quoted.
    let spanish = stdout(&run(&["simulate", "stricter.yaml", "--lang", "es"]));
    for part in [
        "1 veredicto sería otro:\n  LOW team=blue 2026-03-01 01:00 → 2026-03-01 02:00 UTC: cumplida → incumplida: V < 100: 100 < 100 is false",
        "contraejemplo más pequeño, lo decide V: LOW",
        "simulados: cumplida: 1, incumplida: 3\n3 iguales, 1 distintos, 0 nuevos, 0 desaparecidos\n",
    ] {
        assert!(spanish.contains(part), "{part}: {spanish}");
    }
    let junit = stdout(&run(&["simulate", "stricter.yaml", "--lang", "es", "--format", "junit"]));
    assert!(junit.contains("<failure message=\"cumplida → incumplida\">"), "{junit}");
    // Windows that nobody evaluated are not made up.
    let later = run(&["simulate", "stricter.yaml", "--from", "2026-03-01T03:00:00Z", "--to", "2026-03-01T06:00:00Z"]);
    assert!(stdout(&later).contains("not stored, 2 times: it is not stored for this window"), "{}", stdout(&later));
    // And the violated one says how far it was off.
    let why = stdout(&run(&["explain", "hours/LOW/team=blue/2026-03-01T02:00:00Z"]));
    for part in ["V must fall by 100, from 200 to 100", "It last passed in 2026-03-01 01:00", "V went from 100 to 200"]
    {
        assert!(why.contains(part), "{part}: {why}");
    }
}
