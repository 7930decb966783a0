//! States in Postgres: read in sets, written by `COPY` into the partitions of their days.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use sqlx::postgres::{PgPool, PgRow};
use sqlx::{PgConnection, Postgres, QueryBuilder};
use uuid::Uuid;

use super::copy::{self, Field};
use super::instant::Instant;
use super::{CHUNK_ROWS, LOCK_AGREEMENT};
use crate::model::RunId;
use crate::model::budget::Outcome;
use crate::model::state::{Correction, State, StoredState, Verdict, Window};
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
    sqlx::raw_sql("SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off")
        .execute(tx)
        .await?;
    Ok(())
}

/// Where states lie: ends of windows, and keys.
#[derive(Default)]
struct Places {
    to: Vec<Instant>,
    key: Vec<Uuid>,
}

impl Places {
    fn of<'a, 'b: 'a>(rows: impl IntoIterator<Item = &'a Row<'b>>) -> Places {
        let mut places = Places::default();
        for row in rows {
            places.to.push(Instant(row.state.window.to));
            places.key.push(row.key);
        }
        places
    }
}

/// The first and last end of the rows' windows, so that other partitions are not looked at.
fn ends(rows: &[Row<'_>]) -> Option<(Instant, Instant)> {
    let ends = || rows.iter().map(|row| row.state.window.to);
    Some((Instant(ends().min()?), Instant(ends().max()?)))
}

/// Whether anything is stored of the rows' agreements from the first to the last end of their windows.
pub(super) async fn any_known(connection: &mut PgConnection, rows: &[Row<'_>]) -> Result<bool, sqlx::Error> {
    let Some((first, last)) = ends(rows) else { return Ok(false) };
    let agreements: BTreeSet<&str> = rows.iter().map(|row| row.state.agreement.as_str()).collect();
    let agreements: Vec<Cow<'_, str>> = agreements.into_iter().map(stored::text).collect();
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM unnest($1::text[]) AS a CROSS JOIN LATERAL (SELECT FROM probity.state \
         WHERE agreement = a AND window_to BETWEEN $2 AND $3 LIMIT 1) AS found)",
    )
    .bind(agreements)
    .bind(first)
    .bind(last)
    .fetch_one(connection)
    .await
}

