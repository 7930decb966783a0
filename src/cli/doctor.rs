//! `probity doctor`: what is wrong with an installation, each with what to do, without starting it.

mod dispatch;
mod runs;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::{Format, Settings, print, report, runtime};
use crate::api::{self, password};
use crate::app::{self, admission::Needed};
use crate::clock::Clock;
use crate::config::Config;
use crate::model::Severity;
use crate::model::flow::FlowFile;

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
    /// `plugins`, `contexts`, `schedules`, `secrets`, `rates`, `cache`, `dispatch`, `notifications`, `mail`.
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
        secrets(config, &mut findings);
        door(config, &mut findings);
        told(config, &mut findings);
        dispatch::findings(config, &mut findings);
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

/// Secrets in files that others can read.
fn secrets(config: &Config, findings: &mut Vec<Finding>) {
    use std::os::unix::fs::PermissionsExt;
    for file in &config.secret_files {
        let Ok(known) = std::fs::metadata(file) else { continue };
        // What is mounted as a secret by Docker or Kubernetes may be read by all of its container.
        let mounted = ["/run/secrets", "/var/run/secrets"].iter().any(|folder| file.starts_with(folder));
        if known.permissions().mode() & 0o007 != 0 && !mounted {
            let advice = format!("chmod 600 {}", file.display());
            findings.push(warning(
                "secrets",
                format!("{}: everybody on this machine may read it: {advice}", file.display()),
            ));
        }
    }
    if config.database_url.starts_with("postgres") {
        let insecure = ["sslmode=verify-full", "sslmode=verify-ca", "host=/", "host=%2F"];
        let url = config.database_url.as_str();
        let local = ["@localhost", "@127.0.0.1", "@[::1]"].iter().any(|host| url.contains(host));
        if !local && !insecure.iter().any(|safe| url.contains(safe)) {
            findings.push(warning(
                "database",
                "the connection to Postgres is not held to a certificate: sslmode=verify-full&sslrootcert=FILE in database_url",
            ));
        }
    }
}

/// Limits at the door, and the cache they are counted in.
fn door(config: &Config, findings: &mut Vec<Finding>) {
    let rates = &config.rates;
    let open = !config.listen.ip().is_loopback();
    if open && rates.source_per_min == 0 && rates.token_per_min == 0 {
        findings
            .push(warning("rates", "calls are not limited; rates.source_per_min and rates.token_per_min limit them"));
    }
    if rates.source_per_min > 0 && rates.trusted_proxies.is_empty() && open {
        findings.push(warning(
            "rates",
            "rates.trusted_proxies is empty: behind a proxy all callers are one source, and are limited together",
        ));
    }
    let Ok(Some(options)) = config.cache.options() else { return };
    if !options.address.has_password() && !crate::cache::is_local(&options.address) {
        findings.push(warning("cache", "the cache has no password (cache.password)"));
    }
    let Ok(net) = app::net(config) else { return };
    let cache = crate::cache::Cache::new(options, net, crate::clock::Clock::System);
    if let Err(problem) = runtime().block_on(cache.ping()) {
        findings.push(warning(
            "cache",
            format!("it is away ({problem}); each replica counts calls for itself until it is back"),
        ));
    }
}

/// The ways to tell people.
fn told(config: &Config, findings: &mut Vec<Finding>) {
    let (Ok(channels), Ok(net)) = (config.notification_channels(), app::net(config)) else { return };
    for (name, channel) in &channels.by_name {
        if let crate::notify::Target::Webhook { url, secrets } = &channel.target {
            if secrets.is_empty() {
                let message = format!(
                    "channels.{name}: what is posted is not signed (secret): its receiver cannot tell it from anybody's"
                );
                findings.push(warning("notifications", message));
            }
            if url.scheme() == "http" {
                findings.push(warning(
                    "notifications",
                    format!("channels.{name}.url: http:// is read by whoever is on the way"),
                ));
            }
        }
    }
    if let Some(options) = &channels.mail {
        let probed = runtime().block_on(async {
            let limit = std::time::Duration::from_millis(config.notify.request_ms_max);
            tokio::time::timeout(limit, crate::notify::Mailer::new(options, &net).probe()).await
        });
        let problem = probed.unwrap_or_else(|_| Err("it does not answer".into())).err();
        findings.extend(problem.map(|problem| error("mail", format!("mail cannot be handed in: {problem}"))));
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
            plugins(config, &flows.loaded, findings);
            contexts(config, &flows.loaded, findings);
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

/// The components that the flows' nodes run in: a function node without its own is a tab that does not run.
fn plugins(config: &Config, flows: &FlowFile, findings: &mut Vec<Finding>) {
    let builtin = crate::nodes::catalogue();
    let types: BTreeSet<_> =
        flows.nodes.iter().map(|node| node.node_type.clone()).filter(|name| builtin.spec(name).is_none()).collect();
    if types.is_empty() {
        return;
    }
    match app::admission::admitted(config, Needed::For(&types)) {
        Ok(ready) => {
            let errors = ready.diagnostics.iter().filter(|d| d.severity == Severity::Error);
            findings.extend(errors.map(|problem| error("plugins", problem.to_string())));
        }
        Err(problem) => findings.push(error("plugins", format!("{problem:#}"))),
    }
}

/// Context stores that nodes name and nobody configured: what should be shared, or kept, is in memory then.
fn contexts(config: &Config, flows: &FlowFile, findings: &mut Vec<Finding>) {
    let stores = app::context_stores(config);
    let mut unknown = BTreeSet::new();
    for entry in &flows.entries {
        let text = serde_json::Value::Object(entry.clone()).to_string();
        let named =
            text.split("#:(").skip(1).filter_map(|rest| rest.split_once(")::")).map(|(name, _)| name.to_owned());
        unknown.extend(named.filter(|name| !stores.iter().any(|(store, _)| store == name)));
    }
    findings.extend(unknown.into_iter().map(|name| {
        let default = &stores[0].0;
        let text = format!(
            "nodes name the context store \"{name}\", which is not configured, and use \"{default}\"; name it in \
             contextStorage of settings.js or in contexts.stores"
        );
        warning("contexts", text)
    }));
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
