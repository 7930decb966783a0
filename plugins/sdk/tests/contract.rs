//! Whether this crate was made from the contract as it stands.

use std::path::Path;

#[test]
fn the_bindings_are_those_of_the_contract() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    // In an author's folder there is only this crate's own copy.
    let Ok(contract) = std::fs::read_to_string(here.join("../wit/plugin.wit")) else {
        assert!(!here.join("../bindgen").exists(), "plugins/wit/plugin.wit cannot be read");
        return;
    };
    let copy = std::fs::read_to_string(here.join("wit/plugin.wit")).expect("the SDK's copy of the contract");
    let advice = "the contract changed: run `cargo run --manifest-path bindgen/Cargo.toml` in plugins/";
    assert!(contract == copy, "{advice}");
    // The generator writes copy and bindings in one go; the version shows that nobody copied the file by hand.
    let package = contract.lines().find_map(|line| line.strip_prefix("package ")).expect("a package");
    let bindings = std::fs::read_to_string(here.join("src/bindings.rs")).expect("the bindings");
    let version = package.trim_end_matches(';').rsplit('@').next().expect("a version");
    assert!(bindings.contains(&format!("probity:plugin/handler@{version}#process")), "{advice}");
}
