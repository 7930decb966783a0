//! The JSONPath compliance test suite, played through the `jsonpath` node.

use std::path::Path;

use probity::model::{Object, Value};

use crate::harness::table::{self, Row};
use crate::nodes::case::Case;
use crate::nodes::{Outcome, in_process, outcome};

/// Cases that pass today; a change that makes fewer pass is a regression.
const PASSED_MIN: usize = 700;

#[test]
fn the_suite_passes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/jsonpath");
    let known = table::differences(&folder);
    let suite = Value::from_json(&std::fs::read_to_string(folder.join("cts.json")).unwrap()).unwrap();
    let mut rows: Vec<Row> = Vec::new();
    let mut current = String::new();
    let mut surprises = Vec::new();
    for case in suite.as_array().unwrap() {
        let name = case.get("name").to_js_string();
        let (part, title) = name.split_once(", ").unwrap();
        if part != current {
            rows.push(Row::new(part));
            current = part.to_string();
        }
        let row = rows.last_mut().unwrap();
        surprises.extend(row.ran(title, check(case), &known));
    }
    table::hold(&folder, "The JSONPath compliance test suite", &rows, &surprises, PASSED_MIN);
}

/// Any of several results will do where the order is free.
fn check(case: &Value) -> Result<(), String> {
    let wanted = match (case.get("invalid_selector").is_truthy(), case.get("results")) {
        (true, _) => vec![None],
        (false, Value::Array(results)) => results.iter().cloned().map(Some).collect(),
        (false, _) => vec![Some(case.get("result"))],
    };
    let mut how = Err(String::new());
    for wanted in &wanted {
        how = match outcome(&as_case(case, wanted.as_ref()), in_process::play) {
            Outcome::Ran(how) => how,
            Outcome::Lacks(node_type) => panic!("no node type {node_type}"),
        };
        if how.is_ok() {
            break;
        }
    }
    how.map_err(|how| format!("{}\n  {how}", case.get("selector").to_js_string()))
}

/// A flow with one node, the document put in, and the result that comes out, unless the flow is refused.
fn as_case(case: &Value, wanted: Option<&Value>) -> Case {
    let object = |entries: Vec<(&str, Value)>| Value::from(entries.into_iter().collect::<Object>());
    let text = |text: &str| Value::from(text);
    let flow = vec![
        object(vec![
            ("id", text("n")),
            ("type", text("jsonpath")),
            ("query", case.get("selector")),
            ("wires", Value::from_json(r#"[["h"]]"#).unwrap()),
        ]),
        object(vec![("id", text("h")), ("type", text("helper"))]),
    ];
    let event = |kind: &str, id: &str, payload: Value| {
        let msg = object(vec![("payload", payload)]);
        object(vec![("t", 0.into()), ("kind", text(kind)), ("id", text(id)), ("msg", msg)])
    };
    let mut events = vec![event("inject", "n", case.get("document"))];
    events.extend(wanted.map(|wanted| event("out", "h", wanted.clone())));
    Case::new(object(vec![("title", case.get("name")), ("flow", flow.into()), ("events", events.into())]))
}
