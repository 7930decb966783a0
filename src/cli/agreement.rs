//! `probity agreement`: start an agreement, make one from a template, compare two.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use super::{not_so, print, usage};
use crate::agreement::diff::{Difference, diff};
use crate::agreement::template::Given;
use crate::agreement::{self, Template};
use crate::clock::Clock;
use crate::model::agreement::Agreement;
use crate::model::{Diagnostic, Severity};

#[derive(Args)]
pub(super) struct AgreementArgs {
    #[command(subcommand)]
    command: AgreementCommand,
}

#[derive(Subcommand)]
enum AgreementCommand {
    /// Start an agreement: a commented one to fill in, or one made from a template.
    New(NewArgs),
    /// Fill in a template and print the agreement.
    Render(RenderArgs),
    /// What changed between two agreements, and which verdicts it may touch; exit 1 when they differ.
    Diff(DiffArgs),
    /// Print the error budgets and burn alerts as a rule file for Prometheus; exit 1 when some cannot be one.
    Rules(RulesArgs),
}

#[derive(Args)]
struct RulesArgs {
    /// Agreement file
    agreement: PathBuf,
    /// Output form
    #[arg(long, value_enum, default_value_t = Written::Yaml)]
    format: Written,
}

#[derive(Args)]
struct NewArgs {
    /// Template file; a commented start without it
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
    #[command(flatten)]
    filling: Filling,
    /// Write to this file, which must not exist, instead of printing
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Args)]
struct RenderArgs {
    /// Template, or an agreement with Governify's placeholders
    template: PathBuf,
    #[command(flatten)]
    filling: Filling,
}

#[derive(Args)]
struct Filling {
    /// A parameter's value, or what stands for one of Governify's placeholders; lists and objects as JSON
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Which of several templates in the file
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Output form
    #[arg(long, value_enum)]
    format: Option<Written>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Written {
    Json,
    Yaml,
}

#[derive(Args)]
struct DiffArgs {
    /// The agreement as it was
    old: PathBuf,
    /// The agreement as it is to be
    new: PathBuf,
    /// Output form
    #[arg(long, value_enum, default_value_t)]
    format: DiffFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum DiffFormat {
    #[default]
    Text,
    Json,
}

pub(super) fn agreement(args: &AgreementArgs) -> ExitCode {
    let done = match &args.command {
        AgreementCommand::New(args) => new(args),
        AgreementCommand::Render(args) => render(&args.template, &args.filling).map(|text| {
            print(&text);
            ExitCode::SUCCESS
        }),
        AgreementCommand::Diff(args) => compare(args),
        AgreementCommand::Rules(args) => export(args),
    };
    done.unwrap_or_else(|code| code)
}

/// A start with comments; the three texts are put in as JSON, which YAML reads, too.
const START: &str = include_str!("agreement/start.yaml");

fn new(args: &NewArgs) -> Result<ExitCode, ExitCode> {
    let text = match &args.template {
        Some(template) => render(template, &args.filling)?,
        None => start(&args.filling)?,
    };
    let Some(path) = &args.out else {
        print(&text);
        return Ok(ExitCode::SUCCESS);
    };
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|e| not_so(format!("cannot write {}: {e}", path.display())))?;
    eprintln!("wrote {}; `probity check` says what is still missing", path.display());
    Ok(ExitCode::SUCCESS)
}

fn start(filling: &Filling) -> Result<String, ExitCode> {
    if filling.format == Some(Written::Json) {
        return Err(usage("the start has comments, which JSON has not; leave out --format json, or give --template"));
    }
    let mut given = given(&filling.set)?;
    let today = jiff::tz::TimeZone::UTC.to_datetime(Clock::System.now()).date().to_string();
    let mut take =
        |name: &str, default: &str| Value::from(given.remove(name).unwrap_or_else(|| default.to_owned())).to_string();
    let (id, zone, initial) = (take("id", "my-agreement"), take("timeZone", "UTC"), take("initial", &today));
    if let Some(name) = given.keys().next() {
        return Err(usage(&format!("the start has no parameter \"{name}\"; it has id, timeZone and initial")));
    }
    let text = START.replace("\"{id}\"", &id).replace("\"{timeZone}\"", &zone).replace("\"{initial}\"", &initial);
    usable(&text, "the start")?;
    Ok(text)
}

/// The agreement that a template makes, as text. Warnings are printed, errors end it.
fn render(path: &Path, filling: &Filling) -> Result<String, ExitCode> {
    let template = template(path, filling.id.as_deref())?;
    let document = template.render(&given(&filling.set)?).map_err(|problems| {
        problems.iter().for_each(|p| eprintln!("{p}"));
        usage(&format!("{} cannot be filled in", path.display()))
    })?;
    let yaml = path.extension().is_some_and(|e| e == "yaml" || e == "yml");
    let text = match filling.format {
        Some(Written::Yaml) => {
            serde_saphyr::to_string(&document).map_err(|e| not_so(format!("cannot write YAML: {e}")))?
        }
        None if yaml => serde_saphyr::to_string(&document).map_err(|e| not_so(format!("cannot write YAML: {e}")))?,
        _ => format!("{}\n", serde_json::to_string_pretty(&document).expect("a document is JSON")),
    };
    usable(&text, &path.display().to_string())?;
    Ok(text)
}

/// Prints what is wrong with an agreement; an error ends it.
fn usable(text: &str, source: &str) -> Result<(), ExitCode> {
    let (_, problems) = agreement::load(text, source);
    // Lines are those of the text that would be printed, not of the template.
    let unplaced = |p: &Diagnostic| Diagnostic { line: None, column: None, ..p.clone() };
    problems.iter().for_each(|p| eprintln!("{}", unplaced(p)));
    if problems.iter().any(|p| p.severity == Severity::Error) {
        return Err(not_so("this makes no agreement that could be evaluated"));
    }
    Ok(())
}

/// The template of a file, or an agreement of it taken for one.
fn template(path: &Path, id: Option<&str>) -> Result<Template, ExitCode> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|e| usage(&format!("cannot read {name}: {e}")))?;
    let bundle = agreement::load_all(&text, &name);
    let errors: Vec<&Diagnostic> = bundle.problems.iter().filter(|p| p.severity == Severity::Error).collect();
    let agreements = bundle.agreements.into_iter().map(|a| Template::read(a.document, &name).0);
    let mut found: Vec<Template> = bundle.templates.into_iter().chain(agreements).collect();
    if let Some(id) = id {
        found.retain(|t| t.id == id);
    }
    match found.len() {
        1 if errors.is_empty() => Ok(found.remove(0)),
        0 if errors.is_empty() => {
            Err(usage(&format!("{name} has no template{}", id.map(|id| format!(" \"{id}\"")).unwrap_or_default())))
        }
        n if errors.is_empty() => {
            let ids: Vec<&str> = found.iter().map(|t| t.id.as_str()).collect();
            Err(usage(&format!("{name} has {n} templates; give --id, one of {}", ids.join(", "))))
        }
        _ => {
            errors.iter().for_each(|p| eprintln!("{p}"));
            Err(usage(&format!("{name} cannot be used; `probity check` lists its problems")))
        }
    }
}

