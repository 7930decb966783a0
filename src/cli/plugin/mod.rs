//! `probity plugin`: from a template to a running node, and what the operator decides about plugins.

mod build;
mod check;
mod compile;
mod create;
mod dev;
mod grant;
mod inspect;
mod install;
mod list;
mod oci;
mod release;
mod replay;
mod sign;
mod source;
mod testing;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{Settings, not_so, print, usage};
use crate::config::Config;
use crate::model::{Diagnostic, Severity};
pub(super) use check::check_path;

#[derive(Args)]
pub(super) struct PluginArgs {
    #[command(subcommand)]
    command: PluginCommand,
}

#[derive(Subcommand)]
enum PluginCommand {
    /// Write a new plugin from a template: source, tests, README and an example flow.
    New(create::NewArgs),
    /// Build a plugin as its plugin.toml says, make a component of it and note its digest.
    Build(build::BuildArgs),
    /// Check manifests and modules; prints every problem.
    Check(check::CheckArgs),
    /// Run a plugin's cases (tests/*.yaml) in the real sandbox.
    Test(testing::TestArgs),
    /// Build, check, test and reload on every save; runs the example flow.
    Dev(dev::DevArgs),
    /// Compile all plugins ahead, so that no start has to.
    Compile(compile::CompileArgs),
    /// Show what a plugin is: manifest, imports, signature, grants.
    Inspect(inspect::InspectArgs),
    /// Sign a plugin with a minisign key.
    Sign(sign::SignArgs),
    /// Make a pair of keys for signing.
    Keygen(sign::KeygenArgs),
    /// Install a plugin from a file, a folder, a URL or an OCI image layout.
    Install(install::InstallArgs),
    /// List plugins: where they are, whether they may start, what they are granted.
    List(list::ListArgs),
    /// Allow a plugin what its manifest asks for.
    Grant(grant::GrantArgs),
    /// Take back what was allowed.
    Revoke(grant::RevokeArgs),
    /// Let a running server's plugin out of quarantine.
    Release(release::ReleaseArgs),
    /// Make the recorded calls of a run again, and compare byte for byte.
    Replay(replay::ReplayArgs),
}

/// Where plugins and what was decided about them are.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Where {
    /// Where installed plugins and grants live [default: ./data] [env: PROBITY_DATA_DIR]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// A folder of plugins, or a plugin [env: PROBITY_PLUGINS_DIR]
    #[arg(long, value_name = "DIR")]
    plugins_dir: Option<PathBuf>,
    /// Configuration file (TOML) [env: PROBITY_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Where {
    pub(super) fn load(&self) -> Result<Config, ExitCode> {
        let settings = Settings {
            data_dir: self.data_dir.clone(),
            plugins_dir: self.plugins_dir.clone(),
            config: self.config.clone(),
            ..Settings::default()
        };
        settings.load()
    }
}

pub(super) fn plugin(args: &PluginArgs) -> ExitCode {
    let done = match &args.command {
        PluginCommand::New(args) => create::create(args),
        PluginCommand::Build(args) => build::build(args),
        PluginCommand::Check(args) => Ok(check::check(args)),
        PluginCommand::Test(args) => testing::test(args),
        PluginCommand::Dev(args) => dev::dev(args),
        PluginCommand::Compile(args) => compile::compile(args),
        PluginCommand::Inspect(args) => inspect::inspect(args),
        PluginCommand::Sign(args) => sign::sign(args),
        PluginCommand::Keygen(args) => sign::keygen(args),
        PluginCommand::Install(args) => install::install(args),
        PluginCommand::List(args) => list::list(args),
        PluginCommand::Grant(args) => grant::grant(args),
        PluginCommand::Revoke(args) => grant::revoke(args),
        PluginCommand::Release(args) => release::release(args),
        PluginCommand::Replay(args) => replay::replay(args),
    };
    done.unwrap_or_else(|code| code)
}

/// Prints problems; exit code 1 when there is an error among them.
fn reported(problems: &[Diagnostic]) -> Result<(), ExitCode> {
    for problem in problems {
        eprintln!("{problem}");
    }
    match problems.iter().any(|d| d.severity == Severity::Error) {
        true => Err(ExitCode::from(1)),
        false => Ok(()),
    }
}

/// Prints an I/O problem with the file it is about; exit code 1.
fn failed(path: &std::path::Path) -> impl Fn(std::io::Error) -> ExitCode {
    move |error| not_so(format!("{}: {error}", path.display()))
}
