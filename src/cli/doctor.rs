//! `probity doctor`: what is wrong with an installation, each with what to do, without starting it.

mod runs;

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::{Format, Settings, print, report, runtime};
use crate::api::{self, password};
use crate::app;
use crate::clock::Clock;
use crate::config::Config;
use crate::model::Severity;

#[derive(Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    settings: Settings,
    /// Output form
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// What has waited less is on its way and not told, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    older_s: u64,
}

/// One thing that is wrong, or that somebody should know.
#[derive(Serialize)]
struct Finding {
    severity: Severity,
    /// What it is about: `configuration`, `users`, `exposure`, `data`, `flows`, `credentials`, `database`, `runs`,
    /// `schedules`.
    about: &'static str,
    message: String,
}

pub(super) fn doctor(args: &DoctorArgs) -> ExitCode {
    let mut findings = Vec::new();
    let config = match args.settings.read() {
        Ok((config, warnings)) => {
            findings.extend(warnings.into_iter().map(|message| warning("configuration", message)));
            Some(config)
        }
        Err(problem) => {
            findings.extend(problem.0.into_iter().map(|message| error("configuration", message)));
            None
        }
    };
    if let Some(config) = &config {
        users(config, &mut findings);
        exposure(config, &mut findings);
        data(config, args.older_s, &mut findings);
    }
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    match args.format {
        Format::Json => {
            let json = serde_json::json!({ "errors": errors, "findings": findings });
            print(&format!("{}\n", serde_json::to_string_pretty(&json).expect("findings are JSON")));
        }
        Format::Table => print(&text(&findings, errors)),
    }
    match (config, errors) {
        (None, _) => ExitCode::from(2),
        (Some(_), 0) => ExitCode::SUCCESS,
        (Some(_), _) => ExitCode::from(1),
    }
}

fn text(findings: &[Finding], errors: usize) -> String {
    if findings.is_empty() {
        return "nothing is wrong\n".into();
    }
    let rows = findings.iter().map(|finding| {
        let severity = if finding.severity == Severity::Error { "error" } else { "warning" };
        vec![severity.to_owned(), finding.about.to_owned(), finding.message.replace('\n', " ")]
    });
    format!(
        "{}\n{errors} errors, {} warnings\n",
        report::table(&["severity", "about", "what"], rows.collect()),
        findings.len() - errors
    )
}

fn error(about: &'static str, message: impl Into<String>) -> Finding {
    Finding { severity: Severity::Error, about, message: message.into() }
}

fn warning(about: &'static str, message: impl Into<String>) -> Finding {
    Finding { severity: Severity::Warning, about, message: message.into() }
}

/// Who cannot log in, and why.
fn users(config: &Config, findings: &mut Vec<Finding>) {
    let options = config.auth_options();
    for (table, name, hash) in options.password_users() {
        if password::is_nobodys(hash) {
            findings.push(error("users", format!("{table}: no password lets user \"{name}\" in")));
        } else if let Some(shipped) = password::shipped_behind(hash) {
            let message = api::auth::disabled(table, name, shipped);
            findings.push(match options.allow_default_passwords {
                true => warning("users", format!("{message} (they are allowed now)")),
                false => error("users", message),
            });
        }
    }
}

fn exposure(config: &Config, findings: &mut Vec<Finding>) {
    let options = config.auth_options();
    if let Err(problem) = api::check_exposure(config.listen, &options) {
        let problem = problem.split_once("\n\n").map_or(problem.as_str(), |(problem, _)| problem);
        findings.push(error("exposure", problem));
    }
    if options.is_open() {
        findings.push(warning("exposure", "no users are configured: whoever reaches the port may do everything"));
    } else if !options.flows_need_login() {
        findings.push(warning(
            "exposure",
            "flow endpoints need no login; auth.flow_users or auth.flow_logins names who may call them",
        ));
    }
    if config.http.cors_origins.iter().any(|origin| origin == "*") {
        findings.push(warning("exposure", "http.cors_origins: pages of every site may call this server"));
    }
}

/// The data folder, the flows in it, their credentials, the database.
fn data(config: &Config, older_s: u64, findings: &mut Vec<Finding>) {
    if let Err(problem) = writable(&config.data_dir) {
        findings.push(error("data", format!("{}: {problem}", config.data_dir.display())));
        return;
    }
    match app::load_flows(config, false) {
        Ok(flows) => {
            let errors = flows.diagnostics.iter().filter(|d| d.severity == Severity::Error);
            findings.extend(errors.map(|problem| error("flows", problem.to_string())));
        }
        Err(problem) => findings.push(error("flows", format!("{problem:#}"))),
    }
    let path = app::credentials::path(config);
    let secret = app::credentials::secret(config);
    let file = crate::runtime::credential_file::CredentialFile::open(&path, &config.data_dir, secret, false);
    match file.map(|file| file.problem()) {
        Ok(None) => {}
        Ok(Some(problem)) => findings.push(error("credentials", problem)),
        Err(problem) => findings.push(error("credentials", format!("{}: {problem}", path.display()))),
    }
    if !config.credentials.encrypt {
        findings.push(warning("credentials", "credentials of nodes are not encrypted (credentials.encrypt)"));
    }
    // A file that is not there yet is made at the start; looking must not make it.
    let made_later = config.database_url.is_empty() && !config.data_dir.join("probity.db").exists();
    if !made_later {
        match runtime().block_on(stored(config, older_s)) {
            Ok(found) => findings.extend(found),
            Err(problem) => findings.push(error("database", format!("{problem:#}"))),
        }
    }
}

/// What of the store's contents needs somebody.
async fn stored(config: &Config, older_s: u64) -> anyhow::Result<Vec<Finding>> {
    let store = app::open_store(config).await?;
    store.ping().await?;
    let distance = store.schema_distance().await?;
    if !distance.pending.is_empty() || !distance.ahead.is_empty() {
        let text = match distance.ahead.is_empty() {
            true => "the schema is an older version's; the next start, or probity migrate, brings it up to date",
            false => "the schema is a newer version's; this version cannot use it",
        };
        return Ok(vec![warning("database", text)]);
    }
    let older_ms = older_s.saturating_mul(1_000);
    Ok(runs::findings(&*store, older_ms, Clock::System.now()).await?)
}

/// Whether files can be made in a folder; one that is not there is made at the start.
fn writable(dir: &Path) -> std::io::Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    tempfile::Builder::new().prefix(".doctor").tempfile_in(dir).map(drop)
}
