//! The packs' own example flows, `plugins/*/flows`: they are right, their tests pass in the real sandbox, and together
//! they have all 33 node types of node-red-status. No server starts with them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use super::packs::{STATUS, shipped};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).into()
}

fn folder(pack: &str) -> String {
    format!("plugins/{pack}/flows")
}

/// Node types of the flow files in a folder.
fn types(folder: &Path) -> BTreeSet<String> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let flows = files.filter(|path| path.extension().is_some_and(|ending| ending == "json"));
    let read = |path: PathBuf| -> Vec<Value> { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    flows.flat_map(read).map(|node| node["type"].as_str().unwrap().to_owned()).collect()
}

/// Runs the program on the examples of all packs; what the tests compiled before is used.
fn probity(command: &str) -> Output {
    let mut probity = Command::new(env!("CARGO_BIN_EXE_probity"));
    probity.current_dir(root()).arg(command).args(STATUS.map(|(pack, _)| folder(pack)));
    probity.env("PROBITY_DATA_DIR", env!("CARGO_TARGET_TMPDIR")).output().unwrap()
}

#[test]
fn every_type_of_status_is_in_an_example_of_its_pack() {
    let mut all = 0;
    for (pack, names) in STATUS {
        let found = types(&root().join(folder(pack)));
        let missing: Vec<_> = names.iter().filter(|name| !found.contains(**name)).collect();
        assert!(missing.is_empty(), "no example of {pack} has {missing:?}");
        all += names.len();
    }
    assert_eq!(all, 33);
    assert!(!probity::app::shipped_flows().contains("/examples/"), "examples are imported, not shipped as flows");
}

#[test]
fn the_examples_are_right_and_pass_their_tests() {
    for (pack, _) in STATUS {
        if shipped(pack, &[]).is_none() {
            return;
        }
    }
    let checked = probity("check");
    let told = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success() && told.contains("0 errors, 0 warnings"), "{told}");
    let tested = probity("test");
    let told = String::from_utf8_lossy(&tested.stdout);
    assert!(tested.status.success(), "{told}");
    for (pack, _) in STATUS {
        assert!(told.contains(&format!("ok   {}/", folder(pack))), "{pack} has no tests:\n{told}");
    }
}
