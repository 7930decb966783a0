//! The cases of `tests/cases/side-by-side`, against the real Node-RED and this program at once. Skipped, visibly, where
//! `tests/all` has not installed it, or the JavaScript component is not built.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Set it to make a missing Node-RED a failure.
const REQUIRED: &str = "PROBITY_TEST_REQUIRE_NODE_RED";

fn own(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[expect(clippy::disallowed_methods, reason = "tests have no config")]
fn is_there(path: &Path) -> bool {
    let there = path.exists();
    if !there {
        let how = format!("{} is missing: tests/all installs it", path.display());
        assert!(std::env::var_os(REQUIRED).is_none(), "{how}");
        eprintln!("skipped: {how}");
    }
    there
}

#[test]
fn the_real_node_red_answers_alike() {
    let (node, red) = (own("target/tools/bin/node"), own("target/node-red"));
    if !is_there(&node) || !is_there(&red.join("installed")) || crate::functions::component().is_none() {
        return;
    }
    let cache = own("target/test-plugin-cache");
    std::fs::create_dir_all(&cache).unwrap();
    let done = Command::new(node)
        .arg(own("tests/side-by-side/run.mjs"))
        .arg("--probity")
        .arg(env!("CARGO_BIN_EXE_probity"))
        .arg("--node-red")
        .arg(red)
        .arg("--plugin-cache")
        .arg(cache)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
}
