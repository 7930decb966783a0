//! Verdicts: the table of many, and the page of one with its reason, values, evidence and revisions.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::HeaderMap;
use maud::{Markup, html};

use super::bars::{badge, verdict_address};
use super::layout::{self, PageError, Section, instant, number, page, scope_text, segment};
use crate::agreement::explain::VerdictId;
use crate::api::Api;
use crate::api::error::ApiError;
use crate::api::explain;
use crate::api::openapi::{AFTER, Kind, LIMIT, Parameter};
use crate::api::query::Query;
use crate::api::states::VERDICTS;
use crate::model::state::{self, Evidence, StateKind, StoredState};
use crate::model::waiver::AppliedWaiver;
use crate::store::StateQuery;

pub(super) const LIST_QUERY: &[Parameter] = &[
    LIMIT,
    AFTER,
    Parameter::new("agreement", Kind::Text, "only of this agreement"),
    Parameter::new("guarantee", Kind::Text, "only of this guarantee"),
    Parameter::new("verdict", Kind::OneOf(VERDICTS), "only this verdict"),
];

pub(super) const QUERY: &[Parameter] = &[
    Parameter::new("agreement", Kind::Text, "the agreement's id"),
    Parameter::new("guarantee", Kind::Text, "the guarantee's id"),
    Parameter::new("scope", Kind::Scope, "the scope"),
    Parameter::new("from", Kind::Instant, "the window's start"),
    Parameter::new("to", Kind::Instant, "the window's end"),
];

