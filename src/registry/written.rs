//! States written back as the Registry keeps them (`statemodels`), so that what else reads its database goes on working.
//!
//! What is written is what it has words for: final verdicts that were kept or not, and values of metrics. It is sent in
//! the background and again until the database takes it; what waits when the process ends is not written.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, doc};
use mongodb::error::{Error, ErrorKind, WriteFailure};
use mongodb::{Collection, Database};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use super::mongo::Connection;
use super::source::SourceError;
use crate::clock::Clock;
use crate::model::agreement::Agreement;
use crate::model::state::{State, StateKind, Verdict};

const STATES: &str = "statemodels";
/// Records kept of one state: the newest.
const RECORDS_MAX: i32 = 20;
/// States that may wait; the oldest are let go, and the log says so.
const WAITING_MAX: usize = 100_000;
/// Taken from the queue in one go, and written at once.
const BATCH_MAX: usize = 1_000;
const PARALLEL_MAX: usize = 8;
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Another writer was first.
const DUPLICATE_KEY: i32 = 11000;

/// Writes states into the database of a Registry.
pub struct StateWriter {
    waiting: Mutex<Waiting>,
    came: Notify,
}

/// States in the order they came, each with its number.
#[derive(Default)]
struct Waiting {
    states: VecDeque<(u64, Written)>,
    next: u64,
}

/// One state as it is written.
#[derive(Clone, Debug)]
pub(super) struct Written {
    /// Equality of every part of the identity.
    identity: Document,
    inserted: Document,
    record: Document,
    id: ObjectId,
}

impl StateWriter {
    pub fn new() -> Arc<StateWriter> {
        Arc::new(StateWriter { waiting: Mutex::default(), came: Notify::new() })
    }

    /// Takes the states of an evaluation; returns at once.
    pub fn take(&self, agreement: &Agreement, states: &[State], now: Timestamp) {
        let written = states.iter().filter_map(|state| written(agreement, state, now));
        let mut waiting = self.waiting.lock().unwrap_or_else(|p| p.into_inner());
        for state in written {
            let number = waiting.next;
            waiting.states.push_back((number, state));
            waiting.next += 1;
        }
        let over = waiting.states.len().saturating_sub(WAITING_MAX);
        if over > 0 {
            tracing::error!(states = over, "the Registry's database takes no states; the oldest that wait are let go");
            waiting.states.drain(..over);
        }
        self.came.notify_one();
    }

