//! `/probity/`: every agreement with its guarantees, and how each was kept lately.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use futures_util::{StreamExt, TryStreamExt, stream};
use maud::{Markup, html};

use super::bars;
use super::layout::{self, PageError, Section, page, segment};
use crate::api::Api;
use crate::api::error::ApiError;
use crate::api::openapi::{AFTER, Parameter};
use crate::api::query::Query;
use crate::model::agreement::{Agreement, Guarantee};
use crate::model::state::{StateKind, StoredState};
use crate::store::{PageRequest, StateQuery};

pub(super) const QUERY: &[Parameter] = &[AFTER];

/// Agreements on one page.
const AGREEMENTS_MAX: usize = 10;
/// Scopes shown of a guarantee; its own page has all.
const SCOPES_MAX: usize = 4;
/// Questions to the store at once.
const PARALLEL_MAX: usize = 4;

pub(super) async fn show(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Result<Response, PageError> {
    let query = Query::read(query.as_deref(), QUERY)?;
    let loaded = (api.agreements)();
    let after = query.text("after").unwrap_or_default();
    let mut rest = loaded.agreements.iter().filter(|a| a.id.as_str() > after);
    let shown: Vec<&Arc<Agreement>> = rest.by_ref().take(AGREEMENTS_MAX).collect();
    let next = rest.next().and_then(|_| shown.last()).map(|a| a.id.as_str());
    let mut cards = Vec::new();
    for agreement in &shown {
        cards.push(card(&api, agreement).await?);
    }
    let orphans: Vec<_> =
        loaded.diagnostics.iter().filter(|d| !loaded.agreements.iter().any(|a| a.source == d.file)).cloned().collect();
    let body = html! {
        h1 { "Agreements" }
        (bars::legend())
        @if shown.is_empty() {
            p .empty { "No agreements are loaded. Start with " code { "--agreements DIR" } " or leave it out for the shipped ones." }
        }
        (layout::diagnostics(&orphans))
        @for card in cards { (card) }
        (layout::more("/probity/", &[], next))
    };
    Ok(page(Section::Agreements, "Agreements", &[], body))
}

async fn card(api: &Api, agreement: &Agreement) -> Result<Markup, ApiError> {
    let reads: Vec<_> = agreement.guarantees.iter().map(|g| latest(api, agreement, g, 200)).collect();
    let states: Vec<Vec<StoredState>> = stream::iter(reads).buffered(PARALLEL_MAX).try_collect().await?;
    let guarantees: Vec<(&Guarantee, Vec<StoredState>)> = agreement.guarantees.iter().zip(states).collect();
    let link = format!("/probity/agreements/{}", segment(&agreement.id));
    Ok(html! {
        article .card {
            h2 { a href=(link) { (layout::id(&agreement.id)) } }
            p .quiet { "version " (agreement.version) " · " (agreement.time_zone_name) }
            @for (guarantee, states) in &guarantees {
                section .guarantee {
                    h3 { a href=(format!("{link}#{}", segment(&guarantee.id))) { (layout::id(&guarantee.id)) } }
                    @if !guarantee.description.is_empty() { p .quiet { (guarantee.description) } }
                    (scopes(states, SCOPES_MAX))
                }
            }
        }
    })
}

/// The newest verdicts of a guarantee over all its scopes.
pub(super) async fn latest(
    api: &Api,
    agreement: &Agreement,
    guarantee: &Guarantee,
    limit: u32,
) -> Result<Vec<StoredState>, ApiError> {
    let query = StateQuery {
        agreement: Some(agreement.id.clone()),
        kind: Some(StateKind::Guarantee),
        of: Some(guarantee.id.clone()),
        ..StateQuery::default()
    };
    Ok(api.store.states(&query, &PageRequest { limit, after: None }).await?.items)
}

/// One row of bars for each scope, at most so many.
pub(super) fn scopes(states: &[StoredState], max: usize) -> Markup {
    let groups = bars::by_scope(states);
    html! {
        @if groups.is_empty() { p .empty { "No verdict yet." } }
        @for (name, states) in groups.iter().take(max) {
            div .scope {
                div .scope-head {
                    span .scope-name { (name) }
                    @if let Some(newest) = states.iter().find(|s| !s.state.provisional).or(states.first()) {
                        (bars::badge(newest.state.verdict, newest.state.provisional))
                    }
                }
                (bars::row(states))
            }
        }
        @if groups.len() > max { p .quiet { "and " (groups.len() - max) " more scopes" } }
    }
}
