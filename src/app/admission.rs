//! Plugins as the configuration says: where they are looked for, what the operator decided, which may be loaded.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;

use crate::config::Config;
use crate::model::Diagnostic;
use crate::plugin::admission::{Admitted, Operator};
use crate::plugin::discover::{self, Found, Place, discover};
use crate::plugin::grants::{self, Grants};
use crate::plugin::package::{Origin, Package};
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
    interpreter_of(&found.packages, &Operator { grant_shipped: true, ..Operator::default() })
}

fn interpreter_of(packages: &[Package], operator: &Operator) -> Result<Option<Bytes>, Vec<Diagnostic>> {
    let found = packages.iter().find(|p| p.is_interpreter());
    Ok(found.map(|package| operator.admit(package, None)).transpose()?.map(|admitted| admitted.plugin.wasm))
}

/// Every plugin that is found and may be loaded, and all that is wrong with the others.
pub fn admitted(config: &Config) -> Result<(Vec<Admitted>, Vec<Diagnostic>)> {
    let operator = operator(config)?;
    let Found { packages, mut diagnostics } = discover(&places(config));
    let interpreter = interpreter_of(&packages, &operator).unwrap_or_else(|problems| {
        diagnostics.extend(problems);
        None
    });
    let mut admitted = Vec::new();
    for package in packages.iter().filter(|p| !p.is_interpreter()) {
        match operator.admit(package, interpreter.as_ref()) {
            Ok(plugin) => {
                diagnostics.extend(plugin.warnings.iter().cloned());
                admitted.push(plugin);
            }
            Err(problems) => diagnostics.extend(problems),
        }
    }
    Ok((admitted, diagnostics))
}
