//! The pages of plugins: versions, grants, calls, time and memory, what was stopped or refused.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use maud::{Markup, html};

use super::layout::{PageError, Section, instant, page};
use crate::api::{Api, ApiError};
use crate::plugin::Noted;
use crate::plugin::Report;

pub(super) async fn list(State(api): State<Arc<Api>>) -> Result<Response, PageError> {
    let mut plugins = api.plugins.report();
    plugins.sort_by_key(|plugin| plugin.quarantine.is_empty());
    let body = html! {
        h1 { "Plugins" }
        @if plugins.is_empty() { p .empty { "No plugin is installed." } }
        @for plugin in &plugins {
            article .card {
                h2 { a href=(format!("/probity/plugins/{}", plugin.name)) { (plugin.name) } " " span .quiet { (plugin.version) } }
                @if !plugin.description.is_empty() { p { (plugin.description) } }
                (doing(plugin))
                dl {
                    dt { "Node types" } dd { (names(plugin)) }
                    @if plugin.loaded_at.is_some() {
                        dt { "Granted" } dd { (granted(plugin)) }
                        dt { "Calls" } dd { (total(plugin, |t| t.calls)) " (" (total(plugin, |t| t.failed)) " failed)" }
                    }
                }
            }
        }
    };
    Ok(page(Section::Plugins, "Plugins", &[], body))
}

pub(super) async fn show(State(api): State<Arc<Api>>, Path(name): Path<String>) -> Result<Response, PageError> {
    let found = api.plugins.report().into_iter().find(|p| p.name == name);
    let plugin = found.ok_or_else(|| ApiError::not_found(format!("there is no plugin \"{name}\"")))?;
    let body = html! {
        h1 { (plugin.name) " " span .quiet { (plugin.version) } }
        @if !plugin.description.is_empty() { p { (plugin.description) } }
        (doing(&plugin))
        dl {
            dt { "Contract" } dd { (plugin.contract) }
            dt { "Licence" } dd { (plugin.license) }
            dt { "Code" } dd { code { (plugin.digest) } }
            @if let Some(at) = plugin.loaded_at { dt { "Loaded" } dd { (instant(at)) } }
            dt { "Warm instances" } dd { (plugin.idle_instances) }
        }
        h2 { "What it asks for" }
        @if plugin.requests.is_empty() { p .empty { "Nothing: it only sees its messages." } }
        dl {
            @for request in &plugin.requests {
                dt { (request.name) " " @if plugin.loaded_at.is_some() && !plugin.granted.iter().any(|g| g == request.name.as_str()) { strong { "not granted" } } }
                dd { (request.reason) }
            }
            @if !plugin.hosts.is_empty() { dt { "Hosts granted" } dd { (plugin.hosts.join(", ")) } }
            @if !plugin.secrets.is_empty() { dt { "Secrets granted" } dd { (plugin.secrets.join(", ")) } }
            @if !plugin.folders.is_empty() { dt { "Folders granted" } dd { (plugin.folders.join(", ")) } }
        }
        h2 { "Node types" }
        div .scroll { table {
            thead { tr { th { "Type" } th { "Calls" } th { "Failed" } th { "Mean" } th { "Longest" } th { "Memory" } } }
            tbody { @for t in &plugin.node_types { tr {
                td { (t.node_type) } td { (t.calls) } td { (t.failed) }
                td { (time(t.mean_us)) } td { (time(t.max_us)) } td { (kib(t.memory_bytes)) }
            } } }
        } }
        (noted("Stopped", &plugin.last_stops, "It was never stopped."))
        (noted("Refused", &plugin.last_refusals, "Nothing was refused."))
    };
    let trail = [("/probity/plugins".to_string(), "Plugins".to_string())];
    Ok(page(Section::Plugins, &plugin.name, &trail, body))
}

/// Quarantine first: whoever looks here at night looks for that.
fn doing(plugin: &Report) -> Markup {
    html! {
        @if plugin.loaded_at.is_none() { p .quiet { "Not loaded: no flow has one of its nodes." } }
        @for quarantine in &plugin.quarantine {
            p role="alert" {
                strong { (quarantine.node_type) " is in quarantine" } " until " (instant(quarantine.until)) ": " (quarantine.last)
                " To let it out now: " code { "POST /probity/v1/plugins/" (plugin.name) "/release" }
            }
        }
        @if !plugin.stops.is_empty() {
            p { "Stopped: " @for (kind, n) in &plugin.stops { (n) " × " (kind) " " } }
        }
    }
}

fn noted(title: &str, lines: &[Noted], none: &str) -> Markup {
    html! {
        h2 { (title) }
        @if lines.is_empty() { p .empty { (none) } }
        @for line in lines { p { (instant(line.at)) } pre { (line.message) } }
    }
}

fn names(plugin: &Report) -> String {
    plugin.node_types.iter().map(|t| t.node_type.as_str()).collect::<Vec<_>>().join(", ")
}

fn granted(plugin: &Report) -> String {
    if plugin.granted.is_empty() { "nothing".into() } else { plugin.granted.join(", ") }
}

fn total(plugin: &Report, of: impl Fn(&crate::plugin::plugins::TypeReport) -> u64) -> u64 {
    plugin.node_types.iter().map(of).sum()
}

fn time(us: f64) -> String {
    if us >= 1_000.0 { format!("{:.1} ms", us / 1_000.0) } else { format!("{us:.1} µs") }
}

fn kib(bytes: u64) -> String {
    format!("{} KiB", bytes.div_ceil(1_024))
}
