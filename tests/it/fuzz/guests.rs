//! Plugins under fire: manifests, modules and packages of any kind, and host calls with any arguments.

use std::cell::Cell;
use std::fmt::Write;
use std::path::Path;
use std::sync::{Arc, Once};

use arbitrary::Unstructured;
use probity::plugin::granted::Granted;
use probity::plugin::limits::{CallLimits, Limits};
use probity::plugin::package::{self, Origin};
use probity::plugin::{Package, manifest};
use proptest::prelude::*;
use serde_json::json;
use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Type, TypeDefKind};

use super::fuzz;
use super::input::{changed_text, corpus};
use crate::plugins::rig;

#[test]
fn plugin_manifests() {
    let files = corpus(&["plugins"], "plugin.toml");
    assert!(files.len() > 10, "there are manifests to start from");
    let input = prop_oneof![9 => changed_text(files), 1 => "\\PC{0,50}"];
    fuzz("plugin manifests", input, |text| match manifest::parse(text) {
        Ok((manifest, _)) => assert!(manifest.code().is_some() || !manifest.interprets.is_empty()),
        Err(problems) => assert!(!problems.is_empty(), "refused without a reason"),
    });
}

fn limits() -> Limits {
    let small = CallLimits {
        compute_ms_max: 20,
        call_ms_max: 50,
        memory_bytes_max: 1 << 20,
        output_bytes_max: 64 << 10,
        state_bytes_max: 64 << 10,
    };
    Limits { default: small.clone(), max: small, stops_max: u32::MAX, instances_max: 8, ..Limits::default() }
}

fn runtime() -> tokio::runtime::Runtime {
    // Guests run on this thread, where their host's panics are counted.
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

thread_local!(static PANICS: Cell<u32> = const { Cell::new(0) });

/// Panics of this thread so far, those that the engine catches included.
fn panics() -> u32 {
    static COUNTING: Once = Once::new();
    COUNTING.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.set(PANICS.get() + 1);
            before(info);
        }));
    });
    PANICS.get()
}

/// Loads what may be no plugin at all; what is loaded is given a message.
async fn try_wasm(rig: &rig::Rig, wasm: Vec<u8>) {
    let package = Package {
        manifest: rig::manifest("strange", ""),
        wasm: wasm.into(),
        script: None,
        granted: Granted::default(),
    };
    match rig.load(package).await {
        Ok(()) => {
            for of in rig.plugins.descriptions("strange") {
                let flow = rig.deploy(json!([{"id": "n", "type": of.node_type}]));
                rig.send(&flow, "n", rig::msg("x")).await;
            }
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            // Compiling is done on threads whose panics are caught.
            assert!(!problems.iter().any(|p| p.message.starts_with("cannot be compiled:")), "{problems:?}");
        }
    }
}

#[test]
fn modules() {
    let valid = rig::component("pass", |t| t).to_vec();
    let smith = prop::collection::vec(any::<u8>(), 0..3000).prop_map(|bytes| {
        let config = wasm_smith::Config { max_memories: 1, max_memory32_bytes: 1 << 20, ..Default::default() };
        wasm_smith::Module::new(config, &mut Unstructured::new(&bytes)).map(|m| m.to_bytes()).unwrap_or_default()
    });
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6);
    let broken = (edits, any::<prop::sample::Index>(), any::<bool>()).prop_map(move |(edits, end, cut)| {
        let mut wasm = valid.clone();
        for (at, byte) in edits {
            let at = at.index(wasm.len());
            wasm[at] = byte;
        }
        if cut {
            wasm.truncate(end.index(wasm.len()));
        }
        wasm
    });
    let runtime = runtime();
    let rig = rig::Rig::new(limits());
    let folder = tempfile::tempdir().unwrap();
    fuzz("modules", prop_oneof![2 => smith, 3 => broken, 1 => prop::collection::vec(any::<u8>(), 0..200)], |wasm| {
        let before = panics();
        runtime.block_on(try_wasm(&rig, wasm.clone()));
        let path = folder.path().join("packed.wasm");
        std::fs::write(&path, wasm).unwrap();
        let _ = package::check(&path, Origin::Given);
        assert_eq!(panics(), before, "the host panicked");
    });
}

/// What a core argument of a host call stands for.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Where a text starts; its length follows.
    Text,
    Length,
    /// Where a list of pairs of texts, or of properties, starts; how many there are follows.
    Pairs,
    Properties,
    Count,
    /// Below this number.
    Choice(u32),
    Number,
}

