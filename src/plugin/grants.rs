//! Grants: what the operator allows each plugin, capability by capability, with who did so and when.
//!
//! What a plugin may do is what its manifest asks for *and* the operator granted. A grant may be narrower than what
//! is asked (one host of many, one folder); it cannot be wider. Our own plugins have what their manifests, as they
//! are in this binary, ask for, unless that is switched off or somebody revoked it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::capability::Capability;
use super::granted::Granted;
use super::hosts::HostPattern;
use super::manifest::{Manifest, Request};

/// Version of the file's form.
const FORM: u32 = 1;

/// Every decision of the operator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grants {
    form: u32,
    /// Plugin name → capability → what was decided last.
    plugins: BTreeMap<String, BTreeMap<Capability, Decision>>,
}

/// What was decided about one capability of one plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// False: revoked.
    pub granted: bool,
    /// The user of the system (`os:ana`) or of the API (`api:ana`).
    pub by: String,
    pub at: Timestamp,
    /// The package's digest, when the grant is for this very build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    #[serde(flatten)]
    pub scope: Scope,
}

/// How far a grant goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scope {
    /// For `http`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostPattern>,
    /// For `files`: absolute.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folders: Vec<PathBuf>,
    /// For `secret`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
}

/// Why the file of grants cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GrantsError {
    #[error("cannot read or write the grants {path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("the grants {path} are broken: {problem}; mend the file, or remove it and grant again")]
    Broken { path: PathBuf, problem: String },
}

/// Where the grants are kept.
pub fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("plugins").join("grants.json")
}

impl Grants {
    /// Reads the file; none is no grants.
    pub fn load(path: &Path) -> Result<Grants, GrantsError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Grants { form: FORM, ..Grants::default() });
            }
            Err(source) => return Err(GrantsError::Io { path: path.into(), source }),
        };
        let broken = |problem: String| GrantsError::Broken { path: path.into(), problem };
        let grants: Grants = serde_json::from_str(&text).map_err(|e| broken(e.to_string()))?;
        if grants.form != FORM {
            return Err(broken(format!("they are of form {}, this engine reads form {FORM}", grants.form)));
        }
        Ok(grants)
    }

    /// Reads, changes and writes the file under a lock, so that two who decide at once both count. The file is whole
    /// at every moment.
    pub fn update<T>(path: &Path, change: impl FnOnce(&mut Grants) -> T) -> Result<T, GrantsError> {
        let failed = |source: std::io::Error| GrantsError::Io { path: path.into(), source };
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(failed)?;
        let lock = File::options().create(true).truncate(false).write(true).open(path.with_extension("lock"));
        let lock = lock.map_err(failed)?;
        lock.lock().map_err(failed)?;
        let mut grants = Grants::load(path)?;
        let result = change(&mut grants);
        let mut text = serde_json::to_string_pretty(&grants).expect("grants are JSON");
        text.push('\n');
        let new = path.with_extension("json.new");
        let mut file = private(&new).map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        std::fs::rename(&new, path).map_err(failed)?;
        File::open(folder).and_then(|f| f.sync_all()).map_err(failed)?;
        Ok(result)
    }

    /// Grants; hosts, folders and secrets come on top of those granted before.
    pub fn grant(&mut self, plugin: &str, capability: Capability, given: Decision) {
        self.form = FORM;
        let of = self.plugins.entry(plugin.into()).or_default();
        let mut decision = given;
        if let Some(before) = of.get(&capability).filter(|d| d.granted) {
            let Scope { hosts, folders, secrets } = before.scope.clone();
            decision.scope.hosts = joined(hosts, decision.scope.hosts);
            decision.scope.folders = joined(folders, decision.scope.folders);
            decision.scope.secrets = joined(secrets, decision.scope.secrets);
        }
        of.insert(capability, decision);
    }

    /// Takes back: what `decision.scope` names, or everything when it names nothing. A capability of which nothing
    /// is left is revoked.
    pub fn revoke(&mut self, plugin: &str, capability: Capability, decision: Decision) {
        self.form = FORM;
        let of = self.plugins.entry(plugin.into()).or_default();
        let away = decision.scope.clone();
        let mut left = of.get(&capability).map(|d| d.scope.clone()).unwrap_or_default();
        left.hosts.retain(|h| !away.hosts.contains(h));
        left.folders.retain(|f| !away.folders.contains(f));
        left.secrets.retain(|s| !away.secrets.contains(s));
        let granted = !away.is_empty() && !left.is_empty();
        let scope = if granted { left } else { Scope::default() };
        of.insert(capability, Decision { granted, scope, ..decision });
    }

    pub fn of(&self, plugin: &str) -> impl Iterator<Item = (Capability, &Decision)> {
        self.plugins.get(plugin).into_iter().flatten().map(|(capability, decision)| (*capability, decision))
    }

    /// Names of plugins that something was decided about.
    pub fn plugins(&self) -> impl Iterator<Item = &str> {
        self.plugins.keys().map(String::as_str)
    }

    /// What a plugin may do. `digest` is its package's; `by_default` is the manifest of a shipped plugin that has
    /// what it asks for without being granted.
    pub fn granted(&self, manifest: &Manifest, digest: &str, by_default: Option<&Manifest>) -> Granted {
        let mut granted = Granted::default();
        for request in &manifest.capabilities {
            let scope = match self.decision(manifest, request.name) {
                Some(decision) if !decision.granted || decision.is_for_other(digest) => continue,
                Some(decision) => decision.scope.clone(),
                None => match by_default.and_then(|m| m.request(request.name)) {
                    Some(ours) => Scope::of(ours),
                    None => continue,
                },
            };
            granted.names.insert(request.name.as_str().into());
            // Whatever the file says: never more than is asked for.
            let hosts = scope.hosts.iter().filter(|h| request.hosts.iter().any(|asked| asked.covers(h)));
            granted.hosts.extend(hosts.map(ToString::to_string));
            granted.secrets.extend(scope.secrets.into_iter().filter(|s| asks_for_secret(request, s)));
            granted.folders.extend(scope.folders);
        }
        granted
    }

    /// What a plugin asks for and does not have: why, and the line that would allow it.
    pub fn missing(&self, manifest: &Manifest, digest: &str, granted: &Granted) -> Vec<String> {
        let name = &manifest.name;
        let missing = manifest.capabilities.iter().map(|r| r.name).filter(|c| !granted.allows(c.as_str()));
        let line = |capability: Capability| {
            let why = match self.decision(manifest, capability) {
                Some(decision) if !decision.granted => format!("was revoked by {}", decision.by),
                Some(decision) if decision.is_for_other(digest) => "was granted to another build of it".into(),
                _ => "is not granted".into(),
            };
            let folder = if capability == Capability::Files { " --folder DIR" } else { "" };
            format!(
                "plugin {name}: \"{capability}\" {why}. To allow it: probity plugin grant {name} {capability}{folder}"
            )
        };
        missing.map(line).collect()
    }

    fn decision(&self, manifest: &Manifest, capability: Capability) -> Option<&Decision> {
        self.plugins.get(&manifest.name)?.get(&capability)
    }
}

