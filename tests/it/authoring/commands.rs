//! The commands, as a user runs them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A folder of this test's own, gone when it ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("probity-authoring-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
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

fn probity(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_probity"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("PROBITY_DATA_DIR", folder.join("data"))
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
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
