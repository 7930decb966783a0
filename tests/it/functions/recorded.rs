//! The cases recorded from Node-RED's own tests that have a function node (`tests/cases/function/recorded.json`; from
//! Node-RED, Apache-2.0).

use std::collections::BTreeMap;

use super::{FunctionLimits, catalogue, functions, root};
use crate::nodes::{Outcome, replay_in};
use probity::model::Value;

/// Cases that pass; fewer are a regression.
const PASSED_MIN: usize = 49;

#[test]
fn recorded_cases_with_function_nodes_replay() {
    let Some(functions) = functions(FunctionLimits::default()) else { return };
    let folder = root().join("tests/cases/function");
    let known: BTreeMap<String, String> =
        serde_saphyr::from_str(&std::fs::read_to_string(folder.join("recorded-differences.yml")).unwrap()).unwrap();
    let cases = Value::from_json(&std::fs::read_to_string(folder.join("recorded.json")).unwrap()).unwrap();
    let (mut passed, mut surprises) = (0, Vec::new());
    for case in cases.as_array().unwrap() {
        let title = case.get("title").to_js_string();
        match replay_in(case, catalogue(&functions)) {
            Outcome::Passed if known.contains_key(title.as_str()) => surprises.push(format!("{title}\n  passes now")),
            Outcome::Passed => passed += 1,
            Outcome::Differs(_) if known.contains_key(title.as_str()) => {}
            Outcome::Differs(how) => surprises.push(format!("{title}\n  {how}")),
        }
    }
    assert!(surprises.is_empty(), "{} surprises, {passed} passed:\n{}", surprises.len(), surprises.join("\n"));
    assert!(passed >= PASSED_MIN, "only {passed} cases passed");
}
