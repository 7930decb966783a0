//! `/probity/v1/states`: what was observed for guarantees and metrics; the revisions of one of them.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::routing::get;

use super::Api;
use super::error::ApiError;
use super::openapi::{AFTER, BAD_REQUEST, Endpoint, Kind, LIMIT, Media, Parameter, ok};
use super::query::Query;
use crate::model::state::{StateKind, StoredState, Verdict};
use crate::store::{Page, StateQuery};

const QUERY: &[Parameter] = &[
    LIMIT,
    AFTER,
    Parameter::new("agreement", Kind::Text, "only of this agreement"),
    Parameter::new("kind", Kind::OneOf(StateKind::WORDS), "only of guarantees, metrics, budgets or burn rates"),
    Parameter::new(
        "of",
        Kind::Text,
        "only of the guarantee, metric or budget with this id; of burn rates `<budget>/<alert>`",
    ),
    Parameter::new("scope", Kind::Scope, "only in this scope, a JSON object such as {\"team\":\"a\"}"),
    Parameter::new("verdict", Kind::OneOf(VERDICTS), "only with this verdict"),
    Parameter::new("from", Kind::Instant, "only windows that end after this; with `revisions`, the window's start"),
    Parameter::new("to", Kind::Instant, "only windows that start before this; with `revisions`, the window's end"),
    Parameter::new("provisional", Kind::Flag, "only what was said of a window still open (or, false, of closed ones)"),
    Parameter::new("as_of", Kind::Instant, "as they were known at this instant, instead of now"),
    Parameter::new("revisions", Kind::Flag, "all revisions of one state, oldest first, instead of the latest of many"),
];

pub(super) const VERDICTS: &[&str] = Verdict::WORDS;

pub(super) const ENDPOINTS: &[Endpoint] = &[Endpoint {
    method: "get",
    path: "/probity/v1/states",
    tag: "verdicts",
    summary: "The latest states, newest window first; or the revisions of one",
    query: QUERY,
    body: None,
    answers: &[ok("a page of states", Media::List("State")), BAD_REQUEST],
    login: true,
    route: || get(list),
}];

async fn list(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Result<Json<Page<StoredState>>, ApiError> {
    let query = Query::read(query.as_deref(), QUERY)?;
    let page = query.page()?;
    let filter = StateQuery {
        agreement: query.owned("agreement"),
        kind: query.word("kind", &StateKind::WORDS.join(", "), StateKind::parse)?,
        of: query.owned("of"),
        scope: query.scope("scope")?,
        verdict: query.word("verdict", &VERDICTS.join(", "), Verdict::parse)?,
        from: query.instant("from")?,
        to: query.instant("to")?,
        provisional: query.tristate("provisional")?,
        as_of: query.instant("as_of")?,
    };
    if query.flag("revisions")? {
        return Ok(Json(revisions(&api, filter).await?));
    }
    Ok(Json(api.store.states(&filter, &page).await?))
}

async fn revisions(api: &Api, filter: StateQuery) -> Result<Page<StoredState>, ApiError> {
    let missing = || {
        ApiError::bad_request("revisions are those of one state")
            .hint("give its agreement, kind, of, scope, from and to, each as the state has them")
    };
    let items = api
        .store
        .revisions(
            filter.agreement.as_deref().ok_or_else(missing)?,
            filter.kind.ok_or_else(missing)?,
            filter.of.as_deref().ok_or_else(missing)?,
            &filter.scope.ok_or_else(missing)?,
            filter.from.ok_or_else(missing)?,
            filter.to.ok_or_else(missing)?,
        )
        .await?;
    Ok(Page { items, next: None })
}
