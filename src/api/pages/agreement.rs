//! An agreement's page: every guarantee, every scope, its terms and the problems of its document.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use maud::html;

use super::bars;
use super::layout::{self, PageError, Section, address, instant, page, scope_text, segment};
use super::overview::{latest, scopes};
use crate::api::Api;
use crate::api::agreements::{collector, find};

/// Verdicts read for one guarantee.
const VERDICTS_MAX: u32 = 1000;
/// Scopes shown of one guarantee.
const SCOPES_MAX: usize = 100;

pub(super) async fn show(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Result<Response, PageError> {
    let (agreement, diagnostics) = find(&api, &id)?;
    let mut guarantees = Vec::new();
    for guarantee in &agreement.guarantees {
        guarantees.push((guarantee, latest(&api, &agreement, guarantee, VERDICTS_MAX).await?));
    }
    let body = html! {
        h1 { (layout::id(&agreement.id)) }
        p .quiet {
            "version " (agreement.version) " · " (agreement.time_zone_name) " · valid from " (instant(agreement.valid_from))
            @if let Some(to) = agreement.valid_to { " to " (instant(to)) }
        }
        (layout::diagnostics(&diagnostics))
        (bars::legend())
        @for (guarantee, states) in &guarantees {
            section .card id=(segment(&guarantee.id)) {
                h2 { (layout::id(&guarantee.id)) }
                @if !guarantee.description.is_empty() { p { (guarantee.description) } }
                @for term in &guarantee.terms {
                    p .objective {
                        code { (term.objective.text) }
                        span .quiet { " " (term.window.period_name) ", " (scope_text(&term.scope)) }
                    }
                }
                (scopes(states, SCOPES_MAX))
                p .more {
                    a href=(address("/probity/verdicts", &[("agreement", &agreement.id), ("guarantee", &guarantee.id)])) {
                        "All verdicts as a table"
                    }
                }
            }
        }
        section .card {
            h2 { "Metrics" }
            dl {
                @for metric in agreement.metrics.values() {
                    dt { (metric.id) } dd { (collector(&metric.collector)) }
                }
            }
            h2 { "Document" }
            dl { dt { "Source" } dd { (agreement.source) } dt { "SHA-256" } dd { code { (agreement.hash) } } }
        }
    };
    let trail = [("/probity/".to_string(), "Agreements".to_string())];
    Ok(page(Section::Agreements, &agreement.id, &trail, body))
}
