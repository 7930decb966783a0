//! Which package is meant: a path, or the name of a plugin that is found.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{not_so, reported, usage};
use crate::app::admission::{operator, places};
use crate::config::Config;
use crate::plugin::admission::Operator;
use crate::plugin::discover::discover;
use crate::plugin::package::{self, Loaded, Origin, Package};

/// What the operator decided, as configuration and grants say it.
pub(super) fn decided(config: &Config) -> Result<Operator, ExitCode> {
    operator(config).map_err(|problem| usage(&format!("{problem:#}")))
}

/// The package at a path, whole and checked; problems are printed.
pub(super) fn at(path: &Path, origin: Origin) -> Result<(Package, Loaded), ExitCode> {
    let checked = package::check(path, origin);
    reported(&checked.diagnostics)?;
    checked.package.ok_or(ExitCode::from(1))
}

/// The package with this name; else, or when it is written as one, at this path.
pub(super) fn named(config: &Config, text: &str) -> Result<(Package, Loaded), ExitCode> {
    let path = PathBuf::from(text);
    let is_path = text.contains(['/', '.']);
    let found = if is_path { Default::default() } else { discover(&places(config)) };
    match found.packages.iter().find(|p| p.manifest.name == text) {
        Some(package) => at(&package.path, package.origin),
        None if path.is_dir() || package::is_packed(&path) => at(&path, Origin::Given),
        None => {
            let names: Vec<&str> = found.packages.iter().map(|p| p.manifest.name.as_str()).collect();
            let hint = match crate::model::diagnostic::closest(text, names.iter().copied()) {
                Some(near) => format!("; did you mean \"{near}\"?"),
                None => "; `probity plugin list` lists them".into(),
            };
            Err(not_so(format!("there is no plugin \"{text}\"{hint}")))
        }
    }
}
