//! `probity nodes`: the catalogue.

use std::process::ExitCode;

use clap::Args;

use super::{Format, print, report};

#[derive(Args)]
pub(super) struct NodesArgs {
    /// Output form
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn nodes(args: &NodesArgs) -> ExitCode {
    let catalogue = crate::nodes::catalogue();
    match args.format {
        Format::Json => {
            let specs: Vec<_> = catalogue.iter().map(|t| t.spec).collect();
            let json = serde_json::to_string_pretty(&serde_json::json!({ "nodes": specs }));
            print(&format!("{}\n", json.expect("specs are JSON")));
        }
        Format::Table => {
            let rows = catalogue.iter().map(|t| {
                let outputs = t.spec.outputs.map_or_else(|| "any".to_string(), |n| n.to_string());
                let ports =
                    if t.spec.config_node { "config".to_string() } else { format!("{} → {outputs}", t.spec.inputs) };
                vec![t.spec.node_type.to_string(), t.spec.category.to_string(), ports, t.spec.summary.to_string()]
            });
            print(&report::table(&["type", "category", "ports", "what it does"], rows.collect()));
        }
    }
    ExitCode::SUCCESS
}
