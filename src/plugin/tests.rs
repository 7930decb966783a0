//! Broken manifests and modules as data (`tests/cases/plugin`): every problem is named at once, word for word.

mod guest;
mod packages;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::description::{self, Description};
use super::package::{self, Origin};
use guest::FileSpec;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    manifest: String,
    #[serde(default)]
    files: BTreeMap<String, FileSpec>,
    /// What `describe` gives, and which node types there are already.
    #[serde(default)]
    describe: Option<Vec<Description>>,
    #[serde(default)]
    taken: BTreeMap<String, String>,
    /// Every line, in order; the file's name is left out.
    problems: Vec<String>,
}

#[test]
fn every_problem_of_the_cases_is_named_at_once() {
    let mut wrong = Vec::new();
    let mut broken = 0;
    for (file, case) in cases() {
        let found = problems(&case);
        broken += usize::from(!case.problems.is_empty());
        if found != case.problems {
            let lines: Vec<String> = found.iter().map(|l| format!("    - '{}'", l.replace('\'', "''"))).collect();
            wrong.push(format!("{file}: {}: found\n{}\n", case.name, lines.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(broken >= 20, "only {broken} broken cases");
}

fn cases() -> Vec<(String, Case)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/plugin");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let cases: Vec<Case> = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        all.extend(cases.into_iter().map(|case| (name.clone(), case)));
    }
    all
}

fn problems(case: &Case) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("plugin.toml"), &case.manifest).unwrap();
    for (name, file) in &case.files {
        std::fs::write(folder.path().join(name), file.bytes()).unwrap();
    }
    let checked = package::check(folder.path(), Origin::Given);
    let mut found = checked.diagnostics;
    if let Some(describe) = &case.describe {
        found.extend(description::check(describe, &checked.manifest, &case.taken));
    }
    found.into_iter().map(|d| crate::model::Diagnostic { file: String::new(), ..d }.to_string()).collect()
}

/// A small generator, so that a failure can be run again.
struct Dice(u64);

impl Dice {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below.max(1) as u64) as usize
    }
}

#[test]
fn mangled_manifests_and_components_never_panic() {
    let good = guest::component("import node; import http; import state; export handler;", &BTreeMap::new());
    let manifests: Vec<String> = cases().into_iter().map(|(_, case)| case.manifest).collect();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..400 {
        let mut bytes = good.clone();
        for _ in 0..=dice.next(4) {
            let at = dice.next(bytes.len());
            match dice.next(3) {
                0 => bytes[at] = dice.next(256) as u8,
                1 => bytes.truncate(at.max(1)),
                _ => drop(bytes.splice(at..at, [dice.next(256) as u8])),
            }
        }
        let mut text: Vec<char> = manifests[dice.next(manifests.len())].chars().collect();
        for _ in 0..=dice.next(4) {
            let at = dice.next(text.len());
            text[at] = ['"', '[', ']', '=', '\n', '\0', '9', 'é', '.', '-'][dice.next(10)];
        }
        let text: String = text.into_iter().collect();
        let (manifest, _) = super::manifest::read(&text);
        let _problems = super::conformance::check(&bytes, &manifest);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.wasm");
        let mut packed = package::pack(&text, &manifest, &good, Some("read me"));
        let at = dice.next(packed.len());
        packed[at] ^= dice.next(256) as u8;
        std::fs::write(&file, &packed).unwrap();
        let _checked = package::check(&file, Origin::Given);
    }
}
