//! The cases recorded from Node-RED's own tests that have a function node (`tests/cases/function/recorded.json`; from
//! Node-RED, Apache-2.0).

use std::collections::BTreeMap;

use super::{FunctionLimits, catalogue, functions, root};
use crate::nodes::case::Case;
use crate::nodes::{Outcome, in_process, outcome};
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
        let played = outcome(&Case::new(case.clone()), |case| in_process::play_with(case, catalogue(&functions)));
        let is_known = known.contains_key(title.as_str());
        match played {
            Outcome::Ran(Ok(())) if is_known => surprises.push(format!("{title}\n  passes now")),
            Outcome::Ran(Ok(())) => passed += 1,
            Outcome::Ran(Err(_)) if is_known => {}
            Outcome::Ran(Err(how)) => surprises.push(format!("{title}\n  {how}")),
            Outcome::Lacks(node_type) => surprises.push(format!("{title}\n  there is no node type {node_type}")),
        }
    }
    assert!(surprises.is_empty(), "{} surprises, {passed} passed:\n{}", surprises.len(), surprises.join("\n"));
    assert!(passed >= PASSED_MIN, "only {passed} cases passed");
}
