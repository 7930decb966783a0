//! Node-RED's recorded cases against the builtin nodes: flows and messages as data in `tests/cases/node`.
//!
//! How a case is played is a function of the case, so that what is compared stays the same whether an
//! engine in this process plays it or a server over its API.

pub(crate) mod case;
pub(crate) mod in_process;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use case::Case;
use probity::model::Value;

use crate::harness::table::{self, Row};

/// Cases that pass today; a change that makes fewer pass is a regression.
const PASSED_MIN: usize = 454;

/// The same of the further ones.
const MORE_PASSED_MIN: usize = 1754;

/// What reached a `helper` node, by its id.
pub(crate) type Seen = BTreeMap<String, Vec<Value>>;

/// Why a case was not played.
#[derive(Debug)]
pub(crate) enum NotPlayed {
    /// The engine has no such node type.
    Lacks(String),
    Refused(String),
}

/// What happened to a case.
pub(crate) enum Outcome {
    Lacks(String),
    /// An error says how it differs.
    Ran(Result<(), String>),
}

#[test]
fn recorded_cases_replay() {
    replay(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/node"),
        "Recorded node cases of Node-RED 5.0.7",
        PASSED_MIN,
    );
}

#[test]
fn further_recorded_cases_replay() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/node/more");
    replay(&folder, "Further cases recorded with the nodes of Node-RED 5.0.7", MORE_PASSED_MIN);
}

fn replay(folder: &Path, heading: &str, passed_min: usize) {
    let known = table::differences(folder);
    let (mut rows, mut surprises) = (Vec::new(), Vec::new());
    for (name, cases) in read_cases(folder) {
        let mut row = Row::new(&name);
        for case in &cases {
            match outcome(case, in_process::play) {
                Outcome::Lacks(node_type) => row.lacks(node_type),
                Outcome::Ran(outcome) => surprises.extend(row.ran(&case.title(), outcome, &known)),
            }
        }
        rows.push(row);
    }
    table::hold(folder, heading, &rows, &surprises, passed_min);
}

fn read_cases(folder: &Path) -> Vec<(String, Vec<Case>)> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "json"));
    files.sort();
    files
        .into_iter()
        .map(|file| {
            let cases = Value::from_json(&std::fs::read_to_string(&file).unwrap()).unwrap();
            let cases = cases.as_array().unwrap().iter().cloned().map(Case::new).collect();
            (file.file_stem().unwrap().to_string_lossy().into(), cases)
        })
        .collect()
}

pub(crate) fn outcome(case: &Case, play: impl FnOnce(&Case) -> Result<Seen, NotPlayed>) -> Outcome {
    let want = case.wanted();
    Outcome::Ran(match play(case) {
        Ok(seen) if case::canonical_lists(&seen) == want => Ok(()),
        Ok(seen) => Err(format!("expected {want:?}\n  got      {:?}", case::canonical_lists(&seen))),
        Err(NotPlayed::Lacks(node_type)) => return Outcome::Lacks(node_type),
        // A case of a flow that Node-RED refuses, too, expects nothing.
        Err(NotPlayed::Refused(_)) if want.is_empty() => Ok(()),
        Err(NotPlayed::Refused(why)) => Err(format!("the flow does not run: {why}")),
    })
}
