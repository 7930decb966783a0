//! Leasing durable runs in Postgres, keeping leases, and storing durable points under them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sqlx::postgres::{PgPool, PgRow};
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use super::{Lane, millis, read};
use crate::model::RunId;
use crate::store::queue::{Extended, Held, LeaseWanted, Point, QueuedRun};
use crate::store::stored::{self, column};
use crate::store::{StoreError, during};

pub(super) const FAILED: &str = "lease durable runs";

/// What may be leased, of the row `run`: `$1` versions, `$2` tenants at their limit. Pauses are looked at here, too:
/// what a process believes of them may be old.
macro_rules! leasable {
    ($state:literal) => {
        concat!(
            $state,
            " IN ('queued', 'leased') AND run.ready_at <= now() \
             AND ($1::text[] IS NULL OR run.flow_version = ANY ($1)) AND run.tenant <> ALL ($2) \
             AND NOT EXISTS (SELECT FROM probity.flow_pause AS pause WHERE pause.flow = run.flow)"
        )
    };
}

/// Those at the front of a line, which an index gives in its order.
pub(super) const LEASABLE: &str = leasable!("run.state");
/// Those named by [`by_key!`].
pub(super) const LEASABLE_BY_KEY: &str = leasable!("run.state || ''");

/// The row `run` with this key and epoch, found by one look into the index of keys for each. Where Postgres last saw the
/// table empty, it believes that reading all of it once more for each of them is as good, and finds a hundred thousand
/// rows there: so the key is no equality, which could be a merge's, and the state (`run.state || ''`, where it is asked
/// for) not the one that partial indexes are made with. What is left is the one way that is right for any size.
macro_rules! by_key {
    ($id:literal, $epoch:literal) => {
        concat!("run.id >= ", $id, " AND run.id <= ", $id, " AND run.lease_epoch = ", $epoch)
    };
}

/// [`by_key!`], if it is leased.
macro_rules! still_held {
    ($id:literal, $epoch:literal) => {
        concat!(by_key!($id, $epoch), " AND run.state || '' = 'leased'")
    };
}

pub(super) use {by_key, still_held};

/// The priorities, highest first: within each, an index gives runs in the order they became ready.
pub(super) const PRIORITIES: &str = "(VALUES (2::int2), (1::int2), (0::int2)) AS level (priority)";

pub(super) async fn lease(lane: &Lane, owner: &str, wanted: &LeaseWanted) -> Result<Vec<QueuedRun>, StoreError> {
    if wanted.max == 0 {
        return Ok(Vec::new());
    }
    let paused = lane.paused().await?;
    let limits = Limits::of(wanted, &paused);
    let rows = if limits.is_empty() {
        lease_first(&lane.pool, owner, wanted).await
    } else {
        lease_within(&lane.pool, owner, wanted, &limits).await
    };
    read_leased(&rows.map_err(during(FAILED))?)
}

/// What comes back from an update is in no order; all were ready, and the oldest were accepted first.
pub(super) fn read_leased(rows: &[PgRow]) -> Result<Vec<QueuedRun>, StoreError> {
    let mut leased: Vec<QueuedRun> = rows.iter().map(read::whole).collect::<Result<_, StoreError>>()?;
    leased.sort_by_key(|run| (std::cmp::Reverse(run.priority), run.accepted_at, run.id));
    Ok(leased)
}

/// Caps that can hold something back.
struct Limits {
    /// Paused, or at their cap.
    closed_flows: Vec<String>,
    closed_tenants: Vec<String>,
    flows: BTreeMap<String, u32>,
    tenants: BTreeMap<String, u32>,
}

impl Limits {
    fn of(wanted: &LeaseWanted, paused: &[String]) -> Limits {
        let binding = |caps: &BTreeMap<String, u32>| -> BTreeMap<String, u32> {
            let caps = caps.iter().filter(|(_, cap)| **cap < wanted.max);
            caps.map(|(name, cap)| (stored::text(name).into_owned(), *cap)).collect()
        };
        let closed = |caps: &BTreeMap<String, u32>| -> BTreeSet<String> {
            caps.iter().filter(|(_, cap)| **cap == 0).map(|(name, _)| name.clone()).collect()
        };
        let (flows, tenants) = (binding(&wanted.flow_caps), binding(&wanted.tenant_caps));
        let mut closed_flows = closed(&flows);
        closed_flows.extend(paused.iter().cloned());
        Limits {
            closed_flows: Vec::from_iter(closed_flows),
            closed_tenants: Vec::from_iter(closed(&tenants)),
            flows,
            tenants,
        }
    }

