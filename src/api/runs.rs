//! `/probity/v1/runs`: what has run, with its trace. The store's history and the runs still in memory are one list:
//! a busy endpoint's runs are not all written, and none is written at once.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::error::ApiError;
use super::openapi::{AFTER, BAD_REQUEST, Endpoint, Kind, LIMIT, Media, NOT_FOUND, Parameter, ok};
use super::query::Query;
use super::{Api, queue};
use crate::model::RunId;
use crate::model::run::{RunRecord, RunState};
use crate::runtime::run::EndedRun;
use crate::store::{Page, PageRequest, RunQuery, RunText, TRIGGER_KINDS};

pub(super) const QUERY: &[Parameter] = &[
    LIMIT,
    AFTER,
    Parameter::new("subject", Kind::Text, "only of this agreement or flow, by id or label"),
    Parameter::new("state", Kind::OneOf(STATES), "only in this state"),
    Parameter::new("trigger", Kind::OneOf(TRIGGERS), "only started this way"),
    Parameter::new("from", Kind::Instant, "only opened then or later"),
    Parameter::new("to", Kind::Instant, "only opened before"),
    Parameter::new(
        "text",
        Kind::Text,
        "a run's id: that run and those that happened for it; any other text: runs whose error holds it",
    ),
];

pub(super) const STATES: &[&str] = &["running", "done", "failed", "stopped"];
const TRIGGERS: &[&str] = TRIGGER_KINDS;

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: "get",
        path: "/probity/v1/runs",
        tag: "runs",
        summary: "Runs of flows and evaluations, newest first, without their traces",
        query: QUERY,
        body: None,
        answers: &[ok("a page of runs", Media::List("Run")), BAD_REQUEST],
        login: true,
        route: || get(list),
    },
    Endpoint {
        method: "get",
        path: "/probity/v1/runs/{id}",
        tag: "runs",
        summary: "One run with its trace; a durable one from its acceptance on",
        query: &[],
        body: None,
        answers: &[ok("the run", Media::Json("Run")), BAD_REQUEST, NOT_FOUND],
        login: true,
        route: || get(one),
    },
];

async fn list(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Result<Json<Page<RunRecord>>, ApiError> {
    Ok(Json(page(&api, &Query::read(query.as_deref(), QUERY)?).await?))
}

async fn one(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    match find(&api, &id).await {
        Ok(run) if run.state == RunState::Running => Ok(Json(queued(&api, &id).await?.unwrap_or_else(|| json!(run)))),
        Ok(run) => Ok(Json(json!(run))),
        Err(error) if error.status == StatusCode::NOT_FOUND => match queued(&api, &id).await? {
            Some(view) => Ok(Json(view)),
            // It may have ended between the two questions.
            None => find(&api, &id).await.map(|run| Json(json!(run))),
        },
        Err(error) => Err(error),
    }
}

/// A durable run that has not ended.
async fn queued(api: &Api, id: &str) -> Result<Option<Value>, ApiError> {
    let Ok(id) = id.parse() else { return Ok(None) };
    Ok(api.store.queued_run(id).await?.map(|run| queue::view(&run)))
}

/// A run by its id, from memory or from the store.
pub(super) async fn find(api: &Api, id: &str) -> Result<RunRecord, ApiError> {
    let run: RunId =
        id.parse().map_err(|_| ApiError::bad_request(format!("\"{id}\" is no run id")).hint("a run id is a UUID"))?;
    if let Some(record) = api.engine.services.history.find(run) {
        return Ok(record);
    }
    let stored = api.store.run(run).await?;
    stored.ok_or_else(|| {
        ApiError::not_found(format!("no run has the id {run}"))
            .hint("it may have been one of many successful calls, of which only a sample is kept")
    })
}

/// A run the store may not have.
enum InMemory {
    Open(Box<RunRecord>),
    Ended(Arc<EndedRun>),
}

impl InMemory {
    fn id(&self) -> RunId {
        match self {
            InMemory::Open(run) => run.id,
            InMemory::Ended(run) => run.id,
        }
    }

    fn into_record(self) -> RunRecord {
        match self {
            InMemory::Open(run) => *run,
            InMemory::Ended(run) => run.to_record(),
        }
    }
}

/// Where a list goes on: below this run, in the store's page that starts after this cursor.
struct Position {
    below: RunId,
    store_after: Option<String>,
}

impl Position {
    fn write(&self) -> String {
        URL_SAFE_NO_PAD.encode(format!("{} {}", self.below, self.store_after.as_deref().unwrap_or_default()))
    }

    fn read(text: &str) -> Option<Position> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let (below, store_after) = text.split_once(' ')?;
        let store_after = (!store_after.is_empty()).then(|| store_after.to_string());
        Some(Position { below: RunId::from_str(below).ok()?, store_after })
    }
}