/// Content and revision of those of the rows that are stored.
pub(super) async fn known(tx: &mut PgConnection, rows: &[Row<'_>]) -> Result<HashMap<Uuid, Known>, sqlx::Error> {
    let mut known = HashMap::new();
    // An agreement that is evaluated for the first time, or for new windows, has none of them: nobody else can have
    // added one, it is our turn.
    let any = any_known(tx, rows).await?;
    if !any {
        return Ok(known);
    }
    for chunk in rows.chunks(CHUNK_ROWS) {
        let Some((first, last)) = ends(chunk) else { continue };
        let places = Places::of(chunk);
        let found: Vec<(Uuid, Uuid, i32, bool, Option<String>)> = sqlx::query_as(
            "SELECT state.key, content, revision, provisional, verdict::text \
             FROM unnest($1::timestamptz[], $2::uuid[]) AS wanted (window_to, key) \
             JOIN probity.state AS state ON state.window_to = wanted.window_to AND state.key = wanted.key \
             WHERE state.window_to BETWEEN $3 AND $4",
        )
        .bind(places.to)
        .bind(places.key)
        .bind(first)
        .bind(last)
        .fetch_all(&mut *tx)
        .await?;
        let read = |(key, content, revision, provisional, verdict): (_, _, _, _, Option<String>)| {
            let verdict = verdict.as_deref().and_then(Verdict::parse);
            (key, Known { content, revision, provisional, verdict })
        };
        known.extend(found.into_iter().map(read));
    }
    Ok(known)
}

/// Moves what is stored of these rows to the history.
pub(super) async fn move_to_history(tx: &mut PgConnection, replaced: &[Row<'_>]) -> Result<(), sqlx::Error> {
    for chunk in replaced.chunks(CHUNK_ROWS) {
        let Some((first, last)) = ends(chunk) else { continue };
        let places = Places::of(chunk);
        sqlx::query(
            "WITH replaced AS (DELETE FROM probity.state AS state \
             USING unnest($1::timestamptz[], $2::uuid[]) AS wanted (window_to, key) \
             WHERE state.window_to = wanted.window_to AND state.key = wanted.key \
             AND state.window_to BETWEEN $3 AND $4 RETURNING state.*) \
             INSERT INTO probity.state_revision SELECT * FROM replaced",
        )
        .bind(places.to)
        .bind(places.key)
        .bind(first)
        .bind(last)
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

/// Adds rows that are not there: one stream into the partitions, no statement a row.
pub(super) async fn insert(tx: &mut PgConnection, rows: &[Row<'_>], recorded_at: Timestamp) -> Result<(), sqlx::Error> {
    put_provenances(tx, rows).await?;
    if rows.is_empty() {
        return Ok(());
    }
    copy::copy(tx, "probity.state", COLUMNS, rows, |row, out| write(row, recorded_at, out)).await
}

/// The columns of a state, in the order of [`write()`].
const COLUMNS: &[&str] = &[
    "key",
    "agreement",
    "kind",
    "of_id",
    "scope",
    "window_from",
    "window_to",
    "window_from_local",
    "window_to_local",
    "verdict",
    "value",
    "metric_values",
    "reason",
    "coverage",
    "evidence",
    "provisional",
    "agreement_version",
    "run",
    "revision",
    "recorded_at",
    "content",
    "score_numerator",
    "score_denominator",
    "penalties",
    "rewards",
    "waiver",
    "inputs",
    "provenance",
];

fn write(row: &Row<'_>, recorded_at: Timestamp, out: &mut copy::Rows) {
    let state = row.state;
    let jsonb = |text: &Option<String>, out: &mut copy::Rows| {
        out.field(text.as_deref().map_or(Field::Null, Field::Jsonb));
    };
    out.field(Field::Uuid(row.key));
    out.field(Field::Text(&stored::text(&state.agreement)));
    out.field(Field::Text(state.kind.as_str()));
    out.field(Field::Text(&stored::text(&state.of)));
    out.field(Field::JsonbOf(&|out| stored::write_scope(&state.scope, out)));
    out.field(Field::Instant(state.window.from));
    out.field(Field::Instant(state.window.to));
    out.field(Field::Text(&state.window.from_local));
    out.field(Field::Text(&state.window.to_local));
    out.field(Field::optional(state.verdict, |verdict| Field::Text(verdict.as_str())));
    out.field(Field::optional(stored::value(state), Field::Float));
    out.field(Field::JsonbOf(&|out| stored::write_values(&state.values, out)));
    out.field(Field::Text(&stored::text(&state.reason)));
    jsonb(&state.coverage.as_ref().map(stored::json), out);
    out.field(Field::JsonOf(&|out| stored::write_evidence(&state.evidence, out)));
    out.field(Field::Bool(state.provisional));
    out.field(Field::Text(&state.agreement_version));
    out.field(Field::Uuid(state.run.0));
    out.field(Field::Int(row.revision));
    out.field(Field::Instant(recorded_at));
    out.field(Field::Uuid(row.content));
    out.field(Field::optional(state.score, |score| Field::BigInt(score.numerator())));
    out.field(Field::optional(state.score, |score| Field::BigInt(score.denominator())));
    jsonb(&stored::amounts(&state.penalties), out);
    jsonb(&stored::amounts(&state.rewards), out);
    jsonb(&state.waiver.as_deref().map(stored::waiver), out);
    out.field(Field::optional(state.inputs.as_ref(), |digest| Field::Bytes(&digest.0)));
    out.field(Field::Uuid(row.provenance));
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
            sql.push("(SELECT DISTINCT ON (window_to, key) * FROM ").push(ALL_REVISIONS);
            sql.push(" AS known WHERE recorded_at <= ").push_bind(Instant(as_of));
            push_identity(&mut sql, query);
            sql.push(" ORDER BY window_to, key, revision DESC) AS state");
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
        " AND EXISTS (SELECT 1 FROM probity.state_revision AS earlier WHERE earlier.window_to = state.window_to \
         AND earlier.key = state.key AND earlier.revision = state.revision - 1 AND NOT earlier.provisional)",
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
    sql.push(" WHERE (window_to, key, revision) IN (SELECT * FROM unnest(");
    sql.push_bind(after.iter().map(|(_, stored)| Instant(stored.state.window.to)).collect::<Vec<_>>());
    sql.push("::timestamptz[], ").push_bind(after.iter().map(|(key, _)| *key).collect::<Vec<_>>()).push("::uuid[], ");
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

/// All revisions of the state with this key, whose window ends at `to`.
pub(super) async fn revisions(pool: &PgPool, to: Timestamp, key: Uuid) -> Result<Vec<StoredState>, StoreError> {
    let mut sql = QueryBuilder::new(SELECT);
    sql.push("(SELECT * FROM probity.state WHERE window_to = ").push_bind(Instant(to));
    sql.push(" AND key = ").push_bind(key);
    sql.push(" UNION ALL SELECT * FROM probity.state_revision WHERE window_to = ").push_bind(Instant(to));
    sql.push(" AND key = ").push_bind(key);
    sql.push(") AS state").push(WITH_PROVENANCE).push(" ORDER BY revision");
    let rows = sql.build().fetch_all(pool).await.map_err(during("read the revisions of a state"))?;
    rows.iter().map(read).collect()
}

/// What was said for good of a guarantee's windows that end in a range; nothing else of them is read.
pub(super) async fn outcomes(
    pool: &PgPool,
    agreement: &str,
    guarantee: &str,
    after: Timestamp,
    until: Timestamp,
) -> Result<Vec<Outcome>, StoreError> {
    let rows = sqlx::query(
        "SELECT scope::text AS scope, window_from, window_to, verdict, waiver ->> 'verdict' AS unwaived, \
         metric_values::text AS metric_values FROM probity.state WHERE agreement = $1 AND kind = 'guarantee' \
         AND of_id = $2 AND window_to > $3 AND window_to <= $4 AND NOT provisional",
    )
    .bind(stored::text(agreement))
    .bind(stored::text(guarantee))
    .bind(Instant(after))
    .bind(Instant(until))
    .fetch_all(pool)
    .await
    .map_err(during("read the verdicts of a guarantee"))?;
    let read = |row: &PgRow| {
        let verdict = stored::read_verdict(column(row, "verdict")?)?;
        let unwaived = column::<Option<&str>, _>(row, "unwaived")?.map(stored::read_verdict).transpose()?;
        Ok(Outcome {
            scope: stored::read_json("scope", column(row, "scope")?)?,
            from: column::<Instant, _>(row, "window_from")?.0,
            to: column::<Instant, _>(row, "window_to")?.0,
            verdict,
            unwaived: unwaived.unwrap_or(verdict),
            values: stored::read_json("metric values", column(row, "metric_values")?)?,
        })
    };
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
