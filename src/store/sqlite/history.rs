//! Runs and audit entries in SQLite.

use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{Executor, QueryBuilder, Sqlite, SqliteConnection};

use crate::model::RunId;
use crate::model::run::RunRecord;
use crate::store::cursor::{self, AuditPosition, RunPosition};
use crate::store::stored::{self, column, count};
use crate::store::{
    AuditEntry, Page, PageRequest, RunQuery, RunText, StoreError, during, first_run_at, like, trigger_kind,
};

/// What is read of a run, but for its trace.
const SELECT_RUN: &str = "SELECT id, subject, \"trigger\", state, started_at, ended_at, version, hops, error, \
     trace_dropped";

pub(super) async fn put_run(tx: &mut SqliteConnection, run: &RunRecord) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO probity_run (id, subject, trigger_kind, \"trigger\", state, started_at, ended_at, version, \
         hops, error, trace, trace_dropped) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
         ON CONFLICT (id) DO UPDATE SET subject = excluded.subject, trigger_kind = excluded.trigger_kind, \
         \"trigger\" = excluded.\"trigger\", state = excluded.state, started_at = excluded.started_at, \
         ended_at = excluded.ended_at, version = excluded.version, hops = excluded.hops, \
         error = excluded.error, trace = excluded.trace, trace_dropped = excluded.trace_dropped",
    )
    .bind(run.id.to_string())
    .bind(stored::text(&run.subject))
    .bind(trigger_kind(&run.trigger))
    .bind(stored::json(&run.trigger))
    .bind(run.state.as_str())
    .bind(run.started_at.as_microsecond())
    .bind(run.ended_at.map(|ended_at| ended_at.as_microsecond()))
    .bind(stored::text(&run.version))
    .bind(count(run.hops))
    .bind(run.error.as_ref().map(stored::json))
    .bind(stored::json(&run.trace))
    .bind(count(run.trace_dropped))
    .execute(tx)
    .await?;
    Ok(())
}

pub(super) async fn run(pool: &SqlitePool, id: RunId) -> Result<Option<RunRecord>, StoreError> {
    let mut sql = QueryBuilder::new(SELECT_RUN);
    sql.push(", trace FROM probity_run WHERE id = ").push_bind(id.to_string());
    let row = sql.build().fetch_optional(pool).await.map_err(during("read a run"))?;
    row.map(|row| Ok(RunRecord { trace: stored::read_json("trace", column(&row, "trace")?)?, ..read_run(&row)? }))
        .transpose()
}

pub(super) async fn runs(
    pool: &SqlitePool,
    query: &RunQuery,
    request: &PageRequest,
) -> Result<Page<RunRecord>, StoreError> {
    let after = request.position::<RunPosition>()?;
    let mut sql = QueryBuilder::new(SELECT_RUN);
    sql.push(" FROM probity_run WHERE true");
    if let Some(subject) = &query.subject {
        sql.push(" AND subject = ").push_bind(stored::text(subject));
    }
    // Words of ours as they are, not bound: only then are the indexes of 0011 known to fit.
    if let Some(state) = query.state {
        sql.push(format!(" AND state = '{}'", state.as_str()));
    }
    match query.trigger_word() {
        Ok(None) => {}
        Ok(Some(kind)) => drop(sql.push(format!(" AND trigger_kind = '{kind}'"))),
        Err(()) => drop(sql.push(" AND false")),
    }
    if let Some(from) = query.from {
        sql.push(" AND id >= ").push_bind(first_run_at(from).to_string());
    }
    if let Some(to) = query.to {
        sql.push(" AND id < ").push_bind(first_run_at(to).to_string());
    }
    match &query.text {
        None => {}
        Some(RunText::About(id)) => {
            sql.push(" AND id IN (SELECT ").push_bind(id.to_string());
            sql.push(" UNION ALL SELECT id FROM probity_run WHERE trigger_kind IN ('metric', 'linked') AND ");
            sql.push("coalesce(json_extract(\"trigger\", '$.evaluation'), json_extract(\"trigger\", '$.run')) = ");
            sql.push_bind(id.to_string()).push(")");
        }
        Some(RunText::Error(text)) => {
            sql.push(" AND error IS NOT NULL");
            let pattern = like(&stored::text(text));
            let mut either = " AND (";
            for part in ["message", "node", "node_type"] {
                sql.push(format!("{either}json_extract(error, '$.{part}') LIKE ")).push_bind(pattern.clone());
                sql.push(" ESCAPE '\\'");
                either = " OR ";
            }
            sql.push(")");
        }
    }
    if let Some(after) = after {
        sql.push(" AND id < ").push_bind(after.0.to_string());
    }
    sql.push(" ORDER BY id DESC LIMIT ").push_bind(request.rows_wanted());
    let rows = sql.build().fetch_all(pool).await.map_err(during("list runs"))?;
    let found = rows
        .iter()
        .map(|row| read_run(row).map(|run| (RunPosition(run.id.0), run)))
        .collect::<Result<Vec<_>, StoreError>>()?;
    Ok(cursor::page(found, request))
}

