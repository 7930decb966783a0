//! `probity check`: every problem of flows, agreements, test files and plugin manifests.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::{print, sarif, test};
use crate::clock::Clock;
use crate::config::Config;
use crate::model::{Diagnostic, Severity};
use crate::runtime::{Limits, Services};
use crate::{agreement, app, flow};

#[derive(Args)]
pub(super) struct CheckArgs {
    /// Files or folders
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Output form
    #[arg(long, value_enum, default_value_t)]
    format: CheckFormat,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum CheckFormat {
    #[default]
    Text,
    Json,
    Sarif,
}

pub(super) fn check(args: &CheckArgs) -> ExitCode {
    let mut diagnostics = Vec::new();
    let mut files = Vec::new();
    for path in &args.paths {
        collect(path, &mut files, &mut diagnostics);
    }
    for file in &files {
        check_file(file, &mut diagnostics);
    }
    diagnostics.extend(duplicate_agreements(&files));
    print(&show(files.len(), "file", &diagnostics, args.format));
    code(&diagnostics)
}

/// Problems in one of the forms; `checked` things of this kind were looked at.
pub(super) fn show(checked: usize, kind: &str, diagnostics: &[Diagnostic], format: CheckFormat) -> String {
    let errors = diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
    match format {
        CheckFormat::Text => {
            let mut text: String = diagnostics.iter().map(|d| format!("{d}\n")).collect();
            let warnings = diagnostics.len() - errors;
            let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
            let (checked, errors) = (count(checked, kind), count(errors, "error"));
            text.push_str(&format!("{checked} checked: {errors}, {}\n", count(warnings, "warning")));
            text
        }
        CheckFormat::Json => {
            let json = serde_json::Value::Object(serde_json::Map::from_iter([
                (format!("{kind}s"), checked.into()),
                ("diagnostics".into(), serde_json::to_value(diagnostics).expect("diagnostics are JSON")),
            ]));
            format!("{}\n", serde_json::to_string_pretty(&json).expect("diagnostics are JSON"))
        }
        CheckFormat::Sarif => {
            format!("{}\n", serde_json::to_string_pretty(&sarif::log(diagnostics)).expect("SARIF is JSON"))
        }
    }
}

/// 1 when there is an error among them.
pub(super) fn code(diagnostics: &[Diagnostic]) -> ExitCode {
    if diagnostics.iter().any(|d| d.severity == Severity::Error) { ExitCode::from(1) } else { ExitCode::SUCCESS }
}

/// The files below a path that we know how to check, in name order. A path that is not there is a problem.
pub(super) fn collect(path: &Path, files: &mut Vec<PathBuf>, diagnostics: &mut Vec<Diagnostic>) {
    if path.is_dir() {
        if contains_itself(path) {
            return;
        }
        let mut inner: Vec<PathBuf> = match std::fs::read_dir(path) {
            Ok(entries) => entries.filter_map(|e| Some(e.ok()?.path())).collect(),
            Err(e) => return diagnostics.push(unreadable(path, &e.to_string())),
        };
        inner.sort();
        for path in inner {
            let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
            let known = path.extension().is_some_and(|e| e == "json" || e == "yaml" || e == "yml");
            if !hidden && (path.is_dir() || known || is_manifest(&path)) {
                collect(&path, files, diagnostics);
            }
        }
    } else if path.is_file() {
        files.push(path.to_path_buf());
    } else {
        diagnostics.push(unreadable(path, "there is no such file or folder"));
    }
}

/// True for a link back to a folder it lies in.
fn contains_itself(path: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    path.is_symlink()
        && real(path).is_some_and(|target| path.parent().and_then(real).is_some_and(|at| at.starts_with(target)))
}

fn unreadable(path: &Path, problem: &str) -> Diagnostic {
    Diagnostic::error("unreadable", "$", problem).in_file(path.display().to_string())
}

fn is_manifest(path: &Path) -> bool {
    path.file_name().is_some_and(|n| n == "plugin.toml")
}

pub(super) fn is_test(path: &Path) -> bool {
    path.file_name().is_some_and(|n| n.to_string_lossy().ends_with(".test.yaml"))
}

fn check_file(path: &Path, diagnostics: &mut Vec<Diagnostic>) {
    let file = path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) => return diagnostics.push(unreadable(path, &e.to_string())),
    };
    let found = if is_test(path) {
        test::check_file(path, &text)
    } else if is_manifest(path) {
        super::plugin::check_path(path)
    } else if is_flow(&text) {
        check_flow(&text, &file)
    } else if let Some(problem) = broken_json(path, &text) {
        vec![problem]
    } else {
        check_agreement(&text, &file)
    };
    let mut found = found;
    agreement::source::locate(&text, &mut found);
    diagnostics.extend(found.into_iter().map(|d| if d.file.is_empty() { d.in_file(file.clone()) } else { d }));
}

