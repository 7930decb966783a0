//! Tables and verdicts as the terminal shows them.

use crate::evaluate::dry_run::DryRun;
use crate::model::state::{State, StateKind, Verdict};
use crate::model::value::short_number;

/// Columns as wide as their widest cell, the last one free.
pub(super) fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut widths: Vec<usize> = header.iter().map(|h| h.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[String]| {
        let last = cells.len().saturating_sub(1);
        let mut out = String::new();
        for (i, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            if i == last {
                out.push_str(cell);
            } else {
                out.push_str(&format!("{cell:<width$}  "));
            }
        }
        format!("{}\n", out.trim_end())
    };
    let head: Vec<String> = header.iter().map(|h| h.to_uppercase()).collect();
    let mut out = line(&head);
    for row in &rows {
        out.push_str(&line(row));
    }
    out
}

/// One line per verdict and a line that counts them.
pub(super) fn verdicts<'a>(states: impl Iterator<Item = &'a State>) -> String {
    let mut counts = std::collections::BTreeMap::new();
    let rows: Vec<Vec<String>> = states
        .map(|state| {
            let verdict = state.verdict.unwrap_or(Verdict::Unknown);
            *counts.entry(verdict).or_insert(0usize) += 1;
            vec![
                state.of.clone(),
                state.scope.text(),
                state.window.text(),
                word(state, verdict),
                state.value.map_or_else(|| "-".into(), short_number),
                state.coverage.and_then(|c| c.percent()).unwrap_or_else(|| "-".into()),
                state.reason.clone(),
            ]
        })
        .collect();
    let total = rows.len();
    let mut out = table(&["guarantee", "scope", "window", "verdict", "value", "coverage", "reason"], rows);
    let counts: Vec<String> = counts.iter().map(|(v, n)| format!("{n} {}", v.as_str())).collect();
    out.push_str(&format!(
        "\n{total} verdicts: {}\n",
        if counts.is_empty() { "none".into() } else { counts.join(", ") }
    ));
    out
}

/// One line per budget or burn rate.
pub(super) fn budgets<'a>(states: impl Iterator<Item = &'a State>) -> String {
    let rows = states.map(|state| {
        let value = state.value.map(short_number);
        vec![
            state.agreement.clone(),
            state.of.clone(),
            state.scope.text(),
            state.window.text(),
            word(state, state.verdict.unwrap_or(Verdict::Unknown)),
            match state.kind {
                StateKind::BurnRate => value.map(|v| format!("{v} times")),
                _ => value.map(|v| format!("{v} left")),
            }
            .unwrap_or_else(|| "-".into()),
            state.coverage.and_then(|c| c.percent()).unwrap_or_else(|| "-".into()),
            state.reason.clone(),
        ]
    });
    table(&["agreement", "budget", "scope", "period", "verdict", "value", "coverage", "reason"], rows.collect())
}

/// What an evaluation would ask and judge.
pub(super) fn plan(plan: &DryRun) -> String {
    let asks = plan.asks.iter().map(|ask| {
        let source = match &ask.problem {
            Some(problem) => format!("{}; no value: {problem}", ask.source),
            None => ask.source.clone(),
        };
        vec![ask.metric.clone(), ask.scope.text(), ask.window.text(), source]
    });
    let judges =
        plan.judges.iter().map(|j| vec![j.guarantee.clone(), j.scope.text(), j.window.text(), j.objective.clone()]);
    format!(
        "{}\n{}\n{} would be asked, {} judged; nobody was asked\n",
        table(&["asks", "scope", "window", "source"], asks.collect()),
        table(&["judges", "scope", "window", "objective"], judges.collect()),
        plan.asks.len(),
        plan.judges.len()
    )
}

/// The verdict; a waived one with the one it is without the waiver.
fn word(state: &State, verdict: Verdict) -> String {
    let unwaived = state.waiver.as_ref().map(|w| format!(" ({} until {})", w.verdict.as_str(), w.expires));
    let provisional = if state.provisional { " (provisional)" } else { "" };
    format!("{}{}{provisional}", verdict.as_str(), unwaived.unwrap_or_default())
}
