//! `probity plugin check`: every problem of manifests and modules. Of the module's code only `describe` is run, in the
//! sandbox and with nothing granted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::{dev, print, testing};
use crate::app;
use crate::cli::check::{CheckFormat, code, show};
use crate::clock::Clock;
use crate::model::Diagnostic;
use crate::net::Net;
use crate::plugin::description;
use crate::plugin::manifest::FILE;
use crate::plugin::package::{self, Origin, Package, is_packed};

#[derive(Args)]
pub(super) struct CheckArgs {
    /// Folders with a plugin.toml, .wasm files with a manifest inside, or folders of such
    #[arg(default_value = ".")]
    paths: Vec<PathBuf>,
    /// Output form
    #[arg(long, value_enum, default_value_t)]
    format: CheckFormat,
}

pub(super) fn check(args: &CheckArgs) -> ExitCode {
    let mut packages = Vec::new();
    let mut diagnostics = Vec::new();
    for path in &args.paths {
        let found = packages_below(path);
        if found.is_empty() {
            let problem = Diagnostic::error("no-plugin", "$", "there is no plugin")
                .expected("a folder with a plugin.toml, or a .wasm file with a manifest inside");
            diagnostics.push(problem.in_file(path.display().to_string()));
        }
        packages.extend(found);
    }
    let mut taken = builtin();
    for package in &packages {
        diagnostics.extend(check_package(package, &mut taken));
    }
    print(&show(packages.len(), "plugin", &diagnostics, args.format));
    code(&diagnostics)
}

/// Every problem of one package: its folder, its `plugin.toml`, or its `.wasm` file.
pub(in crate::cli) fn check_path(path: &Path) -> Vec<Diagnostic> {
    check_package(path, &mut builtin())
}

/// The engine's own node types, as those that are taken.
fn builtin() -> BTreeMap<String, String> {
    crate::nodes::catalogue().iter().map(|t| (t.spec.node_type.to_string(), "the engine".to_string())).collect()
}

/// Checks a package; its node types are taken for those that follow.
fn check_package(path: &Path, taken: &mut BTreeMap<String, String>) -> Vec<Diagnostic> {
    let folder = match path.file_name() {
        Some(name) if name == FILE => path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")),
        _ => path,
    };
    // Held to its digest, then tried as what is being worked on.
    let checked = package::check(folder, Origin::Given);
    let mut diagnostics = checked.diagnostics;
    if let Some((mut package, _)) = checked.package
        && package.manifest.interprets.is_empty()
    {
        package.origin = Origin::Development;
        let file = if package.is_file() { package.path.clone() } else { package.path.join(FILE) };
        let found = described(&package, taken);
        diagnostics.extend(found.into_iter().map(|d| d.in_file(file.display().to_string())));
    }
    diagnostics
}

/// What a package says of itself in the sandbox, and what is wrong with that.
fn described(package: &Package, taken: &mut BTreeMap<String, String>) -> Vec<Diagnostic> {
    let mut admitted = match testing::admit(package) {
        Ok(admitted) => admitted,
        Err(problems) => return problems,
    };
    // Held to what is described below, with all other problems, rather than alone and first.
    admitted.plugin.manifest.nodes.clear();
    let (net, clock) = (Arc::new(Net::default()), Clock::System);
    let plugins = app::plugins::trial(dev::code_dir(&package.path), Arc::new(|_| None), &net, &clock);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let loaded = runtime.expect("the system has a thread to give").block_on(plugins.load(admitted.plugin));
    if let Err(problems) = loaded {
        return problems;
    }
    let name = &package.manifest.name;
    let descriptions = plugins.descriptions(name);
    let problems = description::check(&descriptions, &package.manifest, taken);
    taken.extend(descriptions.into_iter().map(|d| (d.node_type, format!("plugin {name}"))));
    problems
}

/// The package that a path is, or those in it, one level deep.
fn packages_below(path: &Path) -> Vec<PathBuf> {
    let is_package = |p: &Path| p.join(FILE).is_file();
    if is_packed(path) || is_package(path) || path.file_name().is_some_and(|n| n == FILE) {
        return if path.exists() { vec![path.to_path_buf()] } else { Vec::new() };
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten().map(|e| e.path());
    let mut found: Vec<PathBuf> = entries.filter(|p| is_package(p) || (is_packed(p) && p.is_file())).collect();
    found.sort();
    found
}
