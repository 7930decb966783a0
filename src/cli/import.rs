//! `probity import node-red`: an existing Node-RED user folder beside this build, before anything is switched: what will
//! run, what differs, what is missing. Reads; changes nothing.

mod packages;
mod report;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Value as Json;

use self::packages::Package;
use super::{Format, print, test, usage};
use crate::api::{AuthOptions, Permissions, password};
use crate::clock::Clock;
use crate::config::{read_settings, settings_js::Settings};
use crate::flow::cipher;
use crate::model::flow::FlowFile;
use crate::model::{Diagnostic, Severity};
use crate::runtime::credential_file::{CredentialFile, Secret};
use crate::runtime::{Engine, Limits, Services};
use crate::{app, flow};

#[derive(Args)]
pub(super) struct ImportArgs {
    #[command(subcommand)]
    from: From,
}

#[derive(Subcommand)]
enum From {
    /// Check a Node-RED user folder: what will run here, what differs, what is missing. Changes nothing.
    NodeRed(NodeRedArgs),
}

#[derive(Args)]
struct NodeRedArgs {
    /// The user folder, with settings.js, flows.json and package.json
    dir: PathBuf,
    /// Output form
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Everything found in a user folder.
#[derive(Serialize)]
struct Findings {
    dir: String,
    /// Whether all that runs there will run here.
    runs: bool,
    settings: Option<SettingsFound>,
    users: Vec<User>,
    flows: Option<FlowsFound>,
    credentials: Option<CredentialsFound>,
    packages: Vec<Package>,
    /// What runs, and otherwise than before.
    differs: Vec<String>,
    /// What will not run, and what to do.
    missing: Vec<String>,
}

#[derive(Serialize)]
struct SettingsFound {
    file: String,
    /// Our configuration keys that it sets; values are not shown.
    sets: Vec<String>,
    /// What could not be read or has no effect.
    notes: Vec<String>,
}

#[derive(Serialize)]
struct User {
    name: String,
    /// Where the user may log in: `admin` (editor and Admin API) or `flows` (flow endpoints).
    of: &'static str,
    permissions: Json,
    /// Why the user cannot log in; absent when he can.
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled: Option<String>,
}

#[derive(Serialize)]
struct FlowsFound {
    file: String,
    tabs: Vec<Tab>,
    types: Vec<Type>,
    /// What the check of the flows says, worst first.
    problems: Vec<Diagnostic>,
}

#[derive(Serialize)]
struct Tab {
    id: String,
    label: String,
    nodes: usize,
    /// `runs`, `disabled`, or why it does not run.
    state: String,
}

#[derive(Serialize)]
struct Type {
    #[serde(rename = "type")]
    node_type: String,
    nodes: usize,
    /// `builtin`, `plugin <name>`, `subflow`, or absent when it is not known here.
    #[serde(skip_serializing_if = "Option::is_none")]
    here: Option<String>,
}

#[derive(Serialize)]
struct CredentialsFound {
    file: String,
    /// `plain`, `node-red` or `probity`.
    form: &'static str,
    /// How many nodes have credentials; absent when they cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

pub(super) fn import(args: &ImportArgs) -> ExitCode {
    let From::NodeRed(args) = &args.from;
    if !args.dir.is_dir() {
        return usage(&format!("{}: there is no such folder", args.dir.display()));
    }
    match look(&args.dir) {
        Ok(findings) => {
            let text = match args.format {
                Format::Table => report::text(&findings),
                Format::Json => {
                    format!("{}\n", serde_json::to_string_pretty(&findings).expect("findings are JSON"))
                }
            };
            print(&text);
            if findings.runs { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(problem) => usage(&problem),
    }
}

fn look(dir: &Path) -> Result<Findings, String> {
    let mut missing = Vec::new();
    let mut differs = Vec::new();
    let settings = match read_settings(dir) {
        Some(Ok(settings)) => Some(settings),
        Some(Err(problem)) => {
            missing.push(format!("{problem}; Probity does not start with it: mend it, or take it away"));
            None
        }
        None => None,
    };
    let given = settings.clone().unwrap_or_default();
    let users = users(&given);
    missing.extend(users.iter().filter_map(|user| user.disabled.clone()));
    let flow_path = flow_file(dir, &given)?;
    let (credential_file, credentials) = credentials(dir, &flow_path, &given, &mut missing);
    let mut flows = flows(&flow_path, &given, &credential_file, &mut differs, &mut missing)?;
    let packages = packages::found(dir, flows.as_ref().map(|f| f.types.as_slice()).unwrap_or_default());
    name_packages(&packages, flows.as_mut(), &mut missing);
    differences(dir, flows.as_ref(), &given, credentials.as_ref(), &mut differs);
    Ok(Findings {
        dir: dir.display().to_string(),
        runs: missing.is_empty(),
        settings: settings.map(|settings| SettingsFound {
            file: dir.join("settings.js").display().to_string(),
            sets: keys(&settings),
            notes: settings.notes,
        }),
        users,
        flows,
        credentials,
        packages,
        differs,
        missing,
    })
}

/// The names of the configuration keys that settings set, without values.
fn keys(settings: &Settings) -> Vec<String> {
    let mut keys = Vec::new();
    for (section, value) in &settings.keys {
        match value {
            toml::Value::Table(table) => keys.extend(table.keys().map(|key| format!("{section}.{key}"))),
            _ => keys.push(section.clone()),
        }
    }
    keys.extend(settings.editor.keys().cloned());
    keys.sort();
    keys
}

/// Text of one of the configuration keys.
fn key<'a>(settings: &'a Settings, section: &str, key: &str) -> Option<&'a toml::Value> {
    settings.keys.get(section)?.get(key)
}

fn users(settings: &Settings) -> Vec<User> {
    let table = |name: &str| -> BTreeMap<String, String> {
        let table = key(settings, "auth", name).and_then(toml::Value::as_table).cloned().unwrap_or_default();
        table.into_iter().filter_map(|(name, value)| Some((name, value.as_str()?.to_owned()))).collect()
    };
    let permissions = table("permissions");
    let options = AuthOptions { users: table("users"), flow_logins: table("flow_logins"), ..AuthOptions::default() };
    let mut found: BTreeMap<String, Option<&'static str>> = BTreeMap::new();
    options
        .password_users()
        .map(|(table, name, hash)| {
            let shipped = *found.entry(hash.clone()).or_insert_with(|| password::shipped_behind(hash));
            let disabled = match shipped {
                Some(shipped) => Some(crate::api::auth::disabled(table, name, shipped)),
                None if password::is_nobodys(hash) => {
                    Some(format!("{table}: user \"{name}\" cannot log in: no hash of a password could be read"))
                }
                None => None,
            };
            let of = if table == "auth.flow_logins" { "flows" } else { "admin" };
            let permissions = permissions.get(name).map_or_else(Permissions::all, |text| Permissions::of_text(text));
            User { name: name.clone(), of, permissions: permissions.to_json(), disabled }
        })
        .collect()
}

/// The flow file: the one settings.js names, `flows.json`, or the only `flows_<host>.json`.
fn flow_file(dir: &Path, settings: &Settings) -> Result<PathBuf, String> {
    if let Some(named) = settings.keys.get("flows").and_then(toml::Value::as_str) {
        return Ok(PathBuf::from(named));
    }
    let usual = dir.join("flows.json");
    if usual.exists() {
        return Ok(usual);
    }
    let entries = std::fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let of_a_host = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("flows_") && name.ends_with(".json") && !name.ends_with("_cred.json")
    };
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(of_a_host).collect();
    Ok(if found.len() == 1 { found.remove(0) } else { usual })
}

fn credentials(
    dir: &Path,
    flows: &Path,
    settings: &Settings,
    missing: &mut Vec<String>,
) -> (CredentialFile, Option<CredentialsFound>) {
    let path = app::credentials::beside(flows);
    let text = key(settings, "credentials", "secret").and_then(toml::Value::as_str);
    let encrypt = key(settings, "credentials", "encrypt").and_then(toml::Value::as_bool).unwrap_or(true);
    let secret = match (encrypt, text) {
        (false, _) => Secret::Off,
        (true, Some(secret)) => Secret::Given(secret.to_owned()),
        (true, None) => Secret::Generated,
    };
    let Ok(text) = std::fs::read_to_string(&path) else { return (CredentialFile::default(), None) };
    let form = match cipher::form_of(&serde_json::from_str(&text).unwrap_or_default()) {
        cipher::Form::Plain => "plain",
        cipher::Form::Compatible => "node-red",
        cipher::Form::Sealed => "probity",
    };
    let (file, problem) = match CredentialFile::open(&path, dir, secret, false) {
        Ok(file) => {
            let problem = file.problem();
            (file, problem)
        }
        Err(error) => (CredentialFile::default(), Some(format!("{}: {error}", path.display()))),
    };
    missing.extend(problem.clone());
    let nodes = problem.is_none().then(|| file.now().len());
    (file, Some(CredentialsFound { file: path.display().to_string(), form, nodes, problem }))
}

fn flows(
    path: &Path,
    settings: &Settings,
    credentials: &CredentialFile,
    differs: &mut Vec<String>,
    missing: &mut Vec<String>,
) -> Result<Option<FlowsFound>, String> {
    if !path.exists() {
        missing.push(format!(
            "{}: there is no flow file; a start here would make one of the shipped flows",
            path.display()
        ));
        return Ok(None);
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let name = path.display().to_string();
    let engine = engine(path, settings);
    let specs = |node_type: &str| engine.catalogue().spec(node_type);
    let env = engine.services.env.clone();
    let mut problems = flow::problems(&text, &name, &specs, &move |name| env(name), &|_| Vec::new());
    let (mut file, _) = flow::load(&text, &name);
    credentials.adopt(&mut file);
    let plan = app::plan(&engine, &file);
    problems.extend(app::taken_routes(&plan, &file, &engine.services.http_root));
    let deployed = engine.prepare(plan);
    problems.extend(deployed.diagnostics.iter().cloned());
    let mut seen = std::collections::HashSet::new();
    problems.retain(|problem| seen.insert((problem.path.clone(), problem.message.clone())));
    problems.sort_by_key(|problem| problem.severity);
    let broken = problems.iter().find(|p| matches!(p.code.as_str(), "broken-json" | "not-flows" | "empty-file"));
    if let Some(problem) = broken {
        missing.push(problem.to_string());
    }
    let tabs: Vec<Tab> = deployed
        .plan
        .flows
        .iter()
        .zip(&file.flows)
        .map(|(planned, flow)| {
            let state = match &planned.stopped {
                None => "runs".to_owned(),
                Some(crate::model::flow::Stopped::Disabled) => "disabled".to_owned(),
                Some(stopped) => {
                    missing.push(format!("tab \"{}\" will not run: {stopped}", flow.label));
                    stopped.to_string()
                }
            };
            let nodes = file.nodes.iter().filter(|node| node.z == flow.id).count();
            Tab { id: flow.id.to_string(), label: flow.label.to_string(), nodes, state }
        })
        .collect();
    for problem in deployed.diagnostics.iter().filter(|d| d.severity == Severity::Error) {
        missing.push(problem.to_string());
    }
    warn_of_functions(&file, differs);
    Ok(Some(FlowsFound { file: name, tabs, types: types(&file, &engine), problems }))
}

/// An engine as a server here would have it for these flows.
fn engine(path: &Path, settings: &Settings) -> Arc<Engine> {
    let config = crate::config::Config::defaults();
    let net = app::net(&config).expect("the default rules are rules");
    let mut services = Services::new(Clock::System, Limits::default(), net);
    if let Some(root) = key(settings, "http", "node_root").and_then(toml::Value::as_str) {
        services.http_root = root.to_owned();
    }
    services.env = Arc::new(crate::config::Config::process_env);
    Engine::new(Arc::new(services), test::guests::catalogue_for(path))
}

fn types(file: &FlowFile, engine: &Engine) -> Vec<Type> {
    let catalogue = engine.catalogue();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for node in &file.nodes {
        *counts.entry(node.node_type.as_str()).or_default() += 1;
    }
    counts
        .into_iter()
        .map(|(node_type, nodes)| {
            let known = catalogue.get(node_type);
            let here = match known {
                _ if node_type.starts_with(flow::SUBFLOW_PREFIX) => Some("subflow".to_owned()),
                Some(known) => Some(known.plugin.as_ref().map_or("builtin".into(), |name| format!("plugin {name}"))),
                None if matches!(node_type, "comment" | "global-config" | "junction") => Some("builtin".to_owned()),
                None => None,
            };
            Type { node_type: node_type.to_owned(), nodes, here }
        })
        .collect()
}

/// Functions that load modules run only when the operator lets them have these.
fn warn_of_functions(file: &FlowFile, differs: &mut Vec<String>) {
    for node in file.nodes.iter().filter(|node| node.node_type == "function") {
        let libs = node.config.get("libs").and_then(crate::model::Value::as_array).unwrap_or_default();
        let modules: Vec<String> = libs.iter().map(|lib| lib.get("module").to_js_string().to_string()).collect();
        if !modules.is_empty() {
            let label = if node.name.is_empty() { &node.id } else { &node.name };
            differs.push(format!(
                "function \"{label}\" loads {}: only modules that are bundled and allowed are given to functions",
                modules.join(", ")
            ));
        }
    }
}

/// Says of unknown types which package had them.
fn name_packages(packages: &[Package], flows: Option<&mut FlowsFound>, missing: &mut Vec<String>) {
    let Some(flows) = flows else { return };
    for unknown in flows.types.iter().filter(|found| found.here.is_none()) {
        let from = packages.iter().find(|package| package.types.contains(&unknown.node_type));
        let from = from.map_or_else(
            || "no installed package says it has it".to_owned(),
            |package| format!("it is of the package {} {}", package.name, package.version),
        );
        missing.push(format!(
            "node type \"{}\" ({} nodes) is not known here: {from}; install a plugin that has it (`probity plugin \
             install`), or replace the nodes",
            unknown.node_type, unknown.nodes
        ));
    }
}

/// What will be otherwise, as far as the folder shows.
fn differences(
    dir: &Path,
    flows: Option<&FlowsFound>,
    settings: &Settings,
    credentials: Option<&CredentialsFound>,
    differs: &mut Vec<String>,
) {
    differs.extend(settings.notes.iter().cloned());
    if credentials.is_some_and(|c| c.form == "node-red") {
        differs.push(
            "credentials: the file is encrypted anew at the first deploy, with a cipher that notices changes; a copy is \
             kept, and credentials.node_red_cipher = true keeps Node-RED's"
                .into(),
        );
    }
    let context = dir.join("context");
    if context.is_dir() {
        differs.push(format!("{}: values that Node-RED kept in files are not taken over", context.display()));
    }
    let projects = std::fs::read_to_string(dir.join(".config.projects.json")).unwrap_or_default();
    let projects: Json = serde_json::from_str(&projects).unwrap_or_default();
    if let Some(active) = projects.get("activeProject").and_then(Json::as_str) {
        differs.push(format!(
            "projects are not supported: the flows of project \"{active}\" are in {}; give them as --flows",
            dir.join("projects").join(active).display()
        ));
    }
    for found in flows.map(|f| f.types.as_slice()).unwrap_or_default() {
        let note = match found.node_type.as_str() {
            "exec" | "tcp in" | "tcp out" | "tcp request" | "udp in" | "udp out" => {
                "is refused unless the operator allows it by name"
            }
            "file" | "file in" | "watch" => "reaches files inside the configured folder only",
            _ => continue,
        };
        if found.here.is_some() {
            differs.push(format!("node type \"{}\" {note}", found.node_type));
        }
    }
}
