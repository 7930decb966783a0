//! Flows of STATUS and of node-red-status that have function nodes: every one loads, and its code compiles. They are read
//! from `../shared/data/status-flows` where that folder is.

use serde_json::Value as Json;

use super::{FunctionLimits, Rig, functions, root};

#[tokio::test]
async fn the_function_nodes_of_known_flows_compile_and_run() {
    let Some(functions) = functions(FunctionLimits::default()) else { return };
    let folder = root().join("../shared/data/status-flows");
    let Ok(files) = std::fs::read_dir(&folder) else {
        eprintln!("SKIPPED: there is no {}", folder.display());
        return;
    };
    let mut ran = 0;
    for file in files.map(|f| f.unwrap().path()) {
        let Ok(Json::Array(nodes)) = serde_json::from_str::<Json>(&std::fs::read_to_string(&file).unwrap_or_default())
        else {
            continue;
        };
        for node in nodes.into_iter().filter(|n| n["type"] == "function") {
            let mut alone = node.clone();
            alone.as_object_mut().unwrap().remove("z");
            let rig = Rig::of(&functions, alone);
            let problems = rig.engine.current().diagnostics.clone();
            assert!(problems.is_empty(), "{}: {problems:?}", file.display());
            // What they expect differs; none of them loops or breaks off.
            rig.inject(
                "f",
                r#"{"payload": {"documents": [{"a": 1}], "example": ""}, "githubRepoUrl": "https://github.com/a/b"}"#,
            );
            rig.settle().await;
            let said = rig.take();
            assert!(!said.iter().any(|line| line.contains("was stopped")), "{}: {said:?}", file.display());
            ran += 1;
        }
    }
    assert!(ran >= 40, "only {ran} function nodes were found");
}
