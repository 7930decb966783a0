//! What a WASM file is, as far as can be told without running it: a component or not, what it imports and exports,
//! whether that is the contract's and what the manifest declares.

use std::borrow::Cow;
use std::collections::BTreeMap;

use wasmparser::component_types::{
    ComponentDefinedType, ComponentDefinedTypeId, ComponentEntityType, ComponentFuncTypeId, ComponentValType,
};
use wasmparser::types::Types;
use wasmparser::{Parser, Payload, Validator, WasmFeatures};

use super::capability::Capability;
use super::component;
use super::contract::{self, Function, HANDLER, INTERFACES, PACKAGE};
use super::manifest::{CONTRACT, Manifest, two_numbers, unserved};
use crate::model::Diagnostic;

/// A larger component is refused, bytes.
pub const COMPONENT_BYTES_MAX: usize = 64 << 20;

/// WASI packages that are of use to a plugin: the engine stands in for them, without files, sockets or environment.
/// Of others, every function ends the call.
const WASI_STOOD_IN: &[&str] = &["wasi:cli", "wasi:clocks", "wasi:filesystem", "wasi:io", "wasi:random"];

/// Languages whose component builders import the whole world, used or not. What the manifest does not declare is
/// refused when it is called.
const WHOLE_WORLD: &[&str] = &["js", "javascript", "typescript", "ts", "python", "go"];

/// What a component imports and exports.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Component {
    pub imports: BTreeMap<String, Item>,
    pub exports: BTreeMap<String, Item>,
}

/// An import or export.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// Its functions; other members are left out.
    Instance(BTreeMap<String, Function>),
    /// A function, a type, a module: nothing of the contract is one at the top.
    Other,
}

/// Every problem of a component. The paths are those of the manifest.
pub(super) fn check(bytes: &[u8], manifest: &Manifest) -> Vec<Diagnostic> {
    let (encoded, mut found) = match encoded(bytes) {
        Ok(encoded) => encoded,
        Err(problem) => return vec![problem],
    };
    match read(&encoded) {
        Ok(component) => {
            let mut problems = newer(&component);
            if problems.is_empty() {
                problems.extend(handler(&component));
                problems.extend(component.imports.iter().flat_map(|(name, item)| import(name, item, manifest)));
            }
            problems.extend(unused(&component, manifest));
            found.extend(problems);
        }
        Err(problem) => found.push(problem),
    }
    found
}

/// As [`read`], also of a core module with the contract's bindings.
pub fn read_any(bytes: &[u8]) -> Result<Component, Diagnostic> {
    read(&encoded(bytes)?.0)
}

/// The component that the engine would make of a core module with the contract's bindings; others as they are.
fn encoded(bytes: &[u8]) -> Result<(Cow<'_, [u8]>, Vec<Diagnostic>), Diagnostic> {
    let typed = || custom_sections(bytes).iter().any(|(name, _)| name.starts_with("component-type"));
    if !Parser::is_core_wasm(bytes) || !typed() {
        return Ok((Cow::Borrowed(bytes), Vec::new()));
    }
    let warning =
        Diagnostic::warning("core-module", "$.component", "the file is a core module, made a component at every start")
            .hint("`probity plugin build` makes the component once");
    match component::encode(bytes) {
        Ok(component) => Ok((Cow::Owned(component), vec![warning])),
        Err(e) => {
            let message = format!("the core module cannot be made a component: {e:#}");
            Err(Diagnostic::error("core-module", "$.component", message)
                .hint("build it again with the SDK of this version, for wasm32-unknown-unknown"))
        }
    }
}