fn read_run(row: &SqliteRow) -> Result<RunRecord, StoreError> {
    let instant = |micros| stored::read_instant("instant of a run", micros);
    Ok(RunRecord {
        id: read_run_id(column(row, "id")?)?,
        subject: column(row, "subject")?,
        trigger: stored::read_json("trigger", column(row, "trigger")?)?,
        state: stored::read_run_state(column(row, "state")?)?,
        started_at: instant(column(row, "started_at")?)?,
        ended_at: column::<Option<i64>, _>(row, "ended_at")?.map(instant).transpose()?,
        version: column(row, "version")?,
        hops: column::<i64, _>(row, "hops")?.unsigned_abs(),
        error: column::<Option<&str>, _>(row, "error")?
            .map(|text| stored::read_json("error of a run", text))
            .transpose()?,
        trace: Vec::new(),
        trace_dropped: column::<i64, _>(row, "trace_dropped")?.unsigned_abs(),
    })
}

pub(super) fn read_run_id(text: &str) -> Result<RunId, StoreError> {
    text.parse().map_err(|error: uuid::Error| StoreError::Corrupt { what: "run id", problem: error.to_string() })
}

pub(super) async fn add_audit<'e>(
    executor: impl Executor<'e, Database = Sqlite>,
    entry: &AuditEntry,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO probity_audit (at, actor, action, subject, detail) VALUES (?, ?, ?, ?, ?)")
        .bind(entry.at.as_microsecond())
        .bind(stored::text(&entry.actor))
        .bind(stored::text(&entry.action))
        .bind(stored::text(&entry.subject))
        .bind(stored::json(&entry.detail))
        .execute(executor)
        .await?;
    Ok(())
}

pub(super) async fn audit_entries(pool: &SqlitePool, request: &PageRequest) -> Result<Page<AuditEntry>, StoreError> {
    let after = request.position::<AuditPosition>()?.map_or(i64::MAX, |after| after.0);
    let rows = sqlx::query(
        "SELECT id, at, actor, action, subject, detail FROM probity_audit WHERE id < ? ORDER BY id DESC LIMIT ?",
    )
    .bind(after)
    .bind(request.rows_wanted())
    .fetch_all(pool)
    .await
    .map_err(during("list audit entries"))?;
    let found = rows
        .iter()
        .map(|row| {
            let entry = AuditEntry {
                at: stored::read_instant("instant of an audit entry", column(row, "at")?)?,
                actor: column(row, "actor")?,
                action: column(row, "action")?,
                subject: column(row, "subject")?,
                detail: stored::read_json("detail of an audit entry", column(row, "detail")?)?,
            };
            Ok((AuditPosition(column(row, "id")?), entry))
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    Ok(cursor::page(found, request))
}