/// Words that lead host calls past their first check.
const TEXTS: &[&str] = &[
    "GET",
    "http://127.0.0.1:9/a?b=c",
    "http://[::1]:9/",
    "http://169.254.169.254/latest",
    "file:///etc/passwd",
    "payload",
    "payload.items[0]",
    "payload['a'].b",
    "{\"a\":[1,{\"b\":null}]}",
    "{\"a\":[1,",
    "$sum(payload.items.price)",
    "($f := function($n){ $f($n + 1) }; $f(0))",
    "msg",
    "flow",
    "global",
    "env",
    "jsonata",
    "date",
    "re",
    "(a+)+$",
    "bin",
    "[1,2,300]",
    "num",
    "1e999",
    "../../etc/passwd",
    "/",
    "a key",
    "content-type",
    "naïve – 漢字",
    "res",
    "",
];
const TEXTS_AT: usize = 8192;
const PAIRS_AT: usize = 16384;
const PROPERTIES_AT: usize = 18432;
const ANSWER_AT: usize = 20480;
/// Entries of each table.
const LISTED: u16 = 16;

fn address(text: usize) -> i64 {
    (TEXTS_AT + TEXTS[..text].iter().map(|t| t.len()).sum::<usize>()) as i64
}

/// The value of an argument: mostly what the contract wants, now and then anything. `text` is the text last chosen.
fn value(kind: Kind, chance: u16, text: &mut usize) -> i64 {
    if chance.is_multiple_of(61) {
        let wild = [-1, i64::from(i32::MAX), i64::from(i32::MIN), 65_535, 131_071, 3, i64::from(chance) << 12];
        return wild[usize::from(chance / 61) % wild.len()];
    }
    match kind {
        Kind::Text => {
            *text = usize::from(chance) % TEXTS.len();
            address(*text)
        }
        Kind::Length => TEXTS[*text].len() as i64,
        Kind::Pairs => PAIRS_AT as i64,
        Kind::Properties => PROPERTIES_AT as i64,
        Kind::Count => i64::from(chance % 4),
        Kind::Choice(n) => i64::from(u32::from(chance) % n),
        Kind::Number => [0, 1, 2, 16, 1_000, 70_000][usize::from(chance) % 6],
    }
}

/// The core arguments of a value of this type.
fn kinds(resolve: &wit_parser::Resolve, of: &Type, into: &mut Vec<Kind>) {
    let id = match of {
        Type::String => return into.extend([Kind::Text, Kind::Length]),
        Type::Bool => return into.push(Kind::Choice(2)),
        Type::Id(id) => *id,
        _ => return into.push(Kind::Number),
    };
    match &resolve.types[id].kind {
        TypeDefKind::Type(of) => kinds(resolve, of, into),
        TypeDefKind::Record(record) => record.fields.iter().for_each(|f| kinds(resolve, &f.ty, into)),
        TypeDefKind::Enum(of) => into.push(Kind::Choice(of.cases.len() as u32)),
        TypeDefKind::Option(of) => {
            into.push(Kind::Choice(2));
            kinds(resolve, of, into);
        }
        // The contract's one variant, `value`: JSON text or bytes, either of which is an address and a length.
        TypeDefKind::Variant(of) => into.extend([Kind::Choice(of.cases.len() as u32), Kind::Text, Kind::Length]),
        TypeDefKind::List(Type::U8) => into.extend([Kind::Text, Kind::Length]),
        TypeDefKind::List(Type::Id(of)) if matches!(resolve.types[*of].kind, TypeDefKind::Tuple(_)) => {
            into.extend([Kind::Pairs, Kind::Count]);
        }
        TypeDefKind::List(Type::Id(_)) => into.extend([Kind::Properties, Kind::Count]),
        TypeDefKind::List(_) => into.extend([Kind::Pairs, Kind::Count]),
        other => panic!("the contract has a type that is not fuzzed: {other:?}"),
    }
}

/// One import of the contract: its module, name and core signature.
struct Import {
    module: String,
    name: String,
    kinds: Vec<Kind>,
    parameters: Vec<WasmType>,
    results: Vec<WasmType>,
}

fn imports() -> Vec<Import> {
    let mut resolve = wit_parser::Resolve::default();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (package, _) = resolve.push_dir(root.join("plugins/wit")).unwrap();
    let world = resolve.select_world(&[package], Some("plugin")).unwrap();
    let mut found = Vec::new();
    for item in resolve.worlds[world].imports.values() {
        let wit_parser::WorldItem::Interface { id, .. } = item else { continue };
        let module = resolve.id_of(*id).unwrap();
        for (name, function) in &resolve.interfaces[*id].functions {
            let signature = resolve.wasm_signature(AbiVariant::GuestImport, function);
            let mut of_all = Vec::new();
            function.params.iter().for_each(|p| kinds(&resolve, &p.ty, &mut of_all));
            assert!(!signature.indirect_params, "{name}: its arguments lie in memory");
            assert_eq!(of_all.len() + usize::from(signature.retptr), signature.params.len(), "{name}");
            let (module, name) = (module.clone(), name.clone());
            found.push(Import {
                module,
                name,
                kinds: of_all,
                parameters: signature.params,
                results: signature.results,
            });
        }
    }
    found
}

