//! `probity serve` and `probity migrate`.

use std::process::ExitCode;

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

pub(super) fn migrate(settings: &Settings) -> ExitCode {
    let config = match settings.load() {
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
