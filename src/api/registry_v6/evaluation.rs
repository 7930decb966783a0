//! `GET /api/v6/states/{id}/guarantees[/{guarantee}]`: evaluate and stream the states.
//!
//! Every call evaluates and stores our own verdicts, whichever are shown: in `compat` the same answers of the same
//! collectors are judged once more by the Registry's rules. The evaluation goes on when its caller leaves, so that
//! what took too long for one call is there for the next.

use std::cell::LazyCell;
use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State as Shared};
use axum::response::Response;
use futures_util::stream::{self, StreamExt};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::answer::{Refusal, print, with_type};
use super::query::Wanted;
use super::{Mode, RegistryV6, states};
use crate::agreement::compat::{periods, states as compat};
use crate::agreement::queries::iso;
use crate::api::auth::Caller;
use crate::evaluate::{Asked, Asking, EvaluateError, Request, Windows};
use crate::model::agreement::{Agreement, Guarantee};
use crate::model::run::Trigger;
use crate::model::state::{State, Verdict};

type Answered = Result<Response, Refusal>;
type Call = Shared<Arc<RegistryV6>>;
/// The states of one guarantee, printed; or why the Registry would have none.
type Found = Result<Vec<Vec<u8>>, String>;

/// Guarantees of one call that are evaluated at once; their states keep the document's order.
const GUARANTEES_AT_ONCE: usize = 4;

/// The Registry's words when any guarantee fails.
const GIVEN_UP: &str = "Error processing guarantees sequentially";

pub(super) async fn of_agreement(
    registry: Call,
    Path(id): Path<String>,
    query: RawQuery,
    caller: Option<Extension<Caller>>,
    headers: HeaderMap,
) -> Answered {
    answer(registry.0, id, None, query, caller, &headers).await
}

pub(super) async fn of_guarantee(
    registry: Call,
    Path((id, guarantee)): Path<(String, String)>,
    query: RawQuery,
    caller: Option<Extension<Caller>>,
    headers: HeaderMap,
) -> Answered {
    answer(registry.0, id, Some(guarantee), query, caller, &headers).await
}

async fn answer(
    registry: Arc<RegistryV6>,
    id: String,
    guarantee: Option<String>,
    RawQuery(query): RawQuery,
    caller: Option<Extension<Caller>>,
    headers: &HeaderMap,
) -> Answered {
    let wanted = Wanted::read(query.as_deref(), registry.mode)
        .map_err(|problem| Refusal::new(StatusCode::BAD_REQUEST, problem))?;
    let agreement = registry.agreements.get(&id).ok_or_else(|| unknown(&id))?;
    if let Some(guarantee) = &guarantee
        && !agreement.guarantees.iter().any(|g| g.id == *guarantee)
    {
        let message = format!("There is no guarantee with id: {guarantee} in agreement {id}");
        return Err(Refusal::message_only(StatusCode::NOT_FOUND, message));
    }
    if let (Some(guarantee), Some(count)) = (&guarantee, wanted.lasts) {
        return states::lasts(&registry, &agreement, guarantee, count, &wanted).await;
    }
    let now = registry.clock.now();
    let jobs = {
        let document = LazyCell::new(|| crate::agreement::load::resolved(&agreement.document));
        let all = agreement.guarantees.iter().enumerate();
        let asked = all.filter(|(_, g)| guarantee.as_ref().is_none_or(|id| *id == g.id));
        let jobs = asked.map(|(index, _)| Ok((index, windows(&|| &document, index, &wanted, now)?)));
        jobs.collect::<Result<Vec<(usize, Windows)>, Refusal>>()?
    };
    let task = Task {
        agreement,
        mode: wanted.mode,
        settled: wanted.force_update == Some(false) && wanted.mode == Mode::Strict,
        by: caller.map_or_else(|| "anonymous".into(), |Extension(caller)| caller.name),
        access_token: headers.get("x-access-token").and_then(|v| v.to_str().ok()).map(str::to_owned),
        registry,
    };
    if task.mode == Mode::Strict {
        // Before the list begins: afterwards it could only be broken off.
        for (guarantee, windows) in &jobs {
            let request = task.request(*guarantee, *windows);
            task.registry.evaluator.allows(&request).map_err(|error| {
                let guarantee = &task.agreement.guarantees[*guarantee].id;
                Refusal::new(StatusCode::BAD_REQUEST, format!("from and to, guarantee \"{guarantee}\": {error}"))
            })?;
        }
    }
    stream_states(Arc::new(task), jobs).await
}

pub(super) fn unknown(id: &str) -> Refusal {
    Refusal::message_only(StatusCode::NOT_FOUND, format!("There is no agreement with id: {id}"))
}

