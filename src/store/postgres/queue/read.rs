//! Reading durable runs in Postgres: one, lists, counts, and what holds the database back.

use sqlx::postgres::{PgPool, PgRow};
use sqlx::{QueryBuilder, Row as _};

use super::super::instant::Instant;
use super::millis;
use crate::model::RunId;
use crate::store::cursor::{self, RunPosition};
use crate::store::queue::{Decision, Horizon, Priority, QueueDepth, QueueQuery, QueueState, QueuedRun};
use crate::store::stored::{self, column};
use crate::store::{Page, PageRequest, StoreError, during};

/// What is read of a run in lists.
const BARE: &str = "id, flow, node, flow_version, trigger::text AS trigger, reply, priority, tenant, state, attempt, \
     lease_epoch, lease_owner, ready_at, accepted_at, decision, cancel_wanted, error";

/// All that is read of a run.
pub(super) const WHOLE: &str = "id, flow, node, flow_version, trigger::text AS trigger, reply, priority, tenant, state, \
     attempt, lease_epoch, lease_owner, ready_at, accepted_at, decision, cancel_wanted, error, msg, point, effects";

pub(super) fn whole(row: &PgRow) -> Result<QueuedRun, StoreError> {
    Ok(QueuedRun {
        msg: column(row, "msg")?,
        point: column(row, "point")?,
        effects: column(row, "effects")?,
        ..bare(row)?
    })
}

fn bare(row: &PgRow) -> Result<QueuedRun, StoreError> {
    let unknown =
        |what: &'static str, found: &str| StoreError::Corrupt { what, problem: format!("{found:?} is unknown") };
    let (state, priority): (&str, i16) = (column(row, "state")?, column(row, "priority")?);
    let decision: Option<&str> = column(row, "decision")?;
    let decided = |word: &str| Decision::parse(word).ok_or_else(|| unknown("decision", word));
    Ok(QueuedRun {
        id: RunId(column(row, "id")?),
        flow: column(row, "flow")?,
        node: column(row, "node")?,
        flow_version: column(row, "flow_version")?,
        trigger: stored::read_json("trigger", column(row, "trigger")?)?,
        msg: String::new(),
        reply: column(row, "reply")?,
        priority: Priority::of(priority).ok_or_else(|| unknown("priority", &priority.to_string()))?,
        tenant: column(row, "tenant")?,
        state: QueueState::parse(state).ok_or_else(|| unknown("state of a durable run", state))?,
        attempt: column::<i32, _>(row, "attempt")?.unsigned_abs(),
        epoch: column(row, "lease_epoch")?,
        owner: column(row, "lease_owner")?,
        ready_at: column::<Instant, _>(row, "ready_at")?.0,
        accepted_at: column::<Instant, _>(row, "accepted_at")?.0,
        point: None,
        effects: None,
        decision: decision.map(decided).transpose()?,
        cancel_wanted: column(row, "cancel_wanted")?,
        error: column::<Option<&str>, _>(row, "error")?
            .map(|text| stored::read_json("error of a durable run", text))
            .transpose()?,
    })
}

pub(super) async fn one(pool: &PgPool, id: RunId) -> Result<Option<QueuedRun>, StoreError> {
    let mut sql = QueryBuilder::new("SELECT ");
    sql.push(WHOLE).push(" FROM probity.queue WHERE id = ").push_bind(id.0);
    let row = sql.build().fetch_optional(pool).await.map_err(during("read a durable run"))?;
    row.as_ref().map(whole).transpose()
}

