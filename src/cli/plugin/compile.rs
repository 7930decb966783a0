//! `probity plugin compile`: plugins compiled ahead, so that no start has to.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;

use super::Where;
use crate::app::{self, admission};
use crate::cli::{print, runtime, usage};
use crate::clock::Clock;
use crate::net::Net;

#[derive(Args)]
pub(super) struct CompileArgs {
    /// Only these plugins [default: all]
    names: Vec<String>,
    /// Folder for the compiled code [default: plugin-cache in the data folder]; `serve` also reads `cache` beside the
    /// shipped plugins
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    #[command(flatten)]
    place: Where,
}

/// Compiles every plugin that is found and may be loaded, for this machine's processor.
pub(super) fn compile(args: &CompileArgs) -> Result<ExitCode, ExitCode> {
    let config = args.place.load()?;
    let into = args.into.clone().unwrap_or_else(|| app::plugins::own_cache(&config));
    let ready = admission::admitted(&config, admission::Needed::All).map_err(|e| usage(&format!("{e:#}")))?;
    let interpreter = admission::interpreter(&config).unwrap_or_else(|problems| {
        let _ = super::reported(&problems);
        None
    });
    let mut failed = super::reported(&ready.diagnostics).is_err();
    let plugins = app::plugins::compiler(&config, into.clone(), &Arc::new(Net::default()), &Clock::System);
    let named = ready.admitted.into_iter().map(|a| a.plugin);
    let mut codes: Vec<_> = named.map(|p| (p.manifest.name, p.wasm, p.manifest.deterministic)).collect();
    codes.extend(interpreter.map(|wasm| ("javascript".to_string(), wasm, false)));
    if let Some(unknown) = args.names.iter().find(|name| !codes.iter().any(|(n, ..)| n == *name)) {
        return Err(usage(&format!(
            "there is no plugin \"{unknown}\" that may be loaded; `probity plugin list` says why"
        )));
    }
    codes.retain(|(name, ..)| args.names.is_empty() || args.names.contains(name));
    let runtime = runtime();
    for (name, wasm, deterministic) in codes {
        let started = Instant::now();
        match runtime.block_on(plugins.compile(wasm, deterministic)) {
            Ok(()) => print(&format!("{name}: {} ms\n", started.elapsed().as_millis())),
            Err(problem) => failed |= super::reported(&[problem.in_file(format!("plugin {name}"))]).is_err(),
        }
    }
    print(&format!("compiled code is in {}\n", into.display()));
    Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
}