/// Which windows of a guarantee a call is about.
fn windows<'d>(
    document: &dyn Fn() -> &'d Value,
    guarantee: usize,
    wanted: &Wanted,
    now: Timestamp,
) -> Result<Windows, Refusal> {
    let bad = |message: String| Refusal::new(StatusCode::BAD_REQUEST, message);
    let bound = |name: &str, text: &str| {
        periods::date(text).map_err(|_| match wanted.mode {
            // As the Registry says it.
            Mode::Compat => Refusal::message_only(StatusCode::INTERNAL_SERVER_ERROR, "Invalid time value"),
            Mode::Strict => bad(format!("{name} is \"{text}\"; expected an instant such as 2024-03-01T00:00:00.000Z")),
        })
    };
    let range = match (&wanted.from, &wanted.to) {
        (Some(from), Some(to)) => Some((bound("from", from)?, bound("to", to)?)),
        (None, None) => None,
        _ if wanted.mode == Mode::Compat => None,
        _ => return Err(bad("from and to are only taken together".into())),
    };
    if let Some((from, to)) = range.filter(|(from, to)| from >= to) {
        return Err(bad(format!("from ({}) must be before to ({})", iso(from), iso(to))));
    }
    match (range, wanted.mode) {
        (Some((from, to)), _) if !wanted.new_periods_from_guarantees => Ok(Windows::Exactly { from, to }),
        (Some((from, to)), Mode::Strict) => Ok(Windows::Overlapping { from, to }),
        (None, Mode::Strict) if wanted.last_period => Ok(Windows::OpenAt(now)),
        (None, Mode::Strict) => Err(bad("lastPeriod=false needs from and to".into())),
        (range, Mode::Compat) => registry_windows(document(), guarantee, wanted, range, now),
    }
}

/// The windows the Registry would ask about. For periods it does not know, and answers 500, ours stand in.
fn registry_windows(
    document: &Value,
    guarantee: usize,
    wanted: &Wanted,
    range: Option<(Timestamp, Timestamp)>,
    now: Timestamp,
) -> Result<Windows, Refusal> {
    let written = &document["terms"]["guarantees"][guarantee];
    match periods::of_guarantee(written, &document["context"]["validity"], &wanted.periods(), now) {
        Ok(found) => match found.first().filter(|period| period.from < period.to) {
            Some(period) => Ok(Windows::Exactly { from: period.from, to: period.to }),
            None => Err(Refusal::new(StatusCode::BAD_REQUEST, "the period is empty")),
        },
        Err(error) if range.is_none() && !wanted.last_period => {
            Err(Refusal::message_only(StatusCode::INTERNAL_SERVER_ERROR, error.message))
        }
        Err(_) => Ok(match range {
            Some((from, to)) => Windows::Overlapping { from, to },
            None => Windows::OpenAt(now),
        }),
    }
}

/// What is evaluated for one caller.
struct Task {
    registry: Arc<RegistryV6>,
    agreement: Arc<Agreement>,
    mode: Mode,
    /// Verdicts that are settled are not asked for again.
    settled: bool,
    by: String,
    access_token: Option<String>,
}

/// Evaluates guarantee by guarantee, and answers with a stream that begins when the first states are there.
///
/// In `compat` nothing is sent before all of it is known, for its clients know a failure by its status.
async fn stream_states(task: Arc<Task>, jobs: Vec<(usize, Windows)>) -> Answered {
    let (found, mut coming) = mpsc::channel::<Found>(GUARANTEES_AT_ONCE);
    let (agreement, mode) = (task.agreement.id.clone(), task.mode);
    tokio::spawn(async move {
        let _place = tokio::select! {
            place = task.registry.places.acquire() => place.expect("never closed"),
            // Who leaves before his turn has asked for nothing.
            () = found.closed() => return,
        };
        let evaluating = jobs.into_iter().map(|(guarantee, windows)| {
            let task = task.clone();
            async move { task.evaluate(guarantee, windows).await }
        });
        let mut evaluated = stream::iter(evaluating).buffered(GUARANTEES_AT_ONCE);
        let mut gone = false;
        while let Some(states) = evaluated.next().await {
            if found.send(states).await.is_err() && !gone {
                gone = true;
                tracing::warn!(
                    agreement = task.agreement.id,
                    "nobody waits for the states any more; the evaluation goes on and is stored"
                );
            }
        }
    });
    let mut ready: Vec<Vec<u8>> = Vec::new();
    while mode == Mode::Compat || ready.is_empty() {
        match coming.recv().await {
            Some(Ok(states)) => ready.extend(states),
            Some(Err(reason)) => {
                tracing::warn!(agreement, reason, "no states are given");
                return Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, GIVEN_UP).with("reason", json!(reason)));
            }
            None => break,
        }
    }
    if ready.is_empty() {
        return Ok(with_type(StatusCode::OK, MEDIA, Body::from("[]")));
    }
    let rest = stream::unfold((coming, true), move |(mut coming, going)| {
        let agreement = agreement.clone();
        async move {
            match coming.recv().await {
                _ if !going => None,
                Some(Ok(states)) => Some((Ok(chunk(&states, false)), (coming, true))),
                // The list has begun: only breaking it off says that it is not whole.
                Some(Err(reason)) => {
                    tracing::error!(agreement, reason, "a list of states is broken off");
                    Some((Err(std::io::Error::other(reason)), (coming, false)))
                }
                None => Some((Ok(Bytes::from_static(b"\n]\n")), (coming, false))),
            }
        }
    });
    let first = stream::once(std::future::ready(Ok::<_, std::io::Error>(chunk(&ready, true))));
    Ok(with_type(StatusCode::OK, MEDIA, Body::from_stream(first.chain(rest))))
}

