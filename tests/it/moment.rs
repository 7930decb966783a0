//! `$moment` in expressions against what the real Moment answers, in the zones of several machines.

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
const PASSED_MIN: usize = 14_133;

/// Debug builds use much more stack than what is shipped.
const STACK_BYTES: usize = 64 << 20;

#[test]
fn moments_answer_as_moments() {
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(run).unwrap().join().unwrap();
}

fn run() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/moment");
    let known = table::differences(&folder);
    let packed = std::fs::File::open(folder.join("cases.json.gz")).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).unwrap();
    let recorded = Value::from_json(&text).unwrap();
    let now = recorded.get("now").as_f64().unwrap();
    let (mut rows, mut surprises) = (Vec::new(), Vec::new());
    for (zone, cases) in recorded.get("zones").as_object().unwrap().iter() {
        let deployed = place(zone.as_str(), now);
        let mut row = Row::new(zone.as_str());
        for case in cases.as_array().unwrap() {
            let expression = case.get("expr").to_js_string();
            surprises.extend(row.ran(&expression, check(case, &recorded.get("msg"), &deployed), &known));
        }
        rows.push(row);
    }
    table::hold(&folder, "`$moment`, by the zone of the machine", &rows, &surprises, PASSED_MIN);
}

/// A node of a tab with a zone, at an instant.
fn place(zone: &str, now: f64) -> Arc<Deployed> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _inside = runtime.enter();
    let flow = format!(
        r#"[{{"id":"t","type":"tab","label":"t","env":[{{"name":"TZ","type":"str","value":"{zone}"}}]}},{{"id":"n","z":"t","type":"junction","wires":[]}}]"#
    );
    let (file, _) = flow::load(&flow, "");
    let catalogue = catalogue();
    let plan = flow::plan(&file, &|t| catalogue.spec(t), &|_| None);
    let clock = Clock::manual(jiff::Timestamp::from_millisecond(now as i64).unwrap());
    Engine::new(Arc::new(Services::new(clock, Limits::default(), Default::default())), catalogue).deploy(plan)
}

fn check(case: &Value, msg: &Value, deployed: &Arc<Deployed>) -> Result<(), String> {
    let expression = case.get("expr").to_js_string();
    let got = Jsonata::compile(&expression)
        .and_then(|compiled| compiled.eval_on(msg, deployed.place(0), &[]).map_err(|e| e.message));
    let wanted = match case.get("result") {
        Value::String(text) if text == "NaN" => Value::Number(f64::NAN),
        Value::String(text) if text == "undefined" => Value::Undefined,
        other => other,
    };
    match got {
        Err(_) if !case.get("error").is_undefined() => Ok(()),
        Err(why) => Err(format!("expected {wanted:?}, failed: {why}")),
        Ok(got) if !case.get("error").is_undefined() => Err(format!("expected {:?}, got {got:?}", case.get("error"))),
        Ok(got) if got == wanted => Ok(()),
        Ok(got) => Err(format!("expected {wanted:?}, got {got:?}")),
    }
}