fn core_type(of: &WasmType) -> &'static str {
    match of {
        WasmType::I32 | WasmType::Pointer | WasmType::Length => "i32",
        WasmType::I64 | WasmType::PointerOrI64 => "i64",
        WasmType::F32 => "f32",
        WasmType::F64 => "f64",
    }
}

type Calls = Vec<(prop::sample::Index, Vec<u16>)>;

/// A guest that makes these calls for every message.
fn guest(imports: &[Import], calls: &Calls, listed: &[u16]) -> bytes::Bytes {
    let mut declared = String::new();
    for (i, import) in imports.iter().enumerate() {
        let list = |word: &str, types: &[WasmType]| match types {
            [] => String::new(),
            types => format!(" ({word} {})", types.iter().map(core_type).collect::<Vec<_>>().join(" ")),
        };
        let (parameters, results) = (list("param", &import.parameters), list("result", &import.results));
        let (module, name) = (&import.module, &import.name);
        writeln!(declared, "(import \"{module}\" \"{name}\" (func $call{i}{parameters}{results}))").unwrap();
    }
    let (mut body, mut text) = (String::new(), 0);
    for (which, chances) in calls {
        let i = which.index(imports.len());
        let import = &imports[i];
        let given =
            import.kinds.iter().zip(chances.iter().cycle()).map(|(kind, chance)| value(*kind, *chance, &mut text));
        for (value, of) in given.chain([ANSWER_AT as i64]).zip(&import.parameters) {
            let value = if core_type(of) == "i32" { i64::from(value as i32) } else { value };
            write!(body, "({}.const {value}) ", core_type(of)).unwrap();
        }
        write!(body, "(call $call{i}) {}", "(drop) ".repeat(import.results.len())).unwrap();
    }
    let mut table = |of: &[Kind]| -> Vec<u8> {
        let kinds = of.iter().cycle().take(usize::from(LISTED) * of.len());
        kinds.zip(listed.iter().cycle()).flat_map(|(k, c)| (value(*k, *c, &mut text) as i32).to_le_bytes()).collect()
    };
    let pairs = table(&[Kind::Text, Kind::Length]);
    let properties = table(&[Kind::Text, Kind::Length, Kind::Choice(2), Kind::Text, Kind::Length]);
    let data = |at: usize, bytes: &[u8]| {
        let escaped: String = bytes.iter().map(|b| format!("\\{b:02x}")).collect();
        format!("(data (i32.const {at}) \"{escaped}\")")
    };
    let data = [data(TEXTS_AT, TEXTS.concat().as_bytes()), data(PAIRS_AT, &pairs), data(PROPERTIES_AT, &properties)];
    rig::component("pass", |text| {
        let (emit, memory) = (text.find("(import").unwrap(), text.find("(memory").unwrap());
        let text = format!("{}{declared}{}", &text[..emit], &text[memory..]);
        let call = text.find("(call $emit").unwrap();
        let after = text.find("(global.set $heap (i32.const 65536))").unwrap();
        let text = format!("{}{body}{}", &text[..call], &text[after..]);
        let end = text.rfind(')').unwrap();
        format!("{}{})", &text[..end], data.concat())
    })
}

#[test]
fn host_calls() {
    let imports = imports();
    assert!(imports.len() > 15, "the contract has calls");
    let chances = |n: usize| prop::collection::vec(any::<u16>(), n);
    let calls = prop::collection::vec((any::<prop::sample::Index>(), chances(16)), 1..12);
    let input = (calls, chances(80));
    let runtime = runtime();
    let rig = Arc::new(rig::Rig::new(limits()));
    let folder = tempfile::tempdir().unwrap();
    let names = ["clock", "random", "http", "state", "secret", "evidence", "typed-input", "context", "files"];
    let granted = Granted {
        hosts: vec!["*".into()],
        secrets: ["payload".to_string()].into(),
        folders: vec![folder.path().into()],
        ..rig::granted(&names)
    };
    fuzz("host calls", input, |(calls, listed)| {
        let before = panics();
        let wasm = guest(&imports, calls, listed);
        let package = Package { manifest: rig::manifest("calls", ""), wasm, script: None, granted: granted.clone() };
        runtime.block_on(async {
            rig.load(package).await.unwrap_or_else(|p| panic!("{p:?}"));
            let flow = rig.deploy(json!([{"id": "n", "type": "guest-pass"}]));
            for _ in 0..2 {
                rig.send(&flow, "n", rig::msg("x")).await;
            }
        });
        assert_eq!(panics(), before, "the host panicked");
    });
}
