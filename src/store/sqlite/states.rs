//! States in SQLite: many rows a statement, prepared once.

use std::collections::HashMap;

use jiff::Timestamp;
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use crate::model::budget::Outcome;
use crate::model::state::{Correction, State, StoredState, Verdict, Window};
use crate::store::batch::{self, Known, Row};
use crate::store::cursor::{self, CorrectionPosition, StatePosition};
use crate::store::stored::{self, column};
use crate::store::{Page, PageRequest, StateQuery, StoreError, during};

/// Keys a statement names, and rows one carries (28 parameters each, of at most 32,766).
const CHUNK_KEYS: usize = 500;
const CHUNK_ROWS: usize = 100;

const COLUMNS: &str = "key, agreement, kind, of_id, scope, window_from, window_to, window_from_local, \
     window_to_local, verdict, value, metric_values, reason, coverage, evidence, provisional, agreement_version, run, \
     revision, recorded_at, content, score_numerator, score_denominator, penalties, rewards, waiver, inputs, provenance";

/// Follows what [`COLUMNS`] are read from, which must be called `state`.
const WITH_PROVENANCE: &str = " LEFT JOIN probity_provenance AS made ON made.id = state.provenance";
const SELECT: &str = ", engine, time_zones, flows, plugins FROM ";

/// Content and revision of those of the rows that are stored.
pub(super) async fn known(tx: &mut SqliteConnection, rows: &[Row<'_>]) -> Result<HashMap<Uuid, Known>, sqlx::Error> {
    let mut known = HashMap::with_capacity(rows.len());
    for chunk in rows.chunks(CHUNK_KEYS) {
        let mut sql =
            QueryBuilder::new("SELECT key, content, revision, provisional, verdict FROM probity_state WHERE key IN ");
        push_keys(&mut sql, chunk.iter().map(|row| row.key));
        let found: Vec<(Uuid, Uuid, i32, bool, Option<String>)> = sql.build_query_as().fetch_all(&mut *tx).await?;
        let read = |(key, content, revision, provisional, verdict): (_, _, _, _, Option<String>)| {
            let verdict = verdict.as_deref().and_then(Verdict::parse);
            (key, Known { content, revision, provisional, verdict })
        };
        known.extend(found.into_iter().map(read));
    }
    Ok(known)
}

pub(super) async fn move_to_history(tx: &mut SqliteConnection, replaced: &[Row<'_>]) -> Result<(), sqlx::Error> {
    for chunk in replaced.chunks(CHUNK_KEYS) {
        let mut copy = QueryBuilder::new("INSERT INTO probity_state_revision (");
        copy.push(COLUMNS).push(") SELECT ").push(COLUMNS).push(" FROM probity_state WHERE key IN ");
        push_keys(&mut copy, chunk.iter().map(|row| row.key));
        copy.build().execute(&mut *tx).await?;
        let mut delete = QueryBuilder::new("DELETE FROM probity_state WHERE key IN ");
        push_keys(&mut delete, chunk.iter().map(|row| row.key));
        delete.build().execute(&mut *tx).await?;
    }
    Ok(())
}

fn push_keys(sql: &mut QueryBuilder<Sqlite>, keys: impl Iterator<Item = Uuid>) {
    sql.push("(");
    let mut list = sql.separated(", ");
    for key in keys {
        list.push_bind(key);
    }
    sql.push(")");
}

async fn put_provenances(tx: &mut SqliteConnection, rows: &[Row<'_>]) -> Result<(), sqlx::Error> {
    for (id, provenance) in batch::provenances(rows) {
        sqlx::query(
            "INSERT INTO probity_provenance (id, engine, time_zones, flows, plugins) VALUES (?, ?, ?, ?, ?) \
             ON CONFLICT DO NOTHING",
        )
        .bind(id)
        .bind(&provenance.engine)
        .bind(&provenance.time_zones)
        .bind(provenance.flows.as_deref())
        .bind(stored::json(&provenance.plugins))
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

pub(super) async fn insert(
    tx: &mut SqliteConnection,
    rows: &[Row<'_>],
    recorded_at: Timestamp,
) -> Result<(), sqlx::Error> {
    put_provenances(tx, rows).await?;
    for chunk in rows.chunks(CHUNK_ROWS) {
        let mut sql = QueryBuilder::new("INSERT INTO probity_state (");
        sql.push(COLUMNS).push(") ");
        sql.push_values(chunk, |mut values, row| {
            let state = row.state;
            let texts = stored::state_texts(state);
            values
                .push_bind(row.key)
                .push_bind(stored::text(&state.agreement))
                .push_bind(state.kind.as_str())
                .push_bind(stored::text(&state.of))
                .push_bind(texts.scope)
                .push_bind(state.window.from.as_microsecond())
                .push_bind(state.window.to.as_microsecond())
                .push_bind(state.window.from_local.as_str())
                .push_bind(state.window.to_local.as_str())
                .push_bind(state.verdict.map(|verdict| verdict.as_str()))
                .push_bind(stored::value(state))
                .push_bind(texts.values)
                .push_bind(stored::text(&state.reason))
                .push_bind(texts.coverage)
                .push_bind(texts.evidence)
                .push_bind(state.provisional)
                .push_bind(state.agreement_version.as_str())
                .push_bind(state.run.to_string())
                .push_bind(row.revision)
                .push_bind(recorded_at.as_microsecond())
                .push_bind(row.content)
                .push_bind(state.score.map(|score| score.numerator()))
                .push_bind(state.score.map(|score| score.denominator()))
                .push_bind(texts.penalties)
                .push_bind(texts.rewards)
                .push_bind(texts.waiver)
                .push_bind(state.inputs.as_ref().map(|digest| &digest.0[..]))
                .push_bind(row.provenance);
        });
        sql.build().execute(&mut *tx).await?;
    }
    Ok(())
}

/// What a state is found by, whatever its revision.
fn push_identity(sql: &mut QueryBuilder<Sqlite>, query: &StateQuery) {
    if let Some(agreement) = &query.agreement {
        sql.push(" AND agreement = ").push_bind(stored::text(agreement).into_owned());
    }
    if let Some(kind) = query.kind {
        sql.push(" AND kind = ").push_bind(kind.as_str());
    }
    if let Some(of) = &query.of {
        sql.push(" AND of_id = ").push_bind(stored::text(of).into_owned());
    }
    if let Some(scope) = &query.scope {
        sql.push(" AND scope = ").push_bind(stored::scope(scope));
    }
    if let Some(from) = query.from {
        sql.push(" AND window_to > ").push_bind(from.as_microsecond());
    }
    if let Some(to) = query.to {
        sql.push(" AND window_from < ").push_bind(to.as_microsecond());
    }
}

/// What its revision must say.
fn push_content(sql: &mut QueryBuilder<Sqlite>, query: &StateQuery) {
    if let Some(verdict) = query.verdict {
        // The word itself, so that the index of waived states is found.
        sql.push(" AND verdict = '").push(verdict.as_str()).push("'");
    }
    if let Some(provisional) = query.provisional {
        sql.push(" AND provisional = ").push_bind(provisional);
    }
}

/// Every revision of every state; a whole `FROM` item.
fn push_all_revisions(sql: &mut QueryBuilder<Sqlite>) {
    sql.push("(SELECT ").push(COLUMNS).push(" FROM probity_state UNION ALL SELECT ").push(COLUMNS);
    sql.push(" FROM probity_state_revision)");
}

pub(super) async fn list(
    pool: &SqlitePool,
    query: &StateQuery,
    request: &PageRequest,
) -> Result<Page<StoredState>, StoreError> {
    let after = request.position::<StatePosition>()?;
    let mut sql = QueryBuilder::new("SELECT ");
    sql.push(COLUMNS).push(SELECT);
    match query.as_of {
        None => {
            sql.push("probity_state AS state");
        }
        Some(as_of) => {
            sql.push("(SELECT *, row_number() OVER (PARTITION BY key ORDER BY revision DESC) AS place FROM ");
            push_all_revisions(&mut sql);
            sql.push(" WHERE recorded_at <= ").push_bind(as_of.as_microsecond());
            push_identity(&mut sql, query);
            sql.push(") AS state");
        }
    }
    sql.push(WITH_PROVENANCE).push(if query.as_of.is_some() { " WHERE place = 1" } else { " WHERE true" });
    push_identity(&mut sql, query);
    push_content(&mut sql, query);
    if let Some(after) = after {
        sql.push(" AND (window_to, key) < (").push_bind(after.to.as_microsecond()).push(", ");
        sql.push_bind(after.key).push(")");
    }
    sql.push(" ORDER BY window_to DESC, key DESC LIMIT ").push_bind(request.rows_wanted());
    let rows = sql.build().fetch_all(pool).await.map_err(during("list states"))?;
    let found = rows
        .iter()
        .map(|row| {
            let stored = read(row)?;
            Ok((StatePosition { to: stored.state.window.to, key: column(row, "key")? }, stored))
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    Ok(cursor::page(found, request))
}

/// Revisions that follow a final one, latest first, and then the ones before them.
pub(super) async fn corrections(
    pool: &SqlitePool,
    query: &StateQuery,
    request: &PageRequest,
) -> Result<Page<Correction>, StoreError> {
    let failed = "list corrections";
    let after = request.position::<CorrectionPosition>()?;
    let mut sql = QueryBuilder::new("SELECT ");
    sql.push(COLUMNS).push(SELECT);
    push_all_revisions(&mut sql);
    sql.push(" AS state").push(WITH_PROVENANCE).push(" WHERE revision > 1");
    sql.push(
        " AND EXISTS (SELECT 1 FROM probity_state_revision AS earlier WHERE earlier.key = state.key \
         AND earlier.revision = state.revision - 1 AND NOT earlier.provisional)",
    );
    push_identity(&mut sql, query);
    push_content(&mut sql, query);
    if let Some(as_of) = query.as_of {
        sql.push(" AND recorded_at <= ").push_bind(as_of.as_microsecond());
    }
    if let Some(after) = after {
        sql.push(" AND (recorded_at, key, revision) < (").push_bind(after.at.as_microsecond()).push(", ");
        sql.push_bind(after.key).push(", ").push_bind(after.revision).push(")");
    }
    sql.push(" ORDER BY recorded_at DESC, key DESC, revision DESC LIMIT ").push_bind(request.rows_wanted());
    let rows = sql.build().fetch_all(pool).await.map_err(during(failed))?;
    let after = rows
        .iter()
        .map(|row| Ok((column(row, "key")?, read(row)?)))
        .collect::<Result<Vec<(Uuid, StoredState)>, StoreError>>()?;
    let mut before = HashMap::with_capacity(after.len());
    for chunk in after.chunks(CHUNK_KEYS) {
        let mut sql = QueryBuilder::new("SELECT ");
        sql.push(COLUMNS).push(SELECT).push("probity_state_revision AS state").push(WITH_PROVENANCE);
        sql.push(" WHERE (key, revision) IN (VALUES ");
        let mut list = sql.separated(", ");
        for (key, stored) in chunk {
            list.push("(").push_bind_unseparated(*key).push_unseparated(", ");
            list.push_bind_unseparated(stored.revision - 1).push_unseparated(")");
        }
        sql.push(")");
        for row in sql.build().fetch_all(pool).await.map_err(during(failed))? {
            let stored = read(&row)?;
            before.insert((column(&row, "key")?, stored.revision + 1), stored);
        }
    }
    Ok(cursor::corrections(after, before, request))
}

pub(super) async fn revisions(pool: &SqlitePool, key: Uuid) -> Result<Vec<StoredState>, StoreError> {
    let mut sql = QueryBuilder::new("SELECT ");
    sql.push(COLUMNS).push(SELECT).push("(SELECT ").push(COLUMNS).push(" FROM probity_state WHERE key = ");
    sql.push_bind(key).push(" UNION ALL SELECT ").push(COLUMNS).push(" FROM probity_state_revision WHERE key = ");
    sql.push_bind(key).push(") AS state").push(WITH_PROVENANCE).push(" ORDER BY revision");
    let rows = sql.build().fetch_all(pool).await.map_err(during("read the revisions of a state"))?;
    rows.iter().map(read).collect()
}

/// What was said for good of a guarantee's windows that end in a range; nothing else of them is read.
pub(super) async fn outcomes(
    pool: &SqlitePool,
    agreement: &str,
    guarantee: &str,
    after: Timestamp,
    until: Timestamp,
) -> Result<Vec<Outcome>, StoreError> {
    let rows = sqlx::query(
        "SELECT scope, window_from, window_to, verdict, waiver ->> 'verdict' AS unwaived, metric_values \
         FROM probity_state WHERE agreement = ?1 AND kind = 'guarantee' AND of_id = ?2 AND window_to > ?3 \
         AND window_to <= ?4 AND NOT provisional",
    )
    .bind(stored::text(agreement))
    .bind(stored::text(guarantee))
    .bind(after.as_microsecond())
    .bind(until.as_microsecond())
    .fetch_all(pool)
    .await
    .map_err(during("read the verdicts of a guarantee"))?;
    let read = |row: &SqliteRow| {
        let verdict = stored::read_verdict(column(row, "verdict")?)?;
        let unwaived = column::<Option<&str>, _>(row, "unwaived")?.map(stored::read_verdict).transpose()?;
        Ok(Outcome {
            scope: stored::read_json("scope", column(row, "scope")?)?,
            from: stored::read_instant("window", column(row, "window_from")?)?,
            to: stored::read_instant("window", column(row, "window_to")?)?,
            verdict,
            unwaived: unwaived.unwrap_or(verdict),
            values: stored::read_json("metric values", column(row, "metric_values")?)?,
        })
    };
    rows.iter().map(read).collect()
}

fn read(row: &SqliteRow) -> Result<StoredState, StoreError> {
    let instant = |name| stored::read_instant("instant of a state", column(row, name)?);
    let state = State {
        agreement: column(row, "agreement")?,
        kind: stored::read_kind(column(row, "kind")?)?,
        of: column(row, "of_id")?,
        scope: stored::read_json("scope", column(row, "scope")?)?,
        window: Window {
            from: instant("window_from")?,
            to: instant("window_to")?,
            from_local: column(row, "window_from_local")?,
            to_local: column(row, "window_to_local")?,
        },
        verdict: column::<Option<&str>, _>(row, "verdict")?.map(stored::read_verdict).transpose()?,
        value: column(row, "value")?,
        values: stored::read_json("metric values", column(row, "metric_values")?)?,
        reason: column(row, "reason")?,
        coverage: column::<Option<&str>, _>(row, "coverage")?
            .map(|text| stored::read_json("coverage", text))
            .transpose()?,
        evidence: stored::read_json("evidence", column(row, "evidence")?)?,
        provisional: column(row, "provisional")?,
        agreement_version: column(row, "agreement_version")?,
        score: stored::read_score(column(row, "score_numerator")?, column(row, "score_denominator")?),
        penalties: stored::read_amounts("penalties", column(row, "penalties")?)?,
        rewards: stored::read_amounts("rewards", column(row, "rewards")?)?,
        waiver: column::<Option<&str>, _>(row, "waiver")?
            .map(|text| stored::read_json("waiver of a state", text).map(Box::new))
            .transpose()?,
        inputs: stored::read_digest(column(row, "inputs")?)?,
        provenance: stored::read_provenance(row)?,
        run: super::history::read_run_id(column(row, "run")?)?,
    };
    Ok(StoredState { state, revision: column(row, "revision")?, recorded_at: instant("recorded_at")? })
}