/// What the bytes import and export, or why they are no component.
pub fn read(bytes: &[u8]) -> Result<Component, Diagnostic> {
    let error = |code: &str, message: &str| Diagnostic::error(code, "$.component", message);
    if bytes.len() > COMPONENT_BYTES_MAX {
        return Err(error("too-large", &format!("the component has {} bytes", bytes.len()))
            .expected(format!("at most {COMPONENT_BYTES_MAX} bytes")));
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(no_wasm(bytes));
    }
    if Parser::is_core_wasm(bytes) {
        let hint = "it was built without the contract's bindings: use the SDK, or wit-bindgen with plugins/wit";
        return Err(error("core-module", "the file is a core module").expected("a component").hint(hint));
    }
    // The contract needs nothing beyond the component model itself.
    let features = WasmFeatures::WASM2
        | WasmFeatures::TAIL_CALL
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::RELAXED_SIMD
        | WasmFeatures::COMPONENT_MODEL;
    let types = Validator::new_with_features(features).validate_all(bytes).map_err(|e| {
        error("broken-component", &format!("the component is not valid: {} (at byte {})", e.message(), e.offset()))
            .hint("build it again; was the file cut short or built with proposals beyond WASM 2?")
    })?;
    let (imports, exports) = names(bytes);
    let import = |name: String| {
        let item = types.component_item_for_import(&name).map_or(Item::Other, |i| item(&types, i.ty));
        (name, item)
    };
    let export = |name: String| {
        let item = types.component_item_for_export(&name).map_or(Item::Other, |i| item(&types, i.ty));
        (name, item)
    };
    Ok(Component {
        imports: imports.into_iter().map(import).collect(),
        exports: exports.into_iter().map(export).collect(),
    })
}

/// Why bytes without WASM's first four are none.
fn no_wasm(bytes: &[u8]) -> Diagnostic {
    let problem = Diagnostic::error("not-wasm", "$.component", "the file is not WASM").expected("a component");
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]);
    let start = start.trim_start();
    if bytes.is_empty() {
        return problem.hint("the file is empty");
    }
    if start.starts_with("(component") || start.starts_with("(module") {
        return problem.hint("it is WASM's text form; translate it with `wasm-tools parse`");
    }
    if start.starts_with("version https://git-lfs") {
        return problem.hint("it is a pointer of Git LFS; fetch the file with `git lfs pull`");
    }
    if start.starts_with('<') {
        return problem.hint("it is a web page; was the download refused?");
    }
    problem
}

/// Names of imports and exports of the outermost component.
fn names(bytes: &[u8]) -> (Vec<String>, Vec<String>) {
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    let mut depth = 0usize;
    for payload in Parser::new(0).parse_all(bytes).map_while(Result::ok) {
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                imports.extend(section.into_iter().flatten().map(|i| i.name.name.to_string()));
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                exports.extend(section.into_iter().flatten().map(|e| e.name.name.to_string()));
            }
            _ => {}
        }
    }
    (imports, exports)
}

/// The custom sections of the outermost level: name, contents.
pub(super) fn custom_sections(bytes: &[u8]) -> Vec<(String, &[u8])> {
    let mut sections = Vec::new();
    let mut depth = 0usize;
    for payload in Parser::new(0).parse_all(bytes).map_while(Result::ok) {
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth == 0 => {
                sections.push((section.name().to_string(), section.data()));
            }
            _ => {}
        }
    }
    sections
}

fn item(types: &Types, ty: ComponentEntityType) -> Item {
    let ComponentEntityType::Instance(id) = ty else { return Item::Other };
    let function = |(name, item): (&String, &wasmparser::component_types::ComponentItem)| match item.ty {
        ComponentEntityType::Func(id) => Some((name.clone(), function(types, id))),
        _ => None,
    };
    Item::Instance(types[id].exports.iter().filter_map(function).collect())
}

fn function(types: &Types, id: ComponentFuncTypeId) -> Function {
    let of = &types[id];
    Function {
        params: of.params.iter().map(|(name, ty)| (name.to_string(), shape(types, *ty, 0))).collect(),
        result: of.result.map(|ty| shape(types, ty, 0)),
    }
}

/// Types nested deeper are none of the contract's.
const SHAPE_DEPTH_MAX: usize = 16;

/// As `contract::shape`, of a type in a binary.
fn shape(types: &Types, ty: ComponentValType, depth: usize) -> String {
    match ty {
        ComponentValType::Primitive(primitive) => primitive.to_string(),
        ComponentValType::Type(_) if depth > SHAPE_DEPTH_MAX => "…".into(),
        ComponentValType::Type(id) => defined(types, id, depth + 1),
    }
}

