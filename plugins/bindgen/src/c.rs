//! C bindings of the contract, made by `wit-bindgen-c`, all of them text: its object file with the component's type
//! becomes a C file that puts the same section into the module.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Result, ensure};
use wit_bindgen_core::Files;
use wit_component::{StringEncoding, metadata};
use wit_parser::{Resolve, WorldId};

const HEAD: &str =
    "// Generated from plugins/wit/plugin.wit by `cargo run --manifest-path bindgen/Cargo.toml`. Do not edit.\n";
const WORLD: &str = "plugin";

/// File names and texts: `plugin.h`, `plugin.c` and `plugin_type.c`.
pub fn generate(wit: &Path) -> Result<Vec<(String, String)>> {
    let mut resolve = Resolve::default();
    let package = resolve.push_file(wit)?;
    let world = resolve.select_world(&[package], Some(WORLD))?;
    let component_type = component_type(&resolve, world)?;
    let options = wit_bindgen_c::Opts { no_object_file: true, ..Default::default() };
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files)?;
    let mut made = vec![("plugin_type.c".to_string(), component_type)];
    for (name, text) in files.iter() {
        made.push((name.to_string(), format!("{HEAD}{}", std::str::from_utf8(text)?)));
    }
    ensure!(made.len() == 3, "wit-bindgen-c made {} files, a .h and a .c were expected", made.len() - 1);
    Ok(made)
}

/// The component's type as a custom section, with the symbol that makes the linker keep it.
fn component_type(resolve: &Resolve, world: WorldId) -> Result<String> {
    let bytes = metadata::encode(resolve, world, StringEncoding::UTF8, None)?;
    let symbol = wit_bindgen_c::component_type_object::linking_symbol(WORLD);
    let mut text =
        format!("{HEAD}// The contract as the engine reads it from the module; bytes of the component model.\n");
    writeln!(text, "__asm__(\".section \\\".custom_section.component-type:{WORLD}\\\",\\\"\\\",@\\n\"")?;
    for line in bytes.chunks(24) {
        let numbers: Vec<String> = line.iter().map(u8::to_string).collect();
        writeln!(text, "        \".byte {}\\n\"", numbers.join(","))?;
    }
    writeln!(text, "        \".text\\n\");\nvoid {symbol}(void) {{}}")?;
    Ok(text)
}
