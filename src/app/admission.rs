//! Plugins as the configuration says: where they are looked for, what the operator decided, which may be loaded.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use arcstr::ArcStr;
use bytes::Bytes;

use crate::config::Config;
use crate::model::Diagnostic;
use crate::plugin::admission::{Admitted, Operator};
use crate::plugin::desk::Desk;
use crate::plugin::discover::{self, Found, Place, discover};
use crate::plugin::grants::{self, Grants};
use crate::plugin::manifest::{Code, Manifest};
use crate::plugin::package::{Origin, Package};
use crate::plugin::shipped::{BUILD_COMMAND, Shipped};
use crate::plugin::signature::Trust;

/// Where plugins are looked for.
pub fn places(config: &Config) -> Vec<Place> {
    let mut places = discover::places(Path::new(&config.plugins.dir), &config.data_dir);
    if config.plugins.development {
        for place in places.iter_mut().filter(|p| p.origin == Origin::Given) {
            place.origin = Origin::Development;
        }
    }
    places
}

/// Where grants are decided.
pub fn desk(config: &Config) -> Desk {
    let grants = grants::path(&config.data_dir);
    Desk { grants, places: places(config), grant_shipped: config.plugins.grant_shipped }
}

/// What the operator decided, in the configuration and by grants.
pub fn operator(config: &Config) -> Result<Operator> {
    let trust = Trust::new(config.plugins.signatures, &config.plugins.trusted_keys).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow!("{}", lines.join("\n"))
    })?;
    let grants = Grants::load(&grants::path(&config.data_dir)).context("plugins cannot be started")?;
    Ok(Operator { trust, grants, grant_shipped: config.plugins.grant_shipped })
}

/// The component of ours that runs scripts, if it is built.
pub fn interpreter(config: &Config) -> Result<Option<Bytes>, Vec<Diagnostic>> {
    let found = discover(&places(config));
    interpreter_of(found.interpreter.as_ref(), &Operator { grant_shipped: true, ..Operator::default() })
}

fn interpreter_of(found: Option<&Package>, operator: &Operator) -> Result<Option<Bytes>, Vec<Diagnostic>> {
    Ok(found.map(|package| operator.admit(package, None)).transpose()?.map(|admitted| admitted.plugin.wasm))
}

/// Which plugins of a place are to be read.
#[derive(Clone, Copy)]
pub enum Needed<'a> {
    All,
    /// Those that give one of these node types, and those whose manifest does not say what it gives.
    For(&'a BTreeSet<ArcStr>),
}

impl Needed<'_> {
    fn has(self, manifest: &Manifest) -> bool {
        match self {
            Needed::All => true,
            Needed::For(types) => {
                manifest.nodes.is_empty() || manifest.nodes.iter().any(|n| types.contains(n.as_str()))
            }
        }
    }
}

/// What may be loaded.
#[derive(Default)]
pub struct Ready {
    pub admitted: Vec<Admitted>,
    /// The component of ours that runs scripts and function nodes, if it is built.
    pub interpreter: Option<Package>,
    /// Found and not needed; their code was not read.
    pub unused: Vec<Manifest>,
    /// Where something lies that cannot be loaded as it is.
    pub broken: Vec<PathBuf>,
    /// All that is wrong with what is needed.
    pub diagnostics: Vec<Diagnostic>,
}

/// The plugins that are needed, are found and may be loaded.
pub fn admitted(config: &Config, needed: Needed<'_>) -> Result<Ready> {
    let operator = operator(config)?;
    let found = discover(&places(config));
    let not_built = found.not_built();
    let mut ready = Ready { diagnostics: not_built_of(&not_built, needed), ..Ready::default() };
    let Found { packages, interpreter, broken, diagnostics } = found;
    ready.interpreter = interpreter;
    if ready.interpreter.is_none() && needed_type(needed, crate::nodes::function::NODE_TYPE) {
        ready.diagnostics.push(no_interpreter(&packages));
    }
    ready.diagnostics.extend(diagnostics);
    ready.broken = broken;
    // What interprets has no nodes, be it ours or not.
    let (wanted, unused): (Vec<&Package>, Vec<&Package>) =
        packages.iter().filter(|p| p.manifest.interprets.is_empty()).partition(|p| needed.has(&p.manifest));
    ready.unused = unused.into_iter().map(|p| p.manifest.clone()).collect();
    let scripts = wanted.iter().any(|p| matches!(p.manifest.code(), Some(Code::Script(_))));
    let interpreter = match scripts {
        true => interpreter_of(ready.interpreter.as_ref(), &operator).unwrap_or_else(|problems| {
            ready.diagnostics.extend(problems);
            None
        }),
        false => None,
    };
    for package in wanted {
        match operator.admit(package, interpreter.as_ref()) {
            Ok(plugin) => {
                ready.diagnostics.extend(plugin.warnings.iter().cloned());
                ready.admitted.push(plugin);
            }
            Err(problems) => {
                ready.diagnostics.extend(problems);
                ready.broken.push(package.path.clone());
            }
        }
    }
    Ok(ready)
}

/// Why function nodes do not run.
fn no_interpreter(packages: &[Package]) -> Diagnostic {
    let elsewhere = packages.iter().find(|p| !p.manifest.interprets.is_empty());
    let (message, hint) = match elsewhere {
        None => (
            "a flow has function nodes, and the JavaScript component they run in is not built".to_string(),
            format!("run {BUILD_COMMAND} javascript"),
        ),
        Some(package) => (
            format!(
                "a flow has function nodes, and of the JavaScript component they run in only the one that comes with \
                 Probity is taken, not {}",
                package.path.display()
            ),
            format!("put it into the folder `plugins` beside the executable, or run {BUILD_COMMAND} javascript"),
        ),
    };
    Diagnostic::error("plugin-not-built", "$", message).hint(hint)
}

/// Whether flows name this type.
fn needed_type(needed: Needed<'_>, node_type: &str) -> bool {
    matches!(needed, Needed::For(types) if types.contains(node_type))
}

/// Reads the component of a package that runs scripts and function nodes.
pub fn component(package: &Package) -> Result<Bytes, Vec<Diagnostic>> {
    let operator = Operator { grant_shipped: true, ..Operator::default() };
    Ok(operator.admit(package, None)?.plugin.wasm)
}

/// Tells of shipped plugins that flows need and that nobody built.
fn not_built_of(missing: &[&Shipped], needed: Needed<'_>) -> Vec<Diagnostic> {
    let Needed::For(_) = needed else { return Vec::new() };
    let needed = missing.iter().filter(|s| !s.manifest.nodes.is_empty() && needed.has(&s.manifest));
    needed
        .map(|s| {
            let message = format!("plugin {}, whose nodes a flow has, is not built", s.manifest.name);
            Diagnostic::error("plugin-not-built", "$", message).hint(format!("run {BUILD_COMMAND}"))
        })
        .collect()
}
