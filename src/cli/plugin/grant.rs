//! `probity plugin grant` and `revoke`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{Where, not_so, print, source, usage};
use crate::clock::Clock;
use crate::config::Config;
use crate::plugin::capability::Capability;
use crate::plugin::grants::{self, Decision, Grants, Scope};
use crate::plugin::hosts::{FORMS, HostPattern};

#[derive(Args)]
pub(super) struct GrantArgs {
    /// The plugin's name
    plugin: String,
    /// clock, random, secret, http, state, evidence, typed-input, context or files; `all` for what it asks for
    capability: String,
    #[command(flatten)]
    scope: ScopeArgs,
    /// Only for the build that is there now: another one needs to be granted again
    #[arg(long)]
    this_build: bool,
    #[command(flatten)]
    place: Where,
}

#[derive(Args)]
pub(super) struct RevokeArgs {
    /// The plugin's name
    plugin: String,
    /// The capability; everything when left out
    capability: Option<String>,
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    place: Where,
}

#[derive(Args)]
struct ScopeArgs {
    /// For http: host, host:port, *.domain or *; several times for several; all it asks for when left out
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,
    /// For files: a folder it may read
    #[arg(long, value_name = "DIR")]
    folder: Vec<PathBuf>,
    /// For secret: the secret's name; all it asks for when left out
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
}

impl ScopeArgs {
    fn read(&self) -> Result<Scope, ExitCode> {
        let mut problems = Vec::new();
        let mut scope = Scope { secrets: self.name.clone(), ..Scope::default() };
        for text in &self.host {
            match text.parse::<HostPattern>() {
                Ok(host) => scope.hosts.push(host),
                Err(bad) => {
                    let hint = bad.hint.as_ref().map(|h| format!("; {h}")).unwrap_or_default();
                    problems.push(format!("{bad}; expected {FORMS}{hint}"));
                }
            }
        }
        for folder in &self.folder {
            match folder.canonicalize() {
                Ok(path) if path.is_dir() => scope.folders.push(path),
                Ok(_) => problems.push(format!("{} is no folder", folder.display())),
                // A folder that is gone can still be taken back, and one that comes later be granted.
                Err(_) if folder.is_absolute() => scope.folders.push(folder.clone()),
                Err(e) => problems.push(format!("{}: {e}", folder.display())),
            }
        }
        if problems.is_empty() { Ok(scope) } else { Err(usage(&problems.join("\n"))) }
    }
}

pub(super) fn grant(args: &GrantArgs) -> Result<ExitCode, ExitCode> {
    let config = args.place.load()?;
    let scope = args.scope.read()?;
    let (package, loaded) = source::named(&config, &args.plugin)?;
    let manifest = &package.manifest;
    let asked: Vec<Capability> = match args.capability.as_str() {
        "all" if scope.is_empty() => {
            // Folders have to be named, so `files` is not among them.
            let asked = manifest.capabilities.iter().map(|r| r.name);
            asked.filter(|c| *c != Capability::Files).collect()
        }
        "all" => return Err(usage("--host, --folder and --name belong to one capability; name it instead of \"all\"")),
        name => vec![capability(name)?],
    };
    let mut decisions = Vec::new();
    for capability in asked {
        let problems = grants::problems(manifest, capability, &scope);
        if !problems.is_empty() {
            return Err(not_so(problems.join("\nerror: ")));
        }
        let whole = manifest.request(capability).map(Scope::of).unwrap_or_default();
        let scope = if scope.is_empty() { whole } else { scope.clone() };
        let digest = args.this_build.then(|| loaded.digest.clone());
        decisions.push((capability, Decision { granted: true, by: who(), at: Clock::System.now(), digest, scope }));
    }
    write(&config, |grants| {
        for (capability, decision) in &decisions {
            grants.grant(&manifest.name, *capability, decision.clone());
        }
    })?;
    for (capability, decision) in &decisions {
        print(&format!("granted {}: {capability}{}\n", manifest.name, described(&decision.scope)));
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn revoke(args: &RevokeArgs) -> Result<ExitCode, ExitCode> {
    let config = args.place.load()?;
    let scope = args.scope.read()?;
    // What is gone can be revoked, too, so the package need not be there.
    let known = source::named(&config, &args.plugin).ok().map(|(package, _)| package.manifest);
    let decided = Grants::load(&grants::path(&config.data_dir)).map_err(not_so)?;
    let mut capabilities: Vec<Capability> = decided.of(&args.plugin).map(|(capability, _)| capability).collect();
    capabilities.extend(known.iter().flat_map(|m| m.capabilities.iter().map(|r| r.name)));
    capabilities.sort();
    capabilities.dedup();
    let wanted = match &args.capability {
        Some(name) => vec![capability(name)?],
        None if scope.is_empty() => capabilities.clone(),
        None => return Err(usage("which capability? --host, --folder and --name belong to one")),
    };
    if capabilities.is_empty() {
        return Err(not_so(format!("there is no plugin \"{}\", and nothing was granted to one", args.plugin)));
    }
    write(&config, |grants| {
        for capability in &wanted {
            let decision =
                Decision { granted: false, by: who(), at: Clock::System.now(), digest: None, scope: scope.clone() };
            grants.revoke(&args.plugin, *capability, decision);
        }
    })?;
    for capability in wanted {
        print(&format!("revoked {}: {capability}{}\n", args.plugin, described(&scope)));
    }
    Ok(ExitCode::SUCCESS)
}

fn capability(name: &str) -> Result<Capability, ExitCode> {
    Capability::parse(name).ok_or_else(|| {
        let near = crate::model::diagnostic::closest(name, Capability::ALL.map(Capability::as_str));
        let hint = near.map(|n| format!("; did you mean \"{n}\"?")).unwrap_or_default();
        usage(&format!("\"{name}\" is no capability; expected one of {}{hint}", Capability::list()))
    })
}

fn write(config: &Config, change: impl FnOnce(&mut Grants)) -> Result<(), ExitCode> {
    Grants::update(&grants::path(&config.data_dir), change).map_err(not_so)
}

/// ` (api.example.org)`, or nothing.
pub(super) fn described(scope: &Scope) -> String {
    let hosts = scope.hosts.iter().map(ToString::to_string);
    let folders = scope.folders.iter().map(|f| f.display().to_string());
    let all: Vec<String> = hosts.chain(folders).chain(scope.secrets.iter().cloned()).collect();
    if all.is_empty() { String::new() } else { format!(" ({})", all.join(", ")) }
}

/// The user of the system who decides: `os:ana`.
fn who() -> String {
    use std::os::unix::fs::MetadataExt;
    let Ok(own) = std::fs::metadata("/proc/self") else { return "os:unknown".into() };
    let uid = own.uid().to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_string())
    });
    format!("os:{}", user.unwrap_or(uid))
}
