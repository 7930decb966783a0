//! Diagnostics as SARIF 2.1.0, for code hosts that annotate pull requests with it.

use serde_json::{Value, json};

use crate::model::{Diagnostic, Severity};

/// A SARIF log with one run. JSON paths are logical locations; a problem whose line is not known stands in the first.
pub(super) fn log(diagnostics: &[Diagnostic]) -> Value {
    let mut rules: Vec<&str> = diagnostics.iter().map(|d| d.code.as_str()).collect();
    rules.sort_unstable();
    rules.dedup();
    let results: Vec<Value> = diagnostics.iter().map(result).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "probity",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.iter().map(|id| json!({"id": id})).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(diagnostic: &Diagnostic) -> Value {
    let mut text = diagnostic.message.clone();
    if let Some(expected) = &diagnostic.expected {
        text.push_str(&format!("; expected {expected}"));
    }
    if let Some(hint) = &diagnostic.hint {
        text.push_str(&format!("; {hint}"));
    }
    let mut region = json!({"startLine": diagnostic.line.unwrap_or(1)});
    if let Some(column) = diagnostic.column {
        region["startColumn"] = column.into();
    }
    json!({
        "ruleId": diagnostic.code,
        "level": match diagnostic.severity { Severity::Error => "error", Severity::Warning => "warning" },
        "message": {"text": text},
        "locations": [{
            "physicalLocation": {"artifactLocation": {"uri": diagnostic.file}, "region": region},
            "logicalLocations": [{"fullyQualifiedName": diagnostic.path}],
        }],
    })
}
