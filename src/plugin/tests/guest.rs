//! Guests for tests: components whose functions do nothing, made from the contract's text.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Deserialize;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Function, Resolve, WorldId, WorldItem};

use crate::plugin::contract::WIT;

/// A file of a case.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum FileSpec {
    Text(String),
    /// WASM's text form.
    Wat(String),
    Hex(String),
    /// A component for the world with these items.
    Component(World),
    /// The same before it is made a component.
    Core(World),
}

/// What a guest imports and exports, of a contract in which some texts are replaced by others.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct World {
    world: String,
    #[serde(default)]
    replace: BTreeMap<String, String>,
}

impl FileSpec {
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            FileSpec::Text(text) => text.clone().into_bytes(),
            FileSpec::Wat(text) => wat::parse_str(text).unwrap(),
            FileSpec::Hex(digits) => hex::decode(digits).unwrap(),
            FileSpec::Component(World { world, replace }) => component(world, replace),
            FileSpec::Core(World { world, replace }) => module(world, replace),
        }
    }
}

pub fn component(world: &str, replace: &BTreeMap<String, String>) -> Vec<u8> {
    let module = module(world, replace);
    ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap()
}

fn module(world: &str, replace: &BTreeMap<String, String>) -> Vec<u8> {
    let mut text = format!("{WIT}\nworld guest {{ {world} }}\n");
    for (from, to) in replace {
        assert!(text.contains(from), "the contract has no \"{from}\"");
        text = text.replace(from, to);
    }
    let mut resolve = Resolve::default();
    let package = resolve.push_str("guest.wit", &text).unwrap();
    let world = resolve.select_world(&[package], Some("guest")).unwrap();
    let mut module = wat::parse_str(module_text(&resolve, world)).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    module
}

fn module_text(resolve: &Resolve, world: WorldId) -> String {
    let world = &resolve.worlds[world];
    let functions = |item: &WorldItem| -> Vec<(String, Function)> {
        let WorldItem::Interface { id, .. } = item else { panic!("a guest's world holds interfaces") };
        let name = resolve.id_of(*id).unwrap();
        resolve.interfaces[*id].functions.values().map(|f| (name.clone(), f.clone())).collect()
    };
    let mut text = String::from("(module\n");
    for (name, f) in world.imports.values().flat_map(functions) {
        let form = form(resolve, AbiVariant::GuestImport, &f);
        writeln!(text, "(import {name:?} {:?} (func {form}))", f.name).unwrap();
    }
    text.push_str("(memory (export \"memory\") 1)\n");
    text.push_str("(func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32) unreachable)\n");
    for (name, f) in world.exports.values().flat_map(functions) {
        let form = form(resolve, AbiVariant::GuestExport, &f);
        writeln!(text, "(func (export \"{name}#{}\") {form} unreachable)", f.name).unwrap();
    }
    text.push(')');
    text
}

fn form(resolve: &Resolve, variant: AbiVariant, function: &Function) -> String {
    let signature = resolve.wasm_signature(variant, function);
    let list = |types: &[WasmType]| {
        let name = |t: &WasmType| match t {
            WasmType::I64 | WasmType::PointerOrI64 => " i64",
            WasmType::F32 => " f32",
            WasmType::F64 => " f64",
            WasmType::I32 | WasmType::Pointer | WasmType::Length => " i32",
        };
        types.iter().map(name).collect::<String>()
    };
    format!("(param{}) (result{})", list(&signature.params), list(&signature.results))
}
