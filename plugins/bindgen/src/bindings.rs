//! Rust bindings of the SDK and of the JavaScript interpreter, made by `wit-bindgen-rust` as its macro would, so that authors need not compile it.

use std::path::Path;

use anyhow::{Context, Result};
use wit_bindgen_core::{Files, WorldGenerator};
use wit_parser::Resolve;

const HEAD: &str =
    "// Generated from plugins/wit/plugin.wit by `cargo run --manifest-path bindgen/Cargo.toml`. Do not edit.\n";

/// The text of a crate's `src/bindings.rs` for a world of the contract at `wit`.
pub fn generate(wit: &Path, world: &str) -> Result<String> {
    let mut resolve = Resolve::default();
    let package = resolve.push_file(wit)?;
    let world = resolve.select_world(&[package], Some(world))?;
    let options = wit_bindgen_rust::Opts {
        format: true,
        pub_export_macro: true,
        export_macro_name: Some("export_plugin".into()),
        default_bindings_module: Some("$crate::bindings".into()),
        runtime_path: Some("::wit_bindgen::rt".into()),
        generate_all: true,
        ..Default::default()
    };
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files)?;
    let (_, text) = files.iter().next().context("wit-bindgen made no file")?;
    Ok(format!("{HEAD}{}", std::str::from_utf8(text)?))
}
