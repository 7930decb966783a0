//! `probity simulate`: a changed agreement over stored evidence, and which verdicts and budgets would be others.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde_json::Value;

use super::agreement::load;
use super::{Settings, explain, not_so, print, report, runtime, sarif, usage};
use crate::agreement::budgets::compare::BudgetChange;
use crate::agreement::simulate::{Flip, Simulation};
use crate::clock::Clock;
use crate::evaluate::simulate::{SimulateError, simulate as simulated};
use crate::model::Diagnostic;
use crate::model::agreement::Agreement;
use crate::model::state::{StateKind, Verdict};

#[derive(Args)]
pub(super) struct SimulateArgs {
    /// The changed agreement, a file
    candidate: PathBuf,
    /// Whose stored evidence is used: the id of a configured agreement, or a file [default: the candidate's id]
    #[arg(long, value_name = "ID|FILE")]
    against: Option<String>,
    /// Start of the range: an instant or a date in the agreement's zone [default: everything stored]
    #[arg(long, value_name = "T")]
    from: Option<String>,
    /// End of the range, exclusive
    #[arg(long, value_name = "T")]
    to: Option<String>,
    /// Output form
    #[arg(long, value_enum, default_value_t)]
    format: SimulateFormat,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum SimulateFormat {
    #[default]
    Text,
    Json,
    Sarif,
    Junit,
}

pub(super) fn simulate(args: &SimulateArgs) -> ExitCode {
    let config = match args.settings.load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    super::log::start(&config, true);
    let candidate = match load(&args.candidate) {
        Ok(candidate) => candidate,
        Err(code) => return code,
    };
    let bound = |flag: &str, text: &Option<String>| -> Result<Option<Timestamp>, String> {
        let Some(text) = text else { return Ok(None) };
        let at = crate::agreement::instant(text, &candidate.time_zone);
        at.map(Some).ok_or_else(|| format!("{flag} {text}: expected an instant such as 2026-03-01T00:00:00Z or a date"))
    };
    let (from, to) = match (bound("--from", &args.from), bound("--to", &args.to)) {
        (Ok(from), Ok(to)) => (from, to),
        (Err(problem), _) | (_, Err(problem)) => return usage(&problem),
    };
    if let (Some(from), Some(to)) = (from, to)
        && from >= to
    {
        return usage(&format!("--from {from} is not before --to {to}"));
    }
    runtime().block_on(async {
        let (agreements, store) = match explain::surroundings(&config).await {
            Ok(found) => found,
            Err(problem) => return usage(&problem),
        };
        let against = args.against.as_deref().unwrap_or(&candidate.id);
        let current: Arc<Agreement> = match agreements.get(against) {
            Some(found) => found,
            None if Path::new(against).is_file() => match load(Path::new(against)) {
                Ok(found) => Arc::new(found),
                Err(code) => return code,
            },
            None => {
                let snapshot = agreements.snapshot();
                let known: Vec<&str> = snapshot.agreements.iter().map(|a| a.id.as_str()).collect();
                let problem = format!(
                    "no agreement and no file \"{against}\" to compare with; give --against, one of {}",
                    known.join(", ")
                );
                return usage(&problem);
            }
        };
        match simulated(store.as_ref(), &current, &candidate, from, to, Clock::System.now()).await {
            Ok(simulation) => {
                print(&show(args, &simulation));
                if simulation.changes_something() { ExitCode::from(1) } else { ExitCode::SUCCESS }
            }
            Err(error @ SimulateError::TooManyWindows(_)) => usage(&error.to_string()),
            Err(error) => not_so(error),
        }
    })
}

fn show(args: &SimulateArgs, simulation: &Simulation) -> String {
    let json = |value: Value| format!("{}\n", serde_json::to_string_pretty(&value).expect("a simulation is JSON"));
    match args.format {
        SimulateFormat::Text => text(simulation),
        SimulateFormat::Json => json(serde_json::to_value(simulation).expect("a simulation is JSON")),
        SimulateFormat::Sarif => json(sarif::log(&diagnostics(args, simulation))),
        SimulateFormat::Junit => junit(simulation),
    }
}

fn word(verdict: Option<Verdict>) -> &'static str {
    verdict.map_or("none", Verdict::as_str)
}

