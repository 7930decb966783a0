//! Accepting durable runs in Postgres: one statement a batch, keys and runs together.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use sqlx::postgres::{PgPool, PgRow};
use uuid::Uuid;

use super::super::instant::Instant;
use super::millis;
use crate::model::RunId;
use crate::store::queue::{Accepted, DedupKey, NewRun};
use crate::store::stored::{self, column};
use crate::store::{ClaimKey, StoreError, during};

pub(super) const FAILED: &str = "accept durable runs";

/// How often a key that was there, and gone when it was looked up, is tried again.
const ROUNDS_MAX: usize = 4;

/// `$1` to `$14` the runs, `$15` the owner. Keys in one order for all, so that no two acceptors wait for each other. A run
/// that has ended stands in the history: its id is not accepted again.
const ACCEPT: &str = "WITH new AS (SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], \
     $6::text[], $7::bool[], $8::int2[], $9::text[], $10::int8[], $11::int8[], $12::bytea[], $13::bytea[], $14::int8[]) \
     AS t (id, flow, node, flow_version, trigger, msg, reply, priority, tenant, delay_ms, lease_ms, dedup, request, \
     keep_ms) WHERE (SELECT run.id FROM probity.run AS run WHERE run.id = t.id) IS NULL), \
     won AS (INSERT INTO probity.dedup AS had (key, run, request, keep_ms) \
     SELECT dedup, id, request, keep_ms FROM new WHERE dedup IS NOT NULL ORDER BY dedup \
     ON CONFLICT (key) DO UPDATE SET run = excluded.run, request = excluded.request, keep_ms = excluded.keep_ms, \
     expires_at = NULL WHERE had.expires_at <= now() RETURNING key) \
     INSERT INTO probity.queue (id, flow, node, flow_version, trigger, msg, reply, priority, tenant, state, attempt, \
     lease_epoch, lease_owner, ready_at, accepted_at, dedup) \
     SELECT id, flow, node, flow_version, trigger::json, msg, reply, priority, tenant, \
     CASE WHEN held THEN 'leased' ELSE 'queued' END, held::int4, held::int4, CASE WHEN held THEN $15 END, \
     now() + CASE WHEN held THEN lease_ms WHEN lease_ms IS NOT NULL THEN 0 ELSE delay_ms END * interval '1 millisecond', \
     now(), dedup \
     FROM new CROSS JOIN LATERAL (SELECT lease_ms IS NOT NULL \
     AND NOT EXISTS (SELECT FROM probity.flow_pause AS pause WHERE pause.flow = new.flow) AS held) AS lease \
     WHERE dedup IS NULL OR dedup IN (SELECT key FROM won) \
     ON CONFLICT (id) DO NOTHING RETURNING id, state = 'leased' AS leased";

/// The key as it is stored.
pub(in crate::store) fn key_hash(dedup: &DedupKey) -> Vec<u8> {
    Sha256::digest(dedup.key.as_bytes()).to_vec()
}

pub(super) async fn accept(pool: &PgPool, owner: &str, runs: &[NewRun]) -> Result<Vec<Accepted>, StoreError> {
    let mut answers: Vec<Option<Accepted>> = vec![None; runs.len()];
    for _ in 0..ROUNDS_MAX {
        let (asked, repeated) = first_ones(runs, &answers);
        if asked.is_empty() {
            break;
        }
        let mut connection = pool.acquire().await.map_err(during(FAILED))?;
        let stored = insert(&mut connection, owner, asked.iter().map(|at| &runs[*at])).await?;
        let mut refused = Vec::new();
        for at in &asked {
            answers[*at] = match stored.get(&runs[*at].id) {
                Some(true) => Some(Accepted::Leased),
                Some(false) => Some(Accepted::Queued),
                None if runs[*at].dedup.is_none() => Some(Accepted::Known(runs[*at].id)),
                None => {
                    refused.push(*at);
                    None
                }
            };
        }
        if !refused.is_empty() {
            let keys = refused.iter().filter_map(|at| runs[*at].dedup.as_ref());
            let known = known(&mut connection, keys).await?;
            for at in refused {
                let dedup = runs[at].dedup.as_ref().expect("only keys are refused");
                answers[at] = known.get(&key_hash(dedup)).map(|(run, request)| answer(*run, request, dedup));
            }
        }
        for (at, first) in repeated {
            answers[at] = after_first(runs, at, first, answers[first]);
        }
    }
    answers.into_iter().collect::<Option<Vec<_>>>().ok_or_else(|| during(FAILED)(sqlx::Error::RowNotFound))
}

