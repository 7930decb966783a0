//! `probity simulate`: a changed agreement over stored evidence, and which verdicts would be others.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde_json::Value;

use super::agreement::load;
use super::{Settings, explain, not_so, print, runtime, sarif, usage};
use crate::agreement::simulate::{Flip, Simulation};
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

fn scope(flip: &Flip) -> String {
    let members: Vec<String> = flip.scope.0.iter().map(|(key, member)| format!("{key}={member}")).collect();
    if members.is_empty() { "-".into() } else { members.join(" ") }
}

fn line(flip: &Flip) -> String {
    let (before, after) = (word(flip.before), word(flip.after));
    let place = format!("{} {} {}", flip.guarantee, scope(flip), flip.window.text());
    let why = flip.reason_after.as_ref().or(flip.reason_before.as_ref()).map_or("", String::as_str);
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
    crate::agreement::source::locate(&text, &mut found);
    found
}

/// JUnit's XML: a suite for each guarantee that changes, a failed case for each verdict that is another; the same ones are
/// a number.
fn junit(simulation: &Simulation) -> String {
    let mut suites: std::collections::BTreeMap<&str, Vec<&Flip>> = std::collections::BTreeMap::new();
    for flip in simulation.flips.iter().chain(&simulation.added).chain(&simulation.removed) {
        suites.entry(&flip.guarantee).or_default().push(flip);
    }
    let failures: usize = suites.values().map(Vec::len).sum();
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"{}\" tests=\"{}\" failures=\"{failures}\">\n",
        escaped(&simulation.agreement),
        simulation.same + failures
    );
    out.push_str(&format!(
        "  <testsuite name=\"unchanged\" tests=\"{0}\" failures=\"0\"><properties><property name=\"verdicts\" value=\"{0}\"/></properties></testsuite>\n",
        simulation.same
    ));
    for (guarantee, flips) in suites {
        let count = flips.len();
        out.push_str(&format!(
            "  <testsuite name=\"{}\" tests=\"{count}\" failures=\"{count}\">\n",
            escaped(guarantee)
        ));
        for flip in flips {
            let name = escaped(&format!("{} {}", scope(flip), flip.window.text()));
            let change = escaped(&format!("{} → {}", word(flip.before), word(flip.after)));
            out.push_str(&format!(
                "    <testcase classname=\"{}\" name=\"{name}\"><failure message=\"{change}\">{}</failure></testcase>\n",
                escaped(guarantee),
                escaped(&line(flip))
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
