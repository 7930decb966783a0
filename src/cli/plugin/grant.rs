//! `probity plugin grant` and `revoke`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{Where, not_so, print, source, usage};
use crate::app::admission;
use crate::clock::Clock;
use crate::plugin::capability::Capability;
use crate::plugin::desk::{DeskError, Wanted, Who};
use crate::plugin::grants::Scope;
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
    let capability = match args.capability.as_str() {
        "all" if scope.is_empty() => None,
        "all" => return Err(usage("--host, --folder and --name belong to one capability; name it instead of \"all\"")),
        name => Some(capability(name)?),
    };
    let wanted = Wanted { capability, scope, this_build: args.this_build };
    let (manifest, desk) = (&package.manifest, admission::desk(&config));
    let decisions = desk.write_grant(manifest, &loaded.digest, &wanted, &who()).map_err(refused)?;
    for (capability, decision) in &decisions {
        print(&format!("granted {}: {capability}{}\n", manifest.name, described(&decision.scope)));
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn revoke(args: &RevokeArgs) -> Result<ExitCode, ExitCode> {
    let config = args.place.load()?;
    let scope = args.scope.read()?;
    let capability = args.capability.as_deref().map(capability).transpose()?;
    if capability.is_none() && !scope.is_empty() {
        return Err(usage("which capability? --host, --folder and --name belong to one"));
    }
    let wanted = Wanted { capability, scope, this_build: false };
    let from = admission::desk(&config).revoke(&args.plugin, &wanted, &who()).map_err(refused)?;
    for capability in from {
        print(&format!("revoked {}: {capability}{}\n", args.plugin, described(&wanted.scope)));
    }
    Ok(ExitCode::SUCCESS)
}

fn refused(error: DeskError) -> ExitCode {
    match error {
        DeskError::Unknown(name) => not_so(format!("there is no plugin \"{name}\", and nothing was granted to one")),
        DeskError::Refused(problems) => not_so(problems.join("\nerror: ")),
        DeskError::Grants(error) => not_so(error),
    }
}

fn capability(name: &str) -> Result<Capability, ExitCode> {
    Capability::parse(name).ok_or_else(|| {
        let near = crate::model::diagnostic::closest(name, Capability::ALL.map(Capability::as_str));
        let hint = near.map(|n| format!("; did you mean \"{n}\"?")).unwrap_or_default();
        usage(&format!("\"{name}\" is no capability; expected one of {}{hint}", Capability::list()))
    })
}

/// ` (api.example.org)`, or nothing.
pub(super) fn described(scope: &Scope) -> String {
    let hosts = scope.hosts.iter().map(ToString::to_string);
    let folders = scope.folders.iter().map(|f| f.display().to_string());
    let all: Vec<String> = hosts.chain(folders).chain(scope.secrets.iter().cloned()).collect();
    if all.is_empty() { String::new() } else { format!(" ({})", all.join(", ")) }
}

/// The user of the system, who decides now.
fn who() -> Who {
    Who { by: user(), at: Clock::System.now() }
}

/// `os:ana`.
fn user() -> String {
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
