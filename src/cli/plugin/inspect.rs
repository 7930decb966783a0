//! `probity plugin inspect`: all there is to know about a plugin before it runs.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{Where, grant, print, source};
use crate::cli::Format;
use crate::plugin::admission::Operator;
use crate::plugin::capability::Capability;
use crate::plugin::conformance::{self, Item};
use crate::plugin::grants::Scope;
use crate::plugin::manifest::{Code, Manifest};
use crate::plugin::package::{Loaded, Package};
use crate::plugin::signature::State;

#[derive(Args)]
pub(super) struct InspectArgs {
    /// A plugin's name, folder or .wasm file
    plugin: String,
    /// Output form
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    place: Where,
}

pub(super) fn inspect(args: &InspectArgs) -> Result<ExitCode, ExitCode> {
    let config = args.place.load()?;
    let operator = source::decided(&config)?;
    let (package, loaded) = source::named(&config, &args.plugin)?;
    match args.format {
        Format::Json => {
            let all = as_json(&operator, &package, &loaded);
            print(&format!("{}\n", serde_json::to_string_pretty(&all).expect("a description is JSON")));
        }
        Format::Table => print(&as_text(&operator, &package, &loaded)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Names of what the component imports, with the functions; nothing for a script.
fn imports(package: &Package, loaded: &Loaded) -> Vec<(String, Vec<String>)> {
    if let Some(Code::Script(_)) = package.manifest.code() {
        return Vec::new();
    }
    let imports = conformance::read_any(&loaded.code).map(|c| c.imports).unwrap_or_default();
    let functions = |item: Item| match item {
        Item::Instance(functions) => functions.into_keys().collect(),
        Item::Other => Vec::new(),
    };
    imports.into_iter().map(|(name, item)| (name, functions(item))).collect()
}

fn as_json(operator: &Operator, package: &Package, loaded: &Loaded) -> serde_json::Value {
    let granted = operator.granted(package, loaded);
    let imports: serde_json::Map<String, serde_json::Value> =
        imports(package, loaded).into_iter().map(|(name, functions)| (name, functions.into())).collect();
    json!({
        "manifest": package.manifest,
        "path": package.path,
        "from": package.origin,
        "digest": loaded.digest,
        "code": {"digest": loaded.code_digest, "bytes": loaded.code.len()},
        "signature": operator.trust.state(package, loaded),
        "imports": imports,
        "granted": {
            "capabilities": granted.names, "hosts": granted.hosts, "secrets": granted.secrets,
            "folders": granted.folders,
        },
        "missing": operator.missing(package, loaded),
    })
}

fn as_text(operator: &Operator, package: &Package, loaded: &Loaded) -> String {
    let Manifest { contract, license, description, .. } = &package.manifest;
    let mut lines = vec![
        format!("{} ({license}), for contract {contract}", package.manifest.title()),
        format!("  where      {}", package.path.display()),
        format!("  digest     {}", loaded.digest),
        format!("  code       {}, {} bytes", code_name(&package.manifest), loaded.code.len()),
        format!("  signature  {}", signature_text(&operator.trust.state(package, loaded))),
    ];
    if !description.is_empty() {
        lines.insert(1, format!("  {description}"));
    }
    if !package.manifest.nodes.is_empty() {
        lines.push(format!("  nodes      {}", package.manifest.nodes.join(", ")));
    }
    lines.extend(limits(&package.manifest));
    let imports = imports(package, loaded);
    if !imports.is_empty() {
        lines.push("imports".into());
        lines.extend(imports.iter().map(|(name, functions)| format!("  {name}  {}", functions.join(", "))));
    }
    lines.push("capabilities".into());
    if package.manifest.capabilities.is_empty() {
        lines.push("  asks for nothing".into());
    }
    let granted = operator.granted(package, loaded);
    for request in &package.manifest.capabilities {
        let asked = grant::described(&Scope::of(request));
        let state = if granted.allows(request.name.as_str()) { "granted" } else { "not granted" };
        lines.push(format!("  {}{asked}: {} [{state}{}]", request.name, request.reason, reach(request.name, &granted)));
    }
    lines.extend(operator.missing(package, loaded));
    lines.join("\n") + "\n"
}

/// What of a capability is granted, where it can be a part.
fn reach(capability: Capability, granted: &crate::plugin::granted::Granted) -> String {
    let parts: Vec<String> = match capability {
        Capability::Http => granted.hosts.clone(),
        Capability::Secret => granted.secrets.iter().cloned().collect(),
        Capability::Files => granted.folders.iter().map(|f| f.display().to_string()).collect(),
        _ => Vec::new(),
    };
    if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) }
}

fn code_name(manifest: &Manifest) -> &str {
    match manifest.code() {
        Some(Code::Component(name) | Code::Script(name)) => name,
        None => "",
    }
}

fn signature_text(state: &State) -> String {
    match state {
        State::Unsigned => "none".into(),
        State::Trusted { key, comment } => format!("by trusted key {key}: {comment}"),
        State::UnknownKey { key } => format!("by key {key}, which is not trusted"),
        State::Broken { why } => format!("does not fit: {why}"),
    }
}

fn limits(manifest: &Manifest) -> Option<String> {
    let limits = serde_json::to_value(&manifest.limits).ok()?;
    let asked: Vec<String> = limits.as_object()?.iter().map(|(key, value)| format!("{key} {value}")).collect();
    (!asked.is_empty()).then(|| format!("  limits     {}", asked.join(", ")))
}
