//! Runs and audit entries in Postgres.

use std::borrow::Cow;
use std::collections::BTreeMap;

use sqlx::postgres::{PgPool, PgRow};
use sqlx::{Executor, PgConnection, Postgres, QueryBuilder};
use uuid::Uuid;

use super::instant::Instant;
use crate::model::RunId;
use crate::model::run::RunRecord;
use crate::store::cursor::{self, AuditPosition, RunPosition};
use crate::store::stored::{self, column, count};
use crate::store::{
    AuditEntry, Page, PageRequest, RunQuery, RunText, StoreError, during, first_run_at, like, trigger_kind,
};

/// A statement that values are bound to.
type BoundQuery<'q> = sqlx::query::Query<'q, Postgres, sqlx::postgres::PgArguments>;

/// What is read of a run, but for its trace.
const SELECT_RUN: &str = "SELECT id, subject, trigger::text AS trigger, state, started_at, ended_at, version, hops, \
     error::text AS error, trace_dropped";

pub(super) async fn put_runs(tx: &mut PgConnection, runs: &[&RunRecord]) -> Result<(), sqlx::Error> {
    // By id: one row each (the last counts), and one order for all, so that no two writers wait for each other.
    let runs: BTreeMap<RunId, &RunRecord> = runs.iter().map(|run| (run.id, *run)).collect();
    let mut columns = RunColumns::default();
    runs.into_values().for_each(|run| columns.push(run));
    columns.put(tx).await
}

/// Runs turned on their side.
#[derive(Default)]
pub(super) struct RunColumns<'a> {
    id: Vec<Uuid>,
    subject: Vec<Cow<'a, str>>,
    trigger_kind: Vec<&'static str>,
    trigger: Vec<String>,
    state: Vec<&'static str>,
    started_at: Vec<Instant>,
    ended_at: Vec<Option<Instant>>,
    version: Vec<Cow<'a, str>>,
    hops: Vec<i64>,
    error: Vec<Option<String>>,
    trace: Vec<String>,
    trace_dropped: Vec<i64>,
}

impl<'a> RunColumns<'a> {
    pub(super) fn push(&mut self, run: &'a RunRecord) {
        self.id.push(run.id.0);
        self.subject.push(stored::text(&run.subject));
        self.trigger_kind.push(trigger_kind(&run.trigger));
        self.trigger.push(stored::json(&run.trigger));
        self.state.push(run.state.as_str());
        self.started_at.push(Instant(run.started_at));
        self.ended_at.push(run.ended_at.map(Instant));
        self.version.push(stored::text(&run.version));
        self.hops.push(count(run.hops));
        self.error.push(run.error.as_ref().map(stored::json));
        self.trace.push(stored::json(&run.trace));
        self.trace_dropped.push(count(run.trace_dropped));
    }

    async fn put(self, tx: &mut PgConnection) -> Result<(), sqlx::Error> {
        let put = self.bind(sqlx::query(
            "INSERT INTO probity.run (id, subject, trigger_kind, trigger, state, started_at, ended_at, version, \
             hops, error, trace, trace_dropped) \
             SELECT id, subject, trigger_kind, trigger::json, state, started_at, ended_at, version, hops, \
             error::json, trace::json, trace_dropped \
             FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], \
             $7::timestamptz[], $8::text[], $9::int8[], $10::text[], $11::text[], $12::int8[]) \
             AS new (id, subject, trigger_kind, trigger, state, started_at, ended_at, version, hops, error, trace, \
             trace_dropped) \
             ON CONFLICT (id) DO UPDATE SET subject = excluded.subject, trigger_kind = excluded.trigger_kind, \
             trigger = excluded.trigger, state = excluded.state, started_at = excluded.started_at, \
             ended_at = excluded.ended_at, version = excluded.version, hops = excluded.hops, \
             error = excluded.error, trace = excluded.trace, trace_dropped = excluded.trace_dropped",
        ));
        put.execute(tx).await?;
        Ok(())
    }

    /// As `$1` to `$12`, in the order of the fields.
    pub(super) fn bind<'q>(self, sql: BoundQuery<'q>) -> BoundQuery<'q>
    where
        'a: 'q,
    {
        sql.bind(self.id)
            .bind(self.subject)
            .bind(self.trigger_kind)
            .bind(self.trigger)
            .bind(self.state)
            .bind(self.started_at)
            .bind(self.ended_at)
            .bind(self.version)
            .bind(self.hops)
            .bind(self.error)
            .bind(self.trace)
            .bind(self.trace_dropped)
    }
}

