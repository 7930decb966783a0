//! Configuration: the compiled-in defaults, then a file, then Node-RED's settings.js, then the environment, then flags.
//!
//! The only module that reads the environment. Everything that is wrong is reported at once, with the key, what was
//! expected and a suggestion for misspelt keys.

pub mod channels;
pub mod contexts;
pub mod datasources;
pub mod dispatch;
pub mod door;
mod durable;
mod layers;
pub mod observing;
pub mod reach;
pub mod roles;
mod secret_files;
pub mod secrets;
pub mod settings_js;
mod validate;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Table, Value};

use crate::api::{AuthOptions, Permissions, password};
use crate::model::diagnostic::closest;
use layers::{leaves, merge, set_from_text};

/// The defaults, every key commented; also what `probity --help` points to.
pub const DEFAULTS: &str = include_str!("config.default.toml");

/// Prefix of the environment variables.
const PREFIX: &str = "PROBITY_";

/// Variables with our prefix that are no configuration keys; those of the plugins' builds among them.
const OTHER_VARIABLES: &[&str] = &[
    "PROBITY_CONFIG",
    "PROBITY_WASM_TARGET",
    "PROBITY_WASM_TOOLCHAIN",
    "PROBITY_TOOLCHAIN",
    "PROBITY_CLANG",
    "PROBITY_WASI_SYSROOT",
];

