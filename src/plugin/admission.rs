//! From a package to a plugin that may be loaded: its signature held to the policy, its capabilities to the grants.

use std::path::PathBuf;

use bytes::Bytes;

use super::granted::Granted;
use super::grants::Grants;
use super::manifest::{Code, Manifest};
use super::package::{Loaded, Origin, Package};
use super::plugins;
use super::shipped;
use super::signature::{State, Trust};
use crate::model::Diagnostic;

/// What the operator decided.
#[derive(Clone, Debug, Default)]
pub struct Operator {
    pub trust: Trust,
    pub grants: Grants,
    /// Whether our own plugins have what they ask for without being granted.
    pub grant_shipped: bool,
}

/// A plugin that may be loaded.
#[derive(Clone, Debug)]
pub struct Admitted {
    pub plugin: plugins::Package,
    /// Where it lies.
    pub path: PathBuf,
    pub signature: State,
    /// Of manifest and code.
    pub digest: String,
    /// What the operator should know: unsigned, asked for and not granted.
    pub warnings: Vec<Diagnostic>,
}

impl Operator {
    /// Whose declared capabilities a package has without being granted: our own plugins those that our manifests, as
    /// they are in this binary, declare; a folder being worked on its own.
    fn by_default<'p>(&self, package: &'p Package) -> Option<&'p Manifest> {
        match package.origin {
            Origin::Development => Some(&package.manifest),
            Origin::Shipped if self.grant_shipped => shipped::named(&package.manifest.name).map(|s| &s.manifest),
            _ => None,
        }
    }

    /// What a package may do.
    pub fn granted(&self, package: &Package, loaded: &Loaded) -> Granted {
        self.grants.granted(&package.manifest, &loaded.digest, self.by_default(package))
    }

    /// What a package asks for and may not do, with the lines that would allow it.
    pub fn missing(&self, package: &Package, loaded: &Loaded) -> Vec<String> {
        self.grants.missing(&package.manifest, &loaded.digest, &self.granted(package, loaded))
    }

    /// Reads a package's code and decides about it. `interpreter` is the component that runs scripts, if there is
    /// one. What is wrong with the package is told, all of it.
    pub fn admit(&self, package: &Package, interpreter: Option<&Bytes>) -> Result<Admitted, Vec<Diagnostic>> {
        let loaded = package.load()?;
        let file = package.path.display().to_string();
        let refused = |code: &str, message: String| vec![Diagnostic::error(code, "$", message).in_file(file.clone())];
        let (signature, warning) =
            self.trust.admit(package, &loaded).map_err(|e| refused("plugin-signature", e.to_string()))?;
        let warn = |code: &str, text: String| Diagnostic::warning(code, "$", text).in_file(file.clone());
        let mut warnings: Vec<Diagnostic> = warning.map(|text| warn("plugin-unsigned", text)).into_iter().collect();
        let missing = self.missing(package, &loaded).into_iter();
        warnings.extend(missing.map(|line| warn("plugin-not-granted", line)));
        let granted = self.granted(package, &loaded);
        let (wasm, script) = match package.manifest.code() {
            Some(Code::Script(name)) => {
                let text = String::from_utf8(loaded.code)
                    .map_err(|_| refused("not-text", "the script is not UTF-8 text".into()))?;
                let Some(interpreter) = interpreter else {
                    let message = format!(
                        "{name} needs the JavaScript component, which is not built; run {}",
                        shipped::BUILD_COMMAND
                    );
                    return Err(refused("no-interpreter", message));
                };
                (interpreter.clone(), Some((name.to_string(), text)))
            }
            _ => (Bytes::from(loaded.code), None),
        };
        let plugin = plugins::Package { manifest: package.manifest.clone(), wasm, script, granted };
        Ok(Admitted { plugin, path: package.path.clone(), signature, digest: loaded.digest, warnings })
    }
}
