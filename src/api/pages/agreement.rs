//! An agreement's page: every guarantee, every scope, its terms and the problems of its document.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use maud::{Markup, html};

use super::bars;
use super::layout::{self, PageError, Section, address, instant, page, scope_text, segment};
use super::overview::{latest, scopes};
use crate::api::Api;
use crate::api::agreements::{collector, find};
use crate::api::error::ApiError;
use crate::model::agreement::Agreement;
use crate::model::state::{StateKind, StoredState};
use crate::store::{PageRequest, StateQuery};

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
    let budgets = budgets(&api, &agreement).await?;
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
        @if !agreement.budgets.is_empty() { (budgets) }
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

/// What is left of every budget in its newest period, and the newest rate of every alert.
async fn budgets(api: &Api, agreement: &Agreement) -> Result<Markup, ApiError> {
    let mut rows = Vec::new();
    for budget in &agreement.budgets {
        rows.extend(newest(api, agreement, StateKind::Budget, &budget.id).await?);
        for alert in &budget.alerts {
            rows.extend(newest(api, agreement, StateKind::BurnRate, &format!("{}/{}", budget.id, alert.id)).await?);
        }
    }
    Ok(html! {
        section .card #budgets {
            h2 { "Error budgets" }
            @if rows.is_empty() { p .empty { "Nothing counted yet." } } @else {
                table {
                    thead { tr { th { "Budget" } th { "Scope" } th { "Period" } th { "Verdict" } th { "Value" } th { "Coverage" } th { "Why" } } }
                    tbody {
                        @for StoredState { state, .. } in &rows {
                            tr {
                                td { (layout::id(&state.of)) }
                                td { (scope_text(&state.scope)) }
                                td { (state.window.text()) }
                                td { (bars::badge(state.verdict, state.provisional)) }
                                td {
                                    @if let Some(value) = state.value {
                                        (layout::number(value)) @if state.kind == StateKind::Budget { " left" } @else { " times" }
                                    }
                                }
                                td { @if let Some(percent) = state.coverage.and_then(|c| c.percent()) { (percent) } }
                                td { (state.reason) }
                            }
                        }
                    }
                }
            }
        }
    })
}

/// The newest state of each scope.
async fn newest(api: &Api, agreement: &Agreement, kind: StateKind, of: &str) -> Result<Vec<StoredState>, ApiError> {
    let query = StateQuery {
        agreement: Some(agreement.id.clone()),
        kind: Some(kind),
        of: Some(of.to_owned()),
        ..StateQuery::default()
    };
    let found = api.store.states(&query, &PageRequest { limit: VERDICTS_MAX, after: None }).await?.items;
    let mut seen = HashSet::new();
    Ok(found.into_iter().filter(|s| seen.insert(s.state.scope.clone())).take(SCOPES_MAX).collect())
}
