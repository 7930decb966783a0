//! Which plugins there are: every package in the places where plugins may lie.
//!
//! Two packages of one name: what the operator chose comes before what came along, so a package in the configured
//! folder wins over an installed one and that over a shipped one; in one place the higher version wins. Whoever
//! loses is named in a warning.

use std::path::{Path, PathBuf};

use super::manifest::FILE;
use super::package::{Origin, Package, is_packed};
use super::shipped;
use crate::model::Diagnostic;

/// A folder of packages, or a package itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub origin: Origin,
    pub path: PathBuf,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// One for each name, in name order; of [`every`] all of them, what comes first first.
    pub packages: Vec<Package>,
    /// Where a package lies whose manifest cannot be read.
    pub broken: Vec<PathBuf>,
    /// Packages that cannot be read, names that are taken.
    pub diagnostics: Vec<Diagnostic>,
}

/// Where plugins lie: `given` (may be empty), `<data_dir>/plugins`, and the shipped ones beside the executable or in
/// the checkout that it or the current folder belongs to.
pub fn places(given: &Path, data_dir: &Path) -> Vec<Place> {
    let mut places = Vec::new();
    if !given.as_os_str().is_empty() {
        places.push(Place { origin: Origin::Given, path: given.to_path_buf() });
    }
    places.push(Place { origin: Origin::Installed, path: installed_dir(data_dir) });
    places.extend(shipped_dir().map(|path| Place { origin: Origin::Shipped, path }));
    places
}

/// Where `probity plugin install` puts packages.
pub fn installed_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("plugins")
}

/// Where the shipped plugins lie, built: `plugins` beside the executable, or `plugins/dist` in the checkout above
/// the executable or the current folder.
fn shipped_dir() -> Option<PathBuf> {
    let executable = std::env::current_exe().and_then(|path| path.canonicalize()).ok();
    let beside = executable.as_ref().and_then(|e| e.parent()).map(|folder| folder.join("plugins"));
    let checkout = |from: &Path| {
        let root = from.ancestors().find(|folder| folder.join("plugins/wit/plugin.wit").is_file())?;
        Some(root.join("plugins/dist"))
    };
    let current = std::env::current_dir().ok();
    let candidates = [beside, executable.as_deref().and_then(checkout), current.as_deref().and_then(checkout)];
    candidates.into_iter().flatten().find(|folder| folder.is_dir())
}

/// Every package in these places that is used: one for each name.
pub fn discover(places: &[Place]) -> Found {
    let Found { packages, broken, diagnostics } = every(places);
    let mut found = Found { packages: Vec::new(), broken, diagnostics };
    for package in packages {
        found.add(package);
    }
    found.packages.sort_by(|a, b| a.manifest.name.cmp(&b.manifest.name));
    found
}

/// Every package in these places, those that others come before among them; what comes first is first.
pub fn every(places: &[Place]) -> Found {
    let mut found = Found::default();
    for place in places {
        let mut here = Vec::new();
        for path in packages_in(place, &mut found.diagnostics) {
            match Package::open(&path, place.origin) {
                Ok(package) => here.push(package),
                Err(problems) => {
                    found.diagnostics.extend(problems);
                    found.broken.push(path);
                }
            }
        }
        // The highest version first.
        here.sort_by(|a, b| {
            let version = |p: &Package| semver::Version::parse(&p.manifest.version).ok();
            (version(b), &a.path).cmp(&(version(a), &b.path))
        });
        found.packages.extend(here);
    }
    found
}

impl Found {
    fn add(&mut self, package: Package) {
        match self.packages.iter().find(|p| p.manifest.name == package.manifest.name) {
            None => self.packages.push(package),
            Some(first) => {
                let message = format!(
                    "{} is not used: {} at {} has the same name and comes first",
                    package.manifest.title(),
                    first.manifest.title(),
                    first.path.display()
                );
                let problem = Diagnostic::warning("repeated-plugin", "$.name", message);
                self.diagnostics.push(problem.in_file(package.path.display().to_string()));
            }
        }
    }

    /// The shipped plugins that are nowhere to be found, by name.
    pub fn not_built(&self) -> Vec<&'static shipped::Shipped> {
        let here = |name: &str| self.packages.iter().any(|p| p.manifest.name == name);
        shipped::all().iter().filter(|s| !here(&s.manifest.name)).collect()
    }
}

/// The package that a place is, or those in it, by name.
fn packages_in(place: &Place, diagnostics: &mut Vec<Diagnostic>) -> Vec<PathBuf> {
    let path = &place.path;
    if is_package(path) {
        return vec![path.clone()];
    }
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) => {
            // Only what somebody named must be there.
            if matches!(place.origin, Origin::Given | Origin::Development) {
                let problem =
                    Diagnostic::error("no-plugins-folder", "$", format!("cannot read the plugins folder: {e}"));
                diagnostics.push(problem.in_file(path.display().to_string()));
            }
            return Vec::new();
        }
    };
    let mut inner: Vec<PathBuf> = entries
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(|p| !p.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.')))
        .filter(|p| is_package(p))
        .collect();
    inner.sort();
    inner
}

fn is_package(path: &Path) -> bool {
    (is_packed(path) && path.is_file()) || path.join(FILE).is_file()
}
