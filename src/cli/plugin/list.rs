//! `probity plugin list`.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::{Where, print, source};
use crate::app::admission::places;
use crate::cli::{Format, report};
use crate::plugin::admission::Operator;
use crate::plugin::discover::discover;
use crate::plugin::package::Package;
use crate::plugin::shipped;
use crate::plugin::signature::State;

#[derive(Args)]
pub(super) struct ListArgs {
    /// Output form
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    place: Where,
}

/// What there is to say about one package.
struct Row {
    package: Package,
    /// Why it does not start.
    refused: Vec<String>,
    signature: Option<State>,
    digest: String,
    granted: Vec<String>,
    missing: Vec<String>,
}

pub(super) fn list(args: &ListArgs) -> Result<ExitCode, ExitCode> {
    let config = args.place.load()?;
    let operator = source::decided(&config)?;
    let found = discover(&places(&config));
    let rows: Vec<Row> = found.packages.iter().map(|p| row(&operator, p)).collect();
    let not_built = found.not_built();
    match args.format {
        Format::Json => {
            let plugins: Vec<Value> = rows.iter().map(json_row).collect();
            let not_built: Vec<&str> = not_built.iter().map(|s| s.manifest.name.as_str()).collect();
            let all = json!({"plugins": plugins, "not_built": not_built, "problems": found.diagnostics});
            print(&format!("{}\n", serde_json::to_string_pretty(&all).expect("lists are JSON")));
        }
        Format::Table => {
            let mut lines: Vec<Vec<String>> = rows.iter().map(table_row).collect();
            for plugin in &not_built {
                let dash = || "-".to_string();
                let state = format!("not built; run {}", shipped::BUILD_COMMAND);
                lines.push(vec![plugin.manifest.title(), "shipped".into(), state, dash(), dash()]);
            }
            print(&report::table(&["plugin", "from", "state", "granted", "where"], lines));
            for row in &rows {
                for line in row.refused.iter().chain(&row.missing) {
                    eprintln!("{line}");
                }
            }
            for problem in &found.diagnostics {
                eprintln!("{problem}");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn row(operator: &Operator, package: &Package) -> Row {
    let mut row = Row {
        package: package.clone(),
        refused: Vec::new(),
        signature: None,
        digest: String::new(),
        granted: Vec::new(),
        missing: Vec::new(),
    };
    let loaded = match package.load() {
        Ok(loaded) => loaded,
        Err(problems) => {
            row.refused = problems.iter().map(ToString::to_string).collect();
            return row;
        }
    };
    row.signature = Some(operator.trust.state(package, &loaded));
    if let Err(refused) = operator.trust.admit(package, &loaded) {
        row.refused.push(refused.to_string());
    }
    row.granted = operator.granted(package, &loaded).names.into_iter().collect();
    row.missing = operator.missing(package, &loaded);
    row.digest = loaded.digest;
    row
}

fn origin(package: &Package) -> String {
    serde_json::to_value(package.origin).ok().and_then(|v| v.as_str().map(str::to_string)).unwrap_or_default()
}

fn table_row(row: &Row) -> Vec<String> {
    let state = match (&row.signature, row.refused.is_empty()) {
        (_, false) => "refused".into(),
        (Some(State::Trusted { key, .. }), _) => format!("signed by {key}"),
        (Some(State::UnknownKey { key }), _) => format!("signed by unknown {key}"),
        (Some(State::Broken { .. }), _) => "signature does not fit".into(),
        (Some(State::Unsigned) | None, _) => "unsigned".to_string(),
    };
    let asked = row.package.manifest.capabilities.len();
    let granted = if asked == 0 { "asks for nothing".into() } else { format!("{} of {asked}", row.granted.len()) };
    let path = row.package.path.display().to_string();
    vec![row.package.manifest.title(), origin(&row.package), state, granted, path]
}

fn json_row(row: &Row) -> Value {
    let manifest = &row.package.manifest;
    json!({
        "name": manifest.name,
        "version": manifest.version,
        "from": origin(&row.package),
        "path": row.package.path,
        "digest": row.digest,
        "signature": row.signature,
        "starts": row.refused.is_empty(),
        "refused": row.refused,
        "granted": row.granted,
        "missing": row.missing,
    })
}
