//! `probity simulate`: a changed agreement over stored evidence, and which verdicts and budgets would be others.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde_json::Value;

use super::agreement::load;
use super::{Settings, explain, not_so, print, runtime, sarif, usage};
use crate::agreement::simulate::Simulation;
use crate::agreement::simulate::words::Words;
use crate::clock::Clock;
use crate::evaluate::simulate::{SimulateError, simulate as simulated};
use crate::model::Diagnostic;
use crate::model::agreement::Agreement;
use crate::model::state::Verdict;

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
    /// Language of the texts
    #[arg(long, value_enum, default_value_t)]
    lang: explain::Lang,
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
    let words = Words(args.lang.into());
    match args.format {
        SimulateFormat::Text => format!("{}\n", words.lines(simulation).join("\n")),
        SimulateFormat::Json => json(serde_json::to_value(simulation).expect("a simulation is JSON")),
        SimulateFormat::Sarif => json(sarif::log(&diagnostics(args, words, simulation))),
        SimulateFormat::Junit => junit(words, simulation),
    }
}

/// Flips as problems of the candidate's guarantees, with the lines they stand in.
fn diagnostics(args: &SimulateArgs, words: Words, simulation: &Simulation) -> Vec<Diagnostic> {
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
                Some(Verdict::Violated) => Diagnostic::error("verdict-changes", path, words.line(flip)),
                _ => Diagnostic::warning("verdict-changes", path, words.line(flip)),
            };
            problem.in_file(file.clone())
        })
        .collect();
    found.extend(simulation.budgets.iter().map(|change| {
        let problem = match change.after {
            Some(Verdict::Violated) if change.before != change.after => Diagnostic::error,
            _ => Diagnostic::warning,
        };
        problem("budget-changes", budget(&change.of), words.budget_line(change)).in_file(file.clone())
    }));
    crate::agreement::source::locate(&text, &mut found);
    found
}

/// JUnit's XML: a suite for each guarantee and budget that changes, a failed case for each verdict or state that is
/// another; the same ones are a number.
fn junit(words: Words, simulation: &Simulation) -> String {
    struct Case {
        name: String,
        change: String,
        line: String,
    }
    let mut suites: BTreeMap<String, Vec<Case>> = BTreeMap::new();
    for flip in simulation.flips.iter().chain(&simulation.added).chain(&simulation.removed) {
        suites.entry(flip.guarantee.clone()).or_default().push(Case {
            name: format!("{} {}", flip.scope.text(), flip.window.text()),
            change: words.change(flip),
            line: words.line(flip),
        });
    }
    for change in &simulation.budgets {
        suites.entry(format!("{} {}", change.kind.as_str(), change.of)).or_default().push(Case {
            name: format!("{} {}", change.scope.text(), change.window.text()),
            change: format!("{} → {}", words.side(change.before, None), words.side(change.after, None)),
            line: words.budget_line(change),
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
