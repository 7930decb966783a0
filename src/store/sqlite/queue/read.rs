//! Reading durable runs in SQLite: one, lists, counts.

use sqlx::QueryBuilder;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use super::super::history::read_run_id;
use super::{after, now};
use crate::model::RunId;
use crate::store::cursor::{self, RunPosition};
use crate::store::queue::{Decision, Priority, QueueDepth, QueueQuery, QueueState, QueuedRun};
use crate::store::stored::{self, column};
use crate::store::{Page, PageRequest, StoreError, during};

/// What is read of a run in lists.
const BARE: &str = "id, flow, node, flow_version, \"trigger\", reply, priority, tenant, state, attempt, lease_epoch, \
     lease_owner, ready_at, accepted_at, decision, cancel_wanted, error";

/// All that is read of a run.
pub(super) const WHOLE: &str = "id, flow, node, flow_version, \"trigger\", reply, priority, tenant, state, attempt, \
     lease_epoch, lease_owner, ready_at, accepted_at, decision, cancel_wanted, error, msg, point, effects";

pub(super) fn whole(row: &SqliteRow) -> Result<QueuedRun, StoreError> {
    Ok(QueuedRun {
        msg: column(row, "msg")?,
        point: column(row, "point")?,
        effects: column(row, "effects")?,
        ..bare(row)?
    })
}

fn bare(row: &SqliteRow) -> Result<QueuedRun, StoreError> {
    let unknown =
        |what: &'static str, found: &str| StoreError::Corrupt { what, problem: format!("{found:?} is unknown") };
    let (state, priority): (&str, i16) = (column(row, "state")?, column(row, "priority")?);
    let decision: Option<&str> = column(row, "decision")?;
    let decided = |word: &str| Decision::parse(word).ok_or_else(|| unknown("decision", word));
    let instant = |name| stored::read_instant("instant of a durable run", column(row, name)?);
    Ok(QueuedRun {
        id: read_run_id(column(row, "id")?)?,
        flow: column(row, "flow")?,
        node: column(row, "node")?,
        flow_version: column(row, "flow_version")?,
        trigger: stored::read_json("trigger", column(row, "trigger")?)?,
        msg: String::new(),
        reply: column(row, "reply")?,
        priority: Priority::of(priority).ok_or_else(|| unknown("priority", &priority.to_string()))?,
        tenant: column(row, "tenant")?,
        state: QueueState::parse(state).ok_or_else(|| unknown("state of a durable run", state))?,
        attempt: column::<u32, _>(row, "attempt")?,
        epoch: column(row, "lease_epoch")?,
        owner: column(row, "lease_owner")?,
        ready_at: instant("ready_at")?,
        accepted_at: instant("accepted_at")?,
        point: None,
        effects: None,
        decision: decision.map(decided).transpose()?,
        cancel_wanted: column(row, "cancel_wanted")?,
        error: column::<Option<&str>, _>(row, "error")?
            .map(|text| stored::read_json("error of a durable run", text))
            .transpose()?,
    })
}

pub(super) async fn one(pool: &SqlitePool, id: RunId) -> Result<Option<QueuedRun>, StoreError> {
    let mut sql = QueryBuilder::new("SELECT ");
    sql.push(WHOLE).push(" FROM probity_queue WHERE id = ").push_bind(id.to_string());
    let row = sql.build().fetch_optional(pool).await.map_err(during("read a durable run"))?;
    row.as_ref().map(whole).transpose()
}

pub(super) async fn list(
    pool: &SqlitePool,
    query: &QueueQuery,
    request: &PageRequest,
) -> Result<Page<QueuedRun>, StoreError> {
    let failed = "list durable runs";
    let position = request.position::<RunPosition>()?;
    let mut connection = pool.acquire().await.map_err(during(failed))?;
    let now = now(&mut connection).await.map_err(during(failed))?;
    let mut sql = QueryBuilder::new("SELECT ");
    sql.push(BARE).push(" FROM probity_queue WHERE true");
    if let Some(flow) = &query.flow {
        sql.push(" AND flow = ").push_bind(stored::text(flow));
    }
    // In words that the partial index is made with.
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
        sql.push(" AND accepted_at >= ").push_bind(from.as_microsecond());
    }
    if let Some(to) = query.to {
        sql.push(" AND accepted_at < ").push_bind(to.as_microsecond());
    }
    if let Some(text) = &query.text {
        let pattern = format!("%{}%", stored::text(text).replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"));
        sql.push(" AND (msg LIKE ").push_bind(pattern.clone());
        sql.push(" ESCAPE '\\' OR error LIKE ").push_bind(pattern).push(" ESCAPE '\\')");
    }
    if let Some(overdue_ms) = query.overdue_ms {
        sql.push(" AND state = 'leased' AND ready_at <= ").push_bind(now - (after(now, overdue_ms) - now));
    }
    if let Some(position) = position {
        sql.push(" AND id < ").push_bind(position.0.to_string());
    }
    sql.push(" ORDER BY id DESC LIMIT ").push_bind(request.rows_wanted());
    let rows = sql.build().fetch_all(&mut *connection).await.map_err(during(failed))?;
    let found = rows
        .iter()
        .map(|row| bare(row).map(|run| (RunPosition(run.id.0), run)))
        .collect::<Result<Vec<_>, StoreError>>()?;
    Ok(cursor::page(found, request))
}

pub(super) async fn depth(pool: &SqlitePool, flow: Option<&str>) -> Result<QueueDepth, StoreError> {
    let failed = "count durable runs";
    let mut connection = pool.acquire().await.map_err(during(failed))?;
    let now = now(&mut connection).await.map_err(during(failed))?;
    let mut sql = QueryBuilder::new("SELECT state, ready_at <= ");
    sql.push_bind(now).push(" AS due, count(*) AS runs, min(ready_at) AS oldest FROM probity_queue");
    if let Some(flow) = flow {
        sql.push(" WHERE flow = ").push_bind(stored::text(flow));
    }
    sql.push(" GROUP BY 1, 2");
    let rows = sql.build().fetch_all(&mut *connection).await.map_err(during(failed))?;
    let mut depth = QueueDepth::default();
    for row in rows {
        let (due, runs): (bool, i64) = (column(&row, "due")?, column(&row, "runs")?);
        let runs = runs.unsigned_abs();
        match QueueState::parse(column(&row, "state")?) {
            Some(QueueState::Queued) if due => {
                depth.ready = runs;
                let oldest: i64 = column(&row, "oldest")?;
                depth.oldest_ms = Some((now.saturating_sub(oldest) / 1000).unsigned_abs());
            }
            Some(QueueState::Queued) => depth.delayed = runs,
            Some(QueueState::Leased) => {
                depth.leased += runs;
                depth.overdue = if due { runs } else { depth.overdue };
            }
            Some(QueueState::InDoubt) => depth.in_doubt += runs,
            Some(QueueState::Dead) => depth.dead += runs,
            None => {}
        }
    }
    Ok(depth)
}
