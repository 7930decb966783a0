//! States in Postgres: one array a column, so a statement carries thousands of rows.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use sqlx::postgres::{PgPool, PgRow};
use sqlx::{PgConnection, Postgres, QueryBuilder};
use uuid::Uuid;

use super::instant::Instant;
use super::{CHUNK_ROWS, LOCK_AGREEMENT};
use crate::model::RunId;
use crate::model::state::{Correction, State, StoredState, Window};
use crate::store::batch::{self, Known, Row};
use crate::store::cursor::{self, CorrectionPosition, StatePosition};
use crate::store::stored::{self, column};
use crate::store::{Page, PageRequest, StateQuery, StoreError, during};

/// What is read of a state.
const SELECT: &str = "SELECT key, agreement, kind, of_id, scope::text AS scope, window_from, window_to, \
     window_from_local, window_to_local, verdict, value, metric_values::text AS metric_values, reason, \
     coverage::text AS coverage, evidence::text AS evidence, provisional, agreement_version, run, revision, \
     recorded_at, score_numerator, score_denominator, penalties::text AS penalties, rewards::text AS rewards, \
     waiver::text AS waiver, inputs, engine, time_zones, flows, plugins::text AS plugins FROM ";

/// Follows what [`SELECT`] reads from, which must be called `state`.
const WITH_PROVENANCE: &str = " LEFT JOIN probity.provenance AS made ON made.id = state.provenance";