impl Decision {
    /// Whether it was made for another build than the one with this digest.
    pub fn is_for_other(&self, digest: &str) -> bool {
        self.digest.as_ref().is_some_and(|bound| bound != digest)
    }
}

fn asks_for_secret(request: &Request, name: &str) -> bool {
    request.secrets.iter().any(|asked| asked == name || asked == "*")
}

impl Scope {
    /// All that is asked for. Folders are never asked for by name.
    pub fn of(request: &Request) -> Scope {
        Scope { hosts: request.hosts.clone(), secrets: request.secrets.clone(), folders: Vec::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.folders.is_empty() && self.secrets.is_empty()
    }
}

/// What a grant must keep to: the manifest's bounds. The problems say what the manifest asks for.
pub fn problems(manifest: &Manifest, capability: Capability, scope: &Scope) -> Vec<String> {
    let name = &manifest.name;
    let Some(request) = manifest.request(capability) else {
        let asked: Vec<&str> = manifest.capabilities.iter().map(|r| r.name.as_str()).collect();
        let asked = if asked.is_empty() { "nothing".into() } else { asked.join(", ") };
        return vec![format!("plugin {name} does not ask for \"{capability}\"; it asks for {asked}")];
    };
    let mut problems = Vec::new();
    let misplaced = |what: &str, of: Capability| format!("{what} belong to \"{of}\", not to \"{capability}\"");
    if capability != Capability::Http && !scope.hosts.is_empty() {
        problems.push(misplaced("hosts", Capability::Http));
    }
    if capability != Capability::Files && !scope.folders.is_empty() {
        problems.push(misplaced("folders", Capability::Files));
    }
    if capability != Capability::Secret && !scope.secrets.is_empty() {
        problems.push(misplaced("names of secrets", Capability::Secret));
    }
    if capability == Capability::Http {
        let asked: Vec<String> = request.hosts.iter().map(ToString::to_string).collect();
        for host in scope.hosts.iter().filter(|h| !request.hosts.iter().any(|a| a.covers(h))) {
            problems.push(format!("plugin {name} does not ask for host {host}; it asks for {}", asked.join(", ")));
        }
    }
    if capability == Capability::Secret {
        for secret in scope.secrets.iter().filter(|s| !asks_for_secret(request, s)) {
            let asked = request.secrets.join(", ");
            problems.push(format!("plugin {name} does not ask for secret {secret}; it asks for {asked}"));
        }
    }
    if capability == Capability::Files && scope.folders.is_empty() {
        problems.push("which folders? Name them (--folder DIR)".into());
    }
    problems
}

fn joined<T: PartialEq>(mut first: Vec<T>, second: Vec<T>) -> Vec<T> {
    for item in second {
        if !first.contains(&item) {
            first.push(item);
        }
    }
    first
}

/// A new file that only its owner can read: it says where secrets go.
fn private(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().create(true).write(true).truncate(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests;
