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
    /// The component of ours that runs scripts and function nodes, if it is built. A package of its name from elsewhere
    /// is not taken for it, and does not hide it.
    pub interpreter: Option<Package>,
    /// Where a package lies whose manifest cannot be read.
    pub broken: Vec<PathBuf>,
    /// Packages that cannot be read, names that are taken.
    pub diagnostics: Vec<Diagnostic>,
}

/// Where plugins lie: `given` (may be empty), `<data_dir>/plugins`, and the shipped ones beside the executable or in
/// the checkout that it or the current folder belongs to. Who names the folder of the shipped ones names just these.
pub fn places(given: &Path, data_dir: &Path) -> Vec<Place> {
    places_with(given, data_dir, shipped_dir())
}

fn places_with(given: &Path, data_dir: &Path, shipped: Option<PathBuf>) -> Vec<Place> {
    let is_shipped = |path: &Path| match (path.canonicalize(), shipped.as_ref().map(|s| s.canonicalize())) {
        (Ok(path), Some(Ok(shipped))) => path == shipped,
        _ => false,
    };
    let mut places = Vec::new();
    if !given.as_os_str().is_empty() && !is_shipped(given) {
        places.push(Place { origin: Origin::Given, path: given.to_path_buf() });
    }
    places.push(Place { origin: Origin::Installed, path: installed_dir(data_dir) });
    places.extend(shipped.map(|path| Place { origin: Origin::Shipped, path }));
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
    let Found { packages, interpreter, broken, diagnostics } = every(places);
    let mut found = Found { packages: Vec::new(), interpreter, broken, diagnostics };
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
    found.interpreter = found.packages.iter().find(|p| p.is_interpreter()).cloned();
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A package of the JavaScript component's name in a folder of its own.
    fn component(folder: &Path) {
        let package = folder.join("javascript");
        std::fs::create_dir_all(&package).unwrap();
        let manifest = shipped::all().iter().find(|s| !s.manifest.interprets.is_empty()).unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins").join(manifest.folder).join(FILE);
        std::fs::copy(source, package.join(FILE)).unwrap();
    }

    fn interpreter(given: &Path, shipped: &Path) -> (Option<PathBuf>, Vec<String>) {
        let data = tempfile::tempdir().unwrap();
        let found = discover(&places_with(given, data.path(), Some(shipped.to_path_buf())));
        let told = found.diagnostics.iter().map(|d| d.code.to_string()).collect();
        (found.interpreter.map(|package| package.path), told)
    }

    #[test]
    fn the_shipped_folder_named_by_hand_is_the_shipped_one_and_another_does_not_hide_it() {
        let (shipped, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        component(shipped.path());
        let ours = Some(shipped.path().join("javascript"));
        let none: Vec<String> = Vec::new();
        assert_eq!(interpreter(Path::new(""), shipped.path()), (ours.clone(), none.clone()));
        let by_hand = shipped.path().join(".");
        assert_eq!(interpreter(&by_hand, shipped.path()), (ours.clone(), none));
        component(other.path());
        assert_eq!(interpreter(other.path(), shipped.path()), (ours, vec!["repeated-plugin".to_string()]));
        // Not built, whatever lies elsewhere.
        std::fs::remove_dir_all(shipped.path().join("javascript")).unwrap();
        assert_eq!(interpreter(other.path(), shipped.path()).0, None);
    }
}