pub(super) async fn list(
    pool: &PgPool,
    query: &QueueQuery,
    request: &PageRequest,
) -> Result<Page<QueuedRun>, StoreError> {
    let after = request.position::<RunPosition>()?;
    let mut sql = QueryBuilder::new("SELECT ");
    sql.push(BARE).push(" FROM probity.queue WHERE true");
    if let Some(flow) = &query.flow {
        sql.push(" AND flow = ").push_bind(stored::text(flow));
    }
    // In words that the partial indexes are made with.
    match query.state {
        Some(QueueState::InDoubt) => drop(sql.push(" AND state IN ('in-doubt', 'dead') AND state = 'in-doubt'")),
        Some(QueueState::Dead) => drop(sql.push(" AND state IN ('in-doubt', 'dead') AND state = 'dead'")),
        Some(state) => drop(sql.push(" AND state = ").push_bind(state.as_str())),
        None => {}
    }
    if let Some(tenant) = &query.tenant {
        sql.push(" AND tenant = ").push_bind(stored::text(tenant));
    }
    if let Some(from) = query.from {
        sql.push(" AND accepted_at >= ").push_bind(Instant(from));
    }
    if let Some(to) = query.to {
        sql.push(" AND accepted_at < ").push_bind(Instant(to));
    }
    if let Some(text) = &query.text {
        let pattern = format!("%{}%", stored::text(text).replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"));
        sql.push(" AND (msg ILIKE ").push_bind(pattern.clone());
        sql.push(" OR error ILIKE ").push_bind(pattern).push(")");
    }
    if let Some(overdue_ms) = query.overdue_ms {
        sql.push(" AND state = 'leased' AND ready_at <= now() - ").push_bind(millis(overdue_ms));
        sql.push(" * interval '1 millisecond'");
    }
    if let Some(after) = after {
        sql.push(" AND id < ").push_bind(after.0);
    }
    sql.push(" ORDER BY id DESC LIMIT ").push_bind(request.rows_wanted());
    let rows = sql.build().fetch_all(pool).await.map_err(during("list durable runs"))?;
    let found = rows
        .iter()
        .map(|row| bare(row).map(|run| (RunPosition(run.id.0), run)))
        .collect::<Result<Vec<_>, StoreError>>()?;
    Ok(cursor::page(found, request))
}

pub(super) async fn depth(pool: &PgPool, flow: Option<&str>) -> Result<QueueDepth, StoreError> {
    let mut sql = QueryBuilder::new(
        "SELECT count(*) FILTER (WHERE state = 'queued' AND ready_at <= now()) AS ready, \
         count(*) FILTER (WHERE state = 'queued' AND ready_at > now()) AS delayed, \
         count(*) FILTER (WHERE state = 'leased') AS leased, \
         count(*) FILTER (WHERE state = 'leased' AND ready_at <= now()) AS overdue, \
         count(*) FILTER (WHERE state = 'in-doubt') AS in_doubt, count(*) FILTER (WHERE state = 'dead') AS dead, \
         (extract(epoch FROM now() - min(ready_at) FILTER (WHERE state = 'queued' AND ready_at <= now())) * 1000)::int8 \
         AS oldest_ms FROM probity.queue",
    );
    if let Some(flow) = flow {
        sql.push(" WHERE flow = ").push_bind(stored::text(flow));
    }
    let row = sql.build().fetch_one(pool).await.map_err(during("count durable runs"))?;
    let count = |name| column::<i64, _>(&row, name).map(i64::unsigned_abs);
    Ok(QueueDepth {
        ready: count("ready")?,
        delayed: count("delayed")?,
        leased: count("leased")?,
        overdue: count("overdue")?,
        in_doubt: count("in_doubt")?,
        dead: count("dead")?,
        oldest_ms: column::<Option<i64>, _>(&row, "oldest_ms")?.map(i64::unsigned_abs),
    })
}

/// Sessions of other users show nothing of theirs to one without rights; the distance of transaction numbers shows those
/// of them that write. Vacuums hold nobody back.
pub(super) async fn horizon(pool: &PgPool) -> Result<Horizon, StoreError> {
    let row = sqlx::query(
        "SELECT greatest(0, \
         (SELECT max(extract(epoch FROM clock_timestamp() - xact_start) * 1000)::int8 FROM pg_stat_activity \
         WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid() AND backend_type <> 'autovacuum worker' \
         AND (datname = current_database() OR datname IS NULL)), \
         (SELECT max(extract(epoch FROM clock_timestamp() - prepared) * 1000)::int8 FROM pg_prepared_xacts \
         WHERE database = current_database())) AS held_ms, \
         greatest(0, (SELECT max(age(xmin))::int8 FROM pg_replication_slots), \
         (SELECT max(age(transaction))::int8 FROM pg_prepared_xacts WHERE database = current_database()), \
         (SELECT pg_snapshot_xmax(open)::text::int8 - pg_snapshot_xmin(open)::text::int8 \
         FROM pg_current_snapshot() AS open)) AS transactions",
    )
    .fetch_one(pool)
    .await
    .map_err(during("look for old snapshots"))?;
    Ok(Horizon {
        held_ms: row.get::<i64, _>("held_ms").unsigned_abs(),
        transactions: row.get::<i64, _>("transactions").unsigned_abs(),
    })
}
