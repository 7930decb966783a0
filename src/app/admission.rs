//! Plugins as the configuration says: where they are looked for, what the operator decided, which may be loaded.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;

use crate::config::Config;
use crate::model::Diagnostic;
use crate::plugin::admission::{Admitted, Operator};
use crate::plugin::discover::{self, Found, Place, discover};
use crate::plugin::grants::{self, Grants};
use crate::plugin::signature::Trust;

/// Where plugins are looked for.
pub fn places(config: &Config) -> Vec<Place> {
    discover::places(Path::new(&config.plugins.dir), &config.data_dir)
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

/// Every plugin that is found and may be loaded, and all that is wrong with the others.
pub fn admitted(config: &Config) -> Result<(Vec<Admitted>, Vec<Diagnostic>)> {
    let operator = operator(config)?;
    let Found { packages, mut diagnostics } = discover(&places(config));
    let (interpreters, plugins): (Vec<_>, Vec<_>) = packages.iter().partition(|p| p.is_interpreter());
    let interpreter = interpreters.first().map(|p| operator.admit(p, None)).transpose();
    let interpreter: Option<Bytes> = match interpreter {
        Ok(admitted) => admitted.map(|a| a.plugin.wasm),
        Err(problems) => {
            diagnostics.extend(problems);
            None
        }
    };
    let mut admitted = Vec::new();
    for package in plugins {
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