/// A page of the merged list. Run ids sort by time, and both sources are read from the same place downwards.
pub(super) async fn page(api: &Api, query: &Query) -> Result<Page<RunRecord>, ApiError> {
    let limit = query.page()?.limit;
    let filter = RunQuery {
        subject: query.text("subject").map(|subject| subject_id(api, subject)),
        state: query.word("state", &STATES.join(", "), RunState::parse)?,
        trigger: query.word("trigger", &TRIGGERS.join(", "), |t| TRIGGERS.contains(&t).then(|| t.to_string()))?,
        from: query.word("from", WHEN, instant)?,
        to: query.word("to", WHEN, instant)?,
        text: query.text("text").and_then(RunText::of),
    };
    let from = query.word("after", "`next` of an earlier answer", Position::read)?;
    let below = |id: RunId| from.as_ref().is_none_or(|p| id < p.below);
    let mut runs: BTreeMap<RunId, (RunRecord, Option<String>)> = BTreeMap::new();
    let mut after = from.as_ref().and_then(|p| p.store_after.clone());
    // Everything above this has been read from the store.
    let mut floor: Option<RunId>;
    loop {
        let request = PageRequest { limit, after: after.clone() };
        let Page { items, next } = api.store.runs(&filter, &request).await?;
        floor = items.last().map(|r| r.id);
        for run in items.into_iter().filter(|r| below(r.id)) {
            runs.insert(run.id, (run, after.clone()));
        }
        if next.is_none() {
            floor = None;
        }
        if runs.len() >= limit as usize || next.is_none() {
            break;
        }
        after = next;
    }
    let first_after = from.as_ref().and_then(|p| p.store_after.clone());
    let (ended, open) = api.engine.services.history.in_memory();
    let mut recent: Vec<InMemory> = ended.into_iter().map(InMemory::Ended).collect();
    recent.extend(open.into_iter().map(|run| InMemory::Open(Box::new(run))));
    recent.retain(|r| below(r.id()) && floor.is_none_or(|floor| r.id() >= floor) && !runs.contains_key(&r.id()));
    recent.sort_by_key(|r| std::cmp::Reverse(r.id()));
    let mut added = 0;
    for run in recent {
        // Those further down cannot be on this page any more.
        if added > limit {
            break;
        }
        let mut record = run.into_record();
        if filter.fits(&record) {
            record.trace.clear();
            // It goes with the store's page its neighbour below came from; reading that again is never wrong.
            let neighbour = runs.range(..record.id).next_back().or_else(|| runs.range(record.id..).next());
            let after = neighbour.map_or(first_after.clone(), |(_, (_, after))| after.clone());
            runs.insert(record.id, (record, after));
            added += 1;
        }
    }
    let more = floor.is_some() || runs.len() > limit as usize;
    let mut next = None;
    let mut items = Vec::new();
    for (id, (run, store_after)) in runs.into_iter().rev().take(limit as usize) {
        next = more.then_some(Position { below: id, store_after });
        items.push(run);
    }
    Ok(Page { items, next: next.map(|p| p.write()) })
}

const WHEN: &str = "an instant such as 2026-03-29T00:00:00Z, or a date and time of UTC";

/// An instant, or what a browser's field for date and time gives, taken as UTC.
pub(super) fn instant(text: &str) -> Option<Timestamp> {
    let civil = || text.parse::<jiff::civil::DateTime>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
    text.parse().ok().or_else(|| civil().map(|zoned| zoned.timestamp()))
}

/// The id behind what somebody calls a flow: its label, where no flow has it as id.
fn subject_id(api: &Api, subject: &str) -> String {
    let deployed = api.engine.current();
    let flows = &deployed.plan.flows;
    if flows.iter().any(|f| f.id == subject) {
        return subject.into();
    }
    flows.iter().find(|f| f.label == subject).map_or(subject, |f| f.id.as_str()).to_string()
}
