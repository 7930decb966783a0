//! Tables of what passes of a suite: written by the test, committed, and compared; and the lists of what differs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// The variable that has tables written anew instead of compared.
const WRITE: &str = "PROBITY_TEST_WRITE_TABLES";

/// The cases of one part of a suite.
pub struct Row {
    name: String,
    cases: usize,
    passed: usize,
    /// Title and reason.
    differing: Vec<(String, String)>,
    lacking: BTreeMap<String, usize>,
}

impl Row {
    pub fn new(name: &str) -> Row {
        Row { name: name.into(), cases: 0, passed: 0, differing: Vec::new(), lacking: BTreeMap::new() }
    }

    /// One more case that needs something there is not.
    pub fn lacks(&mut self, what: String) {
        self.cases += 1;
        *self.lacking.entry(what).or_default() += 1;
    }

    /// One more case that was run: an error says how it differs. What differs must be listed with its reason, and what
    /// is listed must differ; else it is a surprise.
    pub fn ran(&mut self, title: &str, outcome: Result<(), String>, known: &Differences) -> Option<String> {
        self.cases += 1;
        let id = format!("{}: {title}", self.name);
        match (outcome, known.get(&id)) {
            (Ok(()), None) => self.passed += 1,
            (Ok(()), Some(_)) => return Some(format!("{id}\n  passes now: remove it from differences.yaml")),
            (Err(_), Some(reason)) => self.differing.push((title.into(), reason.clone())),
            (Err(how), None) => return Some(format!("{id}\n  {how}")),
        }
        None
    }
}

/// Case to reason.
pub type Differences = BTreeMap<String, String>;

/// `differences.yaml` of a folder.
pub fn differences(folder: &Path) -> Differences {
    let text = std::fs::read_to_string(folder.join("differences.yaml")).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

/// `table.md` of a folder is this, or is written; there are no surprises, and so many cases pass.
pub fn hold(folder: &Path, heading: &str, rows: &[Row], surprises: &[String], passed_min: usize) {
    assert!(surprises.is_empty(), "{} surprises:\n{}", surprises.len(), surprises.join("\n"));
    check(&folder.join("table.md"), &text(heading, rows));
    let passed: usize = rows.iter().map(|r| r.passed).sum();
    assert!(passed >= passed_min, "only {passed} cases passed");
}

fn text(heading: &str, rows: &[Row]) -> String {
    let sum = |of: fn(&Row) -> usize| rows.iter().map(of).sum::<usize>();
    let (cases, passed) = (sum(|r| r.cases), sum(|r| r.passed));
    let share = passed as f64 / cases as f64 * 100.0;
    let mut out = format!(
        "# {heading}: what passes\n\nWritten by its test with `{WRITE}=1`; do not edit. {passed} of {cases} cases pass \
         ({share:.1} %).\n\n| part | cases | pass | differ | not run |\n|---|---|---|---|---|\n"
    );
    for row in rows {
        let lacking: Vec<String> = row.lacking.iter().map(|(what, n)| format!("{n}: no `{what}` here")).collect();
        let (name, n, pass, differ) = (&row.name, row.cases, row.passed, row.differing.len());
        let _ = writeln!(out, "| {name} | {n} | {pass} | {differ} | {} |", lacking.join(", "));
    }
    let differing: Vec<_> = rows.iter().flat_map(|r| r.differing.iter().map(move |d| (&r.name, d))).collect();
    if !differing.is_empty() {
        out.push_str("\n## Cases that differ\n\n| part | case | why |\n|---|---|---|\n");
        let cell = |text: &str| text.trim().replace('|', "\\|").replace('\n', " ");
        for (name, (title, reason)) in differing {
            let _ = writeln!(out, "| {name} | {} | {} |", cell(title), cell(reason));
        }
    }
    out
}

/// Compares with what is committed, or writes it.
#[expect(clippy::disallowed_methods, reason = "tests have no config")]
fn check(file: &Path, text: &str) {
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(file, text).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(file).unwrap_or_default();
    assert!(committed == text, "{} is not up to date: run this test with {WRITE}=1\n{text}", file.display());
}