fn line(flip: &Flip) -> String {
    let (before, after) = (word(flip.before), word(flip.after));
    let place = format!("{} {} {}", flip.guarantee, report::scope(&flip.scope), flip.window.text());
    let why = flip.reason_after.as_ref().or(flip.reason_before.as_ref()).map_or("", String::as_str);
    format!("{place}: {before} → {after}: {why}")
}

fn budget_line(change: &BudgetChange) -> String {
    let side = |verdict: Option<Verdict>, value: Option<f64>| match (verdict, value) {
        (None, _) => "none".to_owned(),
        (Some(verdict), None) => verdict.as_str().to_owned(),
        (Some(verdict), Some(value)) => {
            let unit = if change.kind == StateKind::BurnRate { "times" } else { "left" };
            format!("{} ({} {unit})", verdict.as_str(), report::short_number(value))
        }
    };
    let (before, after) = (side(change.before, change.value_before), side(change.after, change.value_after));
    let place = format!("{} {} {}", change.of, report::scope(&change.scope), change.window.text());
    let why = change.reason_after.as_ref().or(change.reason_before.as_ref()).map_or("", String::as_str);
    format!("{place}: {before} → {after}: {why}")
}

fn text(simulation: &Simulation) -> String {
    let mut out = String::new();
    for (title, list) in [
        ("would be others", &simulation.flips),
        ("would be new", &simulation.added),
        ("would be gone", &simulation.removed),
    ] {
        if !list.is_empty() {
            out.push_str(&format!("{} verdict{} {title}:\n", list.len(), if list.len() == 1 { "" } else { "s" }));
            list.iter().for_each(|flip| out.push_str(&format!("  {}\n", line(flip))));
        }
    }
    if let Some(first) = &simulation.first {
        out.push_str(&format!("first: {}\n", line(first)));
    }
    if let Some(smallest) = &simulation.smallest {
        let by =
            if smallest.decided_by.is_empty() { "nothing known".into() } else { smallest.decided_by.join(" and ") };
        out.push_str(&format!("smallest counter-example, decided by {by}: {}\n", line(smallest)));
    }
    for sum in &simulation.penalties {
        let unsaid = match (sum.unsaid_before, sum.unsaid_after) {
            (0, 0) => String::new(),
            (before, after) => format!(" (without those that cannot be said: {before}, then {after})"),
        };
        out.push_str(&format!("penalty {}: {} → {}{unsaid}\n", sum.over, sum.before, sum.after));
    }
    for (kind, title) in [(StateKind::Budget, "states of budgets"), (StateKind::BurnRate, "burn rates")] {
        let found: Vec<&BudgetChange> = simulation.budgets.iter().filter(|change| change.kind == kind).collect();
        if !found.is_empty() {
            out.push_str(&format!("{} {title} would be others, new or gone:\n", found.len()));
            found.iter().for_each(|change| out.push_str(&format!("  {}\n", budget_line(change))));
        }
    }
    for (reason, count) in &simulation.not_stored {
        out.push_str(&format!("not stored, {count} times: {reason}\n"));
    }
    let counts = |counts: &std::collections::BTreeMap<String, usize>| {
        let all: Vec<String> = counts.iter().map(|(word, n)| format!("{n} {word}")).collect();
        if all.is_empty() { "none".to_owned() } else { all.join(", ") }
    };
    out.push_str(&format!("stored: {}\n", counts(&simulation.before)));
    out.push_str(&format!("simulated: {}\n", counts(&simulation.after)));
    out.push_str(&format!(
        "{} the same, {} others, {} new, {} gone\n",
        simulation.same,
        simulation.flips.len(),
        simulation.added.len(),
        simulation.removed.len()
    ));
    if simulation.budgets_same + simulation.budgets.len() > 0 {
        let (same, others) = (simulation.budgets_same, simulation.budgets.len());
        out.push_str(&format!("budgets and burn rates: {same} the same, {others} others, new or gone\n"));
    }
    out
}

