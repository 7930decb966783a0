//! `probity plugin release`: asks a running server to let a plugin's node types out of quarantine.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use crate::cli::{Settings, not_so, print, server, usage};
use crate::config::Config;

#[derive(Args)]
pub(super) struct ReleaseArgs {
    /// The plugin's name
    plugin: String,
    /// A file with an API token, for a server that asks for a login [default: PROBITY_SECRET_API_TOKEN]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Give up after this many milliseconds
    #[arg(long, default_value_t = 3000, value_name = "MS")]
    timeout_ms: u64,
    #[command(flatten)]
    settings: Settings,
}

pub(super) fn release(args: &ReleaseArgs) -> Result<ExitCode, ExitCode> {
    let config = args.settings.load()?;
    let name = &args.plugin;
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        return Err(usage(&format!("\"{name}\" is no plugin's name")));
    }
    let token = match &args.token_file {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|e| usage(&format!("{}: {e}", path.display())))?;
            Some(text.trim().to_string())
        }
        None => Config::secret("api-token"),
    };
    let address = server::address(&config);
    let path = format!("/probity/v1/plugins/{name}/release");
    let timeout = Duration::from_millis(args.timeout_ms.max(1));
    let (status, body) = server::ask(address, "POST", &path, token.as_deref(), timeout)
        .map_err(|e| not_so(format!("no answer from {address}: {e}; is `probity serve` running there?")))?;
    let answer: Value = serde_json::from_str(&body).unwrap_or_default();
    let message = answer["message"].as_str().unwrap_or(&body);
    match status {
        200 if answer["released"] == true => print(&format!("{name} is out of quarantine\n")),
        200 => print(&format!("{name} was not in quarantine\n")),
        401 => {
            let how = "give an API token with --token-file or PROBITY_SECRET_API_TOKEN";
            return Err(not_so(format!("{address} asks for a login: {message}; {how}")));
        }
        _ => return Err(not_so(format!("{address} answered {status}: {message}"))),
    }
    Ok(ExitCode::SUCCESS)
}