#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    pub listen: SocketAddr,
    /// Where the Registry API is served; `None`: nowhere.
    #[serde(default)]
    pub listen_registry: Option<SocketAddr>,
    /// Where the Director API is served; `None`: nowhere.
    #[serde(default)]
    pub listen_director: Option<SocketAddr>,
    pub data_dir: PathBuf,
    pub flows: String,
    pub watch_flows_ms: u64,
    pub agreements: String,
    pub database_url: String,
    pub database_password: String,
    pub allow_default_passwords: bool,
    pub shutdown_ms_max: u64,
    pub shutdown_notice_ms: u64,
    pub roles: roles::Roles,
    pub http: Http,
    pub auth: Auth,
    pub rates: door::Rates,
    pub cache: door::Cache,
    pub secrets: door::Secrets,
    pub mail: channels::Mail,
    pub notify: channels::Notify,
    pub channels: BTreeMap<String, channels::Channel>,
    /// No key: the files that secrets were read from.
    #[serde(skip)]
    pub secret_files: Vec<PathBuf>,
    /// No key: what it was read from, to read it again.
    #[serde(skip)]
    given: Given,
    pub credentials: Credentials,
    /// No key: the settings.js that was read.
    #[serde(skip)]
    pub settings_js: Option<PathBuf>,
    /// No key: what settings.js says about the editor, in its own names.
    #[serde(skip)]
    pub editor: serde_json::Map<String, serde_json::Value>,
    pub limits: Limits,
    pub contexts: contexts::Contexts,
    pub durable: durable::Durable,
    pub dispatch: dispatch::Dispatch,
    pub net: reach::Net,
    pub files: reach::Files,
    pub nodes: reach::Nodes,
    pub datasources: BTreeMap<String, datasources::Datasource>,
    pub collectors: Collectors,
    pub schedule: Schedule,
    pub registry: Registry,
    pub director: Director,
    pub delivery: Delivery,
    pub retention: Retention,
    pub store: Store,
    pub plugins: Plugins,
    pub functions: Functions,
    pub trace: observing::Trace,
    pub otel: observing::Otel,
    pub log: Log,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Http {
    pub node_root: String,
    pub body_bytes_max: usize,
    pub bodies_bytes_max: usize,
    pub header_ms_max: u64,
    pub body_ms_max: u64,
    pub connections_max: usize,
    pub hosts: Vec<String>,
    pub cors_origins: Vec<String>,
    pub node_cors_origins: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Auth {
    pub users: BTreeMap<String, String>,
    pub tokens: BTreeMap<String, String>,
    pub permissions: BTreeMap<String, String>,
    pub default_permissions: String,
    pub session_s_max: u32,
    pub flow_users: Vec<String>,
    pub flow_logins: BTreeMap<String, String>,
    pub status_secret: String,
    pub status_leeway_s: u32,
    pub status_roles: BTreeMap<String, String>,
    pub flow_status_token: crate::api::FlowToken,
    /// No key: the user whom USER_STATUS and PASS_STATUS name, and what stands for the password.
    #[serde(skip)]
    pub environment_user: Option<(String, String)>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Credentials {
    pub secret: String,
    pub encrypt: bool,
    pub node_red_cipher: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Limits {
    pub reply_ms_max: u64,
    pub run_ms_max: u64,
    pub hops_max: u32,
    pub queue_max: usize,
    pub waits_max: usize,
    pub runs_max: usize,
    pub trace_steps_max: usize,
    pub runs_kept_per_s_max: u32,
    pub runs_in_memory_max: usize,
    pub node_messages_max: usize,
    pub flow_runs_max: usize,
    pub tenant_runs_max: usize,
    pub tenants: BTreeMap<String, String>,
    pub bulk_runs_max: usize,
    pub waiting_max: usize,
    pub shared_rates: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Collectors {
    pub services: BTreeMap<String, String>,
    pub parallel_max: usize,
    pub collect_ms_max: u64,
    pub call_ms_max: u64,
    pub host_parallel_max: usize,
    pub retries_max: u32,
    pub poll_ms_min: u64,
    pub poll_ms_max: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Schedule {
    pub provisional_ms: u64,
    pub first_windows_max: usize,
    pub windows_max: usize,
    pub lease_ms: u64,
    pub poll_ms: u64,
    pub late_ms: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Registry {
    /// Whose verdicts the Registry API gives when a call does not say.
    pub mode: crate::api::registry_v6::Mode,
    pub watch_ms: u64,
    pub poll_ms: u64,
    pub request_ms_max: u64,
    pub start_ms_max: u64,
    pub write_states: String,
    pub pass_to: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Director {
    pub url: String,
    pub callback_url: String,
    pub secret: String,
    pub interval_ms: u64,
    pub script_hosts: Vec<String>,
    pub scripts: Vec<String>,
    pub calls: Vec<String>,
    pub compute_ms_max: u64,
    pub run_ms_max: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Delivery {
    pub status_url: String,
    pub agreements: Vec<String>,
    pub token: String,
    pub controls: BTreeMap<String, String>,
    pub body_bytes_max: usize,
    pub request_ms_max: u64,
    pub retry_ms_max: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Retention {
    pub states_days: u32,
    pub runs_days: u32,
    pub flow_revisions_max: u32,
    pub every_ms: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Store {
    pub connections_max: u32,
    pub wait_ms_max: u64,
    pub follow_ms: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Plugins {
    pub dir: String,
    pub signatures: crate::plugin::signature::Policy,
    pub trusted_keys: Vec<String>,
    pub grant_shipped: bool,
    /// No key: `plugin dev` says so that `dir` is a folder being worked on.
    #[serde(skip)]
    pub development: bool,
    pub compute_ms_default: u64,
    pub compute_ms_max: u64,
    pub call_ms_default: u64,
    pub call_ms_max: u64,
    pub memory_bytes_default: u64,
    pub memory_bytes_max: u64,
    pub output_bytes_default: u64,
    pub output_bytes_max: u64,
    pub state_bytes_default: u64,
    pub state_bytes_max: u64,
    pub input_bytes_max: u64,
    pub emits_max: u32,
    pub log_lines_max: u32,
    pub response_bytes_max: usize,
    pub file_bytes_max: u64,
    pub record_bytes_max: usize,
    pub run_record_bytes_max: usize,
    pub instances_max: u32,
    pub idle_ms_max: u64,
    pub cache_bytes_max: u64,
    pub cache_days_max: u32,
    pub stops_max: u32,
    pub stops_ms: u64,
    pub quarantine_ms: u64,
    pub watch_ms: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Functions {
    pub compute_ms_default: u64,
    pub compute_ms_max: u64,
    pub memory_bytes_max: u64,
    pub output_bytes_max: u64,
    pub modules: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Log {
    pub level: String,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

impl Config {
    /// Who may log in, as the API takes it.
    pub fn auth_options(&self) -> AuthOptions {
        let auth = &self.auth;
        let permissions = auth.permissions.iter().map(|(name, text)| (name.clone(), Permissions::of_text(text)));
        AuthOptions {
            users: auth.users.clone(),
            tokens: auth.tokens.clone(),
            permissions: permissions.collect(),
            default_permissions: Some(&auth.default_permissions)
                .filter(|text| !text.is_empty())
                .map(|text| Permissions::of_text(text)),
            flow_users: auth.flow_users.clone(),
            flow_logins: auth.flow_logins.clone(),
            environment_user: auth.environment_user.clone(),
            session_s_max: auth.session_s_max,
            allow_default_passwords: self.allow_default_passwords,
            status_secret: auth.status_secret.clone(),
            status_leeway_s: auth.status_leeway_s,
            status_roles: auth
                .status_roles
                .iter()
                .map(|(role, text)| (role.clone(), Permissions::of_text(text)))
                .collect(),
            flow_status_token: auth.flow_status_token,
            former: Vec::new(),
            hosts: self.http.hosts.clone(),
        }
    }
}

/// What a configuration is read from besides the environment.
#[derive(Clone, Debug, Default)]
struct Given {
    file: Option<PathBuf>,
    flags: Table,
}

/// What is wrong with the configuration: one line per problem.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(pub Vec<String>);

impl Config {
    /// The defaults alone.
    pub fn defaults() -> Config {
        resolve(None, &NO_SETTINGS, &[], &Table::new()).expect("config.default.toml is complete and correct").0
    }

    /// Defaults, then `file` (or the one PROBITY_CONFIG names), then the settings.js of the data folder, then the
    /// environment, then `flags` (keys as in the file). Gives warnings beside the configuration.
    pub fn load(file: Option<&Path>, flags: &Table) -> Result<(Config, Vec<String>), ConfigError> {
        #[expect(clippy::disallowed_methods, reason = "this is the module that reads the environment")]
        let variables: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            .filter(|(k, _)| k.starts_with(PREFIX))
            .collect();
        #[expect(clippy::disallowed_methods, reason = "this is the module that reads the environment")]
        let stack = |name: &str| std::env::var(name).ok();
        let (mut problems, mut files) = (Vec::new(), Vec::new());
        let status = environment_user(&stack, &mut files, &mut problems);
        let named = variables.iter().find(|(k, _)| k == "PROBITY_CONFIG").map(|(_, v)| PathBuf::from(v));
        let path = file.map(Path::to_path_buf).or(named.filter(|p| !p.as_os_str().is_empty()));
        let text = match &path {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|e| ConfigError(vec![format!("cannot read the configuration {}: {e}", path.display())]))?;
                Some((path.display().to_string(), text))
            }
            None => None,
        };
        let text = text.as_ref().map(|(p, t)| (p.as_str(), t.as_str()));
        let resolved = resolve_with(text, &read_settings, &variables, &stack, flags);
        let (mut config, warnings) = match (resolved, problems.is_empty()) {
            (Ok(resolved), true) => resolved,
            (Ok(_), false) => return Err(ConfigError(problems)),
            (Err(more), _) => return Err(ConfigError(problems.into_iter().chain(more.0).collect())),
        };
        config.auth.environment_user = status;
        config.secret_files.append(&mut files);
        config.given = Given { file: file.map(Path::to_path_buf), flags: flags.clone() };
        Ok((config, warnings))
    }

    /// The same read again from where it came from: files with secrets may hold others now.
    pub fn read_again(&self) -> Result<Config, ConfigError> {
        Config::load(self.given.file.as_deref(), &self.given.flags).map(|(config, _)| config)
    }

    /// `sqlite:<data_dir>/probity.db` unless configured.
    pub fn database_url(&self) -> String {
        match self.database_url.as_str() {
            "" => format!("sqlite:{}", self.data_dir.join("probity.db").display()),
            url => url.to_string(),
        }
    }

    /// A secret by its name: `PROBITY_SECRET_<NAME>`, in capitals with `_` for `-`.
    #[expect(clippy::disallowed_methods, reason = "this is the module that reads the environment")]
    pub fn secret(name: &str) -> Option<String> {
        if name.is_empty() || name.contains(['=', '\0']) {
            return None;
        }
        let variable = format!("{PREFIX}SECRET_{}", name.to_uppercase().replace('-', "_"));
        // Read each time it is asked for: what a file holds may have changed.
        secret_files::value(&variable, &|name| std::env::var(name).ok(), &mut Vec::new())
            .inspect_err(|problem| tracing::error!("{problem}"))
            .ok()
            .flatten()
    }

    /// The file that holds a key's secret, if one does.
    #[expect(clippy::disallowed_methods, reason = "this is the module that reads the environment")]
    pub fn file_of(key: &str) -> Option<PathBuf> {
        let (ours, stack) = secret_files::variables_of(key);
        let named = |name: String| std::env::var(format!("{name}_FILE")).ok().filter(|path| !path.is_empty());
        named(ours).or_else(|| named(stack?)).map(PathBuf::from)
    }

    /// What flows may read of the process environment: everything but our own variables, which may hold secrets.
    #[expect(clippy::disallowed_methods, reason = "this is the module that reads the environment")]
    pub fn process_env(name: &str) -> Option<String> {
        let ours = name.starts_with(PREFIX) || secret_files::is_hidden(name);
        if ours || name.is_empty() || name.contains(['=', '\0']) {
            return None;
        }
        std::env::var(name).ok()
    }
}

/// The user that STATUS' backend logs in as: USER_STATUS with the password PASS_STATUS. The password itself is not kept.
fn environment_user(
    lookup: &dyn Fn(&str) -> Option<String>,
    files: &mut Vec<PathBuf>,
    problems: &mut Vec<String>,
) -> Option<(String, String)> {
    let mut read =
        |name| secret_files::value(name, lookup, files).map_err(|problem| problems.push(problem)).ok().flatten();
    let (user, secret) = (read("USER_STATUS"), read("PASS_STATUS"));
    Some((user?, password::given(&secret?)))
}

/// Reads the settings.js of a data folder; `None` when there is none.
type ReadSettings<'a> = &'a dyn Fn(&Path) -> Option<Result<settings_js::Settings, String>>;

/// No settings.js.
const NO_SETTINGS: fn(&Path) -> Option<Result<settings_js::Settings, String>> = |_| None;

/// The settings.js of a data folder, read with the process' environment.
#[expect(clippy::disallowed_methods, reason = "this is the module that reads the environment")]
pub fn read_settings(data_dir: &Path) -> Option<Result<settings_js::Settings, String>> {
    let path = data_dir.join("settings.js");
    let shown = path.display().to_string();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => return Some(Err(format!("cannot read {shown}: {error}"))),
    };
    let env = |name: &str| std::env::var(name).ok();
    Some(settings_js::read(&shown, &text, data_dir, &env))
}

/// Where the data folder is, as far as it is said before settings.js is read.
fn data_dir(merged: &Table, variables: &[(String, String)], flags: &Table) -> PathBuf {
    let variable = variables.iter().find(|(name, _)| name == "PROBITY_DATA_DIR").map(|(_, dir)| dir.as_str());
    let key = |table: &Table| table.get("data_dir").and_then(Value::as_str).map(str::to_owned);
    key(flags).or_else(|| variable.map(str::to_owned)).or_else(|| key(merged)).unwrap_or_default().into()
}

/// Without the names that the stack has for some keys.
fn resolve(
    file: Option<(&str, &str)>,
    read_settings: ReadSettings<'_>,
    variables: &[(String, String)],
    flags: &Table,
) -> Result<(Config, Vec<String>), ConfigError> {
    resolve_with(file, read_settings, variables, &|_| None, flags)
}

fn resolve_with(
    file: Option<(&str, &str)>,
    read_settings: ReadSettings<'_>,
    variables: &[(String, String)],
    stack: &dyn Fn(&str) -> Option<String>,
    flags: &Table,
) -> Result<(Config, Vec<String>), ConfigError> {
    let mut merged: Table = DEFAULTS.parse().expect("config.default.toml is TOML");
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    if let Some((path, text)) = file {
        match text.parse::<Table>() {
            Ok(table) => merge(&mut merged, table, path, "", &mut problems),
            // Not the error's own text: it quotes the line, which may hold a password.
            Err(e) => {
                let line = e.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
                problems.push(format!("{path}: line {line}: not TOML: {}", e.message()));
            }
        }
    }
    let data_dir = data_dir(&merged, variables, flags);
    let mut editor = serde_json::Map::new();
    let settings = read_settings(&data_dir);
    let found = settings.is_some();
    match settings {
        Some(Ok(settings)) => {
            warnings.extend(settings.notes);
            editor = settings.editor;
            merge(&mut merged, settings.keys, "settings.js", "", &mut problems);
        }
        Some(Err(problem)) => problems.push(problem),
        None => {}
    }
    datasources::from_environment(&mut merged, variables, &mut problems);
    channels::from_environment(&mut merged, variables, &mut problems);
    let known = leaves(&merged);
    let is_key = |name: &str| known.iter().any(|(variable, _)| variable == name);
    let (variables, mut files) = secret_files::resolved(variables, stack, &is_key, &mut problems);
    for (name, value) in &variables {
        let others = ["PROBITY_TEST_", "PROBITY_SECRET_"];
        if OTHER_VARIABLES.contains(&name.as_str())
            || others.iter().any(|p| name.starts_with(p))
            || datasources::is_variable(name)
            || channels::is_variable(name)
        {
            continue;
        }
        match known.iter().find(|(variable, _)| variable == name) {
            Some((_, path)) => set_from_text(&mut merged, path, name, value, &mut problems),
            None => {
                let hint = closest(name, known.iter().map(|(v, _)| v.as_str()));
                let hint = hint.map(|h| format!("; did you mean {h}?")).unwrap_or_default();
                warnings.push(format!("environment variable {name} is not a configuration key{hint}"));
            }
        }
    }
    merge(&mut merged, flags.clone(), "command line", "", &mut problems);
    read_addresses(&mut merged, &mut problems);
    if !problems.is_empty() {
        return Err(ConfigError(problems));
    }
    // The error's full text names the key, on a line of its own.
    let mut config: Config = Value::Table(merged).try_into().map_err(|e: toml::de::Error| {
        ConfigError(vec![format!("configuration: {}", e.to_string().trim().replace('\n', " "))])
    })?;
    files.extend(config.datasources.values().filter_map(datasources::Datasource::file));
    files.extend(config.channels.values().flat_map(channels::Channel::files));
    config.secret_files = files;
    (config.settings_js, config.editor) = (found.then(|| data_dir.join("settings.js")), editor);
    validate::validate(&config)?;
    Ok((config, warnings))
}

/// Addresses as `SocketAddr` reads them; those that are off are taken out.
fn read_addresses(merged: &mut Table, problems: &mut Vec<String>) {
    for key in ["listen", "listen_registry", "listen_director"] {
        let Some(Value::String(listen)) = merged.get_mut(key) else { continue };
        if listen.is_empty() && key != "listen" {
            merged.remove(key);
            continue;
        }
        match listen_address(listen) {
            Some(address) => *listen = address.to_string(),
            None => problems.push(format!(
                "{key}: \"{listen}\" is no address; expected ADDRESS:PORT, for example 127.0.0.1:1880 or [::1]:1880"
            )),
        }
    }
}

/// An address with its port; `localhost` is the IPv4 loopback address.
fn listen_address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => Some(SocketAddr::from(([127, 0, 0, 1], port.parse().ok()?))),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests;
