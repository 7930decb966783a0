//! What was built to what the engine runs: core modules become components, and misfits are told by name.

use std::borrow::Cow;

use wasmparser::{Encoding, Parser, Payload};

use crate::model::Diagnostic;

/// Major and minor version of the contract in `plugins/wit`.
pub const CONTRACT: (u64, u64) = (1, 1);
/// Package of the contract.
pub const PACKAGE: &str = "probity:plugin";

/// The component of a WASM binary: itself, or made of the core module it is.
pub fn of(wasm: &[u8]) -> Result<Cow<'_, [u8]>, Diagnostic> {
    let wrong = |message: String| Diagnostic::error("plugin-code", "component", message);
    match kind(wasm) {
        Some(Encoding::Component) => Ok(Cow::Borrowed(wasm)),
        Some(Encoding::Module) => encode(wasm).map(Cow::Owned).map_err(|e| {
            wrong(format!("the core module cannot be made a component: {e:#}"))
                .expected("a module built with the Probity SDK for wasm32-unknown-unknown, or a component")
        }),
        None => Err(wrong("is no WebAssembly".into()).expected("a component or a core module")),
    }
}

fn kind(wasm: &[u8]) -> Option<Encoding> {
    match Parser::new(0).parse_all(wasm).next()?.ok()? {
        Payload::Version { encoding, .. } => Some(encoding),
        _ => None,
    }
}

/// Makes a component of a core module that carries its component type, as the SDK's builds do.
pub fn encode(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    wit_component::ComponentEncoder::default().validate(true).module(module)?.encode()
}

/// Interfaces of the contract that a component imports or exports, as `(interface, major, minor)`.
pub fn contract_of(wasm: &[u8]) -> Vec<(String, u64, u64)> {
    let mut found = Vec::new();
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(wasm).map_while(Result::ok) {
        let mut note = |name: &str| found.extend(versioned(name));
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) if depth > 0 => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 0 => {
                section.into_iter().flatten().for_each(|import| note(import.name.name));
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                section.into_iter().flatten().for_each(|export| note(export.name.name));
            }
            _ => {}
        }
    }
    found
}

/// `probity:plugin/http@1.1.0` → `("http", 1, 1)`.
fn versioned(name: &str) -> Option<(String, u64, u64)> {
    let (interface, version) = name.strip_prefix(PACKAGE)?.strip_prefix('/')?.split_once('@')?;
    let mut parts = version.split('.');
    Some((interface.to_string(), parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// What is wrong with a component that was built for a newer contract, whether or not it uses what is new in it.
pub(super) fn newer(wasm: &[u8]) -> Option<Diagnostic> {
    let (major, minor) = CONTRACT;
    let (interface, a, b) = contract_of(wasm).into_iter().find(|(_, a, b)| (*a, *b) > CONTRACT)?;
    let message = format!(
        "needs contract {a}.{b} ({interface}), this engine has {major}.{minor}; use a newer Probity, or build the \
         plugin against contract {major}.{minor}"
    );
    Some(Diagnostic::error("plugin-newer-contract", "component", message))
}

/// Says why the engine cannot run a component that is valid as such.
pub(super) fn unfit(error: &wasmtime::Error) -> Diagnostic {
    let (major, minor) = CONTRACT;
    Diagnostic::error("plugin-code", "component", format!("does not fit the contract: {error:#}"))
        .expected(format!("a component of the world {PACKAGE}/plugin@{major}.{minor}"))
}