fn given(set: &[String]) -> Result<Given, ExitCode> {
    let mut given = Given::new();
    for pair in set {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(usage(&format!("--set {pair}: expected NAME=VALUE")));
        };
        if given.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(usage(&format!("--set {name} is given twice")));
        }
    }
    Ok(given)
}

fn compare(args: &DiffArgs) -> Result<ExitCode, ExitCode> {
    let (old, new) = (load(&args.old)?, load(&args.new)?);
    let differences = diff(&old, &new);
    print(&match args.format {
        DiffFormat::Json => {
            let json = serde_json::json!({ "differences": differences });
            format!("{}\n", serde_json::to_string_pretty(&json).expect("differences are JSON"))
        }
        DiffFormat::Text => text(&differences),
    });
    Ok(if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn text(differences: &[Difference]) -> String {
    let mut out: String = differences.iter().map(|d| format!("{d}\n")).collect();
    let count = differences.len();
    out.push_str(&format!("{count} difference{}\n", if count == 1 { "" } else { "s" }));
    out
}

/// What cannot be a rule is named with its reason, and never left out in silence.
fn export(args: &RulesArgs) -> Result<ExitCode, ExitCode> {
    let agreement = load(&args.agreement)?;
    let rules = agreement::budgets::rules::rules(&agreement);
    let file = serde_json::json!({ "groups": rules.groups });
    print(&match args.format {
        Written::Json => format!("{}\n", serde_json::to_string_pretty(&file).expect("rules are JSON")),
        Written::Yaml => serde_saphyr::to_string(&file).map_err(|e| not_so(format!("cannot write YAML: {e}")))?,
    });
    for refused in &rules.refused {
        let alert = refused.alert.as_ref().map(|alert| format!(", alert \"{alert}\"")).unwrap_or_default();
        eprintln!("no rules for budget \"{}\"{alert}: {}", refused.budget, refused.reason);
    }
    if agreement.budgets.is_empty() {
        eprintln!("{} has no budgets; declare them under context[\"x-probity\"].budgets", agreement.id);
    }
    let whole = rules.refused.is_empty() && !agreement.budgets.is_empty();
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// The one agreement of a file; its errors are printed.
pub(super) fn load(path: &Path) -> Result<Agreement, ExitCode> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|e| usage(&format!("cannot read {name}: {e}")))?;
    let (agreement, problems) = agreement::load(&text, &name);
    agreement.ok_or_else(|| {
        problems.iter().for_each(|p| eprintln!("{p}"));
        usage(&format!("{name} cannot be used; `probity check` lists its problems"))
    })
}