/// Takes turns with other commits of the same agreements until the transaction ends. What is then read is what
/// will be replaced, so revisions count without gaps; and one order for all means no deadlock.
pub(super) async fn lock_agreements(tx: &mut PgConnection, rows: &[Row<'_>]) -> Result<(), sqlx::Error> {
    let agreements: BTreeSet<&str> = rows.iter().map(|row| row.state.agreement.as_str()).collect();
    let agreements: Vec<Cow<'_, str>> = agreements.into_iter().map(stored::text).collect();
    sqlx::query(
        "SELECT pg_advisory_xact_lock($1, lock) FROM \
         (SELECT DISTINCT hashtext(a) AS lock FROM unnest($2::text[]) AS a ORDER BY 1) AS locks",
    )
    .bind(LOCK_AGREEMENT)
    .bind(agreements)
    .execute(tx)
    .await?;
    Ok(())
}

/// Until the transaction ends, rows are found by their index. Before its first statistics a table looks small, and
/// Postgres would compare each of its rows with every key that is asked for: 24,000 verdicts took eight seconds.
pub(super) async fn find_by_key(tx: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("SET LOCAL enable_seqscan = off").execute(tx).await?;
    Ok(())
}

/// Content and revision of those of the rows that are stored.
pub(super) async fn known(tx: &mut PgConnection, rows: &[Row<'_>]) -> Result<HashMap<Uuid, Known>, sqlx::Error> {
    let keys: Vec<Uuid> = rows.iter().map(|row| row.key).collect();
    let mut known = HashMap::with_capacity(keys.len());
    for chunk in keys.chunks(CHUNK_ROWS) {
        let found: Vec<(Uuid, Uuid, i32, bool)> =
            sqlx::query_as("SELECT key, content, revision, provisional FROM probity.state WHERE key = ANY($1)")
                .bind(chunk)
                .fetch_all(&mut *tx)
                .await?;
        let read = |(key, content, revision, provisional)| (key, Known { content, revision, provisional });
        known.extend(found.into_iter().map(read));
    }
    Ok(known)
}

pub(super) async fn move_to_history(tx: &mut PgConnection, keys: &[Uuid]) -> Result<(), sqlx::Error> {
    for chunk in keys.chunks(CHUNK_ROWS) {
        sqlx::query(
            "WITH replaced AS (DELETE FROM probity.state WHERE key = ANY($1) RETURNING *) \
             INSERT INTO probity.state_revision SELECT * FROM replaced",
        )
        .bind(chunk)
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

async fn put_provenances(tx: &mut PgConnection, rows: &[Row<'_>]) -> Result<(), sqlx::Error> {
    for (id, provenance) in batch::provenances(rows) {
        sqlx::query(
            "INSERT INTO probity.provenance (id, engine, time_zones, flows, plugins) \
             VALUES ($1, $2, $3, $4, $5::text::json) ON CONFLICT DO NOTHING",
        )
        .bind(id)
        .bind(stored::text(&provenance.engine))
        .bind(stored::text(&provenance.time_zones))
        .bind(provenance.flows.as_deref().map(stored::text))
        .bind(stored::json(&provenance.plugins))
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

pub(super) async fn insert(tx: &mut PgConnection, rows: &[Row<'_>], recorded_at: Timestamp) -> Result<(), sqlx::Error> {
    put_provenances(tx, rows).await?;
    for chunk in rows.chunks(CHUNK_ROWS) {
        Columns::of(chunk).insert(tx, recorded_at).await?;
    }
    Ok(())
}

/// A chunk of states turned on its side.
#[derive(Default)]
struct Columns<'a> {
    key: Vec<Uuid>,
    agreement: Vec<Cow<'a, str>>,
    kind: Vec<&'static str>,
    of: Vec<Cow<'a, str>>,
    scope: Vec<String>,
    window_from: Vec<Instant>,
    window_to: Vec<Instant>,
    window_from_local: Vec<&'a str>,
    window_to_local: Vec<&'a str>,
    verdict: Vec<Option<&'static str>>,
    value: Vec<Option<f64>>,
    values: Vec<String>,
    reason: Vec<Cow<'a, str>>,
    coverage: Vec<Option<String>>,
    evidence: Vec<String>,
    provisional: Vec<bool>,
    agreement_version: Vec<&'a str>,
    run: Vec<Uuid>,
    revision: Vec<i32>,
    content: Vec<Uuid>,
    score_numerator: Vec<Option<i64>>,
    score_denominator: Vec<Option<i64>>,
    penalties: Vec<Option<String>>,
    rewards: Vec<Option<String>>,
    waiver: Vec<Option<String>>,
    inputs: Vec<Option<&'a [u8]>>,
    provenance: Vec<Uuid>,
}

impl<'a> Columns<'a> {
    fn of(rows: &[Row<'a>]) -> Columns<'a> {
        let mut columns = Columns::default();
        for row in rows {
            columns.push(row);
        }
        columns
    }

    fn push(&mut self, row: &Row<'a>) {
        let state = row.state;
        let texts = stored::state_texts(state);
        self.key.push(row.key);
        self.agreement.push(stored::text(&state.agreement));
        self.kind.push(state.kind.as_str());
        self.of.push(stored::text(&state.of));
        self.scope.push(texts.scope);
        self.window_from.push(Instant(state.window.from));
        self.window_to.push(Instant(state.window.to));
        self.window_from_local.push(&state.window.from_local);
        self.window_to_local.push(&state.window.to_local);
        self.verdict.push(state.verdict.map(|verdict| verdict.as_str()));
        self.value.push(texts.value);
        self.values.push(texts.values);
        self.reason.push(stored::text(&state.reason));
        self.coverage.push(texts.coverage);
        self.evidence.push(texts.evidence);
        self.provisional.push(state.provisional);
        self.agreement_version.push(&state.agreement_version);
        self.run.push(state.run.0);
        self.revision.push(row.revision);
        self.content.push(row.content);
        self.score_numerator.push(state.score.map(|score| score.numerator()));
        self.score_denominator.push(state.score.map(|score| score.denominator()));
        self.penalties.push(texts.penalties);
        self.rewards.push(texts.rewards);
        self.waiver.push(texts.waiver);
        self.inputs.push(state.inputs.as_ref().map(|digest| &digest.0[..]));
        self.provenance.push(row.provenance);
    }

    async fn insert(self, tx: &mut PgConnection, recorded_at: Timestamp) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO probity.state (key, agreement, kind, of_id, scope, window_from, window_to, \
             window_from_local, window_to_local, verdict, value, metric_values, reason, coverage, evidence, \
             provisional, agreement_version, run, revision, content, score_numerator, score_denominator, \
             penalties, rewards, waiver, inputs, provenance, recorded_at) \
             SELECT key, agreement, kind, of_id, scope::jsonb, window_from, window_to, \
             window_from_local, window_to_local, verdict, value, metric_values::jsonb, reason, coverage::jsonb, \
             evidence::json, provisional, agreement_version, run, revision, content, score_numerator, \
             score_denominator, penalties::jsonb, rewards::jsonb, waiver::jsonb, inputs, provenance, $28 \
             FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], \
             $7::timestamptz[], $8::text[], $9::text[], $10::text[], $11::float8[], $12::text[], $13::text[], \
             $14::text[], $15::text[], $16::bool[], $17::text[], $18::uuid[], $19::int4[], $20::uuid[], \
             $21::int8[], $22::int8[], $23::text[], $24::text[], $25::text[], $26::bytea[], $27::uuid[]) \
             AS new (key, agreement, kind, of_id, scope, window_from, window_to, \
             window_from_local, window_to_local, verdict, value, metric_values, reason, coverage, evidence, \
             provisional, agreement_version, run, revision, content, score_numerator, score_denominator, penalties, \
             rewards, waiver, inputs, provenance)",
        )
        .bind(self.key)
        .bind(self.agreement)
        .bind(self.kind)
        .bind(self.of)
        .bind(self.scope)
        .bind(self.window_from)
        .bind(self.window_to)
        .bind(self.window_from_local)
        .bind(self.window_to_local)
        .bind(self.verdict)
        .bind(self.value)
        .bind(self.values)
        .bind(self.reason)
        .bind(self.coverage)
        .bind(self.evidence)
        .bind(self.provisional)
        .bind(self.agreement_version)
        .bind(self.run)
        .bind(self.revision)
        .bind(self.content)
        .bind(self.score_numerator)
        .bind(self.score_denominator)
        .bind(self.penalties)
        .bind(self.rewards)
        .bind(self.waiver)
        .bind(self.inputs)
        .bind(self.provenance)
        .bind(Instant(recorded_at))
        .execute(tx)
        .await?;
        Ok(())
    }
}

/// What a state is found by, whatever its revision.
fn push_identity(sql: &mut QueryBuilder<Postgres>, query: &StateQuery) {
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
        sql.push(" AND scope = ").push_bind(stored::scope(scope)).push("::jsonb");
    }
    if let Some(from) = query.from {
        sql.push(" AND window_to > ").push_bind(Instant(from));
    }
    if let Some(to) = query.to {
        sql.push(" AND window_from < ").push_bind(Instant(to));
    }
}

/// What its revision must say.
fn push_content(sql: &mut QueryBuilder<Postgres>, query: &StateQuery) {
    if let Some(verdict) = query.verdict {
        // The word itself, so that the index of waived states is found.
        sql.push(" AND verdict = '").push(verdict.as_str()).push("'");
    }
    if let Some(provisional) = query.provisional {
        sql.push(" AND provisional = ").push_bind(provisional);
    }
}

/// Every revision of every state.
const ALL_REVISIONS: &str = "(SELECT * FROM probity.state UNION ALL SELECT * FROM probity.state_revision)";

pub(super) async fn list(
    pool: &PgPool,
    query: &StateQuery,
    request: &PageRequest,
) -> Result<Page<StoredState>, StoreError> {
    let after = request.position::<StatePosition>()?;
    let mut sql = QueryBuilder::new(SELECT);
    match query.as_of {
        None => {
            sql.push("probity.state AS state");
        }
        Some(as_of) => {
            sql.push("(SELECT DISTINCT ON (key) * FROM ").push(ALL_REVISIONS).push(" AS known WHERE recorded_at <= ");
            sql.push_bind(Instant(as_of));
            push_identity(&mut sql, query);
            sql.push(" ORDER BY key, revision DESC) AS state");
        }
    }
    sql.push(WITH_PROVENANCE).push(" WHERE true");
    push_identity(&mut sql, query);
    push_content(&mut sql, query);
    if let Some(after) = after {
        sql.push(" AND (window_to, key) < (").push_bind(Instant(after.to)).push(", ");
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
    pool: &PgPool,
    query: &StateQuery,
    request: &PageRequest,
) -> Result<Page<Correction>, StoreError> {
    let failed = "list corrections";
    let after = request.position::<CorrectionPosition>()?;
    let mut sql = QueryBuilder::new(SELECT);
    sql.push(ALL_REVISIONS).push(" AS state").push(WITH_PROVENANCE).push(" WHERE revision > 1");
    sql.push(
        " AND EXISTS (SELECT 1 FROM probity.state_revision AS earlier WHERE earlier.key = state.key \
         AND earlier.revision = state.revision - 1 AND NOT earlier.provisional)",
    );
    push_identity(&mut sql, query);
    push_content(&mut sql, query);
    if let Some(as_of) = query.as_of {
        sql.push(" AND recorded_at <= ").push_bind(Instant(as_of));
    }
    if let Some(after) = after {
        sql.push(" AND (recorded_at, key, revision) < (").push_bind(Instant(after.at)).push(", ");
        sql.push_bind(after.key).push(", ").push_bind(i64::from(after.revision)).push(")");
    }
    sql.push(" ORDER BY recorded_at DESC, key DESC, revision DESC LIMIT ").push_bind(request.rows_wanted());
    let rows = sql.build().fetch_all(pool).await.map_err(during(failed))?;
    let after = rows
        .iter()
        .map(|row| Ok((column(row, "key")?, read(row)?)))
        .collect::<Result<Vec<(Uuid, StoredState)>, StoreError>>()?;
    let mut sql = QueryBuilder::new(SELECT);
    sql.push("probity.state_revision AS state").push(WITH_PROVENANCE);
    sql.push(" WHERE (key, revision) IN (SELECT * FROM unnest(");
    sql.push_bind(after.iter().map(|(key, _)| *key).collect::<Vec<_>>()).push("::uuid[], ");
    let earlier = |stored: &StoredState| i32::try_from(stored.revision - 1).unwrap_or(i32::MAX);
    sql.push_bind(after.iter().map(|(_, stored)| earlier(stored)).collect::<Vec<_>>()).push("::int4[]))");
    let rows = sql.build().fetch_all(pool).await.map_err(during(failed))?;
    let before = rows
        .iter()
        .map(|row| {
            let stored = read(row)?;
            Ok(((column(row, "key")?, stored.revision + 1), stored))
        })
        .collect::<Result<HashMap<(Uuid, u32), StoredState>, StoreError>>()?;
    Ok(cursor::corrections(after, before, request))
}

pub(super) async fn revisions(pool: &PgPool, key: Uuid) -> Result<Vec<StoredState>, StoreError> {
    let mut sql = QueryBuilder::new(SELECT);
    sql.push("(SELECT * FROM probity.state WHERE key = ").push_bind(key);
    sql.push(" UNION ALL SELECT * FROM probity.state_revision WHERE key = ").push_bind(key);
    sql.push(") AS state").push(WITH_PROVENANCE).push(" ORDER BY revision");
    let rows = sql.build().fetch_all(pool).await.map_err(during("read the revisions of a state"))?;
    rows.iter().map(read).collect()
}

fn read(row: &PgRow) -> Result<StoredState, StoreError> {
    let state = State {
        agreement: column(row, "agreement")?,
        kind: stored::read_kind(column(row, "kind")?)?,
        of: column(row, "of_id")?,
        scope: stored::read_json("scope", column(row, "scope")?)?,
        window: Window {
            from: column::<Instant, _>(row, "window_from")?.0,
            to: column::<Instant, _>(row, "window_to")?.0,
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
        run: RunId(column(row, "run")?),
    };
    let revision: i32 = column(row, "revision")?;
    Ok(StoredState {
        state,
        revision: u32::try_from(revision).unwrap_or_default(),
        recorded_at: column::<Instant, _>(row, "recorded_at")?.0,
    })
}
