//! `probity serve` and `probity migrate`.

use std::process::ExitCode;

use clap::Args;

use super::{Settings, print, runtime, usage};
use crate::{app, store};

pub(super) fn serve(settings: &Settings) -> ExitCode {
    let config = match settings.load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    super::log::start(&config, false);
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
    /// Only says which migrations would run; changes nothing. Exit code 1: the database is of a newer version.
    #[arg(long)]
    dry_run: bool,
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
    super::log::start(&config, true);
    if args.dry_run && config.database_url.is_empty() && !config.data_dir.join("probity.db").exists() {
        // Looking must not make it.
        print(&format!("there is no database in {} yet; the first start makes it\n", config.data_dir.display()));
        return ExitCode::SUCCESS;
    }
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
        if args.dry_run {
            return match store.schema_distance().await {
                Ok(distance) => told(&store.describe(), &distance),
                Err(error) => super::not_so(error),
            };
        }
        match store.migrate().await {
            Ok(()) => {
                print(&format!("{} is up to date\n", store.describe()));
                ExitCode::SUCCESS
            }
            Err(error) => super::not_so(error),
        }
    })
}

/// What a dry run found.
fn told(database: &str, distance: &store::SchemaDistance) -> ExitCode {
    if !distance.ahead.is_empty() {
        let known: Vec<String> = distance.ahead.iter().map(|version| format!("{version:04}")).collect();
        return super::not_so(format!(
            "{database} was migrated by a newer version of Probity ({}); use that version, or restore a backup of before",
            known.join(", ")
        ));
    }
    if distance.pending.is_empty() {
        print(&format!("{database} is up to date\n"));
    } else {
        let pending: String = distance.pending.iter().map(|migration| format!("  {migration}\n")).collect();
        print(&format!("{} migrations would run on {database}:\n{pending}", distance.pending.len()));
    }
    ExitCode::SUCCESS
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