/// Flips as problems of the candidate's guarantees, with the lines they stand in.
fn diagnostics(args: &SimulateArgs, simulation: &Simulation) -> Vec<Diagnostic> {
    let file = args.candidate.display().to_string();
    let text = std::fs::read_to_string(&args.candidate).unwrap_or_default();
    let candidate = crate::agreement::load(&text, &file).0;
    let place = |id: &str| {
        let at = candidate.as_ref().and_then(|c| c.guarantees.iter().position(|g| g.id == id));
        at.map_or_else(|| "$.terms.guarantees".to_owned(), |i| format!("$.terms.guarantees[{i}]"))
    };
    let budget = |of: &str| {
        let known = candidate.as_ref().map(|c| c.budgets.iter()).into_iter().flatten();
        let at =
            known.enumerate().find(|(_, b)| b.id == of || of.strip_prefix(&b.id).is_some_and(|r| r.starts_with('/')));
        let list = "$.context[\"x-probity\"].budgets";
        at.map_or_else(|| list.to_owned(), |(i, _)| format!("{list}[{i}]"))
    };
    let all = simulation.flips.iter().chain(&simulation.added).chain(&simulation.removed);
    let mut found: Vec<Diagnostic> = all
        .map(|flip| {
            let path = place(&flip.guarantee);
            let problem = match flip.after {
                Some(Verdict::Violated) => Diagnostic::error("verdict-changes", path, line(flip)),
                _ => Diagnostic::warning("verdict-changes", path, line(flip)),
            };
            problem.in_file(file.clone())
        })
        .collect();
    found.extend(simulation.budgets.iter().map(|change| {
        let problem = match change.after {
            Some(Verdict::Violated) if change.before != change.after => Diagnostic::error,
            _ => Diagnostic::warning,
        };
        problem("budget-changes", budget(&change.of), budget_line(change)).in_file(file.clone())
    }));
    crate::agreement::source::locate(&text, &mut found);
    found
}

/// JUnit's XML: a suite for each guarantee and budget that changes, a failed case for each verdict or state that is
/// another; the same ones are a number.
fn junit(simulation: &Simulation) -> String {
    struct Case {
        name: String,
        change: String,
        line: String,
    }
    let mut suites: std::collections::BTreeMap<String, Vec<Case>> = std::collections::BTreeMap::new();
    for flip in simulation.flips.iter().chain(&simulation.added).chain(&simulation.removed) {
        suites.entry(flip.guarantee.clone()).or_default().push(Case {
            name: format!("{} {}", report::scope(&flip.scope), flip.window.text()),
            change: format!("{} → {}", word(flip.before), word(flip.after)),
            line: line(flip),
        });
    }
    for change in &simulation.budgets {
        suites.entry(format!("{} {}", change.kind.as_str(), change.of)).or_default().push(Case {
            name: format!("{} {}", report::scope(&change.scope), change.window.text()),
            change: format!("{} → {}", word(change.before), word(change.after)),
            line: budget_line(change),
        });
    }
    let failures: usize = suites.values().map(Vec::len).sum();
    let same = simulation.same + simulation.budgets_same;
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"{}\" tests=\"{}\" failures=\"{failures}\">\n",
        escaped(&simulation.agreement),
        same + failures
    );
    out.push_str(&format!(
        "  <testsuite name=\"unchanged\" tests=\"{same}\" failures=\"0\"><properties><property name=\"verdicts\" value=\"{}\"/><property name=\"budgets\" value=\"{}\"/></properties></testsuite>\n",
        simulation.same,
        simulation.budgets_same
    ));
    for (suite, cases) in suites {
        let (suite, count) = (escaped(&suite), cases.len());
        out.push_str(&format!("  <testsuite name=\"{suite}\" tests=\"{count}\" failures=\"{count}\">\n"));
        for case in cases {
            out.push_str(&format!(
                "    <testcase classname=\"{suite}\" name=\"{}\"><failure message=\"{}\">{}</failure></testcase>\n",
                escaped(&case.name),
                escaped(&case.change),
                escaped(&case.line)
            ));
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

/// Text inside XML; what XML cannot hold at all becomes a question mark.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(' '),
            c if c.is_control() => out.push('?'),
            c => out.push(c),
        }
    }
    out
}