const MEDIA: &str = "application/json; charset=utf-8";

/// States between the Registry's separators: `[\n` first, `\n,\n` between.
fn chunk(states: &[Vec<u8>], first: bool) -> Bytes {
    let mut out = Vec::with_capacity(states.iter().map(|s| s.len() + 3).sum());
    for (i, state) in states.iter().enumerate() {
        out.extend_from_slice(if first && i == 0 { b"[\n" } else { b"\n,\n" });
        out.extend_from_slice(state);
    }
    out.into()
}

impl Task {
    /// What a caller is told; the log says more.
    fn failed(&self, of: &Guarantee, error: EvaluateError) -> String {
        tracing::error!(agreement = self.agreement.id, guarantee = of.id, %error, "not evaluated");
        match error {
            EvaluateError::Store(_) => "the verdicts could not be stored; the server's log says why".into(),
            error => error.to_string(),
        }
    }

    fn request(&self, guarantee: usize, windows: Windows) -> Request {
        Request {
            agreement: self.agreement.clone(),
            windows,
            guarantee: Some(self.agreement.guarantees[guarantee].id.clone()),
            trigger: Trigger::Manual { by: self.by.clone() },
            actor: self.by.clone(),
            store: true,
            claim: None,
        }
    }

    async fn evaluate(&self, guarantee: usize, windows: Windows) -> Found {
        let of = &self.agreement.guarantees[guarantee];
        let request = self.request(guarantee, windows);
        if let (true, Windows::Overlapping { from, to }) = (self.settled, windows) {
            match self.registry.evaluator.settled(&self.agreement, &of.id, from, to).await {
                Ok(Some(states)) => return Ok(states.iter().map(|state| print(&strict_item(state))).collect()),
                Ok(None) => {}
                Err(error) => return Err(self.failed(of, error)),
            }
        }
        let keep = self.mode == Mode::Compat;
        let asking = Asking { access_token: self.access_token.clone(), keep };
        let (evaluation, asked) = match self.registry.evaluator.run_asking(request, &asking).await {
            Ok(done) => done,
            Err(error) => return Err(self.failed(of, error)),
        };
        match self.mode {
            Mode::Strict => Ok(evaluation.verdicts().map(|state| print(&strict_item(state))).collect()),
            Mode::Compat => {
                let items = compat_items(&self.agreement, of, &asked)?;
                Ok(items.iter().map(print).collect())
            }
        }
    }
}

fn compat_items(agreement: &Agreement, guarantee: &Guarantee, asked: &Asked) -> Result<Vec<Value>, String> {
    let mut items = Vec::new();
    for judgement in &asked.plan.judgements {
        let answers = judgement.queries.iter().map(|query| (&asked.plan.queries[*query], &asked.answers[*query]));
        let answers: Vec<_> = answers.collect();
        compat::term_states(agreement, guarantee, &guarantee.terms[judgement.term], &answers, &mut items)?;
    }
    Ok(items)
}

/// A verdict of ours in the Registry's shape. `value` is true or false only when the promise is known to have been
/// kept or broken, else null; `verdict` and `reason` say more.
pub(super) fn strict_item(state: &State) -> Value {
    let evidences: Vec<&Value> = state.evidence.iter().map(|e| &e.data).collect();
    json!({
        "stateType": "guarantees",
        "agreementId": state.agreement,
        "id": state.of,
        "scope": state.scope,
        "period": { "from": iso(state.window.from), "to": iso(state.window.to) },
        "value": truth(state.verdict),
        "metrics": state.values,
        "evidences": evidences,
        "verdict": state.verdict,
        "reason": state.reason,
        "coverage": state.coverage,
    })
}

/// True and false for what is known; null for everything else.
pub(super) fn truth(verdict: Option<Verdict>) -> Option<bool> {
    match verdict? {
        Verdict::Fulfilled => Some(true),
        Verdict::Violated => Some(false),
        _ => None,
    }
}
