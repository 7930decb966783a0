//! `probity test --record RUN`: a run of a server's history as a test file.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use super::TestArgs;
use crate::cli::{not_so, print, server, usage};
use crate::config::Config;
use crate::model::RunId;

/// A server that does not answer by then is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks the server for the run and writes the test file, to `--out` or to standard output.
pub(super) fn record(args: &TestArgs, run: &str) -> Result<ExitCode, ExitCode> {
    let config = args.settings.load()?;
    let run: RunId = run.parse().map_err(|_| usage(&format!("\"{run}\" is no run id; a run id is a UUID")))?;
    let token = match &args.token_file {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|e| usage(&format!("{}: {e}", path.display())))?;
            Some(text.trim().to_string())
        }
        None => Config::secret("api-token"),
    };
    let address = server::address(&config);
    let path = format!("/probity/v1/runs/{run}/test");
    let (status, body) = server::ask(address, "GET", &path, token.as_deref(), PATIENCE)
        .map_err(|e| not_so(format!("no answer from {address}: {e}; is `probity serve` running there?")))?;
    let answer: Value = serde_json::from_str(&body).unwrap_or_default();
    let (Some(yaml), 200) = (answer["yaml"].as_str(), status) else {
        let message = answer["message"].as_str().unwrap_or(&body);
        let how = if status == 401 { "; give an API token with --token-file or PROBITY_SECRET_API_TOKEN" } else { "" };
        return Err(not_so(format!("{address} answered {status}: {message}{how}")));
    };
    match &args.out {
        None => print(yaml),
        Some(out) if out.is_dir() => write(&out.join(answer["file"].as_str().unwrap_or("recorded.test.yaml")), yaml)?,
        Some(out) => write(out, yaml)?,
    }
    eprintln!("{}", answer["note"].as_str().unwrap_or_default());
    Ok(ExitCode::SUCCESS)
}

/// Writes a file that is not there yet: a test that somebody has worked on is not overwritten.
fn write(out: &Path, yaml: &str) -> Result<(), ExitCode> {
    use std::io::Write;
    let file = std::fs::File::options().write(true).create_new(true).open(out);
    let written = file.and_then(|mut file| file.write_all(yaml.as_bytes()));
    written.map_err(|e| usage(&format!("{}: {e}", out.display())))
}
