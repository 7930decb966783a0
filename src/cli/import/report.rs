//! What was found in a Node-RED user folder, as text.

use std::fmt::Write;

use super::Findings;
use crate::cli::report::table;
use crate::model::Severity;

/// Problems of the flows that are shown; `--format json` has them all.
const PROBLEMS_MAX: usize = 20;

pub(super) fn text(found: &Findings) -> String {
    let mut out = String::new();
    // Writing into a text cannot fail.
    let _written = write_all(&mut out, found).is_ok();
    out
}

fn write_all(out: &mut String, found: &Findings) -> std::fmt::Result {
    writeln!(out, "{}", found.dir)?;
    match &found.settings {
        Some(settings) => writeln!(out, "settings     {}: {}", settings.file, settings.sets.join(", "))?,
        None => writeln!(out, "settings     none that could be read")?,
    }
    if !found.users.is_empty() {
        let users = found.users.iter().map(|user| {
            let state = if user.disabled.is_some() { "disabled" } else { "may log in" };
            format!("{} ({}, {state})", user.name, user.of)
        });
        writeln!(out, "users        {}", users.collect::<Vec<_>>().join(", "))?;
    }
    if let Some(credentials) = &found.credentials {
        let what = match credentials.nodes {
            Some(nodes) => format!("of {nodes} nodes, {}", credentials.form),
            None => "cannot be read".to_owned(),
        };
        writeln!(out, "credentials  {}: {what}", credentials.file)?;
    }
    if let Some(flows) = &found.flows {
        writeln!(out, "flows        {}\n", flows.file)?;
        let tabs = flows.tabs.iter().map(|tab| vec![tab.label.clone(), tab.nodes.to_string(), tab.state.clone()]);
        writeln!(out, "{}", table(&["tab", "nodes", "state"], tabs.collect()))?;
        let types = flows.types.iter().map(|found| {
            let here = found.here.clone().unwrap_or_else(|| "not known".into());
            vec![found.node_type.clone(), found.nodes.to_string(), here]
        });
        writeln!(out, "{}", table(&["type", "nodes", "here"], types.collect()))?;
        let (shown, more) = flows.problems.split_at(flows.problems.len().min(PROBLEMS_MAX));
        for problem in shown {
            writeln!(out, "{problem}")?;
        }
        if !more.is_empty() {
            writeln!(out, "… and {} more; --format json has them all", more.len())?;
        }
        let errors = flows.problems.iter().filter(|problem| problem.severity == Severity::Error).count();
        writeln!(out, "{errors} errors, {} warnings in the flows\n", flows.problems.len() - errors)?;
    }
    if !found.packages.is_empty() {
        let rows = found.packages.iter().map(|package| {
            let state = match (package.replaced.as_slice(), package.missing.as_slice()) {
                ([], []) => "not used by these flows".to_owned(),
                (replaced, []) => format!("stood in for: {}", replaced.join(", ")),
                (_, missing) => format!("missing: {}", missing.join(", ")),
            };
            vec![package.name.clone(), package.version.clone(), state]
        });
        writeln!(out, "{}", table(&["package", "version", "its nodes"], rows.collect()))?;
    }
    for (title, lines) in [("differs", &found.differs), ("missing", &found.missing)] {
        if !lines.is_empty() {
            writeln!(out, "{}:", title.to_uppercase())?;
            for line in lines {
                writeln!(out, "- {line}")?;
            }
            writeln!(out)?;
        }
    }
    match found.missing.len() {
        0 => writeln!(out, "all of it will run here"),
        1 => writeln!(out, "1 thing is missing"),
        n => writeln!(out, "{n} things are missing"),
    }
}
