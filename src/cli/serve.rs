//! `probity serve` and `probity migrate`.

use std::process::ExitCode;

use clap::Args;

use super::{Settings, print, runtime, usage};
use crate::app;

pub(super) fn serve(settings: &Settings) -> ExitCode {
    let config = match settings.load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    super::log(&config, false);
    match runtime().block_on(app::serve(config, terminated())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => usage(&format!("{error:#}")),
    }
}

/// `probity migrate`.
#[derive(Args, Debug)]
pub(super) struct MigrateArgs {
    #[command(flatten)]
    settings: Settings,
    /// Environment variables that must hold secrets: refuses, before anything else, when one is unset, short or known
    /// from examples.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    refuse_weak: Vec<String>,
}

pub(super) fn migrate(args: &MigrateArgs) -> ExitCode {
    let weak: Vec<String> = args.refuse_weak.iter().filter_map(|name| crate::config::secrets::problem(name)).collect();
    if !weak.is_empty() {
        let advice = "make each with: openssl rand -hex 24";
        return super::usage(&format!("{}\n{advice}", weak.join("\n")));
    }
    let config = match args.settings.load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    super::log(&config, true);
    runtime().block_on(async {
        if config.database_url.is_empty()
            && let Err(error) = app::make_data_dir(&config.data_dir)
        {
            return super::usage(&format!("{error:#}"));
        }
        let store = match app::open_store(&config).await {
            Ok(store) => store,
            Err(error) => return super::usage(&format!("{error:#}")),
        };
        match store.migrate().await {
            Ok(()) => {
                print(&format!("{} is up to date\n", store.describe()));
                ExitCode::SUCCESS
            }
            Err(error) => super::not_so(error),
        }
    })
}

/// SIGTERM or SIGINT.
pub(super) async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).expect("the process may handle SIGTERM");
    let mut interrupt = signal(SignalKind::interrupt()).expect("the process may handle SIGINT");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
