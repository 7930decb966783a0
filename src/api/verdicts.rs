//! `/probity/v1/verdicts`: was it kept, why, and on what evidence.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::routing::get;
use serde::Serialize;
use std::collections::BTreeMap;

use super::Api;
use super::error::ApiError;
use super::openapi::{AFTER, BAD_REQUEST, Endpoint, Kind, LIMIT, Media, Parameter, ok};
use super::query::Query;
use super::states::VERDICTS;
use crate::model::RunId;
use crate::model::provenance::{Digest, Provenance};
use crate::model::score::Score;
use crate::model::state::{self, Amounts, Coverage, Evidence, Scope, StateKind, StoredState, Window};
use crate::model::waiver::AppliedWaiver;
use crate::store::{Page, StateQuery};

const QUERY: &[Parameter] = &[
    LIMIT,
    AFTER,
    Parameter::new("agreement", Kind::Text, "only of this agreement"),
    Parameter::new("guarantee", Kind::Text, "only of this guarantee"),
    Parameter::new("scope", Kind::Scope, "only in this scope, a JSON object such as {\"team\":\"a\"}"),
    Parameter::new("verdict", Kind::OneOf(VERDICTS), "only this verdict"),
    Parameter::new("from", Kind::Instant, "only windows that end after this"),
    Parameter::new("to", Kind::Instant, "only windows that start before this"),
    Parameter::new("provisional", Kind::Flag, "only of windows still open (or, false, of closed ones)"),
    Parameter::new("as_of", Kind::Instant, "as they were known at this instant, instead of now"),
];

pub(super) const ENDPOINTS: &[Endpoint] = &[Endpoint {
    method: "get",
    path: "/probity/v1/verdicts",
    tag: "verdicts",
    summary: "Verdicts with their evidence, newest window first",
    query: QUERY,
    body: None,
    answers: &[ok("a page of verdicts", Media::List("Verdict")), BAD_REQUEST],
    login: true,
    route: || get(list),
}];

/// A guarantee's state as a verdict. A verdict word occurs only as the value of `verdict`.
#[derive(Serialize)]
pub(super) struct Verdict {
    agreement: String,
    guarantee: String,
    scope: Scope,
    window: Window,
    value: Option<f64>,
    score: Option<Score>,
    values: BTreeMap<String, Option<f64>>,
    verdict: Option<state::Verdict>,
    reason: String,
    coverage: Option<Coverage>,
    evidence: Vec<Evidence>,
    run: RunId,
    provisional: bool,
    penalties: Amounts,
    rewards: Amounts,
    /// Who accepts a waived verdict, until when, and the verdict without the waiver.
    waiver: Option<Box<AppliedWaiver>>,
    agreement_version: String,
    inputs: Option<Digest>,
    provenance: Arc<Provenance>,
    /// `None` when it was not stored.
    revision: Option<u32>,
}

impl From<state::State> for Verdict {
    fn from(state: state::State) -> Self {
        Verdict {
            agreement: state.agreement,
            guarantee: state.of,
            scope: state.scope,
            window: state.window,
            value: state.value,
            score: state.score,
            values: state.values,
            verdict: state.verdict,
            reason: state.reason,
            coverage: state.coverage,
            evidence: state.evidence,
            run: state.run,
            provisional: state.provisional,
            penalties: state.penalties,
            rewards: state.rewards,
            waiver: state.waiver,
            agreement_version: state.agreement_version,
            inputs: state.inputs,
            provenance: state.provenance,
            revision: None,
        }
    }
}

impl From<StoredState> for Verdict {
    fn from(stored: StoredState) -> Self {
        Verdict { revision: Some(stored.revision), ..Verdict::from(stored.state) }
    }
}

async fn list(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Result<Json<Page<Verdict>>, ApiError> {
    let query = Query::read(query.as_deref(), QUERY)?;
    let page = query.page()?;
    let filter = StateQuery {
        agreement: query.owned("agreement"),
        kind: Some(StateKind::Guarantee),
        of: query.owned("guarantee"),
        scope: query.scope("scope")?,
        verdict: query.word("verdict", &VERDICTS.join(", "), state::Verdict::parse)?,
        from: query.instant("from")?,
        to: query.instant("to")?,
        provisional: query.tristate("provisional")?,
        as_of: query.instant("as_of")?,
    };
    let Page { items, next } = api.store.states(&filter, &page).await?;
    Ok(Json(Page { items: items.into_iter().map(Verdict::from).collect(), next }))
}
