//! Retention in SQLite: what has expired is deleted in batches, so that others come to write in between.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::{SqliteStore, begin, history, release};
use crate::store::retention::{self, Expired, Retention};

/// Rows a transaction deletes.
const BATCH_ROWS: u32 = 5_000;

pub(super) async fn upkeep(store: &SqliteStore, now: Timestamp, keep: &Retention) -> Result<Expired, sqlx::Error> {
    let cutoffs = keep.cutoffs(now);
    let mut expired = Expired::default();
    if let Some(day) = cutoffs.states {
        let before = retention::start(day).as_microsecond();
        // Revisions first: no history is ever without the state it leads to.
        for (of, table) in [(Of::Revisions, "probity_state_revision"), (Of::States, "probity_state")] {
            let sql = format!(
                "DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE window_to < ? LIMIT {BATCH_ROWS})"
            );
            expired +=
                delete(store, &sql, Bound::Number(before), of, format!("windows that ended before {day}"), now).await?;
        }
    }
    if let Some(day) = cutoffs.runs {
        let sql = format!(
            "DELETE FROM probity_run WHERE rowid IN (SELECT rowid FROM probity_run WHERE id < ? LIMIT {BATCH_ROWS})"
        );
        let first = Bound::Text(retention::first_run(day).to_string());
        expired += delete(store, &sql, first, Of::Runs, format!("runs opened before {day}"), now).await?;
        let sql = format!(
            "DELETE FROM probity_claim WHERE (schedule, due_at) IN (SELECT schedule, due_at FROM probity_claim AS old \
             WHERE run IS NOT NULL AND due_at < ? AND EXISTS (SELECT 1 FROM probity_claim AS newer \
             WHERE newer.schedule = old.schedule AND newer.due_at > old.due_at) LIMIT {BATCH_ROWS})"
        );
        let before = Bound::Number(retention::start(day).as_microsecond());
        expired += delete(store, &sql, before, Of::Claims, format!("completed firings due before {day}"), now).await?;
    }
    Ok(expired)
}

#[derive(Clone, Copy)]
enum Of {
    States,
    Revisions,
    Runs,
    Claims,
}

impl Of {
    fn many(self, rows: u64) -> Expired {
        let none = Expired::default();
        match self {
            Of::States => Expired { states: rows, ..none },
            Of::Revisions => Expired { revisions: rows, ..none },
            Of::Runs => Expired { runs: rows, ..none },
            Of::Claims => Expired { claims: rows, ..none },
        }
    }
}

enum Bound {
    Number(i64),
    Text(String),
}

/// Deletes until nothing is left to delete; each batch with its audit entry in a transaction.
async fn delete(
    store: &SqliteStore,
    sql: &str,
    bound: Bound,
    of: Of,
    subject: String,
    now: Timestamp,
) -> Result<Expired, sqlx::Error> {
    let mut expired = Expired::default();
    loop {
        let mut writer = store.writer.acquire().await?;
        let done = delete_batch(&mut writer, sql, &bound, of, &subject, now).await;
        let batch = release(writer, done).await?;
        if batch.is_empty() {
            return Ok(expired);
        }
        expired += batch;
    }
}

async fn delete_batch(
    writer: &mut SqliteConnection,
    sql: &str,
    bound: &Bound,
    of: Of,
    subject: &str,
    now: Timestamp,
) -> Result<Expired, sqlx::Error> {
    let mut tx = begin(writer).await?;
    let query = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned()));
    let query = match bound {
        Bound::Number(number) => query.bind(*number),
        Bound::Text(text) => query.bind(text.clone()),
    };
    let expired = of.many(query.execute(&mut *tx).await?.rows_affected());
    if !expired.is_empty() {
        history::add_audit(&mut *tx, &retention::audit(now, subject.to_owned(), &expired)).await?;
    }
    tx.commit().await?;
    Ok(expired)
}
