//! `docs/conformance.md`: what of Node-RED's recorded node cases passes here, made from the run itself. The test fails
//! when the page is stale, when a row fails without a reason, and when a reason has no failing row any more.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Set it to write the page anew.
const UPDATE: &str = "PROBITY_TEST_UPDATE";

/// Rows that fail, with the reason: file, title, why.
const REASONS: &[(&str, &str, &str)] = &[
    (
        "core/function/10-function_spec.js",
        "function node externalModules should require the OS module",
        "On purpose: the sandbox has no modules of the machine; `libs` come from the operator's folder.",
    ),
    (
        "core/function/10-function_spec.js",
        "function node link call from function should not clone the message when clone option=false",
        "On purpose: values are copies on both sides of the sandbox, so that no message changes under another node.",
    ),
];

/// What became of the cases, by file.
#[derive(Default)]
pub struct Table {
    files: BTreeMap<String, [usize; 2]>,
    failed: Vec<(String, String)>,
}

impl Table {
    pub fn add(&mut self, file: &str, title: &str, passed: bool) {
        let counts = self.files.entry(file.to_string()).or_default();
        counts[usize::from(!passed)] += 1;
        if !passed {
            self.failed.push((file.to_string(), title.to_string()));
        }
    }

    pub fn passed(&self) -> usize {
        self.files.values().map(|[passed, _]| passed).sum()
    }

    fn page(&self) -> String {
        let all: usize = self.files.values().flatten().sum();
        let mut page = format!(
            "# Conformance\n\n\
             {} of {all} cases pass that were recorded from Node-RED's own node specs\n\
             (`tests/cases/node-red/cases.json`), replayed black-box: deployed over the Admin API, injected over\n\
             `POST /inject/:id`, read from the debug messages on `/comms`.\n\n\
             This page is written by `{UPDATE}=1 cargo test --test it -- admin::replay`; the same test fails when it is\n\
             stale.\n\n\
             | spec | cases | pass |\n|---|---|---|\n",
            self.passed()
        );
        for (file, [passed, failed]) in &self.files {
            let name = file.trim_end_matches("_spec.js");
            writeln!(page, "| {name} | {} | {passed} |", passed + failed).expect("a String takes it");
        }
        page.push_str("\n## What fails, and why\n\n| spec | case | reason |\n|---|---|---|\n");
        for (file, title) in &self.failed {
            let reason = reason(file, title).unwrap_or("unexplained");
            writeln!(page, "| {} | {title} | {reason} |", file.trim_end_matches("_spec.js"))
                .expect("a String takes it");
        }
        page
    }
}

fn reason(file: &str, title: &str) -> Option<&'static str> {
    REASONS.iter().find(|(f, t, _)| *f == file && *t == title).map(|(.., why)| *why)
}

fn place() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/conformance.md")
}

/// Holds the committed page to what has just been run, or writes it.
#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
pub fn check(table: &Table) {
    let unexplained: Vec<_> = table.failed.iter().filter(|(file, title)| reason(file, title).is_none()).collect();
    assert!(unexplained.is_empty(), "these fail without a reason: {unexplained:#?}");
    let failed = |file: &str, title: &str| table.failed.iter().any(|(f, t)| f == file && t == title);
    let stale: Vec<_> = REASONS.iter().filter(|(file, title, _)| !failed(file, title)).collect();
    assert!(stale.is_empty(), "these pass by now: {stale:#?}");
    let page = table.page();
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(place(), &page).expect("docs can be written");
    }
    let committed = std::fs::read_to_string(place()).unwrap_or_default();
    assert!(committed == page, "docs/conformance.md is stale; run this test with {UPDATE}=1 and commit it");
}
