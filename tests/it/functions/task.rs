//! Tasks: `main(config)` of a script in the sandbox.

use probity::plugin::function::Task;
use serde_json::json;

use super::{FunctionLimits, Rig, functions};

fn task(source: &str) -> Task {
    Task {
        name: "evaluate.js".into(),
        source: source.into(),
        config: json!({"n": 2}),
        hosts: Vec::new(),
        compute_ms_max: 1_000,
        run_ms_max: 5_000,
    }
}

#[tokio::test]
async fn a_script_runs_to_its_end_and_calls_nobody_it_may_not() {
    let Some(functions) = functions(FunctionLimits::default()) else { return };
    let deployed = Rig::new(&functions, &json!([])).engine.current();
    let run = |source: &str| functions.run_task(task(source), deployed.clone());
    let done = run("exports.main = async (config) => { console.log('hi'); return { n: config.n + 1 }; };").await;
    assert_eq!(done.result, Ok(json!({"n": 3})));
    assert_eq!(done.log, [(tracing::Level::INFO, "hi".to_string())]);
    assert_eq!(run("module.exports.main = () => {};").await.result, Ok(json!(null)));
    let failed = |done: probity::plugin::function::Done| done.result.unwrap_err();
    assert!(failed(run("var a = 1;\nexports.main = () => { nope(); };").await).contains("evaluate.js:2:"));
    assert!(failed(run("require('fs');").await).contains("may require axios, node-fetch"));
    assert!(failed(run("exports.other = 1;").await).contains("exports no function main"));
    assert!(failed(run("exports.main = () => { for (;;) {} };").await).contains("computed longer than 1000 ms"));
    let call = "exports.main = async () => (await require('axios').get('http://127.0.0.1:9/x')).data;";
    assert!(failed(run(call).await).contains("127.0.0.1"));
}
