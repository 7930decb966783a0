//! What runs here: flows with their problems, schedules with their firings.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use super::layout::{self, PageError, Section, address, instant, page};
use crate::api::Api;
use crate::api::flows::{FlowView, views};
use crate::api::schedules::with_claims;

pub(super) async fn flows(State(api): State<Arc<Api>>) -> Response {
    let (flows, general) = views(&api.engine.current(), &api.node_root);
    let body = html! {
        h1 { "Flows" }
        (layout::diagnostics(&general))
        @if flows.is_empty() { p .empty { "No flow is deployed." } }
        @for flow in &flows { (flow_card(flow)) }
    };
    page(Section::Flows, "Flows", &[], body)
}

fn flow_card(flow: &FlowView) -> Markup {
    let (class, sign, word) = match flow.state {
        "running" => ("run-done", "✓", "running".to_string()),
        "disabled" => ("run-stopped", "■", "disabled".to_string()),
        "unknown-types" => ("run-failed", "✕", format!("does not run: unknown {}", flow.unknown_types.join(", "))),
        _ => ("run-failed", "✕", "does not run: it has errors".to_string()),
    };
    html! {
        article .card {
            h2 { (flow.label) }
            p { span class=(format!("badge {class}")) { span aria-hidden="true" { (sign) } " " (word) } }
            p .quiet {
                (flow.nodes) " nodes · answers within " (flow.reply_ms_max) " ms · "
                a href=(address("/probity/runs", &[("subject", &flow.id)])) { "runs" }
            }
            @if !flow.endpoints.is_empty() {
                ul .plain { @for e in &flow.endpoints { li { code { (e.method) " " (e.path) } } } }
            }
            (layout::diagnostics(&flow.diagnostics))
        }
    }
}

pub(super) async fn schedules(State(api): State<Arc<Api>>) -> Result<Response, PageError> {
    let schedules = with_claims(&api).await?;
    let body = html! {
        h1 { "Schedules" }
        @if schedules.is_empty() { p .empty { "Nothing is scheduled." } }
        @for claimed in &schedules {
            @let s = &claimed.schedule;
            article .card {
                h2 { (layout::id(&s.subject)) }
                dl {
                    dt { "When" } dd { code { (s.cron) } " " (s.time_zone) }
                    dt { "Next" } dd { @match s.next_due { Some(t) => (instant(t)), None => span .quiet { "never" } } }
                    dt { "Last" } dd { @match claimed.last_claim { Some(t) => (instant(t)), None => span .quiet { "not yet" } } }
                    dt { "Id" } dd { code { (s.id) } }
                }
            }
        }
    };
    Ok(page(Section::Schedules, "Schedules", &[], body))
}
