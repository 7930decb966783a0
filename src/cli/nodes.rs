//! `probity nodes`: the catalogue.

use std::process::ExitCode;

use clap::Args;

use super::plugin::Where;
use super::{Format, print, report};
use crate::plugin::discover::discover;
use crate::plugin::manifest::Manifest;
use crate::plugin::shipped::BUILD_COMMAND;

#[derive(Args)]
pub(super) struct NodesArgs {
    /// Output form
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    place: Where,
}

pub(super) fn nodes(args: &NodesArgs) -> ExitCode {
    let config = match args.place.load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let catalogue = crate::nodes::catalogue();
    let found = discover(&crate::app::admission::places(&config));
    let plugins: Vec<&Manifest> =
        found.packages.iter().filter(|p| p.manifest.interprets.is_empty()).map(|p| &p.manifest).collect();
    let not_built: Vec<&Manifest> =
        found.not_built().into_iter().map(|s| &s.manifest).filter(|m| m.interprets.is_empty()).collect();
    match args.format {
        Format::Json => {
            let specs: Vec<_> = catalogue.iter().map(|t| t.spec).collect();
            let named = |m: &&Manifest| serde_json::json!({"plugin": m.name, "version": m.version, "nodes": m.nodes});
            let json = serde_json::to_string_pretty(&serde_json::json!({
                "nodes": specs,
                "plugins": plugins.iter().map(named).collect::<Vec<_>>(),
                "not_built": not_built.iter().map(named).collect::<Vec<_>>(),
            }));
            print(&format!("{}\n", json.expect("specs are JSON")));
        }
        Format::Table => {
            let rows = catalogue.iter().map(|t| {
                let outputs = t.spec.outputs.map_or_else(|| "any".to_string(), |n| n.to_string());
                let ports =
                    if t.spec.config_node { "config".to_string() } else { format!("{} → {outputs}", t.spec.inputs) };
                vec![t.spec.node_type.to_string(), t.spec.category.to_string(), ports, t.spec.summary.to_string()]
            });
            let of_plugins = plugins.iter().flat_map(|m| rows_of(m, &m.description));
            let missing = format!("not built; run {BUILD_COMMAND}");
            let of_missing = not_built.iter().flat_map(|m| rows_of(m, &missing));
            let rows = rows.chain(of_plugins).chain(of_missing).collect();
            print(&report::table(&["type", "category", "ports", "what it does"], rows));
        }
    }
    ExitCode::SUCCESS
}

/// A line for each node type a manifest lists; one for the plugin when it lists none.
fn rows_of(manifest: &Manifest, text: &str) -> Vec<Vec<String>> {
    let row = |node: &str| vec![node.to_string(), format!("plugin {}", manifest.name), "-".into(), text.to_string()];
    match manifest.nodes.as_slice() {
        [] => vec![row("-")],
        nodes => nodes.iter().map(|n| row(n)).collect(),
    }
}