fn answer(run: RunId, request: &[u8], dedup: &DedupKey) -> Accepted {
    if request == dedup.request { Accepted::Known(run) } else { Accepted::Conflict(run) }
}

/// Those to be asked for, and those whose id or key another one of the batch has, with that one.
fn first_ones(runs: &[NewRun], answers: &[Option<Accepted>]) -> (Vec<usize>, Vec<(usize, usize)>) {
    let (mut ids, mut keys) = (HashMap::new(), HashMap::new());
    let (mut asked, mut repeated) = (Vec::new(), Vec::new());
    for (at, run) in runs.iter().enumerate().filter(|(at, _)| answers[*at].is_none()) {
        let same_key = run.dedup.as_ref().and_then(|dedup| keys.get(dedup.key.as_str())).copied();
        if let Some(first) = ids.get(&run.id).copied().or(same_key) {
            repeated.push((at, first));
            continue;
        }
        ids.insert(run.id, at);
        if let Some(dedup) = &run.dedup {
            keys.insert(dedup.key.as_str(), at);
        }
        asked.push(at);
    }
    (asked, repeated)
}

/// The answer for one that came behind another with its id or key.
fn after_first(runs: &[NewRun], at: usize, first: usize, answer: Option<Accepted>) -> Option<Accepted> {
    let run = match answer? {
        Accepted::Known(run) | Accepted::Conflict(run) => run,
        Accepted::Queued | Accepted::Leased => runs[first].id,
    };
    let request = |at: usize| runs[at].dedup.as_ref().map(|dedup| dedup.request);
    let same = runs[at].id == runs[first].id || request(at) == request(first);
    // The first one's conflict is with a third request, of which nothing is known here: ask again.
    match answer {
        Some(Accepted::Conflict(_)) if same => Some(Accepted::Conflict(run)),
        Some(Accepted::Conflict(_)) => None,
        _ if same => Some(Accepted::Known(run)),
        _ => Some(Accepted::Conflict(run)),
    }
}

/// Which of these are stored now, and whether leased.
async fn insert(
    connection: &mut PgConnection,
    owner: &str,
    runs: impl Iterator<Item = &NewRun>,
) -> Result<HashMap<RunId, bool>, StoreError> {
    let mut columns = Columns::default();
    runs.for_each(|run| columns.push(run));
    let rows = columns.insert(connection, owner).await.map_err(during(FAILED))?;
    rows.iter().map(|row| Ok((RunId(column(row, "id")?), column(row, "leased")?))).collect()
}

async fn known(
    connection: &mut PgConnection,
    keys: impl Iterator<Item = &DedupKey>,
) -> Result<BTreeMap<Vec<u8>, (RunId, Vec<u8>)>, StoreError> {
    let keys: BTreeSet<Vec<u8>> = keys.map(key_hash).collect();
    let rows = sqlx::query("SELECT key, run, request FROM probity.dedup WHERE key = ANY ($1)")
        .bind(Vec::from_iter(keys))
        .fetch_all(connection)
        .await
        .map_err(during(FAILED))?;
    rows.iter().map(|row| Ok((column(row, "key")?, (RunId(column(row, "run")?), column(row, "request")?)))).collect()
}