    fn is_empty(&self) -> bool {
        self.closed_flows.is_empty() && self.flows.is_empty() && self.tenants.is_empty()
    }

    /// Of those picked, in their order, the ones that keep all caps.
    fn keep(&self, picked: Vec<(Uuid, String, String)>) -> Vec<Uuid> {
        let (mut flows, mut tenants) = (self.flows.clone(), self.tenants.clone());
        let mut kept = Vec::new();
        for (id, flow, tenant) in picked {
            if flows.get(&flow) == Some(&0) || tenants.get(&tenant) == Some(&0) {
                continue;
            }
            flows.entry(flow).and_modify(|left| *left -= 1);
            tenants.entry(tenant).and_modify(|left| *left -= 1);
            kept.push(id);
        }
        kept
    }
}

/// When nothing is held back: the first that are ready, in one statement.
async fn lease_first(pool: &PgPool, owner: &str, wanted: &LeaseWanted) -> Result<Vec<PgRow>, sqlx::Error> {
    let sql = format!(
        "WITH picked AS MATERIALIZED (SELECT ready.id FROM {PRIORITIES} \
         CROSS JOIN LATERAL (SELECT run.id FROM probity.queue AS run WHERE run.priority = level.priority AND {LEASABLE} \
         ORDER BY run.ready_at LIMIT $3 FOR UPDATE SKIP LOCKED) AS ready LIMIT $3) {}",
        take("ARRAY (SELECT id FROM picked)", "$4", "$5")
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(wanted.versions.as_deref())
        .bind(Vec::<String>::new())
        .bind(i64::from(wanted.max))
        .bind(stored::text(owner))
        .bind(millis(wanted.lease_ms))
        .fetch_all(pool)
        .await
}

/// When some flows or tenants are held back: flows take turns, each with its share, so that a long line of one that may
/// not run does not stand in the others' way.
async fn lease_within(
    pool: &PgPool,
    owner: &str,
    wanted: &LeaseWanted,
    limits: &Limits,
) -> Result<Vec<PgRow>, sqlx::Error> {
    let mut tx = pool.begin().await?;
    let flows: Vec<String> = open_flows(&mut tx, &limits.closed_flows).await?;
    if flows.is_empty() {
        return Ok(Vec::new());
    }
    let share = wanted.max.div_ceil(u32::try_from(flows.len()).unwrap_or(u32::MAX)).max(1);
    let shares = flows.iter().map(|flow| i64::from(limits.flows.get(flow).map_or(share, |cap| share.min(*cap))));
    let sql = format!(
        "SELECT ready.id, ready.flow, ready.tenant FROM {PRIORITIES} \
         CROSS JOIN unnest($3::text[], $4::int8[]) AS lane (flow, share) \
         CROSS JOIN LATERAL (SELECT run.id, run.flow, run.tenant FROM probity.queue AS run \
         WHERE run.flow = lane.flow AND run.priority = level.priority AND {LEASABLE} \
         ORDER BY run.ready_at LIMIT lane.share FOR UPDATE SKIP LOCKED) AS ready LIMIT $5"
    );
    let picked: Vec<(Uuid, String, String)> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(wanted.versions.as_deref())
        .bind(&limits.closed_tenants)
        .bind(&flows)
        .bind(Vec::from_iter(shares))
        .bind(i64::from(wanted.max))
        .fetch_all(&mut *tx)
        .await?;
    let kept = limits.keep(picked);
    if kept.is_empty() {
        // Now, not when the connection is used next: others would step over what is locked.
        tx.rollback().await?;
        return Ok(Vec::new());
    }
    let rows = sqlx::query(AssertSqlSafe(take("$1", "$2", "$3")))
        .bind(kept)
        .bind(stored::text(owner))
        .bind(millis(wanted.lease_ms))
        .fetch_all(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(rows)
}

/// Flows with something that may be leased now or later, but for the closed ones, in an order of chance. Each costs one
/// look into the index, however long its line is.
async fn open_flows(tx: &mut PgConnection, closed: &[String]) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "WITH RECURSIVE lane (flow) AS ( \
         (SELECT min(flow) FROM probity.queue WHERE state IN ('queued', 'leased')) \
         UNION ALL \
         SELECT (SELECT min(next.flow) FROM probity.queue AS next WHERE next.state IN ('queued', 'leased') \
         AND next.flow > lane.flow) FROM lane WHERE lane.flow IS NOT NULL) \
         SELECT flow FROM lane WHERE flow IS NOT NULL AND flow <> ALL ($1) ORDER BY random()",
    )
    .bind(closed)
    .fetch_all(tx)
    .await
}

