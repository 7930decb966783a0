//! Stored states in the Registry's form: the last ones of a guarantee, those of one indicator, and why they stay.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State as Shared};
use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::answer::{Refusal, json_answer, object_id};
use super::evaluation::{truth, unknown};
use super::query::Wanted;
use super::{RegistryV6, service};
use crate::agreement::compat::periods;
use crate::agreement::queries::iso;
use crate::model::agreement::Agreement;
use crate::model::state::{StateKind, StoredState};
use crate::store::{PageRequest, StateQuery};

type Answered = Result<Response, Refusal>;

/// States read at once.
const PAGE: u32 = 1_000;

/// The last stored states of a guarantee, latest window first; nothing is evaluated.
pub(super) async fn lasts(
    registry: &RegistryV6,
    agreement: &Agreement,
    guarantee: &str,
    count: usize,
    wanted: &Wanted,
) -> Answered {
    let query = StateQuery {
        agreement: Some(agreement.id.clone()),
        kind: Some(StateKind::Guarantee),
        of: Some(guarantee.to_owned()),
        ..StateQuery::default()
    };
    let fits = |found: &StoredState| wanted.with_no_evidences || !found.state.evidence.is_empty();
    let found = read(registry, query, count, &fits).await?;
    let items: Vec<Value> = found.iter().map(|found| stored_item(found, wanted.evidences)).collect();
    Ok(json_answer(StatusCode::OK, &items))
}

/// At most `count` stored states that fit, latest window first.
async fn read(
    registry: &RegistryV6,
    query: StateQuery,
    count: usize,
    fits: &(dyn Fn(&StoredState) -> bool + Send + Sync),
) -> Result<Vec<StoredState>, Refusal> {
    let mut page = PageRequest { limit: PAGE, after: None };
    let mut found = Vec::new();
    while found.len() < count {
        let slice = registry.store.states(&query, &page).await;
        let slice = slice.map_err(|error| Refusal::failed("the stored states could not be read", &error))?;
        found.extend(slice.items.into_iter().filter(fits));
        match slice.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    // Ranges that were asked for once, as the Registry keeps them beside the others.
    let agreement = query.agreement.as_deref().unwrap_or_default();
    let aside = registry.store.aside(agreement).await;
    let aside = aside.map_err(|error| Refusal::failed("the stored states could not be read", &error))?;
    let asked = |found: &StoredState| {
        let state = &found.state;
        query.kind.is_none_or(|kind| kind == state.kind) && query.of.as_ref().is_none_or(|of| *of == state.of)
    };
    found.extend(aside.into_iter().filter(|found| asked(found) && fits(found)));
    found.sort_by_key(|found| std::cmp::Reverse(found.state.window.to));
    found.truncate(count);
    Ok(found)
}

/// A stored state with its record, as the Registry's database has it.
fn stored_item(found: &StoredState, evidences: bool) -> Value {
    let state = &found.state;
    let (kind, value) = match state.kind {
        StateKind::Guarantee => ("guarantees", json!(truth(state.verdict))),
        // Only the two above are ever asked for.
        StateKind::Metric | StateKind::Budget | StateKind::BurnRate => ("metrics", json!(state.value)),
    };
    let period = json!({ "from": iso(state.window.from), "to": iso(state.window.to) });
    let mut record = Map::new();
    record.insert("value".into(), value);
    record.insert("time".into(), json!(iso(found.recorded_at)));
    if state.kind == StateKind::Guarantee {
        record.insert("metrics".into(), json!(state.values));
    }
    if evidences {
        record.insert("evidences".into(), state.evidence.iter().map(|e| e.data.clone()).collect());
    }
    let scope = state.scope.canonical();
    json!({
        "_id": object_id(&[&state.agreement, kind, &state.of, &scope, &period.to_string()]),
        "stateType": kind,
        "agreementId": state.agreement,
        "scope": state.scope,
        "period": period,
        "id": state.of,
        "__v": 0,
        "record": record,
        "record_size": found.revision,
    })
}

/// Stored states of one indicator: `indicator`, `type`, `from` (and `to`) or `at`, `scope.<key>`.
pub(super) async fn filtered(
    registry: Shared<Arc<RegistryV6>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Answered {
    let bad = |problem: String| Refusal::new(StatusCode::BAD_REQUEST, problem);
    let wanted = Wanted::read(query.as_deref(), registry.mode).map_err(bad)?;
    let none = || Refusal::message_only(StatusCode::NOT_FOUND, format!("No states found for agreementId: {id}"));
    let kind = match wanted.get("type") {
        Some("guarantees") | None => StateKind::Guarantee,
        Some("metrics") => StateKind::Metric,
        Some(_) => return Err(none()),
    };
    let query = StateQuery {
        agreement: Some(id.clone()),
        kind: Some(kind),
        of: wanted.get("indicator").map(str::to_owned),
        ..StateQuery::default()
    };
    // What is no date equals no bound of any state.
    let bound = |key: &str| wanted.get(key).map(|text| periods::date(text).ok());
    let (from, to, at) = (bound("from"), bound("to"), bound("at"));
    let scope = wanted.scope();
    let fits = |found: &StoredState| {
        let window = &found.state.window;
        from.is_none_or(|from| from == Some(window.from))
            && to.is_none_or(|to| to == Some(window.to))
            && at.is_none_or(|at| at.is_some_and(|at| window.from <= at && at < window.to))
            && scope.iter().all(|(key, member)| {
                // As in the Registry, `*` is any member.
                *member == "*" || found.state.scope.0.get(*key).is_some_and(|m| m == member)
            })
    };
    let found = read(&registry, query, FILTERED_MAX, &fits).await?;
    if found.is_empty() {
        return Err(none());
    }
    let items: Vec<Value> = found.iter().map(|found| stored_item(found, true)).collect();
    Ok(json_answer(StatusCode::OK, &items))
}

/// Most states one call gives.
const FILTERED_MAX: usize = 10_000;

/// Verdicts are evidence: a caller of this API cannot remove them.
pub(super) async fn remove(registry: Shared<Arc<RegistryV6>>, Path(id): Path<String>) -> Answered {
    let query = StateQuery { agreement: Some(id.clone()), ..StateQuery::default() };
    if read(&registry, query, 1, &|_| true).await?.is_empty() {
        let message = format!("No state found to delete for agreement {id}");
        return Err(Refusal::message_only(StatusCode::NOT_FOUND, message));
    }
    Err(service::states_are_kept())
}

/// `404` of a path of states when there is no such agreement.
pub(super) fn known(registry: &RegistryV6, id: &str) -> Result<Arc<Agreement>, Refusal> {
    registry.agreements.get(id).ok_or_else(|| unknown(id))
}