/// The claim first: who completes it stores the run.
pub(super) async fn tick(pool: &PgPool, claim: &ClaimKey, run: &NewRun) -> Result<Accepted, StoreError> {
    let mut tx = pool.begin().await.map_err(during(FAILED))?;
    let won = sqlx::query(
        "INSERT INTO probity.claim AS claim (schedule, due_at, claimed_at, started_at, ended_at, run) \
         VALUES ($1, $2, now(), now(), now(), $3) ON CONFLICT (schedule, due_at) DO UPDATE SET run = excluded.run, \
         started_at = coalesce(claim.started_at, excluded.started_at), ended_at = excluded.ended_at \
         WHERE claim.run IS NULL",
    )
    .bind(stored::text(&claim.schedule))
    .bind(Instant(claim.due_at))
    .bind(run.id.0)
    .execute(&mut *tx)
    .await
    .map_err(during(FAILED))?
    .rows_affected();
    if won == 0 {
        let first: Uuid = sqlx::query_scalar("SELECT run FROM probity.claim WHERE schedule = $1 AND due_at = $2")
            .bind(stored::text(&claim.schedule))
            .bind(Instant(claim.due_at))
            .fetch_one(&mut *tx)
            .await
            .map_err(during(FAILED))?;
        return Ok(Accepted::Known(RunId(first)));
    }
    // A firing is told apart by its claim, not by a key.
    let run = NewRun { lease_ms: None, dedup: None, ..run.clone() };
    let stored = insert(&mut tx, "", std::iter::once(&run)).await?;
    tx.commit().await.map_err(during(FAILED))?;
    Ok(if stored.contains_key(&run.id) { Accepted::Queued } else { Accepted::Known(run.id) })
}

/// Runs turned on their side.
#[derive(Default)]
struct Columns<'a> {
    id: Vec<Uuid>,
    flow: Vec<Cow<'a, str>>,
    node: Vec<Cow<'a, str>>,
    flow_version: Vec<Cow<'a, str>>,
    trigger: Vec<String>,
    msg: Vec<Cow<'a, str>>,
    reply: Vec<bool>,
    priority: Vec<i16>,
    tenant: Vec<Cow<'a, str>>,
    delay_ms: Vec<i64>,
    lease_ms: Vec<Option<i64>>,
    dedup: Vec<Option<Vec<u8>>>,
    request: Vec<Option<&'a [u8]>>,
    keep_ms: Vec<Option<i64>>,
}

impl<'a> Columns<'a> {
    fn push(&mut self, run: &'a NewRun) {
        self.id.push(run.id.0);
        self.flow.push(stored::text(&run.flow));
        self.node.push(stored::text(&run.node));
        self.flow_version.push(stored::text(&run.flow_version));
        self.trigger.push(stored::json(&run.trigger));
        self.msg.push(stored::text(&run.msg));
        self.reply.push(run.reply);
        self.priority.push(run.priority.number());
        self.tenant.push(stored::text(&run.tenant));
        self.delay_ms.push(millis(run.delay_ms));
        self.lease_ms.push(run.lease_ms.map(millis));
        self.dedup.push(run.dedup.as_ref().map(key_hash));
        self.request.push(run.dedup.as_ref().map(|dedup| dedup.request.as_slice()));
        self.keep_ms.push(run.dedup.as_ref().map(|dedup| millis(dedup.keep_ms)));
    }

    async fn insert(self, connection: &mut PgConnection, owner: &str) -> Result<Vec<PgRow>, sqlx::Error> {
        sqlx::query(ACCEPT)
            .bind(self.id)
            .bind(self.flow)
            .bind(self.node)
            .bind(self.flow_version)
            .bind(self.trigger)
            .bind(self.msg)
            .bind(self.reply)
            .bind(self.priority)
            .bind(self.tenant)
            .bind(self.delay_ms)
            .bind(self.lease_ms)
            .bind(self.dedup)
            .bind(self.request)
            .bind(self.keep_ms)
            .bind(stored::text(owner))
            .fetch_all(connection)
            .await
    }
}