/// Leases the runs with these ids.
pub(super) fn take(ids: &str, owner: &str, lease_ms: &str) -> String {
    format!(
        "UPDATE probity.queue SET state = 'leased', lease_owner = {owner}, \
         ready_at = now() + {lease_ms}::int8 * interval '1 millisecond', lease_epoch = lease_epoch + 1, \
         attempt = attempt + 1, point_number = 0 WHERE id = ANY ({ids}) RETURNING {}",
        read::WHOLE
    )
}

pub(super) async fn extend(pool: &PgPool, held: &[Held], lease_ms: u64) -> Result<Vec<Extended>, StoreError> {
    let failed = "extend leases";
    let (ids, epochs) = columns(held.iter().copied());
    let rows = sqlx::query(concat!(
        "UPDATE probity.queue AS run SET ready_at = now() + $3 * interval '1 millisecond' \
         FROM unnest($1::uuid[], $2::int8[]) AS held (id, epoch) WHERE ",
        still_held!("held.id", "held.epoch"),
        " RETURNING run.id, run.lease_epoch, run.cancel_wanted",
    ))
    .bind(ids)
    .bind(epochs)
    .bind(millis(lease_ms))
    .fetch_all(pool)
    .await
    .map_err(during(failed))?;
    let kept: HashMap<Held, bool> = rows
        .iter()
        .map(|row| {
            let held = Held { id: RunId(column(row, "id")?), epoch: column(row, "lease_epoch")? };
            Ok((held, column(row, "cancel_wanted")?))
        })
        .collect::<Result<_, StoreError>>()?;
    let answer = |held| match kept.get(held) {
        None => Extended::Lost,
        Some(true) => Extended::CancelWanted,
        Some(false) => Extended::Kept,
    };
    Ok(held.iter().map(answer).collect())
}

/// What several points of one run come to.
#[derive(Default)]
struct LastPoint<'a> {
    snapshot: Option<&'a str>,
    effects: Option<&'a str>,
    number: i64,
    lease_ms: i64,
}

pub(super) async fn mark(pool: &PgPool, points: &[Point]) -> Result<Vec<bool>, StoreError> {
    // Of several points of one run the last counts, each part of it for itself.
    let mut in_order: Vec<&Point> = points.iter().collect();
    in_order.sort_by_key(|point| point.number);
    let mut last: BTreeMap<Held, LastPoint<'_>> = BTreeMap::new();
    for point in in_order {
        let of = last.entry(point.held).or_default();
        of.snapshot = point.snapshot.as_deref().or(of.snapshot);
        of.effects = point.effects.as_deref().or(of.effects);
        of.number = point.number;
        of.lease_ms = millis(point.lease_ms).max(of.lease_ms);
    }
    let (ids, epochs) = columns(last.keys().copied());
    let (snapshots, effects): (Vec<_>, Vec<_>) =
        last.values().map(|of| (of.snapshot.map(stored::text), of.effects.map(stored::text))).unzip();
    let (numbers, leases): (Vec<i64>, Vec<i64>) = last.values().map(|of| (of.number, of.lease_ms)).unzip();
    let marked: Vec<(Uuid, i64)> = sqlx::query_as(concat!(
        "UPDATE probity.queue AS run SET decision = NULL, \
         ready_at = greatest(run.ready_at, now() + new.lease_ms * interval '1 millisecond'), \
         point_number = greatest(new.number, run.point_number), \
         point = CASE WHEN new.number >= run.point_number THEN coalesce(new.point, run.point) ELSE run.point END, \
         effects = CASE WHEN new.number >= run.point_number THEN coalesce(new.effects, run.effects) ELSE run.effects END \
         FROM unnest($1::uuid[], $2::int8[], $3::text[], $4::text[], $5::int8[], $6::int8[]) \
         AS new (id, epoch, point, effects, number, lease_ms) WHERE ",
        still_held!("new.id", "new.epoch"),
        " RETURNING run.id, run.lease_epoch",
    ))
    .bind(ids)
    .bind(epochs)
    .bind(snapshots)
    .bind(effects)
    .bind(numbers)
    .bind(leases)
    .fetch_all(pool)
    .await
    .map_err(during("store durable points"))?;
    let marked: BTreeSet<Held> = marked.into_iter().map(|(id, epoch)| Held { id: RunId(id), epoch }).collect();
    Ok(points.iter().map(|point| marked.contains(&point.held)).collect())
}

/// Leases turned on their side, by id: one order for all who write.
pub(super) fn columns(held: impl Iterator<Item = Held>) -> (Vec<Uuid>, Vec<i64>) {
    let held: BTreeSet<Held> = held.collect();
    held.into_iter().map(|held| (held.id.0, held.epoch)).unzip()
}
