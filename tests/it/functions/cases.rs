//! Function nodes by example: `tests/cases/function/*.yaml`.

use serde_json::{Value as Json, json};

use super::{FunctionLimits, Rig, functions, root};

#[tokio::test]
async fn function_nodes_do_what_the_cases_say() {
    let modules = root().join("tests/cases/function/modules");
    let Some(functions) = functions(FunctionLimits { modules, ..FunctionLimits::default() }) else { return };
    let folder = root().join("tests/cases/function");
    let mut wrong = Vec::new();
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    for file in files.into_iter().filter(|f| f.extension().is_some_and(|e| e == "yaml")) {
        let cases: Vec<Json> = serde_saphyr::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        for case in cases {
            let name = format!("{}: {}", file.file_name().unwrap().to_string_lossy(), case["name"].as_str().unwrap());
            let node = match &case["node"] {
                Json::String(code) => json!({"func": code}),
                node => node.clone(),
            };
            let rig = Rig::of(&functions, node);
            let mut got = Vec::new();
            for step in case["steps"].as_array().unwrap_or(&vec![json!({"send": {"payload": 1}})]) {
                if let Some(message) = step.get("send") {
                    rig.inject("f", &message.to_string());
                    rig.settle().await;
                }
                if let Some(ms) = step.get("advance").and_then(Json::as_u64) {
                    rig.advance(ms).await;
                }
                if step.get("stop").is_some() {
                    rig.engine.deploy(Default::default());
                    rig.settle().await;
                }
                got.extend(rig.take());
            }
            let problems = rig.engine.current().diagnostics.clone();
            got.extend(problems.iter().map(|p| format!("problem: {p}")));
            let want: Vec<String> =
                case["expect"].as_array().unwrap().iter().map(|l| l.as_str().unwrap().into()).collect();
            let fits = |(want, got): (&String, &String)| match want.strip_suffix('…') {
                Some(start) => got.starts_with(start),
                None => want == got,
            };
            if want.len() != got.len() || !want.iter().zip(&got).all(fits) {
                wrong.push(format!("{name}\n  expected {want:#?}\n  got      {got:#?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}