fn defined(types: &Types, id: ComponentDefinedTypeId, depth: usize) -> String {
    let inner = |ty: ComponentValType| shape(types, ty, depth);
    let optional = |ty: Option<ComponentValType>| ty.map_or_else(|| "_".into(), inner);
    match &types[id] {
        ComponentDefinedType::Primitive(primitive) => primitive.to_string(),
        ComponentDefinedType::List { element, .. } => format!("list<{}>", inner(*element)),
        ComponentDefinedType::Option { ty, .. } => format!("option<{}>", inner(*ty)),
        ComponentDefinedType::Result { ok, err, .. } => format!("result<{}, {}>", optional(*ok), optional(*err)),
        ComponentDefinedType::Tuple(tuple) => {
            let types: Vec<String> = tuple.types.iter().map(|t| inner(*t)).collect();
            format!("tuple<{}>", types.join(", "))
        }
        ComponentDefinedType::Record(record) => {
            let fields: Vec<String> = record.fields.iter().map(|(name, t)| format!("{name}: {}", inner(*t))).collect();
            format!("record {{{}}}", fields.join(", "))
        }
        ComponentDefinedType::Variant(variant) => {
            let cases: Vec<String> =
                variant.cases.iter().map(|(name, case)| format!("{name}({})", optional(case.ty))).collect();
            format!("variant {{{}}}", cases.join(", "))
        }
        ComponentDefinedType::Enum(cases) => {
            let cases: Vec<String> = cases.iter().map(ToString::to_string).collect();
            format!("enum {{{}}}", cases.join(", "))
        }
        _ => "a type that the contract does not use".into(),
    }
}

/// `probity:plugin/http@1.1.0` as `http` and `(1, 1)`; `None` for names of other packages.
fn of_contract(name: &str) -> Option<(&str, Option<(u64, u64)>)> {
    let rest = name.strip_prefix(PACKAGE)?.strip_prefix('/')?;
    let (interface, version) = rest.split_once('@').map_or((rest, None), |(i, v)| (i, Some(v)));
    // The patch number does not matter.
    let version = version.and_then(|v| two_numbers(v.rsplit_once('.')?.0));
    Some((interface, version))
}

/// The newest version of the contract that the component names.
pub fn contract_of(component: &Component) -> Option<(u64, u64)> {
    let names = component.imports.keys().chain(component.exports.keys());
    names.filter_map(|name| of_contract(name)?.1).max()
}

/// Said once, not for every interface: it was built for a contract this engine does not serve.
fn newer(component: &Component) -> Vec<Diagnostic> {
    let Some(problem) = contract_of(component).and_then(unserved) else { return Vec::new() };
    vec![Diagnostic { path: "$.component".into(), message: format!("the component {}", problem.message), ..problem }]
}

/// The exports: `handler` with all its functions.
fn handler(component: &Component) -> Vec<Diagnostic> {
    let (major, minor) = CONTRACT;
    let wanted = format!("{PACKAGE}/{HANDLER}@{major}.{minor}.0");
    let found = component.exports.iter().find(|(name, _)| {
        of_contract(name).is_some_and(|(interface, version)| interface == HANDLER && version.is_some())
    });
    let Some((name, item)) = found else {
        let exports: Vec<&str> = component.exports.keys().map(String::as_str).collect();
        let message = match exports.as_slice() {
            [] => "the component exports nothing".to_string(),
            some => format!("the component has no \"{HANDLER}\" export, but {}", some.join(", ")),
        };
        let problem = Diagnostic::error("no-handler", "$.component", message).expected(wanted);
        return vec![problem.hint("build it for the world \"plugin\" of plugins/wit")];
    };
    let wanted = &INTERFACES[HANDLER];
    let given = functions(item);
    let mut problems = Vec::new();
    for (function, form) in wanted {
        match given.get(function) {
            None => problems.push(
                Diagnostic::error("no-function", "$.component", format!("the export {name} has no \"{function}\""))
                    .expected(contract::declaration(HANDLER, function).unwrap_or(function)),
            ),
            Some(given) if given != form => problems.push(other_form("exports", HANDLER, function, name)),
            Some(_) => {}
        }
    }
    problems
}

fn functions(item: &Item) -> BTreeMap<String, Function> {
    match item {
        Item::Instance(functions) => functions.clone(),
        Item::Other => BTreeMap::new(),
    }
}