/// A `.json` file that is not JSON. (Read as YAML it would be a text, which is no help.)
fn broken_json(path: &Path, text: &str) -> Option<Diagnostic> {
    // An empty file is reported by whoever loads it, in the same words as by the server.
    if path.extension().is_none_or(|e| e != "json") || text.trim_start_matches('\u{feff}').trim().is_empty() {
        return None;
    }
    let error = serde_json::from_str::<serde::de::IgnoredAny>(text.trim_start_matches('\u{feff}')).err()?;
    let problem = Diagnostic::error("broken-json", "$", format!("not JSON: {error}"))
        .expected("a flow file (an array) or an agreement (an object)");
    let place = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).max(1);
    Some(problem.at_line(place(error.line()), place(error.column())))
}

/// What the loader finds, and the schema where the loader found nothing: they agree, and this is where it would show if
/// they did not.
fn check_agreement(text: &str, file: &str) -> Vec<Diagnostic> {
    let bundle = agreement::load_all(text, file);
    let documents = bundle.agreements.iter().map(|a| &a.document).chain(bundle.templates.iter().map(|t| &t.document));
    let shape: Vec<Diagnostic> = documents.flat_map(agreement::schema::problems).collect();
    bundle.problems.into_iter().chain(shape).collect()
}

/// A flow file is a JSON array, or an object with `flows`; everything else is taken for an agreement, and so is a list of
/// agreements or templates, as the Registry answers with.
pub(super) fn is_flow(text: &str) -> bool {
    let start = text.trim_start_matches('\u{feff}').trim_start();
    let agreements =
        || serde_json::from_str::<Vec<serde_json::Value>>(start).is_ok_and(|l| agreement::bundle::holds_agreements(&l));
    start.starts_with('[') && !agreements()
        || serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text)
            .is_ok_and(|o| o.get("flows").is_some_and(serde_json::Value::is_array))
}

/// Everything load, check, plan and the nodes' own reading of their configuration find.
fn check_flow(text: &str, file: &str) -> Vec<Diagnostic> {
    let config = Config::defaults();
    let net = app::net(&config).expect("the default rules are rules");
    let services = std::sync::Arc::new(Services::new(Clock::System, Limits::default(), net));
    let engine = crate::runtime::Engine::new(services, test::guests::catalogue_for(Path::new(file)));
    let specs = |node_type: &str| engine.catalogue().spec(node_type);
    let mut diagnostics = flow::problems(text, file, &specs, &|_| None, &|_| Vec::new());
    let (loaded, _) = flow::load(text, file);
    let plan = app::plan(&engine, &loaded);
    diagnostics.extend(app::taken_routes(&plan, &loaded, &engine.services.http_root));
    let built = engine.prepare(plan);
    for problem in &built.diagnostics {
        if !diagnostics.iter().any(|d| d.path == problem.path) {
            diagnostics.push(problem.clone());
        }
    }
    diagnostics
}

/// Two agreements with one id: the second would never be evaluated.
fn duplicate_agreements(files: &[PathBuf]) -> Vec<Diagnostic> {
    let mut seen = std::collections::BTreeMap::<String, String>::new();
    let mut diagnostics = Vec::new();
    for path in files.iter().filter(|p| !is_test(p) && !is_manifest(p)) {
        let Ok(text) = std::fs::read_to_string(path) else { continue };
        if is_flow(&text) {
            continue;
        }
        let file = path.display().to_string();
        for agreement in agreement::load_all(&text, &file).agreements {
            if let Some(first) = seen.get(&agreement.id) {
                let message = format!("the agreement id \"{}\" is also used in {first}", agreement.id);
                diagnostics.push(Diagnostic::error("duplicate-agreement", "$.id", message).in_file(file.clone()));
            } else {
                seen.insert(agreement.id, file.clone());
            }
        }
    }
    diagnostics
}
