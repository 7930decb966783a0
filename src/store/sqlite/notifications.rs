//! Changes of verdicts to be told, in SQLite.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::{Row as _, SqliteConnection};
use uuid::Uuid;

use super::{SqliteStore, begin, history, release};
use crate::model::RunId;
use crate::model::state::Verdict;
use crate::store::batch::Row;
use crate::store::notification::{self, Latest, Notification, Notifications, Rule, Told, Written};
use crate::store::stored::{self, column};
use crate::store::{StoreError, during};

/// Keeps what these rows change for the channels that are told of it.
pub(super) async fn keep(
    tx: &mut SqliteConnection,
    run: RunId,
    written: &[Row<'_>],
    rules: &[Rule],
    recorded_at: Timestamp,
) -> Result<(), sqlx::Error> {
    if rules.is_empty() {
        return Ok(());
    }
    let written: Vec<Written<'_>> =
        written.iter().map(|row| Written { state: row.state, before: row.before }).collect();
    let mut latest: HashMap<Uuid, Latest> = HashMap::new();
    for series in notification::asked(&written) {
        let found: Option<(i64, String)> =
            sqlx::query_as("SELECT window_to, verdict FROM probity_latest_verdict WHERE series = ?")
                .bind(series)
                .fetch_optional(&mut *tx)
                .await?;
        let read = found.and_then(|(to, verdict)| {
            Some(Latest { window_to: Timestamp::from_microsecond(to).ok()?, verdict: Verdict::parse(&verdict)? })
        });
        if let Some(read) = read {
            latest.insert(series, read);
        }
    }
    let changes = notification::changes(&written, &mut latest);
    for (series, latest) in latest {
        sqlx::query(
            "INSERT INTO probity_latest_verdict (series, window_to, verdict) VALUES (?, ?, ?) \
             ON CONFLICT (series) DO UPDATE SET window_to = excluded.window_to, verdict = excluded.verdict",
        )
        .bind(series)
        .bind(latest.window_to.as_microsecond())
        .bind(latest.verdict.as_str())
        .execute(&mut *tx)
        .await?;
    }
    for notification in notification::notifications(run, &changes, rules, recorded_at) {
        sqlx::query(
            "INSERT INTO probity_notification (id, channel, changes, recorded_at, due_at) VALUES (?1, ?2, ?3, ?4, ?4) \
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(notification.id)
        .bind(&notification.channel)
        .bind(stored::json(&notification.changes))
        .bind(recorded_at.as_microsecond())
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

async fn next(
    writer: &mut SqliteConnection,
    now: Timestamp,
    until: Timestamp,
) -> Result<Vec<Notification>, sqlx::Error> {
    let mut tx = begin(writer).await?;
    let rows = sqlx::query(
        "UPDATE probity_notification SET leased_until = ?2 \
         WHERE number IN (SELECT min(number) FROM probity_notification GROUP BY channel) AND due_at <= ?1 \
         AND (leased_until IS NULL OR leased_until <= ?1) RETURNING id, channel, changes, recorded_at, attempts",
    )
    .bind(now.as_microsecond())
    .bind(until.as_microsecond())
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    rows.iter().map(read).collect()
}

fn read(row: &sqlx::sqlite::SqliteRow) -> Result<Notification, sqlx::Error> {
    let changes: String = row.try_get("changes")?;
    let at = Timestamp::from_microsecond(row.try_get("recorded_at")?);
    Ok(Notification {
        id: row.try_get("id")?,
        channel: row.try_get("channel")?,
        changes: serde_json::from_str(&changes).map_err(|error| sqlx::Error::Decode(error.into()))?,
        recorded_at: at.map_err(|error| sqlx::Error::Decode(error.into()))?,
        attempts: u32::try_from(row.try_get::<i64, _>("attempts")?).unwrap_or(u32::MAX),
    })
}

async fn settle(writer: &mut SqliteConnection, id: Uuid, told: &Told) -> Result<(), sqlx::Error> {
    let mut tx = begin(writer).await?;
    match told {
        Told::Later { due, failed } => {
            sqlx::query(
                "UPDATE probity_notification SET leased_until = NULL, due_at = ?2, attempts = attempts + ?3 WHERE id = ?1",
            )
            .bind(id)
            .bind(due.as_microsecond())
            .bind(i64::from(*failed))
            .execute(&mut *tx)
            .await?;
        }
        Told::Done | Told::Refused(_) => {
            sqlx::query("DELETE FROM probity_notification WHERE id = ?").bind(id).execute(&mut *tx).await?;
        }
    }
    if let Told::Refused(audit) = told {
        history::add_audit(&mut *tx, audit).await?;
    }
    tx.commit().await
}

#[async_trait]
impl Notifications for SqliteStore {
    async fn next_notifications(&self, now: Timestamp, until: Timestamp) -> Result<Vec<Notification>, StoreError> {
        let taken = async {
            let mut writer = self.writer.acquire().await?;
            let done = next(&mut writer, now, until).await;
            release(writer, done).await
        };
        taken.await.map_err(during("take notifications"))
    }

    async fn settle_notification(&self, id: Uuid, told: &Told) -> Result<(), StoreError> {
        let settled = async {
            let mut writer = self.writer.acquire().await?;
            let done = settle(&mut writer, id, told).await;
            release(writer, done).await
        };
        settled.await.map_err(during("settle a notification"))
    }

    async fn notifications_waiting(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        let rows = sqlx::query("SELECT channel, count(*) AS waiting FROM probity_notification GROUP BY channel")
            .fetch_all(&self.readers)
            .await
            .map_err(during("count notifications"))?;
        rows.iter().map(|row| Ok((column(row, "channel")?, column::<i64, _>(row, "waiting")?.unsigned_abs()))).collect()
    }
}
