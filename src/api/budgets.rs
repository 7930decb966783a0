//! `/probity/v1/budgets`, `/probity/v1/burn-rates`: how much of each error budget is left, and how fast it goes; and
//! `/probity/v1/agreements/{id}/rules`: the same as rules for Prometheus.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::routing::get;
use jiff::Timestamp;
use serde::Serialize;

use super::Api;
use super::agreements::find;
use super::error::ApiError;
use super::openapi::{AFTER, BAD_REQUEST, Endpoint, Kind, LIMIT, Media, NOT_FOUND, Parameter, ok};
use super::query::Query;
use super::states::VERDICTS;
use crate::agreement::budgets::rules::{Rules, rules};
use crate::model::RunId;
use crate::model::budget::Figures;
use crate::model::score::Score;
use crate::model::state::{Coverage, Scope, StateKind, StoredState, Verdict, Window};
use crate::store::{Page, StateQuery};

const QUERY: &[Parameter] = &[
    LIMIT,
    AFTER,
    Parameter::new("agreement", Kind::Text, "only of this agreement"),
    Parameter::new("budget", Kind::Text, "only this budget; of burn rates `<budget>/<alert>`"),
    Parameter::new("scope", Kind::Scope, "only in this scope, a JSON object such as {\"team\":\"a\"}"),
    Parameter::new(
        "verdict",
        Kind::OneOf(VERDICTS),
        "only with this verdict: `violated` is used up, or an alert that fires",
    ),
    Parameter::new("from", Kind::Instant, "only periods that end after this"),
    Parameter::new("to", Kind::Instant, "only periods that start before this"),
    Parameter::new("provisional", Kind::Flag, "only open periods (or, false, closed ones)"),
    Parameter::new("as_of", Kind::Instant, "as they were known at this instant, instead of now"),
];

const fn listed(path: &'static str, summary: &'static str, answers: &'static [super::openapi::Answer]) -> Endpoint {
    Endpoint {
        method: "get",
        path,
        tag: "verdicts",
        summary,
        query: QUERY,
        body: None,
        answers,
        login: true,
        route: || get(budgets),
    }
}

pub(super) const ENDPOINTS: &[Endpoint] = &[
    listed(
        "/probity/v1/budgets",
        "How much of each error budget is left, newest period first",
        &[ok("a page of budgets", Media::List("Budget")), BAD_REQUEST],
    ),
    Endpoint {
        route: || get(burn_rates),
        ..listed(
            "/probity/v1/burn-rates",
            "How fast error budgets are used up, and which alerts fire, newest first",
            &[ok("a page of burn rates", Media::List("Budget")), BAD_REQUEST],
        )
    },
    Endpoint {
        method: "get",
        path: "/probity/v1/agreements/{id}/rules",
        tag: "agreements",
        summary: "Recording and alert rules for Prometheus, and which budgets have none and why",
        query: &[],
        body: None,
        answers: &[ok("the groups of a rule file", Media::Json("Rules")), NOT_FOUND],
        login: true,
        route: || get(as_rules),
    },
];

/// A budget's period or an alert's time, with its exact figures.
#[derive(Serialize)]
pub(super) struct Budget {
    pub(super) agreement: String,
    pub(super) budget: String,
    pub(super) scope: Scope,
    pub(super) window: Window,
    pub(super) verdict: Option<Verdict>,
    /// Of a budget the share that is left, of a burn rate how many times too fast.
    pub(super) value: Option<f64>,
    pub(super) score: Option<Score>,
    pub(super) reason: String,
    pub(super) coverage: Option<Coverage>,
    pub(super) provisional: bool,
    pub(super) figures: Option<Figures>,
    pub(super) revision: u32,
    pub(super) recorded_at: Timestamp,
    pub(super) agreement_version: String,
    pub(super) run: RunId,
}

impl From<StoredState> for Budget {
    fn from(stored: StoredState) -> Self {
        let figures = Figures::of(&stored.state);
        let state = stored.state;
        Budget {
            figures,
            agreement: state.agreement,
            budget: state.of,
            scope: state.scope,
            window: state.window,
            verdict: state.verdict,
            value: state.value,
            score: state.score,
            reason: state.reason,
            coverage: state.coverage,
            provisional: state.provisional,
            revision: stored.revision,
            recorded_at: stored.recorded_at,
            agreement_version: state.agreement_version,
            run: state.run,
        }
    }
}

async fn budgets(state: State<Arc<Api>>, query: RawQuery) -> Result<Json<Page<Budget>>, ApiError> {
    list(state, query, StateKind::Budget).await
}

async fn burn_rates(state: State<Arc<Api>>, query: RawQuery) -> Result<Json<Page<Budget>>, ApiError> {
    list(state, query, StateKind::BurnRate).await
}

async fn list(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
    kind: StateKind,
) -> Result<Json<Page<Budget>>, ApiError> {
    let query = Query::read(query.as_deref(), QUERY)?;
    let page = query.page()?;
    let filter = StateQuery {
        agreement: query.owned("agreement"),
        kind: Some(kind),
        of: query.owned("budget"),
        scope: query.scope("scope")?,
        verdict: query.word("verdict", &VERDICTS.join(", "), Verdict::parse)?,
        from: query.instant("from")?,
        to: query.instant("to")?,
        provisional: query.tristate("provisional")?,
        as_of: query.instant("as_of")?,
    };
    let Page { items, next } = api.store.states(&filter, &page).await?;
    Ok(Json(Page { items: items.into_iter().map(Budget::from).collect(), next }))
}

async fn as_rules(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Result<Json<Rules>, ApiError> {
    let (agreement, _) = find(&api, &id)?;
    Ok(Json(rules(&agreement)))
}
