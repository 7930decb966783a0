//! `probity plugin check`: every problem of manifests and modules, without running them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::print;
use crate::cli::check::{CheckFormat, show};
use crate::model::Diagnostic;
use crate::plugin::manifest::FILE;
use crate::plugin::package::{self, Origin, is_packed};

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
    for package in &packages {
        diagnostics.extend(check_path(package));
    }
    print(&show(packages.len(), "plugin", &diagnostics, args.format));
    super::super::check::code(&diagnostics)
}

/// Every problem of one package: its folder, its `plugin.toml`, or its `.wasm` file.
pub(in crate::cli) fn check_path(path: &Path) -> Vec<Diagnostic> {
    let folder = match path.file_name() {
        Some(name) if name == FILE => path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")),
        _ => path,
    };
    package::check(folder, Origin::Given).diagnostics
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