pub(super) async fn list(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Result<Response, PageError> {
    let query = Query::read(query.as_deref(), LIST_QUERY)?;
    let filter = StateQuery {
        agreement: query.owned("agreement"),
        kind: Some(StateKind::Guarantee),
        of: query.owned("guarantee"),
        verdict: query.word("verdict", &VERDICTS.join(", "), state::Verdict::parse)?,
        ..StateQuery::default()
    };
    let verdicts = api.store.states(&filter, &query.page()?).await.map_err(ApiError::from)?;
    let given: Vec<(&str, &str)> = ["agreement", "guarantee", "verdict", "limit"]
        .into_iter()
        .filter_map(|name| Some((name, query.text(name)?)))
        .collect();
    let body = html! {
        h1 { "Verdicts" }
        (filters(&query))
        @if verdicts.items.is_empty() { p .empty { "No verdict fits." } }
        ul .rows {
            @for stored in &verdicts.items {
                @let state = &stored.state;
                li {
                    a href=(verdict_address(state)) {
                        span .row-head {
                            strong { (layout::id(&state.of)) }
                            (badge(state.verdict, state.provisional))
                        }
                        span .quiet { (state.agreement) " · " (scope_text(&state.scope)) }
                        br; span .quiet { (state.window.text()) }
                    }
                }
            }
        }
        (layout::more("/probity/verdicts", &given, verdicts.next.as_deref()))
    };
    Ok(page(Section::Verdicts, "Verdicts", &[], body))
}

/// A form whose answer is this page again.
fn filters(query: &Query) -> Markup {
    html! {
        form .filters method="get" action="/probity/verdicts" {
            label { "Agreement " input name="agreement" value=(query.text("agreement").unwrap_or_default()); }
            label { "Guarantee " input name="guarantee" value=(query.text("guarantee").unwrap_or_default()); }
            label { "Verdict "
                select name="verdict" {
                    option value="" { "any" }
                    @for word in VERDICTS {
                        option value=(word) selected[query.text("verdict") == Some(word)] { (word) }
                    }
                }
            }
            button type="submit" { "Show" }
        }
    }
}

pub(super) async fn show(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let query = Query::read(query.as_deref(), QUERY)?;
    let missing = |name: &str| ApiError::bad_request(format!("query parameter \"{name}\" is missing"));
    let agreement = query.text("agreement").ok_or_else(|| missing("agreement"))?;
    let guarantee = query.text("guarantee").ok_or_else(|| missing("guarantee"))?;
    let scope = query.scope("scope")?.ok_or_else(|| missing("scope"))?;
    let from = query.instant("from")?.ok_or_else(|| missing("from"))?;
    let to = query.instant("to")?.ok_or_else(|| missing("to"))?;
    let revisions = api.store.revisions(agreement, StateKind::Guarantee, guarantee, &scope, from, to).await;
    let revisions = revisions.map_err(ApiError::from)?;
    let Some(stored) = revisions.last() else {
        return Err(ApiError::not_found("no verdict was stored for this guarantee, scope and window").into());
    };
    let up = format!("/probity/agreements/{}", segment(agreement));
    let trail = [
        ("/probity/".to_string(), "Agreements".to_string()),
        (up.clone(), agreement.to_string()),
        (format!("{up}#{}", segment(guarantee)), guarantee.to_string()),
    ];
    let id = VerdictId {
        agreement: agreement.to_owned(),
        guarantee: guarantee.to_owned(),
        scope,
        from: from.to_string(),
        to: Some(to.to_string()),
    };
    let language = explain::accepted(&headers);
    let why = explain::explained(&api, &id).await?.lines(language);
    Ok(page(Section::Verdicts, guarantee, &trail, one(stored, &revisions, &why, language.tag())))
}

fn one(stored: &StoredState, revisions: &[StoredState], why: &[String], language: &str) -> Markup {
    let state = &stored.state;
    html! {
        h1 { (layout::id(&state.of)) " " (badge(state.verdict, state.provisional)) }
        p .reason { (state.reason) }
        @if let Some(waiver) = &state.waiver { (waived(waiver)) }
        section .card {
            dl {
                dt { "Window" } dd { (state.window.text()) }
                dt { "Scope" } dd { (scope_text(&state.scope)) }
                dt { "Value" } dd {
                    (value(state.value))
                    @if let Some(score) = state.score { " " span .quiet { "exactly " (score.text()) } }
                }
                @for (metric, n) in &state.values { dt { (layout::id(metric)) } dd { (value(*n)) } }
                dt { "Coverage" } dd { (coverage(state.coverage)) }
                @for (name, n) in &state.penalties { dt { "Penalty " (layout::id(name)) } dd { (value(*n)) } }
                @for (name, n) in &state.rewards { dt { "Reward " (layout::id(name)) } dd { (value(*n)) } }
                dt { "Run" } dd { a #run href=(format!("/probity/runs/{}", state.run)) { (state.run) } }
                dt { "Recorded" } dd { (instant(stored.recorded_at)) ", revision " (stored.revision) }
                dt { "Agreement" } dd { (state.agreement) " at " code { (short(&state.agreement_version)) } }
                (made_with(state))
            }
        }
        section .card id="why" {
            h2 { "Why" }
            // Laid out as text: what belongs to a line stands indented below it.
            pre tabindex="0" lang=(language) { (why.join("\n")) }
        }
        section .card id="evidence" {
            h2 { "Evidence" }
            @if state.evidence.is_empty() { p .empty { "The source gave none." } }
            @for (i, piece) in state.evidence.iter().enumerate() { (evidence(piece, i == 0)) }
        }
        @if revisions.len() > 1 { (history(revisions)) }
    }
}

fn waived(waiver: &AppliedWaiver) -> Markup {
    html! {
        p .reason {
            "Accepted by " strong { (waiver.owner) } " until " (instant(waiver.expires)) ": " (waiver.reason)
            " (waiver " (waiver.id) "). Without the waiver it is " (badge(Some(waiver.verdict), false))
            @for (name, n) in &waiver.penalties { ", " (name) " " (value(*n)) }
            "."
        }
    }
}

/// By what it can be made again.
fn made_with(state: &state::State) -> Markup {
    let made = &state.provenance;
    html! {
        @if let Some(inputs) = state.inputs { dt { "Inputs" } dd { code { (short(&inputs.to_string())) } } }
        @if !made.engine.is_empty() {
            dt { "Made with" } dd {
                "Probity " (made.engine) ", tz database " (made.time_zones)
                @if let Some(flows) = &made.flows { ", flows " code { (short(flows)) } }
                @for (name, digest) in &made.plugins { ", " (name) " " code { (short(digest.trim_start_matches("sha256:"))) } }
            }
        }
    }
}

fn value(n: Option<f64>) -> Markup {
    html! { @match n { Some(n) => { (number(n)) }, None => span .quiet { "missing" } } }
}

fn coverage(coverage: Option<state::Coverage>) -> Markup {
    html! {
        @match coverage {
            Some(c) => {
                (c.seen) " of " (c.expected)
                @if let Some(percent) = c.percent() { " (" (percent) ")" }
            },
            None => span .quiet { "not told by the source" },
        }
    }
}

fn evidence(piece: &Evidence, open: bool) -> Markup {
    let text = serde_json::to_string_pretty(&piece.data).unwrap_or_default();
    html! {
        details open[open] {
            summary { strong { (piece.metric) } " " span .quiet { (instant(piece.collected_at)) } }
            p .quiet { "from " (piece.source) }
            pre tabindex="0" { (text) }
        }
    }
}

fn history(revisions: &[StoredState]) -> Markup {
    html! {
        section .card {
            h2 { "Revisions" }
            ol .rows {
                @for stored in revisions.iter().rev() {
                    li {
                        span .row-head { strong { "Revision " (stored.revision) } (badge(stored.state.verdict, stored.state.provisional)) }
                        span .quiet { (instant(stored.recorded_at)) " · " a href=(format!("/probity/runs/{}", stored.state.run)) { "run" } }
                        br; (stored.state.reason)
                    }
                }
            }
        }
    }
}

/// The first digits of a hash: enough to tell two apart.
fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}
