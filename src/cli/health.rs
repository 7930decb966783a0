//! `probity health`: asks a running server, for container health checks.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::{Settings, not_so, print, server};

#[derive(Args)]
pub(super) struct HealthArgs {
    #[command(flatten)]
    settings: Settings,
    /// Give up after this many milliseconds
    #[arg(long, default_value_t = 3000, value_name = "MS")]
    timeout_ms: u64,
}

pub(super) fn health(args: &HealthArgs) -> ExitCode {
    let config = match args.settings.load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let address = server::address(&config);
    match server::ask(address, "GET", "/health/ready", None, Duration::from_millis(args.timeout_ms.max(1))) {
        Ok((200, body)) => {
            print(&format!("{body}\n"));
            ExitCode::SUCCESS
        }
        Ok((status, body)) => not_so(format!("{address} is not ready ({status}): {body}")),
        Err(error) => not_so(format!("no answer from {address}: {error}; is `probity serve` running there?")),
    }
}
