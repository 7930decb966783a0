//! Where grants are decided: what an operator wants, held to what the plugin asks for, written with who and when. The
//! command line and the API decide here.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;

use super::admission::Operator;
use super::capability::Capability;
use super::discover::{Place, discover};
use super::grants::{self, Decision, Grants, GrantsError, Scope};
use super::manifest::{Manifest, Request};
use super::package::{Loaded, Package};

/// The plugins that are there and the file that says what they may.
#[derive(Clone, Debug, Default)]
pub struct Desk {
    /// The file of grants.
    pub grants: PathBuf,
    /// Where plugins are looked for.
    pub places: Vec<Place>,
    /// Whether our own plugins have what they ask for without being granted.
    pub grant_shipped: bool,
}

/// What an operator wants to allow or to take back.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// All of them when absent.
    pub capability: Option<Capability>,
    /// How far; all that is asked for, or everything back, when empty.
    pub scope: Scope,
    /// Only for the build that is there now.
    pub this_build: bool,
}

/// Who decides, and when.
#[derive(Clone, Debug)]
pub struct Who {
    /// `os:ana` or `api:ana`.
    pub by: String,
    pub at: Timestamp,
}

/// What was decided about a plugin.
#[derive(Clone, Debug, Serialize)]
pub struct Decided {
    pub plugin: String,
    /// Of manifest and code; absent when the plugin is not there any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// What its manifest asks for and why.
    pub requests: Vec<Request>,
    pub decisions: Vec<Of>,
    /// What it may do now.
    pub granted: Vec<String>,
    /// What it asks for and may not, with the line that would allow it.
    pub missing: Vec<String>,
}

/// The last decision about one capability.
#[derive(Clone, Debug, Serialize)]
pub struct Of {
    pub capability: Capability,
    #[serde(flatten)]
    pub decision: Decision,
}

/// Why nothing was decided.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    #[error("there is no plugin \"{0}\"")]
    Unknown(String),
    /// What is wanted is not what the plugin asks for.
    #[error("{}", .0.join("; "))]
    Refused(Vec<String>),
    #[error(transparent)]
    Grants(#[from] GrantsError),
}

impl Desk {
    fn find(&self, name: &str) -> Option<(Package, Loaded)> {
        let found = discover(&self.places).packages.into_iter().find(|p| p.manifest.name == name)?;
        let loaded = found.load().ok()?;
        Some((found, loaded))
    }

    /// What was decided about a plugin, which need not be there any more.
    pub fn decided(&self, name: &str) -> Result<Decided, DeskError> {
        let grants = Grants::load(&self.grants)?;
        let decisions: Vec<Of> =
            grants.of(name).map(|(capability, decision)| Of { capability, decision: decision.clone() }).collect();
        let Some((package, loaded)) = self.find(name) else {
            if decisions.is_empty() {
                return Err(DeskError::Unknown(name.into()));
            }
            let (plugin, digest, requests) = (name.to_string(), None, Vec::new());
            return Ok(Decided { plugin, digest, requests, decisions, granted: Vec::new(), missing: Vec::new() });
        };
        let operator = Operator { grants, grant_shipped: self.grant_shipped, ..Operator::default() };
        Ok(Decided {
            plugin: name.into(),
            granted: operator.granted(&package, &loaded).names.into_iter().collect(),
            missing: operator.missing(&package, &loaded),
            digest: Some(loaded.digest),
            requests: package.manifest.capabilities,
            decisions,
        })
    }

    /// Allows what is wanted, on top of what was allowed before.
    pub fn grant(&self, name: &str, wanted: &Wanted, who: &Who) -> Result<(), DeskError> {
        let (package, loaded) = self.find(name).ok_or_else(|| DeskError::Unknown(name.into()))?;
        self.write_grant(&package.manifest, &loaded.digest, wanted, who).map(|_| ())
    }

    /// As [`Desk::grant`], for a package that is known; gives what was written.
    pub fn write_grant(
        &self,
        manifest: &Manifest,
        digest: &str,
        wanted: &Wanted,
        who: &Who,
    ) -> Result<Vec<(Capability, Decision)>, DeskError> {
        let decisions = to_grant(manifest, digest, wanted, who).map_err(DeskError::Refused)?;
        Grants::update(&self.grants, |grants| {
            for (capability, decision) in &decisions {
                grants.grant(&manifest.name, *capability, decision.clone());
            }
        })?;
        Ok(decisions)
    }

    /// Takes back what is wanted; gives the capabilities it was taken from. What is gone can be revoked, too, so the
    /// plugin need not be there.
    pub fn revoke(&self, name: &str, wanted: &Wanted, who: &Who) -> Result<Vec<Capability>, DeskError> {
        if wanted.capability.is_none() && !wanted.scope.is_empty() {
            return Err(DeskError::Refused(vec!["hosts, folders and secrets belong to one capability: which?".into()]));
        }
        let found = self.find(name);
        let asked = found.iter().flat_map(|(package, _)| package.manifest.capabilities.iter().map(|r| r.name));
        let decided = Grants::load(&self.grants)?;
        let mut from: Vec<Capability> = decided.of(name).map(|(capability, _)| capability).chain(asked).collect();
        from.sort();
        from.dedup();
        if from.is_empty() {
            return Err(DeskError::Unknown(name.into()));
        }
        if let Some(one) = wanted.capability {
            from = vec![one];
        }
        Grants::update(&self.grants, |grants| {
            for capability in &from {
                let Who { by, at } = who.clone();
                let decision = Decision { granted: false, by, at, digest: None, scope: wanted.scope.clone() };
                grants.revoke(name, *capability, decision);
            }
        })?;
        Ok(from)
    }
}

/// The decisions that allow what is wanted; the problems say what the manifest asks for instead.
fn to_grant(
    manifest: &Manifest,
    digest: &str,
    wanted: &Wanted,
    who: &Who,
) -> Result<Vec<(Capability, Decision)>, Vec<String>> {
    let asked: Vec<Capability> = match wanted.capability {
        Some(one) => vec![one],
        None if wanted.scope.is_empty() => {
            // Folders have to be named, so `files` is not among them.
            manifest.capabilities.iter().map(|r| r.name).filter(|c| *c != Capability::Files).collect()
        }
        None => return Err(vec!["hosts, folders and secrets belong to one capability; name it instead of all".into()]),
    };
    let problems: Vec<String> =
        asked.iter().flat_map(|capability| grants::problems(manifest, *capability, &wanted.scope)).collect();
    if !problems.is_empty() {
        return Err(problems);
    }
    let decide = |capability: Capability| {
        let whole = manifest.request(capability).map(Scope::of).unwrap_or_default();
        let scope = if wanted.scope.is_empty() { whole } else { wanted.scope.clone() };
        let Who { by, at } = who.clone();
        (capability, Decision { granted: true, by, at, digest: wanted.this_build.then(|| digest.to_string()), scope })
    };
    Ok(asked.into_iter().map(decide).collect())
}