    /// Writes what comes into the database at this address until it is dropped.
    pub async fn run(self: Arc<Self>, address: String, request: Duration, clock: Clock) {
        let mut connection = Connection::new(&address, request);
        let mut pause = RETRY_MIN;
        let mut said = String::new();
        loop {
            let batch: Vec<(u64, Written)> = {
                let waiting = self.waiting.lock().unwrap_or_else(|p| p.into_inner());
                waiting.states.iter().take(BATCH_MAX).cloned().collect()
            };
            let Some((last, _)) = batch.last() else {
                self.came.notified().await;
                continue;
            };
            match write(&mut connection, &batch).await {
                Ok(()) => {
                    let mut waiting = self.waiting.lock().unwrap_or_else(|p| p.into_inner());
                    while waiting.states.pop_front_if(|(number, _)| *number <= *last).is_some() {}
                    pause = RETRY_MIN;
                    said.clear();
                }
                Err(SourceError(problem)) => {
                    if said != problem {
                        tracing::error!(database = connection.name(), "states cannot be written back: {problem}");
                        said = problem;
                    }
                    clock.sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
    }
}

fn instant(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// A name that can be part of a path in the database.
fn plain(key: &str) -> bool {
    !key.is_empty() && !key.starts_with('$') && !key.contains(['.', '\0'])
}

/// A state as the Registry has it; none for what it has no words for.
fn written(agreement: &Agreement, state: &State, now: Timestamp) -> Option<Written> {
    if state.provisional || !state.scope.0.keys().all(|key| plain(key)) {
        return None;
    }
    let scope: Document =
        state.scope.0.iter().map(|(key, member)| (key.clone(), Bson::from(member.as_str()))).collect();
    let period = doc! {"from": instant(state.window.from), "to": instant(state.window.to)};
    let evidences: Vec<Bson> =
        state.evidence.iter().filter_map(|e| mongodb::bson::serialize_to_bson(&e.data).ok()).collect();
    let mut record = Document::new();
    let mut inserted = doc! {"agreementId": &state.agreement, "id": &state.of};
    match state.kind {
        StateKind::Guarantee => {
            let value = match state.verdict? {
                Verdict::Fulfilled => true,
                Verdict::Violated => false,
                Verdict::Unknown | Verdict::Waived | Verdict::NotApplicable => return None,
            };
            let metrics: Document =
                state.values.iter().filter(|(k, _)| plain(k)).map(|(k, v)| (k.clone(), Bson::from(*v))).collect();
            inserted.insert("stateType", "guarantees");
            record.extend(doc! {"value": value, "time": instant(now), "metrics": metrics, "evidences": evidences});
        }
        // A Registry knows nothing of budgets.
        StateKind::Budget | StateKind::BurnRate => return None,
        StateKind::Metric => {
            let value = state.value?;
            inserted.insert("stateType", "metrics");
            inserted.insert("window", window(agreement, state));
            record
                .extend(doc! {"value": value, "time": instant(now), "evidences": evidences, "parameters": Bson::Null});
        }
    }
    inserted.insert("scope", scope.clone());
    inserted.insert("period", period.clone());
    // Every part, whatever order its keys were stored in; and no part more.
    let mut identity = doc! {
        "stateType": inserted.get("stateType").cloned(), "agreementId": &state.agreement, "id": &state.of,
        "period.from": period.get("from").cloned(), "period.to": period.get("to").cloned(),
        "$expr": {"$eq": [{"$size": {"$objectToArray": {"$ifNull": ["$scope", {}]}}}, state.scope.0.len() as i32]},
    };
    for (key, member) in scope {
        identity.insert(format!("scope.{key}"), member);
    }
    let name = format!("{:?}\n{}\n{}\n{}\n{}", state.kind, state.agreement, state.of, state.scope.canonical(), period);
    let digest = Sha256::digest(name);
    let mut id = [0; 12];
    id.copy_from_slice(&digest[..12]);
    Some(Written { identity, inserted, record, id: ObjectId::from_bytes(id) })
}

/// The window of a metric's state, as the Registry sends it to collectors.
fn window(agreement: &Agreement, state: &State) -> Document {
    let term = agreement.guarantees.iter().flat_map(|g| &g.terms).find(|t| t.with.iter().any(|(m, _)| *m == state.of));
    doc! {
        "type": term.map_or("static", |t| t.window.kind.as_str()),
        "period": term.map_or("", |t| t.window.period_name.as_str()),
        "initial": instant(state.window.from), "end": instant(state.window.to), "timeZone": &agreement.time_zone_name,
    }
}

async fn write(connection: &mut Connection, batch: &[(u64, Written)]) -> Result<(), SourceError> {
    let database: Database = connection.database().await?;
    let states: Collection<Document> = database.collection(STATES);
    let failed = |error: Error| connection.failed("writing states", &error);
    // Two states of one identity, one after the other: the later is the newer record.
    let mut rounds: Vec<Vec<&Written>> = Vec::new();
    for (_, state) in batch {
        match rounds.iter_mut().find(|round| round.iter().all(|other| other.id != state.id)) {
            Some(round) => round.push(state),
            None => rounds.push(vec![state]),
        }
    }
    for round in rounds {
        let writes: Vec<BoxFuture<'_, _>> = round.into_iter().map(|state| put(&states, state).boxed()).collect();
        stream::iter(writes).buffer_unordered(PARALLEL_MAX).try_collect::<Vec<()>>().await.map_err(failed)?;
    }
    Ok(())
}

/// Adds a record to the state there is, by whomever, or makes one. Its `_id` follows from its identity, so that two
/// writers cannot make two.
async fn put(states: &Collection<Document>, state: &Written) -> Result<(), Error> {
    let push = doc! {"records": {"$each": [state.record.clone()], "$slice": -RECORDS_MAX}};
    let mut whole = doc! {"_id": state.id};
    whole.extend(state.inserted.clone());
    whole.extend(doc! {"__v": 0, "records": [state.record.clone()]});
    for _ in 0..2 {
        let added = states.update_one(doc! {"_id": state.id}, doc! {"$push": push.clone()}).await?;
        if added.matched_count == 1 {
            return Ok(());
        }
        let added = states.update_one(state.identity.clone(), doc! {"$push": push.clone()}).await?;
        if added.matched_count == 1 {
            return Ok(());
        }
        match states.insert_one(&whole).await {
            Err(error) if is_duplicate(&error) => {}
            done => return done.map(drop),
        }
    }
    Ok(())
}

fn is_duplicate(error: &Error) -> bool {
    matches!(&*error.kind, ErrorKind::Write(WriteFailure::WriteError(e)) if e.code == DUPLICATE_KEY)
}
