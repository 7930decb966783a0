//! The JSONata test suite against the evaluator that nodes use.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use probity::clock::Clock;
use probity::flow;
use probity::model::Value;
use probity::nodes::catalogue;
use probity::nodes::jsonata::Jsonata;
use probity::runtime::Deployed;
use probity::runtime::{Engine, Limits, Services};

use crate::harness::table::{self, Row};

/// Cases that pass today; a change that makes fewer pass is a regression.
const PASSED_MIN: usize = 1681;

/// Debug builds use much more stack than what is shipped.
const STACK_BYTES: usize = 512 << 20;

#[test]
fn the_suite_passes() {
    let run = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(run).unwrap();
    run.join().unwrap();
}

fn run() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/jsonata");
    let known = table::differences(&folder);
    let suite = suite(&folder);
    let deployed = place();
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    let mut surprises = Vec::new();
    for case in suite.get("cases").as_array().unwrap() {
        let group = case.get("group").to_js_string().to_string();
        let row = rows.entry(group.clone()).or_insert_with(|| Row::new(&group));
        surprises.extend(row.ran(&case.get("name").to_js_string(), check(case, &suite, &deployed), &known));
    }
    let rows: Vec<Row> = rows.into_values().collect();
    table::hold(&folder, "The JSONata test suite", &rows, &surprises, PASSED_MIN);
}

fn suite(folder: &Path) -> Value {
    let packed = std::fs::File::open(folder.join("suite.json.gz")).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).unwrap();
    Value::from_json(&text).unwrap()
}

/// Where expressions are evaluated: a node of a deployed flow.
fn place() -> Arc<Deployed> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _inside = runtime.enter();
    let flow = r#"[{"id":"t","type":"tab","label":"t"},{"id":"n","z":"t","type":"junction","wires":[]}]"#;
    let (file, _) = flow::load(flow, "");
    let catalogue = catalogue();
    let plan = flow::plan(&file, &|t| catalogue.spec(t), &|_| None);
    let services = Services::new(Clock::System, Limits::default(), Default::default());
    Engine::new(Arc::new(services), catalogue).deploy(plan)
}

fn check(case: &Value, suite: &Value, deployed: &Arc<Deployed>) -> Result<(), String> {
    let data = match (case.as_object().unwrap().get("data"), case.get("dataset")) {
        (Some(data), _) => data.clone(),
        (None, Value::String(name)) => suite.get("datasets").get(&name),
        (None, _) => Value::Undefined,
    };
    let bindings = case.get("bindings");
    let bindings: Vec<(&str, Value)> =
        bindings.as_object().map(|b| b.iter().map(|(k, v)| (k.as_str(), v.clone())).collect()).unwrap_or_default();
    let expression = case.get("expr").to_js_string();
    let got = Jsonata::compile(&expression)
        .and_then(|compiled| compiled.eval_on(&data, deployed.place(0), &bindings).map_err(|e| e.message));
    let fails = !case.get("code").is_undefined() || !case.get("error").is_undefined();
    match got {
        Err(_) if fails => Ok(()),
        Err(why) => Err(format!("{expression}\n  expected {:?}, failed: {why}", case.get("result"))),
        Ok(got) if fails => Err(format!("{expression}\n  expected an error, got {got:?}")),
        Ok(got) if same(&got, &case.get("result"), case.get("unordered").is_truthy()) => Ok(()),
        Ok(got) => Err(format!("{expression}\n  expected {:?}\n  got      {got:?}", case.get("result"))),
    }
}

fn same(got: &Value, want: &Value, unordered: bool) -> bool {
    match (got, want) {
        (Value::Array(got), Value::Array(want)) if unordered => {
            let sorted = |items: &[Value]| {
                let mut texts: Vec<String> = items.iter().map(Value::to_json).collect();
                texts.sort();
                texts
            };
            sorted(got) == sorted(want)
        }
        _ => got == want,
    }
}