pub(super) async fn run(pool: &PgPool, id: RunId) -> Result<Option<RunRecord>, StoreError> {
    let mut sql = QueryBuilder::new(SELECT_RUN);
    sql.push(", trace::text AS trace FROM probity.run WHERE id = ").push_bind(id.0);
    let row = sql.build().fetch_optional(pool).await.map_err(during("read a run"))?;
    row.map(|row| Ok(RunRecord { trace: stored::read_json("trace", column(&row, "trace")?)?, ..read_run(&row)? }))
        .transpose()
}

pub(super) async fn runs(
    pool: &PgPool,
    query: &RunQuery,
    request: &PageRequest,
) -> Result<Page<RunRecord>, StoreError> {
    let after = request.position::<RunPosition>()?;
    let mut sql = QueryBuilder::new(SELECT_RUN);
    sql.push(" FROM probity.run WHERE true");
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
        sql.push(" AND id >= ").push_bind(first_run_at(from));
    }
    if let Some(to) = query.to {
        sql.push(" AND id < ").push_bind(first_run_at(to));
    }
    match &query.text {
        None => {}
        Some(RunText::About(id)) => {
            sql.push(" AND id IN (SELECT ").push_bind(id.0);
            sql.push(" UNION ALL SELECT id FROM probity.run WHERE trigger_kind IN ('metric', 'linked') AND ");
            sql.push("coalesce(trigger ->> 'evaluation', trigger ->> 'run') = ").push_bind(id.to_string()).push(")");
        }
        Some(RunText::Error(text)) => {
            sql.push(" AND error IS NOT NULL");
            // As the others do: letters of ASCII alone are the same in both cases.
            let pattern = like(&stored::text(text).to_ascii_lowercase());
            let mut either = " AND (";
            for part in ["message", "node", "node_type"] {
                sql.push(format!("{either}lower(error ->> '{part}' COLLATE \"C\") LIKE ")).push_bind(pattern.clone());
                either = " OR ";
            }
            sql.push(")");
        }
    }
    if let Some(after) = after {
        sql.push(" AND id < ").push_bind(after.0);
    }
    sql.push(" ORDER BY id DESC LIMIT ").push_bind(request.rows_wanted());
    let rows = sql.build().fetch_all(pool).await.map_err(during("list runs"))?;
    let found = rows
        .iter()
        .map(|row| read_run(row).map(|run| (RunPosition(run.id.0), run)))
        .collect::<Result<Vec<_>, StoreError>>()?;
    Ok(cursor::page(found, request))
}

fn read_run(row: &PgRow) -> Result<RunRecord, StoreError> {
    Ok(RunRecord {
        id: RunId(column(row, "id")?),
        subject: column(row, "subject")?,
        trigger: stored::read_json("trigger", column(row, "trigger")?)?,
        state: stored::read_run_state(column(row, "state")?)?,
        started_at: column::<Instant, _>(row, "started_at")?.0,
        ended_at: column::<Option<Instant>, _>(row, "ended_at")?.map(|instant| instant.0),
        version: column(row, "version")?,
        hops: column::<i64, _>(row, "hops")?.unsigned_abs(),
        error: column::<Option<&str>, _>(row, "error")?
            .map(|text| stored::read_json("error of a run", text))
            .transpose()?,
        trace: Vec::new(),
        trace_dropped: column::<i64, _>(row, "trace_dropped")?.unsigned_abs(),
    })
}

pub(super) async fn add_audit<'e>(
    executor: impl Executor<'e, Database = Postgres>,
    entry: &AuditEntry,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO probity.audit (at, actor, action, subject, detail) VALUES ($1, $2, $3, $4, $5::text::json)",
    )
    .bind(Instant(entry.at))
    .bind(stored::text(&entry.actor))
    .bind(stored::text(&entry.action))
    .bind(stored::text(&entry.subject))
    .bind(stored::json(&entry.detail))
    .execute(executor)
    .await?;
    Ok(())
}

pub(super) async fn audit_entries(pool: &PgPool, request: &PageRequest) -> Result<Page<AuditEntry>, StoreError> {
    let after = request.position::<AuditPosition>()?.map_or(i64::MAX, |after| after.0);
    let rows = sqlx::query(
        "SELECT id, at, actor, action, subject, detail::text AS detail FROM probity.audit \
         WHERE id < $1 ORDER BY id DESC LIMIT $2",
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
                at: column::<Instant, _>(row, "at")?.0,
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