fn other_form(verb: &str, interface: &str, function: &str, name: &str) -> Diagnostic {
    let message = format!("the component {verb} \"{function}\" of {name} in another form than the contract's");
    Diagnostic::error("wrong-types", "$.component", message)
        .expected(contract::declaration(interface, function).unwrap_or(function))
        .hint("generate the bindings again from plugins/wit")
}

/// One import: the contract's, in its form, and declared.
fn import(name: &str, item: &Item, manifest: &Manifest) -> Vec<Diagnostic> {
    let Some((interface, _)) = of_contract(name) else { return foreign(name).into_iter().collect() };
    let Some(known) = INTERFACES.get(interface) else {
        let message = format!("the component imports {name}; the contract has no interface \"{interface}\"");
        let problem = Diagnostic::error("foreign-import", "$.component", message);
        return vec![problem.did_you_mean(interface, INTERFACES.keys().map(String::as_str))];
    };
    if interface == "script" && manifest.interprets.is_empty() {
        let message = format!("the component imports {name}, which only the engine's own interpreters may");
        return vec![Diagnostic::error("foreign-import", "$.component", message)];
    }
    let mut problems = Vec::new();
    for (function, given) in functions(item) {
        match known.get(&function) {
            None => {
                let message = format!("the component imports \"{function}\" of {name}, which is not there");
                let problem = Diagnostic::error("foreign-import", "$.component", message);
                problems.push(problem.did_you_mean(&function, known.keys().map(String::as_str)));
            }
            Some(form) if *form != given => problems.push(other_form("imports", interface, &function, name)),
            Some(_) => {}
        }
    }
    if let Some(capability) = Capability::of_interface(interface) {
        problems.extend(undeclared(capability, manifest));
    }
    problems
}

fn undeclared(capability: Capability, manifest: &Manifest) -> Option<Diagnostic> {
    let whole = manifest.build.as_ref().is_some_and(|b| WHOLE_WORLD.contains(&b.lang.to_lowercase().as_str()));
    // An interpreter may do what the manifest of the script it runs asks for.
    if whole || !manifest.interprets.is_empty() || manifest.request(capability).is_some() {
        return None;
    }
    let message = format!("the component imports \"{capability}\", which the manifest does not ask for");
    let more = match capability {
        Capability::Http => ", hosts = [\"…\"]",
        Capability::Secret => ", secrets = [\"…\"]",
        _ => "",
    };
    let hint = format!("add [[capability]] with name = \"{capability}\", reason = \"…\"{more}");
    Some(Diagnostic::error("undeclared-import", "$.capability", message).hint(hint))
}

/// An import of another package.
fn foreign(name: &str) -> Option<Diagnostic> {
    let package = name.split('/').next().unwrap_or(name);
    let version = name.rsplit_once('@').map(|(_, v)| v).unwrap_or_default();
    if package.starts_with("wasi:") && version.starts_with("0.2.") {
        if WASI_STOOD_IN.contains(&package) {
            return None;
        }
        let message = format!("the component imports {name}, of which nothing is given to plugins");
        let problem = Diagnostic::warning("wasi-import", "$.component", message);
        return Some(problem.hint("a call of it is stopped; call out with the contract's \"http\""));
    }
    let message = format!("the component imports {name}, which is not of the contract");
    let problem = Diagnostic::error("foreign-import", "$.component", message);
    Some(match package {
        package if package.starts_with("wasi:") => problem.hint("build for WASI 0.2 (wasm32-wasip2), or without WASI"),
        package if package.starts_with("probity:") => problem.did_you_mean(package, [PACKAGE]),
        _ => problem.hint("a plugin may import the interfaces of plugins/wit alone"),
    })
}

/// Declared, but the component cannot use it: the operator would grant for nothing.
fn unused(component: &Component, manifest: &Manifest) -> Vec<Diagnostic> {
    let used = |capability: Capability| {
        component.imports.keys().any(|n| of_contract(n).is_some_and(|(i, _)| i == capability.interface()))
    };
    let unused = |(i, request): (usize, &super::manifest::Request)| {
        let message = format!("the manifest asks for \"{}\", which the component does not import", request.name);
        let problem = Diagnostic::warning("unused-capability", format!("$.capability[{i}]"), message);
        (!used(request.name)).then(|| problem.hint("leave it out"))
    };
    manifest.capabilities.iter().enumerate().filter_map(unused).collect()
}
